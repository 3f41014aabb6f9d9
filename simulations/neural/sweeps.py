"""Many trainings, worked off one after another or side by side, in as many sittings as it takes.

What a run has reached lies in a folder of its own: records and checkpoint as `gradnoise.simulations.neural.training.train` keeps
them, and once it has ended, what became of it. A plan that has grown finds what it had before. With ``descent_steps`` and
``descent_rate`` among its settings a run begins where gradient descent from the initialisation has come so far; that is a run,
too, which all of a seed share, but it has no rows in the table.
"""

from __future__ import annotations

import inspect
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from joblib import Parallel, delayed, effective_n_jobs, parallel_config

from gradnoise.simulations.ensemble import as_workers, replacing, versions, watched
from gradnoise.simulations.network_protocols import as_measured, metrics_of
from gradnoise.simulations.neural import experiments
from gradnoise.simulations.neural.data import settled_folder
from gradnoise.simulations.neural.devices import pick_device, threads
from gradnoise.simulations.neural.sweep_states import RUNS, State, made_with, reached, state_of
from gradnoise.simulations.sweeps import FAILED, FINISHED, INTERRUPTED, Plan, Run, SweepTable
from gradnoise.theory._validation import as_choice, as_count, as_function, as_instance, as_path, as_real, shown

__all__ = ["MADE_WITH", "TABLE", "check_plan", "sweep"]

TABLE, MADE_WITH = "table.csv", "made_with.json"
#: Arguments of a training that a plan does not set: where it is computed and kept, and how it is watched.
_NOT_IN_A_PLAN = {"rng", "device", "chunk_size", "data_folder", "facts", "folder", "progress", "start"}
_ARGUMENTS = inspect.signature(experiments.run).parameters
#: Settings that a plan has beside them: of gradient descent from the initialisation to the point where the run begins.
_DESCENT = ("descent_steps", "descent_rate")
_DESCENT_RECORDS = 10  # of each, from which it goes on when it was cut off
_EVERY = _ARGUMENTS["every"].default
_SHOWN = ("step", "train_loss", "test_accuracy")
_MOST_MINUTES = 1e6


def sweep(
    plan: Plan,
    store: str | os.PathLike[str],
    *,
    device: str | torch.device = "auto",
    data_folder: str | os.PathLike[str] | None = None,
    n_jobs: int | None = None,
    minutes: float | None = None,
    tell: Callable[[str], None] | None = None,
) -> SweepTable:
    """Work off what a plan still lacks.

    Parameters
    ----------
    plan : Plan
    store : path
        Folder of its runs; of ``table.csv``, which is written anew whenever a run ends; and of ``made_with.json``, which tells
        data and versions: a finished run stays, whichever versions it was made with. Two sweeps at one time should not have
        the same.
    device : str or torch.device
        See `gradnoise.simulations.neural.devices.pick_device`. On a GPU the runs follow each other.
    data_folder : path, optional
        See `gradnoise.simulations.neural.data.load`.
    n_jobs : int, optional
        Processes, each with one core; None takes as many as joblib's active configuration says. The numbers do not depend on it.
    minutes : float, optional
        After which no run goes on beyond its next record; it is continued by the next call.
    tell : callable, optional
        Called with a line of text whenever a run begins or ends.

    Returns
    -------
    SweepTable
        Of all runs that have a record. A run that raises does not end the others: its status is "failed", and the next call tries
        it again.

    Raises
    ------
    TypeError, ValueError
        If an argument is not allowed, or a setting is none of a training.

    Examples
    --------
    >>> import tempfile
    >>> from gradnoise.simulations.neural.sweeps import sweep
    >>> from gradnoise.simulations.sweeps import Plan
    >>> settings = {"experiment": "digits", "n_steps": 2, "every": 1}
    >>> plan = Plan.of({"title": "GD and SGD", "settings": settings, "runs": [{"dynamics": ["gd", "sgd"]}]})
    >>> table = sweep(plan, tempfile.mkdtemp(), device="cpu", n_jobs=1)
    >>> table
    SweepTable(2 runs, 6 records)
    """
    check_plan(plan)
    place = pick_device(device)
    folder = as_path(store, "store").absolute()  # workers that live have the working directory of before
    data_folder = settled_folder(data_folder)
    deadline = None if minutes is None else time.time() + 60 * as_real(minutes, "minutes", above=0, at_most=_MOST_MINUTES)
    say = (lambda line: None) if tell is None else as_function(tell, "tell")
    order = _in_order(plan)
    found = {run.name: state_of(run, folder) for run in order}
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise ValueError(f"store must be a folder that can be written, got {shown(str(folder))}: {error}") from None
    facts = _facts(plan, data_folder)
    for state in found.values():
        if state.status == FINISHED and state.data != facts[state.run.settings["experiment"]]:
            raise ValueError(
                f"store must be of runs on the same data, {facts[state.run.settings['experiment']]}, got {str(folder)!r}, where "
                f"that of {state.run.described()} had {state.data}"
            )
    workers = as_workers(n_jobs) if place.type == "cpu" else 1
    costs = _Costs()
    for state in found.values():
        costs.learn(state)

    def begun(runs: list[Run]) -> Iterator[Any]:
        for run in runs:
            if deadline is not None and time.time() >= deadline:
                return
            say(f"begins: {run.described(plan.common)}{costs.warning(run, deadline)}")
            before, descent = replace(found[run.name], data=facts[run.settings["experiment"]]), _descent(run)
            start = None if descent is None else folder / RUNS / descent.name
            yield delayed(_work)(before, folder / RUNS / run.name, start, str(place), data_folder, deadline)

    def ended(runs: list[Run]) -> Iterator[State]:
        with (
            parallel_config("loky"),
            Parallel(
                n_jobs=workers,
                return_as="generator_unordered",
                pre_dispatch="n_jobs",
                batch_size=1,  # type: ignore[arg-type]
            ) as parallel,
            watched(parallel, f"what runs have reached is kept in {str(folder)!r}"),
        ):
            yield from parallel(begun(runs))  # type: ignore[misc]

    failed: set[str] = set()  # in this sitting

    def take(state: State) -> None:
        found[state.run.name] = state
        costs.learn(state)
        if state.status == FAILED:
            failed.add(state.run.name)
        _write(plan, found, folder)
        left = [run for run in order if found[run.name].status != FINISHED]
        say(f"{_ending(state, plan)}; {costs.remaining(left, effective_n_jobs(workers))}")

    for runs in _phases(order, effective_n_jobs(workers)):
        ready = []
        for run in runs:
            descent = _descent(run)
            if descent is not None and descent.name in failed:
                error = f"gradient descent before it: {found[descent.name].error}"
                cannot = replace(found[run.name], status=FAILED, error=error, data=found[descent.name].data)
                cannot.save(folder / RUNS / run.name)
                take(cannot)
            elif found[run.name].status != FINISHED and (descent is None or found[descent.name].status == FINISHED):
                ready.append(run)
        for state in ended(ready):
            take(state)
    return _write(plan, found, folder)


def _phases(order: list[Run], n_workers: int) -> Iterator[list[Run]]:
    """Runs that can be worked off at once: of as many seeds as there are workers the gradient descents, then what needs them."""
    needed = {descent.name for run in order if (descent := _descent(run)) is not None}
    if not needed:
        yield order
        return
    seeds = sorted({run.seed for run in order})
    for first in range(0, len(seeds), n_workers):
        of_seeds = [run for run in order if run.seed in seeds[first : first + n_workers]]
        yield [run for run in of_seeds if run.name in needed]
        yield [run for run in of_seeds if run.name not in needed]


def _in_order(plan: Plan) -> list[Run]:
    """Runs of a plan, each with the gradient descent that it needs in front of the first that does."""
    order: dict[str, Run] = {}
    for run in plan.runs:
        for part in (_descent(run), run):
            if part is not None:
                order.setdefault(part.name, part)
    return list(order.values())


def _descent(run: Run) -> Run | None:
    """The gradient descent that leads to where a run begins: of all runs of a seed it is the same, and done but once."""
    if "descent_steps" not in run.settings:
        return None
    steps, rate = (run.settings[name] for name in _DESCENT)
    settings = {"experiment": run.settings["experiment"], "dynamics": "gd", "n_steps": steps, "learning_rate": rate}
    return Run({**settings, "every": max(1, steps // _DESCENT_RECORDS)}, run.seed)


def check_plan(plan: Plan) -> None:
    """See that a plan can be worked off, before hours are spent on it.

    Parameters
    ----------
    plan : Plan

    Raises
    ------
    TypeError, ValueError
        If a setting is none of a training, one that it needs is missing, what is to be measured or descended is not allowed, or a
        question is about what no run records.

    Examples
    --------
    >>> from gradnoise.simulations.neural.sweeps import check_plan
    >>> from gradnoise.simulations.sweeps import Plan
    >>> check_plan(Plan.of({"runs": [{"experiment": "digits"}]}))
    Traceback (most recent call last):
    ValueError: settings must have n_steps, which experiment digits, seed 1 has not
    """
    as_instance(plan, "plan", Plan)
    arguments = {name: parameter for name, parameter in _ARGUMENTS.items() if name not in _NOT_IN_A_PLAN}
    needed = {name for name, parameter in arguments.items() if parameter.default is parameter.empty}
    for run in plan.runs:
        if unknown := sorted(run.settings.keys() - arguments.keys() - set(_DESCENT)):
            raise ValueError(f"settings must be of {', '.join([*arguments, *_DESCENT])}, got {', '.join(unknown)}")
        wanted = needed | (set(_DESCENT) if run.settings.keys() & set(_DESCENT) else set())
        if missing := sorted(wanted - run.settings.keys()):
            raise ValueError(f"settings must have {' and '.join(missing)}, which {run.described()} has not")
        as_measured(run.settings.get("measured", ()))
        as_count(run.settings.get("n_probes", 1), "n_probes")
        if "descent_steps" in run.settings:
            as_count(run.settings["descent_steps"], "descent_steps")
            as_real(run.settings["descent_rate"], "descent_rate", above=0)
    for question in plan.questions:
        for method in question.methods:
            runs = plan.runs_with(method)
            metrics = [metrics_of(run.settings.get("measured", ())) for run in runs]
            recorded = [name for name in metrics[0] if all(name in others for others in metrics)]
            if question.metric not in recorded:
                wrong = f"got {question.metric!r} in {question.name!r}"
                raise ValueError(f"questions must be of {', '.join(recorded)}, {wrong}, of {shown(method)}")
            steps = [run.settings["n_steps"] for run in runs]
            if question.at and question.at.get("step", 0) > min(steps):
                where = f"{question.at['step']:g} in {question.name!r}, of runs of {min(steps)}"
                raise ValueError(f"questions must be of steps that runs have, got {where}")


def _facts(plan: Plan, data_folder: str | None) -> dict[str, Any]:
    """What the data of each experiment are."""
    names = {as_choice(run.settings["experiment"], "experiment", tuple(experiments.EXPERIMENTS)) for run in plan.runs}
    return {name: experiments.facts_of(experiments.EXPERIMENTS[name], data_folder) for name in sorted(names)}


class _TimeIsUp(Exception):
    """Ends a run behind a record, from which the next sitting goes on."""


def _work(before: State, folder: Path, start: Path | None, device: str, data_folder: str | None, deadline: float | None) -> State:
    """Train in a worker process, and keep what became of it."""
    run, started = before.run, time.perf_counter()
    settings = {name: value for name, value in run.settings.items() if name not in _DESCENT}
    status, error, records = FINISHED, None, before.records
    try:
        with threads(1):  # so that sums do not depend on how many cores a process has
            records = tuple(
                experiments.run(
                    **settings, rng=run.seed, start=start, device=device, data_folder=data_folder, facts=before.data,
                    folder=folder, progress=_Clock(deadline, run.settings.get("every", _EVERY)),
                )
            )  # fmt: skip
    except _TimeIsUp:
        status, records = INTERRUPTED, reached(folder)
    except Exception as raised:  # whatever it is, it is this run's alone
        status, error, records = FAILED, f"{type(raised).__name__}: {raised}", reached(folder)
    state = replace(
        before, status=status, records=records, seconds=before.seconds + time.perf_counter() - started, error=error,
        versions={**versions(), "torch": str(torch.__version__), "instructions": torch.backends.cpu.get_cpu_capability()},
    )  # fmt: skip
    state.save(folder)
    return state


class _Clock:
    """Is called after each step, and ends a run behind a record where the next one would come too late."""

    def __init__(self, deadline: float | None, every: int) -> None:
        self._deadline, self._every, self._last = deadline, every, time.time()

    def __call__(self, done: int, total: int) -> None:
        if self._deadline is None or done % self._every != 1 % self._every or done == 1:
            return
        now = time.time()
        if now + (now - self._last) > self._deadline:
            raise _TimeIsUp
        self._last = now


class _Costs:
    """Seconds that runs have taken, by all their settings but the seed."""

    def __init__(self) -> None:
        self._seconds: dict[str, list[float]] = {}

    def learn(self, state: State) -> None:
        """Take note of a run that has ended."""
        if state.status == FINISHED:
            self._seconds.setdefault(_method(state.run), []).append(state.seconds)

    def of(self, run: Run) -> float | None:
        """Seconds that a run takes as others of its settings did, or as all others did; None where none has ended."""
        every = [seconds for part in self._seconds.values() for seconds in part]
        known = self._seconds.get(_method(run), every)
        return sum(known) / len(known) if known else None

    def warning(self, run: Run, deadline: float | None) -> str:
        """Say that a run will not end in this sitting, where that is known."""
        cost, left = self.of(run), math.inf if deadline is None else deadline - time.time()
        if cost is None or cost <= left:
            return ""
        return f"; it takes some {_duration(cost)} in all, and {_duration(left)} are left: the next call goes on with it"

    def remaining(self, runs: list[Run], n_workers: int) -> str:
        """Say what is still to be done."""
        costs = [self.of(run) for run in runs]
        seconds = sum(cost or 0.0 for cost in costs) / n_workers
        return f"{len(runs)} left" + (f", some {_duration(seconds)}" if runs and None not in costs else "")


def _method(run: Run) -> str:
    return json.dumps(run.settings, sort_keys=True)


def _duration(seconds: float) -> str:
    for size, name in ((3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {name}"
    return f"{seconds:.0f} s"


def _ending(state: State, plan: Plan) -> str:
    described, took = state.run.described(plan.common), _duration(state.seconds)
    if state.status == FAILED:
        return f"failed: {described}: {state.error}"
    last = state.records[-1] if state.records else {}
    shown = ", ".join(f"{name.replace('_', ' ')} {last[name]:g}" for name in _SHOWN if name in last)
    return f"{'ended' if state.status == FINISHED else 'stopped'} after {took}: {described}: {shown or 'no record yet'}"


def _write(plan: Plan, found: dict[str, State], folder: Path) -> SweepTable:
    table = SweepTable([row for run in plan.runs for row in found[run.name].rows()])
    table.save(folder / TABLE)
    with replacing(folder / MADE_WITH) as file:
        file.write(json.dumps(made_with(found.values()), indent=1, ensure_ascii=False).encode())
    return table
