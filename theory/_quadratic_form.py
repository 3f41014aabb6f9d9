r"""Exact law of a positive quadratic form of a Gaussian vector.

The distribution function of :math:`Q = \sum_i w_i \chi^2_1`, w_i > 0, is a contour integral of its moment generating
function, :math:`P(Q \le x) = -\frac{1}{2\pi i} \int e^{-sx} \prod_i (1 - 2 w_i s)^{-1/2} \frac{ds}{s}`, along a path that
crosses the real axis at some s < 0; with a path between the pole at zero and the first branch point, 1 / (2 max w), the same
integral without its sign is P(Q > x). All other singularities lie on the real axis to the right, so a path may be bent to the
right around them. On the hyperbola that has the curvature of steepest descent at the saddle point, and then opens at a fixed
angle, the integrand decays at least exponentially, and the trapezoidal rule converges geometrically (Rice 1980; Helstrom
1996), in every dimension and for every spectrum. The saddle's height is a factor of the result: what remains is of order one
and loses no digits, so that both probabilities are known relative to themselves, however small they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import scipy
from numpy.typing import ArrayLike

from gradnoise.theory._validation import FloatArray, as_array, as_nonnegative

__all__ = ["quadratic_form_cdf", "quadratic_form_root", "quadratic_form_sf"]

_DECAY = 42.0  # the path ends where the integrand is exp(-42) < 1e-18 of its value at the saddle
_TOLERANCE = 1e-10  # between two steps, relative; as halving squares the error, the finer one is then exact to rounding
_HALVINGS = 12
# Slope of the asymptotes. A parabola, which has none, lets the integrand of a nearly Gaussian Q (large d) grow again, since
# there its modulus is exp(w (Re^2 - Im^2)); on a vertical line, that of a Q of one term would decay too slowly.
_SLOPE = 0.6
_LEAST_BEND = 0.1  # of the path, at the scale of the saddle's width: steepest descent may lead to the left, around the pole
# The expected root: on the lines at +-pi/2 i each factor is at most one, whatever d is, so that at a step of 1/4 the trapezoidal
# rule errs by exp(-4 pi^2) = 7e-18; and beyond +-76 lies exp(-38).
_ROOT_STEP, _ROOT_REACH = 0.25, 76.0


def quadratic_form_cdf(weights: ArrayLike, x: ArrayLike) -> FloatArray:
    """P(sum_i w_i Z_i^2 <= x), Z_i independent standard normals.

    Parameters
    ----------
    weights : (d,) array_like
        w_i >= 0; zeros do not count.
    x : array_like
        Any shape, in units of the weights.

    Returns
    -------
    ndarray
        Of the shape of x, with an error relative to it below 1e-10, down to 1e-300.

    Raises
    ------
    ValueError
        If a weight is negative, an argument is not finite, or the integral does not converge.

    References
    ----------
    S. O. Rice, SIAM J. Sci. Stat. Comput. 1 (1980) 438; C. W. Helstrom, Electron. Lett. 32 (1996) 291.
    """
    return _law(weights, x)[0]


def quadratic_form_sf(weights: ArrayLike, x: ArrayLike) -> FloatArray:
    """P(sum_i w_i Z_i^2 > x), the complement of `quadratic_form_cdf`, with a small error relative to itself, too.

    Parameters
    ----------
    weights, x : array_like
        See `quadratic_form_cdf`, whose errors it raises.

    Returns
    -------
    ndarray
        Of the shape of x, with an error relative to it below 1e-10, down to 1e-300. Far out it changes, relatively, by about
        x / (2 max w) times as much as the weights: so often an error of theirs counts.
    """
    return _law(weights, x)[1]


def quadratic_form_root(weights: ArrayLike) -> FloatArray:
    r"""E sqrt(sum_i w_i Z_i^2), Z_i independent standard normals: the expected length of a Gaussian vector.

    .. math:: \mathbb{E}\sqrt{Q} = \frac{1}{2\sqrt\pi} \int_{-\infty}^\infty
              \Big(1 - \prod_i (1 + 2 w_i e^u)^{-1/2}\Big) e^{-u/2}\, du

    The integrand is analytic in a strip of half-width pi, is bounded in every dimension in one of half of that, and decays
    exponentially on both sides, so that the trapezoidal rule is exact to rounding.

    Parameters
    ----------
    weights : (..., d) array_like
        w_i >= 0, along the last axis: the eigenvalues of the vector's covariance.

    Returns
    -------
    (...) ndarray
        In units of the root of the weights.

    Raises
    ------
    ValueError
        If a weight is negative, or not finite.
    """
    w = as_nonnegative(weights, "weights")
    if w.ndim == 0:
        raise ValueError("weights must have one dimension or more, got shape ()")
    unit = _unit(w)
    w = w / unit
    scale = w.sum(axis=-1, keepdims=True)
    w = w / np.where(scale > 0, scale, 1.0)
    integral = np.zeros(w.shape[:-1])
    for u in np.arange(-_ROOT_REACH, _ROOT_REACH + _ROOT_STEP, _ROOT_STEP):
        integral -= np.expm1(-0.5 * np.log1p(2 * np.exp(u) * w).sum(axis=-1)) * np.exp(-u / 2)
    return np.sqrt(unit[..., 0]) * (np.sqrt(scale[..., 0]) * integral * (_ROOT_STEP / (2 * np.sqrt(np.pi))))


def _unit(weights: FloatArray) -> FloatArray:
    """Power of four near the largest weight along the last axis, which is as good a unit for roots."""
    largest = weights.max(axis=-1, keepdims=True, initial=0.0)
    return np.where(largest > 0, 4.0 ** np.floor(np.log2(np.where(largest > 0, largest, 1.0)) / 2), 1.0)


def _law(weights: ArrayLike, x: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Both probabilities, of which the smaller one is integrated."""
    w = as_nonnegative(weights, "weights").ravel()
    points = as_array(x, "x")
    w = w[w > 0]
    if w.size == 0:
        return (points >= 0).astype(np.float64), (points < 0).astype(np.float64)
    pairs = np.array([_at(w, value) for value in points.ravel()], dtype=np.float64).reshape(*points.shape, 2)
    return pairs[..., 0], pairs[..., 1]


def _at(w: FloatArray, x: float) -> tuple[float, float]:
    if x <= 0:
        return 0.0, 1.0
    with np.errstate(over="ignore", divide="ignore"):  # of a point far beyond a weight, or far below it
        c = x / w  # in units of x
        below_mean = bool((1 / c).sum() > 1)
    if below_mean:
        low = _below(c, np.log(x) - np.log(w))
        return low, 1 - low
    high = _above(c)
    return 1 - high, high


def _below(c: FloatArray, log_c: FloatArray) -> float:
    """P(Q <= 1) of weights 1 / c with a mean above one; c may have underflowed, its logarithm has not."""

    def slope(r: float) -> float:  # of log integrand at s = -r, decreasing in r
        return float((1 / (c + 2 * r)).sum() + 1 / r - 1)

    r = _root(slope, 1.0, 1 + c.size / 2)
    log_peak = r - 0.5 * np.logaddexp(0, math.log(2 * r) - log_c).sum() - math.log(r)
    return _integral(1 / (c + 2 * r), -r, log_peak)


def _above(c: FloatArray) -> float:
    """P(Q > 1) of weights 1 / c with a mean of at most one."""
    first = float(c.min())
    if first > 10 * c.size + 2300:  # the largest weights alone are chi-square: less than exp(-first / 3), which is no float
        return 0.0
    beyond = c - first  # infinite for a weight that is nothing beside x

    def slope(gap: float) -> float:  # of log integrand, in the distance gap = c - 2 s to the first branch point; decreasing
        return float((1 / (beyond + gap)).sum() - 2 / (first - gap) - 1)

    gap = _root(slope, first / (first + 3), first - min(first / 2, 1.0))
    s = (first - gap) / 2
    log_peak = -s - 0.5 * np.log1p(-2 * s / c).sum() - math.log(s)
    return _integral(1 / (beyond + gap), s, log_peak)


def _root(slope: Callable[[float], float], low: float, high: float) -> float:
    """Saddle point, between ends that have it between them but for rounding."""
    if slope(low) <= 0:
        return low
    if slope(high) >= 0:
        return high
    return float(scipy.optimize.brentq(slope, low, high, xtol=1e-300, rtol=1e-8))


def _integral(a: FloatArray, s: float, log_peak: float) -> float:
    """The contour integral through s, where the integrand's factors are relative to a peak and a = w / (1 - 2 w s)."""
    second = 2 * float((a**2).sum()) + 1 / s**2
    third = 8 * float((a**3).sum()) - 2 / s**3
    kappa = max(third / (3 * second), _LEAST_BEND * math.sqrt(second))  # curvature of the path of steepest descent

    step = 0.5 / math.sqrt(second)
    coarse = _trapezoid(a, s, kappa, step)
    for _ in range(_HALVINGS):
        step /= 2
        fine = _trapezoid(a, s, kappa, step)
        if abs(fine - coarse) <= _TOLERANCE * abs(fine):
            return float(min(np.exp(log_peak + math.log(fine)), 1.0))
        coarse = fine
    raise ValueError(f"weights and x must let the contour integral converge, got {coarse:.17g} and still changing")


def _trapezoid(a: FloatArray, s: float, kappa: float, step: float) -> float:
    total, start, chunk = 0.0, 0, 64
    while True:
        y = step * np.arange(start, start + chunk)
        root = np.sqrt(1 + (kappa * y / _SLOPE) ** 2)
        shift = 1j * y + _SLOPE**2 / kappa * (root - 1)  # from the saddle; kappa y^2 / 2 for small y
        # The factors relative to those at the saddle, so that no product of many factors under- or overflows.
        log_factor = -shift - 0.5 * np.log1p(-shift[:, np.newaxis] * (2 * a)).sum(axis=1)
        terms = (np.exp(log_factor) * (1 - 1j * kappa * y / root) / (1 + shift / s)).real
        total += terms.sum() - 0.5 * terms[0] * (start == 0)
        if log_factor[-1].real < -_DECAY:
            return float(step * total / np.pi)
        start += chunk
