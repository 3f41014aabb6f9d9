"""How our kernels are compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba


def kernel(function: Callable[..., Any]) -> Any:
    """Compile without the GIL, with IEEE division and no fastmath, and cache the machine code where that is possible.

    Without a writable cache folder Numba refuses to decorate at all; compiling anew in each process is the better answer.
    """
    options = {"nogil": True, "error_model": "numpy"}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:
        return numba.njit(**options)(function)
