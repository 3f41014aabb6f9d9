"""Answers of a sweep: what its runs tell about what its plan asked.

Runs of one seed begin alike, so that methods are compared in pairs, one of each seed. Differences between a few pairs do not tell
their law: here they are taken to be normal, as Student's t supposes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gradnoise.claims.judgement import HOLDS, INCONCLUSIVE, REFUTED, placed
from gradnoise.simulations.statistics import Estimate, find_sample_size
from gradnoise.simulations.sweeps import ALIKE, Plan, Question, SweepTable
from gradnoise.theory._validation import as_instance, shown

__all__ = ["Answer", "answer"]


@dataclass(frozen=True)
class Answer:
    """What was found.

    Attributes
    ----------
    question : Question
    verdict : {"holds", "refuted", "inconclusive"}
    difference : Estimate or None
        Of the method to what it is compared with; None where no seed has both.
    control : Estimate or None
        Of what it is compared with to the positive control.
    seeds_to_decide : int or None
        About how many would decide, where the verdict is inconclusive, if the differences are what they look like.
    reason : str or None
        Why it is inconclusive.

    Examples
    --------
    >>> from gradnoise.claims.questions import answer
    >>> from gradnoise.simulations.sweeps import Question, SweepTable
    >>> accuracies = {"sgd": (0.80, 0.82, 0.81), "msgd-cov": (0.81, 0.82, 0.80), "gd": (0.70, 0.73, 0.71)}
    >>> table = SweepTable([
    ...     {"run": f"{name}-{seed}", "seed": seed, "dynamics": name, "test_accuracy": accuracy}
    ...     for name, every in accuracies.items() for seed, accuracy in enumerate(every, 1)
    ... ])
    >>> question = Question(
    ...     "as SGD", "alike", {"dynamics": "msgd-cov"}, {"dynamics": "sgd"}, margin=0.03, control={"dynamics": "gd"}
    ... )
    >>> found = answer(question, table)
    >>> found.verdict, found.difference.n
    ('holds', 3)
    """

    question: Question
    verdict: str
    difference: Estimate | None
    control: Estimate | None = None
    seeds_to_decide: int | None = None
    reason: str | None = None


def answer(question: Question, table: SweepTable, plan: Plan | None = None) -> Answer:
    """Judge a question.

    "Better" holds where the whole interval of the difference is above the margin, and is refuted where it is below. "Alike" is
    refuted where the interval is outside of plus or minus the margin; it holds where it is inside, and the control is shown to be
    worse by more than the margin. Nothing is decided where a run has failed or did not come as far as the question says, nor of
    differences that are all the same; and with a plan, not before all of its runs that are asked of have ended: who looks again
    and again, and stops at an answer, finds a wrong one too often.

    Parameters
    ----------
    question : Question
    table : SweepTable
    plan : Plan, optional
        Of the runs.

    Returns
    -------
    Answer

    Raises
    ------
    ValueError
        If settings are those of several runs of a seed, a run has no such metric, or the plan has no run of a method.

    Examples
    --------
    >>> from gradnoise.claims.questions import answer
    >>> from gradnoise.simulations.sweeps import Question, SweepTable
    >>> question = Question("better", "better", {"dynamics": "sgd"}, {"dynamics": "gd"}, margin=0.0)
    >>> answer(question, SweepTable([])).reason
    'no run of one of the methods is there'
    """
    asked, table = as_instance(question, "question", Question), as_instance(table, "table", SweepTable)
    if plan is not None:
        known = as_instance(plan, "plan", Plan)
        if missing := [method for method in asked.methods if not known.runs_with(method)]:
            raise ValueError(f"plan must have runs of all that is asked of, which it has not of {shown(missing[0])}")
    if any(method.keys() - set(table.columns) for method in asked.methods):
        return Answer(asked, INCONCLUSIVE, None, reason="no run of one of the methods is there")
    difference = _difference(asked, table, asked.of, asked.against)
    if why := _open(asked, table) or (_waiting(asked, table, plan) if plan is not None else None):
        return Answer(asked, INCONCLUSIVE, difference, reason=why)
    if difference is None:
        return Answer(asked, INCONCLUSIVE, None, reason="no seed has both")
    if not difference.valid(asked.level):
        return Answer(asked, INCONCLUSIVE, difference, reason="no spread between seeds was seen")
    return _alike(asked, table, difference) if asked.kind == ALIKE else _better(asked, difference)


def _open(asked: Question, table: SweepTable) -> str | None:
    """Why those that are there are a selection, if they are."""
    failed = {seed for method in asked.methods for seed in table.failed(method)}
    if failed:
        return f"runs of seeds {_listed(failed)} failed, and the others are a selection"
    short = {seed for method in asked.methods for seed in (table.unreached(asked.at, method) if asked.at else ())}
    return f"runs of seeds {_listed(short)} did not come so far, and the others are a selection" if short else None


def _waiting(asked: Question, table: SweepTable, plan: Plan) -> str | None:
    """Why it is too early, if it is."""
    for method in asked.methods:
        planned = {run.seed for run in plan.runs_with(method)}
        ended = table.finished(method) & planned
        if ended < planned:
            return f"{len(ended)} of {len(planned)} seeds have ended, and all are to be there before it is answered"
    return None


def _listed(seeds: set[int]) -> str:
    return ", ".join(map(str, sorted(seeds)))


def _better(asked: Question, difference: Estimate) -> Answer:
    verdict = _beyond(difference, asked)
    if verdict != INCONCLUSIVE:
        return Answer(asked, verdict, difference)
    return Answer(
        asked, INCONCLUSIVE, difference, seeds_to_decide=_seeds(difference, asked), reason="the interval contains the margin"
    )


def _alike(asked: Question, table: SweepTable, difference: Estimate) -> Answer:
    assert asked.control is not None
    control = _difference(asked, table, asked.against, asked.control)
    verdict = placed(difference.interval(asked.level), (-asked.margin, asked.margin))
    if verdict == REFUTED:
        return Answer(asked, REFUTED, difference, control)
    if verdict == INCONCLUSIVE:
        needed = find_sample_size(difference, asked.margin, asked.level)
        return Answer(asked, INCONCLUSIVE, difference, control, needed, "the interval is not within the margin")
    if control is None:
        return Answer(asked, INCONCLUSIVE, difference, reason="no seed has the control")
    if not control.valid(asked.level):
        return Answer(asked, INCONCLUSIVE, difference, control, reason="no spread between seeds was seen of the control")
    worse = _beyond(control, asked)
    if worse == HOLDS:
        return Answer(asked, HOLDS, difference, control)
    if worse == REFUTED:
        why = "the control is not worse by the margin, so that little is told apart"
        return Answer(asked, INCONCLUSIVE, difference, control, reason=why)
    return Answer(
        asked, INCONCLUSIVE, difference, control, _seeds(control, asked), "the control is not shown to be worse by the margin"
    )


def _beyond(difference: Estimate, asked: Question) -> str:
    """Whether a difference is above the margin."""
    return placed(difference.interval(asked.level), (asked.margin, math.inf))


def _difference(asked: Question, table: SweepTable, one: Mapping[str, Any], other: Mapping[str, Any]) -> Estimate | None:
    pairs = table.paired(asked.metric, one, other, asked.at)
    return Estimate.of(pairs, normal=True) if len(pairs) else None


def _seeds(difference: Estimate, asked: Question) -> int | None:
    """How many decide on which side of the margin a difference is, if it is what it looks like."""
    distance = abs(difference.value - asked.margin)
    return find_sample_size(difference, 2 * distance, asked.level) if distance > 0 else None
