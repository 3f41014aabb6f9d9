"""Problems on which claims are tried: fixed small ones, random ones, and searches for the worst."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import scipy

from gradnoise.claims.generic import generic_sizes
from gradnoise.theory._validation import as_array, as_count, as_function, as_instance, as_matching, as_real, shown

__all__ = [
    "GRADIENTS",
    "HESSIAN",
    "NOISE_COVARIANCE",
    "PAIRS",
    "SPARSE_SIZES",
    "VALUES",
    "covariance_by_exponential",
    "random_psd",
    "random_spectrum",
    "sample_gradients",
    "search_minimum",
]

#: A Hessian and a covariance that do not commute.
HESSIAN = np.array([[2.0, 0.5, 0.0], [0.5, 1.0, 0.3], [0.0, 0.3, 0.4]])
NOISE_COVARIANCE = np.array([[0.6, 0.1, -0.2], [0.1, 0.3, 0.05], [-0.2, 0.05, 0.8]])

#: Dimension of a random matrix: a claim tries hundreds of them.
_LARGEST = 1_000

#: Gradients of six samples in two coordinates, with a mean that matters: a column per sample.
GRADIENTS = np.array([[1.0, 0.2, -0.5, 0.9, 1.6, 0.4], [0.3, 1.1, 0.7, -0.4, 0.2, 2.0]])

#: Two more, for claims that try several numbers of samples.
_MORE_GRADIENTS = np.array([[-0.7, 1.3], [0.9, -0.2]])

#: n and b of three instances.
PAIRS = generic_sizes((5, 2), (6, 3), (8, 2))

#: n, B and b of three instances where all supports of B samples come with all three-point normals on n.
SPARSE_SIZES = generic_sizes((4, 3, 2), (5, 2, 4), (6, 2, 3))

#: Skew values of six samples.
VALUES = np.array([0.1, -0.4, 2.5, 0.3, -0.2, 0.7])


def sample_gradients(n: int) -> np.ndarray:
    """Gradients of n samples in two coordinates, for claims that try several n.

    Parameters
    ----------
    n : int
        At most 8.

    Returns
    -------
    (2, n) ndarray
        A column per sample; at n = 6, `GRADIENTS`.

    Examples
    --------
    >>> sample_gradients(6).tolist() == GRADIENTS.tolist(), sample_gradients(8)[:, 7].tolist()
    (True, [1.3, -0.2])
    """
    every = np.hstack([GRADIENTS, _MORE_GRADIENTS])
    return every[:, : as_count(n, "n", at_most=every.shape[1])]


def random_psd(generator: np.random.Generator, dimension: int, rank: int | None = None) -> np.ndarray:
    """Random positive semi-definite matrix with a spectrum over several decades.

    Parameters
    ----------
    generator : Generator
        Is used up.
    dimension : int
        d, at most 1,000.
    rank : int, optional
        Of the matrix, at most d, which is the default.

    Returns
    -------
    (d, d) ndarray
        With the eigenvalues of `random_spectrum`, of which all but `rank` are set to zero, and random eigenvectors.

    Examples
    --------
    >>> A = random_psd(np.random.default_rng(1), 4, rank=2)
    >>> bool((A == A.T).all()), int((np.linalg.eigvalsh(A) > 1e-9).sum())
    (True, 2)
    """
    dimension = as_count(dimension, "dimension", at_most=_LARGEST)
    as_instance(generator, "generator", np.random.Generator)
    if rank is not None:
        rank = as_count(rank, "rank", at_least=0, at_most=dimension)
    Q, _ = np.linalg.qr(generator.standard_normal((dimension, dimension)))
    values = random_spectrum(generator, dimension)
    if rank is not None:
        values[rank:] = 0.0
    matrix = (Q * values) @ Q.T
    return (matrix + matrix.T) / 2


def random_spectrum(generator: np.random.Generator, dimension: int) -> np.ndarray:
    """Positive numbers over several decades.

    Parameters
    ----------
    generator : Generator
        Is used up.
    dimension : int
        How many, at most 1,000.

    Returns
    -------
    (dimension,) ndarray
        Between 10^-3 and 10, with uniform logarithms.

    Examples
    --------
    >>> values = random_spectrum(np.random.default_rng(1), 5)
    >>> bool(((values >= 1e-3) & (values < 10)).all())
    True
    """
    dimension = as_count(dimension, "dimension", at_most=_LARGEST)
    return 10.0 ** as_instance(generator, "generator", np.random.Generator).uniform(-3, 1, dimension)


def search_minimum(
    function: Callable[[np.ndarray], float], starts: list[np.ndarray], evaluations: int = 400
) -> tuple[float, np.ndarray]:
    """Adversarial search: the lowest value that Nelder-Mead finds from several starts, and where.

    Parameters
    ----------
    function : callable
        Takes a (d,) array and returns a float, which may be infinite where the search shall not go.
    starts : list of (d,) array_like
        Where a search begins.
    evaluations : int
        Of the function, at most, for each start.

    Returns
    -------
    value : float
        The lowest value found.
    point : (d,) ndarray
        Where it was found.

    Examples
    --------
    >>> value, point = search_minimum(lambda x: (x[0] ** 2 - 4) ** 2 + x[0], [np.array([-1.0]), np.array([1.0])])
    >>> round(value, 1), point.round(1)  # the lower of two valleys
    (-2.0, array([-2.]))
    """
    as_function(function, "function")
    options = {"maxfev": as_count(evaluations, "evaluations"), "xatol": 1e-10, "fatol": 1e-14}
    if not isinstance(starts, list | tuple | np.ndarray) or (isinstance(starts, np.ndarray) and starts.ndim == 0):
        raise TypeError(f"starts must be a list of vectors, got {shown(starts)}")
    points = [as_array(x, f"starts[{k}]", ndim=1) for k, x in enumerate(starts)]
    if len(sizes := {x.size for x in points}) != 1 or 0 in sizes:
        raise ValueError(f"starts must be one vector or more, all of the same length, got lengths {sorted(sizes)}")

    def value_at(x: np.ndarray) -> float:
        value = function(x.copy())  # it may write into it
        return value if isinstance(value, float) and math.isinf(value) else float(as_array(value, "function(x)", ndim=0))

    with np.errstate(invalid="ignore"):  # of a simplex whose corners are all infinite
        found = [scipy.optimize.minimize(value_at, x, method="Nelder-Mead", options=options) for x in points]
    best = min(found, key=lambda r: r.fun)
    return float(best.fun), best.x


def covariance_by_exponential(hessian: np.ndarray, covariance: np.ndarray, t: float) -> np.ndarray:
    """Van Loan's formula for ∫e^{−Hs}Σe^{−Hs}ds, with time halved until the exponential is harmless.

    Parameters
    ----------
    hessian : (d, d) ndarray
        H, symmetric.
    covariance : (d, d) ndarray
        Σ, symmetric.
    t : float
        Upper limit of the integral, >= 0; the lower one is zero.

    Returns
    -------
    (d, d) ndarray

    Examples
    --------
    >>> found = covariance_by_exponential(np.array([[1.0]]), np.array([[2.0]]), np.log(2))  # 1 − e^{−2t}
    >>> found.round(12)
    array([[0.75]])
    """
    H, S, t = as_array(hessian, "hessian", ndim=2), as_array(covariance, "covariance", ndim=2), as_real(t, "t", at_least=0)
    as_matching(H, S, ("hessian", "covariance"))
    for name, matrix in (("hessian", H), ("covariance", S)):
        if matrix.size == 0 or len(matrix) != matrix.shape[1]:
            raise ValueError(f"{name} must be square and not empty, got shape {matrix.shape}")
    with np.errstate(over="ignore", invalid="ignore"):
        result = _van_loan(H, S, t)
    if not np.isfinite(result).all():
        raise ValueError(f"hessian, covariance and t must give finite numbers, got |H| = {np.abs(H).max():g} and t = {t:g}")
    return result


def _van_loan(hessian: np.ndarray, covariance: np.ndarray, t: float) -> np.ndarray:
    d, product = len(hessian), float(np.linalg.norm(hessian, 2)) * t
    if not math.isfinite(product):
        return np.full((d, d), np.nan)
    halvings = max(0, math.ceil(math.log2(max(product, 1))))
    h = math.ldexp(t, -halvings)  # 2^1024 would be no float
    block = scipy.linalg.expm(np.block([[hessian, covariance], [np.zeros((d, d)), -hessian]]) * h)
    decay = block[d:, d:]
    result = decay.T @ block[:d, d:]
    for _ in range(halvings):  # C(2h) = C(h) + e^{−Hh} C(h) e^{−Hh}
        result = result + decay @ result @ decay
        decay = decay @ decay
    return result
