"""The rule by which a measurement judges a prediction."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from gradnoise.claims.prediction import AtLeast, AtMost, Established, Prediction, as_extended, number, same
from gradnoise.simulations.statistics import Estimate, Measured, find_sample_size
from gradnoise.theory._validation import as_choice, as_count, as_instance, as_real, as_text, set_fields, shown

__all__ = ["Answered", "Computed", "Judgement", "PValue", "Quantity", "judge"]

HOLDS, REFUTED, INCONCLUSIVE, NOT_ESTABLISHED = VERDICTS = ("holds", "refuted", "inconclusive", "not established")


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
        set_fields(self, value=as_extended(self.value, "value"), **bounds)

    @property
    def tolerance(self) -> float:
        """Bound on the whole error."""
        return self.rounding + self.approximation

    @property
    def error_kind(self) -> str:
        """Which of the two it is: "rounding" or "approximation"."""
        return "approximation" if self.approximation > 0 else "rounding"


@dataclass(frozen=True)
class PValue(Computed):
    """A p-value, and which way the effect goes that it belongs to.

    Attributes
    ----------
    value : float
        Two-sided p-value, corrected for those that are joined with it.
    rounding, approximation : float
        See `Computed`.
    effect : float
        Positive where it is in favour of the statement.
    n : int
        Samples on either side.
    n_to_decide : int or None
        About how many would establish an effect of this size; None where none would.

    Examples
    --------
    >>> PValue(0.53, effect=0.13, n=10, n_to_decide=340).value
    0.53
    """

    effect: float = field(kw_only=True)
    n: int = field(kw_only=True)
    n_to_decide: int | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        as_real(self.value, "value", at_least=0, at_most=1)
        needed = None if self.n_to_decide is None else as_count(self.n_to_decide, "n_to_decide")
        set_fields(self, effect=as_real(self.effect, "effect"), n=as_count(self.n, "n", at_least=2), n_to_decide=needed)


Quantity = Computed | Measured


@dataclass(frozen=True)
class Judgement:
    """Verdict on one prediction of one quantity.

    Attributes
    ----------
    verdict : {"holds", "refuted", "inconclusive", "not established"}
        The last is of a test of significance alone.
    n_to_decide : int or None
        Where inconclusive or not established, about how many samples would decide it.
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

    def __post_init__(self) -> None:
        set_fields(
            self,
            verdict=as_choice(self.verdict, "verdict", VERDICTS),
            n_to_decide=None if self.n_to_decide is None else as_count(self.n_to_decide, "n_to_decide"),
            reason=None if self.reason is None else as_text(self.reason, "reason"),
        )


@dataclass(frozen=True)
class Answered(Estimate):
    """Mean difference between two methods of training, with the judgement that the question of its plan led to.

    Any other prediction is judged by the difference alone.

    Attributes
    ----------
    value, standard_error, n, skewness, support, normal
        Of the difference; n is the number of seeds. See `gradnoise.simulations.statistics.Estimate`.
    prediction : float or AtLeast
        What the question comes to: zero within a margin, or at least the margin.
    judgement : Judgement
        Of that prediction. It also knows of runs that failed, and of positive controls; see `gradnoise.claims.questions`.

    Examples
    --------
    >>> from gradnoise.simulations.statistics import Estimate
    >>> difference = Estimate.of([0.011, 0.014, 0.012], normal=True)
    >>> found = Answered.about(difference, 0.0, Judgement("inconclusive", None, "the control is not worse"))
    >>> judge(found, 0.0, margin=0.03, level=0.95).reason
    'the control is not worse'
    >>> judge(found, AtLeast(0.1), margin=0.03, level=0.95).verdict
    'refuted'
    """

    prediction: Prediction = field(kw_only=True)
    judgement: Judgement = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        number(self.prediction)
        if isinstance(self.prediction, Established):
            raise TypeError(f"prediction must be a number or a bound, got {shown(self.prediction)}")
        as_choice(as_instance(self.judgement, "judgement", Judgement).verdict, "verdict", (HOLDS, REFUTED, INCONCLUSIVE))

    @classmethod
    def about(cls, difference: Estimate, prediction: Prediction, judgement: Judgement) -> Answered:
        """Describe a difference."""
        return cls(**_of_estimate(difference), prediction=prediction, judgement=judgement)

    def resized(self, n: int) -> Estimate:
        """Estimate of the same value and spread from n seeds, of which nothing was answered."""
        return Estimate(**_of_estimate(self)).resized(n)

    def transformed(self, factor: float, offset: float = 0.0) -> Estimate:
        """Estimate in other units, of which nothing was answered."""
        return Estimate(**_of_estimate(self)).transformed(factor, offset)


def _of_estimate(difference: Estimate) -> dict[str, Any]:
    as_instance(difference, "difference", Estimate)
    return {part.name: getattr(difference, part.name) for part in fields(Estimate)}


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
    is inconclusive otherwise, or where the interval cannot be trusted at this level. A test of significance holds where its
    p-value is small and the effect in favour, is refuted where it is against, and has established nothing otherwise.

    Parameters
    ----------
    quantity : Computed, PValue, Estimate, Proportion or Difference
    prediction : float, AtLeast, AtMost or Established
        The last of a `PValue`.
    margin : float
        Of a sampled quantity, absolute.
    level : float
        Of its confidence interval.

    Returns
    -------
    Judgement

    Raises
    ------
    TypeError, ValueError
        If the prediction is NaN or of another kind than the quantity, or the margin or the level is not allowed; never for what
        was measured.

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
    if isinstance(quantity, Answered) and same(prediction, quantity.prediction):
        return quantity.judgement
    if isinstance(prediction, Established):
        return _tested(quantity, prediction)
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


def _tested(quantity: Quantity, prediction: Established) -> Judgement:
    if not isinstance(quantity, PValue):
        raise TypeError(f"quantity must be PValue where it is predicted to be established, got {shown(quantity)}")
    if quantity.value > prediction.bound:
        return Judgement(NOT_ESTABLISHED, quantity.n_to_decide)
    return Judgement(HOLDS if (quantity.effect < 0) == prediction.against else REFUTED)


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
    undecided = next((v for v in (INCONCLUSIVE, NOT_ESTABLISHED) if v in verdicts), None if verdicts else INCONCLUSIVE)
    if undecided is not None:
        needed = [j.n_to_decide for j in judgements.values() if j.n_to_decide is not None]
        reasons = dict.fromkeys(j.reason for j in judgements.values() if j.reason is not None)
        return Judgement(undecided, max(needed, default=None), "; ".join(reasons) or None)
    return Judgement(HOLDS)
