"""Every kernel against a plain transcription that is read off the papers: same generator, same numbers.

It would catch a wrong branch, sign, factor or covariance in a compiled kernel, a lane that is mixed up or left out, sums that go
wrong where a group of paths is half empty, and a change of the order in which normals are drawn (which is part of the contract).
The transcriptions loop over paths and samples and know nothing of lanes, sums over branches or triangular short cuts.
"""

import itertools
import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from gradnoise.simulations import langevin, least_squares, ornstein_uhlenbeck, sampling, toy
from gradnoise.simulations.seeds import Stream
from gradnoise.simulations.toy.kernel import _LANES
from gradnoise.theory._linalg import triangular_root
from gradnoise.theory.escape import PlanarLandscape
from gradnoise.theory.least_squares import LeastSquares
from gradnoise.theory.sampling import (
    Bernoulli,
    Enhanced,
    Gaussian,
    GaussianMinibatch,
    Minibatch,
    Rademacher,
    SparseGaussian,
    StudentT,
)

SEED, N_PATHS = 2024, 21
# Kernel and transcription add in different orders. A step of the toy does not stretch a difference of parameters (|1 - eta
# lambda| <= 1.4 below), so what is seen stays near 1e-13; the rest is for other compilers. A wrong term is off by over 1e-3.
CLOSE: dict[str, Any] = {"rtol": 1e-9, "atol": 1e-9}

ACROSS, ALONG = np.array([1.0, -1.0]) / math.sqrt(2), np.array([1.0, 1.0]) / math.sqrt(2)
SHARP = 20 * np.outer(ACROSS, ACROSS) + 200 * np.outer(ALONG, ALONG)


def _groups(n_paths):
    assert n_paths % _LANES  # the last group is to be half empty
    return [range(start, min(start + _LANES, n_paths)) for start in range(0, n_paths, _LANES)]


def _toy_sample(theta, x):
    """Gradient, Hessian and loss of one sample."""
    s, f = theta - 1 - x, theta + 1 - x
    sharp, flat = s @ SHARP @ s / 2, f @ f
    return (SHARP @ s, SHARP, sharp) if sharp < flat else (2 * f, 2 * np.eye(2), flat)


def _digits(generator, limits):
    """Whole numbers below each of the limits, the largest first: several are digits of one uniform number."""
    n, found, u = max(limits), [], 0.0
    together = 3 if n <= 256 else 2 if n <= 8192 else 1
    for k, limit in enumerate(limits):
        if k % together == 0:
            u = generator.random()
        u *= limit
        found.append(int(u))
        u -= found[-1]
    return found


def _toy_noise(dynamics, gradients, H, tie):
    """Shape of the noise, zhu2019, Table 1."""
    Sigma = np.mean([np.outer(g, g) for g in gradients], axis=0) - np.outer(np.mean(gradients, 0), np.mean(gradients, 0))
    u = np.array(tie) if np.allclose(H, 2 * np.eye(2)) else np.linalg.eigh(H)[1][:, -1]
    return {
        "gd": 0 * H, "gld_const": np.eye(2), "gld_diag": np.diag(np.diag(Sigma)), "gld_leading": Sigma,
        "gld_hessian": H, "gld_eigvec": np.outer(u, u), "sgd": Sigma,
    }[dynamics]  # fmt: skip


def _toy(generator, dynamics, *, n_steps, eta, power, n_data, batch_size, tie=(0.0, 1.0)):
    trajectory, indicator, loss = np.empty((N_PATHS, n_steps + 1, 2)), *np.empty((2, N_PATHS, n_steps + 1))
    batches = np.empty((0, 0), dtype=int)
    root = math.sqrt(1e-3) * np.outer(ACROSS, ACROSS) + math.sqrt(1e-4) * np.outer(ALONG, ALONG)
    shares = set()
    for group in _groups(N_PATHS):
        data = {p: [root @ [generator.standard_normal(), generator.standard_normal()] for _ in range(n_data)] for p in group}
        trajectory[group, 0] = 1.0
        for t, p in itertools.product(range(n_steps + 1), group):
            if dynamics == "sgd" and t < n_steps and p == group[0]:  # three samples from a uniform number of each path
                thirds = [generator.random(len(group)) for _ in range(-(-batch_size // 3))]
                batches = np.array([np.floor(u * n_data**k % 1 * n_data) for u in thirds for k in range(3)]).astype(int)[
                    :batch_size
                ]
            theta = trajectory[p, t]
            gradients, hessians, losses = zip(*(_toy_sample(theta, x) for x in data[p]), strict=True)
            H, step = np.mean(hessians, axis=0), -eta * np.mean(gradients, axis=0)
            C = _toy_noise(dynamics, gradients, H, tie)
            C = C * eta**2 / batch_size if dynamics == "sgd" else C * power / (np.trace(C) or 1)
            loss[p, t], indicator[p, t] = np.mean(losses), np.trace(H @ C)
            shares.add(int(H[0, 1] > 0) + int(H[0, 1] > 89.999))  # 0, 1, 2: no, some, all samples on the sharp branch
            if t == n_steps:
                continue
            if dynamics == "sgd":
                step = -eta * np.mean([gradients[k] for k in batches[:, p - group[0]]], axis=0)
            elif dynamics == "gld_eigvec":  # one direction, one normal
                step = step + np.sqrt(np.diag(C)) * generator.standard_normal()
            elif dynamics != "gd":
                step = step + np.linalg.cholesky(C) @ [generator.standard_normal(), generator.standard_normal()]
            trajectory[p, t + 1] = theta + step
    return trajectory, indicator, loss, shares


@pytest.mark.parametrize("convention", toy.CONVENTIONS)
@pytest.mark.parametrize("dynamics", toy.DYNAMICS)
def test_toy(dynamics, convention):
    quiet = dynamics in ("gd", "sgd")
    # Where descent is to leave the sharp basin by itself, it needs eta lambda_1 = 2.4.
    n_steps, n_data, eta = (25, 7, 0.012) if quiet else (60, 7, 0.005)
    power = 1.0 if convention == "released" else 1 / eta**2
    how = {"n_steps": n_steps, "n_data": n_data, "batch_size": 3 if dynamics == "sgd" else None}
    result = toy.simulate(
        dynamics, N_PATHS, rng=SEED, step_size=eta, noise_power=power, convention=convention, record=toy.RECORDS, **how
    )
    power_of_a_step = power if convention == "released" else eta**2 * power
    trajectory, indicator, loss, shares = _toy(Stream.of(SEED).generator(0), dynamics, eta=eta, power=power_of_a_step, **how)
    np.testing.assert_allclose(result.recorded("trajectory"), trajectory, **CLOSE)
    np.testing.assert_allclose(result.final, trajectory[:, -1], **CLOSE)
    np.testing.assert_allclose(result.recorded("indicator"), indicator, **CLOSE)
    np.testing.assert_allclose(result.recorded("loss"), loss, **CLOSE)
    below = np.asarray((trajectory < -0.5).all(axis=2))
    assert np.array_equal(result.success, below[:, -1])
    assert np.array_equal(result.escape_step, [next((t for t in range(1, n_steps + 1) if path[t]), -1) for path in below])
    assert shares == {0, 1, 2}  # all of the kernel's branches were visited
    if not quiet:
        assert 0 < below[:, -1].sum() < N_PATHS


def test_toy_without_records_is_the_same_run():
    how = {"rng": SEED, "n_steps": 25, "n_data": 7, "noise_power": 1.0}
    for dynamics in toy.DYNAMICS:
        how["batch_size"] = 3 if dynamics == "sgd" else None
        plain, recorded = (toy.simulate(dynamics, N_PATHS, record=names, **how) for names in ((), toy.RECORDS))
        np.testing.assert_allclose(plain.final, recorded.final, **CLOSE)
        assert plain.trajectory is plain.indicator is plain.loss is None


def test_toy_tie_direction():
    how = {"n_steps": 60, "n_data": 7}
    options: dict[str, Any] = {"noise_power": 1.0, "record": "trajectory"}
    found, other = (
        toy.simulate("gld_eigvec", N_PATHS, rng=SEED, tie_direction=tie, **how, **options).trajectory
        for tie in ((6.0, 8.0), (-6.0, 8.0))
    )
    expected, *_ = _toy(Stream.of(SEED).generator(0), "gld_eigvec", eta=0.005, power=1.0, batch_size=None, tie=(0.6, 0.8), **how)
    assert found is not None and other is not None
    np.testing.assert_allclose(found, expected, **CLOSE)
    assert not np.allclose(other, expected)


H3 = np.array([[3.0, 0.4, -0.2], [0.4, 1.0, 0.5], [-0.2, 0.5, 2.0]])
SIGMA3 = np.array([[1.0, 0.3, 0.0], [0.3, 0.5, -0.2], [0.0, -0.2, 0.8]])
RANK1 = np.outer([1.0, -2.0, 0.5], [1.0, -2.0, 0.5])
OU_CASES = [(H3, SIGMA3), (RANK1, SIGMA3), (H3, RANK1), ([[2.0]], [[0.7]])]


@pytest.mark.parametrize(("H", "Sigma"), OU_CASES, ids=["full", "flat", "thin", "1d"])
@pytest.mark.parametrize("method", ["exact", "euler"])
@pytest.mark.parametrize("n_paths", [1, N_PATHS, 70])
def test_ornstein_uhlenbeck(H, Sigma, method, n_paths):
    lanes = ornstein_uhlenbeck._LANES
    assert n_paths % lanes
    H, Sigma, t, eta = np.array(H), np.array(Sigma), 0.6, 0.05
    lam, U = np.linalg.eigh(H)
    rate = np.add.outer(lam, lam) + 1e-300
    transition = -np.expm1(-rate * t) / rate * (U.T @ Sigma @ U)
    if method == "exact":
        noise, n_steps, A = transition, 1, 0 * H
    else:  # summed as the driver does: the root of a singular matrix shows the square root of its rounding
        noise, n_steps, A = U.T @ (eta * Sigma) @ U, 12, np.eye(len(H)) - eta * H
    L = U @ triangular_root(noise)
    theta, generator = np.zeros((n_paths, len(H))), Stream.of(SEED).generator(0)
    for start in range(0, n_paths, lanes):
        group = range(start, min(start + lanes, n_paths))
        for _ in range(n_steps):
            z = [[generator.standard_normal() for _ in group] for _ in H]
            for k, p in enumerate(group):
                theta[p] = A @ theta[p] + L @ [row[k] for row in z]
    losses = np.array([x @ H @ x / 2 for x in theta])
    level = float(np.median(losses)) + 1e-3

    step = eta if method == "euler" else None
    result = ornstein_uhlenbeck.simulate(H, Sigma, t, n_paths, rng=SEED, method=method, step_size=step, deltas=[level])
    np.testing.assert_allclose(result.loss.value, losses.mean(), **CLOSE)
    np.testing.assert_allclose(result.covariance, np.mean([np.outer(x, x) for x in theta], axis=0), **CLOSE)
    assert result.exceedance[0].successes == (losses >= level).sum()
    if n_paths > 1:
        np.testing.assert_allclose(result.loss.standard_error, losses.std(ddof=1) / math.sqrt(n_paths), **CLOSE)
        products = np.array([np.outer(x, x) for x in theta])
        np.testing.assert_allclose(result.covariance_error, products.std(axis=0, ddof=1) / math.sqrt(n_paths), **CLOSE)


@pytest.mark.parametrize("covariance", [SIGMA3, RANK1, 0 * RANK1, np.diag([0.0, 1.0, 0.0])], ids=["full", "thin", "zero", "axis"])
def test_triangular_root(covariance):
    L = triangular_root(covariance)
    assert np.array_equal(L, np.tril(L))
    np.testing.assert_allclose(L @ L.T, covariance, atol=1e-14)


LANDSCAPE = PlanarLandscape(quadratic=0.3, quartic=1.1, tilt=-0.2, stiffness=0.7, shear=0.4)
SIGMA2 = np.array([[0.5, 0.2], [0.2, 0.3]])


def _langevin_root():
    values, vectors = np.linalg.eigh(SIGMA2)
    return vectors @ np.diag(np.sqrt(values)) @ vectors.T


def test_langevin():
    step, n_steps = 0.05, 12
    result = langevin.simulate(LANDSCAPE, SIGMA2, (-0.8, 0.3), step, n_steps, N_PATHS, rng=SEED)
    generator = Stream.of(SEED).generator(0)
    for p in range(N_PATHS):
        theta, dissipation, injection = np.array([-0.8, 0.3]), 0.0, 0.0
        for _ in range(n_steps):
            gradient = LANDSCAPE.gradient(*theta)
            dissipation += step * gradient @ gradient
            injection += step * np.trace(LANDSCAPE.hessian(theta[0]) @ SIGMA2)
            z = np.array([generator.standard_normal(), generator.standard_normal()])
            theta = theta - step * gradient + math.sqrt(step) * _langevin_root() @ z
        expected = LANDSCAPE.loss(*theta) - LANDSCAPE.loss(-0.8, 0.3), dissipation, injection
        np.testing.assert_allclose([result.increase[p], result.dissipation[p], result.injection[p]], np.array(expected), **CLOSE)


def test_compiled_kernel_is_its_own_source(monkeypatch):
    step = 0.05
    shape = langevin._Shape(quadratic=0.3, quartic=1.1, tilt=-0.2, stiffness=0.7, shear=0.4)
    scheme = langevin._Scheme(shape, SIGMA2, math.sqrt(step) * _langevin_root(), np.array([-0.8, 0.3]), step, 12)
    compiled, interpreted = np.empty((3, 4)), np.empty((3, 4))
    langevin._run_paths(np.random.default_rng(SEED), scheme, compiled)
    for part in ("_gradient", "_trace", "_step"):
        monkeypatch.setattr(langevin, part, getattr(langevin, part).py_func)
    langevin._run_paths.py_func(np.random.default_rng(SEED), scheme, interpreted)
    np.testing.assert_allclose(compiled, interpreted, rtol=1e-13)


def _chosen(generator, n, size, replacement, pool):
    if replacement:
        return _digits(generator, [n] * size)
    for k, digit in enumerate(_digits(generator, range(n, n - size, -1))):  # Fisher-Yates, from what the last draw left
        pool[k], pool[k + digit] = pool[k + digit], pool[k]
    return pool[:size]


def _signs(generator, n):
    """Binary digits of uniform numbers, the lowest first: 53 each has."""
    found = []
    while len(found) < n:
        u = Fraction(generator.random())
        found += [1.0 if int(u * 2 ** (53 - k)) % 2 else -1.0 for k in range(53)]
    return found[:n]


def _student(generator, df):
    """A normal over the root of chi-squared over df, twice a gamma variate: Marsaglia and Tsang (2000), without the squeeze."""
    d = df / 2 - 1 / 3
    while True:
        x = generator.standard_normal()
        v = (1 + x / math.sqrt(9 * d)) ** 3
        if v <= 0:
            continue
        if math.log(1 - generator.random()) < x**2 / 2 + d - d * v + d * math.log(v):
            return generator.standard_normal() / math.sqrt(2 * d * v / df)


def _rare(generator, n, b):
    """Positions from one success of probability b/n to the next."""
    w, position = np.zeros(n), -1
    while True:
        u = 1 - generator.random()
        position += 1 + math.floor(math.log(u) / math.log(1 - b / n))
        if position >= n:
            return w
        w[position] = 1 / b


def _cov_scale(noise):
    """Factor that gives a component of the support-centred normals the variance (1 - 1/n)/(b n)."""
    n, B = noise.n, noise.support_size
    batches = list(itertools.product(range(n), repeat=B) if noise.replacement else itertools.combinations(range(n), B))
    variance = 0.0
    for batch in batches:
        m = np.bincount(batch, minlength=n)
        loading = m[0] * (np.eye(n)[0] - m / B)  # of m_0 (eps_0 - m . eps / B) on eps
        variance += loading @ loading / len(batches)
    return math.sqrt((1 - 1 / n) / (noise.batch_size * n) / variance)


def _weights(noise, generator, pool):
    n = noise.n
    match noise:
        case Gaussian() | Rademacher() | StudentT():
            b = noise.batch_size
            if isinstance(noise, Gaussian):
                eps = generator.standard_normal(n)
            elif isinstance(noise, Rademacher):
                eps = np.array(_signs(generator, n))
            else:
                eps = np.array([_student(generator, noise.df) for _ in range(n)]) / math.sqrt(noise.df / (noise.df - 2))
            power = 1 / (b * n) if noise.replacement else (n - b) / (b * n * (n - 1))
            return 1 / n + math.sqrt(power) * (eps - eps.mean() if noise.centered else eps)
        case Bernoulli(batch_size=b):
            return _rare(generator, n, b) if b <= n / 5 else (generator.random(n) < b / n) / b
        case Minibatch(batch_size=b):
            return np.bincount(_chosen(generator, n, b, noise.replacement, pool), minlength=n) / b
        case GaussianMinibatch(batch_size=B):
            chosen = list(_chosen(generator, n, B, noise.replacement, pool))
            z = np.array([generator.standard_normal() for _ in range(B)])
            z = math.sqrt(B / (B - 1)) * (z - z.mean()) if noise.centered else z
            return np.bincount(chosen, weights=1 / B + z / math.sqrt(noise.noise_batch_size * B), minlength=n)
        case SparseGaussian(batch_size=b, support_size=B):
            m = np.bincount(_chosen(generator, n, B, noise.replacement, pool), minlength=n)
            eps = np.array([generator.standard_normal() if m[i] or noise.form == "printed" else 0.0 for i in range(n)])
            if noise.form == "cov":
                return 1 / n + _cov_scale(noise) * m * (eps - m @ eps / B)
            return 1 / n + math.sqrt(B / b) * (m / B - (1 / n if noise.form == "printed" else 0)) * eps


def _draws(noise, size, generator):
    if isinstance(noise, Enhanced):
        first, second = _draws(noise.base, size, generator), _draws(noise.base, size, generator)
        return noise.alpha * first + (1 - noise.alpha) * second
    pool = list(range(noise.n))
    return np.array([_weights(noise, generator, pool) for _ in range(size)])


NOISES = [make(replacement) for replacement in (True, False) for make in (
    lambda r: Minibatch(5, 3, r),
    *(lambda r, c=c: Gaussian(5, 2.5, c, r) for c in (True, False)),
    *(lambda r, c=c: Rademacher(5, 3, c, r) for c in (True, False)),
    *(lambda r, c=c: StudentT(5, 3, 4.5, c, r) for c in (True, False)),
    *(lambda r, form=form: SparseGaussian(4, 2.5, 3, form, r) for form in ("fisher", "cov", "printed")),
    *(lambda r, c=c: GaussianMinibatch(5, 3, 1.7, c, r) for c in (True, False)),
    lambda r: Enhanced(Minibatch(5, 3, r), 1.6),
)] + [Bernoulli(5, 2), Bernoulli(11, 2), Minibatch(300, 7), Minibatch(9000, 5, False), Rademacher(130, 4)]  # fmt: skip


@pytest.mark.parametrize("noise", NOISES, ids=repr)
def test_draw(noise):
    found = sampling.draw(noise, 40, rng=SEED)
    np.testing.assert_allclose(found, _draws(noise, 40, Stream.of(SEED).generator(0)), rtol=1e-12, atol=1e-14)


def _least_squares(generator, problem, noise, eta, steps, n_paths):
    """Risks of averaged and last iterate, wu2020, Eqs. (3) and (4), in the coordinates of the parameters."""
    lam, d, pool = problem.spectrum, len(problem.spectrum), list(range(noise.n))
    once = isinstance(noise, Minibatch) and not noise.replacement  # b times 1/b, and one draw of which samples they are
    w, rows = None, []
    for _ in range(n_paths):
        iterates, averaged, last = [problem.initial_error], [], []
        for _ in range(max(steps)):
            w = w if once and w is not None else _weights(noise, generator, pool)
            gradient = np.zeros(d)
            assert w is not None
            for weight in w[w != 0]:
                x = np.sqrt(lam) * np.array([generator.standard_normal() for _ in range(d)])
                gradient += weight * (x @ iterates[-1] - problem.noise_std * generator.standard_normal()) * x
            iterates.append(iterates[-1] - eta * gradient)
        for n in steps:
            averaged.append(0.5 * lam @ np.mean(iterates[: n + 1], axis=0) ** 2)
            last.append(0.5 * lam @ iterates[n] ** 2)
        rows.append(averaged + last)
    return np.mean(rows, axis=0)


@pytest.mark.parametrize(
    "noise",
    [
        Minibatch(7, 3, replacement=False),
        Minibatch(3, 5),
        Gaussian(6, 2.5, replacement=False),
        Rademacher(5, 2, centered=False),
        StudentT(4, 2, 9, replacement=False),
        Bernoulli(9, 2),
    ],
    ids=repr,
)
@pytest.mark.parametrize(
    "problem", [LeastSquares([2.0, 0.0, 0.3], [1.0, 5.0, -2.0], 0.7), LeastSquares([1.3], [0.4], 0.0)], ids=repr
)
def test_least_squares(noise, problem):
    steps = [0, 1, 4, 9]
    curve = least_squares.simulate_curve(problem, noise, 0.1, steps, N_PATHS, rng=SEED)
    expected = _least_squares(Stream.of(SEED).generator(0), problem, noise, 0.1, steps, N_PATHS)
    np.testing.assert_allclose([e.value for e in curve.averaged + curve.last], expected, rtol=1e-10)
    mean = least_squares.simulate(problem, noise, 0.1, 9, N_PATHS, rng=SEED)
    assert mean.value == curve.averaged[-1].value


def test_least_squares_in_numpy():
    """A class without a compiled form: weights of all paths, then the samples of all paths, at every step."""
    problem, noise, eta, steps = (
        LeastSquares([2.0, 0.0, 0.3], [1.0, 5.0, -2.0], 0.7),
        Enhanced(Minibatch(7, 3), 1.3),
        0.1,
        [0, 1, 4],
    )
    curve = least_squares.simulate_curve(problem, noise, eta, steps, N_PATHS, rng=SEED)
    generator, lam = Stream.of(SEED).generator(0), problem.spectrum
    iterates = [np.tile(problem.initial_error, (N_PATHS, 1))]
    for _ in range(max(steps)):
        W = _draws(noise, N_PATHS, generator)
        delta = iterates[-1].copy()
        for p, i in np.ndindex(W.shape):
            x = np.sqrt(lam) * np.array([generator.standard_normal() for _ in lam])
            delta[p] -= eta * W[p, i] * (x @ iterates[-1][p] - problem.noise_std * generator.standard_normal()) * x
        iterates.append(delta)
    averaged = [np.mean(0.5 * np.mean(iterates[: n + 1], axis=0) ** 2 @ lam) for n in steps]
    last = [np.mean(0.5 * iterates[n] ** 2 @ lam) for n in steps]
    np.testing.assert_allclose([e.value for e in curve.averaged + curve.last], averaged + last, rtol=1e-10)
