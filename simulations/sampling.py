"""Draw sampling vectors of every class.

`draw` returns many at once; `fill_weights` is the compiled routine behind it, which other kernels can call: it takes a class
as the numbers that `lower` makes of it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from gradnoise.simulations import ensemble
from gradnoise.simulations._jit import kernel
from gradnoise.simulations.seeds import Stream
from gradnoise.simulations.statistics import Estimate, Moments, merge_moments
from gradnoise.theory import sampling as classes
from gradnoise.theory._validation import as_count
from gradnoise.theory.exchangeable import SamplingNoise

__all__ = ["draw", "draw_with", "expectations", "fill_weights", "is_ours", "lower", "work_space"]

_MINIBATCH, _GAUSSIAN, _RADEMACHER, _STUDENT, _BERNOULLI, _FISHER, _COV, _PRINTED, _GAUSSIAN_MINIBATCH = range(9)
_ROWS = 256  # vectors held at once, so that they stay in the processor's cache
_SPARSE = {"fisher": _FISHER, "cov": _COV, "printed": _PRINTED}
_COMPILED = {classes.Minibatch.__module__, classes.Gaussian.__module__}
# Parameters of a lowered class.
_KIND, _SIZE, _SCALE, _CENTERED, _REPLACEMENT, _SHAPE, _N_PARAMETERS = range(7)


def draw(noise: SamplingNoise, size: int, *, rng: Any) -> np.ndarray:
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
    TypeError
        If it is not known how to draw from `noise`.
    """
    if not isinstance(noise, SamplingNoise):
        raise TypeError(f"noise must be a SamplingNoise, got {noise!r}")
    size = as_count(size, "size")
    return draw_with(noise, size, Stream.of(rng).generator(0))


def draw_with(noise: SamplingNoise, size: int, generator: np.random.Generator) -> np.ndarray:
    """Draw with a generator that is used up, as a block's kernel does; see `draw`."""
    if isinstance(noise, classes.Enhanced):
        first, second = draw_with(noise.base, size, generator), draw_with(noise.base, size, generator)
        return noise.alpha * first + (1 - noise.alpha) * second
    own = getattr(noise, "draw", None)
    if callable(own):
        weights = np.asarray(own(size, generator), dtype=np.float64)
        if weights.shape != (size, noise.n):
            raise ValueError(f"{type(noise).__name__}.draw must return an array of shape {(size, noise.n)}, got {weights.shape}")
        return weights
    out, parameters = np.empty((size, noise.n)), lower(noise)
    _, *space = work_space(parameters, noise.n)
    _fill_rows(parameters, generator, *space, out)
    return out


def expectations(
    noise: SamplingNoise, statistic: Callable[[np.ndarray], np.ndarray], size: int, *, rng: Any, n_jobs: int | None = None
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
    rng, n_jobs
        See `gradnoise.simulations.ensemble.run`.

    Returns
    -------
    list of Estimate
        One for each of the q numbers.
    """
    moments = ensemble.run(_statistics_block, (noise, statistic), size, rng=rng, reduce=merge_moments, n_jobs=n_jobs)
    return moments.estimates()


def _statistics_block(
    n_paths: int, generator: np.random.Generator, noise: SamplingNoise, statistic: Callable[[np.ndarray], np.ndarray]
) -> tuple[np.ndarray, ...]:
    parts = [min(_ROWS, n_paths - start) for start in range(0, n_paths, _ROWS)]
    return functools.reduce(Moments.merge, (Moments.of(statistic(draw_with(noise, m, generator))) for m in parts)).as_block()


def is_ours(noise: SamplingNoise) -> bool:
    """Whether it is known how to draw from exactly this class; a subclass may have other moments than its base."""
    return type(noise).__module__ in _COMPILED


def lower(noise: SamplingNoise) -> np.ndarray:
    """Turn a class into the array of numbers that `fill_weights` takes.

    Raises
    ------
    TypeError
        If the class has no compiled form.
    """
    p = np.zeros(_N_PARAMETERS)
    if not is_ours(noise):
        raise TypeError(f"noise of class {type(noise).__name__} must have a method draw(size, generator)")
    match noise:
        case classes.Minibatch():
            p[[_KIND, _SIZE, _REPLACEMENT]] = _MINIBATCH, noise.batch_size, noise.replacement
        case classes.Gaussian() | classes.Rademacher() | classes.StudentT():
            kind = {classes.Gaussian: _GAUSSIAN, classes.Rademacher: _RADEMACHER, classes.StudentT: _STUDENT}[type(noise)]
            p[[_KIND, _SCALE, _CENTERED]] = kind, np.sqrt(noise.centred_power), noise.centered
            if isinstance(noise, classes.StudentT):
                p[_SHAPE] = noise.df
                p[_SCALE] *= np.sqrt((noise.df - 2) / noise.df)  # to unit variance
        case classes.Bernoulli():
            p[[_KIND, _SIZE]] = _BERNOULLI, noise.batch_size
        case classes.SparseGaussian():
            p[[_KIND, _SIZE, _REPLACEMENT]] = _SPARSE[noise.form], noise.support_size, noise.replacement
            p[_SCALE] = noise.noise_scale
        case classes.GaussianMinibatch():
            p[[_KIND, _SIZE, _REPLACEMENT]] = _GAUSSIAN_MINIBATCH, noise.batch_size, noise.replacement
            p[[_SCALE, _CENTERED]] = noise.noise_scale, noise.centered
        case _:
            raise TypeError(f"noise of class {type(noise).__name__} must have a method draw(size, generator)")
    return p


def work_space(parameters: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Allocate what `fill_weights` needs for n samples: w, scratch, chosen and pool."""
    return np.empty(n), np.empty(n), np.empty(max(int(parameters[_SIZE]), 1), dtype=np.int64), np.arange(n)


@kernel
def _fill_rows(parameters, generator, scratch, chosen, pool, out):
    for row in range(out.shape[0]):
        fill_weights(parameters, generator, out[row], scratch, chosen, pool)


@kernel
def fill_weights(parameters, generator, w, scratch, chosen, pool):
    """Write one sampling vector into w.

    Parameters
    ----------
    parameters : (7,) ndarray
        From `lower`.
    generator : Generator
        Is used up.
    w, scratch : (n,) ndarray
        Result, and work space.
    chosen : (max(batch or support size, 1),) ndarray of int64
        Work space.
    pool : (n,) ndarray of int64
        A permutation of 0 ... n - 1, kept between calls.
    """
    n, kind, size = w.shape[0], int(parameters[_KIND]), int(parameters[_SIZE])
    scale, replacement = parameters[_SCALE], parameters[_REPLACEMENT] != 0
    if kind in (_GAUSSIAN, _RADEMACHER, _STUDENT):
        _fill_components(generator, kind, parameters[_SHAPE], w)
        mean = w.sum() / n if parameters[_CENTERED] != 0 else 0.0
        for i in range(n):
            w[i] = 1 / n + scale * (w[i] - mean)
        return
    if kind == _BERNOULLI:
        for i in range(n):
            w[i] = 1 / size if generator.random() < size / n else 0.0
        return

    _choose(generator, size, replacement, chosen, pool)
    if kind == _MINIBATCH:
        w[:] = 0.0
        for k in range(size):
            w[chosen[k]] += 1 / size
    elif kind == _GAUSSIAN_MINIBATCH:
        w[:] = 0.0
        total = 0.0
        for k in range(size):
            z = generator.standard_normal()
            total += z
            w[chosen[k]] += 1 / size + scale * z
        if parameters[_CENTERED] != 0:
            for k in range(size):
                w[chosen[k]] -= scale * total / size
    else:
        counts = scratch
        counts[:] = 0.0
        for k in range(size):
            counts[chosen[k]] += 1
        total = 0.0
        for i in range(n):  # a normal for each sample that carries noise, in the order of the samples
            w[i] = generator.standard_normal() if counts[i] > 0 or kind == _PRINTED else 0.0
            total += counts[i] * w[i]
        for i in range(n):
            if kind == _FISHER:
                w[i] = 1 / n + scale * counts[i] / size * w[i]
            elif kind == _COV:
                w[i] = 1 / n + scale * counts[i] * (w[i] - total / size)
            else:
                w[i] = 1 / n + scale * (counts[i] / size - 1 / n) * w[i]


@kernel
def _fill_components(generator, kind, shape, w):
    for i in range(w.shape[0]):
        if kind == _GAUSSIAN:
            w[i] = generator.standard_normal()
        elif kind == _RADEMACHER:
            w[i] = 1.0 if generator.random() < 0.5 else -1.0
        else:
            w[i] = generator.standard_t(shape)


@kernel
def _choose(generator, size, replacement, chosen, pool):
    """Draw indices; without replacement by the first steps of a Fisher-Yates shuffle.

    A uniform number times n is ten times as fast as `Generator.integers` here, and favours no index by more than n 2^-53.
    """
    n = pool.shape[0]
    for k in range(size):
        if replacement:
            chosen[k] = int(generator.random() * n)
        else:
            j = k + int(generator.random() * (n - k))
            pool[k], pool[j] = pool[j], pool[k]
            chosen[k] = pool[k]
