"""Claims that are judged on trainings that come with gradnoise, by what their plans asked before they ran.

These are networks and data of a size for which a verdict takes hours to days, so that runs are kept in place of being made anew:
`gradnoise.simulations.sweeps.paper_sweep` has plans and results. The runs of a seed begin alike and are compared in pairs.
"Better" is a difference of more than a margin that the plan fixes; it is refuted where the difference is smaller, on whichever
side of zero. "Alike" is one within the margin, and holds only where a positive control is shown to be worse by more than it: in
a protocol in which nothing is worse, that two methods are alike says little. Nothing is decided before a plan has been worked
off. Differences are taken to be normal; intervals are at the level of each question, 95 % where its plan does not say more.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from gradnoise.claims.claim import Claim, Predictions, Quantities, Run
from gradnoise.claims.judgement import Answered, Judgement
from gradnoise.claims.prediction import Absolute, AtLeast, AtMost, Margin, Prediction
from gradnoise.claims.questions import answer
from gradnoise.simulations.statistics import Estimate
from gradnoise.simulations.sweeps import ALIKE, Question, paper_sweep

__all__ = ["KeptRuns"]

_FAR = 10  # margins; beyond what any of the papers shows
_UNKNOWN = Estimate(0.0, math.inf, 1)  # of what no run tells


class KeptRuns(Claim):
    """A claim that is judged on kept runs.

    Attributes
    ----------
    plan : str
        One of `gradnoise.simulations.sweeps.PAPER_SWEEPS`.
    asked : tuple of str
        Names of questions of the plan: the claim holds where all of them do.

    Examples
    --------
    >>> from gradnoise.claims.registry import all_claims
    >>> claim = all_claims("kept")["wu2020.gradient-matrix"]
    >>> claim.plan, claim.published()
    ('wu2020-fig1', {'MSGD-Fisher is better than GLD diag by a point': AtLeast(bound=0.01, tightness='chosen')})
    """

    plan: str
    asked: tuple[str, ...]

    @property
    def confidence(self) -> float:  # type: ignore[override]
        """Level of the intervals, which all of its questions have."""
        (level,) = {question.level for question in self._questions().values()}
        return level

    def measure(self, run: Run) -> Quantities:
        sweep, found = paper_sweep(self.plan), {}
        for name, question in self._questions().items():
            answered = answer(question, sweep.runs, sweep.plan)
            judged = Judgement(answered.verdict, answered.seeds_to_decide, answered.reason)
            found[name] = Answered.about(answered.difference or _UNKNOWN, _prediction(question), judged)
        return found

    def margin(self, label: str) -> Margin | None:
        question = self._questions()[label]
        return Absolute(question.margin) if question.kind == ALIKE else None

    def published(self) -> Predictions:
        return {name: _prediction(question) for name, question in self._questions().items()}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        for name, question in self._questions().items():
            yield f"worse by ten margins: {name}", {name: AtMost(-_FAR * question.margin, tightness="chosen")}
            if question.kind == ALIKE:
                yield f"better by ten margins: {name}", {name: AtLeast(_FAR * question.margin, tightness="chosen")}

    def _questions(self) -> dict[str, Question]:
        known = {question.name: question for question in paper_sweep(self.plan).plan.questions}
        return {name: known[name] for name in self.asked}


def _prediction(question: Question) -> Prediction:
    return 0.0 if question.kind == ALIKE else AtLeast(question.margin, tightness="chosen")
