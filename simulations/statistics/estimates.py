"""Estimates with their errors, and intervals that stay valid far out in the tails.

A verdict may be wrong once in 10^6 runs of hundreds of comparisons, so intervals are wanted at levels like 1 - 10^-9. A
normal interval is trusted there only for many samples of little skewness; a proportion has its exact interval, and the mean
of a bounded quantity one that holds for every sample size.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import scipy
from numpy.typing import ArrayLike

from gradnoise.simulations.statistics.rounding import with_error
from gradnoise.theory._validation import as_array, as_count, as_real

__all__ = ["Difference", "Estimate", "Measured", "Moments", "Proportion", "as_level", "merge_moments"]

_NORMAL_SAMPLES = 100_000
_NORMAL_SKEWNESS = 0.3
_MODERATE_LEVEL = 0.999  # up to here a normal interval needs no large sample, as every textbook has it


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
        Sample mean, and sample standard deviation over sqrt(n).
    n : int
        Number of samples.
    skewness : float or None
        Of a sample; None where it is not known.
    support : (float, float) or None
        Bounds of a sample, where there are any.

    Examples
    --------
    >>> from gradnoise.simulations.statistics import Estimate
    >>> mean = Estimate.of([1.0, 2.0, 3.0])
    >>> mean.value, round(mean.standard_error, 6), mean.n  # 1 / sqrt(3)
    (2.0, 0.57735, 3)
    >>> low, high = mean.interval(0.95)  # Student's, with 2 degrees of freedom
    >>> round(low, 4), round(high, 4)
    (-0.4841, 4.4841)
    """

    value: float
    standard_error: float
    n: int
    skewness: float | None = None
    support: tuple[float, float] | None = None

    def __str__(self) -> str:
        return f"{with_error(self.value, self.standard_error)} (standard error)"

    @classmethod
    def of(cls, samples: ArrayLike, support: tuple[float, float] | None = None) -> Estimate:
        """Estimate the mean of an array of independent samples."""
        array = as_array(samples, "samples", ndim=1)
        if array.size == 0:
            raise ValueError("samples must not be empty")
        return Moments.of(array[:, np.newaxis]).estimates(support)[0]

    def resized(self, n: int) -> Estimate:
        """Estimate of the same value and spread from n samples."""
        return replace(self, standard_error=self.standard_error * math.sqrt(self.n / n), n=n)

    def transformed(self, factor: float, offset: float = 0.0) -> Estimate:
        """Estimate of factor * mean + offset, for instance in other units; the factor is not zero."""
        ends = None if self.support is None else sorted(factor * end + offset for end in self.support)
        return replace(
            self,
            value=factor * self.value + offset,
            standard_error=abs(factor) * self.standard_error,
            skewness=None if self.skewness is None else math.copysign(1.0, factor) * self.skewness,
            support=None if ends is None else (ends[0], ends[1]),
        )

    def valid(self, level: float) -> bool:
        """Whether `interval` keeps its level, by the size and the skewness of the sample."""
        return self.support is not None or self._normal(level)

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Confidence interval for the mean.

        Parameters
        ----------
        level : float
            Between 0 and 1.

        Returns
        -------
        (float, float)
            Student's interval; where the sample is too small or too skew for it at this level and its support is known, the
            empirical Bernstein interval of Maurer and Pontil (2009), which holds for every n.
        """
        alpha = 1 - as_level(level)
        if self.n < 2:
            return self.support or (-math.inf, math.inf)
        if self._normal(level) or self.support is None:
            half = quantile(alpha, self.n - 1) * self.standard_error
            return self.value - half, self.value + half
        low, high = self.support
        log_term = math.log(4 / alpha)
        half = self.standard_error * math.sqrt(2 * log_term) + 7 * (high - low) * log_term / (3 * (self.n - 1))
        return max(low, self.value - half), min(high, self.value + half)

    def _normal(self, level: float) -> bool:
        if level <= _MODERATE_LEVEL:
            return True
        if self.standard_error == 0:
            return False  # all samples equal: their spread is not known
        z = quantile(1 - level)
        skewness = math.inf if self.skewness is None else abs(self.skewness)
        return self.n >= _NORMAL_SAMPLES and skewness * z**3 / (6 * math.sqrt(self.n)) <= _NORMAL_SKEWNESS


@dataclass(frozen=True)
class Proportion:
    """Frequency of an event.

    Attributes
    ----------
    successes, n : int
        How often it happened, of how many.

    Examples
    --------
    >>> from gradnoise.simulations.statistics import Proportion
    >>> Proportion(3, 4).value
    0.75
    >>> low, high = Proportion(0, 10).interval(0.95)
    >>> low, round(high, 4)  # 1 - 0.025**(1 / 10)
    (0.0, 0.3085)
    """

    successes: int
    n: int

    def __post_init__(self) -> None:
        as_count(self.n, "n")
        as_count(self.successes, "successes", at_least=0, at_most=self.n)

    def __str__(self) -> str:
        return f"{with_error(self.value, self.standard_error)} (standard error), {self.successes:,} of {self.n:,}"

    @property
    def value(self) -> float:
        """Frequency."""
        return self.successes / self.n

    @property
    def standard_error(self) -> float:
        """sqrt(p (1 - p) / n)."""
        return math.sqrt(self.value * (1 - self.value) / self.n)

    def resized(self, n: int) -> Proportion:
        """Frequency in n trials; one more of both outcomes is assumed, so that none is taken to be impossible."""
        return Proportion(round(n * (self.successes + 1) / (self.n + 2)), n)

    def valid(self, level: float) -> bool:
        """Return True: the interval is exact at every level."""
        return True

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Clopper-Pearson interval, exact at every level and size."""
        tail, k, n = (1 - as_level(level)) / 2, self.successes, self.n
        low = 0.0 if k == 0 else float(scipy.special.betaincinv(k, n - k + 1, tail))
        high = 1.0 if k == n else float(scipy.special.betainccinv(k + 1, n - k, tail))
        return low, high


@dataclass(frozen=True)
class Difference:
    """Difference of two estimates, which need not be independent.

    Attributes
    ----------
    first, second : Estimate or Proportion
        The value is first - second.

    Examples
    --------
    >>> from gradnoise.simulations.statistics import Difference, Proportion
    >>> difference = Difference(Proportion(750, 1000), Proportion(250, 1000))
    >>> difference.value
    0.5
    >>> low, high = difference.interval(0.95)  # from both intervals at 0.975
    >>> round(low, 3), round(high, 3)
    (0.436, 0.56)
    """

    first: Measured
    second: Measured

    def __str__(self) -> str:
        return f"{with_error(self.value, self.standard_error)} (standard error)"

    @property
    def value(self) -> float:
        """Difference of the values."""
        return self.first.value - self.second.value

    @property
    def standard_error(self) -> float:
        """Of the difference, were the two independent."""
        return math.hypot(self.first.standard_error, self.second.standard_error)

    @property
    def n(self) -> int:
        """Smaller one of the sample sizes."""
        return min(self.first.n, self.second.n)

    def resized(self, n: int) -> Difference:
        """Difference from samples of n."""
        return Difference(self.first.resized(n), self.second.resized(n))

    def valid(self, level: float) -> bool:
        """Whether both intervals keep half the error each."""
        return self.first.valid((1 + level) / 2) and self.second.valid((1 + level) / 2)

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Both intervals at half the error, subtracted: it keeps its level by Bonferroni's inequality."""
        half = (1 + as_level(level)) / 2
        (a, b), (c, d) = self.first.interval(half), self.second.interval(half)
        return a - d, b - c


@dataclass(frozen=True)
class Moments:
    """Mergeable sums of the first three central moments of q quantities.

    Attributes
    ----------
    n : int
        Number of samples.
    mean, m2, m3 : (q,) ndarray
        Mean, and sums of squared and cubed deviations from it.

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

    @classmethod
    def of(cls, samples: np.ndarray) -> Moments:
        """Moments of an (n, q) array, a row per sample."""
        mean = samples.mean(axis=0)
        deviation = samples - mean
        square = deviation**2
        return cls(len(samples), mean, square.sum(axis=0), (square * deviation).sum(axis=0))

    def as_block(self) -> tuple[np.ndarray]:
        """Return the moments as one array, which an ensemble's kernel can return."""
        return (np.stack([np.full_like(self.mean, self.n), self.mean, self.m2, self.m3]),)

    @classmethod
    def from_block(cls, block: np.ndarray) -> Moments:
        """Moments from the array of `as_block`."""
        return cls(int(block[0, 0]), block[1], block[2], block[3])

    def merge(self, other: Moments) -> Moments:
        """Moments of both samples together (Pebay 2008)."""
        n = self.n + other.n
        delta = other.mean - self.mean
        share = other.n / n
        mean = self.mean + delta * share
        m2 = self.m2 + other.m2 + delta**2 * self.n * share
        m3 = self.m3 + other.m3 + delta**3 * self.n * share * (self.n - other.n) / n
        m3 = m3 + 3 * delta * (self.n * other.m2 - other.n * self.m2) / n
        return Moments(n, mean, m2, m3)

    def estimates(self, support: tuple[float, float] | None = None) -> list[Estimate]:
        """Estimate the mean of each quantity."""
        n = self.n
        variance = self.m2 / max(n - 1, 1)
        with np.errstate(divide="ignore", invalid="ignore"):
            skewness = np.where(self.m2 > 0, math.sqrt(n) * self.m3 / self.m2**1.5, 0.0)
        error = np.sqrt(variance / n) if n > 1 else np.full_like(variance, math.inf)
        return [Estimate(float(m), float(e), n, float(s), support) for m, e, s in zip(self.mean, error, skewness, strict=True)]


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
    ValueError
        If there is no block.

    Examples
    --------
    >>> import numpy as np
    >>> from gradnoise.simulations.statistics import Moments, merge_moments
    >>> blocks = (Moments.of(np.array(samples)).as_block() for samples in ([[1.0], [3.0]], [[5.0]]))
    >>> [estimate.value for estimate in merge_moments(blocks).estimates()]
    [3.0]
    """
    total: Moments | None = None
    for (block,) in blocks:
        moments = Moments.from_block(block)
        total = moments if total is None else total.merge(moments)
    if total is None:
        raise ValueError("blocks must not be empty")
    return total


def quantile(alpha: float, df: float = math.inf) -> float:
    """Two-sided quantile of Student's t; of the normal law for df = inf."""
    return float(-scipy.special.ndtri(alpha / 2) if math.isinf(df) else -scipy.special.stdtrit(df, alpha / 2))


def as_level(level: float) -> float:
    """Return a level of confidence, between 0 and 1."""
    level = as_real(level, "level", above=0)
    if level >= 1:
        raise ValueError(f"level must be below 1, got {level:g}")
    return level
