"""Bounds on the excess risk of least squares, closed forms for Gaussian features, invariances and error messages.

It would catch a bound that is none, for one step size, number of steps, noise class or misspecified problem; one with sigma^2/B
for sigma^2/b; constants of A1 to A3 that do not hold or could be smaller; a stability limit or a stationary covariance without
the multiplicative noise; a risk that depends on units, axes or the class of the weights; and bad arguments that pass.
"""

import math
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.optimize import brentq

from gradnoise.theory.least_squares import FORMS, FiniteLeastSquares, LeastSquares, StartingPoint, WeightMoments, bound_constants
from gradnoise.theory.sampling import Bernoulli, Enhanced, Gaussian, Minibatch, Rademacher, StudentT, compensating_alpha

CLOSE = 1e-12  # relative

scales = st.integers(-12, 12).map(lambda k: 10.0 ** (k / 4))
quarters = st.integers(-12, 12).map(lambda k: k / 4)
batch_sizes = st.sampled_from([1, 1.25, 2, 7, 300])


@st.composite
def gaussians(draw):
    """Spectra over six orders of magnitude, also singular ones and ones without label noise."""
    d = draw(st.integers(1, 5))
    spectrum = draw(st.lists(scales, min_size=d, max_size=d))
    error = np.array(draw(st.lists(quarters, min_size=d, max_size=d))) * draw(scales)
    return LeastSquares(spectrum, error, draw(st.just(0.0) | scales))


@st.composite
def finites(draw, regular=False):
    """Up to six points, most of them misspecified; without `regular`, Sigma may be singular."""
    d, m = draw(st.integers(1, 3)), draw(st.integers(1, 6))
    X = draw(hnp.arrays(float, (m, d), elements=quarters).filter(np.any))
    if regular:
        X = np.concatenate([X, np.eye(d) / 2])
    y = draw(hnp.arrays(float, len(X), elements=quarters)) * draw(scales)
    initial = draw(hnp.arrays(float, d, elements=quarters)) * draw(scales)
    p = np.array(draw(st.lists(st.integers(1, 20), min_size=len(X), max_size=len(X)))) * 1.0
    return FiniteLeastSquares(X * draw(scales), y, initial, p / p.sum())


@st.composite
def weightings(draw):
    """A batch size, a class of noise, or any moments that weights of mean sum one can have."""
    own = draw(st.floats(0.01, 3))
    return draw(
        batch_sizes
        | st.sampled_from([Bernoulli(6, 2), Gaussian(4, 1.5, centered=False), Minibatch(5, 3), StudentT(5, 2, 5)])
        | st.floats(0, 3).map(lambda more: WeightMoments(own, 1 - own + more))
    )


steps = st.lists(st.integers(0, 300), min_size=1, max_size=4).map(lambda n: np.array([0, 1, *n]))


def _largest_step(problem, weights):
    """1/R_b^2."""
    known, a = WeightMoments.of(weights), problem.assumptions()
    return 1 / (known.own * a.radius_squared + max(known.between, 0) * a.largest_eigenvalue)


# --- Bounds --------------------------------------------------------------------------------------------------------------------


@given(gaussians() | finites(), weightings(), st.sampled_from([1e-4, 0.01, 0.3, 0.9, 1 - 1e-9]), steps)
def test_risks_are_below_their_bounds(problem, weights, fraction, n):
    eta = fraction * _largest_step(problem, weights)
    risk = problem.excess_risk(eta, weights, n)
    assert (risk >= 0).all()
    bounds = {form: problem.risk_bound(eta, weights, n, form=form) for form in FORMS}
    for found in bounds.values():
        assert (risk <= found.bound * (1 + CLOSE)).all()
        assert np.allclose(found.bound, found.c1 / (n + 1) + found.c2 / (n + 1) ** 2, rtol=CLOSE, atol=0)
    assert bounds["elementary"].c1 <= bounds["bach-moulines"].c1 * (1 + CLOSE)
    assert bounds["elementary"].c2 == bounds["bach-moulines"].c2 == 0


def test_the_bound_is_attained_and_can_fail():
    """One point in one dimension: all steps are alike, and the longest one that is allowed ends at the optimum."""
    problem = FiniteLeastSquares([[2.0]], [1.0], [3.0])
    eta = _largest_step(problem, 2)
    risk = problem.excess_risk(eta, 2, 0)
    assert math.isclose(risk, problem.risk_bound(eta, 2, 0).bound, rel_tol=CLOSE)
    assert risk > problem.risk_bound(eta, 2, 0).c1 / 1.001
    with pytest.raises(ValueError, match="bach-moulines"):
        problem.risk_bound(eta, 2, 0, form="bach-moulines")


@pytest.mark.parametrize("form", FORMS)
def test_a_bound_with_B_for_b_can_fail(form):
    """Were the label noise's share sigma^2/B, as B > b samples a step might suggest, risks would lie above."""
    B, b, n, problem = 16, 2, 2000, LeastSquares([1.0, 0.5], [0.01, 0.0], 1.0)
    eta = 0.05 * _largest_step(problem, b)
    risk = problem.excess_risk(eta, Gaussian(B, b, replacement=False), n)
    start = StartingPoint(1e-4, 1e-4, 2, True)
    for share, violated in ((1.0, False), (b / B, True)):
        a = replace(problem.assumptions(), noise_variance=share)
        c1, c2 = bound_constants(a, start, eta, WeightMoments.of(b), form)
        assert (risk > c1 / (n + 1) + c2 / (n + 1) ** 2) == violated


def test_misspecified_problems_need_the_factor_two():
    """Their bias and variance are correlated: without the factor 2 = m the two-term bound lies 1.19 times below a risk."""
    problem = FiniteLeastSquares([[1.0], [8.0]], [1.0, 0.0], [3.0], [0.99, 0.01])
    eta = 0.999 * _largest_step(problem, 1)
    parts, bound = problem.risk_parts(eta, 1, 100), problem.risk_bound(eta, 1, 100, form="two-term").bound
    assert not problem.well_specified and parts.cross > 0.1 * parts.total
    assert bound / 2 < 0.9 * parts.total < parts.total < bound


@given(gaussians(), batch_sizes)
def test_the_two_term_bound_is_sharp_for_small_steps(problem, b):
    assume(problem.noise_std > 0)
    eta = 1e-6 * _largest_step(problem, b)
    c1 = problem.risk_bound(eta, b, 0, form="two-term").c1
    least = problem.noise_std**2 * len(problem.spectrum) / (2 * b)
    assert least * (1 - CLOSE) <= problem.asymptotic_constant(eta, b) <= c1 * (1 + CLOSE)
    assert c1 <= least * (1 + 1e-6)  # 1/(1 - z/2), z = eta R_b^2


@given(finites(regular=True))
def test_assumptions_hold_with_these_constants_and_no_smaller_ones(problem):
    X, p, a = problem.features, problem.probabilities, problem.assumptions()
    Sigma, residuals = (X.T * p) @ X, problem.targets - X @ problem.optimum
    factors = {
        "radius_squared": (X**2).sum(axis=1),
        "noise_variance": residuals**2,
        "leverage": (X * np.linalg.solve(Sigma, X.T).T).sum(axis=1),
    }
    for name, factor in factors.items():
        c, M = getattr(a, name), (X.T * p * factor) @ X
        # Zero residuals are rounding, whose constant is not sharp.
        if name != "noise_variance" or c > 1e-20 * (problem.targets**2).max():
            assert np.linalg.eigvalsh(c * Sigma - M)[0] >= -1e-10 * np.trace(M)
            assert np.linalg.eigvalsh(0.999 * c * Sigma - M)[0] < 0
    assert np.linalg.eigvalsh(a.largest_eigenvalue * np.eye(len(Sigma)) - Sigma)[0] >= -CLOSE * np.trace(Sigma)
    assert np.linalg.eigvalsh(0.999 * a.largest_eigenvalue * np.eye(len(Sigma)) - Sigma)[0] < 0


# --- Closed forms for Gaussian features ----------------------------------------------------------------------------------------


def _share(eta, lam, b):
    """The h of Tr(Sigma C) = h (Tr(Sigma C) + sigma^2), for the stationary covariance C."""
    return (eta * lam / b / (2 - eta * lam * (1 + 1 / b))).sum()


def _limit(lam, b):
    pole = 2 / (lam.max() * (1 + 1 / b))
    return cast(Any, brentq)(lambda eta: _share(eta, lam, b) - 1, 1e-9 * pole, pole * (1 - 1e-15), xtol=1e-300, rtol=1e-15)


def _radius(lam, b, eta):
    operator = np.diag(1 - 2 * eta * lam + eta**2 * (1 + 1 / b) * lam**2) + eta**2 / b * np.outer(lam, lam)
    return np.abs(np.linalg.eigvalsh(operator)).max()


spectra = st.lists(scales, min_size=1, max_size=5).map(np.array) | st.sampled_from([np.arange(1.0, 100) ** -2, np.ones(70)])


@given(spectra, batch_sizes)
def test_stability_limit_of_gaussian_features(lam, b):
    limit = LeastSquares(lam, np.ones_like(lam), 1.0).stability_limit(b)
    assert math.isclose(limit, _limit(lam, b), rel_tol=CLOSE)
    assert _radius(lam, b, 1.001 * limit) > 1
    assert _radius(lam, b, 0.999 * limit) < 1


@pytest.mark.parametrize("b", [1, 7])
def test_stability_limit_can_fail(b):
    lam = np.array([2.0, 0.5, 1.0])
    for wrong in (2 / 2, 2 / (2 + 3.5 / b), 2 / (2 * (1 + 1 / b))):  # gradient descent; sufficient; no sum over directions
        assert not math.isclose(LeastSquares(lam, lam, 1.0).stability_limit(b), wrong, rel_tol=1e-3)


@given(spectra, batch_sizes, st.sampled_from([1e-6, 0.1, 0.5, 0.9]))
def test_asymptotic_constant_of_gaussian_features(lam, b, fraction):
    sigma, eta = 0.7, fraction * _limit(lam, b)
    loss = sigma**2 / (1 - _share(eta, lam, b))  # Tr(Sigma C) + sigma^2
    found = LeastSquares(lam, np.ones_like(lam), sigma).asymptotic_constant(eta, b)
    assert math.isclose(found, (loss - sigma**2 + len(lam) * loss) / (2 * b), rel_tol=CLOSE)
    assert fraction < 0.1 or b > 100 or found > 1.001 * sigma**2 * len(lam) / (2 * b)  # what the label noise alone leaves
    assert LeastSquares(lam, np.ones_like(lam), 0).asymptotic_constant(eta, b) == 0


# --- Invariances ---------------------------------------------------------------------------------------------------------------


@given(finites(), scales, scales, weightings(), steps)
def test_risks_have_the_units_of_labels_squared(problem, labels, features, weights, n):
    eta = 0.3 * _largest_step(problem, weights)
    X, y, theta, p = problem.features, problem.targets, problem.initial, problem.probabilities
    other = FiniteLeastSquares(X * features, y * labels, theta * labels / features, p)
    truth = labels**2 * problem.excess_risk(eta, weights, n)
    size = labels**2 * p @ ((X**2).sum(axis=1) * (theta @ theta) + y**2)  # of what the risk is a difference of
    assert np.allclose(other.excess_risk(eta / features**2, weights, n), truth, rtol=0, atol=CLOSE * size)


@given(finites(regular=True), st.integers(0, 2), weightings(), steps, st.integers(0, 9))
def test_risks_do_not_depend_on_axes(problem, more, weights, n, seed):
    """Nor on axes that the features never use, which a rotation then hides."""
    eta = 0.3 * _largest_step(problem, weights)
    Q = np.linalg.qr(np.random.default_rng(seed).normal(size=(len(problem.initial) + more,) * 2))[0]
    X, y, theta, p = problem.features, problem.targets, problem.initial, problem.probabilities
    other = FiniteLeastSquares(np.pad(X, ((0, 0), (0, more))) @ Q.T, y, Q @ np.pad(theta, (0, more), constant_values=1), p)
    size = p @ ((X**2).sum(axis=1) * (theta @ theta + more) + y**2)
    assert np.allclose(other.excess_risk(eta, weights, n), problem.excess_risk(eta, weights, n), rtol=0, atol=CLOSE * size)
    bounds = [found.risk_bound(eta, weights, n).bound for found in (problem, other)]
    assert np.allclose(bounds[0], bounds[1], rtol=1e-9, atol=CLOSE * size)  # they see the optimum: digits go with the condition


def _class_of_theorem_1(B, b):
    enhanced = Enhanced(Minibatch(12, B, replacement=False), compensating_alpha(B, b, n=12))
    components = [kind(B, b, replacement=False) for kind in (Gaussian, Rademacher)] + [StudentT(B, b, 3, replacement=False)]
    return [Minibatch(B, b, replacement=False), enhanced, *components]


@settings(max_examples=40)
@given(gaussians() | finites(), st.integers(2, 8), st.data(), steps)
def test_risks_are_those_of_the_class_of_the_weights(problem, B, data, n):
    """Theorem 1: fresh samples, the minibatch's covariance; nothing else of the weights, nor of B, matters."""
    b = data.draw(st.integers(1, B - 1))
    eta = 0.3 * problem.stability_limit(b)
    truth = problem.excess_risk(eta, b, n)
    for noise in _class_of_theorem_1(B, b):
        assert np.allclose(problem.excess_risk(eta, noise, n), truth, rtol=CLOSE, atol=0)


def test_the_class_of_the_weights_can_fail():
    problem = LeastSquares([1.0, 0.5], [1.0, 1.0], 1.0)
    for noise in (Minibatch(4, 2), Gaussian(4, 2), Gaussian(4, 2, centered=False, replacement=False), Bernoulli(4, 2)):
        assert not np.allclose(problem.excess_risk(0.1, noise, [1, 20]), problem.excess_risk(0.1, 2, [1, 20]), rtol=1e-3, atol=0)


# --- Error messages ------------------------------------------------------------------------------------------------------------

GOOD = LeastSquares([1.0, 0.5], [1.0, 1.0], 1.0)
LIMIT = GOOD.stability_limit(2)
X2 = np.eye(2)
START = StartingPoint(1.0, 1.0, 1, uncorrelated=True)
BAD = [
    (lambda: LeastSquares([1, -1], [1, 1], 1), ValueError, "spectrum must be >= 0"),
    (lambda: LeastSquares([0, 0], [1, 1], 1), ValueError, "spectrum must have an entry > 0"),
    (lambda: LeastSquares([1, 2], [1], 1), ValueError, "spectrum and initial_error must have equal lengths, got 2 and 1"),
    (lambda: LeastSquares([1, math.nan], [1, 1], 1), ValueError, "spectrum must be finite"),
    (lambda: LeastSquares([1], [1], -1), ValueError, "noise_std must be >= 0"),
    (lambda: FiniteLeastSquares(X2, [1, 1, 1], [0, 0]), ValueError, "3 and 2"),
    (lambda: FiniteLeastSquares(0 * X2, [1, 1], [0, 0]), ValueError, "features must not all be zero"),
    (lambda: FiniteLeastSquares(X2, [1, 1], [0, 0], [0.5, 0.4]), ValueError, "probabilities must be 2 numbers that sum to one"),
    (lambda: FiniteLeastSquares(X2, [1, 1], [0, 0], [1.0]), ValueError, "probabilities must be 2 numbers"),
    (lambda: FiniteLeastSquares(X2, [1, 1], [0, 0], [1.5, -0.5]), ValueError, "probabilities must be >= 0"),
    (lambda: GOOD.excess_risk(LIMIT, 2, 5), ValueError, f"step_size must be below {LIMIT:.6g}, the limit"),
    (lambda: GOOD.excess_risk(2 * LIMIT, 2, 5), ValueError, f"step_size must be below {LIMIT:.6g}, the limit"),
    (lambda: GOOD.asymptotic_constant(LIMIT, 2), ValueError, f"step_size must be below {LIMIT:.6g}, the limit"),
    (lambda: GOOD.excess_risk(0, 2, 5), ValueError, "step_size must be > 0"),
    (lambda: GOOD.excess_risk(0.1, 2, -1), ValueError, "n_steps must be >= 0"),
    (lambda: GOOD.excess_risk(0.1, 2, [3, -1]), ValueError, "n_steps must be >= 0"),
    (lambda: GOOD.excess_risk(0.1, 2, []), TypeError, "n_steps must be"),
    (lambda: GOOD.excess_risk(0.1, 2, 5.0), TypeError, "n_steps must be an integer"),
    (lambda: GOOD.risk_bound(0.1, 2, True), TypeError, "n_steps must be an integer"),
    (lambda: GOOD.excess_risk(0.1, 0.5, 5), ValueError, "batch_size must be >= 1"),
    (
        lambda: GOOD.excess_risk(0.1, "2", 5),
        TypeError,
        "batch_size must be a real number, a SamplingNoise or WeightMoments, got '2'",
    ),
    (
        lambda: GOOD.excess_risk(0.1, True, 5),
        TypeError,
        "batch_size must be a real number, a SamplingNoise or WeightMoments, got True",
    ),
    (lambda: GOOD.excess_risk(0.1, Minibatch(2, 3, replacement=False), 5), ValueError, "batch_size must be"),
    (lambda: WeightMoments(0.5, 0.4), ValueError, "between must be >= 0.5"),
    (lambda: WeightMoments(-0.1, 2), ValueError, "own must be >= 0"),
    (lambda: GOOD.tail_average_risk(0.1, 2, [9, 5], 6), ValueError, "first must be between 0 and 5, got 6"),
    (lambda: GOOD.tail_average_risk(0.1, 2, 5, -1), ValueError, "first must be between 0 and 5"),
    (lambda: GOOD.risk_bound(0.1, 2, 5, form="sharp"), ValueError, "form must be one of elementary, bach-moulines, two-term"),
    (lambda: GOOD.risk_bound(1.0, 2, 5), ValueError, r"step_size must make step_size \* R_b\^2 <= 1 .* at most 0.44"),
    (lambda: GOOD.risk_bound(-1.0, 2, 5), ValueError, "step_size must be > 0"),
    (lambda: GOOD.excess_risk(0.1, 2, [1, 2**63]), (TypeError, ValueError), "n_steps must be"),
    (lambda: GOOD.excess_risk(0.1, 2, 10**400), ValueError, "n_steps must be within the range of floats"),
    (lambda: GOOD.excess_risk(0.1, 2, np.ma.masked_array([1, 2], mask=[False, True])), TypeError, "n_steps must not be masked"),
    (lambda: bound_constants(cast(Any, 1), START, 0.1, WeightMoments.of(2), "two-term"), TypeError, "assumptions must be of"),
    (lambda: bound_constants(GOOD.assumptions(), START, 0.1, WeightMoments.of(2), "sharp"), ValueError, "form must be one of"),
    (
        lambda: bound_constants(GOOD.assumptions(), START, math.nan, WeightMoments.of(2), FORMS[0]),
        ValueError,
        "step_size must be",
    ),
    (lambda: StartingPoint(1.0, math.inf, 1, True), ValueError, "squared_inverse_norm must be finite"),
    (lambda: StartingPoint(1.0, 1.0, 0, True), ValueError, "rank must be >= 1"),
    (lambda: replace(GOOD.assumptions(), leverage=-1.0), ValueError, "leverage must be >= 0"),
]


@pytest.mark.parametrize(("call", "error", "says"), BAD, ids=[f"{i}-{says}" for i, (_, _, says) in enumerate(BAD)])
def test_bad_input_is_named(call, error, says):
    with pytest.raises(error, match=says):
        call()
