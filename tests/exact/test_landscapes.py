"""The two-basin toy, the planar landscape and the exact law of Euler's scheme, against their definitions.

It would catch a branch, sign or angle of the toy that is not the printed one, a gradient or Hessian that is not the derivative
of its loss, a maximum listed among the minima, a sublevel set with a missing or a wrong piece, and a law that has too few nodes,
a wrong variance per step, one step too many, or mass that has left unseen.
"""

import math
from itertools import pairwise
from typing import Any, cast

import numpy as np
import pytest
from scipy.special import ndtr

from gradnoise.theory.escape import EulerLaw, PlanarLandscape, two_basin

# Central differences with step h: error h^2 |f'''|/6, none for a quadratic branch, plus rounding EPS |f|/h; |f| < 3000.
STEP, DIFFERENCE = 1e-4, 3000 * 2.3e-16 / 1e-4 * 4

DATA = np.array([[0.0, 0.0], [0.3, -0.1], [-0.2, 0.25], [1.0, 1.5], [-0.75, -2.0]])
THETAS = [(1.0, 1.0), (-1.0, -1.0), (0.0, 0.0), (0.4, -0.3), (2.0, -1.0), (-0.25, 0.125), (0.9, 1.05)]


def _printed_loss(w1, w2, x1, x2, theta=math.pi / 4):
    """zhu2019, Appendix D.1, letter for letter."""
    s1, s2 = w1 - 1 - x1, w2 - 1 - x2
    return min(
        10 * (s1 * math.cos(theta) - s2 * math.sin(theta)) ** 2 + 100 * (s1 * math.cos(theta) + s2 * math.sin(theta)) ** 2,
        (w1 - x1 + 1) ** 2 + (w2 - x2 + 1) ** 2,
    )


def _differences(function, point):
    """Central differences along each coordinate, stacked on a first axis."""
    steps = STEP * np.eye(len(point))
    return np.stack([(function(point + e) - function(point - e)) / (2 * STEP) for e in steps])


@pytest.mark.parametrize("theta", THETAS)
def test_two_basin_losses_are_the_printed_ones(theta):
    printed = [_printed_loss(*theta, *x) for x in DATA]
    assert np.allclose(two_basin.losses(theta, DATA), printed, rtol=1e-14, atol=1e-14 * 100)
    sharp = [p < (theta[0] - x[0] + 1) ** 2 + (theta[1] - x[1] + 1) ** 2 - 1e-9 for p, x in zip(printed, DATA, strict=True)]
    assert np.array_equal(two_basin.sharp_samples(theta, DATA), sharp)


def test_two_basin_losses_can_fail():
    assert {bool(sharp) for sharp in two_basin.sharp_samples((0.9, 1.05), DATA)} == {True, False}
    for angle in (-math.pi / 4, math.pi / 3):
        turned = [_printed_loss(0.9, 1.05, *x, theta=angle) for x in DATA]
        assert not np.allclose(two_basin.losses((0.9, 1.05), DATA), turned, rtol=1e-3)


@pytest.mark.parametrize("theta", THETAS)
def test_two_basin_gradients_are_differences_of_losses(theta):
    theta = np.array(theta)
    for e in np.vstack([2 * STEP * np.eye(2), -2 * STEP * np.eye(2)]):  # no sample changes its branch in between
        assert np.array_equal(two_basin.sharp_samples(theta + e, DATA), two_basin.sharp_samples(theta, DATA))
    gradients = two_basin.gradients(theta, DATA)
    assert gradients.shape == (2, len(DATA))
    assert np.allclose(gradients, _differences(lambda p: two_basin.losses(p, DATA), theta), rtol=0, atol=DIFFERENCE)
    H = _differences(lambda p: two_basin.gradients(p, DATA).mean(axis=1), theta)
    assert np.allclose(two_basin.hessian(theta, DATA), H, rtol=0, atol=DIFFERENCE)


def test_two_basin_constants():
    assert np.allclose(np.linalg.eigvalsh(two_basin.SHARP_HESSIAN), [20, 200], rtol=1e-14)
    assert np.allclose(two_basin.SHARP_HESSIAN @ two_basin.DATA_COVARIANCE, 0.02 * np.eye(2), atol=1e-16)
    c = math.cos(math.pi / 4)
    assert np.allclose(two_basin.PRINTED_DATA_COVARIANCE, [[c, c], [-c, c]], rtol=1e-15)
    # Gauss-Hermite is exact on a quadratic; at a minimum the other branch is 25 deviations of the data away.
    z, weight = np.polynomial.hermite_e.hermegauss(3)
    nodes = np.array([(a, b) for a in z for b in z]) @ np.linalg.cholesky(two_basin.DATA_COVARIANCE).T
    weights = np.outer(weight, weight).ravel() / (2 * math.pi)
    minima = (two_basin.SHARP_MINIMUM, two_basin.FLAT_MINIMUM)
    expected = [weights @ two_basin.losses(theta, nodes) for theta in minima]
    assert np.allclose(two_basin.population_loss_at_minima(), expected, rtol=1e-13)
    assert np.allclose(expected, [0.0200, 0.0011], rtol=1e-13)


@pytest.mark.parametrize(("theta", "data"), [([1.0], DATA), ([1.0, 1.0], DATA.T), ([[1.0, 1.0]], DATA), ([1.0, math.nan], DATA)])
def test_two_basin_names_bad_input(theta, data):
    for function in (two_basin.losses, two_basin.gradients, two_basin.hessian, two_basin.sharp_samples):
        with pytest.raises(ValueError, match=r"theta|data"):
            function(theta, data)


# --- The planar landscape ------------------------------------------------------------------------------------------------------

LANDSCAPES = [
    PlanarLandscape(quadratic=2.0),
    PlanarLandscape(quadratic=0.5, stiffness=3.0, shear=-0.75),
    PlanarLandscape(quartic=1.0),
    PlanarLandscape(quartic=4.0, tilt=0.5),
    PlanarLandscape(quadratic=0.25, quartic=2.0, tilt=-0.2, stiffness=1.5, shear=2.0),
    PlanarLandscape(quartic=1.0, tilt=0.7),  # one well only
    PlanarLandscape(quadratic=3.0, quartic=1.0),  # convex
]


def _planar_loss(p, x, y):
    """The formula on top of its module."""
    return p.quadratic / 2 * x**2 + p.quartic / 4 * (x**2 - 1) ** 2 + p.tilt * x + p.stiffness / 2 * (y - p.shear * x) ** 2


@pytest.mark.parametrize("p", LANDSCAPES)
def test_planar_derivatives_are_differences(p):
    # Losses are below 100 here, and the error h^2 |f'''|/6 of the quartic is below 6 q |x| h^2/6 < 1e-7.
    for point in ([0.3, -0.2], [-1.5, 0.75], [0.0, 0.0], [2.0, 2.5]):
        assert math.isclose(p.loss(*point), _planar_loss(p, *point), rel_tol=1e-14)
        slope = _differences(lambda q: p.loss(*q), np.array(point))
        assert np.allclose(p.gradient(*point), slope, rtol=0, atol=1.5e-7)
        curvature = _differences(lambda q: p.gradient(*q), np.array(point))
        assert np.allclose(p.hessian(point[0]), curvature, rtol=0, atol=1.5e-7)


def _local_minima(p):
    """Of L(x, m x) on a grid, where the loss is below both neighbours."""
    x = np.linspace(-3, 3, 60_001) + 1.7e-5  # no minimum half-way between two nodes
    loss = _planar_loss(p, x, p.shear * x)
    return x[1:-1][(loss[1:-1] < loss[:-2]) & (loss[1:-1] < loss[2:])]


@pytest.mark.parametrize("p", LANDSCAPES)
def test_minima_are_those_on_a_grid(p):
    assert len(p.minima()) == len(_local_minima(p)) > 0
    assert np.abs(p.minima() - _local_minima(p)).max() <= 1e-4
    for x in p.minima():
        assert np.allclose(p.gradient(x, p.shear * x), 0, atol=1e-13)
        assert np.linalg.eigvalsh(p.hessian(x))[0] >= -1e-14


def test_a_quartic_minimum_is_one_too():
    assert PlanarLandscape(quadratic=1.0, quartic=1.0).minima().tolist() == [0.0]  # L = (x^4 + 1)/4


@pytest.mark.parametrize("p", LANDSCAPES)
def test_sublevel_intervals_are_those_on_a_grid(p):
    x = np.linspace(-4, 4, 40_001) + 1.7e-5
    loss = _planar_loss(p, x, p.shear * x)
    for level in (loss.min() - 0.1, loss.min() + 0.01, 0.1, 0.3, 0.9, 2.0):
        intervals = p.sublevel_intervals(level)
        inside = np.any([(a < x) & (x < b) for a, b in intervals], axis=0) if intervals else np.zeros(len(x), dtype=bool)
        assert np.array_equal(inside, loss < level)
        assert all(a < b for a, b in intervals) and all(b < c for (_, b), (c, _) in pairwise(intervals))
        for edge in (e for pair in intervals for e in pair):
            assert math.isclose(_planar_loss(p, edge, p.shear * edge), level, rel_tol=1e-9, abs_tol=1e-9)
    assert len(LANDSCAPES[2].sublevel_intervals(0.1)) == 2  # both wells below the barrier
    assert len(LANDSCAPES[2].sublevel_intervals(0.3)) == 1


@pytest.mark.parametrize("level", [1e-3, 1e-9, 1e-15, 1e-20, 1e-25])
def test_sublevels_near_the_bottom_of_a_well_are_small(level):
    """Catches double roots that are lost: all that is left of an edge was on the list, down to minus infinity."""
    edges = np.sqrt(1 + np.array([-2, 2]) * math.sqrt(level))  # (x² − 1)² / 4 = level
    for (low, high), well in zip(PlanarLandscape(quartic=1.0).sublevel_intervals(level), (-edges[::-1], edges), strict=True):
        np.testing.assert_allclose([low - well.mean(), high - well.mean()], [-np.ptp(well) / 2, np.ptp(well) / 2], rtol=1e-3)
    assert PlanarLandscape(quartic=1.0).sublevel_intervals(1e-300) == []  # no float but the bottoms themselves


def test_a_well_whose_bottom_is_the_level_has_no_part_below_it():
    tilted = PlanarLandscape(quartic=1.0, tilt=0.2)
    ((low, high),) = tilted.sublevel_intervals(float(tilted.loss(tilted.minima()[1])))
    assert low < tilted.minima()[0] < high < 0


def test_sublevels_without_curvature():
    assert PlanarLandscape(tilt=2.0).sublevel_intervals(1.0) == [(-math.inf, 0.5)]
    assert PlanarLandscape().sublevel_intervals(1.0) == [(-math.inf, math.inf)]
    assert PlanarLandscape().sublevel_intervals(-1.0) == []


@pytest.mark.parametrize("name", ["quadratic", "quartic", "stiffness", "tilt", "shear"])
def test_planar_landscape_names_bad_input(name):
    values: tuple[Any, ...] = (math.nan, "1", True, None)
    for value in values + (-1,) * (name not in ("tilt", "shear")):
        with pytest.raises((TypeError, ValueError), match=name):
            PlanarLandscape(**{name: value})


# --- The exact law of Euler's scheme -------------------------------------------------------------------------------------------

# The trapezoidal rule at half a standard deviation errs by exp(-2 pi^2 4) ~ 1e-34; what is left is the rounding of a few hundred
# nodes in each step.
EXACT = 1e-12


@pytest.mark.parametrize(
    ("a", "c", "noise", "start", "h", "n"), [(1, 0, 0.5, 0, 0.1, 2), (2, -1, 0.3, -1, 0.25, 30), (0, 1, 0.1, 1, 0.05, 9)]
)
def test_euler_law_of_an_ou_process_is_its_recursion(a, c, noise, start, h, n):
    law = EulerLaw(PlanarLandscape(quadratic=a, tilt=c), noise, start, h, n, reach=5.0)
    mean, variance, integral = float(start), 0.0, 0.0
    for _ in range(n):
        integral += h * (mean**2 + variance)
        mean, variance = mean - h * (a * mean + c), (1 - h * a) ** 2 * variance + h * noise
    assert law.densities.shape == (n, len(law.nodes))
    assert math.isclose(law.expectation(lambda x: x), mean, abs_tol=EXACT)
    assert math.isclose(law.expectation(lambda x: (x - mean) ** 2), variance, abs_tol=EXACT)
    assert math.isclose(law.time_integral(lambda x: x**2), integral, abs_tol=EXACT)
    deviation = math.sqrt(variance)
    pieces = [(-math.inf, mean - 0.7), (mean - 0.1, mean + 0.2), (mean + 3 * deviation, math.inf)]
    truth = sum(ndtr((high - mean) / deviation) - ndtr((low - mean) / deviation) for low, high in pieces)
    assert math.isclose(law.probability(pieces), truth, abs_tol=EXACT)
    assert law.probability([]) == 0


def test_tails_of_an_euler_law_keep_their_digits():
    """Catches a far probability that is a difference of two that are all but one; after n steps an OU process is normal."""
    h, n = 0.1, 30
    law = EulerLaw(PlanarLandscape(quadratic=1.0), 0.5, 0.0, h, n, reach=12.0)
    deviation = math.sqrt(0.5 * h * sum((1 - h) ** (2 * k) for k in range(n)))
    for place in (1.0, 6.0, 9.0, 15.0):
        tail = ndtr(-place)
        assert law.probability([(place * deviation, math.inf)]) == pytest.approx(tail, rel=1e-9)
        assert law.probability([(-math.inf, -place * deviation)]) == pytest.approx(tail, rel=1e-9)


def test_euler_law_can_fail():
    law = EulerLaw(PlanarLandscape(quadratic=2.0), 0.3, 1.0, 0.25, 8)
    continuous = 0.3 / 4 * -math.expm1(-2 * 2 * 2.0)  # of the process itself
    assert not math.isclose(law.expectation(lambda x: (x - 0.5**8) ** 2), continuous, rel_tol=0.1)
    assert not math.isclose(law.expectation(lambda x: x), 0.5**7, rel_tol=0.1)  # a step too few
    assert not math.isclose(law.time_integral(lambda x: x), 0.25 * sum(0.5**k for k in range(1, 9)), rel_tol=0.1)


def _nested(p, noise, x, h, n, function):
    """E f(x_n) by Gauss-Hermite in each step."""
    if n == 0:
        return function(x)
    z, weight = np.polynomial.hermite_e.hermegauss(40)
    ahead = x[..., np.newaxis] - h * (p.quartic * x * (x**2 - 1) + p.quadratic * x + p.tilt)[..., np.newaxis]
    return _nested(p, noise, ahead + math.sqrt(h * noise) * z, h, n - 1, function) @ weight / math.sqrt(2 * math.pi)


def test_euler_law_of_a_double_well_is_a_nested_quadrature():
    """The scheme is polynomial, so 40 nodes a step are exact for polynomials; the smooth probability is as good."""
    p, noise, start, h = PlanarLandscape(quartic=2.0, tilt=0.3), 0.4, 0.25, 0.1
    for n in (2, 3):
        law = EulerLaw(p, noise, start, h, n)
        for power in (1, 2, 3):
            truth = float(_nested(p, noise, np.array(start), h, n, lambda x, power=power: x**power))
            assert math.isclose(law.expectation(lambda x, power=power: x**power), truth, abs_tol=EXACT)
        above = _nested(
            p, noise, np.array(start), h, n - 1, lambda x: ndtr((x - h * (2 * x * (x**2 - 1) + 0.3)) / math.sqrt(h * noise))
        )
        assert math.isclose(law.probability([(0.0, math.inf)]), float(above), abs_tol=1e-10)


WELL = PlanarLandscape(quartic=1.0)


def _law() -> EulerLaw:
    return EulerLaw(WELL, 0.5, 0.25, 0.125, 4)


BAD = [
    (lambda: EulerLaw(PlanarLandscape(stiffness=1.0), 1, 0, 0.1, 3), "landscape must have stiffness 0"),
    (lambda: EulerLaw(WELL, 0, 0, 0.1, 3), "noise"),
    (lambda: EulerLaw(WELL, 1, 0, -0.1, 3), "step_size"),
    (lambda: EulerLaw(WELL, 1, 0, 0.1, 1), "n_steps must be >= 2"),
    (lambda: EulerLaw(WELL, 1, 0, 0.1, cast(Any, 2.0)), "n_steps must be an integer"),
    (lambda: EulerLaw(WELL, 1, math.nan, 0.1, 3), "start"),
    (lambda: EulerLaw(WELL, 1, cast(Any, None), 0.1, 3), "start"),
    (lambda: EulerLaw(WELL, 1, 0, 0.1, 3, reach=-1), "reach"),
    (lambda: EulerLaw(WELL, 1, 0, 0.1, 3, reach=math.nan), "reach"),
    (lambda: EulerLaw(PlanarLandscape(tilt=1.0), 1, 0, 0.5, 8), "reach = 3 is too small, mass has left"),
    (lambda: EulerLaw(cast(Any, 3), 1, 0, 0.1, 3), "landscape"),
    (lambda: EulerLaw(WELL, 1e-9, 0, 0.1, 3), "at most 5793 nodes and 2e.10 products, got .* nodes for reach = 3"),
    (lambda: EulerLaw(WELL, 1, 0, 0.1, 10**9), "at most .* n_steps = 1000000000"),
    (lambda: EulerLaw(WELL, 5e-324, 0, 0.1, 3), "arguments of EulerLaw must keep it within the range of floats"),
    (lambda: EulerLaw(WELL, lambda x: np.where(x > 1, np.nan, 1.0), 0, 0.1, 3), r"noise\(x\) must be finite, got NaN at index"),
    (lambda: EulerLaw(WELL, lambda x: x, 0, 0.1, 3), "noise must be > 0 on the whole interval, got -3"),
    (lambda: EulerLaw(WELL, lambda x: x[1:], 0, 0.1, 3), "noise must return a value for each of 1001 points"),
    (
        lambda: _law().expectation(lambda x: np.log(np.abs(x) * 0 - 1)),
        r"arguments of EulerLaw\.expectation must keep it within the range",
    ),
    (lambda: _law().expectation(cast(Any, 1.0)), "function must be callable, and no class, got 1.0"),
    (lambda: _law().probability([(1.0, 0.5)]), "low ends of intervals must be <= high ends of intervals, got 1 and 0.5"),
    (lambda: _law().probability([(math.nan, 0.5)]), "low ends of intervals must be finite, got nan"),
    (lambda: _law().probability(cast(Any, [(0.0, 0.5, 1.0)])), "intervals must be pairs of numbers"),
    (lambda: _law().probability(cast(Any, {})), "intervals must be a list of pairs of numbers, got {}"),
    (lambda: _law().expectation(cast(Any, type(np.ones_like))), "function must be callable, and no class"),
    (lambda: _law().probability(cast(Any, 3)), "intervals must be a list of pairs of numbers, got 3"),
    (lambda: PlanarLandscape(tilt=math.nan), "tilt must be finite, got nan"),
    (lambda: WELL.loss([0.0, math.nan]), "x must be finite, got NaN at index 1"),
    (lambda: WELL.gradient([1.0, 2.0], [1.0, 2.0, 3.0]), r"x and y must broadcast, got shapes \(2,\) and \(3,\)"),
    (lambda: WELL.hessian(math.nan), "x must be finite"),
    (lambda: WELL.sublevel_intervals(math.inf), "level must be finite"),
]


@pytest.mark.parametrize(("call", "says"), BAD, ids=[f"{i}-{says}" for i, (_, says) in enumerate(BAD)])
def test_euler_law_names_bad_input(call, says):
    with pytest.raises((TypeError, ValueError), match=says):
        call()


def test_intervals_may_overlap_and_a_probability_counts_once():
    """Catches P(A or B) taken for P(A) + P(B)."""
    law = _law()
    apart = law.probability([(-2.0, -0.5), (0.25, 1.0)])
    assert law.probability([(0.25, 0.5), (-1.0, -0.5), (0.5, 1.0), (-2.0, -0.75), (-0.9, -0.8)]) == pytest.approx(
        apart, abs=1e-15
    )
    assert apart == law.probability([(-2.0, -0.5)]) + law.probability([(0.25, 1.0)])
    assert 1 - 1e-9 <= law.probability([(-math.inf, math.inf), (-1.0, 1.0)]) <= 1
    assert law.probability([]) == 0.0 == law.probability([(0.5, 0.5)])


def test_functions_that_write_into_their_points_change_nothing():
    def spoiling(x):
        x[:] = 0.5
        return x

    law, other = EulerLaw(WELL, spoiling, 0.25, 0.125, 4), _law()
    law.expectation(spoiling)
    np.testing.assert_array_equal(law.nodes, other.nodes)
    np.testing.assert_array_equal(law.densities, other.densities)


def test_minima_and_sublevel_sets_far_from_one_are_found():
    """Catches a point beside a root that is the root itself, once it is above 2^53."""
    far = PlanarLandscape(quartic=1e-300, tilt=1.0)
    np.testing.assert_allclose(far.minima(), [-1e100], rtol=1e-12)
    wide = PlanarLandscape(quadratic=1e-100)
    ((low, high),) = wide.sublevel_intervals(1.0)
    np.testing.assert_allclose([low, high], [-math.sqrt(2e100), math.sqrt(2e100)], rtol=1e-12)


def test_the_data_of_the_toy_are_as_its_program_draws_them():
    """0.02 over the sharp Hessian, and the expected losses at the minima by a rule that is exact for squares."""
    assert np.allclose(two_basin.DATA_COVARIANCE @ two_basin.SHARP_HESSIAN, 0.02 * np.eye(2), rtol=1e-12, atol=1e-15)
    root = np.linalg.cholesky(two_basin.DATA_COVARIANCE) * math.sqrt(2)
    points = np.concatenate([root.T, -root.T])  # of mean zero and this covariance
    expected = [two_basin.losses(m, points).mean() for m in (two_basin.SHARP_MINIMUM, two_basin.FLAT_MINIMUM)]
    assert two_basin.population_loss_at_minima() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("theta", "data"), [((1.0, 1.0, 1.0), [[0.0, 0.0]]), ((1.0, 1.0), [[0.0, 0.0, 0.0]]), ((1.0, 1.0), np.empty((0, 2)))]
)
def test_the_toy_is_in_the_plane(theta, data):
    with pytest.raises(ValueError, match=r"theta must have shape \(2,\) and data \(n, 2\)"):
        two_basin.losses(theta, data)
