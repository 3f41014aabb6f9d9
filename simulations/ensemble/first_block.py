"""What a kernel of a user's must leave alone: its parameters, and generators that are not its own.

Each block must be what it is by itself, whoever computes it and whatever was computed before; one that begins with what another
has left is not, and is another one after a resume.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from gradnoise.simulations.ensemble.function_identity import content

__all__ = ["called_once"]


def called_once(
    kernel: Callable[..., Any], n_paths: int, generator: np.random.Generator, params: tuple[Any, ...], beside: tuple[Any, ...]
) -> Any:
    """Call a kernel, and see that it leaves alone what other blocks have, too.

    Raises
    ------
    ValueError
        If it has changed a parameter, or drawn from a generator of the whole process.
    """
    before, drawn = [content(param) for param in params], _generators()
    result = kernel(n_paths, generator, *params, *beside)
    for i, (param, was) in enumerate(zip(params, before, strict=True)):
        if content(param) != was:
            raise ValueError(
                f"kernel must leave params as they are, as blocks share them, and has changed that at place {i}, a "
                f"{type(param).__name__}: change a copy of it, and draw from the generator that the kernel is given"
            )
    for name, state in _generators().items():
        if drawn.get(name, state) != state:
            raise ValueError(
                f"kernel must draw from the generator that it is given alone, and has drawn from that of {name}, which all "
                f"blocks share: hand it on, as rng or random_state, to what draws"
            )
    return result


def _generators() -> dict[str, Any]:
    """States of the generators that a process has one of."""
    of_numpy: Any = np.random.get_state(legacy=False)  # noqa: NPY002
    states: dict[str, Any] = {"numpy.random": content(of_numpy), "Python's random": random.getstate()}
    if (torch := sys.modules.get("torch")) is not None:
        states["torch"] = torch.get_rng_state().numpy().tobytes()
    return states
