"""What a caller may give for a noise: a sampling vector, or a batch size that stands for one."""

from __future__ import annotations

import numbers
from collections.abc import Callable

from gradnoise.theory._validation import as_count, as_flag, as_instance, as_text, is_number, shown
from gradnoise.theory.sampling.exchangeable import SamplingNoise

__all__ = ["as_noise"]


def as_noise(
    value: object,
    name: str = "noise",
    *,
    n: int | None = None,
    default: Callable[..., SamplingNoise] | None = None,
    replacement: bool = True,
    at_most: int | None = None,
    some: bool = False,
) -> SamplingNoise:
    """Return the noise that an argument is, or, if it is a batch size, stands for.

    Parameters
    ----------
    value : SamplingNoise or int
        What was given.
    name : str
        Of the argument, for messages.
    n : int, optional
        Number of samples that the noise must be over; any if not given.
    default : callable, optional
        The class that a batch size b stands for, made as ``default(n, b, replacement=replacement)``; `Minibatch` and `Gaussian`
        are such classes. Without it a batch size is refused.
    replacement : bool
        Of the batch; applies to a batch size only, which is at most n without.
    at_most : int, optional
        Largest batch size.
    some : bool
        Whether v = c, a noise that the centred gradients do not see, is refused.

    Returns
    -------
    SamplingNoise

    Raises
    ------
    TypeError, ValueError
        If it is neither, or is not allowed; the message names the argument, what was given and what is allowed.

    Examples
    --------
    >>> from gradnoise.theory.sampling import Gaussian, Minibatch, as_noise
    >>> as_noise(3, "batch_size", n=11, default=Minibatch)
    Minibatch(n=11, batch_size=3, replacement=True)
    >>> as_noise(Gaussian(7, 2.5), "batch_size", n=11, default=Minibatch)
    Traceback (most recent call last):
    ...
    ValueError: batch_size must be a noise over the 11 samples, got Gaussian(n=7, batch_size=2.5, centered=True, replacement=True)
    """
    name = as_text(name, "name")
    if isinstance(value, SamplingNoise):
        noise = value
    elif default is None:
        raise TypeError(f"{name} must be a SamplingNoise, got {shown(value)}")
    elif not is_number(value, numbers.Integral):
        raise TypeError(f"{name} must be an integer or a SamplingNoise, got {shown(value)}")
    elif not _can_make_noise(default):
        raise TypeError(f"default must be a class of noise, got {shown(default)}")
    else:
        n, at_most = as_count(n, "n"), None if at_most is None else as_count(at_most, "at_most")
        if not as_flag(replacement, "replacement"):
            at_most = n if at_most is None else min(n, at_most)
        noise = default(n, as_count(value, name, at_most=at_most), replacement=replacement)
        as_instance(noise, "what default makes", SamplingNoise)
    if n is not None and noise.n != n:
        raise ValueError(f"{name} must be a noise over the {n} samples, got {shown(noise)}")
    if as_flag(some, "some") and noise.centred_power <= 0:
        raise ValueError(f"{name} must leave some noise, v > c, got {shown(noise)}")
    return noise


def _can_make_noise(default: object) -> bool:
    """Whether it is a class of noise, or a function, which may make one."""
    return issubclass(default, SamplingNoise) if isinstance(default, type) else callable(default)
