"""Theorem 3 of wu2019: Gaussian M-SGD and its SDE on one Brownian path."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gradnoise.claims.claim import Claim, Predictions, Quantities, Run, claim
from gradnoise.claims.convergence import BATCH_SIZE, FEATURES, N_POINTS, START, TARGETS, TIME, slope
from gradnoise.claims.judgement import Computed
from gradnoise.claims.prediction import Absolute, AtLeast, AtMost, Margin
from gradnoise.simulations import sde
from gradnoise.simulations.sde import Problem
from gradnoise.simulations.sde.standard_problems import logistic, tanh_network
from gradnoise.simulations.statistics import Order
from gradnoise.theory.diffusion import AugmentedMoments, strong_error, svag_noise
from gradnoise.theory.sampling import Bernoulli, Gaussian, Minibatch, SamplingNoise

#: A start that is far away, so that the first-order drift error is large against the noise.
FAR_START = np.array([4.0, -3.0])
FACTORS = {"centred": Gaussian(N_POINTS, BATCH_SIZE), "uncentred": Gaussian(N_POINTS, BATCH_SIZE, centered=False)}
LOGISTIC_SAMPLES = 5
#: Simulated problems.
SIMULATED = ("logistic regression, centred", "logistic regression, uncentred", "network, uncentred")
SIMULATED_TIME, SIMULATED_BATCH = 0.25, 16  # a batch so large that the term of order η³ does not hide that of order η²
#: Step sizes and refinement of the reference, by drift: small against the next term of the error, large against rounding.
STUDIES: dict[str, tuple[tuple[float, ...], int]] = {
    "plain": ((1 / 32, 1 / 64, 1 / 128), 4),
    "modified": ((1 / 32, 1 / 64, 1 / 128), 8),
}
ORDER_MARGIN = Absolute(0.15)


@functools.cache
def steep_logistic() -> Problem:
    """Logistic regression with features twice as long, from where its gradients are large."""
    problem = logistic(n=LOGISTIC_SAMPLES)
    return replace(problem, data=2 * problem.data, start=np.array([-1.0, -1.0]))


def mean_square_error(noise: Gaussian, drift: str) -> Callable[[float], float]:
    """Exact mean-square distance as a function of the step size."""
    return lambda eta: strong_error(FEATURES, TARGETS, FAR_START, eta, noise, TIME, drift)


def simulated_order(run: Run, label: str, problem: Problem, noise: SamplingNoise, drift: str = "plain", **options: Any) -> Order:
    """Order of the mean square of a simulated problem."""
    steps, refinement = STUDIES[drift]
    return sde.strong_error(
        problem, steps, SIMULATED_TIME, run.n_paths, batch_size=noise, rng=run.at(label), drift=drift, refinement=refinement,
        **options,
    ).order  # fmt: skip


def simulated_orders(drift: str, run: Run) -> dict[str, Order]:
    """Orders of the simulated problems, by label."""
    problems = (steep_logistic(), True), (steep_logistic(), False), (tanh_network(n=4, n_hidden=1), False)
    return {
        label: simulated_order(run, label, problem, Gaussian(problem.n, SIMULATED_BATCH, centered=centred), drift)
        for label, (problem, centred) in zip(SIMULATED, problems, strict=True)
    }


@dataclass(frozen=True)
class CoarseStep:
    """A step of Gaussian M-SGD on least squares: its batch size, whether its diffusion is centred, and its size."""

    batch_size: int
    centred: bool
    step_size: float


def mean_square_on_one_path(step: CoarseStep, n_steps: int, refinement: int, shared: bool = True) -> float:
    """Exact E‖Θ − θ‖² of M-SGD and of the Euler scheme of its SDE with steps η/r, from the moments of both at once.

    The state is (θ_k, θ on its way to θ_{k+1}, Θ, 1), from which every increment of the path is a linear map.
    """
    n, d, eta = *FEATURES.shape, step.step_size
    centring = np.eye(n) - np.ones((n, n)) / n if step.centred else np.eye(n)
    factor = centring / math.sqrt(step.batch_size * n)  # of the covariance of the weights: (67), or that without its centring
    last, way, sde, one = slice(d), slice(d, 2 * d), slice(2 * d, 3 * d), 3 * d
    gradients = np.zeros((2, n, d, 3 * d + 1))  # of the samples, at the last iterate and in the SDE, as maps of the state
    for at, place in enumerate((last, sde)):
        gradients[at, :, :, place] = np.einsum("ni,nj->nij", FEATURES, FEATURES)
        gradients[at, :, :, one] = -TARGETS[:, np.newaxis] * FEATURES
    h = eta / refinement
    drift, noises = np.eye(3 * d + 1), np.zeros((n if shared else 2 * n, 3 * d + 1, 3 * d + 1))
    for at, place in enumerate((way, sde)):
        drift[place] -= h * gradients[at].mean(axis=0)
        own = slice(0, n) if shared else slice(at * n, (at + 1) * n)
        noises[own, place] = math.sqrt(h * eta) * np.einsum("ij,ikl->jkl", factor, gradients[at])
    arrive = np.eye(3 * d + 1)
    arrive[last, last], arrive[last, way] = 0.0, np.eye(d)
    state = np.concatenate([START, START, START, [1.0]])
    moments = np.outer(state, state)
    for k in range(n_steps * refinement):
        moments = drift @ moments @ drift.T + (noises @ moments @ noises.transpose(0, 2, 1)).sum(axis=0)
        if (k + 1) % refinement == 0:
            moments = arrive @ moments @ arrive.T
    difference = np.zeros((d, 3 * d + 1))
    difference[:, way], difference[:, sde] = -np.eye(d), np.eye(d)
    return float(np.trace(difference @ moments @ difference.T))


@claim(
    "wu2019.thm3",
    "On one Brownian path Gaussian M-SGD and its SDE are within E‖Θ_kη − θ_k‖² ≤ Cη²",
    kind="order of convergence",
    source="Theorem 3, (14), (67)–(69)",
)
class StrongErrorIsOfFirstOrder(Claim):
    """Slopes of the mean square: exact for least squares, simulated for two other losses, with both diffusion matrices.

    That of least squares has its value, too: on refined paths, whose moments beside those of M-SGD are followed step by step.
    """

    pilot_paths = 4_096
    insensitive_because = "an order is a whole number, or half of one; what is found near it is a slope between step sizes"
    own_increments = "logistic regression, increments of its own"
    half_order = "least squares, step η/l and l-fold noise, in 1/l"
    #: Whose mean square itself is held against one on refined paths, at two steps of η = ¼.
    batches, coarse, n_steps = (2, 3), 0.25, 2

    def margin(self, label: str) -> Margin:
        return ORDER_MARGIN

    def measure(self, run: Run) -> Quantities:
        own_noise = Gaussian(LOGISTIC_SAMPLES, SIMULATED_BATCH)
        return {
            **{f"least squares, {kind}": slope(mean_square_error(noise, "plain")) for kind, noise in FACTORS.items()},
            **simulated_orders("plain", run),
            self.own_increments: simulated_order(run, self.own_increments, steep_logistic(), own_noise, shared_increments=False),
            self.half_order: slope(self._half_order_error, (1 / 4_096, 1 / 8_192)),
            **{label: Computed(v, approximation=1e-7 * v) for label, v in self._values(self._on_refined_paths).items()},
        }

    def published(self) -> Predictions:
        # Paths of their own are as far apart as the noise of all steps is large, which is of order η.
        half = dict.fromkeys((self.own_increments, self.half_order), 1.0)
        return {**dict.fromkeys(self._shared(), 2.0), **half, **self._values(self._value)}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "order ½: the mean square falls as η", dict.fromkeys(self._shared(), 1.0)
        yield "order 1½: the mean square falls as η³", dict.fromkeys(self._shared(), 3.0)
        yield "also if the increments are not shared", {self.own_increments: 2.0}
        yield "also if the noise does not shrink with the step", {self.half_order: 2.0}
        yield "half of it", self._values(lambda b, centred: self._value(b, centred) / 2)
        yield "1/b² for 1/b", self._values(lambda b, centred: self._value(b**2, centred))
        yield "one diffusion for the other", self._values(lambda b, centred: self._value(b, not centred))
        yield "on paths of their own", self._values(self._on_own_paths)

    @staticmethod
    def _shared() -> list[str]:
        return [*(f"least squares, {kind}" for kind in FACTORS), *SIMULATED]

    def _values(self, of: Callable[[int, bool], float]) -> dict[str, float]:
        """Mean squares of least squares, as a function of b and of whether the diffusion is centred."""
        kinds = {"centred": True, "uncentred": False}
        return {f"least squares, {k}, mean square, b = {b}": of(b, c) for k, c in kinds.items() for b in self.batches}

    def _value(self, b: int, centred: bool) -> float:
        noise = Gaussian(N_POINTS, b, centered=centred)
        return strong_error(FEATURES, TARGETS, START, self.coarse, noise, self.n_steps * self.coarse)

    def _on_refined_paths(self, b: int, centred: bool) -> float:
        """Extrapolated from steps of the SDE that are r, 2r and 4r times as short, whose error is a series in 1/r."""
        first, second, third = (
            mean_square_on_one_path(CoarseStep(b, centred, self.coarse), self.n_steps, r) for r in (128, 256, 512)
        )
        return (first - 6 * second + 8 * third) / 3

    def _on_own_paths(self, b: int, centred: bool) -> float:
        return mean_square_on_one_path(CoarseStep(b, centred, self.coarse), self.n_steps, 128, shared=False)

    @staticmethod
    def _half_order_error(step: float) -> float:
        """Of Euler–Maruyama for an SDE whose diffusion does not depend on the step: its strong order is ½."""
        eta = 0.25
        noise = svag_noise(Gaussian(N_POINTS, BATCH_SIZE), round(eta / step))
        moments = AugmentedMoments(FEATURES, TARGETS, noise, step)
        return moments.strong_error(moments.start(FAR_START), round(TIME / step))


@claim(
    "wu2019.thm3-modified",
    "Sharper: with the drift −∇(L + (η/4)‖∇L‖²) the mean square is O(η³), and O(η⁴) without noise, if ∇²L is Lipschitz, too",
    kind="order of convergence",
    source="Theorem 3, sharper",
)
class ModifiedStrongErrorIsOfHigherOrder(Claim):
    """Slopes of the mean square, as for `wu2019.thm3`."""

    pilot_paths = 4_096
    insensitive_because = StrongErrorIsOfFirstOrder.insensitive_because
    no_noise, wrong_sign = "least squares, no noise", "least squares, wrong sign"
    steps = (2.0**-7, 2.0**-8)  # below, rounding is felt without noise

    def margin(self, label: str) -> Margin:
        return ORDER_MARGIN

    def measure(self, run: Run) -> Quantities:
        silent = Gaussian(N_POINTS, N_POINTS, replacement=False)
        return {
            **{f"least squares, {k}": slope(mean_square_error(noise, "modified"), self.steps) for k, noise in FACTORS.items()},
            self.no_noise: slope(mean_square_error(silent, "modified"), self.steps, approximation=0.02),
            **simulated_orders("modified", run),
            self.wrong_sign: slope(self._wrong_sign_error),
        }

    def published(self) -> Predictions:
        labels = [*(f"least squares, {kind}" for kind in FACTORS), *SIMULATED]
        return {**dict.fromkeys(labels, 3.0), self.no_noise: 4.0, self.wrong_sign: 2.0}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        third = {label for label, order in self.published().items() if order == 3.0}
        yield "no better than the plain drift", {**dict.fromkeys(third, 2.0), self.no_noise: 2.0}
        yield "O(η⁴) with noise, too", dict.fromkeys(third, 4.0)
        yield "−η/4 for η/4", {self.wrong_sign: 3.0}

    @staticmethod
    def _wrong_sign_error(eta: float) -> float:
        moments = AugmentedMoments(FEATURES, TARGETS, FACTORS["centred"], eta, correction=-1.0)
        return moments.strong_error(moments.start(FAR_START), round(TIME / eta))


@claim(
    "wu2019.sec4-pathwise",
    "For SGD itself the path-wise closeness to the SDE is not ensured; measured: a lower order under this coupling of single "
    "steps, not that closeness fails",
    kind="inequality",
    source="Section 4, after Theorem 2",
    expected=None,
)
class NoPathwiseCloseness(Claim):
    """Slope of the mean square for noises that are not Gaussian, coupled as well as we can, on logistic regression.

    It is near 1, as for gradient descent without noise: a coupling of each step by itself gains a factor, and no order. What
    couplings of many steps at once could reach is not measured.
    """

    pilot_paths = 4_096
    noises = {
        "minibatch with replacement": Minibatch(LOGISTIC_SAMPLES, BATCH_SIZE),
        "minibatch without replacement": Minibatch(LOGISTIC_SAMPLES, BATCH_SIZE, replacement=False),
        "Bernoulli": Bernoulli(LOGISTIC_SAMPLES, BATCH_SIZE),
    }

    def margin(self, label: str) -> Margin:
        return ORDER_MARGIN

    def measure(self, run: Run) -> Quantities:
        return {name: simulated_order(run, name, steep_logistic(), noise) for name, noise in self.noises.items()}

    def published(self) -> Predictions:
        return dict.fromkeys(self.noises, AtMost(1.5, tightness="chosen"))  # between order ½ and 1

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "strong order 1, as with Gaussian noise", dict.fromkeys(self.noises, AtLeast(2.0))
        yield "no order at all: the mean square stays", dict.fromkeys(self.noises, AtMost(0.0))
