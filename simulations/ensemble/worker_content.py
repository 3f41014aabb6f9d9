"""Whether workers have what this process, or this thread, has.

Worker processes keep the modules and compiled functions that they met before. So a constant that was changed, or a file that was
edited and loaded again, is as it was in a worker that lives; and what was set in a module after its import never comes to one at
all, as workers import it for themselves. Threads share modules, but may compute in another precision.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from joblib.externals.loky import get_reusable_executor
from joblib.externals.loky.backend import reduction

from gradnoise.simulations.ensemble.function_identity import content
from gradnoise.simulations.ensemble.object_parts import ambient

__all__ = ["OtherContent", "check_ambient", "check_content", "shared_content"]

_CHECKED: set[str] = set()  # what was found to be the same in this process


class OtherContent(Exception):
    """A worker has other content than the process that sent it a task."""


def shared_content(kernel: Callable[..., Any], params: tuple[Any, ...]) -> str | None:
    """Return what a worker must find of a kernel and its parameters, as they are when they have come to it.

    That is all but arrays, which are sent as they are. None where each copy is another thing: then workers that live are ended,
    and new ones have what the modules hold.
    """
    sent = kernel, _without_arrays(params)
    try:
        message = reduction.dumps(sent)
        found, again = (content(reduction.loads(message)) for _ in range(2))
    except Exception:  # whatever pickling raises, joblib meets and names it, too
        return None
    if found == again:
        return found
    get_reusable_executor().shutdown(wait=True, kill_workers=True)
    return None


def check_content(kernel: Callable[..., Any], params: tuple[Any, ...], expected: str) -> None:
    """See in a worker process that it has what it should have.

    Raises
    ------
    OtherContent
        If it has not.
    """
    if expected not in _CHECKED:
        if content((kernel, _without_arrays(params))) != expected:
            raise OtherContent
        _CHECKED.add(expected)


def check_ambient(expected: list[str]) -> None:
    """See in a thread that packages compute there as where the run was started.

    Raises
    ------
    TypeError
        If not: some settings are those of a thread alone.
    """
    if (found := ambient()) != expected:
        differ = [f"{there} in place of {here}" for here, there in zip(expected, found, strict=False) if here != there]
        raise TypeError(
            f"kernel must compute in threads as where it is started from, and settings of a package are others there "
            f"({'; '.join(differ)}): set them inside the kernel"
        )


def _without_arrays(params: tuple[Any, ...]) -> list[Any]:
    return [param for param in params if not isinstance(param, np.ndarray)]
