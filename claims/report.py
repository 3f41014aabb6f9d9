"""The report of a verification: for people in Markdown, for programs in JSON."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gradnoise.claims.judgement import HOLDS, REFUTED, Computed, Prediction, Quantity, interval, number, relation
from gradnoise.simulations.ensemble import JsonResult, finite, replacing

__all__ = ["Component", "Entry", "Report", "Twin"]


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

    @classmethod
    def of(cls, label: str, quantity: Quantity, prediction: Prediction | None, margin: float | None, level: float) -> Component:
        """Describe a quantity and its prediction, if there is one."""
        predicted = None if prediction is None else number(prediction)
        sign = None if prediction is None else relation(prediction)
        low, high = interval(quantity, level)
        bounds, value = (float(low), float(high)), float(quantity.value)  # NumPy's integers are no JSON
        if isinstance(quantity, Computed):
            tolerance = float(quantity.tolerance)
            return cls(label, predicted, sign, value, quantity.error_kind, 0.0, bounds, None, tolerance, None)
        error = float(quantity.standard_error)
        return cls(label, predicted, sign, value, "sampling", error, bounds, level, margin, int(quantity.n))


@dataclass(frozen=True)
class Twin:
    """A sabotaged prediction and its verdict, which should be "refuted".

    Attributes
    ----------
    name : str
        What is wrong with it.
    predictions : dict
        By the label of the quantity.
    verdict : {"holds", "refuted", "inconclusive"}

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


@dataclass(frozen=True)
class Entry:
    """A claim with its verdict.

    Attributes
    ----------
    id, paper, kind, statement, source : str
        As registered; see `gradnoise.claims.claim.claim`. A corrected statement has an id of its own.
    verdict : {"holds", "refuted", "inconclusive"}
        On all components together.
    expected : {"holds", "refuted"} or None
        Verdict that was derived by hand; None for what is only measured.
    components : tuple of Component
        What was measured.
    seconds : float
        Time that the measurement took.
    n_to_decide : int or None
        Where inconclusive, about how many samples would decide it.
    sabotaged : tuple of Twin
        Empty where none were judged.

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
    sabotaged: tuple[Twin, ...]

    @property
    def as_expected(self) -> bool:
        """Whether the verdict is the expected one, and every twin is refuted."""
        right = self.expected is None or self.verdict == self.expected
        return right and all(t.verdict == REFUTED for t in self.sabotaged)

    def headline(self) -> Component:
        """Return the component to show: of a claim that holds its first, a sampled one if any; else the one that misses most."""
        predicted = [c for c in self.components if c.predicted is not None]
        if self.verdict != HOLDS:
            return max(predicted, key=_strain)
        return next((c for c in predicted if c.n is not None), predicted[0])

    def to_dict(self) -> dict[str, Any]:
        """Entry as in the JSON report: numbers or null; lists where there are several quantities."""
        columns = {
            key: [finite(getattr(c, key)) for c in self.components]
            for key in ("predicted", "relation", "estimate", "error_kind", "standard_error", "interval", "level", "margin", "n")
        }
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
            "seconds": round(self.seconds, 3),
            "sabotaged": [self._twin_dict(t) for t in self.sabotaged],
        }

    def _twin_dict(self, twin: Twin) -> dict[str, Any]:
        column = [finite(number(twin.predictions[c.label])) if c.label in twin.predictions else None for c in self.components]
        return {"name": twin.name, "predicted": column[0] if len(column) == 1 else column, "verdict": twin.verdict}


@dataclass(frozen=True, repr=False)
class Report(JsonResult):
    """What `gradnoise.claims.registry.verify` returns.

    Attributes
    ----------
    entries : tuple of Entry
    seed : int or tuple of int
        Entropy of the run.
    budget : str
    level : float
        Confidence level of each interval, but for claims that state another.
    sabotage : bool
        Whether twins were judged.
    environment : dict of str
        Versions and machine.

    Examples
    --------
    >>> from gradnoise.claims.registry import verify
    >>> report = verify("zhu2019.toy-minima.corrected")
    >>> print(report.to_markdown().splitlines()[6])
    | `zhu2019.toy-minima.corrected` | Both are local minima, with population losses of 0.0200 and 0.0011 *(L(1, 1))* \
| 0.02 | 0.02 (exact) | holds | holds |
    """

    entries: tuple[Entry, ...]
    seed: int | tuple[int, ...]
    budget: str
    level: float
    sabotage: bool
    environment: dict[str, str]

    @property
    def as_expected(self) -> bool:
        """Whether every verdict is the expected one and every twin is refuted."""
        return all(e.as_expected for e in self.entries)

    def surprises(self) -> list[Entry]:
        """Entries that are not as expected."""
        return [e for e in self.entries if not e.as_expected]

    def to_dict(self) -> dict[str, Any]:
        """Report as written to JSON."""
        return {
            "result": "Report",
            "version": self.environment["gradnoise"],
            "seed": self.seed if isinstance(self.seed, int) else list(self.seed),
            "budget": self.budget,
            "sabotage": self.sabotage,
            "environment": self.environment,
            "claims": [e.to_dict() for e in self.entries],
        }

    def to_markdown(self) -> str:
        """Report as a Markdown document."""
        levels = sorted({c.level for e in self.entries for c in e.components if c.level is not None} or {self.level})
        lines = [
            "# gradnoise: verdicts",
            "",
            f"Seed {self.seed}, budget {self.budget}, intervals at level {' or '.join(f'1 − {1 - p:.1e}' for p in levels)}. "
            "A row shows one quantity of its claim, named in parentheses: of a claim that does not hold, the one that misses "
            "most. All of them are in report.json. What was measured is given with its standard error where it was sampled; "
            "where it was computed it is exact but for rounding, or given with a bound on the error of its approximation.",
            "",
            "| claim | what it says | predicted | measured | verdict | expected |",
            "|---|---|---|---|---|---|",
        ]
        for e in self.entries:
            said = f"{e.statement} *({e.headline().label})*".replace("|", "\\|")
            cells = (f"`{e.id}`", said, *summary(e), e.verdict, e.expected or "–")
            lines.append("| " + " | ".join(cells) + " |")
        twins = [t for e in self.entries for t in e.sabotaged]
        if self.sabotage:
            refuted = sum(t.verdict == REFUTED for t in twins)
            lines += ["", f"Sabotaged twins refuted: {refuted} of {len(twins)}."]
        lines += ["", "Made with " + ", ".join(f"{k} {v}" for k, v in self.environment.items()) + "."]
        return "\n".join(lines) + "\n"

    def save(self, folder: str | os.PathLike[str]) -> tuple[Path, Path]:
        """Write report.json and report.md into a folder, and return their paths."""
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        paths = target / "report.json", target / "report.md"
        for path, text in zip(paths, (self.to_json(), self.to_markdown()), strict=True):
            with replacing(path) as file:
                file.write(text.encode())
        return paths

    def __repr__(self) -> str:
        verdicts = [e.verdict for e in self.entries]
        counts = ", ".join(f"{verdicts.count(v)} {v}" for v in dict.fromkeys(verdicts)) or "no claims"
        return f"Report({counts}; seed {self.seed}, budget={self.budget!r}, sabotage={self.sabotage})"


def summary(entry: Entry) -> tuple[str, str]:
    """Predicted and measured value of an entry's headline, as text."""
    c = entry.headline()
    sign = {">=": "≥ ", "<=": "≤ "}.get(c.relation or "", "")
    error = {
        "rounding": " (exact)",
        "approximation": f" ± {c.margin:.1g} (approximation)",
        "sampling": f" ± {c.standard_error:.1g}",
    }[c.error_kind]
    return f"{sign}{_text(c.predicted)}", _text(c.estimate) + error


def _text(value: float | None) -> str:
    return "–" if value is None else f"{0.0 if abs(value) < 1e-14 else value:.4g}"


def _strain(c: Component) -> float:
    assert c.predicted is not None
    above, below = c.estimate - c.predicted, c.predicted - c.estimate
    miss = {"=": abs(above), ">=": below, "<=": above}[c.relation or "="]
    return miss / max(c.margin or 0.0, 1e-300)
