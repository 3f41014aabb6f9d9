"""Drawing sampling vectors of every class, and listing all that a small one can be.

- `draw` returns many; `draw_with` uses up a generator, as a kernel does, and `draw_in_parts` keeps them in the cache
- `expectations` estimates E f(W)
- `outcomes` lists all values of a small sampling vector with their probabilities, `product_rule` those of independent
  components: the other route to every covariance and cumulant of `gradnoise.theory.sampling`
- `lower`, `work_space` and `fill_weights` are for kernels that draw weights themselves
"""

from __future__ import annotations

from gradnoise.simulations.sampling.draws import (
    draw,
    draw_in_parts,
    draw_with,
    expectations,
    fill_weights,
    indices_per_uniform,
    is_ours,
    lower,
    work_space,
)
from gradnoise.simulations.sampling.enumeration import Outcomes, outcomes, product_rule

__all__ = [
    "Outcomes",
    "draw",
    "draw_in_parts",
    "draw_with",
    "expectations",
    "fill_weights",
    "indices_per_uniform",
    "is_ours",
    "lower",
    "outcomes",
    "product_rule",
    "work_space",
]
