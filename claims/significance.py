"""Tests of significance on printed means and deviations: what they establish, and how many runs would."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from gradnoise.claims.judgement import PValue
from gradnoise.theory._validation import as_count, as_instance, as_real, set_fields, shown

__all__ = ["Printed", "holm", "runs_to_establish", "welch"]

_ROUNDING = 1e-9  # of SciPy's p-values, relative
_POWER = 0.9
_MOST_RUNS = 10**7
_LARGEST = 1e100  # whose square is a float


@dataclass(frozen=True)
class Printed:
    """Mean and standard deviation over some runs, as a table prints them.

    Attributes
    ----------
    mean, deviation : float
    n_runs : int
        At least two.

    Examples
    --------
    >>> Printed(90.17, 0.14).n_runs
    10
    """

    mean: float
    deviation: float
    n_runs: int = 10

    def __post_init__(self) -> None:
        mean, deviation = (
            as_real(self.mean, "mean", at_least=-_LARGEST, at_most=_LARGEST),
            as_real(self.deviation, "deviation", above=0, at_most=_LARGEST),
        )
        set_fields(self, mean=mean, deviation=deviation, n_runs=as_count(self.n_runs, "n_runs", at_least=2))

    @property
    def variance_of_mean(self) -> float:
        """Estimated variance of the mean."""
        return self.deviation**2 / self.n_runs


def welch(one: Printed, other: Printed) -> float:
    """Two-sided p-value of Welch's test for the difference of two means.

    Parameters
    ----------
    one, other : Printed

    Returns
    -------
    float

    Examples
    --------
    >>> round(welch(Printed(61.40, 0.54), Printed(61.53, 0.35)), 2)
    0.53
    """
    from scipy import stats  # here, as its import takes long

    a, b = as_instance(one, "one", Printed), as_instance(other, "other", Printed)
    found = stats.ttest_ind_from_stats(a.mean, a.deviation, a.n_runs, b.mean, b.deviation, b.n_runs, equal_var=False)
    return float(found.pvalue)


def runs_to_establish(one: Printed, other: Printed, level: float) -> int | None:
    """How many runs on either side would establish an effect as large as the printed one, with a probability of 90 %.

    Parameters
    ----------
    one, other : Printed
        Their means and deviations are taken for the true ones, and runs for normal.
    level : float
        Of the two-sided test.

    Returns
    -------
    int or None
        None where over ten million would be needed.

    Examples
    --------
    >>> runs_to_establish(Printed(61.40, 0.54), Printed(61.53, 0.35), level=0.05)
    259
    """
    a, b = as_instance(one, "one", Printed), as_instance(other, "other", Printed)
    level = as_real(level, "level", above=0, at_most=1)
    low, high = 1, 2
    while _power(a, b, high, level) < _POWER:
        low, high = high, 2 * high
        if high > _MOST_RUNS:
            return None
    while high - low > 1:  # it rises with the runs
        middle = (low + high) // 2
        low, high = (middle, high) if _power(a, b, middle, level) < _POWER else (low, middle)
    return high


def _power(a: Printed, b: Printed, n: int, level: float) -> float:
    """Probability that Welch's test of n runs on either side establishes the printed difference, which way it is."""
    from scipy import stats

    u, v = a.deviation**2 / n, b.deviation**2 / n
    freedom = (u + v) ** 2 / (u**2 + v**2) * (n - 1)
    return float(stats.nct.sf(stats.t.isf(level / 2, freedom), freedom, abs(a.mean - b.mean) / math.sqrt(u + v)))


def holm(pairs: Mapping[str, tuple[Printed, Printed]], level: float) -> dict[str, PValue]:
    """Test several effects of which all are stated at once.

    The p-values are Welch's with Holm's correction: at any level, none of the effects that are not there passes with more
    than that probability. The runs that would decide are counted for Bonferroni's level, which is enough whatever the others
    show.

    Parameters
    ----------
    pairs : mapping of (Printed, Printed)
        By label, the one that is stated to be smaller, and the other.
    level : float
        Of all of them together.

    Returns
    -------
    dict of PValue

    Raises
    ------
    TypeError, ValueError
        If there are none, or an argument is not what it should be.

    Examples
    --------
    >>> pairs = {"C1": (Printed(88.05, 0.18), Printed(88.26, 0.23)), "C2": (Printed(61.40, 0.54), Printed(61.53, 0.35))}
    >>> found = holm(pairs, level=0.05)
    >>> {label: (round(p.value, 3), p.n_to_decide) for label, p in found.items()}
    {'C1': (0.072, 26), 'C2': (0.532, 306)}
    """
    if not isinstance(pairs, Mapping) or not pairs:
        raise TypeError(f"pairs must be a mapping of pairs of Printed, and not empty, got {shown(pairs)}")
    for pair in pairs.values():
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise TypeError(f"each of pairs must be a pair of Printed, got {shown(pair)}")
    level = as_real(level, "level", above=0, at_most=1)
    found: dict[str, PValue] = {}
    largest = 0.0
    for rank, (label, p) in enumerate(sorted(((label, welch(*pair)) for label, pair in pairs.items()), key=lambda item: item[1])):
        largest = max(largest, min(1.0, (len(pairs) - rank) * p))
        one, other = pairs[label]
        needed = runs_to_establish(one, other, level / len(pairs))
        found[label] = PValue(
            largest,
            rounding=_ROUNDING * largest,
            effect=other.mean - one.mean,
            n=min(one.n_runs, other.n_runs),
            n_to_decide=needed,
        )
    return {label: found[label] for label in pairs}
