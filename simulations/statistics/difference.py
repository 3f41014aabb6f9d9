"""Differences of two estimates that need not be independent."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gradnoise.simulations.statistics.estimates import Measured, as_measured
from gradnoise.simulations.statistics.rounding import with_error
from gradnoise.simulations.statistics.validity import as_level

__all__ = ["Difference"]


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
    >>> difference.valid(0.95), round(difference.resized(4_000).standard_error / difference.standard_error, 3)
    (True, 0.5)
    """

    first: Measured
    second: Measured

    def __post_init__(self) -> None:
        as_measured(self.first, "first")
        as_measured(self.second, "second")

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
        half = _half_the_error(level)
        return half < 1 and self.first.valid(half) and self.second.valid(half)

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Both intervals at half the error, subtracted: it keeps its level by Bonferroni's inequality."""
        half = _half_the_error(level)
        if half == 1:  # to the last digit
            return -math.inf, math.inf
        (a, b), (c, d) = self.first.interval(half), self.second.interval(half)
        return a - d, b - c


def _half_the_error(level: float) -> float:
    return (1 + as_level(level)) / 2
