"""Tail index of stable, discrete and degenerate samples, and the coverage of its interval.

Null of the values: the index is that of the law. Samples of Chambers, Mallows and Stuck's formula; z = 6 on 400 groups, whose
mean is normal to 1e-6. A wrong index, half of it, is refuted. Null of the intervals: they cover in 95 % of 10,000 samples or
more; an alarm is false with a probability of 1e-6 each, by the binomial law, and there are five.
"""

import math

import numpy as np
import pytest
from scipy import stats

from gradnoise.claims.wu2020.noise_class import heavy_gradients, inverse_tail_index
from gradnoise.simulations.statistics import Estimate, SkewedEstimate, TailIndex, tail_index

Z, SIZE = 6.0, 400 * 100
N_SAMPLES = 10_000
LEAST = stats.binom.ppf(1e-6, N_SAMPLES, 0.95)
#: E log|x| of a normal x.
LOG_NORMAL = -(np.euler_gamma + math.log(2)) / 2


def stable(alpha, size, rng):
    """Chambers, Mallows and Stuck (1976)."""
    angle, exponential = rng.uniform(-np.pi / 2, np.pi / 2, size), rng.exponential(size=size)
    first = np.sin(alpha * angle) / np.cos(angle) ** (1 / alpha)
    return first * (np.cos((1 - alpha) * angle) / exponential) ** ((1 - alpha) / alpha)


@pytest.mark.parametrize("alpha", [0.7, 1.0, 1.3, 1.5, 2.0])
def test_stable_samples(alpha):
    found = tail_index(stable(alpha, SIZE, np.random.default_rng(1)), 100)
    assert found.n == 400
    assert abs(found.value - alpha) < Z * found.standard_error < 0.35
    assert abs(found.value - alpha / 2) > Z * found.standard_error  # can fail


def test_the_standard_error_is_that_of_repeated_samples():
    rng = np.random.default_rng(2)
    found = [tail_index(rng.standard_normal(2_500)).inverse for _ in range(300)]
    spread = np.std([e.value for e in found])
    # The standard deviation of 300 values is known to 4 %; five of those.
    assert np.mean([e.standard_error for e in found]) == pytest.approx(spread, rel=0.2)


@pytest.mark.parametrize(("alpha", "size"), [(2.0, 25), (2.0, 100), (0.7, 100)])
def test_intervals_cover(alpha, size):
    """Catches an interval that knows nothing of the long tail of log|sum| to the left, or that cuts the wrong end off."""
    rng, covered, by_student = np.random.default_rng(3), 0, 0
    for _ in range(N_SAMPLES):
        found = tail_index(stable(alpha, size, rng))
        student = TailIndex(Estimate(found.inverse.value, found.inverse.standard_error, found.n))
        assert found.valid(0.95) and 0 < found.value <= 2
        (low, high), (student_low, student_high) = found.interval(0.95), student.interval(0.95)
        covered += low <= alpha <= high
        by_student += student_low <= alpha <= student_high
    assert covered >= LEAST
    assert alpha < 2 or by_student < LEAST  # can fail


def test_large_samples_are_covered_too():
    rng = np.random.default_rng(4)
    intervals = [tail_index(rng.standard_normal(1_000)).interval(0.95) for _ in range(2_000)]
    assert sum(low <= 2 <= high for low, high in intervals) >= stats.binom.ppf(1e-6, 2_000, 0.95)


def test_the_interval_of_a_skew_mean_covers():
    """Exponential samples, whose skewness is 2; Student's interval does not."""
    samples, covered, by_student = np.random.default_rng(5).exponential(size=(N_SAMPLES, 30)), 0, 0
    for x in samples:
        low, high = Estimate.of(x).interval(0.95)
        by_student += low <= 1 <= high
        low, high = SkewedEstimate.like(Estimate.of(x)).interval(0.95)
        covered += low <= 1 <= high
    assert covered >= LEAST > by_student


def test_a_sum_of_zero_stands_for_its_cell():
    """Sums of m signs are normal but for the lattice, 2 wide: a twelfth of those of 100 are zero.

    Null: m^{1/α} is the size of that normal law; z = 6 on 10,000 groups. A zero that counts as the width of its cell is 12
    standard errors away, and one that does not count is further.
    """
    m, x = 100, np.random.default_rng(6).choice([-1.0, 1.0], 1_000_000)
    found, expected = tail_index(x, m).inverse, 0.5 + LOG_NORMAL / math.log(m)
    assert abs(found.value - expected) < Z * found.standard_error
    sums = np.abs(x.reshape(-1, m).sum(axis=1))
    for wrong in (np.log(np.where(sums == 0, 2, sums)), np.log(sums[sums > 0])):
        assert abs(wrong.mean() / math.log(m) - expected) > Z * found.standard_error


DISCRETE = {
    "signs": lambda rng, k: rng.choice([-1.0, 1.0], k),
    "integers": lambda rng, k: rng.integers(-3, 4, k),
    "Poisson": lambda rng, k: rng.poisson(3, k) - 3.0,
    "zeros that rounding has moved": lambda rng, k: 0.1 * rng.poisson(3, k) - 0.3,
    "zeros that were rounded far from zero": lambda rng, k: (1_000 + 0.1 * rng.poisson(3, k)) - 1_000.3,
    "single precision": lambda rng, k: (0.1 * rng.poisson(3, k)).astype(np.float32) - np.float32(0.3),
    "Bernoulli": lambda rng, k: (rng.random(k) < 0.3) - 0.3,
    "two lattices": lambda rng, k: rng.choice([-math.pi, -1, 1, math.pi], k),
    "tiny signs": lambda rng, k: 1e-300 * rng.choice([-1.0, 1.0], k),
    "huge signs": lambda rng, k: 1e308 * rng.choice([-1.0, 1.0], k),
}


@pytest.mark.parametrize("name", DISCRETE)
def test_discrete_samples_of_light_tails_are_like_normal_ones(name):
    """Catches a zero, or what rounding has left of one, that enters by its logarithm: 1/α is then off by several."""
    found = tail_index(DISCRETE[name](np.random.default_rng(7), 10_000))
    assert 1.8 < found.value <= 2 and found.interval(0.95)[1] == 2
    assert found.standard_error < 0.2


def test_nothing_is_known_where_no_spread_is_seen():
    found = tail_index(np.tile([1.0, -1.0], 50))
    assert found.value == 2 and math.isinf(found.standard_error)
    assert found.interval(0.95) == (0, 2) and not found.valid(0.5)


def test_zeros_do_not_count_and_bad_samples_are_named():
    x = np.random.default_rng(3).standard_normal(400)
    assert tail_index(np.concatenate([x[:100], np.zeros(50), x[100:]])) == tail_index(x)
    with pytest.raises(ValueError, match="samples must be at least two groups of 30 that are not zero, got 40"):
        tail_index(x[:40], 30)
    for few in (x[:0], x[:3], np.zeros(400)):
        with pytest.raises(ValueError, match=r"samples must be at least two groups of 2 that are not zero, got [03]"):
            tail_index(few)
    with pytest.raises(ValueError, match="group_size must be >= 2"):
        tail_index(x, 1)
    with pytest.raises(ValueError, match="rounding must be > 0"):
        tail_index(x, rounding=0.0)
    for equal in (np.full(100, 0.1), 0.1 + 1e-17 * x, np.repeat([0.1, 0.0], 50)):
        with pytest.raises(ValueError, match=r"samples must differ, got 0\.1 only, beside zeros"):
            tail_index(equal)


def test_an_index_is_the_reciprocal_cut_off_at_two():
    """Catches ends that change places, and an interval that is empty where all of it lies beyond."""
    error, t = 0.1, stats.t.ppf(0.975, 9)
    for inverse in (-0.5, 0.2, 0.5, 0.6, 2.0):
        found = TailIndex(Estimate(inverse, error, 10))
        low, high = ((1 / max(end, 0.5)) for end in (inverse + t * error, inverse - t * error))
        assert found.interval(0.95) == pytest.approx((low, high)) and low <= found.value <= high
        assert found.standard_error == pytest.approx(error * found.value**2) and found.n == 10
    assert found.value == 0.5 and found.resized(40).standard_error == pytest.approx(found.standard_error / 2)
    assert str(found) == "0.500 ± 0.025 (standard error)"
    assert TailIndex(Estimate(0.5, math.inf, 1)).interval(0.95) == (0, 2)


def test_a_long_tail_makes_one_side_longer():
    """By γ (1 + 2 t²) / (6 √n) standard errors, on the side of the tail; the other end is Student's."""
    for gamma in (-1.5, 0.0, 1.5):
        low, high = SkewedEstimate(3.0, 0.5, 20, gamma).interval(0.9)
        t = stats.t.ppf(0.95, 19)
        further = abs(gamma) * (1 + 2 * t**2) / (6 * math.sqrt(20))
        assert low == pytest.approx(3 - 0.5 * (t + further * (gamma < 0)))
        assert high == pytest.approx(3 + 0.5 * (t + further * (gamma > 0)))
    bounded = SkewedEstimate(0.9, 0.05, 20, 3.0, (0.0, 1.0))
    assert bounded.interval(0.95)[1] == 1
    assert SkewedEstimate(0.9, math.inf, 1, 3.0).interval(0.95) == (-math.inf, math.inf)


@pytest.mark.parametrize("m", [11, 101])
def test_data_of_finite_range_look_heavy_as_their_law_says(m):
    """The index that a claim gets from the law of sums is what is estimated from draws; a Gaussian one can fail."""
    found = tail_index(np.random.default_rng(5).choice(heavy_gradients(), 1_000 * m), m)
    assert found.n == 1_000
    assert abs(found.inverse.value - inverse_tail_index(m)) < Z * found.inverse.standard_error < 0.1
    assert abs(found.inverse.value - 1 / 2) > Z * found.inverse.standard_error
