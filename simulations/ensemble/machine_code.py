"""Numba's machine code on disk, kept for as long as nothing that it was made from has changed.

Numba itself looks at the file of a function alone: after an edit of another file, whose function or constant this one reads, it
loads the old code. Here its stamp holds the identity of all that the function reaches.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from typing import Any

from gradnoise.simulations.ensemble.function_identity import identity, renew
from gradnoise.theory._validation import as_text, shown

__all__ = ["callback", "keep_on_disk"]


def keep_on_disk(compiled: Any, function: Callable[..., Any], options: dict[str, Any]) -> None:
    """Let Numba keep and load the machine code of a dispatcher or a callback, where that is safe and possible.

    It is not where the function reaches something that cannot be known, or where no folder can be written; then each process
    compiles anew.
    """
    try:
        from numba.core.caching import FunctionCache, IndexDataCacheFile

        cache = FunctionCache(function)
        stamp = cache._impl.locator.get_source_stamp(), identity(function, "function", ours_by_content=True)
        kind = hashlib.sha256(f"{type(compiled).__name__} {sorted(options.items())}".encode()).hexdigest()[:8]
        # One function may be compiled in several ways, which Numba would keep in one file.
        cache._cache_file = IndexDataCacheFile(cache.cache_path, f"{cache._impl.filename_base}-{kind}", stamp)
        # Numba would warn of what it cannot keep, as code with a large array in it.
        cache._impl.check_cachable = lambda result: not (getattr(result, "lifted", ()) or result.library.has_dynamic_globals)
        cache.load_overload, cache.save_overload = _or_none(cache.load_overload), _or_none(cache.save_overload)
    except (RuntimeError, TypeError, AttributeError, ImportError, OSError):  # the last but one are another version of Numba
        return
    compiled._cache = cache


def _or_none(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method of Numba's cache that gives None, as where nothing is kept, for files that cannot be read or written.

    They may be damaged, the disk full, or the module of a function one that another process cannot import.
    """

    def tried(*args: Any) -> Any:
        try:
            return method(*args)
        except Exception:  # damaged pickles raise nearly anything
            return None

    return tried


def callback(function: Callable[..., Any], signature: str, **options: Any) -> Any:
    """Compile a function that kernels take as an argument, and keep its machine code on disk.

    Parameters
    ----------
    function : callable
        In the part of Python that Numba compiles.
    signature : str
        Its types.
    **options
        Of `numba.cfunc`.

    Returns
    -------
    callback
        Of Numba, which kernels call.

    Raises
    ------
    TypeError, ValueError
        If it is no function written in Python, or Numba does not know the types.
    numba.NumbaError
        If it cannot be compiled.

    Examples
    --------
    >>> from gradnoise.simulations.ensemble import callback, kernel
    >>> def half(x):
    ...     return x / 2
    >>> @kernel
    ... def applied(function, x):
    ...     return function(x)
    >>> applied(callback(half, "float64(float64)"), 3.0)
    1.5
    """
    from numba.core import sigutils
    from numba.core.ccallback import CFunc  # what numba.cfunc makes, and compiles before a cache could be given to it

    if not inspect.isfunction(function):
        raise TypeError(f"function must be a Python function, got {shown(function)}")
    signature = as_text(signature, "signature")
    try:
        types = sigutils.normalize_signature(signature)
    except Exception as error:  # Numba evaluates it as Python, which may raise anything
        raise ValueError(f"signature must be one of Numba's, got {shown(signature)}: {error}") from None
    renew(function)
    made = CFunc(function, types, locals={}, options=options)
    keep_on_disk(made, function, options)
    made.compile()
    return made
