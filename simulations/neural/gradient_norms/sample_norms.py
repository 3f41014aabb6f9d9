"""Exact squared norms of the gradients of all samples, of which none is held.

One forward pass, and two backward passes down to the outputs of the layers, see `parameter_uses`; what has no rule is taken one
sample at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.graph import get_gradient_edge

from gradnoise.simulations.neural.gradient_norms.parameter_uses import ParameterUses
from gradnoise.theory._validation import as_count, as_flag, as_function, shown

__all__ = ["GradientNorms", "squared_gradient_norms"]


@dataclass(frozen=True)
class GradientNorms:
    """Result of `squared_gradient_norms`.

    Attributes
    ----------
    squares : dict of str to (n,) Tensor
        ‖gᵢ‖² of each sample, for each parameter, in double precision. Units: loss² / parameter².
    total : dict of str to Tensor
        Σ gᵢ, in the shape of the parameter; empty unless asked for.
    looped : tuple of str
        Parameters without a rule, for which a forward and a backward pass of each sample was made.
    unit : float
        Rounding unit of the coarsest type that gradients went through.
    n_summands : int
        Places, tokens and calls that a sample's gradient is the sum over, at most, where there is a rule.

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.gradient_norms import squared_gradient_norms
    >>> x, slope = torch.tensor([1.0, 2.0, 3.0]), torch.nn.Parameter(torch.ones(()))
    >>> found = squared_gradient_norms({"slope": slope}, lambda rows: slope**2 * x[rows], 3, with_total=True)
    >>> found.squares["slope"], found.total["slope"], found.looped  # no rule for a power
    (tensor([ 4., 16., 36.], dtype=torch.float64), tensor(12.), ('slope',))
    """

    squares: dict[str, Tensor]
    total: dict[str, Tensor]
    looped: tuple[str, ...]
    unit: float
    n_summands: int


def squared_gradient_norms(
    parameters: Mapping[str, Tensor],
    evaluate: Callable[[slice], Tensor],
    n: int,
    *,
    with_total: bool = False,
    rules: bool = True,
) -> GradientNorms:
    r"""Squared norm of each sample's gradient with respect to each parameter.

    .. math:: \|g_i\|^2 = \Big\|\sum_t \delta_{it} a_{it}^T\Big\|^2
        = \sum_{ts} (\delta_{it} \cdot \delta_{is}) (a_{it} \cdot a_{is})

    for a linear layer with inputs a and gradients δ with respect to its outputs, the sum being over whatever a sample has
    several of: places of an image, tokens, calls of a layer, uses of a tied parameter.

    Parameters
    ----------
    parameters : dict of str to Tensor
        Leaves that require a gradient, each of them once.
    evaluate : callable
        ``evaluate(rows)`` returns the losses of the samples ``rows``, a slice of 0 to n. It is called with all of them, and with
        single ones where a parameter has no rule.
    n : int
        Samples.
    with_total : bool
        Whether the sum of the gradients is wanted too.
    rules : bool
        Whether to go by rules at all, or by a forward and a backward pass of each sample.

    Returns
    -------
    GradientNorms

    Raises
    ------
    ValueError
        If `evaluate` does not return a loss for each sample.

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.gradient_norms import squared_gradient_norms
    >>> layer, inputs = torch.nn.Linear(2, 1), torch.tensor([[3.0, 4.0], [0.0, 2.0]])
    >>> found = squared_gradient_norms(dict(layer.named_parameters()), lambda rows: layer(inputs[rows])[:, 0], 2)
    >>> found.squares["weight"], found.squares["bias"], found.looped
    (tensor([25.,  4.], dtype=torch.float64), tensor([1., 1.], dtype=torch.float64), ())
    """
    if not isinstance(parameters, Mapping) or not all(isinstance(p, Tensor) for p in parameters.values()):
        raise TypeError(f"parameters must be Tensors by name, got {shown(parameters)}")
    as_function(evaluate, "evaluate")
    n, with_total, rules = as_count(n, "n"), as_flag(with_total, "with_total"), as_flag(rules, "rules")
    with torch.inference_mode(False), torch.enable_grad():
        return _norms(parameters, evaluate, n, with_total, rules)


def _norms(
    parameters: Mapping[str, Tensor], evaluate: Callable[[slice], Tensor], n: int, with_total: bool, rules: bool
) -> GradientNorms:
    losses = evaluate(slice(0, n))
    if not isinstance(losses, Tensor):
        raise TypeError(f"evaluate must return a Tensor, got {type(losses).__name__}")
    if losses.shape != (n,):
        raise ValueError(f"evaluate must return a loss for each of {n} samples, got shape {tuple(losses.shape)}")
    graph = ParameterUses(parameters, n)
    if losses.requires_grad:
        graph.read(get_gradient_edge(losses).node)
        with torch.autocast(losses.device.type, enabled=False):
            total = graph.differentiate(losses, with_total)
    else:
        total = {}
    squares, looped = graph.squares(), tuple(n for n in parameters if n in graph.without_rule or not rules)
    n_summands, unit = graph.n_summands, max([graph.unit, *(torch.finfo(p.dtype).eps for p in parameters.values())])
    del losses, graph  # with what they hold
    if looped:
        squares |= _one_by_one({name: parameters[name] for name in looped}, evaluate, n)
    if with_total:
        total = {name: total[name] if name in total else torch.zeros_like(p) for name, p in parameters.items()}
    return GradientNorms({name: squares[name] for name in parameters}, total, looped, unit, n_summands)


def _one_by_one(parameters: Mapping[str, Tensor], evaluate: Callable[[slice], Tensor], n: int) -> dict[str, Tensor]:
    """Squared norms by a forward and a backward pass of each sample."""
    found = {name: torch.zeros(n, dtype=torch.float64, device=p.device) for name, p in parameters.items()}
    for i in range(n):
        loss = evaluate(slice(i, i + 1)).sum()
        if not loss.requires_grad:
            continue
        gradients = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
        for name, g in zip(parameters, gradients, strict=True):
            if g is not None:
                found[name][i] = _squared_norm(g)
    return found


def _squared_norm(t: Tensor) -> Tensor:
    entries = t.coalesce().values() if t.is_sparse else t
    return torch.linalg.vector_norm(entries, dtype=torch.complex128 if t.is_complex() else torch.float64).square()
