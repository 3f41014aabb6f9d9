"""Draw sampling vectors on a device, so that ``(weights(noise, generator) * losses).sum()`` is a loss to step along.

A GPU draws them where the losses are, without a copy; `gradnoise.simulations.sampling` draws them for NumPy. Both are tested
against the moments of `gradnoise.theory.sampling`.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from gradnoise.simulations.ensemble import check_fits
from gradnoise.simulations.neural.devices import as_generator
from gradnoise.simulations.sampling import Rules
from gradnoise.theory import sampling as classes
from gradnoise.theory._validation import as_count
from gradnoise.theory.sampling import SamplingNoise, as_noise

__all__ = ["DRAWN_BY_TORCH", "weights"]

_MANY = 16  # draws for each sample, above which they are counted without being listed
COUNTABLE = 2**53  # draws that a number of double precision can count

#: A class that draws samples, with or without replacement.
Drawing = classes.Minibatch | classes.SparseGaussian | classes.GaussianMinibatch

#: Draws with torch: ``rule(noise, size, generator, dtype)`` returns a (size, n) tensor on the generator's device.
DRAWN_BY_TORCH = Rules("must have a method draw_torch(size, generator, dtype)", "draw_torch")


def weights(
    noise: SamplingNoise, generator: torch.Generator, *, size: int | None = None, dtype: torch.dtype | None = None
) -> Tensor:
    """Draw sampling vectors W; a stochastic gradient is that of ``(W * losses).sum()``.

    W is over all n samples; for a batch of a DataLoader there is `gradnoise.simulations.neural.batch_weights`.

    Parameters
    ----------
    noise : SamplingNoise
        A class of `gradnoise.theory.sampling`, or a subclass of your own with a method
        ``draw_torch(size, generator, dtype)`` that returns a (size, n) tensor.
    generator : torch.Generator
        Is used up. Its device is that of the result.
    size : int, optional
        How many; one, without an axis of its own, by default.
    dtype : torch.dtype, optional
        Floating point; torch's default if not given. Weights of half a precision are drawn in a single one and rounded last:
        each is then right to its last bit, but they no longer sum to what they should.

    Returns
    -------
    (n,) or (size, n) Tensor

    Raises
    ------
    TypeError
        If it is not known how to draw from `noise`, or the generator is not torch's.

    References
    ----------
    wu2019, Algorithm 1; wu2020, Algorithm 2.

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.weights import weights
    >>> from gradnoise.theory.sampling import Minibatch
    >>> weights(Minibatch(7, 3, replacement=False), torch.Generator().manual_seed(1)).count_nonzero().item()
    3
    """
    as_noise(noise)
    kind, wide = dtypes(generator, dtype)
    rows = 1 if size is None else as_count(size, "size")
    if generator.device.type == "cpu":
        check_fits(8 * rows * noise.n, f"size = {rows} makes weights")
    drawn = _draw(noise, rows, generator, wide).to(kind)
    return drawn[0] if size is None else drawn


def dtypes(generator: torch.Generator, dtype: torch.dtype | None) -> tuple[torch.dtype, torch.dtype]:
    """Return the dtype that is asked for and the one to draw in, which is at least of single precision.

    Parameters
    ----------
    generator : torch.Generator
        Is only seen to be one.
    dtype : torch.dtype or None
        As for `weights`.

    Returns
    -------
    asked, drawn : torch.dtype

    Raises
    ------
    TypeError
        If an argument is of the wrong kind.

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.weights import dtypes
    >>> dtypes(torch.Generator(), torch.bfloat16)
    (torch.bfloat16, torch.float32)
    """
    as_generator(generator)
    asked = torch.get_default_dtype() if dtype is None else dtype
    if not isinstance(asked, torch.dtype) or not asked.is_floating_point:
        raise TypeError(f"dtype must be a floating point type, got {asked}")
    return asked, torch.promote_types(asked, torch.float32)


def _draw(noise: SamplingNoise, size: int, generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    drawn: Any = DRAWN_BY_TORCH.apply(noise, size, generator, dtype)
    if not isinstance(drawn, Tensor) or drawn.shape != (size, noise.n):
        raise ValueError(f"{type(noise).__name__}.draw_torch must return a tensor of shape {(size, noise.n)}")
    return drawn


@DRAWN_BY_TORCH.of(classes.Enhanced)
def _enhanced(noise: classes.Enhanced, size: int, generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    first, second = (_draw(noise.base, size, generator, dtype) for _ in range(2))
    return noise.alpha * first + (1 - noise.alpha) * second


@DRAWN_BY_TORCH.of(classes.Minibatch)
def _minibatch(noise: classes.Minibatch, size: int, generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    return _counts(noise, noise.batch_size, size, generator).to(dtype) / noise.batch_size


@DRAWN_BY_TORCH.of(classes.Gaussian)
def _gaussian(noise: classes.Gaussian, size: int, generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    return _component_weights(noise, _normals(size, noise.n, generator, dtype))


@DRAWN_BY_TORCH.of(classes.Rademacher)
def _rademacher(noise: classes.Rademacher, size: int, generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    signs = torch.randint(2, (size, noise.n), generator=generator, device=generator.device)
    return _component_weights(noise, 2 * signs.to(dtype) - 1)


@DRAWN_BY_TORCH.of(classes.StudentT)
def _student(noise: classes.StudentT, size: int, generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    halves = torch.full((size, noise.n), noise.df / 2, device=generator.device, dtype=dtype)
    # torch.distributions takes no generator.
    chi_square = 2 * torch._standard_gamma(halves, generator=generator)  # pyright: ignore[reportPrivateImportUsage]
    z = _normals(size, noise.n, generator, dtype)
    return _component_weights(noise, z * ((noise.df - 2) / chi_square).sqrt())  # of unit variance


@DRAWN_BY_TORCH.of(classes.Bernoulli)
def _bernoulli(noise: classes.Bernoulli, size: int, generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    share = torch.rand(size, noise.n, generator=generator, device=generator.device, dtype=torch.float64)
    return (share < noise.batch_size / noise.n).to(dtype) / noise.batch_size


@DRAWN_BY_TORCH.of(classes.SparseGaussian)
def _sparse_gaussian(noise: classes.SparseGaussian, size: int, generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    n, B, scale = noise.n, noise.support_size, noise.noise_scale
    counts = _counts(noise, B, size, generator).to(dtype)
    z = _normals(size, n, generator, dtype)
    if noise.form == "fisher":
        return 1 / n + scale / B * counts * z
    if noise.form == "cov":
        return 1 / n + scale * counts * (z - (counts * z).sum(dim=1, keepdim=True) / B)
    return 1 / n + scale * (counts / B - 1 / n) * z


@DRAWN_BY_TORCH.of(classes.GaussianMinibatch)
def _gaussian_minibatch(noise: classes.GaussianMinibatch, size: int, generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    B = noise.batch_size
    if _are_many(noise, B):
        counts = _counts(noise, B, size, generator).to(dtype)
        sums = counts.sqrt() * _normals(size, noise.n, generator, dtype)  # as k independent normals have
        if noise.centered:
            sums = sums - counts / B * sums.sum(dim=1, keepdim=True)
        return counts / B + noise.noise_scale * sums
    z = _normals(size, B, generator, dtype)
    if noise.centered:
        z = z - z.mean(dim=1, keepdim=True)
    samples = chosen(noise, B, size, generator)
    sums = torch.zeros(size, noise.n, device=z.device, dtype=dtype).scatter_add_(1, samples, z)
    return _counted(samples, noise.n).to(dtype) / B + noise.noise_scale * sums


def chosen(noise: Drawing, draws: int, size: int, generator: torch.Generator) -> Tensor:
    """Draw which samples the batches are made of.

    Parameters
    ----------
    noise : Minibatch, SparseGaussian or GaussianMinibatch
        Says from how many samples, and whether a sample can be drawn twice.
    draws, size : int
        Samples of a batch, and batches.
    generator : torch.Generator
        Is used up.

    Returns
    -------
    (size, draws) Tensor of int64

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.weights import chosen
    >>> from gradnoise.theory.sampling import Minibatch
    >>> chosen(Minibatch(4, 4, replacement=False), 4, 1, torch.Generator().manual_seed(1)).sort().values.tolist()
    [[0, 1, 2, 3]]
    """
    if noise.replacement:
        return torch.randint(noise.n, (size, draws), generator=generator, device=generator.device)
    # The first of a random order; in double precision ties are too rare to count.
    order = torch.rand(size, noise.n, generator=generator, device=generator.device, dtype=torch.float64)
    return order.topk(draws, dim=1).indices


def _normals(size: int, columns: int, generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    return torch.randn(size, columns, generator=generator, device=generator.device, dtype=dtype)


def _component_weights(noise: classes.Gaussian | classes.Rademacher | classes.StudentT, components: Tensor) -> Tensor:
    if noise.centered:
        components = components - components.mean(dim=1, keepdim=True)
    return 1 / noise.n + math.sqrt(noise.centred_power) * components


def _are_many(noise: Drawing, draws: int) -> bool:
    return noise.replacement and draws > _MANY * noise.n


def _counts(noise: Drawing, draws: int, size: int, generator: torch.Generator) -> Tensor:
    """How often each sample is drawn, (size, n), in whole numbers: sums of 1/b would be off by the rounding of each."""
    if _are_many(noise, draws):
        return _multinomial(noise.n, draws, size, generator)
    return _counted(chosen(noise, draws, size, generator), noise.n)


def _counted(samples: Tensor, n: int) -> Tensor:
    one = torch.ones(1, 1, device=samples.device, dtype=torch.int64).expand_as(samples)
    return torch.zeros(len(samples), n, device=samples.device, dtype=torch.int64).scatter_add_(1, samples, one)


def _multinomial(n: int, draws: int, size: int, generator: torch.Generator) -> Tensor:
    """Counts of equally likely samples, (size, n): halves of halves, each a binomial, in memory that the draws do not use."""
    if draws > COUNTABLE:
        raise ValueError(f"batch_size must be at most 2^53 to be counted, got {draws}")
    samples = torch.tensor([n])  # in each part
    counts = torch.full((size, 1), draws, device=generator.device, dtype=torch.float64)
    while int(samples.max()) > 1:
        first = (samples + 1) // 2
        share = (first.double() / samples.clamp(min=1)).to(generator.device)
        drawn = torch.binomial(counts, share.expand_as(counts).contiguous(), generator=generator)
        counts = torch.stack([drawn, counts - drawn], dim=2).flatten(1)
        samples = torch.stack([first, samples - first], dim=1).flatten()
    return counts[:, samples.nonzero().squeeze(1).to(counts.device)]  # parts of odd numbers leave some without a sample
