"""Where Student's interval for a mean keeps its level: what n samples and their skewness must be.

No interval for a mean keeps its level whatever the law, and a few samples do not tell theirs: of exponential, lognormal and rare
samples most miss their long tail, look symmetric, and have too small a spread. So the rule is a measured one, `make calibration`:
50 samples of such a law are hardly ever (once in 10,000 times) as little skew as is asked for here, those of a normal law mostly.
"""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np
import scipy

from gradnoise.theory._validation import FloatArray, as_count, as_real

__all__ = ["as_level", "as_sample_size", "quantile", "students_is_valid"]

SomeNumbers = TypeVar("SomeNumbers", float, FloatArray)

_LARGEST = 2**62  # samples; more than anyone draws, and a float
_FEWEST = 50
_FEWEST_FAR_OUT = 100_000
_MODERATE_LEVEL = 0.999  # the skewness that it allows is the largest at any level, as that of few samples is hardly known
_SKEWNESS = 0.3  # γ z³ / 6√n, of the first term of Edgeworth's series for the tail beyond z, relative to the normal one


def students_is_valid(n: int, skewness: SomeNumbers, level: float) -> bool | np.ndarray:
    """Whether Student's interval keeps its level, by the number of samples and their skewness; of many samples at once, too."""
    z = quantile(1 - max(level, _MODERATE_LEVEL))
    fewest = _FEWEST if level <= _MODERATE_LEVEL else _FEWEST_FAR_OUT
    return (n >= fewest) & (abs(skewness) * z**3 / (6 * math.sqrt(n)) <= _SKEWNESS)


def quantile(alpha: float, df: float = math.inf) -> float:
    """Two-sided quantile of Student's t; of the normal law for df = inf."""
    return float(-scipy.special.ndtri(alpha / 2) if math.isinf(df) else -scipy.special.stdtrit(df, alpha / 2))


def as_level(level: float) -> float:
    """Return a level of confidence, between 0 and 1."""
    level = as_real(level, "level", above=0)
    if level >= 1:
        raise ValueError(f"level must be below 1, got {level:g}")
    return level


def as_sample_size(n: object) -> int:
    """Return a number of samples, at least one."""
    return as_count(n, "n", at_most=_LARGEST)
