"""SGD and its stochastic differential equation: exact moments, exact distances, and bounds.

- on least squares: `sgd_moments`, `svag_moments`, `sde_moments` with plain or modified drift, and `strong_error` on one
  Brownian path (wu2019, Eqs. (12)-(14)); `AugmentedMoments` is the recursion behind them
- `strong_error_bound` is Theorem 3 of wu2019 as printed and corrected, `sharp_strong_error_bound` a sharper one
- `CircleLosses`: weak errors on losses that are not quadratic; `geometric_motion`: losses on the line with closed forms
- `StationaryDensity`: where a diffusion on the line stays, for a noise that depends on the place (ne2021)
"""

from __future__ import annotations

from gradnoise.theory.diffusion import geometric_motion
from gradnoise.theory.diffusion.augmented_moments import AugmentedMoments
from gradnoise.theory.diffusion.circle import CircleLosses
from gradnoise.theory.diffusion.least_squares import (
    DRIFTS,
    ParameterMoments,
    sde_moments,
    sgd_moments,
    strong_error,
    svag_moments,
    svag_noise,
)
from gradnoise.theory.diffusion.stationary import StationaryDensity
from gradnoise.theory.diffusion.strong_bound import sharp_strong_error_bound, strong_error_bound

__all__ = [
    "DRIFTS",
    "AugmentedMoments",
    "CircleLosses",
    "ParameterMoments",
    "StationaryDensity",
    "geometric_motion",
    "sde_moments",
    "sgd_moments",
    "sharp_strong_error_bound",
    "strong_error",
    "strong_error_bound",
    "svag_moments",
    "svag_noise",
]
