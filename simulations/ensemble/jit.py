"""How our kernels are compiled: by Numba, when they are first called."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

__all__ = ["Kernel", "kernel"]

_LOCK = threading.Lock()  # two threads that first call a kernel at once share what they compile


def kernel(function: Callable[..., Any]) -> Any:
    """Compile without the GIL, with IEEE division and no fastmath, and cache the machine code where that is possible.

    Nothing is compiled, nor Numba imported, before the kernel is called, or met in another one that is.

    Parameters
    ----------
    function : callable
        A function of a module, in the part of Python that Numba compiles.

    Returns
    -------
    Kernel

    Examples
    --------
    >>> @kernel
    ... def add(x, y):
    ...     return x + y
    >>> add(1, 2)
    3
    """
    return Kernel(function)


class Kernel:
    """A function and, once it was called, its compiled form.

    Attributes
    ----------
    py_func : function
        As it was written.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.py_func = function
        self._compiled: Any = None
        functools.update_wrapper(self, function)

    @property
    def compiled(self) -> Any:
        """Numba's dispatcher."""
        with _LOCK:
            if self._compiled is None:
                self._compiled = _dispatcher(self.py_func)
        return self._compiled

    @property
    def _numba_type_(self) -> Any:
        """What Numba asks of a global that it meets in a function."""
        return self.compiled._numba_type_

    def __call__(self, *args: Any) -> Any:
        """Call the compiled form."""
        return self.compiled(*args)

    def __reduce__(self) -> str:
        """By name, as functions are pickled: a process imports the module, and has a compiled form of its own."""
        return self.py_func.__qualname__


def _dispatcher(function: Callable[..., Any]) -> Any:
    import numba

    options = {"nogil": True, "error_model": "numpy"}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:
        # Without a writable cache folder Numba refuses to decorate at all; compiling anew in each process is the better answer.
        return numba.njit(**options)(function)
