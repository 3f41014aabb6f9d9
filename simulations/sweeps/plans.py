"""Plans of many trainings, as a file: which runs there are, and what is asked of them. This module needs no PyTorch.

A plan is TOML::

    title = "Enhanced noise on digits"
    seeds = 3

    [settings]                    # of all runs
    experiment = "digits"
    n_steps = 200

    [[runs]]
    dynamics = "sgd"
    batch_size = [10, 20]         # a list stands for a run with each of its values

    [[runs]]
    dynamics = "enhanced"
    batch_size = 10
    seeds = 5                     # in place of 3

    [[questions]]
    name = "enhancement makes up for a large batch"
    kind = "better"
    of = {dynamics = "enhanced"}
    against = {dynamics = "sgd", batch_size = 20}
    margin = 0.01
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gradnoise.simulations.sweeps.questions import Question
from gradnoise.simulations.sweeps.settings import as_settings, as_table
from gradnoise.theory._validation import as_count, as_instance, as_path, as_text, set_fields, shown

__all__ = ["Plan", "Run"]

#: Settings that are lists themselves: of these, a list of lists stands for several runs.
LISTS = ("measured", "milestones")
_KEYS = ("title", "seeds", "settings", "runs", "questions")
_MOST_RUNS = 100_000


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes
    ----------
    settings : dict
        Arguments of `gradnoise.simulations.neural.experiments.run`, but for those that say where it is computed and kept.
    seed : int
        Of data, initialisation and noise; runs of one seed begin alike, so that they can be compared in pairs.

    Examples
    --------
    >>> from gradnoise.simulations.sweeps import Run
    >>> run = Run({"experiment": "digits", "n_steps": 200}, seed=1)
    >>> run.name == Run({"n_steps": 200, "experiment": "digits"}, seed=1).name != Run(run.settings, seed=2).name
    True
    """

    settings: Mapping[str, Any]
    seed: int

    def __post_init__(self) -> None:
        set_fields(self, settings=as_settings(self.settings, "settings"), seed=as_count(self.seed, "seed", at_least=0))

    @property
    def name(self) -> str:
        """Name of its folder: a hash of all that decides its numbers."""
        text = json.dumps([self.settings, self.seed], sort_keys=True)
        return f"{hashlib.sha256(text.encode()).hexdigest()[:12]}-seed-{self.seed}"

    def own(self, common: Mapping[str, Any] | None = None) -> list[str]:
        """Settings in words, without those that all runs have."""
        known = {} if common is None else as_settings(common, "common")
        return [f"{name} {value}" for name, value in self.settings.items() if known.get(name) != value]

    def described(self, common: Mapping[str, Any] | None = None) -> str:
        """Return the run in words: its `own` settings, and its seed."""
        return ", ".join([*self.own(common), f"seed {self.seed}"])


@dataclass(frozen=True)
class Plan:
    """Runs that belong together.

    Attributes
    ----------
    title : str
    runs : tuple of Run
        In the order in which they are worked off: all methods of the first seed, then of the second, so that a plan that is cut
        off has pairs.
    questions : tuple of Question

    Raises
    ------
    TypeError, ValueError
        If there is no run, or one twice, or a question is about none, or about several of a seed.

    Examples
    --------
    >>> from gradnoise.simulations.sweeps import Plan
    >>> plan = Plan.of({
    ...     "title": "two batches", "seeds": 2, "settings": {"experiment": "digits", "n_steps": 200},
    ...     "runs": [{"dynamics": "sgd", "batch_size": [10, 20]}],
    ... })
    >>> [(run.settings["batch_size"], run.seed) for run in plan.runs]
    [(10, 1), (20, 1), (10, 2), (20, 2)]
    >>> plan.common
    {'dynamics': 'sgd', 'experiment': 'digits', 'n_steps': 200}
    """

    title: str
    runs: tuple[Run, ...]
    questions: tuple[Question, ...] = ()

    def __post_init__(self) -> None:
        as_text(self.title, "title")
        runs = tuple(as_instance(run, "each of runs", Run) for run in as_instance(self.runs, "runs", tuple))
        if not runs:
            raise ValueError("runs must be one or more, got none")
        known: set[str] = set()
        for run in runs:
            if run.name in known:
                raise ValueError(f"runs must each be there once, got twice: {run.described()}")
            known.add(run.name)
        for question in as_instance(self.questions, "questions", tuple):
            for method in as_instance(question, "each of questions", Question).methods:
                seeds = [run.seed for run in self.runs_with(method)]
                if not seeds:
                    raise ValueError(f"questions must be about runs of the plan, got {question.name!r} about {shown(method)}")
                if len(set(seeds)) < len(seeds):
                    what = f"{shown(method)}, which several have"
                    raise ValueError(f"questions must be about one run of each seed, got {question.name!r} about {what}")

    def runs_with(self, settings: Mapping[str, Any]) -> list[Run]:
        """Return the runs that have these settings, as a question tells those of a method."""
        asked = as_settings(settings, "settings")
        return [run for run in self.runs if asked.items() <= run.settings.items()]

    @property
    def common(self) -> dict[str, Any]:
        """Settings that all of its runs have."""
        first, *others = (run.settings for run in self.runs)
        return {name: value for name, value in first.items() if all(name in o and o[name] == value for o in others)}

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Plan:
        """Make a plan of what stands in a file.

        Raises
        ------
        TypeError, ValueError
            If an entry is missing, not known or not of its kind.
        """
        content = as_table(content, "content", _KEYS)
        groups = content.get("runs")
        if not isinstance(groups, list) or not all(isinstance(group, Mapping) for group in groups):
            raise TypeError(f"content must have runs, which are tables, [[runs]], got {shown(groups)}")
        settings = content.get("settings", {})
        if not isinstance(settings, Mapping):
            raise TypeError(f"settings must be a table, [settings], got {shown(settings)}")
        found = []
        for group in groups:
            own = {"seeds": content.get("seeds", 1), **settings, **group}
            n_seeds = as_count(own.pop("seeds"), "seeds", at_most=_MOST_RUNS)
            values = [_values(name, value) for name, value in own.items()]
            planned = len(found) + n_seeds * math.prod(map(len, values))
            if planned > _MOST_RUNS:
                raise ValueError(f"runs must be at most {_MOST_RUNS:,} in all, got {planned:,}")
            crossed = (dict(zip(own, chosen, strict=True)) for chosen in itertools.product(*values))
            found += [Run(chosen, seed) for chosen in crossed for seed in range(1, n_seeds + 1)]
        asked = content.get("questions", [])
        if not isinstance(asked, list):
            raise TypeError(f"questions must be tables, [[questions]], got {shown(asked)}")
        questions = tuple(_question(table) for table in asked)
        return cls(content.get("title", "a sweep"), tuple(sorted(found, key=lambda run: run.seed)), questions)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Plan:
        """Read a plan.

        Raises
        ------
        ValueError
            If there is no such file, or it is no plan.
        TypeError
            If the path is none.

        Examples
        --------
        >>> import os, tempfile
        >>> from gradnoise.simulations.sweeps import Plan
        >>> file = os.path.join(tempfile.mkdtemp(), "plan.toml")
        >>> with open(file, "w") as text:
        ...     _ = text.write('runs = [{experiment = "digits", n_steps = 200}]')
        >>> [run.settings["n_steps"] for run in Plan.load(file).runs]
        [200]
        """
        file: Path = as_path(path, "path")
        try:
            return cls.of(tomllib.loads(file.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, RecursionError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ValueError(f"path must be of a plan, got {os.fspath(path)!r}: {reason}") from None


def _question(table: Any) -> Question:
    try:
        return Question.of_table(table)
    except (TypeError, ValueError) as error:
        raise type(error)(f"questions: {error}") from None


def _values(name: str, value: Any) -> list[Any]:
    """Each value of a setting that is a list, or the one that it has."""
    several = isinstance(value, list) and (name not in LISTS or any(isinstance(part, list) for part in value))
    if several and not value:
        raise ValueError(f"{name} must have a value, got an empty list")
    return value if several else [value]
