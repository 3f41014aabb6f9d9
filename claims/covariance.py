"""The two numbers of a sampling vector's covariance: of all its outcomes, and as the theory states them."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradnoise.claims.judgement import Computed
from gradnoise.simulations.sampling import Outcomes
from gradnoise.theory._validation import as_instance, as_text
from gradnoise.theory.sampling import SamplingNoise, as_noise

__all__ = ["stated", "two_numbers"]


def two_numbers(prefix: str, law: Outcomes) -> dict[str, Any]:
    """Variance and covariance of an enumerated sampling vector, and how far it is from exchangeable.

    Parameters
    ----------
    prefix : str
        What the labels begin with.
    law : Outcomes
        All outcomes of a sampling vector.

    Returns
    -------
    dict of Computed
        Means of the diagonal and of all else in its covariance, and the larger range of the two: zero if it is exchangeable.

    Examples
    --------
    >>> from gradnoise.simulations.sampling import outcomes
    >>> from gradnoise.theory.sampling import Minibatch
    >>> found = two_numbers("with", outcomes(Minibatch(2, 1)))  # (1, 0) or (0, 1)
    >>> {label: quantity.value for label, quantity in found.items()}
    {'with: variance': 0.25, 'with: covariance': -0.25, 'with: spread of both': 0.0}
    """
    C = as_instance(law, "law", Outcomes).covariance()
    prefix = as_text(prefix, "prefix")
    diagonal, off = np.diag(C), C[~np.eye(len(C), dtype=bool)]
    spread = max(np.ptp(diagonal), np.ptp(off))
    rounding = 1e-12 * np.abs(C).max()
    return {
        f"{prefix}: variance": Computed(float(diagonal.mean()), rounding=rounding),
        f"{prefix}: covariance": Computed(float(off.mean()), rounding=rounding),
        f"{prefix}: spread of both": Computed(float(spread), rounding=rounding),
    }


def stated(prefix: str, noise: SamplingNoise) -> dict[str, float]:
    """Variance and covariance as the theory states them.

    Parameters
    ----------
    prefix : str
        What the labels begin with.
    noise : SamplingNoise
        Of any class.

    Returns
    -------
    dict of float
        Predictions of what `two_numbers` finds.

    Examples
    --------
    >>> from gradnoise.theory.sampling import Minibatch
    >>> stated("with", Minibatch(2, 1))
    {'with: variance': 0.25, 'with: covariance': -0.25, 'with: spread of both': 0.0}
    """
    noise, prefix = as_noise(noise), as_text(prefix, "prefix")
    return {
        f"{prefix}: variance": noise.variance,
        f"{prefix}: covariance": noise.covariance,
        f"{prefix}: spread of both": 0.0,
    }
