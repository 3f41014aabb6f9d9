"""Coverage of every interval that the package gives, counted: `make calibration`.

A cell, an interval on n samples of a law at a level, fails where intervals that are called valid miss more often than the level
allows, beyond the error of the count: in all samples together, whose false refutations are that many, and among those called
valid, where they are a twentieth or more of all. A law of which fewer are called valid is one that the rule refuses.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict

from counts import ERROR, HAS_TORCH, LEVELS, REFUSED, SEED, TRIALS, Cell, by_size, count, every_case, in_per_cent
from joblib import Parallel
from page import found_before, keep

from gradnoise.simulations.statistics import Proportion

SKIPPED = "Traces, kurtosis, the tail index along directions and the noise scale were left out, as PyTorch is not installed."


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the samples, and nothing is kept")
    parser.add_argument("--only", default="", help="intervals whose name holds this; of the others, the counts that were kept")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    chosen = [case for case in every_case() if options.only in case.interval]
    started, cells = time.perf_counter(), list[Cell]()
    with Parallel(n_jobs=options.jobs) as workers:
        for place, case in enumerate(chosen):
            cells += [cell for n in case.sizes for cell in count(case, n, options.quick, workers)]
            done = f"{time.perf_counter() - started:5.0f} s, {place + 1} of {len(chosen)}"
            print(f"{done}: {case.interval}, {case.law}", file=sys.stderr, flush=True)
    if options.only:
        cells = _beside(cells)
    skipped = [] if HAS_TORCH else [SKIPPED]
    shown = "\n\n".join([_summary(cells), *skipped, *(table(cells, level) for level in LEVELS)])
    if options.quick:
        print(shown)
    else:
        keep("calibration", {"seed": SEED, "skipped": skipped, "cells": [asdict(cell) for cell in cells]}, shown)
    failed = [cell for cell in cells if cell.fails]
    for line in [*skipped, *(f"undercovers: {cell}" for cell in failed)]:
        print(line, file=sys.stderr)
    return 1 if failed else 0


def _beside(cells: list[Cell]) -> list[Cell]:
    """Counts that were kept, with these in their places."""
    kept = [Cell(**cell) for cell in found_before("calibration")["cells"]]
    new = {(cell.interval, cell.law, cell.n, cell.level): cell for cell in cells}
    return [new.pop((cell.interval, cell.law, cell.n, cell.level), cell) for cell in kept] + list(new.values())


def table(cells: Iterable[Cell], level: float) -> str:
    """Markdown, a row for each interval and law, a column for each n."""
    chosen = [cell for cell in cells if cell.level == level]
    return by_size(level, "interval", [(cell.interval, cell.law, cell.n, _shown(cell)) for cell in chosen])


def _shown(cell: Cell) -> str:
    """Coverage of those called valid, in per cent, and how many of a hundred these are."""
    if not cell.reported:
        return "–"
    share = 100 * cell.valid / cell.trials
    few, digits = f"({'<1' if 0 < share < 0.5 else f'{share:.0f}'})", 1 if cell.level < 0.99 else 2
    mark = "**" if cell.fails else "*" if cell.refused else ""
    covered = cell.covered / cell.reported if cell.refused else cell.valid_covered / cell.valid
    return f"{mark}{100 * covered:.{digits}f}{mark} {few}"


def _summary(cells: list[Cell]) -> str:
    low, high = (100 * end for end in Proportion(round(0.95 * TRIALS), TRIALS).interval(0.95))
    worst = " and ".join(_most_refuted([cell for cell in cells if cell.level == level]) for level in LEVELS)
    failed = sum(cell.fails for cell in cells)
    return f"""
Coverage in per cent of the intervals called valid, and in brackets how many of a hundred are; in italics that of all intervals,
where fewer than {100 * REFUSED:g} are. It was counted in {TRIALS:,} samples, fewer where they are large or slow; where it is
95 %, the count's own interval is {low:.1f} to {high:.1f} (95 %). **{failed} of {len(cells)} cells fail** (bold): those called
valid miss more often than their level allows, beyond the error of the count at {100 * ERROR:g} %. A true prediction is refuted
most often in {worst}.
""".strip()


def _most_refuted(cells: list[Cell]) -> str:
    cell = max(cells, key=lambda cell: Proportion(cell.refuted, cell.trials).interval(0.95)[0])
    rate = in_per_cent(Proportion(cell.refuted, cell.trials))
    return f"{rate} of samples at {100 * cell.level:g} % ({cell.interval}, {cell.law}, n = {cell.n:,})"


if __name__ == "__main__":
    raise SystemExit(main())
