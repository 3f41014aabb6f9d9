"""Frequencies of events, and their exact intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass

import scipy

from gradnoise.simulations.statistics.rounding import with_error
from gradnoise.simulations.statistics.validity import as_level, as_sample_size
from gradnoise.theory._validation import as_count, set_fields

__all__ = ["Proportion"]


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
        n = as_sample_size(self.n)
        set_fields(self, n=n, successes=as_count(self.successes, "successes", at_least=0, at_most=n))

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
        n = as_sample_size(n)
        return Proportion(round(n * (self.successes + 1) / (self.n + 2)), n)

    def valid(self, level: float) -> bool:
        """Return True: the interval is exact at every level."""
        return bool(as_level(level))

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Clopper-Pearson interval, exact at every level and size."""
        tail, k, n = (1 - as_level(level)) / 2, self.successes, self.n
        low = 0.0 if k == 0 else float(scipy.special.betaincinv(k, n - k + 1, tail))
        high = 1.0 if k == n else float(scipy.special.betainccinv(k + 1, n - k, tail))
        return low, high
