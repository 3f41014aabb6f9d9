"""Train the network of Propositions 2 and 3 by gradient descent, plain or Adam's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from gradnoise.simulations.ensemble import check_fits, kernel, part
from gradnoise.simulations.seeds import RNG, Stream
from gradnoise.theory._validation import FloatArray, as_array, as_choice, as_count, as_iterable, as_real
from gradnoise.theory.curvature import ClippedNetwork

__all__ = ["OPTIMIZERS", "descend", "random_network"]

OPTIMIZERS = ("gd", "adam")

_MEAN_DECAY, _SQUARE_DECAY, _LEAST = 0.9, 0.999, 1e-8  # β₁, β₂ and ε of Adam


def random_network(
    width: int,
    *,
    rng: RNG,
    n_samples: int = 40,
    delta: float = 0.1,
    slopes: tuple[float, float] = (0.0, 1.0),
    halved: bool = True,
) -> tuple[ClippedNetwork, FloatArray]:
    """Draw a task that can be learnt, a network for it, and weights from which gradient descent learns it.

    Two classes of points in the plane, which a line with a margin separates; a constant input gives biases. Hidden units come in
    pairs with output weights ±1/√m, which cancel but for a difference of biases, so that outputs begin at ½, where all units
    are on, or a little below: nothing is clipped.

    Parameters
    ----------
    width : int
        m >= 2, even: hidden units.
    rng : None, int, SeedSequence or Generator
        See `gradnoise.simulations.seeds.Stream.of`.
    n_samples : int
        n >= 2.
    delta, slopes, halved : optional
        See `ClippedNetwork`.

    Returns
    -------
    network : ClippedNetwork
    weights : (m, 3) ndarray

    Examples
    --------
    >>> from gradnoise.simulations.clipped_network import random_network
    >>> network, weights = random_network(4, rng=1)
    >>> network, weights.shape
    (ClippedNetwork(n=40, shape=(4, 3), delta=0.1, slopes=(0.0, 1.0)), (4, 3))
    >>> bool(network.unclipped(weights).all())
    True
    """
    m, n = as_count(width, "width", at_least=2), as_count(n_samples, "n_samples", at_least=2)
    if m % 2:
        raise ValueError(f"width must be even, got {m}")
    check_fits(8 * (n * m // 2 + 3 * (m + n)), f"width = {m} and n_samples = {n} make a network and data")
    generator = Stream.of(rng).generator(0)
    labels = (np.arange(n) % 2).astype(np.float64)
    points = generator.normal(size=(n, 2))
    # Away from the line by at least a half, each class on its side.
    points[:, 0] = (2 * labels - 1) * (0.5 + np.abs(points[:, 0]))
    network = ClippedNetwork(
        np.column_stack([points, np.ones(n)]), labels, np.tile([1.0, -1.0], m // 2) / np.sqrt(m), delta, slopes, halved
    )
    directions = generator.normal(size=(m // 2, 2))
    directions /= np.abs(points @ directions.T).max(axis=0)[:, np.newaxis]
    biases = 0.5 + np.abs(generator.normal(scale=0.1, size=m // 2))  # below the largest |w·x|: units are off at some points
    weights = np.repeat(np.column_stack([directions, biases]), 2, axis=0)
    weights[::2, 2] += 1 / np.sqrt(m)  # each of the m/2 pairs that is on adds 1/m
    return network, weights


def descend(
    network: ClippedNetwork, weights: ArrayLike, step_size: float, record: Iterable[int], optimizer: str = "gd"
) -> FloatArray:
    """Gradient descent on the mean loss.

    Parameters
    ----------
    network : ClippedNetwork
        Of m hidden units on p inputs.
    weights : (m, p) array_like
        Where to start.
    step_size : float
        > 0.
    record : iterable of int
        Numbers of steps, ascending, after which the weights are kept; the last one is where the descent ends.
    optimizer : {"gd", "adam"}
        Plain gradient descent, or Adam on the full gradient with its usual constants (Kingma and Ba 2015, Algorithm 1).

    Returns
    -------
    (len(record), m, p) ndarray
        The weights.

    Raises
    ------
    ValueError
        If the numbers do not ascend, the weights do not fit the network, or they do not stay finite.

    Examples
    --------
    >>> from gradnoise.simulations.clipped_network import descend, random_network
    >>> network, weights = random_network(4, rng=1)
    >>> before, after = descend(network, weights, step_size=0.2, record=[0, 100])
    >>> bool(network.losses(after).mean() < network.losses(before).mean() / 2)
    True
    >>> (first,) = descend(network, weights, step_size=0.001, record=[1], optimizer="adam")
    >>> round(float(abs(first - weights).max()), 9)  # Adam's first step is as long whatever the gradient
    0.001
    """
    if not isinstance(network, ClippedNetwork):
        raise TypeError(f"network must be a ClippedNetwork, got {network!r}")
    as_choice(optimizer, "optimizer", OPTIMIZERS)
    w = as_array(weights, "weights", ndim=2)
    if w.shape != network.shape:
        raise ValueError(f"weights must have shape {network.shape}, got {w.shape}")
    times = [as_count(t, "record", at_least=0) for t in as_iterable(record, "record", "ascending numbers of steps")]
    if not times or times != sorted(set(times)):
        raise ValueError(f"record must be ascending numbers of steps, got {times}")
    check_fits(8 * len(times) * w.size, f"record of {len(times)} steps makes weights")
    kept = np.empty((len(times), *w.shape))
    step = as_real(step_size, "step_size", above=0)
    slope = 1 if network.halved else 2  # of the loss, over the residual
    task = _Task(network.inputs, network.labels, network.output_weights, network.delta, *network.slopes)
    if optimizer == "gd":
        _descend(w.copy(), task, step * slope / len(network.labels), np.array(times), kept)
    else:
        _descend_by_adam(w.copy(), task, step, slope / len(network.labels), np.array(times), kept)
    if not np.isfinite(kept).all():
        raise ValueError(f"step_size must keep the weights finite, got {step_size!r}, with which they diverge")
    return kept


class _Task(NamedTuple):
    """A network and its data."""

    inputs: np.ndarray  # (n, p)
    labels: np.ndarray  # (n,)
    output_weights: np.ndarray  # (m,)
    delta: float  # distance from 0 and 1 at which outputs are clipped
    below: float  # slope of the units' activation below zero
    above: float  # and above


@kernel
def _descend(w, task, scale, times, kept):
    total, done = np.empty_like(w), 0
    for k in range(times.shape[0]):
        while done < times[k]:
            _total_gradient(w, task, total)
            for j in range(w.shape[0]):
                for q in range(w.shape[1]):
                    w[j, q] -= scale * total[j, q]
            done += 1
        kept[k] = w


@kernel
def _descend_by_adam(w, task, step, of_mean, times, kept):
    total, mean, square, done = np.empty_like(w), np.zeros_like(w), np.zeros_like(w), 0
    for k in range(times.shape[0]):
        while done < times[k]:
            _total_gradient(w, task, total)
            done += 1
            rest_of_mean, rest_of_square = 1 - _MEAN_DECAY**done, 1 - _SQUARE_DECAY**done
            for j in range(w.shape[0]):
                for q in range(w.shape[1]):
                    g = of_mean * total[j, q]
                    mean[j, q] = _MEAN_DECAY * mean[j, q] + (1 - _MEAN_DECAY) * g
                    square[j, q] = _SQUARE_DECAY * square[j, q] + (1 - _SQUARE_DECAY) * g * g
                    w[j, q] -= step * (mean[j, q] / rest_of_mean) / (np.sqrt(square[j, q] / rest_of_square) + _LEAST)
        kept[k] = w


@part
def _total_gradient(w, task, total):
    """Write the total gradient of half the squared errors."""
    m, p = w.shape
    total[:] = 0.0
    for i in range(task.inputs.shape[0]):
        f = 0.0
        for j in range(m):
            z = _product(w, j, task.inputs, i)
            f += task.output_weights[j] * (task.above if z > 0 else task.below) * z
        if f <= task.delta or f >= 1 - task.delta:
            continue
        for j in range(m):
            slope = task.above if _product(w, j, task.inputs, i) > 0 else task.below
            factor = (f - task.labels[i]) * task.output_weights[j] * slope
            for q in range(p):
                total[j, q] += factor * task.inputs[i, q]


@kernel
def _product(w, j, inputs, i):
    z = 0.0
    for q in range(w.shape[1]):
        z += w[j, q] * inputs[i, q]
    return z
