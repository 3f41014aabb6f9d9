"""The noise classes of the four papers as exact moments of their sampling vectors.

Each class is a small frozen dataclass; drawing from it is `gradnoise.simulations.sampling.draw`. Here n is the number
of samples, b the batch size whose noise is matched, B the size of a larger batch; "with" and "without" mean
replacement. This module is where users find all of them:

- made of a batch: `Minibatch`, `SparseGaussian`, `GaussianMinibatch`
- made of independent components: `Gaussian`, `Rademacher`, `StudentT`, `Bernoulli`
- made of another noise: `Enhanced`
- `effective_batch_size`, `compensating_alpha`, `compensating_noise_batch_size`
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from gradnoise.theory._validation import as_number, set_fields
from gradnoise.theory.batch_noise import GaussianMinibatch, Minibatch, SparseGaussian
from gradnoise.theory.batch_size import compensating_alpha, compensating_noise_batch_size, effective_batch_size
from gradnoise.theory.component_noise import Bernoulli, Gaussian, Rademacher, StudentT
from gradnoise.theory.exchangeable import Pattern, SamplingNoise

__all__ = [
    "Bernoulli",
    "Enhanced",
    "Gaussian",
    "GaussianMinibatch",
    "Minibatch",
    "Rademacher",
    "SamplingNoise",
    "SparseGaussian",
    "StudentT",
    "compensating_alpha",
    "compensating_noise_batch_size",
    "effective_batch_size",
]


@dataclass(frozen=True)
class Enhanced(SamplingNoise):
    """Noise enhancement: alpha W + (1 - alpha) W', with W and W' independent copies of the base.

    Parameters
    ----------
    base : SamplingNoise
        The noise that is enhanced.
    alpha : float
        Its covariance grows by c(alpha) = alpha^2 + (1 - alpha)^2.

    References
    ----------
    ne2021, Eqs. (6) and (10).
    """

    base: SamplingNoise
    alpha: float

    def __post_init__(self) -> None:
        if not isinstance(self.base, SamplingNoise):
            raise TypeError(f"base must be a SamplingNoise, got {self.base!r}")
        set_fields(self, alpha=as_number(self.alpha, "alpha"))

    @property
    def n(self) -> int:  # type: ignore[override]
        """Number of samples."""
        return self.base.n

    def joint_cumulant(self, pattern: Pattern) -> Fraction:
        """Joint cumulant of distinct components: cumulants of independent parts add."""
        order, alpha = sum(pattern), Fraction(self.alpha)
        return (alpha**order + (1 - alpha) ** order) * Fraction(self.base.joint_cumulant(pattern))
