"""Theorem 2 of wu2019: SGD and its SDE in expectation, without sampling errors and with."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from gradnoise.claims.claim import Claim, Predictions, Quantities, Run, claim
from gradnoise.claims.convergence import BATCH_SIZE, FEATURES, N_POINTS, START, TARGETS, TIME, circle_error, moment_error, slope
from gradnoise.claims.prediction import Absolute, Margin
from gradnoise.simulations import sde
from gradnoise.simulations.sde.standard_problems import tanh_network
from gradnoise.theory.diffusion import AugmentedMoments, sde_moments, sgd_moments
from gradnoise.theory.sampling import Gaussian, Minibatch, SamplingNoise


def wrong_drift_error(eta: float) -> float:
    """Error of the mean against the SDE whose drift is modified with the wrong sign."""
    moments = AugmentedMoments(FEATURES, TARGETS, Minibatch(len(TARGETS), BATCH_SIZE), eta, correction=-1.0)
    M = (moments.flow(TIME) @ moments.start(START).ravel()).reshape(3, 3)
    of_sgd = sgd_moments(FEATURES, TARGETS, START, eta, BATCH_SIZE, round(TIME / eta))
    return float(np.linalg.norm(of_sgd.mean - M[:-1, -1]))


def wrong_diffusion_error(eta: float) -> float:
    """Error of the second moment against the SDE with a covariance of √η Σ/b for η Σ/b."""
    of_sgd = sgd_moments(FEATURES, TARGETS, START, eta, BATCH_SIZE, round(TIME / eta))
    of_sde = sde_moments(FEATURES, TARGETS, START, math.sqrt(eta), BATCH_SIZE, TIME)
    return float(np.linalg.norm(of_sgd.second_moment - of_sde.second_moment))


SAME_COVARIANCE: dict[str, SamplingNoise] = {
    "SGD": Minibatch(N_POINTS, BATCH_SIZE),
    "M-SGD-Cov": Gaussian(N_POINTS, BATCH_SIZE),
}
#: Noises of other covariances, and practically none.
OTHER_COVARIANCE: dict[str, SamplingNoise] = {
    "M-SGD-Fisher": Gaussian(N_POINTS, BATCH_SIZE, centered=False),
    "SGD without replacement": Minibatch(N_POINTS, BATCH_SIZE, replacement=False),
    "gradient descent": Minibatch(N_POINTS, N_POINTS, replacement=False),
}


@claim(
    "wu2019.thm2",
    "SGD is a weak first-order approximation of its SDE: |E g(Θ_kη) − E g(θ_k)| ≤ Cη",
    kind="order of convergence",
    source="Theorem 2, (13)",
)
class WeakErrorIsOfFirstOrder(Claim):
    """Slopes of exact moments of least squares, of exact expectations on a circle, and of simulations of a small network.

    The first order does not see the noise: gradient descent without any is as good an approximation.
    """

    pilot_paths = 4_096
    insensitive_because = "an order is a whole number, or half of one; what is found near it is a slope between two step sizes"
    wrong_diffusion = "E θθᵀ against √η Σ/b"

    def margin(self, label: str) -> Margin:
        return Absolute(0.1)

    def measure(self, run: Run) -> Quantities:
        simulated = sde.weak_error(
            tanh_network(n=4, n_hidden=1), [1 / 8, 1 / 16, 1 / 32], 0.5, run.n_paths, batch_size=2, rng=run.at("network"),
            refinement=8,
        )  # fmt: skip
        found: dict[str, Any] = {}
        for name, noise in {**SAME_COVARIANCE, **OTHER_COVARIANCE}.items():
            for part, label in (("mean", "E θ"), ("second_moment", "E θθᵀ")):
                found[f"least squares, {name}, {label}"] = slope(moment_error(part, noise))
        return {
            **found,
            "circle, E L": slope(circle_error("plain")),
            "network, E L": simulated.order,
            self.wrong_diffusion: slope(wrong_diffusion_error),
        }

    def published(self) -> Predictions:
        labels = [f"least squares, {name}, {m}" for name in {**SAME_COVARIANCE, **OTHER_COVARIANCE} for m in ("E θ", "E θθᵀ")]
        # Against an SDE whose covariance is of another order, the order is that of the difference.
        return {**dict.fromkeys((*labels, "circle, E L", "network, E L"), 1.0), self.wrong_diffusion: 0.5}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "second order", dict.fromkeys((label for label, order in self.published().items() if order == 1.0), 2.0)
        yield "order ½", {"network, E L": 0.5, "circle, E L": 0.5}
        yield "√η for η in the covariance of the SDE", {self.wrong_diffusion: 1.0}


@claim(
    "wu2019.thm2-second-order",
    "Sharper: with the drift −∇(L + (η/4)‖∇L‖²) the approximation is weakly of second order, for the covariance of SGD alone",
    kind="order of convergence",
    source="Theorem 2, sharper",
)
class ModifiedWeakErrorIsOfSecondOrder(Claim):
    """Slopes without sampling errors, also of what falls back to the first order."""

    wrong_sign = "least squares, wrong sign, E θ"

    def measure(self, run: Run) -> Quantities:
        found: dict[str, Any] = {}
        for name, noise in SAME_COVARIANCE.items():
            for part, label in (("mean", "E θ"), ("second_moment", "E θθᵀ")):
                found[f"least squares, {name}, {label}"] = slope(moment_error(part, noise, "modified"), approximation=0.02)
        for name, noise in OTHER_COVARIANCE.items():
            found[f"least squares, {name}, E θθᵀ"] = slope(moment_error("second_moment", noise, "modified"))
        # Here rounding is felt at the smallest step sizes.
        return {
            **found,
            "circle, E L": slope(circle_error("modified"), (2.0**-8, 2.0**-9), approximation=0.02),
            self.wrong_sign: slope(wrong_drift_error),
        }

    def published(self) -> Predictions:
        second = [f"least squares, {name}, {m}" for name in SAME_COVARIANCE for m in ("E θ", "E θθᵀ")]
        first = [*(f"least squares, {name}, E θθᵀ" for name in OTHER_COVARIANCE), self.wrong_sign]
        return {**dict.fromkeys((*second, "circle, E L"), 2.0), **dict.fromkeys(first, 1.0)}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "first order", {label: 1.0 for label, order in self.published().items() if order == 2.0}
        yield "third order", {label: 3.0 for label, order in self.published().items() if order == 2.0}
        yield "−η/4 for η/4", {self.wrong_sign: 2.0}
        yield "whatever the covariance of the noise", {f"least squares, {name}, E θθᵀ": 2.0 for name in OTHER_COVARIANCE}
