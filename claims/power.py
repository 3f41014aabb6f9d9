"""Whether a claim could have failed: what its sabotaged twins have to be, and the smallest error that it would notice."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import scipy

from gradnoise.claims.claim import Claim, Predictions
from gradnoise.claims.judgement import HOLDS, REFUTED, Computed, Quantity, judge
from gradnoise.claims.prediction import ATTAINED, AtLeast, AtMost, Established, Prediction, number, relation, same
from gradnoise.theory._validation import as_instance

__all__ = ["NEAR", "checked_twins", "detectable_error", "has_twins", "weaknesses"]

#: How much tighter than an attained bound its twin may be, in units of the bound; of a bound of zero in those of the quantity.
NEAR = 0.05

Twins = list[tuple[str, Predictions]]

_POWER = 0.99


def has_twins(subject: Claim) -> bool:
    """Whether a claim has any sabotaged twin; also where the first one raises, as the verdict then tells.

    Parameters
    ----------
    subject : Claim

    Returns
    -------
    bool

    Examples
    --------
    >>> from gradnoise.claims.registry import all_claims
    >>> has_twins(all_claims()["zhu2019.trace-norm"])
    True
    """
    as_instance(subject, "subject", Claim)
    try:
        return next(iter(subject.sabotaged()), None) is not None
    except Exception:
        return True


def checked_twins(subject: Claim) -> Twins:
    """Return the sabotaged twins of a claim, or refuse one that a wrong formula could pass unnoticed.

    Parameters
    ----------
    subject : Claim

    Returns
    -------
    list of (str, Predictions)

    Raises
    ------
    TypeError, ValueError
        If it is no claim, or `weaknesses` finds any.

    Examples
    --------
    >>> from gradnoise.claims.registry import all_claims
    >>> [name for name, _ in checked_twins(all_claims()["zhu2019.trace-norm"])]
    ['largest eigenvalue', 'Frobenius norm']
    """
    twins = list(as_instance(subject, "subject", Claim).sabotaged())
    if found := list(_weaknesses(subject, twins)):
        raise ValueError(f"{subject.id} must have twins that tell right from wrong: {'; '.join(found)}")
    return twins


def weaknesses(subject: Claim) -> Iterator[str]:
    """Find twins that prove nothing, and bounds without a twin that proves them sharp.

    Parameters
    ----------
    subject : Claim
        Is not measured.

    Returns
    -------
    iterator of str
        A twin that speaks of a quantity of which no statement does, or that says what a statement says; an attained bound
        without a twin that is a little tighter.

    Examples
    --------
    >>> class Largest(Claim):
    ...     def measure(self, run):
    ...         return {"largest": Computed(6.0), "smallest": Computed(1.0)}
    ...
    ...     def published(self):
    ...         return {"largest": AtMost(6.0)}
    ...
    ...     def sabotaged(self):
    ...         yield "from 2 on", {"smallest": AtLeast(2.0)}
    >>> for weakness in weaknesses(Largest()):
    ...     print(weakness)
    twin 'from 2 on' judges 'smallest', of which no statement speaks
    no twin is a little tighter than largest <= 6, which is said to be attained
    """
    return _weaknesses(subject, list(as_instance(subject, "subject", Claim).sabotaged()))


def _weaknesses(subject: Claim, twins: Twins) -> Iterator[str]:
    published, corrected = subject.published(), subject.corrected()
    for name, twin in twins:
        for label in twin:
            if label not in published and label not in corrected:
                yield f"twin {name!r} judges {label!r}, of which no statement speaks"
        for said, statement in (("published", published), ("corrected", corrected)):
            if all(label in statement and same(p, statement[label]) for label, p in twin.items()):
                yield f"twin {name!r} says what is {said}"
    for label, bound in (corrected or published).items():
        if isinstance(bound, AtLeast | AtMost) and bound.tightness == ATTAINED and not _proved_sharp(label, bound, twins):
            yield f"no twin is a little tighter than {label} {relation(bound)} {bound.bound:g}, which is said to be attained"


def detectable_error(quantity: Quantity, prediction: Prediction, margin: float, level: float) -> float | None:
    """Find the smallest error of a prediction, in units of the quantity, that is refuted with a probability of 99 %.

    Of a sampled quantity it is computed, for another measurement of the same size of what is as predicted: the margin, half the
    interval and the 99 % quantile of what the estimate misses by. Of a computed one it is measured, by judging predictions that
    are moved. A bound is moved towards the quantity alone.

    Parameters
    ----------
    quantity : Computed, Estimate, Proportion or Difference
    prediction : float, AtLeast or AtMost
    margin, level : float
        See `gradnoise.claims.judgement.judge`.

    Returns
    -------
    float or None
        None where the prediction does not hold, is infinite or a test of significance.

    Examples
    --------
    >>> error = detectable_error(Computed(0.5, rounding=1e-12), 0.5, margin=0.0, level=0.99)
    >>> 0.9e-12 < error < 1.1e-12
    True
    >>> from gradnoise.simulations.statistics import Proportion
    >>> round(detectable_error(Proportion(500_000, 10**6), 0.5, margin=0.005, level=0.999), 4)
    0.0078
    """
    if isinstance(prediction, Established) or math.isinf(number(prediction)):
        return None
    if judge(quantity, prediction, margin, level).verdict != HOLDS:
        return None
    if isinstance(quantity, Computed):
        return max(_smallest_refuted(quantity, prediction, sign, level) for sign in _directions(prediction))
    low, high = quantity.interval(level)
    half = max(quantity.value - low, high - quantity.value)
    distance = margin + half + float(scipy.special.ndtri(_POWER)) * quantity.standard_error
    slack = {"=": 0.0, ">=": quantity.value - number(prediction), "<=": number(prediction) - quantity.value}
    return max(slack[relation(prediction)], 0.0) + distance


def _directions(prediction: Prediction) -> tuple[float, ...]:
    return {"=": (1.0, -1.0), ">=": (1.0,), "<=": (-1.0,)}[relation(prediction)]


def _moved(prediction: Prediction, by: float) -> Prediction:
    if isinstance(prediction, AtLeast | AtMost):
        return replace(prediction, bound=prediction.bound + by)
    return number(prediction) + by


def _smallest_refuted(quantity: Computed, prediction: Prediction, sign: float, level: float) -> float:
    """Bisect for the smallest shift that is refuted; all larger ones are, as the prediction itself holds."""

    def refuted(shift: float) -> bool:
        return judge(quantity, _moved(prediction, sign * shift), 0.0, level).verdict == REFUTED

    scale = max(abs(quantity.value), abs(number(prediction)), quantity.tolerance, 1e-300)
    low, high = -18.0, 1.0  # powers of ten, in units of the scale: less than rounding, and more than all
    while high - low > 1e-3:
        middle = (low + high) / 2
        low, high = (low, middle) if refuted(scale * 10**middle) else (middle, high)
    return scale * 10**high


def _proved_sharp(label: str, bound: AtLeast | AtMost, twins: Twins) -> bool:
    near = NEAR * (abs(bound.bound) or 1.0)
    for _, twin in twins:
        other = twin.get(label)
        if other is not None and relation(other) == relation(bound):
            tighter = number(other) - bound.bound if relation(bound) == ">=" else bound.bound - number(other)
            if 0 < tighter <= near:
                return True
    return math.isinf(bound.bound)
