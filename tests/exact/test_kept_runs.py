"""Claims on trainings that come with gradnoise, without PyTorch.

It would catch a claim that asks what its plan does not, an equivalence that holds without its positive control, an answer that
is lost on the way to the verdict, and twins that the kept runs cannot refute.
"""

import numpy as np
import pytest

from gradnoise.claims import claim as claims
from gradnoise.claims import kept_runs, registry
from gradnoise.claims.judgement import Answered, Judgement, judge
from gradnoise.claims.kept_runs import KeptRuns
from gradnoise.claims.prediction import AtLeast, AtMost
from gradnoise.claims.questions import answer
from gradnoise.simulations.statistics import Estimate
from gradnoise.simulations.sweeps import PaperSweep, Plan, SweepTable, paper_sweep

CLAIMS = {id: claim for id, claim in registry.all_claims("kept").items() if isinstance(claim, KeptRuns)}


@pytest.fixture(scope="module")
def report():
    return registry.verify(extra="kept", sabotage=True)


def test_no_claim_ends_in_an_error_and_every_twin_is_refuted(report):
    assert {entry.id for entry in report.entries} == set(CLAIMS) == set(registry.all_claims("kept"))
    assert not report.surprises() and not any(entry.failures() for entry in report.entries)
    assert all(twin.verdict == "refuted" for entry in report.entries for twin in entry.sabotaged)


@pytest.mark.parametrize("id", CLAIMS)
def test_a_verdict_is_what_the_plan_was_answered(id, report):
    (entry,) = (entry for entry in report.entries if entry.id == id)
    claim = CLAIMS[id]
    sweep = paper_sweep(claim.plan)
    asked = [question for question in sweep.plan.questions if question.name in claim.asked]
    answers = [answer(question, sweep.runs, sweep.plan) for question in asked]
    assert len(asked) == len(claim.asked)
    verdicts = {one.verdict for one in answers}
    first = next(v for v in ("refuted", "inconclusive", "holds") if v in verdicts)
    assert entry.verdict == first
    shown = {component.label: component for component in entry.components}
    for one in answers:
        component = shown[one.question.name]
        assert one.difference is not None
        assert component.n == one.difference.n
        assert component.interval == one.difference.interval(one.question.level)
        assert component.verdict == one.verdict
    headline = entry.headline()
    assert headline is not None and headline.verdict == entry.verdict


ACCURACIES = {
    "a": [0.80, 0.81, 0.82, 0.80],
    "b": [0.80, 0.812, 0.818, 0.801],
    "worse": [0.70, 0.72, 0.71, 0.69],
    "alike": [0.801, 0.811, 0.819, 0.80],
}


def _judged(monkeypatch, control):
    """Verdict of "a is as b" with a control."""
    question = {
        "name": "a is as b", "kind": "alike", "of": {"dynamics": "a"}, "against": {"dynamics": "b"}, "margin": 0.02,
        "control": {"dynamics": control},
    }  # fmt: skip
    plan = Plan.of({"seeds": 4, "runs": [{"dynamics": list(ACCURACIES)}], "questions": [question]})
    rows = [
        {"run": run.name, "seed": run.seed, "status": "finished", **run.settings,
         "test_accuracy": ACCURACIES[run.settings["dynamics"]][run.seed - 1]}
        for run in plan.runs
    ]  # fmt: skip
    monkeypatch.setattr(kept_runs, "paper_sweep", lambda name: PaperSweep(plan, SweepTable(rows)))

    class Subject(KeptRuns):
        plan, asked = "made up", ("a is as b",)

    monkeypatch.setitem(claims.CLAIMS, "wu2020.made-up", Subject())
    subject = claims.CLAIMS["wu2020.made-up"]
    for name in ("id", "statement", "kind", "source"):
        monkeypatch.setattr(subject, name, "wu2020.made-up", raising=False)
    monkeypatch.setattr(subject, "expected", None, raising=False)
    monkeypatch.setattr(subject, "corrected_statement", None, raising=False)
    monkeypatch.setattr(registry, "claim_ids", lambda extra: ["wu2020.made-up"])
    (entry,) = registry.verify("wu2020.made-up", extra="kept", sabotage=True).entries
    return entry


def test_an_equivalence_holds_where_its_control_is_worse_alone(monkeypatch):
    with monkeypatch.context() as patch:
        entry = _judged(patch, "worse")
        assert entry.verdict == "holds" and [twin.verdict for twin in entry.sabotaged] == ["refuted", "refuted"]
    with monkeypatch.context() as patch:
        entry = _judged(patch, "alike")
        assert entry.verdict == "inconclusive" and "the control is not" in str(entry.reason)


def test_an_answer_is_of_its_own_prediction_alone():
    difference = Estimate.of(np.array([0.001, 0.002, -0.001, 0.0]), normal=True)
    found = Answered.about(difference, 0.0, Judgement("inconclusive", 17, "open"))
    assert judge(found, 0.0, 0.01, 0.95) == Judgement("inconclusive", 17, "open")
    assert judge(found, 0.0001, 0.01, 0.95).verdict == "holds"
    assert judge(found, AtMost(-0.05), 0.01, 0.95).verdict == "refuted"
    better = Answered.about(difference, AtLeast(0.02, tightness="chosen"), Judgement("refuted"))
    assert judge(better, AtLeast(0.02, tightness="chosen"), 0.0, 0.95).verdict == "refuted"
    with pytest.raises(TypeError, match="judgement must be"):
        Answered.about(difference, 0.0, "holds")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="verdict must be one of holds, refuted, inconclusive, got 'not established'"):
        Answered.about(difference, 0.0, Judgement("not established"))
    with pytest.raises(TypeError, match="difference must be of class Estimate"):
        Answered.about(5, 0.0, Judgement("holds"))  # type: ignore[arg-type]
    for other in (found.resized(9), found.transformed(1.0, 5.0)):  # of which nothing was answered
        assert type(other) is Estimate
