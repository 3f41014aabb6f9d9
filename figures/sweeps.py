"""Figures of sweeps that come with gradnoise: how accuracies go on, and what is answered of what the plan asked."""

from __future__ import annotations

import math
import textwrap
from typing import Any

import numpy as np
from matplotlib import pyplot

from gradnoise.claims.questions import Answer, answer
from gradnoise.figures.style import NETWORKS
from gradnoise.simulations.sweeps import ALIKE, FINISHED, SweepTable, paper_sweep

__all__ = ["draw"]

_LETTERS = 34  # of a question in a line
_MOST_BANDS = 4  # that can be told apart
_SHOWN = ("experiment", "learning_rate", "batch_size")


def draw(name: str) -> Any:
    """Draw test accuracies of each method, and the differences that were asked of.

    Parameters
    ----------
    name : str
        One of `gradnoise.simulations.sweeps.PAPER_SWEEPS`.

    Returns
    -------
    matplotlib Figure
    """
    sweep = paper_sweep(name)
    plan, table = sweep.plan, sweep.runs
    if not table.rows:
        raise ValueError(f"name must be of a plan of which runs are kept, got {name!r}")
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(12.0, 4.8), width_ratios=(1.15, 1))
    _accuracies(left, table)
    _answers(right, [answer(question, table, plan) for question in plan.questions])
    settings = ", ".join(f"{key.replace('_', ' ')} {plan.common[key]}" for key in _SHOWN if key in plan.common)
    figure.suptitle(f"{sweep.scale}\n{settings}")
    return figure


def _accuracies(ax: Any, table: SweepTable) -> None:
    """Mean of each method at the steps that all of its seeds have; bands from least to largest if few; marks where runs end."""
    late = []
    finished = [row for row in table.rows if row["status"] == FINISHED]
    methods = dict.fromkeys(row["dynamics"] for row in finished)
    banded = len(methods) <= _MOST_BANDS
    for dynamics in methods:
        runs: dict[str, dict[float, float]] = {}
        for row in finished:
            if row["dynamics"] == dynamics:
                runs.setdefault(row["run"], {})[row["step"]] = 100 * row["test_accuracy"]
        look, courses = NETWORKS[dynamics], list(runs.values())
        steps = sorted(set(courses[0]).intersection(*courses))
        values = np.array([[course[step] for step in steps] for course in courses])
        if banded:
            ax.fill_between(steps, values.min(axis=0), values.max(axis=0), color=look.color, alpha=0.1, linewidth=0)
        ax.plot(steps, values.mean(axis=0), color=look.color, linestyle=look.linestyle, label=look.label)
        ends = np.array([max(course.items()) for course in courses])
        ax.scatter(*ends.T, s=9, color=look.color, marker=look.marker, linewidths=0.8)
        late += [*values[:, len(steps) // 4 :].mean(axis=0), *ends[:, 1]]
    ax.set(xlabel="step", ylabel=f"test accuracy, %   (line: mean;{' band: range;' if banded else ''} marks: ends)")
    if late:
        ax.set_ylim(min(late) - 0.4 * (max(late) - min(late)) - 1, max(late) + 1)
        ax.legend(loc="lower right", ncols=2, fontsize=8)


def _answers(ax: Any, answers: list[Answer]) -> None:
    """Differences with their intervals; shaded is where a question would be answered with yes."""
    for row, one in enumerate(answers):
        asked, difference = one.question, one.difference
        span = (-100 * asked.margin, 100 * asked.margin) if asked.kind == ALIKE else (100 * asked.margin, 1e3)
        ax.fill_between(span, row - 0.4, row + 0.4, color="#009E73", alpha=0.12, linewidth=0)
        ax.annotate(one.verdict, (1.02, row), xycoords=("axes fraction", "data"), va="center", annotation_clip=False)
        if difference is None:
            continue
        low, high = difference.interval(asked.level)
        bars = [[100 * (difference.value - low)], [100 * (high - difference.value)]] if difference.n > 1 else None
        ax.errorbar(100 * difference.value, row, xerr=bars, color="black", marker="o", markersize=4, capsize=3)
    ax.axvline(0, color="black", linewidth=0.8)
    ax.set_yticks(range(len(answers)), [textwrap.fill(one.question.name, _LETTERS) for one in answers])
    ax.set_ylim(len(answers) - 0.4, -0.6)
    known = [(a.difference, a.question) for a in answers if a.difference is not None]
    ends = [100 * abs(end) for difference, asked in known for end in (difference.value, *difference.interval(asked.level))]
    widest = 1.1 * max([*filter(math.isfinite, ends), *(200 * one.question.margin for one in answers), 1.0])
    levels = " and ".join(sorted({f"{100 * one.question.level:g} %" for one in answers}))
    ax.set(xlabel=f"points of test accuracy, intervals of {levels}; shaded: as asked", xlim=(-widest, widest))
