"""The report of a verification: for people in Markdown, for programs in JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gradnoise.claims.assessment import FALSE_ALARM_RATE
from gradnoise.claims.entry import NEVER_FAILED, Entry, Failure, summary
from gradnoise.claims.judgement import HOLDS, REFUTED
from gradnoise.simulations.ensemble import JsonResult, replacing

__all__ = ["Report"]


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
    left_out : tuple of str
        Claims that should have been judged and were not, as the run was cut off; empty where it was not.

    Examples
    --------
    >>> from gradnoise.claims.registry import verify
    >>> report = verify("zhu2019.toy-minima.corrected")
    >>> print(report.to_markdown().splitlines()[8])
    | `zhu2019.toy-minima.corrected` | Both are local minima, with population losses of 0.0200 and 0.0011 *(L(1, 1))* \
| 0.02 | 0.02 (exact) | holds | holds | 9e-10 |
    """

    entries: tuple[Entry, ...]
    seed: int | tuple[int, ...]
    budget: str
    level: float
    sabotage: bool
    environment: dict[str, str]
    left_out: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether all claims were judged that should have been."""
        return not self.left_out

    @property
    def as_expected(self) -> bool:
        """Whether the report is complete, every verdict is the expected one and every twin is refuted."""
        return self.complete and all(e.as_expected for e in self.entries)

    @property
    def false_alarm_rate(self) -> float:
        """Bound on the probability of any wrong verdict.

        That of a whole run, or of as many comparisons as were made if these are more; and of claims that state a level of their
        own.
        """
        shared = (1 - self.level) * sum(e.comparisons for e in self.entries)
        judged = [c.level for e in self.entries for c in e.components if c.predicted is not None and c.level is not None]
        return max(FALSE_ALARM_RATE, shared) + sum(1 - level for level in judged if level < self.level)

    def surprises(self) -> list[Entry]:
        """Entries that are not as expected."""
        return [e for e in self.entries if not e.as_expected]

    def failures(self) -> list[tuple[str, Failure]]:
        """What was raised, each with the claim that did."""
        return [(e.id, failure) for e in self.entries for failure in e.failures()]

    def to_dict(self) -> dict[str, Any]:
        """Report as written to JSON."""
        return {
            "result": "Report",
            "version": self.environment["gradnoise"],
            "seed": self.seed if isinstance(self.seed, int) else list(self.seed),
            "budget": self.budget,
            "sabotage": self.sabotage,
            "environment": self.environment,
            "complete": self.complete,
            "left_out": list(self.left_out),
            "claims": [e.to_dict() for e in self.entries],
        }

    def to_markdown(self) -> str:
        """Report as a Markdown document."""
        levels = sorted({c.level for e in self.entries for c in e.components if c.level is not None} or {self.level})
        asked = len(self.entries) + len(self.left_out)
        cut_off = [f"**Cut off: {len(self.left_out)} of {asked} claims were not judged: {', '.join(self.left_out)}.**", ""]
        lines = [
            "# gradnoise: verdicts",
            "",
            *([] if self.complete else cut_off),
            f"Seed {self.seed}, budget {self.budget}, intervals at level {' or '.join(f'1 − {1 - p:.1e}' for p in levels)}. "
            "A row shows one quantity of its claim, named in parentheses: of a claim that does not hold, the one that misses "
            "most. All of them are in report.json. What was measured is given with its standard error where it was sampled; "
            "where it was computed it is exact but for rounding, or given with a bound on the error of its approximation. The "
            "last column is that of the worst of a claim's predictions: the smallest relative error that would be refuted in "
            "each of them, with a probability of 99 %. Predictions of zero, those that do not hold, and bounds that nothing is "
            "known to attain have none.",
        ]
        for paper in dict.fromkeys(e.paper for e in self.entries):
            lines += _section(paper, [e for e in self.entries if e.paper == paper])
        if notes := list(_notes(self.entries)):
            lines += ["", "What could be wrong unnoticed:", "", *notes]
        twins = [t for e in self.entries for t in e.sabotaged]
        if self.sabotage:
            refuted = sum(t.verdict == REFUTED for t in twins)
            lines += ["", f"Sabotaged twins refuted: {refuted} of {len(twins)}."]
        for id, failure in self.failures():
            lines += ["", f"`{id}` could not be judged:", "", *(f"    {line}" for line in failure.traceback.splitlines())]
        lines += ["", "Made with " + ", ".join(f"{k} {v}" for k, v in self.environment.items()) + "."]
        return "\n".join(lines) + "\n"

    def save(self, folder: str | os.PathLike[str]) -> tuple[Path, Path]:
        """Write report.json and report.md into a folder, and return their paths.

        One that was cut off does not cost a whole one of before: that stays as report-whole.json and report-whole.md.
        """
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        paths = target / "report.json", target / "report.md"
        if not self.complete:
            _set_aside(*paths)
        _write(paths[0], self.to_json())  # before anything can go wrong with the other
        _write(paths[1], self.to_markdown())
        return paths

    def save_json(self, file: str | os.PathLike[str]) -> Path:
        """Write the report as JSON to a file, with a whole one of before kept as by `save`, and return its path."""
        path = Path(file)
        if not self.complete:
            _set_aside(path)
        _write(path, self.to_json())
        return path

    def __repr__(self) -> str:
        verdicts = [e.verdict for e in self.entries]
        counts = ", ".join(f"{verdicts.count(v)} {v}" for v in dict.fromkeys(verdicts)) or "no claims"
        cut_off = "" if self.complete else f", {len(self.left_out)} left out"
        return f"Report({counts}{cut_off}; seed {self.seed}, budget={self.budget!r}, sabotage={self.sabotage})"


def _section(paper: str, entries: list[Entry]) -> Iterator[str]:
    """Verdicts on the statements of one paper, with their number in its heading."""
    verdicts = [e.verdict for e in entries]
    yield from ("", f"## {paper}: " + ", ".join(f"{verdicts.count(v)} {v}" for v in dict.fromkeys(verdicts)), "")
    yield "| claim | what it says | predicted | measured | verdict | expected | notices |"
    yield "|---|---|---|---|---|---|---|"
    for e in entries:
        shown = e.headline()
        said = (e.statement if shown is None else f"{e.statement} *({shown.label})*").replace("|", "\\|")
        verdict = f"{e.verdict}: {e.reason}" if e.reason else e.verdict
        if e.n_to_decide is not None:
            verdict += f" (about {e.n_to_decide:,} samples would decide)"
        notices = "–" if e.detectable_error is None else f"{e.detectable_error:.1g}"
        yield "| " + " | ".join((f"`{e.id}`", said, *summary(e), verdict, e.expected or "–", notices)) + " |"


def _notes(entries: Iterable[Entry]) -> Iterator[str]:
    """What a reader should know of bounds that hold and that nothing attains, and of claims that notice large errors alone."""
    for e in entries:
        for c in e.components:
            if e.verdict == HOLDS and c.not_known_to_be_sharp and c.predicted:
                yield f"- `{e.id}`, {c.label}: the bound is not known to be sharp; worst ratio {c.estimate / c.predicted:.3g}"
        if e.never_failed:
            yield f"- `{e.id}`, {NEVER_FAILED}"
        if e.insensitive_because:
            yield f"- `{e.id}`: {e.insensitive_because.removesuffix('.')}"


def _write(path: Path, text: str) -> None:
    with replacing(path) as file:
        file.write(text.encode())


def _set_aside(report: Path, *beside: Path) -> None:
    """Keep a whole report, and what was written beside it, under other names."""
    try:
        found = json.loads(report.read_bytes()) if report.is_file() else None
    except (ValueError, RecursionError):  # no report of ours
        return
    if isinstance(found, dict) and found.get("result") == "Report" and found.get("complete", True):
        for path in (report, *beside):
            if path.is_file():
                with replacing(path.with_stem(f"{path.stem}-whole")) as file:
                    file.write(path.read_bytes())
