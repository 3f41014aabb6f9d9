"""One claim in words, whole: what it says, every quantity with its interval against the prediction, its twins."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator

from gradnoise.claims.entry import NEVER_FAILED, Component, Entry
from gradnoise.claims.judgement import REFUTED
from gradnoise.theory._validation import as_count, as_instance

__all__ = ["describe"]

_FEWEST_LETTERS = 40
_RELATIONS = {"=": "=", ">=": "≥", "<=": "≤"}
_OUTSIDE, _ALLOWED, _INTERVAL, _PREDICTED, _MEASURED = "·░━|●"
_LEGEND = f"bars: {_ALLOWED} allowed, {_PREDICTED} predicted, {_INTERVAL} interval, {_MEASURED} measured"


def describe(entry: Entry, width: int = 80) -> str:
    """Describe a claim with its verdict.

    Parameters
    ----------
    entry : Entry
    width : int
        Letters in a line, at least 40.

    Returns
    -------
    str
        Of several lines, without one that is too long but for ids, labels and names of twins.

    Examples
    --------
    >>> from gradnoise.claims.registry import verify
    >>> print(describe(verify("zhu2019.trace-norm", sabotage=True).entries[0]))
    zhu2019.trace-norm holds, as expected
      E‖ε‖² = Tr Σ
      Section 3.2; exact
    <BLANKLINE>
      E‖ε‖²: holds
        predicted  = 1.7
        measured   1.7, exact to 2e-12; notices a relative error of 1e-12
    <BLANKLINE>
      twins
        refuted  largest eigenvalue
        refuted  Frobenius norm
    """
    entry, width = as_instance(entry, "entry", Entry), as_count(width, "width", at_least=_FEWEST_LETTERS)
    return "\n".join(_lines(entry, width))


def _lines(entry: Entry, width: int) -> Iterator[str]:
    expected = "which is only measured" if entry.expected is None else f"expected {entry.expected}"
    yield f"{entry.id} {entry.verdict}, {'as expected' if entry.expected == entry.verdict else expected}"
    yield from _wrapped(entry.statement, width)
    yield from _wrapped(f"{entry.source}; {entry.kind}", width)
    for note in (entry.reason, entry.insensitive_because, _needed(entry)):
        if note:
            yield from _wrapped(note, width)
    if entry.error is not None:
        yield ""
        yield from _wrapped(str(entry.error), width)
    for component in entry.components:
        yield ""
        yield f"  {component.label}" + (f": {component.verdict}" if component.verdict else "")
        yield from _of_component(component, width)
    if any(_has_bar(c) for c in entry.components):
        yield ""
        yield from _wrapped(_LEGEND, width)
    yield from _of_twins(entry, width)


def _wrapped(text: str, width: int, indent: str = "  ") -> Iterator[str]:
    yield from textwrap.wrap(text, width, initial_indent=indent, subsequent_indent=indent)


def _needed(entry: Entry) -> str:
    return "" if entry.n_to_decide is None else f"about {entry.n_to_decide:,} samples would decide"


def _of_component(c: Component, width: int) -> Iterator[str]:
    if c.predicted is not None:
        margin = f" ± {c.margin:.3g}" if c.error_kind == "sampling" and c.margin else ""
        tightness = f" ({c.tightness})" if c.tightness else ""
        yield from _wrapped(f"predicted  {_RELATIONS[c.relation or '=']} {c.predicted:.6g}{margin}{tightness}", width, "    ")
    notices = "" if c.detectable_error is None else f"; notices a relative error of {c.detectable_error:.1g}"
    yield from _wrapped(f"measured   {_measured(c)}{notices}", width, "    ")
    if _has_bar(c):
        yield f"    {_bar(c, min(width - 4, 60))}"


def _measured(c: Component) -> str:
    if c.error_kind == "rounding":
        return f"{c.estimate:.6g}, exact" + (f" to {c.margin:.0e}" if c.margin else "")
    if c.error_kind == "approximation":
        return f"{c.estimate:.6g} ± {c.margin:.1g}, an approximation"
    low, high = c.interval
    level = 1 - (c.level or 0)
    return f"{c.estimate:.6g} ± {c.standard_error:.1g}, n = {c.n:,}, interval [{low:.6g}, {high:.6g}] at level 1 − {level:.1g}"


def _has_bar(c: Component) -> bool:
    return c.error_kind == "sampling" and c.predicted is not None and all(map(math.isfinite, (c.predicted, *c.interval)))


def _bar(c: Component, width: int) -> str:
    """Interval, prediction and what is allowed around it, on an axis that has them all."""
    assert c.predicted is not None
    margin = c.margin or 0.0
    allowed = [
        -math.inf if c.relation == "<=" else c.predicted - margin,
        math.inf if c.relation == ">=" else c.predicted + margin,
    ]
    ends = [*filter(math.isfinite, allowed), *c.interval, c.predicted, c.estimate]
    span = (max(ends) - min(ends)) or abs(c.predicted) or 1.0
    low, high = min(ends) - 0.1 * span, max(ends) + 0.1 * span

    def place(value: float) -> int:
        return round((width - 1) * (min(max(value, low), high) - low) / (high - low))

    cells = [_OUTSIDE] * width
    for first, last, mark in ((*allowed, _ALLOWED), (*c.interval, _INTERVAL)):
        for at in range(place(first), place(last) + 1):
            cells[at] = mark
    cells[place(c.predicted)] = _PREDICTED
    cells[place(c.estimate)] = _MEASURED
    return "".join(cells)


def _of_twins(entry: Entry, width: int) -> Iterator[str]:
    if entry.never_failed:
        yield ""
        yield from _wrapped(NEVER_FAILED, width)
    if not entry.sabotaged:
        return
    yield ""
    yield "  twins"
    longest = max(len(twin.verdict) for twin in entry.sabotaged)
    for twin in entry.sabotaged:
        failed = f": {twin.error}" if twin.error else "" if twin.verdict == REFUTED else ", and should be refuted"
        yield f"    {twin.verdict:<{longest}}  {twin.name}{failed}"
