"""First derivatives of a batch's losses, each by the first of several ways that is right for this network.

Forward mode is fast, but does not see where gradients are stopped (``no_grad``, ``detach``, padding) and does not know all
layers; two backward passes are slower; a backward pass for each sample works where any does. The plain backward pass, by which
the network is trained, is the reference.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.func import grad, vmap
from torch.utils._pytree import tree_map

from gradnoise.simulations.neural.batches import Batch, part, size_of
from gradnoise.simulations.neural.sample_losses import Parameters, SampleLosses

_HELD = 2**24  # numbers in the rows that are held at once
_MOVE = 0.1  # relative to the parameters


class ParameterSpace:
    """Parameters as one vector.

    Parameters
    ----------
    losses : SampleLosses

    Attributes
    ----------
    dimension : int
        d.
    device : torch.device
        Of the first parameter.
    dtype : torch.dtype
        The widest one of the parameters.

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.derivatives import ParameterSpace
    >>> from gradnoise.simulations.neural.sample_losses import SampleLosses
    >>> losses = SampleLosses(torch.nn.Linear(2, 1), torch.nn.MSELoss(reduction="none"))
    >>> ParameterSpace(losses).unflatten(torch.arange(3.0))
    {'weight': tensor([[0., 1.]]), 'bias': tensor([2.])}
    """

    def __init__(self, losses: SampleLosses) -> None:
        self._like = {name: (p.shape, p.dtype, p.device) for name, p in losses.parameters.items()}
        self.dimension = sum(shape.numel() for shape, _, _ in self._like.values())
        self.device = next(iter(self._like.values()))[2]
        self.dtype = torch.float64 if any(t == torch.float64 for _, t, _ in self._like.values()) else torch.float32

    def flatten(self, parts: Sequence[Tensor]) -> Tensor:
        """Return one tensor for each parameter as one vector (d,)."""
        dense = ((p.to_dense() if p.is_sparse else p).detach().reshape(-1) for p in parts)
        return torch.cat([p.to(device=self.device, dtype=self.dtype) for p in dense])

    def unflatten(self, vector: Tensor) -> Parameters:
        """Return a vector (d,) as parameters."""
        if vector.is_inference():  # which autograd does not take
            vector = vector.clone()
        parts = torch.split(vector.detach(), [shape.numel() for shape, _, _ in self._like.values()])
        return {
            name: p.reshape(shape).to(device=device, dtype=dtype)
            for (name, (shape, dtype, device)), p in zip(self._like.items(), parts, strict=True)
        }

    def probe(self, seed: int) -> Tensor:
        """Return a normal vector (d,) along which two ways to a product are compared."""
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(self.dimension, generator=generator, dtype=torch.float64).to(device=self.device, dtype=self.dtype)


def moved(parameters: Mapping[str, Tensor]) -> Parameters:
    """Parameters near to some, none of which is zero: what multiplies with zero here may be seen there.

    Parameters
    ----------
    parameters : dict of Tensor

    Returns
    -------
    dict of Tensor

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.derivatives import moved
    >>> bool((moved({"gate": torch.zeros(3)})["gate"] != 0).all())
    True
    """
    generator = torch.Generator().manual_seed(7)

    def near(p: Tensor) -> Tensor:
        step = torch.randn(p.shape, generator=generator, dtype=torch.float64).to(p)
        return p.detach() + _MOVE * (float(p.detach().square().mean().sqrt()) or 1.0) * step

    return {name: near(p) for name, p in parameters.items()}


class Gradients:
    """Products with G, whose columns are the gradients of a batch's losses where the network stands.

    Parameters
    ----------
    losses : SampleLosses
    space : ParameterSpace
    samples : list of Batch
        Some of the user's, to try things out.
    everything : iterable of Batch
        All of them, on which the ways are compared when they are first needed: what stops a gradient may be rare.

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.derivatives import Gradients, ParameterSpace
    >>> from gradnoise.simulations.neural.sample_losses import SampleLosses
    >>> model = torch.nn.Linear(1, 1, bias=False)
    >>> losses = SampleLosses(model, lambda outputs, targets: outputs[:, 0] - targets)
    >>> batch = torch.tensor([[1.0], [2.0]]), torch.zeros(2)
    >>> gradients = Gradients(losses, ParameterSpace(losses), [batch], [batch])
    >>> gradients.product(batch, torch.tensor([1.0, 3.0])), gradients.transposed(batch, torch.tensor([2.0]))
    (tensor([7.]), tensor([2., 4.]))
    """

    def __init__(self, losses: SampleLosses, space: ParameterSpace, samples: list[Batch], everything: Iterable[Batch]) -> None:
        self._losses, self._space, self._samples, self._everything = losses, space, samples, everything

    def product(self, batch: Batch, v: Tensor) -> Tensor:
        """G v, (d,)."""
        found = self._losses(batch)
        return self._space.flatten(gradient_of(found, list(self._losses.parameters.values()), v.to(found)))

    def prepare(self) -> None:
        """Choose a way to Gᵀu. It reads all data, and so must come before a pass over them: a loader may have one at a time."""
        _ = self._transposed

    def transposed(self, batch: Batch, u: Tensor) -> Tensor:
        """Gᵀu, (m,)."""
        return self._transposed(batch, self._space.unflatten(u)).detach().to(device=self._space.device, dtype=self._space.dtype)

    def rows(self, batch: Batch) -> Iterator[Tensor]:
        """Yield Gᵀ, some rows (some, d) at once, each compared with a backward pass: what stops a gradient may be rare."""
        n = size_of(batch)
        for start in range(0, n, at_once := self._held()):
            some = part(batch, slice(start, start + at_once)) if n > at_once else batch
            found = self._rows(some)
            yield found if self._rows == self._each_alone or self._are_rows(found, some) else self._each_alone(some)

    @cached_property
    def _transposed(self) -> Callable[[Batch, Parameters], Tensor]:
        def right(way: Callable[[Batch, Parameters], Tensor]) -> bool:
            u = self._space.probe(1)
            for batch in self._everything:
                v = signed(size_of(batch), u)
                found, expected = way(batch, self._space.unflatten(u)).to(v), self.product(batch, v) @ u
                if not (found @ v - expected).abs() <= tolerance(self._losses, found) * found.norm() * v.norm():
                    return False
            return way != self._forward or self._is_right_nearby()

        return _first_right("Gᵀu", [self._forward, self._backward_twice], right, self._each)

    def _is_right_nearby(self) -> bool:
        """Whether forward mode is right at other parameters, as a training will reach: what is stopped behind a gate of zero."""
        near, u = moved(self._losses.parameters), self._space.probe(1)
        for batch in self._samples:
            v, leaves = signed(size_of(batch), u), {name: p.clone().requires_grad_() for name, p in near.items()}

            def backward(there: Tensor, v: Tensor = v, leaves: Parameters = leaves) -> Sequence[Tensor]:
                return gradient_of(there, list(leaves.values()), v.to(there))

            parts = self._losses.at(leaves, batch, backward)
            expected = self._space.flatten(parts) @ u
            found = self._forward(batch, self._space.unflatten(u), near).to(v)
            if (found @ v - expected).abs() > tolerance(self._losses, found) * found.norm() * v.norm():
                return False
        return True

    def _forward(self, batch: Batch, along: Parameters, at: Parameters | None = None) -> Tensor:
        with torch.no_grad(), forward_ad.dual_level():
            at = at or {name: p.detach() for name, p in self._losses.parameters.items()}
            found = self._losses.at(duals(at, along), batch)
            primal, tangent = forward_ad.unpack_dual(found)
            return torch.zeros_like(primal) if tangent is None else tangent

    def _backward_twice(self, batch: Batch, along: Parameters) -> Tensor:
        """Differentiate u·(G v), which is linear in v."""
        found = self._losses(batch)
        v = torch.zeros_like(found, requires_grad=True)
        slopes = gradient_of(found, list(self._losses.parameters.values()), v, create_graph=True)
        return gradient_of(slopes, [v], list(along.values()))[0]

    def _each(self, batch: Batch, along: Parameters) -> Tensor:
        u = self._space.flatten(list(along.values()))
        alone = (part(batch, slice(i, i + 1)) for i in range(size_of(batch)))
        return torch.cat([self._each_alone(one) @ u for one in alone])

    @cached_property
    def _rows(self) -> Callable[[Batch], Tensor]:
        first = self._samples[0]
        few = part(first, slice(0, min(size_of(first), self._held())))
        return _first_right(
            "the gradients of the samples", [self._all_at_once], lambda way: self._are_rows(way(few), few), self._each_alone
        )

    def _are_rows(self, rows: Tensor, batch: Batch) -> bool:
        v = signed(size_of(batch), rows)
        off = (v @ rows - self.product(batch, v)).norm()
        return bool(off <= tolerance(self._losses, rows) * (v.abs() @ rows.norm(dim=1)))

    def _all_at_once(self, batch: Batch) -> Tensor:
        """By vmap over samples."""
        n, at = size_of(batch), {name: p.detach() for name, p in self._losses.parameters.items()}
        axes = tree_map(lambda leaf: 0 if isinstance(leaf, Tensor) and leaf.ndim and len(leaf) == n else None, batch)

        def one(parameters: Parameters, sample: Batch) -> Tensor:
            alone = tree_map(lambda leaf, axis: leaf if axis is None else leaf.unsqueeze(0), sample, axes)
            return self._losses.at(parameters, alone)[0]

        found = vmap(grad(one), in_dims=(None, axes))(at, batch)
        return torch.cat([found[name].detach().flatten(1).to(self._space.dtype) for name in at], dim=1)

    def _each_alone(self, batch: Batch) -> Tensor:
        one = torch.ones(1, device=self._space.device, dtype=self._space.dtype)
        return torch.stack([self.product(part(batch, slice(i, i + 1)), one) for i in range(size_of(batch))])

    def _held(self) -> int:
        return max(1, _HELD // self._space.dimension)


def duals(parameters: Parameters, along: Parameters) -> Parameters:
    """Parameters that carry a direction, for forward mode.

    Parameters
    ----------
    parameters, along : dict of Tensor

    Returns
    -------
    dict of Tensor

    Examples
    --------
    >>> import torch
    >>> from torch.autograd import forward_ad
    >>> from gradnoise.simulations.neural.derivatives import duals
    >>> with forward_ad.dual_level():
    ...     found = duals({"a": torch.tensor(3.0)}, {"a": torch.tensor(1.0)})["a"] ** 2
    ...     float(forward_ad.unpack_dual(found).tangent)
    6.0
    """
    return {name: forward_ad.make_dual(p, along[name]) for name, p in parameters.items()}


def gradient_of(
    outputs: Tensor | Sequence[Tensor],
    inputs: Sequence[Tensor],
    weights: Any = None,
    *,
    create_graph: bool = False,
    retain_graph: bool | None = None,
) -> Sequence[Tensor]:
    """Gradients of outputs, which are zero where nothing depends on an input.

    Parameters
    ----------
    outputs : Tensor or sequence of Tensor
    inputs : sequence of Tensor
    weights : Tensor or sequence of Tensor, optional
        Of the outputs, which are summed.
    create_graph : bool
        Whether the gradients are to be differentiated again.
    retain_graph : bool, optional
        Whether the outputs are; by default if the gradients are.

    Returns
    -------
    sequence of Tensor

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.derivatives import gradient_of
    >>> a, b = torch.ones(2, requires_grad=True), torch.ones(1, requires_grad=True)
    >>> [g.tolist() for g in gradient_of((a**3).sum(), [a, b])]
    [[3.0, 3.0], [0.0]]
    """
    listed = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    weighted = [None] * len(listed) if weights is None else [weights] if isinstance(weights, Tensor) else list(weights)
    pairs = [(out, weight) for out, weight in zip(listed, weighted, strict=True) if out.requires_grad]
    if not pairs:
        return [torch.zeros_like(p) for p in inputs]
    outs, grads = zip(*pairs, strict=True)
    return torch.autograd.grad(
        outs, inputs, grads, retain_graph=retain_graph, create_graph=create_graph, allow_unused=True, materialize_grads=True
    )


def tolerance(losses: SampleLosses, found: Tensor) -> float:
    """Relative difference above which two ways to the same product are not the same.

    Parameters
    ----------
    losses : SampleLosses
        Whose autocast may round more than the type of its results.
    found : Tensor

    Returns
    -------
    float

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.derivatives import tolerance
    >>> from gradnoise.simulations.neural.sample_losses import SampleLosses
    >>> losses = SampleLosses(torch.nn.Linear(2, 1), torch.nn.MSELoss(reduction="none"))
    >>> tolerance(losses, torch.ones(1)) < 1e-3
    True
    """
    return float(torch.finfo(losses.autocast or found.dtype).eps ** 0.5)


def signed(n: int, like: Tensor) -> Tensor:
    """Weights of both signs, no two alike, so that no gradients cancel by chance where they are summed.

    Parameters
    ----------
    n : int
    like : Tensor
        Of the wanted dtype, on the wanted device.

    Returns
    -------
    (n,) Tensor

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.derivatives import signed
    >>> signed(3, torch.ones(1))
    tensor([ 0.5403, -0.4161, -0.9900])
    """
    return torch.cos(torch.arange(1, n + 1, device=like.device, dtype=like.dtype))


def _first_right(name: str, ways: Sequence[Any], right: Callable[[Any], bool], last: Any) -> Any:
    for way in ways:
        try:
            if right(way):
                return way
        except Exception:  # what torch raises where a layer has no such derivative has no class of its own
            continue
    warnings.warn(
        f"{name}: a backward pass for each sample is taken, as this network cannot be differentiated otherwise; that takes about "
        f"as many times as long as there are samples in a batch of the training",
        stacklevel=4,
    )
    return last
