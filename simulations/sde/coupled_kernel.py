"""The kernel of the coupled paths: groups of them run side by side; see `gradnoise.simulations.sde.coupled_paths`.

Records stand beside the kernel, as its machine code, once cached, does not see an edit in another file. "Levels" are the step
sizes of a study. The last axis of a group's arrays is that of its paths, so that the compiler vectorises across them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from gradnoise.simulations.ensemble import kernel, part

__all__ = ["ABOVE", "DRAWN_APART", "GAUSSIAN", "LARGEST", "Ends", "Model", "NoiseRule", "Scheme", "Study", "follow_paths"]

#: How M-SGD's weights are made: as those of the SDE, or by drawing the samples of the largest increments.
GAUSSIAN, DRAWN_APART, LARGEST, ABOVE = range(4)
_DIFFERENCE_STEP = 1e-6  # of the directional derivative of the gradient, in units of the gradient


class Model(NamedTuple):
    """A problem of n samples and d parameters."""

    gradients: Any  # compiled, or None; see `gradnoise.simulations.sde.problem.Problem`
    vectorized_gradients: Any  # the other one of the two
    data: np.ndarray  # (n, p)
    start: np.ndarray  # (d,). Units: parameter


class Scheme(NamedTuple):
    """Steps of the SDE's scheme, or of M-SGD; arrays are (levels,)."""

    every: np.ndarray  # int, steps of the path in one of them
    step: np.ndarray  # units: time
    correction: np.ndarray  # h of the drift -(grad L + h/2 H grad L). Units: time


class NoiseRule(NamedTuple):
    """How increments of the path become weights of the samples."""

    kind: int  # of M-SGD's, one of the four above; those of the SDE are Gaussian
    batch_size: int  # samples that M-SGD draws, 1 if its weights are Gaussian
    threshold: float  # above which ABOVE draws a sample. Units: standard deviations of its increment
    scale: float  # scale (I - kappa J/n) is a root of the weights' covariance, J being all ones
    kappa: float
    shared: bool  # whether M-SGD takes the increments of the SDE, and does not draw its own


class Study(NamedTuple):
    """What runs beside what."""

    path_step: float  # of the Brownian path. Units: time
    n_path_steps: int
    step_sizes: np.ndarray  # (levels,), eta. Units: time
    every: np.ndarray  # (levels,) int, steps of the path in an eta
    reference: Scheme  # of the SDE
    iterate: Scheme  # of M-SGD
    noise: NoiseRule
    sensitivities: np.ndarray  # (levels, steps, d), of g to the noise in each eta; no steps, no controls. Units: g / parameter


class Ends(NamedTuple):
    """Where paths end.

    Attributes
    ----------
    iterates, references : (n_paths, levels, d) ndarray
        Last points of M-SGD and of the SDE. Units: parameter.
    controls : (n_paths, levels) ndarray
        Control of the difference of g between the two. Units: those of g.
    """

    iterates: np.ndarray
    references: np.ndarray
    controls: np.ndarray


class _Process(NamedTuple):
    """The SDE or M-SGD on the paths of a group."""

    scheme: Scheme
    sign: float  # of its noise in the controls
    points: np.ndarray  # (levels, d, lanes), where it is
    last: np.ndarray  # (levels, n, lanes), W at its last step


class _Work(NamedTuple):
    """What a step writes and the next one overwrites."""

    weights: np.ndarray  # (n, lanes), increments of the path, then the weights that are made of them
    total: np.ndarray  # (lanes,), sums of the increments, then the noise of a parameter
    theta: np.ndarray  # (d, lanes), points
    mean: np.ndarray  # (d, lanes), sums of the samples' gradients there
    G: np.ndarray  # (d, n, lanes), these gradients
    point: np.ndarray  # (d,), a point, for functions that take one at a time
    at_point: np.ndarray  # (d, n), and the gradients there


class _Group(NamedTuple):
    """Paths side by side."""

    path: np.ndarray  # (n, lanes), W. Units: root of time
    reference: _Process
    iterate: _Process
    at_draw: np.ndarray  # (levels, n, lanes), W when the last sample of a batch was drawn
    counts: np.ndarray  # (levels, n, lanes), how often each sample is in M-SGD's next batch
    control: np.ndarray  # (levels, lanes)


@kernel
def follow_paths(generator, model, study, lanes, ends):
    """Follow paths to their ends, `lanes` of them side by side."""
    n, d = model.data.shape[0], model.start.shape[0]
    group, work = _new_group(n, d, study, lanes), _new_work(n, d, lanes)
    for first in range(0, ends.controls.shape[0], lanes):
        _follow_group(generator, model, study, group, work, first, ends)


# The model is no field of the study, nor the work of the group: records of records cost 15 % where a step is short.


@part
def _follow_group(generator, model, study, group, work, first, ends):
    active, noise = min(group.path.shape[1], ends.controls.shape[0] - first), study.noise
    draws = noise.kind == DRAWN_APART and noise.shared
    _begin(group, model.start)
    for k in range(1, study.n_path_steps + 1):
        _move_path(generator, np.sqrt(study.path_step), active, group.path)
        for level in range(study.every.shape[0]):
            if k % study.reference.every[level] == 0:
                _sde_step(model, study, group, work, level, k)
            if draws and k % (study.every[level] // noise.batch_size) == 0:
                _draw_sample(group, work, level)
            if k % study.iterate.every[level] == 0:
                _msgd_step(generator, model, study, group, work, level, k, active)
    _write_ends(group, first, active, ends)


@kernel
def _new_group(n, d, study, lanes):
    levels = study.every.shape[0]
    reference = _Process(study.reference, 1.0, np.empty((levels, d, lanes)), np.empty((levels, n, lanes)))
    iterate = _Process(study.iterate, -1.0, np.empty((levels, d, lanes)), np.empty((levels, n, lanes)))
    at_draw, counts = np.empty((levels, n, lanes)), np.zeros((levels, n, lanes))
    return _Group(np.empty((n, lanes)), reference, iterate, at_draw, counts, np.empty((levels, lanes)))


@kernel
def _new_work(n, d, lanes):
    theta, mean = np.empty((d, lanes)), np.empty((d, lanes))
    return _Work(np.empty((n, lanes)), np.empty(lanes), theta, mean, np.empty((d, n, lanes)), np.empty(d), np.empty((d, n)))


@part
def _begin(group, start):
    group.path[:] = 0.0
    group.at_draw[:] = 0.0
    group.control[:] = 0.0
    for process in (group.reference, group.iterate):
        process.last[:] = 0.0
        for j in range(start.shape[0]):
            process.points[:, j] = start[j]


@kernel
def _move_path(generator, root, active, path):
    for i in range(path.shape[0]):
        for lane in range(active):
            path[i, lane] += root * generator.standard_normal()


@part
def _sde_step(model, study, group, work, level, k):
    """Take a step of the SDE, with the increments since its last one."""
    weights, total = work.weights, work.total
    _take_increments(group.path, group.reference.last, level, weights, total)
    _gaussian_weights(weights, total, np.sqrt(study.step_sizes[level]) * study.noise.scale, study.noise.kappa)
    _euler_step(model, study, group.reference, group.control, work, level, k)


@part
def _draw_sample(group, work, level):
    """Add to M-SGD's next batch the sample of the largest increment since the last one was drawn."""
    _take_increments(group.path, group.at_draw, level, work.weights, work.total)
    _count_largest(work.weights, group.counts, level)


@part
def _msgd_step(generator, model, study, group, work, level, k, active):
    """Take a step of M-SGD, with the increments since its last one, or with some of its own."""
    noise, weights, total, counts = study.noise, work.weights, work.total, group.counts
    eta, root = study.step_sizes[level], np.sqrt(study.iterate.step[level])
    _take_increments(group.path, group.iterate.last, level, weights, total)
    if not noise.shared:
        _draw_increments(generator, root, active, weights, total)
        if noise.kind == DRAWN_APART:
            _draw_batches(generator, noise.batch_size, active, counts, level)
    if noise.kind == GAUSSIAN:
        _gaussian_weights(weights, total, np.sqrt(eta) * noise.scale, noise.kappa)
    else:
        if noise.kind == LARGEST:
            _mark_largest(weights, noise.batch_size, counts, level)
        elif noise.kind == ABOVE:
            _mark_above(weights, noise.threshold * root, counts, level)
        _batch_weights(eta, noise.batch_size, counts, level, weights)
    _euler_step(model, study, group.iterate, group.control, work, level, k)


@part
def _write_ends(group, first, active, ends):
    levels, d, _ = group.iterate.points.shape
    for lane in range(active):
        for level in range(levels):
            ends.controls[first + lane, level] = group.control[level, lane]
            for j in range(d):
                ends.iterates[first + lane, level, j] = group.iterate.points[level, j, lane]
                ends.references[first + lane, level, j] = group.reference.points[level, j, lane]


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
def _batch_weights(eta, batch_size, counts, level, weights):
    """Write the weights of a batch, less their mean and times eta, and empty the batch."""
    n, lanes = weights.shape
    for i in range(n):
        for lane in range(lanes):
            weights[i, lane] = eta * (counts[level, i, lane] / batch_size - 1.0 / n)
            counts[level, i, lane] = 0.0


@part
def _euler_step(model, study, process, control, work, level, k):
    r"""Move points by -step (grad L + correction/2 H grad L) - G weights; add to the controls what the noise does.

    The product with the Hessian is a difference of gradients, so that users need not write it.
    """
    step, correction, points = process.scheme.step[level], process.scheme.correction[level], process.points
    theta, G, mean, total = work.theta, work.G, work.mean, work.total
    d, n, lanes = G.shape
    controlled = study.sensitivities.shape[1] > 0
    now = (k - 1) // study.every[level] if controlled else 0
    for j in range(d):
        for lane in range(lanes):
            theta[j, lane] = points[level, j, lane]
    _write_gradients(model.gradients, model.vectorized_gradients, model.data, theta, G, work.point, work.at_point)
    per_sample = 1.0 / n
    for j in range(d):
        _sums(G, j, work.weights, mean, total)
        for lane in range(lanes):
            average = mean[j, lane] * per_sample
            points[level, j, lane] -= step * average + total[lane]
            theta[j, lane] += _DIFFERENCE_STEP * average
        if controlled:
            push = process.sign * study.sensitivities[level, now, j]
            for lane in range(lanes):
                control[level, lane] += push * total[lane]
    if correction != 0.0:
        _write_gradients(model.gradients, model.vectorized_gradients, model.data, theta, G, work.point, work.at_point)
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
    """Write the gradients of all samples at each theta; NaN is what a function that raises does not write."""
    d, n, lanes = G.shape
    # Numba leaves out a branch only where its own argument is None, and a field of a record is no argument.
    if vectorized_gradients is not None:
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
