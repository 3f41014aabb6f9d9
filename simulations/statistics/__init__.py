"""What samples tell: estimates with their errors, intervals valid far out in the tails, convergence orders.

- `Estimate` of a mean, `Proportion` of successes, `Difference` of two of them: each is `Measured`, and has ``interval(level)``
- `Moments` and `JointMoments` stream over blocks; `merge_moments` and `merge_joint_moments` reduce those of an ensemble
- `fit_order` fits an `Order` of convergence with its error, and refuses what is below the noise
- `plan_sample_size`: how many samples decide, from a pilot; `find_sample_size` returns None where none do
- `SkewedEstimate` of a mean of few samples with a long tail
- `tail_index`: whether a noise has heavy tails, a `TailIndex` between 0 and 2
- `with_error` writes a number and its error as text, as ``str`` of an estimate does
"""

from __future__ import annotations

from gradnoise.simulations.statistics.convergence_order import Order, fit_order
from gradnoise.simulations.statistics.difference import Difference
from gradnoise.simulations.statistics.estimates import Estimate, Measured, Moments, merge_moments
from gradnoise.simulations.statistics.joint_moments import JointMoments, merge_joint_moments
from gradnoise.simulations.statistics.plan import find_sample_size, plan_sample_size
from gradnoise.simulations.statistics.proportion import Proportion
from gradnoise.simulations.statistics.quotient import Quotient
from gradnoise.simulations.statistics.rounding import with_error
from gradnoise.simulations.statistics.skewed import SkewedEstimate
from gradnoise.simulations.statistics.tail_index import TailIndex, tail_index

__all__ = [
    "Difference",
    "Estimate",
    "JointMoments",
    "Measured",
    "Moments",
    "Order",
    "Proportion",
    "Quotient",
    "SkewedEstimate",
    "TailIndex",
    "find_sample_size",
    "fit_order",
    "merge_joint_moments",
    "merge_moments",
    "plan_sample_size",
    "tail_index",
    "with_error",
]
