"""Plans of the papers' experiments, and what came out of their runs. This module needs no PyTorch."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
    made_with : dict
        Data and versions; see `gradnoise.simulations.neural.sweep_states.made_with`.

    Examples
    --------
    >>> from gradnoise.simulations.sweeps import PaperSweep, Plan, SweepTable
    >>> plan = Plan.of({"title": "digits", "seeds": 3, "runs": [{"experiment": "digits", "n_steps": 2}]})
    >>> PaperSweep(plan, SweepTable([{"run": run.name, "seed": run.seed, "status": "finished"} for run in plan.runs])).scale
    'digits, 3 seeds'
    """

    plan: Plan
    runs: SweepTable
    made_with: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        as_instance(self.plan, "plan", Plan)
        as_instance(self.runs, "runs", SweepTable)
        as_instance(self.made_with, "made_with", Mapping)

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
    >>> sweep.made_with["data"]["fashion-clean"]["n_train"]
    1000
    """
    file = _FOLDER / f"{as_choice(name, 'name', PAPER_SWEEPS)}.toml"
    plan, kept, made_with = Plan.load(file), file.with_suffix(".csv"), file.with_suffix(".json")
    if not kept.is_file():
        return PaperSweep(plan, SweepTable([]))
    return PaperSweep(plan, SweepTable.load(kept), json.loads(made_with.read_text(encoding="utf-8")))
