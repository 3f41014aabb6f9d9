"""What least squares sees of the weights of a step: two numbers, whatever their class."""

from __future__ import annotations

import numbers
from dataclasses import dataclass

from gradnoise.theory._float_range import within_floats
from gradnoise.theory._validation import as_real, is_number, set_fields, shown
from gradnoise.theory.sampling import SamplingNoise, as_noise

__all__ = ["WeightMoments"]


@dataclass(frozen=True)
class WeightMoments:
    r"""Second moments of the weights of one step, whose sum has mean one.

    The gradient of least squares is linear in the parameters, so the second moment of a step needs no more of the weights
    than the coefficients of :math:`E[r^2 x x^T]` and of :math:`E[r x] E[r x]^T`, r being a sample's residual.

    Parameters
    ----------
    own : float
        Coefficient of :math:`E[r^2 x x^T]`: :math:`E \sum_i w_i^2` for fresh samples, 1/b for a minibatch.
    between : float
        Coefficient of :math:`E[r x] E[r x]^T`: :math:`E (\sum_i w_i)^2 - E \sum_i w_i^2` for fresh samples, 1 - 1/b for a
        minibatch.

    Raises
    ------
    ValueError
        If own < 0 or own + between < 1: no weights of mean sum one have these.

    Examples
    --------
    >>> from gradnoise.theory.least_squares import WeightMoments
    >>> from gradnoise.theory.sampling import Minibatch
    >>> WeightMoments.minibatch(4)
    WeightMoments(own=0.25, between=0.75)
    >>> WeightMoments.of(Minibatch(8, 4, replacement=False))  # the batch that it takes from the fresh samples is as fresh
    WeightMoments(own=0.25, between=0.75)
    >>> WeightMoments.fixed_data(Minibatch(8, 8, replacement=False))  # the same weights always
    WeightMoments(own=0.0, between=1.0)
    """

    own: float
    between: float

    def __post_init__(self) -> None:
        own = as_real(self.own, "own", at_least=0)
        rounding = 1e-12 * max(own, 1.0)
        set_fields(self, own=own, between=as_real(self.between, "between", at_least=1 - own - rounding))

    @classmethod
    def minibatch(cls, batch_size: object) -> WeightMoments:
        """Of SGD, Eq. (3) of wu2020 divided by b; b >= 1 need not be whole."""
        b = as_real(batch_size, "batch_size", at_least=1)
        return cls(1 / b, 1 - 1 / b)

    @classmethod
    @within_floats
    def fresh(cls, noise: SamplingNoise) -> WeightMoments:
        """Of weights on n fresh samples a step, Eq. (4) of wu2020 with B = n."""
        as_noise(noise)
        square = noise.n * (noise.variance + noise.mean**2)
        return cls(square, noise.sum_variance + 1 - square)

    @classmethod
    @within_floats
    def fixed_data(cls, noise: SamplingNoise) -> WeightMoments:
        """Of weights on the same n samples at every step, the law of (x, y) being their empirical one."""
        as_noise(noise)
        return cls(noise.n * noise.centred_power, 1 + noise.n**2 * noise.covariance)

    @classmethod
    def of(cls, batch_size: object) -> WeightMoments:
        """Moments from what users give: a batch size, a noise over fresh samples, or the moments themselves.

        Raises
        ------
        TypeError, ValueError
            If it is none of them, or the batch size is below 1.
        """
        return as_weights(batch_size, "batch_size")


def as_weights(value: object, name: str) -> WeightMoments:
    """Return the moments that an argument is, or stands for; see `WeightMoments.of`."""
    match value:
        case WeightMoments():
            return value
        case numbers.Real() if is_number(value):  # that is not whole has these moments, but is no noise
            return WeightMoments.minibatch(as_real(value, name, at_least=1))
        case SamplingNoise():
            return WeightMoments.fresh(value)
    raise TypeError(f"{name} must be a real number, a SamplingNoise or WeightMoments, got {shown(value)}")
