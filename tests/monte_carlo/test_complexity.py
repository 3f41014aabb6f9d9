"""Simulated complexities against exact ones.

Null: the mean is `rademacher`, `sgd` or `gaussian` of theory.complexity. Each test makes at most 20 two-sided comparisons at
z = 6 with 200,000 vectors, so a false alarm has a probability below 1e-5 (suprema have skewness below 3). It would catch a wrong
weight, a sample that is not drawn, and a supremum of another class: the wrong values below are off by 2 % or more, ten standard
errors.
"""

import numpy as np
import pytest

from gradnoise.simulations import complexity as sampled
from gradnoise.simulations.sampling import draw_with, lower
from gradnoise.theory import complexity
from gradnoise.theory.complexity import AffineLosses, FiniteLosses, LeastSquaresLosses, LossClass
from gradnoise.theory.sampling import Enhanced, Minibatch

PATHS, Z = 200_000, 6.0
RNG = np.random.default_rng(3)
X, Y = RNG.normal(size=(6, 3)), RNG.normal(size=6)
CLASSES = {
    "affine": AffineLosses(Y, X.T, 0.7),
    "finite": FiniteLosses(RNG.normal(size=(4, 6))),
    "least squares": LeastSquaresLosses(X, Y, np.zeros(3), 0.7),
}
POINTS = np.array([0.2, 0.5, 0.3])


class LargestEntry(LossClass):
    """A user's class: the supremum of the coordinate functions."""

    def __init__(self, n):
        super().__init__(np.eye(n))

    def supremum_of(self, statistics):
        return np.abs(statistics).max(axis=1)


def deviation(estimate, exact):
    """Units: standard errors."""
    return abs(estimate.value - exact) / estimate.standard_error


@pytest.mark.parametrize("name", CLASSES)
def test_complexities_of_given_samples(name):
    losses = CLASSES[name]
    exact = [complexity.rademacher(losses), complexity.sgd(losses, 3), complexity.sgd(losses, 3, False)]
    for k, noise in enumerate((sampled.signs(6), Minibatch(6, 3), Minibatch(6, 3, False))):
        found = sampled.simulate(losses, noise, PATHS, rng=k, n_jobs=2)
        assert deviation(found, exact[k]) < Z
        assert deviation(found, exact[k - 1]) > Z  # can fail: the complexity of another vector


@pytest.mark.parametrize("name", CLASSES)
def test_complexities_of_drawn_samples(name):
    losses = CLASSES[name].at([0, 1, 2])
    arguments = {"rng": 1, "probabilities": POINTS, "n_jobs": 2}
    found = sampled.simulate(losses, Minibatch(6, 2, False), PATHS, **arguments)
    assert deviation(found, complexity.sgd(losses, 2, False, 6, POINTS)) < Z
    assert deviation(found, complexity.sgd(losses, 2, False, 6, POINTS[::-1])) > Z
    signs = sampled.simulate(losses, sampled.signs(4), PATHS, **arguments)
    assert deviation(signs, complexity.rademacher(losses, 4, POINTS)) < Z


def test_gaussian_complexity():
    found = sampled.simulate(CLASSES["affine"], sampled.normals(6), PATHS, rng=2, n_jobs=2)
    assert deviation(found, complexity.gaussian(CLASSES["affine"])) < Z
    assert deviation(found, complexity.rademacher(CLASSES["affine"])) > Z
    coordinates = sampled.simulate(LargestEntry(6), sampled.normals(6), PATHS, rng=3)
    assert deviation(coordinates, complexity.largest_normal(6) / 6) < Z


@pytest.mark.parametrize("name", CLASSES)
def test_the_kernel_gives_the_numbers_of_theory(name):
    losses, noise = CLASSES[name], Minibatch(6, 3)
    vectors = 6 * draw_with(noise, 30, np.random.default_rng(5)) - 1
    params = lower(noise), 6, *sampled._lower_losses(losses), None
    (block,) = sampled._compiled_block(30, np.random.default_rng(5), *params)
    assert block[1, 0] == pytest.approx(losses.supremum(vectors).mean() / 6, rel=1e-13)


def test_noise_and_losses_of_ones_own_are_sampled_in_numpy():
    noise = Enhanced(Minibatch(6, 3), 1.0)  # alpha = 1: the minibatch itself
    found = sampled.simulate(CLASSES["finite"], noise, PATHS, rng=4)
    assert deviation(found, complexity.sgd(CLASSES["finite"], 3)) < Z
    losses = LargestEntry(3)
    drawn = sampled.simulate(losses, sampled.signs(4), PATHS, rng=5, probabilities=POINTS)
    assert deviation(drawn, complexity.rademacher(FiniteLosses(np.eye(3)), 4, POINTS)) < Z


def test_it_does_not_depend_on_the_workers():
    one, two = (sampled.simulate(CLASSES["least squares"], sampled.signs(6), 10_000, rng=1, n_jobs=k) for k in (1, 2))
    assert one == two


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((CLASSES["finite"], Minibatch(5, 2), 10), ValueError, "noise must have n = 6 as the losses have, got 5"),
        (("finite", Minibatch(5, 2), 10), TypeError, "losses must be a LossClass"),
        ((CLASSES["finite"], "sgd", 10), TypeError, "noise must be a SamplingNoise"),
        ((CLASSES["finite"], Minibatch(6, 2), 0), ValueError, "n_paths must be between 1 and"),
    ],
)
def test_bad_arguments_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        sampled.simulate(*arguments, rng=0)
