"""What has become of each run of a sweep, kept beside its checkpoint. This module needs no run to be computed."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from gradnoise.simulations.ensemble import replacing
from gradnoise.simulations.neural.checkpoints import METRICS, Record, as_json
from gradnoise.simulations.sweeps import FAILED, FINISHED, INTERRUPTED, WAITING, Plan, Run
from gradnoise.theory._validation import as_choice, as_instance, as_iterable, as_path, as_real, as_text, set_fields, shown

__all__ = ["RUNS", "State", "made_with", "states"]

RUNS = "runs"
_STATE = "run.json"


@dataclass(frozen=True)
class State:
    """What has become of a run.

    Attributes
    ----------
    run : Run
    status : {"waiting", "interrupted", "failed", "finished"}
    records : tuple of dict
    seconds : float
        Of all sittings that ended by themselves.
    error : str or None
        What was raised.
    data : dict
        What its data are; see `gradnoise.simulations.neural.experiments.Task`.
    versions : dict
        Of the libraries and the machine of its last sitting.

    Examples
    --------
    >>> from gradnoise.simulations.neural.sweep_states import State
    >>> from gradnoise.simulations.sweeps import Run
    >>> State(Run({"experiment": "digits"}, seed=1)).status
    'waiting'
    """

    run: Run
    status: str = WAITING
    records: tuple[Record, ...] = ()
    seconds: float = 0.0
    error: str | None = None
    data: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        as_instance(self.run, "run", Run)
        as_choice(self.status, "status", (WAITING, INTERRUPTED, FAILED, FINISHED))
        if not isinstance(self.records, tuple) or not all(isinstance(record, Mapping) for record in self.records):
            raise TypeError(f"records must be a tuple of mappings, got {shown(self.records)}")
        if self.error is not None:
            as_text(self.error, "error")
        known = {name: _as_facts(getattr(self, name), name) for name in ("data", "versions")}
        set_fields(self, seconds=as_real(self.seconds, "seconds", at_least=0), **known)

    def rows(self) -> list[dict[str, Any]]:
        """Rows of the table."""
        first = {"run": self.run.name, "seed": self.run.seed, "status": self.status, "seconds": round(self.seconds, 3)}
        none = [{}] if self.status == FAILED else []  # one that failed at once must not be missing
        return [{**first, **self.run.settings, **record} for record in self.records or none]

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Keep it in the folder of its run, signed."""
        place = as_path(folder, "folder")
        try:
            place.mkdir(parents=True, exist_ok=True)
        except (OSError, ValueError) as error:
            raise ValueError(f"folder must be one that can be written, got {str(place)!r}: {error}") from None
        content = json.loads(json.dumps(asdict(self)))  # as it is read
        with replacing(place / _STATE) as file:
            file.write(json.dumps({"sha256": _digest(content), "content": content}, indent=1).encode())


def states(plan: Plan, store: str | os.PathLike[str]) -> list[State]:
    """What has become of each run of a plan.

    Parameters
    ----------
    plan : Plan
    store : path
        See `gradnoise.simulations.neural.sweeps.sweep`; need not be there.

    Returns
    -------
    list of State
        In the order of the plan. One that a killed sweep left in the middle counts as waiting, and is continued all the same.

    Examples
    --------
    >>> import tempfile
    >>> from gradnoise.simulations.neural.sweep_states import states
    >>> from gradnoise.simulations.sweeps import Plan
    >>> plan = Plan.of({"seeds": 2, "runs": [{"experiment": "digits", "n_steps": 2}]})
    >>> [state.status for state in states(plan, tempfile.mkdtemp())]
    ['waiting', 'waiting']
    """
    folder = as_path(store, "store")
    return [state_of(run, folder) for run in as_instance(plan, "plan", Plan).runs]


def made_with(found: Iterable[State]) -> dict[str, Any]:
    """Data of each experiment, and the different libraries and machines that runs have been made with.

    Parameters
    ----------
    found : iterable of State

    Returns
    -------
    dict

    Raises
    ------
    TypeError
        If they are no states.

    Examples
    --------
    >>> from gradnoise.simulations.neural.sweep_states import State, made_with
    >>> from gradnoise.simulations.sweeps import Run
    >>> run = Run({"experiment": "digits"}, seed=1)
    >>> made_with([State(run, "finished", data={"n_train": 300}, versions={"torch": "2.13.0"}), State(run)])
    {'data': {'digits': {'n_train': 300}}, 'versions': [{'torch': '2.13.0'}]}
    """
    every = [as_instance(state, "each of found", State) for state in as_iterable(found, "found", "a sequence of states")]
    begun = [state for state in every if state.versions]  # those that could not begin have none
    versions = {json.dumps(state.versions, sort_keys=True): state.versions for state in begun}
    return {"data": {s.run.settings["experiment"]: s.data for s in begun}, "versions": list(versions.values())}


def reached(folder: Path) -> tuple[Record, ...]:
    """Records of a run that did not end, as training wrote them in this sitting."""
    try:
        return tuple(json.loads(line) for line in (folder / METRICS).read_text(encoding="utf-8").splitlines())
    except (OSError, ValueError):  # there is none, or it is damaged
        return ()


def state_of(run: Run, store: Path) -> State:
    """What its file says of a run, if it is whole; else the run is continued from its checkpoint, which is signed, too."""
    try:
        found = json.loads((store / RUNS / run.name / _STATE).read_bytes())
        content = found["content"]
        if found["sha256"] != _digest(content) or Run(**content["run"]) != run:  # damaged, or another run's
            return State(run)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return State(run)
    known = (content[name] for name in ("seconds", "error", "data", "versions"))
    return State(run, content["status"], tuple(content["records"]), *known)


def _as_facts(value: Any, name: str) -> dict[str, Any]:
    """Return a mapping as JSON would read it, whose numbers are finite: of others JSON knows nothing, and they equal nothing."""
    known = as_json(value, name)
    try:
        json.dumps(known, allow_nan=False)
    except ValueError:
        raise ValueError(f"{name} must be of finite numbers, got {shown(value)}") from None
    return known


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
