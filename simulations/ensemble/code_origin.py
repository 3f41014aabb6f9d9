"""Whose code a module is: ours, Python's, an installed distribution's, or the user's, which alone is followed by its content."""

from __future__ import annotations

import hashlib
import importlib.metadata
import inspect
import json
import os
import sys
import sysconfig
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

__all__ = ["OURS", "is_of_a_user", "is_ours", "named_in", "origin"]

#: Packages whose sources are in the key of a store as a whole.
OURS = ("gradnoise.theory", "gradnoise.simulations")

_STANDARD = tuple({os.path.realpath(sysconfig.get_path(name)) + os.sep for name in ("stdlib", "platstdlib")})
_INSTALLED = {"site-packages", "dist-packages"}


def is_ours(module: str | None) -> bool:
    """Whether a module is of theory or simulations; None is that of a function that was made of text."""
    return module is not None and any(module == package or module.startswith(package + ".") for package in OURS)


def is_of_a_user(module: str | None) -> bool:
    """Whether a module is a user's, known by name and followed by its content."""
    return module is not None and not is_ours(module) and origin(module) is None


def origin(module: str) -> str | None:
    """Return what stands for the code of a module: "Python", or name and version of a distribution; None where it is a user's."""
    return _origin(module, getattr(sys.modules.get(module), "__file__", None))


@lru_cache(maxsize=4096)
def _origin(module: str, file: str | None) -> str | None:
    top = module.partition(".")[0]
    if top in ("__main__", "gradnoise"):  # what is ours and not in OURS changes without a new version
        return None
    if top in sys.stdlib_module_names and (file is None or _is_standard(file)):
        return "Python"
    if file is None or not _among_distributions(module, file):
        return None
    named = _installed(top, file)  # most are called as what they hold, and looking through all of them takes a second
    others = _all_distributions().get(top, []) if named is None else []
    return named or next((found for name in others if (found := _installed(name, file))), None)


def _is_standard(file: str) -> bool:
    path = os.path.realpath(file)
    return path.startswith(_STANDARD) and not _INSTALLED & set(Path(path).parts)


def _among_distributions(module: str, file: str) -> bool:
    folders = list(Path(os.path.abspath(file)).parents)[: module.count(".") + 2]
    return any(next(folder.glob("*.dist-info"), None) is not None for folder in folders)


@cache
def _all_distributions() -> dict[str, list[str]]:
    return {name: sorted(found) for name, found in importlib.metadata.packages_distributions().items()}


def _installed(distribution: str, file: str) -> str | None:
    """Name and version of a distribution, where a file lies in the folder into which it was installed."""
    folder, version = _distribution(distribution)
    return version if folder and os.path.abspath(file).startswith(folder) else None


@cache
def _distribution(name: str) -> tuple[str, str]:
    """Folder and version, both empty where it was not installed, but only lies there or is edited in place."""
    try:
        found = importlib.metadata.distribution(name)
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return "", ""
    record, source = found.read_text("RECORD"), json.loads(found.read_text("direct_url.json") or "{}")
    if record is None or source.get("dir_info", {}).get("editable"):
        return "", ""
    # From a folder or a repository, it may come again with other code under the same version; its record has hashes.
    edition = f" {hashlib.sha256(record.encode()).hexdigest()[:16]}" if source else ""
    return os.path.abspath(str(found.locate_file(""))) + os.sep, f"{found.metadata['Name']} {found.version}{edition}"


def named_in(module: str, qualname: str) -> Any:
    """Object that a module has under a name with dots; None where there is none."""
    found: Any = sys.modules.get(module)
    for part in qualname.split("."):
        found = inspect.getattr_static(found, part, None)
    return found
