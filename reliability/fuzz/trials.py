"""One call that may go wrong, and one that did."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["NOT_TRIED", "NO_GOOD_CALL", "Fault", "Trial"]

#: Kind of a trial that was given up, after others like it hung or took long.
NOT_TRIED = "not tried"
#: Kind of a trial whose good call cannot be repeated, as it may be made but once.
NO_GOOD_CALL = "no good call"


@dataclass(frozen=True)
class Fault:
    """What is wrong with the end of a call."""

    kind: str
    where: str = ""
    message: str = ""


@dataclass(frozen=True)
class Trial:
    """A call with one argument replaced.

    `name` and `argument` say where, `value` by what; `run` makes the call and returns what is wrong with its end. `long` is
    one that has as much to do as it was told, and so is no fault where it takes its time.
    """

    name: str
    argument: str
    value: str
    run: Callable[[], Fault | None]
    long: bool = False
