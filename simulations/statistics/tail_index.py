"""Tail index of a symmetric stable law, and how far a Gaussian sample is from one."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from gradnoise.simulations.statistics.estimates import Estimate
from gradnoise.simulations.statistics.rounding import with_error
from gradnoise.simulations.statistics.skewed import SkewedEstimate
from gradnoise.simulations.statistics.validity import as_level
from gradnoise.theory._validation import FloatArray, as_array, as_count, as_instance, as_real

__all__ = ["TailIndex", "tail_index"]

_LARGEST = 2.0  # index of the Gaussian law, which has the lightest tails of all stable ones
_GAUSSIAN_SKEWNESS = -1.5351  # of log|x|, x normal: ψ''(1/2) / ψ'(1/2)^1.5, the lowest of all stable laws
_MEASURED_LEVEL = 0.95
_DIGITS = 0.75  # share of its digits that a number has lost to be zero: such a loss befalls no sample of a density


@dataclass(frozen=True)
class TailIndex:
    """Index α of a stable law, between 0 and 2, estimated by its reciprocal.

    The estimate of 1/α is a mean and may come out below 1/2, which is no index: α is 2 then. The interval is that of 1/α, and
    what lies beyond 2 is cut off, which loses no coverage. Where all of it lies beyond, 2 alone is left: samples with lighter
    tails than any stable law has, such as random signs, are like Gaussian ones.

    Attributes
    ----------
    inverse : Estimate
        Of 1/α, as it was found.

    Examples
    --------
    >>> from gradnoise.simulations.statistics import Estimate, TailIndex
    >>> found = TailIndex(Estimate(0.48, 0.05, 1_000))
    >>> found.value, [round(end, 2) for end in found.interval(0.95)]
    (2.0, [1.73, 2.0])
    >>> found.valid(0.95), round(found.resized(4_000).standard_error / found.standard_error, 3)  # how skew are they?
    (False, 0.5)
    """

    inverse: Estimate

    def __post_init__(self) -> None:
        as_instance(self.inverse, "inverse", Estimate)

    def __str__(self) -> str:
        return f"{with_error(self.value, self.standard_error)} (standard error)"

    @property
    def value(self) -> float:
        """α, at most 2."""
        return _index(self.inverse.value)

    @property
    def standard_error(self) -> float:
        """Of α by the delta method, as if there were no limit at 2."""
        return self.inverse.standard_error * self.value**2

    @property
    def n(self) -> int:
        """Number of independent estimates of 1/α, whose mean it is."""
        return self.inverse.n

    def resized(self, n: int) -> TailIndex:
        """Index that n of them would be expected to give."""
        return replace(self, inverse=self.inverse.resized(n))

    def valid(self, level: float) -> bool:
        """Whether `interval` keeps its level, for a stable law; not where no spread was seen."""
        return math.isfinite(self.standard_error) and self.inverse.valid(level)

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Confidence interval for α, within 0 and 2."""
        low, high = self.inverse.interval(level)
        return _index(high), _index(low)


def tail_index(samples: ArrayLike, group_size: int | None = None, *, rounding: float | None = None) -> TailIndex:
    r"""Estimate α of symmetric α-stable samples: 2 for Gaussian ones, less for heavier tails.

    Sums of m samples are m^{1/α} times as large as one, so that

    .. math:: \frac{1}{\alpha} = \frac{\mathbb{E}\log|x_1 + \dots + x_m| - \mathbb{E}\log|x|}{\log m}.

    Samples that are not stable get the index of the stable law that they look like at this m: light but peaked tails get less
    than 2, without any infinite moment, and every finite set of data has all moments. So compare with a Gaussian control of the
    same size, and with other m.

    Parameters
    ----------
    samples : (k,) array_like
        Independent, centred, of one law. Zeros do not count.
    group_size : int, optional
        m >= 2; the root of k by default.
    rounding : float, optional
        Relative error of the samples, between 0 and 1; by default that of their type. It tells which samples and sums are zero.

    Returns
    -------
    TailIndex
        Its error is that of 1/α from the groups, which are independent; infinite where they do not differ.

    Raises
    ------
    ValueError
        If there are fewer than two whole groups, or all samples are equal.

    Notes
    -----
    Sums of discrete samples can be zero, which has no logarithm. A discrete law is read as a density that was rounded: a sum
    of zero was anywhere in the cell around zero, between −h/2 and h/2, where the mean of log\|u\| is log(h/2) − 1. On a lattice
    h is its spacing. In general it is what the cell needs at the density beside it: as many other sums have \|u\| <= h as are
    zero.

    References
    ----------
    M. Mohammadi, A. Mohammadpour, H. Ogata, Metrika 78 (2015) 549.

    Examples
    --------
    >>> import numpy as np
    >>> from gradnoise.simulations.statistics import tail_index
    >>> generator = np.random.default_rng(1)
    >>> normal, cauchy = generator.standard_normal(100_000), generator.standard_cauchy(100_000)
    >>> tail_index(normal).value > 1.8 and abs(tail_index(cauchy).value - 1) < 0.1
    True
    """
    x = as_array(samples, "samples", ndim=1)
    lost = _rounding(samples, rounding) ** _DIGITS
    if group_size is not None:
        as_count(group_size, "group_size", at_least=2)
    x = x[np.abs(x) > lost * _largest_of_group(x)]
    m = max(math.isqrt(len(x)), 2) if group_size is None else int(group_size)
    n_groups = len(x) // m
    if n_groups < 2:
        raise ValueError(f"samples must be at least two groups of {m} that are not zero, got {len(x)}")
    unit = np.abs(x).max()  # which does not matter, and with it sums are floats
    groups = (x / unit)[: n_groups * m].reshape(n_groups, m)
    if np.ptp(groups) <= lost:
        raise ValueError(f"samples must differ, got {x[0]:g} only, beside zeros")
    inverse = (_log_sums(groups, lost) - np.log(np.abs(groups)).mean(axis=1)) / math.log(m)
    found = Estimate.of(inverse)
    if np.ptp(inverse) <= lost:
        return TailIndex(replace(found, standard_error=math.inf))
    # Few groups do not tell how skew they are, but log|sum| of Gaussian samples is as far to the left as any stable law's.
    skewness = min(found.skewness or 0.0, _GAUSSIAN_SKEWNESS)
    return TailIndex(replace(_OfStableLaw.like(found), skewness=skewness))


class _OfStableLaw(SkewedEstimate):
    """Mean of logarithms of sums of a stable law, of whose skewness a bound is known however few they are."""

    def valid(self, level: float) -> bool:
        """Return whether the interval keeps its level: 95 % of two groups or more, as was measured from α = 0.5 on."""
        return (as_level(level) <= _MEASURED_LEVEL and self.n > 1) or super().valid(level)


def _index(inverse: float) -> float:
    return 1 / inverse if inverse > 1 / _LARGEST else _LARGEST


def _rounding(samples: ArrayLike, rounding: float | None) -> float:
    if rounding is not None:
        return as_real(rounding, "rounding", above=0, at_most=1)
    kind = np.asarray(samples).dtype
    return float(np.finfo(kind if kind.kind == "f" else np.float64).eps)


def _largest_of_group(x: FloatArray) -> float:
    """Typical largest |x| of a group; that of all is far too large where tails are heavy."""
    return float(np.quantile(np.abs(x), 1 - 1 / math.isqrt(len(x)))) if len(x) else 0.0


def _log_sums(groups: FloatArray, lost: float) -> FloatArray:
    """log|x₁ + … + xₘ| of each group, see the notes of `tail_index` for zeros."""
    sums, absolute = np.abs(groups.sum(axis=1)), np.abs(groups)
    zero = sums <= lost * absolute.sum(axis=1)
    others = sums[~zero] if not zero.all() else np.array([absolute.min()])  # on a lattice no sample is below its spacing
    if zero.any():
        rank = min(int(zero.sum()), len(others)) - 1
        sums[zero] = np.partition(others, rank)[rank] / 2 / math.e
    return np.log(sums)
