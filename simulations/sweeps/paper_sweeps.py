"""Plans of the papers' experiments, and what came out of their runs. This module needs no PyTorch."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

from gradnoise.simulations.sweeps.plans import Plan
from gradnoise.simulations.sweeps.tables import FINISHED, SweepTable
from gradnoise.theory._validation import as_choice, as_instance

__all__ = ["PAPER_SWEEPS", "PaperSweep", "paper_sweep"]

_FOLDER = Path(__file__).parent / "papers"
#: Names of the plans that come with gradnoise.
PAPER_SWEEPS = tuple(sorted(path.stem for path in _FOLDER.glob("*.toml")))


@dataclass(frozen=True)
class PaperSweep:
    """A plan that comes with gradnoise, and what is kept of it.

    Attributes
    ----------
    plan : Plan
    runs : SweepTable
        What its runs recorded; of some of them, or none, where the others still wait.

    Examples
    --------
    >>> from gradnoise.simulations.sweeps import PaperSweep, Plan, SweepTable
    >>> plan = Plan.of({"title": "digits", "seeds": 3, "runs": [{"experiment": "digits", "n_steps": 2}]})
    >>> PaperSweep(plan, SweepTable([{"run": run.name, "seed": run.seed, "status": "finished"} for run in plan.runs])).scale
    'digits, 3 seeds'
    """

    plan: Plan
    runs: SweepTable

    def __post_init__(self) -> None:
        as_instance(self.plan, "plan", Plan)
        as_instance(self.runs, "runs", SweepTable)

    @property
    def scale(self) -> str:
        """How much is kept, in words."""
        finished = {row["run"] for row in self.runs.rows if row.get("status", FINISHED) == FINISHED}
        seeds = {run.seed for run in self.plan.runs if run.name in finished}
        of_plan = "" if len(finished) == len(self.plan.runs) else f", {len(finished)} of {len(self.plan.runs)} runs"
        return f"{self.plan.title}, {len(seeds)} seed{'' if len(seeds) == 1 else 's'}{of_plan}"


@functools.cache
def paper_sweep(name: str) -> PaperSweep:
    """Return a plan that comes with gradnoise, with its results.

    Parameters
    ----------
    name : str
        One of `PAPER_SWEEPS`.

    Returns
    -------
    PaperSweep

    Raises
    ------
    TypeError, ValueError
        If there is none of this name.

    Examples
    --------
    >>> from gradnoise.simulations.sweeps import paper_sweep
    >>> sweep = paper_sweep("wu2020-fig1")
    >>> sweep.plan.common["experiment"], len(sweep.runs.read("test_accuracy", {"dynamics": "sgd"})) > 1  # seeds
    ('fashion-clean', True)
    """
    file = _FOLDER / f"{as_choice(name, 'name', PAPER_SWEEPS)}.csv"
    return PaperSweep(Plan.load(file.with_suffix(".toml")), SweepTable.load(file) if file.is_file() else SweepTable([]))
