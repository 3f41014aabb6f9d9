"""Gradients of samples as sums of outer products, of which only the norms are formed, and where the samples are among rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Layout", "NoRuleError", "Outer", "squared_norms"]

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
