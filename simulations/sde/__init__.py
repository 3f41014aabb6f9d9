"""How fast M-SGD approaches its SDE, for any loss: strongly, on one Brownian path, and weakly, in expectation.

- `strong_error` and `weak_error` return an `OrderStudy`: errors by step size, and the order (wu2019, Theorems 2 and 3)
- `Problem` is a loss and its gradients, two functions that Numba can compile
- `standard_problems` are those that come with gradnoise: least squares, logistic, a tanh network, the two-basin toy
- `Coupling` and `final_points` follow the coupled paths themselves; `draw_slopes` draws reference slopes into a plot

Exact errors, where there are some, are in `gradnoise.theory.diffusion`.
"""

from __future__ import annotations

from gradnoise.simulations.sde import standard_problems
from gradnoise.simulations.sde.coupled_paths import Coupling, final_points
from gradnoise.simulations.sde.order_study import OrderStudy, draw_slopes
from gradnoise.simulations.sde.problem import Problem
from gradnoise.simulations.sde.study import strong_error, weak_error

__all__ = [
    "Coupling",
    "OrderStudy",
    "Problem",
    "draw_slopes",
    "final_points",
    "standard_problems",
    "strong_error",
    "weak_error",
]
