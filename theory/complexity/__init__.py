"""Local complexities of Theorem 1 of wu2019: how far noise can move the mean loss of a class around a parameter.

- classes of losses: `AffineLosses`, `LeastSquaresLosses` on a ball, `FiniteLosses`; a subclass of `LossClass` of your own
- `rademacher`, `gaussian` and `sgd` complexity, exactly (Eqs. (8) and (9)); `gradnoise.simulations.complexity` samples others
- `gaussian_bounds` and `sgd_bounds` by the Rademacher complexity, printed and sharp (Theorem 1), with `largest_normal` and
  `MEAN_ABSOLUTE_NORMAL`, their constants
- `expected_largest_weight` of a batch, and the lists of batches that exact values are sums over: `batch_counts`,
  `batch_types`, `multinomial_counts`
"""

from __future__ import annotations

from gradnoise.theory.complexity.counts import batch_counts, batch_types, expected_largest_weight, multinomial_counts
from gradnoise.theory.complexity.exact import (
    MEAN_ABSOLUTE_NORMAL,
    Bounds,
    gaussian,
    gaussian_bounds,
    largest_normal,
    rademacher,
    sgd,
    sgd_bounds,
)
from gradnoise.theory.complexity.loss_classes import AffineLosses, FiniteLosses, LeastSquaresLosses, LossClass

__all__ = [
    "MEAN_ABSOLUTE_NORMAL",
    "AffineLosses",
    "Bounds",
    "FiniteLosses",
    "LeastSquaresLosses",
    "LossClass",
    "batch_counts",
    "batch_types",
    "expected_largest_weight",
    "gaussian",
    "gaussian_bounds",
    "largest_normal",
    "multinomial_counts",
    "rademacher",
    "sgd",
    "sgd_bounds",
]
