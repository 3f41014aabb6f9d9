"""Fuzz the package: ``python -m fuzz``, or ``make fuzz``."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

# Read when the libraries are imported: forked processes cannot use threads of their parent, and loky's take long to start.
os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "LOKY_MAX_CPU_COUNT"), "1") | {
    "MPLBACKEND": "Agg"
}

import typer

from fuzz import calls, command_line, entry_points, grouping, loaders, workers
from fuzz.progress import Progress
from fuzz.trials import NO_GOOD_CALL, NOT_TRIED, Fault, Trial

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    only: Annotated[str, typer.Option(help="entry points whose name has this regular expression")] = "",
    floor: Annotated[list[str] | None, typer.Option(help=f"of {', '.join(grouping.FLOORS)}; may be repeated")] = None,
    seed: Annotated[int, typer.Option(help="of the random pairs")] = 1,
    limit: Annotated[int | None, typer.Option(help="trials of a good call, at most")] = None,
    jobs: Annotated[int, typer.Option(help="processes")] = os.cpu_count() or 1,
    json_file: Annotated[Path | None, typer.Option("--json", help="write the groups there", metavar="FILE")] = None,
) -> None:
    """Call everything public with what should be refused, and every command likewise.

    Exits with 1 if anything is found. A run of everything writes its counts into docs/reliability.md.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    floors = floor or list(grouping.FLOORS)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as files:
        tempfile.tempdir = files  # what examples write there, calls find there
        points = _points(floors, only)
        trials = [group[:limit] for group in _groups(points, floors, only, seed, Path(files))]
        finds, counts, is_whole = _run(trials, jobs)
        tempfile.tempdir = None
    groups, not_tried = grouping.grouped(finds), sum(fault.kind == NOT_TRIED for _, fault in finds)
    print(grouping.text(groups))
    without_call = sorted({*calls.unused(points), *_without_good_call(trials, finds)})
    print(f"\nno example calls: {', '.join(without_call) or 'none'}")
    found = {
        "calls": dict(counts), "not_tried": not_tried, "without_call": without_call, "groups": grouping.as_records(groups),
    }  # fmt: skip
    if json_file is not None:
        json_file.write_text(json.dumps(found, indent=1, ensure_ascii=False), encoding="utf-8")
    shown = grouping.markdown(groups, counts, not_tried, without_call)
    print(f"\n{shown}")
    if not is_whole:
        print("\ninterrupted: there would have been more")
    elif not (only or floor or limit):
        from page import keep

        keep("fuzz", found, shown)
    raise typer.Exit(1 if groups else 0)


def _without_good_call(trials: Sequence[Sequence[Trial]], finds: Sequence[tuple[Trial, Fault]]) -> set[str]:
    """Names none of whose calls can be repeated; an example that shows a refusal is one that cannot."""
    once = Counter(trial.name for trial, fault in finds if fault.kind == NO_GOOD_CALL)
    return {name for name, n in Counter(trial.name for group in trials for trial in group).items() if once[name] == n}


def _run(trials: Sequence[Sequence[Trial]], jobs: int) -> tuple[list[tuple[Trial, Fault]], Counter[str], bool]:
    """Run trials; return what is wrong, how many calls there were on each floor, and whether these are all."""
    total, done, wrong, finds, counts, progress = sum(map(len, trials)), 0, 0, [], Counter(), Progress()
    with contextlib.suppress(KeyboardInterrupt):  # what was found until then is shown, and not kept
        for done, (trial, fault) in enumerate(workers.run(trials, jobs), 1):
            kind = None if fault is None else fault.kind
            counts[grouping.floor_of(trial.name)] += kind != NO_GOOD_CALL
            wrong += kind not in (None, NOT_TRIED, NO_GOOD_CALL)
            if fault is not None:
                finds.append((trial, fault))
            progress(f"{done:,} of {total:,} calls, {wrong:,} finds: {trial.name}")
    progress.end()
    return finds, counts, done == total


def _points(floors: Sequence[str], only: str) -> list[entry_points.EntryPoint]:
    """Entry points asked for, with the calls that examples make of them."""
    packages = [f for f in entry_points.FLOORS if f in floors or (f == "simulations" and "neural" in floors)]
    doors = entry_points.modules(packages)
    if "neural" in floors and "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    points = [p for p in entry_points.entry_points(doors) if grouping.floor_of(p.name) in floors and re.search(only, p.name)]
    if not points:
        return []
    # Examples of the upper floors call what stands on the lower ones; they take a minute.
    progress = Progress()
    documented = entry_points.files(packages if only else entry_points.FLOORS)
    entry_points.record(points, documented, lambda name: progress(f"examples of {name}"))
    progress.end()
    return points


def _groups(
    points: Sequence[entry_points.EntryPoint], floors: Sequence[str], only: str, seed: int, files: Path
) -> Iterator[Sequence[Trial]]:
    """Groups of trials of all that was asked for; good files are written into a folder."""
    neural = importlib.util.find_spec("torch") is not None
    if "loaders" in floors and neural:
        yield from loaders.groups(only, seed, files)
    if "command line" in floors:
        yield from command_line.groups(only, seed, neural, files)
    for point in points:
        yield from calls.groups(point, seed)


if __name__ == "__main__":
    app()
