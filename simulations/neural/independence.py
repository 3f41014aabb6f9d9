"""Whether the losses of a batch are those of its samples: seen by evaluating samples alone, together, and again."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gradnoise.simulations.neural.batches import Batch, part, size_of
from gradnoise.simulations.neural.derivatives import gradient_of
from gradnoise.simulations.neural.sample_losses import SampleLosses

__all__ = ["check_independence"]

_AGAIN = 32  # evaluations where random numbers are drawn: what is dropped with probability 0.1 is missed by one check in 30
_FEW = 5  # samples that are evaluated alone


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
    _check_alone(losses, part(largest, slice(0, _FEW)))
    for batch in others:
        _check_determinism(losses, batch)


def _check_determinism(losses: SampleLosses, batch: Batch) -> None:
    tensors = {**dict(losses.model.named_parameters()), **dict(losses.model.named_buffers())}
    before = {name: t.detach().clone() for name, t in tensors.items()}
    drawn = _random_state()
    with torch.no_grad():
        first = losses(batch)
        draws = drawn != _random_state()
        later = [losses(batch) for _ in range(_AGAIN if draws else 1)]
        for name, value in before.items():
            if not _same(tensors[name], value):
                tensors[name].detach().copy_(value)  # what was changed here is put back
                raise ValueError(
                    f"model must not change when it is evaluated, got another {name!r} after a forward pass{_hint(losses)}"
                )
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
        seen = _difference(losses, list(losses.parameters.values()), batch)
    except Exception as error:
        if size_of(batch) == 1:
            raise
        one_alone = _line(error)
        raise ValueError(
            f"the loss of a sample must not depend on other samples, but one alone has none ({one_alone}){_hint(losses)}"
        ) from error
    if seen is not None:  # which single precision may be to blame for, where gradients almost vanish
        try:
            counted, others, doubled = losses.in_double(batch)
            leaves = {name: p.requires_grad_() for name, p in counted.items()}
            seen = _difference(lambda some: losses.at({**leaves, **others}, some), list(leaves.values()), doubled)
        except (RuntimeError, TypeError):
            pass  # a network that is tied to its precision: what was seen in that counts
    if seen is not None:
        raise ValueError(f"the loss of a sample must not depend on other samples, got {seen}{_hint(losses)}")


def _difference(evaluate: Callable[[Batch], Tensor], parameters: list[Tensor], batch: Batch) -> str | None:
    """What differs between samples alone and with others."""
    n = size_of(batch)
    with torch.no_grad():
        alone = torch.cat([evaluate(part(batch, slice(i, i + 1))) for i in range(n)])
        pairs = [torch.tensor(pair) for pair in ((0, n - 1), (n - 1, n // 2)) if n > 1]
        for order in (torch.arange(n), torch.arange(n).flip(0), *pairs):
            found, expected = evaluate(part(batch, order)), alone[order.to(alone.device)]
            off = (found - expected).abs()
            if bool((off > _tolerance(alone)).any()) or not torch.equal(found.isnan(), expected.isnan()):
                i = int(off.nan_to_num(torch.inf).argmax())
                return f"{float(expected[i]):.6g} for one alone and {float(found[i]):.6g} for the same one among {len(order)}"
    # The losses may agree where what they depend on is seen by the gradient alone.
    weights = torch.cos(torch.arange(1, n + 1, device=alone.device, dtype=alone.dtype))  # of both signs, no two alike
    each = [_flat_gradient(evaluate(part(batch, slice(i, i + 1))), parameters, weights[i : i + 1]) for i in range(n)]
    off = float((_flat_gradient(evaluate(batch), parameters, weights) - torch.stack(each).sum(dim=0)).norm())
    size = sum(float(g.norm()) for g in each)
    if off <= torch.finfo(alone.dtype).eps ** 0.5 * size:
        return None
    return f"a gradient of {n} samples together that is off by {100 * off / (size or off):.2g} % from the sum of theirs alone"


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
