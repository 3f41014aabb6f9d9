"""What a function depends on beside its own code: the globals that it reads, which a compiled function freezes."""

from __future__ import annotations

import dis
import inspect
from collections.abc import Callable
from functools import lru_cache
from types import CodeType
from typing import Any

import numpy as np

__all__ = ["fingerprint", "referenced_globals"]


def referenced_globals(function: Callable[..., Any]) -> dict[str, Any]:
    """Globals that the code of a function reads.

    Parameters
    ----------
    function : callable
        Written in Python.

    Returns
    -------
    dict
        By name.

    Examples
    --------
    >>> from gradnoise.simulations.ensemble import referenced_globals
    >>> scale = 2.0
    >>> def scaled(x):
    ...     return scale * x
    >>> referenced_globals(scaled)
    {'scale': 2.0}
    """
    function = getattr(function, "py_func", function)  # of a compiled one
    scope = function.__globals__
    return {name: scope[name] for name in _global_names(function.__code__) if name in scope}


def fingerprint(function: Callable[..., Any], seen: tuple[CodeType, ...] = ()) -> tuple[Any, ...]:
    """Return what a compiled form of a function has frozen; it differs where anything of that was changed since.

    Numbers, strings, arrays and functions count by what they are, all else by which object it is. It is good within one
    process only.

    Parameters
    ----------
    function : callable
        Written in Python.
    seen : tuple, optional
        Code of functions that call this one, for those that call each other.

    Returns
    -------
    tuple
        Hashable.

    Examples
    --------
    >>> from gradnoise.simulations.ensemble import fingerprint
    >>> scale = 2.0
    >>> def scaled(x):
    ...     return scale * x
    >>> before = fingerprint(scaled)
    >>> scale = 3.0
    >>> fingerprint(scaled) == before
    False
    """
    function = getattr(function, "py_func", function)  # of a compiled one
    code = function.__code__
    closed = {f"cell {i}": cell.cell_contents for i, cell in enumerate(function.__closure__ or ())}
    parts: list[Any] = [code]
    for name, value in {**referenced_globals(function), **closed}.items():
        inner = getattr(value, "py_func", value)  # of a compiled one
        if inspect.isfunction(inner):
            known = inner.__code__ is code or inner.__code__ in seen
            parts.append((name, inner.__code__ if known else fingerprint(inner, (*seen, code))))
        elif isinstance(value, np.ndarray):
            parts.append((name, value.shape, value.dtype.str, value.tobytes()))
        elif isinstance(value, (bool, int, float, complex, str, tuple, np.generic, type(None))):
            parts.append((name, repr(value)))
        else:
            parts.append((name, id(value)))
    return tuple(parts)


@lru_cache(maxsize=1024)
def _global_names(code: CodeType) -> tuple[str, ...]:
    names = {str(i.argval) for i in dis.get_instructions(code) if i.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    for constant in code.co_consts:
        if isinstance(constant, CodeType):  # of a function or comprehension inside
            names.update(_global_names(constant))
    return tuple(sorted(names))
