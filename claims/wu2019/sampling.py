"""Claims of wu2019, Sections 2, 3 and 5.3: the sampling vector of SGD, what sees it, and others of known covariance."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gradnoise.claims.claim import Claim, Predictions, Quantities, Run, both_ways, claim, computed, entries
from gradnoise.claims.covariance import stated, two_numbers
from gradnoise.claims.generic import at_each
from gradnoise.claims.instances import PAIRS, SPARSE_SIZES, sample_gradients
from gradnoise.claims.judgement import Computed
from gradnoise.claims.prediction import Absolute, AtLeast, Margin
from gradnoise.simulations import sampling
from gradnoise.simulations.sampling import Outcomes, outcomes, product_rule
from gradnoise.theory import gradient_noise
from gradnoise.theory.sampling import Minibatch, Rademacher, SparseGaussian


@claim(
    "wu2019.prop1",
    "W of SGD has mean 1/N and variance (1/(bN))(I − J/N) with, (N−b)/(bN(N−1))(I − J/N) without replacement",
    kind="comparison",
    source="Proposition 1",
)
class MomentsOfTheSamplingVector(Claim):
    """All batches; and draws of five out of eight."""

    insensitive_because = "covariances of draws are small against their spread; all batches show them without chance"
    large = (8, 5)

    def margin(self, label: str) -> Margin:
        """A tenth of the covariance, for the variance too."""
        return Absolute(abs(Minibatch(*self.large, label.startswith("with,")).covariance) / 10)

    def measure(self, run: Run) -> Quantities:
        def listed(n: int, b: int) -> Quantities:
            def moments(way: str, replacement: bool) -> dict[str, Any]:
                law = outcomes(Minibatch(n, b, replacement))
                return {f"{way}: mean": Computed(float(law.mean().max()), rounding=1e-14), **two_numbers(way, law)}

            return both_ways(moments)

        def drawn(way: str, replacement: bool) -> dict[str, Any]:
            pair = sampling.expectations(Minibatch(*self.large, replacement), self._products, run.n_paths, rng=run.at(way))
            return dict(zip((f"{way}, N = 8: variance", f"{way}, N = 8: covariance"), pair, strict=True))

        return {**at_each(listed, PAIRS, "n, b"), **both_ways(drawn)}

    def published(self) -> Predictions:
        return self._predicted(lambda n, b, replacement: Minibatch(n, b, replacement))

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "the headings of Appendix A.1 swapped, as printed", self._predicted(lambda n, b, r: Minibatch(n, b, not r))
        independent = self._predicted(lambda n, b, r: Minibatch(n, b, r))
        yield "independent components", {k: 0.0 if "covariance" in k else v for k, v in independent.items()}
        # (33) prints 1/(b²N) for one second moment.
        misprinted = at_each(lambda n, b: {"without: variance": 1 / (b**2 * n) - 1 / n**2}, PAIRS, "n, b")
        yield "the misprinted entry of (33)", misprinted
        yield (
            "(n−b+1) for (n−b)",
            at_each(lambda n, b: {"without: variance": (n - b + 1) / (b * n * (n - 1)) * (1 - 1 / n)}, PAIRS, "n, b"),
        )

    def _predicted(self, noise: Any) -> dict[str, Any]:
        def listed(n: int, b: int) -> Predictions:
            return both_ways(lambda way, r: {f"{way}: mean": 1 / n, **stated(way, noise(n, b, r))})

        def drawn(way: str, replacement: bool) -> Predictions:
            large = noise(*self.large, replacement)
            return {f"{way}, N = 8: variance": large.variance, f"{way}, N = 8: covariance": large.covariance}

        return {**at_each(listed, PAIRS, "n, b"), **both_ways(drawn)}

    @staticmethod
    def _products(weights: np.ndarray) -> np.ndarray:
        v = weights - 1 / weights.shape[1]
        return np.stack([v[:, 0] ** 2, v[:, 0] * v[:, 1]], axis=1)


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

    blind, seen = "largest |κ₄| of GV, G = (1, 1)", "smallest |κ₄|/σ_min⁴|κ₄(V)|"
    #: Of full column rank, and no more of V's differences than it must show: they are along its last singular vector.
    dimmest = np.array([[1.0, 1.0], [0.5, -0.5]])

    def measure(self, run: Run) -> Quantities:
        z, sign = product_rule(dimension=1), product_rule((np.array([-1.0, 1.0]), np.array([0.5, 0.5])))
        vectors = np.array([(a + r, a - r) for a in z.vectors[:, 0] for r in sign.vectors[:, 0]])
        law = Outcomes(vectors, np.outer(z.probabilities, sign.probabilities).ravel())
        own = self._largest(law)
        generator = run.generator()
        # Square ones, and some with more parameters than samples.
        matrices = [self.dimmest, *(generator.standard_normal((2 + k % 2, 2)) for k in range(run.n_instances))]
        ratios = []
        for M in matrices:
            u = M @ np.linalg.solve(M.T @ M, [1.0, -1.0])  # sees the difference of the weights, which is 2R
            seen = abs(law.transformed(M).cumulants(u / np.linalg.norm(u))[3])
            ratios.append(seen / (np.linalg.svd(M, compute_uv=False)[-1] ** 4 * own))
        return {
            self.blind: Computed(self._largest(law.transformed([[1.0, 1.0]])), rounding=1e-9),
            self.seen: Computed(float(min(ratios)), rounding=1e-9),
        }

    def published(self) -> Predictions:
        return {self.blind: AtLeast(0.01, tightness="chosen")}  # some trace of the sign, whose own fourth cumulant is −2

    def corrected(self) -> Predictions:
        return {self.blind: 0.0, self.seen: AtLeast(1.0)}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        condition = float(np.linalg.cond(self.dimmest))
        yield "G = (1, 1) sees the sign of one weight", {self.blind: 2.0}
        yield "2 % more than σ_min⁴", {self.seen: AtLeast(1.02)}
        yield "σ_max for σ_min", {self.seen: AtLeast(condition**4)}

    @staticmethod
    def _largest(law: Outcomes) -> float:
        """Largest |κ₄| over unit directions, on a grid that contains the diagonals."""
        angles = np.linspace(0, np.pi, 181)
        directions = [np.ones(1)] if law.vectors.shape[1] == 1 else np.stack([np.cos(angles), np.sin(angles)], axis=1)
        return max(abs(law.cumulants(u)[3]) for u in directions)


@claim(
    "wu2019.rademacher",
    "GD-Rademacher with the weight √(N/b) has the noise covariance F/b exactly",
    kind="exact",
    source="Section 3",
)
class RademacherNoiseHasTheFisher(Claim):
    """All signs."""

    def measure(self, run: Run) -> Quantities:
        def of(n: int, b: int) -> Quantities:
            G = sample_gradients(n)
            law = product_rule((np.array([-1.0, 1.0]), np.array([0.5, 0.5])), n).transformed(G * np.sqrt(n / b) / n)
            stated_law = outcomes(Rademacher(n, b, centered=False)).transformed(G)
            return computed("Var", law.covariance()) | computed("Var of the class", stated_law.covariance())

        return at_each(of, PAIRS, "n, b")

    def published(self) -> Predictions:
        return self._predicted(lambda G, b: gradient_noise.fisher(G) / b)

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "the SGD covariance", self._predicted(gradient_noise.sgd_covariance)
        yield "the weight √(1/b)", self._predicted(lambda G, b: gradient_noise.fisher(G) / b / G.shape[1])
        yield "the weight √(N/(b−1))", self._predicted(lambda G, b: gradient_noise.fisher(G) / (b - 1))

    @staticmethod
    def _predicted(covariance: Callable[[np.ndarray, int], np.ndarray]) -> Predictions:
        def of(n: int, b: int) -> Predictions:
            C = covariance(sample_gradients(n), b)
            return entries("Var", C) | entries("Var of the class", C)

        return at_each(of, PAIRS, "n, b")


@claim(
    "wu2019.fisher-b",
    "M-SGD-[Fisher-b], [Cov-b]: weights ε on B random samples; std n/√(bB) gives I/(bn), support-centred with "
    "std² = n(n−1)/(b(B−1)) exactly (I − J/n)/(bn)",
    kind="exact",
    source="Section 5.3 and Appendix B; the released program",
)
class SparseNoiseHasTheCovariance(Claim):
    """All supports, with three-point normals on them, scaled as stated."""

    def measure(self, run: Run) -> Quantities:
        def of(n: int, B: int, b: int) -> Quantities:
            supports, normals = outcomes(Minibatch(n, B, replacement=False)), product_rule(dimension=n)
            plain, centred, weights = [], [], []
            for support, p in zip(supports.vectors > 0, supports.probabilities, strict=True):
                on = normals.vectors * support
                plain.append(on)
                centred.append(on - on.sum(axis=1, keepdims=True) / B * support)
                weights.append(p * normals.probabilities)
            laws = {
                "[Fisher-b]": Outcomes(np.concatenate(plain) / np.sqrt(b * B), np.concatenate(weights)),
                "[Cov-b]": Outcomes(np.concatenate(centred) * np.sqrt((n - 1) / (b * n * (B - 1))), np.concatenate(weights)),
            }
            return {k: v for name, law in laws.items() for k, v in two_numbers(name, law).items()}

        return at_each(of, SPARSE_SIZES)

    def published(self) -> Predictions:
        def of(n: int, B: int, b: int) -> Predictions:
            return stated("[Fisher-b]", SparseGaussian(n, b, B, "fisher")) | stated("[Cov-b]", Minibatch(n, b))

        return at_each(of, SPARSE_SIZES)

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        def wrong(of: Callable[[int, int, int], Predictions]) -> Predictions:
            return at_each(of, SPARSE_SIZES)

        yield "[Fisher-b] has the covariance of the minibatch", wrong(lambda n, B, b: stated("[Fisher-b]", Minibatch(n, b)))
        yield "[Fisher-b] has 1/(Bn)", wrong(lambda n, B, b: {"[Fisher-b]: variance": 1 / (B * n)})
        share = wrong(lambda n, B, b: {"[Cov-b]: variance": Minibatch(n, b).variance * (B - 1) / B})
        yield "[Cov-b] with B for B − 1", share
        without = wrong(lambda n, B, b: stated("[Cov-b]", Minibatch(n, b, False)))
        yield "[Cov-b] matches the minibatch without replacement", without
