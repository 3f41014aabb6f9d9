"""The fuzz can fail, in a checkout: it would catch a kind of fault that it no longer sees, and a good function that it blames."""

import importlib
import os
import subprocess
import sys
import tempfile
import time
import types
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "reliability"
if not (FOLDER / "fuzz").is_dir():
    pytest.skip("the fuzz is not there", allow_module_level=True)

PLANTED = '''
import abc, contextlib, dataclasses, os, warnings
import numpy as np

__all__ = [
    "Abstract", "Good", "crashes", "cuts_off", "drops_masks", "forgets", "good", "good_context", "good_record", "hangs",
    "good_table", "interval", "lost_table", "is_negative", "keyless", "loses", "silent", "takes_all", "warns",
]


def real(value, name):
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e6:
        raise ValueError(f"{name} must be a number of moderate size, got {value!r}")
    return float(value)


def good(rate):
    """
    >>> good(0.5)
    1.0
    """
    return 2 * real(rate, "rate")


class Good:
    """
    >>> Good(0.5).scaled(2.0)
    1.0
    """

    def __init__(self, rate):
        self.rate = real(rate, "rate")

    def scaled(self, factor):
        return self.rate * real(factor, "factor")

    @property
    def variance(self):
        return self.rate**2


class Abstract(abc.ABC):
    @abc.abstractmethod
    def of(self, rate): ...


@contextlib.contextmanager
def good_context(rate):
    """
    >>> with good_context(0.5) as twice:
    ...     twice
    1.0
    """
    yield 2 * real(rate, "rate")


@dataclasses.dataclass
class Record:
    """Its bound is infinite below zero."""

    bound: float


def good_record(rate):
    """
    >>> good_record(0.5)
    Record(bound=0.5)
    """
    return Record(np.inf if real(rate, "rate") < 0 else real(rate, "rate"))


class Table:
    def __init__(self, rate, name):
        self._rate, self._name = rate, name

    def read(self, row=None):
        if self._rate > 1:
            raise ValueError(f"{self._name} must be given, as there are several")
        return self._rate


def good_table(rate):
    """
    >>> good_table(0.5).read()
    0.5
    """
    return Table(real(rate, "rate"), "row")


def lost_table(rate):
    """
    >>> lost_table(0.5).read()
    0.5
    """
    return Table(real(rate, "rate"), "it")


def loses(rate):
    """
    >>> loses(0.5)
    array([0.5])
    """
    return np.array([np.nan if real(rate, "rate") < 0 else real(rate, "rate")])


def silent(rate):
    """
    >>> silent(0.5)
    0.5
    """
    return rate if isinstance(rate, float) else real(rate, "rate")


def drops_masks(values):
    """
    >>> drops_masks(np.array([1.0, 2.0, 3.0]))
    6.0
    """
    return float(np.asarray(values).sum())


def cuts_off(rate):
    """
    >>> cuts_off(0.5)
    0.5
    """
    return real(rate, "rate") if type(rate) is float else float(int(real(rate, "rate")))


def forgets(rate):
    """
    >>> forgets(0.5)
    1.0
    """
    return 2 * real(rate, "it")


def keyless(kind):
    """
    >>> keyless("a")
    1
    """
    return {"a": 1}[kind]


def warns(rate):
    """
    >>> warns(0.5)
    0.5
    """
    if real(rate, "rate") < 0:
        warnings.warn("below zero")
    return real(rate, "rate")


def hangs(rate):
    """
    >>> hangs(0.5)
    0.5
    """
    while real(rate, "rate") < 0:
        pass
    return real(rate, "rate")


def crashes(rate):
    """
    >>> crashes(0.5)
    0.5
    """
    if real(rate, "rate") < 0:
        os.abort()
    return real(rate, "rate")


def takes_all(size):
    """
    >>> takes_all(3.0)
    3
    """
    return len(np.ones(int(2**40 if real(size, "size") < 0 else size)))


def interval(low):
    """
    >>> interval(-0.5)
    (-0.5, 0.25)
    """
    return real(low, "low"), 0.25


def is_negative(rate):
    """
    >>> is_negative(0.5).variance
    0.5
    """
    return Spread(real(rate, "rate"))


class Spread:
    def __init__(self, variance):
        self._variance = variance

    @property
    def variance(self):
        return self._variance
'''


@pytest.fixture(scope="module")
def fuzz():
    sys.path.insert(0, str(FOLDER))
    names = ("calls", "entry_points", "grouping", "outcomes", "progress", "trials", "workers")
    modules = {name: importlib.import_module(f"fuzz.{name}") for name in names}
    yield types.SimpleNamespace(**modules)
    sys.path.remove(str(FOLDER))
    for name in [name for name in sys.modules if name.partition(".")[0] == "fuzz"]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def found(fuzz):
    """Kinds of faults by function and argument, and labels of the values that showed them."""
    planted = types.ModuleType("planted")
    sys.modules["planted"] = planted
    exec(compile(PLANTED, "planted.py", "exec"), planted.__dict__)
    points = fuzz.entry_points.entry_points([planted], "planted.")
    fuzz.entry_points.record(points, [planted])
    del sys.modules["planted"]
    assert fuzz.calls.unused(points) == []
    groups = [trials for point in points for trials in fuzz.calls.groups(point, seed=1)]
    limits = fuzz.workers.Limits(cpu_seconds=1.0, memory=1 << 30)
    ends = list(fuzz.workers.run(groups, 2, limits))
    assert len(ends) == sum(map(len, groups)) > 500
    return fuzz.grouping.grouped([(trial, fault) for trial, fault in ends if fault is not None])


@pytest.mark.parametrize(
    ("name", "kind", "value"),
    [
        ("silent", "accepted", "nan"),
        ("silent", "infinite", "inf"),
        ("drops_masks", "mask dropped", "one element masked"),
        ("cuts_off", "another answer", "np.float64"),
        ("forgets", "does not name the argument", "None"),
        ("lost_table", "does not name the argument", "2"),
        ("keyless", "other exception", "'nonsense'"),
        ("warns", "warning", "-0.5"),
        ("hangs", "hang", "-0.5"),
        ("crashes", "crash", "-0.5"),
        ("takes_all", "memory", "-0.5"),
        ("is_negative", "nonsense", "-0.5"),
        ("interval", "nonsense", "0.5"),
        ("loses", "NaN", "-0.5"),
    ],
)
def test_a_planted_fault_is_seen(found, name, kind, value):
    of_it = [g for g in found if g.name == f"planted.{name}"]
    assert any(g.kind == kind and value in g.values for g in of_it), of_it


def test_good_functions_are_not_blamed(found):
    assert [g for g in found if g.name.startswith(("planted.good", "planted.Good"))] == []


def test_progress_is_told_of_where_there_is_no_terminal(fuzz, capsys, monkeypatch):
    """A line every half minute, and none in between."""
    now = [0.0]
    monkeypatch.setattr(fuzz.progress.time, "monotonic", lambda: now[0])
    progress = fuzz.progress.Progress()
    for now[0], said in ((1.0, "early"), (31.0, "one"), (60.0, "soon after"), (62.0, "two")):
        progress(said)
    progress.end()
    assert capsys.readouterr().err == "one\ntwo\n"


def test_what_a_faulty_call_leaves_behind_does_not_reach_the_next(fuzz):
    """A worker that died is replaced, and goes on with the trial after the deadly one."""
    trials = [fuzz.trials.Trial("f", "x", str(k), lambda k=k: os._exit(1) if k == 1 else None) for k in range(4)]
    ends = [(trial.value, fault and fault.kind) for trial, fault in fuzz.workers.run([trials])]
    assert ends == [("0", None), ("1", "crash"), ("2", None), ("3", None)]


def test_what_a_call_writes_into_a_folder_does_not_reach_the_next(fuzz, tmp_path, monkeypatch):
    """Would catch a good call that is none once another has gone on from its checkpoint."""
    kept, work = tmp_path / "kept", tmp_path / "work"
    kept.mkdir()
    work.mkdir()
    (kept / "step").write_text("1")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(work)
    for folder in (str(kept), kept):
        given = fuzz.outcomes.fresh({"folder": folder, "name": "step"})
        assert type(given["folder"]) is type(folder) and given["name"] == "step"
        copied = Path(given["folder"], "step")
        assert copied.read_text() == "1" and work in copied.parents
        copied.write_text("2")
    assert (kept / "step").read_text() == "1"


def test_processes_that_a_call_has_left_are_ended(fuzz, tmp_path):
    def leave():
        (tmp_path / "pid").write_text(str(subprocess.Popen(["sleep", "600"]).pid))

    assert [fault for _, fault in fuzz.workers.run([[fuzz.trials.Trial("f", "x", "1", leave)]])] == [None]
    state = Path("/proc", (tmp_path / "pid").read_text(), "stat")
    for _ in range(100):  # a signal takes a moment
        if not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z":
            return
        time.sleep(0.05)
    pytest.fail("it lives")
