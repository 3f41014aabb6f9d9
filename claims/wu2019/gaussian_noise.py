"""Claims of wu2019, Sections 5.1 and 5.2: Gaussian noise of the gradients' covariance, and of their Fisher."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gradnoise.claims.claim import Claim, Predictions, Quantities, Run, claim, computed, entries
from gradnoise.claims.generic import at_each
from gradnoise.claims.instances import PAIRS, sample_gradients
from gradnoise.claims.judgement import Computed
from gradnoise.claims.prediction import Absolute, Margin
from gradnoise.simulations import sampling
from gradnoise.simulations.sampling import product_rule
from gradnoise.theory import gradient_noise
from gradnoise.theory.sampling import Gaussian


@claim(
    "wu2019.eq15",
    "Σ_sgd = (1/N)(G(I−J/N))(G(I−J/N))ᵀ, hence v = G(I−J/N)ε/√(bN) has the covariance Σ_sgd/b",
    kind="exact",
    source="Eq. (15)",
)
class CentredGradientsGiveTheNoise(Claim):
    """Deviations from the mean gradient, summed sample by sample; and the covariance of v by quadrature."""

    def measure(self, run: Run) -> Quantities:
        def of(n: int, b: int) -> Quantities:
            G = sample_gradients(n)
            mean = sum(G[:, i] for i in range(n)) / n
            sigma = sum(np.outer(G[:, i] - mean, G[:, i] - mean) for i in range(n)) / n
            centring = (np.eye(n) - np.ones((n, n)) / n) / np.sqrt(b * n)
            return computed("Σ", sigma) | computed("Var v", product_rule(dimension=n).transformed(G @ centring).covariance())

        return at_each(of, PAIRS, "n, b")

    def published(self) -> Predictions:
        return self._predicted(gradient_noise.sgd_covariance, gradient_noise.sgd_covariance)

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        right = gradient_noise.sgd_covariance
        yield "without the centring", self._predicted(lambda G, b: gradient_noise.fisher(G), right)
        yield "v without its 1/√b", self._predicted(right, lambda G, b: right(G, 1))
        yield "v without its 1/√N", self._predicted(right, lambda G, b: right(G, b) * G.shape[1])

    @staticmethod
    def _predicted(
        sigma: Callable[[np.ndarray, int], np.ndarray], variance: Callable[[np.ndarray, int], np.ndarray]
    ) -> Predictions:
        def of(n: int, b: int) -> Predictions:
            G = sample_gradients(n)
            return entries("Σ", sigma(G, 1)) | entries("Var v", variance(G, b))

        return at_each(of, PAIRS, "n, b")


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
    """Quadrature for small N, and draws for N = 1,000."""

    insensitive_because = "of 1/1,000 draws tell no more than a few per cent; quadrature tells 1/N for small N"
    small, large = "power", "N = 1,000"
    pilot_paths = 5_000

    def margin(self, label: str) -> Margin:
        return Absolute(5e-5)

    def measure(self, run: Run) -> Quantities:
        def listed(n: int, b: int) -> Quantities:
            law = product_rule(dimension=n)
            fisher, cov = self.pair(law.vectors, b)
            power = [law.probabilities @ (x**2).sum(axis=1) for x in (fisher - cov, fisher)]
            return {self.small: Computed(float(power[0] / power[1]), rounding=1e-12)}

        return {**at_each(listed, PAIRS, "n, b"), self.large: self.simulated(self._share, run)}

    def published(self) -> Predictions:
        return self._predicted(lambda n, b: 1 / n)

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "1/N²", self._predicted(lambda n, b: n**-2)
        yield "1/√N", self._predicted(lambda n, b: n**-0.5)
        yield "2/N", self._predicted(lambda n, b: 2 / n)
        yield "1/(bN)", self._predicted(lambda n, b: 1 / (b * n))

    def _predicted(self, power: Callable[[int, int], float]) -> Predictions:
        return {
            **at_each(lambda n, b: {self.small: power(n, b)}, PAIRS, "n, b"),
            self.large: power(self.n_large, self.b),
        }

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
    """Quadrature for small N, draws for N = 1,000, and the law of the random learning rate, uncorrelated with Cov noise."""

    insensitive_because = "draws for N = 1,000 show that N plays no part; quadrature tells the share for small N"
    small, large, rate = "power", "N = 1,000", "variance of the random learning rate/η²"
    across, correlation = "largest part across ∇L", "largest covariance of rate and Cov noise"
    pilot_paths = 5_000

    def margin(self, label: str) -> Margin:
        return Absolute(0.03)

    def measure(self, run: Run) -> Quantities:
        def listed(n: int, b: int) -> Quantities:
            law, G = product_rule(dimension=n), sample_gradients(n)
            fisher, cov = (weights @ G.T for weights in self.pair(law.vectors, b))
            power = [law.probabilities @ (x**2).sum(axis=1) for x in (fisher - cov, fisher)]
            mean = G.mean(axis=1)
            along = (fisher - cov) @ mean / (mean @ mean)
            values = {
                self.small: power[0] / power[1],
                self.rate: law.probabilities @ along**2,
                self.across: np.abs(fisher - cov - np.outer(along, mean)).max(),
                self.correlation: np.abs((law.probabilities * along) @ cov).max(),
            }
            return {label: Computed(float(value), rounding=1e-12) for label, value in values.items()}

        return {**at_each(listed, PAIRS, "n, b"), self.large: self.simulated(self._share, run)}

    def published(self) -> Predictions:
        return self._predicted(lambda G: 1 / G.shape[1])

    def corrected(self) -> Predictions:
        law = at_each(lambda n, b: {self.rate: 1 / b, self.across: 0.0, self.correlation: 0.0}, PAIRS, "n, b")
        return {**self._predicted(self._alignment), **law}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        def over_sigma(G: np.ndarray) -> float:
            return float((G.mean(axis=1) ** 2).sum() / np.trace(gradient_noise.sgd_covariance(G, 1)))

        yield "‖∇L‖²/(N TrF)", self._predicted(lambda G: self._alignment(G) / G.shape[1])
        yield "TrΣ for TrF", self._predicted(over_sigma)
        yield "a learning rate η(1 + ξ/b)", at_each(lambda n, b: {self.rate: 1 / b**2}, PAIRS, "n, b")
        yield "a learning rate η(1 + ξ/√(bN))", at_each(lambda n, b: {self.rate: 1 / (b * n)}, PAIRS, "n, b")

    def _predicted(self, power: Callable[[np.ndarray], float]) -> Predictions:
        listed = at_each(lambda n, b: {self.small: power(sample_gradients(n))}, PAIRS, "n, b")
        return {**listed, self.large: power(self._many())}

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
