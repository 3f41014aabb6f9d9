"""Problems on which convergence to an SDE is claimed, and their exact weak errors."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np

from gradnoise.claims.judgement import Computed
from gradnoise.simulations.sampling import outcomes
from gradnoise.theory.diffusion import CircleLosses, sde_moments, sgd_moments
from gradnoise.theory.sampling import Minibatch, SamplingNoise

#: Least squares that no parameter fits.
FEATURES = np.array([[1.0, 0.4], [-0.6, 1.1], [0.3, -0.9], [1.4, 0.2], [-0.5, -0.7]])
TARGETS = np.array([1.2, -0.4, 0.9, 0.3, -1.0])
N_POINTS, START, TIME, BATCH_SIZE = len(TARGETS), np.array([1.5, -1.0]), 1.0, 2
#: Step sizes whose local slope is taken as the order; what is left of higher terms is below a thousandth.
STEPS = (2.0**-11, 2.0**-12)

#: Where the angle of `circle` starts.
CIRCLE_START = 0.3


@functools.cache
def circle() -> CircleLosses:
    """Sample losses with three minima on the circle."""
    return CircleLosses([[1.0, 0.3], [0.6, 0.4], [0.8, 0.2]], [[0.0, 0.5], [1.2, 2.0], [2.5, 1.0]])


def slope(error: Callable[[float], float], steps: tuple[float, float] = STEPS, approximation: float = 0.01) -> Computed:
    """Local slope of log |error| against log step size, by default between two small ones: its limit but for higher terms."""
    large, small = steps
    value = math.log(abs(error(large) / error(small))) / math.log(large / small)
    return Computed(value, approximation=approximation)


def moment_error(part: str, noise: SamplingNoise, drift: str = "plain") -> Callable[[float], float]:
    """Norm of the difference of a moment between M-SGD with a noise and the SDE of SGD, as a function of the step size."""

    def error(eta: float) -> float:
        of_sgd = sgd_moments(FEATURES, TARGETS, START, eta, noise, round(TIME / eta))
        of_sde = sde_moments(FEATURES, TARGETS, START, eta, BATCH_SIZE, TIME, drift)
        return float(np.linalg.norm(getattr(of_sgd, part) - getattr(of_sde, part)))

    return error


def circle_error(drift: str) -> Callable[[float], float]:
    """Difference of E L between SGD and its SDE on the circle."""
    law, loss = outcomes(Minibatch(circle().n, 1)), circle().mean_loss()

    def error(eta: float) -> float:
        n_steps = round(TIME / eta)
        sgd = circle().sgd_expectation(loss, CIRCLE_START, law.vectors, law.probabilities, eta, n_steps)
        return sgd - circle().sde_expectation(loss, CIRCLE_START, 1, eta, TIME, drift)

    return error
