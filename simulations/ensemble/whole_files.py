"""Files that are there whole or not at all, also after a power cut."""

from __future__ import annotations

import errno
import hashlib
import os
import platform
import secrets
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import BinaryIO

from gradnoise.theory._validation import as_flag, as_path

__all__ = ["remove_leftovers", "replacing", "sync_folder"]

_WINDOWS = sys.platform == "win32"
_PREFIX, _SUFFIX = ".gradnoise-", ".tmp"
_OLD_SECONDS = 7 * 86_400  # no file takes longer to write


@contextmanager
def replacing(path: str | os.PathLike[str], *, sweep: bool = True) -> Iterator[BinaryIO]:
    """Open a file for writing that takes the place of another one when the block ends; if it raises, the old one stays.

    Parameters
    ----------
    path : path
        A link stays one. What is no regular file, as a pipe or ``/dev/null``, is written directly, and so is the file that stdout
        or stderr goes to, behind what is there.
    sweep : bool
        Whether leftovers of writers that were killed are removed from its folder.

    Yields
    ------
    binary file

    Raises
    ------
    OSError
        If the file cannot be written.
    TypeError, ValueError
        If an argument is not allowed.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from gradnoise.simulations.ensemble import replacing
    >>> file = Path(tempfile.mkdtemp()) / "risk.txt"
    >>> file.write_text("0.5")
    3
    >>> with replacing(file) as new:
    ...     _ = new.write(b"0.25")
    ...     file.read_text()
    '0.5'
    >>> file.read_text()
    '0.25'
    """
    target, sweep = Path(os.path.realpath(as_path(path, "path"))), as_flag(sweep, "sweep")
    if target.exists() and not target.is_file():
        with open(target, "wb") as file:
            yield file
        return
    if (stream := _stream_into(target)) is not None:
        with os.fdopen(os.dup(stream), "wb") as file:
            yield file
        return
    if not target.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), os.fspath(path))
    if target.exists() and not os.access(target, os.W_OK):  # a rename would not ask
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fspath(path))
    if sweep:
        remove_leftovers(target.parent)
    temporary, file = _temporary(target.parent)
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            if target.exists():
                shutil.copymode(target, temporary)
            if not _WINDOWS:  # the lock is held until the file has its name
                os.replace(temporary, target)
        if _WINDOWS:  # an open file keeps its name there
            os.replace(temporary, target)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None and error.filename in (None, os.fspath(temporary)):
            error.filename = os.fspath(path)  # a full disk does not say of itself what it had no room for
        raise
    sync_folder(target.parent)


def _stream_into(target: Path) -> int | None:
    """Number of the stream, stdout or stderr, that goes to a file: to put another in its place would lose what is printed."""
    for number, stream in ((1, sys.stdout), (2, sys.stderr)):
        try:
            is_it = os.path.samestat(os.fstat(number), os.stat(target))
        except OSError:  # it is closed, or there is no such file
            continue
        if is_it:
            if stream is not None:
                stream.flush()
            return number
    return None


def remove_leftovers(folder: Path) -> None:
    """Remove temporary files of writers that were killed, and none of a writer that lives.

    A writer locks its file, and the lock ends with the process, however that ends. Where locks say nothing, on a file of another
    machine, only age tells.

    Parameters
    ----------
    folder : Path
    """
    for path in folder.glob(f"{_PREFIX}*{_SUFFIX}"):
        try:
            if not path.is_file():  # to open a pipe is to wait
                continue
            if time.time() - path.stat().st_mtime > _OLD_SECONDS:
                path.unlink()
            elif not _WINDOWS and path.name.startswith(f"{_PREFIX}{_host()}-"):
                with open(path, "r+b") as file:
                    _lock(file)
                    path.unlink()  # while it is locked, so that a writer which is about to lock it sees that it is gone
        except OSError:  # a writer has it, there are no locks, the disk is read-only, or another one was faster
            continue


def _temporary(folder: Path) -> tuple[Path, BinaryIO]:
    """Open a new temporary file, and lock it; another one if it was taken for a leftover before the lock was there."""
    while True:
        path = folder / f"{_PREFIX}{_host()}-{secrets.token_hex(8)}{_SUFFIX}"
        file = open(path, "xb")  # noqa: SIM115  the caller closes it
        if _WINDOWS:
            return path, file
        try:
            _lock(file)
        except BlockingIOError:
            file.close()
            continue
        except OSError:  # a file system without locks, on which nobody removes it before it is old
            return path, file
        if path.exists():
            return path, file
        file.close()


def _lock(file: BinaryIO) -> None:
    """Lock a file until it is closed, or its process ends; OSError where another one has it or nobody can."""
    import fcntl  # here, as Windows has none

    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@cache
def _host() -> str:
    """Stands for this machine in the name of a file, as not all file systems tell others of its locks."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]


def sync_folder(folder: Path) -> None:
    """Put on disk which files a folder holds."""
    if not _WINDOWS:  # a folder cannot be opened there
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
