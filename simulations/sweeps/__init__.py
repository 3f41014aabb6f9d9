"""Many trainings: what is planned, and the table of what came out. Nothing here needs PyTorch.

- `Plan` is a file of runs, `Run`, each a training with its settings and seed, and of what is asked of them: a `Question` is
  whether one method ends `BETTER` than another, or `ALIKE`
- `SweepTable` has a row for each record of each run, which is `WAITING`, `INTERRUPTED`, `FINISHED` or `FAILED`
- `PAPER_SWEEPS` names the plans of the papers' experiments that come with gradnoise; `paper_sweep` returns one with what is kept
  of its runs, a `PaperSweep`
"""

from __future__ import annotations

from gradnoise.simulations.sweeps.paper_sweeps import PAPER_SWEEPS, PaperSweep, paper_sweep
from gradnoise.simulations.sweeps.plans import Plan, Run
from gradnoise.simulations.sweeps.questions import ALIKE, BETTER, Question
from gradnoise.simulations.sweeps.tables import FAILED, FINISHED, INTERRUPTED, WAITING, SweepTable

__all__ = [
    "ALIKE",
    "BETTER",
    "FAILED",
    "FINISHED",
    "INTERRUPTED",
    "PAPER_SWEEPS",
    "WAITING",
    "PaperSweep",
    "Plan",
    "Question",
    "Run",
    "SweepTable",
    "paper_sweep",
]
