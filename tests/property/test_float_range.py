"""The range of floats: what does not depend on the unit, and what happens beyond.

It would catch an absolute tolerance (a result that changes when loss or parameters are counted in another unit), a product that
over- or underflows though the result would not, and a result that is infinite, NaN or comes with a warning in place of an error.
"""

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import ArrayLike

from gradnoise.theory import complexity, curvature, diffusion, escape, gradient_noise, least_squares, sampling
from gradnoise.theory._float_range import product, root, within_floats, within_floats_or_infinite

H = np.array([[2.0, 0.5, 0.0], [0.5, 0.25, 0.0], [0.0, 0.0, 3.0]])
S = np.array([[0.5, -0.75, 0.25], [-0.75, 2.0, 0.0], [0.25, 0.0, 1.0]])
SINGULAR = np.array([[1.0, 2.0, 0.0], [2.0, 4.0, 0.0], [0.0, 0.0, 0.0]])
G = np.array([[1.0, -2.0, 0.5, 3.0], [0.25, 1.0, -1.0, 0.0]])
T, DELTA = np.array([0.0, 0.3, 5.0]), np.array([0.25, 1.0, 4.0])


def _gaussian(features: float = 1.0, parameters: float = 1.0) -> least_squares.LeastSquares:
    error = np.array([1.0, -2.0, 0.5]) * parameters
    return least_squares.LeastSquares(np.array([1.0, 0.0, 0.25]) * features**2, error, 0.75 * features * parameters)


def _finite(features: float = 1.0, parameters: float = 1.0) -> least_squares.FiniteLeastSquares:
    labels = np.array([1.0, 1.0, -1.0]) * features * parameters
    return least_squares.FiniteLeastSquares(
        np.array([[1.0, 0.5], [-0.5, 2.0], [1.5, -1.0]]) * features, labels, [2 * parameters, 0]
    )


def _curvature(jacobian: float = 1.0, residuals: float = 1.0) -> curvature.Curvature:
    return curvature.Curvature(G * jacobian, np.array([0.5, -0.25, 0.75, 1.0]) * residuals)


def _regression(features: float = 1.0, parameters: float = 1.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    labels = np.array([0.0, 1.0, -2.0]) * features * parameters
    return np.array([[1.0, 0.5], [-0.5, 1.0], [0.25, -1.0]]) * features, labels, np.array([1.0, 2.0]) * parameters


def _affine(losses: float = 1.0, parameters: float = 1.0) -> complexity.AffineLosses:
    return complexity.AffineLosses(losses * np.array([1.0, 2.0, 0.5, 0.0]), losses * G / parameters, 0.75 * parameters)


def _squares(features: float = 1.0, parameters: float = 1.0) -> complexity.LeastSquaresLosses:
    X, y, theta = _regression(1.0, parameters)
    return complexity.LeastSquaresLosses(X * features, y, theta / features, 0.75 * parameters / features)


# Each: a function of a unit c, and the power of c that its result has. Powers of two are exact, so nothing else may change.
UNITS: dict[str, tuple[Callable[[float], object], int]] = {
    "indicator, H": (lambda c: escape.indicator(c * H, S), 1),
    "indicator, covariance": (lambda c: escape.indicator(H, c * S), 1),
    "loss_increase, time": (lambda c: escape.loss_increase(c * H, S, T / c), 0),
    "loss_increase, covariance": (lambda c: escape.loss_increase(SINGULAR, c * S, T), 1),
    "loss_increase_linear, time": (lambda c: escape.loss_increase_linear(c * H, S, T / c), 0),
    "loss_increase_linear, covariance": (lambda c: escape.loss_increase_linear(H, c * S, T), 1),
    "discrete_loss_increase, H": (lambda c: escape.discrete_loss_increase(c * H, S / c, 0.25 / c, [0, 3]), -2),
    "discrete_loss_increase, covariance": (lambda c: escape.discrete_loss_increase(H, c * S, 0.25, [0, 3]), 1),
    "ou_covariance, time": (lambda c: escape.ou_covariance(c * SINGULAR, c * S, T / c), 0),
    "ou_covariance, covariance": (lambda c: escape.ou_covariance(H, c * S, T), 1),
    "escape_probability, time": (lambda c: escape.escape_probability(c * H, S, T / c, DELTA), 0),
    "escape_probability, loss": (lambda c: escape.escape_probability(SINGULAR, c * S, T, c * DELTA), 0),
    "markov_bound": (lambda c: escape.markov_bound(c * DELTA, 2 * c), 0),
    "sgd_covariance": (lambda c: gradient_noise.sgd_covariance(c * G, 2), 2),
    "fisher": (lambda c: gradient_noise.fisher(c * G), 2),
    "leading": (lambda c: gradient_noise.leading(c * S, 2), 1),
    "isotropic_equivalent": (lambda c: gradient_noise.isotropic_equivalent(c * S), 1),
    "match_trace, covariance": (lambda c: gradient_noise.match_trace(c * S, 3.0), 0),
    "match_trace, trace": (lambda c: gradient_noise.match_trace(S / c, 3.0 * c), 1),
    "cumulant of order 2": (lambda c: sampling.Minibatch(4, 3).cumulant(2, c * G[0]), 2),
    "cumulant of order 2, batch": (lambda c: sampling.Gaussian(4, 3 * c).cumulant(2, G[0]), -1),
    "cumulant of order 4, batch": (lambda c: sampling.Rademacher(4, 3 * c).cumulant(4, c**0.5 * G[0]), 0),
    "gradient_covariance": (lambda c: sampling.Bernoulli(4, 3).gradient_covariance(c * G), 2),
    "gradient_covariance, batch": (lambda c: sampling.Gaussian(4, 3 * c, centered=False).gradient_covariance(G), -1),
    "effective_batch_size": (lambda c: sampling.effective_batch_size(sampling.Rademacher(4, 2.5 * c)), 1),
    "noise_scale": (lambda c: sampling.SparseGaussian(8, 3 * c, 4, "cov").noise_scale * c**0.5, 0),
    "risk, features": (lambda c: _gaussian(c**0.5).excess_risk(0.25 / c, 2, [0, 5]), 1),
    "risk, parameters": (lambda c: _gaussian(1.0, c).last_iterate_risk(0.25, 2, [0, 5]), 2),
    "risk of points, features": (lambda c: _finite(c**0.5).last_iterate_risk(0.25 / c, 2, [0, 5]), 1),
    "risk of points, parameters": (lambda c: _finite(1.0, c).excess_risk(0.25, 2, [0, 5]), 2),
    "stability_limit": (lambda c: [problem(c).stability_limit(3) for problem in (_gaussian, _finite)], -2),
    "asymptotic_constant": (lambda c: _finite(c**0.5, c**0.5).asymptotic_constant(0.25 / c, 3), 2),
    "asymptotic_constant, batch": (lambda c: _gaussian().asymptotic_constant(2.0**-500, 3 * max(c, 1)) * max(c, 1), 0),
    "risk_bound": (lambda c: [_gaussian(c**0.5).risk_bound(0.1 / c, 2, 5, form=f).bound for f in least_squares.FORMS], 1),
    "risk_bound, parameters": (lambda c: [_finite(1.0, c).risk_bound(0.1, 2, 5, form=f).c1 for f in least_squares.FORMS], 2),
    "optimum": (lambda c: _finite(1 / c, c).optimum, 1),
    "curvature, indicator": (lambda c: _curvature(c**0.5).indicator, 2),
    "curvature, largest_eigenvalue": (lambda c: _curvature(c).largest_eigenvalue, 2),
    "curvature, eigenvalue_ratios": (lambda c: _curvature(1.0, c).eigenvalue_ratios, 2),
    "ratio_bounds": (lambda c: curvature.ratio_bounds(0.5 * c, 0.25 * c), 2),
    "printed_alignment_bound": (lambda c: curvature.printed_alignment_bound(0.5 * c, 0.25 * c, 0.25), 0),
    "printed_radius": (lambda c: curvature.printed_radius(0.5 * c, 0.25, 2.0 * c, 3.0 * c) ** 2, 1),
    "sgd_moments, features": (lambda c: diffusion.sgd_moments(*_regression(c), 0.25 / c**2, 2, 7).second_moment, 0),
    "sgd_moments, parameters": (lambda c: diffusion.sgd_moments(*_regression(1.0, c), 0.25, 2, 7).mean, 1),
    "svag_moments": (lambda c: diffusion.svag_moments(*_regression(c, c), 0.25 / c**2, 2, 7, 3).mean, 1),
    "sde_moments, features": (lambda c: diffusion.sde_moments(*_regression(c), 0.25 / c**2, 2, 3 / c**2, "modified").mean, 0),
    "sde_moments, parameters": (lambda c: diffusion.sde_moments(*_regression(1.0, c), 0.25, 2, 3.0).second_moment, 2),
    "strong_error": (lambda c: diffusion.strong_error(*_regression(c**0.25, c**0.5), 0.25 / c**0.5, 2, 1 / c**0.5), 1),
    "geometric_motion.strong_error": (lambda c: diffusion.geometric_motion.strong_error(c, 0.25 / c, 3, 2.0, c), 2),
    "mean_square_gradient": (lambda c: diffusion.geometric_motion.mean_square_gradient(c**0.5, 0.25 / c**0.5, 3, 2.0, c**0.5), 2),
    "strong_error_bound": (lambda c: diffusion.strong_error_bound(0.25, 2.0, 0.5, 3.0 * c), 2),
    "sharp_strong_error_bound": (lambda c: diffusion.sharp_strong_error_bound(0.25 / c, 2.0 / c, 0.5 * c, 3.0), -2),
    "complexity of affine losses": (lambda c: [f(_affine(c)) for f in (complexity.rademacher, complexity.gaussian)], 1),
    "complexity of affine losses, parameters": (lambda c: complexity.gaussian(_affine(1.0, c), n_samples=3), 0),
    "complexity of squares, features": (lambda c: complexity.sgd(_squares(c), 2), 0),
    "complexity of squares, parameters": (lambda c: complexity.rademacher(_squares(1.0, c**0.5)), 1),
    "gaussian_bounds": (lambda c: complexity.gaussian_bounds(0.5 * c, 7).upper, 1),
    "dynamics_covariance": (lambda c: gradient_noise.dynamics_covariance("gld_hessian", S / c, c * H, c, k=2), 1),
}


@pytest.mark.parametrize("unit", [2.0**-400, 2.0**400])
@pytest.mark.parametrize("case", UNITS)
def test_results_do_not_depend_on_the_unit(case: str, unit: float) -> None:
    function, power = UNITS[case]
    scaled = np.asarray(function(unit))
    of_mantissa, exponent = np.frexp(scaled)
    in_unit = np.ldexp(of_mantissa, exponent - power * round(math.log2(unit)))
    np.testing.assert_allclose(in_unit, np.asarray(function(1.0)), rtol=1e-12, atol=1e-300)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False), min_size=1, max_size=4))
def test_a_product_is_the_plain_one_or_within_range(factors: list[float]) -> None:
    with np.errstate(all="ignore"):
        plain, found = np.float64(1), product(*factors)
        for factor in factors:
            plain = plain * factor
    exact = sum(math.log2(abs(factor)) for factor in factors if factor)
    if not all(factors):
        assert found == 0
    elif abs(exact) < 1000:
        assert math.isclose(math.log2(abs(found)), exact, abs_tol=1e-9)
        partial = np.cumsum([math.log2(abs(factor)) for factor in factors])
        assert np.abs(partial).max() > 1000 or found == plain  # to the bit


def test_a_product_of_more_than_two_does_not_leave_the_range_on_its_way() -> None:
    assert product(1e300, 1e300, 1e-300, 1e-300) == pytest.approx(1.0, rel=1e-14)
    assert product(5.0, 2.0**-1000, power=997) == 0.625


@given(st.fractions(min_value=0), st.integers(-3000, 3000))
def test_a_root_is_the_plain_one_or_that_of_what_is_beyond_a_float(square: Fraction, power: int) -> None:
    assert root(square) == math.sqrt(square)
    assert root(square * Fraction(4) ** (power // 3)) == math.ldexp(math.sqrt(square), power // 3)


#: Of 2 M^2 eta^2 (e^{(3 + 2 eta L) L T} - 1) (1 + 2 eta L)/(3 + 2 eta L), by hand.
EXPONENT = math.log(2 * (1 + 2e-10) / (3 + 2e-10)) - 520 * math.log(10) + (3 + 2e-10) * 400

# What lies beyond 1e±308 on the way, and within in the end.
REPRESENTABLE: dict[str, tuple[Callable[[], ArrayLike], ArrayLike]] = {
    "small curvature, short time": (lambda: escape.loss_increase([[1e-200]], [[1e300]], 1e-200), 5e-101),
    "everything forgotten": (lambda: escape.loss_increase([[1e300]], [[1e300]], 1e300), 2.5e299),
    "linear, trace beyond": (lambda: escape.loss_increase_linear([[1e200]], [[1e200]], 1e-200), 5e199),
    "linear, trace below": (lambda: escape.loss_increase_linear([[1e-200]], [[1e-200]], 1e300), 5e-101),
    "small steps": (lambda: escape.discrete_loss_increase([[1e-200]], [[1e300]], 1e-200, 5), 2.5e-300),
    "small steps, large noise": (lambda: escape.discrete_loss_increase([[1.0]], [[1e300]], 1e-300, 1), 5e-301),
    "a Brownian motion in effect": (lambda: escape.ou_covariance([[1e-200]], [[1e300]], 1e-200), [[1e100]]),
    "stationary": (lambda: escape.ou_covariance([[1e300]], [[1e300]], 1e300), [[0.5]]),
    "never": (lambda: escape.escape_probability([[1e-200]], [[1e-200]], 1e-200, 1e300), 0.0),
    "always": (lambda: escape.escape_probability([[1e150]], [[1e150]], 1e300, 1e-300), 1.0),
    "bound of one": (lambda: escape.markov_bound(1e300, 1e-300), 1.0),
    "bound of nothing": (lambda: escape.markov_bound(1e-300, 1e300), 0.0),
    "square of a dimension": (lambda: escape.indicator_ratio_bound(1e300, 1, 0.0, 1.0), 1e-300),
    "traces far apart": (lambda: gradient_noise.match_trace([[1e-300]], 1e300), [[1e300]]),
    "entries far apart": (lambda: gradient_noise.match_trace(np.diag([1e200, 1e-200]), 1e300), np.diag([1e300, 1e-100])),
    "fourth power of a small batch": (lambda: sampling.Rademacher(1, 1e-300, False).cumulant(4, [1e-150]), -2.0),
    "fourth power of a large batch": (lambda: sampling.Rademacher(1, 1e300, False).cumulant(4, [1e150]), -2.0),
    "squares of small gradients": (lambda: sampling.Gaussian(1, 1e-300, False).gradient_covariance([[1e-200]]), [[1e-100]]),
    "sums of large gradients": (lambda: gradient_noise.sgd_covariance([[1.7e308, 1.7e308]], 1), [[0.0]]),
    "enhancement without bounds": (lambda: sampling.compensating_alpha(4, 2.0**-1074), 2.0**537.5),
    "strength of a small batch": (lambda: sampling.SparseGaussian(8, 2.0**-1074, 4).noise_scale, 2.0**538),
    "strength of a large batch": (lambda: sampling.GaussianMinibatch(8, 4, 1.6e308).noise_scale, 1.25e-155 * math.sqrt(10)),
    "no noise": (lambda: sampling.GaussianMinibatch(8, 4, math.inf).noise_scale, 0.0),
    "risk of tiny weights": (lambda: _gaussian().asymptotic_constant(1e-9, 1e300), 0.5 * 0.75**2 * 2 * 1e-300),
    "risk beyond on its way": (lambda: _gaussian(1e150, 1e-150).risk_bound(1e-302, 1, 0, form="elementary").c2, 0.0),
    "radius of large residuals": (lambda: curvature.printed_radius(1e300, 0.25, 1e-300, 1e100), 5e49),
    "quotient of large residuals": (lambda: curvature.printed_alignment_bound(1e300, 1e300, 0.25), 0.125),
    "a large start": (lambda: diffusion.geometric_motion.mean_square_gradient(1e-200, 0.1, 4, 2.0, 1e200), 1.0),
    "growth beyond from a small start": (
        lambda: math.log(diffusion.geometric_motion.mean_square_gradient(1.0, 3.0, 400, 1, 1e-200)),
        400 * math.log(13) - 400 * math.log(10),  # 13 = (1 - 3)^2 + 3^2
    ),
    "a bound with exp(1200)": (lambda: math.log(diffusion.sharp_strong_error_bound(1e-10, 400.0, 1.0, 1e-250)), EXPONENT),
    "trace beyond": (lambda: gradient_noise.match_trace(np.eye(2) * 1.7e308, 2.0), np.eye(2)),
}


@pytest.mark.parametrize("case", REPRESENTABLE)
def test_what_is_a_float_in_the_end_is_found(case: str) -> None:
    function, expected = REPRESENTABLE[case]
    np.testing.assert_allclose(np.asarray(function()), np.asarray(expected), rtol=1e-12)


# What is beyond a float in the end.
BEYOND: dict[str, Callable[[], object]] = {
    "trace": lambda: escape.indicator([[1e200]], [[1e200]]),
    "growth": lambda: escape.ou_covariance([[0.0]], [[1e300]], 1e300),
    "linear growth": lambda: escape.loss_increase_linear([[1e300]], [[1e300]], [0.0, 1.0]),
    "branch": lambda: escape.two_basin.losses([1e200, 0.0], [[0.0, 0.0]]),
    "well": lambda: escape.PlanarLandscape(quartic=1.0).loss(1e80),
    "constants": lambda: _gaussian().risk_bound(1e-300, 4, 5, form="two-term"),
    "risk": lambda: _gaussian(1.0, 1e200).excess_risk(0.1, 1, 3),
    "stability": lambda: least_squares.LeastSquares([1e-320], [1.0], 1.0).stability_limit(1),
    "label noise": lambda: least_squares.LeastSquares([1.0], [1.0], 1e200).assumptions(),
    "ratios": lambda: curvature.ratio_bounds(1e300, 0.5),
    "outputs": lambda: curvature.ClippedNetwork([[1.0], [8.0]], [0, 1], [1.0], 0.125).losses([[1e308]]),
    "scores": lambda: curvature.SoftmaxRegression([[1e10]], 2).class_probabilities([1e308]),
    "divergence": lambda: diffusion.sgd_moments([[1.0], [2.0]], [0.0, 2.0], [0.0], 10.0, 1, 10**4),
    "divergence of a flow": lambda: diffusion.sde_moments([[1.0], [2.0]], [0.0, 2.0], [0.0], 10.0, 1, 1e5),
    "a growing motion": lambda: diffusion.geometric_motion.strong_error(-1.0, 0.125, 10**9, 4, 1.0),
    "a fast motion": lambda: diffusion.geometric_motion.strong_error(1e300, 1e300, 3, 4, 1.0),
    "a gradient": lambda: diffusion.geometric_motion.mean_square_gradient(1e300, 0.1, 4, 2.0, 1.0),
    "a sum of losses": lambda: diffusion.CircleLosses([[1e308]], [[0.0]], 65).losses([3.0]),
    "a supremum": lambda: complexity.FiniteLosses([[1.0, 3.0]]).supremum([1e308, 1e308]),
    "squares": lambda: complexity.LeastSquaresLosses([[1e200]], [1.0], [1.0], 1.0),
    "a bound on SGD": lambda: complexity.sgd_bounds(1.7e308, 8, 2),
    "a bound": lambda: complexity.gaussian_bounds(1e308, 10),
    "roots": lambda: escape.PlanarLandscape(quadratic=1.0, quartic=1e-320, tilt=3.0).minima(),
    "gradients": lambda: gradient_noise.fisher([[1e200]]),
    "variance": lambda: sampling.Gaussian(8, 5e-324).variance,
    "sum_variance": lambda: sampling.Gaussian(8, 5e-324, centered=False).sum_variance,
    "enhanced": lambda: sampling.Enhanced(sampling.Minibatch(8, 4), 1e300).centred_power,
    "covariance_matrix": lambda: sampling.Gaussian(8, 5e-324).covariance_matrix(),
    "effective_batch_size": lambda: sampling.effective_batch_size(sampling.Enhanced(sampling.Gaussian(2, 1e308, False), 0.5)),
    "gradient_covariance": lambda: sampling.Minibatch(2, 1).gradient_covariance([[1e200, -1e200]]),
    "isotropic": lambda: gradient_noise.isotropic_equivalent(np.eye(3) * 1.7e308),
}


@pytest.mark.parametrize("case", BEYOND)
def test_what_is_beyond_a_float_is_an_error_that_shows_the_arguments(case: str) -> None:
    with pytest.raises(ValueError, match=r"must keep \w+ within the range of floats, up to 1.8e308, got \w+( = |\()"):
        BEYOND[case]()


def test_a_division_by_zero_and_a_silent_infinity_are_errors_and_a_right_infinity_is_none() -> None:
    @within_floats
    def inverse(x: float) -> float:
        return 1 / x

    @within_floats_or_infinite
    def largest(x: float) -> tuple[float, float]:
        return x, x * x

    assert inverse(4.0) == 0.25
    with pytest.raises(ValueError, match=r"arguments of inverse must .* got x = 0\.0"):
        inverse(0.0)
    assert largest(1e200) == (1e200, math.inf)

    @within_floats
    def twice(length: float) -> float:
        return 2 * inverse(1 / length)

    with pytest.raises(ValueError, match=r"arguments of twice must .* got length = inf"):  # its own arguments, not those within
        twice(math.inf)
    with pytest.raises(ValueError, match=r"arguments of largest must .* got x = nan"):
        largest(math.nan)


def test_numbers_of_other_kinds_are_not_asked_whether_they_are_finite():
    exact, flags, counts = np.array([Fraction(1, 2), Fraction(10) ** 400]), np.array([True, False]), np.array([2, 3])
    for result in (exact, flags, counts):
        assert within_floats(lambda result=result: result)() is result
