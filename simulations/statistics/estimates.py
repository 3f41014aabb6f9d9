"""Estimates with their errors, and intervals that know their limits, also far out in the tails.

A verdict may be wrong once in 10^6 runs of hundreds of comparisons, so intervals are wanted at levels like 1 - 10^-9. A
normal interval is trusted there only for many samples of little skewness, and at moderate levels for some dozens of even less; a
proportion has its exact interval, and the mean of a bounded quantity one that holds for every sample size.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from gradnoise.simulations.statistics.rounding import with_error
from gradnoise.simulations.statistics.scaling import Exponents, exponents, in_units
from gradnoise.simulations.statistics.validity import as_level, as_sample_size, quantile, students_is_valid
from gradnoise.theory._validation import (
    as_array,
    as_flag,
    as_instance,
    as_iterable,
    as_matching,
    as_real,
    set_fields,
    shown,
)

__all__ = ["Estimate", "Measured", "Moments", "as_measured", "as_samples", "merge_moments"]

_BLOCK_ROWS = 5  # n, mean, m2, m3 and powers
_MOST_POWERS = 1100  # of two, that the unit of a double may be
_ROUNDING = 1e-12  # of what samples are computed from, relative to their mean: less than that is no spread


class Measured(Protocol):
    """What an estimate of any kind can tell.

    Examples
    --------
    >>> from gradnoise.simulations.statistics import Estimate, Measured, Proportion
    >>> def half_width(measured: Measured) -> float:  # takes any of them
    ...     low, high = measured.interval(0.95)
    ...     return (high - low) / 2
    >>> round(half_width(Estimate(0.0, 1.0, 10**6)), 2), round(half_width(Proportion(0, 10)), 2)
    (1.96, 0.15)
    """

    @property
    def value(self) -> float:
        """Point estimate."""
        ...

    @property
    def standard_error(self) -> float:
        """Standard deviation of the point estimate, estimated."""
        ...

    @property
    def n(self) -> int:
        """Number of independent samples."""
        ...

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Confidence interval, two-sided."""
        ...

    def valid(self, level: float) -> bool:
        """Whether the interval keeps its level."""
        ...

    def resized(self, n: int) -> Measured:
        """What a sample of another size would be expected to give."""
        ...


@dataclass(frozen=True)
class Estimate:
    """Mean of independent samples.

    Attributes
    ----------
    value, standard_error : float
        Sample mean, and sample standard deviation over sqrt(n). A value may be infinite, without an error, where it is known to
        be; an error is infinite where one sample shows no spread.
    n : int
        Number of samples.
    skewness : float or None
        Of a sample; None where it is not known.
    support : (float, float) or None
        Bounds of a sample, where there are any.
    normal : bool
        Whether the samples are known to be of a normal law, which few samples do not tell: their interval is then exact.

    Raises
    ------
    ValueError
        If the value is NaN or outside the support, the error negative or NaN, n below one or the support upside down.

    Examples
    --------
    >>> from gradnoise.simulations.statistics import Estimate
    >>> mean = Estimate.of([1.0, 2.0, 3.0])
    >>> mean.value, round(mean.standard_error, 6), mean.n  # 1 / sqrt(3)
    (2.0, 0.57735, 3)
    >>> low, high = mean.interval(0.95)  # Student's, with 2 degrees of freedom
    >>> round(low, 4), round(high, 4)
    (-0.4841, 4.4841)
    >>> mean.valid(0.95), Estimate.of([1.0, 2.0, 3.0], normal=True).valid(0.95)
    (False, True)
    """

    value: float
    standard_error: float
    n: int
    skewness: float | None = None
    support: tuple[float, float] | None = None
    normal: bool = False

    def __post_init__(self) -> None:
        n, normal = as_sample_size(self.n), as_flag(self.normal, "normal")
        value, error = _number(self.value, "value"), _number(self.standard_error, "standard_error")
        if error < 0:
            raise ValueError(f"standard_error must be >= 0, got {error:g}")
        if math.isinf(value) and error:
            raise ValueError(f"value must be finite where it has a standard error, got {value:g} and {error:g}")
        skewness = None if self.skewness is None else as_real(self.skewness, "skewness")
        support = None if self.support is None else _as_support(self.support)
        if support is not None and not _within(value, support):
            raise ValueError(f"value must lie in the support {support}, got {value!r}")
        set_fields(self, value=value, standard_error=error, n=n, skewness=skewness, support=support, normal=normal)

    def __str__(self) -> str:
        return f"{with_error(self.value, self.standard_error)} (standard error)"

    @classmethod
    def of(cls, samples: ArrayLike, support: tuple[float, float] | None = None, *, normal: bool = False) -> Estimate:
        """Estimate the mean of an array of independent samples."""
        array = as_array(samples, "samples", ndim=1)
        if array.size == 0:
            raise ValueError("samples must not be empty")
        if support is not None:
            for end in (float(array.min()), float(array.max())):
                if not _within(end, _as_support(support)):
                    raise ValueError(f"samples must lie in the support {support}, got {end:g}")
        return replace(Moments.of(array[:, np.newaxis]).estimates(support)[0], normal=normal)

    def resized(self, n: int) -> Estimate:
        """Estimate of the same value and spread from n samples."""
        n = as_sample_size(n)
        return replace(self, standard_error=self.standard_error * math.sqrt(self.n / n), n=n)

    def transformed(self, factor: float, offset: float = 0.0) -> Estimate:
        """Estimate of factor * mean + offset, for instance in other units; the factor is not zero."""
        factor, offset = as_real(factor, "factor"), as_real(offset, "offset")
        if factor == 0:
            raise ValueError("factor must not be zero")
        ends = None if self.support is None else sorted(factor * end + offset for end in self.support)
        return replace(
            self,
            value=factor * self.value + offset,
            standard_error=abs(factor) * self.standard_error,
            skewness=None if self.skewness is None else math.copysign(1.0, factor) * self.skewness,
            support=None if ends is None else (ends[0], ends[1]),
        )

    def valid(self, level: float) -> bool:
        """Whether `interval` keeps its level.

        With a support it does for every sample. Without one some spread must have been seen, of at least 50 samples (100,000
        at levels beyond 0.999) of little skewness, or of samples that are known to be normal.
        """
        return self._students(as_level(level)) or self.support is not None

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Confidence interval for the mean.

        Parameters
        ----------
        level : float
            Between 0 and 1.

        Returns
        -------
        (float, float)
            Student's interval; where that does not keep its level and the support is known, the empirical Bernstein interval of
            Maurer and Pontil (2009), which holds for every n. Infinite, or the support, of one sample.
        """
        level = as_level(level)
        alpha = 1 - level
        if self.n < 2:
            return self.support or (-math.inf, math.inf)
        if self.support is None or self._students(level):
            half = quantile(alpha, self.n - 1) * self.standard_error
            return self.value - half, self.value + half
        low, high = self.support
        log_term = math.log(4 / alpha)
        half = self.standard_error * math.sqrt(2 * log_term) + 7 * (high - low) * log_term / (3 * (self.n - 1))
        return max(low, self.value - half), min(high, self.value + half)

    def _students(self, level: float) -> bool:
        """Whether Student's interval keeps its level."""
        spread = self.standard_error * math.sqrt(self.n)
        if self.n < 2 or math.isinf(spread) or spread <= _ROUNDING * abs(self.value):
            return False  # all samples equal: their spread is not known
        return self.normal or (self.skewness is not None and bool(students_is_valid(self.n, self.skewness, level)))


@dataclass(frozen=True)
class Moments:
    """Mergeable sums of the first three central moments of q quantities.

    Attributes
    ----------
    n : int
        Number of samples.
    mean, m2, m3 : (q,) ndarray
        Mean, and sums of squared and cubed deviations from it.
    powers : (q,) ndarray of int
        The deviations are in units of 2 to these powers, which are zero unless squares or cubes might underflow or overflow.

    Examples
    --------
    >>> import numpy as np
    >>> from gradnoise.simulations.statistics import Moments
    >>> first, second = Moments.of(np.array([[1.0], [3.0]])), Moments.of(np.array([[5.0]]))
    >>> both = first.merge(second)
    >>> both.n, both.mean, both.m2  # 4 + 0 + 4
    (3, array([3.]), array([8.]))
    """

    n: int
    mean: np.ndarray
    m2: np.ndarray
    m3: np.ndarray
    powers: Exponents

    @classmethod
    def of(cls, samples: np.ndarray) -> Moments:
        """Moments of an (n, q) array of finite numbers, a row per sample, n >= 1."""
        samples = as_samples(samples)
        powers = exponents(samples)
        scaled = in_units(samples, powers)
        mean = scaled.mean(axis=0)
        deviation = scaled - mean
        square = deviation**2
        return cls(len(samples), in_units(mean, -powers), square.sum(axis=0), (square * deviation).sum(axis=0), powers)

    def as_block(self) -> tuple[np.ndarray]:
        """Return the moments as one array, which an ensemble's kernel can return."""
        return (np.stack([np.full_like(self.mean, self.n), self.mean, self.m2, self.m3, self.powers]),)

    @classmethod
    def from_block(cls, block: np.ndarray) -> Moments:
        """Moments from the array of `as_block`."""
        block = as_array(block, "block", ndim=2)
        if len(block) != _BLOCK_ROWS or block.shape[1] == 0:
            raise ValueError(f"block must have {_BLOCK_ROWS} rows, as those of as_block, got shape {block.shape}")
        n, _, m2, m3, powers = block
        with np.errstate(over="ignore"):
            largest = np.maximum(m2, 0.0) ** 1.5  # of all third moments to this second one
        is_one = (n == n[0]) & (n >= 1) & (n % 1 == 0) & (m2 >= 0) & np.isfinite(largest) & (np.abs(powers) <= _MOST_POWERS)
        if not (is_one & (np.abs(m3) <= largest * (1 + _ROUNDING)) & (powers % 1 == 0)).all():
            raise ValueError(f"block must be one that as_block made, got {shown(block)}")
        return cls(int(n[0]), block[1], m2, m3, powers.astype(np.int32))

    def merge(self, other: Moments) -> Moments:
        """Moments of both samples together (Pebay 2008)."""
        as_matching(self.mean, as_instance(other, "other", Moments).mean, ("self.mean", "other.mean"))
        powers = np.maximum(self.powers, other.powers)
        one, two = self._in(powers), other._in(powers)
        n = self.n + other.n
        delta = in_units(other.mean, powers) - in_units(self.mean, powers)
        share = other.n / n
        mean = self.mean + in_units(delta * share, -powers)
        m2 = one.m2 + two.m2 + delta**2 * self.n * share
        m3 = one.m3 + two.m3 + delta**3 * self.n * share * (self.n - other.n) / n
        m3 = m3 + 3 * delta * (self.n * two.m2 - other.n * one.m2) / n
        return Moments(n, mean, m2, m3, powers)

    def estimates(self, support: tuple[float, float] | None = None) -> list[Estimate]:
        """Estimate the mean of each quantity."""
        n = self.n
        variance = self.m2 / max(n - 1, 1)
        with np.errstate(divide="ignore", invalid="ignore"):
            skewness = np.where(self.m2 > 0, math.sqrt(n) * self.m3 / self.m2**1.5, 0.0)
        error = in_units(np.sqrt(variance / n), -self.powers) if n > 1 else np.full_like(variance, math.inf)
        return [Estimate(float(m), float(e), n, float(s), support) for m, e, s in zip(self.mean, error, skewness, strict=True)]

    def _in(self, powers: Exponents) -> Moments:
        """The same in other units."""
        change = powers - self.powers
        return replace(self, m2=in_units(self.m2, 2 * change), m3=in_units(self.m3, 3 * change), powers=powers)


def merge_moments(blocks: Iterable[tuple[np.ndarray, ...]]) -> Moments:
    """Merge blocks made by `Moments.as_block`, in their order; a reduction for `gradnoise.simulations.ensemble.run`.

    Parameters
    ----------
    blocks : iterable of tuple of ndarray
        At least one.

    Returns
    -------
    Moments
        Of all samples together.

    Raises
    ------
    TypeError, ValueError
        If there is no block, or one that `Moments.as_block` did not make.

    Examples
    --------
    >>> import numpy as np
    >>> from gradnoise.simulations.statistics import Moments, merge_moments
    >>> blocks = [Moments.of(np.array(samples)).as_block() for samples in ([[1.0], [3.0]], [[5.0]])]
    >>> [estimate.value for estimate in merge_moments(blocks).estimates()]
    [3.0]
    """
    total: Moments | None = None
    for block in as_iterable(blocks, "blocks", "a sequence of blocks"):
        if not isinstance(block, (tuple, list)) or len(block) != 1 or not isinstance(block[0], np.ndarray):
            raise TypeError(f"blocks must be tuples of one array, as those of as_block, got {shown(block)}")
        moments = Moments.from_block(block[0])
        total = moments if total is None else total.merge(moments)
    if total is None:
        raise ValueError("blocks must not be empty")
    return total


def as_samples(samples: np.ndarray) -> np.ndarray:
    """Return samples of several quantities as a finite (n, q) array, n >= 1."""
    array = as_array(samples, "samples", ndim=2)
    if len(array) == 0:
        raise ValueError(f"samples must not be empty, got shape {array.shape}")
    return array


def as_measured(value: Measured, name: str) -> Measured:
    """Return `value` if it can tell what an estimate can."""
    asked = ("value", "standard_error", "n", "interval", "valid", "resized")
    if isinstance(value, type) or not all(hasattr(value, attribute) for attribute in asked):
        raise TypeError(f"{name} must be an Estimate, a Proportion or the like, got {shown(value)}")
    return value


def _number(value: float, name: str) -> float:
    """Return a real number that is not NaN; it may be infinite."""
    return float(value) if isinstance(value, float) and math.isinf(value) else as_real(value, name)


def _as_support(support: tuple[float, float]) -> tuple[float, float]:
    try:
        low, high = support
    except (TypeError, ValueError):
        raise TypeError(f"support must be a pair of numbers, got {support!r}") from None
    low, high = as_real(low, "support"), as_real(high, "support")
    if low > high:
        raise ValueError(f"support must be a lower and an upper end, got {support!r}")
    return low, high


def _within(value: float, support: tuple[float, float]) -> bool:
    """Whether a value lies in the support, up to the rounding of a mean."""
    low, high = support
    rounding = _ROUNDING * max(abs(low), abs(high))
    return low - rounding <= value <= high + rounding
