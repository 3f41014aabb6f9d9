r"""The two-basin toy of zhu2019, Section 5.1 and Appendix D.1.

A sample x has the loss min{A, B} with the sharp branch A = s'Hs/2, s = theta - (1, 1) - x, and the flat branch
B = |theta + (1, 1) - x|^2. The parameter is called w in the paper.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from gradnoise.theory._float_range import within_floats
from gradnoise.theory._validation import FloatArray, as_array

__all__ = [
    "DATA_COVARIANCE",
    "FLAT_HESSIAN",
    "FLAT_MINIMUM",
    "PRINTED_DATA_COVARIANCE",
    "SHARP_HESSIAN",
    "SHARP_MINIMUM",
    "gradients",
    "hessian",
    "losses",
    "population_loss_at_minima",
    "sharp_samples",
]

SHARP_MINIMUM = np.array([1.0, 1.0])
FLAT_MINIMUM = np.array([-1.0, -1.0])

_ACROSS, _ALONG = np.array([1.0, -1.0]) / np.sqrt(2), np.array([1.0, 1.0]) / np.sqrt(2)

#: 10 (s_1 cos - s_2 sin)^2 + 100 (s_1 cos + s_2 sin)^2 at 45 degrees: eigenvalues 20 and 200.
SHARP_HESSIAN = 20 * np.outer(_ACROSS, _ACROSS) + 200 * np.outer(_ALONG, _ALONG)
FLAT_HESSIAN = 2 * np.eye(2)

#: Of the data, as the released program draws it: 10^-3 across and 10^-4 along the diagonal, 0.02 / SHARP_HESSIAN.
DATA_COVARIANCE = 1e-3 * np.outer(_ACROSS, _ACROSS) + 1e-4 * np.outer(_ALONG, _ALONG)

#: What Appendix D.1 prints in its place: a rotation matrix, hence a misprint.
PRINTED_DATA_COVARIANCE = np.array([[1.0, 1.0], [-1.0, 1.0]]) / np.sqrt(2)


@within_floats
def losses(theta: ArrayLike, data: ArrayLike) -> FloatArray:
    """Loss of each sample.

    Parameters
    ----------
    theta : (2,) array_like
        Parameter.
    data : (n, 2) array_like
        Samples x.

    Returns
    -------
    (n,) ndarray

    Examples
    --------
    >>> from gradnoise.theory.escape import two_basin
    >>> two_basin.losses([-1.0, 0.0], [[0.0, 0.0], [0.0, 1.0]])  # on the flat branch the squared distance from (-1, -1) + x
    array([1., 0.])
    """
    return np.minimum(*_branches(*_sides(theta, data)))


@within_floats
def sharp_samples(theta: ArrayLike, data: ArrayLike) -> np.ndarray:
    """Which samples are on the sharp branch.

    Parameters
    ----------
    theta, data : array_like
        See `losses`.

    Returns
    -------
    (n,) ndarray of bool

    Examples
    --------
    >>> from gradnoise.theory.escape import two_basin
    >>> two_basin.sharp_samples([1.0, 1.0], [[0.0, 0.0], [0.0, 1.0]])  # the second is where the sharp branch is steep
    array([ True, False])
    """
    sharp, flat = _branches(*_sides(theta, data))
    return sharp < flat


@within_floats
def gradients(theta: ArrayLike, data: ArrayLike) -> FloatArray:
    """Gradient matrix.

    Parameters
    ----------
    theta, data : array_like
        See `losses`.

    Returns
    -------
    (2, n) ndarray
        A column per sample.

    Examples
    --------
    >>> from gradnoise.theory.escape import two_basin
    >>> two_basin.gradients([-1.0, 0.0], [[0.0, 0.0], [0.0, 1.0]])
    array([[0., 0.],
           [2., 0.]])
    """
    s, f = _sides(theta, data)
    sharp, flat = _branches(s, f)
    return np.where(sharp < flat, SHARP_HESSIAN @ s.T, FLAT_HESSIAN @ f.T)


@within_floats
def hessian(theta: ArrayLike, data: ArrayLike) -> FloatArray:
    """Hessian of the mean loss, which exists almost everywhere.

    Parameters
    ----------
    theta, data : array_like
        See `losses`.

    Returns
    -------
    (2, 2) ndarray

    Examples
    --------
    >>> from gradnoise.theory.escape import two_basin
    >>> two_basin.hessian(two_basin.FLAT_MINIMUM, [[0.0, 0.0]])
    array([[2., 0.],
           [0., 2.]])
    """
    p = sharp_samples(theta, data).mean()
    return p * SHARP_HESSIAN + (1 - p) * FLAT_HESSIAN


def population_loss_at_minima() -> tuple[float, float]:
    """Expected loss at the sharp and at the flat minimum, 0.0200 and 0.0011.

    Each is Tr(H Cov x)/2 of its own branch; the chance that the other branch is lower is below 10^-100.

    Returns
    -------
    (float, float)

    Examples
    --------
    >>> from gradnoise.theory.escape import two_basin
    >>> sharp, flat = two_basin.population_loss_at_minima()
    >>> round(sharp, 6), round(flat, 6)
    (0.02, 0.0011)
    """
    return (
        float(np.trace(SHARP_HESSIAN @ DATA_COVARIANCE) / 2),
        float(np.trace(FLAT_HESSIAN @ DATA_COVARIANCE) / 2),
    )


def _sides(theta: ArrayLike, data: ArrayLike) -> tuple[FloatArray, FloatArray]:
    w, x = as_array(theta, "theta", ndim=1), as_array(data, "data", ndim=2)
    if w.shape != (2,) or x.shape[1] != 2 or len(x) == 0:
        raise ValueError(f"theta must have shape (2,) and data (n, 2), n >= 1, got {w.shape} and {x.shape}")
    return w - SHARP_MINIMUM - x, w - FLAT_MINIMUM - x


def _branches(s: FloatArray, f: FloatArray) -> tuple[FloatArray, FloatArray]:
    return ((s @ SHARP_HESSIAN) * s).sum(axis=1) / 2, ((f @ FLAT_HESSIAN) * f).sum(axis=1) / 2
