"""Drawing sampling vectors of every class, and listing all that a small one can be.

- `draw` returns many; `draw_with` uses up a generator, as a kernel does, and `draw_in_parts` keeps them in the cache
- `expectations` estimates E f(W)
- `outcomes` lists all values of a small sampling vector with their probabilities, `product_rule` those of independent
  components: the other route to every covariance and cumulant of `gradnoise.theory.sampling`
- `lower`, `work_space` and `fill_weights` are for kernels that draw weights themselves, by a `WeightRule`; ``noise in COMPILED``
  tells whether a class has one
- `Rules` are books of what is done with which class: here a new class is taught to be drawn and listed
"""

from __future__ import annotations

from gradnoise.simulations.sampling.compiled import (
    COMPILED,
    WeightRule,
    WorkSpace,
    fill_weights,
    indices_per_uniform,
    lower,
    work_space,
)
from gradnoise.simulations.sampling.draws import draw, draw_in_parts, draw_with, expectations
from gradnoise.simulations.sampling.enumeration import Outcomes, outcomes, product_rule
from gradnoise.simulations.sampling.rules import Rules

__all__ = [
    "COMPILED",
    "Outcomes",
    "Rules",
    "WeightRule",
    "WorkSpace",
    "draw",
    "draw_in_parts",
    "draw_with",
    "expectations",
    "fill_weights",
    "indices_per_uniform",
    "lower",
    "outcomes",
    "product_rule",
    "work_space",
]
