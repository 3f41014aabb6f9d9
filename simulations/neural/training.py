"""One training loop for every dynamics, which can be cut off and continued."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gradnoise.simulations.ensemble import Progress, replacing, reporter
from gradnoise.simulations.neural.dynamics import Dynamics
from gradnoise.simulations.neural.loss_operators import LossOperators
from gradnoise.theory._validation import as_count

__all__ = ["CHECKPOINT", "METRICS", "load_checkpoint", "train"]

CHECKPOINT, METRICS = "checkpoint.pt", "metrics.jsonl"

Record = dict[str, float]


@torch.inference_mode(False)  # in which the optimizer's state could not be used afterwards
def train(
    operators: LossOperators,
    dynamics: Dynamics,
    optimizer: torch.optim.Optimizer,
    n_steps: int,
    *,
    every: int = 100,
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
        In all, those before a resume included.
    every : int
        Steps between two records.
    metrics : callable, optional
        Returns numbers to record beside ``step`` and ``train_loss``.
    folder : path, optional
        Where the records go, as lines of JSON, and with each record a checkpoint. If there is one already, the training
        continues from it: on a CPU with the numbers that it would have had without the interruption.
    settings : mapping, optional
        What makes the run, of what JSON can hold and NumPy's numbers; a checkpoint of other settings is refused.
    progress : bool or callable, optional
        See `gradnoise.simulations.ensemble.run`.

    Returns
    -------
    list of dict
        The records, from step 0 on.

    Raises
    ------
    ValueError
        If an argument is not allowed, the folder holds another run or a damaged checkpoint, or the loss is not finite any
        more; what was recorded before is kept.
    TypeError
        If the settings hold something that JSON cannot.

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
    n_steps, every = as_count(n_steps, "n_steps", at_least=0), as_count(every, "every")
    identity = json.loads(json.dumps(dict(settings or {}), default=_number))
    place = None if folder is None else Path(folder)
    parts = {"model": operators.model, "optimizer": optimizer, "dynamics": dynamics}
    records: list[Record] = []
    if place is not None:
        place.mkdir(parents=True, exist_ok=True)
        records = _resume(place, identity, parts)
    if not records:
        records.append(_record(0, operators, metrics))
        _save(place, identity, parts, records)
    start = int(records[-1]["step"])
    with reporter(progress, max(n_steps - start, 0), "train", "steps") as report:
        for step in range(start + 1, n_steps + 1):
            optimizer.zero_grad()
            dynamics.backward()
            optimizer.step()
            report(1)
            if step % every == 0 or step == n_steps:
                record = _record(step, operators, metrics)
                if not record["train_loss"] < float("inf"):
                    raise ValueError(
                        f"the loss must stay finite, got {record['train_loss']} at step {step}; take a smaller learning rate"
                    )
                records.append(record)
                _save(place, identity, parts, records)
    return records


def load_checkpoint(folder: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what the checkpoint in a folder holds, and the settings of its run.

    Parameters
    ----------
    folder : path
        Of `train`.

    Returns
    -------
    content : dict
        States of model, optimizer and dynamics; records and settings as JSON.
    settings : dict

    Raises
    ------
    ValueError
        If there is none, or it is damaged.

    Examples
    --------
    >>> import tempfile
    >>> import torch
    >>> from gradnoise.simulations.neural.dynamics import build
    >>> from gradnoise.simulations.neural.loss_operators import LossOperators
    >>> from gradnoise.simulations.neural.training import load_checkpoint
    >>> from gradnoise.simulations.neural.training import train
    >>> model, inputs = torch.nn.Linear(2, 1, bias=False), torch.diag(torch.tensor([1.0, 2.0]))
    >>> _ = torch.nn.init.zeros_(model.weight)
    >>> loss = lambda outputs, targets: (outputs[:, 0] - targets) ** 2 / 2
    >>> operators = LossOperators(model, loss, inputs, torch.ones(2))
    >>> descent = build("gd", operators, 1, torch.Generator())
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = train(operators, descent, optimizer, n_steps=1, folder=folder, settings={"seed": 1})
    ...     content, settings = load_checkpoint(folder)
    >>> content["model"]["weight"], settings  # a step of 0.5 against (-1/2, -1)
    (tensor([[0.2500, 0.5000]]), {'seed': 1})
    """
    path = Path(folder) / CHECKPOINT
    if not path.is_file():
        raise ValueError(f"folder must hold {CHECKPOINT}, got {os.fspath(folder)!r}, where there is none")
    try:
        content = torch.load(path, weights_only=True, map_location="cpu")
        return content, json.loads(content["settings"])
    except Exception as error:  # damage makes the reader raise nearly anything
        raise ValueError(f"{path} must be a checkpoint, got {type(error).__name__}; remove it to begin anew") from None


def _number(value: Any) -> Any:
    """Return a number of NumPy or torch as Python's."""
    if isinstance(value, np.generic) or (isinstance(value, torch.Tensor) and value.ndim == 0):
        return value.item()
    raise TypeError(f"settings must be of what JSON can hold, got {value!r}")


def _record(step: int, operators: LossOperators, metrics: Callable[[], Mapping[str, float]] | None) -> Record:
    more = {} if metrics is None else {name: float(value) for name, value in metrics().items()}
    return {"step": step, "train_loss": float(operators.losses().mean()), **more}


def _save(place: Path | None, identity: dict[str, Any], parts: Mapping[str, Any], records: list[Record]) -> None:
    """Write the records, and then the checkpoint that counts them; each is there whole or not at all."""
    if place is None:
        return
    lines = "".join(json.dumps(record) + "\n" for record in records)
    with replacing(place / METRICS) as file:
        file.write(lines.encode())
    states = {name: part.state_dict() for name, part in parts.items()}
    content = {"settings": json.dumps(identity, sort_keys=True), "records": json.dumps(records), **states}
    with replacing(place / CHECKPOINT) as file:
        torch.save(content, file)


def _resume(place: Path, identity: dict[str, Any], parts: Mapping[str, Any]) -> list[Record]:
    """Load a checkpoint, if there is one, and return its records."""
    if not (place / CHECKPOINT).exists():
        return []
    content, settings = load_checkpoint(place)
    other = sorted(key for key in {*settings, *identity} if settings.get(key) != identity.get(key))
    if other:
        differences = ", ".join(f"{key} = {settings.get(key)!r} there and {identity.get(key)!r} here" for key in other)
        raise ValueError(f"folder must be empty or hold the same run, got {str(place)!r} with {differences}")
    for name, part in parts.items():
        part.load_state_dict(content[name])
    return json.loads(content["records"])
