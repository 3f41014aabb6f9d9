"""Gradient matrix, Fisher, gradient covariance and Hessian of a network, as products with vectors.

With the loss vector ℓ(θ) in Rⁿ, G v is a vector-Jacobian and Gᵀu a Jacobian-vector product, so that nothing of size d × d is
held, and of size d × n only by `sample_gradients`, chunk by chunk. Samples are taken in chunks, one forward and one or two
backward passes each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, Unpack

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from gradnoise.simulations.neural.batches import Batch, as_batches, on_device, part, size_of
from gradnoise.simulations.neural.checked_states import CheckedStates
from gradnoise.simulations.neural.chunks import measured_chunk
from gradnoise.simulations.neural.derivatives import Gradients, ParameterSpace
from gradnoise.simulations.neural.ghosts import ghosts_of, refuse_ghosts, running_statistics, whole_ghosts
from gradnoise.simulations.neural.hessian import Hessian
from gradnoise.simulations.neural.independence import check_chunk, check_independence, unchanged
from gradnoise.simulations.neural.sample_losses import Options, Parameters, SampleLosses, differentiable
from gradnoise.simulations.neural.vectors import as_dense, as_vector
from gradnoise.theory._validation import as_array, as_count, as_function, as_real

__all__ = ["LossOperators"]

_MOST = 2**63 - 1  # samples that torch can count
_WORTH_TRACING = 2**22, 64  # samples times parameters, and products, from which seconds of tracing are won back
_KEPT = 3 / 4  # what a kept Hessian holds, in activations of one evaluation, over how many chunks may be held for that


class LossOperators:
    """The losses of a network on n samples, as a function of its d trainable parameters.

    At construction a few samples are evaluated alone, in pairs, in another order, and again, and losses that depend on other
    samples or on chance, or change the network, are refused by what was seen; so they are later where the network has other
    modules, attributes or modes than before. The ways to the products are compared with plain backward passes on the same samples
    when they are first needed; then the products are right, or refused.

    Networks with `gradnoise.simulations.neural.models.GhostBatchNorm2d` are trained as they stand: in training mode `backward`
    takes the samples that it is given for the batch, ghost by ghost in their order, and updates running means and variances, by
    which `losses` evaluates. All else is of samples that have losses of their own, and refused: in evaluation mode they have.

    Parameters
    ----------
    model : torch.nn.Module
        Its trainable parameters are read at each call, so that it may be trained in between. Frozen ones and buffers are
        constants; tied ones count once. Wrappers (DataParallel, torch.compile) are taken off.
    loss : callable or None
        ``loss(model(inputs), targets)`` returns a loss for each sample, (m,); of torch's own losses that is
        ``reduction="none"``. Of an output object it is given the ``logits``. None if there is a closure.
    data, targets : Tensor, tuple, Mapping, Dataset, DataLoader or iterable of batches
        Inputs and targets, or batches of them; see `gradnoise.simulations.neural.batches.as_batches`. Of a batch that is a tuple
        the last part are the targets, of a dictionary its ``labels``, ``targets`` or the like; the rest is what the model is
        called with. Samples lie along the first axes. They may be on another device, and are moved chunk by chunk.
    chunk_size : int, optional
        Samples taken at once. By default as many as have activations of half a gigabyte, which is measured.
    **options
        - ``closure(model, batch)`` returns the losses (m,) of a batch of any form, in place of `loss`. Parameters that loss or
          closure have of their own are constants.
        - ``sample_dim`` and ``token_reduction``, "mean" or "sum": the axis of the samples where a loss is of shape (m, tokens),
          or more, and whether the loss of a sample is the mean or the sum of those of its tokens. All of them count, also those
          that an ``ignore_index`` gives a loss of zero, unless a mask says otherwise.
        - ``mask``: which tokens count, as a key of the batch or a function of it, of the shape of the losses.
        - ``parameters``: names, or patterns such as ``"layers.0.*"``, of those that θ consists of; others are constants.
        - ``autocast``: torch.bfloat16 or torch.float16, in which the losses are computed as by torch.autocast. Products are
          summed in the precision of the parameters, and those with H are of the losses without it.

    Attributes
    ----------
    model : torch.nn.Module
    n, dimension, chunk_size : int
        Samples, parameters, and samples taken at once.
    device : torch.device
    dtype : torch.dtype
        Of vectors of parameters and of samples.

    Raises
    ------
    ValueError
        If the loss is not one for each sample, depends on other samples or on chance (batch normalisation or dropout in training
        mode), or changes the network; if the parameters are complex or of half precision; if the data are other ones in each
        pass.
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
    >>> operators.fisher_product(torch.tensor([1.0, 0.0]))  # F = Σ + ∇L∇Lᵀ
    tensor([0.5000, 0.0000])
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Callable[[Any, Any], Tensor] | None,
        data: Any,
        targets: Any = None,
        *,
        chunk_size: int | None = None,
        **options: Unpack[Options],
    ) -> None:
        if unknown := sorted(set(options) - set(Options.__annotations__)):
            raise TypeError(f"options must be some of {', '.join(Options.__annotations__)}, got {', '.join(unknown)}")
        self._losses, self._options = SampleLosses(model, loss, **options), options
        self.model = self._losses.model
        self._space = ParameterSpace(self._losses)
        self.dimension, self.device, self.dtype = self._space.dimension, self._space.device, self._space.dtype
        self.batches = as_batches(data, targets)
        self.n = self.batches.n
        self._states = CheckedStates(self.model, self._losses.loss)
        self._kinds = self._losses.kinds()
        with running_statistics(self.model), self._context():
            self._samples = [on_device(batch, self.device) for batch in self.batches.some()]
            with self._unseen(), unchanged(self._losses):
                self._try(self._samples[0])
            self._check()
            self._held = measured_chunk(self._losses, self._samples[0])
            self.chunk_size = min(self._held, self.n) if chunk_size is None else as_count(chunk_size, "chunk_size", at_most=_MOST)
            with self._unseen():
                check_chunk(self._losses, next(self._chunks()))
        everything = _Everything(self._chunks)
        self._gradients = Gradients(self._losses, self._space, self._samples, everything)
        self._curved = self._losses if self.autocast is None else SampleLosses(model, loss, **{**options, "autocast": None})
        self._hessian = Hessian(self._curved, self._space, self._samples, everything)

    @property
    def parameters(self) -> Tensor:
        """θ, (d,): the parameters that count in the order of `model.named_parameters`, flattened."""
        return self.flatten(dict(self._losses.parameters))

    def flatten(self, parameters: Parameters) -> Tensor:
        """Return the parameters, tensors by name, as one vector (d,)."""
        if not isinstance(parameters, Mapping):
            raise TypeError(f"parameters must be a mapping of names to Tensors, got {type(parameters).__name__}")
        parts = []
        for name, own in self._losses.parameters.items():
            found = parameters.get(name)
            if not isinstance(found, Tensor) or found.shape != own.shape:
                shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
                raise ValueError(f"parameters must have a Tensor {name!r} of shape {tuple(own.shape)}, got {shape}")
            parts.append(found)
        return self._space.flatten(parts)

    def unflatten(self, vector: Tensor) -> Parameters:
        """Return a vector (d,) as parameters."""
        return self._space.unflatten(as_vector(vector, "vector", (self.dimension,), wait=False))

    def losses(self, theta: Tensor | None = None) -> Tensor:
        """ℓ(θ), (n,); at the model's own parameters unless others are given. Ghosts are normalised by running statistics."""
        at = None if theta is None else self._space.unflatten(as_vector(theta, "theta", (self.dimension,)))
        # Not in no_grad, in which a network could not be differentiated with respect to its inputs.
        with running_statistics(self.model), self._context():
            found = [(self._losses(chunk) if at is None else self._losses.at(at, chunk)).detach() for chunk in self._chunks()]
        return torch.cat(found).to(device=self.device, dtype=self.dtype)

    def losses_like(self, value: float) -> Tensor:
        """Return a vector over the samples, (n,), of one value."""
        most = torch.finfo(self.dtype).max
        number = as_real(value, "value", at_least=-most, at_most=most)
        return torch.full((self.n,), number, device=self.device, dtype=self.dtype)

    def tensor(self, array: ArrayLike) -> Tensor:
        """Return an array of finite numbers as a Tensor of the parameters' dtype, on their device."""
        found, most = as_array(array, "array"), torch.finfo(self.dtype).max
        if abs(found).max(initial=0.0) > most:
            raise ValueError(f"array must be within the range of {self.dtype}, up to {most:.2g}, got {abs(found).max():.2g}")
        # Contiguous, as torch takes no negative strides, which a single reversed column keeps where NumPy calls it contiguous.
        return torch.as_tensor(found.copy(order="C"), dtype=self.dtype, device=self.device)

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
        v = as_vector(v, "v", (self.n,))
        with self._context():
            total, start = self._zero(), 0
            for chunk in self._chunks():
                end = start + size_of(chunk)
                total += self._gradients.product(chunk, v[start:end])
                start = end
        return total

    @property
    def autocast(self) -> torch.dtype | None:
        """Type to which the losses are cast, if there is one."""
        return self._losses.autocast

    def in_full_precision(self) -> LossOperators:
        """Return the operators of the same losses without autocast."""
        options: Options = {**self._options, "autocast": None}
        return LossOperators(self.model, self._losses.loss, self.batches, chunk_size=self.chunk_size, **options)

    def backward(
        self, v: Tensor, samples: Tensor | None = None, change: Callable[[Batch, Tensor], Batch] | None = None
    ) -> Tensor:
        """Add G v to the parameters' ``.grad``, as ``(losses * v).sum().backward()`` does in a training loop.

        Where ghosts are normalised, the losses are those of one batch of all these samples, however many are taken at once.

        Parameters
        ----------
        v : (m,) Tensor
            For instance a sampling vector.
        samples : (m,) Tensor of int64, optional
            Which samples the entries of v are of; a sample that is named twice counts twice. All n by default; none at all
            give a gradient of zero.
        change : callable, optional
            ``change(batch, where)`` returns the batch, on the device, as the losses are to see it, augmented for instance;
            `where`, a Tensor of int64, says which entries of v it is of.

        Returns
        -------
        () Tensor
            Mean loss of these samples, for which no device is waited; NaN of none.

        Raises
        ------
        ValueError
            If ghosts are to be normalised, and the samples are in batches of their own, as those of a DataLoader are.
        """
        if samples is not None and as_dense(samples, "samples").ndim != 1:
            raise TypeError(f"samples must be of int64 with one axis, got {samples.dtype} with {samples.ndim}")
        v = as_vector(v, "v", (self.n if samples is None else len(samples),), wait=False)
        if change is not None:
            as_function(change, "change")
        parameters = list(self._losses.parameters.values())
        layers = ghosts_of(self.model)
        if layers and not self.batches.in_one:
            raise ValueError(
                "data must be tensors, of which any samples make a ghost, to train a network with GhostBatchNorm2d; got batches"
            )
        with self._context(second_derivatives=False, ghosts=True):
            total = torch.zeros((), device=self.device, dtype=self.dtype)
            chosen = torch.arange(self.n, device=self.device) if samples is None else samples
            for batch, where in self.batches.chosen(chosen, whole_ghosts(self.chunk_size, layers)):
                here = on_device(batch, self.device)
                found = self._losses(here if change is None else _changed(change, here, where))
                total += found.detach().to(self.dtype).sum()
                if found.requires_grad:
                    (v[where].to(found) * found).sum().backward(inputs=parameters)
            for p in parameters:
                if p.grad is None:  # nothing depends on it
                    p.grad = torch.zeros_like(p)
            return total / len(v)

    def transposed_product(self, u: Tensor) -> Tensor:
        """Gᵀu, (n,): how the losses change along u, a (d,) Tensor."""
        u = as_vector(u, "u", (self.dimension,))
        with self._context():
            self._gradients.prepare()
            return torch.cat([self._gradients.transposed(chunk, u) for chunk in self._chunks()])

    def hessian_product(self, u: Tensor) -> Tensor:
        """H u, (d,): how ∇L changes along u, a (d,) Tensor.

        Raises
        ------
        ValueError
            If the gradient that trains the network is not that of its losses (parts of it are stopped), or has no derivative.
        """
        u = as_vector(u, "u", (self.dimension,))
        with self._context(full=True):
            self._hessian.prepare()
            total = self._zero()
            for chunk in self._chunks():
                total += self._hessian.product(chunk, u)
        return total / self.n

    def hessian_here(self, n_products: int | None = None) -> Callable[[Tensor], Tensor]:
        """Return H at the present parameters as a function of u, for many products at one point.

        Where memory allows, what does not depend on u is computed once: the gradient, which is then differentiated along u; or,
        where seconds of tracing are won back, the whole linear map. Where that is not possible it is `hessian_product`, which
        reads the parameters anew. Frozen parameters must not be changed in place while the function is in use.

        Parameters
        ----------
        n_products : int, optional
            How many there will be; many by default.
        """
        if n_products is not None:
            n_products = as_count(n_products, "n_products", at_least=0)
        size, products = _WORTH_TRACING
        worth = self.n * self.dimension >= size and (n_products is None or n_products >= products)
        if _KEPT * self.n > self._held:
            return self.hessian_product
        kept = []
        with self._context(full=True):
            self._hessian.prepare()
            for chunk in self._chunks():
                found = self._hessian.kept(chunk, traced=True) if worth else None
                found = found or self._hessian.kept(chunk, traced=False)
                if found is None:
                    return self.hessian_product
                kept.append(found)

        def product(u: Tensor) -> Tensor:
            u = as_vector(u, "u", (self.dimension,))
            with self._context(full=True):
                total = self._zero()
                for found in kept:
                    total += found(u)
            return total / self.n

        return product

    def fisher_product(self, u: Tensor) -> Tensor:
        """F u = GGᵀu/n, (d,)."""
        return self.matrix_product(self.transposed_product(u)) / self.n

    def covariance_product(self, u: Tensor) -> Tensor:
        """Σ u, (d,), Σ = G(I − J/n)Gᵀ/n being the covariance of a sample's gradient."""
        slopes = self.transposed_product(u)
        return self.matrix_product(slopes - slopes.mean()) / self.n

    def sample_gradients(self) -> Iterator[Tensor]:
        """Yield the gradients of the samples, in rows (some, d)."""
        parts = (rows for chunk in self._chunks() for rows in self._gradients.rows(chunk))
        while True:
            with self._context():  # not while the caller has the rows
                rows = next(parts, None)
            if rows is None:
                return
            yield rows

    @property
    def own_parameters(self) -> dict[str, nn.Parameter]:
        """The network's own parameters that θ consists of, by name, in their order."""
        return self._losses.parameters

    def chunks(self) -> Iterator[tuple[Callable[[slice], Tensor], int]]:
        """Yield, for each chunk of samples, its losses as a function of which of them are wanted, and how many there are.

        The losses are those at the network's own parameters, as they can be differentiated.
        """
        for chunk in self._chunks():

            def evaluate(some: slice, chunk: Batch = chunk) -> Tensor:
                with self._context():
                    return self._losses(part(chunk, some))

            yield evaluate, size_of(chunk)

    def _chunks(self) -> Iterator[Batch]:
        for chunk in self.batches.chunks(self.chunk_size):
            yield on_device(chunk, self.device)

    def _context(
        self, *, second_derivatives: bool = True, full: bool = False, ghosts: bool = False
    ) -> AbstractContextManager[None]:
        if not ghosts:
            refuse_ghosts(self.model)
        if self._losses.kinds() != self._kinds:
            raise ValueError(
                "the parameters must be of the dtypes, and require gradients, as when the operators were made; make them anew"
            )
        # What was seen at construction is seen again where the network has been changed since, or put into another mode.
        if self._states and not self._states.known():
            with running_statistics(self.model), differentiable(self._losses, self.device):
                self._check()
        return differentiable(self._curved if full else self._losses, self.device, second_derivatives=second_derivatives)

    def _zero(self) -> Tensor:
        return torch.zeros(self.dimension, device=self.device, dtype=self.dtype)

    def _check(self) -> None:
        with self._unseen(), self._states.checking():
            check_independence(self._losses, self._samples)

    def _unseen(self) -> AbstractContextManager[None]:
        """Whether the checks draw random numbers is not to be seen afterwards."""
        return torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else [])

    def _try(self, batch: Batch) -> None:
        """Evaluate some samples for the first time, where what is wrong with network, loss or data is the user's to know."""
        try:
            self._losses.evaluate(batch)
        except (RuntimeError, LookupError, AttributeError, TypeError, AssertionError) as error:
            raise ValueError(f"model and loss must take the data, but for {size_of(batch)} samples: {error}") from error


def as_operators(value: object) -> LossOperators:
    """Return the operators of a network, or raise.

    Parameters
    ----------
    value : LossOperators

    Returns
    -------
    LossOperators

    Raises
    ------
    TypeError
        If it is something else, such as the network itself.

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.loss_operators import as_operators
    >>> as_operators(torch.nn.Linear(2, 1))
    Traceback (most recent call last):
    TypeError: operators must be LossOperators of a network and its data, got Linear
    """
    if not isinstance(value, LossOperators):
        raise TypeError(f"operators must be LossOperators of a network and its data, got {type(value).__name__}")
    return value


def _changed(change: Callable[[Batch, Tensor], Batch], batch: Batch, where: Tensor) -> Batch:
    """Return what a user's function makes of a batch: another one of as many samples."""
    found = change(batch, where)
    if (n := size_of(found, "what change returns")) != len(where):  # a single one would be taken for each of them
        raise ValueError(f"change must return a batch of {len(where)} samples, got one of {n}")
    return found


class _Everything:
    """All samples, chunk by chunk, as often as one likes."""

    def __init__(self, chunks: Callable[[], Iterator[Batch]]) -> None:
        self._chunks = chunks

    def __iter__(self) -> Iterator[Batch]:
        return self._chunks()
