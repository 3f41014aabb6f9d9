"""Claims of wu2019: the multiplicative noise of SGD and its relatives."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gradnoise.claims.claim import Claim, Predictions, Quantities, Run, both_ways, claim, computed, entries
from gradnoise.claims.covariance import stated, two_numbers
from gradnoise.claims.instances import GRADIENTS, search_minimum
from gradnoise.claims.judgement import Computed
from gradnoise.claims.prediction import Absolute, AtLeast, Margin
from gradnoise.simulations import sampling
from gradnoise.simulations.sampling import Outcomes, outcomes, product_rule
from gradnoise.theory import gradient_noise
from gradnoise.theory.sampling import Bernoulli, Gaussian, Minibatch, Rademacher, SparseGaussian

N_SAMPLES = GRADIENTS.shape[1]


@claim(
    "wu2019.prop1",
    "W of SGD has mean 1/N and variance (1/(bN))(I − J/N) with, (N−b)/(bN(N−1))(I − J/N) without replacement",
    kind="comparison",
    source="Proposition 1",
)
class MomentsOfTheSamplingVector(Claim):
    """All batches of two out of five; and draws of five out of eight."""

    small, large = (5, 2), (8, 5)

    def margin(self, label: str) -> Margin:
        """A tenth of the covariance, for the variance too."""
        return Absolute(abs(Minibatch(*self.large, label.startswith("with,")).covariance) / 10)

    def measure(self, run: Run) -> Quantities:
        def moments(way: str, replacement: bool) -> dict[str, Any]:
            law = outcomes(Minibatch(*self.small, replacement))
            pair = sampling.expectations(Minibatch(*self.large, replacement), self._products, run.n_paths, rng=run.at(way))
            return {
                f"{way}: mean": Computed(float(law.mean().max()), rounding=1e-14),
                **two_numbers(way, law),
                **dict(zip((f"{way}, N = 8: variance", f"{way}, N = 8: covariance"), pair, strict=True)),
            }

        return both_ways(moments)

    def published(self) -> Predictions:
        return self._predicted(lambda n, b, replacement: Minibatch(n, b, replacement))

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "the headings of Appendix A.1 swapped, as printed", self._predicted(lambda n, b, r: Minibatch(n, b, not r))
        independent = self._predicted(lambda n, b, r: Minibatch(n, b, r))
        yield "independent components", {k: 0.0 if "covariance" in k else v for k, v in independent.items()}
        # (33) prints 1/(b²N) for one second moment.
        yield "the misprinted entry of (33)", {"without: variance": 1 / (2**2 * 5) - 1 / 5**2}

    def _predicted(self, noise: Any) -> dict[str, Any]:
        def moments(way: str, replacement: bool) -> dict[str, float]:
            large = noise(*self.large, replacement)
            return {
                f"{way}: mean": 1 / self.small[0],
                **stated(way, noise(*self.small, replacement)),
                f"{way}, N = 8: variance": large.variance,
                f"{way}, N = 8: covariance": large.covariance,
            }

        return both_ways(moments)

    @staticmethod
    def _products(weights: np.ndarray) -> np.ndarray:
        v = weights - 1 / weights.shape[1]
        return np.stack([v[:, 0] ** 2, v[:, 0] * v[:, 1]], axis=1)


@claim(
    "wu2019.eq15",
    "Σ_sgd = (1/N)(G(I−J/N))(G(I−J/N))ᵀ, hence v = G(I−J/N)ε/√(bN) has the covariance Σ_sgd/b",
    kind="exact",
    source="Eq. (15)",
)
class CentredGradientsGiveTheNoise(Claim):
    """Deviations from the mean gradient, summed sample by sample; and the covariance of v by quadrature."""

    b = 3

    def measure(self, run: Run) -> Quantities:
        mean = sum(GRADIENTS[:, i] for i in range(N_SAMPLES)) / N_SAMPLES
        sigma = sum(np.outer(GRADIENTS[:, i] - mean, GRADIENTS[:, i] - mean) for i in range(N_SAMPLES)) / N_SAMPLES
        normals = product_rule(dimension=N_SAMPLES)
        centring = (np.eye(N_SAMPLES) - np.ones((N_SAMPLES, N_SAMPLES)) / N_SAMPLES) / np.sqrt(self.b * N_SAMPLES)
        return computed("Σ", sigma) | computed("Var v", normals.transformed(GRADIENTS @ centring).covariance())

    def published(self) -> Predictions:
        sigma = gradient_noise.sgd_covariance(GRADIENTS, 1)
        return entries("Σ", sigma) | entries("Var v", sigma / self.b)

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "without the centring", entries("Σ", gradient_noise.fisher(GRADIENTS))
        yield "v without its 1/√b", entries("Var v", gradient_noise.sgd_covariance(GRADIENTS, 1))


@claim(
    "wu2019.gaussian-iff",
    "The gradient noise is Gaussian if and only if the sampling noise is",
    kind="exact",
    source="Section 2; wu2020, Section 4.1",
    expected="refuted",
    corrected="It is so if the gradients have full column rank: then |κ₄| of some projection of GV is ≥ σ_min(G)⁴ that of V",
)
class GradientNoiseIsGaussianIffSamplingNoiseIs(Claim):
    """V = (Z + R, Z − R) with a random sign R, seen through G = (1, 1) and through random matrices of full column rank."""

    blind, square, tight = "largest |κ₄| of GV, G = (1, 1)", "smallest |κ₄|/σ_min⁴|κ₄(V)|", "smallest |κ₄|/σ_max⁴|κ₄(V)|"

    def measure(self, run: Run) -> Quantities:
        z, sign = product_rule(dimension=1), product_rule((np.array([-1.0, 1.0]), np.array([0.5, 0.5])))
        vectors = np.array([(a + r, a - r) for a in z.vectors[:, 0] for r in sign.vectors[:, 0]])
        law = Outcomes(vectors, np.outer(z.probabilities, sign.probabilities).ravel())
        own = self._largest(law)
        generator = run.generator()
        ratios = []
        for k in range(run.n_instances):
            M = generator.standard_normal((2 + k % 2, 2))  # square, and with more parameters than samples
            sigma = np.linalg.svd(M, compute_uv=False)
            u = M @ np.linalg.solve(M.T @ M, [1.0, -1.0])  # sees the difference of the weights, which is 2R
            seen = abs(law.transformed(M).cumulants(u / np.linalg.norm(u))[3])
            ratios.append((seen / (sigma[1] ** 4 * own), seen / (sigma[0] ** 4 * own)))
        low, high = np.min(ratios, axis=0)
        return {
            self.blind: Computed(self._largest(law.transformed([[1.0, 1.0]])), rounding=1e-9),
            self.square: Computed(float(low), rounding=1e-9),
            self.tight: Computed(float(high), rounding=1e-9),
        }

    def published(self) -> Predictions:
        return {self.blind: AtLeast(0.01)}  # some trace of the sign, whose own fourth cumulant is −2

    def corrected(self) -> Predictions:
        return {self.square: AtLeast(1.0)}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "σ_max for σ_min", {self.tight: AtLeast(1.0)}
        yield "with the condition number to spare", {self.square: AtLeast(2.0)}

    @staticmethod
    def _largest(law: Outcomes) -> float:
        """Largest |κ₄| over unit directions, on a grid that contains the diagonals."""
        angles = np.linspace(0, np.pi, 181)
        directions = [np.ones(1)] if law.vectors.shape[1] == 1 else np.stack([np.cos(angles), np.sin(angles)], axis=1)
        return max(abs(law.cumulants(u)[3]) for u in directions)


class _FisherLessCov(Claim):
    """Power of the difference between Fisher and Cov weights, made from the same normals ε."""

    b = 4
    n_large = 1_000

    @staticmethod
    def pair(normals: np.ndarray, b: int) -> tuple[np.ndarray, np.ndarray]:
        """W_F − 1/N and W_Cov − 1/N as Eq. (17) prints them."""
        n = normals.shape[1]
        fisher = normals / np.sqrt(b * n)
        return fisher, fisher - fisher.mean(axis=1, keepdims=True)

    def simulated(self, statistic: Any, run: Run) -> Any:
        """Estimate the mean of a statistic of normals of dimension `n_large`."""
        unit = Gaussian(self.n_large, 1 / self.n_large, centered=False)  # weights 1/N + ε
        return sampling.expectations(
            unit, lambda w: statistic(w - 1 / self.n_large)[:, np.newaxis], run.n_paths, rng=run.at("many normals")
        )[0]


@claim(
    "wu2019.eq17-weights",
    "W_Cov ≈ W_F: the power of their difference is 1/N of their own",
    kind="comparison",
    source="Eq. (17)",
)
class FisherAndCovWeightsAgree(_FisherLessCov):
    """Quadrature for N = 6, and draws for N = 1,000."""

    small, large = "N = 6", "N = 1,000"
    pilot_paths = 5_000

    def margin(self, label: str) -> Margin:
        return Absolute(5e-5)

    def measure(self, run: Run) -> Quantities:
        law = product_rule(dimension=6)
        fisher, cov = self.pair(law.vectors, self.b)
        power = [law.probabilities @ (x**2).sum(axis=1) for x in (fisher - cov, fisher)]
        return {self.small: Computed(float(power[0] / power[1]), rounding=1e-12), self.large: self.simulated(self._share, run)}

    def published(self) -> Predictions:
        return {self.small: 1 / 6, self.large: 1 / self.n_large}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "1/N²", {self.small: 1 / 36, self.large: self.n_large**-2}
        yield "1/√N", {self.small: 6**-0.5, self.large: self.n_large**-0.5}
        yield "2/N", {self.small: 2 / 6, self.large: 2 / self.n_large}

    def _share(self, normals: np.ndarray) -> np.ndarray:
        fisher, cov = self.pair(normals, self.b)
        return ((fisher - cov) ** 2).sum(axis=1) * self.b  # over E‖W_F − 1/N‖² = 1/b


@claim(
    "wu2019.eq17-gradient",
    "Hence Fisher and Cov noise of the gradient agree along the whole path: their difference is of order 1/N too",
    kind="comparison",
    source="Section 5.2; wu2020, Section 4.2",
    expected="refuted",
    corrected="Its relative power is ‖∇L‖²/TrF, whatever N: Fisher noise is Cov noise plus a random learning rate η(1 + ξ/√b)",
)
class FisherAndCovGradientsAgree(_FisherLessCov):
    """Quadrature for N = 6, draws for N = 1,000, and the law of the random learning rate, uncorrelated with Cov noise."""

    small, large, rate = "N = 6", "N = 1,000", "variance of the random learning rate/η²"
    pilot_paths = 5_000

    def margin(self, label: str) -> Margin:
        return Absolute(0.03)

    def measure(self, run: Run) -> Quantities:
        law = product_rule(dimension=N_SAMPLES)
        fisher, cov = (weights @ GRADIENTS.T for weights in self.pair(law.vectors, self.b))
        power = [law.probabilities @ (x**2).sum(axis=1) for x in (fisher - cov, fisher)]
        mean = GRADIENTS.mean(axis=1)
        along = (fisher - cov) @ mean / (mean @ mean)
        residual = np.abs(fisher - cov - np.outer(along, mean)).max()
        return {
            self.small: Computed(float(power[0] / power[1]), rounding=1e-12),
            self.large: self.simulated(self._share, run),
            self.rate: Computed(float(law.probabilities @ along**2), rounding=1e-12),
            "largest part across ∇L": Computed(float(residual), rounding=1e-12),
            "largest covariance of rate and Cov noise": Computed(
                float(np.abs((law.probabilities * along) @ cov).max()), rounding=1e-12
            ),
        }

    def published(self) -> Predictions:
        return {self.small: 1 / N_SAMPLES, self.large: 1 / self.n_large}

    def corrected(self) -> Predictions:
        share = self._alignment(GRADIENTS)
        return {
            self.small: share,
            self.large: self._alignment(self._many()),
            self.rate: 1 / self.b,
            "largest part across ∇L": 0.0,
            "largest covariance of rate and Cov noise": 0.0,
        }

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield (
            "‖∇L‖²/(N TrF)",
            {self.small: self._alignment(GRADIENTS) / N_SAMPLES, self.large: self._alignment(self._many()) / self.n_large},
        )
        mean = GRADIENTS.mean(axis=1)
        yield "TrΣ for TrF", {self.small: float(mean @ mean / np.trace(gradient_noise.sgd_covariance(GRADIENTS, 1)))}
        yield "a learning rate η(1 + ξ/b)", {self.rate: 1 / self.b**2}

    @staticmethod
    def _alignment(gradients: np.ndarray) -> float:
        mean = gradients.mean(axis=1)
        return float(mean @ mean / np.trace(gradient_noise.fisher(gradients)))

    def _many(self) -> np.ndarray:
        return np.random.default_rng(17).normal([[1.0], [0.5]], 0.8, (2, self.n_large))

    def _share(self, normals: np.ndarray) -> np.ndarray:
        many = self._many()
        fisher, cov = self.pair(normals, self.b)
        noise = np.einsum("mn,dn->md", fisher - cov, many)
        return (noise**2).sum(axis=1) * self.b / np.trace(gradient_noise.fisher(many))


@claim(
    "wu2019.bernoulli",
    "w = 1/N + 1/b with probability b/N, else 1/N, has mean 1/N and SGD's diagonal as covariance",
    kind="exact",
    source="Section 5.2",
    expected="refuted",
    corrected="The values are 1/b and 0; their variance is SGD's diagonal without replacement, and nearest to it in KL(P‖Q)",
)
class BernoulliWeightsHaveTheDiagonal(Claim):
    """Moments of both laws by enumeration, and the product law nearest to that of a minibatch."""

    n, b = 6, 2

    def measure(self, run: Run) -> Quantities:
        share = self.b / self.n
        values, probabilities = np.array([1 / self.n, 1 / self.n + 1 / self.b]), np.array([1 - share, share])
        listed = outcomes(Bernoulli(self.n, self.b))
        batches = outcomes(Minibatch(self.n, self.b, replacement=False))
        drawn = (batches.vectors > 0).sum(axis=1).mean()

        def divergence(logit: np.ndarray) -> float:
            """KL(P‖Q) of all batches from independent draws with one probability of that logit, up to a constant."""
            return float(drawn * np.log1p(np.exp(-logit[0])) + (self.n - drawn) * np.log1p(np.exp(logit[0])))

        _, logit = search_minimum(divergence, [np.zeros(1)])
        return {
            "mean as printed": Computed(float(values @ probabilities), rounding=1e-14),
            "mean": Computed(float(listed.mean()[0]), rounding=1e-14),
            **two_numbers("w", listed),
            "nearest probability in KL": Computed(float(1 / (1 + np.exp(-logit[0]))), approximation=1e-6),
            "variance of a minibatch without replacement": Computed(float(batches.covariance()[0, 0]), rounding=1e-14),
        }

    def published(self) -> Predictions:
        return {"mean as printed": 1 / self.n}

    def corrected(self) -> Predictions:
        noise = Bernoulli(self.n, self.b)
        return {
            "mean as printed": 2 / self.n,
            "mean": 1 / self.n,
            **stated("w", noise),
            "nearest probability in KL": self.b / self.n,
            "variance of a minibatch without replacement": noise.variance,
        }

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "SGD's diagonal with replacement", {"w: variance": Minibatch(self.n, self.b).variance}
        yield "mean 1/n as printed", {"mean as printed": 1 / self.n}
        yield "1/n for b/n", {"nearest probability in KL": 1 / self.n}


@claim(
    "wu2019.fisher-b",
    "M-SGD-[Fisher-b], [Cov-b]: weights ε on B random samples; std n/√(bB) gives I/(bn), support-centred with "
    "std² = n(n−1)/(b(B−1)) exactly (I − J/n)/(bn)",
    kind="exact",
    source="Section 5.3 and Appendix B; the released program",
)
class SparseNoiseHasTheCovariance(Claim):
    """All supports of three out of five samples, with three-point normals on them, scaled as stated."""

    n, b, B = 5, 2, 3

    def measure(self, run: Run) -> Quantities:
        supports = outcomes(Minibatch(self.n, self.B, replacement=False))
        normals = product_rule(dimension=self.n)
        plain, centred, weights = [], [], []
        for support, p in zip(supports.vectors > 0, supports.probabilities, strict=True):
            on = normals.vectors * support
            plain.append(on)
            centred.append(on - on.sum(axis=1, keepdims=True) / self.B * support)
            weights.append(p * normals.probabilities)
        n, b, B = self.n, self.b, self.B
        laws = {
            "[Fisher-b]": Outcomes(np.concatenate(plain) / np.sqrt(b * B), np.concatenate(weights)),
            "[Cov-b]": Outcomes(np.concatenate(centred) * np.sqrt((n - 1) / (b * n * (B - 1))), np.concatenate(weights)),
        }
        return {k: v for name, law in laws.items() for k, v in two_numbers(name, law).items()}

    def published(self) -> Predictions:
        fisher = SparseGaussian(self.n, self.b, self.B, "fisher")
        return stated("[Fisher-b]", fisher) | stated("[Cov-b]", Minibatch(self.n, self.b))

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "[Fisher-b] has the covariance of the minibatch", stated("[Fisher-b]", Minibatch(self.n, self.b))
        yield "[Cov-b] with B for B − 1", {"[Cov-b]: variance": Minibatch(self.n, self.b).variance * (self.B - 1) / self.B}
        yield "[Cov-b] matches the minibatch without replacement", stated("[Cov-b]", Minibatch(self.n, self.b, False))


@claim(
    "wu2019.rademacher",
    "GD-Rademacher with the weight √(N/b) has the noise covariance F/b exactly",
    kind="exact",
    source="Section 3",
)
class RademacherNoiseHasTheFisher(Claim):
    """All signs of six samples."""

    b = 4

    def measure(self, run: Run) -> Quantities:
        signs = product_rule((np.array([-1.0, 1.0]), np.array([0.5, 0.5])), N_SAMPLES)
        law = signs.transformed(GRADIENTS * np.sqrt(N_SAMPLES / self.b) / N_SAMPLES)
        stated_law = outcomes(Rademacher(N_SAMPLES, self.b, centered=False)).transformed(GRADIENTS)
        return computed("Var", law.covariance()) | computed("Var of the class", stated_law.covariance())

    def published(self) -> Predictions:
        return self._both(gradient_noise.fisher(GRADIENTS) / self.b)

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "the SGD covariance", self._both(gradient_noise.sgd_covariance(GRADIENTS, self.b))
        yield "the weight √(1/b)", self._both(gradient_noise.fisher(GRADIENTS) / self.b / N_SAMPLES)

    @staticmethod
    def _both(covariance: np.ndarray) -> Predictions:
        return entries("Var", covariance) | entries("Var of the class", covariance)
