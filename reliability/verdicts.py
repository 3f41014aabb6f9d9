"""Wrong verdicts, counted: `make verdicts`.

Samples of known laws are judged at predictions that are hard to judge right: those a hair inside the margin around the truth, on
either side, and those a hair outside. One inside that is refuted is a false alarm, one outside that holds a false pass. A cell,
a quantity on n samples of a law at a level, fails where either happens in more samples than the level allows, beyond the error of
the count.
"""

from __future__ import annotations

import argparse
import functools
import math
import sys
import time
from dataclasses import asdict, dataclass

import calibrated
import numpy as np
from calibrated import Case
from counts import ERROR, LEVELS, by_size, in_per_cent
from joblib import Parallel, delayed
from numpy.typing import NDArray
from page import keep

from gradnoise.claims.judgement import HOLDS, INCONCLUSIVE, REFUTED, judge
from gradnoise.simulations.statistics import Proportion

SEED, TRIALS = 18, 2_000  # of five verdicts each
SIZES = (5, 10, 20, 50, 100, 1_000, 10_000, 100_000, 1_000_000)
#: Those whose samples are numbers: what a claim that samples is judged by.
QUANTITIES = ("mean", "mean, known to be normal", "mean, support known", "mean, skew", "proportion", "difference of means")
#: Half the margin is the half width of an interval at the higher level, so that what is true is often decided.
_MARGIN = 6.6  # in standard deviations of the mean
_HAIR = 1e-9
_NUMBERS = 100_000_000  # that are drawn for a cell
_BATCH = 100


@dataclass(frozen=True)
class Cell:
    """Counts of the verdicts on one quantity of n samples of a law at a level.

    Attributes
    ----------
    quantity, law : str
    n : int
    level : float
    trials, decided, alarms, passes : int
        Samples; of these, in how many the true prediction was decided; one inside the margin was refuted; one outside held.
    """

    quantity: str
    law: str
    n: int
    level: float
    trials: int
    decided: int
    alarms: int
    passes: int

    @property
    def fails(self) -> bool:
        """Whether wrong verdicts of either kind are more than the level allows."""
        return any(Proportion(k, self.trials).interval(ERROR)[0] > 1 - self.level for k in (self.alarms, self.passes))


@functools.cache
def cases() -> dict[tuple[str, str], Case]:
    """Cases by quantity and law."""
    return {(case.interval, case.law): case for case in calibrated.cases() if case.interval in QUANTITIES}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the samples, and nothing is kept")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    started, cells = time.perf_counter(), list[Cell]()
    with Parallel(n_jobs=options.jobs) as workers:
        for place, (quantity, law) in enumerate(cases()):
            for n in SIZES:
                cells += count(quantity, law, n, TRIALS // 10 if options.quick else TRIALS, workers)
            done = f"{time.perf_counter() - started:5.0f} s, {place + 1} of {len(cases())}"
            print(f"{done}: {quantity}, {law}", file=sys.stderr, flush=True)
    text = "\n\n".join([summary(cells), *(table(cells, level) for level in LEVELS)])
    if options.quick:
        print(text)
    else:
        keep("verdicts", {"seed": SEED, "cells": [asdict(cell) for cell in cells]}, text)
    failed = [cell for cell in cells if cell.fails]
    for cell in failed:
        print(f"wrong too often: {cell}", file=sys.stderr)
    return 1 if failed else 0


def count(quantity: str, law: str, n: int, trials: int, workers: Parallel) -> list[Cell]:
    """Count over the samples of one size, for each level."""
    trials = max(min(trials, _NUMBERS // n), 1)
    seeds = np.random.SeedSequence([SEED, *f"{quantity}, {law}, {n}".encode()]).spawn(math.ceil(trials / _BATCH))
    tasks = ((min(_BATCH, trials - i * _BATCH), seed) for i, seed in enumerate(seeds))
    parts = workers(delayed(_counts)(quantity, law, n, *task) for task in tasks)
    rows = np.sum(np.array(list(parts)), axis=0).tolist()
    return [Cell(quantity, law, n, level, trials, *row) for level, row in zip(LEVELS, rows, strict=True)]


def _counts(quantity: str, law: str, n: int, trials: int, seed: np.random.SeedSequence) -> NDArray[np.int64]:
    """Decided, false alarms and false passes, a row for each level."""
    case, generator = cases()[quantity, law], np.random.default_rng(seed)
    margin = _MARGIN * _deviation(quantity, law) / math.sqrt(n)
    found = np.zeros((len(LEVELS), 3), dtype=np.int64)
    for _ in range(trials):
        measured = case.measure(generator, n)
        assert measured is not None
        for row, level in zip(found, LEVELS, strict=True):

            def said(shift: float, measured=measured, level=level) -> str:
                return judge(measured, case.true + shift * margin, margin, level).verdict

            inside, outside = ([said(sign * (1 + hair)) for sign in (1, -1)] for hair in (-_HAIR, _HAIR))
            true = said(0.0)
            row += true != INCONCLUSIVE, REFUTED in (true, *inside), HOLDS in outside
    return found


@functools.cache
def _deviation(quantity: str, law: str) -> float:
    """Standard deviation of what the quantity is a mean of, from a million samples."""
    found = cases()[quantity, law].measure(np.random.default_rng(SEED), 1_000_000)
    assert found is not None
    return found.standard_error * 1_000


def summary(cells: list[Cell]) -> str:
    """How many verdicts there were, and the largest share of wrong ones."""
    verdicts = 5 * sum(cell.trials for cell in cells)
    worst = [_worst([cell for cell in cells if cell.level == level]) for level in LEVELS]
    failed = sum(cell.fails for cell in cells)
    return f"""
Of {verdicts:,} verdicts, per cent of the samples in which a prediction just inside the margin was refuted (a false alarm), then
in which one just outside held (a false pass), and in brackets in how many of a hundred the truth itself was decided. There were
{TRIALS:,} samples, fewer where they are large. **{failed} of {len(cells)} cells fail** (bold): either is more than the level
allows, beyond the error of the count at {100 * ERROR:g} %. Most often they were wrong in {" and ".join(worst)}.
""".strip()


def _worst(cells: list[Cell]) -> str:
    def wrong(cell: Cell) -> Proportion:
        return Proportion(max(cell.alarms, cell.passes), cell.trials)

    cell = max(cells, key=lambda cell: wrong(cell).interval(0.95)[0])
    return f"{in_per_cent(wrong(cell))} of samples at {100 * cell.level:g} % ({cell.quantity}, {cell.law}, n = {cell.n:,})"


def table(cells: list[Cell], level: float) -> str:
    """Markdown, a row for each quantity and law, a column for each n."""
    chosen = [cell for cell in cells if cell.level == level]
    return by_size(level, "quantity", [(cell.quantity, cell.law, cell.n, _shown(cell)) for cell in chosen])


def _shown(cell: Cell) -> str:
    """False alarms and false passes, in per cent, and in how many of a hundred the truth was decided."""
    mark, digits = "**" if cell.fails else "", 1 if cell.level < 0.99 else 2
    alarms, passes = (f"{100 * k / cell.trials:.{digits}f}" for k in (cell.alarms, cell.passes))
    return f"{mark}{alarms}, {passes}{mark} ({100 * cell.decided / cell.trials:.0f})"


if __name__ == "__main__":
    raise SystemExit(main())
