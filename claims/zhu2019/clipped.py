"""Points on which Propositions 2 and 3 of zhu2019 are tried: training paths of their network, and two samples at the clip."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator

import numpy as np

from gradnoise.claims.claim import Run
from gradnoise.simulations.clipped_network import descend, random_network
from gradnoise.theory.curvature import ClippedNetwork, Curvature

DELTA = 0.1
WIDTHS = (4, 32, 128, 512)
#: Steps of gradient descent after which a network is looked at: in between, the last samples reach the clip.
RECORD = (0, 3, 10, 30, *range(40, 400, 8))


def points_on_paths(run: Run, halved: bool) -> Iterator[tuple[ClippedNetwork, np.ndarray, Curvature]]:
    """Train networks of each width with two activations, and yield where some outputs are not clipped; random points, too."""
    for width, slopes in itertools.product(WIDTHS, ((0.0, 1.0), (0.2, 1.0))):
        name = f"width {width}, slopes {slopes[0]:g} and {slopes[1]:g}"
        network, start = random_network(width, rng=run.at(name), delta=DELTA, slopes=slopes, halved=halved)
        generator = run.generator(f"points around {name}")
        spread = [start + generator.normal(scale=scale, size=start.shape) for scale in (0.03, 0.1, 0.3, 1.0)]
        for weights in (*descend(network, start, 0.2, RECORD), *spread):
            curvature = network.curvature(weights)
            if curvature.active.any():
                yield network, weights, curvature


#: Half the angle between the inputs of `pair`, and weights that put both of its outputs on the edge of the clip.
ANGLE = 0.5
EDGE = np.array([[(1 - DELTA) / math.cos(ANGLE), 0.0]])


@functools.cache
def pair(halved: bool = True) -> ClippedNetwork:
    """Two samples of one class with inputs of equal length, and one ReLU unit."""
    inputs = [[math.cos(ANGLE), math.sin(ANGLE)], [math.cos(ANGLE), -math.sin(ANGLE)]]
    return ClippedNetwork(inputs, [1, 1], [1.0], DELTA, halved=halved)
