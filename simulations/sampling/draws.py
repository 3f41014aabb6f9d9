"""Draw sampling vectors of every class, many at once, and estimate expectations of what they give."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

import numpy as np

from gradnoise.simulations import ensemble
from gradnoise.simulations.ensemble import check_fits
from gradnoise.simulations.sampling.compiled import COMPILED, fill_rows, lower, work_space
from gradnoise.simulations.sampling.rules import Rules
from gradnoise.simulations.seeds import RNG, Stream
from gradnoise.simulations.statistics import Estimate, Moments, merge_moments
from gradnoise.theory import sampling as classes
from gradnoise.theory._validation import as_array, as_count, as_function, as_instance
from gradnoise.theory.sampling import SamplingNoise, as_noise

__all__ = ["DRAWN", "draw", "draw_in_parts", "draw_with", "expectations"]

_HELD = 2**18  # weights held at once, so that they stay in the processor's cache

#: Draws in NumPy: ``rule(noise, size, generator)`` returns a (size, n) array. Compiled classes need none.
DRAWN = Rules("must have a method draw(size, generator)", "draw")


def draw(noise: SamplingNoise, size: int, *, rng: RNG) -> np.ndarray:
    """Draw independent sampling vectors.

    Parameters
    ----------
    noise : SamplingNoise
        A class of `gradnoise.theory.sampling`, or a subclass of your own with a method ``draw(size, generator)``.
    size : int
        How many.
    rng : None, int, SeedSequence or Generator
        See `gradnoise.simulations.seeds.Stream.of`.

    Returns
    -------
    (size, n) ndarray
        A vector per row.

    Raises
    ------
    TypeError, ValueError
        If it is not known how to draw from `noise`, or memory cannot hold what is drawn.

    Examples
    --------
    >>> from gradnoise.simulations.sampling import draw
    >>> from gradnoise.theory.sampling import Minibatch
    >>> draw(Minibatch(7, 3, replacement=False), 100, rng=1).sum(axis=1).round(12).tolist() == [1.0] * 100
    True
    """
    noise, size = as_noise(noise), as_count(size, "size")
    return draw_with(noise, size, Stream.of(rng).generator(0))


def draw_with(noise: SamplingNoise, size: int, generator: np.random.Generator) -> np.ndarray:
    """Draw with a generator that is used up, as a block's kernel does; see `draw`.

    Parameters
    ----------
    noise : SamplingNoise
        As for `draw`.
    size : int
        How many.
    generator : Generator
        Is used up.

    Returns
    -------
    (size, n) ndarray
        A vector per row.

    Examples
    --------
    >>> import numpy as np
    >>> from gradnoise.simulations.sampling import draw_with
    >>> from gradnoise.theory.sampling import Gaussian
    >>> draw_with(Gaussian(7, 3), 5, np.random.default_rng(1)).shape
    (5, 7)
    """
    noise, size = as_noise(noise), as_count(size, "size", at_least=0)
    as_instance(generator, "generator", np.random.Generator)
    check_fits(8 * size * noise.n, f"size = {size} of vectors of {noise.n} weights makes results")
    if noise in COMPILED:
        out, rule = np.empty((size, noise.n)), lower(noise)
        fill_rows(rule, generator, work_space(rule, noise.n), out)
        return out
    weights = as_array(DRAWN.apply(noise, size, generator), f"what {type(noise).__name__}.draw returns")
    if weights.shape != (size, noise.n):
        raise ValueError(f"{type(noise).__name__}.draw must return an array of shape {(size, noise.n)}, got {weights.shape}")
    return weights


@DRAWN.of(classes.Enhanced)
def _draw_enhanced(noise: classes.Enhanced, size: int, generator: np.random.Generator) -> np.ndarray:
    first, second = (draw_with(noise.base, size, generator) for _ in range(2))
    return noise.alpha * first + (1 - noise.alpha) * second


def draw_in_parts(noise: SamplingNoise, size: int, generator: np.random.Generator, held: int = _HELD) -> Iterator[np.ndarray]:
    """Draw as `draw_with` does, but so many vectors at once as have `held` weights; how many they are decides the numbers.

    Parameters
    ----------
    noise : SamplingNoise
        As for `draw`.
    size : int
        How many in all.
    generator : Generator
        Is used up.
    held : int
        Weights in a part, at most, but for a vector longer than that; by default they stay in the processor's cache.

    Yields
    ------
    (m, n) ndarray
        A vector per row; only the last part may have fewer of them.

    Examples
    --------
    >>> import numpy as np
    >>> from gradnoise.simulations.sampling import draw_in_parts
    >>> from gradnoise.theory.sampling import Minibatch
    >>> [len(part) for part in draw_in_parts(Minibatch(7, 3), 5, np.random.default_rng(1), held=14)]
    [2, 2, 1]
    """
    noise, size = as_noise(noise), as_count(size, "size", at_least=0)
    rows = max(as_count(held, "held") // noise.n, 1)
    for start in range(0, size, rows):
        yield draw_with(noise, min(rows, size - start), generator)


def expectations(
    noise: SamplingNoise, statistic: Callable[[np.ndarray], np.ndarray], size: int, *, rng: RNG, n_jobs: int | None = None
) -> list[Estimate]:
    """Estimate E f(W) of some statistics of a sampling vector.

    Parameters
    ----------
    noise : SamplingNoise
        As for `draw`.
    statistic : callable
        f takes (m, n) weights, a vector per row, and returns (m, q) numbers.
    size : int
        Independent draws.
    rng : None, int, SeedSequence or Generator
        See `gradnoise.simulations.seeds.Stream.of`.
    n_jobs : int, optional
        See `gradnoise.simulations.ensemble.run`.

    Returns
    -------
    list of Estimate
        One for each of the q numbers.

    Examples
    --------
    >>> from gradnoise.simulations.sampling import expectations
    >>> from gradnoise.theory.sampling import Gaussian
    >>> noise = Gaussian(7, 3)
    >>> (found,) = expectations(noise, lambda W: (W[:, :1] - noise.mean) ** 2, 10_000, rng=1)
    >>> abs(found.value - noise.variance) < 6 * found.standard_error
    True
    """
    noise, statistic = as_noise(noise), as_function(statistic, "statistic")
    size = as_count(size, "size", at_most=ensemble.MOST_PATHS)
    moments = ensemble.run(_statistics_block, (noise, statistic), size, rng=rng, reduce=merge_moments, n_jobs=n_jobs)
    return moments.estimates()


def _statistics_block(
    n_paths: int, generator: np.random.Generator, noise: SamplingNoise, statistic: Callable[[np.ndarray], np.ndarray]
) -> tuple[np.ndarray, ...]:
    parts = (Moments.of(_values(statistic, vectors)) for vectors in draw_in_parts(noise, n_paths, generator))
    return functools.reduce(Moments.merge, parts).as_block()


def _values(statistic: Callable[[np.ndarray], np.ndarray], vectors: np.ndarray) -> np.ndarray:
    """Return the statistics of some vectors, a row for each."""
    values = as_array(statistic(vectors), "statistic(W)", ndim=2)
    if len(values) != len(vectors) or values.shape[1] == 0:
        raise ValueError(f"statistic(W) must have shape ({len(vectors)}, q), a row for each vector, got {values.shape}")
    return values
