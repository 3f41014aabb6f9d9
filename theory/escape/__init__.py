"""Escape from a minimum: what gradient noise does where the loss is a quadratic, a double well, or the paper's toy.

- at a quadratic minimum the process is Ornstein-Uhlenbeck: `indicator` Tr(H Sigma), `loss_increase` (zhu2019, Eq. (13)) and
  its linear form, `ou_covariance`, `escape_probability` (exactly, to 1e-8 of it, far out in the tail, too),
  `discrete_loss_increase` of gradient descent itself, `markov_bound`, and `indicator_ratio_bound` of Proposition 1
- `PlanarLandscape` is a quadratic with a double well, `EulerLaw` the exact law of its dynamics on the line
- `two_basin` is the toy of Section 5.1: its losses, gradients, Hessian and data
"""

from __future__ import annotations

from gradnoise.theory.escape import two_basin
from gradnoise.theory.escape.landscape import EulerLaw, PlanarLandscape
from gradnoise.theory.escape.ornstein_uhlenbeck import (
    discrete_loss_increase,
    escape_probability,
    indicator,
    indicator_ratio_bound,
    loss_increase,
    loss_increase_linear,
    markov_bound,
    ou_covariance,
)

__all__ = [
    "EulerLaw",
    "PlanarLandscape",
    "discrete_loss_increase",
    "escape_probability",
    "indicator",
    "indicator_ratio_bound",
    "loss_increase",
    "loss_increase_linear",
    "markov_bound",
    "ou_covariance",
    "two_basin",
]
