"""Plans of sweeps and their tables, without PyTorch.

It would catch a plan whose lists are crossed wrongly or whose runs are named by their order, two runs of one name, a table whose
numbers lose digits in its file, and pairs of runs of different seeds; an answer that an equivalence without a positive control
gives, or runs that failed, or two methods that are the same run.
"""

import itertools

import numpy as np
import pytest
import scipy
from hypothesis import given
from hypothesis import strategies as st

from gradnoise.claims.questions import answer
from gradnoise.simulations.sweeps import Plan, Question, Run, SweepTable

PLAN = """
title = "batches"
seeds = 2
[settings]
experiment = "digits"
n_steps = 200
milestones = [50, 100]
[[runs]]
dynamics = ["sgd", "msgd-cov"]
batch_size = [10, 20]
[[runs]]
dynamics = "gd"
seeds = 3
milestones = [[50], [60, 70]]
"""


@pytest.fixture
def written(tmp_path):
    def write(text):
        path = tmp_path / "plan.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_a_list_stands_for_a_run_with_each_of_its_values(written):
    plan = Plan.load(written(PLAN))
    found = [(r.settings["dynamics"], r.settings.get("batch_size"), r.settings["milestones"], r.seed) for r in plan.runs]
    stochastic = [(d, b, (50, 100)) for d, b in itertools.product(("sgd", "msgd-cov"), (10, 20))]
    descent = [("gd", None, (50,)), ("gd", None, (60, 70))]
    assert found == [(*run, seed) for seed in (1, 2) for run in stochastic + descent] + [(*run, 3) for run in descent]
    assert plan.common == {"experiment": "digits", "n_steps": 200}


def test_a_run_is_named_by_what_makes_its_numbers_alone():
    run = Run({"dynamics": "sgd", "n_steps": 10}, 1)
    others = [Run({"dynamics": "gd", "n_steps": 10}, 1), Run({"dynamics": "sgd", "n_steps": 11}, 1), Run(run.settings, 2)]
    others += [Run({**run.settings, "augment": 1}, 1), Run({**run.settings, "augment": True}, 1)]
    assert run.name == Run({"n_steps": 10, "dynamics": "sgd"}, 1).name
    assert len({run.name, *(other.name for other in others)}) == 6


@pytest.mark.parametrize(("text", "message"), [
    ("", r"content must have runs, which are tables, \[\[runs\]\], got None"),
    ("runs = 3", r"content must have runs"),
    ("runs = []", r"runs must be one or more, got none"),
    ("seeds = 0\n[[runs]]\ndynamics = 'gd'", r"seeds must be .* got 0"),
    ("sedes = 3\n[[runs]]\ndynamics = 'gd'", r"alone, got sedes"),
    ("[[runs]]\ndynamics = 'gd'\n[[runs]]\ndynamics = ['sgd', 'gd']", r"runs must each be there once, got twice: dynamics gd"),
    ("[[runs]]\nbatch_size = []", r"batch_size must have a value"),
    ("[[runs]]\nbatch_size = {a = 1}", r"batch_size must be a text, a number"),
    ("[[runs]]\nbatch_size = 2026-11-27", r"batch_size must be a text, a number"),
    ("settings = 3\n[[runs]]\ndynamics = 'gd'", r"settings must be a table"),
    ("[[runs\n", r"at line 1"),
    ("questions = 1\n[[runs]]\ndynamics = 'gd'", r"questions must be tables"),
    ("[[runs]]\ndynamics = 'gd'\n[[questions]]\nname = 'a'\nkind = 'better'", r"questions: table must have of and against"),
    ("[[runs]]\ndynamics = 'gd'\n[[questions]]\nmargn = 1", r"questions: table must have .* alone, got margn"),
    ("[[runs]]\ndynamics = 'gd'\n[[questions]]\nname = 'a'\nkind = 'better'\nmargin = 0\nof = {}\nagainst = {dynamics = 'sgd'}",
     r"questions must be about runs of the plan, got 'a' about"),
])  # fmt: skip
def test_what_is_no_plan_is_named(written, text, message):
    with pytest.raises(ValueError, match=r"(?s)^path must be of a plan, got .*" + message.removeprefix("^")):
        Plan.load(written(text))


def test_a_missing_plan_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"path must be of a plan, got .*none.toml.*: No such file"):
        Plan.load(tmp_path / "none.toml")


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), min_size=1).filter(lambda text: text[0].isalpha())


@given(
    number=st.floats(),
    whole=st.integers(-(10**20), 10**20),
    text=TEXTS.filter(lambda text: text not in ("true", "false", "null", "NaN", "Infinity")),
    flag=st.booleans(),
)
def test_a_table_keeps_every_digit(tmp_path_factory, number, whole, text, flag):
    path = tmp_path_factory.mktemp("table") / "table.csv"
    row = {"run": "a", "seed": 1, "x": number, "k": whole, "name": text, "on": flag, "milestones": (1, 2)}
    SweepTable([row, {"run": "b", "seed": 2, "only": 1.5}]).save(path)
    first, second = SweepTable.load(path).rows
    assert first.pop("x") == number or np.isnan(number)
    assert first == {name: value for name, value in row.items() if name != "x"}
    assert {name: type(value) for name, value in first.items()} == {name: type(v) for name, v in row.items() if name != "x"}
    assert second == {"run": "b", "seed": 2, "only": 1.5}


def _table():
    rows = []
    for method, seed, last, status in [
        ("sgd", 1, 0.5, "finished"), ("gd", 1, 0.25, "finished"), ("sgd", 3, 0.75, "finished"), ("gd", 2, 0.9, "finished"),
        ("gd", 3, 0.125, "finished"), ("sgd", 2, 0.8, "interrupted"),
    ]:  # fmt: skip
        first = {"run": f"{method}{seed}", "seed": seed, "status": status, "dynamics": method}
        rows += [{**first, "step": 0, "test_accuracy": 0.1}, {**first, "step": 9, "test_accuracy": last}]
    return SweepTable(rows)


def test_runs_are_compared_in_pairs_of_one_seed():
    """Catches differences by place: seeds are not the same, nor in the same order, and one run has not ended."""
    table = _table()
    assert table.last("test_accuracy", dynamics="sgd") == {1: 0.5, 3: 0.75}
    assert table.paired("test_accuracy", {"dynamics": "sgd"}, {"dynamics": "gd"}).tolist() == [0.25, 0.625]
    assert table.difference("test_accuracy", {"dynamics": "sgd"}, {"dynamics": "gd"}).value == 0.4375


def test_what_a_table_cannot_tell_is_named():
    table = _table()
    with pytest.raises(ValueError, match="settings must be those of one run of each seed"):
        table.last("test_accuracy")
    with pytest.raises(ValueError, match="metric must be one that every run has, got 'accuracy'"):
        table.last("accuracy", dynamics="gd")
    with pytest.raises(ValueError, match="each of rows must have run and seed"):
        SweepTable([{"run": "a"}])


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "run,seed\na,1,2\n", "run,seed\na\n", '"run,seed\na,1'])
def test_what_is_no_table_is_named(tmp_path, text):
    path = tmp_path / "table.csv"
    path.write_text(text)
    if text == "":
        assert SweepTable.load(path).rows == ()
        return
    with pytest.raises(ValueError, match=r"path must be of a table that a sweep wrote"):
        SweepTable.load(path)


def _ended(**accuracies):
    rows = []
    for name, every in accuracies.items():
        for seed, accuracy in enumerate(every, 1):
            status = "finished" if accuracy else "failed"
            rows.append({"run": f"{name}{seed}", "seed": seed, "status": status, "dynamics": name, "test_accuracy": accuracy})
    return SweepTable(rows)


BETTER = Question("better", "better", {"dynamics": "a"}, {"dynamics": "b"}, margin=0.02)
ALIKE = Question("alike", "alike", {"dynamics": "a"}, {"dynamics": "b"}, margin=0.02, control={"dynamics": "c"})


def _around(mean, spread, n=7):
    """Accuracies with this sample mean and standard deviation."""
    z = np.sin(np.arange(1.0, n + 1) * 2.3)
    z = (z - z.mean()) / z.std(ddof=1)
    return (0.5 + mean + spread * z).tolist()


T = scipy.stats.t.ppf(0.975, 6) / 7**0.5  # half an interval of seven pairs, in units of their spread


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("inside", [0.99, 1.01])
def test_better_is_told_where_the_whole_interval_is_on_one_side(sign, inside):
    """From both sides of where Student's interval begins to contain the margin."""
    table = _ended(a=_around(0.02 + sign * 0.01, inside * 0.01 / T), b=[0.5] * 7)
    found = answer(BETTER, table)
    assert found.verdict == ("inconclusive" if inside > 1 else "holds" if sign > 0 else "refuted")
    if inside > 1:  # by a little: a few more do, with a fifth to spare
        assert found.seeds_to_decide is not None and 7 < found.seeds_to_decide < 14


@pytest.mark.parametrize(("difference", "gap", "verdict", "reason"), [
    (_around(0.004, 0.01), _around(-0.05, 0.01), "holds", None),
    (_around(0.004, 0.01), _around(-0.05, 0.06), "inconclusive", "the control is not shown to be worse by the margin"),
    (_around(0.004, 0.01), _around(-0.004, 0.01), "inconclusive", "the control is not worse by the margin"),
    (_around(0.004, 0.01), [], "inconclusive", "no seed has the control"),
    (_around(0.004, 0.05), _around(-0.05, 0.01), "inconclusive", "the interval is not within the margin"),
    (_around(0.05, 0.01), _around(-0.05, 0.01), "refuted", None),
    (_around(-0.05, 0.01), [], "refuted", None),
])  # fmt: skip
def test_alike_needs_a_control_that_is_worse(difference, gap, verdict, reason):
    found = answer(ALIKE, _ended(a=difference, b=[0.5] * 7, c=gap))
    assert found.verdict == verdict
    assert (found.reason or "").startswith(reason or "") and (found.reason is None) == (reason is None)
    told = ("the control is not shown to be worse by the margin", "the interval is not within the margin")
    assert (found.seeds_to_decide is not None) == (reason in told)


def test_nothing_is_decided_by_a_selection_or_without_a_spread():
    right = {"a": _around(0.004, 0.01), "b": [0.5] * 7, "c": _around(-0.05, 0.01)}
    assert answer(ALIKE, _ended(**right)).verdict == "holds"
    for name in right:
        diverged = answer(ALIKE, _ended(**{**right, name: [*right[name][:-1], None]}))
        assert diverged.verdict == "inconclusive" and "runs of seeds 7 failed" in str(diverged.reason)
    same = answer(BETTER, _ended(a=[0.6] * 7, b=[0.5] * 7))
    assert same.verdict == "inconclusive" and same.reason == "no spread between seeds was seen"
    assert answer(BETTER, _ended(a=[0.6], b=[0.5])).verdict == "inconclusive"


@pytest.mark.parametrize(("changes", "message"), [
    ({"kind": "worse"}, "kind must be one of better, alike"),
    ({"kind": "alike"}, "control must be given of alike"),
    ({"control": {"dynamics": "c"}}, "control must be given of alike, and only of it"),
    ({"kind": "alike", "control": {"dynamics": "c"}, "margin": 0}, "margin must be > 0 of alike"),
    ({"margin": -0.1}, "margin must be >= 0"),
    ({"level": 1.0}, "level must be"),
    ({"of": 3}, "of must be a table of settings"),
])  # fmt: skip
def test_what_is_no_question_is_named(changes, message):
    asked = {"name": "a", "kind": "better", "of": {"dynamics": "a"}, "against": {"dynamics": "b"}, "margin": 0.02}
    with pytest.raises((TypeError, ValueError), match=message):
        Question.of_table({**asked, **changes})
