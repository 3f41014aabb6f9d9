"""Expectations on the circle and stationary densities on the line, against lists, limits and closed forms.

It would catch a harmonic without its factor, an interpolation with too few nodes, a generator without its ½ or with the square
root of eta, steps that are counted wrongly, and a density in the sense of Stratonovich.
"""

import numpy as np
import pytest
from scipy import stats
from scipy.integrate import quad

from gradnoise.simulations.sampling import outcomes
from gradnoise.theory.diffusion import CircleLosses, StationaryDensity
from gradnoise.theory.escape import EulerLaw, PlanarLandscape
from gradnoise.theory.sampling import Gaussian, Minibatch

A, PHI = np.array([[1.0, 0.3], [0.6, 0.4], [0.8, 0.2]]), np.array([[0.0, 0.5], [1.2, 2.0], [2.5, 1.0]])
CIRCLE, START, ETA = CircleLosses(A, PHI), 0.3, 0.2


def loss(i, t):
    """As the module writes it."""
    return A[i, 0] * (1 - np.cos(t - PHI[i, 0])) + A[i, 1] * (1 - np.cos(2 * t - PHI[i, 1]))


def test_losses_and_their_derivatives():
    t, h = np.linspace(-3, 9, 7), 1e-5
    np.testing.assert_allclose(CIRCLE.losses(t), [loss(i, t) for i in range(3)], rtol=1e-13)
    np.testing.assert_allclose(CIRCLE.gradients(t), (CIRCLE.losses(t + h) - CIRCLE.losses(t - h)) / (2 * h), atol=1e-9)
    np.testing.assert_allclose(CIRCLE.curvatures(t), (CIRCLE.gradients(t + h) - CIRCLE.gradients(t - h)) / (2 * h), atol=1e-9)


@pytest.mark.parametrize("noise", [Minibatch(3, 1), Minibatch(3, 2), Minibatch(3, 2, replacement=False)], ids=repr)
def test_sgd_by_listing_all_sequences(noise):
    law, points, chances = outcomes(noise), np.array([START]), np.array([1.0])
    for _ in range(4):
        gradients = CIRCLE.gradients(points)
        points = np.concatenate([points - ETA * w @ gradients for w in law.vectors])
        chances = np.concatenate([chances * p for p in law.probabilities])
    expected = chances @ np.cos(3 * points - 1)
    found = CIRCLE.sgd_expectation(np.cos(3 * CIRCLE.nodes - 1), START, law.vectors, law.probabilities, ETA, 4)
    assert found == pytest.approx(expected, rel=1e-11)


@pytest.mark.parametrize("drift", ["plain", "modified"])
def test_sde_starts_as_its_generator_says(drift):
    """(E g(Theta_t) - g)/t tends to b g' + eta Sigma g''/2, all of them by hand; g = cos."""
    g = np.array([A[i, 0] * np.sin(START - PHI[i, 0]) + 2 * A[i, 1] * np.sin(2 * START - PHI[i, 1]) for i in range(3)])
    h = np.array([A[i, 0] * np.cos(START - PHI[i, 0]) + 4 * A[i, 1] * np.cos(2 * START - PHI[i, 1]) for i in range(3)])
    force = -g.mean() - (ETA / 2 * h.mean() * g.mean() if drift == "modified" else 0)
    variance = ((g - g.mean()) ** 2).mean() / 2  # of a batch of two with replacement
    rate = -force * np.sin(START) - ETA * variance / 2 * np.cos(START)

    def quotient(t):
        return (CIRCLE.sde_expectation(np.cos(CIRCLE.nodes), START, 2, ETA, t, drift) - np.cos(START)) / t

    assert 2 * quotient(5e-4) - quotient(1e-3) == pytest.approx(rate, abs=1e-6)


def test_sde_is_the_limit_of_small_steps_with_as_much_noise():
    """SVAG by hand: two antithetic weights of any strength have the covariance of a Gaussian one."""
    noise, l, T = Gaussian(3, 2), 4096, 0.5
    values, axes = np.linalg.eigh(noise.covariance_matrix())
    root = axes * np.sqrt(values.clip(0))
    vectors = np.array([1 / 3 + sign * np.sqrt(3 * l) * column for column in root.T for sign in (1, -1)])
    f = CIRCLE.mean_loss()
    found = [
        CIRCLE.sgd_expectation(
            f, START, 1 / 3 + (vectors - 1 / 3) * np.sqrt(k / l), np.full(6, 1 / 6), ETA / k, round(k * T / ETA)
        )
        for k in (l // 2, l)
    ]
    exact = CIRCLE.sde_expectation(f, START, noise, ETA, T)
    assert 2 * found[1] - found[0] == pytest.approx(exact, abs=1e-6)
    assert abs(found[0] - exact) > 20 * abs(2 * found[1] - found[0] - exact)


def test_more_nodes_change_nothing():
    more = CircleLosses(A, PHI, 321)
    for drift in ("plain", "modified"):
        pair = [c.sde_expectation(c.mean_loss(), START, 1, ETA, 1.0, drift) for c in (CIRCLE, more)]
        assert pair[0] == pytest.approx(pair[1], rel=1e-10)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: CircleLosses(A, PHI[:2]), "same shape"),
        (lambda: CircleLosses(A, PHI, 64), "n_nodes must be odd"),
        (lambda: CIRCLE.sde_expectation(np.ones(3), START, 1, ETA, 1.0), "value at each of the 257 nodes"),
        (
            lambda: CIRCLE.sgd_expectation(CIRCLE.mean_loss(), START, np.ones((2, 2)), [0.5, 0.5], ETA, 1),
            "weights must have 3 columns",
        ),
        (
            lambda: CIRCLE.sgd_expectation(CIRCLE.mean_loss(), START, np.ones((2, 3)), [0.5, 0.4], ETA, 1),
            "probabilities must be 2 numbers that sum to one",
        ),
        (
            lambda: CircleLosses(A, PHI, 65).sde_expectation(CircleLosses(A, PHI, 65).mean_loss(), START, 1, 1e-4, 10.0),
            "n_nodes must resolve",
        ),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_stationary_densities_known_in_closed_form():
    normal = StationaryDensity(lambda x: 1.5 * x, lambda x: np.full_like(x, 0.4), -6, 6)
    deviation = np.sqrt(0.4 / 3.0)
    assert normal.probability(-0.2, 0.5) == pytest.approx(np.diff(stats.norm.cdf([-0.2, 0.5], scale=deviation))[0], abs=1e-9)
    # Noise s (1 + x^2): p is proportional to (1 + x^2)^(-1 - 1/s), a Student density.
    s = 0.25
    student = StationaryDensity(lambda x: x, lambda x: s * (1 + x**2), -60, 60)
    df = 1 + 2 / s
    exact = np.diff(stats.t.cdf(np.array([-0.2, 0.5]) * np.sqrt(df), df))[0]
    assert student.probability(-0.2, 0.5) == pytest.approx(exact, abs=1e-8)
    assert abs(student.probability(-0.2, 0.5) - 0.5 * normal.probability(-0.2, 0.5)) > 1e-3  # and is not any density


@pytest.mark.parametrize("unit", [1e-150, 1e-60, 1e60, 1e150])
def test_a_stationary_density_has_no_unit(unit):
    """Catches squares of lengths on the way, which made a probability NaN."""
    plain = StationaryDensity(lambda x: 1.5 * x, lambda x: np.full_like(x, 0.4), -6, 6)
    scaled = StationaryDensity(lambda x: 1.5 * x, lambda x: np.full_like(x, 0.4 * unit**2), -6 * unit, 6 * unit)
    assert scaled.probability(-0.2 * unit, 0.5 * unit) == pytest.approx(plain.probability(-0.2, 0.5), rel=1e-12)
    np.testing.assert_allclose(scaled.density * unit, plain.density, rtol=1e-9, atol=1e-12)


def test_stationary_density_refuses_what_is_none():
    with pytest.raises(ValueError, match="leave out nothing"):
        StationaryDensity(lambda x: x, lambda x: np.full_like(x, 1.0), -1, 1)
    with pytest.raises(ValueError, match="variance must be finite and > 0"):
        StationaryDensity(lambda x: x, lambda x: x, -1, 1)
    with pytest.raises(ValueError, match=r"so close that 20001 points resolve the density, got -1e\+06 and 1e\+06"):
        StationaryDensity(lambda x: x, np.ones_like, -1e6, 1e6)
    with pytest.raises(ValueError, match=r"gradient\(x\) must be finite, got NaN at index 0"):
        StationaryDensity(lambda x: np.full_like(x, np.nan), np.ones_like, -1, 1)
    with pytest.raises(ValueError, match="arguments of StationaryDensity must keep it within the range of floats"):
        StationaryDensity(lambda x: 1e308 * x, np.ones_like, -6, 6)


def test_a_stationary_probability_is_of_an_interval():
    """Catches a reversed interval with a negative probability, and an end that is no number."""
    normal = StationaryDensity(lambda x: 1.5 * x, lambda x: np.full_like(x, 0.4), -6, 6)
    assert normal.probability(-np.inf, np.inf) == 1.0
    assert normal.probability(0.25, 0.25) == 0.0 == normal.probability(7.0, np.inf)
    for low, high, found in ((0.5, -0.2, "low must be <= high, got 0.5 and -0.2"), (np.nan, 1.0, "low must be finite, got nan")):
        with pytest.raises(ValueError, match=found):
            normal.probability(low, high)


def test_the_law_of_euler_steps_with_noise_that_depends_on_the_place():
    well, h, start = PlanarLandscape(quartic=1.0), 0.05, 0.4

    def noise(x):
        return (1 + 0.5 * np.tanh(x)) ** 2

    law = EulerLaw(well, noise, start, h, 2, reach=4.0)

    def step(x):
        return x - h * x * (x**2 - 1), np.sqrt(h * noise(x))

    expected = quad(lambda x: stats.norm.pdf(x, *step(start)) * stats.norm.cdf(0.3, *step(x)), -2, 3, epsabs=1e-12)[0]
    assert law.probability([(-np.inf, 0.3)]) == pytest.approx(expected, abs=1e-9)
