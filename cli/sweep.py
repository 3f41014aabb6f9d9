"""``gradnoise sweep``: work off a plan of trainings. Everything here needs PyTorch, but for the plan."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from rich.markup import escape
from rich.table import Table

from gradnoise.claims.questions import Answer, answer
from gradnoise.cli import interruption
from gradnoise.cli.common import named_as_options, needs_torch
from gradnoise.cli.console import console, errors, say
from gradnoise.cli.files import check_apart, check_json, check_writable, deliver, file_of
from gradnoise.cli.gate import FAILED
from gradnoise.simulations.sweeps import FAILED as DIED
from gradnoise.simulations.sweeps import FINISHED, PAPER_SWEEPS, Plan, SweepTable, paper_sweep

__all__ = ["run"]


def run(
    *,
    plan: Path,
    store: Path | None,
    jobs: int,
    device: str,
    data: Path | None,
    minutes: float | None,
    dry_run: bool,
    json: Path | None,
) -> int:
    """Work off a plan, or say what is left of it; return the exit code."""
    with named_as_options(path="PLAN", runs="PLAN: runs", settings="PLAN: settings", seeds="PLAN: seeds"):
        chosen = _plan(plan)
    needs_torch()
    from gradnoise.simulations.neural.sweep_states import RUNS, states
    from gradnoise.simulations.neural.sweeps import MADE_WITH, TABLE, check_plan, sweep

    with named_as_options(settings="PLAN: settings", questions="PLAN: questions"):
        check_plan(chosen)
    folder = Path(f"{plan.stem}-runs") if store is None else store
    its = [("--store", folder / name) for name in (TABLE, MADE_WITH)]
    check_apart([("--json", file_of(json)), ("PLAN", plan), *its], [("--store", folder / RUNS)])
    check_json(json)
    if not dry_run:
        check_writable(folder, "--store")
        with (
            interruption.working(interruption.resume(folder)),
            named_as_options(minutes="--minutes", store="--store", n_jobs="--jobs"),
        ):
            sweep(
                chosen, folder, device=device, data_folder=data, n_jobs=jobs, minutes=minutes,
                tell=lambda line: say(escape(line), to=errors),
            )  # fmt: skip
    found = states(chosen, folder)
    table = SweepTable([row for state in found for row in state.rows()])
    done = sum(state.status == FINISHED for state in found)

    def show() -> None:
        console.print(_table(chosen, found))
        if chosen.questions:
            console.print(_answers([answer(question, table, chosen) for question in chosen.questions]))
        recorded = f"; what they recorded is in {folder / TABLE}" if (folder / TABLE).is_file() else ""
        say(escape(f"{done} of {len(found)} runs are finished{recorded}"))

    deliver(table, json, show)
    return FAILED if any(state.status == DIED for state in found) else 0


def _plan(given: Path) -> Plan:
    """Read a file, or find a plan that comes with gradnoise."""
    # Those of `os` say no, where a Path's raise, of a name that no file can have.
    if os.path.isfile(given) or str(given) not in PAPER_SWEEPS:
        try:
            return Plan.load(given)
        except ValueError as error:
            known = "" if os.path.exists(given) else f"; or one of {', '.join(PAPER_SWEEPS)}"
            raise ValueError(f"{error}{known}") from None
    return paper_sweep(str(given)).plan


def _table(plan: Plan, found: list[Any]) -> Table:
    """A row for each method, with means over its seeds."""
    common = ", ".join(f"{name} {value}" for name, value in plan.common.items())
    table = Table(title=escape(plan.title), title_justify="left", caption=escape(f"all with {common}"), caption_justify="left")
    table.add_column("run")
    for name in ("finished", "steps", "test accuracy, %", "time, s"):
        table.add_column(name, justify="right")
    methods: dict[str, list[Any]] = {}
    for state in found:
        methods.setdefault("\n".join(state.run.own(plan.common)) or "all", []).append(state)
    for name, every in methods.items():
        ended = [state for state in every if state.status == FINISHED]
        ends = [state.records[-1] for state in ended]
        cells = (
            f"{len(ended)} of {len(every)}",
            _mean([end["step"] for end in ends]),
            _mean([100 * end["test_accuracy"] for end in ends]),
            _mean([state.seconds for state in ended]),
        )
        table.add_row(escape(name), *cells)
    return table


def _answers(found: list[Answer]) -> Table:
    """A row for each question."""
    table = Table(title="what was asked", title_justify="left", caption_justify="left")
    for name, justify in (("question", "left"), ("difference", "right"), ("margin", "right"), ("answer", "left")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    for one in found:
        told = one.verdict if one.reason is None else f"{one.verdict}: {one.reason}"
        if one.seeds_to_decide is not None:
            told += f"; some {one.seeds_to_decide} seeds would decide"
        seen = "–"
        if one.difference is not None:
            low, high = one.difference.interval(one.question.level)
            seen = f"{one.difference.value:+.4g} ({low:+.4g} to {high:+.4g})"
        table.add_row(escape(one.question.name), seen, f"{one.question.margin:g}", told)
    levels = sorted({f"{100 * one.question.level:g} %" for one in found})
    table.caption = f"in brackets intervals of {' and '.join(levels)} of differences between runs of one seed, taken to be normal"
    return table


def _mean(values: list[float]) -> str:
    """Mean, and the standard error where there are several."""
    if not values:
        return "–"
    error = f" ± {np.std(values, ddof=1) / len(values) ** 0.5:.2g}" if len(set(values)) > 1 else ""
    return f"{np.mean(values):.5g}{error}"
