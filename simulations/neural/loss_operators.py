"""Gradient matrix, Fisher, gradient covariance and Hessian of a network, as products with vectors.

With the loss vector ℓ(θ) in Rⁿ, G v is a vector-Jacobian and Gᵀu a Jacobian-vector product, so that nothing of size d × d is
held, and of size d × n only by `sample_gradients`, chunk by chunk. Samples are taken in chunks, one forward and one or two
backward passes each.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, jvp, linearize, vjp, vmap

from gradnoise.theory._validation import as_count

__all__ = ["LossOperators"]

Parameters = dict[str, Tensor]

_BATCH_NORMS = (nn.modules.batchnorm._BatchNorm,)
_WORTH_TRACING = 2**22  # samples times parameters; below, half a second of tracing takes longer than it saves
_DROPOUTS = (nn.modules.dropout._DropoutNd,)


class LossOperators:
    """The losses of a network on n samples, as a function of its d trainable parameters.

    Parameters
    ----------
    model : torch.nn.Module
        Its trainable parameters are read at each call, so that it may be trained in between. Frozen ones and buffers are
        constants; tied ones count once.
    loss : callable
        ``loss(model(inputs), targets)`` returns a loss for each sample, (n,); of torch's own losses that is
        ``reduction="none"``.
    inputs, targets : Tensor
        Samples along the first axis, on the model's device.
    chunk_size : int, optional
        Samples taken at once; all by default.

    Raises
    ------
    ValueError
        If the loss is not one for each sample, or depends on other samples or on chance (BatchNorm or Dropout in training
        mode).
    TypeError
        If an argument is of the wrong kind.

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.loss_operators import LossOperators
    >>> model, inputs = torch.nn.Linear(2, 1, bias=False), torch.diag(torch.tensor([1.0, 2.0]))
    >>> _ = torch.nn.init.zeros_(model.weight)
    >>> loss = lambda outputs, targets: (outputs[:, 0] - targets) ** 2 / 2
    >>> operators = LossOperators(model, loss, inputs, torch.ones(2))
    >>> operators.gradient()  # mean of (-1, 0) and (0, -2), the gradients of the samples
    tensor([-0.5000, -1.0000])
    >>> operators.hessian_product(torch.ones(2))  # H = diag(1/2, 2)
    tensor([0.5000, 2.0000])
    >>> operators.covariance_product(torch.tensor([1.0, 0.0]))  # Σ of a sample's gradient: its first column
    tensor([ 0.2500, -0.5000])
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Callable[[Tensor, Tensor], Tensor],
        inputs: Tensor,
        targets: Tensor,
        *,
        chunk_size: int | None = None,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise TypeError(f"model must be a torch.nn.Module, got {model!r}")
        for name, module in model.named_modules():
            where = f"{type(module).__name__} {name!r}" if name else type(module).__name__
            if isinstance(module, _BATCH_NORMS) and module.training:
                raise ValueError(
                    f"model must have a loss for each sample, got {where} in training mode, where samples depend on each other; "
                    f"call model.eval(), or use GroupNorm or LayerNorm"
                )
            if isinstance(module, _DROPOUTS) and module.training and module.p > 0:
                raise ValueError(f"model must not be random, got {where} in training mode; call model.eval()")
        if len(inputs) != len(targets) or len(inputs) == 0:
            raise ValueError(f"inputs and targets must have as many samples, one or more, got {len(inputs)} and {len(targets)}")
        self.model, self.loss, self.inputs, self.targets = model, loss, inputs, targets
        self.n = len(inputs)
        self.chunk_size = self.n if chunk_size is None else as_count(chunk_size, "chunk_size")
        trainable = self._trainable()
        if not trainable:
            raise ValueError("model must have parameters to train, got none that requires a gradient")
        self._shapes = {name: p.shape for name, p in trainable.items()}
        self.dimension = sum(p.numel() for p in trainable.values())
        first = next(iter(trainable.values()))
        self.device, self.dtype = first.device, first.dtype
        with torch.no_grad():
            few = loss(model(inputs[:2]), targets[:2])
        if few.shape != (min(2, self.n),):
            raise ValueError(
                f"loss must return a number for each sample, got shape {tuple(few.shape)} for {min(2, self.n)} samples; "
                f'torch\'s losses do so with reduction="none"'
            )

    @property
    def parameters(self) -> Tensor:
        """θ, (d,): the trainable parameters in the order of `model.named_parameters`, flattened."""
        return self.flatten(self._trainable())

    def flatten(self, parameters: Parameters) -> Tensor:
        """Return the parameters as one vector (d,)."""
        return torch.cat([parameters[name].detach().reshape(-1) for name in self._shapes])

    def unflatten(self, vector: Tensor) -> Parameters:
        """Return a vector (d,) as parameters."""
        if vector.shape != (self.dimension,):
            raise ValueError(f"a vector of parameters must have shape ({self.dimension},), got {tuple(vector.shape)}")
        parts = torch.split(vector, [shape.numel() for shape in self._shapes.values()])
        return {name: part.reshape(shape) for (name, shape), part in zip(self._shapes.items(), parts, strict=True)}

    def losses(self, theta: Tensor | None = None) -> Tensor:
        """ℓ(θ), (n,); at the model's own parameters unless others are given."""
        at = self._at(theta)
        with torch.no_grad():
            return torch.cat([chunk(at) for chunk in self._chunks()])

    def losses_like(self, value: float) -> Tensor:
        """Return a vector over the samples, (n,), of one value."""
        return torch.full((self.n,), value, device=self.device, dtype=self.dtype)

    def tensor(self, array: Any) -> Tensor:
        """Return an array as a Tensor of the parameters' dtype, on their device."""
        # A copy, as torch takes no negative strides, which a single reversed column keeps where NumPy calls it contiguous.
        return torch.as_tensor(np.array(array, order="C"), dtype=self.dtype, device=self.device)

    def gradient(self) -> Tensor:
        """∇L, (d,)."""
        return self.matrix_product(self.losses_like(1 / self.n))

    def matrix_product(self, v: Tensor) -> Tensor:
        """G v, (d,): the gradient of 𝓛(θ)·v.

        Parameters
        ----------
        v : (n,) Tensor
            For instance a sampling vector.
        """
        if v.shape != (self.n,):
            raise ValueError(f"v must have shape ({self.n},), got {tuple(v.shape)}")
        at, total = self._at(None), torch.zeros(self.dimension, device=self.device, dtype=self.dtype)
        for chunk, part in zip(self._chunks(), torch.split(v, self.chunk_size), strict=True):
            pull_back = vjp(chunk, at)[1]
            total += self.flatten(pull_back(part)[0])
        return total

    def backward(self, v: Tensor, samples: Tensor | None = None) -> None:
        """Add G v to the parameters' ``.grad``, as ``(losses * v).sum().backward()`` does in a training loop.

        Parameters
        ----------
        v : (m,) Tensor
            For instance a sampling vector.
        samples : (m,) Tensor of int64, optional
            Which samples the entries of v are of; a sample that is named twice counts twice. All n by default; none at all
            give a gradient of zero.
        """
        size = self.n if samples is None else len(samples)
        if v.shape != (size,):
            raise ValueError(f"v must have shape ({size},), got {tuple(v.shape)}")
        inputs, targets = self.inputs, self.targets
        if samples is not None:
            inputs, targets = inputs[samples], targets[samples]
        for x, y, share in zip(*(torch.split(t, self.chunk_size) for t in (inputs, targets, v)), strict=True):
            if len(share) > 0:
                (share * self.loss(self.model(x), y)).sum().backward()
        for p in self._trainable().values():
            if p.grad is None:  # of a parameter that the losses do not depend on
                p.grad = torch.zeros_like(p)

    def transposed_product(self, u: Tensor) -> Tensor:
        """Gᵀu, (n,): how the losses change along u, a (d,) Tensor."""
        at, along = self._at(None), self.unflatten(u)
        return torch.cat([jvp(chunk, (at,), (along,))[1].detach() for chunk in self._chunks()])

    def hessian_product(self, u: Tensor) -> Tensor:
        """H u, (d,): how ∇L changes along u, a (d,) Tensor."""
        at, along = self._at(None), self.unflatten(u)
        total = torch.zeros(self.dimension, device=self.device, dtype=self.dtype)
        for chunk in self._chunks():
            slope = jvp(grad(lambda parameters, c=chunk: c(parameters).sum()), (at,), (along,))[1]
            total += self.flatten(slope)
        return total / self.n

    def hessian_here(self) -> Callable[[Tensor], Tensor]:
        """Return H at the present parameters as a function of u, for many products at one point.

        Where all samples are taken at once, what does not depend on u is computed once: in small problems the gradient, which
        is then differentiated along u; in large ones the whole linear map, by torch.func.linearize. As that fails for some
        modules (GroupNorm, at the second call), it is used only if it agrees with `hessian_product`, twice. Frozen parameters
        must not be changed in place while the function is in use.
        """
        if self.chunk_size < self.n:  # memory is short
            return self.hessian_product
        at = {name: p.clone() for name, p in self._at(None).items()}
        return self._linearized(at) if self.n * self.dimension >= _WORTH_TRACING else self._differentiated(at)

    def _differentiated(self, at: Parameters) -> Callable[[Tensor], Tensor]:
        """H at some parameters by two backward passes, the first of them once."""
        names, point = list(at), [p.requires_grad_() for p in at.values()]
        (chunk,) = self._chunks()
        differentiate = partial(torch.autograd.grad, inputs=point, allow_unused=True, materialize_grads=True)
        gradient = differentiate(chunk(at).mean(), create_graph=True)
        curved = {name: g for name, g in zip(names, gradient, strict=True) if g.requires_grad}
        if not curved:  # a loss that is linear in all parameters
            return torch.zeros_like

        def product(u: Tensor) -> Tensor:
            along = [self.unflatten(u)[name] for name in curved]
            slopes = differentiate(list(curved.values()), grad_outputs=along, retain_graph=True)
            return self.flatten(dict(zip(names, slopes, strict=True)))

        return product

    def _linearized(self, at: Parameters) -> Callable[[Tensor], Tensor]:
        """H at some parameters by a traced linear map, if it is right."""
        (chunk,) = self._chunks()
        probe = torch.sin(torch.arange(1, self.dimension + 1, device=self.device, dtype=self.dtype))
        expected = self.hessian_product(probe)
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Attempted to insert a get_attr Node", UserWarning)  # of torch.fx
                slope = linearize(grad(lambda parameters: chunk(parameters).mean()), at)[1]
            found = [self.flatten(slope(self.unflatten(probe))) for _ in range(2)]
        except RuntimeError:
            return self.hessian_product
        if any((f - expected).norm() > torch.finfo(self.dtype).eps ** 0.5 * expected.norm() for f in found):
            return self.hessian_product
        return lambda u: self.flatten(slope(self.unflatten(u)))

    def fisher_product(self, u: Tensor) -> Tensor:
        """F u = GGᵀu/n, (d,)."""
        return self.matrix_product(self.transposed_product(u)) / self.n

    def covariance_product(self, u: Tensor) -> Tensor:
        """Σ u, (d,), Σ = G(I − J/n)Gᵀ/n being the covariance of a sample's gradient."""
        slopes = self.transposed_product(u)
        return self.matrix_product(slopes - slopes.mean()) / self.n

    def sample_gradients(self) -> Iterator[Tensor]:
        """Yield the gradients of the samples, in chunks of rows (m, d)."""
        at = self._at(None)

        def one(parameters: Parameters, x: Tensor, y: Tensor) -> Tensor:
            return self._losses(parameters, x.unsqueeze(0), y.unsqueeze(0))[0]

        for x, y in zip(torch.split(self.inputs, self.chunk_size), torch.split(self.targets, self.chunk_size), strict=True):
            each = vmap(grad(one), in_dims=(None, 0, 0))(at, x, y)
            yield torch.cat([each[name].detach().reshape(len(x), -1) for name in self._shapes], dim=1)

    def _trainable(self) -> Parameters:
        return {name: p for name, p in self.model.named_parameters() if p.requires_grad}

    def _at(self, theta: Tensor | None) -> Parameters:
        if theta is not None:
            return self.unflatten(theta)
        return {name: p.detach() for name, p in self._trainable().items()}

    def _losses(self, parameters: Parameters, inputs: Tensor, targets: Tensor) -> Tensor:
        return self.loss(functional_call(self.model, parameters, (inputs,)), targets)

    def _chunks(self) -> Iterator[Callable[[Parameters], Tensor]]:
        pairs = zip(torch.split(self.inputs, self.chunk_size), torch.split(self.targets, self.chunk_size), strict=True)
        for x, y in pairs:
            yield lambda parameters, x=x, y=y: self._losses(parameters, x, y)
