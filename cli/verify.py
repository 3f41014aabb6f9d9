"""``gradnoise verify``: measure, judge, and print one table."""

from __future__ import annotations

from pathlib import Path

from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from gradnoise.claims import registry
from gradnoise.claims.entry import Entry, summary
from gradnoise.claims.judgement import REFUTED
from gradnoise.claims.report import Report
from gradnoise.cli.common import check_writable, console, errors, goes_to_stdout, write_json

__all__ = ["run"]

INTERRUPTED = 130
_COLOURS = {"holds": "green", "refuted": "blue", "inconclusive": "yellow", "error": "bold red"}


def run(
    *,
    ids: list[str],
    papers: list[str],
    budget: str,
    seed: int | None,
    jobs: int,
    sabotage: bool,
    extra: str | None,
    json: Path | None,
    out: Path | None,
) -> int:
    """Verify, print and write; return the exit code."""
    for paper in papers:
        if paper not in registry.PAPERS:
            raise ValueError(f"--paper must be one of {', '.join(registry.PAPERS)}, got {paper!r}")
    to_stdout = goes_to_stdout(json)
    if out is not None:
        check_writable(out, "--out")
    screen = errors if to_stdout else console
    seed = registry.DEFAULT_SEED if seed is None else seed

    done: list[Entry] = []
    interrupted = False
    columns = TextColumn("[bold]{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as bar:
        task = bar.add_task("claims", total=None)
        try:
            registry.verify(
                [*ids, *papers] or None,
                budget=budget,
                rng=seed,
                n_jobs=jobs,
                sabotage=sabotage,
                extra=extra,
                progress=lambda id, k, total: bar.update(task, description=f"{id:<28}", completed=k, total=total),
                on_entry=done.append,
            )
        except KeyboardInterrupt:
            interrupted = True
    report = registry.report_of(done, seed, budget, sabotage)

    screen.print(_table(report))
    screen.print(_conclusion(report), highlight=False)
    write_json(report, json)
    if out is not None:
        for path in report.save(out):
            screen.print(f"wrote {path}", highlight=False, soft_wrap=True)
    if interrupted:
        errors.print(f"[yellow]interrupted:[/] the {len(done)} claims judged so far are above")
        return INTERRUPTED
    return 0 if report.as_expected else 1


def _table(report: Report) -> Table:
    table = Table(title=f"verdicts (seed {report.seed}, budget {report.budget})", title_justify="left")
    table.add_column("claim", style="bold", overflow="fold")
    table.add_column("what it says", ratio=1)
    table.add_column("predicted", justify="right")
    table.add_column("measured ± error", justify="right")
    table.add_column("verdict")
    if report.sabotage:
        table.add_column("twins", justify="right")
    for e in report.entries:
        right = e.expected is None or e.verdict == e.expected
        verdict = f"[{_COLOURS[e.verdict]}]{e.verdict}[/]" if right else f"[bold red]{e.verdict}[/] (expected {e.expected})"
        if e.n_to_decide is not None:
            verdict += f"\nneeds n ≈ {e.n_to_decide:.2g}"
        cells = [escape(e.id), _said(e), *summary(e), verdict]
        if report.sabotage:
            refuted = sum(t.verdict == REFUTED for t in e.sabotaged)
            count = f"{refuted}/{len(e.sabotaged)}"
            cells.append(count if refuted == len(e.sabotaged) else f"[bold red]{count}[/]")
        table.add_row(*cells)
    return table


def _said(entry: Entry) -> str:
    """Statement, and which of its quantities the row shows."""
    shown = entry.headline()
    if shown is None:
        return f"{escape(entry.statement)}\n[red]{escape(str(entry.error))}[/]"
    predicted = [c for c in entry.components if c.predicted is not None]
    others = f", one of {len(predicted)}" if len(predicted) > 1 else ""
    return f"{escape(entry.statement)}\n[dim]{escape(shown.label)}{others}[/]"


def _false_alarm_rate(report: Report) -> float:
    """Bound on the probability of any wrong verdict: that of a whole run, and of claims with intervals of their own."""
    judged = (c.level for e in report.entries for c in e.components if c.predicted is not None and c.level is not None)
    return registry.FALSE_ALARM_RATE + sum(1 - level for level in judged if level < report.level)


def _conclusion(report: Report) -> str:
    n, verdicts = len(report.entries), [e.verdict for e in report.entries]
    counts = ", ".join(f"{verdicts.count(v)} {v}" for v in _COLOURS if v in verdicts) or "none"
    subject = "1 claim" if n == 1 else f"{n} claims"
    lines = [f"{subject}: {counts}. The probability that a verdict is wrong is at most {_false_alarm_rate(report):.1g}."]
    if report.sabotage:
        twins = [t for e in report.entries for t in e.sabotaged]
        lines.append(f"{sum(t.verdict == REFUTED for t in twins)} of {len(twins)} sabotaged twins are refuted.")
    surprises = report.surprises()
    if surprises:
        lines.append(f"[bold red]Not as expected:[/] {', '.join(e.id for e in surprises)}")
    else:
        lines.append("[green]Every verdict is the expected one.[/]")
    return "\n".join(lines)
