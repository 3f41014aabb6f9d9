"""Folders that a user names."""

from __future__ import annotations

import os
from pathlib import Path


def as_folder(value: object, name: str) -> Path:
    """Return a path, or raise naming the argument.

    Parameters
    ----------
    value : path
    name : str
        Of the argument.

    Returns
    -------
    Path

    Raises
    ------
    TypeError
        If it is no path.

    Examples
    --------
    >>> from gradnoise.simulations.neural.folders import as_folder
    >>> as_folder(3, "folder")
    Traceback (most recent call last):
    TypeError: folder must be a path, got 3
    """
    if not isinstance(value, str | os.PathLike):
        raise TypeError(f"{name} must be a path, got {value!r}")
    return Path(value)
