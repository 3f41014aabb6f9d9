"""Results that cannot fit into this machine's memory are refused before the first of them is computed."""

from __future__ import annotations

import os
from pathlib import Path

from gradnoise.theory._validation import as_count, as_text

__all__ = ["check_fits"]

_CONTAINER_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
_UNKNOWN = 2**34  # bytes, where the system does not say
_ALWAYS_FITS = 2**20  # bytes; to ask the system takes as long as some blocks do
_LARGEST = 10**100  # bytes; more than any three counts make, and a float


def check_fits(n_bytes: int, what: str) -> None:
    """Raise unless so many bytes are at most half of the memory: blocks and what they are joined to are held at once.

    Parameters
    ----------
    n_bytes : int
        As a Python number, which does not overflow.
    what : str
        Argument, its value and what it makes so large.

    Raises
    ------
    ValueError
        If they do not fit.
    TypeError
        If they are no integer.

    Examples
    --------
    >>> from gradnoise.simulations.ensemble import check_fits
    >>> check_fits(8 * 1000, "n_paths = 1000 makes results")
    >>> check_fits(8 * 10**18, "n_paths = 1000000000000000000 makes results")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    ValueError: n_paths = 1000000000000000000 makes results of 7450580596.9 GiB, allowed are ... GiB, half of the memory
    """
    n_bytes, what = as_count(n_bytes, "n_bytes", at_least=0, at_most=_LARGEST), as_text(what, "what")
    if n_bytes <= _ALWAYS_FITS:
        return
    allowed = _memory() // 2
    if n_bytes > allowed:
        raise ValueError(f"{what} of {n_bytes / 2**30:.1f} GiB, allowed are {allowed / 2**30:.1f} GiB, half of the memory")


def _memory() -> int:
    """Bytes of this machine, or of the container."""
    try:
        found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    except (AttributeError, ValueError, OSError):
        found = [_UNKNOWN]
    for path in map(Path, _CONTAINER_LIMITS):
        try:
            found.append(int(path.read_text()))
        except (OSError, ValueError):  # none, or "max"
            continue
    return min(found)
