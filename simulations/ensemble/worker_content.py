"""Whether worker processes have what this one has: they keep the modules and compiled functions that they met before.

So a constant that was changed, or a file that was edited and loaded again, is as it was in a worker that lives; and what was set
in a module after its import never comes to one at all, as workers import it for themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from joblib.externals.loky.backend import reduction

from gradnoise.simulations.ensemble.function_identity import content

__all__ = ["OtherContent", "check_content", "shared_content"]

_CHECKED: set[str] = set()  # what was found to be the same in this process


class OtherContent(Exception):
    """A worker has other content than the process that sent it a task."""


def shared_content(kernel: Callable[..., Any], params: tuple[Any, ...]) -> str | None:
    """Return what a worker must find of a kernel and its parameters, but for arrays, which are sent as they are.

    None where that cannot be told, as a copy of them is another thing.
    """
    sent = kernel, _without_arrays(params)
    found = content(sent)
    try:
        return found if content(reduction.loads(reduction.dumps(sent))) == found else None
    except Exception:  # whatever pickling raises, joblib meets and names it, too
        return None


def check_content(kernel: Callable[..., Any], params: tuple[Any, ...], expected: str) -> None:
    """See in a worker that it has what it should have.

    Raises
    ------
    OtherContent
        If it has not.
    """
    if expected not in _CHECKED:
        if content((kernel, _without_arrays(params))) != expected:
            raise OtherContent
        _CHECKED.add(expected)


def _without_arrays(params: tuple[Any, ...]) -> list[Any]:
    return [param for param in params if not isinstance(param, np.ndarray)]
