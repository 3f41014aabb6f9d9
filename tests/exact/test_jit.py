"""Compilation: catches a failure where no cache folder can be written, where compiling anew is the right answer."""

import subprocess
import sys

import numba
import pytest

from gradnoise.simulations.ensemble import kernel


def test_without_a_cache_folder_a_kernel_is_compiled_all_the_same(monkeypatch):
    real = numba.njit

    def no_locator(*args, cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return real(*args, **options)

    monkeypatch.setattr(numba, "njit", no_locator)
    assert kernel(lambda x: x + 1)(1) == 2


@pytest.mark.parametrize(
    ("imports", "absent"),
    [
        ("from gradnoise.theory import sampling, gradient_noise, escape, diffusion", "numba joblib torch matplotlib"),
        ("from gradnoise.claims import registry; registry.all_claims(); import gradnoise.figures.registry", "torch"),
    ],
)
def test_theory_needs_no_numba_and_nothing_needs_torch(imports, absent):
    code = f"{imports}; import sys; found = set({absent!r}.split()) & set(sys.modules); assert not found, found"
    subprocess.run([sys.executable, "-c", code], check=True)
