"""Ctrl-C, SIGTERM and a terminal that closes, at any moment.

Where there is nothing to keep the program ends at once, also in the middle of an import. Where it is `working` a
KeyboardInterrupt is raised instead, so that what was computed can be kept, and `saving` is not cut off. This file is the first
that the command runs, and so imports little: before it has, Ctrl-C is a traceback.
"""

from __future__ import annotations

import os
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from types import FrameType

__all__ = ["exit_code", "keeps", "kept", "received", "resume", "saving", "watch", "working"]

_AT_ONCE, _RAISES, _WAITS = range(3)
_mode = _AT_ONCE
_signal: int | None = None
_kept: str | None = None


def watch() -> None:
    """Handle signals that ask the program to end, but for those that its parent ignores."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # the last is unknown to Windows
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _handle)


def _handle(number: int, frame: FrameType | None) -> None:
    global _signal
    if _mode == _AT_ONCE:
        try:
            os.write(2, b"interrupted\n")
        finally:
            os._exit(128 + number)  # an exception may be lost in the middle of an import
    _signal = number
    if _mode == _RAISES:
        raise KeyboardInterrupt


class _In:
    """Context in which a signal does what a mode says."""

    def __init__(self, mode: int) -> None:
        self._inside = mode

    def __enter__(self) -> None:
        global _mode
        self._outside, _mode = _mode, self._inside

    def __exit__(self, *exc: object) -> None:
        global _mode
        _mode = self._outside


def working(kept: str | None = None) -> _In:
    """Context in which an interruption is a KeyboardInterrupt; `kept` says what then becomes of the work."""
    keeps(kept)
    return _In(_RAISES)


def saving() -> _In:
    """Context which an interruption does not cut off; it makes the exit code all the same."""
    return _In(_WAITS)


def received() -> bool:
    """Whether the program was asked to end. An exception may be lost on its way, so this is looked at, too."""
    return _signal is not None


def keeps(what: str | None) -> None:
    """Set what is said to become of the work that is interrupted."""
    global _kept
    _kept = what


def kept() -> str | None:
    """Return what becomes of the work that was interrupted."""
    return _kept


def resume(folder: Path | None, option: str = "--store") -> str:
    """Say how work goes on that keeps its parts in a folder, or would."""
    if folder is None:
        return f"nothing is kept; with {option} DIR it could be continued"
    return f"the same command goes on from what is in {folder}"


def exit_code() -> int:
    """Return the exit code of a program that was interrupted, as shells have it."""
    return 128 + (_signal or signal.SIGINT)
