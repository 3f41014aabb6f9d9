"""Draw sampling vectors of every class.

`draw` returns many at once; `fill_weights` is the compiled routine behind it, which other kernels can call: it takes a class
as the numbers that `lower` makes of it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gradnoise.simulations import ensemble
from gradnoise.simulations.ensemble import kernel
from gradnoise.simulations.seeds import Stream
from gradnoise.simulations.statistics import Estimate, Moments, merge_moments
from gradnoise.theory import sampling as classes
from gradnoise.theory._validation import as_count
from gradnoise.theory.sampling import SamplingNoise

__all__ = [
    "draw",
    "draw_in_parts",
    "draw_with",
    "expectations",
    "fill_weights",
    "indices_per_uniform",
    "is_ours",
    "lower",
    "work_space",
]

_MINIBATCH, _GAUSSIAN, _RADEMACHER, _STUDENT, _BERNOULLI, _FISHER, _COV, _PRINTED, _GAUSSIAN_MINIBATCH = range(9)
_HELD = 2**18  # weights held at once, so that they stay in the processor's cache
_RARE = 0.2  # probability of a sample below which it is faster to jump to the next one
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


def draw_in_parts(noise: SamplingNoise, size: int, generator: np.random.Generator, held: int = _HELD) -> Iterator[np.ndarray]:
    """Draw as `draw_with` does, but so many vectors at once as have `held` weights; how many they are decides the numbers."""
    rows = max(held // noise.n, 1)
    for start in range(0, size, rows):
        yield draw_with(noise, min(rows, size - start), generator)


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
    parts = (Moments.of(statistic(vectors)) for vectors in draw_in_parts(noise, n_paths, generator))
    return functools.reduce(Moments.merge, parts).as_block()


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
        if kind == _GAUSSIAN:
            for i in range(n):
                w[i] = generator.standard_normal()
        elif kind == _RADEMACHER:
            _fill_signs(generator, w)
        else:
            _fill_student(generator, parameters[_SHAPE], w)
        mean = _sum(w) / n if parameters[_CENTERED] != 0 else 0.0
        for i in range(n):
            w[i] = 1 / n + scale * (w[i] - mean)
        return
    if kind == _BERNOULLI:
        _fill_bernoulli(generator, size, w)
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
        _fill_sparse(generator, kind, scale, size, counts, w)


@kernel
def _fill_sparse(generator, kind, scale, size, counts, w):
    """Noise on the samples that were chosen: a normal for each that carries noise, in the order of the samples."""
    n, total = w.shape[0], 0.0
    for i in range(n):
        if kind == _PRINTED:
            w[i] = 1 / n + scale * (counts[i] / size - 1 / n) * generator.standard_normal()
        elif counts[i] == 0:
            w[i] = 1 / n
        elif kind == _FISHER:
            w[i] = 1 / n + scale * counts[i] / size * generator.standard_normal()
        else:
            z = generator.standard_normal()
            w[i] = 1 / n + scale * counts[i] * z
            total += counts[i] * z
    if kind == _COV:
        common = scale * total / size
        for i in range(n):
            w[i] -= counts[i] * common


@kernel
def _sum(w):
    """Sum of an array; four sums hide the latency of additions."""
    n = w.shape[0]
    a = b = c = d = 0.0
    for i in range(0, n - 3, 4):
        a, b, c, d = a + w[i], b + w[i + 1], c + w[i + 2], d + w[i + 3]
    for i in range(n - n % 4, n):
        a += w[i]
    return (a + b) + (c + d)


@kernel
def _fill_signs(generator, w):
    """Write independent signs, 53 from the bits of each uniform number."""
    n = w.shape[0]
    for start in range(0, n, 53):
        bits = np.int64(generator.random() * 2.0**53)
        for i in range(start, min(start + 53, n)):
            w[i] = 1.0 if (bits >> (i - start)) & 1 else -1.0


@kernel
def _fill_student(generator, df, w):
    """Write Student's t, df > 2, as a normal over the root of a gamma variate by the method of Marsaglia and Tsang (2000).

    Half as long as `Generator.standard_t` takes in a kernel.
    """
    d = df / 2 - 1 / 3
    c = 1 / np.sqrt(9 * d)
    for i in range(w.shape[0]):
        while True:
            x = generator.standard_normal()
            v = 1 + c * x
            if v <= 0:
                continue
            v = v * v * v
            u = 1 - generator.random()  # above zero, for the logarithm
            if u < 1 - 0.0331 * (x * x) * (x * x) or np.log(u) < 0.5 * x * x + d * (1 - v + np.log(v)):
                break
        w[i] = generator.standard_normal() * np.sqrt(df / (2 * d * v))


@kernel
def _fill_bernoulli(generator, size, w):
    """Write 1/size with probability size/n, and else zero; where that is rare, jump from one such sample to the next."""
    n = w.shape[0]
    p = size / n
    if p > _RARE:
        for i in range(n):
            w[i] = 1 / size if generator.random() < p else 0.0
        return
    w[:] = 0.0
    scale, i = 1 / np.log1p(-p), -1.0
    while True:
        i += 1.0 + np.floor(np.log(1 - generator.random()) * scale)
        if i >= n:
            return
        w[int(i)] = 1 / size


@kernel
def indices_per_uniform(n):
    """Return how many indices below n are taken from one uniform number, as its digits in base n.

    A draw costs more than all else that is done with an index. `Generator.integers` takes ten times as long in a kernel; here
    no index is favoured by more than 2^-27 (2^-53 n if it is the only one).
    """
    return 3 if n <= 2**8 else 2 if n <= 2**13 else 1


@kernel
def _choose(generator, size, replacement, chosen, pool):
    """Draw indices; without replacement by the first steps of a Fisher-Yates shuffle."""
    n = pool.shape[0]
    digits, left, u = indices_per_uniform(n), 0, 0.0
    for k in range(size):
        if left == 0:
            u, left = generator.random(), digits
        left -= 1
        u *= n if replacement else n - k
        j = int(u)
        u -= j
        if replacement:
            chosen[k] = j
        else:
            pool[k], pool[k + j] = pool[k + j], pool[k]
            chosen[k] = pool[k]
