"""What one use of a parameter, as a node of autograd's graph shows it, says of each sample's gradient.

A node keeps what its backward pass needs: a linear map its inputs a, a normalisation its statistics, an embedding its
indices. With δ, the gradient of the losses with respect to the node's output, the gradient of sample i is Σₜ δᵢₜ aᵢₜᵀ
(`Outer`, of which only the norm is formed) or small enough to be written down, as for a bias.

References
----------
Goodfellow 2015, arXiv:1510.01799 (linear layers); Rochette et al. 2019, arXiv:1912.06015 (convolutions);
Li et al. 2021, arXiv:2110.05679 (sequences and embeddings).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["RULES", "Layout", "NoRuleError", "Outer", "Rule", "squared_norms"]

_HELD, _HELD_ON_DEVICE = 2**19, 2**26  # numbers of a layer formed at once: within the processor's cache; on a GPU


class NoRuleError(Exception):
    """The gradients of the samples cannot be told from this use."""


@dataclass(frozen=True)
class Layout:
    """Where the samples are among the rows of an output.

    Attributes
    ----------
    n : int
        Samples.
    axis : int
        Of the samples, after the first axis was split.
    split : tuple of int, optional
        What the first axis is made of: (n, T) or (T, n).
    """

    n: int
    axis: int
    split: tuple[int, int] | None = None

    @classmethod
    def candidates(cls, shape: tuple[int, ...], n: int) -> Iterator[Layout]:
        """Yield the layouts that a shape allows."""
        if shape and shape[0] == n:
            yield cls(n, 0)
        if len(shape) > 2 and shape[1] == n:
            yield cls(n, 1)
        if shape and shape[0] > n and shape[0] % n == 0:
            yield cls(n, 0, (n, shape[0] // n))
            yield cls(n, 1, (shape[0] // n, n))

    def samples_first(self, rows: Tensor) -> Tensor:
        """Return a tensor of this layout with the samples along its first axis."""
        return (rows if self.split is None else rows.unflatten(0, self.split)).movedim(self.axis, 0)

    def summed(self, rows: Tensor, kept: list[bool]) -> Tensor:
        """Sum over all axes but that of the samples and those that a parameter has: (n, size of the parameter)."""
        kept = kept if self.split is None else [False, *kept]
        if kept[self.axis] or (self.split is not None and kept[1]):
            raise NoRuleError  # the parameter has numbers of its own for each sample
        rest = [keep for axis, keep in enumerate(kept) if axis != self.axis]
        reduced = [1 + axis for axis, keep in enumerate(rest) if not keep]
        first = self.samples_first(rows)
        return (first.sum(reduced) if reduced else first).reshape(self.n, -1)


@dataclass(frozen=True)
class Outer:
    """Gradients of n samples as sums of outer products: Gᵢ = Σₜ leftᵢₜ rightᵢₜᵀ in each of some groups.

    Attributes
    ----------
    n, groups, steps : int
        Samples, blocks of the gradient, and summands.
    height, width : int
        Of a block.
    factors : callable
        Returns, for some samples, left (m, groups, steps, height) and right (m, groups, steps, width). If left is of int64 it is
        (m, 1, steps), and its vectors are those rows of the unit matrix.
    one_hot : bool
        Whether it is.
    """

    n: int
    groups: int
    steps: int
    height: int
    width: int
    factors: Callable[[slice], tuple[Tensor, Tensor]]
    one_hot: bool = False

    def transposed(self) -> Outer:
        """Return the same with left and right exchanged."""
        if self.one_hot:
            raise NoRuleError

        def factors(samples: slice) -> tuple[Tensor, Tensor]:
            left, right = self.factors(samples)
            return right, left

        return Outer(self.n, self.groups, self.steps, self.width, self.height, factors)


Rule = Callable[[Tensor, Layout], Outer | Tensor]
"""From δ and where its samples are to their gradients: as outer products, or as rows (n, size of the parameter)."""


def squared_norms(parts: list[Outer]) -> Tensor:
    """‖Σ Gᵢ‖² of each sample, (n,) in double precision, the sum being over the uses of one parameter.

    Either Gᵢ is formed, for a few samples at a time, or ‖Gᵢ‖² = Σₜₛ (leftₜ·leftₛ)(rightₜ·rightₛ): whichever takes less.
    """
    one = parts[0]
    steps, inner = sum(part.steps for part in parts), one.height + one.width
    formed = not any(part.one_hot for part in parts) and one.height * one.width <= steps * inner
    products = one.height * one.width if formed else 2 * steps**2
    found = []
    few, start = 1, 0
    while start < one.n:
        pairs = [part.factors(slice(start, start + few)) for part in parts]
        found.append(_by_gradient(pairs) if formed else _by_gram(pairs))
        start += few
        held = _HELD if found[0].device.type == "cpu" else _HELD_ON_DEVICE
        few = max(1, held // (one.groups * (products + steps * inner)))
    return torch.cat(found)


def _by_gradient(pairs: list[tuple[Tensor, Tensor]]) -> Tensor:
    gradients = sum(left.transpose(-1, -2) @ right for left, right in pairs)
    assert isinstance(gradients, Tensor)
    return gradients.flatten(1).square().sum(1).double()


def _by_gram(pairs: list[tuple[Tensor, Tensor]]) -> Tensor:
    blocks = []
    for one_hot in (False, True):
        alike = [pair for pair in pairs if (pair[0].dtype == torch.int64) == one_hot]
        if alike:
            blocks.append(tuple(torch.cat(side, dim=2) if len(alike) > 1 else side[0] for side in zip(*alike, strict=True)))
    total = 0
    for k, (left, right) in enumerate(blocks):
        if left.dtype != torch.int64 and left.shape[2] == 1:
            total += (left.square().sum(-1) * right.square().sum(-1)).flatten(1).sum(1).double()
            continue
        for j, (other_left, other_right) in enumerate(blocks[: k + 1]):
            products = _inner(left, other_left, right.dtype) * (right @ other_right.transpose(-1, -2))
            total += (1 if j == k else 2) * products.flatten(1).sum(1).double()
    assert isinstance(total, Tensor)
    return total.clamp(min=0)


def _inner(a: Tensor, b: Tensor, dtype: torch.dtype) -> Tensor:
    """Inner products of the vectors of a, (m, groups, T, size), and b, (m, groups, S, size): (m, groups, T, S)."""
    if a.dtype != torch.int64:
        return a @ b.transpose(-1, -2)
    if b.dtype == torch.int64:
        return (a.unsqueeze(-1) == b.unsqueeze(-2)).to(dtype)
    columns = b.transpose(-1, -2)
    return columns.gather(2, a.unsqueeze(-1).expand(-1, -1, -1, columns.shape[-1]))


def _product(rows: Tensor) -> Rule:
    """Rule of W in rows @ W."""

    def rule(delta: Tensor, layout: Layout) -> Outer:
        left, right = (_steps(layout.samples_first(t)) for t in (rows, delta))

        def factors(samples: slice) -> tuple[Tensor, Tensor]:
            return _working(left[samples]), _working(right[samples])

        return Outer(layout.n, 1, left.shape[2], left.shape[3], right.shape[3], factors)

    return rule


def _broadcast(seen: torch.Size, factor: Callable[[], Tensor] | None = None) -> Rule:
    """Rule of a parameter that is broadcast, and multiplied by a factor if there is one; the factor is made when it is needed."""

    def rule(delta: Tensor, layout: Layout) -> Tensor:
        if len(seen) > delta.ndim:
            raise NoRuleError
        kept = [False] * (delta.ndim - len(seen)) + [size != 1 for size in seen]
        product = _working(delta) if factor is None else _working(delta) * _working(factor())
        return layout.summed(product, kept)

    return rule


def _addmm(node: Any, argument: int, seen: torch.Size) -> Rule | None:
    if argument == 1 or node._saved_alpha != 1 or node._saved_beta != 1:
        return None
    return _broadcast(seen) if argument == 0 else _product(node._saved_mat1.detach())


def _mm(node: Any, argument: int, seen: torch.Size) -> Rule | None:
    return _product(node._saved_self.detach()) if argument == 1 else None


def _add(node: Any, argument: int, seen: torch.Size) -> Rule | None:
    return _broadcast(seen) if argument == 0 or node._saved_alpha == 1 else None


def _mul(node: Any, argument: int, seen: torch.Size) -> Rule | None:
    other = (node._saved_self if argument == 1 else node._saved_other).detach()
    return _broadcast(seen, lambda: other)


def _expand(node: Any, argument: int, seen: torch.Size) -> Rule | None:
    return _broadcast(seen)


def _repeat(node: Any, argument: int, seen: torch.Size) -> Rule | None:
    """Rule of a vector that is repeated for each sample, as instance normalisation does."""
    if len(seen) != 1 or len(node._saved_repeats) != 1:
        return None

    def rule(delta: Tensor, layout: Layout) -> Tensor:
        if layout != Layout(layout.n, 0, (layout.n, seen[0])):
            raise NoRuleError
        return _working(delta).reshape(layout.n, seen[0])

    return rule


def _prelu(node: Any, argument: int, seen: torch.Size) -> Rule | None:
    x = node._saved_self.detach()
    return _broadcast(seen, lambda: x.clamp(max=0)) if argument == 1 else None


def _layer_norm(node: Any, argument: int, seen: torch.Size) -> Rule | None:
    if argument == 2:
        return _broadcast(seen)
    x, mean, scale = node._saved_input.detach(), node._saved_result1, node._saved_result2
    return _broadcast(seen, lambda: (x - mean) * scale)


def _channels(node: Any, seen: torch.Size) -> torch.Size:
    """Shape of a number for each channel, the second axis of the input."""
    return torch.Size([*seen, *[1] * (node._saved_input.ndim - 2)])


def _group_norm(node: Any, argument: int, seen: torch.Size) -> Rule | None:
    channels = _channels(node, seen)
    if argument == 2:
        return _broadcast(channels)
    x, shape = node._saved_input.detach(), (node._saved_N, node._saved_group, -1)
    mean, scale = (t.unsqueeze(-1) for t in (node._saved_result1, node._saved_result2))
    return _broadcast(channels, lambda: ((x.reshape(shape) - mean) * scale).reshape(x.shape))


def _batch_norm(node: Any, argument: int, seen: torch.Size) -> Rule | None:
    channels = _channels(node, seen)
    if argument == 2:
        return _broadcast(channels)
    if node._saved_training:
        return None
    mean, variance = node._saved_running_mean.reshape(channels), node._saved_running_var.reshape(channels)
    x, scale = node._saved_input.detach(), torch.rsqrt(variance + node._saved_eps)
    return _broadcast(channels, lambda: (x - mean) * scale)


def _embedding(node: Any, argument: int, seen: torch.Size) -> Rule | None:
    if node._saved_scale_grad_by_freq:  # a sample's gradient would depend on the others
        return None
    indices, padding = node._saved_indices, node._saved_padding_idx

    def rule(delta: Tensor, layout: Layout) -> Outer:
        tokens, right = layout.samples_first(indices).reshape(layout.n, 1, -1).long(), _steps(layout.samples_first(delta))

        def factors(samples: slice) -> tuple[Tensor, Tensor]:
            here = tokens[samples]
            return here, _working(right[samples]) * (here != padding).unsqueeze(-1)

        return Outer(layout.n, 1, tokens.shape[2], seen[0], seen[1], factors, one_hot=True)

    return rule


def _convolution(node: Any, argument: int, seen: torch.Size) -> Rule | None:
    """Rule of a convolution of any dimension; in a transposed one, input and output change places."""
    if argument == 2:
        return _broadcast(_channels(node, seen))
    if argument == 0:
        return None
    x, groups, kernel = node._saved_input.detach(), node._saved_groups, seen[2:]
    geometry = (tuple(kernel), *(tuple(size) for size in (node._saved_stride, node._saved_padding, node._saved_dilation)))

    def rule(delta: Tensor, layout: Layout) -> Outer:
        if layout.axis == 1 and layout.split is None:
            raise NoRuleError  # the second axis is that of the channels
        wide, narrow = (layout.samples_first(t) for t in ((delta, x) if node._saved_transposed else (x, delta)))
        size = tuple(narrow.shape[-len(kernel) :])
        times = 1 if layout.split is None else narrow.shape[1]

        def factors(samples: slice) -> tuple[Tensor, Tensor]:
            sides = []
            for t in (_working(narrow[samples]), _patches(_working(wide[samples]), size, *geometry)):
                t = t.reshape(t.shape[0], times, groups, -1, math.prod(size))
                sides.append(t.permute(0, 2, 1, 4, 3).flatten(2, 3) if times > 1 else t.squeeze(1).transpose(-1, -2))
            return sides[0], sides[1]

        width = seen[1] * math.prod(kernel)
        return Outer(layout.n, groups, times * math.prod(size), seen[0] // groups, width, factors)

    return rule


def _patches(
    x: Tensor,
    size: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
) -> Tensor:
    """What a kernel sees at each of its places: (..., channels, *kernel, *size) of (..., channels, *)."""
    padded = functional.pad(x, [width for pad in reversed(padding) for width in (pad, pad)]) if any(padding) else x
    strides, spatial = padded.stride(), padded.stride()[-len(size) :]
    inside = [d * s for d, s in zip(dilation, spatial, strict=True)]
    along = [step * s for step, s in zip(stride, spatial, strict=True)]
    lead = padded.ndim - len(size)
    return padded.as_strided((*padded.shape[:lead], *kernel, *size), (*strides[:lead], *inside, *along), padded.storage_offset())


def _steps(rows: Tensor) -> Tensor:
    """(n, ..., size) as (n, 1, T, size)."""
    return rows.reshape(rows.shape[0], 1, -1, rows.shape[-1])


def _working(t: Tensor) -> Tensor:
    """At least in single precision."""
    return t.float() if t.dtype in (torch.float16, torch.bfloat16) else t


# By the name of the node; the next argument is the parameter's place among those of the node.
RULES: dict[str, Callable[[Any, int, torch.Size], Rule | None]] = {
    "AddBackward0": _add,
    "AddmmBackward0": _addmm,
    "ConvolutionBackward0": _convolution,
    "EmbeddingBackward0": _embedding,
    "ExpandBackward0": _expand,
    "MmBackward0": _mm,
    "MulBackward0": _mul,
    "NativeBatchNormBackward0": _batch_norm,
    "NativeGroupNormBackward0": _group_norm,
    "NativeLayerNormBackward0": _layer_norm,
    "PreluKernelBackward0": _prelu,
    "RepeatBackward0": _repeat,
}
