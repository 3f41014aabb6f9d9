"""What made a result: versions and the machine."""

from __future__ import annotations

import importlib.metadata
import platform

__all__ = ["versions"]


def versions() -> dict[str, str]:
    """Versions of gradnoise, Python and the libraries that numbers come from, and the kind of machine.

    Returns
    -------
    dict of str to str

    Examples
    --------
    >>> from gradnoise.simulations.ensemble import versions
    >>> sorted(versions())
    ['gradnoise', 'joblib', 'machine', 'numba', 'numpy', 'python', 'scipy']
    """
    found = {name: importlib.metadata.version(name) for name in ("numpy", "scipy", "numba", "joblib")}
    try:
        found["gradnoise"] = importlib.metadata.version("gradnoise")
    except importlib.metadata.PackageNotFoundError:  # a source tree on the path, not installed
        found["gradnoise"] = "unknown"
    return {**found, "python": platform.python_version(), "machine": f"{platform.system()} {platform.machine()}"}
