"""Eigenvalues and singular values of graded matrices, against mpmath; and that they do not depend on units and order.

It would catch a small eigenvalue that counts as zero because another is large, a zero that comes out as an eigenvalue, a value
with the error of the largest one, eigenvectors that are not orthogonal, and a factor that is not one.
"""

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradnoise.theory._blocks import uncoupled_blocks
from gradnoise.theory._linalg import accurate_svd, psd_axes, psd_eigh, psd_root, triangular_root
from gradnoise.theory._powers import after_steps

SHARP = 1e-12  # well above rounding times the condition of the matrices below, without their grading
HALF = 1e-7  # LAPACK's solver is good enough while it keeps half of the digits: rounding times 2^26, times a few


def _well_conditioned(generator, d, n):
    left, _ = np.linalg.qr(generator.normal(size=(d, d)))
    right, _ = np.linalg.qr(generator.normal(size=(n, n)))
    return (left * generator.uniform(1, 3, size=d)) @ right[:d]


def _eigenvalues(matrix):
    with mpmath.workdps(400):
        return sorted(float(value) for value in mpmath.eigsy(mpmath.matrix(matrix.tolist()), eigvals_only=True))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 6), st.integers(0, 120))
def test_graded_matrices_have_the_eigenvalues_that_their_entries_determine(seed, d, decades):
    generator = np.random.default_rng(seed)
    B = _well_conditioned(generator, d, d + 1) * 10.0 ** generator.uniform(-decades / 2, decades / 2, size=(d, 1))
    matrix = B @ B.T
    matrix = np.triu(matrix) + np.triu(matrix, 1).T
    values, vectors = psd_eigh(matrix)
    np.testing.assert_allclose(values, _eigenvalues(matrix), rtol=HALF)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(d), rtol=0, atol=SHARP)
    scale = np.sqrt(np.outer(np.diag(matrix), np.diag(matrix)))
    for root in (psd_axes(matrix), triangular_root(matrix)):
        np.testing.assert_allclose(root @ root.T / scale, matrix / scale, rtol=0, atol=HALF)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 5), st.integers(0, 3), st.integers(0, 60), st.booleans())
def test_scaled_rows_and_columns_leave_the_singular_values_that_are_determined(seed, d, more, decades, transposed):
    generator = np.random.default_rng(seed)
    of_rows, of_columns = (10.0 ** generator.uniform(-decades / 2, decades / 2, size=size) for size in (d, d + more))
    matrix = _well_conditioned(generator, d, d + more) * of_columns * of_rows[:, np.newaxis]
    left, values, right = accurate_svd(matrix.T if transposed else matrix)
    with mpmath.workdps(400):
        truth = sorted((float(s) for s in mpmath.svd_r(mpmath.matrix(matrix.tolist()), compute_uv=False)), reverse=True)
    assert len(values) == d
    # Scaled on one side alone the values are determined to rounding; on both, as far as the scales are not at odds.
    np.testing.assert_allclose(values, truth, rtol=1e-6)
    np.testing.assert_allclose((left * values) @ right, matrix.T if transposed else matrix, rtol=0, atol=1e-13 * truth[0])


def test_eigenvalues_can_fail():
    scale = np.array([1.0, 1e8, 1e-4, 1e6])
    graded = (np.eye(4) + 0.5) * scale * scale[:, np.newaxis]
    assert not np.allclose(np.linalg.eigvalsh(graded), _eigenvalues(graded), rtol=1e-3)
    np.testing.assert_allclose(psd_eigh(graded)[0], _eigenvalues(graded), rtol=SHARP)


@pytest.mark.parametrize("seed", range(3))
def test_values_of_which_a_solver_leaves_some_digits_have_them_all(seed):
    """Small ones of 1e-11 of the largest, each near to the next: catches a limit of doubt that is lower, or of another value."""
    scale = 10.0 ** np.array([-5.5, 0.0, -3.0, -4.0, -1.5])
    C = _well_conditioned(np.random.default_rng(seed), 5, 5)
    graded = C * scale[:, np.newaxis]
    matrix = (C @ C.T) * scale * scale[:, np.newaxis]
    matrix = np.triu(matrix) + np.triu(matrix, 1).T
    np.testing.assert_allclose(psd_eigh(matrix)[0], _eigenvalues(matrix), rtol=SHARP)
    with mpmath.workdps(60):
        truth = sorted((float(s) for s in mpmath.svd_r(mpmath.matrix((graded**2).tolist()), compute_uv=False)), reverse=True)
    np.testing.assert_allclose(accurate_svd(graded**2)[1], truth, rtol=SHARP)


def test_a_small_eigenvalue_of_what_is_not_graded_is_kept_as_far_as_it_is_known():
    """Its pivot may be rounding, and the solver's value is not: catches one that is taken for zero."""
    near = 1 - 2.0**-46
    assert psd_eigh(np.array([[1.0, near], [near, 1.0]]))[0] == pytest.approx([2.0**-46, 1 + near], rel=0.05, abs=0)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 7), st.integers(1, 6), st.sampled_from([1e-150, 1e-20, 1.0, 1e150]))
def test_what_is_singular_stays_so_however_it_is_scaled(seed, d, rank, unit):
    rank = min(rank, d - 1)
    G = np.random.default_rng(seed).normal(size=(d, rank))
    G[:, 0] *= 1e3
    assert np.count_nonzero(psd_eigh(G @ G.T * unit)[0]) == rank
    assert len(accurate_svd(np.hstack([G, G]) * unit)[1]) == rank


def test_blocks_keep_their_own_rounding():
    """A large singular block beside a tiny regular one, shuffled."""
    G = np.array([[1.0, 2.0], [2.0, -1.0], [3.0, 1.0]]) * 1e12
    matrix = np.zeros((6, 6))
    matrix[:3, :3], matrix[3:5, 3:5] = G @ G.T, [[2e-9, 1e-9], [1e-9, 2e-9]]
    order = [3, 0, 5, 1, 4, 2]
    shuffled = matrix[np.ix_(order, order)]
    values, vectors = psd_eigh(shuffled)
    np.testing.assert_allclose(values[:4], [0, 0, 1e-9, 3e-9], rtol=SHARP)
    np.testing.assert_allclose(shuffled @ vectors, vectors * values, rtol=0, atol=1e-15 * values[-1])
    assert [block.tolist() for block in uncoupled_blocks(shuffled)] == [[0, 4], [1, 3, 5], [2]]


@pytest.mark.parametrize("values", [[1e15, 1.0, 1e-300, 0.0], [5e-324, 1e308], [0.0, 0.0], [2.0, 2.0, 2.0]])
def test_the_entries_of_a_diagonal_matrix_are_its_eigenvalues(values):
    found, vectors = psd_eigh(np.diag(values))
    assert found.tolist() == sorted(values)
    assert np.array_equal(vectors[:, -1], np.eye(len(values))[max(range(len(values)), key=lambda i: (values[i], i))])
    np.testing.assert_array_equal(psd_root(np.diag(values)), np.diag(np.sqrt(values)))
    assert len(accurate_svd(np.diag(values))[1]) == np.count_nonzero(values)


def test_a_singular_value_far_below_the_largest_is_found_and_one_of_rounding_is_not():
    left, values, right = accurate_svd(np.array([[1e20, 0.0], [0.0, 0.5], [0.0, 0.0]]))
    np.testing.assert_allclose(values, [1e20, 0.5], rtol=1e-14)
    np.testing.assert_allclose(left * values @ right, [[1e20, 0.0], [0.0, 0.5], [0.0, 0.0]], atol=1e-14)
    third = np.array([[0.1, 0.2, 0.3]]) / 3
    assert len(accurate_svd(third.T @ third)[1]) == 1


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 4), st.integers(-17, 0), st.floats(0, 300))
def test_powers_of_what_is_near_to_one_keep_the_digits_of_what_is_added(seed, d, decade, time):
    """Rates that one step hardly shows, or that leave next to nothing; beside them rows that take another number of steps."""
    generator = np.random.default_rng(seed)
    change = np.tril(generator.uniform(0, 0.3, size=(d, d)), -1) - np.diag(generator.uniform(0.1, 0.9, size=d))
    change *= 10.0**decade
    states = generator.uniform(1, 2, size=(3, 2, d))
    steps = [int(time / 10.0**decade), 0, int(time / 10.0**decade) // 3 + 1]
    found = after_steps(change, list(zip(steps, states, strict=True)))
    with mpmath.workdps(60):
        step = mpmath.eye(d) + mpmath.matrix(change.tolist())
        for x, k, state in zip(found, steps, states, strict=True):
            expected = np.array((mpmath.matrix(state.tolist()) * step**k).tolist(), dtype=float)
            np.testing.assert_allclose(x, expected, rtol=1e-10, atol=1e-250)
