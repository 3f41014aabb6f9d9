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
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from gradnoise.simulations.neural.gradient_norms.outer_products import Layout, NoRuleError, Outer

__all__ = ["RULES", "Rule"]

Rule = Callable[[Tensor, Layout], Outer | Tensor]
"""From δ and where its samples are to their gradients: as outer products, or as rows (n, size of the parameter)."""


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
