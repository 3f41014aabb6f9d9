"""Problems of online least squares on which Section 3 of wu2020 is tried, right weights for it and wrong ones."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from gradnoise.theory.least_squares import FiniteLeastSquares, LeastSquares, WeightMoments
from gradnoise.theory.sampling import Gaussian, Minibatch, Rademacher, SamplingNoise, StudentT

SIMULATED_STEP, LISTED_STEP = 0.3, 0.2


@functools.cache
def simulated_problem() -> LeastSquares:
    """Problem that is simulated: two Gaussian features, so that a wrong fourth moment shows."""
    return LeastSquares([1.0, 0.5], [0.4, -0.4], 1.0)


@functools.cache
def listed_problem() -> FiniteLeastSquares:
    """Problem whose paths are listed: misspecified, on three points."""
    return FiniteLeastSquares([[1.0, 0.5], [-0.3, 2.0], [0.8, -1.0]], [1.0, -0.5, 2.0], [0.3, -1.0], [0.2, 0.5, 0.3])


@functools.cache
def listed_data() -> FiniteLeastSquares:
    """Three equally likely points, as fixed data need."""
    points = listed_problem()
    return FiniteLeastSquares(points.features, points.targets, points.initial)


def classes(B: int, b: int) -> dict[str, SamplingNoise]:
    """Weights of B samples with the covariance of Theorem 1, that of a batch of b, of four classes."""
    return {
        "minibatch": Minibatch(B, b, replacement=False),
        "Gaussian": Gaussian(B, b, replacement=False),
        "Student-t(9)": StudentT(B, b, df=9, replacement=False),
        "Rademacher": Rademacher(B, b, replacement=False),
    }


def _power_over_B(B: int, b: int) -> WeightMoments:
    own = 1 / B + (B - 1) * (B - b) / (b * B * B)
    return WeightMoments(own, 1 - own)


#: Weights of B samples whose covariance is not that of Theorem 1, by B and b.
WRONG_WEIGHTS: dict[str, Callable[[int, int], WeightMoments]] = {
    "B for b in the covariance": lambda B, b: WeightMoments.minibatch(B),
    "1/B for 1/(B−1) in the covariance": _power_over_B,
    "uncentred weights": lambda B, b: WeightMoments.fresh(Gaussian(B, b, centered=False, replacement=False)),
}


class _WithoutFourthMoment(LeastSquares):
    """Wrong: the recursion with Sigma S Sigma for E[x x' S x x']."""

    def _fourth_moment(self, S: np.ndarray) -> np.ndarray:
        return self._eigenvalues**2 * S


def without_fourth_moment() -> LeastSquares:
    """`simulated_problem` with a wrong recursion."""
    problem = simulated_problem()
    return _WithoutFourthMoment(problem.spectrum, problem.initial_error, problem.noise_std)
