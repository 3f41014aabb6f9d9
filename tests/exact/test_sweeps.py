"""Plans of sweeps and their tables, without PyTorch.

It would catch a plan whose lists are crossed wrongly or whose runs are named by their order, two runs of one name, a table whose
numbers lose digits in its file, and pairs of runs of different seeds; an answer that an equivalence without a positive control
gives, or runs that failed, or two methods that are the same run.
"""

import itertools
import math

import numpy as np
import pytest
import scipy
from hypothesis import given
from hypothesis import strategies as st

from gradnoise.claims.questions import answer
from gradnoise.simulations.sweeps import PAPER_SWEEPS, Plan, Question, Run, SweepTable, paper_sweep

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


def test_a_plan_that_is_too_long_is_named_before_it_is_made():
    """Catches lists whose product fills the memory, and a search for doubles that takes hours."""
    lists = {name: list(range(1, 11)) for name in ("n_steps", "batch_size", "every", "decay", "alpha", "learning_rate")}
    with pytest.raises(ValueError, match="runs must be at most 100,000 in all, got 1,000,000"):
        Plan.of({"runs": [{"experiment": "digits", **lists}]})
    with pytest.raises(ValueError, match=r"seeds must be .*100,?000"):
        Plan.of({"seeds": 10**6, "runs": [{"experiment": "digits"}]})
    assert len(Plan.of({"seeds": 20_000, "runs": [{"experiment": "digits"}]}).runs) == 20_000


def test_a_question_about_several_runs_of_a_seed_is_named():
    asked = {"name": "q", "kind": "better", "of": {"dynamics": "sgd"}, "against": {"dynamics": "gd"}, "margin": 0.01}
    runs = [{"dynamics": "sgd", "batch_size": [10, 20]}, {"dynamics": "gd"}]
    with pytest.raises(
        ValueError, match=r"questions must be about one run of each seed, got 'q' about .*'sgd'}, which several have"
    ):
        Plan.of({"runs": runs, "questions": [asked]})


def test_settings_of_which_runs_are_asked_are_named():
    """As those of a plan: a list is one of them, and what is no table, or has no text for a name, is refused."""
    plan = Plan.of({"runs": [{"milestones": [5, 9]}, {"milestones": [7]}]})
    assert plan.runs_with({"milestones": [5, 9]}) == [plan.runs[0]] and plan.runs_with({"milestones": 5}) == []
    for settings, message in ((None, "must be a table"), ("x", "must be a table"), (dict, "must be a table"),
                              ({"x": math.nan}, ": x must be finite"), ({"x": None}, ": x must be a text")):  # fmt: skip
        with pytest.raises((TypeError, ValueError), match=f"^settings ?{message}"):
            plan.runs_with(settings)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"^each of settings must be a string, got 1"):  # which has no place among texts
        plan.runs_with({"x": 1, 1: "x"})  # type: ignore[dict-item]


def test_a_missing_plan_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"path must be of a plan, got .*none.toml.*: No such file"):
        Plan.load(tmp_path / "none.toml")


TEXTS = st.text(st.characters(codec="utf-8")) | st.sampled_from(
    ["true", "10", "null", "NaN", "[1]", '"a"', " 1 ", "a\rb", "a\0b"]
)


@given(number=st.floats(), whole=st.integers(-(10**20), 10**20), text=TEXTS, flag=st.booleans())
def test_a_table_keeps_every_digit(tmp_path_factory, number, whole, text, flag):
    path = tmp_path_factory.mktemp("table") / "table.csv"
    row = {"run": "a", "seed": 1, "x": number, "k": whole, "name": text, "on": flag, "lists": ((1, 2), (text,))}
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
    assert table.read("test_accuracy", {"dynamics": "sgd"}) == {1: 0.5, 3: 0.75}
    assert table.paired("test_accuracy", {"dynamics": "sgd"}, {"dynamics": "gd"}).tolist() == [0.25, 0.625]
    assert table.difference("test_accuracy", {"dynamics": "sgd"}, {"dynamics": "gd"}).value == 0.4375


def _courses():
    """Three seeds of two methods; one loss rises again, one seed stays above .3, and records are at other steps."""
    losses = {
        "sgd": {1: [2.0, 0.4, 0.9, 0.1], 2: [2.0, 0.3, 0.2, 0.1], 3: [2.0, 1.5, 0.2, 0.1]},
        "gd": {1: [2.0, 1.0, 0.4], 2: [2.0, 0.5, 0.4], 3: [2.0, 0.3, 0.25]},
    }
    return SweepTable([
        {"run": f"{name}{seed}", "seed": seed, "dynamics": name, "step": {"sgd": 10, "gd": 7}[name] * k, "train_loss": loss,
         "test_accuracy": 0.5 + 0.01 * k * seed + (name == "gd") * 0.001}
        for name, seeds in losses.items() for seed, course in seeds.items() for k, loss in enumerate(course)
    ])  # fmt: skip


@pytest.mark.parametrize(("at", "sgd", "gd"), [
    ({"train_loss": 0.4}, {1: 10, 2: 10, 3: 20}, {1: 14, 2: 14, 3: 7}),
    ({"train_loss": 0.3}, {1: 30, 2: 10, 3: 20}, {3: 7}),
    ({"train_loss": 0.05}, {}, {}),
    ({"step": 7}, {1: 10, 2: 10, 3: 10}, {1: 7, 2: 7, 3: 7}),
    ({"step": 7.5}, {1: 10, 2: 10, 3: 10}, {1: 14, 2: 14, 3: 14}),
    ({"step": 30}, {1: 30, 2: 30, 3: 30}, {}),
    (None, {1: 30, 2: 30, 3: 30}, {1: 14, 2: 14, 3: 14}),
])  # fmt: skip
def test_a_record_is_that_where_the_training_has_come_so_far(at, sgd, gd):
    """Catches the wrong direction, a record before or behind, and a run that never came so far but counts."""
    table = _courses()
    for name, expected in {"sgd": sgd, "gd": gd}.items():
        assert table.read("step", {"dynamics": name}, at=at) == expected
        assert at is None or table.unreached(at, {"dynamics": name}) == {1, 2, 3} - expected.keys()


def test_a_question_is_answered_where_it_says_and_not_of_those_that_came_so_far_alone():
    asked = {"name": "a", "kind": "better", "of": {"dynamics": "sgd"}, "against": {"dynamics": "gd"}, "margin": 0.0}
    found = answer(Question.of_table({**asked, "at": {"train_loss": 0.4}}), _courses())
    assert found.difference is not None
    assert found.difference.value == pytest.approx(np.mean([0.01 - 0.021, 0.02 - 0.041, 0.06 - 0.031]))
    some = answer(Question.of_table({**asked, "at": {"train_loss": 0.3}}), _courses())
    assert some.verdict == "inconclusive"
    assert some.reason == "runs of seeds 1, 2 did not come so far, and the others are a selection"


def test_what_a_table_cannot_tell_is_named():
    table = _table()
    with pytest.raises(ValueError, match="settings must be those of one run of each seed"):
        table.read("test_accuracy")
    with pytest.raises(ValueError, match="settings must be those of one run of each seed"):  # of which has a seed finished?
        table.finished()
    with pytest.raises(ValueError, match="metric must be one that every run has, got 'accuracy'"):
        table.read("accuracy", {"dynamics": "gd"})
    with pytest.raises(ValueError, match="each of rows must have run and seed"):
        SweepTable([{"run": "a"}])
    with pytest.raises(ValueError, match=r"settings must be of run, seed, .*, got dynamic"):
        table.read("test_accuracy", {"dynamic": "gd"})
    with pytest.raises(TypeError, match="dynamics of seed 1 must be a real number, got 'gd'"):
        table.read("dynamics", {"dynamics": "gd"})
    with pytest.raises(ValueError, match="at must be of a number that each record has, got train_loss, None"):
        table.read("test_accuracy", {"dynamics": "gd"}, at={"train_loss": 0.1})


def test_a_list_is_a_setting_as_in_a_plan_and_any_name_may_be_one():
    table = SweepTable([{"run": "a", "seed": 1, "milestones": (5, 9), "at": 3, "metric": "x", "test_accuracy": 0.5}])
    assert table.read("test_accuracy", {"milestones": [5, 9], "at": 3, "metric": "x"}) == {1: 0.5}


def test_a_loss_that_is_not_a_number_has_not_fallen():
    table = SweepTable([{"run": "a", "seed": 1, "step": k, "train_loss": x} for k, x in enumerate((2.0, math.nan, 0.1))])
    assert table.read("step", at={"train_loss": 0.5}) == {1: 2}


def test_numbers_of_numpy_are_those_of_python(tmp_path):
    SweepTable([{"run": "a", "seed": np.int64(3), "x": np.float32(0.5), "on": np.bool_(True)}]).save(tmp_path / "table.csv")
    assert SweepTable.load(tmp_path / "table.csv").rows == ({"run": "a", "seed": 3, "x": 0.5, "on": True},)


NO_TABLES = {
    "": "its last line is cut off",
    "a,b\n1,2\n": "each of rows must have run and seed",
    "run,seed\na,1,2\n": "more or fewer cells",
    "run,seed\na\n": "more or fewer cells",
    '"run,seed\na,1': "its last line is cut off",
    "run,seed,x\na,1,12": "its last line is cut off",
    "run,seed,x,x\na,1,2,3\n": "there are two columns x",
    "run,seed,status\na,1,finishde\n": "status must be one of waiting, interrupted, finished, failed, got 'finishde'",
    'run,seed\na,"[1]"\n': "seed must be",
    "run,seed\na,x\n": "seed must be",
    "run,seed\n[1],1\n": "run must be",
    "run,seed,step\na,1,9\na,1,0\n": "rows of run a must have growing steps, got 0 behind 9",
    "run,seed,step\na,1,0\nb,1,0\na,1,9\n": "rows of run a must follow each other, got some behind those of b",
    'run,seed,x\na,1,"{""a"": 1}"\n': "x must be a text, a number, a flag",
}


@pytest.mark.parametrize("text", NO_TABLES)
def test_what_is_no_table_is_named(tmp_path, text):
    path = tmp_path / "table.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=NO_TABLES[text]):
        SweepTable.load(path)
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
    none = answer(ALIKE, _ended(**{**right, "a": [None] * 7}))
    assert none.difference is None and "runs of seeds 1, 2, 3, 4, 5, 6, 7 failed" in str(none.reason)
    same = answer(BETTER, _ended(a=[0.6] * 7, b=[0.5] * 7))
    assert same.verdict == "inconclusive" and same.reason == "no spread between seeds was seen"
    assert answer(BETTER, _ended(a=[0.6], b=[0.5])).verdict == "inconclusive"


def test_a_control_without_a_spread_decides_nothing():
    question = Question("q", "alike", {"dynamics": "a"}, {"dynamics": "b"}, margin=0.1, control={"dynamics": "c"})
    spread = {"a": [0.80, 0.81, 0.82], "b": [0.81, 0.80, 0.82]}
    assert answer(question, _ended(**spread, c=[0.31, 0.305, 0.30])).verdict == "holds"
    found = answer(question, _ended(**spread, c=[0.31, 0.30, 0.32]))
    assert found.verdict == "inconclusive" and found.reason == "no spread between seeds was seen of the control"


def test_a_plan_has_runs_of_what_is_asked():
    question = Question("q", "better", {"dynamics": "a"}, {"dynamics": "b"}, margin=0.1)
    with pytest.raises(ValueError, match=r"plan must have runs of all that is asked of, which it has not of \{'dynamics': 'a'\}"):
        answer(question, _ended(a=[0.8], b=[0.7]), Plan.of({"runs": [{"experiment": "digits"}]}))
    with pytest.raises(TypeError, match="plan must be of class Plan, got 3"):
        answer(question, _ended(a=[0.8], b=[0.7]), 3)  # type: ignore[arg-type]


def test_nothing_is_decided_before_all_runs_of_a_plan_have_ended():
    """Catches an answer that is found by looking again and again; runs of which nothing is asked may still wait."""
    plan = Plan.of({"seeds": 8, "runs": [{"dynamics": ["a", "b"]}, {"dynamics": "c", "seeds": 9}]})
    for n, verdict in ((7, "inconclusive"), (8, "holds")):
        found = answer(BETTER, _ended(a=_around(0.05, 0.01, n), b=[0.5] * n), plan)
        assert found.verdict == verdict and found.difference is not None
        assert found.reason == (None if n == 8 else "7 of 8 seeds have ended, and all are to be there before it is answered")
    others = answer(BETTER, _ended(a=_around(0.05, 0.01, 9)[1:], b=[0.5] * 8), plan)
    assert others.verdict == "holds"
    early = answer(Question("x", "better", {"dynamics": "a"}, {"dynamics": "b", "alpha": 2.0}, margin=0.0), _ended(a=[0.5]))
    assert early.verdict == "inconclusive" and early.reason == "no run of one of the methods is there"


@pytest.mark.parametrize(("changes", "message"), [
    ({"kind": "worse"}, "kind must be one of better, alike"),
    ({"kind": "alike"}, "control must be given of alike"),
    ({"control": {"dynamics": "c"}}, "control must be given of alike, and only of it"),
    ({"kind": "alike", "control": {"dynamics": "c"}, "margin": 0}, "margin must be > 0 of alike"),
    ({"margin": -0.1}, "margin must be >= 0"),
    ({"level": 1.0}, "level must be"),
    ({"of": 3}, "of must be a table of settings"),
    ({"at": 0.5}, "at must be a table of step, train_loss, got 0.5"),
    ({"at": {}}, "at must have one of step, train_loss"),
    ({"at": {"step": 1, "train_loss": 1}}, "at must have one of step, train_loss"),
    ({"at": {"test_accuracy": 0.5}}, "at must have step, train_loss alone, got test_accuracy"),
    ({"at": {"step": -1}}, "at: step must be >= 0"),
])  # fmt: skip
def test_what_is_no_question_is_named(changes, message):
    asked = {"name": "a", "kind": "better", "of": {"dynamics": "a"}, "against": {"dynamics": "b"}, "margin": 0.02}
    with pytest.raises((TypeError, ValueError), match=message):
        Question.of_table({**asked, **changes})


@pytest.mark.parametrize("name", PAPER_SWEEPS)
def test_kept_runs_are_runs_of_their_plan_as_it_is_now(name):
    """Catches a plan that was changed behind its results, and a result of another one."""
    sweep = paper_sweep(name)
    plan, table = sweep.plan, sweep.runs
    known = {run.name: run for run in plan.runs}
    kept = {row["run"]: row for row in table.rows}
    assert kept.keys() <= known.keys()
    for run, row in kept.items():
        assert {key: row[key] for key in known[run].settings} == known[run].settings and row["seed"] == known[run].seed
        assert row["status"] in ("finished", "failed")
    experiments = {row["experiment"] for row in table.rows}
    assert set(sweep.made_with.get("data", {})) == experiments
    assert all(made.keys() >= {"torch", "gradnoise", "machine"} for made in sweep.made_with.get("versions", []))
    assert bool(sweep.made_with.get("versions")) == bool(table.rows)


def test_a_plan_that_does_not_come_with_it_is_named():
    with pytest.raises(ValueError, match=r"name must be one of .*wu2020-fig1.*, got 'wu2020-fig9'"):
        paper_sweep("wu2020-fig9")
