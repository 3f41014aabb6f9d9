r"""Eigenvalues, singular values and roots that are as accurate as the entries of a matrix allow.

LAPACK's solvers err by a rounding of the *largest* eigenvalue, so that a small one is lost in it, or comes out of it where
there is none. What the entries determine is often much more: blocks that zeros keep apart do not round together, and a
positive semi-definite D C D with a diagonal D, however graded, and a well-conditioned C determines all its eigenvalues to a
rounding of *their* size (Demmel and Veselić 1992). Jacobi's method finds them, from a pivoted Cholesky factor. An eigenvalue
counts as zero where the pivots of C, which has ones on its diagonal, end in the rounding of forming it.
"""

from __future__ import annotations

import numpy as np
import scipy
from scipy.linalg import lapack

from gradnoise.theory._blocks import uncoupled_blocks
from gradnoise.theory._validation import FloatArray

__all__ = ["accurate_svd", "psd_axes", "psd_eigh", "psd_root", "triangular_root"]

_EPS = float(np.finfo(float).eps)
_DOUBTFUL = 2.0**-26  # of the largest: below, half of the digits are gone
_PIVOT = 1000 * _EPS  # times the dimension: the rounding of a product of many terms
_SCALINGS = 5  # of rows and columns in turn, until all have entries of order one


def psd_eigh(matrix: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Ascending eigenvalues, those that are zero up to rounding set to zero, and eigenvectors.

    Examples
    --------
    >>> import numpy as np
    >>> from gradnoise.theory._linalg import psd_eigh
    >>> psd_eigh(np.array([[1e16, 1e7], [1e7, 1.0]]))[0]  # their product is the determinant, 0.99e16
    array([9.9e-01, 1.0e+16])
    """
    blocks = uncoupled_blocks(matrix)
    if len(blocks) == 1:
        return _coupled_eigh(matrix)
    values, vectors = np.empty(len(matrix)), np.zeros(matrix.shape)
    for block in blocks:
        values[block], vectors[np.ix_(block, block)] = _coupled_eigh(matrix[np.ix_(block, block)])
    order = np.argsort(values, kind="stable")
    return values[order], vectors[:, order]


def psd_axes(matrix: FloatArray) -> FloatArray:
    """Eigenvectors as columns, each as long as the root of its eigenvalue: A with A A' = matrix."""
    values, vectors = psd_eigh(matrix)
    return vectors * np.sqrt(values)


def psd_root(matrix: FloatArray) -> FloatArray:
    """Return the symmetric positive semi-definite R with R R = matrix.

    Examples
    --------
    >>> import numpy as np
    >>> from gradnoise.theory._linalg import psd_root
    >>> psd_root(np.diag([4.0, 0.0, 9.0]))
    array([[2., 0., 0.],
           [0., 0., 0.],
           [0., 0., 3.]])
    """
    values, vectors = psd_eigh(matrix)
    return (vectors * np.sqrt(values)) @ vectors.T


def triangular_root(matrix: FloatArray) -> FloatArray:
    """Lower-triangular L with L L' = matrix, which, unlike Cholesky's, may be singular."""
    return np.ascontiguousarray(np.asarray(np.linalg.qr(psd_axes(matrix).T, mode="r")).T)


def accurate_svd(matrix: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Singular values that are not zero up to rounding, falling, with left vectors as columns and right ones as rows.

    Examples
    --------
    >>> import numpy as np
    >>> from gradnoise.theory._linalg import accurate_svd
    >>> accurate_svd(np.array([[1e20, 0.0], [0.0, 0.5], [0.0, 0.0]]))[1]
    array([1.e+20, 5.e-01])
    """
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    rounding = max(matrix.shape) * _EPS * values.max(initial=0.0)
    count = int((values > rounding).sum())
    if count < len(values) or (values < _DOUBTFUL * values.max(initial=0.0)).any():
        rank = _rank(matrix)
        if rank > count or (rank == count and values[:count].min(initial=np.inf) < _DOUBTFUL * values.max(initial=0.0)):
            left, values, right = _jacobi_svd(matrix)
            count = rank
    used = np.arange(len(values)) < count
    return left[:, used], values[used], right[used]


def _coupled_eigh(matrix: FloatArray) -> tuple[FloatArray, FloatArray]:
    if len(matrix) == 1:
        return np.maximum(matrix[0], 0.0), np.ones((1, 1))
    values, vectors = np.linalg.eigh(matrix)
    known = values > 4 * _EPS * values.size * np.abs(values).max()
    doubtful = known & (values < _DOUBTFUL * values[-1])
    if known.all() and not doubtful.any():
        return values, vectors
    factor = _graded_factor(matrix)
    rank = factor.shape[1]
    if rank > known.sum() or (rank == known.sum() and doubtful.any()):
        left, singular, _ = _jacobi_svd(factor, complete=True)
        values = np.zeros(len(matrix))
        values[:rank] = singular**2
        return values[::-1], left[:, ::-1]
    return np.where(known, values, 0.0), vectors


def _graded_factor(matrix: FloatArray) -> FloatArray:
    """Return F, of a rank that is sure, with F F' = matrix: Cholesky's factor of what has ones on its diagonal, scaled."""
    diagonal, size = np.diag(matrix), len(matrix)
    if not (diagonal > 0).all():  # rounding has left nothing of a row
        return np.empty((size, 0))
    scale = _power_of_two(np.sqrt(diagonal))
    factor, pivots, rank, _ = lapack.dpstrf(  # type: ignore[attr-defined]
        matrix / scale / scale[:, np.newaxis], tol=_PIVOT * size, lower=1
    )
    result = np.zeros((size, rank))
    result[pivots - 1] = np.tril(factor)[:, :rank]
    return result * scale[:, np.newaxis]


def _rank(matrix: FloatArray) -> int:
    """Rank of a matrix whose rows and columns may be of any size."""
    scaled = matrix[np.ix_(matrix.any(axis=1), matrix.any(axis=0))]
    if not scaled.size:
        return 0
    for _ in range(_SCALINGS):
        scaled = scaled / _power_of_two(np.abs(scaled).max(axis=1, keepdims=True))
        scaled = scaled / _power_of_two(np.abs(scaled).max(axis=0, keepdims=True))
    pivots = np.abs(np.diag(scipy.linalg.qr(scaled, mode="r", pivoting=True)[0]))
    return int((pivots > _PIVOT * max(matrix.shape)).sum())


def _jacobi_svd(matrix: FloatArray, complete: bool = False) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Singular values with an error relative to each, of D C D', with diagonal D and D' and a well-conditioned C."""
    wide = matrix.shape[0] < matrix.shape[1]
    values, left, right, work, *_ = lapack.dgejsv(  # type: ignore[attr-defined]
        matrix.T if wide else matrix,
        joba=2,  # pivoting rows and columns
        jobu=1 if complete else 0,
        jobv=0,
        jobr=0,  # the whole range of floats
        jobt=0,
        jobp=0,
    )
    values = values * (work[0] / work[1])
    return (right, values, left.T) if wide else (left, values, right.T)


def _power_of_two(sizes: FloatArray) -> FloatArray:
    return np.exp2(np.round(np.log2(sizes)))
