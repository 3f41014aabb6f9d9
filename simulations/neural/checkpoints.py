"""Checkpoints of a training: each is there whole, signed with its SHA-256, and beside the one before it.

One that is damaged then costs the steps between two records: the run goes on from the one before, with the same numbers. A file
is trusted, and unpacked, only if its signature is that of its bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gradnoise.simulations.ensemble import replacing
from gradnoise.theory._validation import as_path

__all__ = ["CHECKPOINT", "METRICS", "PREVIOUS", "load_checkpoint"]

CHECKPOINT, PREVIOUS, METRICS = "checkpoint.pt", "checkpoint.previous.pt", "metrics.jsonl"

Record = dict[str, float]

_MARK = b"\ngradnoise checkpoint, SHA-256 "  # behind the archive, where torch does not look
_SIGNATURE = len(_MARK) + 64


@dataclass(frozen=True)
class Resumed:
    """Where a run stands.

    Attributes
    ----------
    step : int
    records : list of dict
    threads : int
        With which it was computed: with others sums are rounded otherwise.

    Examples
    --------
    >>> from gradnoise.simulations.neural.checkpoints import Resumed
    >>> Resumed().step
    0
    """

    step: int = 0
    records: list[Record] = field(default_factory=list)
    threads: int = field(default_factory=torch.get_num_threads)


@dataclass(frozen=True)
class Checkpoints:
    """Checkpoints of one run in a folder.

    Attributes
    ----------
    folder : Path
    settings, made_of : dict
        What makes the run, as `as_json` returns it: by its caller, and as `train` sees it, in words. A number may be whole in one
        and a float in the other.
    parts : mapping
        What has a state, by name.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import torch
    >>> from gradnoise.simulations.neural.checkpoints import Checkpoints
    >>> kept = Checkpoints(Path(tempfile.mkdtemp()), {"seed": 1}, {}, {"model": torch.nn.Linear(2, 1)})
    >>> kept.save(5, [{"step": 0, "train_loss": 0.5}])
    >>> found = kept.resume(n_steps=10)
    >>> found.step, found.records
    (5, [{'step': 0, 'train_loss': 0.5}])
    """

    folder: Path
    settings: dict[str, Any]
    made_of: dict[str, Any]
    parts: Mapping[str, Any]

    def save(self, step: int, records: list[Record]) -> None:
        """Write the records, and then the checkpoint that counts them; the one before steps aside.

        Parameters
        ----------
        step : int
        records : list of dict

        Raises
        ------
        OSError
            If they cannot be written, as on a full disk; what was there stays.
        """
        states = {name: part.state_dict() for name, part in self.parts.items()}
        texts = {"settings": self.settings, "made_of": self.made_of, "records": records}
        packed = io.BytesIO()
        torch.save(
            {
                "step": step,
                "threads": torch.get_num_threads(),
                **{name: json.dumps(value) for name, value in texts.items()},
                **states,
            },
            packed,
        )
        content, path = packed.getvalue(), self.folder / CHECKPOINT
        try:
            with replacing(self.folder / METRICS) as file:
                file.write(_lines(records))
            with replacing(path) as file:
                file.write(content + _signature(content))
                file.flush()
                os.fsync(file.fileno())  # it is on disk before the other one moves
                if path.exists():
                    os.replace(path, self.folder / PREVIOUS)
        except OSError as error:
            raise OSError(
                error.errno,
                f"no checkpoint of step {step} could be written to {str(self.folder)!r}, where the one before is kept; with room "
                f"there the same call goes on from it: {error.strerror or error}",
            ) from None

    def resume(self, n_steps: int) -> Resumed:
        """Load the last sound checkpoint into the parts, and return where it stands; at the start where there is none.

        Parameters
        ----------
        n_steps : int
            Where the run is to end.

        Raises
        ------
        ValueError
            If it is of another run, or one that has made more steps, or all are damaged.
        """
        content = self._last()
        if content is None:
            return Resumed()
        self._check(content)
        step = content["step"]
        if step > n_steps:
            raise ValueError(f"n_steps must be >= {step}, the steps that the run in {str(self.folder)!r} has made, got {n_steps}")
        for name, part in self.parts.items():
            try:
                part.load_state_dict(content[name])
            except Exception as error:  # of whatever kind the part has for it
                raise ValueError(f"{self._other_run} one whose {name} does not fit: {error}") from None
        records, path = json.loads(content["records"]), self.folder / METRICS
        if not path.is_file() or path.read_bytes() != _lines(records):
            with replacing(path) as file:
                file.write(_lines(records))
        return Resumed(step, records, content["threads"])

    def _last(self) -> dict[str, Any] | None:
        """The last checkpoint; where it is damaged, or gone in the middle of a write, the one before takes its place."""
        last, before = self.folder / CHECKPOINT, self.folder / PREVIOUS
        if not (last.exists() or before.exists()):
            return None
        try:
            return _read(last)
        except ValueError as damage:
            try:
                content = _read(before)
            except ValueError:
                raise damage from None
        os.replace(before, last)  # now, lest the damaged one be kept as the one before
        return content

    def _check(self, content: dict[str, Any]) -> None:
        """Raise unless the checkpoint is of this run."""
        for mine, name, alike in ((self.settings, "settings", _alike), (self.made_of, "made_of", _alike_in_words)):
            theirs = json.loads(content[name])
            other = [key for key in sorted({*theirs, *mine}) if not alike(theirs.get(key), mine.get(key))]
            if other:
                differences = ", ".join(f"{key} = {theirs.get(key)!r} there and {mine.get(key)!r} here" for key in other)
                raise ValueError(f"{self._other_run} {differences}")

    @property
    def _other_run(self) -> str:
        return f"folder must be empty or hold the same run, got {str(self.folder)!r} with"


def load_checkpoint(folder: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what the checkpoint in a folder holds, and the settings of its run.

    Parameters
    ----------
    folder : path
        Of `gradnoise.simulations.neural.training.train`.

    Returns
    -------
    content : dict
        States of model, optimizer and dynamics; the step; records and settings as JSON.
    settings : dict

    Raises
    ------
    ValueError
        If there is none, or it is damaged; not the one before is taken then, which is of another step.
    TypeError
        If the folder is no path.

    Examples
    --------
    >>> import tempfile
    >>> import torch
    >>> from gradnoise.simulations.neural.checkpoints import load_checkpoint
    >>> from gradnoise.simulations.neural.dynamics import build
    >>> from gradnoise.simulations.neural.loss_operators import LossOperators
    >>> from gradnoise.simulations.neural.training import train
    >>> model, inputs = torch.nn.Linear(2, 1, bias=False), torch.diag(torch.tensor([1.0, 2.0]))
    >>> _ = torch.nn.init.zeros_(model.weight)
    >>> loss = lambda outputs, targets: (outputs[:, 0] - targets) ** 2 / 2
    >>> operators = LossOperators(model, loss, inputs, torch.ones(2))
    >>> descent = build("gd", operators, 1, torch.Generator())
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    >>> folder = tempfile.mkdtemp()
    >>> _ = train(operators, descent, optimizer, n_steps=1, folder=folder, settings={"seed": 1})
    >>> content, settings = load_checkpoint(folder)
    >>> content["model"]["weight"], settings  # a step of 0.5 against (-1/2, -1)
    (tensor([[0.2500, 0.5000]]), {'seed': 1})
    """
    path = as_path(folder, "folder") / CHECKPOINT
    if not os.path.isfile(path):
        raise ValueError(f"folder must hold {CHECKPOINT}, got {os.fspath(folder)!r}, where there is none")
    content = _read(path)
    return content, json.loads(content["settings"])


def as_json(value: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return a mapping as JSON would read it, with NumPy's and torch's numbers as Python's.

    Parameters
    ----------
    value : mapping
    name : str
        For the message.

    Returns
    -------
    dict

    Raises
    ------
    TypeError
        If it holds something that JSON cannot.

    Examples
    --------
    >>> import numpy as np
    >>> from gradnoise.simulations.neural.checkpoints import as_json
    >>> as_json({"seed": np.int64(1), "betas": (0.9, 0.999)}, "settings")
    {'seed': 1, 'betas': [0.9, 0.999]}
    """
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} must be a mapping, got {value!r}")
    try:
        return json.loads(json.dumps(dict(value), default=_number))
    except (TypeError, ValueError, RecursionError) as error:  # other objects, keys and circles
        raise TypeError(f"{name} must be of what JSON can hold, got {error}") from None


def _alike(first: Any, second: Any) -> bool:
    """Whether two values of JSON are the same, where 0 is 0.0."""
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(_alike(first[key], second[key]) for key in first)
    if isinstance(first, list) and isinstance(second, list):
        return len(first) == len(second) and all(map(_alike, first, second))
    if isinstance(first, bool) or isinstance(second, bool):
        return first is second
    return first == second or (first != first and second != second)  # NaN


def _alike_in_words(first: Any, second: Any) -> bool:
    """Whether two descriptions are the same, where 0 is 0.0."""
    return len({re.sub(r"(?<![\w.])\d+(?![\w.])", r"\g<0>.0", json.dumps(value)) for value in (first, second)}) == 1


def _number(value: Any) -> Any:
    """Return a number of NumPy or torch as Python's."""
    if isinstance(value, np.generic) or (isinstance(value, torch.Tensor) and value.ndim == 0):
        return value.item()
    raise TypeError(repr(value))


def _read(path: Path) -> dict[str, Any]:
    """Content of a checkpoint, whose bytes are seen to be those that were written before any of them is made use of."""
    try:
        whole = path.read_bytes()
        content, signature = whole[:-_SIGNATURE], whole[-_SIGNATURE:]
        if signature != _signature(content):
            raise ValueError("a file that is damaged, cut off or of another program")
        return torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
    except Exception as error:  # of the disk, the signature, or another version of torch
        raise ValueError(f"{path} must be a whole checkpoint of a run, got {error}; remove it to begin anew") from None


def _signature(content: bytes) -> bytes:
    return _MARK + hashlib.sha256(content).hexdigest().encode()


def _lines(records: list[Record]) -> bytes:
    return "".join(json.dumps(record) + "\n" for record in records).encode()
