"""Simulated errors of M-SGD against exact ones of least squares.

Null: the means are those of `gradnoise.theory.diffusion`. Comparisons are two-sided at z = 6 with n = 20,000 or more (1e-9 each
by the normal law, less than 1e-6 with the skewness here, below 3); there are fewer than 60, so a false alarm has a probability
below 1e-4. What the reference is off by is allowed for with the measured `reference_errors`, which the wrong formulas exceed.
"""

import json
from dataclasses import replace
from typing import Any

import joblib
import numpy as np
import pytest
from matplotlib import pyplot

from gradnoise.simulations import sde
from gradnoise.simulations.sde import Coupling, final_points
from gradnoise.simulations.sde.coupled_paths import sensitivities
from gradnoise.simulations.sde.standard_problems import least_squares, logistic
from gradnoise.simulations.statistics import Estimate, Moments
from gradnoise.theory import diffusion
from gradnoise.theory.sampling import Bernoulli, Gaussian, Minibatch

Z, N = 6.0, 4
PROBLEM = least_squares(N)
X, Y, START = PROBLEM.data[:, :-1], PROBLEM.data[:, -1], PROBLEM.start
STEPS, TIME = (1 / 8, 1 / 16, 1 / 32), 1.0
NOISES = [
    Gaussian(N, 2),
    Gaussian(N, 2, centered=False),
    Minibatch(N, 2),
    Minibatch(N, 2, replacement=False),
    Bernoulli(N, 2),
]


def second_moment_deviation(points, exact):
    """Largest deviation of the sample's mean and second moment. Units: standard errors."""
    i, j = np.triu_indices(2)
    estimates = Moments.of(np.hstack([points, points[:, i] * points[:, j]])).estimates()
    truth = np.concatenate([exact.mean, exact.second_moment[i, j]])
    return max(abs(e.value - t) / e.standard_error for e, t in zip(estimates, truth, strict=True))


@pytest.fixture(scope="module")
def ends():
    found = {}
    for k, noise in enumerate(NOISES):
        coupling = Coupling(noise, STEPS[-1], (4, 2, 1), 32, 4)
        found[noise] = final_points(40_000, np.random.default_rng(k), PROBLEM, coupling)
    return found


@pytest.mark.parametrize("noise", NOISES, ids=repr)
def test_coupled_iterates_have_the_law_of_their_noise(ends, noise):
    for level, eta in enumerate(STEPS):
        exact = diffusion.sgd_moments(X, Y, START, eta, noise, round(TIME / eta))
        assert second_moment_deviation(ends[noise][0][:, level], exact) < Z


def test_the_law_of_iterates_can_fail(ends):
    for noise, wrong in ((NOISES[0], NOISES[1]), (NOISES[2], NOISES[3]), (NOISES[4], NOISES[2])):
        exact = diffusion.sgd_moments(X, Y, START, STEPS[0], wrong, 8)
        assert second_moment_deviation(ends[noise][0][:, 0], exact) > Z


@pytest.mark.parametrize("drift", diffusion.DRIFTS)
@pytest.mark.parametrize("noise", NOISES[:2], ids=repr)
def test_strong_errors(noise, drift):
    study = sde.strong_error(PROBLEM, STEPS, TIME, 20_000, batch_size=noise, rng=1, drift=drift, refinement=16, n_jobs=2)
    other = "modified" if drift == "plain" else "plain"
    misses = []
    for e, off, eta in zip(study.estimates, study.reference_errors, STEPS, strict=True):
        exact, wrong = (diffusion.strong_error(X, Y, START, eta, noise, TIME, d) for d in (drift, other))
        allowed = Z * e.standard_error + 4 * off
        assert abs(e.value - exact) < allowed
        assert off < exact / 10
        misses.append(abs(e.value - wrong) / allowed)
    assert misses[-1] > 1


def loss_error(eta, noise, drift):
    """E L(theta) - E L(Theta) from exact moments."""
    H, c = X.T @ X / N, X.T @ Y / N
    pair = (
        diffusion.sgd_moments(X, Y, START, eta, noise, round(TIME / eta)),
        diffusion.sde_moments(X, Y, START, eta, noise, TIME, drift),
    )
    of_sgd, of_sde = (np.trace(H @ m.second_moment) / 2 - c @ m.mean for m in pair)
    return of_sgd - of_sde


@pytest.mark.parametrize("drift", diffusion.DRIFTS)
@pytest.mark.parametrize("noise", [NOISES[0], NOISES[2], NOISES[3]], ids=repr)
def test_weak_errors(noise, drift):
    study = sde.weak_error(PROBLEM, STEPS, TIME, 20_000, batch_size=noise, rng=2, drift=drift, refinement=16, n_jobs=2)
    for e, off, eta in zip(study.estimates, study.reference_errors, STEPS, strict=True):
        assert abs(e.value - loss_error(eta, noise, drift)) < Z * e.standard_error + 2 * off
    worst = study.estimates[0]
    other = "modified" if drift == "plain" else "plain"
    assert abs(worst.value - loss_error(STEPS[0], noise, other)) > Z * worst.standard_error + 2 * study.reference_errors[0]


def test_controls_have_mean_zero_and_remove_most_of_the_noise():
    problem = logistic(n=5)
    coupling = Coupling(Minibatch(5, 2), 1 / 64, (4, 1), 64, 4)
    v = sensitivities(problem, problem.losses, coupling)
    iterates, references, controls = final_points(40_000, np.random.default_rng(3), problem, coupling, v)
    for level in range(2):
        control = Estimate.of(controls[:, level])
        assert abs(control.value) < Z * control.standard_error
        difference = np.array(
            [problem.loss(a) - problem.loss(b) for a, b in zip(iterates[:2_000, level], references[:2_000, level], strict=True)]
        )
        assert np.std(difference - controls[:2_000, level]) < (0.5, 0.3)[level] * np.std(difference)


def test_increments_that_are_not_shared_leave_a_distance_of_order_eta():
    options: dict[str, Any] = {"batch_size": 2, "rng": 4, "n_jobs": 2, "refinement": 8}
    shared = sde.strong_error(PROBLEM, STEPS, TIME, 20_000, **options)
    apart = sde.strong_error(PROBLEM, STEPS, TIME, 20_000, shared_increments=False, **options)
    assert apart.errors[-1] > 20 * shared.errors[-1]
    fall = [np.log2(study.errors[-2] / study.errors[-1]) for study in (apart, shared)]
    assert fall[0] < 1.3 < 1.7 < fall[1]


@pytest.fixture(scope="module")
def study():
    return sde.strong_error(logistic(n=3), STEPS, TIME, 600, batch_size=1, rng=5, refinement=4)


def test_results_do_not_depend_on_workers_and_resume(study, tmp_path):
    again = [
        sde.strong_error(logistic(n=3), STEPS, TIME, 600, batch_size=1, rng=5, refinement=4, n_jobs=2),
        sde.strong_error(logistic(n=3), STEPS, TIME, 600, batch_size=1, rng=5, refinement=4, store=tmp_path),
        sde.strong_error(logistic(n=3), STEPS, TIME, 600, batch_size=1, rng=5, refinement=4, store=tmp_path),
    ]
    with joblib.parallel_config("loky", n_jobs=2):
        again.append(sde.strong_error(logistic(n=3), STEPS, TIME, 600, batch_size=1, rng=5, refinement=4))
    for other in again:
        np.testing.assert_array_equal(other.errors, study.errors)
        np.testing.assert_array_equal(other.reference_errors, study.reference_errors)
    assert len(list(tmp_path.glob("*/block-*.npz"))) >= 3
    assert sde.strong_error(logistic(n=3), STEPS, TIME, 600, batch_size=1, rng=6, refinement=4).errors[0] != study.errors[0]


def test_a_study_is_written_and_drawn_also_without_an_order(study, tmp_path):
    study.save(tmp_path / "study.json")
    data = json.loads((tmp_path / "study.json").read_text())
    assert data["kind"] == "strong" and len(data["errors"]) == 3 and data["arguments"]["n_paths"] == 600
    assert "at least 4" in data["leading_order"]["refused"]
    few = sde.weak_error(logistic(n=3), STEPS, TIME, 8, batch_size=1, rng=5, refinement=4)
    with pytest.raises(ValueError, match="take more paths"):
        _ = few.order
    for each in (study, few):
        ax = each.plot(references=(2.0,))
        assert ax.get_legend_handles_labels()[1]
        pyplot.close(ax.figure)


def raising_gradients(theta, data, out):
    if theta[0] > 0.3:
        raise ValueError("out of the domain")
    for i in range(data.shape[0]):
        out[0, i] = theta[0] - data[i, 0]


def square_losses(theta, data, out):
    for i in range(data.shape[0]):
        out[i] = 0.5 * (theta[0] - data[i, 0]) ** 2


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_paths_that_leave_the_finite_numbers_are_no_result():
    """An exception in a compiled callback cannot pass; it shows as NaN, and so does a step that is too large."""
    problem = sde.Problem(square_losses, raising_gradients, np.array([[1.0], [2.0]]), np.array([0.0]))
    with pytest.raises(ValueError, match=r"step_sizes must keep all paths finite.*functions raise"):
        sde.strong_error(problem, [0.5, 0.25], 1.0, 2, batch_size=1, rng=1)
    wild = replace(PROBLEM, data=1e3 * PROBLEM.data)
    with pytest.raises(ValueError, match="step_sizes must keep all paths finite"), np.errstate(all="ignore"):
        sde.strong_error(wild, [0.5, 0.25], 50.0, 10, batch_size=1, rng=1)
    with pytest.raises(ValueError, match="step_sizes must let gradient descent stay finite"), np.errstate(all="ignore"):
        sde.weak_error(wild, [0.5, 0.25], 50.0, 10, batch_size=1, rng=1)


def test_a_plot_shows_the_order_that_three_errors_give():
    study = sde.strong_error(PROBLEM, STEPS[:3], TIME, 2_000, batch_size=2, rng=3)
    ax = study.plot(next_term=True)
    assert f"order {study.order.value:.2f}" in ax.get_legend_handles_labels()[1][0]
    pyplot.close(ax.figure)


def test_biases_of_mean_squares_are_bounded():
    """Off by far more than the mean square of what the reference is off by, but within the bound."""
    exact = [diffusion.strong_error(X, Y, START, eta, 2, TIME) for eta in STEPS]
    study = sde.strong_error(PROBLEM, STEPS, TIME, 20_000, batch_size=2, rng=4, refinement=4, n_jobs=2)
    off = np.abs(study.errors - exact)
    assert (off < study.largest_biases + Z * study.standard_errors).all()
    assert (off > study.reference_errors + Z * study.standard_errors).any()


def a_test_function(theta, data, out):
    for i in range(data.shape[0]):
        out[i] = theta[0]


def test_a_test_function_of_ones_own():
    """E theta_1 of least squares is exact at every step size, and free of noise to first order."""
    study = sde.weak_error(PROBLEM, STEPS, TIME, 2_000, batch_size=2, rng=7, test_function=a_test_function)
    for e, off, eta in zip(study.estimates, study.reference_errors, STEPS, strict=True):
        of_sgd = diffusion.sgd_moments(X, Y, START, eta, 2, round(TIME / eta)).mean[0]
        of_sde = diffusion.sde_moments(X, Y, START, eta, 2, TIME).mean[0]
        assert abs(e.value - (of_sgd - of_sde)) < Z * e.standard_error + 2 * off + 1e-12


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"step_sizes": [0.5, 0.3]}, ValueError, "whole multiples of the smallest one"),
        ({"step_sizes": []}, ValueError, "step_sizes must be at least one number > 0"),
        ({"step_sizes": [0.4, 0.2]}, None, ""),
        ({"time": 0.7}, ValueError, "time must be a whole number of steps"),
        ({"time": 0}, ValueError, "time must be > 0"),
        ({"n_paths": 1}, ValueError, "n_paths must be between 2 and"),
        ({"batch_size": 0}, ValueError, "batch_size must be >= 1"),
        ({"batch_size": Gaussian(5, 2)}, ValueError, "batch_size must be a noise over the 4 samples"),
        ({"batch_size": Minibatch(4, 3), "refinement": 4}, ValueError, "refinement must be a multiple of 6"),
        ({"refinement": 2}, ValueError, "refinement must be between 4 and"),
        ({"refinement": 10**20}, ValueError, "refinement must be between 4 and"),
        ({"refinement": 10**8}, ValueError, "step_sizes, time and refinement must need at most 1e.08 steps"),
        ({"batch_size": Minibatch(4, 10**17)}, ValueError, "step_sizes, time and refinement must need at most 1e.08 steps"),
        ({"time": 1e300}, ValueError, "step_sizes, time and refinement must need at most 1e.08 steps"),
        ({"step_sizes": [1e-300, 1e300]}, ValueError, "step_sizes, time and refinement must need at most 1e.08 steps"),
        ({"step_sizes": [1e300, 0.25]}, ValueError, "whole multiples of the smallest one|time must be a whole number"),
        ({"n_paths": 10**20}, ValueError, "n_paths must be between 2 and"),
        ({"drift": "none"}, ValueError, "drift must be one of plain, modified"),
        ({"problem": "logistic"}, TypeError, "problem must be a Problem"),
        ({"rng": "x"}, TypeError, "rng must be"),
    ],
)
def test_bad_arguments_are_named(changes, kind, message):
    arguments = {"problem": PROBLEM, "step_sizes": [0.5, 0.25], "time": 2.0, "n_paths": 10, "batch_size": 2, "rng": 1} | changes
    call = [arguments.pop(name) for name in ("problem", "step_sizes", "time", "n_paths")]
    if kind is None:
        sde.strong_error(*call, **arguments)
        return
    with pytest.raises(kind, match=message):
        sde.strong_error(*call, **arguments)
