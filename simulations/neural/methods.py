"""How a network is trained: dynamics, optimizer, and what steers the learning rate."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import Any

import torch
from torch.optim.lr_scheduler import LRScheduler, MultiStepLR

from gradnoise.simulations.neural.dynamics import DYNAMICS, SVAG_L, Dynamics, build
from gradnoise.simulations.neural.loss_operators import LossOperators, as_operators
from gradnoise.simulations.neural.loss_rule import LossRule
from gradnoise.simulations.neural.training import largest_rate
from gradnoise.theory._validation import as_choice, as_count, as_flag, as_iterable, as_real, set_fields, shown

__all__ = ["OPTIMIZERS", "Method", "Parts"]

OPTIMIZERS = ("sgd", "adam")
#: Settings that every run has written down since there are runs. Others are written where they are not the default, so that a run
#: without them is the run that it was before there were such settings.
_ALWAYS = ("dynamics", "learning_rate", "batch_size", "large_batch_size", "optimizer", "momentum", "period")


@dataclass(frozen=True)
class Parts:
    """What `gradnoise.simulations.neural.training.train` takes.

    Attributes
    ----------
    dynamics : Dynamics
    optimizer : torch.optim.Optimizer
    schedule : LRScheduler or None
    rule : LossRule or None

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.experiments import EXPERIMENTS, make
    >>> from gradnoise.simulations.neural.methods import Method
    >>> operators = make(EXPERIMENTS["digits"], rng=1, device=torch.device("cpu")).operators
    >>> method = Method(dynamics="sgd", learning_rate=0.1, batch_size=10, stop_at=0.01)
    >>> method.parts(operators, torch.Generator()).rule
    LossRule(30, halve_at=None, stop_at=0.01)
    """

    dynamics: Dynamics
    optimizer: torch.optim.Optimizer
    schedule: LRScheduler | None
    rule: LossRule | None


@dataclass(frozen=True, kw_only=True)
class Method:
    """A way to train a network.

    Attributes
    ----------
    dynamics : str
        One of `gradnoise.simulations.neural.dynamics.DYNAMICS`.
    learning_rate : float
        η > 0. "svag" makes steps of η/l, and a number of steps is that of its own, l for each of SGD.
    batch_size : int or None
        b, at most the number of training samples; None where `alpha` is given, whose batches are of `large_batch_size`.
    large_batch_size, alpha, svag_l, augment, period : optional
        See `gradnoise.simulations.neural.dynamics.build`.
    optimizer : {"sgd", "adam"}
        What makes steps of the stochastic gradients. "svag" is of "sgd" without momentum.
    momentum : float
        Of "sgd", >= 0.
    weight_decay : float
        >= 0; torch's own, which adds that multiple of the parameters to the gradient, for "adam" before its moments.
    milestones : tuple of int
        Steps after which the learning rate is multiplied by `decay`, each more than the one before.
    decay : float
        Above 0, at most 1.
    halve_at, stop_at : float, optional
        L* and L** of ne2021; see `gradnoise.simulations.neural.loss_rule.LossRule`. An epoch is one of these samples in batches
        of `batch_size`, of `large_batch_size` for dynamics that take such, and a step where each weighs all samples.

    Raises
    ------
    ValueError, TypeError
        If a setting is not allowed; from `checked` and `parts`, if it is not for the network.

    Examples
    --------
    >>> from gradnoise.simulations.neural.methods import Method
    >>> Method(dynamics="enhanced", learning_rate=0.001, batch_size=None, large_batch_size=5000, alpha=3, optimizer="adam").alpha
    3.0
    """

    dynamics: str
    learning_rate: float
    batch_size: int | None
    large_batch_size: int | None = None
    alpha: float | None = None
    svag_l: int | None = None
    optimizer: str = "sgd"
    momentum: float = 0.0
    weight_decay: float = 0.0
    milestones: tuple[int, ...] = ()
    decay: float = 0.1
    halve_at: float | None = None
    stop_at: float | None = None
    augment: bool = False
    period: int = 10

    def __post_init__(self) -> None:
        """Take Python's numbers, as settings are written as JSON."""
        given = {f.name: value for f in fields(self) if (value := getattr(self, f.name)) is not None}
        counts, levels = ("batch_size", "large_batch_size", "svag_l"), ("alpha", "halve_at", "stop_at")
        set_fields(
            self,
            dynamics=as_choice(self.dynamics, "dynamics", DYNAMICS),
            learning_rate=as_real(self.learning_rate, "learning_rate", above=0),
            momentum=as_real(self.momentum, "momentum", at_least=0),
            weight_decay=as_real(self.weight_decay, "weight_decay", at_least=0),
            optimizer=as_choice(self.optimizer, "optimizer", OPTIMIZERS),
            milestones=_as_milestones(self.milestones),
            decay=as_real(self.decay, "decay", above=0, at_most=1),
            augment=as_flag(self.augment, "augment"),
            period=as_count(self.period, "period"),
            **{name: as_count(given[name], name) for name in counts if name in given},
            **{name: as_real(given[name], name) for name in levels if name in given},
        )
        if self.batch_size is None and self.alpha is None:
            raise TypeError("batch_size must be an integer unless alpha is given, got None")
        if self.optimizer == "adam" and self.momentum > 0:
            raise ValueError(f"momentum must be 0 for adam, which has its own, got {self.momentum:g}")
        if self.dynamics == "svag" and (self.momentum > 0 or self.optimizer != "sgd"):
            found = f"momentum = {self.momentum:g}" if self.momentum > 0 else self.optimizer
            raise ValueError(f"optimizer must be sgd without momentum for svag, whose steps stand for one of those, got {found}")

    def checked(self, operators: LossOperators) -> Method:
        """Return the method with what it has by default for its dynamics, or raise where a network cannot take it."""
        n, most = as_operators(operators).n, largest_rate(operators)
        as_real(self.learning_rate, "learning_rate", above=0, at_most=most)
        for name in ("momentum", "weight_decay"):
            as_real(getattr(self, name), name, at_least=0, at_most=most)
        if self.batch_size is not None:
            as_count(self.batch_size, "batch_size", at_most=n)
        return replace(self, svag_l=SVAG_L) if self.dynamics == "svag" and self.svag_l is None else self

    def parts(self, operators: LossOperators, generator: torch.Generator) -> Parts:
        """Make what trains a network.

        Parameters
        ----------
        operators : LossOperators
        generator : torch.Generator
            On the network's device; is used up.

        Returns
        -------
        Parts
        """
        m = self.checked(operators)
        source = build(
            m.dynamics, operators, m.batch_size, generator,
            large_batch_size=m.large_batch_size, alpha=m.alpha, svag_l=m.svag_l, augment=m.augment, period=m.period,
        )  # fmt: skip
        rate = m.learning_rate / (m.svag_l or 1)
        parameters = operators.model.parameters()
        # Left out where it is 0, which torch writes as an integer, and so do the checkpoints that there are.
        options: dict[str, Any] = {"lr": rate} | ({"weight_decay": m.weight_decay} if m.weight_decay > 0 else {})
        if m.optimizer == "sgd":
            optimizer: torch.optim.Optimizer = torch.optim.SGD(parameters, momentum=m.momentum, **options)
        else:
            optimizer = torch.optim.Adam(parameters, **options)
        schedule = MultiStepLR(optimizer, m.milestones, gamma=m.decay) if m.milestones else None
        rule = None
        if m.halve_at is not None or m.stop_at is not None:
            rule = LossRule(-(-operators.n // source.batch_size), halve_at=m.halve_at, stop_at=m.stop_at)
        return Parts(source, optimizer, schedule, rule)

    def settings(self) -> dict[str, Any]:
        """Return what makes a run, to be written down; what is not used, or has its default, is left out if it is new."""
        given = {f.name: getattr(self, f.name) for f in fields(self)}
        new = {f.name for f in fields(self) if f.name not in _ALWAYS and given[f.name] == f.default}
        if not self.milestones:
            new.add("decay")
        batch = self.large_batch_size if self.alpha is not None else self.batch_size
        return {**{name: value for name, value in given.items() if name not in new}, "batch_size": batch}


def _as_milestones(values: Any) -> tuple[int, ...]:
    """Return steps as a tuple of increasing integers >= 1."""
    what = "integers >= 1, each more than the one before"
    steps = tuple(as_count(value, "milestones") for value in as_iterable(values, "milestones", what))
    if any(not a < b for a, b in pairwise(steps)):
        raise ValueError(f"milestones must be {what}, got {shown(steps)}")
    return steps
