"""How far a run is, on stderr."""

from __future__ import annotations

import sys
import time

__all__ = ["Progress"]


class Progress:
    """A line that overwrites itself on a terminal, and elsewhere one every half minute.

    No thread writes it, as what follows forks.
    """

    def __init__(self) -> None:
        self._on_terminal = sys.stderr.isatty()
        self._pause = 0.1 if self._on_terminal else 30.0
        self._due = time.monotonic() + self._pause

    def __call__(self, said: str) -> None:
        """Say it if it is time to."""
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + self._pause
            sys.stderr.write(f"\r\033[K{said[:120]}" if self._on_terminal else f"{said}\n")
            sys.stderr.flush()

    def end(self) -> None:
        """Leave a terminal as it was."""
        if self._on_terminal:
            sys.stderr.write("\r\033[K")
