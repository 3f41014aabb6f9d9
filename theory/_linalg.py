"""Eigenvalues and roots of positive semi-definite matrices, without the rounding that makes zeros negative."""

from __future__ import annotations

import numpy as np

from gradnoise.theory._validation import FloatArray

__all__ = ["psd_axes", "psd_eigh", "psd_root", "triangular_root", "without_rounding"]


def psd_eigh(matrix: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Ascending eigenvalues, those that are zero up to rounding set to zero, and eigenvectors."""
    values, vectors = np.linalg.eigh(matrix)
    return without_rounding(values), vectors


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


def without_rounding(eigenvalues: FloatArray) -> FloatArray:
    """Set to zero what is zero up to the rounding of the eigenvalue solver."""
    floor = 4 * np.finfo(float).eps * eigenvalues.size * np.abs(eigenvalues).max()
    return np.where(eigenvalues > floor, eigenvalues, 0.0)
