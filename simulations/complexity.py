"""Monte-Carlo local complexity of any set of losses under any sampling vector.

See `gradnoise.theory.complexity` for what is meant, and for the exact values where there are some.
"""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import ArrayLike

from gradnoise.simulations import ensemble
from gradnoise.simulations.ensemble import Progress, check_fits, kernel
from gradnoise.simulations.sampling import COMPILED, WeightRule, draw_with, fill_weights, lower, work_space
from gradnoise.simulations.seeds import RNG
from gradnoise.simulations.statistics import Estimate, Moments, merge_moments
from gradnoise.theory._validation import as_probabilities
from gradnoise.theory.complexity import AffineLosses, FiniteLosses, LeastSquaresLosses, LossClass
from gradnoise.theory.sampling import Gaussian, Rademacher, SamplingNoise, as_noise

__all__ = ["normals", "signs", "simulate"]

_AFFINE, _FINITE, _LEAST_SQUARES = range(3)
_KINDS = {AffineLosses: _AFFINE, FiniteLosses: _FINITE, LeastSquaresLosses: _LEAST_SQUARES}
_SWEEPS = 30  # of Jacobi rotations: convergence is quadratic, six do for small matrices
_NEWTON_STEPS, _NEWTON_TOLERANCE = 50, 1e-9  # relative, of the step's length; the value's error is of its second order


def signs(n: int) -> Rademacher:
    """Return the sampling vector whose v = nW - 1 are independent signs, for the Rademacher complexity.

    Parameters
    ----------
    n : int
        Samples.

    Returns
    -------
    Rademacher

    Examples
    --------
    >>> from gradnoise.simulations.complexity import signs
    >>> signs(7)
    Rademacher(n=7, batch_size=7, centered=False, replacement=True)
    """
    return Rademacher(n, n, centered=False)


def normals(n: int) -> Gaussian:
    """Return the sampling vector whose v = nW - 1 are independent standard normals, for the Gaussian complexity.

    Parameters
    ----------
    n : int
        Samples.

    Returns
    -------
    Gaussian

    Examples
    --------
    >>> from gradnoise.simulations.complexity import normals
    >>> normals(7)
    Gaussian(n=7, batch_size=7, centered=False, replacement=True)
    """
    return Gaussian(n, n, centered=False)


def simulate(
    losses: LossClass,
    noise: SamplingNoise,
    n_paths: int,
    *,
    rng: RNG,
    probabilities: ArrayLike | None = None,
    n_jobs: int | None = None,
    store: str | os.PathLike[str] | None = None,
    progress: Progress = None,
) -> Estimate:
    """Estimate R(V, θ, δ, N), the expected supremum over a class of losses of |Σ v_i ℓ_i|/N, where V = N W − 1.

    Parameters
    ----------
    losses : LossClass
        On the N samples, or on the points of a sample space. A class of your own works, in NumPy.
    noise : SamplingNoise
        W over N samples, of any class that can be drawn, for instance ``Minibatch(N, b)`` for the SGD complexity; `signs(N)`
        and `normals(N)` are those of the Rademacher and the Gaussian complexity.
    n_paths : int
        Independent vectors.
    rng : None, int, SeedSequence or Generator
        See `gradnoise.simulations.seeds.Stream.of`.
    probabilities : array_like, optional
        Of the points: the N samples are then drawn from them anew for each vector. Without it the points are the samples.
    n_jobs : int, optional
    store : path, optional
    progress : bool or callable, optional
        See `gradnoise.simulations.ensemble.run`.

    Returns
    -------
    Estimate
        In units of the losses.

    Raises
    ------
    ValueError, TypeError
        If the losses and the noise have different numbers of samples, or an argument is not allowed.

    References
    ----------
    wu2019, Eq. (9).

    Examples
    --------
    >>> from gradnoise.simulations import complexity
    >>> from gradnoise.theory.complexity import FiniteLosses, rademacher
    >>> losses = FiniteLosses([[1.0, -2.0, 0.5, 3.0, 0.0]])
    >>> found = complexity.simulate(losses, complexity.signs(5), 10_000, rng=1)
    >>> abs(found.value - rademacher(losses)) < 6 * found.standard_error
    True
    """
    if not isinstance(losses, LossClass):
        raise TypeError(f"losses must be a LossClass, got {losses!r}")
    as_noise(noise)
    check_fits(16 * noise.n, f"noise of {noise.n} samples makes a vector")
    p = None if probabilities is None else as_probabilities(probabilities, "probabilities", losses.n)
    if p is None and noise.n != losses.n:
        raise ValueError(f"noise must have n = {losses.n} as the losses have, got {noise.n}; give probabilities to draw samples")
    if noise in COMPILED and type(losses) in _KINDS:
        block, params = _compiled_block, (lower(noise), noise.n, *_lower_losses(losses))
    else:
        block, params = _numpy_block, (noise, losses)
    moments = ensemble.run(
        block, (*params, p), n_paths, rng=rng, reduce=merge_moments, n_jobs=n_jobs, store=store, progress=progress
    )
    return moments.estimates()[0]


def _lower_losses(losses: LossClass) -> tuple[int, float, int, np.ndarray]:
    """Kind, radius, dimension of a quadratic, and statistics of losses that are compiled."""
    radius, dimension = getattr(losses, "radius", 0.0), getattr(losses, "dimension", 0)
    return _KINDS[type(losses)], radius, dimension, np.ascontiguousarray(losses.statistics.T)


def _compiled_block(
    n_paths: int,
    generator: np.random.Generator,
    rule: WeightRule,
    n: int,
    kind: int,
    radius: float,
    dimension: int,
    columns: np.ndarray,
    probabilities: np.ndarray | None,
) -> tuple[np.ndarray]:
    out, cumulative = np.empty(n_paths), np.empty(0) if probabilities is None else np.cumsum(probabilities)
    _suprema(rule, generator, np.empty(n), work_space(rule, n), kind, radius, dimension, columns, cumulative, out)
    return Moments.of(out[:, np.newaxis] / n).as_block()


def _numpy_block(
    n_paths: int,
    generator: np.random.Generator,
    noise: SamplingNoise,
    losses: LossClass,
    probabilities: np.ndarray | None,
) -> tuple[np.ndarray]:
    vectors = noise.n * draw_with(noise, n_paths, generator) - 1
    if probabilities is not None:
        points = generator.choice(losses.n, size=vectors.shape, p=probabilities)
        at_points = np.zeros((n_paths, losses.n))
        np.add.at(at_points, (np.arange(n_paths)[:, np.newaxis], points), vectors)
        vectors = at_points
    return Moments.of(losses.supremum(vectors)[:, np.newaxis] / noise.n).as_block()


@kernel
def _suprema(rule, generator, w, space, kind, radius, d, columns, cumulative, out):
    n, size = w.shape[0], columns.shape[1]
    statistics = np.empty(size)
    matrix, vectors, slopes = np.empty((d, d)), np.empty((d, d)), np.empty(d)
    for path in range(out.shape[0]):
        fill_weights(rule, generator, w, space)
        statistics[:] = 0.0
        for i in range(n):
            point = i
            if cumulative.shape[0]:
                point = min(np.searchsorted(cumulative, generator.random(), side="right"), cumulative.shape[0] - 1)
            v = n * w[i] - 1
            for j in range(size):
                statistics[j] += v * columns[point, j]
        if kind == _AFFINE:
            square = 0.0
            for j in range(1, size):
                square += statistics[j] ** 2
            out[path] = abs(statistics[0]) + radius * np.sqrt(square)
        elif kind == _FINITE:
            out[path] = np.abs(statistics).max()
        else:
            out[path] = _quadratic_supremum(statistics, radius, matrix, vectors, slopes)


@kernel
def _quadratic_supremum(statistics, radius, matrix, vectors, slopes):
    """Larger one of both extremes of c + b's + s'As/2 on a ball: one decomposition serves both."""
    d, position = slopes.shape[0], slopes.shape[0] + 1
    for i in range(d):
        for j in range(i, d):
            matrix[i, j] = matrix[j, i] = statistics[position]
            position += 1
    _diagonalise(matrix, vectors)
    for j in range(d):
        slopes[j] = 0.0
        for i in range(d):
            slopes[j] += vectors[i, j] * statistics[1 + i]
    highest = statistics[0] + _largest(matrix, slopes, radius, 1.0)
    lowest = statistics[0] - _largest(matrix, slopes, radius, -1.0)
    return max(highest, -lowest)


@kernel
def _largest(matrix, slopes, radius, sign):
    """Maximum over the ball for the diagonal of `matrix` times `sign`, from the dual (see theory.trust_region)."""
    d = slopes.shape[0]
    least = 0.0
    for i in range(d):
        least = max(least, sign * matrix[i, i])
    # The multiplier is `least + shift`, where the step is as long as the radius. One slope alone bounds it from below; Newton's
    # method for one over the length, which is concave, then never passes it.
    shift = 0.0
    for i in range(d):
        shift = max(shift, abs(slopes[i]) / radius - (least - sign * matrix[i, i]))
    for _ in range(_NEWTON_STEPS):
        square, slope = 0.0, 0.0
        for i in range(d):
            if slopes[i] != 0.0:
                gap = least - sign * matrix[i, i] + shift
                square += (slopes[i] / gap) ** 2
                slope += slopes[i] ** 2 / gap**3
        excess = np.sqrt(square) / radius - 1
        if excess <= _NEWTON_TOLERANCE:
            break
        shift += excess * square / slope
    value = (least + shift) * radius**2
    for i in range(d):
        if slopes[i] != 0.0:
            value += slopes[i] ** 2 / (least - sign * matrix[i, i] + shift)
    return value / 2


@kernel
def _diagonalise(matrix, vectors):
    """Cyclic Jacobi rotations, in place: eigenvalues on the diagonal, eigenvectors in columns. No BLAS, so bit-identical."""
    d = matrix.shape[0]
    vectors[:] = 0.0
    for i in range(d):
        vectors[i, i] = 1.0
    for _ in range(_SWEEPS):
        turned = False
        for p in range(d - 1):
            for q in range(p + 1, d):
                off = matrix[p, q]
                if abs(off) <= 1e-17 * (abs(matrix[p, p]) + abs(matrix[q, q])):
                    continue
                turned = True
                half = (matrix[q, q] - matrix[p, p]) / (2 * off)
                t = 1 / (abs(half) + np.sqrt(half * half + 1))
                if half < 0:
                    t = -t
                c = 1 / np.sqrt(t * t + 1)
                s = t * c
                for k in range(d):
                    a, b = matrix[k, p], matrix[k, q]
                    matrix[k, p], matrix[k, q] = c * a - s * b, s * a + c * b
                for k in range(d):
                    a, b = matrix[p, k], matrix[q, k]
                    matrix[p, k], matrix[q, k] = c * a - s * b, s * a + c * b
                    a, b = vectors[k, p], vectors[k, q]
                    vectors[k, p], vectors[k, q] = c * a - s * b, s * a + c * b
        if not turned:
            break
