"""A training that is steered by its own loss: the rate is halved at one level, and the training ends below another."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from gradnoise.theory._validation import as_count, as_flag, as_instance, as_real, shown

__all__ = ["LossRule"]

_MOST = 10**9  # steps of an epoch, for each of which a loss is kept


class LossRule:
    """Halve the learning rate once, when the training loss first falls to L*, and stop when it is smaller than L**.

    The paper does not say how its training loss is measured. Here it is the mean of the losses of the batches of one epoch,
    each at the parameters before its step, and is looked at once an epoch: after the steps n_e, 2n_e, 3n_e, ... Until then they
    stay on the device, which no step waits for.

    Parameters
    ----------
    epoch : int
        n_e, steps between two looks: n/B, rounded up, for batches of B from n samples.
    halve_at : float, optional
        L*. At it, the rate of each of the optimizer's groups is halved.
    stop_at : float, optional
        L**, below L*.

    Attributes
    ----------
    halved, stopped : bool
        Whether it has come to that.

    Raises
    ------
    ValueError
        If an argument is not allowed, or no level is given.

    References
    ----------
    ne2021, Section 3 and Table 1.

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.loss_rule import LossRule
    >>> optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    >>> rule = LossRule(epoch=2, halve_at=0.5, stop_at=0.1)
    >>> for step, loss in enumerate([1.0, 0.2, 0.4, 0.2], start=1):
    ...     rule.see(step, torch.tensor(loss), optimizer)
    ...     print(step, optimizer.param_groups[0]["lr"], rule.stopped)
    1 1.0 False
    2 1.0 False
    3 1.0 False
    4 0.5 False
    """

    def __init__(self, epoch: int, *, halve_at: float | None = None, stop_at: float | None = None) -> None:
        if halve_at is None and stop_at is None:
            raise ValueError("halve_at or stop_at must be given, got neither")
        self.epoch = as_count(epoch, "epoch", at_most=_MOST)
        self.halve_at = None if halve_at is None else as_real(halve_at, "halve_at")
        self.stop_at = None if stop_at is None else as_real(stop_at, "stop_at")
        if self.halve_at is not None and self.stop_at is not None and not self.stop_at < self.halve_at:
            raise ValueError(f"stop_at must be < halve_at, which is {self.halve_at:g}, got {self.stop_at:g}")
        self.halved = self.stopped = False
        self._losses: Tensor | None = None  # (epoch,), of this epoch's steps, and behind them those of the one before

    def __repr__(self) -> str:
        return f"LossRule({self.epoch}, halve_at={self.halve_at}, stop_at={self.stop_at})"

    def see(self, step: int, loss: object, optimizer: torch.optim.Optimizer) -> None:
        """Take note of the mean loss of a step's batch, and at the end of an epoch do what it says.

        Parameters
        ----------
        step : int
            From 1 on.
        loss : () Tensor
            NaN for a batch that is empty, which does not count.
        optimizer : torch.optim.Optimizer
            That has just made the step.

        Raises
        ------
        TypeError
            If it is no loss, or the step or the optimizer is none.
        ValueError
            If the step is not allowed, or the loss has no value.
        """
        step = as_count(step, "step")
        if not isinstance(loss, Tensor) or loss.ndim or not loss.is_floating_point():
            raise TypeError(f"dynamics must return the mean loss of its batch from backward, to go by it, got {shown(loss)}")
        if loss.is_meta:
            raise ValueError("loss must have a value, got a Tensor on the meta device")
        as_instance(optimizer, "optimizer", torch.optim.Optimizer)
        if self._losses is None:
            self._losses = torch.full((self.epoch,), math.nan, dtype=loss.dtype, device=loss.device)
        self._losses = self._losses.to(loss.device)  # from where a checkpoint was loaded
        self._losses[(step - 1) % self.epoch] = loss.detach()
        if step % self.epoch == 0:
            self._look(float(self._losses.cpu().double().nanmean()), optimizer)

    def _look(self, loss: float, optimizer: torch.optim.Optimizer) -> None:
        if self.halve_at is not None and not self.halved and loss <= self.halve_at:
            self.halved = True
            for group in optimizer.param_groups:
                group["lr"] = group["lr"] / 2
        self.stopped = self.stop_at is not None and loss < self.stop_at

    def facts(self) -> dict[str, float]:
        """Return what a record says: whether the rate has been ``halved``, and the training ``stopped``, as 0 or 1."""
        return {"halved": float(self.halved), "stopped": float(self.stopped)}

    def state_dict(self) -> dict[str, Any]:
        """Return what a later `load_state_dict` needs to go on in the middle of an epoch."""
        losses = None if self._losses is None else self._losses.clone()
        return {"losses": losses, "halved": self.halved, "stopped": self.stopped}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state that `state_dict` returned."""
        if not (isinstance(state, Mapping) and {"losses", "halved", "stopped"} <= state.keys()):
            raise ValueError(f"state must have losses, halved and stopped, got {shown(state)}")
        losses = state["losses"]
        if losses is not None and (not isinstance(losses, Tensor) or losses.shape != (self.epoch,)):
            raise ValueError(f"state of losses must be a Tensor of shape {(self.epoch,)}, got {shown(losses)}")
        halved, stopped = (as_flag(state[name], f"state of {name}") for name in ("halved", "stopped"))
        self._losses, self.halved, self.stopped = None if losses is None else losses.clone(), halved, stopped
