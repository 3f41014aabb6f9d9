"""What the runs of a sweep recorded, as one tidy table: a row for each record. This module needs no PyTorch."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from gradnoise.simulations.ensemble import finite, replacing
from gradnoise.simulations.statistics import Estimate
from gradnoise.simulations.sweeps.settings import as_place, as_settings
from gradnoise.theory._validation import (
    FloatArray,
    as_choice,
    as_count,
    as_instance,
    as_iterable,
    as_path,
    as_real,
    as_text,
    is_number,
    set_fields,
    shown,
)

__all__ = ["FAILED", "FINISHED", "INTERRUPTED", "WAITING", "SweepTable"]

Row = dict[str, Any]

#: Columns that every table has, before the settings and the metrics.
FIRST = ("run", "seed", "status", "seconds")
WAITING, INTERRUPTED, FINISHED, FAILED = "waiting", "interrupted", "finished", "failed"
_STATUSES = (WAITING, INTERRUPTED, FINISHED, FAILED)
_LARGEST = 10**300  # a float holds it


@dataclass(frozen=True, eq=False, repr=False)
class SweepTable:
    """Records of many runs.

    Attributes
    ----------
    rows : tuple of dict
        By column: ``run``, ``seed``, ``status``, ``seconds`` that the run has taken, its settings, and what a record has.
        Records of a run follow each other.

    Raises
    ------
    TypeError, ValueError
        If a row is no mapping, has no run or seed, or something else in a cell than a text, a number, a flag or a list of these;
        or records of a run do not follow each other by their steps.

    Examples
    --------
    >>> from gradnoise.simulations.sweeps import SweepTable
    >>> rows = [
    ...     {"run": f"{b}-{seed}", "seed": seed, "status": "finished", "batch_size": b, "step": 9, "test_accuracy": accuracy}
    ...     for b, seed, accuracy in [(10, 1, 0.75), (20, 1, 0.5), (10, 2, 0.75), (20, 2, 0.75), (20, 3, 0.1)]
    ... ]
    >>> table = SweepTable(rows)
    >>> table.read("test_accuracy", {"batch_size": 20})
    {1: 0.5, 2: 0.75, 3: 0.1}
    >>> table.difference("test_accuracy", {"batch_size": 10}, {"batch_size": 20}).value  # over the seeds that both have
    0.125
    >>> import os, tempfile
    >>> file = os.path.join(tempfile.mkdtemp(), "table.csv")
    >>> table.save(file)
    >>> SweepTable.load(file).rows == table.rows
    True
    """

    rows: Sequence[Row]

    def __post_init__(self) -> None:
        rows = tuple(_as_row(row) for row in as_iterable(self.rows, "rows", "a sequence of rows"))
        ended: set[str] = set()
        for before, row in pairwise(rows):
            if before["run"] != row["run"]:
                ended.add(before["run"])
            elif is_number(before.get("step")) and is_number(row.get("step")) and not before["step"] < row["step"]:
                raise ValueError(f"rows of run {row['run']} must have growing steps, got {row['step']} behind {before['step']}")
            if row["run"] in ended:
                raise ValueError(f"rows of run {row['run']} must follow each other, got some behind those of {before['run']}")
        set_fields(self, rows=rows)

    def __repr__(self) -> str:
        return f"SweepTable({len({row['run'] for row in self.rows})} runs, {len(self.rows)} records)"

    @property
    def columns(self) -> list[str]:
        """Names of all columns, those that every table has first."""
        every = dict.fromkeys(name for row in self.rows for name in row)
        return [*(name for name in FIRST if name in every), *(name for name in every if name not in FIRST)]

    def _rows_of(self, settings: Mapping[str, Any] | None) -> list[Row]:
        """Return the rows with these settings.

        Raises
        ------
        ValueError
            If no row has one of them at all.
        """
        asked = {} if settings is None else as_settings(settings, "settings")
        if self.rows and (unknown := [name for name in asked if name not in self.columns]):
            raise ValueError(f"settings must be of {', '.join(self.columns)}, got {', '.join(unknown)}")
        return [row for row in self.rows if all(row.get(name) == value for name, value in asked.items())]

    def _finished(self, settings: Mapping[str, Any] | None) -> dict[int, list[Row]]:
        """Return the records of each finished run with these settings, by its seed.

        Raises
        ------
        ValueError
            If two runs of one seed have them: then more settings are to be named.
        """
        found: dict[int, list[Row]] = {}
        for row in self._rows_of(settings):
            if row.get("status", FINISHED) == FINISHED:
                records = found.setdefault(row["seed"], [])
                if records and records[0]["run"] != row["run"]:
                    raise ValueError(f"settings must be those of one run of each seed, got {shown(settings)}, which several have")
                records.append(row)
        return found

    def finished(self, settings: Mapping[str, Any] | None = None) -> set[int]:
        """Return the seeds of the finished runs with these settings.

        Raises
        ------
        ValueError
            If two runs of one seed have them, so that the seed does not tell which is meant.
        """
        return set(self._finished(settings))

    def failed(self, settings: Mapping[str, Any] | None = None) -> set[int]:
        """Return the seeds of the runs with these settings that raised, as where they diverged."""
        return {row["seed"] for row in self._rows_of(settings) if row.get("status") == FAILED}

    def unreached(self, at: Mapping[str, float], settings: Mapping[str, Any] | None = None) -> set[int]:
        """Return the seeds of the finished runs with these settings that did not come as far as `at` says, see `read`."""
        where = as_place(at)
        return {seed for seed, records in self._finished(settings).items() if _record(records, where) is None}

    def read(
        self, metric: str, settings: Mapping[str, Any] | None = None, *, at: Mapping[str, float] | None = None
    ) -> dict[int, float]:
        """Return a metric of each finished run with these settings, by its seed.

        Parameters
        ----------
        metric : str
        settings : mapping, optional
            Of the runs; all of them by default.
        at : {"step": float} or {"train_loss": float}, optional
            The first record that is of this step or a later one, or at which the loss has fallen to this or below; the last
            by default. A run that did not come so far is left out.

        Returns
        -------
        dict of float

        Raises
        ------
        TypeError, ValueError
            If a run has no such metric, or one that is no number, if two runs of one seed have these settings, or no run has a
            setting of such a name.

        Examples
        --------
        >>> from gradnoise.simulations.sweeps import SweepTable
        >>> losses = [(0, 2.3), (100, 0.4), (200, 0.1)]
        >>> table = SweepTable([{"run": "a", "seed": 7, "step": step, "train_loss": loss} for step, loss in losses])
        >>> table.read("train_loss"), table.read("step", at={"train_loss": 0.5}), table.read("step", at={"step": 101})
        ({7: 0.1}, {7: 100.0}, {7: 200.0})
        """
        metric, where = as_text(metric, "metric"), None if at is None else as_place(at)
        found = {seed: _record(records, where) for seed, records in self._finished(settings).items()}
        there = {seed: row for seed, row in sorted(found.items()) if row is not None}
        if missing := [seed for seed, row in there.items() if row.get(metric) is None]:
            raise ValueError(f"metric must be one that every run has, got {metric!r}, which that of seed {missing[0]} has not")
        return {seed: as_real(row[metric], f"{metric} of seed {seed}") for seed, row in there.items()}

    def paired(
        self, metric: str, settings: Mapping[str, Any], others: Mapping[str, Any], at: Mapping[str, float] | None = None
    ) -> FloatArray:
        """Return the differences of a metric between runs of the same seed, (seeds,); see `read` for where."""
        one, other = (self.read(metric, method, at=at) for method in (settings, others))
        return np.array([one[seed] - other[seed] for seed in sorted(one.keys() & other.keys())])

    def difference(
        self, metric: str, settings: Mapping[str, Any], others: Mapping[str, Any], at: Mapping[str, float] | None = None
    ) -> Estimate:
        """Mean of `paired` over the seeds.

        Raises
        ------
        ValueError
            If no seed has both.
        """
        differences = self.paired(metric, settings, others, at)
        if not len(differences):
            raise ValueError(
                f"settings and others must have finished runs of one seed, got {shown(settings)} and {shown(others)}"
            )
        return Estimate.of(differences)

    def to_json(self) -> str:
        """Rows as JSON text."""
        rows = [{name: finite(value) for name, value in row.items()} for row in self.rows]
        return json.dumps({"result": "SweepTable", "rows": rows}, indent=1, ensure_ascii=False) + "\n"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write CSV, whole or not at all.

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        text = io.StringIO()
        writer = csv.DictWriter(text, self.columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: _cell(value) for name, value in row.items()} for row in self.rows)
        with replacing(path) as file:
            file.write(text.getvalue().encode())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> SweepTable:
        """Read what `save` wrote.

        Raises
        ------
        ValueError
            If there is no such file, or it is none.
        TypeError
            If the path is none.
        """
        file = as_path(path, "path")
        try:
            text = file.read_text(encoding="utf-8")
            if not text.endswith("\n"):
                raise ValueError("its last line is cut off")
            return cls(list(_rows(csv.DictReader(io.StringIO(text), strict=True))))
        except (OSError, ValueError, TypeError, RecursionError, csv.Error) as error:
            reason = getattr(error, "strerror", None) or error
            raise ValueError(f"path must be of a table that a sweep wrote, got {os.fspath(path)!r}: {reason}") from None


def _record(records: Sequence[Row], at: dict[str, float] | None) -> Row | None:
    """Return the first record that is as far as this, else the last."""
    if at is None:
        return records[-1]
    ((name, value),) = at.items()
    sign = 1 if name == "step" else -1
    for row in records:
        if not is_number(row.get(name)):
            raise ValueError(f"at must be of a number that each record has, got {name}, {shown(row.get(name))} in one of them")
        if sign * (row[name] - value) >= 0:  # not where a loss is NaN
            return row
    return None


def _as_row(row: Any) -> Row:
    """Return a row as it is kept."""
    found = {
        as_text(name, "each name of a column"): _as_value(v, name)
        for name, v in as_instance(row, "each of rows", Mapping).items()
    }
    if not {"run", "seed"} <= found.keys():
        raise ValueError(f"each of rows must have run and seed, got {shown(row)}")
    as_text(found["run"], "run")
    as_count(found["seed"], "seed", at_least=0)
    as_choice(found.get("status", FINISHED), "status", _STATUSES)
    return found


def _as_value(value: Any, name: str) -> Any:
    """Return what a cell holds; a number of NumPy's as one of Python's."""
    if isinstance(value, list | tuple):
        try:
            return tuple(_as_value(part, name) for part in value)
        except RecursionError:
            raise TypeError(f"{name} must not be nested deeper than Python's limit of recursion") from None
    value = value.item() if isinstance(value, np.generic) else value
    if not isinstance(value, str | bool | int | float | None) or (isinstance(value, int) and abs(value) > _LARGEST):
        raise TypeError(f"{name} must be a text, a number, a flag, or a list of these, got {shown(value)}")
    return value


def _rows(cells: csv.DictReader[str]) -> Iterable[Row]:
    names = list(cells.fieldnames or ())
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"there are two columns {twice[0]}")
    for row in cells:
        if None in row or None in row.values():
            raise ValueError("a row has more or fewer cells than there are columns")
        yield {name: _value(cell) for name, cell in row.items() if cell}


def _cell(value: Any) -> str:
    """Text of a value: JSON, which has every digit of a number; a text is itself where nothing else could be meant by it."""
    if value is None:
        return ""
    plain = isinstance(value, str) and value != "" and value.isprintable() and _value(value) == value
    return value if plain else json.dumps(value)


def _value(cell: str) -> Any:
    try:
        return _as_tuple(json.loads(cell))
    except (ValueError, RecursionError):
        return cell


def _as_tuple(value: Any) -> Any:
    return tuple(map(_as_tuple, value)) if isinstance(value, list) else value
