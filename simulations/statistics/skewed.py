"""Means of few samples of a skew law."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gradnoise.simulations.statistics.estimates import Estimate
from gradnoise.simulations.statistics.validity import as_level, quantile
from gradnoise.theory._validation import as_instance

__all__ = ["SkewedEstimate"]


@dataclass(frozen=True)
class SkewedEstimate(Estimate):
    r"""Mean of independent samples, with an interval that is longer on the side of their longer tail.

    Where few samples lie far out on one side, most sample means lie on the other, and with too small a spread: Student's
    interval is then too short on the side of the tail. By the first term of the Edgeworth series

    .. math:: T + \frac{\gamma}{6 \sqrt n} (1 + 2 T^2)

    has Student's law with n − 1 degrees of freedom to that order, T being Student's statistic and γ the skewness. The interval is
    made longer by as much; it is not made shorter on the other side, as γ is not known well.

    Attributes
    ----------
    value, standard_error, n, skewness, support, normal
        As those of an `Estimate`.

    References
    ----------
    N. J. Johnson, J. Am. Stat. Assoc. 73 (1978) 536.

    Examples
    --------
    >>> from gradnoise.simulations.statistics import Estimate, SkewedEstimate
    >>> plain, skewed = Estimate(1.0, 0.1, 30, 2.0), SkewedEstimate(1.0, 0.1, 30, 2.0)
    >>> [round(end, 3) for end in plain.interval(0.95)], [round(end, 3) for end in skewed.interval(0.95)]
    ([0.795, 1.205], [0.795, 1.262])
    >>> SkewedEstimate.like(plain) == skewed
    True
    """

    @classmethod
    def like(cls, estimate: Estimate) -> SkewedEstimate:
        """Return the estimate with this interval."""
        return cls(**vars(as_instance(estimate, "estimate", Estimate)))

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Confidence interval for the mean, see `Estimate.interval`."""
        level = as_level(level)
        low, high = super().interval(level)
        if not self.skewness or self.n < 2 or not math.isfinite(self.standard_error):
            return low, high
        t = quantile(1 - level, self.n - 1)
        further = self.skewness * (1 + 2 * t**2) / (6 * math.sqrt(self.n)) * self.standard_error
        low, high = low + min(further, 0.0), high + max(further, 0.0)
        return (low, high) if self.support is None else (max(low, self.support[0]), min(high, self.support[1]))
