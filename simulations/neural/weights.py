"""Draw sampling vectors on a device, so that ``(weights(noise, generator) * losses).sum()`` is a loss to step along.

A GPU draws them where the losses are, without a copy; `gradnoise.simulations.sampling` draws them for NumPy. Both are tested
against the moments of `gradnoise.theory.sampling`.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from gradnoise.simulations.sampling import is_ours
from gradnoise.theory import sampling as classes
from gradnoise.theory._validation import as_count
from gradnoise.theory.sampling import SamplingNoise

__all__ = ["weights"]


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
    """
    if not isinstance(noise, SamplingNoise):
        raise TypeError(f"noise must be a SamplingNoise, got {noise!r}")
    if not isinstance(generator, torch.Generator):
        raise TypeError(f"generator must be a torch.Generator, got {generator!r}")
    kind: torch.dtype = torch.get_default_dtype() if dtype is None else dtype
    if not kind.is_floating_point:
        raise TypeError(f"dtype must be a floating point type, got {kind}")
    drawn = _draw(noise, 1 if size is None else as_count(size, "size"), generator, kind)
    return drawn[0] if size is None else drawn


def _draw(noise: SamplingNoise, size: int, generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    if isinstance(noise, classes.Enhanced):
        first, second = (_draw(noise.base, size, generator, dtype) for _ in range(2))
        return noise.alpha * first + (1 - noise.alpha) * second
    own = getattr(noise, "draw_torch", None)
    if callable(own):
        drawn: Any = own(size, generator, dtype)
        if not isinstance(drawn, Tensor) or drawn.shape != (size, noise.n):
            raise ValueError(f"{type(noise).__name__}.draw_torch must return a tensor of shape {(size, noise.n)}")
        return drawn
    if not is_ours(noise):
        raise TypeError(f"noise of class {type(noise).__name__} must have a method draw_torch(size, generator, dtype)")
    device, n = generator.device, noise.n

    def normals(columns: int) -> Tensor:
        return torch.randn(size, columns, generator=generator, device=device, dtype=dtype)

    match noise:
        case classes.Minibatch():
            return _spread(_chosen(noise, noise.batch_size, size, generator), 1 / noise.batch_size, n, dtype)
        case classes.Gaussian():
            return _component_weights(noise, normals(n))
        case classes.Rademacher():
            signs = torch.randint(2, (size, n), generator=generator, device=device)
            return _component_weights(noise, 2 * signs.to(dtype) - 1)
        case classes.StudentT():
            halves = torch.full((size, n), noise.df / 2, device=device, dtype=dtype)
            # torch.distributions takes no generator.
            chi_square = 2 * torch._standard_gamma(halves, generator=generator)  # pyright: ignore[reportPrivateImportUsage]
            return _component_weights(noise, normals(n) * ((noise.df - 2) / chi_square).sqrt())  # of unit variance
        case classes.Bernoulli():
            share = torch.rand(size, n, generator=generator, device=device, dtype=torch.float64)
            return (share < noise.batch_size / n).to(dtype) / noise.batch_size
        case classes.SparseGaussian():
            B = noise.support_size
            counts = _spread(_chosen(noise, B, size, generator), 1.0, n, dtype)
            z, scale = normals(n), noise.noise_scale
            if noise.form == "fisher":
                return 1 / n + scale / B * counts * z
            if noise.form == "cov":
                return 1 / n + scale * counts * (z - (counts * z).sum(dim=1, keepdim=True) / B)
            return 1 / n + scale * (counts / B - 1 / n) * z
        case classes.GaussianMinibatch():
            z = normals(noise.batch_size)
            if noise.centered:
                z = z - z.mean(dim=1, keepdim=True)
            return _spread(
                _chosen(noise, noise.batch_size, size, generator), 1 / noise.batch_size + noise.noise_scale * z, n, dtype
            )
    raise AssertionError(f"no rule for {noise!r}")


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
