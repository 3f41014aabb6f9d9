"""Mean and spread of the gradients of the samples, without their being held."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from gradnoise.simulations.neural.derivatives import gradient_of
from gradnoise.simulations.neural.gradient_norms import squared_gradient_norms
from gradnoise.simulations.neural.loss_operators import LossOperators, as_operators
from gradnoise.simulations.neural.vectors import as_vector

__all__ = ["GradientSpread", "gradient_spread"]

_CHECKED = 3  # samples


@dataclass(frozen=True, eq=False)
class GradientSpread:
    """Result of `gradient_spread`.

    Attributes
    ----------
    squares : (n,) Tensor
        ‖gᵢ‖² of each sample, in double precision. Units: loss² / parameter².
    mean_squares, squared_means : dict of str to float
        Mean of ‖gᵢ‖², and ‖∇L‖², for each parameter.
    rounding : float
        Scale of the rounding error of `trace`, which is a difference: √K rounding units of the mean of ‖gᵢ‖², as errors of the
        K summands of ∇L (samples, and in each its tokens or places) add up like a random walk.
    looped : tuple of str
        Parameters for which a backward pass of each sample was made.

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.gradient_spread import gradient_spread
    >>> from gradnoise.simulations.neural.loss_operators import LossOperators
    >>> model, loss = torch.nn.Linear(3, 2), torch.nn.CrossEntropyLoss(reduction="none")
    >>> _ = torch.manual_seed(1)
    >>> equal, inputs = torch.rand(1, 3).repeat(30, 1), torch.rand(30, 3)
    >>> targets = torch.zeros(30, dtype=torch.int64)
    >>> [gradient_spread(LossOperators(model, loss, x, targets)).vanishes for x in (equal, inputs)]
    [True, False]
    """

    squares: Tensor
    mean_squares: dict[str, float]
    squared_means: dict[str, float]
    rounding: float
    looped: tuple[str, ...]

    @property
    def traces(self) -> dict[str, float]:
        """Tr Σ for each parameter."""
        return {name: max(0.0, square - self.squared_means[name]) for name, square in self.mean_squares.items()}

    @property
    def trace(self) -> float:
        """Tr Σ."""
        return max(0.0, math.fsum(self.mean_squares.values()) - math.fsum(self.squared_means.values()))

    @property
    def vanishes(self) -> bool:
        """Whether Tr Σ is zero to rounding, as where all samples are the same."""
        return self.trace <= 4 * self.rounding


def gradient_spread(operators: LossOperators, *, gradient: Tensor | None = None) -> GradientSpread:
    """Squared norms of the samples' gradients and of their mean, in one pass over the data.

    Parameters
    ----------
    operators : LossOperators
    gradient : (d,) Tensor, optional
        ∇L, where the caller has it.

    Returns
    -------
    GradientSpread

    Warns
    -----
    UserWarning
        If a parameter is used in a way for which there is no rule: a forward and a backward pass of each sample is slow.

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.gradient_spread import gradient_spread
    >>> from gradnoise.simulations.neural.loss_operators import LossOperators
    >>> model, inputs = torch.nn.Linear(2, 1, bias=False), torch.diag(torch.tensor([1.0, 2.0]))
    >>> _ = torch.nn.init.zeros_(model.weight)
    >>> loss = lambda outputs, targets: (outputs[:, 0] - targets) ** 2 / 2
    >>> spread = gradient_spread(LossOperators(model, loss, inputs, torch.ones(2)))
    >>> spread.squares, spread.trace, spread.vanishes  # of (-1, 0) and (0, -2), whose mean has the squared norm 1.25
    (tensor([1., 4.], dtype=torch.float64), 1.25, False)
    """
    parameters = as_operators(operators).own_parameters
    if gradient is not None:
        gradient = as_vector(gradient, "gradient", (operators.dimension,))
    squares: dict[str, list[Tensor]] = {name: [] for name in parameters}
    total: dict[str, Tensor] = {}
    unit, n_summands, looped, rules = 0.0, 1, set(), None
    for evaluate, size in operators.chunks():
        if rules is None:
            rules = _rules_are_right(parameters, evaluate, size)
        chunk = squared_gradient_norms(parameters, evaluate, size, with_total=gradient is None, rules=rules)
        for name, found in chunk.squares.items():
            squares[name].append(found)
        for name, found in chunk.total.items():
            total[name] = total[name] + found if name in total else found
        unit, n_summands = max(unit, chunk.unit), max(n_summands, chunk.n_summands)
        looped |= set(chunk.looped)
    if looped:
        named = ", ".join(name for name in parameters if name in looped)
        warnings.warn(
            f"the samples' gradients took a forward and a backward pass of each of {operators.n} samples, "
            f"as there is no rule for how these parameters are used: {named}",
            stacklevel=2,
        )
    if gradient is not None:
        total = {name: operators.n * g for name, g in operators.unflatten(gradient).items()}
    each = {name: torch.cat(found) for name, found in squares.items()}
    all_squares = torch.stack([found.to(operators.device) for found in each.values()]).sum(0)
    return GradientSpread(
        all_squares,
        {name: float(found.mean()) for name, found in each.items()},
        {name: float(g.square().sum(dtype=torch.float64)) / operators.n**2 for name, g in total.items()},
        math.sqrt(operators.n * n_summands) * unit * float(all_squares.mean()),
        tuple(name for name in parameters if name in looped),
    )


def _rules_are_right(parameters: Mapping[str, Tensor], evaluate: Callable[[slice], Tensor], n: int) -> bool:
    """Compare the norms of a few samples by rules with those by a backward pass of each, once in a pass over the data.

    The passes are of one evaluation: in another batch losses are rounded otherwise, which is all that is left of the gradients of
    samples that are fitted well.
    """
    few = min(n, _CHECKED)
    by_rules = squared_gradient_norms(parameters, evaluate, few)
    with torch.inference_mode(False), torch.enable_grad():
        losses = evaluate(slice(0, few))
        found = [gradient_of(losses[i], list(parameters.values()), retain_graph=True) for i in range(few)]
    for j, name in enumerate(parameters):
        if name in by_rules.looped:
            continue
        dense = ((g[j].to_dense() if g[j].is_sparse else g[j]).detach() for g in found)
        expected = torch.stack([g.double().square().sum() for g in dense])
        off = (by_rules.squares[name] - expected).abs()
        if not bool((off <= by_rules.unit**0.5 * expected.max()).all()):
            return False
    return True
