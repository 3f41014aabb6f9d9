"""Claims of ne2021 on what enhancement costs: gradients for its noise, and steps until a training has converged."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from gradnoise.claims.claim import Claim, Predictions, Quantities, Run, claim
from gradnoise.claims.generic import at_each, generic_sizes
from gradnoise.claims.instances import VALUES
from gradnoise.claims.judgement import Computed
from gradnoise.claims.ne2021.enhancement import enhancement
from gradnoise.claims.ne2021.tables import TABLE_2
from gradnoise.claims.prediction import AtLeast, AtMost
from gradnoise.simulations.sampling import outcomes
from gradnoise.theory.least_squares import LeastSquares, WeightMoments
from gradnoise.theory.sampling import Enhanced, Minibatch, compensating_alpha


class _Samples:
    """Samples that count how often one of them is asked for its gradient."""

    def __init__(self, gradients: np.ndarray) -> None:
        self._gradients, self.asked = gradients, 0

    def gradient(self, batch: np.ndarray | slice) -> float:
        """Gradient of the loss of a batch."""
        of_batch = self._gradients[batch]
        self.asked += len(of_batch)
        return float(of_batch.mean())


def _plain(samples: _Samples, first: np.ndarray, second: np.ndarray, alpha: float) -> float:
    return samples.gradient(first)  # Eq. (2)


def _naive(samples: _Samples, first: np.ndarray, second: np.ndarray, alpha: float) -> float:
    return alpha * samples.gradient(first) + (1 - alpha) * samples.gradient(slice(None))  # Eq. (5)


def _enhanced(samples: _Samples, first: np.ndarray, second: np.ndarray, alpha: float) -> float:
    return alpha * samples.gradient(first) + (1 - alpha) * samples.gradient(second)  # Eq. (6)


@claim(
    "ne2021.cost",
    "As the second batch is no larger than the first, enhancement has no serious computational cost; read as: at most twice the "
    "gradients of a batch as noisy",
    kind="exact",
    source="Section 2, after Eq. (10)",
    expected="refuted",
    corrected="A step takes 2B gradients, where Eq. (5) takes N + B; but a batch as noisy takes B/c(α): so it costs 2c(α) times "
    "as many, or has 2c(α) times the noise of a batch of as many",
)
class EnhancementCostsNothing(Claim):
    """Counted gradients of a step, and its variance over all batches, beside the smaller batch and that of as many gradients."""

    sizes = generic_sizes((2, 1), (3, 2), (3, 1))  # B, and the batch b that is as noisy
    n = 4
    of_same_noise, same_noise = "gradients, over those of a batch as noisy", "noise, over that of this batch"
    at_same_cost, naive = "noise, over that of a batch of as many gradients", "gradients of Eq. (5)"

    def measure(self, run: Run) -> Quantities:
        def costs(B: int, b: int) -> Quantities:
            alpha = compensating_alpha(B, b)
            spent, small = self._asked(_enhanced, B, alpha), self._asked(_plain, b, 1.0)
            noise = self._noise(Enhanced(Minibatch(self.n, B), alpha))
            found = {
                self.of_same_noise: spent / small,
                self.same_noise: noise / self._noise(Minibatch(self.n, b)),
                self.at_same_cost: noise / self._noise(Minibatch(self.n, spent)),
                self.naive: self._asked(_naive, B, math.sqrt(enhancement(alpha))),
            }
            return {label: Computed(value, rounding=1e-10) for label, value in found.items()}

        return at_each(costs, self.sizes, "B, b")

    def published(self) -> Predictions:
        return at_each(lambda B, b: {self.of_same_noise: AtMost(2.0), self.same_noise: 1.0}, self.sizes, "B, b")

    def corrected(self) -> Predictions:
        def predicted(B: int, b: int) -> Predictions:
            c = enhancement(compensating_alpha(B, b))
            return {self.of_same_noise: 2 * c, self.same_noise: 1.0, self.at_same_cost: 2 * c, self.naive: self.n + B}

        return at_each(predicted, self.sizes, "B, b")

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "c(α) times, one batch forgotten", at_each(lambda B, b: {self.of_same_noise: B / b}, self.sizes, "B, b")
        yield "c(α) times the noise of a batch of 2B", at_each(lambda B, b: {self.at_same_cost: B / b}, self.sizes, "B, b")
        yield "Eq. (5) as cheap", at_each(lambda B, b: {self.naive: 2 * B}, self.sizes, "B, b")

    def _asked(self, step: Callable[[_Samples, np.ndarray, np.ndarray, float], float], size: int, alpha: float) -> int:
        samples = _Samples(VALUES[: self.n])
        step(samples, np.arange(size), np.arange(size), alpha)
        return samples.asked

    def _noise(self, noise: Minibatch | Enhanced) -> float:
        return outcomes(noise).cumulants(VALUES[: self.n])[1]


@claim(
    "ne2021.time",
    "The convergence time rises with α at a fixed B, and enhancement shortens it at B_opt; measured on noise-free least squares "
    "with SGD",
    kind="inequality",
    source="Section 3.1 and Table 2",
    expected="refuted",
    corrected="It depends on B/c(α) alone, and falls with it: so it rises with α at a fixed B, and at all printed optima of "
    "Table 2, too, where B/c(α) < B_opt(1)",
)
class ConvergenceTime(Claim):
    """Steps until the expected loss is a millionth, interpolated, relative to those without enhancement.

    Features are normal, batches fresh, and labels without noise. Measured by the exact recursion; predicted without one, as for
    features of covariance I the loss shrinks by one factor a step.
    """

    dimension, step_size, target = 1_000, 0.05, 1e-6
    fixed, strengths = 500, (1.5, 2.0, 2.5)
    _longest = 400

    def measure(self, run: Run) -> Quantities:
        found = self._relative(self._by_recursion)
        return {label: Computed(value, rounding=1e-9) for label, value in found.items()}

    def published(self) -> Predictions:
        return {label: AtLeast(1.0) if label.startswith("B =") else AtMost(1.0) for label in self._cases()}

    def corrected(self) -> Predictions:
        return self._relative(lambda alpha, B: self._of_factor(enhancement(alpha) / B))

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "of a batch B, whatever α", self._relative(lambda alpha, B: self._of_factor(1 / B))
        yield "α² for c(α)", self._relative(lambda alpha, B: self._of_factor(alpha**2 / B))
        yield (
            "d for d + 1 in the features' fourth moment",
            self._relative(lambda alpha, B: self._of_factor(enhancement(alpha) / B, self.dimension)),
        )

    def _cases(self) -> dict[str, tuple[float, int, int]]:
        """Strength, batch size, and the batch size without enhancement that it is compared with."""
        fixed = {f"B = {self.fixed}, α = {alpha:g}": (alpha, self.fixed, self.fixed) for alpha in self.strengths}
        best = {
            f"{network}, α = {alpha:g}, B_opt = {B}": (alpha, B, of_one)
            for network, (of_one, enhanced) in TABLE_2.items()
            for alpha, B in enhanced.items()
        }
        return {**fixed, **best}

    def _relative(self, time: Callable[[float, int], float]) -> dict[str, float]:
        return {label: time(alpha, B) / time(1.0, of_one) for label, (alpha, B, of_one) in self._cases().items()}

    def _by_recursion(self, alpha: float, B: int) -> float:
        w = np.repeat([alpha / B, (1 - alpha) / B], B)  # of two batches of fresh samples
        own = float(w @ w)
        problem = LeastSquares(np.ones(self.dimension), np.full(self.dimension, math.sqrt(2 / self.dimension)), 0.0)
        losses = problem.last_iterate_risk(self.step_size, WeightMoments(own, w.sum() ** 2 - own), np.arange(self._longest))
        n = int(np.flatnonzero(losses <= self.target)[0]) - 1
        return n + math.log(losses[n] / self.target) / math.log(losses[n] / losses[n + 1])

    def _of_factor(self, own: float, added: int | None = None) -> float:
        """Time where E(Σwᵢxᵢxᵢᵀ)² = 1 + (d + 1)Σwᵢ², in units of I."""
        of_square = 1 + own * (self.dimension + 1 if added is None else added)
        return math.log(self.target) / math.log(1 - 2 * self.step_size + self.step_size**2 * of_square)
