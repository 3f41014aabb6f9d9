"""Moments and distances of SGD and its SDE, against lists of all batches, an integrator, and closed forms on the line.

It would catch a noise term with a wrong number of samples, a missing cross moment, a drift modified with the wrong sign, a
diffusion with the square root of the wrong thing, increments that are not shared, an order of factors in a Kronecker product, and
a bound with a wrong constant or exponent.
"""

import itertools
import math
from typing import Any, cast

import mpmath
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from gradnoise.simulations.sampling import outcomes
from gradnoise.theory import diffusion
from gradnoise.theory.diffusion import AugmentedMoments, augmented_moments, geometric_motion
from gradnoise.theory.sampling import Gaussian, Minibatch

RNG = np.random.default_rng(4)
X, Y, START = RNG.normal(size=(3, 2)), RNG.normal(size=3), np.array([0.7, -1.1])
ETA, STEPS = 0.3, 3
NOISES = [
    Minibatch(3, 2),
    Minibatch(3, 2, replacement=False),
    Gaussian(3, 2),
    Gaussian(3, 2, centered=False),
    diffusion.svag_noise(Minibatch(3, 1), 3),
]


def moments_by_listing(noise, n_steps, eta):
    """Follow every sequence of weights, each step with the gradients at its own point."""
    law = outcomes(noise)
    points, chances = [START], [1.0]
    for _ in range(n_steps):
        moved = [
            (theta - eta * (-(X.T * (Y - X @ theta)) @ w), chance * p)
            for theta, chance in zip(points, chances, strict=True)
            for w, p in zip(law.vectors, law.probabilities, strict=True)
        ]
        points, chances = zip(*moved, strict=True)
    points, chances = np.array(points), np.array(chances)
    return chances @ points, (points.T * chances) @ points


@pytest.mark.parametrize("noise", NOISES, ids=repr)
def test_moments_of_sgd_are_those_of_all_sequences_of_weights(noise):
    steps = 2 if len(outcomes(noise).probabilities) > 30 else STEPS
    mean, second = moments_by_listing(noise, steps, ETA)
    exact = diffusion.sgd_moments(X, Y, START, ETA, noise, steps)
    np.testing.assert_allclose(exact.mean, mean, rtol=1e-12)
    np.testing.assert_allclose(exact.second_moment, second, rtol=1e-11)
    np.testing.assert_allclose(exact.covariance, second - np.outer(mean, mean), atol=1e-12)


def test_a_batch_size_stands_for_a_minibatch_and_svag_for_its_steps():
    for replacement in (True, False):
        by_size = diffusion.sgd_moments(X, Y, START, ETA, 2, STEPS, replacement)
        by_noise = diffusion.sgd_moments(X, Y, START, ETA, Minibatch(3, 2, replacement), STEPS)
        np.testing.assert_array_equal(by_size.second_moment, by_noise.second_moment)
    svag = diffusion.svag_moments(X, Y, START, ETA, 1, 1, 3)
    mean, second = moments_by_listing(diffusion.svag_noise(Minibatch(3, 1), 3), 3, ETA / 3)
    np.testing.assert_allclose(svag.mean, mean, rtol=1e-12)
    np.testing.assert_allclose(svag.second_moment, second, rtol=1e-11)
    np.testing.assert_allclose(
        diffusion.svag_moments(X, Y, START, ETA, 2, 4, 1).second_moment,
        diffusion.sgd_moments(X, Y, START, ETA, 2, 4).second_moment,
    )


def literal_rates(t, state, noise, eta, sign):
    """d/dt of E Theta and E Theta Theta', sample by sample; L + sign eta/4 |grad L|^2 by its own formula."""
    mean, second = state[:2], state[2:].reshape(2, 2)
    H, c = X.T @ X / 3, X.T @ Y / 3
    # The drift at Theta is -(I + sign eta/2 H)(H Theta - c).
    pull = (np.eye(2) + sign * eta / 2 * H) @ H
    push = (np.eye(2) + sign * eta / 2 * H) @ c
    spread = np.zeros((2, 2))
    V = noise.covariance_matrix()
    for i, j in itertools.product(range(3), repeat=2):
        # E (x_i'Theta - y_i)(x_j'Theta - y_j)
        product = X[i] @ second @ X[j] - Y[i] * X[j] @ mean - Y[j] * X[i] @ mean + Y[i] * Y[j]
        spread += V[i, j] * product * np.outer(X[i], X[j])
    rate = -pull @ second - second @ pull.T + np.outer(push, mean) + np.outer(mean, push) + eta * spread
    return np.concatenate([push - pull @ mean, rate.ravel()])


@pytest.mark.parametrize("drift", diffusion.DRIFTS)
@pytest.mark.parametrize("noise", NOISES[:4], ids=repr)
def test_moments_of_the_sde_solve_their_equations(noise, drift):
    sign = {"plain": 0.0, "modified": 1.0}[drift]
    start = np.concatenate([START, np.outer(START, START).ravel()])
    solution = solve_ivp(literal_rates, (0, 1.7), start, args=(noise, ETA, sign), method="DOP853", rtol=1e-12, atol=1e-13)
    exact = diffusion.sde_moments(X, Y, START, ETA, noise, 1.7, drift)
    np.testing.assert_allclose(exact.mean, solution.y[:2, -1], rtol=1e-9)
    np.testing.assert_allclose(exact.second_moment.ravel(), solution.y[2:, -1], rtol=1e-9)


def test_the_modified_drift_is_the_gradient_of_the_modified_loss():
    eta, h = 0.4, 1e-5

    def loss(theta):
        gradient = X.T @ (X @ theta - Y) / 3
        return ((Y - X @ theta) ** 2).mean() / 2 + eta / 4 * gradient @ gradient

    gradient = [(loss(START + h * e) - loss(START - h * e)) / (2 * h) for e in np.eye(2)]
    t = 1e-6
    moved = diffusion.sde_moments(X, Y, START, eta, 2, t, "modified").mean - START
    np.testing.assert_allclose(moved / t, -np.array(gradient), rtol=1e-5)


@pytest.mark.parametrize(("curvature", "steps"), [(0.8, 1), (0.8, 7), (2.5, 4)])
def test_strong_error_is_that_of_the_geometric_motion_on_the_line(curvature, steps):
    x, start = np.array([[math.sqrt(curvature)]]), 1.3
    noise = Gaussian(1, 2, centered=False)
    matrix = diffusion.strong_error(x, [0.0], [start], ETA, noise, steps * ETA)
    assert matrix == pytest.approx(geometric_motion.strong_error(curvature, ETA, steps, 2, start), rel=1e-9)


def test_the_geometric_motion_by_quadrature():
    """One step, and two by conditioning: the product over independent steps."""
    a, eta, b, start = 0.8, 0.5, 2, 1.3
    c = a * eta / math.sqrt(b)

    def factors(z):
        return mpmath.exp(-a * eta - c**2 / 2 - c * z), 1 - a * eta - c * z

    def density(z):
        return mpmath.exp(-z * z / 2) / mpmath.sqrt(2 * mpmath.pi)

    quad = cast(Any, mpmath.quad)  # which may also return an error estimate
    one = quad(lambda z: (factors(z)[0] - factors(z)[1]) ** 2 * density(z), [-12, 0, 12])
    two = quad(
        lambda z, w: (factors(z)[0] * factors(w)[0] - factors(z)[1] * factors(w)[1]) ** 2 * density(z) * density(w),
        [-9, 0, 9],
        [-9, 0, 9],
    )
    assert geometric_motion.strong_error(a, eta, 1, b, start) == pytest.approx(float(start**2 * one), rel=1e-10)
    assert geometric_motion.strong_error(a, eta, 2, b, start) == pytest.approx(float(start**2 * two), rel=1e-8)
    assert geometric_motion.mean_square_gradient(a, eta, 1, b, start) == pytest.approx(a**2 * start**2)  # largest at the start
    grown = quad(lambda z: (a * (1 + a * eta - c * z)) ** 2 * density(z), [-12, 0, 12])
    growing = geometric_motion.mean_square_gradient(-a, eta, 1, b, start)
    assert growing == pytest.approx(float(start**2 * grown), rel=1e-10)


def test_strong_error_by_listing_the_halves_of_a_step():
    """A step of the SDE with a few Euler steps, their normals on Gauss-Hermite nodes: first order in the Euler step."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(5)
    weights = weights / weights.sum()
    x, y, eta, noise = np.array([[1.2]]), 0.4, 0.3, Gaussian(1, 1, centered=False)
    exact = diffusion.strong_error(x, [y], [0.9], eta, noise, eta)

    def listed(parts):
        total = 0.0
        for index in itertools.product(range(5), repeat=parts):
            z, p = nodes[list(index)], weights[list(index)].prod()
            slope = 1.2 * (1.2 * 0.9 - y)
            sgd = 0.9 - eta * slope - slope * eta * z.sum() / math.sqrt(parts)
            sde = 0.9
            for increment in z:
                g = 1.2 * (1.2 * sde - y)
                sde += -g * eta / parts - math.sqrt(eta) * g * increment * math.sqrt(eta / parts)
            total += p * (sgd - sde) ** 2
        return total

    coarse, fine, finest = (listed(parts) for parts in (2, 4, 8))
    # Differences to the limit halve; what is extrapolated from the last two is good to a tenth of the last difference.
    assert abs((2 * finest - fine) - exact) < 0.1 * abs(finest - fine)
    assert abs(coarse - exact) > abs(fine - exact) > abs(finest - exact)


def test_flows_compose():
    moments = AugmentedMoments(X, Y, Minibatch(3, 2), ETA, correction=1.0)
    np.testing.assert_allclose(moments.flow(0.8) @ moments.flow(0.5), moments.flow(1.3), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(moments.flow(0.0), np.eye(9), atol=1e-14)


def test_the_strong_bounds_solve_the_inequalities_that_they_come_from():
    eta, T, L, M = 0.2, 1.4, 0.9, 1.7
    # Eqs. (79) to (81): m(t) = 4 k L^2 (int m + 4 eta^2 M^2 T), k = T + eta, is solved by Gronwall's bound.
    k = T + eta
    corrected = 16 * k * L**2 * eta**2 * M**2 * T * math.exp(4 * k * L**2 * T)
    assert diffusion.strong_error_bound(eta, T, L, M) == pytest.approx(corrected, rel=1e-14)
    printed = 16 * (1 + eta) * L**2 * eta**2 * M**2 * T * math.exp(4 * (1 + eta) * L**2 * T)
    assert diffusion.strong_error_bound(eta, T, L, M, published=True) == pytest.approx(printed, rel=1e-14)
    for convex, a in ((False, 3 * L), (True, L)):
        rate, source = a + 2 * eta * L**2, (L + 2 * eta * L**2) * 2 * eta**2 * M**2
        solution = solve_ivp(lambda t, e, r=rate, s=source: r * e + s, (0, T), [0.0], rtol=1e-11, atol=1e-14)
        assert diffusion.sharp_strong_error_bound(eta, T, L, M, convex) == pytest.approx(solution.y[0, -1], rel=1e-8)
    for bound in (diffusion.strong_error_bound, diffusion.sharp_strong_error_bound):
        assert bound(eta, 1e3, 10.0, M) == math.inf == bound(eta, 1.0, 1.0, 1e200)
        assert bound(eta, 1e3, 10.0, 0.0) == 0  # no gradient, no distance, however fast it would grow


@pytest.mark.parametrize("power", [5, 10, 15])
def test_moments_after_small_steps_keep_their_digits(power):
    """Catches 1 - eta h that has lost eta h, against the recursion of E theta and E theta^2 on the line in 60 digits."""
    x, y, start, b, n = [1.0, 0.5, -1.5], [0.3, -1.0, 0.5], 0.7, 2, 10**power
    eta = 1.7 / n
    with mpmath.workdps(60):
        xs, ys, step = [mpmath.mpf(v) for v in x], [mpmath.mpf(v) for v in y], mpmath.mpf(eta)
        # The gradient of a sample is p theta - q; the mean of b draws has the variance of one over b.
        p, q = [v**2 for v in xs], [v * w for v, w in zip(xs, ys, strict=True)]
        mean = lambda values: mpmath.fsum(values) / 3  # noqa: E731
        P, Q = mean(p), mean(q)
        of_two, of_one, of_none = (
            (mean(v * w for v, w in zip(*pair, strict=True)) - mean(pair[0]) * mean(pair[1])) * sign / b
            for pair, sign in (((p, p), 1), ((p, q), -2), ((q, q), 1))
        )
        A = mpmath.matrix(
            [
                [
                    (1 - step * P) ** 2 + step**2 * of_two,
                    2 * step * Q * (1 - step * P) + step**2 * of_one,
                    step**2 * (Q**2 + of_none),
                ],
                [0, 1 - step * P, step * Q],
                [0, 0, 1],
            ]
        )
        second, first, _ = A**n * mpmath.matrix([mpmath.mpf(start) ** 2, start, 1])
    found = diffusion.sgd_moments(np.array(x)[:, np.newaxis], y, [start], eta, b, n)
    assert found.mean[0] == pytest.approx(float(first), rel=1e-13)
    assert found.second_moment[0, 0] == pytest.approx(float(second), rel=1e-13)


def test_a_strong_error_after_many_steps_has_little_rounding():
    """Catches a rounding for every step, 4e-11 after 10^10 of them: 1e-15 of the parameters are promised."""
    X, y, start = np.array([[1.0, 0.3], [0.2, -0.8], [0.5, 0.9]]), np.array([0.3, -1.0, 0.7]), [1.0, -0.5]
    coarse, fine = (diffusion.strong_error(X, y, start, eta, 2, 1.0) for eta in (1e-4, 1e-5))
    assert coarse > 5e-11 and fine == pytest.approx(coarse / 100, abs=1e-14)  # of the order eta^2
    for eta in (1e-6, 1e-8, 1e-12):
        assert diffusion.strong_error(X, y, start, eta, 2, 1e5 * eta**0.5) < 1e-14


@pytest.mark.parametrize("noise", [NOISES[0], NOISES[3]], ids=repr)
def test_very_many_steps_are_the_steps(noise, monkeypatch):
    """Catches an order of factors in the matrix of a step, and a step too many."""
    stepped = diffusion.sgd_moments(X, Y, START, 0.1, noise, 25)
    monkeypatch.setattr(augmented_moments, "_STEPPED", 5)
    powered = diffusion.sgd_moments(X, Y, START, 0.1, noise, 25)
    np.testing.assert_allclose(powered.second_moment, stepped.second_moment, rtol=1e-12)
    assert not np.allclose(diffusion.sgd_moments(X, Y, START, 0.1, noise, 24).second_moment, stepped.second_moment, rtol=1e-4)
    at_rest = diffusion.sgd_moments(X, Y, START, 0.1, noise, 10**9).second_moment
    np.testing.assert_allclose(at_rest, diffusion.sgd_moments(X, Y, START, 0.1, noise, 10**18).second_moment, rtol=1e-12)


@pytest.mark.parametrize(("a", "eta", "k", "b"), [(1e-30, 0.25, 7, 2.0), (1e-120, 1e-20, 3, 1e40), (0.5, 0.25, 10**12, 1e200)])
def test_the_geometric_motion_keeps_its_digits_where_its_powers_agree_in_hundreds(a, eta, k, b):
    with mpmath.workdps(2000):
        drift = mpmath.mpf(a) * mpmath.mpf(eta)
        c_squared = drift**2 / mpmath.mpf(b)
        powers = (
            mpmath.exp(-2 * drift + c_squared) ** k,
            (mpmath.exp(-drift) * (1 - drift + c_squared)) ** k,
            ((1 - drift) ** 2 + c_squared) ** k,
        )
        exact = float((powers[0] - 2 * powers[1] + powers[2]) * mpmath.mpf(1e150) ** 2)
    assert geometric_motion.strong_error(a, eta, k, b, 1e150) == pytest.approx(exact, rel=1e-14, abs=0)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: diffusion.sgd_moments(X, Y[:2], START, 0.1, 1, 1), ValueError, "X of shape"),
        (lambda: diffusion.sgd_moments(X, Y, START, 0.1, 0, 1), ValueError, "batch_size must be >= 1"),
        (lambda: diffusion.sgd_moments(X, Y, START, 0.1, Minibatch(4, 1), 1), ValueError, "noise over the 3 samples"),
        (lambda: diffusion.sgd_moments(X, Y, START, -0.1, 1, 1), ValueError, "step_size must be > 0"),
        (lambda: diffusion.sde_moments(X, Y, START, 0.1, 1, 1.0, "milstein"), ValueError, "drift must be one of plain, modified"),
        (lambda: diffusion.sde_moments(np.ones((2, 61)), [1, 1], np.zeros(61), 0.1, 1, 1.0), ValueError, "at most 60 columns"),
        (lambda: diffusion.strong_error(X, Y, START, 0.3, 1, 1.0), ValueError, "whole number of steps"),
        (lambda: diffusion.strong_error(X, Y, START, 0.5, Minibatch(3, 1), 1.0), TypeError, "a Gaussian noise"),
        (lambda: diffusion.svag_noise(Minibatch(3, 1), 0), ValueError, "amplification must be >= 1"),
        (lambda: diffusion.svag_noise(cast(Any, 3), 1), TypeError, "noise must be a SamplingNoise"),
        (lambda: diffusion.strong_error_bound(0.1, -1, 1, 1), ValueError, "time must be >= 0"),
        (lambda: geometric_motion.strong_error(1, 0.1, 1, 0.5, 1), ValueError, "batch_size must be >= 1"),
        (lambda: diffusion.strong_error(X, Y, START, 0.1, 1, 1.7e308), ValueError, r"time must be less than 2\*\*53 steps"),
        (lambda: diffusion.svag_moments(X, Y, START, 0.1, 1, 2**40, 2**40), ValueError, r"n_steps must be < 2\*\*63"),
        (
            lambda: diffusion.sgd_moments(np.eye(40), np.ones(40), np.ones(40), 0.1, 1, 10**9),
            ValueError,
            "at most 20000 where M has",
        ),
        (lambda: AugmentedMoments(X, Y[:2], Minibatch(3, 1), 0.1), ValueError, "X must have a row for each of the labels y"),
        (lambda: AugmentedMoments(X, Y, Minibatch(2, 1), 0.1), ValueError, "noise over the 3 samples"),
        (
            lambda: AugmentedMoments(X, Y, Minibatch(3, 1), 0.1).step(np.eye(2)),
            ValueError,
            r"M must have shape \(3, 3\), got \(2, 2\)",
        ),
        (lambda: AugmentedMoments(X, Y, Minibatch(3, 1), 0.1).flow(math.nan), ValueError, "time must be finite"),
    ],
)
def test_bad_arguments_are_named(call, kind, message):
    with pytest.raises(kind, match=message):
        call()
