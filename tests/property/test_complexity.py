"""Theorem 1 of wu2019 on classes that Hypothesis chooses.

It would catch a bound that is exceeded, a complexity that depends on the samples' order or the losses' sign, and a centring that
changes what sums to zero.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradnoise.theory import complexity
from gradnoise.theory.complexity import AffineLosses, FiniteLosses, LeastSquaresLosses

ROUNDING = 1e-11


@st.composite
def classes(draw, most=6):
    n, d = draw(st.integers(1, most)), draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    X, y, radius = rng.standard_normal((n, d)), rng.standard_normal(n), 10.0 ** draw(st.floats(-3, 2))
    kind = draw(st.sampled_from(["affine", "finite", "least squares"]))
    if kind == "affine":
        return AffineLosses(y, X.T, radius)
    if kind == "finite":
        return FiniteLosses(X.T)
    return LeastSquaresLosses(X, y, rng.standard_normal(d), radius)


@st.composite
def sample_spaces(draw):
    losses = draw(classes(most=3))
    weights = np.array(draw(st.lists(st.floats(1e-6, 1.0), min_size=losses.n, max_size=losses.n)))
    return losses, weights / weights.sum()


@given(losses=classes())
def test_gaussian_and_rademacher_complexity_bound_each_other(losses):
    if isinstance(losses, AffineLosses):
        bounds = complexity.gaussian_bounds(complexity.rademacher(losses), losses.n)
        assert bounds.lower * (1 - ROUNDING) <= complexity.gaussian(losses) <= bounds.upper * (1 + ROUNDING)


@given(space=sample_spaces(), b=st.integers(1, 3), k=st.integers(2, 3))
def test_sgd_complexity_is_bounded_by_that_of_signs(space, b, k):
    losses, p = space
    centred = losses.centred(p)
    found = complexity.sgd(losses, b, False, k * b, p)
    scale = ROUNDING * np.abs(losses.supremum(np.eye(losses.n))).max()
    assert found <= complexity.sgd_bounds(complexity.rademacher(losses, b, p), k * b, b).upper + scale
    assert found >= complexity.sgd_bounds(complexity.rademacher(centred, b, p), k * b, b).lower - scale
    assert complexity.sgd(centred, b, False, k * b, p) == pytest.approx(found, abs=scale)


@given(losses=classes(), order=st.randoms(use_true_random=False))
def test_the_order_of_the_samples_does_not_matter(losses, order):
    shuffled = losses.at(order.sample(range(losses.n), losses.n))
    assert complexity.rademacher(shuffled) == pytest.approx(complexity.rademacher(losses), rel=ROUNDING)
    b = max(losses.n // 2, 1)
    assert complexity.sgd(shuffled, b) == pytest.approx(complexity.sgd(losses, b), rel=ROUNDING)


@given(losses=classes(), seed=st.integers(0, 1000), factor=st.floats(-3, 3))
def test_a_supremum_is_a_seminorm(losses, seed, factor):
    v, w = np.random.default_rng(seed).standard_normal((2, losses.n))
    scale = ROUNDING * np.abs(losses.supremum(np.eye(losses.n))).max() * losses.n * 10
    assert losses.supremum(factor * v) == pytest.approx(abs(factor) * losses.supremum(v), abs=scale)
    assert losses.supremum(v + w) <= losses.supremum(v) + losses.supremum(w) + scale


@given(radii=st.tuples(st.floats(1e-3, 10), st.floats(1e-3, 10)), seed=st.integers(0, 1000))
def test_a_larger_ball_has_a_larger_supremum(radii, seed):
    rng = np.random.default_rng(seed)
    X, y, v = rng.standard_normal((4, 2)), rng.standard_normal(4), rng.standard_normal(4)
    small, large = (LeastSquaresLosses(X, y, [0.0, 0.0], radius).supremum(v) for radius in sorted(radii))
    assert small <= large * (1 + ROUNDING)
