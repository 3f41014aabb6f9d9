"""How often an interval covers, counted over samples with fixed seeds."""

from __future__ import annotations

import functools
import importlib.util
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import calibrated
import numpy as np
from calibrated import Case
from joblib import Parallel, delayed
from numpy.typing import NDArray

from gradnoise.claims.judgement import REFUTED, judge
from gradnoise.simulations.statistics import Proportion

__all__ = ["ERROR", "HAS_TORCH", "LEVELS", "REFUSED", "SEED", "TRIALS", "Cell", "by_size", "count", "every_case", "in_per_cent"]

LEVELS = (0.95, 0.999)
SEED, TRIALS = 17, 2_000
ERROR = 1 - 1e-5  # level of the counts' own intervals, as a thousand cells are looked at
REFUSED = 0.05  # share called valid below which a law counts as refused
HAS_TORCH = importlib.util.find_spec("torch") is not None
_NUMBERS = 20_000_000  # that are drawn for a cell
_BATCH = 200
_SLOW = {  # takes a fraction of the samples
    "tail index": 2,
    "order": 4,
    "trace, n products": 8,
    "kurtosis, n directions": 4,
    "tail index, n directions": 8,
    "noise scale": 8,
}


def by_size(level: float, what: str, cells: Iterable[tuple[str, str, int, str]]) -> str:
    """Markdown of texts of a level: a row for each name and law, under the heading `what`, and a column for each n."""
    rows: dict[tuple[str, str], dict[int, str]] = {}
    for name, law, n, text in cells:
        rows.setdefault((name, law), {})[n] = text
    sizes = sorted({n for row in rows.values() for n in row})
    heading = " | ".join(f"n = {n:,}" for n in sizes)
    lines = [f"At {100 * level:g} %:", "", f"| {what} | law | {heading} |", "|---" * (2 + len(sizes)) + "|"]
    lines += [f"| {name} | {law} | {' | '.join(row.get(n, '') for n in sizes)} |" for (name, law), row in rows.items()]
    return "\n".join(lines)


def in_per_cent(share: Proportion) -> str:
    """A share with its interval at 95 %."""
    low, high = (100 * end for end in share.interval(0.95))
    return f"{100 * share.value:.2g} % ({low:.2g} to {high:.2g})"


@dataclass(frozen=True)
class Cell:
    """Counts of one interval on n samples of a law at a level.

    Attributes
    ----------
    interval, law : str
    n : int
    level : float
    trials, reported, covered, valid, valid_covered, refuted : int
        Of these samples, how many had an interval, one with the true value, one called valid, both; and how often `judge`
        refuted the true value, without a margin.
    """

    interval: str
    law: str
    n: int
    level: float
    trials: int
    reported: int
    covered: int
    valid: int
    valid_covered: int
    refuted: int

    @property
    def refused(self) -> bool:
        """Whether the rule refuses this law."""
        return self.valid < REFUSED * self.trials

    @property
    def fails(self) -> bool:
        """Whether those called valid miss more often than the level allows, beyond the error of the count."""
        shares = [Proportion(self.valid - self.valid_covered, self.trials), Proportion(self.refuted, self.trials)]
        if not self.refused:
            shares.append(Proportion(self.valid - self.valid_covered, self.valid))
        return any(share.interval(ERROR)[0] > 1 - self.level for share in shares)


def count(case: Case, n: int, quick: bool, workers: Parallel) -> list[Cell]:
    """Count over the trials of a case at one size, for each level."""
    trials = max(min(TRIALS, _NUMBERS // n) // _SLOW.get(case.interval, 1) // (10 if quick else 1), 1)
    seeds = np.random.SeedSequence([SEED, *f"{case.interval}, {case.law}, {n}".encode()]).spawn(math.ceil(trials / _BATCH))
    tasks = ((min(_BATCH, trials - i * _BATCH), seed) for i, seed in enumerate(seeds))
    # A case travels to a worker by its names, as its functions do not.
    parts: Any = workers(delayed(_counts)(case.interval, case.law, n, *task) for task in tasks)
    rows = np.sum(parts, axis=0).tolist()
    return [Cell(case.interval, case.law, n, level, trials, *row) for level, row in zip(LEVELS, rows, strict=True)]


def every_case() -> list[Case]:
    """All cases, those of networks where PyTorch is installed."""
    return [*_cases().values(), *(_cases_of_networks().values() if HAS_TORCH else ())]


@functools.cache
def _cases() -> dict[tuple[str, str], Case]:
    return {(case.interval, case.law): case for case in calibrated.cases()}


@functools.cache
def _cases_of_networks() -> dict[tuple[str, str], Case]:
    import calibrated_networks

    return {(case.interval, case.law): case for case in calibrated_networks.cases()}


def _counts(interval: str, law: str, n: int, trials: int, seed: np.random.SeedSequence) -> NDArray[np.int64]:
    """Reported, covered, valid, both, and refuted, a row for each level."""
    case = _cases().get((interval, law)) or _cases_of_networks()[interval, law]
    generator = np.random.default_rng(seed)
    found = np.zeros((len(LEVELS), 5), dtype=np.int64)
    for _ in range(trials):
        quantity = case.measure(generator, n)
        if quantity is None:
            continue
        for row, level in zip(found, LEVELS, strict=True):
            low, high = quantity.interval(level)
            covered, valid = low <= case.true <= high, quantity.valid(level)
            row += 1, covered, valid, covered and valid, judge(quantity, case.true, 0.0, level).verdict == REFUTED
    return found
