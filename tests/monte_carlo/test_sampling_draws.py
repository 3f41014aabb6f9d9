"""Draws of every noise class against the moments that the class states.

It would catch a class that is drawn with a wrong scale, centring, replacement or tail, so that a simulation would test the theory
of another noise.

Null: E of each of seven statistics of W is what the class states: mean, variance and covariance of components; mean, second,
third and fourth central moment of values @ W, from the cumulants 1 to 4.
alpha = 1e-3 for all classes and statistics together, by Bonferroni; n = 200,000 draws of a class; seeds are fixed.
"""

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pytest
from scipy.stats import norm

from gradnoise.simulations import sampling
from gradnoise.theory.sampling import (
    Bernoulli,
    Enhanced,
    Gaussian,
    GaussianMinibatch,
    Minibatch,
    Rademacher,
    SamplingNoise,
    SparseGaussian,
    StudentT,
)

N_DRAWS, ALPHA = 200_000, 1e-3
VALUES = np.array([1.0, -2.0, 0.5, 3.0, 0.2])
STATISTICS = ("mean", "variance", "covariance", "mean of y", "second of y", "third of y", "fourth of y")


@dataclass(frozen=True)
class Multinomial(SamplingNoise):
    """A user's own class: the minibatch with replacement, drawn in NumPy."""

    n: int
    batch_size: int

    def joint_cumulant(self, pattern):
        return Minibatch(self.n, self.batch_size).joint_cumulant(pattern)

    def draw(self, size, generator):
        return generator.multinomial(self.batch_size, np.full(self.n, 1 / self.n), size) / self.batch_size


@dataclass(frozen=True)
class Undrawable(SamplingNoise):
    n: int

    def joint_cumulant(self, pattern):
        return Minibatch(self.n, 1).joint_cumulant(pattern)


class GaussianOfOnesOwn(Gaussian):
    """A subclass of a known class, which changes nothing."""


DRAWN = [make(replacement) for replacement in (True, False) for make in (
    lambda r: Minibatch(5, 3, r),
    *(lambda r, c=c: Gaussian(5, 2.5, c, r) for c in (True, False)),
    *(lambda r, c=c: Rademacher(5, 3, c, r) for c in (True, False)),
    *(lambda r, c=c: StudentT(5, 3, 20, c, r) for c in (True, False)),  # the error of a fourth moment needs df > 8
    *(lambda r, form=form: SparseGaussian(5, 2.5, 3, form, r) for form in ("fisher", "cov", "printed")),
    *(lambda r, c=c: GaussianMinibatch(5, 3, 1.7, c, r) for c in (True, False)),
    lambda r: Enhanced(Minibatch(5, 3, r), 1.6),
)] + [Bernoulli(5, 2), Minibatch(5, 1), Enhanced(StudentT(5, 3, 20), -0.3), Multinomial(5, 3)]  # fmt: skip
Z = norm.isf(ALPHA / 2 / (len(DRAWN) * len(STATISTICS)))


def _refuted(drawn, stated, seed=101):
    """Names of the statistics whose expectation is not what `stated` says."""
    y_mean, variance, third, excess = (stated.cumulant(order, VALUES) for order in (1, 2, 3, 4))

    def statistics(W):
        y, a, b = W @ VALUES - y_mean, W[:, 0] - stated.mean, W[:, 1] - stated.mean
        return np.stack([W[:, 2], a**2, a * b, y, y**2, y**3, y**4], axis=1)

    expected = stated.mean, stated.variance, stated.covariance, 0.0, variance, third, excess + 3 * variance**2
    found = sampling.expectations(drawn, statistics, N_DRAWS, rng=seed)
    return {
        name
        for name, estimate, value in zip(STATISTICS, found, expected, strict=True)
        if abs(estimate.value - value) > Z * estimate.standard_error + 1e-12  # for statistics that do not vary
    }


@pytest.mark.parametrize("noise", DRAWN, ids=repr)
def test_draws_have_the_moments_that_are_stated(noise):
    assert _refuted(noise, noise) == set()


@pytest.mark.parametrize(("drawn", "stated", "wrong"), [
    (Minibatch(5, 3, False), Minibatch(5, 3), "variance"),
    (Minibatch(5, 3, False), Minibatch(5, 3), "covariance"),
    (Gaussian(5, 2.5), Gaussian(5, 2.5, False), "covariance"),
    (Gaussian(5, 2.5, True, False), Gaussian(5, 2.5 * 5 / 4, True, False), "second of y"),  # n for n - 1
    (Rademacher(5, 3), Gaussian(5, 3), "fourth of y"),
    (StudentT(5, 3, 20), Gaussian(5, 3), "fourth of y"),
    (StudentT(5, 3, 20), Gaussian(5, 3 * 18 / 20), "variance"),  # components not scaled to unit variance
    (Bernoulli(5, 2), Gaussian(5, 2.5 * 4 / 3, False), "third of y"),
    (SparseGaussian(5, 2.5, 3, "fisher"), SparseGaussian(5, 2.5, 3, "printed"), "variance"),
    (SparseGaussian(5, 2.5, 3, "fisher"), SparseGaussian(5, 2.5, 3, "fisher", True), "fourth of y"),
    (SparseGaussian(5, 2.5, 3, "cov"), Gaussian(5, 2.5), "fourth of y"),
    (GaussianMinibatch(5, 3, 1.7), GaussianMinibatch(5, 3, 1.7, True), "covariance"),
    (Enhanced(Minibatch(5, 3), 1.6), Minibatch(5, 3), "second of y"),
    (Enhanced(Minibatch(5, 3), 1.6), Enhanced(Minibatch(5, 3), 0.6), "second of y"),
    (Multinomial(5, 3), Minibatch(5, 4), "variance"),
], ids=lambda value: value if isinstance(value, str) else None)  # fmt: skip
def test_draws_can_fail(drawn, stated, wrong):
    assert wrong in _refuted(drawn, stated)


def test_draws_of_another_seed_pass_too():
    """A fixed seed that happens to hide an error would be a poor witness."""
    for seed in (102, 103):
        assert _refuted(GaussianMinibatch(5, 3, 1.7, True), GaussianMinibatch(5, 3, 1.7, True), seed) == set()


def test_own_class_is_drawn_by_its_method():
    drawn = sampling.draw(Multinomial(5, 3), 7, rng=4)
    assert drawn.shape == (7, 5)
    assert np.allclose(drawn.sum(axis=1), 1)
    assert np.array_equal(drawn, sampling.draw(Multinomial(5, 3), 7, rng=4))
    assert sampling.draw(Enhanced(Multinomial(5, 3), 1.5), 7, rng=4).min() < 0


def test_class_without_draw_is_refused():
    with pytest.raises(TypeError, match="Undrawable must have a method draw"):
        sampling.draw(Undrawable(5), 7, rng=4)
    with pytest.raises(TypeError, match="Undrawable must have a method draw"):
        sampling.draw(Enhanced(Undrawable(5), 1.5), 7, rng=4)


def test_subclass_of_a_known_class_is_drawn_as_it_or_refused():
    try:
        drawn = sampling.draw(GaussianOfOnesOwn(5, 2.5), 7, rng=4)
    except TypeError as refusal:
        assert "draw" in str(refusal)
    else:
        assert np.array_equal(drawn, sampling.draw(Gaussian(5, 2.5), 7, rng=4))


def test_draw_refuses_what_is_no_noise_and_wrong_shapes(monkeypatch):
    with pytest.raises(TypeError, match="noise must be a SamplingNoise"):
        sampling.draw(cast(Any, "minibatch"), 7, rng=4)
    with pytest.raises(ValueError, match="size must be >= 1"):
        sampling.draw(Minibatch(5, 3), 0, rng=4)
    monkeypatch.setattr(Multinomial, "draw", lambda self, size, generator: np.ones((self.n, size)))
    with pytest.raises(ValueError, match=r"Multinomial\.draw must return an array of shape"):
        sampling.draw(Multinomial(5, 3), 7, rng=4)
