"""Sets of losses on n samples, by the largest weighted sum that they can have.

A local complexity takes the supremum of |Σ v_i ℓ_i| over a set of losses: those of all parameters in a ball, or a finite set.
For each class here that supremum depends on v through a few linear statistics, so that it is cheap for a million v.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from gradnoise.theory._float_range import product, rows_in_units, within_floats
from gradnoise.theory._validation import FloatArray, as_array, as_counts, as_probabilities, as_real, shown
from gradnoise.theory.complexity.trust_region import largest_on_ball

__all__ = ["AffineLosses", "FiniteLosses", "LeastSquaresLosses", "LossClass"]

_CHUNK = 8192  # suprema taken at once, so that their matrices stay small


class LossClass(ABC):
    """A set of losses, each a vector of its values on n samples.

    A class of your own derives from this one, gives `__init__` the statistics that its supremum needs, and says what the
    supremum is in terms of them.

    Parameters
    ----------
    statistics : (p, n) ndarray
        The supremum for v is a function of ``statistics @ v``.

    Examples
    --------
    >>> import numpy as np
    >>> from gradnoise.theory.complexity import LossClass
    >>> class Single(LossClass):  # one loss: its weighted sum is the only statistic
    ...     def supremum_of(self, statistics):
    ...         return np.abs(statistics[:, 0])
    >>> Single(np.array([[1.0, 3.0]])).supremum([[1.0, 1.0], [1.0, -1.0]])
    array([4., 2.])
    >>> Single(np.array([[1.0, 3.0]])).at([1, 1]).supremum([1.0, 1.0]).tolist()
    6.0
    >>> Single(np.array([[1.0, 3.0]])).centred([0.5, 0.5]).statistics.tolist()
    [[-1.0, 1.0]]
    """

    def __init__(self, statistics: FloatArray) -> None:
        self.statistics = as_array(statistics, "statistics", ndim=2)
        if not self.statistics.size:
            raise ValueError(f"statistics must have samples, got shape {self.statistics.shape}")

    def __repr__(self) -> str:
        return f"{type(self).__name__}(n={self.n})"

    @abstractmethod
    def supremum_of(self, statistics: FloatArray) -> FloatArray:
        """Suprema (k,) from the statistics (k, p) of k vectors."""

    @property
    def n(self) -> int:
        """Number of samples."""
        return self.statistics.shape[1]

    @within_floats
    def supremum(self, vectors: ArrayLike) -> FloatArray:
        r"""Largest :math:`|\sum_i v_i \ell_i|` over the class.

        Parameters
        ----------
        vectors : (..., n) array_like
            v, along the last axis.

        Returns
        -------
        (...) ndarray
            In units of the losses.

        Raises
        ------
        ValueError
            If the last axis does not have n entries.
        """
        v = as_array(vectors, "vectors")
        if v.ndim == 0 or v.shape[-1] != self.n:
            raise ValueError(f"vectors must have {self.n} entries along the last axis, got shape {v.shape}")
        t = v.reshape(-1, self.n) @ self.statistics.T
        chunks = (t[start : start + _CHUNK] for start in range(0, len(t), _CHUNK))
        parts = [_as_suprema(self.supremum_of(chunk), len(chunk)) for chunk in chunks]
        return np.concatenate([*parts, np.empty(0)]).reshape(v.shape[:-1])

    @within_floats
    def centred(self, probabilities: ArrayLike | None = None) -> Self:
        """Return the same losses less their expectations, each loss its own.

        Parameters
        ----------
        probabilities : (n,) array_like, optional
            Of the samples; equal by default.
        """
        p = as_probabilities(probabilities, "probabilities", self.n)
        return self._with(self.statistics - (self.statistics @ p)[:, np.newaxis])

    def at(self, samples: ArrayLike) -> Self:
        """Return the same losses on some of the samples, which may repeat.

        Parameters
        ----------
        samples : (m,) array_like of int
            Between 0 and n - 1.
        """
        chosen = as_counts(samples, "samples")
        if chosen.ndim != 1 or chosen.max() >= self.n:
            raise ValueError(f"samples must be a list of numbers between 0 and {self.n - 1}, got {shown(samples)}")
        return self._with(self.statistics[:, chosen])

    def _as_statistics(self, statistics: ArrayLike) -> FloatArray:
        found = as_array(statistics, "statistics", ndim=2)
        if found.shape[1] != len(self.statistics):
            raise ValueError(f"statistics must have {len(self.statistics)} columns, got shape {found.shape}")
        return found

    def _with(self, statistics: FloatArray) -> Self:
        other = copy.copy(self)
        other.statistics = statistics
        return other


class AffineLosses(LossClass):
    r"""Losses that are affine in the parameters: ℓ_i(θ′) = ℓ_i + g_i·(θ′ − θ), ‖θ′ − θ‖ ≤ δ.

    The supremum is closed, :math:`\delta\|\sum_i v_i g_i\| + |\sum_i v_i \ell_i|`.

    Parameters
    ----------
    values : (n,) array_like
        ℓ_i(θ), at the ball's centre.
    gradients : (d, n) array_like
        g_i, a column per sample.
    radius : float
        δ >= 0.

    Examples
    --------
    >>> from gradnoise.theory.complexity import AffineLosses
    >>> losses = AffineLosses(values=[1.0, 1.0], gradients=[[3.0, 0.0], [0.0, 4.0]], radius=0.5)
    >>> float(losses.supremum([1.0, 1.0]))  # 0.5 |(3, 4)| + |1 + 1|
    4.5
    """

    def __init__(self, values: ArrayLike, gradients: ArrayLike, radius: float) -> None:
        v, G = as_array(values, "values", ndim=1), as_array(gradients, "gradients", ndim=2)
        if G.shape[1] != len(v):
            raise ValueError(f"gradients must have a column for each of the {len(v)} values, got shape {G.shape}")
        self.radius = as_real(radius, "radius", at_least=0)
        super().__init__(np.vstack([v, G]))

    @property
    def values(self) -> FloatArray:
        """Losses at the ball's centre, (n,)."""
        return self.statistics[0]

    @property
    def gradients(self) -> FloatArray:
        """Their gradients, (d, n)."""
        return self.statistics[1:]

    @within_floats
    def supremum_of(self, statistics: FloatArray) -> FloatArray:
        """δ‖G v‖ + |ℓ·v|."""
        statistics = self._as_statistics(statistics)
        slopes, powers = rows_in_units(statistics[:, 1:])
        return np.abs(statistics[:, 0]) + product(self.radius, np.linalg.norm(slopes, axis=1), power=powers)


class FiniteLosses(LossClass):
    """Finitely many losses.

    Parameters
    ----------
    values : (m, n) array_like
        A loss per row, a sample per column.

    Examples
    --------
    >>> from gradnoise.theory.complexity import FiniteLosses
    >>> losses = FiniteLosses([[1.0, -1.0], [0.0, 2.0]])
    >>> losses.supremum([[1.0, 1.0], [1.0, -1.0]])  # of |v_1 - v_2| and |2 v_2|
    array([2., 2.])
    """

    def __init__(self, values: ArrayLike) -> None:
        found = as_array(values, "values", ndim=2)
        if not found.size:
            raise ValueError(f"values must have samples, got shape {found.shape}")
        super().__init__(found)

    @within_floats
    def supremum_of(self, statistics: FloatArray) -> FloatArray:
        """Largest modulus."""
        return np.abs(self._as_statistics(statistics)).max(axis=1)


class LeastSquaresLosses(LossClass):
    """Least squares, ℓ_i(θ′) = ½(y_i − x_iᵀθ′)², ‖θ′ − θ‖ ≤ δ.

    A weighted sum of them is a quadratic function of any signature. Its largest and its smallest value on the ball are two
    trust-region problems, see `gradnoise.theory.complexity.trust_region`.

    Parameters
    ----------
    X : (n, d) array_like
        Features, a sample per row.
    y : (n,) array_like
        Targets.
    theta : (d,) array_like
        θ, the ball's centre.
    radius : float
        δ > 0.

    Examples
    --------
    >>> from gradnoise.theory.complexity import LeastSquaresLosses
    >>> losses = LeastSquaresLosses(X=[[1.0]], y=[0.0], theta=[1.0], radius=2.0)
    >>> round(float(losses.supremum([1.0])), 8)  # theta' = 3
    4.5
    """

    @within_floats
    def __init__(self, X: ArrayLike, y: ArrayLike, theta: ArrayLike, radius: float) -> None:
        features, targets = as_array(X, "X", ndim=2), as_array(y, "y", ndim=1)
        centre = as_array(theta, "theta", ndim=1)
        if features.shape != (len(targets), len(centre)) or not centre.size:
            raise ValueError(f"X must have shape ({len(targets)}, {len(centre)}), as y and theta have it, got {features.shape}")
        self.radius, self.dimension = as_real(radius, "radius", above=0), len(centre)
        residuals = features @ centre - targets
        rows, columns = self.triangle
        products = features[:, rows] * features[:, columns]
        super().__init__(np.column_stack([residuals**2 / 2, residuals[:, np.newaxis] * features, products]).T)

    @property
    def triangle(self) -> tuple[np.ndarray, ...]:
        """Rows and columns of the entries of Σ v_i x_i x_iᵀ that are statistics."""
        return np.triu_indices(self.dimension)

    @within_floats
    def supremum_of(self, statistics: FloatArray) -> FloatArray:
        """Larger one of the two extreme values of Σ v_i ℓ_i."""
        statistics = self._as_statistics(statistics)
        d, (rows, columns) = self.dimension, self.triangle
        constants, slopes = statistics[:, 0], statistics[:, 1 : d + 1]
        hessians = np.empty((len(statistics), d, d))
        hessians[:, rows, columns] = hessians[:, columns, rows] = statistics[:, d + 1 :]
        return np.maximum(
            constants + largest_on_ball(hessians, slopes, self.radius),
            largest_on_ball(-hessians, -slopes, self.radius) - constants,
        )


def _as_suprema(found: ArrayLike, count: int) -> FloatArray:
    """Return what a class of one's own found, or raise unless that is a number for each vector."""
    suprema = as_array(found, "supremum_of(statistics)", ndim=1)
    if len(suprema) != count:
        raise ValueError(f"supremum_of must return a number for each of {count} rows of statistics, got {len(suprema)} numbers")
    return suprema
