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

from gradnoise.simulations.ensemble.code_origin import is_of_a_user, is_ours
from gradnoise.simulations.ensemble.identity_walk import Walk
from gradnoise.simulations.ensemble.object_parts import compiled_from
from gradnoise.theory._validation import shown

__all__ = ["content", "fingerprint", "identity", "renew"]

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
        If something that it reaches cannot be known, or is a ufunc, callback or class that Numba has compiled before a change, or
        keeps on disk; it is named.

    Notes
    -----
    A function of Numba's has frozen what it read when it was compiled, which the hash does not tell. So, as by `renew`, it is
    compiled anew where that may have been something else, what Numba keeps of it on disk is removed, and caches of results are
    emptied.
    """
    walk = Walk(strict=True, ours_by_content=ours_by_content)
    found = _hash_by(walk, value, name)
    _renew_all(walk)
    return found


def content(value: Any) -> str:
    """Return a hash of what a value is, as `identity` does, in which all that cannot be known is alike.

    Parameters
    ----------
    value : object

    Returns
    -------
    str

    Examples
    --------
    >>> from gradnoise.simulations.ensemble.function_identity import content
    >>> content((abs, 2.0)) == content((abs, 2.0)) != content((abs, 2))
    True
    """
    return _hash_by(Walk(strict=False), value, "value")


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
    found = _hash_by(walk, source, "function")  # first, as it meets what is unknown
    return found, tuple(_SameObject(value) for value in walk.unknown)


def renew(function: Callable[..., Any]) -> None:
    """Compile anew what Numba has compiled of all that a function calls, where something that it reads may have changed since.

    That is so, too, where it was compiled before anybody looked. What Numba keeps of it on disk is good for its own file alone,
    and is removed; and what a cache of results holds.

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
    _renew_all(walk, but=function)


class _SameObject:
    """A key that is equal for one object only, and keeps it alive."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _SameObject) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


def _hash_by(walk: Walk, value: Any, name: str) -> str:
    """Hash of the form of a value, and of all that it reaches."""
    form = [walk.form(value, name), walk.definitions()]
    return hashlib.sha256(json.dumps(form).encode()).hexdigest()


def _renew_all(walk: Walk, but: Any = None) -> None:
    """Bring functions that Numba has compiled, and caches of results, to what they read now, or refuse them.

    Raises
    ------
    TypeError
        If something has changed that was compiled for good, as ufuncs, callbacks and compiled classes are.
    """
    for function in {id(compiled): compiled for compiled in walk.compiled}.values():  # each once, however often it was met
        if function is but:
            continue
        source: Any = (compiled_from(function) or (None,))[0]
        known = inspect.isfunction(source) and is_of_a_user(source.__module__ or "")
        if known and not is_ours(type(function).__module__):  # a `Kernel` is compiled anew by itself
            lasts = not hasattr(function, "recompile") or any(function is one for one in walk.methods)
            _renew_one(function, fingerprint(source), lasts)


def _renew_one(function: Any, now: tuple[Any, ...], lasts: bool) -> None:
    """Bring one of them to what it reads now; what lasts cannot be compiled anew."""
    before = _FROZEN.get(function)
    if hasattr(function, "cache_clear"):
        _FROZEN[function] = now
        if before != now:
            function.cache_clear()
        return
    if before is None:
        _forget(function, lasts)
    if lasts:
        if _FROZEN.setdefault(function, now) != now:
            raise TypeError(
                f"{function.__name__} must be defined anew, as something that it reads has changed since it was compiled: what "
                "numba.njit makes of a function can be compiled again, but this cannot"
            )
        return
    if not function.signatures:  # it will be compiled from what is there then, which nobody sees
        _FROZEN.pop(function, None)
    elif before != now:
        _FROZEN[function] = now  # first, as functions may call each other
        renew(function)  # what it calls becomes a part of it
        function.recompile()


def _forget(function: Any, lasts: bool) -> None:
    """Remove what Numba itself keeps of a function on disk, here and for workers."""
    from numba.core.caching import NullCache

    of_a_ufunc = getattr(getattr(function, "_dispatcher", None), "cache", None)
    kept = of_a_ufunc or getattr(function, "_cache", None) or NullCache()
    if isinstance(kept, NullCache):
        return
    refusal = TypeError(f"{function.__name__} must be without cache=True, as Numba may take old code from there")
    if lasts:  # it was compiled when it was defined, and may have been read from there
        raise refusal
    try:
        kept.flush()
    except OSError as error:
        raise refusal from error
