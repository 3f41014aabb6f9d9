"""Online least squares, simulated: SGD and MSGD with weights of every class, the setting of Theorem 1 of wu2020.

- `simulate` estimates the excess risk of the averaged iterate, `simulate_curve` those after several numbers of steps, a
  `RiskCurve`, which also has those of the last iterate
- `excess_risks` lists all paths of a few steps, for any finite sample space

Exact risks, stability limits and bounds are in `gradnoise.theory.least_squares`.
"""

from __future__ import annotations

from gradnoise.simulations.least_squares.path_enumeration import excess_risks
from gradnoise.simulations.least_squares.simulation import RiskCurve, simulate, simulate_curve

__all__ = ["RiskCurve", "excess_risks", "simulate", "simulate_curve"]
