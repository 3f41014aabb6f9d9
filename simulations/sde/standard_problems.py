r"""Problems to study convergence on, with losses and gradients by hand.

========== ============================================================= =======================================
name       loss of a sample                                              what it is for
========== ============================================================= =======================================
least-squares :math:`\frac12 (y - x^T \theta)^2`                         exact moments and strong errors to compare with
logistic   :math:`\log(1 + e^{-y x^T \theta})`                           Lipschitz gradients, bounded: the theorems apply
tanh       :math:`\frac12 (y - \sum_h a_h \tanh(w_h^T x))^2`             a network that is not convex
two-basin  softened minimum of the two branches of the zhu2019 toy       a sharp and a flat basin
========== ============================================================= =======================================
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gradnoise.simulations.ensemble import check_fits, kernel
from gradnoise.simulations.sde.problem import Problem
from gradnoise.theory._validation import as_count
from gradnoise.theory.escape import two_basin as toy

__all__ = ["STANDARD", "StandardStudy", "least_squares", "logistic", "tanh_network", "two_basin"]

_SHARP, _FLAT = toy.SHARP_HESSIAN, toy.FLAT_HESSIAN
_SHARP_MINIMUM, _FLAT_MINIMUM = toy.SHARP_MINIMUM, toy.FLAT_MINIMUM
_SOFTNESS = 0.05  # loss units over which the two branches blend


def least_squares(n: int = 20, dimension: int = 2, seed: int = 0) -> Problem:
    """Least squares on Gaussian features with label noise of standard deviation one half, from the origin.

    Parameters
    ----------
    n : int
        Samples.
    dimension : int
        d, parameters.
    seed : int
        Of the data.

    Returns
    -------
    Problem
        Rows of its data are (x, y).

    Examples
    --------
    >>> from gradnoise.simulations.sde.standard_problems import least_squares
    >>> problem = least_squares(n=5)
    >>> problem.data.shape, problem.start
    ((5, 3), array([0., 0.]))
    >>> bool(np.isclose(problem.loss(problem.start), (problem.data[:, 2] ** 2).mean() / 2))
    True
    """
    X, generator = _features(n, dimension, seed)
    y = X @ np.ones(dimension) + 0.5 * generator.standard_normal(n)
    return Problem(
        _least_squares_losses,
        _least_squares_gradients,
        np.column_stack([X, y]),
        np.zeros(dimension),
        "least-squares",
        vectorized=True,
    )


def logistic(n: int = 20, dimension: int = 2, seed: int = 0) -> Problem:
    """Logistic regression on Gaussian features, each label flipped with probability 1/10, from the origin.

    Parameters
    ----------
    n : int
        Samples.
    dimension : int
        d, parameters.
    seed : int
        Of the data.

    Returns
    -------
    Problem
        Rows of its data are y x.

    Examples
    --------
    >>> from gradnoise.simulations.sde.standard_problems import logistic
    >>> problem = logistic(n=5)
    >>> round(problem.loss(problem.start), 6)  # log 2
    0.693147
    """
    X, generator = _features(n, dimension, seed)
    y = np.where(X.sum(axis=1) > 0, 1.0, -1.0) * np.where(generator.random(n) < 0.1, -1.0, 1.0)
    return Problem(_logistic_losses, _logistic_gradients, X * y[:, np.newaxis], np.zeros(dimension), "logistic", vectorized=True)


def tanh_network(n: int = 20, n_hidden: int = 2, seed: int = 0) -> Problem:
    """Two-layer network on the line with inputs (x, 1): theta holds (w_h, bias_h, a_h) of each hidden unit in turn.

    Parameters
    ----------
    n : int
        Samples.
    n_hidden : int
        Hidden units.
    seed : int
        Of the data and the start.

    Returns
    -------
    Problem
        Rows of its data are (x, y).

    Examples
    --------
    >>> from gradnoise.simulations.sde.standard_problems import tanh_network
    >>> problem = tanh_network(n=5, n_hidden=2)
    >>> problem.dimension
    6
    >>> theta = [1.0, 0.0, 0.5, 1.0, 0.0, -0.5]  # two units that cancel: the network is zero
    >>> bool(np.isclose(problem.loss(theta), (problem.data[:, 1] ** 2).mean() / 2))
    True
    """
    n, h = as_count(n, "n"), as_count(n_hidden, "n_hidden")
    check_fits(8 * max(2 * n, 3 * h), f"n = {n} and n_hidden = {h} make a problem")
    generator = np.random.default_rng(as_count(seed, "seed", at_least=0))
    x = generator.uniform(-2, 2, n)
    y = np.sin(1.5 * x) + 0.2 * generator.standard_normal(n)
    start = generator.normal(size=3 * h)
    return Problem(_tanh_losses, _tanh_gradients, np.column_stack([x, y]), start, "tanh", vectorized=True)


def two_basin(n: int = 20, seed: int = 0) -> Problem:
    """Toy of zhu2019, Section 5.1, with the minimum of its branches softened, from its sharp minimum (1, 1).

    Parameters
    ----------
    n : int
        Samples.
    seed : int
        Of the data.

    Returns
    -------
    Problem
        Rows of its data are x, by which both minima of a sample are moved.

    Examples
    --------
    >>> from gradnoise.simulations.sde.standard_problems import two_basin
    >>> problem = two_basin(n=5)
    >>> problem.start, problem.data.shape
    (array([1., 1.]), (5, 2))
    """
    n = as_count(n, "n")
    check_fits(16 * n, f"n = {n} makes a problem")
    generator = np.random.default_rng(as_count(seed, "seed", at_least=0))
    data = generator.multivariate_normal(np.zeros(2), toy.DATA_COVARIANCE, size=n)
    return Problem(_two_basin_losses, _two_basin_gradients, data, _SHARP_MINIMUM, "two-basin", vectorized=True)


@dataclass(frozen=True)
class StandardStudy:
    """A problem with settings at which its orders can be seen.

    Attributes
    ----------
    build : callable
        Makes the problem.
    largest_step : float
        Largest step size.
    time : float
        T.
    batch_size : int
        b.

    Examples
    --------
    >>> from gradnoise.simulations.sde.standard_problems import STANDARD
    >>> study = STANDARD["logistic"]
    >>> study.build().name, study.largest_step
    ('logistic', 0.25)
    """

    build: Callable[[], Problem]
    largest_step: float
    time: float
    batch_size: int


#: By name, as on the command line.
STANDARD = {
    "least-squares": StandardStudy(least_squares, 0.125, 2.0, 4),
    "logistic": StandardStudy(logistic, 0.25, 2.0, 4),
    "tanh": StandardStudy(tanh_network, 0.0625, 2.0, 4),
    "two-basin": StandardStudy(two_basin, 2.0**-9, 2.0**-5, 4),
}


def _features(n: int, dimension: int, seed: int) -> tuple[np.ndarray, np.random.Generator]:
    n, d = as_count(n, "n"), as_count(dimension, "dimension")
    check_fits(8 * n * (d + 1), f"n = {n} and dimension = {d} make a problem")
    generator = np.random.default_rng(as_count(seed, "seed", at_least=0))
    return generator.standard_normal((n, d)), generator


@kernel
def _product(x, theta):
    """Sum of x_j theta_j; x may be longer."""
    total = 0.0
    for j in range(theta.shape[0]):
        total += x[j] * theta[j]
    return total


@kernel
def _products(data, thetas, i, out):
    """Write x_i' theta for each of the thetas (d, m) into out[0, i]."""
    first = data[i, 0]
    for k in range(thetas.shape[1]):
        out[0, i, k] = first * thetas[0, k]
    for j in range(1, thetas.shape[0]):
        x = data[i, j]
        for k in range(thetas.shape[1]):
            out[0, i, k] += x * thetas[j, k]


@kernel
def _times(data, i, out):
    """Write the product of out[0, i] and x_ij into each out[j, i], the first one last."""
    for j in range(out.shape[0] - 1, -1, -1):
        x = data[i, j]
        for k in range(out.shape[2]):
            out[j, i, k] = out[0, i, k] * x


def _least_squares_losses(theta, data, out):
    for i in range(data.shape[0]):
        residual = _product(data[i], theta) - data[i, theta.shape[0]]
        out[i] = 0.5 * residual * residual


def _least_squares_gradients(theta, data, out):
    d, m = theta.shape
    for i in range(data.shape[0]):
        y = data[i, d]
        _products(data, theta, i, out)
        for k in range(m):
            out[0, i, k] -= y
        _times(data, i, out)


def _logistic_losses(theta, data, out):
    for i in range(data.shape[0]):
        margin = _product(data[i], theta)
        out[i] = math.log1p(math.exp(-abs(margin))) + max(-margin, 0.0)  # log(1 + e^-m) without overflow


def _logistic_gradients(theta, data, out):
    for i in range(data.shape[0]):
        _products(data, theta, i, out)
        for k in range(theta.shape[1]):
            out[0, i, k] = -1.0 / (1.0 + math.exp(out[0, i, k]))  # where it overflows, infinity gives the right limit
        _times(data, i, out)


def _tanh_losses(theta, data, out):
    for i in range(data.shape[0]):
        residual = -data[i, 1]
        for h in range(0, theta.shape[0], 3):
            residual += theta[h + 2] * math.tanh(theta[h] * data[i, 0] + theta[h + 1])
        out[i] = 0.5 * residual * residual


def _tanh_gradients(theta, data, out):
    for i in range(data.shape[0]):
        residual = out[0, i]
        residual[:] = -data[i, 1]
        for h in range(0, theta.shape[0], 3):
            for k in range(theta.shape[1]):
                unit = math.tanh(theta[h, k] * data[i, 0] + theta[h + 1, k])
                out[h + 2, i, k] = unit
                residual[k] += theta[h + 2, k] * unit
        for h in range(theta.shape[0] - 3, -1, -3):  # the first row, which holds the residuals, comes last
            for k in range(theta.shape[1]):
                r, unit = residual[k], out[h + 2, i, k]
                back = r * theta[h + 2, k] * (1.0 - unit * unit)
                out[h, i, k], out[h + 1, i, k], out[h + 2, i, k] = back * data[i, 0], back, r * unit


@kernel
def _branches(w0, w1, x):
    """Vectors from the sharp and from the flat minimum, and the losses of the two branches."""
    s0, s1 = w0 - _SHARP_MINIMUM[0] - x[0], w1 - _SHARP_MINIMUM[1] - x[1]
    f0, f1 = w0 - _FLAT_MINIMUM[0] - x[0], w1 - _FLAT_MINIMUM[1] - x[1]
    sharp = 0.5 * (_SHARP[0, 0] * s0 * s0 + 2.0 * _SHARP[0, 1] * s0 * s1 + _SHARP[1, 1] * s1 * s1)
    flat = 0.5 * (_FLAT[0, 0] * f0 * f0 + _FLAT[1, 1] * f1 * f1)
    return s0, s1, f0, f1, sharp, flat


def _two_basin_losses(theta, data, out):
    for i in range(data.shape[0]):
        _, _, _, _, sharp, flat = _branches(theta[0], theta[1], data[i])
        out[i] = min(sharp, flat) - _SOFTNESS * math.log1p(math.exp(-abs(sharp - flat) / _SOFTNESS))


def _two_basin_gradients(theta, data, out):
    for i in range(data.shape[0]):
        for k in range(theta.shape[1]):
            s0, s1, f0, f1, sharp, flat = _branches(theta[0, k], theta[1, k], data[i])
            share = 1.0 / (1.0 + math.exp((sharp - flat) / _SOFTNESS))  # of the sharp branch in the softened minimum
            out[0, i, k] = share * (_SHARP[0, 0] * s0 + _SHARP[0, 1] * s1) + (1.0 - share) * _FLAT[0, 0] * f0
            out[1, i, k] = share * (_SHARP[0, 1] * s0 + _SHARP[1, 1] * s1) + (1.0 - share) * _FLAT[1, 1] * f1
