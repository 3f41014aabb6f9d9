"""Worker processes of a run: how many, on which of joblib's backends, and what happens when one is killed.

Joblib's loky ends a run whose worker dies, unless it dies while it sends a result. For the rest of that message loky waits for
ever: it holds the sending end of the pipe, too, so that no end of file comes. `watched` finds workers that have died without
loky's notice, and closes that end. Nor does loky say when its own thread has died that hands results on, as it does where its
warning of a worker that grew too large is an error: `watched` ends the waiting for that one, too.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import wait
from pickle import PicklingError
from typing import Any

from joblib import Parallel, cpu_count
from joblib.parallel import get_active_backend

from gradnoise.theory._validation import as_count, as_text

__all__ = ["as_workers", "watched"]

_PER_PROCESSOR, _FEWEST_ALLOWED = 16, 128  # workers that may be asked for: more are a mistake, and fill the memory
_ON_THIS_MACHINE = ("LokyBackend", "ThreadingBackend", "SequentialBackend")  # of others, n_jobs may count processors elsewhere
_POLL_SECONDS = 1.0  # loky itself notices within milliseconds


def as_workers(n_jobs: int | None, name: str = "n_jobs") -> Any:
    """Return how many workers joblib is asked for.

    Parameters
    ----------
    n_jobs : int or None
        See `gradnoise.simulations.ensemble.run`.
    name : str
        For messages.

    Returns
    -------
    int or None
        That of joblib's active configuration where none is given.

    Raises
    ------
    ValueError, TypeError
        If `n_jobs` is no number of workers, or the active backend cannot run blocks.

    Examples
    --------
    >>> from gradnoise.simulations import ensemble
    >>> ensemble.as_workers(2)
    2
    >>> ensemble.as_workers(2**31, "--jobs")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: --jobs must be between 1 and ..., got 2147483648
    """
    name, (backend, configured) = as_text(name, "name"), get_active_backend()
    kind = type(backend).__name__
    if not getattr(backend, "supports_return_generator", True):
        raise ValueError(
            f"joblib's backend must return results one by one, got {kind}, which cannot, and waits for ever where a worker is "
            f'killed; "loky" has processes, too'
        )
    wanted = configured if n_jobs is None else n_jobs
    if wanted is None:
        return None
    most = max(_PER_PROCESSOR * cpu_count(), _FEWEST_ALLOWED) if kind in _ON_THIS_MACHINE else 2**31 - 1
    wanted = as_count(wanted, name, at_least=-most)  # negative ones count from the processors downwards
    if wanted == 0:
        raise ValueError(f"{name} must be a number of workers, or -1 for all processors, got 0")
    return wanted if wanted < 0 else as_count(wanted, name, at_most=most)


@contextmanager
def watched(parallel: Parallel, kept: str) -> Iterator[None]:
    """Context in which a killed worker ends a run of joblib's, and the error says what happened and what to do.

    Parameters
    ----------
    parallel : Parallel
        That runs blocks, or other tasks.
    kept : str
        What becomes of those that are finished, for the message.

    Raises
    ------
    ChildProcessError
        If a worker was killed.
    TypeError
        If kernel or parameters cannot be sent to workers.

    Examples
    --------
    >>> from joblib import Parallel, delayed
    >>> from gradnoise.simulations.ensemble import watched
    >>> with Parallel(n_jobs=1) as parallel, watched(parallel, "nothing is kept"):
    ...     parallel([delayed(abs)(-3)])
    [3]
    """
    over, cut_off = threading.Event(), threading.Event()
    if hasattr(parallel._backend, "_workers"):  # loky's
        threading.Thread(target=_watch, args=(parallel, over, cut_off), daemon=True).start()
    try:
        yield
    except (BrokenProcessPool, PicklingError) as error:
        if not (cut_off.is_set() or type(error).__name__ == "TerminatedWorkerError"):
            why = str(error.__cause__ or error).strip('"\n').splitlines()[-1]  # the last line of a traceback there
            raise TypeError(f"kernel and params must be such that worker processes can take them over: {why}") from error
        raise ChildProcessError(
            f"a worker process crashed or was killed, perhaps by the system for want of memory; {kept}: run again, with fewer "
            f"workers if memory is short"
        ) from error
    finally:
        over.set()


def _watch(parallel: Any, over: threading.Event, cut_off: threading.Event) -> None:
    """End the waiting for a worker, or loky's own thread, that was already dead a while ago while loky still counts on it."""
    dead: set[int] = set()
    while not over.wait(_POLL_SECONDS):
        executor = parallel._backend._workers
        manager = getattr(executor, "_executor_manager_thread", None)
        if manager is not None and not manager.is_alive() and manager.pending_work_items and not over.wait(_POLL_SECONDS):
            cut_off.set()
            manager.terminate_broken(BrokenProcessPool("joblib's thread that hands results on has died"))
            return
        workers = list((getattr(executor, "_processes", None) or {}).values())
        now_dead = {worker.pid for worker in workers if wait([worker.sentinel], timeout=0)}
        if dead & now_dead:
            cut_off.set()
            for worker in workers:  # one may wait for a lock that the dead one holds
                worker.terminate()
            executor._result_queue._writer.close()  # type: ignore[union-attr]
            return
        dead = now_dead
