"""Online least squares: Gaussian features, or any finite sample space.

Both offer the exact excess risks, the stability limit, the asymptotic constant and the bounds of
`gradnoise.theory.least_squares.OnlineLeastSquares`.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from gradnoise.theory._float_range import exponent_of, within_floats
from gradnoise.theory._linalg import accurate_svd
from gradnoise.theory._validation import FloatArray, as_array, as_nonnegative, as_probabilities, as_real
from gradnoise.theory.least_squares.risk_bound import Assumptions
from gradnoise.theory.least_squares.second_moments import OnlineLeastSquares

__all__ = ["FiniteLeastSquares", "LeastSquares"]


class LeastSquares(OnlineLeastSquares):
    """Gaussian features x ~ N(0, diag(spectrum)) and labels y = x' theta_* + N(0, noise_std^2).

    Parameters
    ----------
    spectrum : (d,) array_like
        Eigenvalues of Sigma, >= 0 and not all zero, in any order. Units: feature squared.
    initial_error : (d,) array_like
        theta_0 - theta_*, in the same order. Units: parameter.
    noise_std : float
        >= 0. Units: label.

    Raises
    ------
    ValueError
        If a spectrum is negative or zero, or the lengths differ.

    References
    ----------
    wu2020, Section 3.

    Examples
    --------
    >>> from gradnoise.theory.least_squares import LeastSquares
    >>> problem = LeastSquares(spectrum=[1.0], initial_error=[1.0], noise_std=0.0)
    >>> round(problem.last_iterate_risk(1 / 3, 1, n_steps=1), 6)  # (1 - 2 eta + 3 eta**2) / 2, as E x**4 = 3
    0.333333
    >>> round(problem.stability_limit(1), 6), round(problem.stability_limit(2), 6)  # 2 / (1 + 2 / b)
    (0.666667, 1.0)
    """

    well_specified = True

    @within_floats
    def __init__(self, spectrum: ArrayLike, initial_error: ArrayLike, noise_std: float) -> None:
        self.spectrum = as_nonnegative(as_array(spectrum, "spectrum", ndim=1), "spectrum")
        self.initial_error = as_array(initial_error, "initial_error", ndim=1)
        if self.spectrum.shape != self.initial_error.shape:
            lengths = f"{len(self.spectrum)} and {len(self.initial_error)}"
            raise ValueError(f"spectrum and initial_error must have equal lengths, got {lengths}")
        if not (self.spectrum > 0).any():
            raise ValueError(f"spectrum must have an entry > 0, got {self.spectrum.tolist()}")
        self.noise_std = as_real(noise_std, "noise_std", at_least=0)
        used = self.spectrum > 0
        of_features, of_parameters = self._set_units(exponent_of(self.spectrum) // 2, self.initial_error[used], self.noise_std)
        lam, start = np.ldexp(self.spectrum[used], -2 * of_features), np.ldexp(self.initial_error[used], -of_parameters)
        self._set(lam, start, np.ldexp(self.noise_std, -of_features - of_parameters) ** 2 * lam)

    def __repr__(self) -> str:
        return f"LeastSquares({self.spectrum.tolist()}, {self.initial_error.tolist()}, {self.noise_std})"

    def _fourth_moment(self, S: FloatArray) -> FloatArray:
        lam = self._eigenvalues  # Isserlis: E[(x'Sx) x x'] = 2 Sigma S Sigma + Tr(Sigma S) Sigma
        return 2 * lam**2 * S + (S @ lam)[..., np.newaxis] * lam

    @within_floats
    def assumptions(self) -> Assumptions:
        """Sharp constants: R^2 = 2 lambda + Tr Sigma, sigma^2 = noise_std^2, lambda the largest eigenvalue, K = d + 2."""
        lam, unit = self._eigenvalues, 2 * self._of_features
        largest = float(lam.max())
        radius_squared = math.ldexp(2 * largest + float(lam.sum()), unit)
        return Assumptions(radius_squared, self.noise_std**2, math.ldexp(largest, unit), float(len(lam) + 2))


class FiniteLeastSquares(OnlineLeastSquares):
    """A finite sample space: any discrete distribution of (x, y), misspecified ones included.

    With the empirical distribution of a data set and `WeightMoments.fixed_data` it also describes SGD on that data.

    Parameters
    ----------
    features : (m, d) array_like
        Points x, a row each.
    targets : (m,) array_like
        Labels y.
    initial : (d,) array_like
        theta_0.
    probabilities : (m,) array_like, optional
        Of the points; equal if not given.

    Attributes
    ----------
    optimum : (d,) ndarray
        theta_*, the minimum of f with the smallest norm.
    well_specified : bool
        Whether all points of positive probability are fitted at the optimum. A larger space may be well specified, too; it is
        not recognised, and the two-term bound is then twice as large as it could be.

    Raises
    ------
    ValueError
        If shapes do not match, all features are zero, or probabilities are negative or do not sum to one.

    References
    ----------
    wu2020, Section 3.

    Examples
    --------
    >>> from gradnoise.theory.least_squares import FiniteLeastSquares
    >>> problem = FiniteLeastSquares(features=[[1.0], [1.0]], targets=[0.0, 2.0], initial=[0.0])
    >>> problem.optimum
    array([1.])
    >>> problem.last_iterate_risk(1.0, 1, n_steps=1), problem.last_iterate_risk(1.0, 2, n_steps=1)  # Var y / (2 b)
    (0.5, 0.25)
    """

    @within_floats
    def __init__(
        self, features: ArrayLike, targets: ArrayLike, initial: ArrayLike, probabilities: ArrayLike | None = None
    ) -> None:
        self.features, self.targets = as_array(features, "features", ndim=2), as_array(targets, "targets", ndim=1)
        self.initial = as_array(initial, "initial", ndim=1)
        m, d = self.features.shape
        if len(self.targets) != m or len(self.initial) != d:
            raise ValueError(
                f"features of shape (m, d) must come with m targets and d entries of initial, "
                f"got {self.features.shape}, {len(self.targets)} and {len(self.initial)}"
            )
        if not self.features.any():
            raise ValueError(f"features must not all be zero, got shape {self.features.shape}")
        p = self.probabilities = as_probabilities(probabilities, "probabilities", m)
        of_features, of_parameters = self._set_units(exponent_of(self.features), self.initial, self.targets)
        X, y = np.ldexp(self.features, -of_features), np.ldexp(self.targets, -of_features - of_parameters)
        # Singular values of the features: those of Sigma, their squares, would lose half of the digits.
        root = np.sqrt(p)
        left, s, right = accurate_svd(root[:, np.newaxis] * X)
        axes = right.T
        self._x = X @ axes
        optimum = left.T @ (root * y) / s
        self.optimum = np.ldexp(axes @ optimum, of_parameters)
        self._residuals = y - self._x @ optimum
        sizes = np.abs(y) + np.abs(self._x) @ np.abs(optimum)
        rounding = max(m, d) * np.finfo(float).eps
        self.well_specified = bool((np.abs(self._residuals) <= 8 * rounding * sizes)[p > 0].all())
        start = axes.T @ np.ldexp(self.initial, -of_parameters) - optimum
        self._set(s**2, start, self._weighted(self._residuals**2))

    def __repr__(self) -> str:
        return f"FiniteLeastSquares({len(self.features)} points in {self.features.shape[1]} dimensions)"

    def _weighted(self, factors: FloatArray) -> FloatArray:
        """E[factor x x'], for factors (..., m)."""
        return np.swapaxes(self._x * (self.probabilities * factors)[..., np.newaxis], -1, -2) @ self._x

    def _fourth_moment(self, S: FloatArray) -> FloatArray:
        return self._weighted(((self._x @ S) * self._x).sum(axis=-1))

    def _cross_source(self, mean: FloatArray) -> FloatArray:
        return self._weighted((self._x @ mean) * self._residuals)

    @within_floats
    def assumptions(self) -> Assumptions:
        """Sharp constants, as largest eigenvalues of the whitened matrices."""
        root = np.sqrt(self._eigenvalues)

        def largest(factors: FloatArray) -> float:
            return float(np.linalg.eigvalsh(self._weighted(factors) / root / root[:, np.newaxis])[-1])

        squares = self._x**2
        return Assumptions(
            math.ldexp(largest(squares.sum(axis=1)), 2 * self._of_features),
            math.ldexp(max(largest(self._residuals**2), 0.0), self._of_risks),
            math.ldexp(float(self._eigenvalues.max()), 2 * self._of_features),
            largest((squares / self._eigenvalues).sum(axis=1)),
        )
