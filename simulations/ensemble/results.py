"""What studies return: what was asked, what came out, and what made it."""

from __future__ import annotations

import json
import math
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from typing import Any

import numpy as np

from gradnoise.simulations.ensemble.provenance import versions
from gradnoise.simulations.ensemble.whole_files import replacing
from gradnoise.simulations.seeds import Stream
from gradnoise.theory._validation import as_instance, shown

__all__ = ["JsonResult", "PathsResult", "Result", "finite"]

_SHORT = 72  # letters of an argument in a repr


class JsonResult(ABC):
    """Anything that knows itself as a dictionary, and so as JSON.

    Examples
    --------
    >>> from gradnoise.simulations.ensemble import JsonResult
    >>> class Risks(JsonResult):
    ...     def to_dict(self):
    ...         return {"risks": [0.5, float("inf")]}
    >>> print(Risks().to_json(), end="")
    {
     "risks": [
      0.5,
      null
     ]
    }
    """

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Result with numbers, strings, lists and dictionaries only."""

    def to_json(self) -> str:
        """Result as JSON; infinities and NaN, which JSON does not have, are null."""
        return json.dumps(finite(self.to_dict()), indent=1, allow_nan=False, ensure_ascii=False, default=_no_json) + "\n"


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Result(JsonResult):
    """Base of what studies return.

    A kind of result is a frozen dataclass with ``eq=False, repr=False`` whose fields are what came out. It says what comes
    first in its ``repr``, in `_headline`, and what `to_dict` shall have, in `_found`, where that is not its fields.

    Attributes
    ----------
    arguments : dict
        What was asked, by the names of the arguments: numbers, strings, and lists of them.
    stream : Stream
        Where the random numbers came from; as ``rng`` it gives the same ones again.
    versions : dict of str to str
        Versions of gradnoise and of what it stands on, and the kind of machine.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> from gradnoise.simulations.ensemble import Result
    >>> from gradnoise.simulations.seeds import Stream
    >>> @dataclass(frozen=True, eq=False, repr=False)
    ... class Risk(Result):
    ...     risk: float
    ...     def _headline(self):
    ...         return f"risk {self.risk:g}"
    >>> found = Risk(0.25, arguments={"n_steps": 10}, stream=Stream.of(7))
    >>> found
    Risk(risk 0.25; n_steps=10, seed 7)
    >>> {name: value for name, value in found.to_dict().items() if name != "versions"}
    {'result': 'Risk', 'risk': 0.25, 'arguments': {'n_steps': 10}, 'stream': {'entropy': 7, 'spawn_key': [], \
'bit_generator': 'PCG64'}}
    >>> import tempfile
    >>> from pathlib import Path
    >>> file = Path(tempfile.mkdtemp()) / "risk.json"
    >>> found.save(file)
    >>> file.read_text() == found.to_json()
    True
    """

    arguments: dict[str, Any]
    stream: Stream
    versions: dict[str, str] = field(default_factory=versions)

    def __post_init__(self) -> None:
        as_instance(self.stream, "stream", Stream)
        if not isinstance(self.arguments, Mapping):
            raise TypeError(f"arguments must be a dictionary of names and values, got {shown(self.arguments)}")
        object.__setattr__(self, "arguments", _plain(self.arguments))  # NumPy's numbers are no JSON, and read badly

    def to_dict(self) -> dict[str, Any]:
        """Result with numbers, strings, lists and dictionaries only: its kind, what came out, and what made it."""
        made_by = {"arguments": self.arguments, "stream": asdict(self.stream), "versions": self.versions}
        return _plain({"result": type(self).__name__, **self._found(), **made_by})

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the result as JSON; where that fails, a file that was there stays as it was.

        Parameters
        ----------
        path : path

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        with replacing(path) as file:
            file.write(self.to_json().encode())

    def _found(self) -> dict[str, Any]:
        """What came out, by name."""
        made_by = {f.name for f in fields(Result)}
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in made_by}

    @abstractmethod
    def _headline(self) -> str:
        """What came out, in a few words."""

    def __repr__(self) -> str:
        given = {name: value for name, value in self.arguments.items() if value is not None and value != []}
        asked = [f"{name}={_shortened(repr(value))}" for name, value in given.items()]
        place = f" at {self.stream.spawn_key}" if self.stream.spawn_key else ""
        return f"{type(self).__name__}({self._headline()}; {', '.join([*asked, f'seed {self.stream.entropy}{place}'])})"

    @staticmethod
    def _axes(ax: Any) -> Any:
        """Return the matplotlib Axes to draw into: new ones where none are given."""
        from matplotlib import axes, pyplot  # here, as their import takes long

        return pyplot.subplots(layout="constrained")[1] if ax is None else as_instance(ax, "ax", axes.Axes)


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class PathsResult(Result):
    """Base of results with numbers for each path: `save` keeps them, `to_dict` sums them up.

    Attributes
    ----------
    arguments, stream, versions
        As those of a `Result`.

    Examples
    --------
    >>> import tempfile
    >>> from dataclasses import dataclass
    >>> from pathlib import Path
    >>> from gradnoise.simulations.ensemble import PathsResult
    >>> from gradnoise.simulations.seeds import Stream
    >>> @dataclass(frozen=True, eq=False, repr=False)
    ... class Losses(PathsResult):
    ...     loss: np.ndarray
    ...     def _found(self):
    ...         return {"mean_loss": self.loss.mean()}
    ...     def _headline(self):
    ...         return f"mean loss {self.loss.mean():g}"
    >>> found, file = Losses(np.array([1.0, 2.0]), arguments={}, stream=Stream.of(7)), Path(tempfile.mkdtemp()) / "losses.npz"
    >>> found.save(file)
    >>> with np.load(file) as kept:
    ...     kept["loss"]
    array([1., 2.])
    >>> found.to_dict()["mean_loss"]
    1.5
    """

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all arrays, and beside them `to_dict` as JSON under the name "summary", to an ``.npz`` file.

        Parameters
        ----------
        path : path
            `numpy.load` reads it.

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        arrays: dict[str, Any] = {name: value for name, value in vars(self).items() if isinstance(value, np.ndarray)}
        with replacing(path) as file:
            np.savez_compressed(file, summary=np.array(self.to_json()), **arrays)


def finite(value: Any) -> Any:
    """Return nested lists, tuples and dictionaries with None for what is not finite.

    Parameters
    ----------
    value : nested lists, tuples and dictionaries, or None
        Anything else than these and numbers stays as it is.

    Returns
    -------
    nested lists and dictionaries

    Examples
    --------
    >>> from gradnoise.simulations.ensemble import finite
    >>> finite({"errors": (1.0, float("nan"))})
    {'errors': [1.0, None]}
    """
    if isinstance(value, dict):
        return {key: finite(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(v) for v in value]
    return None if isinstance(value, float | np.floating) and not math.isfinite(value) else value


def _no_json(value: Any) -> Any:
    raise TypeError(f"to_dict must return numbers, strings, lists and dictionaries only, got {shown(value)} among them")


def _shortened(text: str) -> str:
    return text if len(text) <= _SHORT else text[: _SHORT - 3] + "..."


def _plain(value: Any) -> Any:
    """Return numbers, strings, lists and dictionaries for arrays, tuples and dataclasses, as estimates are."""
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    if is_dataclass(value):
        properties = [name for name in ("value", "standard_error") if hasattr(value, name)]  # of an estimate
        return {name: _plain(getattr(value, name)) for name in dict.fromkeys([*properties, *(f.name for f in fields(value))])}
    if isinstance(value, Mapping):
        return {key: _plain(v) for key, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, (list, tuple)) else value
