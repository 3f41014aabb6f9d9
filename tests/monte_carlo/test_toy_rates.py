"""Success rates of the two-basin toy, against rates that independent programs found.

It would catch a toy that runs well and is another one: noise of another power or convention, data of another covariance, another
tie of the eigenvector, a success rule on another iterate.

Null: our rate and the reference's estimate the same probability. z test with both standard errors, alpha = 1e-3 a dynamics;
n = 40,000 of ours, seeds fixed. The references' errors are those of 35,000 repeats, about 0.0025 where the rate is about a third.
"""

import math
from functools import cache

import numpy as np
import pytest
from scipy.stats import norm

from gradnoise.simulations import toy
from gradnoise.simulations.seeds import Stream
from gradnoise.simulations.statistics import Proportion
from gradnoise.theory import escape, gradient_noise
from gradnoise.theory.escape import two_basin

N_PATHS, N_REFERENCE, ALPHA = 40_000, 35_000, 1e-3
REFERENCE = {"gld_const": 0.012, "gld_diag": 0.012, "gld_leading": 0.332, "gld_hessian": 0.271, "gld_eigvec": 0.413}


@cache
def _rate(dynamics, **how):
    return toy.simulate(dynamics, N_PATHS, rng=31, n_jobs=2, **how).success_rate


def _refuted(rate, reference):
    """Whether a measured rate and the rate of 35,000 repeats differ by more than both errors explain."""
    error = math.hypot(rate.standard_error, math.sqrt(reference * (1 - reference) / N_REFERENCE))
    return abs(rate.value - reference) > norm.isf(ALPHA / 2) * error


@pytest.mark.parametrize("dynamics", REFERENCE)
def test_success_rate_is_that_of_independent_programs(dynamics):
    assert not _refuted(_rate(dynamics), REFERENCE[dynamics])


@pytest.mark.parametrize(("dynamics", "other"), [
    ("gld_const", "gld_hessian"), ("gld_hessian", "gld_leading"), ("gld_leading", "gld_eigvec"), ("gld_eigvec", "gld_const"),
])  # fmt: skip
def test_success_rate_can_fail_for_another_dynamics(dynamics, other):
    assert _refuted(_rate(dynamics), REFERENCE[other])
    assert _refuted(_rate(other), REFERENCE[dynamics])


@pytest.mark.parametrize(("dynamics", "wrong"), [
    ("gld_const", {"noise_power": 0.012}),
    ("gld_leading", {"noise_power": 0.009}),
    ("gld_hessian", {"step_size": 0.0045}),
    ("gld_eigvec", {"tie_direction": (1.0, 1.0)}),
    ("gld_leading", {"n_steps": 450}),
], ids=str)  # fmt: skip
def test_success_rate_can_fail_for_a_wrong_setting(dynamics, wrong):
    assert _refuted(_rate(dynamics, **wrong), REFERENCE[dynamics])


def test_flat_basin_escapes_the_final_iterate_rule():
    """More paths were below -0.5 at some time than at the end; the law of the escape time ends at their share."""
    result = toy.simulate("gld_hessian", 5000, rng=32)
    assert result.ever_escaped.successes > result.success_rate.successes
    assert (result.escape_step[result.success] >= 1).all()
    law = result.escape_law()
    assert len(law) == 501
    assert law[0] == 0
    assert law[-1] == result.ever_escaped.value
    assert (np.diff(law) >= 0).all()


@pytest.mark.parametrize("dynamics", REFERENCE)
def test_literal_convention_does_not_escape(dynamics):
    """The whole exact interval at 1 - 1e-3 is below 0.001, so 'practically nothing' is what was seen and not a small sample."""
    rate = toy.simulate(dynamics, 20_000, rng=33, convention="literal").success_rate
    assert rate.interval(1 - ALPHA)[1] < 0.001


def test_literal_convention_can_fail():
    assert toy.simulate("gld_const", 20_000, rng=33).success_rate.interval(1 - ALPHA)[0] > 0.001


def test_literal_convention_is_the_released_one_at_a_smaller_power():
    literal, released = (
        toy.simulate("gld_hessian", 50, rng=34, n_steps=40, convention=convention, noise_power=power).final
        for convention, power in (("literal", 400.0), ("released", 0.01))
    )
    np.testing.assert_allclose(literal, released, rtol=1e-9)


def test_gradient_descent_never_escapes():
    result = toy.simulate("gd", 2000, rng=35, record=("indicator", "loss"))
    assert not result.success.any()
    assert (result.escape_step == -1).all()
    assert (result.indicator == 0).all()
    # It stays in the sharp basin, at the minimum of its data: the loss does not rise, and the parameter moves by the data's mean.
    assert (np.diff(result.recorded("loss"), axis=1) <= 1e-12).all()
    assert np.abs(result.final - 1).max() < 6 * math.sqrt(5.5e-4 / 100)


def test_population_loss_at_the_start():
    """E of the loss at (1, 1) is the population's 0.02; n = 40,000 paths, alpha = 1e-3."""
    loss = toy.simulate("gd", N_PATHS, rng=36, n_steps=1, record=("loss",)).recorded("loss")[:, 0]
    sharp, flat = two_basin.population_loss_at_minima()
    bound = norm.isf(ALPHA / 2) * loss.std(ddof=1) / math.sqrt(N_PATHS)
    assert abs(loss.mean() - sharp) < bound
    assert abs(loss.mean() - flat) > bound


def _data(seed, n_paths, n_data):
    """Data of the first paths, drawn path by path before anything else."""
    values, vectors = np.linalg.eigh(two_basin.DATA_COVARIANCE)
    root = vectors @ np.diag(np.sqrt(values)) @ vectors.T
    return Stream.of(seed).generator(0).standard_normal((n_paths, n_data, 2)) @ root


def test_indicator_of_sgd_is_that_of_the_covariance_of_its_minibatches():
    how = {"n_steps": 30, "step_size": 0.011, "n_data": 12, "batch_size": 3}  # eta lambda_1 > 2, so that paths meet both branches
    result = toy.simulate("sgd", 16, rng=37, record=("trajectory", "indicator", "loss"), **how)
    shares = set()
    for path, data in enumerate(_data(37, 16, 12)):
        for t, theta in enumerate(result.recorded("trajectory")[path]):
            H = two_basin.hessian(theta, data)
            Sigma = gradient_noise.sgd_covariance(two_basin.gradients(theta, data), 3)
            assert result.recorded("indicator")[path, t] == pytest.approx(0.011**2 * escape.indicator(H, Sigma), rel=1e-9)
            assert result.recorded("loss")[path, t] == pytest.approx(two_basin.losses(theta, data).mean(), rel=1e-9)
            shares.add(two_basin.sharp_samples(theta, data).mean())
    assert {0.0, 1.0} < shares  # all samples on one branch, all on the other, and both met at once


def test_noise_of_sgd_has_the_covariance_of_its_indicator():
    """One step of many repeats on one path's data is not to be had, so: Var of the first step over paths with data of their own.

    Given the data the step's variance is eta^2 Sigma_b, and its mean is -eta grad L: E Tr(H step step') = E indicator +
    eta^2 E Tr(H g g'), where at (1, 1) g = -H mean(x) in all but 1e-100 of the cases. n = 40,000, alpha = 1e-3.
    """
    eta, n_data, batch_size = 0.005, 20, 4
    result = toy.simulate(
        "sgd", N_PATHS, rng=38, n_steps=1, step_size=eta, n_data=n_data, batch_size=batch_size, record=("trajectory", "indicator")
    )
    H, step = two_basin.SHARP_HESSIAN, result.recorded("trajectory")[:, 1] - 1
    squared = np.einsum("pi,ij,pj->p", step, H, step)
    mean_part = eta**2 * np.trace(H @ H @ H @ two_basin.DATA_COVARIANCE) / n_data
    excess = squared - result.recorded("indicator")[:, 0] - mean_part
    bound = norm.isf(ALPHA / 2) * excess.std(ddof=1) / math.sqrt(N_PATHS)
    assert abs(excess.mean()) < bound
    without_replacement = result.recorded("indicator")[:, 0] * (n_data - batch_size) / (n_data - 1)
    assert abs((squared - without_replacement - mean_part).mean()) > bound


def test_rates_are_proportions_of_all_paths():
    result = toy.simulate("gld_eigvec", 1000, rng=39)
    assert result.success_rate == Proportion(int((result.final < -0.5).all(axis=1).sum()), 1000)
