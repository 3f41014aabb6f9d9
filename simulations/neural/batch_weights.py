"""Weights of a batch alone: of one that a DataLoader has drawn, or drawn together with its samples.

Of a noise that weighs few samples, a step needs only those: as many in each step, so that shapes do not change, and found without
asking the device. `gradnoise.simulations.neural.weights` draws W as a vector over all n.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from gradnoise.simulations.neural.weights import chosen, dtypes, weights
from gradnoise.simulations.sampling import Rules
from gradnoise.theory import sampling as classes
from gradnoise.theory._validation import as_count
from gradnoise.theory.sampling import SamplingNoise, as_noise

__all__ = ["WeightedBatch", "batch_weights", "weighted_batch"]

_FIXED = (classes.Minibatch, classes.GaussianMinibatch)  # draw batches of a fixed size

#: Weights of a given batch: ``rule(noise, size, generator, dtype)`` returns a (size,) tensor.
_OF_BATCH = Rules(
    "weighs no batch by itself, as Minibatch, GaussianMinibatch, Bernoulli and Enhanced of the first two do; "
    "for Algorithm 2 with another noise draw weights(Gaussian(B, b), generator) over the B samples of the batch"
)


@dataclass(frozen=True, eq=False)
class WeightedBatch:
    """The samples that a stochastic gradient is made of, and their weights.

    Attributes
    ----------
    samples : (m,) Tensor of int64, or None
        One that is drawn twice is named twice. None stands for all n in their order.
    weights : (m,) or (n,) Tensor
        W_i, or its part that belongs to a draw.

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.batch_weights import weighted_batch
    >>> from gradnoise.theory.sampling import Minibatch
    >>> batch = weighted_batch(Minibatch(3, 2, replacement=False), torch.Generator().manual_seed(1))
    >>> len(batch.samples.unique()), batch.weights
    (2, tensor([0.5000, 0.5000]))
    """

    samples: Tensor | None
    weights: Tensor


def batch_weights(
    noise: SamplingNoise, generator: torch.Generator, *, size: int | None = None, dtype: torch.dtype | None = None
) -> Tensor:
    """Draw the weights of a batch whose samples are drawn already: a noisy gradient is that of ``(w * losses).sum()``.

    It is the law of W given its batch, so that W over all n samples has the moments that `noise` states, if the loader draws
    as `noise` says. A ragged last batch has the law of the same class with its own size for a batch size: SGD's part of
    the noise is that of the smaller batch, what is added is as strong as before, and the weights still sum to one in the mean.

    Parameters
    ----------
    noise : Minibatch, GaussianMinibatch, Bernoulli, or Enhanced of the first two
        "GaussianMinibatch" is Algorithm 2 of wu2020: ``compensating_noise_batch_size(B, b)`` gives batches of B the noise of
        a batch of b. "Enhanced" takes the two minibatches that it needs from one batch of 2B, its first and second half.
    generator : torch.Generator
        Is used up. Its device is that of the result.
    size : int, optional
        Samples in this batch, if it is not full; at most as many as in a full one. For Bernoulli, whose batches vary, it must
        be given, and may be 0.
    dtype : torch.dtype, optional
        Of the losses; as for `gradnoise.simulations.neural.weights.weights`.

    Returns
    -------
    (size,) Tensor

    Raises
    ------
    TypeError
        If `noise` is of another class.
    ValueError
        If there cannot be as many samples in a batch.

    Notes
    -----
    - Accumulation over micro-batches: draw the weights of the whole batch once, take ``w.split(m)``, and call ``backward()`` for
      each part; the sums of the parts add up to the sum of w, with no division by their number. Weights that are drawn for each
      part, and divided by their number, have a noise that is weaker by that factor in its variance.
    - Momentum and adaptive steps see the noisy gradient as they see any other. Weight decay belongs to the optimizer, or is added
      to the loss after the sum; it is not a sample's loss, and no weight multiplies it.
    - A DataLoader with ``shuffle=True`` draws without replacement: say ``replacement=False``, and, for noise that is not centred,
      give n to ``compensating_noise_batch_size``. The two halves of such a batch have no sample in common, where those of
      "Enhanced" are independent: this adds 2 alpha (alpha - 1) / (n (n - 1)) to v - c.
    - Centred Gaussian weights sum to one exactly. A batch of one sample leaves nothing to centre, and its weight is 1; nor has it
      a second half to enhance.

    References
    ----------
    wu2020, Algorithm 2; ne2021, Eq. (6).

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.batch_weights import batch_weights
    >>> from gradnoise.theory.sampling import GaussianMinibatch, compensating_noise_batch_size
    >>> noise = GaussianMinibatch(1000, 64, compensating_noise_batch_size(64, 16), centered=True)
    >>> generator = torch.Generator().manual_seed(1)
    >>> full, last = batch_weights(noise, generator), batch_weights(noise, generator, size=40)
    >>> len(full), len(last), round(float(full.sum()), 5), round(float(last.sum()), 5)
    (64, 40, 1.0, 1.0)
    """
    as_noise(noise)
    kind, wide = dtypes(generator, dtype)
    m = _size_of(noise, size) if noise in _OF_BATCH else 0
    return _OF_BATCH.apply(noise, m, generator, wide).to(kind)


def weighted_batch(noise: SamplingNoise, generator: torch.Generator, *, dtype: torch.dtype | None = None) -> WeightedBatch:
    """Draw the samples that have a weight, and their weights: W in as few numbers as there are draws.

    The same generator gives the same W as `gradnoise.simulations.neural.weights.weights`. Samples that are drawn twice are not
    merged, so that every batch of a noise has one shape; only Bernoulli's batches vary, whose size is a random number that the
    device has to be asked for, and may be empty.

    Parameters
    ----------
    noise : SamplingNoise
        One that weighs all samples, or draws as many as there are, gives all of them.
    generator : torch.Generator
        Is used up. Its device is that of the result.
    dtype : torch.dtype, optional
        As for `gradnoise.simulations.neural.weights.weights`.

    Returns
    -------
    WeightedBatch

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.batch_weights import weighted_batch
    >>> from gradnoise.theory.sampling import Minibatch
    >>> batch = weighted_batch(Minibatch(1000, 4), torch.Generator().manual_seed(1))
    >>> batch.samples.shape, batch.weights
    (torch.Size([4]), tensor([0.2500, 0.2500, 0.2500, 0.2500]))
    """
    as_noise(noise)
    if _draws(noise) < noise.n:
        kind, wide = dtypes(generator, dtype)
        samples, w = _drawn(noise, generator, wide)
        return WeightedBatch(samples, w.to(kind))
    return WeightedBatch(None, weights(noise, generator, dtype=dtype))


def _size_of(noise: SamplingNoise, size: int | None) -> int:
    """Return the size of a batch, that of a full one for None."""
    if isinstance(noise, classes.Bernoulli):
        if size is None:
            raise ValueError("size must be given for Bernoulli, whose batches vary, got None")
        return as_count(size, "size", at_least=0, at_most=noise.n)
    full = _full(noise)
    return full if size is None else as_count(size, "size", at_most=full)


def _full(noise: SamplingNoise) -> int:
    """Samples in a full batch."""
    if isinstance(noise, classes.Enhanced):
        return 2 * _full(noise.base)
    if type(noise) in _FIXED:
        return noise.batch_size  # type: ignore[attr-defined]
    raise TypeError(f"noise that is enhanced in a batch must be Minibatch or GaussianMinibatch, got {type(noise).__name__}")


@_OF_BATCH.of(classes.Minibatch)
def _minibatch(noise: classes.Minibatch, size: int, generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    return torch.full((size,), 1 / size, device=generator.device, dtype=dtype)


@_OF_BATCH.of(classes.Bernoulli)
def _bernoulli(noise: classes.Bernoulli, size: int, generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    return torch.full((size,), 1 / noise.batch_size, device=generator.device, dtype=dtype)


@_OF_BATCH.of(classes.GaussianMinibatch)
def _gaussian_minibatch(noise: classes.GaussianMinibatch, size: int, generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    if noise.centered and size == 1:
        return torch.ones(1, device=generator.device, dtype=dtype)
    z = torch.randn(size, generator=generator, device=generator.device, dtype=dtype)
    if noise.centered:
        z = z - z.mean()
    return 1 / size + replace(noise, batch_size=size).noise_scale * z


@_OF_BATCH.of(classes.Enhanced)
def _enhanced(noise: classes.Enhanced, size: int, generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    if size == 1:
        return _OF_BATCH.apply(noise.base, 1, generator, dtype)
    first, second = (_OF_BATCH.apply(noise.base, m, generator, dtype) for m in ((size + 1) // 2, size // 2))
    return torch.cat([noise.alpha * first, (1 - noise.alpha) * second])


def _draws(noise: SamplingNoise) -> int:
    """Samples that a step draws, for Bernoulli in the mean; n where all of them have a weight."""
    if type(noise) is classes.Enhanced:
        return 2 * _draws(noise.base)
    if type(noise) in (*_FIXED, classes.Bernoulli):
        return noise.batch_size  # type: ignore[attr-defined]
    return noise.n


def _drawn(noise: Any, generator: torch.Generator, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Draw samples and weights, by the same random numbers in the same order as the whole W."""
    if isinstance(noise, classes.Enhanced):
        (first, v), (second, w) = (_drawn(noise.base, generator, dtype) for _ in range(2))
        return torch.cat([first, second]), torch.cat([noise.alpha * v, (1 - noise.alpha) * w])
    if isinstance(noise, classes.Bernoulli):
        samples = weights(noise, generator, dtype=dtype).nonzero().squeeze(1)
        return samples, _bernoulli(noise, len(samples), generator, dtype)
    w = _OF_BATCH.apply(noise, noise.batch_size, generator, dtype)
    return chosen(noise, noise.batch_size, 1, generator)[0], w
