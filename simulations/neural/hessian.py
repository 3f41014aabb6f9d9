"""Products with the Hessian of a batch's losses, by forward mode where it is right, else by two backward passes, or refused."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from functools import cached_property

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.func import grad, linearize

from gradnoise.simulations.neural.batches import Batch
from gradnoise.simulations.neural.derivatives import ParameterSpace, duals, gradient_of, moved, tolerance
from gradnoise.simulations.neural.sample_losses import Parameters, SampleLosses

#: Makes something of the losses at some parameters, while these are in place.
Evaluation = Callable[[Parameters, Callable[[Tensor], list[Tensor]]], list[Tensor]]
Product = Callable[[Tensor], Tensor]
Way = Callable[[Evaluation, Parameters, Parameters], list[Tensor]]

_STEP = 1e-5  # of difference quotients, relative to the parameters: a third of the digits of double precision
_CONVERGED = 1e-3  # relative difference of two quotients, and of a quotient to what it is to confirm


class Hessian:
    """Hessian of the sum of a batch's losses, where the network stands.

    Parameters
    ----------
    losses : SampleLosses
    space : ParameterSpace
    samples : list of Batch
        Some of the user's, on which the gradient is differenced when a product is first needed.
    everything : iterable of Batch
        All of the user's, on which the ways are compared then: what stops a gradient may be rare.

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.derivatives import ParameterSpace
    >>> from gradnoise.simulations.neural.hessian import Hessian
    >>> from gradnoise.simulations.neural.sample_losses import SampleLosses
    >>> losses = SampleLosses(torch.nn.Linear(1, 1, bias=False), lambda outputs, targets: (outputs[:, 0] - targets) ** 2 / 2)
    >>> batch = torch.tensor([[1.0], [2.0]]), torch.zeros(2)
    >>> Hessian(losses, ParameterSpace(losses), [batch], [batch]).product(batch, torch.ones(1))  # of w²/2 + (2w)²/2
    tensor([5.])
    """

    def __init__(self, losses: SampleLosses, space: ParameterSpace, samples: list[Batch], everything: Iterable[Batch]) -> None:
        self._losses, self._space, self._samples, self._everything = losses, space, samples, everything
        self._keeps: dict[bool, bool] = {}  # whether what is kept of a batch is right, without tracing and with it

    def prepare(self) -> None:
        """Choose a way. It reads all data, and so must come before a pass over them: a loader may have one at a time."""
        _ = self._way

    def product(self, batch: Batch, u: Tensor) -> Tensor:
        """H u, (d,)."""
        return self._by(self._way, batch, u)

    def kept(self, batch: Batch, *, traced: bool) -> Product | None:
        """Return H at the present parameters as a function, with what does not depend on u computed once.

        That is the gradient, which is then differentiated along u; or, traced, the whole linear map, by torch.func.linearize,
        which takes seconds to make. Either fails for some networks (the latter for GroupNorm, at the second call), so that the
        first of a kind is compared with `product` twice, and None is returned where that is not right.
        """
        at = {name: p.detach().clone() for name, p in self._losses.parameters.items()}
        if self._keeps.get(traced) is False:
            return None
        try:
            found = self._linearized(at, batch) if traced else self._differentiated(at, batch)
            if traced not in self._keeps:
                probe = self._space.probe(3)
                expected = self.product(batch, probe)
                self._keeps[traced] = all(self._alike(found(probe), expected) for _ in range(2))
        except (RuntimeError, NotImplementedError):
            self._keeps[traced] = False
            return None
        return found if self._keeps[traced] else None

    def _differentiated(self, at: Parameters, batch: Batch) -> Product:
        leaves = [p.requires_grad_() for p in at.values()]
        slopes = gradient_of(self._losses.at(at, batch).sum(), leaves, create_graph=True)
        curved = [slope for slope in slopes if slope.requires_grad]

        def product(u: Tensor) -> Tensor:
            along = [part for part, slope in zip(self._space.unflatten(u).values(), slopes, strict=True) if slope.requires_grad]
            if not curved:  # a loss that is linear in all parameters
                return torch.zeros_like(u)
            found = torch.autograd.grad(curved, leaves, along, retain_graph=True, allow_unused=True, materialize_grads=True)
            return self._space.flatten(found)

        return product

    def _linearized(self, at: Parameters, batch: Batch) -> Product:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Attempted to insert a get_attr Node", UserWarning)  # of torch.fx
            slope = linearize(grad(lambda parameters: self._losses.at(parameters, batch).sum()), at)[1]
        return lambda u: self._space.flatten(list(slope(self._space.unflatten(u)).values()))

    def _by(self, way: Way, batch: Batch, u: Tensor) -> Tensor:
        """By a way at the network's own parameters: two backward passes read them where they are, whatever the network does."""
        own: Parameters = dict(self._losses.parameters)
        if way is _backward_twice:
            return self._space.flatten(way(lambda _, then: then(self._losses(batch)), own, self._space.unflatten(u)))
        return self._space.flatten(way(self._at(batch), own, self._space.unflatten(u)))

    def _at(self, batch: Batch) -> Evaluation:
        return lambda parameters, then: self._losses.at(parameters, batch, then)

    @cached_property
    def _way(self) -> Way:
        hooked = [name for name, p in self._losses.parameters.items() if p._backward_hooks]
        if hooked:
            raise ValueError(
                f"the Hessian must be the derivative of the gradient that trains the network, but a hook changes the gradient "
                f"of {hooked[0]!r}"
            )
        right: list[Way] = []
        failed: Exception | None = None
        reference: Tensor | None = None
        for way in (_backward_twice, _forward_over_backward):
            try:
                u, w = self._space.probe(4), self._space.probe(5)
                along_u, along_w = (self._total(way, z) for z in (u, w))
                expected = along_u if reference is None else reference
                skew = (along_u @ w - along_w @ u).abs() / (along_u.norm() * w.norm() + along_w.norm() * u.norm())
                if not skew > tolerance(self._losses, u) and self._alike(along_u, expected):
                    right.append(way)
                    reference = along_u
            except (RuntimeError, NotImplementedError) as error:  # a layer without second derivatives, or without forward mode
                failed = failed or error
                continue
            if not right:
                break  # the gradient's derivative is not symmetric, so that forward mode, which is, is of something else
        if not right and failed is not None:
            raise ValueError(
                f"the Hessian must have a product by two backward passes or by forward mode, and this network has neither: "
                f"{str(failed).splitlines()[0]}; products with the gradient matrix and Σ are not affected"
            ) from failed
        if not right or self._is_refuted(right[0]) or self._is_refuted(right[0], nearby=True):
            raise ValueError(
                "the Hessian must be the derivative of the gradient that trains the network, but that gradient is stopped "
                "somewhere (no_grad, detach, .data), or a layer's second derivative is not right; products with the gradient "
                "matrix and Σ are not affected"
            )
        # Forward mode, which is faster, where both are right; also nearby, as what is stopped behind a gate of zero is not seen.
        return right[-1] if len(right) == 1 or self._are_alike_nearby() else right[0]

    def _total(self, way: Way, u: Tensor) -> Tensor:
        total = torch.zeros_like(u)
        for batch in self._everything:
            total += self._by(way, batch, u)
        return total

    def _alike(self, found: Tensor, expected: Tensor) -> bool:
        return bool((found - expected).norm() <= tolerance(self._losses, found) * expected.norm())

    def _are_alike_nearby(self) -> bool:
        near, along = moved(self._losses.parameters), self._space.unflatten(self._space.probe(4))
        for batch in self._samples:
            twice, forward = (
                self._space.flatten(way(self._at(batch), {name: p.clone() for name, p in near.items()}, along))
                for way in (_backward_twice, _forward_over_backward)
            )
            if (twice - forward).norm() > tolerance(self._losses, twice) * twice.norm():
                return False
        return True

    def _is_refuted(self, way: Way, *, nearby: bool = False) -> bool:
        """Whether difference quotients of the gradient, in double precision, converge to something else.

        Parameters whose gradient is zero stay where they are: those that are used but not trained, and padding. Where the
        quotients do not converge, as beside a kink of the loss, or the network is tied to its precision, nothing is refuted.
        """
        try:
            point, others, _ = self._losses.in_double(self._samples[0])
            batches = [self._losses.in_double(batch)[2] for batch in self._samples]
            point = moved(point) if nearby else point

            def summed(of_batch: Callable[[Evaluation], Iterable[Tensor]]) -> Tensor:
                """Over the batches, one at a time."""
                evaluations = (lambda p, then, batch=batch: self._losses.at({**p, **others}, batch, then) for batch in batches)
                total = _flat(of_batch(next(evaluations)))
                for evaluation in evaluations:
                    total += _flat(of_batch(evaluation))
                return total

            def gradient(shift: float, along: Parameters) -> Tensor:
                there = {name: (p + shift * along[name]).requires_grad_() for name, p in point.items()}
                leaves = list(there.values())
                return summed(lambda at: at(there, lambda losses: list(gradient_of(losses.sum(), leaves))))

            direction = {name: p.double() for name, p in self._space.unflatten(self._space.probe(6)).items()}
            slopes = gradient(0.0, direction)
            sizes = [p.numel() for p in point.values()]
            for along, slope in zip(direction.values(), slopes.split(sizes), strict=True):
                along *= slope.reshape(along.shape) != 0
            step = _STEP * max(float(_flat(point.values()).norm()), 1.0) / max(float(_flat(direction.values()).norm()), 1e-300)
            near, far = ((gradient(s, direction) - gradient(-s, direction)) / (2 * s) for s in (step, 2 * step))
            found = summed(lambda at: way(at, {n: p.clone() for n, p in point.items()}, direction))
        except (RuntimeError, NotImplementedError, TypeError):
            return False
        rounding = 1e4 * torch.finfo(torch.float64).eps * float(slopes.norm()) / step
        settled = (near - far).norm() <= _CONVERGED * near.norm() + rounding
        return bool(settled and (found - near).norm() > 10 * _CONVERGED * near.norm() + rounding)


def _backward_twice(at: Evaluation, point: Parameters, along: Parameters) -> list[Tensor]:
    leaves = [p if p.requires_grad else p.requires_grad_() for p in point.values()]

    def differentiated(losses: Tensor) -> list[Tensor]:
        slopes = gradient_of(losses.sum(), leaves, create_graph=True)
        return list(gradient_of(slopes, leaves, list(along.values())))

    return at(point, differentiated)


def _forward_over_backward(at: Evaluation, point: Parameters, along: Parameters) -> list[Tensor]:
    with forward_ad.dual_level():
        leaves = {name: p.detach().requires_grad_() for name, p in point.items()}

        def differentiated(losses: Tensor) -> list[Tensor]:
            slopes = gradient_of(losses.sum(), list(leaves.values()))
            tangents = [forward_ad.unpack_dual(slope).tangent for slope in slopes]
            return [torch.zeros_like(p) if t is None else t for t, p in zip(tangents, leaves.values(), strict=True)]

        return at(duals(leaves, along), differentiated)


def _flat(parts: Iterable[Tensor]) -> Tensor:
    return torch.cat([p.detach().reshape(-1) for p in parts])
