"""Sweeps of small networks.

It would catch a sweep that repeats a finished run or gives other numbers when it was cut off or has more workers, a run whose
error ends the others or that begins elsewhere than at the minimum of its seed, a store of other data, and a sitting that goes
on when its time is over.
"""

import json
import re
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch

from gradnoise.simulations.neural import sweeps
from gradnoise.simulations.neural.devices import threads
from gradnoise.simulations.neural.experiments import EXPERIMENTS, facts_of
from gradnoise.simulations.neural.experiments import run as train_here
from gradnoise.simulations.neural.sweep_states import State, made_with, states
from gradnoise.simulations.neural.sweeps import check_plan, sweep
from gradnoise.simulations.sweeps import Plan, Run, SweepTable, paper_sweep

from .test_comparison import write_fashion
from .test_training import command

SETTINGS = {"experiment": "digits", "n_steps": 30, "every": 10}


def _plan(*runs, seeds=2, **settings):
    return Plan.of({"title": "t", "seeds": seeds, "settings": {**SETTINGS, **settings}, "runs": [*runs]})


PLAN = _plan({"dynamics": "sgd", "batch_size": [5, 11]}, {"dynamics": "gd", "seeds": 1})


def train(*args, **kwargs):
    """A run by itself on one core, as a sweep has it: sums of two threads differ in their last digits."""
    with threads(1):
        return train_here(*args, **kwargs)


def _numbers(table):
    return [{name: value for name, value in row.items() if name != "seconds"} for row in table.rows]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return sweep(PLAN, tmp_path_factory.mktemp("whole"), device="cpu", n_jobs=1)


def test_a_run_of_a_sweep_is_that_run_by_itself(whole, tmp_path):
    alone = train("digits", "sgd", n_steps=30, every=10, batch_size=11, rng=2, device="cpu")
    rows = [row for row in whole.rows if (row["dynamics"], row.get("batch_size"), row["seed"]) == ("sgd", 11, 2)]
    assert [{name: row[name] for name in alone[0]} for row in rows] == alone
    assert len(whole.rows) == 5 * 4


def test_data_and_versions_lie_beside_the_table(tmp_path):
    plan = _plan({"dynamics": "sgd", "n_steps": 2}, seeds=1)
    sweep(plan, tmp_path, device="cpu", n_jobs=1)
    found = json.loads((tmp_path / "made_with.json").read_text(encoding="utf-8"))
    assert found["data"] == {"digits": facts_of(EXPERIMENTS["digits"])}
    assert [made["torch"] for made in found["versions"]] == [torch.__version__]
    assert made_with(states(plan, tmp_path)) == found  # as read again
    for wrong in (None, "states", [1]):
        with pytest.raises(TypeError, match="found must be"):
            made_with(wrong)  # type: ignore[arg-type]


def test_workers_change_no_number(whole, tmp_path):
    assert _numbers(sweep(PLAN, tmp_path, device="cpu", n_jobs=2)) == _numbers(whole)


FASHION = _plan({"dynamics": "sgd"}, experiment="fashion", n_steps=1, every=1)


def test_workers_that_live_train_on_the_folder_that_their_caller_means_now(tmp_path, monkeypatch):
    places = [write_fashion(tmp_path / name / "data", seed) for seed, name in enumerate("ab")]
    expected = [_numbers(sweep(FASHION, place / "one", device="cpu", data_folder=place, n_jobs=1)) for place in places]
    assert expected[0] != expected[1]
    for place, numbers in zip(places, expected, strict=True):
        monkeypatch.chdir(place.parent)
        assert _numbers(sweep(FASHION, place / "two", device="cpu", data_folder="data", n_jobs=2)) == numbers
    for place, numbers in zip(places, expected, strict=True):
        monkeypatch.setenv("GRADNOISE_DATA", str(place))
        assert _numbers(sweep(FASHION, place / "three", device="cpu", n_jobs=2)) == numbers


def test_a_relative_store_is_the_same_folder_for_workers_elsewhere(tmp_path, monkeypatch):
    plan, begun = _plan({"dynamics": "sgd"}, n_steps=1, every=1), []
    for name in "ab":
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        sweep(plan, "store", device="cpu", n_jobs=2)
        assert all((tmp_path / name / "store" / "runs" / run.name / "run.json").is_file() for run in plan.runs)
    sweep(plan, "store", device="cpu", n_jobs=2, tell=begun.append)
    assert begun == []


def test_a_run_on_data_that_have_become_other_ones_fails(tmp_path):
    place = write_fashion(tmp_path / "data", 1)
    sweep(FASHION, tmp_path / "store", device="cpu", data_folder=place, n_jobs=1, tell=lambda line: write_fashion(place, 2))
    for state in states(FASHION, tmp_path / "store"):
        assert state.status == "failed" and not state.records
        assert "facts must be of the data of fashion-mnist" in str(state.error)


def test_what_is_finished_is_not_computed_again(whole, tmp_path, monkeypatch):
    first = sweep(_plan({"dynamics": "sgd", "batch_size": 5}, seeds=1), tmp_path, device="cpu", n_jobs=1)
    begun = []
    sweep(PLAN, tmp_path, device="cpu", n_jobs=1, tell=begun.append)
    assert sum(line.startswith("begins: ") for line in begun) == 4
    table = SweepTable.load(tmp_path / "table.csv")
    assert _numbers(table) == _numbers(whole)
    assert table.rows[:4] == first.rows  # with the seconds that it took then
    assert sweep(PLAN, tmp_path, device="cpu", n_jobs=1, tell=begun.append).rows == table.rows
    assert len([line for line in begun if line.startswith("begins: ")]) == 4


def test_a_sweep_that_is_killed_goes_on_with_the_same_numbers(tmp_path):
    """Killed at moments from its start to its end, until it has finished."""
    plan = tmp_path / "plan.toml"
    settings = "\n".join(f"{name} = {json.dumps(value)}" for name, value in {**SETTINGS, "n_steps": 300}.items())
    plan.write_text(f"seeds = 2\n[settings]\n{settings}\n[[runs]]\ndynamics = ['sgd', 'msgd-cov']\n")
    call = [sys.executable, "-m", "gradnoise", "sweep", str(plan), "--jobs", "1", "--device", "cpu"]
    killed = 0
    for attempt in range(30):
        running = subprocess.Popen([*call, "--store", str(tmp_path / "a")], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        deadline = time.monotonic() + 4 + attempt
        while running.poll() is None and time.monotonic() < deadline:
            if _some_checkpoint(tmp_path / "a", killed):
                break
            time.sleep(0.05)
        if running.poll() is None:
            running.send_signal(signal.SIGKILL)
            killed += 1
        running.communicate()
        if killed >= 2:
            break
    for store in ("a", "b"):
        done = subprocess.run([*call, "--store", str(tmp_path / store)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    tables = [SweepTable.load(tmp_path / store / "table.csv") for store in ("a", "b")]
    assert killed >= 1
    assert _numbers(tables[0]) == _numbers(tables[1])
    assert len(tables[0].read("step", {"dynamics": "sgd"})) == 2


def _some_checkpoint(store, more_than):
    """Whether a run is in its middle."""
    lines = [len(file.read_text().splitlines()) for file in store.glob("runs/*/metrics.jsonl")]
    return sum(lines) > 4 * more_than + 1


DESCENT = {"descent_steps": 20, "descent_rate": 0.2}


def test_runs_begin_where_one_gradient_descent_of_their_seed_has_ended(tmp_path):
    plan = _plan({"dynamics": ["sgd", "gld_const"]}, measured=["sharpness", "noise"], n_probes=3, **DESCENT)
    begun = []
    table = sweep(plan, tmp_path / "sweep", device="cpu", n_jobs=1, tell=begun.append)
    shown = [line for line in begun if line.startswith("begins: ")]
    assert ["dynamics gd" in line for line in shown] == [True, False, False] * 2  # each before the runs of its seed
    assert all(f"seed {seed}" in line for seed, line in zip([1, 1, 1, 2, 2, 2], shown, strict=True))
    at_once = sweep(plan, tmp_path / "at once", device="cpu", n_jobs=2)  # where one waits for what the other computes
    assert _numbers(at_once) == _numbers(table)
    minimum, here = tmp_path / "minimum", {"rng": 2, "device": "cpu"}
    descent = train("digits", "gd", n_steps=20, every=20, learning_rate=0.2, folder=minimum, **here)
    assert descent[-1]["train_loss"] < descent[0]["train_loss"]
    alone = train(
        "digits", "gld_const", n_steps=30, every=10, start=minimum, measured=["sharpness", "noise"], n_probes=3, **here
    )  # fmt: skip
    rows = [row for row in table.rows if (row["dynamics"], row["seed"]) == ("gld_const", 2)]
    assert [{name: row[name] for name in alone[0]} for row in rows] == alone
    assert {"sharpness", "trace_covariance"} < set(alone[0])
    assert alone[0]["train_loss"] == descent[-1]["train_loss"]
    sgd = next(row for row in table.rows if (row["dynamics"], row["seed"]) == ("sgd", 2))
    assert sgd["sharpness"] == rows[0]["sharpness"]  # all dynamics have the same probes


def test_what_would_begin_where_a_descent_has_failed_has_failed_too(tmp_path):
    plan = _plan({"dynamics": "sgd"}, {"dynamics": "sgd", "descent_steps": 20, "descent_rate": 1e30}, seeds=1)
    table = sweep(plan, tmp_path, device="cpu", n_jobs=1)
    assert [row["status"] for row in table.rows] == ["finished"] * 4 + ["failed"]
    made = json.loads((tmp_path / "made_with.json").read_text(encoding="utf-8"))
    assert list(made["data"]) == ["digits"] and made["data"]["digits"] and len(made["versions"]) == 1
    errors = [state.error or "" for state in states(plan, tmp_path)]
    assert errors[0] == "" and errors[1].startswith("gradient descent before it: ")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"descent_steps": 20}, "settings must have descent_rate, which"),
        ({"descent_rate": 0.1}, "settings must have descent_steps, which"),
        ({"descent_steps": "20", "descent_rate": 0.1}, "descent_steps must be"),
        ({"descent_steps": 20, "descent_rate": 0}, "descent_rate must be > 0"),
        ({"n_probes": 0}, "n_probes must be >= 1"),
        ({"measured": "flatness"}, "measured must be a tuple of names, got 'flatness'"),
        ({"measured": ["flatness"]}, "measured must be one of sharpness, noise, escape, got 'flatness'"),
    ],
)
def test_what_begins_nowhere_and_measures_nothing_is_named_before_anything_begins(settings, message):
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        check_plan(_plan({"dynamics": "sgd"}, **settings))


def test_a_run_that_raises_ends_alone_and_is_tried_again(tmp_path):
    plan = _plan({"dynamics": "sgd", "learning_rate": [0.1, 1e30]}, seeds=1)
    said = []
    table = sweep(plan, tmp_path, device="cpu", n_jobs=1, tell=said.append)
    right, wrong = states(plan, tmp_path)
    assert (right.status, wrong.status) == ("finished", "failed")
    assert "the loss must stay finite" in str(wrong.error)
    assert any(line.startswith("failed: learning_rate 1e+30, seed 1: ValueError: the loss") for line in said)
    assert list(table.read("step")) == [1]
    said.clear()
    sweep(plan, tmp_path, device="cpu", n_jobs=1, tell=said.append)
    assert sum(line.startswith("begins") for line in said) == 1


def test_a_sitting_ends_behind_a_record_and_the_next_goes_on(tmp_path, monkeypatch):
    """With a clock that has every step take a minute, so that a sitting of 25 of them has two records of ten steps."""
    plan, now = _plan({"dynamics": "sgd"}, seeds=1), [0.0]

    class Clock(sweeps._Clock):
        def __call__(self, done, total):
            now[0] += 60
            super().__call__(done, total)

    monkeypatch.setattr(sweeps, "_Clock", Clock)
    monkeypatch.setattr("gradnoise.simulations.neural.sweeps.time.time", lambda: now[0])
    monkeypatch.setattr(sweeps, "parallel_config", lambda backend: nullcontext())  # in this process
    sweep(plan, tmp_path, device="cpu", n_jobs=1, minutes=25)
    (state,) = states(plan, tmp_path)
    assert (state.status, [record["step"] for record in state.records]) == ("interrupted", [0, 10, 20])
    assert now[0] == 21 * 60
    table = sweep(plan, tmp_path, device="cpu", n_jobs=1)
    monkeypatch.undo()
    assert _numbers(table) == _numbers(sweep(plan, tmp_path / "whole", device="cpu", n_jobs=1))


def test_no_run_begins_when_the_time_is_over_and_one_that_is_too_long_is_announced(tmp_path, monkeypatch):
    plan, said = _plan({"dynamics": "sgd"}, seeds=2), []
    sweep(_plan({"dynamics": "sgd"}, seeds=1), tmp_path, device="cpu", n_jobs=1)
    (file,) = tmp_path.glob("runs/*/run.json")
    replace(states(plan, tmp_path)[0], seconds=7_200.0).save(file.parent)
    sweep(plan, tmp_path, device="cpu", n_jobs=1, minutes=1e-9, tell=said.append)
    assert said == []
    sweep(plan, tmp_path, device="cpu", n_jobs=1, minutes=60, tell=said.append)
    assert re.match(r"begins: seed 2; it takes some 2.0 h in all, and \S+ min are left: the next call goes on with it$", said[0])


def test_a_store_of_other_data_is_refused(tmp_path):
    plan = _plan({"dynamics": "gd"}, seeds=1)
    sweep(plan, tmp_path, device="cpu", n_jobs=1)
    (file,) = tmp_path.glob("runs/*/run.json")
    (state,) = states(plan, tmp_path)
    state.data["sha256"] = "of other images"
    state.save(file.parent)
    with pytest.raises(ValueError, match="store must be of runs on the same data"):
        sweep(plan, tmp_path, device="cpu", n_jobs=1)


def test_a_store_that_cannot_be_is_named(tmp_path):
    for name in ("x" * 300, "file/below"):
        (tmp_path / "file").touch()
        with pytest.raises(ValueError, match="store must be a folder that can be written, got"):
            sweep(PLAN, tmp_path / name, device="cpu", n_jobs=1)


def test_a_damaged_state_is_made_anew_from_the_checkpoint(tmp_path):
    plan = _plan({"dynamics": "gd"}, seeds=1)
    table = sweep(plan, tmp_path, device="cpu", n_jobs=1)
    (file,) = tmp_path.glob("runs/*/run.json")
    file.write_text(file.read_text().replace('"status": "finished"', '"status": "finishEd"'))
    assert [state.status for state in states(plan, tmp_path)] == ["waiting"]
    assert _numbers(sweep(plan, tmp_path, device="cpu", n_jobs=1)) == _numbers(table)


def test_facts_of_a_state_are_named_where_they_are_not_finite():
    """Of a NaN it would say at each sitting that the data are others: it does not equal itself."""
    for name in ("data", "versions"):
        for value in (float("nan"), float("inf")):
            with pytest.raises(ValueError, match=f"^{name} must be of finite numbers, got"):
                replace(State(Run({"experiment": "digits"}, 1)), **{name: {"x": [value]}})


def test_folders_of_runs_that_were_exchanged_are_not_taken(tmp_path):
    plan = _plan({"dynamics": ["gd", "sgd"], "n_steps": 2}, seeds=1)
    before = _numbers(sweep(plan, tmp_path, device="cpu", n_jobs=1))
    one, other = (tmp_path / "runs" / run.name for run in plan.runs)
    one.rename(tmp_path / "aside")
    other.rename(one)
    (tmp_path / "aside").rename(other)
    assert [state.status for state in states(plan, tmp_path)] == ["waiting", "waiting"]
    after = sweep(plan, tmp_path, device="cpu", n_jobs=1)
    assert {row["status"] for row in after.rows} == {"failed"} and "sgd" in str(states(plan, tmp_path)[0].error)
    assert _numbers(after) != before


def test_a_run_whose_files_are_damaged_does_not_end_the_others(tmp_path):
    plan = _plan({"dynamics": "sgd", "n_steps": 4, "every": 2}, seeds=3)
    first = Plan(plan.title, plan.runs[:1])
    sweep(first, tmp_path, device="cpu", n_jobs=1)
    folder = tmp_path / "runs" / plan.runs[0].name
    (folder / "run.json").write_text(100_000 * "[")
    (folder / "metrics.jsonl").write_text('{"step": 0')
    for path in folder.glob("*.pt"):
        path.write_bytes(path.read_bytes()[:100])
    table = sweep(plan, tmp_path, device="cpu", n_jobs=1)
    assert {row["seed"]: row["status"] for row in table.rows} == {1: "failed", 2: "finished", 3: "finished"}


@pytest.mark.parametrize(("settings", "message"), [
    ({"dynamics": "gd", "learning_rte": 0.1}, "settings must be of experiment, .*got learning_rte"),
    ({"dynamics": "gd", "device": "cpu"}, "settings must be of experiment, .*got device"),
    ({"experiment": "no"}, "experiment must be one of"),
])  # fmt: skip
def test_a_setting_that_is_none_of_a_training_is_named_before_anything_begins(tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        sweep(_plan(settings, seeds=1), tmp_path, device="cpu", n_jobs=1)
    assert not list(tmp_path.iterdir())


def test_a_plan_needs_what_a_training_needs(tmp_path):
    with pytest.raises(ValueError, match="settings must have experiment and n_steps"):
        sweep(Plan.of({"runs": [{"dynamics": "gd"}]}), tmp_path, device="cpu")


@pytest.mark.parametrize(("changes", "message"), [
    ({"metric": "test_acuracy"}, "questions must be of train_loss, train_accuracy, test_accuracy, got 'test_acuracy' in 'q', of"),
    ({"at": {"step": 31}}, "questions must be of steps that runs have, got 31 in 'q', of runs of 30"),
])  # fmt: skip
def test_a_question_that_no_run_can_answer_is_named_before_anything_begins(changes, message, tmp_path, monkeypatch, capsys):
    asked = {"name": "q", "kind": "better", "of": {"dynamics": "sgd"}, "against": {"dynamics": "gd"}, "margin": 0.0, **changes}
    runs = [{"dynamics": "sgd", "n_steps": 40}, {"dynamics": "gd", "n_steps": 30}]
    content = {"settings": {"experiment": "digits"}, "runs": runs, "questions": [asked]}
    with pytest.raises(ValueError, match=message):
        sweep(Plan.of(content), tmp_path / "store", device="cpu")
    assert not (tmp_path / "store").exists()
    check_plan(Plan.of({**content, "questions": [{**asked, "metric": "train_loss", "at": {"step": 30}}]}))


@pytest.mark.parametrize("minutes", [0, -1, float("nan"), "3"])
def test_minutes_must_be_a_time(tmp_path, minutes):
    with pytest.raises((TypeError, ValueError), match="minutes must be"):
        sweep(PLAN, tmp_path, device="cpu", minutes=minutes)


def test_the_command_says_what_is_left_and_fails_where_a_run_did(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    plan = tmp_path / "plan.toml"
    plan.write_text(
        'title = "two rates"\nsettings = {experiment = "digits", n_steps = 20, every = 10}\n'
        'runs = [{dynamics = "gd", learning_rate = [0.1, 1e30]}]\n'
    )
    asked = ("sweep", plan, "--store", tmp_path / "store", "--jobs", 1, "--device", "cpu")
    code, shown = command(monkeypatch, capsys, *asked, "--dry-run")
    assert code == 0 and "0 of 2 runs are finished\n" in shown.out and not (tmp_path / "store").exists()
    code, shown = command(monkeypatch, capsys, *asked, "--json", tmp_path / "rows.json")
    assert code == 3 and "begins: learning_rate 0.1, seed 1\n" in shown.err and "failed: learning_rate 1e+30" in shown.err
    assert "1 of 2 runs are finished; what they recorded is in" in shown.out
    assert "all with dynamics gd, every 10, experiment digits, n_steps 20" in " ".join(shown.out.split())
    rows = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert [(row["status"], row["step"]) for row in rows] == [("finished", 0), ("finished", 10), ("finished", 20), ("failed", 0)]

    for target, other in ((plan, "PLAN"), *((tmp_path / "store" / name, "--store") for name in ("table.csv", "made_with.json"))):
        before = target.read_bytes()
        code, shown = command(monkeypatch, capsys, *asked, "--dry-run", "--json", target)
        assert code == 2 and f"--json must be another file than those of {other}" in " ".join(shown.err.split())
        assert target.read_bytes() == before

    for text, message in (
        ("runs = 3", "PLAN must be of a plan"),
        ("runs = [{n_steps = 3, lr = 1}]", "PLAN: settings must be of"),
    ):
        plan.write_text(text)
        code, shown = command(monkeypatch, capsys, *asked)
        assert code == 2 and message in " ".join(shown.err.split())


def test_a_plan_that_comes_with_it_is_named_as_itself(tmp_path, monkeypatch, capsys):
    """Also where a file has that name; and a name that is neither is told what there is."""
    monkeypatch.chdir(tmp_path)
    code, shown = command(monkeypatch, capsys, "sweep", "ne2021-tables", "--dry-run")
    assert code == 0 and f"0 of {len(paper_sweep('ne2021-tables').plan.runs)} runs are finished" in shown.out
    (tmp_path / "ne2021-tables").write_text('runs = [{experiment = "digits", dynamics = "gd", n_steps = 2}]')
    code, shown = command(monkeypatch, capsys, "sweep", "ne2021-tables", "--dry-run")
    assert code == 0 and "0 of 1 runs are finished" in shown.out
    code, shown = command(monkeypatch, capsys, "sweep", "ne2021-table9", "--dry-run")
    said = " ".join(shown.err.split())
    assert code == 2 and "PLAN must be of a plan, got 'ne2021-table9': No such file" in said and "ne2021-tables" in said
    code, shown = command(monkeypatch, capsys, "sweep", 300 * "x", "--dry-run")  # longer than a name can be
    said = "".join(shown.err.split())
    assert code == 2 and "PLANmustbeofaplan,got'xxx" in said and "Filenametoolong;oroneof" in said


def test_texts_of_a_plan_are_shown_as_they_are(tmp_path, monkeypatch, capsys):
    """Catches brackets that are taken for markup: a closing one of nothing was a traceback, and others were gone."""
    plan = tmp_path / "plan.toml"
    plan.write_text(
        'title = "rates [/red] of [bold]"\nruns = [{experiment = "digits", dynamics = "gd", n_steps = 2}]\n'
        'questions = [{name = "[/b] is better", kind = "better", margin = 0, of = {dynamics = "gd"}, against = {n_steps = 2}}]\n'
    )
    code, shown = command(monkeypatch, capsys, "sweep", plan, "--store", tmp_path / "store", "--dry-run")
    assert code == 0 and "rates [/red] of [bold]" in shown.out and "[/b] is better" in shown.out
