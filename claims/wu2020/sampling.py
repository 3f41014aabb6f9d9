"""Claims of wu2020: gradient noise of every class as gradient matrix times sampling noise."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gradnoise.claims.claim import Claim, Predictions, Quantities, Run, both_ways, claim, computed, entries
from gradnoise.claims.covariance import stated, two_numbers
from gradnoise.claims.instances import GRADIENTS
from gradnoise.claims.judgement import Computed
from gradnoise.claims.prediction import AtLeast, Margin, Relative
from gradnoise.simulations import sampling
from gradnoise.simulations.sampling import Outcomes, outcomes, product_rule
from gradnoise.theory import gradient_noise
from gradnoise.theory.sampling import (
    Bernoulli,
    Gaussian,
    GaussianMinibatch,
    Minibatch,
    SamplingNoise,
    SparseGaussian,
    compensating_noise_batch_size,
    effective_batch_size,
)


@claim("wu2020.eq1", "C(θ) = G Var[V_sgd] Gᵀ = (F − ∇L∇Lᵀ)/b, from the sampling noise", kind="exact", source="Eq. (1)")
class CovarianceFromSamplingNoise(Claim):
    """G Var[V] Gᵀ with the covariance matrix of all batches, with and without replacement."""

    b = 3

    def measure(self, run: Run) -> Quantities:
        return both_ways(lambda way, r: computed(way, GRADIENTS @ outcomes(Minibatch(6, self.b, r)).covariance() @ GRADIENTS.T))

    def published(self) -> Predictions:
        return self._predicted(lambda r: gradient_noise.sgd_covariance(GRADIENTS, self.b, r))

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "F/b", self._predicted(lambda r: gradient_noise.fisher(GRADIENTS) / self.b)
        yield "(1) for both ways of sampling", self._predicted(lambda r: gradient_noise.sgd_covariance(GRADIENTS, self.b))

    @staticmethod
    def _predicted(covariance: Callable[[bool], np.ndarray]) -> Predictions:
        return both_ways(lambda way, replacement: entries(way, covariance(replacement)))


@claim(
    "wu2020.eq2",
    "θ_{t+1} = θ_t − η∇L + η∇𝓛V, with V the sampling noise of SGD",
    kind="exact",
    source="Eq. (2)",
    expected="refuted",
    corrected="The sign is −η∇𝓛V; with + the odd cumulants of the step flip",
)
class SignOfTheNoise(Claim):
    """Cumulants of one step of real SGD along the first coordinate, over all batches."""

    eta, b = 0.1, 2

    def measure(self, run: Run) -> Quantities:
        law = outcomes(Minibatch(6, self.b)).transformed(-self.eta * GRADIENTS)
        mean, second, third, _ = law.cumulants([1.0, 0.0])
        return {
            "mean of the step": Computed(mean, rounding=1e-15),
            "variance of the step": Computed(second, rounding=1e-15),
            "third cumulant of the step": Computed(third, rounding=1e-15),
        }

    def published(self) -> Predictions:
        return self._with_sign(+1)

    def corrected(self) -> Predictions:
        return self._with_sign(-1)

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "Gaussian noise", {"third cumulant of the step": 0.0}
        yield "without η", {"third cumulant of the step": -Minibatch(6, self.b).cumulant(3, GRADIENTS[0])}

    def _with_sign(self, sign: int) -> Predictions:
        noise = Minibatch(6, self.b)
        return {
            "mean of the step": float(-self.eta * GRADIENTS[0].mean()),
            "variance of the step": self.eta**2 * noise.cumulant(2, GRADIENTS[0]),
            "third cumulant of the step": (sign * self.eta) ** 3 * noise.cumulant(3, GRADIENTS[0]),
        }


@claim(
    "wu2020.sec4.3",
    "Var[V_B] = (n−b)/(bn²) I = Diag(Var[V_sgd]), for both ways of sampling",
    kind="exact",
    source="Section 4.3",
    expected="refuted",
    corrected="Without replacement; with, which is the paper's default, the diagonal is (n−1)/(bn²)",
)
class BernoulliNoiseHasTheDiagonal(Claim):
    """Diagonals of all batches, and of all Bernoulli weights."""

    n, b = 5, 2

    def measure(self, run: Run) -> Quantities:
        def diagonal(way: str, replacement: bool) -> Quantities:
            C = outcomes(Minibatch(self.n, self.b, replacement)).covariance()
            return {f"diagonal of Var[V_sgd], {way}": Computed(float(C[0, 0]), rounding=1e-15)}

        return {**two_numbers("V_B", outcomes(Bernoulli(self.n, self.b))), **both_ways(diagonal)}

    def published(self) -> Predictions:
        return self._predicted(with_=(self.n - self.b) / (self.b * self.n**2))

    def corrected(self) -> Predictions:
        return self._predicted(with_=(self.n - 1) / (self.b * self.n**2))

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "1/(bn)", {"V_B: variance": 1 / (self.b * self.n)}
        yield (
            "SGD's diagonals exchanged",
            {
                "diagonal of Var[V_sgd], with": Bernoulli(self.n, self.b).variance,
                "diagonal of Var[V_sgd], without": Minibatch(self.n, self.b).variance,
            },
        )
        yield "the covariance of SGD kept", {"V_B: covariance": Minibatch(self.n, self.b, False).covariance}

    def _predicted(self, with_: float) -> Predictions:
        noise = Bernoulli(self.n, self.b)
        return {
            **stated("V_B", noise),
            "diagonal of Var[V_sgd], with": with_,
            "diagonal of Var[V_sgd], without": noise.variance,
        }


@claim(
    "wu2020.sec4.4",
    "V′_F = √(B/b) V_sgd(B) ⊙ ε is sparse and has Var = Var[V_sgd(b)]",
    kind="exact",
    source="Section 4.4",
    expected="refuted",
    corrected="It is dense, with (n−1)/(bn²) I or (n−B)/(bn²) I; W_sgd(B) for V_sgd(B), centred over its support, does it",
)
class SparseGaussianNoiseHasTheCovariance(Claim):
    """The three forms, over all supports and three-point normals."""

    n, b, B = 5, 2, 3

    def measure(self, run: Run) -> Quantities:
        found: dict[str, Any] = {}
        for name, noise in self._forms().items():
            law = outcomes(noise)
            found |= two_numbers(name, law)
            if name == "printed, without":
                used = np.abs(law.vectors - 1 / self.n) > 1e-12
                found["largest number of samples that carry noise, as printed"] = Computed(int(used.sum(axis=1).max()))
        return found

    def published(self) -> Predictions:
        target = Minibatch(self.n, self.b)
        return {
            **stated("printed, with", target),
            **stated("printed, without", target),
            "largest number of samples that carry noise, as printed": self.B,
        }

    def corrected(self) -> Predictions:
        predicted = {k: v for name, noise in self._forms().items() for k, v in stated(name, noise).items()}
        return {
            **predicted,
            **stated("support-centred", Minibatch(self.n, self.b)),
            "released, with: variance": (self.n + self.B - 1) / (self.b * self.n**2),
            "largest number of samples that carry noise, as printed": self.n,
        }

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield (
            "support-centred noise without its rescaling",
            {"support-centred: variance": Minibatch(self.n, self.b).variance * (self.B - 1) / self.B},
        )
        yield "the released form is exact too", stated("released, without", Minibatch(self.n, self.b))
        yield "(n−b) for (n−B)", {"printed, without: variance": (self.n - self.b) / (self.b * self.n**2)}

    def _forms(self) -> dict[str, SamplingNoise]:
        def form(name: str, replacement: bool = False) -> SparseGaussian:
            return SparseGaussian(self.n, self.b, self.B, name, replacement)

        return {
            "printed, with": form("printed", True),
            "printed, without": form("printed"),
            "released, without": form("fisher"),
            "released, with": form("fisher", True),
            "support-centred": form("cov"),
            "support-centred, support with replacement": form("cov", True),
        }


def _formula_error(noise: SamplingNoise) -> Computed:
    """Largest difference between the stated covariance matrix and that of all outcomes, relative to the largest entry."""
    stated_matrix = noise.covariance_matrix()
    miss = np.abs(stated_matrix - outcomes(noise).covariance()).max()
    return Computed(float(miss / stated_matrix.max()), rounding=1e-12)


@claim(
    "wu2020.algorithm2",
    "In mini-batch MSGD the covariance of the sampling noise becomes hard to calculate, so its strength is tuned",
    kind="exact",
    source="Section 4.5",
    expected="refuted",
    corrected="Var[W] = Var[W_sgd(B)] + I/(b′n); on the centred part 1/b_eff = 1/B + 1/b′ with, (n−B)/(B(n−1)) + 1/b′ without",
)
class CovarianceOfMinibatchNoiseIsHard(Claim):
    """All batches of three out of four, with three-point normals on their draws."""

    n, B, noise_b = 4, 3, 2.5
    error, effective = "error of the closed form", "1/b_eff"

    def measure(self, run: Run) -> Quantities:
        def moments(way: str, replacement: bool) -> dict[str, Any]:
            noise = GaussianMinibatch(self.n, self.B, self.noise_b, replacement=replacement)
            law = outcomes(noise)
            C = law.covariance()
            return {
                f"{self.error}, {way}": _formula_error(noise),
                **two_numbers(way, law),
                f"{self.effective}, {way}": Computed(float(self.n * (C[0, 0] - C[0, 1])), rounding=1e-12),
            }

        return both_ways(moments)

    def published(self) -> Predictions:
        # No number is published. "Hard to calculate" is read as: two numbers in closed form miss it.
        return both_ways(lambda way, _: {f"{self.error}, {way}": AtLeast(1e-3)})

    def corrected(self) -> Predictions:
        def moments(way: str, replacement: bool) -> dict[str, float]:
            batch = Minibatch(self.n, self.B, replacement)
            return {
                f"{self.error}, {way}": 0.0,
                f"{way}: variance": batch.variance + 1 / (self.noise_b * self.n),
                f"{way}: covariance": batch.covariance,
                f"{self.effective}, {way}": 1 / effective_batch_size(batch) + 1 / self.noise_b,
            }

        return both_ways(moments)

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "1/b_eff = 1/B + 1/b′ without replacement too", {f"{self.effective}, without": 1 / self.B + 1 / self.noise_b}
        yield "I/(b′B) for I/(b′n)", {"with: variance": Minibatch(self.n, self.B).variance + 1 / (self.noise_b * self.B)}


@claim(
    "wu2020.algorithm2-tower",
    "Sharper: with batch-centred noise κ(I − J/B), κ = (B−b)/(bB(B−1)), Var[W] is exactly that of SGD with batch b",
    kind="exact",
    source="Algorithm 2 with the covariance of Theorem 1",
)
class CentredMinibatchNoiseIsExact(Claim):
    """All batches of three out of four, with three-point normals of covariance κ(I − J/B) on their draws, as stated."""

    n, B, b = 4, 3, 2

    def measure(self, run: Run) -> Quantities:
        kappa = (self.B - self.b) / (self.b * self.B * (self.B - 1))
        normals = product_rule(dimension=self.B)
        centred = normals.vectors - normals.vectors.mean(axis=1, keepdims=True)

        def moments(way: str, replacement: bool) -> dict[str, Any]:
            law = self._law(1 / self.B + np.sqrt(kappa) * centred, normals.probabilities, replacement)
            noise = GaussianMinibatch(self.n, self.B, compensating_noise_batch_size(self.B, self.b), True, replacement)
            return {**two_numbers(way, law), **two_numbers(f"GaussianMinibatch, {way}", outcomes(noise))}

        uncentred = self._law(1 / self.B + np.sqrt(kappa) * normals.vectors, normals.probabilities, True)
        return both_ways(moments) | two_numbers("uncentred", uncentred)

    def published(self) -> Predictions:
        return self._like(lambda r: Minibatch(self.n, self.b, r))

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        wrong = (self.B - 1) / self.B  # of the noise's share, for 1/B in place of 1/(B − 1)
        share = Minibatch(self.n, self.b).variance - Minibatch(self.n, self.B).variance
        yield "1/B for 1/(B−1) in κ", {"with: variance": Minibatch(self.n, self.B).variance + wrong * share}
        yield "uncentred weights do it", stated("uncentred", Minibatch(self.n, self.b))
        yield "the noise of the large batch", self._like(lambda r: Minibatch(self.n, self.B, r))

    def _law(self, weights: np.ndarray, probabilities: np.ndarray, replacement: bool) -> Outcomes:
        """Law of W: the draws of each possible batch carry these weights."""
        indices = (
            itertools.product(range(self.n), repeat=self.B) if replacement else itertools.combinations(range(self.n), self.B)
        )
        batches = list(indices)
        vectors = [np.bincount(batch, w, minlength=self.n) for batch in batches for w in weights]
        return Outcomes(np.array(vectors), np.tile(probabilities / len(batches), len(batches)))

    @staticmethod
    def _like(noise: Callable[[bool], SamplingNoise]) -> Predictions:
        return both_ways(lambda way, r: stated(way, noise(r)) | stated(f"GaussianMinibatch, {way}", noise(r)))


@claim(
    "wu2020.non-gaussian",
    "The noise of a small minibatch is not Gaussian; a larger one is closer to it",
    kind="comparison",
    source="Section 2.1",
)
class NoiseIsNotGaussian(Claim):
    """Third and fourth central moments of gᵀW, one gradient in twelve far from the others: all batches, and simulated ones."""

    values = np.array([0.1, -0.4, 3.5, 0.3, -0.2, 0.7, 0.0, -0.1, 0.5, 0.2, -0.3, 0.4])
    sizes = (2, 4)

    def margin(self, label: str) -> Margin:
        return Relative(0.04)

    def measure(self, run: Run) -> Quantities:
        found: dict[str, Any] = {}
        for name, noise in self._cases():
            _, _, third, fourth = outcomes(noise).cumulants(self.values)
            found |= computed(f"κ₃, {name}", third) | computed(f"κ₄, {name}", fourth)
            if noise.batch_size == self.sizes[0]:
                moments = sampling.expectations(noise, self._moments, run.n_paths, rng=run.at(name))
                found |= zip((f"third moment, {name}", f"fourth moment, {name}"), moments, strict=True)
        return found

    def published(self) -> Predictions:
        return self._predicted(lambda noise: noise)

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        def gaussian(noise: Minibatch) -> SamplingNoise:
            return Gaussian(noise.n, noise.batch_size, replacement=noise.replacement)

        yield "Gaussian noise of the same covariance", self._predicted(gaussian)
        yield "with for without replacement", self._predicted(lambda noise: Minibatch(noise.n, noise.batch_size))
        yield "as far from Gaussian at every b", self._predicted(lambda noise: Minibatch(noise.n, 2, noise.replacement))

    def _cases(self) -> Iterator[tuple[str, Minibatch]]:
        for b in self.sizes:
            yield from both_ways(lambda way, r, b=b: {f"b = {b}, {way}": Minibatch(len(self.values), b, r)}).items()

    def _predicted(self, stand_in: Callable[[Minibatch], SamplingNoise]) -> Predictions:
        predicted: dict[str, float] = {}
        for name, noise in self._cases():
            second, third, fourth = (stand_in(noise).cumulant(order, self.values) for order in (2, 3, 4))
            predicted |= {f"κ₃, {name}": third, f"κ₄, {name}": fourth}
            if noise.batch_size == self.sizes[0]:
                predicted |= {f"third moment, {name}": third, f"fourth moment, {name}": fourth + 3 * second**2}
        return predicted

    def _moments(self, weights: np.ndarray) -> np.ndarray:
        y = (weights * self.values).sum(axis=1) - self.values.mean()
        return np.stack([y**3, y**4], axis=1)
