"""A workload: what each contender runs, and which numbers of theirs must agree."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from gradnoise.simulations.statistics import Estimate

Statistics = Callable[[int, int], np.ndarray]


def block_of(contender: str) -> int:
    """Paths that a contender runs at a time: about where it is fastest, as its arrays still fit into the cache."""
    return 2048 if contender == "JAX" else 512


@dataclass(frozen=True)
class Outcome:
    """What a run of a contender found.

    Attributes
    ----------
    estimates : list of Estimate
        Numbers on which all contenders must agree.
    bits : ndarray
        All that gradnoise returned, which must not depend on the number of threads.
    """

    estimates: list[Estimate]
    bits: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray) -> Outcome:
        """Outcome of a number for each path."""
        return cls([Estimate.of(values)], values)


Run = Callable[[int, int], Outcome]


@dataclass(frozen=True)
class Targets:
    """What is to be reached, where something is; None is no target.

    Attributes
    ----------
    limit : float or None
        Of gradnoise over plain C with normals as costly as those of NumPy's generators.
    c : float or None
        Of gradnoise over plain C.
    numpy : float
        Of NumPy over gradnoise.
    jax : float
        Of JAX over gradnoise.
    threads : float or None
        Of the gain by two threads.
    """

    limit: float | None = None
    c: float | None = None
    numpy: float = 2.0
    jax: float = 3.0
    threads: float | None = None


@dataclass(frozen=True)
class Case:
    """A workload.

    Attributes
    ----------
    name, unit : str
        The unit is what `n_steps` and the number of paths count.
    n_steps : int
        Units of one path.
    compared : tuple of str
        Names of the estimates.
    contenders : dict
        Name -> run(n_paths, seed), in the order in which they run. "C" and "C, 2 threads" are missing where there is no
        compiler, the others where they are not installed, or have no such work.
    targets : Targets
    normals : float
        Normals that are drawn in a unit.
    share : int
        All run n_paths over this, as a path takes long.
    slow_share : int
        NumPy and the others run n_paths over this, too; their times are per unit all the same.
    """

    name: str
    unit: str
    n_steps: int
    compared: tuple[str, ...]
    contenders: dict[str, Run]
    targets: Targets
    normals: float
    share: int = 1
    slow_share: int = 8


def contenders(
    ours: Callable[[int], Run],
    outcome: Callable[[np.ndarray], Outcome],
    in_c: Statistics | None,
    others: Mapping[str, Statistics | None],
) -> dict[str, Run]:
    """Name the contenders: gradnoise by its number of jobs, the others by what they return for a block of paths."""

    def timed(function: Statistics, contender: str, n_jobs: int = 1) -> Run:
        return lambda n, seed: outcome(_in_blocks(function, n, seed, block_of(contender), n_jobs))

    runs: dict[str, Run] = {}
    if in_c is not None:
        runs["C"], runs["C, 2 threads"] = timed(in_c, "C"), timed(in_c, "C", n_jobs=2)
    runs["gradnoise"], runs["gradnoise, 2 threads"] = ours(1), ours(2)
    return runs | {name: timed(function, name) for name, function in others.items() if function is not None}


def _in_blocks(function: Statistics, n: int, seed: int, block: int, n_jobs: int) -> np.ndarray:
    """Join what `function(n_paths, seed)` returns for blocks with seeds of their own."""
    starts = range(0, n, block)

    def one(start: int) -> np.ndarray:
        return function(min(block, n - start), 1_000_003 * (seed + 1) + start)

    if n_jobs == 1:
        return np.concatenate([one(start) for start in starts])
    with ThreadPoolExecutor(n_jobs) as pool:
        return np.concatenate(list(pool.map(one, starts)))
