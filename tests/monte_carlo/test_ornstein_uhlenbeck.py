"""Simulated OU and Langevin processes against their exact laws.

It would catch a simulation that samples another process (drift, noise, time or basis wrong), statistics that are merged wrongly,
and a limit of small steps that is taken for the scheme.

Null: E of loss, of each theta_i theta_j and of each exceedance is what theory states. alpha = 1e-3 for all numbers of this file
together (Bonferroni over 200), n = 200,000 paths; seeds are fixed. Means are judged by a z test, proportions by exact intervals.
"""

import numpy as np
import pytest
from scipy.stats import norm, ortho_group

from gradnoise.simulations import langevin, ornstein_uhlenbeck
from gradnoise.simulations.statistics import Estimate
from gradnoise.theory import escape
from gradnoise.theory.escape import EulerLaw, PlanarLandscape

N_PATHS, LEVEL = 200_000, 1 - 1e-3 / 200
Z = norm.isf((1 - LEVEL) / 2)


def _matrix(spectrum, seed):
    U = ortho_group.rvs(len(spectrum), random_state=seed) if len(spectrum) > 1 else np.eye(1)
    return (U * np.array(spectrum)) @ U.T


CASES = {  # Hessian, covariance, time; they do not commute
    "d = 1": (_matrix([2.0], 0), _matrix([0.7], 0), 0.4),
    "d = 3": (_matrix([4.0, 1.0, 0.2], 1), _matrix([2.0, 0.5, 0.1], 2), 0.7),
    "d = 8": (_matrix(np.geomspace(5, 0.1, 8), 3), _matrix(np.geomspace(0.2, 2, 8), 4), 1.5),
    "singular H": (_matrix([3.0, 0.0, 0.0], 5), _matrix([1.0, 0.6, 0.3], 6), 0.9),
    "singular Sigma": (_matrix([3.0, 1.0, 0.5], 7), _matrix([2.0, 0.0, 0.0], 8), 0.5),
    "both singular": (_matrix([3.0, 0.0, 0.5], 9), _matrix([2.0, 0.0, 0.4], 10), 0.5),
}


def _off(estimate, value):
    return abs(estimate.value - value) > Z * estimate.standard_error


def _wrong_entries(result, covariance):
    return (np.abs(result.covariance - covariance) > Z * result.covariance_error + 1e-15).sum()


def _misses(exceedance, probabilities):
    intervals = [proportion.interval(LEVEL) for proportion in exceedance]
    return sum(not low <= p <= high for (low, high), p in zip(intervals, probabilities, strict=True))


@pytest.mark.parametrize("case", CASES)
def test_exact_method_has_the_law_of_the_process(case):
    H, Sigma, t = CASES[case]
    mean = float(escape.loss_increase(H, Sigma, t))
    deltas = mean * np.array([0.0, 0.3, 1.0, 3.0])
    result = ornstein_uhlenbeck.simulate(H, Sigma, t, N_PATHS, rng=41, deltas=deltas)
    assert result.loss.n == result.exceedance[0].n == N_PATHS
    assert not _off(result.loss, mean)
    assert _wrong_entries(result, escape.ou_covariance(H, Sigma, t)) == 0
    assert _misses(result.exceedance[1:], escape.escape_probability(H, Sigma, t, deltas[1:])) == 0
    assert result.exceedance[0].successes == N_PATHS


def test_exact_method_can_fail():
    H, Sigma, t = CASES["d = 3"]
    mean = float(escape.loss_increase(H, Sigma, t))
    deltas = mean * np.array([0.3, 1.0, 3.0])
    result = ornstein_uhlenbeck.simulate(H, Sigma, t, N_PATHS, rng=41, deltas=deltas)
    commuting = np.diag(np.diag(np.linalg.eigh(H)[1].T @ Sigma @ np.linalg.eigh(H)[1]))  # what the loss alone cannot tell
    rotated = np.linalg.eigh(H)[1] @ commuting @ np.linalg.eigh(H)[1].T
    assert _off(result.loss, mean * 1.02)
    assert _off(result.loss, float(escape.loss_increase_linear(H, Sigma, t)))
    assert _off(result.loss, float(escape.loss_increase(H, Sigma, t / 2)))
    assert _wrong_entries(result, escape.ou_covariance(H, rotated, t)) > 0
    assert _wrong_entries(result, t * Sigma) > 0
    assert _misses(result.exceedance, escape.escape_probability(H, rotated, t, deltas)) > 0
    assert _misses(result.exceedance, escape.markov_bound(mean, deltas)) > 0


def _euler_covariance(H, Sigma, step, n_steps):
    covariance, A = np.zeros_like(H), np.eye(len(H)) - step * H
    for _ in range(n_steps):
        covariance = A @ covariance @ A.T + step * Sigma
    return covariance


@pytest.mark.parametrize("case", ["d = 1", "d = 3", "both singular"])
def test_euler_method_has_the_law_of_the_scheme(case):
    """At a step that is not small, where the scheme is descent with noise of covariance Sigma/step and not the process."""
    H, Sigma, _ = CASES[case]
    step, n_steps = 0.4, 4
    scheme = float(escape.discrete_loss_increase(H, Sigma / step, step, n_steps))
    covariance = _euler_covariance(H, Sigma, step, n_steps)
    deltas = scheme * np.array([0.3, 1.0, 3.0])
    result = ornstein_uhlenbeck.simulate(H, Sigma, step * n_steps, N_PATHS, rng=42, method="euler", step_size=step, deltas=deltas)
    assert not _off(result.loss, scheme)
    assert _wrong_entries(result, covariance) == 0
    # theta is normal, as Brownian motion of this covariance would be at time 1; H decides on the loss only.
    law = escape.escape_probability(H, covariance, 1e-9, deltas * 1e-9)
    assert _misses(result.exceedance, law) == 0


def test_euler_method_can_fail():
    H, Sigma, _ = CASES["d = 3"]
    step, n_steps = 0.4, 4
    result = ornstein_uhlenbeck.simulate(H, Sigma, step * n_steps, N_PATHS, rng=42, method="euler", step_size=step)
    assert _off(result.loss, float(escape.loss_increase(H, Sigma, step * n_steps)))  # the process is not the scheme
    assert _off(result.loss, float(escape.discrete_loss_increase(H, Sigma, step, n_steps)))  # Sigma for Sigma/step
    assert _off(result.loss, float(escape.discrete_loss_increase(H, Sigma / step, step, n_steps - 1)))
    assert _wrong_entries(result, escape.ou_covariance(H, Sigma, step * n_steps)) > 0


@pytest.mark.parametrize("angle", np.linspace(0.1, 1.5, 8))
def test_loss_in_flat_directions_is_not_negative(angle):
    """Noise along the kernel of H: L(theta_t) = 0 >= 0 on every path, whatever the rounding of H's eigenvalues."""
    along, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
    H, Sigma = 3 * np.outer(along, along), np.outer(across, across)
    result = ornstein_uhlenbeck.simulate(H, Sigma, 1.0, 1000, rng=44, deltas=[0.0])
    assert escape.escape_probability(H, Sigma, 1.0, 0.0) == 1
    assert result.exceedance[0].successes == 1000
    assert result.loss.value >= 0


def test_time_zero_and_zero_noise_stay_at_the_minimum():
    H, Sigma, _ = CASES["d = 3"]
    for covariance, t, method in (
        (Sigma, 0.0, "exact"),
        (Sigma, 0.0, "euler"),
        (0 * Sigma, 1.0, "exact"),
        (0 * Sigma, 1.0, "euler"),
    ):
        step = 0.1 if method == "euler" else None
        result = ornstein_uhlenbeck.simulate(H, covariance, t, 50, rng=45, method=method, step_size=step, deltas=[0.0, 1e-12])
        assert result.loss.value == 0
        assert not result.covariance.any()
        assert [proportion.successes for proportion in result.exceedance] == [50, 0]  # L >= delta, not L > delta


@pytest.mark.parametrize(("wrong", "name"), [
    ({"method": "milstein"}, "method"), ({"step_size": 0.1}, "step_size"), ({"method": "euler"}, "step_size"),
    ({"method": "euler", "step_size": 0.3}, "time"), ({"hessian": [[1.0, 0.0], [0.0, -1.0]]}, "hessian"),
    ({"covariance": [[1.0]]}, "hessian and covariance"), ({"time": -1.0}, "time"), ({"deltas": [[1.0]]}, "deltas"),
])  # fmt: skip
def test_bad_arguments_are_named(wrong, name):
    arguments = {"hessian": np.eye(2), "covariance": np.eye(2), "time": 1.0, "n_paths": 10, "rng": 1, **wrong}
    with pytest.raises(ValueError, match=f"^{name} "):
        ornstein_uhlenbeck.simulate(**arguments)


LANDSCAPE = PlanarLandscape(quadratic=0.2, quartic=1.0, tilt=0.15)
SIGMA = np.array([[0.5, 0.3], [0.3, 0.4]])  # on the line only the first entry counts


def _langevin_errors(noise, step_size, n_steps):
    """Which of increase, dissipation and injection are not those of the exact law of the scheme with the given settings."""
    result = langevin.simulate(LANDSCAPE, SIGMA, (0.8, -0.4), 0.05, 20, N_PATHS, rng=46)
    law = EulerLaw(LANDSCAPE, noise, 0.8, step_size, n_steps, reach=4.0)
    expected = {
        "increase": law.expectation(LANDSCAPE.loss) - float(LANDSCAPE.loss(0.8)),
        "dissipation": law.time_integral(lambda x: LANDSCAPE.gradient(x)[0] ** 2),
        "injection": law.time_integral(lambda x: noise * (LANDSCAPE.quadratic + LANDSCAPE.quartic * (3 * x**2 - 1))),
    }
    return {name for name, value in expected.items() if _off(Estimate.of(getattr(result, name)), value)}


def test_langevin_has_the_law_of_its_scheme():
    assert _langevin_errors(0.5, 0.05, 20) == set()


@pytest.mark.parametrize("wrong", [(0.52, 0.05, 20), (0.4, 0.05, 20), (0.5, 0.025, 40), (0.5, 0.05, 19)])
def test_langevin_can_fail(wrong):
    assert _langevin_errors(*wrong)
