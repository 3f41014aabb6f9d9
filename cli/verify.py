"""``gradnoise verify``: measure, judge, and print one table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from textwrap import shorten
from time import monotonic

from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from gradnoise.claims import registry
from gradnoise.claims.entry import NEVER_FAILED, Entry, summary
from gradnoise.claims.judgement import REFUTED
from gradnoise.claims.report import Report
from gradnoise.cli import interruption
from gradnoise.cli.common import seed_of
from gradnoise.cli.console import console, errors, write_json_text
from gradnoise.cli.files import Files, check_apart, check_json, check_writable, file_of, is_stdout
from gradnoise.cli.gate import FAILED, UNEXPECTED

__all__ = ["run"]

_LONGEST_REASON = 200
_SECONDS_UNSAVED = 60.0
#: In --out, beside report.json, which is what --json writes, too.
_WRITTEN = ("report.md", "report-so-far.json", "report-whole.json", "report-whole.md")
_COLOURS = {"holds": "green", "refuted": "blue", "not established": "cyan", "inconclusive": "yellow", "error": "bold red"}


def run(
    *,
    ids: list[str],
    papers: list[str],
    budget: str,
    seed: int | None,
    jobs: int,
    sabotage: bool,
    strict: bool,
    extra: str | None,
    json: Path | None,
    out: Path | None,
) -> int:
    """Verify, print and write; return the exit code."""
    for paper in papers:
        if paper not in registry.PAPERS:
            raise ValueError(f"--paper must be one of {', '.join(registry.PAPERS)}, got {paper!r}")
    check_json(json)
    to_stdout = is_stdout(json)
    if out is not None:
        check_writable(out, "--out")
        check_apart([("--json", file_of(json)), *(("--out", out / name) for name in _WRITTEN)])
    screen = errors if to_stdout else console
    seed = seed_of(seed)
    chosen = registry.select([*ids, *papers] or None, extra)

    done: list[Entry] = []
    failure: BaseException | None = None

    def so_far() -> Report:
        left_out = [id for id in chosen if id not in {e.id for e in done}]
        return registry.report_of(done, seed, budget, sabotage, left_out)

    def judged(entry: Entry) -> None:
        _keep(entry, done)
        draft.save(so_far)

    files, draft = Files(), _Draft(out, file_of(json))
    with interruption.saving():
        try:
            with interruption.working("nothing was judged"), _bar() as bar:
                registry.verify(
                    chosen, budget=budget, rng=seed, n_jobs=jobs, sabotage=sabotage, strict=strict, extra=extra, progress=bar,
                    on_entry=judged,
                )  # fmt: skip
        except (Exception, KeyboardInterrupt, SystemExit) as error:  # whatever it is, what was judged comes first
            if not done:
                raise
            failure = error
        report = so_far()
        files.write(out, report.save)
        files.write(file_of(json), lambda file: [report.save_json(file)])
        draft.discard(files)
    interruption.keeps(f"{len(done)} of {len(chosen)} claims were judged, see above")

    screen.print(_table(report))
    screen.print(_conclusion(report), highlight=False)
    if to_stdout:
        write_json_text(report.to_json())
    files.tell(screen)
    if failure is not None:
        raise failure
    return FAILED if report.failures() else 0 if report.as_expected else UNEXPECTED


def _keep(entry: Entry, done: list[Entry]) -> None:
    """Take an entry, unless an interruption was lost on its way and has made an error of it."""
    if not (interruption.received() and entry.error):
        done.append(entry)
    if interruption.received():
        raise KeyboardInterrupt


def _draft_of(report: Path) -> Path:
    return report.with_stem(f"{report.stem}-so-far")


class _Draft:
    """What was judged so far, saved once a minute beside the report to come: a run that is killed ends without a word."""

    def __init__(self, out: Path | None, json: Path | None) -> None:
        report = out / "report.json" if out is not None else json
        to_file = report is not None and (report.is_file() or not report.exists())  # no pipe or device
        self._file = _draft_of(report) if report is not None and to_file else None
        self._saved, self._written = monotonic(), False

    def save(self, so_far: Callable[[], Report]) -> None:
        """Save a report if the last one is a minute old."""
        if self._file is None or monotonic() - self._saved < _SECONDS_UNSAVED:
            return
        with interruption.saving(), suppress(OSError):  # the report itself says what cannot be written
            self._written = bool(so_far().save_json(self._file))
        self._saved = monotonic()

    def discard(self, files: Files) -> None:
        """Remove what was saved, as what is whole was written."""
        if self._file is not None and self._written and not files.failed:
            with suppress(OSError):
                self._file.unlink(missing_ok=True)


@contextmanager
def _bar() -> Iterator[Callable[[str, int, int], None]]:
    if not errors.is_terminal:  # where some versions of rich leave an empty line
        yield lambda id, k, total: None
        return
    columns = TextColumn("[bold]{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=errors, transient=True) as bar:
        task = bar.add_task("claims", total=None)
        yield lambda id, k, total: bar.update(task, description=f"{id:<28}", completed=k, total=total)


def _table(report: Report) -> Table:
    table = Table(title=f"verdicts (seed {report.seed}, budget {report.budget})", title_justify="left")
    table.add_column("claim", style="bold", overflow="fold")
    table.add_column("what it says", ratio=1)
    table.add_column("predicted", justify="right")
    table.add_column("measured ± error", justify="right")
    table.add_column("verdict")
    if report.sabotage:
        table.add_column("twins", justify="right")
    for e, following in zip(report.entries, [*report.entries[1:], None], strict=True):
        right = e.expected in (None, e.verdict) or e.error is not None
        verdict = f"[{_COLOURS[e.verdict]}]{e.verdict}[/]" if right else f"[bold red]{e.verdict}[/] (expected {e.expected})"
        if e.n_to_decide is not None:
            verdict += f"\nneeds n ≈ {e.n_to_decide:.2g}"
        cells = [escape(e.id), _said(e), *summary(e), verdict]
        if report.sabotage:
            refuted = sum(t.verdict == REFUTED for t in e.sabotaged)
            count = "none" if e.never_failed else f"{refuted}/{len(e.sabotaged)}"
            cells.append(count if refuted == len(e.sabotaged) else f"[bold red]{count}[/]")
        table.add_row(*cells, end_section=following is not None and following.paper != e.paper)
    return table


def _said(entry: Entry) -> str:
    """Statement, which of its quantities the row shows, and why that decides nothing; or what was raised."""
    shown = entry.headline()
    if shown is None:
        reason = shorten(str(entry.error or ""), _LONGEST_REASON, placeholder=" …")
        return f"{escape(entry.statement)}\n[red]{escape(reason)}[/]"
    predicted = [c for c in entry.components if c.predicted is not None]
    others = f", one of {len(predicted)}" if len(predicted) > 1 else ""
    notes = [entry.reason, NEVER_FAILED if entry.never_failed else None]
    why = "".join(f"\n[yellow]{escape(note)}[/]" for note in notes if note)
    return f"{escape(entry.statement)}\n[dim]{escape(shown.label)}{others}[/]{why}"


def _conclusion(report: Report) -> str:
    n, verdicts = len(report.entries), [e.verdict for e in report.entries]
    counts = ", ".join(f"{verdicts.count(v)} {v}" for v in _COLOURS if v in verdicts) or "none"
    subject = "1 claim" if n == 1 else f"{n} claims"
    surprises, failed = report.surprises(), dict.fromkeys(id for id, _ in report.failures())
    lines = [f"{subject}: {counts}. The probability that a verdict is wrong is at most {report.false_alarm_rate:.1g}."]
    if report.sabotage:
        twins = [t for e in report.entries for t in e.sabotaged]
        lines.append(f"{sum(t.verdict == REFUTED for t in twins)} of {len(twins)} sabotaged twins are refuted.")
    if failed:
        lines.append(f"[bold red]Could not be judged:[/] {', '.join(failed)} (--json and --out write why)")
    if not report.complete:
        asked = n + len(report.left_out)
        lines.append(f"[bold red]Cut off:[/] {len(report.left_out)} of {asked} claims were not judged.")
    if surprises:
        lines.append(f"[bold red]Not as expected:[/] {', '.join(e.id for e in surprises)}")
    elif report.complete:
        lines.append("[green]Every verdict is the expected one.[/]")
    return "\n".join(lines)
