"""Run a kernel over an ensemble of independent paths, in seeded blocks.

The ensemble is cut into blocks of a fixed size, each with a random stream of its own. So the numbers do not depend on
how many threads, processes or machines compute them, nor on whether a run was cut off and resumed, and the first blocks of
a larger ensemble are those of a smaller one.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import inspect
import itertools
import os
import time
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, TypeVar

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs
from threadpoolctl import threadpool_limits

from gradnoise.simulations.ensemble.block import Block, as_block
from gradnoise.simulations.ensemble.block_store import BlockStore
from gradnoise.simulations.ensemble.code_origin import is_ours
from gradnoise.simulations.ensemble.first_block import called_once
from gradnoise.simulations.ensemble.memory import check_fits
from gradnoise.simulations.ensemble.object_parts import ambient
from gradnoise.simulations.ensemble.progress import Progress, as_progress, reporter
from gradnoise.simulations.ensemble.worker_content import OtherContent, check_ambient, check_content, shared_content
from gradnoise.simulations.ensemble.workers import as_workers, watched
from gradnoise.simulations.seeds import RNG, Stream
from gradnoise.theory._validation import as_count, as_iterable

__all__ = ["BLOCK_SIZE", "MOST_PATHS", "concatenate", "run"]

Result = TypeVar("Result")

#: Paths in a block unless a study says otherwise. Part of the contract: it decides which path gets which numbers.
BLOCK_SIZE = 4096

#: Most paths of an ensemble: their number is exact as a float up to here.
MOST_PATHS = 2**53

_WINDOW = 16  # tasks for each worker between two pauses: long enough for the pause not to matter
_SECONDS, _BYTES = 0.02, 2**21  # of a task, at most where it is more than one block: joblib looks for results every 0.01 s


def run(
    kernel: Callable[..., Block],
    params: tuple[Any, ...],
    n_paths: int,
    *,
    rng: RNG,
    reduce: Callable[[Iterable[Block]], Result],
    n_jobs: int | None = None,
    block_size: int = BLOCK_SIZE,
    store: str | os.PathLike[str] | None = None,
    progress: Progress = None,
    beside: tuple[Any, ...] = (),
) -> Result:
    """Run `kernel` over `n_paths` paths and reduce the results of its blocks.

    Parameters
    ----------
    kernel : callable
        ``kernel(n_paths, generator, *params, *beside)`` returns a tuple of arrays of numbers. A function of a module, so that
        processes can import it.
    params : tuple
        Its further arguments.
    n_paths : int
        Between 1 and `MOST_PATHS`.
    rng : None, int, SeedSequence or Generator
        See `gradnoise.simulations.seeds.Stream.of`.
    reduce : callable
        Takes the blocks' results, an iterable in the order of their index, and returns what `run` returns. As it consumes
        the blocks one by one, memory need not grow with `n_paths`. `concatenate` keeps them all.
    n_jobs : int, optional
        Workers, -1 for all processors. None takes joblib's active configuration, ``joblib.parallel_config("loky" | "dask" | ...,
        n_jobs=...)``, and runs on one thread where there is none. The backend "multiprocessing" is refused. A dask cluster
        takes all of its workers, whatever `n_jobs` says; a study inside a kernel that runs there needs
        ``joblib.parallel_config("sequential")``.
    block_size : int
        Paths in a block.
    store : path, optional
        A folder in which finished blocks are kept, and looked up by a later run of the same study.
    progress : bool or callable, optional
        True and False show and hide a bar; None shows one in a terminal once a run takes over two seconds; a callable is
        called as ``progress(paths done, paths in all)``.
    beside : tuple
        Arguments of the kernel behind `params` on which no number depends, such as where its files are: a store does not ask for
        them.

    Returns
    -------
    object
        What `reduce` returned.

    Raises
    ------
    ValueError, TypeError
        If an argument is not allowed, the store cannot be written, or `concatenate` would keep more than fits into memory.
    ChildProcessError
        If a worker process was killed.

    Examples
    --------
    >>> from gradnoise.simulations import ensemble
    >>> def kernel(n_paths, generator, scale):
    ...     return (scale * generator.standard_normal(n_paths),)
    >>> (samples,) = ensemble.run(kernel, (2.0,), 10_000, rng=1, reduce=ensemble.concatenate)
    >>> (fewer,) = ensemble.run(kernel, (2.0,), 5_000, rng=1, reduce=ensemble.concatenate, n_jobs=2)
    >>> bool((samples[:4096] == fewer[:4096]).all())  # the first block is the same, whoever computes it
    True
    """
    for name, function in (("kernel", kernel), ("reduce", reduce)):
        if not callable(function):
            raise TypeError(f"{name} must be a function, got {function!r}")
    for name, arguments in (("params", params), ("beside", beside)):
        if not isinstance(arguments, (tuple, list)):
            raise TypeError(f"{name} must be a tuple, got {arguments!r}")
    n_paths = as_count(n_paths, "n_paths", at_most=MOST_PATHS)
    block_size = as_count(block_size, "block_size", at_most=MOST_PATHS)
    workers, progress = as_workers(n_jobs), as_progress(progress)
    is_a_users = not is_ours(getattr(getattr(kernel, "func", kernel), "__module__", None))
    stream = Stream.of(rng)
    blocks = None if store is None else BlockStore.open(store, kernel, params, stream, block_size)
    compute = functools.partial(_compute, kernel, params, stream, blocks, beside, is_a_users)
    in_order = _in_order(compute, enumerate(_sizes(n_paths, block_size)), workers, store)
    results = _fitting(in_order, n_paths, block_size) if reduce is concatenate else in_order
    with (
        _one_thread_for_blas() if is_a_users else contextlib.nullcontext(),
        _closed_in_silence(in_order),
        reporter(progress, n_paths, getattr(kernel, "__module__", "").rpartition(".")[2]) as report,
    ):
        return reduce(_reported(results, _sizes(n_paths, block_size), report))


def concatenate(blocks: Iterable[Block]) -> Block:
    """Keep the results of all paths: the blocks' arrays, joined along their first axis.

    Parameters
    ----------
    blocks : iterable of tuple of ndarray
        Results of a kernel.

    Returns
    -------
    tuple of ndarray
        Masked where one of the blocks is.

    Raises
    ------
    TypeError, ValueError
        If they are no blocks, or cannot be joined.

    Examples
    --------
    >>> import numpy as np
    >>> from gradnoise.simulations import ensemble
    >>> ensemble.concatenate([(np.array([1, 2]),), (np.array([3]),)])
    (array([1, 2, 3]),)
    """
    kept = [as_block(block, "blocks must each be", copy=False) for block in as_iterable(blocks, "blocks", "a sequence of blocks")]
    kinds = {tuple((a.dtype, a.shape[1:]) if a.ndim else None for a in block) for block in kept}
    if len(kinds) > 1 or any(None in kind for kind in kinds):
        raise ValueError(
            f"blocks must be the same arrays but for their lengths, and have a first axis to be joined along, got "
            f"{' and '.join(sorted(_described(kind) for kind in kinds))}"
        )
    return tuple(_joined(parts) for parts in zip(*kept, strict=True))


def _joined(parts: tuple[np.ndarray, ...]) -> np.ndarray:
    """Arrays one after another; NumPy's own function drops their masks."""
    is_masked = any(isinstance(part, np.ma.MaskedArray) for part in parts)
    return np.ma.concatenate(parts) if is_masked else np.concatenate(parts)  # type: ignore[no-untyped-call]


def _described(kind: tuple[Any, ...]) -> str:
    """Dtypes and shapes of a block's arrays, without their lengths."""
    arrays = ["a number" if array is None else f"{array[0]} (n, *{array[1]})" for array in kind]
    return f"{len(kind)} arrays: {', '.join(arrays)}"


def _sizes(n_paths: int, block_size: int) -> Iterator[int]:
    """Sizes of the blocks; a list of them would take memory, as there may be 10^12."""
    return (min(block_size, n_paths - start) for start in range(0, n_paths, block_size))


def _in_order(
    compute: functools.partial[Block],
    blocks: Iterator[tuple[int, int]],
    workers: Any,
    store: str | os.PathLike[str] | None,
) -> Generator[Block]:
    """Results of blocks in their order, by new workers where those that live have other content than this process."""
    kept = f"finished blocks are kept in {str(store)!r}" if store else "a store would keep finished blocks"
    waiting: list[tuple[int, int]] = []
    try:
        yield from _windows(compute, blocks, waiting, workers, kept)
    except OtherContent:  # joblib ends all workers where one raises
        try:
            yield from _windows(compute, blocks, waiting, workers, kept)
        except OtherContent:
            raise TypeError(
                "kernel and params must be the same in worker processes, which import modules for themselves: what was set in "
                "one after its import does not come to them; hand it on as a parameter, or use threads"
            ) from None


def _windows(
    compute: functools.partial[Block], blocks: Iterator[tuple[int, int]], waiting: list[tuple[int, int]], workers: Any, kept: str
) -> Generator[Block]:
    """Results of blocks, which run in windows, so that a slow reduction does not let results pile up.

    A window is handed out at once: joblib's own way, two tasks for each worker, lets the workers of a cluster wait. Blocks that
    take less than joblib needs to hand them out are computed several at a time; how many changes no number. Of a window that
    is cut off `waiting` keeps what is not computed.
    """
    with (
        Parallel(n_jobs=workers, prefer="threads", return_as="generator", pre_dispatch="all") as parallel,
        watched(parallel, kept),
    ):
        n_workers, together = max(effective_n_jobs(workers), 1), 1
        task = _tasks(type(parallel._backend).__name__, compute)
        while window := waiting or list(itertools.islice(blocks, _WINDOW * n_workers * together)):
            waiting[:] = window
            parts = [waiting[first : first + together] for first in range(0, len(waiting), together)]
            seconds, n_bytes, n_blocks = 0.0, 0, len(waiting)
            for results, took in parallel(task(part) for part in parts):  # type: ignore[union-attr]
                seconds += took
                n_bytes += sum(array.nbytes for result in results for array in result)
                del waiting[: len(results)]
                yield from results
            most = min(_SECONDS * n_blocks / max(seconds, _SECONDS), _BYTES * n_blocks / max(n_bytes, _BYTES))
            together = 1 if n_workers == 1 else max(int(min(most, 4 * together)), 1)


def _tasks(backend: str, compute: functools.partial[Block]) -> Callable[[list[tuple[int, int]]], Any]:
    """How blocks become a task of a backend, with what it takes to compute them there as here."""
    if backend == "ThreadingBackend":  # new threads have none of the variables of a context, as the digits of decimals
        here = ambient()
        return lambda part: delayed(contextvars.copy_context().run)(_in_thread, compute, part, here)
    if backend != "LokyBackend":
        return lambda part: delayed(_timed)(compute, part)
    expected = shared_content(*compute.args[:2])
    return lambda part: delayed(_in_process)(compute, part, expected)


def _in_thread(compute: functools.partial[Block], blocks: list[tuple[int, int]], here: list[str]) -> tuple[list[Block], float]:
    check_ambient(here)
    return _timed(compute, blocks)


def _in_process(compute: functools.partial[Block], blocks: list[tuple[int, int]], expected: str | None) -> Any:
    kernel, params, *_, is_a_users = compute.args
    if expected is not None:
        check_content(kernel, params, expected)
    if is_a_users:
        _one_thread_for_blas_from_now_on()
    return _timed(compute, blocks)


def _timed(compute: functools.partial[Block], blocks: list[tuple[int, int]]) -> tuple[list[Block], float]:
    """Results of some blocks, and the seconds that they took."""
    started = time.perf_counter()
    return [compute(index, size) for index, size in blocks], time.perf_counter() - started


def _one_thread_for_blas() -> contextlib.AbstractContextManager[Any]:
    """Context in which sums of linear algebra do not depend on how many threads it has."""
    return threadpool_limits(1, user_api="blas")


@functools.cache
def _one_thread_for_blas_from_now_on() -> None:
    threadpool_limits(1, user_api="blas")


def _compute(
    kernel: Callable[..., Block],
    params: tuple[Any, ...],
    stream: Stream,
    blocks: BlockStore | None,
    beside: tuple[Any, ...],
    is_a_users: bool,
    index: int,
    size: int,
) -> Block:
    def compute() -> Block:
        generator = stream.generator(index)
        if is_a_users and index == 0:
            return as_block(called_once(kernel, size, generator, params, beside))
        return as_block(kernel(size, generator, *params, *beside), copy=is_a_users)  # ours write into new memory

    return compute() if blocks is None else blocks.kept(index, size, compute)


@contextlib.contextmanager
def _closed_in_silence(results: Generator[Block]) -> Iterator[None]:
    """Context that ends a run at once where its reduction does not want the rest: when the interpreter ends, it is too late.

    Joblib would warn that results are not used. Where the reduction raised, that says why.
    """
    try:
        yield
    finally:
        if inspect.getgeneratorstate(results) == inspect.GEN_SUSPENDED:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message=".*the input task iterator", category=UserWarning)
                results.close()


def _fitting(results: Iterator[Block], n_paths: int, block_size: int) -> Iterator[Block]:
    """Raise after the first block where all of them, joined, cannot fit into memory."""
    first, n_blocks = next(results), -(-n_paths // block_size)
    check_fits(n_blocks * sum(array.nbytes for array in first), f"n_paths = {n_paths} makes results")
    yield first
    yield from results


def _reported(results: Iterable[Any], sizes: Iterator[int], report: Callable[[int], None]) -> Iterator[Block]:
    for result, size in zip(results, sizes, strict=True):
        report(size)
        yield result
