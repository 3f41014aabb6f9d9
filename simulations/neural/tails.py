"""How heavy the tails of a network's gradient noise are along random directions: excess kurtosis and tail index.

Along a direction u the noise is Σᵢ (Wᵢ − 1/n) gᵢ·u, a single number. What is estimated is the mean over all normal u, so the
errors are those of a mean over directions, with all that varies from one to the next.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from gradnoise.simulations.neural.devices import as_generator
from gradnoise.simulations.neural.loss_operators import LossOperators, as_operators
from gradnoise.simulations.sampling import draw_in_parts
from gradnoise.simulations.seeds import Stream
from gradnoise.simulations.statistics import Estimate, SkewedEstimate, TailIndex, tail_index
from gradnoise.theory._validation import FloatArray, as_array, as_count, as_instance, as_real
from gradnoise.theory.sampling import Gaussian, SamplingNoise, as_noise

__all__ = ["MOST_DRAWS", "excess_kurtosis", "noise_tail_index", "random_projections"]

MOST_DRAWS, _MOST_DIRECTIONS = 10**8, 10**6  # numbers of a direction that are held, and passes over the data
_HELD = 2**22  # weights held at once
_DOUBLE = float(np.finfo(np.float64).eps)
_DIGITS = 0.75  # share of its digits that a noise has lost to be none, as in `tail_index`


def random_projections(operators: LossOperators, n_directions: int, generator: torch.Generator) -> FloatArray:
    """Project the gradients of all samples on random directions.

    Parameters
    ----------
    operators : LossOperators
    n_directions : int
        k; each takes a product with the gradients.
    generator : torch.Generator
        Is used up; on the operators' device.

    Returns
    -------
    (k, n) ndarray
        gᵢ·u, u normal. Units: those of the gradient.

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.loss_operators import LossOperators
    >>> from gradnoise.simulations.neural.tails import random_projections
    >>> loss = torch.nn.CrossEntropyLoss(reduction="none")
    >>> operators = LossOperators(torch.nn.Linear(3, 2), loss, torch.eye(3), torch.tensor([0, 1, 1]))
    >>> random_projections(operators, 5, torch.Generator().manual_seed(1)).shape
    (5, 3)
    """
    theta = as_operators(operators).parameters
    as_generator(generator, theta.device)
    shape = as_count(n_directions, "n_directions", at_most=_MOST_DIRECTIONS), len(theta)
    directions = torch.randn(shape, generator=generator, device=theta.device, dtype=theta.dtype)
    return np.array([operators.transposed_product(u).double().cpu().numpy() for u in directions])


def excess_kurtosis(noise: SamplingNoise, values: FloatArray, *, rounding: float = _DOUBLE) -> Estimate:
    """Estimate the mean excess kurtosis of the noise along random directions, exact along each of them.

    Parameters
    ----------
    noise : SamplingNoise
        W, over the n samples.
    values : (k, n) array_like
        What `random_projections` returns.
    rounding : float
        Relative error of the values.

    Returns
    -------
    Estimate
        0 for Gaussian noise; infinite, with an error of zero, where the weights have no fourth moment.

    Raises
    ------
    ValueError
        If there is no noise along a direction, to rounding.

    Examples
    --------
    >>> import numpy as np
    >>> from gradnoise.simulations.neural.tails import excess_kurtosis
    >>> from gradnoise.theory.sampling import Minibatch, StudentT
    >>> values = np.random.default_rng(1).standard_normal((20, 100))
    >>> round(excess_kurtosis(Minibatch(100, 1), 1.0 * (values > 0)).value), excess_kurtosis(StudentT(100, 1, df=3), values).value
    (-2, inf)
    """
    values, variances = _noisy(noise, values, rounding)
    try:
        noise.joint_cumulant((4,))
    except ValueError:  # there is none: E x⁴ of a variable with a variance is a number or infinite
        return SkewedEstimate(math.inf, 0.0, len(values))
    found = Estimate.of([noise.cumulant(4, v) / s**2 for v, s in zip(values, variances, strict=True)])
    # Where all directions are alike, rounding is all that is left; it moves the fourth moment, which is three more.
    least = (abs(found.value) + 3) * _relative_error(noise, min(variances), rounding)
    return SkewedEstimate(found.value, max(found.standard_error, least), found.n, found.skewness)


def noise_tail_index(
    noise: SamplingNoise, values: FloatArray, n_draws: int, stream: Stream, *, rounding: float = _DOUBLE
) -> TailIndex:
    """Estimate the tail index of the noise along random directions.

    Parameters
    ----------
    noise : SamplingNoise
        W, over the n samples.
    values : (k, n) array_like
        What `random_projections` returns.
    n_draws : int
        Draws along each direction, >= 4.
    stream : Stream
        Of the draws, which are other ones along each direction.
    rounding : float
        Relative error of the values.

    Returns
    -------
    TailIndex
        1/α is the mean over the directions of what `tail_index` finds along each; n is their number.

    Raises
    ------
    ValueError
        If there is no noise along a direction, to rounding, or too few draws of it differ.

    Examples
    --------
    >>> import numpy as np
    >>> from gradnoise.simulations.neural.tails import noise_tail_index
    >>> from gradnoise.simulations.seeds import Stream
    >>> from gradnoise.theory.sampling import Gaussian
    >>> values = np.random.default_rng(1).standard_normal((20, 100))
    >>> abs(noise_tail_index(Gaussian(100, 1), values, 1_000, Stream.of(1)).value - 2) < 0.2
    True
    """
    as_instance(stream, "stream", Stream)
    n_draws = as_count(n_draws, "n_draws", at_least=4, at_most=MOST_DRAWS)
    values, variances = _noisy(noise, values, rounding)
    found = []
    for k, (v, variance) in enumerate(zip(values, variances, strict=True)):
        draws, error = _draws(noise, v, n_draws, stream.generator(k)), _relative_error(noise, variance, rounding)
        try:
            found.append(tail_index(draws, rounding=error).inverse)
        except ValueError as reason:  # of noise that is rare: most draws miss the few samples that have a gradient
            raise ValueError(f"n_draws must be more, for draws of the noise to differ, got {n_draws}: {reason}") from None
    mean = Estimate.of([e.value for e in found])
    of_draws = math.sqrt(sum(e.standard_error**2 for e in found)) / len(found)
    # Few directions can be alike by chance, but the draws along them vary, by what is known well.
    error = max(mean.standard_error, of_draws)
    return TailIndex(SkewedEstimate(mean.value, error, mean.n, mean.skewness))


def _noisy(noise: SamplingNoise, values: FloatArray, rounding: float) -> tuple[FloatArray, list[float]]:
    """Values in units of the largest one, and the variance of the noise along each direction, which is not zero."""
    as_noise(noise)
    as_real(rounding, "rounding", above=0, at_most=1)
    values = as_array(values, "values", ndim=2)
    values = values / (np.abs(values).max(initial=0.0) or 1.0)
    variances = [noise.cumulant(2, v) for v in values]
    if not min(variances, default=0.0) > rounding ** (2 * _DIGITS) * noise.n * noise.variance:
        raise ValueError("the noise must not be zero along any direction, got equal gradients for all samples, to rounding")
    return values, variances


def _relative_error(noise: SamplingNoise, variance: float, rounding: float) -> float:
    """Error of the noise along a direction; it sees the errors of the values as it sees independent values of their size."""
    return rounding * max(1.0, math.sqrt(noise.n * noise.variance / variance))


def _draws(noise: SamplingNoise, v: FloatArray, n_draws: int, generator: np.random.Generator) -> FloatArray:
    """Draws of the noise along one direction, less their mean."""
    if type(noise) is Gaussian:  # then it is normal, and one number a draw does
        return math.sqrt(noise.cumulant(2, v)) * generator.standard_normal(n_draws)
    if noise.sum_variance == 0:
        v = v - v.mean()  # the weights sum to one, so shifts do not matter, and rounding then matters least
    drawn = [W @ v for W in draw_in_parts(noise, n_draws, generator, _HELD)]
    return np.concatenate(drawn) - noise.mean * v.sum()
