"""What commands write: checked before anything is computed, and written before anything is printed."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Callable, Iterable
from itertools import combinations, product
from pathlib import Path
from typing import Protocol

from rich.console import Console
from rich.markup import escape

from gradnoise.cli import interruption
from gradnoise.cli.console import console, errors, say, write_json_text
from gradnoise.cli.gate import NotSaved

__all__ = ["Files", "check_apart", "check_file", "check_json", "check_writable", "deliver", "file_of", "is_stdout"]


class WithJson(Protocol):
    """A result that can be written as JSON."""

    def to_json(self) -> str:
        """JSON text."""
        ...


def check_writable(folder: Path, name: str) -> None:
    """Make a folder and see that a file can be written there, before anything is computed.

    Raises
    ------
    ValueError
        If it cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except (OSError, ValueError) as error:  # the latter of a name with a NUL
        raise _not_writable(name, "folder", folder, error) from None


def check_file(path: Path, name: str) -> None:
    """See that a file can be written, before anything is computed.

    Raises
    ------
    ValueError
        If it is a folder, or its folder cannot be written.
    """
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        target = Path(os.path.realpath(path)) if os.path.islink(path) else path  # where a link that leads nowhere would lead
        check_writable(target.parent, name)
        return
    except (OSError, ValueError) as error:
        raise _not_writable(name, "file", path, error) from None
    if stat.S_ISDIR(found.st_mode):
        raise ValueError(f"{name} must be a file, got the folder {str(path)!r}")
    if not os.access(path, os.W_OK):
        raise _not_writable(name, "file", path, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))
    if stat.S_ISREG(found.st_mode):  # no device or pipe, which stay where they are
        check_writable(Path(os.path.realpath(path)).parent, name)


def _not_writable(name: str, kind: str, path: Path, error: Exception) -> ValueError:
    reason = getattr(error, "strerror", None) or error
    return ValueError(f"{name} must be a {kind} that can be written, got {str(path)!r}: {reason}")


def check_json(json: Path | None) -> None:
    """See that a file for ``--json`` can be written, before anything is computed.

    Raises
    ------
    ValueError
        If it cannot.
    """
    if (file := file_of(json)) is not None:
        check_file(file, "--json")


def check_apart(files: Iterable[tuple[str, Path | None]], folders: Iterable[tuple[str, Path | None]] = ()) -> None:
    """See that no option's file is one of another's, or stands where another's has a folder, before anything is computed.

    Parameters
    ----------
    files : iterable of (str, Path or None)
        Option and file; several of one option are known to be apart.
    folders : iterable of (str, Path or None)
        Option and folder, in which others may write files.

    Raises
    ------
    ValueError
        If one is; it names both options.
    """
    written = [(name, path) for name, path in files if path is not None]
    kept = [(name, path) for name, path in folders if path is not None]
    for (name, path), (other, its) in combinations(written, 2):
        if name != other and (_is_in(its, path) or _is_in(path, its)):
            raise ValueError(f"{name} must be another file than those of {other}, got {str(path)!r}")
    for (name, path), (other, its) in product(written, kept):
        if name != other and _is_in(its, path):
            raise ValueError(f"{name} must be another file than the folder of {other}, got {str(path)!r}")


def _is_in(path: Path, other: Path) -> bool:
    """Whether a path is another one, or below it, by whatever links and names."""
    try:
        if path.exists() and other.exists() and os.path.samefile(path, other):
            return True
        place = Path(os.path.realpath(path))
        return Path(os.path.realpath(other)) in (place, *place.parents)
    except (OSError, ValueError):  # of no path that a file can have, which is said elsewhere
        return False


def file_of(json: Path | None) -> Path | None:
    """Return the file of ``--json``; None where it is stdout."""
    return None if is_stdout(json) else json


def is_stdout(json: Path | None) -> bool:
    """Whether ``--json`` stands for stdout, by "-"."""
    return json is not None and str(json) == "-"


class Files:
    """Files of a result. One that cannot be written keeps neither the others from it, nor the result from being printed."""

    def __init__(self) -> None:
        self._written: list[Path] = []
        self._failures: list[Exception] = []

    def write(self, target: Path | None, write: Callable[[Path], Iterable[Path] | None]) -> None:
        """Call ``write(target)``, which may return which files it wrote; do nothing for None."""
        if target is None:
            return
        try:
            self._written += write(target) or [target]
        except OSError as error:
            self._failures.append(NotSaved(f"{target} could not be written: {error.strerror or error}"))
        except Exception as error:
            self._failures.append(error)

    @property
    def failed(self) -> bool:
        """Whether a file could not be written."""
        return bool(self._failures)

    def tell(self, to: Console = console) -> None:
        """Say what was written, and raise what could not be."""
        for path in self._written:
            say(f"wrote {escape(str(path))}", to=to)
        for failure in self._failures:
            raise failure


def deliver(
    result: WithJson,
    json: Path | None,
    show: Callable[[], None],
    plots: Iterable[tuple[Path | None, Callable[[Path], None]]] = (),
) -> None:
    """Write a result to its files, as JSON and as each of the plots; then print it, by `show` or as JSON for "-"."""
    to_stdout = is_stdout(json)
    files = Files()
    with interruption.saving():
        files.write(file_of(json), _json_into(result))
        for path, draw in plots:
            files.write(path, draw)
    if to_stdout:
        write_json_text(result.to_json())
    else:
        show()
    files.tell(errors if to_stdout else console)


def _json_into(result: WithJson) -> Callable[[Path], None]:
    """Return a function that writes a result as JSON to a file, for `Files.write`."""

    def write(path: Path) -> None:
        from gradnoise.simulations.ensemble import replacing  # here, as its import takes long

        with replacing(path) as file:
            file.write(result.to_json().encode())

    return write
