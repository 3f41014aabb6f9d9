"""Simulated risks of SGD and MSGD against the exact ones.

Null: the mean risk is `LeastSquares.excess_risk` (or `last_iterate_risk`). Each test makes at most 30 two-sided comparisons at
z = 6 (1e-9 each by the normal law; the skewness of a risk here, below 6, costs less than a factor of 100 at n = 200,000), so a
false alarm has a probability below 1e-5. It would catch a wrong weight, step, average or recursion: the wrong formulas below are
off by 3 % or more, which is over 30 standard errors.
"""

import json

import pytest

from gradnoise.simulations import least_squares
from gradnoise.theory.least_squares import FiniteLeastSquares, LeastSquares, WeightMoments
from gradnoise.theory.sampling import Bernoulli, Enhanced, Gaussian, Minibatch, Rademacher, StudentT

PROBLEM, ETA, STEPS, N, Z = LeastSquares([1.0, 0.5], [0.4, -0.4], 1.0), 0.3, [1, 4, 10], 200_000, 6.0
B, b = 6, 2
NOISES = [
    Minibatch(B, b, replacement=False),
    Minibatch(B, b),
    Gaussian(B, b, replacement=False),
    StudentT(B, b, df=9, replacement=False),
    Rademacher(B, b, replacement=False),
    Gaussian(B, b, centered=False, replacement=False),
    Bernoulli(B, b),
    Enhanced(Minibatch(B, b, replacement=False), 1.3),  # in NumPy
]


def deviations(curve, weights):
    """Largest deviation from the exact risks. Units: standard errors."""
    exact = [*PROBLEM.excess_risk(ETA, weights, STEPS), *PROBLEM.last_iterate_risk(ETA, weights, STEPS)]
    return max(abs(e.value - r) / e.standard_error for e, r in zip(curve.averaged + curve.last, exact, strict=True))


@pytest.fixture(scope="module")
def curves():
    return [least_squares.simulate_curve(PROBLEM, noise, ETA, STEPS, N, rng=k, n_jobs=2) for k, noise in enumerate(NOISES)]


@pytest.mark.parametrize("k", range(len(NOISES)), ids=[repr(noise) for noise in NOISES])
def test_risks(curves, k):
    assert deviations(curves[k], NOISES[k]) < Z


@pytest.mark.parametrize(
    ("k", "wrong"),
    [
        (0, WeightMoments.minibatch(B)),  # B for b
        (2, WeightMoments(0.25, 0.75)),  # too small a power
        (3, WeightMoments(0.0, 1.0)),  # no fourth moment at all
        (4, WeightMoments.fresh(NOISES[5])),  # uncentred for centred
        (5, WeightMoments.minibatch(b)),  # centred for uncentred
        (6, WeightMoments(WeightMoments.fresh(Bernoulli(B, b)).own, 0.5)),  # a sum of one
        (7, WeightMoments.minibatch(b)),  # the base alone
    ],
)
def test_risks_can_fail(curves, k, wrong):
    assert deviations(curves[k], wrong) > Z


def test_workers_and_sizes_do_not_change_the_replicates():
    options = {"problem": PROBLEM, "noise": Gaussian(B, b), "step_size": ETA, "n_steps": 3}
    one, two = (least_squares.simulate(**options, n_replicates=2_000, rng=5, n_jobs=jobs) for jobs in (1, 2))
    assert one == two
    assert one != least_squares.simulate(**options, n_replicates=2_000, rng=6)


def test_a_store_resumes(tmp_path):
    arguments = (PROBLEM, Minibatch(B, b), ETA, 3)
    fresh = least_squares.simulate(*arguments, 1_200, rng=5)
    least_squares.simulate(*arguments, 600, rng=5, store=tmp_path)
    assert least_squares.simulate(*arguments, 1_200, rng=5, store=tmp_path) == fresh


def test_no_steps_leave_the_initial_risk():
    risk = least_squares.simulate(PROBLEM, Minibatch(B, b), ETA, 0, 100, rng=1)
    assert risk.value == pytest.approx(0.5 * PROBLEM.spectrum @ PROBLEM.initial_error**2, rel=1e-14)


def test_a_curve_is_saved_and_drawn(tmp_path):
    curve = least_squares.simulate_curve(PROBLEM, Minibatch(B, b), ETA, [5, 1, 5], 1, rng=1)
    curve.save(tmp_path / "curve.json")
    data = json.loads((tmp_path / "curve.json").read_text(), parse_constant=pytest.fail)
    assert data["n_steps"] == [1, 5] and len(data["averaged"]) == 2
    assert data["averaged"][0]["standard_error"] is None  # one replicate tells no error
    several = least_squares.simulate_curve(PROBLEM, Minibatch(B, b), ETA, [1, 5], 100, rng=1)
    ax = several.plot(label="SGD")
    assert ax.get_xlabel() and ax.get_ylabel() and ax.get_xscale() == "log"
    ax.figure.clear()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"problem": FiniteLeastSquares([[1.0]], [1.0], [0.0])}, TypeError, "problem must be a LeastSquares"),
        ({"noise": 4}, TypeError, "noise must be a SamplingNoise"),
        ({"step_size": 2.0}, ValueError, "step_size must be below 0.8673"),
        ({"step_size": 0.0}, ValueError, "step_size must be > 0"),
        ({"n_steps": -1}, ValueError, "n_steps must be between 0 and"),
        ({"n_steps": 1.5}, TypeError, "n_steps must be an integer"),
        ({"n_replicates": 0}, ValueError, "n_replicates must be between 1 and"),
        ({"rng": "seed"}, TypeError, "rng must be"),
    ],
)
def test_bad_input(change, error, message):
    arguments = {"problem": PROBLEM, "noise": Minibatch(B, b), "step_size": ETA, "n_steps": 3, "n_replicates": 10, "rng": 1}
    with pytest.raises(error, match=message):
        least_squares.simulate(**{**arguments, **change})
