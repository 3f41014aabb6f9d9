"""Units in which squares and cubes of samples neither underflow nor overflow."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gradnoise.theory._validation import FloatArray

__all__ = ["Exponents", "exponents", "in_units"]

Exponents = NDArray[np.int32]

_PLAIN = 200  # 2 to this power, cubed, and the rounding of its inverse, cubed, are numbers; below it the unit is one
_LOWEST = -1074  # of all doubles: a zero takes any other number's unit


def exponents(samples: FloatArray) -> Exponents:
    """Exponents of powers of two, which change no digit: of the largest |x| of each column, or zero where that is ordinary."""
    largest = np.abs(samples).max(axis=0, initial=0.0)
    powers = np.frexp(np.where(np.isfinite(largest), largest, 1.0))[1].astype(np.int32)
    return np.where(largest == 0, _LOWEST, np.where(np.abs(powers) <= _PLAIN, 0, powers))


def in_units(values: FloatArray, powers: Exponents) -> FloatArray:
    """Values over 2 to these powers."""
    return np.ldexp(values, -powers) if np.any(powers) else values
