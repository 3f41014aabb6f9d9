"""The kernel of the coupled paths: groups of them run side by side; see `gradnoise.simulations.sde.coupled_paths`."""

from __future__ import annotations

import numpy as np

from gradnoise.simulations.ensemble import kernel

__all__ = ["ABOVE", "DRAWN_APART", "GAUSSIAN", "LARGEST", "follow_paths"]

#: How M-SGD's weights are made: as those of the SDE, or by drawing the samples of the largest increments.
GAUSSIAN, DRAWN_APART, LARGEST, ABOVE = range(4)
_DIFFERENCE_STEP = 1e-6  # of the directional derivative of the gradient, in units of the gradient


@kernel
def follow_paths(
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
                if rule == DRAWN_APART and shared:
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
                    if rule == DRAWN_APART:
                        _draw_batches(generator, batch_size, active, counts, level)
                if rule == GAUSSIAN:
                    _gaussian_weights(weights, total, strength, kappa)
                else:
                    if rule == LARGEST:
                        _mark_largest(weights, batch_size, counts, level)
                    elif rule == ABOVE:
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
