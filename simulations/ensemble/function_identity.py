"""What a function or a value is, by content: all that it can reach, whichever process, machine or folder it is in.

Code counts by its bytecode, and with it all that it reads: globals, attributes of modules, imports inside it, closures, defaults,
classes with their methods, compiled functions with their options. Installed packages and Python count by their versions, our own
theory and simulations by their sources, which a store hashes as a whole. What cannot be seen through is refused by name.

Two libraries come near. joblib.hashing pickles, and a pickle names a function of a module, whatever its code is. cloudpickle
takes functions by value, but modules, and so ``helpers.scale``, by name, and its bytes for equal things differ between processes,
as do Numba's for compiled functions. Both are made to be loaded again, not to be compared.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from gradnoise.simulations.ensemble.code_origin import is_ours
from gradnoise.simulations.ensemble.identity_walk import Walk
from gradnoise.theory._validation import shown

__all__ = ["fingerprint", "identity", "renew"]

_FROZEN: WeakKeyDictionary[Any, tuple[Any, ...]] = WeakKeyDictionary()


def identity(value: Any, name: str, *, ours_by_content: bool = False) -> str:
    """Return a hash of what a value is, the same in all processes.

    Parameters
    ----------
    value : object
    name : str
        For messages.
    ours_by_content : bool
        Whether theory and simulations are followed too, where nothing else tells their sources.

    Raises
    ------
    TypeError
        If something that it reaches cannot be known, or is not what a compiled function was made from; it is named.
    """
    walk = Walk(strict=True, ours_by_content=ours_by_content)
    found = _hashed([walk.form(value, name), walk.definitions()])
    for compiled in walk.compiled:
        _check_frozen(compiled)
    return found


def fingerprint(function: Callable[..., Any]) -> tuple[Any, ...]:
    """Return what a compiled form of a function has frozen; it differs where anything of that was changed since.

    What cannot be known by its content counts by which object it is. So it is good within one process only. The package's own
    functions do not change within one.

    Parameters
    ----------
    function : callable
        Written in Python, or compiled from it.

    Returns
    -------
    tuple
        Hashable.

    Raises
    ------
    TypeError
        If it is no such function.

    Examples
    --------
    >>> from gradnoise.simulations.ensemble import fingerprint
    >>> scale = 2.0
    >>> def scaled(x):
    ...     return scale * x
    >>> scaled.__module__ = "mine"  # as it is in a file of yours
    >>> before = fingerprint(scaled)
    >>> scale = 3.0
    >>> fingerprint(scaled) == before
    False
    """
    source = getattr(function, "py_func", function)
    if not inspect.isfunction(source):
        raise TypeError(f"function must be written in Python, or compiled from it, got {shown(function)}")
    if is_ours(source.__module__):
        return ()
    walk = Walk(strict=False, ours_by_content=True)
    parts = [walk.form(source, "function"), walk.definitions()]
    return _hashed(parts), tuple(_SameObject(value) for value in walk.unknown)


def renew(function: Callable[..., Any]) -> None:
    """Compile anew what Numba has compiled of all that a function calls, where something that it reads has changed since.

    Parameters
    ----------
    function : callable
        Which is about to be compiled itself.

    Examples
    --------
    >>> import numba
    >>> from gradnoise.simulations.ensemble.function_identity import renew
    >>> scale = 2.0
    >>> @numba.njit
    ... def scaled(x):
    ...     return scale * x
    >>> scaled.py_func.__module__ = "mine"  # as it is in a file of yours
    >>> def twice(x):
    ...     return 2 * scaled(x)
    >>> renew(twice)
    >>> scaled(1.0)
    2.0
    >>> scale = 3.0
    >>> renew(twice)
    >>> scaled(1.0)
    3.0
    """
    walk = Walk(strict=False, ours_by_content=True)
    walk.form(getattr(function, "py_func", function), "function")
    walk.definitions()
    for compiled in walk.compiled:
        if compiled is not function and _is_outdated(compiled):
            _FROZEN[compiled] = fingerprint(compiled)  # first, as functions may call each other
            renew(compiled)  # what it calls becomes a part of it
            compiled.recompile()


class _SameObject:
    """A key that is equal for one object only, and keeps it alive."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _SameObject) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


def _hashed(form: Any) -> str:
    return hashlib.sha256(json.dumps(form).encode()).hexdigest()


def _is_outdated(compiled: Any) -> bool:
    """Whether it is a function of Numba that was compiled before a change of something that it reads."""
    if not hasattr(compiled, "recompile"):  # a `Kernel` is compiled anew by itself
        return False
    now = fingerprint(compiled)
    if not compiled.signatures:
        _FROZEN[compiled] = now
    return _FROZEN.setdefault(compiled, now) != now


def _check_frozen(compiled: Any) -> None:
    """Refuse a function of Numba that was compiled before a change: it computes with what it read then, in this process only."""
    if _is_outdated(compiled):
        raise TypeError(
            f"{compiled.__name__} must be compiled anew, as something that it reads has changed since: call "
            f"{compiled.__name__}.recompile() first"
        )
