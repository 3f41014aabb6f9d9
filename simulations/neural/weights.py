"""Draw sampling vectors on a device, so that ``(weights(noise, generator) * losses).sum()`` is a loss to step along.

A GPU draws them where the losses are, without a copy; `gradnoise.simulations.sampling` draws them for NumPy. Both are tested
against the moments of `gradnoise.theory.sampling`.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from gradnoise.simulations.sampling import Rules
from gradnoise.theory import sampling as classes
from gradnoise.theory._validation import as_count
from gradnoise.theory.sampling import SamplingNoise, as_noise

__all__ = ["DRAWN_BY_TORCH", "weights"]

#: Draws with torch: ``rule(noise, size, generator, dtype)`` returns a (size, n) tensor on the generator's device.
DRAWN_BY_TORCH = Rules("must have a method draw_torch(size, generator, dtype)", "draw_torch")


def weights(
    noise: SamplingNoise, generator: torch.Generator, *, size: int | None = None, dtype: torch.dtype | None = None
) -> Tensor:
    """Draw sampling vectors W; a stochastic gradient is that of ``(W * losses).sum()``.

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
        Floating point; torch's default if not given.

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
    if not isinstance(generator, torch.Generator):
        raise TypeError(f"generator must be a torch.Generator, got {generator!r}")
    kind: torch.dtype = torch.get_default_dtype() if dtype is None else dtype
    if not kind.is_floating_point:
        raise TypeError(f"dtype must be a floating point type, got {kind}")
    drawn = _draw(noise, 1 if size is None else as_count(size, "size"), generator, kind)
    return drawn[0] if size is None else drawn


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
    return _spread(_chosen(noise, noise.batch_size, size, generator), 1 / noise.batch_size, noise.n, dtype)


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
    counts = _spread(_chosen(noise, B, size, generator), 1.0, n, dtype)
    z = _normals(size, n, generator, dtype)
    if noise.form == "fisher":
        return 1 / n + scale / B * counts * z
    if noise.form == "cov":
        return 1 / n + scale * counts * (z - (counts * z).sum(dim=1, keepdim=True) / B)
    return 1 / n + scale * (counts / B - 1 / n) * z


@DRAWN_BY_TORCH.of(classes.GaussianMinibatch)
def _gaussian_minibatch(noise: classes.GaussianMinibatch, size: int, generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    B = noise.batch_size
    z = _normals(size, B, generator, dtype)
    if noise.centered:
        z = z - z.mean(dim=1, keepdim=True)
    return _spread(_chosen(noise, B, size, generator), 1 / B + noise.noise_scale * z, noise.n, dtype)


def _normals(size: int, columns: int, generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    return torch.randn(size, columns, generator=generator, device=generator.device, dtype=dtype)


def _component_weights(noise: classes.Gaussian | classes.Rademacher | classes.StudentT, components: Tensor) -> Tensor:
    if noise.centered:
        components = components - components.mean(dim=1, keepdim=True)
    return 1 / noise.n + math.sqrt(noise.centred_power) * components


def _chosen(
    noise: classes.Minibatch | classes.SparseGaussian | classes.GaussianMinibatch,
    draws: int,
    size: int,
    generator: torch.Generator,
) -> Tensor:
    """Indices of the samples that are drawn, (size, draws)."""
    if noise.replacement:
        return torch.randint(noise.n, (size, draws), generator=generator, device=generator.device)
    # The first of a random order; in double precision ties are too rare to count.
    order = torch.rand(size, noise.n, generator=generator, device=generator.device, dtype=torch.float64)
    return order.topk(draws, dim=1).indices


def _spread(chosen: Tensor, values: Tensor | float, n: int, dtype: torch.dtype) -> Tensor:
    """Add a value for each draw to the sample that was drawn."""
    if not isinstance(values, Tensor):
        values = torch.full(chosen.shape, values, device=chosen.device, dtype=dtype)
    return torch.zeros(len(chosen), n, device=chosen.device, dtype=dtype).scatter_add_(1, chosen, values)
