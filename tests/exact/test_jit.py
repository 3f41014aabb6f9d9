"""Compilation: catches a failure where no cache folder can be written, where compiling anew is the right answer.

And a part of a kernel, which counts no references, that keeps or gives away what others own, or may allocate.
"""

import os
import pickle
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import joblib
import numba
import numpy as np
import pytest
from numba.core.errors import NumbaError

from gradnoise.simulations import ensemble
from gradnoise.simulations.ensemble import kernel, part
from gradnoise.simulations.toy.kernel import run_paths


class Pair(NamedTuple):
    first: np.ndarray
    second: np.ndarray


def _add_rows(pair):
    for i in range(pair.first.shape[0]):
        first, second = pair.first[i], pair.second[i]
        for j in range(first.shape[0]):
            first[j] += second[j]


def test_a_part_writes_into_records_and_leaves_their_memory_to_the_kernel():
    add_rows = part(_add_rows)

    @numba.njit
    def run(outer):
        inner = Pair(np.ones((3, 4)), outer.second)
        for _ in range(10):
            add_rows(inner)
            add_rows(outer)
        return inner.first.sum()

    outer = Pair(np.zeros((3, 4)), np.full((3, 4), 2.0))
    owners = [sys.getrefcount(array) for array in outer]
    assert run(outer) == 12 + 10 * 24
    assert (outer.first == 20).all()
    assert [sys.getrefcount(array) for array in outer] == owners


@pytest.mark.compiled
def test_a_part_that_allocates_is_refused():
    """As nobody would free what it allocates."""

    @kernel
    def allocating(n):
        return np.empty(n).shape[0]

    @part
    def allocating_part(n):
        return np.empty(n).shape[0]

    assert allocating(3) == 3
    with pytest.raises(NumbaError):
        allocating_part(3)


@pytest.mark.parametrize("decorator", [kernel, part])
def test_without_a_cache_folder_a_kernel_is_compiled_all_the_same(monkeypatch, decorator):
    def no_locator(function):
        raise RuntimeError("cannot cache function: no locator available")

    monkeypatch.setattr("numba.core.caching.FunctionCache", no_locator)
    assert decorator(lambda x: x + 1)(1) == 2


KERNEL_FILE = """
import far
from gradnoise.simulations.ensemble import callback, kernel

def doubled(x): return far.double(x) + far.C
once = kernel(doubled)

@kernel
def twice(x): return once(once(x))

@kernel
def applied(f, x): return f(x)

if __name__ != "__main__":
    dispatcher, called = twice.compiled, callback(doubled, "float64(float64)")
    print(twice(1.0), applied(called, 1.0), sum(dispatcher.stats.cache_hits.values()), called.cache_hits)
"""


@pytest.mark.compiled
@pytest.mark.parametrize("edit", [("2.0 * x", "3.0 * x"), ("C = 1.0", "C = 2.0")], ids=["code", "constant"])
def test_machine_code_on_disk_is_good_until_a_file_that_it_was_not_made_from_is_edited(tmp_path, edit):
    far = "from gradnoise.simulations.ensemble import kernel\nC = 1.0\n@kernel\ndef double(x): return 2.0 * x\n"
    (tmp_path / "near.py").write_text(KERNEL_FILE)

    def run(text):
        (tmp_path / "far.py").write_text(text)
        variables = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": str(tmp_path)}
        command = [sys.executable, "-B", "-c", "import near"]
        found = subprocess.run(command, env=variables, capture_output=True, text=True, check=True).stdout.split()
        return [float(x) for x in found[:2]], found[2:]

    assert run(far) == ([7.0, 3.0], ["0", "0"])
    assert run(far) == ([7.0, 3.0], ["1", "1"])
    edited, hits = run(far.replace(*edit))
    assert edited == ([13.0, 4.0] if edit[0][0] == "2" else [10.0, 4.0]) and hits == ["0", "0"]


TYPED = """
import builtins, errno, sys
from gradnoise.simulations.ensemble import callback, kernel
file, name, full = sys.argv[1], sys.argv[2], sys.argv[3] == "full"
if full:
    real = builtins.open
    def no_room(path, mode="r", *args, **options):
        if "w" in mode: raise OSError(errno.ENOSPC, "No space left on device")
        return real(path, mode, *args, **options)
    import numba, numba.core.caching
    numba.core.caching.open = no_room
names = {"__name__": name}
exec(compile(open(file).read(), file, "exec"), names)
@kernel
def applied(f, x): return f(x)
print(applied(callback(names["half"], "float64(float64)"), 3.0), kernel(names["half"])(3.0))
"""


@pytest.mark.compiled
@pytest.mark.parametrize("damage", ["none", "cut off", "full"])
def test_machine_code_that_cannot_be_read_or_written_is_compiled_anew(tmp_path, damage):
    """Catches a function of a module that no process can import, damaged files, and a full disk, in each of two processes."""
    (tmp_path / "half.py").write_text("def half(x): return x / 2\n")

    def run():
        variables = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
        command = [sys.executable, "-c", TYPED, str(tmp_path / "half.py"), "no_such_module", damage]
        return subprocess.run(command, env=variables, capture_output=True, text=True, check=True).stdout.split()

    assert run() == ["1.5", "1.5"]
    kept = [path for path in (tmp_path / "cache").rglob("*.nb*") if path.is_file()]
    assert bool(kept) == (damage != "full")
    for path in kept if damage == "cut off" else []:
        path.write_bytes(path.read_bytes()[:-20])
    assert run() == ["1.5", "1.5"]


CONSTANT, LARGE = 2.0, np.ones((400, 400))


@pytest.mark.compiled
def test_a_kernel_with_a_large_array_in_it_is_compiled_without_a_warning():
    """Numba does not keep it on disk, and would say so each time."""

    @kernel
    def summed():
        return LARGE.sum()

    assert summed() == 160_000


def test_a_kernel_is_compiled_anew_where_a_constant_that_it_reads_has_changed(monkeypatch):
    @kernel
    def scaled(x):
        return CONSTANT * x

    @kernel
    def scaled_twice(x):
        return scaled(scaled(x))

    assert scaled_twice(1.0) == 4.0 and scaled_twice.compiled is scaled_twice.compiled
    monkeypatch.setattr(sys.modules[__name__], "CONSTANT", 3.0)
    assert scaled_twice(1.0) == 9.0 and scaled(1.0) == 3.0


def test_a_kernel_is_pickled_by_name_where_it_has_one_and_else_by_its_code():
    assert pickle.loads(pickle.dumps(run_paths)) is run_paths

    @kernel
    def local(x):
        return x + 1

    def block(n_paths, generator):
        return (np.full(n_paths, local(float(n_paths))),)

    with joblib.parallel_config("loky", n_jobs=2):
        (found,) = ensemble.run(block, (), 6, rng=1, reduce=ensemble.concatenate, block_size=3)
    assert found.tolist() == [4.0] * 6


def test_a_kernel_is_called_and_shown_as_the_function_that_it_is():
    @kernel
    def difference(x, y):
        return x - y

    assert difference(y=1, x=3) == 2
    assert repr(run_paths) == "<kernel gradnoise.simulations.toy.kernel.run_paths>"
    assert ensemble.fingerprint(difference) == ensemble.fingerprint(difference.py_func)
    with pytest.raises(TypeError, match="function must be a Python function, got 3"):
        kernel(3)  # pyright: ignore[reportArgumentType]


def test_two_threads_that_call_a_kernel_first_share_its_compiled_form(monkeypatch):
    made, real = [], numba.njit

    def slow(*args, **options):
        made.append(options)
        time.sleep(0.05)
        return real(*args, **options)

    monkeypatch.setattr(numba, "njit", slow)
    double = kernel(lambda x: 2 * x)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(double, range(4))) == [0, 2, 4, 6]
    assert len(made) == 1


@pytest.mark.parametrize(
    ("imports", "absent"),
    [
        ("from gradnoise.theory import sampling, gradient_noise, escape, diffusion", "numba joblib torch matplotlib"),
        ("from gradnoise.claims import registry; registry.all_claims()", "numba torch matplotlib scipy.stats scipy.optimize"),
        ("from gradnoise.figures import registry", "numba torch matplotlib scipy.stats scipy.optimize"),
        ("from gradnoise.simulations import toy, sde, least_squares, sampling", "numba torch matplotlib scipy.stats"),
    ],
)
def test_nothing_is_imported_before_it_is_used(imports, absent):
    code = f"{imports}; import sys; found = set({absent!r}.split()) & set(sys.modules); assert not found, found"
    subprocess.run([sys.executable, "-c", code], check=True)
