"""Which intervals of means are called valid: none that undercovers, and most that are safe.

Null: of N = 2,000 samples at most 5 % have an interval at 95 % that is called valid and misses; α = 1e-6 a comparison, by the
binomial law, of 18. The twins call every interval valid, or take the normal quantile for Student's, and are refuted.
"""

import math

import numpy as np
import pytest
from scipy import stats

from gradnoise.claims.judgement import judge
from gradnoise.simulations.statistics import Estimate

N, LEVEL, FAR = 2_000, 0.95, 1 - 1e-9
MOST = stats.binom.isf(1e-6, N, 1 - LEVEL)
LAWS = {
    "exponential": (lambda rng, shape: rng.exponential(size=shape), 1.0),
    "lognormal(1)": (lambda rng, shape: rng.lognormal(size=shape), math.exp(0.5)),
    "lognormal(2)": (lambda rng, shape: rng.lognormal(0, 2, shape), math.exp(2)),
    "Bernoulli(.02)": (lambda rng, shape: (rng.random(shape) < 0.02) * 1.0, 0.02),
}


def counted(estimates, mean):
    """How many are called valid, how many miss, and how many are both."""
    found = [(e.valid(LEVEL), not e.interval(LEVEL)[0] <= mean <= e.interval(LEVEL)[1]) for e in estimates]
    valid, missed = np.array(found).T
    return valid.sum(), missed.sum(), (valid & missed).sum()


@pytest.mark.parametrize("n", [5, 20, 60])
@pytest.mark.parametrize("name", LAWS)
def test_skew_and_rare_samples_are_refused(name, n):
    """Catches a rule without the skewness, and one that trusts that of a few samples: it is little where they miss the tail."""
    draw, mean = LAWS[name]
    valid, missed, both = counted([Estimate.of(x) for x in draw(np.random.default_rng(11), (N, n))], mean)
    assert valid <= 0.01 * N and both <= MOST
    assert missed > MOST or (name, n) == ("exponential", 60)  # can fail: all called valid


def test_few_samples_of_little_skewness_do_not_cover():
    """Why few are refused: of those lognormal samples that look as symmetric as 50 normal ones, half miss."""
    draw, mean = LAWS["lognormal(1)"]
    every = (Estimate.of(x) for x in draw(np.random.default_rng(12), (4 * N, 10)))
    symmetric = [e for e in every if e.skewness is not None and abs(e.skewness) < 0.3]
    assert len(symmetric) > 100 and counted(symmetric, mean)[1] > 0.3 * len(symmetric)
    assert not any(e.valid(LEVEL) for e in symmetric)


@pytest.mark.parametrize(("n", "share"), [(50, 0.65), (100, 0.9), (300, 0.99)])
def test_normal_samples_are_mostly_called_valid_and_cover(n, share):
    """Catches a rule that calls nothing valid; at the moderate levels it is the same one."""
    estimates = [Estimate.of(x) for x in np.random.default_rng(13).standard_normal((N, n))]
    valid, _, both = counted(estimates, 0.0)
    assert valid >= share * N and both <= MOST
    assert all(e.valid(0.999) == e.valid(0.5) for e in estimates)


@pytest.mark.parametrize("n", [2, 5, 20])
def test_samples_that_are_known_to_be_normal_are_all_valid_and_cover(n):
    x = np.random.default_rng(14).standard_normal((N, n))
    valid, _, both = counted([Estimate.of(row, normal=True) for row in x], 0.0)
    assert valid == N and both <= MOST
    by_normal_quantile = np.abs(x.mean(axis=1)) > stats.norm.isf(0.025) * x.std(axis=1, ddof=1) / math.sqrt(n)
    assert n == 20 or by_normal_quantile.sum() > MOST  # can fail


@pytest.mark.parametrize(("law", "n"), [("coin", 1_000), ("exponential", 10_000), ("Bernoulli(.02)", 100_000)])
def test_samples_that_are_large_enough_for_their_skewness_are_valid(law, n):
    draw, mean = LAWS.get(law, (lambda rng, shape: (rng.random(shape) < 0.5) * 1.0, 0.5))
    rng = np.random.default_rng(15)
    estimates = [Estimate.of(draw(rng, n)) for _ in range(100)]
    assert all(e.valid(0.999) for e in estimates)
    assert counted(estimates, mean)[1] <= stats.binom.isf(1e-6, 100, 1 - LEVEL)
    assert judge(estimates[0], 2 * mean, 0.0, 0.999).verdict == "refuted"


def test_a_million_moderately_skew_samples_are_valid_far_out():
    """As in verdicts of claims."""
    estimate = Estimate.of(np.random.default_rng(16).exponential(size=1_000_000))
    assert estimate.valid(FAR) and not Estimate.of(np.random.default_rng(16).lognormal(0, 2, 1_000_000)).valid(FAR)


def test_rare_events_of_a_known_support_are_covered():
    """Catches Student's interval that has no length where no event was seen, which is in two samples of three."""
    x = (np.random.default_rng(17).random((N, 20)) < 0.02) * 1.0
    valid, _, both = counted([Estimate.of(row, (0.0, 1.0)) for row in x], 0.02)
    assert valid == N and both == 0
    assert counted([Estimate.of(row) for row in x], 0.02)[1] > 0.5 * N  # can fail
