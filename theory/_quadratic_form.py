r"""Exact law of a positive quadratic form of a Gaussian vector.

The distribution function of :math:`Q = \sum_i w_i \chi^2_1`, w_i > 0, is a contour integral of its moment generating
function, :math:`P(Q \le x) = -\frac{1}{2\pi i} \int e^{-sx} \prod_i (1 - 2 w_i s)^{-1/2} \frac{ds}{s}`, along a path that
crosses the real axis at some s < 0. All singularities lie at s >= 0, so the path may be bent to the right. On the
hyperbola that has the curvature of steepest descent at the saddle point, and then opens at a fixed angle, the integrand
decays at least exponentially, and the trapezoidal rule converges geometrically (Rice 1980; Helstrom 1996), in every
dimension and for every spectrum.
"""

from __future__ import annotations

import numpy as np
import scipy
from numpy.typing import ArrayLike

from gradnoise.theory._validation import FloatArray, as_array, as_nonnegative

__all__ = ["quadratic_form_cdf", "quadratic_form_root"]

_DECAY = 42.0  # the path ends where the integrand is exp(-42) < 1e-18 of its value at the saddle
_TOLERANCE = 1e-10  # between two steps; as halving squares the error, the finer one is then exact to rounding
# Slope of the asymptotes. A parabola, which has none, lets the integrand of a nearly Gaussian Q (large d) grow again, since
# there its modulus is exp(w (Re^2 - Im^2)); on a vertical line, that of a Q of one term would decay too slowly.
_SLOPE = 0.6
# The expected root: at a step of 1/2 the trapezoidal rule errs by exp(-2 pi^2/h) = 7e-18, and beyond +-76 lies exp(-38).
_ROOT_STEP, _ROOT_REACH = 0.5, 76.0


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
        Of the shape of x, with an absolute error below 1e-12.

    Raises
    ------
    ValueError
        If a weight is negative, or an argument is not finite.

    References
    ----------
    S. O. Rice, SIAM J. Sci. Stat. Comput. 1 (1980) 438; C. W. Helstrom, Electron. Lett. 32 (1996) 291.
    """
    w = as_nonnegative(weights, "weights").ravel()
    points = as_array(x, "x")
    w = w[w > 0]
    if w.size == 0:
        return (points >= 0).astype(np.float64)
    unit = float(_unit(w)[0])  # in which the sum of the weights is a float
    with np.errstate(over="ignore"):  # of a point far beyond the weights
        w, points = w / unit, points / unit
        flat = [_cdf(w / w.sum(), value / w.sum()) for value in points.ravel()]
    return np.array(flat, dtype=np.float64).reshape(points.shape)


def quadratic_form_root(weights: ArrayLike) -> FloatArray:
    r"""E sqrt(sum_i w_i Z_i^2), Z_i independent standard normals: the expected length of a Gaussian vector.

    .. math:: \mathbb{E}\sqrt{Q} = \frac{1}{2\sqrt\pi} \int_{-\infty}^\infty
              \Big(1 - \prod_i (1 + 2 w_i e^u)^{-1/2}\Big) e^{-u/2}\, du

    The integrand is analytic in a strip of half-width pi and decays exponentially on both sides, so that the trapezoidal
    rule is exact to rounding.

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


def _cdf(w: FloatArray, x: float) -> float:
    # Beyond these ends the answer is 0 or 1 to 1e-14: Q is at least its largest term, and has a mean of one.
    if x <= 1e-28 * w.max():
        return 0.0
    if x >= 1e4:
        return 1.0

    def slope(r: float) -> float:  # of log integrand at s = -r, decreasing in r
        return float((w / (1 + 2 * w * r)).sum() + 1 / r - x)

    # The saddle lies between the roots without and with the mean of Q, which is one here.
    low, high = 1 / (x + 1), (1 + 0.5 * w.size) / x + 1e-300
    r = float(scipy.optimize.root_scalar(slope, bracket=(low * 0.5, high * 2), xtol=1e-300, rtol=1e-8).root)
    inner = w / (1 + 2 * w * r)
    second = 2 * (inner**2).sum() + 1 / r**2
    third = 8 * (inner**3).sum() + 2 / r**3
    kappa = third / (3 * second)  # curvature of the path of steepest descent

    step = float(0.5 / np.sqrt(second))
    value = _trapezoid(w, x, r, kappa, step)
    for _ in range(12):
        step, previous = step / 2, value
        value = _trapezoid(w, x, r, kappa, step)
        if abs(value - previous) <= _TOLERANCE:
            break
    return float(min(max(value, 0.0), 1.0))


def _trapezoid(w: FloatArray, x: float, r: float, kappa: float, step: float) -> float:
    peak = np.exp(r * x - 0.5 * np.log1p(2 * w * r).sum())
    total, start, chunk = 0.0, 0, 64
    while True:
        y = step * np.arange(start, start + chunk)
        root = np.sqrt(1 + (kappa * y / _SLOPE) ** 2)
        shift = 1j * y + _SLOPE**2 / kappa * (root - 1)  # s = -r + shift; kappa y^2 / 2 for small y
        # The factors relative to those at the saddle, so that no product of many factors under- or overflows.
        log_factor = -shift * x - 0.5 * np.log1p(-shift[:, None] * (2 * w / (1 + 2 * w * r))).sum(axis=1)
        terms = (np.exp(log_factor) * (1 - 1j * kappa * y / root) / (r - shift)).real
        total += terms.sum() - 0.5 * terms[0] * (start == 0)
        if log_factor[-1].real < -_DECAY:
            return float(peak * step * total / np.pi)
        start += chunk
