"""Where a network used its parameters, read from autograd's graph, and the squared norms that follow from it.

Names of layers cannot decide whether a rule of `layer_rules` holds; the graph has every use of a parameter, whoever made it. Two
backward passes go down to the outputs of the uses, not to the parameters. The first is of the losses times powers of two, by
which nothing is rounded: its ratio to the second tells which rows of an output belong to which sample, and whether samples share
one. No axis is trusted for its length.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from gradnoise.simulations.neural.gradient_norms.layer_rules import RULES, Rule
from gradnoise.simulations.neural.gradient_norms.outer_products import Layout, NoRuleError, Outer, squared_norms

__all__ = ["ParameterUses"]

# By the names of nodes up to "Backward". The adjoints of views and copies keep the norm.
_COPIES = {"Alias", "Clone", "ToCopy"}
_TRANSPOSES = {"T", "Transpose"}
_VIEWS = {*_COPIES, *_TRANSPOSES, "Permute", "ReshapeAlias", "Select", "Slice", "Squeeze", "UnsafeView", "Unsqueeze", "View"}
_HALF = (torch.float16, torch.bfloat16)
_LEVELS = 32  # powers of two by which samples are told apart; 4 in half precision, which overflows


@dataclass
class _Use:
    """A parameter's use: its name, the rule, and whether it was transposed before."""

    name: str
    rule: Rule
    transposed: bool


@dataclass
class _Record:
    """A node with uses, and what the first backward pass brought to it: a number and a norm for each row."""

    uses: list[_Use] = field(default_factory=list)
    probe: tuple[Tensor, Tensor] | None = None


class ParameterUses:
    """Where parameters are used in autograd's graph, and what two backward passes say of it.

    Parameters
    ----------
    parameters : dict of str to Tensor
        Leaves that require a gradient, each of them once.
    n : int
        Samples.

    Attributes
    ----------
    without_rule : set of str
        Parameters of which nothing can be told. Final after `squares`.
    unit : float
        Rounding unit of the coarsest type of the gradients.
    n_summands : int
        Of which a sample's gradient is made, at most: places of an image, tokens, calls.
    """

    def __init__(self, parameters: Mapping[str, Tensor], n: int) -> None:
        self.parameters, self.n = parameters, n
        self.without_rule: set[str] = set()
        self.reached: set[str] = set()
        self._names = {id(p): name for name, p in parameters.items()}
        self._records: dict[Any, _Record] = {}
        self._ends: list[Any] = []  # nodes with uses below which there is none: where a pass may stop
        self._paths: dict[Any, tuple[str, tuple[Any, ...]] | None] = {}
        self._waiting: dict[str, list[Outer | Tensor]] = {}
        self._n_uses: dict[str, int] = {}
        self._n_seen: dict[str, int] = {}
        self._squares: dict[str, Tensor] = {}
        self._probing = True
        self._powers = torch.ones(n)
        self.unit, self.n_summands = 0.0, 1

    def read(self, root: Any) -> None:
        """Find all uses, depth first."""
        through: dict[str, list[tuple[Any, ...]]] = {}
        if (path := self._path(root)) is not None:  # a parameter's own numbers are the losses
            self.without_rule.add(path[0])
        stack, entered, finished = [root], set(), {}  # a dict for its order: what lies below a node is before it
        while stack:
            node = stack[-1]
            following = [(argument, child, nr) for argument, (child, nr) in enumerate(node.next_functions) if child is not None]
            if node not in entered:
                entered.add(node)
                stack += [child for _, child, _ in following if child not in entered]
                continue
            stack.pop()
            if node in finished:
                continue
            finished[node] = None
            if self._path(node) is None:
                for argument, child, nr in following:
                    if (path := self._path(child)) is not None:
                        name, views = path
                        through.setdefault(name, []).append(views)
                        self._use(node, argument, name, views, nr)
        for name, views in through.items():
            # The uses of one parameter are added up entry by entry: they must have the same entries at the same places.
            harmless = _COPIES | (_TRANSPOSES if self.parameters[name].ndim == 2 else set())
            if len(views) > 1 and any(_kind(view) not in harmless for path in views for view in path):
                self.without_rule.add(name)
        self.reached = set(through) | self.without_rule
        for record in self._records.values():
            record.uses = [use for use in record.uses if use.name not in self.without_rule]
        self._records = {node: record for node, record in self._records.items() if record.uses}
        leads: dict[Any, bool] = {}  # whether a use lies below a node
        for node in finished:
            children = [child for child, _ in node.next_functions if child is not None]
            leads[node] = any(child in self._records or leads[child] for child in children)
        self._ends = [node for node in self._records if not leads[node]]

    def differentiate(self, losses: Tensor, with_total: bool) -> dict[str, Tensor]:
        """Make both backward passes; return the sums of the gradients if they are wanted."""
        types = {losses.dtype, *(node._input_metadata[0].dtype for node in self._records)}
        self.unit = max(torch.finfo(dtype).eps for dtype in types)
        self._powers = _powers(self.n, 4 if torch.float16 in types else _LEVELS).to(losses.device)
        reached = [name for name in self.parameters if name in self.reached]
        handles = [node.register_prehook(lambda grads, node=node: self._arrived(node, grads[0])) for node in self._records]
        try:
            if self._ends:
                self._pass(losses, self._powers.to(losses.dtype), retain_graph=True)
            self._probing = False
            if with_total and reached:
                found = torch.autograd.grad(losses.sum(), [self.parameters[name] for name in reached], allow_unused=True)
                pairs = zip(reached, found, strict=True)
                return {name: g.to_dense() if g.is_sparse else g for name, g in pairs if g is not None}
            if self._ends:
                self._pass(losses, torch.ones_like(losses))
        finally:
            for handle in handles:
                handle.remove()
        return {}

    def squares(self) -> dict[str, Tensor]:
        """‖gᵢ‖² for each parameter with rules, zeros where the losses do not depend on it."""
        self.without_rule |= {name for name, count in self._n_uses.items() if self._n_seen.get(name) != count}
        found = {}
        for name, p in self.parameters.items():
            if name in self._squares:
                found[name] = self._squares[name]
            elif name not in self.without_rule:
                found[name] = torch.zeros(self.n, dtype=torch.float64, device=p.device)
        return found

    def _path(self, node: Any) -> tuple[str, tuple[Any, ...]] | None:
        """Parameter that a node hands on, and through which views."""
        if node not in self._paths:
            self._paths[node] = None
            if hasattr(node, "variable"):
                name = self._names.get(id(node.variable))
                self._paths[node] = None if name is None else (name, ())
            elif _kind(node) in _VIEWS and len(node.next_functions) == 1 and node.next_functions[0][1] == 0:
                before = self._path(node.next_functions[0][0])
                self._paths[node] = None if before is None else (before[0], (*before[1], node))
        return self._paths[node]

    def _use(self, node: Any, argument: int, name: str, views: tuple[Any, ...], output: int) -> None:
        p = self.parameters[name]
        rule = None
        if node.name() in RULES and output == 0 and not p.is_complex():
            try:
                seen = views[-1]._input_metadata[0].shape if views else p.shape
                rule = RULES[node.name()](node, argument, torch.Size(seen))
            except AttributeError:  # a version of torch that keeps other things
                rule = None
        if rule is None:
            self.without_rule.add(name)
            return
        transposed = sum(_kind(view) in _TRANSPOSES for view in views) % 2 == 1
        self._records.setdefault(node, _Record()).uses.append(_Use(name, rule, transposed))
        self._n_uses[name] = self._n_uses.get(name, 0) + 1

    def _pass(self, losses: Tensor, weights: Tensor, retain_graph: bool = False) -> None:
        edges = [GradientEdge(node, 0) for node in self._ends]
        found = torch.autograd.grad(losses, edges, weights, retain_graph=retain_graph, allow_unused=True)
        for node, delta in zip(self._ends, found, strict=True):
            self._arrived(node, delta)

    def _arrived(self, node: Any, delta: Tensor | None) -> None:
        """Take δ of a node: its digest in the first pass, the contributions of its uses in the second."""
        record = self._records[node]
        if self._probing:
            record.probe = None if delta is None else _digest(delta)
            return
        layout = None if delta is None else self._layout(record, delta)
        for use in record.uses:
            self._n_seen[use.name] = self._n_seen.get(use.name, 0) + 1
            if use.name in self.without_rule:
                continue
            if delta is not None:
                try:
                    if layout is None:
                        raise NoRuleError
                    part = use.rule(delta, layout)
                    if use.transposed and self._n_uses[use.name] > 1:
                        part = _transposed(part)
                except NoRuleError:
                    self.without_rule.add(use.name)
                    self._waiting.pop(use.name, None)
                    continue
                self._waiting.setdefault(use.name, []).append(part)
                self.n_summands = max(self.n_summands, part.steps if isinstance(part, Outer) else delta.numel() // part.numel())
            if self._n_seen[use.name] == self._n_uses[use.name]:
                self._finish(use.name)
        record.uses = []  # lets go of what the rules hold

    def _layout(self, record: _Record, delta: Tensor) -> Layout | None:
        """Where the samples are in δ, if each row belongs to one of them."""
        if record.probe is None:
            return None
        digest, norm = _digest(delta)
        probe, probe_norm = record.probe
        if probe.shape != digest.shape:
            return None
        info = torch.finfo(delta.dtype)
        for layout in Layout.candidates(tuple(delta.shape), self.n):
            first = [layout.samples_first(t) for t in (digest, norm, probe, probe_norm)]
            powers = self._powers.to(digest).reshape(self.n, *[1] * (first[0].ndim - 1))
            scale = torch.maximum(powers * (first[1] + info.tiny), first[3])  # below tiny, numbers have fewer digits
            if bool(((first[2] - powers * first[0]).abs() <= info.eps**0.5 * scale).all()):
                return layout
        return None

    def _finish(self, name: str) -> None:
        parts = self._waiting.pop(name, [])
        outer, rows = [p for p in parts if isinstance(p, Outer)], [p for p in parts if isinstance(p, Tensor)]
        if len({(part.groups, part.height, part.width) for part in outer}) + bool(rows) > 1:  # not the same entries
            self.without_rule.add(name)
        elif outer:
            self._squares[name] = squared_norms(outer)
        elif rows:
            self._squares[name] = sum(rows[1:], rows[0]).square().sum(1).double()


def _transposed(part: Outer | Tensor) -> Outer:
    if isinstance(part, Tensor):
        raise NoRuleError
    return part.transposed()


def _digest(delta: Tensor) -> tuple[Tensor, Tensor]:
    """A fixed linear function of each row of δ, and the row's norm; with three axes or more, the first two tell rows apart."""
    rows = delta.detach()
    rows = rows.float() if rows.dtype in _HALF else rows
    rows = rows.flatten(2) if rows.ndim > 2 else rows if rows.ndim == 2 else rows.reshape(-1, 1)
    direction = torch.cos(torch.arange(rows.shape[-1], device=rows.device, dtype=rows.dtype))  # no loss's δ is orthogonal to it
    return rows @ direction, torch.linalg.vector_norm(rows, dim=-1)


def _powers(n: int, levels: int) -> Tensor:
    """Powers of two, by which losses can be multiplied without rounding, different for any few samples."""
    generator = torch.Generator().manual_seed(0)
    exponents = torch.cat([torch.randperm(levels, generator=generator) for _ in range(-(-n // levels))])[:n]
    return torch.pow(2.0, exponents.double())


def _kind(node: Any) -> str:
    return node.name().partition("Backward")[0]
