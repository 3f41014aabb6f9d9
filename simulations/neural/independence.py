"""Whether the losses of a batch are those of its samples: seen by evaluating samples alone, together, and again."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gradnoise.simulations.neural.batches import Batch, part, size_of
from gradnoise.simulations.neural.derivatives import gradient_of, signed
from gradnoise.simulations.neural.sample_losses import SampleLosses

_AGAIN = 32  # evaluations where random numbers are drawn: what is dropped with probability 0.1 is missed by one check in 30
_FEW = 5  # samples that are evaluated alone

Difference = Callable[[Callable[[Batch], Tensor], list[Tensor], Batch], str | None]


def check_independence(losses: SampleLosses, batches: list[Batch]) -> None:
    """Refuse losses that are random, change the network, or depend on other samples.

    Parameters
    ----------
    losses : SampleLosses
    batches : list of Batch
        Some samples of the data, on the network's device. The losses and gradients of the first ones are compared with those
        that they have alone, in pairs, and in another order; in double precision where the network can be evaluated so.

    Raises
    ------
    ValueError
        Which says what was seen.

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.independence import check_independence
    >>> from gradnoise.simulations.neural.sample_losses import SampleLosses
    >>> centred = lambda outputs, targets: (outputs[:, 0] - outputs.mean()) ** 2
    >>> losses = SampleLosses(torch.nn.Linear(3, 1), centred)
    >>> check_independence(losses, [(torch.randn(4, 3), torch.zeros(4))])
    Traceback (most recent call last):
    ValueError: the loss of a sample must not depend on other samples, got ...
    """
    largest, *others = sorted(batches, key=size_of, reverse=True)
    _check_determinism(losses, largest)
    _check_gradients(losses, batches)
    _check_alone(losses, part(largest, slice(0, _FEW)))
    for batch in others:
        _check_determinism(losses, batch)


def check_chunk(losses: SampleLosses, batch: Batch) -> None:
    """Refuse losses that depend on other samples where there are as many at once as will be taken.

    Parameters
    ----------
    losses : SampleLosses
    batch : Batch
        As many samples as are taken at once, of which every other one is evaluated without the rest.

    Raises
    ------
    ValueError

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.independence import check_chunk
    >>> from gradnoise.simulations.neural.sample_losses import SampleLosses
    >>> hard = lambda outputs, targets: outputs[:, 0] ** 2 * (outputs[:, 0] ** 2 >= (outputs[:, 0] ** 2).topk(9).values[-1])
    >>> losses = SampleLosses(torch.nn.Linear(3, 1), hard)  # only the nine largest ones count
    >>> check_chunk(losses, (torch.randn(50, 3), torch.zeros(50)))
    Traceback (most recent call last):
    ValueError: the loss of a sample must not depend on other samples, got ...
    """
    halves = [torch.arange(start, size_of(batch), 2) for start in (0, 1) if start < size_of(batch)]

    def difference(evaluate: Callable[[Batch], Tensor], parameters: list[Tensor], batch: Batch) -> str | None:
        fewer = torch.cat([evaluate(part(batch, half)).detach() for half in halves])
        found = evaluate(batch).detach()
        return _other_losses(found[torch.cat(halves).to(found.device)], fewer)

    seen = _seen(difference, losses, batch)
    if seen is not None:
        raise ValueError(f"the loss of a sample must not depend on other samples, got {seen.replace('alone', 'among fewer')}")


@contextmanager
def unchanged(losses: SampleLosses) -> Iterator[None]:
    """Refuse a network that evaluations change; its parameters and buffers are put back, also where there is another error.

    Parameters
    ----------
    losses : SampleLosses

    Raises
    ------
    ValueError

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.independence import unchanged
    >>> from gradnoise.simulations.neural.sample_losses import SampleLosses
    >>> losses = SampleLosses(torch.nn.BatchNorm1d(2), lambda outputs, targets: outputs[:, 0])
    >>> with unchanged(losses):
    ...     _ = losses((torch.ones(3, 2), torch.zeros(3)))
    Traceback (most recent call last):
    ValueError: model must not change when it is evaluated, got another 'running_mean' after a forward pass; ...
    """
    before = {name: (t, t.detach().clone()) for name, t in losses.tensors.items()}
    changed: list[str] = []
    try:
        yield
    finally:
        now = losses.tensors
        for name, (tensor, value) in before.items():
            there = now.get(name)
            if there is None or not _same(there, value):
                changed.append(name)
                owner, _, last = name.rpartition(".")
                with torch.no_grad():
                    tensor.copy_(value)
                setattr(losses.model.get_submodule(owner), last, tensor)
    if changed:
        raise ValueError(
            f"model must not change when it is evaluated, got another {changed[0]!r} after a forward pass{_hint(losses)}"
        )


def _check_determinism(losses: SampleLosses, batch: Batch) -> None:
    drawn = _random_state()
    with unchanged(losses):
        first = losses(batch).detach()
        draws = drawn != _random_state()
        later = [losses(batch).detach() for _ in range(_AGAIN if draws else 1)]
    scale = _tolerance(first)
    for again in later:
        off = (again - first).abs()
        if (draws and not torch.equal(again, first)) or bool((off > scale).any()):
            i = int(off.argmax())
            raise ValueError(
                f"model must not be random, got a loss of {float(first[i]):.6g} and then {float(again[i]):.6g} for one sample"
                f"{_hint(losses)}"
            )


def _check_alone(losses: SampleLosses, batch: Batch) -> None:
    """Compare the losses of a few samples, and their gradients, with those that they have without the others."""
    try:
        seen = _seen(_difference, losses, batch)
    except Exception as error:
        if size_of(batch) == 1:
            raise
        one_alone = _line(error)
        raise ValueError(
            f"the loss of a sample must not depend on other samples, but one alone has none ({one_alone}){_hint(losses)}"
        ) from error
    if seen is not None:
        raise ValueError(f"the loss of a sample must not depend on other samples, got {seen}{_hint(losses)}")


def _seen(difference: Difference, losses: SampleLosses, batch: Batch) -> str | None:
    """What differs, also in double precision where the network can be evaluated so; low precision is not to blame then."""
    seen = difference(losses, list(losses.parameters.values()), batch)
    if seen is None:
        return None
    try:
        counted, others, doubled = losses.in_double(batch)
        leaves = {name: p.requires_grad_() for name, p in counted.items()}
        return difference(lambda some: losses.at({**leaves, **others}, some), list(leaves.values()), doubled)
    except (RuntimeError, TypeError):
        return seen  # a network that is tied to its precision: what was seen in that counts


def _difference(evaluate: Callable[[Batch], Tensor], parameters: list[Tensor], batch: Batch) -> str | None:
    """What differs between samples alone and with others."""
    n = size_of(batch)
    # Not in no_grad, in which a closure could not differentiate the network with respect to its inputs.
    alone = torch.cat([evaluate(part(batch, slice(i, i + 1))).detach() for i in range(n)])
    pairs = [torch.tensor(pair) for pair in ((0, n - 1), (n - 1, n // 2)) if n > 1]
    for order in (torch.arange(n), torch.arange(n).flip(0), *pairs):
        if found := _other_losses(evaluate(part(batch, order)).detach(), alone[order.to(alone.device)]):
            return found
    # The losses may agree where what they depend on is seen by the gradient alone, which is to be linear in the weights too.
    weights = signed(n, alone)
    one = torch.ones_like(weights[:1])
    rest, size = _flat_gradient(evaluate(batch), parameters, weights), 0.0
    for i, weight in enumerate(weights):  # one at a time, as a gradient may be large
        alone_too = float(weight) * _flat_gradient(evaluate(part(batch, slice(i, i + 1))), parameters, one)
        rest -= alone_too
        size += float(alone_too.norm())
    off = float(rest.norm())
    if off <= torch.finfo(alone.dtype).eps ** 0.5 * size:
        return None
    return (
        f"a gradient of {n} samples together that is off by {100 * off / (size or off):.2g} % from the sum of theirs alone (that "
        f"of a backward pass that clips, or of half precision, is too)"
    )


def _other_losses(found: Tensor, expected: Tensor) -> str | None:
    """How the losses of samples among others differ from those that are expected."""
    off = (found - expected).abs()
    if torch.equal(found.isnan(), expected.isnan()) and not bool((off > _tolerance(expected)).any()):
        return None
    i = int(off.nan_to_num(torch.inf).argmax())
    return f"{float(expected[i]):.6g} for one alone and {float(found[i]):.6g} for the same one among {len(found)}"


def _check_gradients(losses: SampleLosses, batches: list[Batch]) -> None:
    """Refuse losses that are not finite, or do not depend on the network, as autograd sees it: all products would be zero."""
    trainable = [p for p in losses.model.parameters() if p.requires_grad]
    depend = False
    for batch in batches:
        found = losses(batch)
        try:
            slopes = torch.autograd.grad(found.sum(), trainable, allow_unused=True) if found.requires_grad else ()
        except RuntimeError:
            return  # which one sample alone will meet too
        seen = [g.to_dense() if g.is_sparse else g for g in slopes if g is not None]
        depend = depend or len(seen) > 0
        if not all(bool(t.isfinite().all()) for t in (found, *seen)):
            where = "gradients" if found.isfinite().all() else "losses"
            raise ValueError(f"loss must be finite, and so its gradient, got NaN or infinity in the {where} of some samples")
    if not depend:
        raise ValueError(
            "losses must depend on the parameters of the model, but autograd finds that they do not: gradients are stopped "
            "(no_grad, inference_mode, detach, .item()), or another network is evaluated than model"
        )


def _flat_gradient(found: Tensor, parameters: list[Tensor], weights: Tensor) -> Tensor:
    parts = gradient_of(found, parameters, weights)
    return torch.cat([(p.to_dense() if p.is_sparse else p).reshape(-1).double().cpu() for p in parts])


def _tolerance(values: Tensor) -> float:
    """Rounding of losses whose parts are of order one or of their own size."""
    eps = torch.finfo(values.dtype).eps
    largest = float(values.abs().nan_to_num(0).max()) if len(values) else 0.0
    return eps ** (2 / 3) * largest + 64 * eps


def _same(a: Tensor, b: Tensor) -> bool:
    return torch.equal(a, b) or bool(torch.allclose(a, b, rtol=0, atol=0, equal_nan=True))


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"


def _random_state() -> tuple[Any, ...]:
    """State of the generators that a forward pass may draw from."""
    torch_states = [torch.get_rng_state()]
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch_states += torch.cuda.get_rng_state_all()
    name, keys, *rest = np.random.get_state()  # noqa: NPY002 (that of others)
    return (*(bytes(s.numpy()) for s in torch_states), random.getstate(), name, bytes(np.asarray(keys)), *rest)


def _hint(losses: SampleLosses) -> str:
    """Name a layer that does such things in training mode, if there is one; what was seen decides, not this."""
    for name, module in losses.model.named_modules():
        active = module.training and (
            isinstance(module, nn.modules.batchnorm._BatchNorm | nn.RReLU)
            or (getattr(module, "dropout", 0) not in (0, None) and not isinstance(module.dropout, nn.Module))
            or (isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0)
        )
        if active:
            return f"; {type(module).__name__} {name!r} is in training mode: call model.eval()"
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and not module.track_running_stats:
            return f"; {type(module).__name__} {name!r} has no running statistics: take GroupNorm or LayerNorm"
    return ""
