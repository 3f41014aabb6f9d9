"""Folders that cannot be written, also not by root, to whom permissions say nothing."""

from __future__ import annotations

import os
from pathlib import Path

_MOUNT = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'


def sealed(argv: list[str], folder: Path) -> list[str]:
    """Return the command that runs another one where a folder and all in it can be read only.

    Root gets a read-only mount that nobody else sees, others lose the permission until it is given back.
    """
    if os.getuid() == 0:
        return ["unshare", "--mount", "bash", "-c", _MOUNT, str(folder), *argv]
    for path in [*folder.rglob("*"), folder]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    return argv


def unsealed(folder: Path) -> None:
    """Give the permission to write back."""
    folder.chmod(0o755)
    for path in folder.rglob("*"):
        path.chmod(0o755)
