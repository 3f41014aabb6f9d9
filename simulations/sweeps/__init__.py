"""Many trainings: what is planned, and the table of what came out. Nothing here needs PyTorch.

- `Plan` is a file of runs, `Run`, each a training with its settings and seed
- `SweepTable` has a row for each record of each run; `FINISHED` is the status of those that have ended
"""

from __future__ import annotations

from gradnoise.simulations.sweeps.plans import Plan, Run
from gradnoise.simulations.sweeps.tables import FINISHED, SweepTable

__all__ = ["FINISHED", "Plan", "Run", "SweepTable"]
