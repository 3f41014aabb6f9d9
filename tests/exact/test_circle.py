"""Expectations on the circle and stationary densities on the line, against lists, limits and closed forms.

It would catch a harmonic without its factor, an interpolation with too few nodes, a generator without its ½ or with the square
root of eta, steps that are counted wrongly, and a density in the sense of Stratonovich.
"""

from itertools import pairwise

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
    assert CircleLosses([[3.0]], [[0.0]]).losses([1e-12])[0, 0] == pytest.approx(1.5e-24, rel=1e-12)  # not a difference to one
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


def test_a_circle_has_at_least_three_nodes():
    """Catches a limit that is one off."""
    assert CircleLosses(A, PHI, 3).nodes == pytest.approx(2 * np.pi * np.arange(3) / 3, rel=1e-15)
    for n_nodes in (1, 2):
        with pytest.raises(ValueError, match=f"n_nodes must be between 3 and 2049, got {n_nodes}"):
            CircleLosses(A, PHI, n_nodes)


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
    with pytest.raises(ValueError, match=r"leave out nothing, got a share of about 1\.\d+e-06 beyond"):  # where density is 1e-11
        StationaryDensity(lambda x: x, lambda x: 50 * (1 + x**2), -1e5, 1e5)
    for gradient, middle in ((lambda x: x - 1e10, 1e10), (lambda x: x + 1e6 * np.sin(1e7 * x), 0.0)):  # floats, and panels
        with pytest.raises(ValueError, match="so close, and so near to zero, that the floats between them resolve"):
            StationaryDensity(gradient, lambda x: np.full_like(x, 1e-8), middle - 8, middle + 8)
    with pytest.raises(ValueError, match=r"gradient\(x\) must be finite, got NaN at index 0"):
        StationaryDensity(lambda x: np.full_like(x, np.nan), np.ones_like, -1, 1)
    with pytest.raises(ValueError, match="arguments of StationaryDensity must keep it within the range of floats"):
        StationaryDensity(lambda x: 1e308 * x, np.ones_like, -6, 6)


@pytest.mark.parametrize("deviation", [1e-7, 1e-4, 0.3])
@pytest.mark.parametrize("middle", [0.0, 1 / 3, 7.123 / 2])
def test_narrow_stationary_densities_are_resolved(deviation, middle):
    """Catches nodes that do not resolve the density: sd 1e-4 on (-8, 8) gave .104 for .3413; and tails that are differences."""
    law = StationaryDensity(lambda x: x - middle, lambda x: np.full_like(x, 2 * deviation**2), -8, 8)
    place = 8 * np.finfo(float).eps / deviation  # rounding of a place, in deviations
    for low, high in ((0, 1), (-2, 0.5), (3, 4), (10, 11), (-35, -34)):
        exact = stats.norm.cdf(high) - stats.norm.cdf(low) if low < 3 else stats.norm.sf(low) - stats.norm.sf(high)
        ends = middle + np.array([low, high]) * deviation
        if np.abs(ends).max() < 8:
            assert law.probability(*ends) == pytest.approx(exact, rel=1e-9 + 100 * place)
    assert (np.diff(law.nodes) > 0).all()
    assert np.trapezoid(law.density, law.nodes) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("s", [20.0, 2.0, 0.4])
def test_heavy_tails_are_resolved_on_long_intervals(s):
    """Noise s (1 + x^2) on +-2e5, a Pearson law: .041 was found for .264. What the interval leaves out counts as nothing."""
    law, df = StationaryDensity(lambda x: x, lambda x: s * (1 + x**2), -2e5, 2e5), 1 + 2 / s
    exact, inside, far, end = (stats.t.sf(x * np.sqrt(df), df) for x in (0.0, 1.0, 1e3, 2e5))
    assert law.probability(0, 1) == pytest.approx((exact - inside) / (1 - 2 * end), rel=1e-11)
    assert law.probability(1e3, np.inf) == pytest.approx((far - end) / (1 - 2 * end), rel=1e-9)


def test_jumps_and_kinks_of_a_stationary_law_are_found():
    laplace = StationaryDensity(lambda x: 30 * np.sign(x - 0.1), np.ones_like, -8, 8)  # exp(-60 |x - 0.1|)
    assert laplace.probability(0.1, 0.2) == pytest.approx(-0.5 * np.expm1(-6), rel=1e-9)
    assert laplace.probability(3, 4) == pytest.approx(0.5 * (np.exp(-174) - np.exp(-234)), rel=1e-9)
    # Variance 1 below 1/3 and 4 above: densities exp(-x^2) and exp(-(x^2 + 3 c^2) / 4) / 4.
    c = 1 / 3
    jump = StationaryDensity(lambda x: x, lambda x: np.where(x < c, 1.0, 4.0), -16, 16)
    below, above = stats.norm.cdf(c * np.sqrt(2)), np.exp(-0.75 * c**2) / 2 * stats.norm.sf(c / np.sqrt(2))
    assert jump.probability(-16, c) == pytest.approx(below / (below + above), rel=1e-10)


@pytest.mark.parametrize(
    ("deviations", "share"), [((0.3, 0.5), 0.5), ((1e-3, 1e-3), 0.5), ((0.2, 0.02), 0.7), ((1e-4, 2e-4), 0.2)]
)
def test_a_well_behind_a_steep_barrier_is_not_lost(deviations, share):
    """Catches a jump of the gradient between narrow wells, at exponents of 10^8, whose unresolved integral hides one of them."""
    middles = -3.0, 2.2

    def gradient(x):
        logs = [np.log(w / s) - ((x - m) / s) ** 2 / 2 for m, s, w in zip(middles, deviations, (share, 1 - share), strict=True)]
        first = 1 / (1 + np.exp(np.clip(logs[1] - logs[0], -700, 700)))
        pull = [(x - m) / s**2 for m, s in zip(middles, deviations, strict=True)]
        return (first * pull[0] + (1 - first) * pull[1]) / 2

    law = StationaryDensity(gradient, np.ones_like, -8, 8)
    left = sum(w * stats.norm.cdf(0.5, m, s) for m, s, w in zip(middles, deviations, (share, 1 - share), strict=True))
    height = (5.2 / max(deviations)) ** 2 / 2  # of the barrier, whose rounding is that of the shares
    assert law.probability(-8, 0.5) == pytest.approx(left, abs=1e-10 + height * np.finfo(float).eps)


def test_a_dent_of_the_noise_attracts():
    def variance(x):
        return 1 - 0.999 * np.exp(-(((x - 0.1) / 1e-3) ** 2) / 2)

    law = StationaryDensity(lambda x: x, variance, -8, 8)
    marks = [-8, -1, 0.09, 0.095, 0.1, 0.105, 0.11, 1, 8]
    slope = [0.0, *(quad(lambda x: 2 * x / variance(x), a, b, epsabs=1e-13)[0] for a, b in pairwise(marks))]
    start = np.cumsum(slope)
    mass = [
        quad(lambda x, a=a, s=s: np.exp(16 - s - quad(lambda u: 2 * u / variance(u), a, x)[0]) / variance(x), a, b, limit=200)[0]
        for a, b, s in zip(marks[:-1], marks[1:], start[:-1], strict=True)
    ]
    assert law.probability(0.09, 0.11) == pytest.approx(sum(mass[2:6]) / sum(mass), rel=1e-7)


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
