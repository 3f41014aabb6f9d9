"""The sampling vector: an exchangeable random weight vector W with E W = 1/n, known by its joint cumulants.

A stochastic gradient is G W, the gradient matrix times W. For an exchangeable W the covariance has two numbers, a
variance v on the diagonal and a covariance c off it, and the first four cumulants of ``values @ W`` need one joint
cumulant for each integer partition of 1, 2, 3 and 4. A class of noise states those; all else follows here, once.
"""

from __future__ import annotations

import math
import numbers
from abc import ABC, abstractmethod
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike

from gradnoise.theory._float_range import exponent, product, rows_in_units, within_floats
from gradnoise.theory._validation import FloatArray, as_array, as_count, as_real, is_number, shown

__all__ = ["SamplingNoise", "as_pattern"]

Pattern = tuple[int, ...]
_MATRIX_LIMIT_BYTES = 2 * 2**30


class SamplingNoise(ABC):
    r"""An exchangeable random vector W in R^n with E W = 1/n.

    A class of your own has a field ``n`` and states :meth:`joint_cumulant`; all exact results follow. Methods that it may have
    are each asked for, by a `TypeError`, where they are needed:

    - ``draw(size, generator)`` uses up a NumPy generator and returns a (size, n) array, a vector per row, for all simulations
    - ``draw_torch(size, generator, dtype)`` the same with torch, for networks
    - ``outcomes()`` returns all values of W, (k, n), and their probabilities, (k,), for enumeration

    How a class of ours is drawn and enumerated holds for exactly that class: a subclass of it may have another law, and says
    how itself. A frozen dataclass, in a file, may also be a parameter of a study with a store.

    Attributes
    ----------
    n : int
        Number of samples, the length of W.
    mean, variance, covariance : float
        Of one component, of one component, and between two components.

    References
    ----------
    wu2019, Proposition 1; wu2020, Section 2.

    Examples
    --------
    All weight on one sample, stated, drawn and enumerated:

    >>> from dataclasses import dataclass
    >>> import numpy as np
    >>> from gradnoise.simulations.sampling import draw, outcomes
    >>> from gradnoise.theory.sampling import Minibatch, SamplingNoise
    >>> @dataclass(frozen=True)
    ... class OneSample(SamplingNoise):
    ...     n: int
    ...
    ...     def joint_cumulant(self, pattern):
    ...         return Minibatch(self.n, 1).joint_cumulant(pattern)
    ...
    ...     def draw(self, size, generator):
    ...         return np.eye(self.n)[generator.integers(self.n, size=size)]
    ...
    ...     def outcomes(self):
    ...         return np.eye(self.n), np.full(self.n, 1 / self.n)
    >>> OneSample(4).cumulant(2, [1.0, 0.0, 0.0, 0.0]), int(draw(OneSample(4), 3, rng=1).sum())
    (0.1875, 3)
    >>> float(outcomes(OneSample(4)).covariance()[0, 1]) == OneSample(4).covariance
    True
    """

    n: int

    @abstractmethod
    def joint_cumulant(self, pattern: Pattern) -> Fraction | float:
        """Joint cumulant of distinct components, the i-th taken ``pattern[i]`` times.

        Parameters
        ----------
        pattern : tuple of int
            A partition of the order 1, 2, 3 or 4 in descending order: ``(2, 1)`` is kappa(W_1, W_1, W_2).

        Returns
        -------
        Fraction or float
            Exact where the class can be: a Fraction keeps the cancellations of finite populations harmless.

        Raises
        ------
        ValueError
            If the cumulant does not exist.
        """

    @property
    @within_floats
    def mean(self) -> float:
        """E W_i, which is 1/n."""
        return float(self._exact((1,)))

    @property
    @within_floats
    def variance(self) -> float:
        """Var W_i."""
        return float(self._exact((2,)))

    @property
    @within_floats
    def covariance(self) -> float:
        """Cov(W_i, W_j), i != j."""
        return float(self._exact((1, 1)))

    @property
    @within_floats
    def centred_power(self) -> float:
        """The difference v - c, the noise that the centred gradients see."""
        return float(self._exact((2,)) - self._exact((1, 1)))

    @property
    @within_floats
    def sum_variance(self) -> float:
        """Var(W_1 + ... + W_n) = n v + n (n - 1) c; zero where the weights always sum to one."""
        return float(self._exact_sum_variance())

    def _exact_sum_variance(self) -> Fraction:
        return self.n * self._exact((2,)) + self.n * (self.n - 1) * self._exact((1, 1))

    def _exact(self, pattern: Pattern) -> Fraction:
        """Joint cumulant as a fraction, of whatever real number a class states."""
        kappa = self.joint_cumulant(pattern)
        return Fraction(kappa if is_number(kappa, numbers.Rational) else as_real(kappa, f"joint_cumulant({pattern})"))

    @within_floats
    def covariance_matrix(self) -> FloatArray:
        """Var W = (v - c) I + c 11^T.

        Returns
        -------
        (n, n) ndarray

        Raises
        ------
        ValueError
            If the matrix would take more than 2 GiB; `gradient_covariance` needs no such matrix.
        """
        if 8 * self.n**2 > _MATRIX_LIMIT_BYTES:
            raise ValueError(
                f"n = {self.n} makes the (n, n) covariance matrix {8 * self.n**2 / 2**30:.1f} GiB, allowed are 2 GiB; "
                "use .variance and .covariance, or gradient_covariance(gradients)"
            )
        matrix = np.full((self.n, self.n), self.covariance)
        np.fill_diagonal(matrix, self.variance)
        return matrix

    @within_floats
    def cumulant(self, order: int, values: ArrayLike) -> float:
        r"""Exact cumulant of ``values @ W``.

        .. math:: \kappa_r(x^T W) = \sum_{i_1 \dots i_r} x_{i_1} \cdots x_{i_r} \kappa(W_{i_1}, \dots, W_{i_r})

        Parameters
        ----------
        order : int
            r, from 1 (mean) and 2 (variance) to 4.
        values : (n,) array_like
            x, for instance the gradients of the samples in one coordinate.

        Returns
        -------
        float
            Units: those of values, to the power of the order.

        Raises
        ------
        ValueError
            If the order is not 1 to 4, values has a wrong shape or is not finite, or the cumulant does not exist.
        """
        order = as_count(order, "order", at_most=4)
        given = as_array(values, "values", ndim=1)
        if len(given) != self.n:
            raise ValueError(f"values must have n = {self.n} entries, got {len(given)}")
        (x,), (power,) = rows_in_units(given[np.newaxis])
        if order > 1 and self._exact_sum_variance() == 0:
            # W sums to one, so shifts do not matter, and rounding then matters least.
            (x,), (more,) = rows_in_units((x - math.fsum(x) / self.n)[np.newaxis])
            power += more
        p1, p2, p3, p4 = (math.fsum(x**k) for k in (1, 2, 3, 4))
        if order == 1:
            return float(product(p1, self.mean, power=power))
        kappa = {pattern: self._exact(pattern) for pattern in _PARTITIONS[order]}
        # Sums over distinct indices, written in power sums; the coefficients are exact before they meet a float.
        if order == 2:
            v, c = kappa[2,], kappa[1, 1]
            terms = [(v - c, p2), (c, p1**2)]
        elif order == 3:
            k3, k21, k111 = kappa[3,], kappa[2, 1], kappa[1, 1, 1]
            terms = [(k3 - 3 * k21 + 2 * k111, p3), (3 * k21 - 3 * k111, p2 * p1), (k111, p1**3)]
        else:
            k4, k31, k22, k211, k1111 = (kappa[pattern] for pattern in _PARTITIONS[4])
            terms = [
                (k4 - 4 * k31 - 3 * k22 + 12 * k211 - 6 * k1111, p4),
                (4 * k31 - 12 * k211 + 8 * k1111, p3 * p1),
                (3 * k22 - 6 * k211 + 3 * k1111, p2**2),
                (6 * k211 - 6 * k1111, p2 * p1**2),
                (k1111, p1**4),
            ]
        # In a unit of their own, as coefficients and scale may be beyond a float where their product is not.
        unit = max(exponent(coefficient) for coefficient, _ in terms if coefficient) if any(c for c, _ in terms) else 0
        total = sum(float(coefficient / Fraction(2) ** unit) * power_sum for coefficient, power_sum in terms)
        try:
            return float(product(total, power=order * power + unit))
        except FloatingPointError:
            largest = np.abs(given).max()
            raise ValueError(f"values must be small enough for their power {order} to be a float, got {largest:g}") from None

    @within_floats
    def gradient_covariance(self, gradients: ArrayLike) -> FloatArray:
        r"""Covariance of the stochastic gradient G W.

        .. math:: G \mathrm{Var}[W] G^T = (v - c) \bar G \bar G^T + \mathrm{Var}[1^T W]\, \nabla L \nabla L^T

        with the centred gradients :math:`\bar G = G (I - J/n)` and :math:`\nabla L = G 1/n`.

        Parameters
        ----------
        gradients : (d, n) array_like
            G, a column per sample.

        Returns
        -------
        (d, d) ndarray
            Units: gradient squared. No (n, n) matrix is formed.

        Raises
        ------
        ValueError
            If gradients has another shape or is not finite.

        References
        ----------
        wu2020, Eq. (1).
        """
        G = as_array(gradients, "gradients", ndim=2)
        if G.shape[1] != self.n:
            raise ValueError(f"gradients must have n = {self.n} columns, got shape {G.shape}")
        G, powers = rows_in_units(G)
        mean = G.mean(axis=1, keepdims=True)
        centred, power = G - mean, np.add.outer(powers, powers)
        of_centred = product(centred @ centred.T, self.centred_power, power=power)
        return of_centred + product(mean @ mean.T, self.sum_variance, power=power)


_PARTITIONS: dict[int, tuple[Pattern, ...]] = {
    2: ((2,), (1, 1)),
    3: ((3,), (2, 1), (1, 1, 1)),
    4: ((4,), (3, 1), (2, 2), (2, 1, 1), (1, 1, 1, 1)),
}


def as_pattern(pattern: object) -> Pattern:
    """Return the pattern of a joint cumulant, or raise unless it is one."""
    if not isinstance(pattern, tuple) or not pattern:
        raise TypeError(f"pattern must be a tuple of integers, got {shown(pattern)}")
    times = tuple(as_count(k, "pattern") for k in pattern)
    if sum(times) > 4 or list(times) != sorted(times, reverse=True):
        raise ValueError(f"pattern must be a partition of 1, 2, 3 or 4 in descending order, got {shown(pattern)}")
    return times
