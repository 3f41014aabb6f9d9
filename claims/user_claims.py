"""Claims that users register: where they come from, and how their files are imported.

A file is imported once for what stands in it: after a change, its claims are those that it has now. Its folder is where it finds
what it imports, as for a script. Nothing of a file that raises stays registered.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from gradnoise.claims.claim import CLAIMS, Claim
from gradnoise.claims.entry import Failure
from gradnoise.theory._validation import as_text, shown

__all__ = ["is_file", "load_file", "load_module", "registered"]

_OURS = "gradnoise"
_PICKLERS = ("cloudpickle", "joblib.externals.cloudpickle")  # that of joblib is either, as its version has it; dask has the first


def registered() -> dict[str, Claim]:
    """Claims that are not of the papers' modules.

    Returns
    -------
    dict of Claim
        By id, in the order in which they were registered.

    Examples
    --------
    >>> "zhu2019.trace-norm" in registered()
    False
    """
    return {id: c for id, c in CLAIMS.items() if type(c).__module__.partition(".")[0] != _OURS}


def is_file(source: str) -> bool:
    """Whether a text is a path: it ends as one of Python's, or has a folder in it.

    Parameters
    ----------
    source : str

    Returns
    -------
    bool

    Examples
    --------
    >>> is_file("my_claims.py"), is_file("folder/claims"), is_file("zhu2019.eq13")
    (True, True, False)
    """
    source = as_text(source, "source")
    return source.endswith(".py") or os.sep in source or "/" in source


def load_file(source: str) -> dict[str, Claim]:
    """Import a file, unless it was imported as it is now, and return the claims that it registers.

    Parameters
    ----------
    source : str
        Path of a Python file.

    Returns
    -------
    dict of Claim
        By id.

    Raises
    ------
    ValueError
        If there is no such file, it raises, or registers no claim.

    Examples
    --------
    >>> load_file("nowhere.py")
    Traceback (most recent call last):
    ValueError: ids must be of files that can be read, got 'nowhere.py': No such file or directory
    """
    try:
        path = Path(as_text(source, "source")).resolve()
        code = path.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"ids must be of files that can be read, got {shown(source)}: {reason}") from None
    name = f"{path.stem}_{hashlib.sha256(os.fsencode(path) + code).hexdigest()[:12]}"
    if name in sys.modules:
        return _of_module(name, source)
    for other in [other for other, module in sys.modules.items() if getattr(module, "__file__", None) == str(path)]:
        if other.startswith(f"{path.stem}_"):  # as the file was before
            _forget(other)

    def run() -> None:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        if str(path.parent) not in sys.path:
            sys.path.insert(0, str(path.parent))
        exec(compile(code, str(path), "exec", dont_inherit=True), module.__dict__)
        for pickler in _picklers():
            pickler.register_pickle_by_value(module)  # other processes do not know its name

    return _imported(run, name, source)


def load_module(source: str) -> dict[str, Claim] | None:
    """Import a module, and return the claims that it registers.

    Parameters
    ----------
    source : str
        Its name, with dots.

    Returns
    -------
    dict of Claim or None
        By id; None where there is no such module.

    Raises
    ------
    ValueError
        If it raises, or registers no claim.

    Examples
    --------
    >>> list(load_module("gradnoise.claims.zhu2019.proposition3"))[:1]
    ['zhu2019.prop3']
    >>> load_module("no.such_module")
    """
    try:
        if importlib.util.find_spec(as_text(source, "source")) is None:
            return None
    except (ImportError, ValueError, AttributeError):  # also where its parent is no package
        return None
    return _imported(lambda: importlib.import_module(source), source, source)


def _imported(run: Callable[[], object], name: str, source: str) -> dict[str, Claim]:
    """Import a module; where that raises, nothing of it stays."""
    before = set(CLAIMS)
    try:
        run()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # also a SystemExit, of a script
        for id in CLAIMS.keys() - before:
            del CLAIMS[id]
        sys.modules.pop(name, None)
        raise ValueError(f"ids must be of claims that can be imported, got {shown(source)}: {Failure.of(error)}") from error
    return _of_module(name, source)


def _of_module(name: str, source: str) -> dict[str, Claim]:
    inner = f"{name}."
    found = {id: c for id, c in CLAIMS.items() if type(c).__module__ == name or type(c).__module__.startswith(inner)}
    if not found:
        raise ValueError(f"ids must be of files or modules that register claims by @claim, got {shown(source)}, which has none")
    return found


def _forget(name: str) -> None:
    """Unregister the claims of a module."""
    for id in [id for id, c in CLAIMS.items() if type(c).__module__ == name]:
        del CLAIMS[id]
    module = sys.modules.pop(name)
    for pickler in _picklers():
        pickler.unregister_pickle_by_value(module)


def _picklers() -> list[Any]:
    found = []
    for name in _PICKLERS:
        with suppress(ModuleNotFoundError):
            found.append(importlib.import_module(name))
    return found
