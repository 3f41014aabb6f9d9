"""The rule by which a measurement judges a prediction."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from gradnoise.simulations.statistics import Measured, find_sample_size
from gradnoise.theory._validation import as_real, is_number, set_fields, shown

__all__ = ["Absolute", "AtLeast", "AtMost", "Computed", "Judgement", "Margin", "Prediction", "Quantity", "Relative", "judge"]

HOLDS, REFUTED, INCONCLUSIVE = "holds", "refuted", "inconclusive"


@dataclass(frozen=True)
class Computed:
    """A quantity without a sampling error: from enumeration, quadrature or linear algebra.

    Attributes
    ----------
    value : float
        NaN and infinity, which no prediction allows, are refuted.
    rounding : float
        Bound on its error where only rounding can be wrong: what a reader is told is exact.
    approximation : float
        Bound on what the method leaves out, where it does: of a slope between two step sizes, a limit that is not reached,
        a search that stops.

    Examples
    --------
    >>> Computed(0.5, rounding=1e-12).error_kind
    'rounding'
    >>> Computed(1.997, approximation=0.01).tolerance
    0.01
    """

    value: float
    rounding: float = field(default=0.0, kw_only=True)
    approximation: float = field(default=0.0, kw_only=True)

    def __post_init__(self) -> None:
        bounds = {name: as_real(getattr(self, name), name, at_least=0) for name in ("rounding", "approximation")}
        set_fields(self, value=_as_extended(self.value, "value"), **bounds)

    @property
    def tolerance(self) -> float:
        """Bound on the whole error."""
        return self.rounding + self.approximation

    @property
    def error_kind(self) -> str:
        """Which of the two it is: "rounding" or "approximation"."""
        return "approximation" if self.approximation > 0 else "rounding"


Quantity = Computed | Measured


@dataclass(frozen=True)
class AtLeast:
    """Prediction of an inequality: the quantity is >= bound.

    Parameters
    ----------
    bound : float
        In the units of the quantity; an infinite one allows everything, or nothing.

    Examples
    --------
    >>> judge(Computed(0.5), AtLeast(0.5), margin=0.0, level=0.99).verdict
    'holds'
    >>> judge(Computed(0.5), AtLeast(0.6), margin=0.0, level=0.99).verdict
    'refuted'
    """

    bound: float

    def __post_init__(self) -> None:
        set_fields(self, bound=_as_bound(self.bound, "bound"))


@dataclass(frozen=True)
class AtMost:
    """Prediction of an inequality: the quantity is <= bound.

    Parameters
    ----------
    bound : float
        In the units of the quantity; an infinite one allows everything, or nothing.

    Examples
    --------
    >>> judge(Computed(0.5), AtMost(0.5), margin=0.0, level=0.99).verdict
    'holds'
    >>> judge(Computed(0.5), AtMost(0.4), margin=0.0, level=0.99).verdict
    'refuted'
    """

    bound: float

    def __post_init__(self) -> None:
        set_fields(self, bound=_as_bound(self.bound, "bound"))


Prediction = float | AtLeast | AtMost


@dataclass(frozen=True)
class Absolute:
    """A margin in the units of the quantity.

    Parameters
    ----------
    size : float
        The margin.

    Examples
    --------
    >>> Absolute(0.02).of(0.5), Absolute(0.02).of(AtMost(0.0))
    (0.02, 0.02)
    """

    size: float

    def __post_init__(self) -> None:
        set_fields(self, size=as_real(self.size, "size", at_least=0))

    def of(self, prediction: Prediction) -> float:
        """Return the margin around a prediction."""
        number(prediction)
        return self.size


@dataclass(frozen=True)
class Relative:
    """A margin as a share of the published prediction.

    Parameters
    ----------
    share : float
        Of the absolute value of what is predicted, or of its bound.

    Examples
    --------
    >>> Relative(0.25).of(-2.0), Relative(0.25).of(AtLeast(4.0))
    (0.5, 1.0)
    """

    share: float

    def __post_init__(self) -> None:
        set_fields(self, share=as_real(self.share, "share", at_least=0))

    def of(self, prediction: Prediction) -> float:
        """Return the margin around a prediction, infinite around an infinite one."""
        return self.share * abs(number(prediction))


Margin = Absolute | Relative


@dataclass(frozen=True)
class Judgement:
    """Verdict on one prediction of one quantity.

    Attributes
    ----------
    verdict : {"holds", "refuted", "inconclusive"}
    n_to_decide : int or None
        Where inconclusive, about how many samples would decide it.
    reason : str or None
        Where inconclusive, and no number of samples is known to decide it: why.

    Examples
    --------
    >>> judge(Computed(1 / 3, rounding=1e-12), 0.3, margin=0.0, level=0.99)
    Judgement(verdict='refuted', n_to_decide=None, reason=None)
    >>> from gradnoise.simulations.statistics import Estimate
    >>> judge(Estimate.of([0.5, 0.5, 0.5]), 0.5, margin=0.1, level=0.99).reason
    'no spread was seen, so how many samples would decide is not known'
    """

    verdict: str
    n_to_decide: int | None = None
    reason: str | None = None


def number(prediction: Prediction) -> float:
    """Return the number in a prediction."""
    return prediction.bound if isinstance(prediction, AtLeast | AtMost) else _as_bound(prediction, "prediction")


def _as_extended(value: object, name: str) -> float:
    """Return `value` as a float, which may be infinite or NaN: what was computed may have come to that."""
    if not is_number(value):
        raise TypeError(f"{name} must be a real number, got {shown(value)}")
    return float(value) if isinstance(value, float) else as_real(value, name)


def _as_bound(value: object, name: str) -> float:
    """Return `value` as a float, which may be infinite: what is predicted is a number."""
    if math.isnan(number := _as_extended(value, name)):
        raise ValueError(f"{name} must be a number, got NaN")
    return number


def relation(prediction: Prediction) -> str:
    """Return how the quantity relates to that number: "=", ">=" or "<="."""
    return {AtLeast: ">=", AtMost: "<="}.get(type(prediction), "=")


def as_quantity(quantity: Quantity) -> Quantity:
    """Return `quantity` if it can tell what a judgement asks."""
    asked = ("value", "standard_error", "n", "interval", "valid")
    if isinstance(quantity, type) or not (isinstance(quantity, Computed) or all(hasattr(quantity, name) for name in asked)):
        kinds = "Computed, an Estimate, a Proportion or a Difference"
        raise TypeError(f"quantity must be {kinds}, got {shown(quantity)}")
    return quantity


def interval(quantity: Quantity, level: float) -> tuple[float, float]:
    """Interval of a quantity: of confidence, or of what may be wrong with what was computed."""
    if isinstance(quantity, Computed):
        return quantity.value - quantity.tolerance, quantity.value + quantity.tolerance
    return quantity.interval(level)


def placed(interval: tuple[float, float], allowed: tuple[float, float]) -> str:
    """Verdict of an interval: it holds if all of it is in the allowed one, and is refuted if all of it is outside."""
    (low, high), (lowest, highest) = interval, allowed
    if low >= lowest and high <= highest:
        return HOLDS
    return REFUTED if high < lowest or low > highest else INCONCLUSIVE


def judge(quantity: Quantity, prediction: Prediction, margin: float, level: float) -> Judgement:
    """Judge one prediction.

    A computed quantity holds if it misses the prediction by no more than its tolerance, and is refuted otherwise. A sampled
    one holds if its whole interval is within the margin of the prediction, is refuted if the whole interval is outside, and
    is inconclusive otherwise, or where the interval cannot be trusted at this level.

    Parameters
    ----------
    quantity : Computed, Estimate, Proportion or Difference
    prediction : float, AtLeast or AtMost
    margin : float
        Of a sampled quantity, absolute.
    level : float
        Of its confidence interval.

    Returns
    -------
    Judgement

    Raises
    ------
    ValueError
        If the prediction is NaN, or the margin or the level is not allowed; never for what was measured.

    Examples
    --------
    >>> judge(Computed(0.5 + 1e-15, rounding=1e-12), 0.5, margin=0.0, level=0.99).verdict
    'holds'
    >>> from gradnoise.simulations.statistics import Proportion
    >>> judge(Proportion(5_020, 10_000), 0.6, margin=0.02, level=0.99).verdict
    'refuted'
    >>> open_question = judge(Proportion(50, 100), AtLeast(0.5), margin=0.02, level=0.99)
    >>> open_question.verdict, open_question.n_to_decide > 10_000
    ('inconclusive', True)
    """
    target, margin, level = number(prediction), as_real(margin, "margin", at_least=0), as_real(level, "level", above=0, at_most=1)
    lowest = -math.inf if isinstance(prediction, AtMost) else target
    highest = math.inf if isinstance(prediction, AtLeast) else target
    as_quantity(quantity)
    if isinstance(quantity, Computed):
        # `not <=` also refutes a NaN.
        within = lowest - quantity.tolerance <= quantity.value <= highest + quantity.tolerance
        return Judgement(HOLDS if within else REFUTED)
    if quantity.valid(level):
        verdict = placed(quantity.interval(level), (lowest - margin, highest + margin))
        if verdict != INCONCLUSIVE:
            return Judgement(verdict)
    n = find_sample_size(quantity, margin, level) if margin > 0 else None
    return Judgement(INCONCLUSIVE, n, None if n else _undecided(quantity, margin, level))


def _undecided(quantity: Measured, margin: float, level: float) -> str:
    """Why no number of samples is known to decide."""
    if not (quantity.valid(level) or 0 < quantity.standard_error < math.inf):
        return "no spread was seen, so how many samples would decide is not known"
    if margin == 0:
        return "without a margin no number of samples is sure to decide"
    return "no feasible number of samples would decide, as far as these tell"


def combine(judgements: Mapping[str, Judgement]) -> Judgement:
    """Verdict on a vector: it holds if all components hold, and is refuted if any is."""
    verdicts = [j.verdict for j in judgements.values()]
    if REFUTED in verdicts:
        return Judgement(REFUTED)
    if INCONCLUSIVE in verdicts or not verdicts:
        needed = [j.n_to_decide for j in judgements.values() if j.n_to_decide is not None]
        reasons = dict.fromkeys(j.reason for j in judgements.values() if j.reason is not None)
        return Judgement(INCONCLUSIVE, max(needed, default=None), "; ".join(reasons) or None)
    return Judgement(HOLDS)
