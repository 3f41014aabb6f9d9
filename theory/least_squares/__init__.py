"""Online least squares, the setting of Theorem 1 of wu2020: exact excess risks, and bounds with explicit constants.

- `LeastSquares` has Gaussian features, `FiniteLeastSquares` any discrete law of (x, y); both are `OnlineLeastSquares`, with
  exact risks of averaged and last iterates, stability limits, asymptotic constants and `RiskBound`
- `WeightMoments` are the two numbers of the sampling vector that a risk depends on, whatever the class
- `RiskParts` splits a risk into bias and variance; `Assumptions` are A1-A3 as they hold for a problem
- `StartingPoint`, `bound_constants` and `FORMS` are the bound by itself, in its three forms
"""

from __future__ import annotations

from gradnoise.theory.least_squares.problems import FiniteLeastSquares, LeastSquares
from gradnoise.theory.least_squares.risk_bound import FORMS, Assumptions, RiskBound, StartingPoint, bound_constants
from gradnoise.theory.least_squares.second_moments import OnlineLeastSquares, RiskParts
from gradnoise.theory.least_squares.weight_moments import WeightMoments

__all__ = [
    "FORMS",
    "Assumptions",
    "FiniteLeastSquares",
    "LeastSquares",
    "OnlineLeastSquares",
    "RiskBound",
    "RiskParts",
    "StartingPoint",
    "WeightMoments",
    "bound_constants",
]
