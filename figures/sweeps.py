"""Figures of sweeps that come with gradnoise: how what was recorded goes on, and what is answered of what the plan asked."""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import pyplot

from gradnoise.claims.questions import Answer, answer
from gradnoise.figures.style import NETWORKS
from gradnoise.simulations.sweeps import ALIKE, FINISHED, Plan, SweepTable, paper_sweep

__all__ = ["draw"]

_LETTERS = 34  # of a question in a line
_MOST_BANDS = 4  # that can be told apart
_SHOWN = ("experiment", "learning_rate", "batch_size", "descent_steps")
_LONG = 3  # times the steps of others, from which on steps are on a logarithmic axis
#: By metric: its name, that of differences and how many of their units are one, and the least that their axis shows.
_METRICS = {
    "test_accuracy": ("test accuracy", "points of test accuracy", 100, 1.0),
    "train_accuracy": ("training accuracy", "points of training accuracy", 100, 1.0),
    "sharpness": ("expected sharpness", "expected sharpness", 1, 0.0),
}


def draw(name: str, metrics: Sequence[str] = ("test_accuracy",), until: float = math.inf) -> Any:
    """Draw what each method has reached, and the differences that were asked of.

    Parameters
    ----------
    name : str
        One of `gradnoise.simulations.sweeps.PAPER_SWEEPS`.
    metrics : sequence of {"test_accuracy", "train_accuracy", "sharpness"}
        Each has a row.
    until : float
        The last step that is shown; of the questions, those about a step up to it, or all by default.

    Returns
    -------
    matplotlib Figure
    """
    sweep = paper_sweep(name)
    plan, table = sweep.plan, sweep.runs
    if not table.rows:
        raise ValueError(f"name must be of a plan of which runs are kept, got {name!r}")
    height = 4.8 if len(metrics) == 1 else 3.6 * len(metrics)
    figure, axes = pyplot.subplots(len(metrics), 2, figsize=(12.0, height), width_ratios=(1.15, 1), squeeze=False)
    early = [asked for asked in plan.questions if until == math.inf or (asked.at or {}).get("step", math.inf) <= until]
    for (left, right), metric in zip(axes, metrics, strict=True):
        _courses(left, table, plan, metric, until)
        _answers(right, [answer(asked, table, plan) for asked in early if asked.metric == metric], metric)
    axes[0, 0].legend(loc="best" if len(metrics) > 1 or until < math.inf else "lower right", ncols=2, fontsize=8)
    settings = ", ".join(f"{key.replace('_', ' ')} {plan.common[key]}" for key in _SHOWN if key in plan.common)
    figure.suptitle(f"{sweep.scale}\n{settings}")
    return figure


def _courses(ax: Any, table: SweepTable, plan: Plan, metric: str, until: float) -> None:
    """Mean of each method at the steps that all of its seeds have; bands from least to largest if few; marks where runs end."""
    name, _, unit, _ = _METRICS[metric]
    method_of = {run.name: json.dumps(run.settings) for run in plan.runs}
    methods: dict[str, dict[str, dict[float, float]]] = {}
    for row in table.rows:
        if row["status"] == FINISHED and row["step"] <= until:
            methods.setdefault(method_of[row["run"]], {}).setdefault(row["run"], {})[row["step"]] = unit * row[metric]
    late, lengths, banded = [], [], len(methods) <= _MOST_BANDS
    for method, runs in methods.items():
        look, courses = NETWORKS[json.loads(method)["dynamics"]], list(runs.values())
        steps = sorted(set(courses[0]).intersection(*courses))
        values = np.array([[course[step] for step in steps] for course in courses])
        if banded:
            ax.fill_between(steps, values.min(axis=0), values.max(axis=0), color=look.color, alpha=0.1, linewidth=0)
        label = look.label if look.label not in ax.get_legend_handles_labels()[1] else None
        ax.plot(steps, values.mean(axis=0), color=look.color, linestyle=look.linestyle, label=label)
        ends = np.array([max(course.items()) for course in courses])
        ax.scatter(*ends.T, s=9, color=look.color, marker=look.marker, linewidths=0.8)
        late += [*values[:, len(steps) // 4 :].mean(axis=0), *ends[:, 1]]
        lengths.append(steps[-1])
    band = " band: range;" if banded else ""
    ax.set(xlabel=f"step   (line: mean;{band} marks: ends)", ylabel=f"{name}{', %' if unit == 100 else ''}")
    if not late:
        return
    if unit != 100:
        ax.set_yscale("log")
    elif "descent_steps" not in plan.common:  # what is learned first says little
        ax.set_ylim(min(late) - 0.4 * (max(late) - min(late)) - 1, max(late) + 1)
    if max(lengths) > _LONG * min(lengths):
        ax.set_xscale("symlog", linthresh=min(step for runs in methods.values() for run in runs.values() for step in run if step))
        ax.set_xlim(0, None)


def _answers(ax: Any, answers: list[Answer], metric: str) -> None:
    """Differences with their intervals; shaded is where a question would be answered with yes."""
    _, name, unit, least = _METRICS[metric]
    for row, one in enumerate(answers):
        asked, difference = one.question, one.difference
        span = (-unit * asked.margin, unit * asked.margin) if asked.kind == ALIKE else (unit * asked.margin, 1e3)
        ax.fill_between(span, row - 0.4, row + 0.4, color="#009E73", alpha=0.12, linewidth=0)
        ax.annotate(one.verdict, (1.02, row), xycoords=("axes fraction", "data"), va="center", annotation_clip=False)
        if difference is None:
            continue
        low, high = difference.interval(asked.level)
        bars = [[unit * (difference.value - low)], [unit * (high - difference.value)]] if difference.n > 1 else None
        ax.errorbar(unit * difference.value, row, xerr=bars, color="black", marker="o", markersize=4, capsize=3)
    ax.axvline(0, color="black", linewidth=0.8)
    ax.set_yticks(range(len(answers)), [textwrap.fill(one.question.name, _LETTERS) for one in answers])
    ax.set_ylim(len(answers) - 0.4, -0.6)
    known = [(a.difference, a.question) for a in answers if a.difference is not None]
    ends = [unit * abs(end) for difference, asked in known for end in (difference.value, *difference.interval(asked.level))]
    widest = 1.1 * max([*filter(math.isfinite, ends), *(2 * unit * one.question.margin for one in answers), least])
    levels = " and ".join(sorted({f"{100 * one.question.level:g} %" for one in answers}))
    ax.set(xlabel=f"{name}, intervals of {levels}; shaded: as asked", xlim=(-widest, widest))
    ax.locator_params(axis="x", nbins=7)
