"""Theorem 3 of wu2019: Gaussian M-SGD and its SDE on one Brownian path."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from gradnoise.claims.claim import Comparison, Inequality, Predictions, Quantities, Run, claim
from gradnoise.claims.convergence import BATCH_SIZE, FEATURES, TARGETS, TIME, N, slope
from gradnoise.claims.judgement import Absolute, AtLeast, AtMost
from gradnoise.simulations import sde
from gradnoise.simulations.sde import Problem
from gradnoise.simulations.sde.standard_problems import logistic, tanh_network
from gradnoise.simulations.statistics import Order
from gradnoise.theory.diffusion import AugmentedMoments, strong_error, svag_noise
from gradnoise.theory.sampling import Bernoulli, Gaussian, Minibatch, SamplingNoise

#: A start that is far away, so that the first-order drift error is large against the noise.
START = np.array([4.0, -3.0])
FACTORS = {"centred": Gaussian(N, BATCH_SIZE), "uncentred": Gaussian(N, BATCH_SIZE, centered=False)}
LOGISTIC = replace(logistic(n=5), data=2 * logistic(n=5).data, start=np.array([-1.0, -1.0]))
SIMULATED = {
    "logistic regression, centred": (LOGISTIC, True),
    "logistic regression, uncentred": (LOGISTIC, False),
    "network, uncentred": (tanh_network(n=4, n_hidden=1), False),
}
SIMULATED_TIME, SIMULATED_BATCH = 0.25, 16  # a batch so large that the term of order η³ does not hide that of order η²
#: Step sizes and refinement of the reference, by drift: small against the next term of the error, large against rounding.
STUDIES: dict[str, tuple[tuple[float, ...], int]] = {
    "plain": ((1 / 32, 1 / 64, 1 / 128), 4),
    "modified": ((1 / 16, 1 / 32, 1 / 64), 8),
}
MARGIN = 0.15


def least_squares_error(noise: Gaussian, drift: str) -> Callable[[float], float]:
    """Exact mean-square distance as a function of the step size."""
    return lambda eta: strong_error(FEATURES, TARGETS, START, eta, noise, TIME, drift)


def simulated_order(run: Run, part: int, problem: Problem, noise: SamplingNoise, drift: str = "plain", **options: Any) -> Order:
    """Order of the mean square of a simulated problem."""
    steps, refinement = STUDIES[drift]
    return sde.strong_error(
        problem, steps, SIMULATED_TIME, run.n_paths, batch_size=noise, rng=run.seed(part), drift=drift, refinement=refinement,
        n_jobs=run.n_jobs, **options,
    ).order  # fmt: skip


def simulated_orders(drift: str, run: Run) -> dict[str, Order]:
    """Orders of the simulated problems, by label."""
    return {
        label: simulated_order(run, part, problem, Gaussian(problem.n, SIMULATED_BATCH, centered=centred), drift)
        for part, (label, (problem, centred)) in enumerate(SIMULATED.items())
    }


@claim(
    "wu2019.thm3",
    "On one Brownian path Gaussian M-SGD and its SDE are within E‖Θ_kη − θ_k‖² ≤ Cη²",
    source="Theorem 3, (14), (67)–(69)",
)
class StrongFirstOrder(Comparison):
    """Slopes of the mean square: exact for least squares, simulated for two other losses, with both diffusion matrices."""

    margin = Absolute(MARGIN)
    pilot_paths = 4_096
    own_increments = "logistic regression, increments of its own"
    half_order = "least squares, step η/l and l-fold noise, in 1/l"

    def measure(self, run: Run) -> Quantities:
        noise = Gaussian(LOGISTIC.n, SIMULATED_BATCH)
        return {
            **{f"least squares, {kind}": slope(least_squares_error(noise, "plain")) for kind, noise in FACTORS.items()},
            **simulated_orders("plain", run),
            self.own_increments: simulated_order(run, 9, LOGISTIC, noise, shared_increments=False),
            self.half_order: slope(self._half_order_error, (1 / 256, 1 / 512)),
        }

    def published(self) -> Predictions:
        labels = [*(f"least squares, {kind}" for kind in FACTORS), *SIMULATED]
        return dict.fromkeys(labels, 2.0)

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "order ½: the mean square falls as η", dict.fromkeys(self.published(), 1.0)
        yield "order 1½: the mean square falls as η³", dict.fromkeys(self.published(), 3.0)
        yield "also if the increments are not shared", {self.own_increments: 2.0}
        yield "also if the noise does not shrink with the step", {self.half_order: 2.0}

    @staticmethod
    def _half_order_error(step: float) -> float:
        """Of Euler–Maruyama for an SDE whose diffusion does not depend on the step: its strong order is ½."""
        eta = 0.25
        noise = svag_noise(Gaussian(N, BATCH_SIZE), round(eta / step))
        moments = AugmentedMoments(FEATURES, TARGETS, noise, step)
        return moments.strong_error(moments.start(START), round(TIME / step))


@claim(
    "wu2019.thm3-modified",
    "Sharper: with the drift −∇(L + (η/4)‖∇L‖²) the mean square is O(η³), and O(η⁴) without noise, if ∇²L is Lipschitz, too",
    source="Theorem 3, sharper",
)
class StrongModified(Comparison):
    """Slopes of the mean square, as for `wu2019.thm3`."""

    margin = Absolute(MARGIN)
    pilot_paths = 4_096
    no_noise, wrong_sign = "least squares, no noise", "least squares, wrong sign"
    steps = (2.0**-7, 2.0**-8)  # below, rounding is felt without noise

    def measure(self, run: Run) -> Quantities:
        silent = Gaussian(N, N, replacement=False)
        return {
            **{f"least squares, {k}": slope(least_squares_error(noise, "modified"), self.steps) for k, noise in FACTORS.items()},
            self.no_noise: slope(least_squares_error(silent, "modified"), self.steps, tolerance=0.02),
            **simulated_orders("modified", run),
            self.wrong_sign: slope(self._wrong_sign_error),
        }

    def published(self) -> Predictions:
        labels = [*(f"least squares, {kind}" for kind in FACTORS), *SIMULATED]
        return {**dict.fromkeys(labels, 3.0), self.no_noise: 4.0}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        third = {label for label, order in self.published().items() if order == 3.0}
        yield "no better than the plain drift", {**dict.fromkeys(third, 2.0), self.no_noise: 2.0}
        yield "O(η⁴) with noise, too", dict.fromkeys(third, 4.0)
        yield "−η/4 for η/4", {self.wrong_sign: 3.0}

    @staticmethod
    def _wrong_sign_error(eta: float) -> float:
        moments = AugmentedMoments(FEATURES, TARGETS, FACTORS["centred"], eta, correction=-1.0)
        return moments.strong_error(moments.start(START), round(TIME / eta))


@claim(
    "wu2019.sec4-pathwise",
    "For SGD itself the path-wise closeness to the SDE is not ensured",
    source="Section 4, after Theorem 2",
    expected=None,
)
class NoPathwiseCloseness(Inequality):
    """Slope of the mean square for noises that are not Gaussian, coupled as well as we can, on logistic regression.

    It is near 1, as for gradient descent without noise: a coupling of each step by itself gains a factor, and no order. What
    couplings of many steps at once could reach is not measured.
    """

    margin = Absolute(MARGIN)
    pilot_paths = 4_096
    noises = {
        "minibatch with replacement": Minibatch(LOGISTIC.n, BATCH_SIZE),
        "minibatch without replacement": Minibatch(LOGISTIC.n, BATCH_SIZE, replacement=False),
        "Bernoulli": Bernoulli(LOGISTIC.n, BATCH_SIZE),
    }

    def measure(self, run: Run) -> Quantities:
        return {name: simulated_order(run, part, LOGISTIC, noise) for part, (name, noise) in enumerate(self.noises.items())}

    def published(self) -> Predictions:
        return {name: AtMost(1.5) for name in self.noises}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "strong order 1, as with Gaussian noise", {name: AtLeast(2.0) for name in self.noises}
