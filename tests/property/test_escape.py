"""Escape from a minimum against quadrature, matrix equations, literal recursions and exact laws.

It would catch H and Sigma taken to commute, a factor 2 in a rate, a division by a zero eigenvalue, a sign that makes the linear
bound a lower one, steps taken for time, weights of the quadratic form without the half of L = theta' H theta / 2, a tail taken
for a distribution function, times that meet the wrong thresholds, a bound that is none, and bad arguments that pass.
"""

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.integrate import quad
from scipy.linalg import expm, solve_continuous_lyapunov
from scipy.special import erfc
from scipy.stats import chi2

from gradnoise.theory.escape import (
    discrete_loss_increase,
    escape_probability,
    indicator,
    indicator_ratio_bound,
    loss_increase,
    loss_increase_linear,
    markov_bound,
    ou_covariance,
)

# Products of 4 x 4 matrices, a matrix exponential and a quadrature, all at the size of their largest term: 1e-12 leaves a factor
# of 50 above what is seen. Every wrong formula below is off by over 1e-3.
CLOSE = 1e-12
PROMISED = 1e-10  # of an escape probability, absolute

entries = st.integers(-4, 4).map(lambda k: k / 4)
times = st.sampled_from([0.0, 1e-9, 1e-3, 0.25, 1.0, 3.0])


@st.composite
def processes(draw, lowest=1, highest=4, regular=False):
    """Pairs H = A A', Sigma = B B' that seldom commute; A has any rank unless regular."""
    d = draw(st.integers(lowest, highest))
    A = draw(hnp.arrays(float, (d, draw(st.integers(1, d))), elements=entries))
    B = draw(hnp.arrays(float, (d, draw(st.integers(1, d))), elements=entries))
    return A @ A.T + regular * np.eye(d) / 2, B @ B.T


H2, S2 = np.array([[2.0, 0.5], [0.5, 0.25]]), np.array([[0.5, -0.75], [-0.75, 2.0]])  # they do not commute


def _close(first, second, scale):
    return np.allclose(first, second, rtol=0, atol=CLOSE * scale)


def _by_quadrature(H, S, t):
    def rate(s):
        decay = expm(-H * s)
        return np.trace(H @ decay @ S @ decay) / 2

    return quad(rate, 0, t, epsabs=0, epsrel=1e-11, limit=200)[0] if np.abs(H @ S).max() > 0 else 0.0


def _by_matrix_ode(H, S, t):
    """C' = -HC - CH + Sigma, C(0) = 0, as one linear system in vec C: no eigenvectors of H, and all of it decays."""
    d = len(H)
    system = np.zeros((d * d + 1, d * d + 1))
    system[:-1, :-1] = -np.kron(H, np.eye(d)) - np.kron(np.eye(d), H)
    system[:-1, -1] = S.ravel()
    return expm(system * t)[:-1, -1].reshape(d, d)


# --- Expected loss and covariance ----------------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(processes(), times)
def test_loss_increase_is_the_integral_of_its_rate(pair, t):
    H, S = pair
    assert math.isclose(loss_increase(H, S, t), _by_quadrature(H, S, t), rel_tol=100 * CLOSE, abs_tol=CLOSE * t * np.trace(S))


def test_loss_increase_can_fail():
    truth = _by_quadrature(H2, S2, 1.0)
    commuting = -0.25 * np.expm1(-2 * np.linalg.eigvalsh(H2)) @ np.linalg.eigvalsh(S2)
    entrywise = 0.25 * np.trace((1 - np.exp(-2 * H2)) @ S2)
    for wrong in (2 * loss_increase(H2, S2, 1.0), loss_increase(H2, S2, 0.5), commuting, entrywise):
        assert not math.isclose(wrong, truth, rel_tol=1e-3)


@given(processes(), times)
def test_the_linear_increase_lies_above_by_at_most_its_error_term(pair, t):
    H, S = pair
    gap = loss_increase_linear(H, S, t) - loss_increase(H, S, t)
    slack = CLOSE * t * np.trace(H) * np.trace(S)  # rounding is of the size of the factors, also where their product is zero
    assert -slack <= gap <= t**2 / 2 * np.trace(H @ H @ S) + slack
    assert math.isclose(indicator(H, S), np.trace(H @ S), rel_tol=CLOSE, abs_tol=CLOSE)


def test_small_times_keep_all_digits():
    # First-order terms of the series in t: the next one is 10^-12 of it.
    for t in (1e-12, 1e-100):
        assert math.isclose(loss_increase(H2, S2, t), t / 2 * np.trace(H2 @ S2), rel_tol=1e-11)
        assert np.allclose(ou_covariance(H2, S2, t), t * S2, rtol=1e-11, atol=0)


@given(processes(), times)
def test_ou_covariance_solves_its_equation(pair, t):
    H, S = pair
    C = ou_covariance(H, S, t)
    assert _close(C, _by_matrix_ode(H, S, t), t * np.abs(S).max() * 10)
    assert np.array_equal(C, C.T)
    assert math.isclose(np.trace(H @ C) / 2, loss_increase(H, S, t), rel_tol=100 * CLOSE, abs_tol=CLOSE * t)


@given(processes(regular=True))
def test_ou_covariance_becomes_stationary(pair):
    H, S = pair
    assert _close(ou_covariance(H, S, 100.0), solve_continuous_lyapunov(H, S), np.abs(S).max())


def test_ou_covariance_can_fail():
    truth = _by_matrix_ode(H2, S2, 1.0)
    decay = (np.eye(2) - expm(-2 * H2)) @ np.linalg.inv(2 * H2)
    assert not np.allclose(decay @ S2, truth, rtol=0, atol=1e-3)  # H and Sigma taken to commute
    assert not np.allclose((decay @ S2 + S2 @ decay) / 2, truth, rtol=0, atol=1e-3)


def _by_recursion(H, S, eta, k):
    C, step = np.zeros_like(H), np.eye(len(H)) - eta * H
    for _ in range(k):
        C = step @ C @ step + eta**2 * S  # theta' = theta - eta H theta + eta eps
    return np.trace(H @ C) / 2


@given(processes(), st.integers(0, 40), st.sampled_from([0.01, 0.5, 1.0, 1.5, 1.99]))
def test_discrete_loss_increase_is_that_of_the_recursion(pair, k, fraction):
    H, S = pair
    eta = fraction / max(np.linalg.eigvalsh(H)[-1], 1e-3)
    allowed = 10 * CLOSE * eta * np.trace(S) * max(k, 1)
    assert math.isclose(discrete_loss_increase(H, S, eta, k), _by_recursion(H, S, eta, k), rel_tol=0, abs_tol=allowed)


def test_discrete_loss_increase_can_fail():
    eta = 1.5 / np.linalg.eigvalsh(H2)[-1]
    truth = _by_recursion(H2, S2, eta, 6)
    assert not math.isclose(loss_increase(H2, eta * S2, 6 * eta), truth, rel_tol=0.05)  # Eq. (13), the limit of small steps
    assert not math.isclose(discrete_loss_increase(H2, S2, eta, 5), truth, rel_tol=0.01)


def test_small_curvatures_keep_all_digits():
    """One step leaves eta^2 Sigma, a loss of eta^2 Tr(H Sigma)/2, whatever H is."""
    for curvature in (1e-4, 1e-8, 1e-12):
        assert math.isclose(discrete_loss_increase([[curvature]], [[1.0]], 1.0, 1), curvature / 2, rel_tol=CLOSE)


def _of_one_direction(curvature, variance, t, delta):
    """Loss increase, variance and escape probability where one direction has all the noise."""
    spread = -math.expm1(-2 * curvature * t) / (2 * curvature) * variance
    return curvature * spread / 2, spread, erfc(math.sqrt(delta / (curvature * spread)))


@pytest.mark.parametrize("others", [[1e15], [1e300], list(np.geomspace(1e14, 1.5, 60)), [0.0, 1e200, 1e-200]])
@pytest.mark.parametrize("rotated", [False, True])
def test_small_curvatures_beside_large_ones_count(others, rotated):
    """Catches an eigenvalue that is taken for rounding of another one, though zeros keep them apart; also in a block of two."""
    small, S = np.array([[0.75]]), np.array([[2.0]])
    if rotated:  # the same curvature, 0.75, along (1, -1); 3 along (1, 1), where there is no noise
        small, S = np.array([[1.875, 1.125], [1.125, 1.875]]), np.array([[1.0, -1.0], [-1.0, 1.0]])
    d = len(small) + len(others)
    H, Sigma = np.zeros((d, d)), np.zeros((d, d))
    H[-len(small) :, -len(small) :], Sigma[-len(small) :, -len(small) :] = small, S
    H[range(len(others)), range(len(others))] = others
    increase, spread, probability = _of_one_direction(0.75, 2.0, 1.0, 0.5)
    assert math.isclose(loss_increase(H, Sigma, 1.0), increase, rel_tol=CLOSE)
    assert math.isclose(np.trace(ou_covariance(H, Sigma, 1.0)), spread, rel_tol=CLOSE)
    assert abs(escape_probability(H, Sigma, 1.0, 0.5) - probability) <= PROMISED


def test_curvatures_of_a_graded_matrix_count():
    """[[1e16, 1e7], [1e7, 1]] has the eigenvalue 0.99, far below the rounding of the other one."""
    H, S = np.array([[1e16, 1e7], [1e7, 1.0]])[::-1, ::-1], np.diag([1.0, 0.0])
    increase, spread, probability = _of_one_direction(0.99, 1.0, 1.0, 0.25)
    # The direction is (1, -1e-9), up to 1e-18.
    assert math.isclose(loss_increase(H, S, 1.0), increase, rel_tol=1e-9)
    assert math.isclose(ou_covariance(H, S, 1.0)[0, 0], spread, rel_tol=1e-9)
    assert abs(escape_probability(H, S, 1.0, 0.25) - probability) <= 1e-9


@pytest.mark.parametrize("d", [2, 100])
@pytest.mark.parametrize("condition", [1e14, 1e15, 1e20])
def test_diagonal_matrices_keep_every_curvature(d, condition):
    """Catches eigenvalues that are lost in the rounding of the largest one; diag(1e15, 1) lost .216166."""
    S = np.zeros((d, d))
    S[-1, -1] = 1.0
    found = loss_increase(np.diag(np.geomspace(condition, 1, d)), S, 1.0)
    assert math.isclose(found, -math.expm1(-2) / 4, rel_tol=CLOSE)
    assert abs(found - 0.216166) < 1e-6


@pytest.mark.parametrize("d", [2, 12])
@pytest.mark.parametrize("condition", [1e15, 1e20])
def test_graded_matrices_keep_every_curvature(d, condition):
    """Against eigenvalues in 60 digits, for noise that is felt along all eigenvectors."""
    places, noise = np.arange(d), 1 + 0.5 * np.sin(np.arange(d))
    scale = np.geomspace(condition**0.5, 1, d)
    H = scale[:, np.newaxis] * (np.eye(d) + 0.3 / d * np.cos(np.add.outer(places, places))) * scale
    with mpmath.workdps(60):
        lam, U = mpmath.eigsy(mpmath.matrix(H.tolist()))
        felt = [mpmath.fsum(float(s) * U[i, j] ** 2 for i, s in enumerate(noise)) for j in range(d)]
        expected = [(1 - mpmath.exp(-2 * v * 0.01)) * s / 4 for v, s in zip(lam, felt, strict=True)]
        assert min(expected) < 0.05 * max(expected)  # the flattest is not forgotten yet, and is seen in the sum
    assert math.isclose(loss_increase(H, np.diag(noise), 0.01), mpmath.fsum(expected), rel_tol=CLOSE)
    # Noise along the axis of the flattest one alone, where nothing else hides its error.
    last = np.zeros((d, d))
    last[-1, -1] = 1.0
    with mpmath.workdps(60):
        alone = mpmath.fsum((1 - mpmath.exp(-2 * v * 0.01)) * U[d - 1, j] ** 2 / 4 for j, v in enumerate(lam))
    assert math.isclose(loss_increase(H, last, 0.01), alone, rel_tol=CLOSE)


@pytest.mark.parametrize("d", [2, 30, 100])
@pytest.mark.parametrize("condition", [1e8, 1e12, 1e14, 1e17])
def test_other_matrices_lose_what_is_promised_and_no_more(d, condition):
    """Rotated at random, only 4 d roundings of the largest curvature are left of the smallest; beyond, it is gone."""
    lam, U = np.geomspace(condition, 1, d), np.linalg.qr(np.random.default_rng(d).standard_normal((d, d)))[0]
    H, S, t = (U * lam) @ U.T, np.outer(U[:, -1], U[:, -1]), 0.7
    error = abs(float(loss_increase((H + H.T) / 2, S, t)) + np.expm1(-2 * t) / 4)
    assert error <= t / 2 * 9e-16 * d * condition
    assert error < 1e-6 or condition >= 1e12
    assert error > 0.1 or condition < 1e17  # an increase of nothing, for .188


# --- Escape probability --------------------------------------------------------------------------------------------------------


@given(st.integers(1, 6), times.filter(bool), st.floats(1e-3, 30), st.floats(0.1, 5))
def test_equal_weights_are_chi_square(d, t, ratio, curvature):
    variance = -math.expm1(-2 * curvature * t) / (2 * curvature)  # of each of the d coordinates, for Sigma = I
    delta = ratio * curvature * variance
    assert abs(escape_probability(curvature * np.eye(d), np.eye(d), t, delta) - chi2.sf(2 * ratio, d)) <= PROMISED


@given(processes(lowest=2), times.filter(bool), st.floats(1e-3, 30))
def test_a_hessian_of_rank_one_leaves_one_normal(pair, t, ratio):
    S, u = pair[1], np.arange(1.0, len(pair[1]) + 1)
    H, seen = np.outer(u, u), float(u @ S @ u)
    curvature = float(u @ u)
    variance = -math.expm1(-2 * curvature * t) / (2 * curvature) * seen  # of u'theta; L = (u'theta)^2 / 2
    delta = ratio * variance
    if seen > 0:
        assert abs(escape_probability(H, S, t, delta) - erfc(math.sqrt(ratio))) <= PROMISED


def _two_weights(H, S, t, delta):
    """In polar coordinates P(w1 Z1^2 + w2 Z2^2 >= x) is the mean of exp(-x/(2 (w1 cos^2 + w2 sin^2))) over the angle."""
    w1, w2 = np.linalg.eigvals(H @ _by_matrix_ode(H, S, t)).real / 2
    with mpmath.workdps(20):
        mean = mpmath.quad(
            lambda a: mpmath.exp(-delta / (2 * (w1 * mpmath.cos(a) ** 2 + w2 * mpmath.sin(a) ** 2))),
            mpmath.linspace(0, mpmath.pi / 2, 9),
        )
        return float(2 * mean / mpmath.pi)


@settings(max_examples=15)
@given(processes(lowest=2, highest=2, regular=True), st.sampled_from([0.25, 2.0]), st.floats(0.02, 5))
def test_two_weights_are_integrated_over_the_angle(pair, t, delta):
    H, S = pair[0], pair[1] + np.eye(2) / 8
    assert abs(escape_probability(H, S, t, delta) - _two_weights(H, S, t, delta)) <= PROMISED


def test_escape_probability_can_fail():
    truth = _two_weights(H2, S2 + np.eye(2) / 8, 1.0, 0.5)
    for H, t, delta in ((2 * H2, 1.0, 0.5), (H2, 2.0, 0.5), (H2, 1.0, 1.0)):
        assert abs(escape_probability(H, S2 + np.eye(2) / 8, t, delta) - truth) > 1e-3


@given(processes(), times, st.lists(st.integers(-8, 80).map(lambda k: k / 8), min_size=2, max_size=6))
def test_escape_probability_falls_from_one_and_obeys_markov(pair, t, deltas):
    deltas = np.sort(deltas)
    H, Sigma = pair
    p = escape_probability(H, Sigma, t, deltas)
    assert (p[deltas <= 0] == 1).all()
    assert (np.diff(p) <= PROMISED).all() and (p >= 0).all() and (p <= 1).all()
    high = deltas > 0
    assert t > 0 or (p[high] == 0).all()
    assert (p[high] <= markov_bound(loss_increase(H, Sigma, t), deltas[high]) + PROMISED).all()


def test_far_thresholds_are_never_and_always_met():
    for tiny in (1e-100, 1e-160, 1e-300):
        assert abs(escape_probability(H2, S2, 1.0, tiny) - 1) <= PROMISED
    for huge in (1e100, 1e160, 1e300):
        assert escape_probability(H2, S2, 1.0, huge) <= PROMISED


@pytest.mark.parametrize("d", [1, 3, 200])
@pytest.mark.parametrize("rotated", [False, True])
def test_rare_escapes_are_no_zeros(d, rotated):
    """Catches one minus a probability: 5.9e-17 in one dimension and 4.8e-20 in 200 came out as zero; down to 1e-300."""
    rng = np.random.default_rng(d)
    U = np.linalg.qr(rng.standard_normal((d, d)))[0] if rotated else np.eye(d)
    time, curvatures = 0.7, 0.3 + 2 * rng.random(d)
    noise = -2 / np.expm1(-2 * curvatures * time)  # so that each direction has a weight of one half
    H, S = ((U * v) @ U.T for v in (curvatures, noise))
    deltas = np.array([d / 2, d / 2 + 6 * math.sqrt(d), d + 30.0, d + 200.0, d / 2 + 600.0])
    with mpmath.workdps(30):
        truth = [mpmath.gammainc(mpmath.mpf(d) / 2, mpmath.mpf(float(v)), mpmath.inf, regularized=True) for v in deltas]
        found = escape_probability((H + H.T) / 2, (S + S.T) / 2, time, deltas)
        errors = [float(abs(float(p) / q - 1)) for p, q in zip(found, truth, strict=True) if q > 1e-300]
    assert len(errors) == 5 and max(errors) < 1e-9
    assert float(truth[-1]) < 1e-170


def test_times_and_thresholds_broadcast():
    t, delta = np.array([[0.0], [0.5], [2.0]]), np.array([-1.0, 0.1, 0.1, 3.0])
    p = escape_probability(H2, S2, t, delta)
    assert p.shape == (3, 4)
    assert all(p[i, j] == escape_probability(H2, S2, t[i, 0], delta[j]) for i in range(3) for j in range(4))
    C = ou_covariance(H2, S2, t)
    assert C.shape == (3, 1, 2, 2) and all(np.array_equal(C[i, 0], ou_covariance(H2, S2, t[i, 0])) for i in range(3))
    for function in (loss_increase, loss_increase_linear, lambda H, S, k: discrete_loss_increase(H, S, 0.1, 2 * k)):
        values = function(H2, S2, t)
        assert values.shape == (3, 1) and np.allclose(values[:, 0], [function(H2, S2, s) for s in t[:, 0]], rtol=1e-15, atol=0)


def _ratio_and_alignment(H, S):
    """Tr(H Sigma) / Tr(H Sigma_bar), and the largest a of zhu2019, Proposition 1; H is diagonal, its first entry the largest."""
    average = np.trace(S) / len(H) * np.eye(len(H))
    return np.trace(H @ S) / np.trace(H @ average), S[0, 0] / (H[0, 0] * np.trace(S) / np.trace(H))


def _ill_conditioned(D, k, decay, below=1.0):
    return np.diag([3.0] * k + [3.0 * D**-decay * below] * (D - k))


@given(st.data(), st.integers(1, 8), st.floats(0, 3))
def test_the_ratio_of_indicators_is_above_its_bound(data, D, decay):
    k = data.draw(st.integers(1, D))
    B = data.draw(hnp.arrays(float, (D, D), elements=entries).filter(lambda B: np.abs(B).max() > 0))
    H = _ill_conditioned(D, k, decay, data.draw(st.floats(0, 1)))
    ratio, alignment = _ratio_and_alignment(H, B @ B.T)
    assert ratio >= indicator_ratio_bound(D, k, decay, alignment) * (1 - CLOSE)


@pytest.mark.parametrize(("D", "k", "decay"), [(1, 1, 0.0), (5, 2, 0.5), (50, 1, 1.0), (50, 7, 3.0)])
def test_the_ratio_bound_is_attained_and_can_fail(D, k, decay):
    """Equality: noise along u_1 alone, all small eigenvalues at their limit."""
    ratio, alignment = _ratio_and_alignment(_ill_conditioned(D, k, decay), np.diag([1.0] + [0.0] * (D - 1)))
    assert math.isclose(ratio, indicator_ratio_bound(D, k, decay, alignment), rel_tol=CLOSE)
    with pytest.raises(ValueError, match=r"^alignment must be at most"):  # the least bit larger, and there is none
        indicator_ratio_bound(D, k, decay, 1.001 * alignment)


@pytest.mark.parametrize(("decay", "exponent"), [(0.5, 0), (0.75, 0.5), (1, 1), (2, 1)])
def test_the_ratio_bound_grows_no_faster_than_the_ratio_can(decay, exponent):
    growth = math.log(indicator_ratio_bound(1e14, 1, decay, 0.5) / indicator_ratio_bound(1e12, 1, decay, 0.5)) / math.log(100)
    assert math.isclose(growth, exponent, abs_tol=0.01)


def test_markov_bound_is_a_ratio_of_at_most_one():
    assert np.array_equal(markov_bound([[1.0], [3.0]], [0.5, 2.0, 12.0]), [[1, 0.5, 1 / 12], [1, 1, 0.25]])


I2, NAN = np.eye(2), np.diag([1.0, math.nan])
BAD = [
    (lambda: loss_increase(NAN, I2, 1), "hessian must be finite"),
    (lambda: loss_increase([[1, 2], [3, 4]], I2, 1), "hessian must be symmetric"),
    (lambda: loss_increase_linear(-I2, I2, 1), "hessian must be positive"),
    (lambda: ou_covariance(np.eye(3), I2, 1), "hessian and covariance must have equal shapes"),
    (lambda: indicator([1, 2], I2), "hessian must have 2 dim"),
    (lambda: loss_increase(I2, NAN, 1), "covariance must be finite"),
    (lambda: loss_increase(I2, I2, -1), "time must be >= 0"),
    (lambda: ou_covariance(I2, I2, [0, math.nan]), "time must be finite"),
    (lambda: escape_probability(I2, -I2, 1, 1), "covariance must be positive"),
    (lambda: escape_probability(I2, I2, 1, math.nan), "delta must be finite"),
    (lambda: escape_probability(I2, I2, 1, "a"), "delta"),
    (lambda: escape_probability(I2, I2, 1, 1j), "delta"),
    (lambda: escape_probability(I2, I2, [1, 2], [1, 2, 3]), "time and delta"),
    (lambda: discrete_loss_increase(I2, I2, 2.0, 1), "step_size must be < 2/lambda_1 = 2"),
    (lambda: discrete_loss_increase(I2, I2, 0.1, 2.5), "n_steps"),
    (lambda: markov_bound(-1, 1), "expected_increase must be >= 0"),
    (lambda: markov_bound(1, [1, 0]), "delta must be > 0"),
    (lambda: indicator_ratio_bound(0.5, 1, 1, 1), "dimension"),
    (lambda: indicator_ratio_bound(5, 6, 1, 1), "n_leading must be <= dimension = 5"),
    (lambda: indicator_ratio_bound(5, 1, -1, 1), "decay"),
    (lambda: indicator_ratio_bound(5, 1, -0.5, 1), "decay must be >= 0"),
    (lambda: indicator_ratio_bound(5, 1, 1, math.nan), "alignment"),
    (lambda: indicator_ratio_bound(5, 1, 1, -0.5), "alignment must be >= 0"),
]


@pytest.mark.parametrize(("call", "says"), BAD, ids=[f"{i}-{says}" for i, (_, says) in enumerate(BAD)])
def test_bad_input_is_named(call, says):
    with pytest.raises((TypeError, ValueError), match=says):
        call()
