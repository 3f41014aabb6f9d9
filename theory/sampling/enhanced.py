"""The sampling vector that is made of two copies of another: noise enhancement."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from gradnoise.theory._validation import as_number, set_fields
from gradnoise.theory.sampling.exchangeable import Pattern, SamplingNoise, as_pattern
from gradnoise.theory.sampling.noise_argument import as_noise

__all__ = ["Enhanced"]


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

    Examples
    --------
    >>> from gradnoise.theory.sampling import Enhanced, Minibatch
    >>> Enhanced(Minibatch(8, 4), 2.0).variance / Minibatch(8, 4).variance
    5.0
    """

    base: SamplingNoise
    alpha: float

    def __post_init__(self) -> None:
        as_noise(self.base, "base")
        set_fields(self, alpha=as_number(self.alpha, "alpha"))

    @property
    def n(self) -> int:  # type: ignore[override]
        """Number of samples."""
        return self.base.n

    def joint_cumulant(self, pattern: Pattern) -> Fraction:
        """Joint cumulant of distinct components: cumulants of independent parts add."""
        order, alpha = sum(as_pattern(pattern)), Fraction(self.alpha)
        return (alpha**order + (1 - alpha) ** order) * self.base._exact(pattern)
