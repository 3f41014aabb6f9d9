"""Covariances in parameter space against loops over all batches, and the noises of Table 1 of zhu2019 against their definitions.

It would catch a wrong finite-population factor, a mean gradient that is not taken off (or taken off the Fisher matrix), a
rank-k part made of the wrong eigenvectors or rescaled in passing, a dynamics with the wrong shape of noise or another trace than
the rest, and bad arguments that pass.
"""

import itertools
import math
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gradnoise.theory.gradient_noise import (
    DYNAMICS,
    dynamics_covariance,
    fisher,
    isotropic_equivalent,
    leading,
    match_trace,
    sgd_covariance,
)

EPS = np.finfo(float).eps
# Sums of a few hundred products at most, compared at the size of the largest: 1000 units in the last place. The eigenvectors of a
# small matrix are as exact where they meet again in V diag(gamma) V'; it is only each one alone that may be ill-conditioned.
ULPS = 1000
NOISY = [name for name in DYNAMICS if name != "gd"]

entries = st.integers(-12, 12).map(lambda k: k / 4)


def _matrices(rows, columns):
    return st.tuples(rows, columns).flatmap(lambda shape: hnp.arrays(float, shape, elements=entries))


gradient_matrices = _matrices(st.integers(1, 3), st.integers(2, 5))
# A with C = A A', of full rank or not.
factors = _matrices(st.integers(1, 4), st.integers(1, 5)).filter(lambda A: np.abs(A).max() > 0)


def _close(first, second, scale):
    return np.allclose(first, second, rtol=0, atol=ULPS * EPS * scale)


def _loop_over_batches(G, b, replacement):
    """E (g - E g)(g - E g)', g the mean of the columns of a batch: zhu2019, Eq. (5), before it is simplified."""
    n = G.shape[1]
    batches = itertools.product(range(n), repeat=b) if replacement else itertools.combinations(range(n), b)
    g = [sum(G[:, i] for i in batch) / b for batch in batches]
    mean = sum(g) / len(g)
    return sum(np.outer(each - mean, each - mean) for each in g) / len(g)


@settings(max_examples=60)
@given(gradient_matrices, st.integers(1, 4), st.booleans())
def test_sgd_covariance_is_that_of_all_batches(G, b, replacement):
    b = b if replacement else min(b, G.shape[1])
    assert _close(sgd_covariance(G, b, replacement), _loop_over_batches(G, b, replacement), (G**2).sum())


def test_sgd_covariance_can_fail():
    G = np.array([[1.0, 2.0, -1.0, 4.0], [0.0, 1.0, 1.0, -2.0]])
    with_, without = (_loop_over_batches(G, 2, replacement) for replacement in (True, False))
    assert not _close(sgd_covariance(G, 2, True), without, (G**2).sum())
    assert not _close(sgd_covariance(G, 2, False), with_ * (4 - 2) / 4, (G**2).sum())  # (n - b)/n for (n - b)/(n - 1)
    assert not _close(fisher(G) / 2, with_, (G**2).sum())  # the mean gradient not taken off


def test_the_whole_set_has_no_noise_and_needs_none():
    G = np.array([[1.0, 2.0, -1.0], [0.0, 1.0, 1.0]])
    assert np.array_equal(sgd_covariance(G, 3, replacement=False), np.zeros((2, 2)))
    assert np.array_equal(sgd_covariance(np.ones((2, 4)), 2), np.zeros((2, 2)))


@given(gradient_matrices)
def test_fisher_is_the_mean_of_outer_products(G):
    literal = sum(np.outer(g, g) for g in G.T) / G.shape[1]
    assert _close(fisher(G), literal, (G**2).sum())
    mean = G.sum(axis=1) / G.shape[1]
    assert _close(sgd_covariance(G, 1), literal - np.outer(mean, mean), (G**2).sum())


# --- The rank-k part -----------------------------------------------------------------------------------------------------------


@given(factors, st.data())
def test_leading_is_the_best_approximation_of_its_rank(A, data):
    C, d = A @ A.T, len(A)
    k = data.draw(st.integers(1, d))
    gamma = np.zeros(d)
    singular = np.linalg.svd(A, compute_uv=False)
    gamma[: len(singular)] = singular**2
    part, scale = leading(C, k), gamma[0]
    assert _close(part, part.T, scale)
    assert math.isclose(np.trace(part), gamma[:k].sum(), rel_tol=ULPS * EPS)
    assert np.linalg.matrix_rank(part, tol=ULPS * EPS * scale) <= k
    best = np.sqrt((gamma[k:] ** 2).sum())  # Eckart and Young (1936)
    assert abs(np.linalg.norm(C - part) - best) <= ULPS * EPS * scale
    rival = data.draw(hnp.arrays(float, (d, k), elements=entries))
    basis = np.linalg.qr(rival)[0]
    assert np.linalg.norm(C - basis @ basis.T @ C) >= best - ULPS * EPS * scale


def test_leading_can_fail():
    C = np.diag([5.0, 3.0, 1.0])
    assert np.linalg.norm(C - leading(C, 1)) == pytest.approx(math.sqrt(10))
    smallest = np.diag([0.0, 0.0, 1.0])
    assert np.linalg.norm(C - smallest) > math.sqrt(10) + 1
    assert np.trace(leading(C, 1)) != np.trace(C)  # unscaled


# --- The trace constraint ------------------------------------------------------------------------------------------------------


@given(factors, st.integers(0, 40).map(lambda k: k / 8))
def test_traces_are_matched(A, trace):
    C = A @ A.T
    scaled, isotropic = match_trace(C, trace), isotropic_equivalent(C)
    assert math.isclose(np.trace(scaled), trace, rel_tol=ULPS * EPS)
    assert _close(scaled * np.trace(C), C * trace, np.trace(C) * trace)  # a multiple of C
    assert np.array_equal(isotropic, isotropic[0, 0] * np.eye(len(C)))
    assert math.isclose(np.trace(isotropic), (A**2).sum(), rel_tol=ULPS * EPS)


def _table_1(dynamics, C, H, k):
    """Shape of the noise, up to its scale: a rank-k part is a sum of lambda u u', from the solver for matrices of any kind."""
    values, vectors = np.linalg.eig(H if dynamics in ("gld_hessian", "gld_eigvec") else C)
    order = sorted(range(len(C)), key=lambda i: -values[i].real)
    k = 1 if dynamics == "gld_eigvec" else k
    if dynamics == "gld_const":
        return np.eye(len(C))
    if dynamics == "gld_diag":
        return np.array([[C[i, j] if i == j else 0.0 for j in range(len(C))] for i in range(len(C))])
    values, vectors = np.real(values), np.real(vectors)
    return sum(values[i] * np.outer(vectors[:, i], vectors[:, i]) for i in order[:k])


C3 = np.array([[4.0, 1.0, 0.5], [1.0, 3.0, -1.0], [0.5, -1.0, 2.0]])
H3 = np.array([[1.0, -0.5, 0.0], [-0.5, 2.0, 0.75], [0.0, 0.75, 5.0]])


@pytest.mark.parametrize("k", [None, 1, 2, 3])
@pytest.mark.parametrize("dynamics", NOISY)
def test_dynamics_have_the_noise_of_table_1(dynamics, k):
    shape = _table_1(dynamics, C3, H3, k or 3)
    got = dynamics_covariance(dynamics, C3, H3, 0.75, k)
    assert _close(got, 0.75 * shape / np.trace(shape), 1)


def test_dynamics_can_fail():
    shapes = [dynamics_covariance(name, C3, H3, 0.75, 2) for name in NOISY]
    for first, second in itertools.combinations(shapes, 2):
        assert not _close(first, second, 1)


@pytest.mark.parametrize("dynamics", NOISY)
@settings(max_examples=30)
@given(factors, st.data())
def test_noisy_dynamics_share_one_trace_and_are_covariances(dynamics, A, data):
    B = data.draw(hnp.arrays(float, A.shape, elements=entries).filter(lambda B: np.abs(B).max() > 0))
    k, trace = data.draw(st.integers(1, len(A))), data.draw(st.sampled_from([0.0, 1e-6, 0.01, 30.0]))
    noise = dynamics_covariance(dynamics, A @ A.T, B @ B.T, trace, k)
    assert math.isclose(np.trace(noise), trace, rel_tol=ULPS * EPS)
    assert _close(noise, noise.T, trace)
    assert np.linalg.eigvalsh(noise)[0] >= -ULPS * EPS * trace


@given(factors)
def test_gradient_descent_has_no_noise(A):
    assert not dynamics_covariance("gd", A @ A.T, A @ A.T, 0.01).any()


# --- Bad input -----------------------------------------------------------------------------------------------------------------

I2, NAN = np.eye(2), np.array([[1.0, math.nan], [math.nan, 1.0]])
BAD = [
    (lambda: sgd_covariance([1.0, 2.0], 1), ValueError, "gradients must have 2 dimension"),
    (lambda: sgd_covariance(NAN, 1), ValueError, "gradients must be finite"),
    (lambda: sgd_covariance(I2, 0), ValueError, "batch_size must be >= 1"),
    (lambda: sgd_covariance(I2, 3, replacement=False), ValueError, "batch_size must be between 1 and 2"),
    (lambda: sgd_covariance(I2, cast(Any, 1.0)), TypeError, "batch_size must be an integer"),
    (lambda: sgd_covariance(I2, 1, cast(Any, 0)), TypeError, "replacement must be True or False"),
    (lambda: sgd_covariance([["a"]], 1), TypeError, "gradients must be an array of real numbers"),
    (lambda: fisher([1.0, 2.0]), ValueError, "gradients"),
    (lambda: fisher(np.ones((2, 0))), ValueError, "gradients must have a column per sample"),
    (lambda: leading(I2, 3), ValueError, "k must be between 1 and 2"),
    (lambda: leading(I2, 0), ValueError, "k must be between 1 and 2"),
    (lambda: leading(I2, True), TypeError, "k must be an integer"),
    (lambda: leading([[1, 2], [3, 4]], 1), ValueError, "covariance must be symmetric"),
    (lambda: leading(-I2, 1), ValueError, "covariance must be positive semi-definite"),
    (lambda: leading(np.ones((2, 3)), 1), ValueError, "covariance must be square"),
    (lambda: leading(np.ones((0, 0)), 1), ValueError, "covariance must be square and not empty"),
    (lambda: isotropic_equivalent(NAN), ValueError, "covariance must be finite"),
    (lambda: match_trace(I2, -1), ValueError, "trace must be >= 0"),
    (lambda: match_trace(I2, math.nan), ValueError, "trace must be finite"),
    (lambda: match_trace(I2, cast(Any, "1")), TypeError, "trace"),
    (lambda: match_trace(I2, cast(Any, [1.0, 2.0])), (TypeError, ValueError), "trace"),
    (lambda: match_trace(0 * I2, 1), ValueError, "covariance must not be zero"),
    (lambda: dynamics_covariance("sgd", I2, I2, 1), ValueError, "dynamics must be one of gd, gld_const"),
    (lambda: dynamics_covariance("gd", I2, NAN, 1), ValueError, "hessian must be finite"),
    (lambda: dynamics_covariance("gd", I2, np.eye(3), 1), ValueError, "covariance and hessian must have equal shapes"),
    (lambda: dynamics_covariance("gld_leading", I2, I2, 1, k=3), ValueError, "k must be between 1 and 2"),
    (lambda: dynamics_covariance("gld_const", I2, I2, 1, k=3), ValueError, "k must be between 1 and 2"),
    (lambda: dynamics_covariance("gd", I2, I2, -1), ValueError, "trace must be >= 0"),
    (lambda: dynamics_covariance("gld_hessian", I2, 0 * I2, 1), ValueError, "hessian must not be zero"),
]


@pytest.mark.parametrize(("call", "error", "says"), BAD, ids=[f"{i}-{says}" for i, (_, _, says) in enumerate(BAD)])
def test_bad_input_is_named(call, error, says):
    with pytest.raises(error, match=says):
        call()
