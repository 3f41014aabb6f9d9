"""Exact moments and strong errors on instances that Hypothesis chooses.

It would catch a covariance that is none, a distance that is smaller than what its means and norms already are apart, a formula
that depends on the units or axes, and a bound that is exceeded.
"""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradnoise.theory import diffusion
from gradnoise.theory.sampling import Gaussian, Minibatch

ROUNDING = 1e-9  # relative to the squared size of the parameters; a strong error is a difference of such numbers


@st.composite
def problems(draw):
    n, d = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    X, y, start = rng.standard_normal((n, d)), rng.standard_normal(n), 2 * rng.standard_normal(d)
    eta = draw(st.floats(0.02, 0.9)) / (X**2).sum(axis=1).max()
    noise = Gaussian(n, draw(st.integers(1, 3)), centered=draw(st.booleans()))
    return X, y, start, eta, noise, draw(st.integers(1, 6))


@given(problem=problems(), drift=st.sampled_from(diffusion.DRIFTS))
def test_covariances_are_positive_semi_definite(problem, drift):
    X, y, start, eta, noise, n_steps = problem
    for moments in (
        diffusion.sgd_moments(X, y, start, eta, noise, n_steps),
        diffusion.sde_moments(X, y, start, eta, noise, n_steps * eta, drift),
    ):
        scale = np.trace(moments.second_moment) + 1
        assert np.linalg.eigvalsh(moments.covariance)[0] >= -ROUNDING * scale
        np.testing.assert_allclose(moments.second_moment, moments.second_moment.T, atol=ROUNDING * scale)


@given(problem=problems(), drift=st.sampled_from(diffusion.DRIFTS))
def test_a_strong_error_is_at_least_what_the_marginals_are_apart(problem, drift):
    X, y, start, eta, noise, n_steps = problem
    T = n_steps * eta
    error = diffusion.strong_error(X, y, start, eta, noise, T, drift)
    sgd = diffusion.sgd_moments(X, y, start, eta, noise, n_steps)
    sde = diffusion.sde_moments(X, y, start, eta, noise, T, drift)
    scale = np.trace(sgd.second_moment) + np.trace(sde.second_moment) + start @ start
    assert error >= np.sum((sgd.mean - sde.mean) ** 2) - ROUNDING * scale  # Jensen
    norms = math.sqrt(np.trace(sgd.second_moment)) - math.sqrt(np.trace(sde.second_moment))
    assert error >= norms**2 - ROUNDING * scale  # Cauchy and Schwarz


@given(problem=problems(), c=st.sampled_from([0.01, 3.0, 100.0]), angle=st.floats(0, 6))
def test_units_and_axes_do_not_matter(problem, c, angle):
    X, y, start, eta, noise, n_steps = problem
    scaled = diffusion.sgd_moments(c * X, y, start / c, eta / c**2, noise, n_steps)
    plain = diffusion.sgd_moments(X, y, start, eta, noise, n_steps)
    scale = np.abs(plain.second_moment).max() + 1e-12
    np.testing.assert_allclose(scaled.second_moment * c**2, plain.second_moment, atol=1e-10 * scale)
    d = len(start)
    Q = np.eye(d)
    if d > 1:
        Q[:2, :2] = [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    T = n_steps * eta
    turned = diffusion.strong_error(X @ Q.T, y, Q @ start, eta, noise, T)
    assert turned == pytest.approx(diffusion.strong_error(X, y, start, eta, noise, T), rel=1e-6, abs=ROUNDING * (1 + scale))


@given(problem=problems())
def test_means_do_not_see_the_noise_and_a_full_batch_has_none(problem):
    X, y, start, eta, noise, n_steps = problem
    n = len(y)
    full = diffusion.sgd_moments(X, y, start, eta, Minibatch(n, n, replacement=False), n_steps)
    np.testing.assert_allclose(full.mean, diffusion.sgd_moments(X, y, start, eta, noise, n_steps).mean, rtol=1e-12)
    np.testing.assert_allclose(full.covariance, 0, atol=1e-12 * (1 + np.abs(full.second_moment).max()))
