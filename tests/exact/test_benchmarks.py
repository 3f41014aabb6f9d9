"""The check of stored ratios, in a checkout: it would catch a regression that passes, and a machine that is taken for one."""

import importlib
import json
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
if not (FOLDER / "regression.py").is_file():
    pytest.skip("benchmarks are not there", allow_module_level=True)
STORED = {"toy": {"C": 60.0, "gradnoise": 20.0, "NumPy": 1000.0}}


@pytest.fixture
def modules(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    yield importlib.import_module("measure"), importlib.import_module("regression")
    for name in ("measure", "regression", "case"):
        sys.modules.pop(name, None)


def measured(measure, **times):
    named = {name: [measure.Time(t, t)] * 3 for name, t in times.items()}
    return measure.Measurement("toy", "path-step", (), measure.Targets(), 0.0, named, 0.0, 0.0, True)


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ({"C": 60, "gradnoise": 20, "NumPy": 1000}, []),
        ({"C": 120, "gradnoise": 46, "NumPy": 2000}, []),  # a machine half as fast, and 15 % worse
        ({"C": 60, "gradnoise": 25, "NumPy": 1000}, ["1.25 times the stored ratio to C, 1.25 times the stored ratio to NumPy"]),
        ({"gradnoise": 25, "NumPy": 1000}, ["1.25 times the stored ratio to NumPy"]),  # without a compiler
        ({"C": 45, "gradnoise": 20, "NumPy": 1000}, []),  # a better compiler is no regression
    ],
)
def test_ratios_decide(modules, times, expected):
    measure, regression = modules
    found = regression.worse(measured(measure, **times), STORED)
    assert len(found) == len(expected)
    assert all(part in line for part, line in zip(expected, found, strict=True))


def test_a_case_that_was_not_stored_passes(modules):
    measure, regression = modules
    assert regression.worse(measured(measure, C=1, gradnoise=100, NumPy=1), {}) == []


def test_the_stored_run_can_be_read(modules, tmp_path):
    _, regression = modules
    stored = regression.load(FOLDER / "results" / "table.json")
    assert {"toy, gld_leading", "Ornstein-Uhlenbeck", "M-SGD and its SDE"} <= stored.keys()
    assert all(times["gradnoise"] > 0 for times in stored.values())
    (tmp_path / "table.json").write_text(json.dumps({"no": "cases"}))
    for path in (tmp_path / "table.json", tmp_path / "none.json"):
        with pytest.raises(ValueError, match="must hold a run that was saved"):
            regression.load(path)
