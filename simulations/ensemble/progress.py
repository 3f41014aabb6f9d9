"""Progress of anything that takes more than a few seconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np

from gradnoise.theory._validation import as_count, as_text, shown

__all__ = ["Progress", "as_progress", "reporter", "without_bars"]

Progress = bool | Callable[[int, int], None] | None

_PATIENCE_SECONDS = 2.0
_bars_wanted: ContextVar[bool] = ContextVar("_bars_wanted", default=True)


@contextmanager
def without_bars() -> Iterator[None]:
    """Context in which runs show no bar of their own accord, for a caller that has one already.

    Examples
    --------
    >>> from gradnoise.simulations import ensemble
    >>> def kernel(n_paths, generator):
    ...     return (generator.random(n_paths),)
    >>> with ensemble.without_bars():
    ...     (samples,) = ensemble.run(kernel, (), 10, rng=1, reduce=ensemble.concatenate)
    >>> samples.shape
    (10,)
    """
    token = _bars_wanted.set(False)
    try:
        yield
    finally:
        _bars_wanted.reset(token)


@contextmanager
def reporter(progress: Progress, total: int, description: str, unit: str = "paths") -> Iterator[Callable[[int], None]]:
    """Yield a function that is told how many paths, or other units, were just finished.

    Parameters
    ----------
    progress : bool, callable or None
        See `gradnoise.simulations.ensemble.run`.
    total : int
        Units in all.
    description, unit : str
        Stand before the bar, and behind its numbers.

    Examples
    --------
    >>> from gradnoise.simulations.ensemble import reporter
    >>> with reporter(lambda done, total: print(f"{done} of {total}"), 3, "rows") as tell:
    ...     tell(1)
    ...     tell(2)
    1 of 3
    3 of 3
    """
    progress, total = as_progress(progress), as_count(total, "total", at_least=0)
    description, unit = as_text(description, "description"), as_text(unit, "unit")
    if callable(progress):
        done = 0

        def tell(n: int) -> None:
            nonlocal done
            done += n
            progress(done, total)

        yield tell
    elif progress is False or (progress is None and not (_bars_wanted.get() and sys.stderr.isatty())):
        yield lambda n: None
    else:
        with _Bar(total, description, unit, wanted=bool(progress)) as bar:
            yield bar.advance


def as_progress(progress: Progress) -> Progress:
    """Return `progress`, or raise where it is nothing that says how progress is shown."""
    if not (progress is None or isinstance(progress, (bool, np.bool_)) or callable(progress)):
        raise TypeError(f"progress must be True, False, None or a function, got {shown(progress)}")
    return bool(progress) if isinstance(progress, np.bool_) else progress


class _Bar:
    """A rich progress bar on stderr. Unless it was asked for, it appears only when a run is long, and leaves no trace."""

    def __init__(self, total: int, description: str, unit: str, wanted: bool) -> None:
        self._total, self._description, self._unit, self._wanted = total, description, unit, wanted
        self._appears = time.monotonic() + (0.0 if wanted else _PATIENCE_SECONDS)
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
                TextColumn(self._unit),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=not self._wanted,
            )
            self._task = self._bar.add_task(self._description, total=self._total)
            self._bar.start()
        if self._bar is not None:
            self._bar.update(self._task, completed=self._done)
