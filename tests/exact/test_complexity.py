"""Suprema and complexities against searches, lists of all outcomes, polar integrals and mpmath.

They would catch a supremum that misses a sign, the boundary or the hard case, an outcome with the wrong weight, a sample that is
drawn once too few, and a bound's constant.
"""

import itertools
import math
from fractions import Fraction
from typing import Any, cast

import mpmath
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import binom

from gradnoise.simulations.sampling import outcomes
from gradnoise.theory import complexity
from gradnoise.theory._quadratic_form import quadratic_form_root
from gradnoise.theory.complexity import (
    AffineLosses,
    FiniteLosses,
    LeastSquaresLosses,
    LossClass,
    batch_counts,
    batch_types,
    expected_largest_weight,
    multinomial_counts,
)
from gradnoise.theory.complexity.trust_region import largest_on_ball
from gradnoise.theory.sampling import Minibatch

RNG = np.random.default_rng(3)
X, Y, THETA = RNG.normal(size=(6, 2)), RNG.normal(size=6), RNG.normal(size=2)
RADIUS = 0.7
CLASSES = {
    "affine": AffineLosses(Y, X.T, RADIUS),
    "finite": FiniteLosses(RNG.normal(size=(4, 6))),
    "least squares": LeastSquaresLosses(X, Y, THETA, RADIUS),
}
POINTS = np.array([0.2, 0.5, 0.3])
ON_POINTS = {name: losses.at([0, 1, 2]) for name, losses in CLASSES.items()}


def disc(n=400_000):
    """Points of the disc, half of them on its edge."""
    rng = np.random.default_rng(0)
    angles, lengths = rng.uniform(0, 2 * np.pi, n), np.where(rng.random(n) < 0.5, 1, np.sqrt(rng.random(n)))
    return RADIUS * lengths[:, None] * np.column_stack([np.cos(angles), np.sin(angles)])


@pytest.mark.parametrize("name", ["affine", "least squares"])
def test_a_supremum_is_what_a_search_of_the_ball_finds(name):
    moves = disc()
    if name == "affine":
        losses = Y + moves @ X.T
    else:
        losses = (Y - (THETA + moves) @ X.T) ** 2 / 2
    for v in np.random.default_rng(1).normal(size=(20, 6)):
        found = np.abs(losses @ v).max()
        supremum = CLASSES[name].supremum(v)
        assert found - 1e-12 <= supremum <= found * (1 + 1e-4)


def test_the_trust_region_meets_the_hard_case_and_the_inside():
    A = np.array([np.diag([2.0, -1.0]), np.diag([-2.0, -4.0]), np.zeros((2, 2)), np.diag([-1.0, 3.0])])
    b = np.array([[0.0, 0.6], [0.5, 0.4], [0.3, -0.4], [0.0, 0.0]])
    # In turn: s₂ = b₂/(2 + 1) and the rest along the free axis; the unconstrained maximum; along b; along the second axis.
    hard = 0.6 * 0.2 - 0.5 * 0.2**2 + (1 - 0.2**2)
    inside = 0.5**2 / 4 + 0.4**2 / 8
    np.testing.assert_allclose(largest_on_ball(A, b, 1.0), [hard, inside, 0.5, 1.5], rtol=1e-14)


def test_a_trust_region_is_never_below_its_points_and_close_to_the_best():
    rng = np.random.default_rng(5)
    A = rng.normal(size=(50, 3, 3))
    A, b = A + A.transpose(0, 2, 1), rng.normal(size=(50, 3)) * 10.0 ** rng.uniform(-4, 1, (50, 1))
    values = largest_on_ball(A, b, 0.5)
    s = rng.normal(size=(200_000, 3))
    s *= 0.5 / np.linalg.norm(s, axis=1)[:, None]
    for matrix, slope, value in zip(A, b, values, strict=True):
        on_edge = (s @ slope + 0.5 * np.einsum("ki,ij,kj->k", s, matrix, s)).max()
        assert value >= on_edge - 1e-13
        if np.linalg.eigvalsh(matrix)[-1] > 0:  # then the maximum is on the edge
            assert value <= on_edge + 1e-3 * (abs(on_edge) + np.linalg.norm(slope))


@pytest.mark.parametrize("name", CLASSES)
def test_rademacher_is_the_mean_over_all_signs(name):
    losses = CLASSES[name]
    signs = np.array(list(itertools.product([-1.0, 1.0], repeat=6)))
    assert complexity.rademacher(losses) == pytest.approx(losses.supremum(signs).mean() / 6, rel=1e-13)


@pytest.mark.parametrize("n", [1, 2, 11, 12, 14])
def test_gray_code_walks_through_all_signs(n):
    values = np.random.default_rng(n).integers(-9, 10, (3, n))
    total = sum(max(abs(values @ np.array(a))) for a in itertools.product([-1, 1], repeat=n))
    assert complexity.rademacher(FiniteLosses(values)) == pytest.approx(float(Fraction(int(total), 2**n * n)), rel=1e-14)


@pytest.mark.parametrize("replacement", [True, False])
@pytest.mark.parametrize("name", CLASSES)
def test_sgd_complexity_is_the_mean_over_all_batches(name, replacement):
    law, losses = outcomes(Minibatch(6, 3, replacement)), CLASSES[name]
    listed = law.probabilities @ losses.supremum(6 * law.vectors - 1) / 6
    assert complexity.sgd(losses, 3, replacement) == pytest.approx(listed, rel=1e-13)


def over_samples(losses, n, of_sample):
    """Mean of a complexity over all samples of n points, one by one."""
    samples = itertools.product(range(losses.n), repeat=n)
    return math.fsum(np.prod(POINTS[list(s)]) * of_sample(losses.at(s)) for s in samples)


@pytest.mark.parametrize("name", CLASSES)
def test_expectations_over_samples_are_sums_over_samples(name):
    losses = ON_POINTS[name]
    assert complexity.rademacher(losses, 4, POINTS) == pytest.approx(over_samples(losses, 4, complexity.rademacher), rel=1e-13)
    for replacement in (True, False):
        literal = over_samples(losses, 4, lambda at: complexity.sgd(at, 2, replacement))  # noqa: B023
        assert complexity.sgd(losses, 2, replacement, 4, POINTS) == pytest.approx(literal, rel=1e-13)
    if name == "affine":
        literal = over_samples(losses, 4, complexity.gaussian)
        assert complexity.gaussian(losses, 4, POINTS) == pytest.approx(literal, rel=1e-13)


def test_gaussian_complexity_is_a_polar_integral():
    losses = CLASSES["affine"].at([0, 1])
    by_angle, _ = quad(lambda t: float(losses.supremum([math.cos(t), math.sin(t)])), 0, 2 * math.pi, limit=500, epsabs=1e-11)
    length = math.sqrt(math.pi / 2)  # E‖g‖ in the plane
    assert complexity.gaussian(losses) == pytest.approx(length * by_angle / (2 * math.pi) / 2, rel=1e-8)


def test_the_expected_root_of_a_quadratic_form_is_an_elliptic_integral():
    for a, b in ((1.0, 1.0), (3.0, 0.2), (1.0, 1e-9), (2.0, 0.0)):
        expected = mpmath.sqrt(2 * a / mpmath.pi) * mpmath.ellipe(1 - mpmath.mpf(b) / a)
        assert float(quadratic_form_root([a, b])) == pytest.approx(float(expected), rel=1e-14)
    np.testing.assert_allclose(quadratic_form_root(np.ones((2, 3))), 2 * math.sqrt(2 / math.pi), rtol=1e-14)
    assert quadratic_form_root([0.0, 0.0]) == 0


def test_expected_roots_of_several_forms_are_those_of_each():
    """Catches weights that are scaled by those of the other forms."""
    forms = np.array([[3.0, 0.2, 1.0], [1e-6, 2e-6, 5e-7], [1.0, 1.0, 0.0]])
    np.testing.assert_allclose(quadratic_form_root(forms), [quadratic_form_root(w) for w in forms], rtol=1e-13)


@pytest.mark.parametrize("d", [3, 100, 1_000, 10_000])
def test_the_expected_root_is_exact_to_rounding_in_every_dimension(d):
    """Catches steps that are too coarse where d is large: they left 1e-10 of the chi law's mean, and of a graded one's."""
    with mpmath.workdps(30):
        chi = mpmath.sqrt(2) * mpmath.gamma(mpmath.mpf(d + 1) / 2) / mpmath.gamma(mpmath.mpf(d) / 2)
        assert abs(float(quadratic_form_root(np.full(d, 0.3))) / (mpmath.sqrt(mpmath.mpf(0.3)) * chi) - 1) < 3e-15
    if d == 100:
        weights = 1 / np.arange(1.0, d + 1)
        with mpmath.workdps(30):  # the same integral in t^2 = e^-u, by a rule of another kind
            w = [mpmath.mpf(float(v)) for v in weights]
            integral = mpmath.quad(
                lambda t: (1 - mpmath.fprod(1 / mpmath.sqrt(1 + 2 * v / t**2) for v in w)) if t else mpmath.mpf(1),
                [0, 0.25, 0.5, 1, 2, 4, 8, 16, 64, mpmath.inf],
            )
            assert abs(float(quadratic_form_root(weights)) / (integral / mpmath.sqrt(mpmath.pi)) - 1) < 3e-15


def test_the_largest_normal_modulus():
    with mpmath.workdps(30):
        for n in (1, 2, 3, 40, 10**6):
            f = lambda x: 1 - mpmath.erf(x / mpmath.sqrt(2)) ** n  # noqa: B023, E731
            expected = cast(Any, mpmath.quad)(f, [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 15])
            assert complexity.largest_normal(n) == pytest.approx(float(expected), rel=1e-12)
    assert complexity.largest_normal(2) == pytest.approx(2 / math.sqrt(math.pi), rel=1e-14)


def test_a_rare_event_weighs_what_a_sample_does():
    """As p → 0 one sample at most is at the point, so that N R(V) = N p E|v|, with E|v| = 2 (1 − 1/N)^b or 2 (N − b)/N."""
    losses, p = FiniteLosses([[1.0, 0.0]]), 1e-10
    for N, b in ((6, 2), (6, 3), (9, 3)):
        with_ = complexity.sgd(losses, b, True, N, [p, 1 - p])
        without = complexity.sgd(losses, b, False, N, [p, 1 - p])
        assert with_ / p == pytest.approx(2 * (1 - 1 / N) ** b, rel=1e-8)
        assert without / p == pytest.approx(2 * (N - b) / N, rel=1e-8)


def test_counts_and_types_are_laws():
    counts, weights = multinomial_counts(5, np.array([0.2, 0.3, 0.5]))
    assert (counts.sum(axis=1) == 5).all() and len(np.unique(counts, axis=0)) == math.comb(7, 2)
    np.testing.assert_allclose([weights.sum(), *(weights @ counts)], [1, 1, 1.5, 2.5], rtol=1e-14)
    types = list(batch_types(4, 3, True))
    assert math.fsum(q for q, _ in types) == pytest.approx(1, rel=1e-15)
    assert {tuple(sorted(sizes.items())): q for q, sizes in types}[((0, 3), (3, 1))] == pytest.approx(4 / 64, rel=1e-15)


@pytest.mark.parametrize(("n", "b"), [(3, 2), (5, 3), (6, 4)])
def test_the_largest_weight_of_a_batch(n, b):
    law = outcomes(Minibatch(n, b))
    listed = law.probabilities @ np.abs(n * law.vectors - 1).max(axis=1)
    assert expected_largest_weight(n, b) == pytest.approx(listed, rel=1e-12)


@pytest.mark.parametrize(("n", "b"), [(10**9, 3), (2**62, 3), (50, 3)])
def test_the_largest_weight_of_a_batch_of_many_samples(n, b):
    """Catches rounding that grows with n: three draws coincide in pairs with 3 (n - 1)/n^2, all with 1/n^2."""
    pairs, triples = Fraction(3 * (n - 1), n**2), Fraction(1, n**2)
    chances = (1 - pairs - triples, pairs, triples)
    exact = sum(chance * max(Fraction(n * m, b) - 1, Fraction(1)) for m, chance in enumerate(chances, 1))
    assert expected_largest_weight(n, b) == pytest.approx(float(exact), rel=1e-15)


def test_many_draws_are_listed_or_refused_before_they_are():
    """Catches factorials of millions, and lists that are made to be counted."""
    counts, weights = multinomial_counts(5000, np.array([0.3, 0.7]))
    np.testing.assert_allclose(weights, binom.pmf(counts[:, 0], 5000, 0.3), rtol=1e-9, atol=1e-300)
    counts, weights = multinomial_counts(171, np.array([0.25, 0.25, 0.5]))
    np.testing.assert_allclose([weights.sum(), *(weights @ counts)], [1, 42.75, 42.75, 85.5], rtol=1e-12)
    assert multinomial_counts(10**9, np.ones(1))[0].tolist() == [[10**9]]
    assert list(batch_types(10**9, 10**8, False)) == [(1.0, {1: 10**8, 0: 9 * 10**8})]
    assert math.fsum(q for q, _ in batch_types(10**18, 12, True)) == pytest.approx(1, rel=1e-15)


@pytest.mark.parametrize("unit", [2.0**-400, 2.0**400, 2.0**-1000])
def test_a_trust_region_has_no_unit(unit):
    """Catches squares that vanish or overflow, and the bisection of an interval that is absolute."""
    rng = np.random.default_rng(6)
    A, b = rng.normal(size=(20, 3, 3)), rng.normal(size=(20, 3))
    A = A + A.transpose(0, 2, 1)
    values = largest_on_ball(A, b, 0.75)
    np.testing.assert_allclose(largest_on_ball(A * unit, b * unit, 0.75) / unit, values, rtol=1e-14)
    small = max(unit, 2.0**-500)
    np.testing.assert_allclose(largest_on_ball(A / small / small, b / small, 0.75 * small), values, rtol=1e-14)


def test_the_bounds_are_those_of_the_theorem():
    bounds = complexity.gaussian_bounds(2.0, 2)
    assert bounds.upper == pytest.approx(complexity.gaussian_bounds(2.0, 2, published=True).upper, rel=1e-14)  # attained at 2
    assert bounds.lower == pytest.approx(2 * math.sqrt(2 / math.pi))
    assert complexity.sgd_bounds(3.0, 12, 4) == complexity.Bounds(1.0, 4.0)


class _Own(LossClass):
    """A class of one's own, which gives a number more than it was asked for."""

    def __init__(self, more):
        super().__init__(np.ones((1, 3)))
        self.more = more

    def supremum_of(self, statistics):
        return np.ones(len(statistics) + self.more)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: AffineLosses(Y, X, 1.0), ValueError, "gradients must have a column for each of the 6 values"),
        (lambda: AffineLosses(Y, X.T, -1.0), ValueError, "radius must be >= 0"),
        (lambda: LeastSquaresLosses(X, Y, THETA, 0), ValueError, "radius must be > 0"),
        (lambda: LeastSquaresLosses(X.T, Y, THETA, 1), ValueError, r"X must have shape \(6, 2\)"),
        (lambda: FiniteLosses(np.empty((0, 3))), ValueError, "must have samples"),
        (lambda: CLASSES["finite"].supremum([1.0, 2.0]), ValueError, "vectors must have 6 entries"),
        (lambda: complexity.rademacher(FiniteLosses(np.ones((1, 21)))), ValueError, "at most 20 samples, got 21"),
        (lambda: complexity.rademacher(CLASSES["finite"], probabilities=POINTS), ValueError, "must come with n_samples"),
        (lambda: complexity.rademacher(CLASSES["finite"], 30), ValueError, "outcomes, at most 2000000"),
        (lambda: complexity.sgd(CLASSES["finite"], 7, False), ValueError, "batch_size must be between 1 and 6"),
        (lambda: complexity.sgd(ON_POINTS["finite"], 2, True, 4, [0.5, 0.6, 0.1]), ValueError, "sum to one"),
        (lambda: complexity.gaussian(CLASSES["finite"]), TypeError, "losses must be AffineLosses.*simulate"),
        (lambda: complexity.gaussian_bounds(1.0, 1, published=True), ValueError, "n_samples must be >= 2.*ln N"),
        (lambda: complexity.sgd_bounds(1.0, 6, 4), ValueError, "n_samples must be a multiple of batch_size = 4"),
        (lambda: complexity.sgd_bounds(1.0, 4, 4), ValueError, "n_samples must be a multiple"),
        (lambda: complexity.rademacher(cast(Any, 3)), TypeError, "losses must be a LossClass, got 3"),
        (
            lambda: complexity.rademacher(CLASSES["finite"], 10**9),
            ValueError,
            "n_samples = 1000000000 has over 2000000 outcomes, at most 2000000",
        ),
        (lambda: complexity.sgd(CLASSES["finite"], 10**9), ValueError, "over 2000000 outcomes, at most 2000000"),
        (lambda: complexity.sgd(CLASSES["finite"], 2, True, cast(Any, 2.5)), TypeError, "n_samples must be an integer, got 2.5"),
        (lambda: complexity.sgd(CLASSES["finite"], 10**6, True, 10**7), ValueError, "batch_size must be at most 500"),
        (lambda: complexity.gaussian(CLASSES["affine"], 10**9), ValueError, "over 2000000 outcomes, at most 2000000"),
        (lambda: multinomial_counts(1, np.full(10**5, 1e-5)), ValueError, "n_draws = 1 has 100000 times 100000 outcomes"),
        (lambda: multinomial_counts(10**9, np.full(10**5, 1e-5)), ValueError, "over 2000000 outcomes"),
        (lambda: multinomial_counts(-1, np.ones(1)), ValueError, "n_draws must be >= 0"),
        (lambda: multinomial_counts(2, np.array([0.5, 0.6])), ValueError, "probabilities must be 2 numbers that sum to one"),
        (lambda: batch_counts(10**9, 2, True), ValueError, "over 2000000 outcomes"),
        (lambda: batch_counts(3, 4, False), ValueError, "batch_size must be between 1 and 3, got 4"),
        (lambda: batch_types(10**9, 10**9, True), ValueError, "batch_size must be at most 500"),
        (lambda: batch_types(100, 100, True), ValueError, "at most 200000 types of batches, got 100"),
        (lambda: batch_types(4, 2, cast(Any, 1)), TypeError, "replacement must be True or False"),
        (lambda: expected_largest_weight(4, 4), ValueError, "batch_size must be between 1 and 3, got 4"),
        (lambda: expected_largest_weight(10**9, 10**8), ValueError, "batch_size must be between 1 and 20000"),
        (
            lambda: CLASSES["affine"].supremum_of(np.ones((2, 5))),
            ValueError,
            r"statistics must have 3 columns, got shape \(2, 5\)",
        ),
        (lambda: CLASSES["finite"].supremum_of(np.full((1, 4), np.nan)), ValueError, "statistics must be finite"),
        (lambda: CLASSES["least squares"].supremum_of(cast(Any, "3")), TypeError, "statistics must be an array"),
        (lambda: complexity.Bounds(0.0, math.nan), ValueError, "upper must be finite, got nan"),
        (lambda: CLASSES["finite"].at([0, 6]), ValueError, "samples must be a list of numbers between 0 and 5"),
        (lambda: CLASSES["finite"].at(cast(Any, [0.5])), TypeError, "samples must be an integer"),
        (lambda: CLASSES["finite"].at([-1]), ValueError, "samples must be >= 0"),
        (lambda: LeastSquaresLosses(np.empty((2, 0)), [1, 2], [], 1), ValueError, r"got \(2, 0\)"),
        *(
            (lambda more=more: _Own(more).supremum(np.eye(3)), ValueError, f"for each of 3 rows of statistics, got {3 + more}")
            for more in (-1, 1)
        ),
    ],
)
def test_bad_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
