"""Covariances of gradient noise in parameter space, and the noises of Table 1 of zhu2019 under its trace constraint."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from gradnoise.theory._float_range import product, rows_in_units, within_floats
from gradnoise.theory._linalg import psd_eigh
from gradnoise.theory._validation import FloatArray, as_array, as_choice, as_count, as_matching, as_psd, as_real
from gradnoise.theory.sampling import Minibatch

__all__ = [
    "DYNAMICS",
    "dynamics_covariance",
    "fisher",
    "isotropic_equivalent",
    "leading",
    "match_trace",
    "sgd_covariance",
]

DYNAMICS = ("gd", "gld_const", "gld_diag", "gld_leading", "gld_hessian", "gld_eigvec")


@within_floats
def sgd_covariance(gradients: ArrayLike, batch_size: int, replacement: bool = True) -> FloatArray:
    r"""Covariance of a minibatch gradient.

    .. math:: \Sigma = \frac1b \left(F - \nabla L \nabla L^T\right), \qquad
              \times \frac{n-b}{n-1} \text{ without replacement}

    Parameters
    ----------
    gradients : (d, n) array_like
        G, a column per sample.
    batch_size : int
        b >= 1; b <= n without replacement.
    replacement : bool
        Whether a sample can be drawn twice.

    Returns
    -------
    (d, d) ndarray
        Units: gradient squared.

    Raises
    ------
    ValueError
        If gradients is not a finite (d, n) array, or the batch size is not allowed.

    References
    ----------
    zhu2019, Eq. (5); ne2021, Eq. (4).

    Examples
    --------
    >>> from gradnoise.theory.gradient_noise import sgd_covariance
    >>> sgd_covariance([[1.0, 3.0]], batch_size=2)  # (F - 2**2) / 2 with F = (1 + 9) / 2
    array([[0.5]])
    >>> sgd_covariance([[1.0, 3.0]], batch_size=2, replacement=False)  # all samples: no noise is left
    array([[0.]])
    """
    G = _as_gradients(gradients)
    return Minibatch(G.shape[1], batch_size, replacement).gradient_covariance(G)


@within_floats
def fisher(gradients: ArrayLike) -> FloatArray:
    """Empirical Fisher F = G G^T / n.

    Parameters
    ----------
    gradients : (d, n) array_like
        G, a column per sample.

    Returns
    -------
    (d, d) ndarray
        Units: gradient squared.

    References
    ----------
    wu2020, Section 4.2.

    Examples
    --------
    >>> from gradnoise.theory.gradient_noise import fisher
    >>> fisher([[1.0, 3.0]])  # (1 + 9) / 2
    array([[5.]])
    """
    G, powers = rows_in_units(_as_gradients(gradients))
    return product(G @ G.T / G.shape[1], power=np.add.outer(powers, powers))


@within_floats
def leading(covariance: ArrayLike, k: int) -> FloatArray:
    """Rank-k part of a covariance, from its k largest eigenvalues, unscaled.

    Parameters
    ----------
    covariance : (d, d) array_like
        Symmetric positive semi-definite.
    k : int
        Between 1 and d.

    Returns
    -------
    (d, d) ndarray

    References
    ----------
    zhu2019, Table 1, "GLD leading" and "GLD Hessian".

    Examples
    --------
    >>> from gradnoise.theory.gradient_noise import leading
    >>> leading([[3.0, 0.0], [0.0, 1.0]], k=1)
    array([[3., 0.],
           [0., 0.]])
    """
    C = as_psd(covariance, "covariance")
    k = as_count(k, "k", at_most=len(C))
    gamma, V = psd_eigh(C)
    return (V[:, -k:] * gamma[-k:]) @ V[:, -k:].T


@within_floats
def isotropic_equivalent(covariance: ArrayLike) -> FloatArray:
    """Isotropic covariance with the same trace, (Tr Sigma / D) I.

    Parameters
    ----------
    covariance : (d, d) array_like
        Symmetric positive semi-definite.

    Returns
    -------
    (d, d) ndarray

    References
    ----------
    zhu2019, Proposition 1.

    Examples
    --------
    >>> from gradnoise.theory.gradient_noise import isotropic_equivalent
    >>> isotropic_equivalent([[3.0, 0.0], [0.0, 1.0]])
    array([[2., 0.],
           [0., 2.]])
    """
    C = as_psd(covariance, "covariance")
    return np.trace(C) / len(C) * np.eye(len(C))


@within_floats
def match_trace(covariance: ArrayLike, trace: float) -> FloatArray:
    """Scale a covariance to a given trace, the constraint of fair comparison.

    Parameters
    ----------
    covariance : (d, d) array_like
        Symmetric positive semi-definite, not zero.
    trace : float
        >= 0, the wanted E ||noise||^2.

    Returns
    -------
    (d, d) ndarray

    Raises
    ------
    ValueError
        If the covariance is zero: no scale gives it a trace.

    References
    ----------
    zhu2019, Eq. (14).

    Examples
    --------
    >>> from gradnoise.theory.gradient_noise import match_trace
    >>> match_trace([[3.0, 0.0], [0.0, 1.0]], trace=1.0)
    array([[0.75, 0.  ],
           [0.  , 0.25]])
    """
    C = as_psd(covariance, "covariance")
    return _scaled(C, as_real(trace, "trace", at_least=0), "covariance")


@within_floats
def dynamics_covariance(
    dynamics: str, covariance: ArrayLike, hessian: ArrayLike, trace: float, k: int | None = None
) -> FloatArray:
    """Noise covariance of a dynamics of Table 1 under the trace constraint.

    Parameters
    ----------
    dynamics : {"gd", "gld_const", "gld_diag", "gld_leading", "gld_hessian", "gld_eigvec"}
        Row of the table; "gld_const" is isotropic with the given trace.
    covariance : (d, d) array_like
        SGD covariance at the current parameter.
    hessian : (d, d) array_like
        Hessian there, positive semi-definite.
    trace : float
        E ||noise||^2 that all dynamics share.
    k : int, optional
        Rank kept by "gld_leading" and "gld_hessian"; all by default.

    Returns
    -------
    (d, d) ndarray
        Zero for "gd".

    References
    ----------
    zhu2019, Table 1 and Eq. (14).

    Examples
    --------
    >>> from gradnoise.theory.gradient_noise import dynamics_covariance
    >>> covariance, hessian = [[3.0, 1.0], [1.0, 1.0]], [[2.0, 0.0], [0.0, 1.0]]
    >>> dynamics_covariance("gld_diag", covariance, hessian, trace=1.0)
    array([[0.75, 0.  ],
           [0.  , 0.25]])
    >>> dynamics_covariance("gld_eigvec", covariance, hessian, trace=1.0)
    array([[1., 0.],
           [0., 0.]])
    """
    as_choice(dynamics, "dynamics", DYNAMICS)
    C, H = as_psd(covariance, "covariance"), as_psd(hessian, "hessian")
    as_matching(C, H, ("covariance", "hessian"))
    k = len(C) if k is None else as_count(k, "k", at_most=len(C))
    trace = as_real(trace, "trace", at_least=0)
    match dynamics:
        case "gd":
            return np.zeros_like(C)
        case "gld_const":
            return _scaled(np.eye(len(C)), trace, "covariance")
        case "gld_diag":
            return _scaled(np.diag(np.diag(C)), trace, "covariance")
        case "gld_leading":
            return _scaled(leading(C, k), trace, "covariance")
        case _:
            return _scaled(leading(H, k if dynamics == "gld_hessian" else 1), trace, "hessian")


def _as_gradients(gradients: ArrayLike) -> FloatArray:
    G = as_array(gradients, "gradients", ndim=2)
    if G.shape[1] == 0:
        raise ValueError(f"gradients must have a column per sample, got shape {G.shape}")
    return G


def _scaled(covariance: FloatArray, trace: float, name: str) -> FloatArray:
    largest = np.diag(covariance).max()
    if largest <= 0:
        raise ValueError(f"{name} must not be zero, its trace cannot be matched")
    power = int(np.frexp(largest)[1])  # a unit in which neither the trace nor the quotient of the two leaves the range of floats
    own = product(np.diag(covariance), power=-power).sum()
    return product(covariance, trace / own, power=-power)
