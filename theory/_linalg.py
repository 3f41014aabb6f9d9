"""Eigenvalues of positive semi-definite matrices, without the rounding that makes zeros negative."""

from __future__ import annotations

import numpy as np

from gradnoise.theory._validation import FloatArray

__all__ = ["psd_eigh", "without_rounding"]


def psd_eigh(matrix: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Ascending eigenvalues, those that are zero up to rounding set to zero, and eigenvectors."""
    values, vectors = np.linalg.eigh(matrix)
    return without_rounding(values), vectors


def without_rounding(eigenvalues: FloatArray) -> FloatArray:
    """Set to zero what is zero up to the rounding of the eigenvalue solver."""
    floor = 4 * np.finfo(float).eps * eigenvalues.size * np.abs(eigenvalues).max()
    return np.where(eigenvalues > floor, eigenvalues, 0.0)
