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
from typing import Any

import numpy as np
from scipy.special import ndtri

from gradnoise.simulations._jit import kernel
from gradnoise.simulations.problem import Problem, compiled, written
from gradnoise.theory._validation import FloatArray
from gradnoise.theory.exchangeable import SamplingNoise
from gradnoise.theory.sampling import Bernoulli, Gaussian, Minibatch

__all__ = ["Coupling", "final_points", "sensitivities"]

_GAUSSIAN, _DRAWN_APART, _LARGEST, _ABOVE = range(4)
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
            return _ABOVE, noise.batch_size, float(-ndtri(noise.batch_size / noise.n))
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
    gradients = compiled(problem.gradients, "gradients")
    _kernel(generator, gradients, problem.data, problem.start, *coupling.arguments(), weighed, iterates, references, controls)
    return iterates, references, controls


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
    n, d, levels = data.shape[0], start.shape[0], multiples.shape[0]
    root, controlled = np.sqrt(fine_step), sensitivities.shape[1] > 0
    path = np.empty(n)  # W, and where it was at the last steps of each kind
    at_reference, at_iterate, at_draw = np.empty((levels, n)), np.empty((levels, n)), np.empty((levels, n))
    counts = np.zeros((levels, n))
    until_reference, until_iterate, until_draw = np.empty((3, levels), np.int64)
    steps = np.empty(levels, np.int64)  # that M-SGD has taken
    weights, increments = np.empty(n), np.empty(n)
    work = np.empty(d), np.empty(d), np.empty((d, n))
    for p in range(iterates.shape[0]):
        path[:] = 0.0
        at_reference[:] = 0.0
        at_iterate[:] = 0.0
        at_draw[:] = 0.0
        for level in range(levels):
            iterates[p, level] = start
            references[p, level] = start
            until_reference[level] = multiples[level]
            until_iterate[level] = multiples[level] * (refinement // substeps)
            until_draw[level] = multiples[level] * (refinement // batch_size)
            steps[level] = 0
            controls[p, level] = 0.0
        for _ in range(n_fine):
            for i in range(n):
                path[i] += root * generator.standard_normal()
            for level in range(levels):
                until_reference[level] -= 1
                if until_reference[level] > 0:
                    continue
                until_reference[level] = multiples[level]
                strength = np.sqrt(eta[level]) * scale
                step = steps[level] // substeps if controlled else -1
                total = _take_increments(path, at_reference, level, increments)
                _gaussian_weights(increments, total, strength, kappa, weights)
                controls[p, level] -= _euler_step(
                    gradients, data, references, p, level, reference_step[level], reference_correction[level], weights,
                    sensitivities, step, work,
                )  # fmt: skip
                if rule == _DRAWN_APART and shared:
                    until_draw[level] -= multiples[level]
                    if until_draw[level] == 0:
                        until_draw[level] = multiples[level] * (refinement // batch_size)
                        _take_increments(path, at_draw, level, increments)
                        counts[level, np.argmax(increments)] += 1.0
                until_iterate[level] -= multiples[level]
                if until_iterate[level] > 0:
                    continue
                until_iterate[level] = multiples[level] * (refinement // substeps)
                total = _take_increments(path, at_iterate, level, increments)
                if not shared:
                    total = 0.0
                    for i in range(n):
                        increments[i] = np.sqrt(iterate_step[level]) * generator.standard_normal()
                        total += increments[i]
                    if rule == _DRAWN_APART:
                        for _ in range(batch_size):
                            counts[level, int(generator.random() * n)] += 1.0
                if rule == _GAUSSIAN:
                    _gaussian_weights(increments, total, strength, kappa, weights)
                else:
                    if rule == _LARGEST:
                        _mark_largest(increments, batch_size, counts[level])
                    elif rule == _ABOVE:
                        for i in range(n):
                            counts[level, i] = 1.0 if increments[i] > threshold * np.sqrt(iterate_step[level]) else 0.0
                    for i in range(n):
                        weights[i] = eta[level] * (counts[level, i] / batch_size - 1.0 / n)
                        counts[level, i] = 0.0
                controls[p, level] += _euler_step(
                    gradients, data, iterates, p, level, iterate_step[level], iterate_correction[level], weights,
                    sensitivities, step, work,
                )  # fmt: skip
                steps[level] += 1


# Rows of arrays are passed as the array and an index: a view would cost more than what is done with it.


@kernel
def _take_increments(path, last, level, increments):
    """Write what the path has moved since the last time, remember where it is, and return the sum."""
    total = 0.0
    for i in range(path.shape[0]):
        increments[i] = path[i] - last[level, i]
        last[level, i] = path[i]
        total += increments[i]
    return total


@kernel
def _gaussian_weights(increments, total, strength, kappa, weights):
    common = kappa * total / increments.shape[0]
    for i in range(increments.shape[0]):
        weights[i] = strength * (increments[i] - common)


@kernel
def _mark_largest(increments, batch_size, counts):
    for _ in range(batch_size):
        best = -1
        for i in range(increments.shape[0]):
            if counts[i] == 0.0 and (best < 0 or increments[i] > increments[best]):
                best = i
        counts[best] = 1.0


@kernel
def _euler_step(gradients, data, points, p, level, step, correction, weights, sensitivities, k, work):
    r"""Move a point by -step (grad L + correction/2 H grad L) - G weights; return what its noise does to g.

    The product with the Hessian is a difference of gradients, so that users need not write it.
    """
    theta, mean, G = work
    d, per_sample, effect = theta.shape[0], 1.0 / weights.shape[0], 0.0
    for j in range(d):
        theta[j] = points[p, level, j]
    G[:] = np.nan  # what a function that raises does not write: its exception cannot pass
    gradients(theta, data, G)
    for j in range(d):
        total, noise = _row_sums(G, j, weights)
        mean[j] = total * per_sample
        points[p, level, j] -= step * mean[j] + noise
        theta[j] += _DIFFERENCE_STEP * mean[j]
        if k >= 0:
            effect -= sensitivities[level, k, j] * noise
    if correction != 0.0:
        gradients(theta, data, G)
        for j in range(d):
            total, _ = _row_sums(G, j, weights)
            points[p, level, j] -= 0.5 * step * correction * (total * per_sample - mean[j]) / _DIFFERENCE_STEP
    return effect


@kernel
def _row_sums(G, j, weights):
    """Sum of a row, and its product with the weights; four sums of each hide the latency of additions."""
    n = weights.shape[0]
    s0 = s1 = s2 = s3 = t0 = t1 = t2 = t3 = 0.0
    i = 0
    while i + 4 <= n:
        s0, s1, s2, s3 = s0 + G[j, i], s1 + G[j, i + 1], s2 + G[j, i + 2], s3 + G[j, i + 3]
        t0, t1 = t0 + G[j, i] * weights[i], t1 + G[j, i + 1] * weights[i + 1]
        t2, t3 = t2 + G[j, i + 2] * weights[i + 2], t3 + G[j, i + 3] * weights[i + 3]
        i += 4
    while i < n:
        s0, t0 = s0 + G[j, i], t0 + G[j, i] * weights[i]
        i += 1
    return (s0 + s1) + (s2 + s3), (t0 + t1) + (t2 + t3)
