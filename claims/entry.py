"""What became of one claim: its verdict, the quantities that led to it, and its sabotaged twins."""

from __future__ import annotations

import os
import traceback
from dataclasses import dataclass
from typing import Any

from gradnoise.claims.judgement import HOLDS, REFUTED, Computed, PValue, Quantity, as_quantity, interval, judge
from gradnoise.claims.power import detectable_error
from gradnoise.claims.prediction import ATTAINED, NOT_KNOWN, AtLeast, AtMost, Prediction, number, relation
from gradnoise.simulations.ensemble import finite
from gradnoise.theory._validation import as_instance, as_real, as_text

__all__ = ["ERROR", "Component", "Entry", "Failure", "Twin"]

NEVER_FAILED = "no twin: this check was never seen to fail"
#: In place of a verdict, where what should have led to it raised.
ERROR = "error"


@dataclass(frozen=True)
class Component:
    """One quantity of a claim.

    Attributes
    ----------
    label : str
    predicted : float or None
    relation : {"=", ">=", "<="} or None
        Of the quantity to what is predicted.
    estimate : float
    error_kind : {"sampling", "rounding", "approximation"}
        What the estimate may be wrong by: see `gradnoise.claims.judgement.Computed` for what was not sampled.
    standard_error : float
        Of sampling; else zero.
    interval : (float, float)
        Of confidence at the `level`; else the estimate and the bound on its error.
    level : float or None
    margin : float or None
        Around the prediction, of what was sampled; else the bound on the error.
    n : int or None
        Samples.
    tightness : str or None
        Of a predicted bound, one of `gradnoise.claims.prediction.TIGHTNESS`.
    detectable_error : float or None
        Smallest relative error of the prediction that would be refuted with a probability of 99 %, see
        `gradnoise.claims.power.detectable_error`; None where it does not hold, or is zero.
    verdict : str or None
        On this prediction alone.

    Examples
    --------
    >>> from gradnoise.simulations.statistics import Estimate
    >>> found = Component.of("mean", Estimate(0.25, 0.01, 10**6), 0.24, margin=0.1, level=0.95)
    >>> found.relation, found.predicted, found.estimate, [round(end, 4) for end in found.interval]
    ('=', 0.24, 0.25, [0.2304, 0.2696])
    """

    label: str
    predicted: float | None
    relation: str | None
    estimate: float
    error_kind: str
    standard_error: float
    interval: tuple[float, float]
    level: float | None
    margin: float | None
    n: int | None
    tightness: str | None = None
    detectable_error: float | None = None
    verdict: str | None = None

    @classmethod
    def of(cls, label: str, quantity: Quantity, prediction: Prediction | None, margin: float | None, level: float) -> Component:
        """Describe a quantity and its prediction, if there is one; of an infinite quantity, what is known of it."""
        predicted = None if prediction is None else number(prediction)
        sign = None if prediction is None else relation(prediction)
        level, label = as_real(level, "level", above=0, at_most=1), as_text(label, "label")
        margin = None if margin is None else as_real(margin, "margin", at_least=0)
        low, high = interval(as_quantity(quantity), level)
        bounds, value = (float(low), float(high)), float(quantity.value)  # NumPy's integers are no JSON
        tightness = prediction.tightness if isinstance(prediction, AtLeast | AtMost) else None
        detectable = verdict = None
        if prediction is not None:
            verdict = judge(quantity, prediction, margin or 0.0, level).verdict
        if prediction is not None and predicted:
            shift = detectable_error(quantity, prediction, margin or 0.0, level)
            detectable = None if shift is None else shift / abs(predicted)
        if isinstance(quantity, Computed):
            samples = quantity.n if isinstance(quantity, PValue) else None
            described = (quantity.error_kind, 0.0, bounds, None, float(quantity.tolerance), samples)
        else:
            described = ("sampling", float(quantity.standard_error), bounds, level, margin, int(quantity.n))
        return cls(label, predicted, sign, value, *described, tightness, detectable, verdict)

    @property
    def not_known_to_be_sharp(self) -> bool:
        """Whether it keeps a bound that no known instance attains."""
        return self.tightness == NOT_KNOWN


@dataclass(frozen=True)
class Failure:
    """Why there is no verdict: what a claim raised.

    Attributes
    ----------
    type, message, traceback : str
        Of the exception.
    where : str
        File and line: the last one in the file that is given, or of all.

    Examples
    --------
    >>> try:
    ...     int("one")
    ... except ValueError as error:
    ...     failure = Failure.of(error)
    >>> print(failure)  # doctest: +ELLIPSIS
    ValueError: invalid literal for int() with base 10: 'one' (...:2)
    """

    type: str
    message: str
    traceback: str
    where: str = ""

    @classmethod
    def of(cls, error: BaseException, file: str | None = None) -> Failure:
        """Describe an exception, which is looked for in a file."""
        as_instance(error, "error", BaseException)
        try:
            message = str(error)
        except BaseException:  # it may raise anything, as any method of somebody else's class
            message = "<its message cannot be made>"
        texts = (type(error).__name__, message, "".join(traceback.format_exception(error)), _where(error, file))
        return cls(*(text.encode(errors="backslashreplace").decode() for text in texts))  # names of files may be no UTF-8

    def __str__(self) -> str:
        return f"{self.type}: {self.message}" + (f" ({self.where})" if self.where else "")

    def to_dict(self) -> dict[str, str]:
        """Failure as in the JSON report."""
        return {"type": self.type, "message": self.message, "where": self.where, "traceback": self.traceback}


def _where(error: BaseException, file: str | None) -> str:
    """File and line of an exception, the last one in `file` if it came through there."""
    lines = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError) and error.filename:
        lines.append((error.filename, error.lineno))
    in_file = [line for line in lines if line[0] == file] or lines
    return f"{os.path.basename(in_file[-1][0])}:{in_file[-1][1]}" if in_file else ""


@dataclass(frozen=True)
class Twin:
    """A sabotaged prediction and its verdict, which should be "refuted".

    Attributes
    ----------
    name : str
        What is wrong with it.
    predictions : dict
        By the label of the quantity.
    verdict : {"holds", "refuted", "inconclusive", "error"}
    error : Failure or None
        What was raised in judging it.

    Examples
    --------
    >>> from gradnoise.claims.registry import verify
    >>> (entry,) = verify("zhu2019.trace-norm", sabotage=True).entries
    >>> [(twin.name, twin.verdict) for twin in entry.sabotaged]
    [('largest eigenvalue', 'refuted'), ('Frobenius norm', 'refuted')]
    """

    name: str
    predictions: dict[str, Prediction]
    verdict: str
    error: Failure | None = None


@dataclass(frozen=True)
class Entry:
    """A claim with its verdict.

    Attributes
    ----------
    id, paper, kind, statement, source : str
        As registered; see `gradnoise.claims.claim.claim`. A corrected statement has an id of its own.
    verdict : {"holds", "refuted", "inconclusive", "not established", "error"}
        On all components together; an error is none, and never expected.
    expected : {"holds", "refuted", "not established"} or None
        Verdict that was derived by hand; None for what is only measured.
    components : tuple of Component
        What was measured; empty where that raised.
    seconds : float
        Time that the measurement took.
    n_to_decide : int or None
        Where inconclusive or not established, about how many samples would decide it.
    reason : str or None
        Where inconclusive, and no number of samples is known to decide it: why.
    sabotaged : tuple of Twin
        Empty where none were judged.
    error : Failure or None
        What was raised, where the verdict is an error.
    insensitive_because : str or None
        Why a larger relative error than a few per cent passes, where it does.
    never_failed : bool
        Whether it has no twin, so that nothing shows that a wrong formula would be noticed.

    Examples
    --------
    >>> from gradnoise.claims.registry import verify
    >>> (entry,) = verify("zhu2019.toy-minima.corrected").entries
    >>> entry.verdict, entry.as_expected, entry.headline().label
    ('holds', True, 'L(1, 1)')
    """

    id: str
    paper: str
    kind: str
    statement: str
    source: str
    verdict: str
    expected: str | None
    components: tuple[Component, ...]
    seconds: float
    n_to_decide: int | None
    reason: str | None
    sabotaged: tuple[Twin, ...]
    error: Failure | None = None
    insensitive_because: str | None = None
    never_failed: bool = False

    @property
    def detectable_error(self) -> float | None:
        """Relative error that each of its predictions would be refuted for, the worst of them all.

        Bounds that nothing attains are not asked, nor are predictions that do not hold or are zero.
        """
        asked = [c.detectable_error for c in self.components if c.tightness in (None, ATTAINED)]
        return max((error for error in asked if error is not None), default=None)

    @property
    def as_expected(self) -> bool:
        """Whether the verdict is the expected one, and every twin is refuted."""
        right = self.verdict != ERROR and self.expected in (None, self.verdict)
        return right and all(t.verdict == REFUTED for t in self.sabotaged)

    @property
    def comparisons(self) -> int:
        """How many comparisons of sampled quantities led to its verdict and to those of its twins."""
        sampled = {c.label: c.predicted is not None for c in self.components if c.error_kind == "sampling"}
        return sum(sampled.values()) + sum(label in sampled for t in self.sabotaged for label in t.predictions)

    def failures(self) -> list[Failure]:
        """Return what was raised, by the claim or by its twins."""
        return [failure for failure in (self.error, *(t.error for t in self.sabotaged)) if failure is not None]

    def headline(self) -> Component | None:
        """Return the component to show: of a claim that holds its first, a sampled one if any; else the one that misses most.

        That is of those whose own verdict is the claim's.

        None where nothing was measured.
        """
        predicted = [c for c in self.components if c.predicted is not None]
        if not predicted:
            return None
        if self.verdict != HOLDS:
            return max([c for c in predicted if c.verdict == self.verdict] or predicted, key=_strain)
        return next((c for c in predicted if c.error_kind == "sampling"), predicted[0])

    def to_dict(self) -> dict[str, Any]:
        """Entry as in the JSON report: numbers or null; lists where there are several quantities."""
        columns = {
            key: [finite(getattr(c, key)) for c in self.components]
            for key in (
                "predicted", "relation", "estimate", "error_kind", "standard_error", "interval", "level", "margin", "n",
                "tightness", "detectable_error",
            )
        }  # fmt: skip
        columns["verdict_on_each"] = [c.verdict for c in self.components]
        if len(self.components) == 1:
            columns = {key: column[0] for key, column in columns.items()}
        return {
            "id": self.id,
            "paper": self.paper,
            "kind": self.kind,
            "statement": self.statement,
            "source": self.source,
            "verdict": self.verdict,
            "expected": self.expected,
            "quantities": [c.label for c in self.components],
            **columns,
            "n_to_decide": self.n_to_decide,
            "reason": self.reason,
            "insensitive_because": self.insensitive_because,
            "never_failed": self.never_failed,
            "seconds": round(self.seconds, 3),
            "sabotaged": [self._twin_dict(t) for t in self.sabotaged],
            "error": self.error and self.error.to_dict(),
        }

    def _twin_dict(self, twin: Twin) -> dict[str, Any]:
        column = [finite(number(twin.predictions[c.label])) if c.label in twin.predictions else None for c in self.components]
        described = {"name": twin.name, "predicted": column[0] if len(column) == 1 else column, "verdict": twin.verdict}
        return described if twin.error is None else {**described, "error": twin.error.to_dict()}


def summary(entry: Entry) -> tuple[str, str]:
    """Predicted and measured value of an entry's headline, as text."""
    c = entry.headline()
    if c is None:
        return _text(None), _text(None)
    sign = {">=": "≥ ", "<=": "≤ "}.get(c.relation or "", "")
    return f"{sign}{_text(c.predicted)}", _text(c.estimate) + _error(c)


def _error(c: Component) -> str:
    if c.error_kind == "sampling":
        return f" ± {c.standard_error:.1g}"
    return " (exact)" if c.error_kind == "rounding" else f" ± {c.margin:.1g} (approximation)"


def _text(value: float | None) -> str:
    return "–" if value is None else f"{0.0 if abs(value) < 1e-14 else value:.4g}"


def _strain(c: Component) -> float:
    assert c.predicted is not None
    above, below = c.estimate - c.predicted, c.predicted - c.estimate
    miss = {"=": abs(above), ">=": below, "<=": above}[c.relation or "="]
    return miss / max(c.margin or 0.0, 1e-300)
