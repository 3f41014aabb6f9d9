"""How many samples decide, planned from a pilot."""

from __future__ import annotations

import math
from dataclasses import replace

from gradnoise.simulations.statistics.estimates import Estimate, Measured, as_measured
from gradnoise.simulations.statistics.validity import as_level
from gradnoise.theory._validation import as_real

__all__ = ["find_sample_size", "plan_sample_size"]

_LARGEST_PLAN = 2**50


def plan_sample_size(pilot: Measured, margin: float, level: float) -> int:
    """Sample size at which an interval resolves a margin.

    Parameters
    ----------
    pilot : Estimate, Proportion or Difference
        From a small sample of its own, which is not used again.
    margin : float
        > 0. The interval is to reach at most half of it to either side, so that an interval around a true prediction stays
        within the margin as surely as it covers.
    level : float
        Of the interval.

    Returns
    -------
    int
        With a fifth to spare, as the pilot's spread is itself an estimate; large enough for the interval to be valid.

    Raises
    ------
    ValueError
        If no sample of up to 2^50 resolves the margin.

    Examples
    --------
    >>> from gradnoise.simulations.statistics import Estimate, plan_sample_size
    >>> pilot = Estimate(0.0, 0.1, 100, skewness=0.0)  # samples have a standard deviation of 1
    >>> 1.2 <= plan_sample_size(pilot, margin=0.1, level=0.95) / (1.96 / 0.05) ** 2 <= 1.22
    True
    """
    n = find_sample_size(pilot, margin, level)
    if n is None:
        raise ValueError(f"margin = {margin:g} cannot be resolved at level {level:.12g} by any feasible sample")
    return n


def find_sample_size(pilot: Measured, margin: float, level: float) -> int | None:
    """Sample size of `plan_sample_size`; None where no feasible sample resolves the margin, as far as the pilot tells.

    Parameters
    ----------
    pilot : Estimate, Proportion or Difference
    margin, level : float
        Those of `plan_sample_size`.

    Returns
    -------
    int or None

    Examples
    --------
    >>> from gradnoise.simulations.statistics import Estimate, find_sample_size
    >>> print(find_sample_size(Estimate.of([0.5, 0.5, 0.5]), margin=0.1, level=0.95))  # how they spread is not known
    None
    """
    margin, level, pilot = as_real(margin, "margin", above=0), as_level(level), as_measured(pilot, "pilot")

    # A pilot's skewness is a rough estimate, and the measurement's own must still pass.
    if isinstance(pilot, Estimate) and pilot.skewness is not None:
        pilot = replace(pilot, skewness=1.5 * pilot.skewness)

    def resolves(n: int) -> bool:
        larger = pilot.resized(n)
        low, high = larger.interval(level)
        return larger.valid(level) and max(larger.value - low, high - larger.value) <= margin / 2

    enough = 2
    while not resolves(enough):
        enough *= 2
        if enough > _LARGEST_PLAN:
            return None
    too_few = enough // 2
    while enough - too_few > enough // 100 + 1:
        middle = (enough + too_few) // 2
        enough, too_few = (middle, too_few) if resolves(middle) else (enough, middle)
    return math.ceil(1.2 * enough)
