"""How our kernels are compiled: by Numba, when they are first called."""

from __future__ import annotations

import functools
import inspect
import sys
import threading
from collections.abc import Callable
from typing import Any

from gradnoise.simulations.ensemble.function_identity import fingerprint, renew
from gradnoise.simulations.ensemble.machine_code import keep_on_disk

__all__ = ["Kernel", "kernel", "part"]

_LOCK = threading.Lock()  # two threads that first call a kernel at once share what they compile


def kernel(function: Callable[..., Any]) -> Kernel:
    """Compile without the GIL, with IEEE division and no fastmath, and cache the machine code where that is possible.

    Nothing is compiled, nor Numba imported, before the kernel is called, or met in another one that is. Machine code on disk is
    good for as long as nothing that the kernel reaches has changed, in whichever file, and so is that of a running process: a
    kernel of yours is compiled anew after a change of a constant that it reads.

    Parameters
    ----------
    function : callable
        A function of a module, in the part of Python that Numba compiles.

    Returns
    -------
    Kernel

    Examples
    --------
    >>> from gradnoise.simulations.ensemble import kernel
    >>> @kernel
    ... def add(x, y):
    ...     return x + y
    >>> add(1, 2)
    3
    """
    return Kernel(function)


def part(function: Callable[..., Any]) -> Kernel:
    """Compile a part of a kernel that takes records of arrays, so that they cost nothing.

    It is inlined, and counts no references, since the kernel holds them. Numba refuses to compile it if it allocates an array, or
    returns one that it was not given.

    Parameters
    ----------
    function : callable
        See `kernel`.

    Returns
    -------
    Kernel

    Examples
    --------
    >>> from typing import NamedTuple
    >>> import numpy as np
    >>> from gradnoise.simulations.ensemble import part
    >>> class Pair(NamedTuple):
    ...     first: np.ndarray
    ...     second: np.ndarray
    >>> @part
    ... def add(pair):
    ...     for i in range(len(pair.first)):
    ...         pair.first[i] += pair.second[i]
    >>> pair = Pair(np.ones(2), np.ones(2))
    >>> add(pair)
    >>> pair.first
    array([2., 2.])
    """
    return Kernel(function, _nrt=False, forceinline=True)


class Kernel:
    """A function and, once it was called, its compiled form.

    Parameters
    ----------
    function : callable
        As it was written.
    **options
        Of `numba.njit`, beside those of all kernels.

    Attributes
    ----------
    py_func : function
        As it was written.
    """

    def __init__(self, function: Callable[..., Any], **options: Any) -> None:
        if not inspect.isfunction(function):
            raise TypeError(f"function must be a Python function, got {function!r}")
        self.py_func, self._options = function, options
        self._compiled: Any = None
        self._frozen: tuple[Any, ...] | None = None
        functools.update_wrapper(self, function)

    @property
    def compiled(self) -> Any:
        """Numba's dispatcher. Globals are frozen in it, so that it is a new one where a user has changed one."""
        frozen = fingerprint(self.py_func)
        with _LOCK:
            if self._compiled is None or frozen != self._frozen:
                if frozen:
                    renew(self.py_func)
                self._compiled, self._frozen = _dispatcher(self.py_func, self._options), frozen
            return self._compiled

    @property
    def _numba_type_(self) -> Any:
        """What Numba asks of a global that it meets in a function."""
        return self.compiled._numba_type_

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the compiled form."""
        return self.compiled(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<kernel {self.py_func.__module__}.{self.py_func.__qualname__}>"

    def __reduce__(self) -> str | tuple[Any, ...]:
        """By name, as functions are pickled, where another process can import it; else by what it is made of."""
        function = self.py_func
        named = vars(sys.modules.get(function.__module__, object)).get(function.__qualname__)
        if named is self and function.__module__ != "__main__":
            return function.__qualname__
        return functools.partial(Kernel, **self._options), (function,)


def _dispatcher(function: Callable[..., Any], options: dict[str, Any]) -> Any:
    import numba

    options = {"nogil": True, "error_model": "numpy", **options}
    compiled = numba.njit(**options)(function)
    if compiled is not function:  # as it is with Numba's compiler off
        keep_on_disk(compiled, function, options)
    return compiled
