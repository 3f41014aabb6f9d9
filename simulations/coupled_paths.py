r"""M-SGD and its SDE on one Brownian path, for several step sizes at once.

For each step size eta the SDE :math:`d\Theta = b(\Theta) dt + \sqrt\eta\, C(\Theta) dW` is followed by Euler-Maruyama steps of
eta/r, and M-SGD takes its steps of eta with the increments that these have passed. All step sizes share the path W in R^n,
which is drawn at the finest of all steps.

The reference's drift is corrected to first order in its step, :math:`b + \frac{h}{2} b' b`. What is left of its error has a
factor eta/r against that of M-SGD; 1/r where the modified drift takes the first order away from that.

A sampling vector that is not Gaussian is coupled to the increments by drawing the samples with the largest ones. A batch with
replacement is drawn one sample at a time, from the increments of a b-th of the step, which are independent; so are the
components of Bernoulli weights.

**Controls.** For a function g of the last point each path also gives the sum of its noises, each times the sensitivity of g
to it along noise-free gradient descent. Every term has the mean zero, given the path before it, so that g minus this sum has
the expectation of g, and most of the noise of g is gone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any

import numpy as np

from gradnoise.simulations._jit import kernel
from gradnoise.simulations.problem import Problem, compiled, written
from gradnoise.theory._validation import FloatArray
from gradnoise.theory.exchangeable import SamplingNoise
from gradnoise.theory.sampling import Bernoulli, Gaussian, Minibatch

__all__ = ["Coupling", "final_points", "lanes", "sensitivities"]

_GAUSSIAN, _DRAWN_APART, _LARGEST, _ABOVE = range(4)
_FEWEST_LANES, _MOST_LANES = 8, 64
_HELD = 2**22  # gradients of a sample by a parameter, on all paths of a group
_SENSITIVITY_STEP = 1e-5
_DIFFERENCE_STEP = 1e-6  # of the directional derivative of the gradient, in units of the gradient


@dataclass(frozen=True)
class Coupling:
    """How one study couples its paths.

    Attributes
    ----------
    noise : SamplingNoise
        Gaussian, Minibatch or Bernoulli.
    finest : float
        Smallest step size.
    multiples : tuple of int
        Step sizes in units of the smallest.
    n_finest : int
        Steps of the smallest size.
    refinement : int
        r, reference steps in a step; even, at least 4.
    modified : bool
        Whether the SDE has the modified drift.
    shared : bool
        Whether the iterates share the increments of the SDE; if not, they draw their own.
    substeps : int
        1 for M-SGD. More replaces it by the reference's own scheme with that many steps in each step, to see how far the
        reference is off.
    """

    noise: SamplingNoise
    finest: float
    multiples: tuple[int, ...]
    n_finest: int
    refinement: int
    modified: bool = False
    shared: bool = True
    substeps: int = 1

    def of_reference(self) -> Coupling:
        """Return the coupling of the reference with one of twice its step."""
        return replace(self, substeps=self.refinement // 2, shared=True)

    def arguments(self) -> tuple[Any, ...]:
        """Return what the kernel takes."""
        noise, r = self.noise, self.refinement
        rule, batch_size, threshold = _rule(noise) if self.substeps == 1 else (_GAUSSIAN, 1, 0.0)
        scale = math.sqrt(noise.centred_power)
        # A root of Var W = (v - c) I + c J is scale (I - kappa J/n); along (1, ..., 1) it shows in the variance of the sum.
        kappa = 1.0 - math.sqrt(noise.sum_variance / (noise.n * noise.centred_power)) if scale > 0 else 0.0
        eta = self.finest * np.array(self.multiples, dtype=np.float64)
        added = eta if self.modified else np.zeros_like(eta)
        reference_step, iterate_step = eta / r, eta / self.substeps
        corrected = added - iterate_step if self.substeps > 1 else np.zeros_like(eta)
        return (
            rule,
            batch_size,
            threshold,
            scale,
            kappa,
            self.shared,
            self.finest / r,
            self.n_finest * r,
            np.array(self.multiples, dtype=np.int64),
            r,
            self.substeps,
            eta,
            reference_step,
            added - reference_step,
            iterate_step,
            corrected,
        )


def _rule(noise: SamplingNoise) -> tuple[int, int, float]:
    """Return how weights are made from increments, the batch size, and the increment above which a weight is not zero."""
    match noise:
        case Gaussian():
            return _GAUSSIAN, 1, 0.0
        case Minibatch(replacement=True):
            return _DRAWN_APART, noise.batch_size, 0.0
        case Minibatch():
            return _LARGEST, noise.batch_size, 0.0
        case Bernoulli():
            return _ABOVE, noise.batch_size, -NormalDist().inv_cdf(noise.batch_size / noise.n)
    raise TypeError(f"batch_size must be a number or a Gaussian, Minibatch or Bernoulli noise, got {noise!r}")


def final_points(
    n_paths: int, generator: np.random.Generator, problem: Problem, coupling: Coupling, sensitivities: FloatArray | None = None
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Follow paths to their ends.

    Parameters
    ----------
    n_paths, generator
        Of a block.
    problem : Problem
        Gradients, data and start.
    coupling : Coupling
        What runs beside what.
    sensitivities : (step sizes, steps, d) array, optional
        See `sensitivities`; without them there are no controls.

    Returns
    -------
    iterates, references : (n_paths, step sizes, d) ndarray
        Last points of M-SGD and of the SDE.
    controls : (n_paths, step sizes) ndarray
        Control of the difference of g between the two.
    """
    levels, d = len(coupling.multiples), problem.dimension
    iterates, references = np.empty((2, n_paths, levels, d))
    controls = np.empty((n_paths, levels))
    weighed = np.empty((levels, 0, d)) if sensitivities is None else sensitivities
    gradients = compiled(problem.gradients, "gradients", problem.vectorized)
    _kernel(
        generator, *((None, gradients) if problem.vectorized else (gradients, None)), lanes(problem), problem.data, problem.start,
        *coupling.arguments(), weighed, iterates, references, controls,
    )  # fmt: skip
    return iterates, references, controls


def lanes(problem: Problem) -> int:
    """Return how many paths run side by side; it decides the order in which normals are drawn.

    Fewer for a problem whose gradients, of all samples on all of these paths, would take much memory.
    """
    room = max(_HELD // (problem.dimension * problem.n), _FEWEST_LANES)
    return min(2 ** (room.bit_length() - 1), _MOST_LANES)


def sensitivities(problem: Problem, function: Callable[..., None], coupling: Coupling) -> FloatArray:
    """Return the gradient of g(theta_K) by the point after each step of gradient descent, (step sizes, steps, d).

    All derivatives are central differences: they decide how much noise the controls remove, not what is estimated.
    """
    d, n_finest = problem.dimension, coupling.n_finest
    result = np.zeros((len(coupling.multiples), n_finest, d))

    def value(theta: FloatArray) -> float:
        return float(written(function, "test_function", theta, problem.data, (problem.n,)).mean())

    def gradient(theta: FloatArray) -> FloatArray:
        return problem.sample_gradients(theta).mean(axis=1)

    def differences(f: Callable[[FloatArray], Any], theta: FloatArray) -> FloatArray:
        steps = _SENSITIVITY_STEP * np.eye(d)
        return np.array([(f(theta + step) - f(theta - step)) / (2 * _SENSITIVITY_STEP) for step in steps])

    for level, multiple in enumerate(coupling.multiples):
        eta, n_steps = multiple * coupling.finest, n_finest // multiple
        points = [problem.start]
        for _ in range(n_steps):
            points.append(points[-1] - eta * gradient(points[-1]))
            if not np.isfinite(points[-1]).all():
                raise ValueError(f"step_sizes must let gradient descent stay finite, got {eta:g}, where it does not")
        backwards = differences(value, points[-1])
        for k in range(n_steps - 1, -1, -1):
            result[level, k] = backwards
            backwards = backwards - eta * differences(gradient, points[k]) @ backwards
    return result


@kernel
def _kernel(
    generator,
    gradients,
    vectorized_gradients,
    lanes,
    data,
    start,
    rule,
    batch_size,
    threshold,
    scale,
    kappa,
    shared,
    fine_step,
    n_fine,
    multiples,
    refinement,
    substeps,
    eta,
    reference_step,
    reference_correction,
    iterate_step,
    iterate_correction,
    sensitivities,
    iterates,
    references,
    controls,
):
    """Follow groups of paths side by side; the last axis of all arrays is that of the paths in a group."""
    n, d, levels, n_paths = data.shape[0], start.shape[0], multiples.shape[0], iterates.shape[0]
    root, controlled = np.sqrt(fine_step), sensitivities.shape[1] > 0
    path = np.empty((n, lanes))  # W, and where it was at the last steps of each kind
    shape = levels, n, lanes
    at_reference, at_iterate, at_draw = np.empty(shape), np.empty(shape), np.empty(shape)
    iterate, reference = np.empty((levels, d, lanes)), np.empty((levels, d, lanes))
    control, counts = np.empty((levels, lanes)), np.zeros(shape)
    until_reference, until_iterate, until_draw = np.empty((3, levels), np.int64)
    steps = np.empty(levels, np.int64)  # that M-SGD has taken
    weights, total = np.empty((n, lanes)), np.empty(lanes)
    theta, mean, G = np.empty((d, lanes)), np.empty((d, lanes)), np.empty((d, n, lanes))
    point, at_point = np.empty(d), np.empty((d, n))
    for first in range(0, n_paths, lanes):
        active = min(lanes, n_paths - first)
        for array in (at_reference, at_iterate, at_draw):
            array[:] = 0.0
        path[:] = 0.0
        control[:] = 0.0
        for j in range(d):
            iterate[:, j] = start[j]
            reference[:, j] = start[j]
        for level in range(levels):
            until_reference[level] = multiples[level]
            until_iterate[level] = multiples[level] * (refinement // substeps)
            until_draw[level] = multiples[level] * (refinement // batch_size)
            steps[level] = 0
        for _ in range(n_fine):
            for i in range(n):
                for lane in range(active):
                    path[i, lane] += root * generator.standard_normal()
            for level in range(levels):
                until_reference[level] -= 1
                if until_reference[level] > 0:
                    continue
                until_reference[level] = multiples[level]
                strength = np.sqrt(eta[level]) * scale
                step = steps[level] // substeps if controlled else -1
                _take_increments(path, at_reference, level, weights, total)
                _gaussian_weights(weights, total, strength, kappa)
                _euler_step(
                    gradients, vectorized_gradients, data, reference, level, reference_step[level], reference_correction[level],
                    weights, sensitivities, step, 1.0, control, theta, G, mean, total, point, at_point,
                )  # fmt: skip
                if rule == _DRAWN_APART and shared:
                    until_draw[level] -= multiples[level]
                    if until_draw[level] == 0:
                        until_draw[level] = multiples[level] * (refinement // batch_size)
                        _take_increments(path, at_draw, level, weights, total)
                        _count_largest(weights, counts, level)
                until_iterate[level] -= multiples[level]
                if until_iterate[level] > 0:
                    continue
                until_iterate[level] = multiples[level] * (refinement // substeps)
                _take_increments(path, at_iterate, level, weights, total)
                if not shared:
                    _draw_increments(generator, np.sqrt(iterate_step[level]), active, weights, total)
                    if rule == _DRAWN_APART:
                        _draw_batches(generator, batch_size, active, counts, level)
                if rule == _GAUSSIAN:
                    _gaussian_weights(weights, total, strength, kappa)
                else:
                    if rule == _LARGEST:
                        _mark_largest(weights, batch_size, counts, level)
                    elif rule == _ABOVE:
                        _mark_above(weights, threshold * np.sqrt(iterate_step[level]), counts, level)
                    for i in range(n):
                        for lane in range(lanes):
                            weights[i, lane] = eta[level] * (counts[level, i, lane] / batch_size - 1.0 / n)
                            counts[level, i, lane] = 0.0
                _euler_step(
                    gradients, vectorized_gradients, data, iterate, level, iterate_step[level], iterate_correction[level],
                    weights, sensitivities, step, -1.0, control, theta, G, mean, total, point, at_point,
                )  # fmt: skip
                steps[level] += 1
        for lane in range(active):
            for level in range(levels):
                controls[first + lane, level] = control[level, lane]
                for j in range(d):
                    iterates[first + lane, level, j] = iterate[level, j, lane]
                    references[first + lane, level, j] = reference[level, j, lane]


# Arrays are passed whole, with an index: counting the references to a row would cost more than what is done with it.


@kernel
def _take_increments(path, last, level, increments, total):
    """Write what the paths have moved since the last time, and its sums, and remember where they are."""
    n, lanes = path.shape
    for lane in range(lanes):
        total[lane] = 0.0
    for i in range(n):
        for lane in range(lanes):
            increments[i, lane] = path[i, lane] - last[level, i, lane]
        for lane in range(lanes):
            last[level, i, lane] = path[i, lane]
        for lane in range(lanes):
            total[lane] += increments[i, lane]


@kernel
def _draw_increments(generator, root, active, increments, total):
    total[:] = 0.0
    for i in range(increments.shape[0]):
        for lane in range(active):
            increments[i, lane] = root * generator.standard_normal()
            total[lane] += increments[i, lane]


@kernel
def _draw_batches(generator, batch_size, active, counts, level):
    for _ in range(batch_size):
        for lane in range(active):
            counts[level, int(generator.random() * counts.shape[1]), lane] += 1.0


@kernel
def _gaussian_weights(increments, total, strength, kappa):
    """Turn increments into weights, in place."""
    n, lanes = increments.shape
    common = kappa / n
    if common == 0.0:
        for i in range(n):
            for lane in range(lanes):
                increments[i, lane] *= strength
    else:
        for i in range(n):
            for lane in range(lanes):
                increments[i, lane] = strength * (increments[i, lane] - common * total[lane])


@kernel
def _count_largest(increments, counts, level):
    for lane in range(increments.shape[1]):
        best = 0
        for i in range(1, increments.shape[0]):
            if increments[i, lane] > increments[best, lane]:
                best = i
        counts[level, best, lane] += 1.0


@kernel
def _mark_largest(increments, batch_size, counts, level):
    for lane in range(increments.shape[1]):
        for _ in range(batch_size):
            best = -1
            for i in range(increments.shape[0]):
                if counts[level, i, lane] == 0.0 and (best < 0 or increments[i, lane] > increments[best, lane]):
                    best = i
            counts[level, best, lane] = 1.0


@kernel
def _mark_above(increments, threshold, counts, level):
    for i in range(increments.shape[0]):
        for lane in range(increments.shape[1]):
            counts[level, i, lane] = 1.0 if increments[i, lane] > threshold else 0.0


@kernel
def _euler_step(
    gradients, vectorized_gradients, data, points, level, step, correction, weights, sensitivities, k, sign, control,
    theta, G, mean, total, point, at_point,
):  # fmt: skip
    r"""Move points by -step (grad L + correction/2 H grad L) - G weights; add to the controls what the noise does.

    The product with the Hessian is a difference of gradients, so that users need not write it.
    """
    d, n, lanes = G.shape
    for j in range(d):
        for lane in range(lanes):
            theta[j, lane] = points[level, j, lane]
    _write_gradients(gradients, vectorized_gradients, data, theta, G, point, at_point)
    per_sample = 1.0 / n
    for j in range(d):
        _sums(G, j, weights, mean, total)
        for lane in range(lanes):
            average = mean[j, lane] * per_sample
            points[level, j, lane] -= step * average + total[lane]
            theta[j, lane] += _DIFFERENCE_STEP * average
        if k >= 0:
            push = sign * sensitivities[level, k, j]
            for lane in range(lanes):
                control[level, lane] += push * total[lane]
    if correction != 0.0:
        _write_gradients(gradients, vectorized_gradients, data, theta, G, point, at_point)
        share = 0.5 * step * correction / _DIFFERENCE_STEP * per_sample
        for j in range(d):
            _subtract_sums(G, j, mean)
            for lane in range(lanes):
                points[level, j, lane] += share * mean[j, lane]


# Two samples at a time, to spare loads and stores.


@kernel
def _sums(G, j, weights, mean, total):
    """Write the sums of the samples' gradients by a parameter, and those with weights."""
    _, n, lanes = G.shape
    odd = n % 2
    if odd:
        for lane in range(lanes):
            a = G[j, 0, lane]
            mean[j, lane] = a
            total[lane] = a * weights[0, lane]
    else:
        for lane in range(lanes):
            a, b = G[j, 0, lane], G[j, 1, lane]
            mean[j, lane] = a + b
            total[lane] = a * weights[0, lane] + b * weights[1, lane]
    for i in range(2 - odd, n, 2):
        for lane in range(lanes):
            a, b = G[j, i, lane], G[j, i + 1, lane]
            mean[j, lane] += a + b
            total[lane] += a * weights[i, lane] + b * weights[i + 1, lane]


@kernel
def _subtract_sums(G, j, mean):
    _, n, lanes = G.shape
    odd = n % 2
    if odd:
        for lane in range(lanes):
            mean[j, lane] -= G[j, 0, lane]
    for i in range(odd, n, 2):
        for lane in range(lanes):
            mean[j, lane] -= G[j, i, lane] + G[j, i + 1, lane]


@kernel
def _write_gradients(gradients, vectorized_gradients, data, theta, G, point, at_point):
    """Write the gradients of all samples at each point; NaN is what a function that raises does not write."""
    d, n, lanes = G.shape
    if vectorized_gradients is not None:  # two conditions, as Numba leaves out a branch only where its own argument is None
        for j in range(d):
            for i in range(n):
                for lane in range(lanes):
                    G[j, i, lane] = np.nan
        vectorized_gradients(theta, data, G)
    if gradients is not None:
        for lane in range(lanes):
            for j in range(d):
                point[j] = theta[j, lane]
            at_point[:] = np.nan
            gradients(point, data, at_point)
            for j in range(d):
                for i in range(n):
                    G[j, i, lane] = at_point[j, i]
