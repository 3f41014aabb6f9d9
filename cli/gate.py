"""How every command ends: with an exit code, and where something went wrong with one line on stderr."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from functools import partial
from itertools import islice, pairwise
from typing import Any

import typer
from rich.markup import escape
from typer.core import TyperGroup

from gradnoise.cli import interruption
from gradnoise.cli.console import errors, say
from gradnoise.cli.streams import OutputLost, guarded

__all__ = ["FAILED", "UNEXPECTED", "Gate", "NotSaved", "tell"]

UNEXPECTED = 1  # a verdict, or a twin
_USAGE = 2
FAILED = 3  # a claim or a figure raised
# The rest is as sysexits.h and shells have it.
_BUG = 70
_NOT_WRITTEN = 74
_BROKEN_PIPE = 141
_INTERRUPTED = 130

_LONGEST = 600  # letters of a message, which may quote what was given


class NotSaved(Exception):
    """A file could not be written, after all that was computed for it."""


class Gate(TyperGroup):
    """The commands as a group that no exception leaves."""

    def main(self, *args: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        """Run a command line."""
        given = list(args[0] if args else extra.get("args") or sys.argv[1:])
        code = _run(partial(super().main, *args, standalone_mode=False, **extra), given)
        if standalone_mode:
            sys.exit(code)
        return code


def _run(command: Callable[[], int | None], given: list[str]) -> int:
    interruption.keeps(None)
    with guarded():
        try:
            code = command() or 0
            sys.stdout.flush()
        except (Exception, KeyboardInterrupt) as error:
            return _told(error, given)
        return _interrupted() if code == _INTERRUPTED or interruption.received() else code  # typer makes a code of Ctrl-C


def _told(error: BaseException, given: list[str]) -> int:
    """Tell what went wrong, and return the exit code."""
    if os.environ.get("GRADNOISE_TRACEBACK"):  # also of an interruption, which may hide something else
        traceback.print_exception(error)
    if interruption.received() or isinstance(error, (KeyboardInterrupt, typer.Abort)):
        return _interrupted()
    if isinstance(error, OutputLost):
        if isinstance(error.__cause__, BrokenPipeError):  # who reads has what he wants
            return _BROKEN_PIPE
        tell(f"stdout could not be written: {error.__cause__}")
        return _NOT_WRITTEN
    if isinstance(error, NotSaved):
        tell(str(error))
        return _NOT_WRITTEN
    if isinstance(error, MemoryError):
        tell(f"not enough memory for what was asked. {error}")
        return _USAGE
    if isinstance(error, (ValueError, TypeError, OSError, ImportError)) and not _is_of_ours(error):
        tell(_option_of(getattr(error, "filename", None), given) + (str(error) or type(error).__name__))
        return _USAGE
    if hasattr(error, "format_message"):  # typer's own, whose class has another place in each of its versions
        tell(_with_value(error.format_message(), getattr(error, "param", None), given))  # type: ignore[attr-defined]
        return _USAGE
    where = "" if os.environ.get("GRADNOISE_TRACEBACK") else " (GRADNOISE_TRACEBACK=1 shows where)"
    tell(f"this is a bug in gradnoise, please report it{where}: {type(error).__name__}: {error}")
    return _BUG


def _is_of_ours(error: BaseException) -> bool:
    """Whether an import fails within gradnoise. One of other packages is what is installed, or how: a user's to mend."""
    return isinstance(error, ImportError) and (error.name or "").partition(".")[0] == "gradnoise"


def _with_value(message: str, parameter: Any, given: list[str]) -> str:
    """Message about an option with what was given for it, which only some versions of typer say."""
    for name in getattr(parameter, "opts", ()):
        for i, word in reversed(list(enumerate(given))):  # the last one counts
            value = given[i + 1] if word == name and i + 1 < len(given) else word.removeprefix(f"{name}=")
            if word.startswith(name) and value != word and repr(value) not in message:
                return f"{message.rstrip('.')}, got {value!r}"
    return message


def _option_of(file: Any, given: list[str]) -> str:
    """Name the option that a file was given by, if any was."""
    named = (option for option, value in pairwise(given) if option.startswith("-") and value and str(file).startswith(value))
    return "".join(f"{option}: " for option in islice(named, 1))


def _interrupted() -> int:
    kept = interruption.kept()
    say("[yellow]interrupted[/]" + (f": {escape(kept)}" if kept else ""), to=errors)
    return interruption.exit_code()


def tell(message: str) -> None:
    """Print an error in one line on stderr."""
    line = " ".join(message.split())
    if len(line) > _LONGEST:
        line = f"{line[: _LONGEST // 2]} … {line[-_LONGEST // 2 :]}"
    say(f"[bold red]error:[/] {escape(line)}", to=errors)
