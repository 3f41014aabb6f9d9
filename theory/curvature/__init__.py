"""Curvature against gradient noise: Propositions 2 and 3 of zhu2019, as printed and as they hold.

- `Curvature` holds Fisher, Hessian and covariance of a model where it stands, and their eigenvalue ratios
- `ratio_bounds` (Proposition 2), `alignment_bound` (Proposition 3, corrected), `printed_alignment_bound`, `printed_radius`
- `ClippedNetwork`: the two-layer network of Proposition 3, with Fisher and Hessian in closed form
- `SoftmaxRegression`: where the Fisher matrix of a model that fits is its Hessian, Eq. (18)
"""

from __future__ import annotations

from gradnoise.theory.curvature.bounds import (
    Curvature,
    alignment_bound,
    printed_alignment_bound,
    printed_radius,
    ratio_bounds,
)
from gradnoise.theory.curvature.clipped_network import ClippedNetwork
from gradnoise.theory.curvature.softmax_regression import SoftmaxRegression

__all__ = [
    "ClippedNetwork",
    "Curvature",
    "SoftmaxRegression",
    "alignment_bound",
    "printed_alignment_bound",
    "printed_radius",
    "ratio_bounds",
]
