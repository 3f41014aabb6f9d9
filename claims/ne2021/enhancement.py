"""Claims of ne2021, Section 2: the noise that two minibatches make, and which batch it is the noise of."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

import numpy as np

from gradnoise.claims.claim import Claim, Predictions, Quantities, Run, both_ways, claim, computed, entries
from gradnoise.claims.convergence import FEATURES, START, TARGETS
from gradnoise.claims.generic import STRENGTHS, at_each, generic_sizes
from gradnoise.claims.instances import GRADIENTS, VALUES
from gradnoise.claims.judgement import Computed
from gradnoise.claims.prediction import Margin, Relative
from gradnoise.simulations import sampling
from gradnoise.simulations.sampling import Outcomes, outcomes
from gradnoise.theory import gradient_noise
from gradnoise.theory.diffusion import sgd_moments
from gradnoise.theory.sampling import Enhanced, Gaussian, Minibatch, SamplingNoise, compensating_alpha, effective_batch_size

Labelled = TypeVar("Labelled")

#: N and B of three instances; two disjoint batches fit.
NUMBERS = generic_sizes((5, 2), (6, 3), (6, 2))


def enhancement(alpha: float) -> float:
    """c(α) = α² + (1 − α)²."""
    return alpha**2 + (1 - alpha) ** 2


def at_each_number(of: Callable[[int, int], Mapping[str, Labelled]]) -> dict[str, Labelled]:
    """Quantities or predictions at each of `NUMBERS`."""
    return at_each(of, NUMBERS, "N, B")


def at_each_strength(of: Callable[[int, int, float], Mapping[str, Labelled]]) -> dict[str, Labelled]:
    """Quantities or predictions at each of `NUMBERS` and `STRENGTHS`."""
    return at_each_number(
        lambda N, B: {f"{label}, α = {alpha:g}": value for alpha in STRENGTHS for label, value in of(N, B, alpha).items()}
    )


@claim("ne2021.eq4", "Cov ξ = (η²/B)(N−B)/(N−1)(F − ∇L∇Lᵀ) without replacement", kind="exact", source="Eq. (4)")
class CovarianceWithoutReplacement(Claim):
    """All batches."""

    eta = 0.1

    def measure(self, run: Run) -> Quantities:
        def of_all(N: int, B: int) -> Quantities:
            law = outcomes(Minibatch(N, B, replacement=False)).transformed(self.eta * GRADIENTS[:, :N])
            return computed("Cov ξ", law.covariance())

        return at_each_number(of_all)

    def published(self) -> Predictions:
        return at_each_number(
            lambda N, B: entries("Cov ξ", self.eta**2 * gradient_noise.sgd_covariance(GRADIENTS[:, :N], B, replacement=False))
        )

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "N ≫ B assumed", self._times(lambda N, B: self.eta**2 / B)
        yield "N for N − 1", self._times(lambda N, B: self.eta**2 * (N - B) / (B * N))
        yield "B for N − 1", self._times(lambda N, B: self.eta**2 * (N - B) / B**2)
        yield "η for η²", self._times(lambda N, B: self.eta * (N - B) / (B * (N - 1)))

    @staticmethod
    def _times(factor: Callable[[int, int], float]) -> Predictions:
        """A factor times F − ∇L∇Lᵀ."""
        return at_each_number(lambda N, B: entries("Cov ξ", factor(N, B) * gradient_noise.sgd_covariance(GRADIENTS[:, :N], 1)))


@claim("ne2021.eq10", "The enhanced noise has c(α) = α² + (1−α)² times the covariance", kind="comparison", source="Eq. (10)")
class EnhancedCovariance(Claim):
    """All pairs of batches; and draws of 10 out of 50."""

    large = Minibatch(50, 10, replacement=False)
    drawn_strength = STRENGTHS[0]

    def margin(self, label: str) -> Margin:
        return Relative(0.02)

    @functools.cached_property
    def values(self) -> np.ndarray:
        return np.random.default_rng(10).exponential(size=50)

    def measure(self, run: Run) -> Quantities:
        def of_all(N: int, B: int, alpha: float) -> Quantities:
            law = outcomes(Enhanced(Minibatch(N, B, replacement=False), alpha)).transformed(GRADIENTS[:, :N])
            return computed("all pairs", law.covariance())

        noise = Enhanced(self.large, self.drawn_strength)
        (square,) = sampling.expectations(noise, self._square, run.n_paths, rng=run.at("N = 50"))
        return {**at_each_strength(of_all), "N = 50": square}

    def published(self) -> Predictions:
        return self._scaled(enhancement)

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "α² alone, as of the useless Eq. (5)", self._scaled(lambda alpha: alpha**2)
        yield "(1 − α²), as Eq. (10) misprints its first line", self._scaled(lambda alpha: alpha**2 + 1 - alpha**2)
        yield "α² for (1 − α)² too", self._scaled(lambda alpha: 2 * alpha**2)
        yield "1 + α, which is right at α = 1.5", self._scaled(lambda alpha: 1 + alpha)

    def _scaled(self, factor: Callable[[float], float]) -> Predictions:
        def of_all(N: int, B: int, alpha: float) -> Predictions:
            small = gradient_noise.sgd_covariance(GRADIENTS[:, :N], B, replacement=False)
            return entries("all pairs", factor(alpha) * small)

        return {**at_each_strength(of_all), "N = 50": factor(self.drawn_strength) * self.large.cumulant(2, self.values)}

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

    independent, disjoint, undone = "without, two independent batches", "without, two disjoint batches", "α that undoes it"

    def measure(self, run: Run) -> Quantities:
        return at_each_strength(self._sizes)

    def published(self) -> Predictions:
        def predicted(N: int, B: int, alpha: float) -> Predictions:
            independent = Enhanced(Minibatch(N, B, replacement=False), alpha)
            exact = dict.fromkeys(("with", self.disjoint), B / enhancement(alpha))
            # α and 1 − α are one enhancement.
            undone = max(alpha, 1 - alpha)
            return {**exact, self.independent: effective_batch_size(independent, False), self.undone: undone}

        return at_each_strength(predicted)

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        def of_two(N: int, B: int, alpha: float) -> float:
            return N / (1 + enhancement(alpha) * (N - B) / B)

        yield (
            "B/c(α) for two independent batches too",
            at_each_strength(lambda N, B, alpha: {self.independent: B / enhancement(alpha)}),
        )
        yield "N/(1 + c(α)(N−B)/B) for disjoint ones", at_each_strength(lambda N, B, alpha: {self.disjoint: of_two(N, B, alpha)})
        yield "B/α²", at_each_strength(lambda N, B, alpha: {"with": B / alpha**2})
        yield "B/(1 + α), which is right at α = 1.5", at_each_strength(lambda N, B, alpha: {"with": B / (1 + alpha)})

    def _sizes(self, N: int, B: int, alpha: float) -> Quantities:
        laws = {
            "with": outcomes(Enhanced(Minibatch(N, B), alpha)),
            self.independent: outcomes(Enhanced(Minibatch(N, B, False), alpha)),
            self.disjoint: self._disjoint_pairs(N, B, alpha),
        }
        found = {}
        for name, law in laws.items():
            C = law.covariance()
            power = C[0, 0] - C[0, 1]
            size = 1 / (N * power) if name == "with" else N / (1 + N * (N - 1) * power)
            found[name] = Computed(float(size), rounding=1e-12)
        return {**found, self.undone: Computed(compensating_alpha(B, found["with"].value), rounding=1e-12)}

    @staticmethod
    def _disjoint_pairs(N: int, B: int, alpha: float) -> Outcomes:
        vectors = []
        for order in itertools.permutations(range(N), 2 * B):
            w = np.zeros(N)
            w[list(order[:B])] = alpha / B
            w[list(order[B:])] = (1 - alpha) / B
            vectors.append(w)
        return Outcomes(np.array(vectors), np.full(len(vectors), 1 / len(vectors)))


@claim(
    "ne2021.non-equivalence",
    "Enhancement is not a smaller batch: at equal covariance its kurtosis is (c²+2c−1)/(2c³), its skewness (3c−1)/(2c²) of it",
    kind="exact",
    source="Section 2, after Eq. (11)",
)
class EnhancedIsNotASmallerBatch(Claim):
    """Cumulants of gᵀW over all pairs of batches, and as stated; those of batches of equal covariance: c = 4/3, 5/2 and 3."""

    sizes = generic_sizes((4, 4, 3), (3, 5, 2), (6, 3, 1))
    routes = ("all pairs", "stated")

    def measure(self, run: Run) -> Quantities:
        def ratios(n: int, B: int, b: int) -> Quantities:
            noise = Enhanced(Minibatch(n, B), compensating_alpha(B, b))
            smaller = outcomes(Minibatch(n, b)).cumulants(VALUES[:n])
            listed = outcomes(noise).cumulants(VALUES[:n])[1:]
            stated = [noise.cumulant(order, VALUES[:n]) for order in (2, 3, 4)]
            found = {}
            for route, cumulants in zip(self.routes, (listed, stated), strict=True):
                for name, e, s in zip(("variance", "skewness", "kurtosis"), cumulants, smaller[1:], strict=True):
                    found[f"ratio of {name}, {route}"] = Computed(e / s, rounding=1e-10)
            return found

        return at_each(ratios, self.sizes)

    def published(self) -> Predictions:
        return self._ratios(lambda c: (3 * c - 1) / (2 * c**2), lambda c: (c**2 + 2 * c - 1) / (2 * c**3))

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "equivalent to the smaller batch", self._ratios(lambda c: 1.0, lambda c: 1.0)
        yield "Gaussian", self._ratios(lambda c: 0.0, lambda c: 0.0)
        yield "those of the batch B", self._ratios(lambda c: 1 / c, lambda c: 1 / c**2)
        yield "cumulants in place of standardised ones", self._ratios(lambda c: (3 * c - 1) / 2, lambda c: (c**2 + 2 * c - 1) / 2)

    def _ratios(self, skewness: Callable[[float], float], kurtosis: Callable[[float], float]) -> Predictions:
        def predicted(n: int, B: int, b: int) -> Predictions:
            c = B / b
            ratios = {"variance": 1.0, "skewness": skewness(c), "kurtosis": kurtosis(c)}
            return {f"ratio of {name}, {route}": ratio for route in self.routes for name, ratio in ratios.items()}

        return at_each(predicted, self.sizes)


@claim(
    "ne2021.footnote5",
    "Increasing α is reducing B to B_eff: entirely under Gaussian noise, and in two moments of θ under any on a quadratic loss",
    kind="exact",
    source="Footnote 5, and Section 2 after Eq. (11)",
)
class EnhancementIsASmallerBatch(Claim):
    """Second moments of θ after some steps of least squares, over all pairs of batches; and cumulants of Gaussian noise."""

    sizes = generic_sizes((5, 4, 2), (4, 2, 1), (5, 3, 1), (3, 2, 1))
    step_size, n_steps = 0.2, 3

    def measure(self, run: Run) -> Quantities:
        def moments(n: int, B: int, b: int) -> Quantities:
            def after_steps(way: str, replacement: bool) -> Quantities:
                alpha = compensating_alpha(B, b, None if replacement else n)
                return computed(f"E θθᵀ, {way}", self._second_moment(Enhanced(Minibatch(n, B, replacement), alpha)))

            return both_ways(after_steps)

        def of_gaussian(n: int, B: int, b: int) -> Quantities:
            _, *cumulants = outcomes(Enhanced(Gaussian(n, B), compensating_alpha(B, b))).cumulants(VALUES[:n])
            named = zip(self._cumulants(), cumulants, strict=True)
            return {name: Computed(value, rounding=1e-12) for name, value in named}

        return {**at_each(moments, self.sizes), **at_each(of_gaussian, self.sizes)}

    def published(self) -> Predictions:
        def gaussian(n: int, B: int, b: int) -> Predictions:
            return {name: Gaussian(n, b).cumulant(order, VALUES[:n]) for order, name in enumerate(self._cumulants(), 2)}

        return {**self._of_batch(lambda n, B, b, r: Minibatch(n, b, r)), **at_each(gaussian, self.sizes)}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        def of_batches(n: int, B: int, b: int) -> Predictions:
            return {name: Minibatch(n, b).cumulant(order, VALUES[:n]) for order, name in enumerate(self._cumulants(), 2)}

        def without_as_with(n: int, B: int, b: int, replacement: bool) -> SamplingNoise:
            alpha = compensating_alpha(B, b, None if replacement else n)
            return Gaussian(n, B / enhancement(alpha), replacement=replacement)

        yield "the batch B, as without enhancement", self._of_batch(lambda n, B, b, r: Minibatch(n, B, r))
        yield "B_eff = B/c(α) without replacement too", self._of_batch(without_as_with)
        yield "Gaussian noise with the cumulants of a batch", at_each(of_batches, self.sizes)

    @staticmethod
    def _cumulants() -> tuple[str, ...]:
        return tuple(f"Gaussian noise, κ_{order} of gᵀW" for order in (2, 3, 4))

    def _of_batch(self, noise: Callable[[int, int, int, bool], SamplingNoise]) -> Predictions:
        def moments(n: int, B: int, b: int) -> Predictions:
            def after_steps(way: str, replacement: bool) -> Predictions:
                smaller = noise(n, B, b, replacement)
                found = sgd_moments(FEATURES[:n], TARGETS[:n], START, self.step_size, smaller, self.n_steps)
                return entries(f"E θθᵀ, {way}", found.second_moment)

            return both_ways(after_steps)

        return at_each(moments, self.sizes)

    def _second_moment(self, noise: SamplingNoise) -> np.ndarray:
        """Of θ after the steps: each maps (θ, 1) linearly, by a matrix for each outcome of the weights."""
        X, y, law, d = FEATURES[: noise.n], TARGETS[: noise.n], outcomes(noise), len(START)
        steps = np.tile(np.eye(d + 1), (len(law.vectors), 1, 1))
        weighted = self.step_size * law.vectors
        steps[:, :d, :d] -= np.einsum("kn,ni,nj->kij", weighted, X, X)
        steps[:, :d, d] += weighted @ (X * y[:, np.newaxis])
        M = np.outer(np.append(START, 1.0), np.append(START, 1.0))
        for _ in range(self.n_steps):
            M = np.einsum("k,kia,kja->ij", law.probabilities, steps @ M, steps)
        return M[:d, :d]
