"""Progress of anything that takes more than a few seconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["Progress", "reporter"]

Progress = bool | Callable[[int, int], None] | None

_PATIENCE_SECONDS = 2.0


@contextmanager
def reporter(progress: Progress, total: int, description: str) -> Iterator[Callable[[int], None]]:
    """Yield a function that is told how many paths were just finished.

    Parameters
    ----------
    progress : bool, callable or None
        See `gradnoise.simulations.ensemble.run`.
    total : int
        Paths in all.
    description : str
        Stands before the bar.
    """
    if callable(progress):
        done = 0

        def tell(n: int) -> None:
            nonlocal done
            done += n
            progress(done, total)

        yield tell
    elif progress is False or (progress is None and not sys.stderr.isatty()):
        yield lambda n: None
    else:
        with _Bar(total, description, patience=0.0 if progress else _PATIENCE_SECONDS) as bar:
            yield bar.advance


class _Bar:
    """A rich progress bar on stderr that appears only when a run turns out to be long."""

    def __init__(self, total: int, description: str, patience: float) -> None:
        self._total, self._description = total, description
        self._appears = time.monotonic() + patience
        self._done = 0
        self._bar = None

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, n: int) -> None:
        self._done += n
        if self._bar is None and time.monotonic() >= self._appears:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("paths"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._task = self._bar.add_task(self._description, total=self._total)
            self._bar.start()
        if self._bar is not None:
            self._bar.update(self._task, completed=self._done)
