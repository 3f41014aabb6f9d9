"""The losses of a batch, a number for each sample, as a function of a network's parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from fnmatch import fnmatchcase
from numbers import Integral
from typing import Any, TypedDict

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._pytree import tree_map

from gradnoise.simulations.neural.batches import Batch, size_of
from gradnoise.simulations.neural.kernels import smooth_kernels
from gradnoise.theory._validation import as_choice

__all__ = ["Options", "Parameters"]

Parameters = dict[str, Tensor]

_TARGETS = ("labels", "label", "targets", "target", "y")  # keys of a dictionary, in this order
_FEW_DIGITS = (torch.float16, torch.bfloat16)


class Options(TypedDict, total=False):
    """How losses come from batches; see `gradnoise.simulations.neural.loss_operators.LossOperators`.

    Examples
    --------
    >>> from gradnoise.simulations.neural.sample_losses import Options
    >>> options: Options = {"sample_dim": 0, "token_reduction": "mean"}
    >>> sorted(options)
    ['sample_dim', 'token_reduction']
    """

    closure: Callable[[nn.Module, Batch], Tensor] | None
    sample_dim: int | None
    token_reduction: str | None
    mask: str | Callable[[Batch], Tensor] | None
    parameters: str | Iterable[str] | None
    autocast: torch.dtype | None


class SampleLosses:
    """Losses of a network, at its own parameters or at others.

    Parameters
    ----------
    model : torch.nn.Module
        DataParallel, DistributedDataParallel and torch.compile are unwrapped.
    loss : callable or None
    closure : callable, optional
    sample_dim : int, optional
    token_reduction : {"mean", "sum"}, optional
    mask : str or callable, optional
    parameters : str or iterable of str, optional
    autocast : torch.dtype, optional
        See `gradnoise.simulations.neural.loss_operators.LossOperators`.

    Attributes
    ----------
    model : torch.nn.Module
        Unwrapped.
    names : list of str
        Of the parameters that count.

    Raises
    ------
    ValueError
        If there are no parameters, or they are of too low a precision; when called, if losses are not one for each sample.
    TypeError
        If an argument is of the wrong kind.

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.sample_losses import SampleLosses
    >>> model = torch.nn.Linear(3, 2)
    >>> losses = SampleLosses(model, torch.nn.CrossEntropyLoss(reduction="none"))
    >>> losses.names, losses((torch.ones(4, 3), torch.zeros(4, dtype=torch.int64))).shape
    (['weight', 'bias'], torch.Size([4]))
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Callable[[Any, Any], Tensor] | None,
        *,
        closure: Callable[[nn.Module, Batch], Tensor] | None = None,
        sample_dim: int | None = None,
        token_reduction: str | None = None,
        mask: str | Callable[[Batch], Tensor] | None = None,
        parameters: str | Iterable[str] | None = None,
        autocast: torch.dtype | None = None,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise TypeError(f"model must be a torch.nn.Module, got {model!r}")
        if (loss is None) == (closure is None):
            raise TypeError(f"loss or closure must be given, and not both, got {'neither' if loss is None else 'both'}")
        for name, given in (("loss", loss), ("closure", closure)):
            if given is not None and not callable(given):
                raise TypeError(f"{name} must be callable, got {given!r}")
        if (sample_dim is None) != (token_reduction is None):
            raise ValueError('sample_dim and token_reduction, "mean" or "sum", must be given together')
        if sample_dim is not None and (isinstance(sample_dim, bool) or not isinstance(sample_dim, Integral)):
            raise TypeError(f"sample_dim must be an integer, got {sample_dim!r}")
        if token_reduction is not None:
            as_choice(token_reduction, "token_reduction", ("mean", "sum"))
        if mask is not None and sample_dim is None:
            raise ValueError("mask must come with sample_dim and token_reduction")
        if mask is not None and not (isinstance(mask, str) or callable(mask)):
            raise TypeError(f"mask must be a key of the batch or a function of it, got {mask!r}")
        if autocast is not None and autocast not in _FEW_DIGITS:
            raise ValueError(f"autocast must be torch.bfloat16 or torch.float16, got {autocast!r}")
        self.model, self.loss, self.closure = _unwrapped(model), loss, closure
        self.sample_dim, self.token_reduction, self.mask, self.autocast = sample_dim, token_reduction, mask, autocast
        self._whole = _Evaluation(self.model, lambda model, batch: self._reduced(self._evaluate(model, batch), batch))
        self.names = _selected(self.model, parameters)

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """The parameters that count, as they are now."""
        present = dict(self.model.named_parameters())
        return {name: present[name] for name in self.names}

    @property
    def tensors(self) -> Parameters:
        """All parameters and buffers of the network, as they are now."""
        return {**dict(self.model.named_parameters()), **dict(self.model.named_buffers())}

    def kinds(self) -> list[tuple[torch.dtype, bool]]:
        """Return what must stay as it is: dtypes of the parameters, and whether they require gradients."""
        return [(p.dtype, p.requires_grad) for p in self.parameters.values()]

    def __call__(self, batch: Batch) -> Tensor:
        """ℓ, (m,), at the network's own parameters."""
        return self._reduced(self.evaluate(batch), batch)

    def evaluate(self, batch: Batch) -> Any:
        """Return what loss or closure does."""
        return self._evaluate(self.model, batch)

    def at(self, parameters: Parameters, batch: Batch, then: Callable[[Tensor], Any] = lambda losses: losses) -> Any:
        """ℓ, (m,), with some of the network's tensors replaced, or what is made of it while they are.

        A backward pass is to be made so: a network with checkpoints is evaluated once more in it.
        """
        replaced = {f"model.{name}": p for name, p in parameters.items()}
        return functional_call(self._whole, replaced, (batch, then))

    def in_double(self, batch: Batch) -> tuple[Parameters, Parameters, Batch]:
        """Parameters that count, other tensors of the network, and a batch, in double precision."""

        def doubled(leaf: Any) -> Any:
            return leaf.detach().double() if isinstance(leaf, Tensor) and leaf.is_floating_point() else leaf

        tensors = self.tensors
        counted = {name: doubled(tensors.pop(name)) for name in self.names}
        return counted, {name: doubled(t) for name, t in tensors.items()}, tree_map(doubled, batch)

    def _evaluate(self, model: nn.Module, batch: Batch) -> Tensor:
        if self.closure is not None:
            return self.closure(model, batch)
        inputs, targets = _split(batch)
        outputs = (
            model(**inputs)
            if isinstance(inputs, Mapping)
            else model(*inputs)
            if isinstance(inputs, tuple | list)
            else model(inputs)
        )
        assert self.loss is not None
        return self.loss(_logits(outputs), targets)

    def _reduced(self, found: Any, batch: Batch) -> Tensor:
        """Losses of tokens, if that is what they are, as one of each sample."""
        n = size_of(batch)
        if not isinstance(found, Tensor) or not found.is_floating_point():
            raise TypeError(f"loss must return a tensor of real numbers, got {getattr(found, 'dtype', type(found).__name__)}")
        if self.sample_dim is not None:
            found = self._over_tokens(found, batch)
        if found.shape != (n,):
            raise ValueError(
                f"loss must return a number for each sample, got shape {tuple(found.shape)} for {n} samples; "
                f'torch\'s losses do so with reduction="none", and those of tokens, (n, tokens), with sample_dim=0 and '
                f'token_reduction="mean" or "sum"'
            )
        return found

    def _over_tokens(self, found: Tensor, batch: Batch) -> Tensor:
        assert self.sample_dim is not None
        if not -found.ndim <= self.sample_dim < found.ndim:
            raise ValueError(f"sample_dim must be an axis of the losses, of shape {tuple(found.shape)}, got {self.sample_dim}")
        tokens = found.movedim(self.sample_dim, 0).flatten(1) if found.ndim > 1 else found.unsqueeze(1)
        if self.mask is None:
            return tokens.mean(dim=1) if self.token_reduction == "mean" else tokens.sum(dim=1)
        if isinstance(self.mask, str) and not (isinstance(batch, Mapping) and self.mask in batch):
            keys = ", ".join(map(str, batch)) if isinstance(batch, Mapping) else f"none, as it is a {type(batch).__name__}"
            raise ValueError(f"mask must be a key of the batch, got {self.mask!r}; there are {keys}")
        kept = batch[self.mask] if isinstance(self.mask, str) else self.mask(batch)
        if not isinstance(kept, Tensor):
            raise TypeError(f"mask must be a Tensor, got {type(kept).__name__}")
        if kept.shape != found.shape:
            raise ValueError(f"mask must have the shape of the losses, {tuple(found.shape)}, got {tuple(kept.shape)}")
        kept = kept.movedim(self.sample_dim, 0).flatten(1).to(tokens.dtype)
        total = (torch.where(kept != 0, tokens, 0) * kept).sum(dim=1)  # one that does not count may be infinite
        count = kept.sum(dim=1)
        return total / torch.where(count == 0, 1, count) if self.token_reduction == "mean" else total


class _Evaluation(nn.Module):
    """A closure as a module, so that functional_call replaces the parameters that it sees."""

    def __init__(self, model: nn.Module, evaluate: Callable[[nn.Module, Batch], Tensor]) -> None:
        super().__init__()
        self.model, self._evaluate = model, evaluate
        self.training = model.training

    def forward(self, batch: Batch, then: Callable[[Tensor], Any]) -> Any:
        return then(self._evaluate(self.model, batch))


@contextmanager
def differentiable(losses: SampleLosses, device: torch.device, *, second_derivatives: bool = True) -> Iterator[None]:
    """Record gradients, also inside of no_grad and inference_mode.

    Parameters
    ----------
    losses : SampleLosses
        Their autocast is used, and that of the caller is not.
    device : torch.device
        Of the parameters.
    second_derivatives : bool
        Take kernels that have them, and the forward mode, and give embeddings dense gradients.

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.sample_losses import SampleLosses, differentiable
    >>> losses = SampleLosses(torch.nn.Linear(3, 2), torch.nn.CrossEntropyLoss(reduction="none"))
    >>> with torch.inference_mode(), differentiable(losses, torch.device("cpu")):
    ...     losses((torch.ones(4, 3), torch.zeros(4, dtype=torch.int64))).requires_grad
    True
    """
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        # Without the cache of cast weights, which would keep their gradients from a second pass.
        options: dict[str, Any] = {"enabled": losses.autocast is not None, "cache_enabled": False}
        stack.enter_context(torch.autocast(device.type, dtype=losses.autocast or torch.bfloat16, **options))
        if second_derivatives:
            stack.enter_context(smooth_kernels(losses.model, device))
        yield


def _unwrapped(model: nn.Module) -> nn.Module:
    """The network in wrappers whose parameters have other names: it is run on one device, as it was written."""
    while True:
        if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            model = model.module
        elif isinstance(getattr(model, "_orig_mod", None), nn.Module):  # of torch.compile
            model = model._orig_mod  # type: ignore[assignment]
        else:
            return model


def _selected(model: nn.Module, wanted: str | Iterable[str] | None) -> list[str]:
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if not trainable:
        raise ValueError("model must have parameters to train, got none that requires a gradient")
    names = list(trainable)
    if wanted is not None:
        patterns = [wanted] if isinstance(wanted, str) else list(wanted) if isinstance(wanted, Iterable) else [wanted]
        if not patterns or not all(isinstance(pattern, str) for pattern in patterns):
            raise TypeError(f"parameters must be names or patterns, one or more, got {wanted!r}")
        for pattern in patterns:
            if not any(fnmatchcase(name, pattern) for name in names):
                raise ValueError(
                    f"parameters must be names or patterns of trainable ones, got {pattern!r}; there are {', '.join(names)}"
                )
        names = [name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)]
    for name in names:
        p = trainable[name]
        if p.is_meta:
            raise ValueError(f"model must have parameters with values, got {name!r} on the meta device")
        if nn.parameter.is_lazy(p):
            raise ValueError(f"model must have seen a batch before, as its layers are lazy, got {name!r} without a shape")
        if p.is_inference():
            raise ValueError(f"model must not be made in inference_mode, got {name!r}, of which autograd takes no derivatives")
        if p.is_complex() or p.dtype in _FEW_DIGITS or not p.is_floating_point():
            raise ValueError(
                f"model must have parameters of float32 or float64, got {p.dtype} in {name!r}; "
                f"take copy.deepcopy(model).float(), and autocast for what lower precision does to the gradients"
            )
    if not any(trainable[name].numel() for name in names):
        raise ValueError(f"parameters must be some numbers, got none in {', '.join(names)}")
    return names


def _split(batch: Batch) -> tuple[Any, Any]:
    """Inputs and targets."""
    if isinstance(batch, Mapping):
        for key in _TARGETS:
            if key in batch:
                return {name: value for name, value in batch.items() if name != key}, batch[key]
        raise ValueError(
            f"a batch must have its targets under one of {', '.join(_TARGETS)}, got the keys {', '.join(map(str, batch))}; "
            f"else pass closure(model, batch)"
        )
    if isinstance(batch, tuple | list) and len(batch) > 1:
        *inputs, targets = batch
        return (inputs[0] if len(inputs) == 1 else tuple(inputs)), targets
    raise ValueError("a batch must have inputs and targets, got one tensor; with closure(model, batch) it need not")


def _logits(outputs: Any) -> Any:
    """What a loss takes of a model's output object."""
    if isinstance(outputs, Mapping) and "logits" in outputs:
        return outputs["logits"]
    return getattr(outputs, "logits", outputs)
