"""What the commands share: consoles, and errors without tracebacks."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import typer
from rich.console import Console
from rich.markup import escape

__all__ = [
    "USAGE_ERROR", "check_file", "check_writable", "console", "errors", "goes_to_stdout", "needs_torch", "user_errors",
    "worker_count", "write_json",
]  # fmt: skip

USAGE_ERROR = 2
_WIDTH_OF_A_FILE = 150

console = Console()
if not console.is_terminal:
    console = Console(width=_WIDTH_OF_A_FILE)
errors = Console(stderr=True)


class WithJson(Protocol):
    """A result that can be written as JSON."""

    def to_json(self) -> str:
        """JSON text."""
        ...


@contextmanager
def user_errors() -> Iterator[None]:
    """Turn a bad argument into one line on stderr and exit code 2."""
    try:
        yield
    except (ValueError, TypeError, OSError) as error:
        errors.print(f"[bold red]error:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        raise typer.Exit(USAGE_ERROR) from None


def check_writable(folder: Path, name: str) -> None:
    """Make a folder and see that a file can be written there, before anything is computed.

    Raises
    ------
    ValueError
        If it cannot.
    """
    probe = folder / f".gradnoise-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ValueError(f"{name} must be a folder that can be written, got {str(folder)!r}: {error.strerror or error}") from None


def check_file(path: Path, name: str) -> None:
    """See that a file can be written, before anything is computed.

    Raises
    ------
    ValueError
        If it is a folder, or its folder cannot be written.
    """
    if path.is_dir():
        raise ValueError(f"{name} must be a file, got the folder {str(path)!r}")
    check_writable(path.parent, name)


def goes_to_stdout(json: Path | None) -> bool:
    """Return whether JSON is to be written to stdout, for "-"; see that a file for it can be written.

    Raises
    ------
    ValueError
        If it cannot.
    """
    if json is not None and str(json) == "-":
        return True
    if json is not None:
        check_file(json, "--json")
    return False


def write_json(result: WithJson, json: Path | None) -> None:
    """Write a result as JSON to a file, and say so, or to stdout for "-", or nowhere."""
    if json is None:
        return
    if str(json) == "-":
        sys.stdout.write(result.to_json())
    else:
        from gradnoise.simulations.ensemble import replacing  # here, as its import takes long

        with replacing(json) as file:
            file.write(result.to_json().encode())
        console.print(f"wrote {json}", highlight=False, soft_wrap=True)


def needs_torch() -> None:
    """See that there is PyTorch.

    Raises
    ------
    ValueError
        If not; it says how to install it.
    """
    try:
        import gradnoise.simulations.neural  # noqa: F401
    except ModuleNotFoundError as error:
        raise ValueError(str(error)) from None


def worker_count(jobs: int) -> int:
    """Return the number of threads for ``--jobs``, where 0 stands for all processors."""
    if jobs < 0:
        raise ValueError(f"--jobs must be >= 0, got {jobs}")
    import joblib

    return jobs or joblib.cpu_count()
