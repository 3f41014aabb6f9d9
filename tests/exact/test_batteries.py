"""The batteries of reliability/, in a checkout: each has to see a planted fault, and to say nothing where there is none."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gradnoise.claims import registry

FOLDER = Path(__file__).parents[2] / "reliability"
if not (FOLDER / "endurance.py").is_file():
    pytest.skip("the batteries are not there", allow_module_level=True)
pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="process groups and limits as Linux has them")

# A run of 0.3 s that keeps where it is, and gives a number: the right one always, or only if it was not cut off.
RUN = """
import pathlib, sys, time
folder = pathlib.Path(sys.argv[1]); folder.mkdir(exist_ok=True)
mark = folder / "begun"; again = mark.exists(); mark.touch()
if {leaves}: (folder / "x.tmp").touch()
for _ in range(30): time.sleep(0.01)
print(2 if again and {forgets} else 1)
"""


@pytest.fixture
def battery(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    yield importlib.import_module
    for name in ("endurance", "environments", "repeated", "workloads", "page", "sealed"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("faults", "end"),
    [
        ({"forgets": False, "leaves": False}, "right"),
        ({"forgets": True, "leaves": False}, "other numbers"),
        ({"forgets": False, "leaves": True}, "leaves x.tmp"),
    ],
)
def test_a_run_that_forgets_or_leaves_something_is_seen(battery, monkeypatch, faults, end):
    endurance = battery("endurance")

    def start(name, folder, **_):
        argv = [sys.executable, "-c", RUN.format(**faults), str(folder)]
        return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)

    monkeypatch.setattr(endurance, "start", start)
    outcome = endurance.killed("a run", 4)
    assert outcome.tried == 4
    # A kill before the run has begun is no fault of it.
    assert outcome.right == 4 if end == "right" else set(outcome.otherwise) == {end}


def test_hashes_tell_bits_and_kinds_apart(battery):
    digest = battery("workloads").digest
    one = np.array([1.0, 0.0])
    values = [one, one.astype(np.float32), np.array([1.0, -0.0]), one[:, None], [one], np.nextafter(one, 2), (1.0, 0.0), 1, 1.0]
    assert len({digest(value) for value in values}) == len(values)
    assert digest([one, {"a": 1}]) == digest((one.copy(), {"a": 1}))


@pytest.mark.parametrize(
    ("shell", "expected"),
    [
        ("{command}", []),
        ("{command}; exit 3", ["exit code 3 for 0: "]),
        ("{command}; echo 'RuntimeWarning: divided' >&2", ["Warning: RuntimeWarning: divided"]),
        ("{command}; touch left", ["wrote left, for nothing"]),
    ],
)
def test_what_goes_otherwise_in_a_place_is_seen(battery, monkeypatch, tmp_path, shell, expected):
    environments = battery("environments")
    monkeypatch.setattr(environments, "GRADNOISE", "true")
    home = environments.call(environments.Place({}), [], tmp_path)
    assert environments.differences(home, environments.Place({}, shell), [], tmp_path) == expected


def test_what_repeated_runs_found_is_counted(battery):
    repeated = battery("repeated")
    found = {
        "1": {"verdicts": 9, "twins": 3, "unexpected": []},
        "2": {"verdicts": 9, "twins": 3, "unexpected": ["a claim: refuted"]},
    }
    shown = repeated.shown_false_alarms(found)
    assert shown.startswith("2 seeds, 18 verdicts, 6 twins: 1 not as expected") and "- seed 2: a claim: refuted" in shown
    orders = {"1": {"passed": 7, "failed": []}, "2": {"passed": 6, "failed": ["tests/a.py::test_b"]}}
    assert repeated.shown_flakes(orders) == "2 orders, 14 tests run: 1 failed.\n- seed 2: `tests/a.py::test_b`"


def test_a_report_that_surprises_or_notices_too_little_is_seen(battery):
    """With a report as it is written, so that the batteries read what it has."""
    repeated, detectable = battery("repeated"), battery("detectable")
    (claim,) = registry.verify("zhu2019.trace-norm", sabotage=True).to_dict()["claims"]
    row = detectable.noticed(claim)
    assert 0 < row["error"] < 1e-9
    assert repeated.surprises([claim]) == detectable.unexplained([row]) == []

    claim["verdict"], claim["sabotaged"][1]["verdict"] = "inconclusive", "holds"
    assert repeated.surprises([claim]) == ["zhu2019.trace-norm: inconclusive", "zhu2019.trace-norm, twin 'Frobenius norm': holds"]
    assert detectable.noticed(claim) is None  # of what does not hold nothing is known
    (wrong,) = detectable.unexplained([{**row, "error": 0.021}])
    assert wrong.startswith("`zhu2019.trace-norm` would not notice an error of 2.1 % in ")
    assert detectable.unexplained([{**row, "error": 0.021, "because": "it is a bound"}]) == []
    assert "| 0 | 0 | 0 | 0 | 1 |" in detectable.shown([claim], [{**row, "error": 0.021}], [])


def test_a_seed_is_run_again_when_the_code_has_changed_and_only_then(battery, monkeypatch, tmp_path):
    repeated = battery("repeated")
    (tmp_path / "theory").mkdir()
    module = tmp_path / "theory" / "a.py"
    module.write_text("1")
    ran = []
    monkeypatch.setattr(battery("page"), "RESULTS", tmp_path)
    monkeypatch.setattr(
        repeated, "keep", lambda name, found, _: (tmp_path / f"{name}.json").write_text(json.dumps({"found": found}))
    )
    monkeypatch.setitem(repeated.BATTERIES, "flakes", (lambda seed: ran.append(seed) or {}, str, ("theory",)))
    monkeypatch.setattr(repeated, "ROOT", tmp_path)
    for text, last in (("1", 2), ("1", 3), ("2", 1)):
        module.write_text(text)
        monkeypatch.setattr(sys, "argv", ["repeated.py", "flakes", "1", str(last)])
        assert repeated.main() == 0
    assert ran == [1, 2, 3, 1]


def test_a_part_of_the_endurance_battery_replaces_its_own_results_alone(battery, monkeypatch):
    endurance, kept = battery("endurance"), []
    before = [
        {"what": "a", "tried": 2, "right": 2, "otherwise": {}},
        {"what": "b", "tried": 2, "right": 1, "otherwise": {"x": 1}},
    ]
    monkeypatch.setattr(endurance, "found_before", lambda _: {"batteries": before})
    monkeypatch.setattr(endurance, "keep", lambda name, found, shown: kept.append(found["batteries"]))
    repeat = {"kill b": lambda: endurance.Outcome("b", 3, 3), "kill c": lambda: endurance.Outcome("c", 1, 1)}
    monkeypatch.setattr(endurance, "batteries", lambda kills: repeat)
    monkeypatch.setattr(sys, "argv", ["endurance.py", "--only", "kill b"])
    assert endurance.main() == 0
    monkeypatch.setattr(sys, "argv", ["endurance.py"])
    assert endurance.main() == 0
    of_part, whole = kept[0], kept[-1]
    assert [(o["what"], o["tried"]) for o in of_part] == [("a", 2), ("b", 3)]
    assert [(o["what"], o["tried"]) for o in whole] == [("b", 3), ("c", 1)]


def test_the_page_shows_what_was_kept(battery, monkeypatch, tmp_path):
    page = battery("page")
    text = tmp_path / "page.md"
    text.write_text("before\n<!-- fuzz begins -->\nold\n<!-- fuzz ends -->\nafter\n", encoding="utf-8")
    monkeypatch.setattr(page, "PAGE", text)
    monkeypatch.setattr(page, "RESULTS", tmp_path)
    page.keep("fuzz", {"calls": 3}, r"new \1")
    assert text.read_text(encoding="utf-8") == "before\n<!-- fuzz begins -->\nnew \\1\n<!-- fuzz ends -->\nafter\n"
    assert json.loads((tmp_path / "fuzz.json").read_text(encoding="utf-8"))["found"] == {"calls": 3}
    with pytest.raises(ValueError, match="battery must be a section"):
        page.keep("other", {}, "")
