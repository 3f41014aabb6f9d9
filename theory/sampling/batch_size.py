"""Batch sizes: the noise power of a minibatch, and what gives one batch the noise of another.

The square of a noise's strength is v - c, the factor of I - J/n in Var W; `minibatch_power` is that of a minibatch.
"""

from __future__ import annotations

import math
from fractions import Fraction

from gradnoise.theory._float_range import root, within_floats, within_floats_or_infinite
from gradnoise.theory._validation import as_count, as_flag, as_number
from gradnoise.theory.sampling.exchangeable import SamplingNoise
from gradnoise.theory.sampling.noise_argument import as_noise

__all__ = ["compensating_alpha", "compensating_noise_batch_size", "effective_batch_size", "minibatch_power"]


def minibatch_power(n: int, batch_size: float, replacement: bool = True) -> Fraction:
    r"""Noise power v - c of a minibatch, whose covariance is :math:`\mathrm{Var}\,W = (v - c)(I - J/n)`.

    Parameters
    ----------
    n : int
        Number of samples.
    batch_size : float
        b > 0, which need not be whole; b <= n without replacement.
    replacement : bool
        Whether a sample can be drawn twice.

    Returns
    -------
    Fraction
        Exact; zero for n = 1 without replacement.

    References
    ----------
    wu2019, Proposition 1.

    Examples
    --------
    >>> from gradnoise.theory.sampling import minibatch_power
    >>> minibatch_power(7, 3), minibatch_power(7, 3, replacement=False)
    (Fraction(1, 21), Fraction(2, 63))
    """
    n = as_count(n, "n")
    limit = math.inf if as_flag(replacement, "replacement") else n
    b = Fraction(as_number(batch_size, "batch_size", above=0, at_most=limit))
    if replacement:
        return 1 / (b * n)  # wu2019, Eq. (4)
    return (n - b) / (b * n * (n - 1)) if n > 1 else Fraction(0)  # wu2019, Eq. (5)


@within_floats_or_infinite
def effective_batch_size(noise: SamplingNoise, replacement: bool = True) -> float:
    """Batch size of the minibatch whose v - c is that of `noise`.

    Parameters
    ----------
    noise : SamplingNoise
        Any noise.
    replacement : bool
        Whether that minibatch is drawn with replacement.

    Returns
    -------
    float
        With: 1/(n (v - c)), infinite where v = c. Without: n/(1 + n (n - 1)(v - c)), which is n where v = c.

    References
    ----------
    ne2021, Eq. (11), made exact for finite n.

    Examples
    --------
    >>> from gradnoise.theory.sampling import Gaussian, effective_batch_size
    >>> effective_batch_size(Gaussian(8, 4))
    4.0
    """
    n, power = as_noise(noise).n, noise._exact((2,)) - noise._exact((1, 1))
    if as_flag(replacement, "replacement"):
        return float(1 / (n * power)) if power > 0 else math.inf
    return float(n / (1 + n * (n - 1) * power))


@within_floats
def compensating_alpha(batch_size: int, target_batch_size: float, n: int | None = None) -> float:
    """The alpha >= 1/2 with which noise enhancement gives a batch the noise of another batch size.

    Parameters
    ----------
    batch_size : int
        B, of the two minibatches that are drawn.
    target_batch_size : float
        b, whose noise is wanted; enhancement reaches every b up to the noise of alpha = 1/2, a batch of 2 B.
    n : int, optional
        Number of samples, if all minibatches are drawn without replacement from them; otherwise with.

    Returns
    -------
    float
        (1 + sqrt(2 c - 1))/2 with c = B/b (with) or c = B (n - b)/(b (n - B)) (without).

    Raises
    ------
    ValueError
        If no alpha gives that noise: c < 1/2, or B = n without replacement, where there is no noise to enhance.

    References
    ----------
    ne2021, Eqs. (10) and (11), solved for alpha.

    Examples
    --------
    >>> from gradnoise.theory.sampling import compensating_alpha
    >>> compensating_alpha(10, 2)
    2.0
    """
    B, b = _batch_pair(batch_size, target_batch_size, n)
    if n is not None and n == B:
        raise ValueError(f"batch_size = n = {B} without replacement has no noise that could be enhanced")
    # The strengths' quotient; with replacement the number of samples cancels.
    wanted, own = (minibatch_power(1 if n is None else n, float(size), replacement=n is None) for size in (b, B))
    c = wanted / own
    if c < 0.5:
        raise ValueError(f"target_batch_size = {float(b):g} has less noise than alpha = 1/2 leaves to batch_size = {batch_size}")
    return (1 + root(2 * c - 1)) / 2


def compensating_noise_batch_size(batch_size: int, target_batch_size: float, n: int | None = None) -> float:
    """The b' for which `GaussianMinibatch` has the v - c of a smaller batch.

    Parameters
    ----------
    batch_size : int
        B, of the large batch.
    target_batch_size : float
        b <= B, whose noise is wanted.
    n : int, optional
        Number of samples, if both batches are drawn without replacement and the noise is not centred. Centred noise takes
        none: its b' is the same with and without.

    Returns
    -------
    float
        b' = b B/(B - b), or b B (n - 1)/(n (B - b)) with `n`; infinite where b = B.

    Raises
    ------
    ValueError
        If b > B: a batch cannot be made less noisy by adding noise.

    References
    ----------
    wu2020, Algorithm 2, whose noise it leaves to tuning.

    Examples
    --------
    >>> from gradnoise.theory.sampling import compensating_noise_batch_size
    >>> compensating_noise_batch_size(12, 4)
    6.0
    """
    B, b = _batch_pair(batch_size, target_batch_size, n)
    if b > B:
        raise ValueError(f"target_batch_size must be <= batch_size = {batch_size}, got {float(b):g}")
    if b == B:
        return math.inf
    exact = b * B / (B - b)
    return float(exact if n is None else exact * Fraction(int(n) - 1, int(n)))


def check_batch(n: int, batch_size: int, name: str, replacement: bool) -> tuple[int, int]:
    """Return n and the batch size as integers, or raise unless such a batch can be drawn."""
    n = as_count(n, "n")
    as_flag(replacement, "replacement")
    return n, as_count(batch_size, name, at_most=None if replacement else n)


def _batch_pair(batch_size: int, target_batch_size: float, n: int | None) -> tuple[Fraction, Fraction]:
    limit = None if n is None else as_count(n, "n", at_least=2)
    B = as_count(batch_size, "batch_size", at_most=limit)
    b = as_number(target_batch_size, "target_batch_size", above=0, at_most=math.inf if limit is None else limit)
    return Fraction(B), Fraction(b)
