"""The largest value of quadratic functions on a ball: the trust-region problem, solved through its dual."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gradnoise.theory._float_range import rows_in_units
from gradnoise.theory._validation import FloatArray

__all__ = ["largest_on_ball"]

_HALVINGS = 64


def largest_on_ball(hessians: FloatArray, slopes: FloatArray, radius: float) -> FloatArray:
    r"""Maximum of :math:`b^T s + \tfrac12 s^T A s` over :math:`\|s\| \le` radius, whatever the signs of A's eigenvalues.

    .. math:: \max_{\|s\|\le\delta} b^T s + \tfrac12 s^T A s
              = \min_{\mu \ge \max(0, \lambda_{\max}(A))} \tfrac12\Big(\mu\delta^2 + \sum_i \frac{\beta_i^2}{\mu - \lambda_i}\Big)

    with the eigenvalues of A and b's coordinates in its eigenvectors: the dual is convex in one variable and has no gap. Each
    of its values is a bound from above, and the hard case (b without a part along the leading eigenvector) needs no care.

    Parameters
    ----------
    hessians : (k, d, d) ndarray
        A, symmetric, one for each problem.
    slopes : (k, d) ndarray
        b.
    radius : float
        delta > 0.

    Returns
    -------
    (k,) ndarray
        Never below the maximum but by the rounding of A's eigenvalues, and above it by no more than 2⁻⁶² ‖b‖ δ.

    References
    ----------
    Conn, Gould and Toint, Trust-Region Methods (2000), Section 7.2.
    """
    hessians, slopes, radius, powers = _in_units(hessians, slopes, radius)
    eigenvalues, vectors = np.linalg.eigh(hessians)
    squares = np.einsum("kij,ki->kj", vectors, slopes) ** 2
    least = np.maximum(eigenvalues[:, -1], 0.0)
    gaps = least[:, np.newaxis] - eigenvalues
    # The slope of the dual is increasing in t = μ − least, and not negative at ‖b‖/δ: bisect for its zero.
    low, high = np.zeros(len(slopes)), np.sqrt(squares.sum(axis=1)) / radius
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        too_large = _over(squares, (gaps + middle[:, np.newaxis]) ** 2) <= radius**2
        low, high = np.where(too_large, low, middle), np.where(too_large, middle, high)
    return np.ldexp(0.5 * ((least + high) * radius**2 + _over(squares, gaps + high[:, np.newaxis])), powers)


def _in_units(hessians: FloatArray, slopes: FloatArray, radius: float) -> tuple[FloatArray, FloatArray, float, NDArray[np.int64]]:
    """The same problems with a radius and largest entries of order one, and the powers of two that their maxima are in."""
    k, d = slopes.shape
    fraction, power = np.frexp(radius)
    both, powers = rows_in_units(np.hstack([np.ldexp(hessians.reshape(k, d * d), 2 * power), np.ldexp(slopes, power)]))
    return both[:, : d * d].reshape(k, d, d), both[:, d * d :], float(fraction), powers


def _over(squares: FloatArray, denominators: FloatArray) -> FloatArray:
    """Sum the quotients, a square of zero counting as none."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):  # infinite below the zero of the slope
        quotients = squares / denominators
    return np.where(squares > 0, quotients, 0.0).sum(axis=1)
