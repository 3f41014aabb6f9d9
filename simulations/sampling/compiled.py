"""Sampling vectors inside kernels: a class becomes a record of numbers, by which `fill_weights` draws it.

A class of its own is a `kind`, an entry in `COMPILED` that makes its record, and a branch in `fill_weights`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from gradnoise.simulations.ensemble import check_fits, kernel
from gradnoise.simulations.sampling.rules import Rules
from gradnoise.theory import sampling as classes
from gradnoise.theory._validation import as_count, as_instance
from gradnoise.theory.sampling import SamplingNoise

__all__ = [
    "COMPILED",
    "WeightRule",
    "WorkSpace",
    "fill_rows",
    "fill_weights",
    "indices_per_uniform",
    "lower",
    "work_space",
]

_MINIBATCH, _GAUSSIAN, _RADEMACHER, _STUDENT, _BERNOULLI, _FISHER, _COV, _PRINTED, _GAUSSIAN_MINIBATCH = range(9)
_SPARSE = {"fisher": _FISHER, "cov": _COV, "printed": _PRINTED}
_RARE = 0.2  # probability of a sample below which it is faster to jump to the next one

#: Records of the classes that kernels draw.
COMPILED = Rules("has no compiled form")


class WeightRule(NamedTuple):
    """What a kernel draws a class by; a class uses the fields that it needs.

    Attributes
    ----------
    kind : int
        Which branch of `fill_weights`.
    size : int
        Of the batch or of the support.
    scale : float
        Factor of the noise.
    centered, replacement : bool
        As in the class.
    df : float
        Degrees of freedom of Student components.

    Examples
    --------
    >>> from gradnoise.simulations.sampling import lower
    >>> from gradnoise.theory.sampling import Gaussian
    >>> rule = lower(Gaussian(4, 4, centered=False))
    >>> rule.scale, rule.centered  # a variance of 1/(bn)
    (0.25, False)
    """

    kind: int
    size: int = 0
    scale: float = 0.0
    centered: bool = False
    replacement: bool = False
    df: float = 0.0


class WorkSpace(NamedTuple):
    """Arrays that `fill_weights` works in.

    Attributes
    ----------
    scratch : (n,) ndarray
    chosen : (max(size, 1),) ndarray of int64
        Indices of a batch.
    pool : (n,) ndarray of int64
        A permutation of 0 ... n - 1, kept between calls.

    Examples
    --------
    >>> from gradnoise.simulations.sampling import lower, work_space
    >>> from gradnoise.theory.sampling import Minibatch
    >>> space = work_space(lower(Minibatch(7, 3)), 7)
    >>> space.scratch.shape, space.chosen.shape, space.pool.shape
    ((7,), (3,), (7,))
    """

    scratch: np.ndarray
    chosen: np.ndarray
    pool: np.ndarray


def lower(noise: SamplingNoise) -> WeightRule:
    """Turn a class into the record that `fill_weights` takes.

    Parameters
    ----------
    noise : SamplingNoise
        Of a class with a compiled form; ``noise in COMPILED`` tells.

    Returns
    -------
    WeightRule

    Raises
    ------
    TypeError
        If the class has no compiled form.

    Examples
    --------
    >>> from gradnoise.simulations.sampling import lower
    >>> from gradnoise.theory.sampling import Minibatch
    >>> lower(Minibatch(7, 3))
    WeightRule(kind=0, size=3, scale=0.0, centered=False, replacement=True, df=0.0)
    """
    return COMPILED.apply(noise)


def work_space(rule: WeightRule, n: int) -> WorkSpace:
    """Allocate what `fill_weights` needs for n samples.

    Parameters
    ----------
    rule : WeightRule
        From `lower`.
    n : int
        Number of samples.

    Returns
    -------
    WorkSpace

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it should be, or memory cannot hold it.

    Examples
    --------
    >>> from gradnoise.simulations.sampling import lower, work_space
    >>> from gradnoise.theory.sampling import Minibatch
    >>> work_space(lower(Minibatch(7, 3)), 7).pool
    array([0, 1, 2, 3, 4, 5, 6])
    """
    rule, n = as_instance(rule, "rule", WeightRule), as_count(n, "n")
    check_fits(16 * n + 8 * rule.size, f"n = {n} with a batch of {rule.size} makes a work space")
    return WorkSpace(np.zeros(n), np.zeros(max(rule.size, 1), dtype=np.int64), np.arange(n))


@COMPILED.of(classes.Minibatch)
def _minibatch(noise: classes.Minibatch) -> WeightRule:
    return WeightRule(_MINIBATCH, size=noise.batch_size, replacement=noise.replacement)


@COMPILED.of(classes.Gaussian)
def _gaussian(noise: classes.Gaussian) -> WeightRule:
    return WeightRule(_GAUSSIAN, scale=math.sqrt(noise.centred_power), centered=noise.centered)


@COMPILED.of(classes.Rademacher)
def _rademacher(noise: classes.Rademacher) -> WeightRule:
    return WeightRule(_RADEMACHER, scale=math.sqrt(noise.centred_power), centered=noise.centered)


@COMPILED.of(classes.StudentT)
def _student(noise: classes.StudentT) -> WeightRule:
    to_unit_variance = math.sqrt((noise.df - 2) / noise.df)
    scale = math.sqrt(noise.centred_power) * to_unit_variance
    return WeightRule(_STUDENT, scale=scale, centered=noise.centered, df=float(noise.df))


@COMPILED.of(classes.Bernoulli)
def _bernoulli(noise: classes.Bernoulli) -> WeightRule:
    return WeightRule(_BERNOULLI, size=noise.batch_size)


@COMPILED.of(classes.SparseGaussian)
def _sparse_gaussian(noise: classes.SparseGaussian) -> WeightRule:
    return WeightRule(_SPARSE[noise.form], size=noise.support_size, scale=noise.noise_scale, replacement=noise.replacement)


@COMPILED.of(classes.GaussianMinibatch)
def _gaussian_minibatch(noise: classes.GaussianMinibatch) -> WeightRule:
    return WeightRule(
        _GAUSSIAN_MINIBATCH, noise.batch_size, scale=noise.noise_scale, centered=noise.centered, replacement=noise.replacement
    )


COMPILED.missing[classes.Enhanced] = "has no compiled form: it is made of two vectors of its base"


@kernel
def fill_rows(rule, generator, space, out):
    """Write a sampling vector into each row."""
    for row in range(out.shape[0]):
        fill_weights(rule, generator, out[row], space)


@kernel
def fill_weights(rule, generator, w, space):
    """Write one sampling vector into w.

    Parameters
    ----------
    rule : WeightRule
        From `lower`.
    generator : Generator
        Is used up.
    w : (n,) ndarray
        Result.
    space : WorkSpace
        From `work_space`.

    Examples
    --------
    >>> import numpy as np
    >>> from gradnoise.simulations.sampling import fill_weights, lower, work_space
    >>> from gradnoise.theory.sampling import Minibatch
    >>> rule, w = lower(Minibatch(7, 2, replacement=False)), np.empty(7)
    >>> fill_weights(rule, np.random.default_rng(1), w, work_space(rule, 7))
    >>> np.sort(w).tolist()
    [0.0, 0.0, 0.0, 0.0, 0.0, 0.5, 0.5]
    """
    n, kind, size, scale = w.shape[0], rule.kind, rule.size, rule.scale
    if kind in (_GAUSSIAN, _RADEMACHER, _STUDENT):
        if kind == _GAUSSIAN:
            for i in range(n):
                w[i] = generator.standard_normal()
        elif kind == _RADEMACHER:
            _fill_signs(generator, w)
        else:
            _fill_student(generator, rule.df, w)
        mean = _sum(w) / n if rule.centered else 0.0
        for i in range(n):
            w[i] = 1 / n + scale * (w[i] - mean)
        return
    if kind == _BERNOULLI:
        _fill_bernoulli(generator, size, w)
        return

    chosen = space.chosen
    _choose(generator, size, rule.replacement, chosen, space.pool)
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
        if rule.centered:
            for k in range(size):
                w[chosen[k]] -= scale * total / size
    else:
        counts = space.scratch
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

    Parameters
    ----------
    n : int
        How many indices there are.

    Returns
    -------
    int

    Examples
    --------
    >>> from gradnoise.simulations.sampling import indices_per_uniform
    >>> indices_per_uniform(100), indices_per_uniform(1_000), indices_per_uniform(10_000)
    (3, 2, 1)
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
