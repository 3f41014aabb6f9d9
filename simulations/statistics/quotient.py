"""Quotients of two estimates, with intervals that hold where the denominator is hardly known."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from gradnoise.simulations.statistics.estimates import Estimate
from gradnoise.simulations.statistics.rounding import with_error
from gradnoise.simulations.statistics.scaling import exponents
from gradnoise.simulations.statistics.validity import as_level, as_sample_size, quantile
from gradnoise.theory._validation import as_instance, as_real, set_fields

__all__ = ["Quotient"]

_ROUNDING = 1e-9  # of a correlation of one
_LOST = 1e-14  # share of two variances, below which what remains of them is rounding


@dataclass(frozen=True)
class Quotient:
    r"""Quotient of the means of two quantities.

    Its interval holds all r with which numerator − r · denominator may be zero (Fieller 1954),

    .. math:: (a - r b)^2 \le t^2 (s_a^2 - 2 r s_{ab} + r^2 s_b^2),

    t being Student's quantile. Where the denominator may be zero itself that is everything, or everything but a gap.

    Attributes
    ----------
    numerator, denominator : Estimate
        a ± s_a and b ± s_b.
    covariance : float
        s_ab, of the two estimates; 0 for independent ones.

    References
    ----------
    E. C. Fieller, J. R. Stat. Soc. B 16 (1954) 175.

    Examples
    --------
    >>> from gradnoise.simulations.statistics import Estimate, Quotient
    >>> well_known, hardly = Estimate(2.0, 0.02, 1_000), Estimate(2.0, 0.8, 1_000)
    >>> quotient = Quotient(Estimate(6.0, 0.06, 1_000), well_known)
    >>> [round(end, 2) for end in quotient.interval(0.95)]
    [2.92, 3.08]
    >>> quotient.valid(0.95), round(quotient.resized(4_000).standard_error / quotient.standard_error, 3)  # how skew are they?
    (False, 0.5)
    >>> [round(end, 2) for end in Quotient(Estimate(6.0, 0.06, 1_000), hardly).interval(0.95)]  # 6/3.57 and 6/0.43
    [1.68, 13.95]
    """

    numerator: Estimate
    denominator: Estimate
    covariance: float = 0.0

    def __post_init__(self) -> None:
        as_instance(self.numerator, "numerator", Estimate)
        as_instance(self.denominator, "denominator", Estimate)
        set_fields(self, covariance=as_real(self.covariance, "covariance"))
        (_, s_a, _, s_b, s_ab), _ = self._in_units()
        if abs(s_ab) > (1 + _ROUNDING) * s_a * s_b:
            raise ValueError(f"covariance must be at most the product of both standard errors, got {self.covariance:g}")

    def __str__(self) -> str:
        return f"{with_error(self.value, self.standard_error)} (standard error)"

    @property
    def value(self) -> float:
        """Quotient of the values; infinite, or NaN, where the denominator's is zero."""
        a, b = self.numerator.value, self.denominator.value
        return a / b if b else math.copysign(math.inf, a) if a else math.nan

    @property
    def standard_error(self) -> float:
        """By the delta method, which holds where the denominator is well known."""
        if not math.isfinite(self.value):
            return math.inf
        (_, _, b, _, _), power = self._in_units()
        error, unit, _ = self._error_of_remainder()
        return _times_power(error / abs(b), power + unit)

    @property
    def n(self) -> int:
        """Smaller one of the sample sizes."""
        return min(self.numerator.n, self.denominator.n)

    def resized(self, n: int) -> Quotient:
        """Quotient from samples of n."""
        n = as_sample_size(n)
        return replace(
            self,
            numerator=self.numerator.resized(n),
            denominator=self.denominator.resized(n),
            covariance=self.covariance * self.n / n,
        )

    def valid(self, level: float) -> bool:
        """Whether `interval` keeps its level, by those of numerator and denominator, and whether they are told from multiples."""
        known = not math.isfinite(self.value) or self._error_of_remainder()[2]
        return known and self.numerator.valid(level) and self.denominator.valid(level)

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Confidence interval; everything where the denominator may be zero."""
        alpha = 1 - as_level(level)
        if self.n < 2:
            return -math.inf, math.inf
        t, (a, s_a, b, s_b, s_ab), power = quantile(alpha, self.n - 1), *self._in_units()
        # A r² − 2 B r + C <= 0
        A = b**2 - (t * s_b) ** 2
        B = a * b - t**2 * s_ab
        if not A > 0:
            return -math.inf, math.inf
        # B² − A C, of two that are alike: (t b s)² − t⁴ (s_a² s_b² − s_ab²), s being the error of numerator − (a/b) denominator.
        error, unit, _ = self._error_of_remainder()
        s = math.ldexp(error, unit)
        rest = (t * s_a * s_b / (b * s)) ** 2 * (1 - self._correlation() ** 2) if s > 0 else 0.0
        half = t * abs(b) * s * math.sqrt(max(1 - rest, 0.0))
        return _times_power((B - half) / A, power), _times_power((B + half) / A, power)

    def _correlation(self) -> float:
        (_, s_a, _, s_b, s_ab), _ = self._in_units()
        return max(-1.0, min(1.0, s_ab / s_a / s_b)) if s_a > 0 and s_b > 0 else 0.0

    def _error_of_remainder(self) -> tuple[float, int, bool]:
        """Standard error of numerator − (a/b) denominator, the power of two of its unit, and whether it is more than rounding."""
        (a, s_a, b, s_b, _), _ = self._in_units()
        r = a / b
        unit = int(exponents(np.array([[s_a], [r * s_b]]))[0])  # of errors that are far smaller than the values
        s_a, r_s_b = math.ldexp(s_a, -unit), math.ldexp(abs(r) * s_b, -unit)
        variance = (s_a - r_s_b) ** 2 + 2 * s_a * r_s_b * (1 - math.copysign(self._correlation(), r * self.covariance))
        return math.sqrt(variance), unit, variance > _LOST * (s_a**2 + r_s_b**2) or s_a == r_s_b == 0

    def _in_units(self) -> tuple[tuple[float, ...], int]:
        """a, s_a, b, s_b and s_ab in units in which their squares are numbers, and the power of two that the quotient lacks."""
        parts = [(e.value, e.standard_error) for e in (self.numerator, self.denominator)]
        one, two = (int(p) for p in exponents(np.array(parts).T))
        (a, s_a), (b, s_b) = ([_times_power(x, -p) for x in part] for part, p in zip(parts, (one, two), strict=True))
        return (a, s_a, b, s_b, _times_power(_times_power(self.covariance, -one), -two)), one - two


def _times_power(x: float, power: int) -> float:
    """Return x · 2^power, infinite where that is no number."""
    try:
        return math.ldexp(x, power)
    except OverflowError:
        return math.copysign(math.inf, x)
