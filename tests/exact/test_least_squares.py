"""Online least squares against all sample paths, a matrix recursion with the whole fourth-moment tensor, and closed forms.

It would catch a fourth-moment or a cross term lost or doubled, B taken for b, the weights' own and shared parts confused, a
mean over n instead of n + 1 iterates, label noise taken to be independent of x, a step size limit that is sufficient or
necessary only, constants of A1 to A3 that are too small or not the smallest, and bad arguments that pass.
"""

import inspect
import itertools
import math

import mpmath
import numpy as np
import pytest
import scipy.sparse.linalg

from gradnoise.simulations.least_squares import excess_risks
from gradnoise.simulations.sampling import Outcomes, outcomes, product_rule
from gradnoise.theory.least_squares import FiniteLeastSquares, LeastSquares, StartingPoint, WeightMoments, second_moments
from gradnoise.theory.sampling import Bernoulli, Gaussian, Minibatch, Rademacher, StudentT

CLOSE = 1e-12  # relative, and a factor of 5 above what is seen; every wrong formula below is off by over 1e-3
WRONG = 1e-3


def _close(first, second, rtol=CLOSE):
    return np.allclose(first, second, rtol=rtol, atol=0)


def _far(first, second):
    return (np.abs(np.asarray(first) / second - 1) > WRONG).all()


# --- All sample paths ----------------------------------------------------------------------------------------------------------

PLANE = FiniteLeastSquares([[1, 0.5], [-0.5, 2], [1.5, -1]], [1, -2, 0.5], [2, -1], [0.5, 0.3, 0.2])
LINE = FiniteLeastSquares([[1], [2]], [1, -1], [0.5], [0.3, 0.7])
SINGULAR = FiniteLeastSquares([[1, 2], [2, 4], [-1.5, -3]], [1, -1, 2], [1, -1], [0.25, 0.5, 0.25])
EQUAL = FiniteLeastSquares([[1, 0.5], [-0.5, 2], [1.5, -1]], [1, -2, 0.5], [2, -1])


def _noises(B, b):
    exact = [Minibatch(B, int(b), replacement=False)] if b == int(b) else []
    centred = [kind(B, b, replacement=False) for kind in (Gaussian, Rademacher)] + [StudentT(B, b, 9, replacement=False)]
    fisher = Gaussian(B, b, centered=False, replacement=False)
    return [*exact, *centred, fisher, Minibatch(B, B - 1), Bernoulli(B, B - 1)]


def _steps(problem, batches, chances, law, eta):
    """Maps theta -> A theta + c of all single steps, with their probabilities."""
    X, y, found = problem.features, problem.targets, []
    for batch, chance in zip(batches, chances, strict=True):
        x, listed = X[batch], law(X[batch])
        for w, q in zip(listed.vectors, listed.probabilities, strict=True):
            found.append((np.eye(X.shape[1]) - eta * (x.T * w) @ x, eta * (x.T * w) @ y[batch], chance * q))
    return [np.array(part) for part in zip(*found, strict=True)]


def _fresh(problem, law, eta, B):
    batches = [list(batch) for batch in itertools.product(range(len(problem.targets)), repeat=B)]
    return _steps(problem, batches, [problem.probabilities[batch].prod() for batch in batches], law, eta)


def _by_paths(problem, steps, n):
    """E f of the mean of theta_first ... theta_n less the least f, for first = 0, ..., n, by following every path."""
    (maps, shifts, chances), X, y, p = steps, problem.features, problem.targets, problem.probabilities
    path, probability = problem.initial[np.newaxis, np.newaxis], np.ones(1)
    for _ in range(n):
        new = (np.einsum("kij,pj->pki", maps, path[-1]) + shifts).reshape(1, -1, X.shape[1])
        path, probability = np.concatenate([np.repeat(path, len(maps), axis=1), new]), np.outer(probability, chances).ravel()
    root = np.sqrt(p)
    best = np.linalg.lstsq(X * root[:, np.newaxis], y * root)[0]
    losses = [((path[first:].mean(axis=0) @ X.T - y) ** 2 @ p) / 2 for first in range(n + 1)]
    return np.array([probability @ loss for loss in losses]) - (X @ best - y) ** 2 @ p / 2


def _by_formula(problem, eta, weights, n):
    return np.array([problem.tail_average_risk(eta, weights, n, first) for first in range(n + 1)])


CASES = [(PLANE, noise, n) for n, noise in [*itertools.product([1, 3], _noises(2, 1)), *itertools.product([2], _noises(2, 1.5))]]
CASES += [(LINE, noise, 2) for noise in _noises(3, 2)] + [(SINGULAR, noise, 2) for noise in _noises(2, 1)]


@pytest.mark.parametrize(("problem", "noise", "n"), CASES, ids=[f"{len(p.initial)}D-{noise}-{n}" for p, noise, n in CASES])
def test_risks_are_those_of_all_sample_paths(problem, noise, n):
    eta = 0.4 * problem.stability_limit(noise)
    steps = _fresh(problem, lambda _: outcomes(noise), eta, noise.n)
    truth = _by_paths(problem, steps, n)
    assert _close(_by_formula(problem, eta, noise, n), truth)
    assert _close(problem.excess_risk(eta, noise, n), truth[0])
    assert _close(problem.last_iterate_risk(eta, noise, n), truth[-1])
    if len(steps[0]) ** n <= 50_000:
        assert _close(excess_risks(problem, lambda _: outcomes(noise), eta, n, n_samples=noise.n)[-1], truth[0])


def test_risks_of_all_sample_paths_can_fail():
    B, b, n, eta = 3, 2, 2, 0.1
    truth = _by_paths(LINE, _fresh(LINE, lambda _: outcomes(Gaussian(B, b, replacement=False)), eta, B), n)
    loose = (B - b) * (B - 1) / (b * B**2) + 1 / B  # own, had Var W the factor 1/B for 1/(B - 1)
    for weights in (B, Gaussian(B, b, centered=False, replacement=False), WeightMoments(loose, 1 - loose), Minibatch(B, b)):
        assert _far(_by_formula(LINE, eta, weights, n), truth)
    assert _far(_by_formula(LINE, eta, b, n + 1)[:-1], truth)
    assert _far(_by_formula(LINE, 1.01 * eta, b, n), truth)


@pytest.mark.parametrize("noise", _noises(3, 2), ids=str)
def test_fixed_data_are_all_samples_at_every_step(noise):
    weights, n = WeightMoments.fixed_data(noise), 3
    eta = 0.4 * EQUAL.stability_limit(weights)
    truth = _by_paths(EQUAL, _steps(EQUAL, [[0, 1, 2]], [1.0], lambda _: outcomes(noise), eta), n)
    assert _close(_by_formula(EQUAL, eta, weights, n), truth)
    assert _close(excess_risks(EQUAL, lambda _: outcomes(noise), eta, n)[-1], truth[0])
    assert _far(_by_formula(EQUAL, eta, noise, n), truth)  # fresh samples are another matter


def test_fixed_weights_will_do():
    """Theorem 1 needs no randomness: (3/4, 1/4) at every step are a minibatch of b = 1.6."""
    steps = _fresh(PLANE, lambda _: Outcomes(np.array([[0.75, 0.25]]), np.ones(1)), 0.1, 2)
    assert _close(_by_formula(PLANE, 0.1, 1.6, 3), _by_paths(PLANE, steps, 3))


def _larger(x):
    """All weight on the longer of two samples; a coin decides between equal ones."""
    first, second = (x**2).sum(axis=1)
    share = 0.5 + 0.5 * np.sign(first - second)
    return Outcomes(np.eye(2), np.array([share, 1 - share]))


def _louder(x):
    """Weights 1/2 +- a with E[a | x] = 0 and a^2 in proportion to the squared lengths, 1/4 on average."""
    power = PLANE.probabilities @ (PLANE.features**2).sum(axis=1)
    a = math.sqrt((x**2).sum() / (8 * power)) * np.array([1, -1])
    return Outcomes(0.5 + np.array([a, -a]), np.array([0.5, 0.5]))


@pytest.mark.parametrize("law", [_larger, _louder])
def test_weights_that_see_the_data_can_fail(law):
    """They have the covariance that Theorem 1 asks for, but over the samples, not given them."""
    mean, second = np.zeros(2), np.zeros((2, 2))
    for i, j in itertools.product(range(3), repeat=2):
        listed = law(PLANE.features[[i, j]])
        chances = PLANE.probabilities[i] * PLANE.probabilities[j] * listed.probabilities
        mean, second = mean + chances @ listed.vectors, second + (listed.vectors.T * chances) @ listed.vectors
    assert _close(mean, 0.5)
    assert _close(second - np.outer(mean, mean), Minibatch(2, 1, replacement=False).covariance_matrix())
    assert _far(_by_formula(PLANE, 0.3, 1, 3)[1:], _by_paths(PLANE, _fresh(PLANE, law, 0.3, 2), 3)[1:])


# --- Matrix recursion and other sample spaces ----------------------------------------------------------------------------------


def _recursion(Sigma, fourth, noise, third, start, eta, s, q, n, cross=2):
    """Excess risk of the average from E[delta delta'], E[delta sum'] and E[sum sum'], in any basis."""
    S = P = K = np.outer(start, start)
    mean, decay = start, np.eye(len(start)) - eta * Sigma
    for _ in range(n):
        own = np.einsum("ijkl,kl->ij", fourth, S) + noise - cross * third @ mean
        S = S - eta * (Sigma @ S + S @ Sigma) + eta**2 * (s * own + q * Sigma @ S @ Sigma)
        P, mean = decay @ P, decay @ mean
        K = K + P + P.T + S
        P = P + S
    return np.trace(Sigma @ K) / (2 * (n + 1) ** 2)


def _finite_moments(problem):
    """Sigma, E[x x x x], E[eps^2 x x'] and E[eps x x x]."""
    X, p = problem.features, problem.probabilities
    residuals, fourth = problem.targets - X @ problem.optimum, np.einsum("m,mi,mj,mk,ml->ijkl", p, X, X, X, X)
    return (X.T * p) @ X, fourth, (X.T * p * residuals**2) @ X, np.einsum("m,mi,mj,mk->ijk", p * residuals, X, X, X)


def _gaussian_moments(Sigma, noise_std):
    pairs = [np.einsum(f"{a},{b}->ijkl", Sigma, Sigma) for a, b in (("ij", "kl"), ("ik", "jl"), ("il", "jk"))]
    return Sigma, sum(pairs), noise_std**2 * Sigma, np.zeros((len(Sigma),) * 3)


RNG = np.random.default_rng(20200101)
MANY = FiniteLeastSquares(RNG.normal(size=(90, 10)), RNG.normal(size=90), RNG.normal(size=10), RNG.dirichlet(np.full(90, 9.0)))
NORMAL = LeastSquares([2.0, 0.5, 1.0], [1.0, -2.0, 0.5], 0.7)
ROTATION = np.linalg.qr(RNG.normal(size=(3, 3)))[0]


@pytest.mark.parametrize("weights", [1, 2.5, Gaussian(4, 2, centered=False), Bernoulli(3, 2)], ids=str)
@pytest.mark.parametrize("problem", [PLANE, SINGULAR, MANY, NORMAL], ids=["plane", "singular", "many", "normal"])
def test_risks_are_those_of_the_matrix_recursion(problem, weights):
    """Where Sigma is not diagonal and may be singular: SINGULAR's initial error has a part that nothing moves."""
    if problem is NORMAL:
        moments = _gaussian_moments(ROTATION @ np.diag(problem.spectrum) @ ROTATION.T, problem.noise_std)
        start = ROTATION @ problem.initial_error
    else:
        moments, start = _finite_moments(problem), problem.initial - problem.optimum
    known = WeightMoments.of(weights)
    for n, fraction in itertools.product([0, 1, 5, 15], [0.05, 0.6]):
        eta = fraction * problem.stability_limit(weights)
        truth = _recursion(*moments, start, eta, known.own, known.between, n)
        assert _close(problem.excess_risk(eta, weights, n), truth)


def test_risks_of_the_matrix_recursion_can_fail():
    Sigma, fourth, noise, third = _finite_moments(PLANE)
    start, risk = PLANE.initial - PLANE.optimum, PLANE.excess_risk(0.1, 2, 5)
    product = np.einsum("ik,lj->ijkl", Sigma, Sigma)
    assert _far(_recursion(Sigma, product, noise, third, start, 0.1, 0.5, 0.5, 5), risk)  # no fourth moment
    assert _far(_recursion(Sigma, fourth, noise, third, start, 0.1, 0.5, 0.5, 5, cross=0), risk)
    assert _far(_recursion(Sigma, fourth, noise, third, start, 0.1, 0.5, 1.0, 5), risk)
    normal = _gaussian_moments(Sigma, 1.0)[1]
    assert _far(_recursion(Sigma, normal, noise, third, start, 0.1, 0.5, 0.5, 5), risk)  # Isserlis, where nothing is normal


def _three_points(spectrum, initial_error, noise_std):
    """Replace every normal variable by three points with its first five moments; labels have an offset that must not matter."""
    law, d = product_rule(dimension=len(spectrum) + 1), len(spectrum)
    X, truth = law.vectors[:, :d] * np.sqrt(spectrum), np.arange(1.0, d + 1)
    return FiniteLeastSquares(X, X @ truth + noise_std * law.vectors[:, d], truth + initial_error, law.probabilities)


@pytest.mark.parametrize("weights", [1, 3, Gaussian(4, 2, centered=False)], ids=str)
def test_gaussian_features_are_their_three_point_rule(weights):
    finite = _three_points(NORMAL.spectrum, NORMAL.initial_error, NORMAL.noise_std)
    assert _close(finite.stability_limit(weights), NORMAL.stability_limit(weights))
    eta, n = 0.5 * NORMAL.stability_limit(weights), [0, 1, 2, 10, 100]
    for form in ("excess_risk", "last_iterate_risk"):
        assert _close(getattr(finite, form)(eta, weights, n), getattr(NORMAL, form)(eta, weights, n))
    assert _close(finite.asymptotic_constant(eta, weights), NORMAL.asymptotic_constant(eta, weights))
    for name in ("radius_squared", "noise_variance", "largest_eigenvalue", "leverage"):
        assert _close(getattr(finite.assumptions(), name), getattr(NORMAL.assumptions(), name))


def test_directions_without_data_play_no_part():
    full, part = LeastSquares([0, 2, 0, 0.5], [7, 1, -3, -2], 0.7), LeastSquares([2, 0.5], [1, -2], 0.7)
    assert full.stability_limit(2) == part.stability_limit(2)
    assert full.assumptions() == part.assumptions()
    assert full.asymptotic_constant(0.1, 2) == part.asymptotic_constant(0.1, 2)
    assert full.risk_bound(0.1, 2, 5, form="two-term") == part.risk_bound(0.1, 2, 5, form="two-term")
    assert np.array_equal(full.excess_risk(0.1, 2, [0, 3, 9]), part.excess_risk(0.1, 2, [0, 3, 9]))
    assert _far(LeastSquares([2, 0.5, 1], [1, -2, 0], 0.7).excess_risk(0.1, 2, 9), part.excess_risk(0.1, 2, 9))


@pytest.mark.parametrize("problem", [PLANE, NORMAL], ids=["plane", "normal"])
def test_many_numbers_of_steps_are_one_at_a_time(problem):
    n = np.array([[7, 0], [3, 7]])
    for form, extra in (("excess_risk", ()), ("last_iterate_risk", ()), ("tail_average_risk", (0,))):
        values = getattr(problem, form)(0.1, 2, n, *extra)
        assert values.shape == (2, 2)
        assert np.array_equal(values, [[getattr(problem, form)(0.1, 2, int(k), *extra) for k in row] for row in n])
    bound = problem.risk_bound(0.1, 2, n, form="two-term")
    assert np.array_equal(bound.bound, [[problem.risk_bound(0.1, 2, int(k), form="two-term").bound for k in row] for row in n])
    assert isinstance(problem.excess_risk(0.1, 2, 3), float) and isinstance(problem.risk_bound(0.1, 2, 3).bound, float)


@pytest.mark.parametrize("first", [None, 0, 2])
def test_a_risk_is_bias_variance_and_cross_term(first):
    parts = PLANE.risk_parts(0.1, 2, [2, 5, 9], first=first)
    X, y, p, best = PLANE.features, PLANE.targets, PLANE.probabilities, PLANE.optimum
    bias = FiniteLeastSquares(X, X @ best, PLANE.initial, p).risk_parts(0.1, 2, [2, 5, 9], first=first)
    variance = FiniteLeastSquares(X, y, best, p).risk_parts(0.1, 2, [2, 5, 9], first=first)
    mirrored = FiniteLeastSquares(X, y, 2 * best - PLANE.initial, p).risk_parts(0.1, 2, [2, 5, 9], first=first)
    assert _close(bias.total, parts.bias) and _close(variance.total, parts.variance)
    assert _close(parts.total - bias.total - variance.total, parts.cross, rtol=1e3 * CLOSE)  # a difference of larger numbers
    assert _close(mirrored.cross, -parts.cross) and (np.abs(parts.cross) > WRONG * parts.total).all()
    assert not np.any(NORMAL.risk_parts(0.1, 2, [2, 5, 9], first=first).cross) and NORMAL.well_specified


# --- Bounds --------------------------------------------------------------------------------------------------------------------


def _as_derived(a, start, eta, s, q):
    """C_1 and C_2 of all forms, their squares multiplied out."""
    radius, noise = s * a.radius_squared + q * a.largest_eigenvalue, s * a.noise_variance
    z, d = eta * radius, start.rank
    variance, bias = noise * d / (2 - z), start.squared_norm / (2 * eta * (2 - z))
    slow = noise * d / (2 * (1 - math.sqrt(z)) ** 2), start.squared_norm / (2 * eta)
    kept = start.squared_inverse_norm / eta**2 + s * a.leverage * start.squared_norm / (eta * (2 - z))  # q < 1 here
    m = 1 if start.uncorrelated else 2
    return {
        "elementary": (variance + bias + 2 * math.sqrt(variance * bias), 0.0),
        "bach-moulines": (sum(slow) + 2 * math.sqrt(slow[0] * slow[1]), 0.0),
        "two-term": (m * variance, m * kept / 2),
    }


@pytest.mark.parametrize("problem", [PLANE, LINE, NORMAL], ids=["plane", "line", "normal"])
@pytest.mark.parametrize("b", [1, 2.5])
def test_bounds_are_those_that_were_derived(problem, b):
    """Catches the cross term of Minkowski's inequality lost, 2 - z for 2, or m doubled: claims see but what attains a bound."""
    a, s = problem.assumptions(), 1 / b
    if problem is NORMAL:
        norms = (NORMAL.initial_error**2).sum(), (NORMAL.initial_error**2 / NORMAL.spectrum).sum()
    else:
        error, Sigma = problem.initial - problem.optimum, (problem.features.T * problem.probabilities) @ problem.features
        norms = error @ error, error @ np.linalg.solve(Sigma, error)
    point = StartingPoint(*map(float, norms), rank=len(problem._eigenvalues), uncorrelated=problem is NORMAL)
    eta = 0.6 / (s * a.radius_squared + (1 - s) * a.largest_eigenvalue)
    derived = _as_derived(a, point, eta, s, 1 - s)
    for form, constants in derived.items():
        bound = problem.risk_bound(eta, b, 4, form=form)
        assert _close([bound.c1, bound.c2], constants)
        assert _close(bound.bound, constants[0] / 5 + constants[1] / 25)
        assert _far(problem.risk_bound(0.99 * eta, b, 4, form=form).bound, bound.bound)


# --- Stability and the limit of many steps -------------------------------------------------------------------------------------


def _grows(operator, doublings=17):
    for _ in range(doublings):
        operator = operator @ operator
        if np.abs(operator).max() > 1e6:
            return True
    assert np.abs(operator).max() < 1e-6
    return False


@pytest.mark.parametrize("noise", [Minibatch(2, 1), Bernoulli(2, 1), Gaussian(2, 1, centered=False, replacement=False)], ids=str)
def test_stability_limit_of_finite_sample_spaces(noise):
    """Second moments are moved by E[A (x) A], written out over all steps."""
    limit = PLANE.stability_limit(noise)
    for factor in (0.999, 1.001):
        maps, _, chances = _fresh(PLANE, lambda _: outcomes(noise), factor * limit, 2)
        assert _grows(np.einsum("k,kia,kjb->ijab", chances, maps, maps).reshape(4, 4)) == (factor > 1)


def test_stability_limit_of_many_unknowns():
    Sigma, fourth, _, _ = _finite_moments(MANY)
    both = np.kron(Sigma, np.eye(10)) + np.kron(np.eye(10), Sigma)
    noise = fourth.reshape(100, 100) / 3 + 2 / 3 * np.kron(Sigma, Sigma)
    assert _close(MANY.stability_limit(3), 1 / np.linalg.eigvals(np.linalg.solve(both, noise)).real.max())


def test_the_stability_limit_is_the_same_number_in_every_call():
    """All axes of the space are alike, so that the eigensolver soon runs out of directions and goes on from random ones."""
    space = FiniteLeastSquares(np.eye(17), np.arange(17.0), np.zeros(17))
    found = {space.stability_limit(3) for _ in range(8)}
    seeded = "rng" in inspect.signature(scipy.sparse.linalg.eigsh).parameters  # before SciPy 1.17 nobody can seed them
    assert len(found) == 1 if seeded else max(found) < (1 + 1e-14) * min(found)


@pytest.mark.parametrize("problem", [PLANE, LINE, SINGULAR, NORMAL, MANY], ids=["plane", "line", "singular", "normal", "many"])
def test_asymptotic_constant_is_the_slope_of_the_recursion(problem):
    """(n + 1)^2 times the risk is a straight line in n, up to what decays exponentially; its slope is the constant."""
    for weights in (1, Bernoulli(3, 2)):
        eta, n = 0.4 * problem.stability_limit(weights), np.array([2_000, 4_000])
        slope = np.diff((n + 1.0) ** 2 * problem.excess_risk(eta, weights, n))[0] / 2_000
        assert _close(problem.asymptotic_constant(eta, weights), slope)
        assert _far(problem.asymptotic_constant(1.1 * eta, weights), slope)


@pytest.mark.parametrize("smallest", [1e-2, 1e-5, 1e-7])
def test_an_ill_conditioned_space_keeps_its_digits(smallest):
    """Three orthogonal points, whose axes do not mix: risks of one feature each, added. Sigma itself would lose the smallest."""
    axes, scales = ROTATION, np.array([1.0, 0.3, smallest])
    skew = FiniteLeastSquares(np.sqrt(3) * scales[:, np.newaxis] * axes, np.zeros(3), axes.T @ [1.0, 2.0, 3.0 / smallest])
    straight = FiniteLeastSquares(np.sqrt(3) * np.diag(scales), np.zeros(3), [1.0, 2.0, 3.0 / smallest])
    assert skew.excess_risk(0.2, 1, 5) == pytest.approx(straight.excess_risk(0.2, 1, 5), rel=1e-14 / smallest)
    assert skew.assumptions().leverage == pytest.approx(3.0, rel=1e-14 / smallest)
    assert skew.well_specified


# --- Many steps, and other units -----------------------------------------------------------------------------------------------

GAUSSIAN = LeastSquares([1.0, 0.25, 4.0], [1.0, -2.0, 0.5], 0.75)


@pytest.mark.parametrize("problem", [GAUSSIAN, PLANE, SINGULAR, LINE])
@pytest.mark.parametrize("first", [None, 0, 7])
def test_powers_of_the_recursion_are_its_steps(problem, first, monkeypatch):
    """Catches a sum that starts too early, a step too many, and label noise or cross term lost in the matrix."""
    eta, n = 0.3 * problem.stability_limit(1.5), [9, 7, 64, 1001]
    stepped = problem.risk_parts(eta, 1.5, n, first=first)
    monkeypatch.setattr(second_moments, "_STEPPED", 8)
    powered = problem.risk_parts(eta, 1.5, n, first=first)
    for part in ("bias", "variance", "cross"):
        scale = np.abs(stepped.total).max()
        np.testing.assert_allclose(getattr(powered, part), getattr(stepped, part), rtol=1e-9, atol=1e-15 * scale)
    assert not np.allclose(powered.total, problem.risk_parts(eta, 1.5, np.array(n) + 1, first=first).total, rtol=1e-5)


@pytest.mark.parametrize("power", [5, 9, 13, 17])
@pytest.mark.parametrize("spectrum", [(1.3,), (1.3, 0.7e-6)])
def test_risks_after_small_steps_keep_their_digits(power, spectrum):
    """Catches 1 - eta lambda that has lost eta lambda: 7e-8 were missing after 10^10 steps, a fifth after 10^16.

    The same recursion in 60 digits: S of each axis, E[delta_t s_t] of the sum so far, and the square of the sum.
    """
    n, start, noise_std, b = 10**power, [0.7, -0.4][: len(spectrum)], 0.4, 3
    eta = 0.9 / n if len(spectrum) == 1 else 30.0 / n  # some are forgotten altogether, others just begin to be
    d, own, between = len(spectrum), mpmath.mpf(1) / b, 1 - mpmath.mpf(1) / b
    with mpmath.workdps(60):
        lam, h = [mpmath.mpf(v) for v in spectrum], mpmath.mpf(eta)
        A = mpmath.eye(2 * d + 2)  # S, U, total, 1
        for i in range(d):
            A[i, i] = 1 - 2 * h * lam[i] + h**2 * (between + 2 * own) * lam[i] ** 2
            A[i, 2 * d + 1] = h**2 * own * mpmath.mpf(noise_std) ** 2 * lam[i]
            for j in range(d):
                A[i, j] += h**2 * own * lam[i] * lam[j]
            A[d + i, d + i], A[d + i, i] = 1 - h * lam[i], 1
            A[2 * d, d + i], A[2 * d, i] = 2 * lam[i] * (1 - h * lam[i]), lam[i]
        states = mpmath.matrix([*(mpmath.mpf(v) ** 2 for v in start), *[0] * d, 0, 1])
        last = mpmath.fsum(v * s for v, s in zip(lam, (A**n * states)[:d], strict=True)) / 2
        average = (A ** (n + 1) * states)[2 * d] / 2 / (n + 1) ** 2
    problem = LeastSquares(spectrum, start, noise_std)
    assert problem.last_iterate_risk(eta, b, n) == pytest.approx(float(last), rel=1e-12)
    assert problem.excess_risk(eta, b, n) == pytest.approx(float(average), rel=1e-12)


@pytest.mark.parametrize("problem", [GAUSSIAN, PLANE])
def test_a_billion_steps_reach_the_asymptotic_constant(problem):
    eta = 0.3 * problem.stability_limit(2)
    limit = problem.asymptotic_constant(eta, 2)
    # What is left of the start goes as 1/n, also where the steps are taken one by one.
    left = [n * ((n + 1) * problem.excess_risk(eta, 2, n) / limit - 1) for n in (10**4, 10**9)]
    assert _close(*left, rtol=1e-3)
    assert _close(problem.last_iterate_risk(eta, 2, 10**9), problem.last_iterate_risk(eta, 2, 10**4), rtol=1e-9)
    assert problem.excess_risk(eta, 2, 2**63 - 1) * 2.0**63 == pytest.approx(limit)


def test_many_steps_of_many_unknowns_are_refused_before_they_are_taken():
    large = LeastSquares(np.ones(400), np.ones(400), 1.0)
    with pytest.raises(ValueError, match="n_steps must be at most 20000 for 1202 unknowns, more than 1000, got 1000000000"):
        large.excess_risk(1e-3, 1, [5, 10**9])


def test_features_of_very_different_units_all_count():
    """Catches a direction that is dropped as rounding of another one: one feature in meters, the other in femtometers."""
    problem = FiniteLeastSquares([[1e17, 0.0], [0.0, 1.0], [0.0, 2.0]], [1e17, 1.0, 4.0], [0.0, 0.0])
    np.testing.assert_allclose(problem.optimum, [1.0, 1.8], rtol=1e-14)
    mixed = FiniteLeastSquares([[1e17, 1.0], [1e17, 2.0], [-1e17, 4.0]], [3.0, 4.0, 3.0], [0.0, 0.0])
    np.testing.assert_allclose(mixed.optimum * [1e17, 1.0], np.linalg.lstsq([[1, 1], [1, 2], [-1, 4]], [3.0, 4.0, 3.0])[0])
    assert len(LeastSquares([1e17, 1.0], [1.0, 1.0], 0.0)._eigenvalues) == 2


def test_near_the_stability_limit_the_stationary_covariance_is_found_or_refused_by_name():
    limit = GAUSSIAN.stability_limit(1)
    for eta in (limit * (1 - 1e-14), limit * (1 - 1e-12)):
        with pytest.raises(ValueError, match=f"step_size must be further below the stability limit {limit:.6g}"):
            GAUSSIAN.asymptotic_constant(eta, 1)
    assert GAUSSIAN.asymptotic_constant(limit * 0.99, 1) > GAUSSIAN.asymptotic_constant(limit * 0.9, 1) > 0


def test_weights_may_be_far_from_one():
    """Catches a tolerance that is absolute: own + between = 1, up to the rounding of either."""
    noise = Gaussian(8, 1e-10)
    moments = WeightMoments.fresh(noise)
    assert moments.own == pytest.approx(8.75e9)
    assert moments.own + moments.between == pytest.approx(1, abs=1e-5)
