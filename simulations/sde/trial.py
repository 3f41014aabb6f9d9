"""First call of a user's function, with bounds checked: compiled code checks nothing, and runs for millions of points.

It reads what lies beside an array that it leaves, or overwrites it. So a function first runs in plain Python, and with it all
compiled functions that it calls; where there are too many numbers for that, all are compiled with checks of bounds.
"""

from __future__ import annotations

import inspect
import math
import types
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from gradnoise.theory._validation import FloatArray

__all__ = ["try_out", "within_bounds"]

_MOST_IN_PYTHON = 200_000  # numbers that are written or read: from there on compiling is faster


def try_out(function: Callable[..., None], name: str, theta: FloatArray, data: FloatArray, shape: tuple[int, ...]) -> None:
    """Call a function of a problem once, on all samples.

    Parameters
    ----------
    function : callable
        ``function(theta, data, out)``, plain or compiled.
    name : str
        For messages.
    theta, data : ndarray
        What it reads.
    shape : tuple of int
        Of what it writes.

    Raises
    ------
    ValueError
        If it leaves its arrays, changes what it shall only read, or does not fill what it shall write with finite numbers.
    TypeError
        If it cannot be called so, or returns something.
    """
    small = max(data.size, math.prod(shape)) <= _MOST_IN_PYTHON
    checked = _Rebuilt(in_python=small).function(function)
    given, out = (theta.copy(), data.copy()), np.full(shape, np.nan)
    shapes = f"theta {theta.shape}, data {data.shape} and out {shape}"
    try:
        with np.errstate(all="ignore"):
            returned = checked(*given, out)
    except IndexError as error:
        raise ValueError(f"{name} must stay inside its arrays, {shapes}, got {error}") from error
    except TypeError as error:
        raise TypeError(f"{name} must be a function of {shapes}, got {error}") from error
    except Exception as error:
        raise ValueError(f"{name} must run on {shapes}, got {type(error).__name__}: {error}") from error
    if returned is not None:
        raise TypeError(f"{name} must write into out and return nothing, got {returned!r}")
    for what, before, after in zip(("theta", "data"), (theta, data), given, strict=True):
        if not np.array_equal(before, after):
            raise ValueError(f"{name} must leave theta and data as they are, got another {what} after the call")
    if not np.isfinite(out).all():
        raise ValueError(f"{name} must write finite numbers into all of out at the start, got NaN or infinity")


def within_bounds(function: Callable[..., None], data: FloatArray, shape: tuple[int, ...]) -> Callable[[FloatArray], FloatArray]:
    """Return what a function of a problem writes, as a function of theta: NaN where it leaves its arrays.

    It is compiled with checks of bounds in its first call, as most problems need none.
    """
    checked = cache(lambda: _Rebuilt(in_python=False).function(function))

    def written(theta: FloatArray) -> FloatArray:
        out = np.full(shape, np.nan)
        try:
            checked()(np.ascontiguousarray(theta), data, out)
        except (IndexError, ArithmeticError, ValueError):  # the last two in plain Python, of an index that is infinite
            out[:] = np.nan
        return out

    return written


class _Rebuilt:
    """Copies of functions, in Python or compiled with checks of bounds, that call such copies of what they call."""

    def __init__(self, in_python: bool) -> None:
        self._in_python = in_python
        self._known: dict[Any, Any] = {}

    def function(self, function: Any) -> Any:
        source = getattr(function, "py_func", function)  # of a compiled one
        if source not in self._known:
            scope: dict[str, Any] = {"__name__": source.__module__}
            cells = tuple(types.CellType() for _ in source.__closure__ or ())
            copy = types.FunctionType(source.__code__, scope, source.__name__, source.__defaults__, cells)
            self._known[source] = copy if self._in_python else _with_checks(copy)  # before what it reads, which may be itself
            names = _names(source.__code__)
            scope.update({name: self._value(source.__globals__[name], names) for name in names & source.__globals__.keys()})
            for cell, original in zip(cells, source.__closure__ or (), strict=True):
                cell.cell_contents = self._value(original.cell_contents, names)
        return self._known[source]

    def _value(self, value: Any, names: set[str]) -> Any:
        if hasattr(value, "py_func"):
            return self.function(value)
        if inspect.ismodule(value):
            members = {name: getattr(value, name) for name in names if hasattr(value, name)}
            copies = {name: self._value(member, names) for name, member in members.items()}
            if any(copies[name] is not members[name] for name in members):
                value = types.ModuleType(value.__name__)
                vars(value).update(copies)
        elif self._in_python and inspect.isbuiltin(value) and value.__module__ == "math":
            return _without_errors(value)
        return value


def _with_checks(function: Any) -> Any:
    import numba  # here, as its import takes long

    return numba.njit(function, boundscheck=True, error_model="numpy")


def _names(code: types.CodeType) -> set[str]:
    """Names of globals and attributes that code, and that of functions inside, may read."""
    inner = (_names(constant) for constant in code.co_consts if isinstance(constant, types.CodeType))
    return set(code.co_names).union(*inner)


def _without_errors(function: Callable[..., float]) -> Callable[..., float]:
    """Return a function of `math` that gives infinity or NaN where Python's raises, as it does when compiled."""

    def wrapped(*args: float) -> float:
        try:
            return function(*args)
        except OverflowError:
            return math.inf
        except ValueError:
            return math.nan

    return wrapped
