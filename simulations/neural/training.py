"""One training loop for every dynamics, which can be cut off and continued."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch.optim.lr_scheduler import ExponentialLR, LRScheduler, MultiplicativeLR, MultiStepLR, ReduceLROnPlateau, StepLR

from gradnoise.simulations.ensemble import Progress, reporter
from gradnoise.simulations.neural.checkpoints import CHECKPOINT, METRICS, Checkpoints, Record, Resumed, as_json, load_checkpoint
from gradnoise.simulations.neural.devices import threads
from gradnoise.simulations.neural.dynamics import Dynamics
from gradnoise.simulations.neural.loss_operators import LossOperators, as_operators
from gradnoise.simulations.neural.loss_rule import LossRule
from gradnoise.theory._validation import as_count, as_instance, as_path, shown

__all__ = ["CHECKPOINT", "METRICS", "Record", "load_checkpoint", "train"]

_MOST_STEPS = 10**12  # of a microsecond each take twelve days
#: Of a number in TF32, to which GPUs round single precision unless they are told not to.
_EPS_OF_TF32 = 2.0**-10
_ROOM = 1_000  # Adam divides its rate by a tenth at first, for example
#: Schedules that multiply a rate as it stands, so that one that was halved stays so.
_MULTIPLIERS = (MultiplicativeLR, StepLR, MultiStepLR, ExponentialLR)


@torch.inference_mode(False)  # in which the optimizer's state could not be used afterwards
def train(
    operators: LossOperators,
    dynamics: Dynamics,
    optimizer: torch.optim.Optimizer,
    n_steps: int,
    *,
    every: int = 100,
    schedule: LRScheduler | None = None,
    rule: LossRule | None = None,
    metrics: Callable[[], Mapping[str, float]] | None = None,
    folder: str | os.PathLike[str] | None = None,
    settings: Mapping[str, Any] | None = None,
    progress: Progress = None,
) -> list[Record]:
    """Train a network.

    Parameters
    ----------
    operators : LossOperators
        The network and its training samples.
    dynamics : Dynamics
        Where its gradients come from.
    optimizer : torch.optim.Optimizer
        Over the network's parameters.
    n_steps : int
        In all, those before a resume included; at most 10¹². With a rule that stops, the most that there can be.
    every : int
        Steps between two records, for each of which all samples are evaluated. A rule needs none of them.
    schedule : torch.optim.lr_scheduler.LRScheduler, optional
        Of the optimizer; makes a step after each of the optimizer's.
    rule : LossRule, optional
        By which the learning rate is halved, and the training ends; see `gradnoise.simulations.neural.loss_rule.LossRule`.
    metrics : callable, optional
        Returns numbers to record beside ``step`` and ``train_loss``.
    folder : path, optional
        Where the records go, as lines of JSON, and with each record a checkpoint. If there is one already, the training
        continues from it: on a CPU with the numbers and records that it would have had without the interruption, and
        as many threads as at its start. The checkpoint before the last is kept, and takes its place should it be damaged. Data,
        labels, loss and network must give the training loss that was recorded with it, but for rounding.
    settings : mapping, optional
        What makes the run, of what JSON can hold and NumPy's numbers; a checkpoint of other settings is refused.
    progress : bool or callable, optional
        See `gradnoise.simulations.ensemble.run`.

    Returns
    -------
    list of dict
        The records, from step 0 on. With a rule they have ``halved`` and ``stopped``, 0 or 1, and the last one is of the step
        at which it stopped, if it did: the convergence time. From there no run goes on.

    Raises
    ------
    ValueError
        If an argument is not allowed, the folder holds another run, a longer one, or only damaged checkpoints, or the loss is not
        finite; what was recorded before is kept.
    TypeError
        If an argument is of another kind, or the settings hold something that JSON cannot.
    OSError
        If the folder cannot be written, as where the disk is full; what was recorded before is kept.

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.dynamics import build
    >>> from gradnoise.simulations.neural.loss_operators import LossOperators
    >>> from gradnoise.simulations.neural.training import train
    >>> model, inputs = torch.nn.Linear(2, 1, bias=False), torch.diag(torch.tensor([1.0, 2.0]))
    >>> _ = torch.nn.init.zeros_(model.weight)
    >>> loss = lambda outputs, targets: (outputs[:, 0] - targets) ** 2 / 2
    >>> operators = LossOperators(model, loss, inputs, torch.ones(2))
    >>> descent = build("gd", operators, 1, torch.Generator())
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    >>> [record["train_loss"] for record in train(operators, descent, optimizer, n_steps=1)]  # ends at (1/4, 1/2): 3²/4² / 4
    [0.5, 0.140625]
    """
    n_steps, every = as_count(n_steps, "n_steps", at_least=0, at_most=_MOST_STEPS), as_count(every, "every")
    _check(operators, dynamics, optimizer, metrics)
    _check_steering(optimizer, schedule, rule)
    identity = as_json({} if settings is None else settings, "settings")
    kept, stands = None, Resumed()
    if folder is not None:
        parts: dict[str, Any] = {"model": operators.model, "optimizer": optimizer, "dynamics": dynamics}
        parts |= {name: part for name, part in (("schedule", schedule), ("rule", rule)) if part is not None}
        kept = Checkpoints(_made(folder), identity, _made_of(operators, dynamics, optimizer, every, schedule, rule), parts)
        stands = kept.resume(n_steps)
    # One that was to end elsewhere has a record there, which this one does not have.
    end = stands.step if rule is not None and rule.stopped else n_steps
    records = [r for r in stands.records if r["step"] % every == 0 or r["step"] == end]

    def record(step: int) -> None:
        records.append(_record(step, operators, metrics, {} if rule is None else rule.facts()))
        if kept is not None:
            kept.save(step, records)

    with threads(stands.threads), reporter(progress, n_steps - stands.step, "train", "steps") as report:
        _check_loss(operators, stands, folder)
        if not records:
            record(0)
        for step in range(stands.step + 1, n_steps + 1):
            if rule is not None and rule.stopped:
                break
            optimizer.zero_grad()
            loss = dynamics.backward()
            optimizer.step()
            if schedule is not None:
                schedule.step()
            if rule is not None:
                rule.see(step, loss, optimizer)
            report(1)
            if step % every == 0 or step == n_steps or (rule is not None and rule.stopped):
                record(step)
    return records


def _made(folder: str | os.PathLike[str]) -> Path:
    """Return a folder, which is made where there is none."""
    place = as_path(folder, "folder")
    try:
        place.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:  # a file of that name, no room, or no name that the system takes
        raise ValueError(f"folder must be one that can be written, got {os.fspath(folder)!r}: {error}") from None
    return place


def _record(
    step: int, operators: LossOperators, metrics: Callable[[], Mapping[str, float]] | None, steered: dict[str, float]
) -> Record:
    """Measure, and raise where the loss has left the numbers."""
    loss = float(operators.losses().mean())
    if not math.isfinite(loss):
        why = "; take a smaller learning rate" if step else ""
        raise ValueError(f"the loss must stay finite, got {loss} at step {step}{why}")
    more = {} if metrics is None else metrics()
    own = {"step": step, "train_loss": loss, **steered}
    if not isinstance(more, Mapping) or not own.keys().isdisjoint(more):
        raise ValueError(f"metrics must return numbers by name, but for {' and '.join(own)}, got {more!r}")
    return {**own, **{name: _as_number(value, name) for name, value in more.items()}}


def _check_loss(operators: LossOperators, stands: Resumed, folder: str | os.PathLike[str] | None) -> None:
    """Raise where the loss at a checkpoint is another one than it was: data, labels, loss or functions of the network differ."""
    if not stands.records or stands.records[-1]["step"] != stands.step or folder is None:
        return
    recorded, found = stands.records[-1]["train_loss"], float(operators.losses().mean())
    eps = torch.finfo(operators.autocast or operators.dtype).eps
    if operators.device.type != "cpu":
        eps = max(eps, _EPS_OF_TF32)
    # Half of the digits: rounding takes fewer (sums in other chunks and on other machines differ by 1e-5 at most in single
    # precision, of which that is 3e-4), and other samples change more. They are those of the largest loss, as a small one is the
    # difference of outputs that are rounded by their own size. What is so little changed as to pass was not seen before, either;
    # but a run that is refused without a reason could not go on.
    bound = math.sqrt(eps) * max(abs(record["train_loss"]) for record in stands.records)
    if not abs(found - recorded) <= bound:
        raise ValueError(
            f"folder must be empty or hold the same run, got {os.fspath(folder)!r}, whose training loss at step {stands.step} "
            f"was {recorded:.6g}, and is {found:.6g} of the data, loss and network that are given here"
        )


def _as_number(value: Any, name: str) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError, OverflowError):  # RuntimeError is what torch has for more than one number
        raise TypeError(f"metrics must return numbers, got {value!r} for {name}") from None


def _check(operators: LossOperators, dynamics: Dynamics, optimizer: torch.optim.Optimizer, metrics: object) -> None:
    """Raise unless the parts are what they are taken for, and steps can be made with the optimizer's numbers."""
    as_operators(operators)
    if not all(callable(getattr(dynamics, name, None)) for name in ("backward", "state_dict", "load_state_dict")):
        raise TypeError(f"dynamics must have backward, state_dict and load_state_dict, got {type(dynamics).__name__}")
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise TypeError(f"optimizer must be a torch.optim.Optimizer, got {type(optimizer).__name__}")
    if metrics is not None and not callable(metrics):
        raise TypeError(f"metrics must be None or callable, got {metrics!r}")
    most = largest_rate(operators)
    for group in optimizer.param_groups:
        for name, value in group.items():
            if isinstance(value, int | float) and not abs(value) <= most:
                raise ValueError(f"{name} of the optimizer must be at most {most:.3g} for {operators.dtype}, got {value!r}")


def _check_steering(optimizer: torch.optim.Optimizer, schedule: LRScheduler | None, rule: LossRule | None) -> None:
    """Raise unless schedule and rule are what they are taken for, and do not undo each other's work."""
    if rule is not None:
        as_instance(rule, "rule", LossRule)
    if schedule is None:
        return
    if not isinstance(schedule, LRScheduler) or isinstance(schedule, ReduceLROnPlateau):
        raise TypeError(f"schedule must be an LRScheduler of torch that goes by steps alone, got {type(schedule).__name__}")
    if schedule.optimizer is not optimizer:
        raise ValueError(f"schedule must be of the optimizer that makes the steps, got {shown(schedule)}")
    if rule is not None and rule.halve_at is not None and type(schedule) not in _MULTIPLIERS:
        names = ", ".join(kind.__name__ for kind in _MULTIPLIERS)
        raise ValueError(f"schedule must be one of {names} beside a rule that halves the rate, got {type(schedule).__name__}")


def largest_rate(operators: LossOperators) -> float:
    """Largest number that an optimizer may have, in whose steps torch raises where the dtype cannot hold a factor.

    Parameters
    ----------
    operators : LossOperators

    Returns
    -------
    float

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.loss_operators import LossOperators
    >>> from gradnoise.simulations.neural.training import largest_rate
    >>> loss = torch.nn.MSELoss(reduction="none")
    >>> operators = LossOperators(torch.nn.Linear(2, 1), lambda *both: loss(*both)[:, 0], torch.ones(3, 2), torch.ones(3, 1))
    >>> f"{largest_rate(operators):.1e}"
    '3.4e+35'
    """
    return torch.finfo(operators.dtype).max / _ROOM


def _made_of(
    operators: LossOperators,
    dynamics: Dynamics,
    optimizer: torch.optim.Optimizer,
    every: int,
    schedule: LRScheduler | None,
    rule: LossRule | None,
) -> dict[str, Any]:
    """What makes a run, as far as its parts tell; the settings tell the rest."""
    tensors = {name: f"{tuple(t.shape)} {t.dtype}" for name, t in operators.model.named_parameters()}
    numbers = {
        f"{name} of the optimizer's group {k}": _described(value)
        for k, group in enumerate(optimizer.param_groups)
        for name, value in group.items()
        if name != "params"
    }
    return {
        "samples": operators.n,
        "model": f"{type(operators.model).__name__} with {_described(tensors)}",
        "dynamics": _described(dynamics),
        "optimizer": type(optimizer).__name__,
        **numbers,
        "every": every,
        **({} if schedule is None else {"schedule": f"{type(schedule).__name__} of {_described(schedule.state_dict())}"}),
        **({} if rule is None else {"rule": repr(rule)}),
    }


def _described(value: object) -> str:
    """An object in words that are the same in every process: without its place in memory."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))
