"""Compilation: catches a failure where no cache folder can be written, where compiling anew is the right answer."""

import pickle
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numba
import pytest

from gradnoise.simulations.ensemble import kernel
from gradnoise.simulations.toy.kernel import run_paths


def test_without_a_cache_folder_a_kernel_is_compiled_all_the_same(monkeypatch):
    real = numba.njit

    def no_locator(*args, cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return real(*args, **options)

    monkeypatch.setattr(numba, "njit", no_locator)
    assert kernel(lambda x: x + 1)(1) == 2


def test_a_kernel_is_pickled_by_name():
    assert pickle.loads(pickle.dumps(run_paths)) is run_paths


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
    assert len({options["nogil"] for options in made}) == 1 and sum("cache" in options for options in made) == 1


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
