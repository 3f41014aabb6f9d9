"""Plans of sweeps and their tables, without PyTorch.

It would catch a plan whose lists are crossed wrongly or whose runs are named by their order, two runs of one name, a table whose
numbers lose digits in its file, and pairs of runs of different seeds.
"""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradnoise.simulations.sweeps import Plan, Run, SweepTable

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
    ("", r"runs must be tables, \[\[runs\]\], got None"),
    ("runs = 3", r"runs must be tables"),
    ("runs = []", r"runs must be one or more, got none"),
    ("seeds = 0\n[[runs]]\ndynamics = 'gd'", r"seeds must be .* got 0"),
    ("sedes = 3\n[[runs]]\ndynamics = 'gd'", r"alone, got sedes"),
    ("[[runs]]\ndynamics = 'gd'\n[[runs]]\ndynamics = ['sgd', 'gd']", r"runs must each be there once, got twice: dynamics gd"),
    ("[[runs]]\nbatch_size = []", r"batch_size must have a value"),
    ("[[runs]]\nbatch_size = {a = 1}", r"batch_size must be a text, a number"),
    ("[[runs]]\nbatch_size = 2026-11-27", r"batch_size must be a text, a number"),
    ("settings = 3\n[[runs]]\ndynamics = 'gd'", r"settings must be a table"),
    ("[[runs\n", r"at line 1"),
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
