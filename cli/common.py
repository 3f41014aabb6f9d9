"""What commands need before they begin. It imports little, so that --help answers at once."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["draw_into_files", "named_as_options", "needs_torch", "seed_of", "worker_count"]


def needs_torch() -> None:
    """See that there is PyTorch, and leave out a warning that its own functions cause.

    Raises
    ------
    ValueError
        If not; it says how to install it.
    """
    warnings.filterwarnings("ignore", message=".torch.jit.script. is deprecated", category=DeprecationWarning)
    try:
        import gradnoise.simulations.neural  # noqa: F401
    except ModuleNotFoundError as error:
        raise ValueError(str(error)) from None


def worker_count(jobs: int) -> int:
    """Return the number of threads for ``--jobs``, where 0 stands for all processors."""
    from joblib import cpu_count

    from gradnoise.simulations.ensemble import as_workers

    if jobs < 0:
        raise ValueError(f"--jobs must be >= 0, got {jobs}")
    return as_workers(jobs, "--jobs") if jobs else cpu_count()


def seed_of(seed: int | None) -> int:
    """Return the seed for ``--seed``, where the claims' own stands for None."""
    from gradnoise.claims.registry import DEFAULT_SEED
    from gradnoise.theory._validation import as_count

    return DEFAULT_SEED if seed is None else as_count(seed, "--seed", at_least=0)


@contextmanager
def named_as_options(**options: str) -> Iterator[None]:
    """Context in which an error that begins with the name of an argument begins with that of the option.

    Examples
    --------
    >>> with named_as_options(n_steps="--steps"):
    ...     raise ValueError("n_steps must be >= 0, got -1")
    Traceback (most recent call last):
    ValueError: --steps must be >= 0, got -1
    """
    try:
        yield
    except (ValueError, TypeError) as error:
        name, space, rest = str(error).partition(" ")
        if name not in options:
            raise
        raise type(error)(f"{options[name]}{space}{rest}") from error


def draw_into_files() -> None:
    """See that matplotlib needs neither a display nor a home; to be called before it is imported."""
    os.environ["MPLBACKEND"] = "agg"
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it warns of a home that it cannot write to
