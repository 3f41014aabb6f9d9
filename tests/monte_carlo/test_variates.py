"""Variates that the kernels make themselves: indices, signs, Student's t, and rare successes, against their laws.

It would catch digits of a uniform number that depend on each other or run out, signs that repeat from one number to the next,
a gamma variate of another shape, and jumps between successes that are too long by one.

Null: the law that is named. alpha = 1e-3 for the module, 1e-4 for each of its ten comparisons; each stands beside a twin of
another law, which it must refute. Seeds and sample sizes are fixed.
"""

from typing import Any, cast

import numpy as np
import pytest
from scipy import stats

from gradnoise.simulations.sampling import compiled, draw
from gradnoise.theory.sampling import Bernoulli, Rademacher, StudentT

ALPHA = 1e-4
N_DRAWS = 200_000


def consecutive_indices(n, size=3):
    """Count the values of three indices in turn, of batches without replacement from n or, for n < 0, with it."""
    generator, pool, chosen = np.random.default_rng(5), np.arange(abs(n)), np.empty(size, np.int64)
    cells = np.zeros([abs(n)] * size)
    for _ in range(N_DRAWS // 4):
        compiled._choose(generator, size, n < 0, chosen, pool)
        cells[tuple(chosen)] += 1
    return cells


@pytest.mark.parametrize("n", [-4, 5])
def test_indices_in_turn_are_uniform_and_independent(n):
    cells = consecutive_indices(n)
    possible = np.array([n < 0 or len({*cell}) == 3 for cell in np.ndindex(cells.shape)]).reshape(cells.shape)
    assert not cells[~possible].any()
    assert stats.chisquare(cells[possible]).pvalue > ALPHA
    cells[0, 1] += 0.02 * cells[0, 1].mean() * cells.shape[0]  # one pair more often than it should be
    cells[0, 1, 2] *= 1.3
    assert stats.chisquare(cells[possible]).pvalue < ALPHA


def test_digits_do_not_run_out():
    """The most digits that are taken leave 2^-27 of a uniform number."""
    for n in (2, 2**8, 2**8 + 1, 2**13, 2**13 + 1):
        digits = compiled.indices_per_uniform(n)
        assert n**digits <= 2**26 or digits == 1
    assert compiled.indices_per_uniform(100) == 3  # and they are more than one where that saves time


def sign_patterns(shift):
    """Counts of the patterns of five signs around the end of a uniform number's bits."""
    signs = draw(Rademacher(120, 120, centered=False), N_DRAWS // 4, rng=6) > 1 / 120
    signs[:, 55] |= shift & signs[:, 2]
    return np.bincount(signs[:, 51:56] @ (1 << np.arange(5)), minlength=32), (signs[:, 2] == signs[:, 55]).sum(), len(signs)


def test_signs_are_fair_and_independent():
    patterns, equal, n = sign_patterns(shift=False)
    assert stats.chisquare(patterns).pvalue > ALPHA
    assert stats.binomtest(int(equal), n).pvalue > ALPHA  # the same bit of two numbers
    patterns, equal, n = sign_patterns(shift=True)
    assert stats.chisquare(patterns).pvalue < ALPHA
    assert stats.binomtest(int(equal), n).pvalue < ALPHA


@pytest.mark.parametrize("df", [2.1, 5.0, 30.0])
def test_student_variates(df):
    noise = StudentT(2, 2, df, centered=False)
    drawn = (draw(noise, N_DRAWS // 2, rng=7) - 1 / 2) / np.sqrt(float(noise.centred_power) * (df - 2) / df)
    assert stats.kstest(drawn.ravel(), stats.t(df).cdf).pvalue > ALPHA
    assert stats.kstest(1.03 * drawn.ravel(), stats.t(df).cdf).pvalue < ALPHA
    assert abs(cast(Any, stats.spearmanr(drawn)).statistic) < 5 / np.sqrt(len(drawn))


def test_rare_successes():
    n, b = 200, 5
    hits = draw(Bernoulli(n, b), N_DRAWS // 4, rng=8) > 0
    counts, first = hits.sum(axis=1), np.where(hits.any(axis=1), hits.argmax(axis=1), n)

    def p_values(p):
        in_all = np.append(len(hits) * stats.binom.pmf(np.arange(12), n, p), len(hits) * stats.binom.sf(11, n, p))
        edges = np.arange(0, n + 1, 20)
        until = len(hits) * np.append(-np.diff((1 - p) ** edges), (1 - p) ** n)
        seen = np.bincount(np.minimum(counts, 12), minlength=13), np.histogram(first, np.append(edges, n + 1))[0]
        return [
            stats.chisquare(observed, law * observed.sum() / law.sum()).pvalue
            for observed, law in zip(seen, (in_all, until), strict=True)
        ]

    assert min(p_values(b / n)) > ALPHA
    assert max(p_values(1.05 * b / n)) < ALPHA
    assert stats.chisquare(hits.sum(axis=0)).pvalue > ALPHA  # all samples alike
