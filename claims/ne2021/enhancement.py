"""Claims of ne2021, Section 2: the noise that two minibatches make, and which batch it is the noise of."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from gradnoise.claims.claim import Claim, Predictions, Quantities, Run, claim, computed, entries
from gradnoise.claims.instances import GRADIENTS, VALUES
from gradnoise.claims.judgement import Computed
from gradnoise.claims.prediction import Margin, Relative
from gradnoise.simulations import sampling
from gradnoise.simulations.sampling import Outcomes, outcomes
from gradnoise.theory import gradient_noise
from gradnoise.theory.sampling import Enhanced, Minibatch, compensating_alpha, effective_batch_size


def enhancement(alpha: float) -> float:
    """c(α) = α² + (1 − α)²."""
    return alpha**2 + (1 - alpha) ** 2


@claim("ne2021.eq4", "Cov ξ = (η²/B)(N−B)/(N−1)(F − ∇L∇Lᵀ) without replacement", kind="exact", source="Eq. (4)")
class CovarianceWithoutReplacement(Claim):
    """All batches of two out of six."""

    eta, B = 0.1, 2

    def measure(self, run: Run) -> Quantities:
        law = outcomes(Minibatch(6, self.B, replacement=False)).transformed(self.eta * GRADIENTS)
        return computed("Cov ξ", law.covariance())

    def published(self) -> Predictions:
        return entries("Cov ξ", self.eta**2 * gradient_noise.sgd_covariance(GRADIENTS, self.B, replacement=False))

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "N ≫ B assumed", entries("Cov ξ", self.eta**2 * gradient_noise.sgd_covariance(GRADIENTS, self.B))
        yield "η for η²", entries("Cov ξ", self.eta * gradient_noise.sgd_covariance(GRADIENTS, self.B, replacement=False))


@claim("ne2021.eq10", "The enhanced noise has c(α) = α² + (1−α)² times the covariance", kind="comparison", source="Eq. (10)")
class EnhancedCovariance(Claim):
    """All pairs of batches of two out of five; and draws of 10 out of 50."""

    alpha = 1.5
    large = Minibatch(50, 10, replacement=False)

    def margin(self, label: str) -> Margin:
        return Relative(0.02)

    @functools.cached_property
    def values(self) -> np.ndarray:
        return np.random.default_rng(10).exponential(size=50)

    def measure(self, run: Run) -> Quantities:
        base = Minibatch(5, 2, replacement=False)
        law = outcomes(Enhanced(base, self.alpha)).transformed(GRADIENTS[:, :5])
        found: dict[str, Any] = computed("all pairs", law.covariance())
        noise = Enhanced(self.large, self.alpha)
        (square,) = sampling.expectations(noise, self._square, run.n_paths, rng=run.at("N = 50"))
        return {**found, "N = 50": square}

    def published(self) -> Predictions:
        return self._scaled(enhancement(self.alpha))

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "α² alone, as of the useless Eq. (5)", self._scaled(self.alpha**2)
        yield "(1 − α²), as Eq. (10) misprints its first line", self._scaled(self.alpha**2 + 1 - self.alpha**2)
        yield "α² for (1 − α)² too", self._scaled(2 * self.alpha**2)

    def _scaled(self, factor: float) -> Predictions:
        small = factor * gradient_noise.sgd_covariance(GRADIENTS[:, :5], 2, replacement=False)
        return {**entries("all pairs", small), "N = 50": factor * self.large.cumulant(2, self.values)}

    def _square(self, weights: np.ndarray) -> np.ndarray:
        return ((weights * self.values).sum(axis=1, keepdims=True) - self.values.mean()) ** 2


@claim(
    "ne2021.eq11",
    "B_eff = B/c(α) for N ≫ B; exactly: with replacement, and without for two disjoint batches, at every N",
    kind="exact",
    source="Eq. (11)",
)
class EffectiveBatchSize(Claim):
    """Batch size of equal covariance, over all pairs of batches: with, without, and disjoint."""

    n, B, alpha = 5, 2, 1.5

    def measure(self, run: Run) -> Quantities:
        laws = {
            "with": outcomes(Enhanced(Minibatch(self.n, self.B), self.alpha)),
            "without, two independent batches": outcomes(Enhanced(Minibatch(self.n, self.B, False), self.alpha)),
            "without, two disjoint batches": self._disjoint(),
        }
        found = {}
        for name, law in laws.items():
            C = law.covariance()
            power = C[0, 0] - C[0, 1]
            size = 1 / (self.n * power) if name == "with" else self.n / (1 + self.n * (self.n - 1) * power)
            found[name] = Computed(float(size), rounding=1e-12)
        return {**found, "α that undoes it": Computed(compensating_alpha(self.B, found["with"].value), rounding=1e-12)}

    def published(self) -> Predictions:
        c = enhancement(self.alpha)
        return {
            "with": self.B / c,
            "without, two independent batches": effective_batch_size(
                Enhanced(Minibatch(self.n, self.B, False), self.alpha), False
            ),
            "without, two disjoint batches": self.B / c,
            "α that undoes it": self.alpha,
        }

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        c = enhancement(self.alpha)
        yield "B/c(α) for two independent batches too", {"without, two independent batches": self.B / c}
        yield (
            "N/(1 + c(α)(N−B)/B) for disjoint ones",
            {"without, two disjoint batches": self.n / (1 + c * (self.n - self.B) / self.B)},
        )
        yield "B/α²", {"with": self.B / self.alpha**2}

    def _disjoint(self) -> Outcomes:
        vectors = []
        for order in itertools.permutations(range(self.n), 2 * self.B):
            w = np.zeros(self.n)
            w[list(order[: self.B])] = self.alpha / self.B
            w[list(order[self.B :])] = (1 - self.alpha) / self.B
            vectors.append(w)
        return Outcomes(np.array(vectors), np.full(len(vectors), 1 / len(vectors)))


@claim(
    "ne2021.non-equivalence",
    "Enhancement is not a smaller batch: at equal covariance its kurtosis is (c²+2c−1)/(2c³), its skewness (3c−1)/(2c²) of it",
    kind="exact",
    source="Section 2, after Eq. (11)",
)
class EnhancedIsNotASmallerBatch(Claim):
    """Cumulants of gᵀW over all pairs of batches, and all batches of equal covariance, of four samples: c = 2 and c = 3."""

    n, pairs = 4, ((4, 2), (3, 1))

    def measure(self, run: Run) -> Quantities:
        found = {}
        for B, b in self.pairs:
            enhanced = outcomes(Enhanced(Minibatch(self.n, B), compensating_alpha(B, b))).cumulants(VALUES[: self.n])
            smaller = outcomes(Minibatch(self.n, b)).cumulants(VALUES[: self.n])
            for name, e, s in zip(("variance", "skewness", "kurtosis"), enhanced[1:], smaller[1:], strict=True):
                found[f"ratio of {name}, c = {B // b}"] = Computed(e / s, rounding=1e-10)
        return found

    def published(self) -> Predictions:
        return self._ratios(lambda c: (3 * c - 1) / (2 * c**2), lambda c: (c**2 + 2 * c - 1) / (2 * c**3))

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "equivalent to the smaller batch", self._ratios(lambda c: 1.0, lambda c: 1.0)
        yield "Gaussian", self._ratios(lambda c: 0.0, lambda c: 0.0)
        yield "cumulants in place of standardised ones", self._ratios(lambda c: (3 * c - 1) / 2, lambda c: (c**2 + 2 * c - 1) / 2)

    def _ratios(self, skewness: Any, kurtosis: Any) -> Predictions:
        predicted = {}
        for c in (B // b for B, b in self.pairs):
            predicted |= {
                f"ratio of variance, c = {c}": 1.0,
                f"ratio of skewness, c = {c}": skewness(c),
                f"ratio of kurtosis, c = {c}": kurtosis(c),
            }
        return predicted
