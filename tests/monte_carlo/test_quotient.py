"""Intervals of quotients cover, also where the denominator is hardly known.

Null: an interval at 95 % covers in 95 % of 4,000 draws. α = 1e-6 a comparison (z = 4.9).
"""

import mpmath
import numpy as np
import pytest
from scipy import stats

from gradnoise.simulations.statistics import Estimate, Quotient

Z, DRAWS, N = 4.9, 4_000, 40


@pytest.mark.parametrize(("mean", "spread"), [(3.0, 1.0), (1.0, 2.0), (-1.0, 2.0)])
@pytest.mark.parametrize("correlation", [0.0, 0.9, -0.7])
def test_intervals_cover(mean, spread, correlation):
    generator = np.random.default_rng(5)
    covariance = spread**2 * np.array([[4, 2 * correlation], [2 * correlation, 1]])
    covered = wrong = by_delta = 0
    for _ in range(DRAWS):
        samples = generator.multivariate_normal([2.5 * mean, mean], covariance, size=N)
        top, bottom = (Estimate.of(column) for column in samples.T)
        found = Quotient(top, bottom, float(np.cov(samples.T)[0, 1]) / N)
        low, high = found.interval(0.95)
        covered += low <= 2.5 <= high
        if correlation:
            low, high = Quotient(top, bottom).interval(0.95)  # can fail: correlated ones taken for independent
            wrong += low <= 2.5 <= high
        by_delta += abs(found.value - 2.5) <= 2.0227 * found.standard_error
    least, most = (DRAWS * 0.95 + sign * Z * np.sqrt(DRAWS * 0.0475) for sign in (-1, 1))
    assert least <= covered <= most + DRAWS * 0.01 * (spread > 1)  # everything covers, where the denominator may be zero
    assert not correlation or not least <= wrong <= most
    assert by_delta >= 0.85 * DRAWS


def test_zero_denominators_have_no_interval():
    for bottom in (Estimate(0.0, 1.0, 10), Estimate(1.0, 0.6, 10)):
        assert Quotient(Estimate(1.0, 0.1, 10), bottom).interval(0.95) == (-np.inf, np.inf)
    assert Quotient(Estimate(-1.0, 0.1, 10), Estimate(0.0, 0.0, 10)).value == -np.inf
    assert np.isnan(Quotient(Estimate(0.0, 0.1, 10), Estimate(0.0, 0.0, 10)).value)
    assert Quotient(Estimate(6.0, 0.0, 10), Estimate(2.0, 0.0, 10)).interval(0.95) == (3.0, 3.0)


def test_a_larger_sample_has_a_smaller_error():
    found = Quotient(Estimate(6.0, 0.4, 100), Estimate(2.0, 0.1, 100), 0.01)
    assert found.resized(400).standard_error == pytest.approx(found.standard_error / 2)


@pytest.mark.parametrize(("top", "bottom"), [(2.0**-900, 1.0), (1.0, 2.0**900), (2.0**-600, 2.0**-400), (2.0**800, 2.0**-100)])
def test_numbers_near_the_ends_of_the_range_have_the_same_interval(top, bottom):
    """Catches squares that underflow to an error of zero, or overflow to an interval that is everything."""
    here = Quotient(Estimate(6.0, 0.4, 100), Estimate(2.0, 0.1, 100), 0.01)
    there = Quotient(Estimate(6 * top, 0.4 * top, 100), Estimate(2 * bottom, 0.1 * bottom, 100), 0.01 * top * bottom)
    unit = top / bottom
    assert [end / unit for end in there.interval(0.95)] == pytest.approx(here.interval(0.95), rel=1e-12)
    assert there.standard_error / unit == pytest.approx(here.standard_error, rel=1e-12)


def test_a_quotient_is_valid_where_both_parts_are():
    good, bad = Estimate(6.0, 0.4, 100, 0.1), Estimate(2.0, 0.1, 40, 0.1)
    assert Quotient(good, good).valid(0.95)
    assert not Quotient(good, bad).valid(0.95) and not Quotient(bad, good).valid(0.95)


@pytest.mark.parametrize("small", [1e-3, 1e-9, 1e-12])
@pytest.mark.parametrize("correlation", [0.0, 0.9, -0.5])
def test_intervals_far_narrower_than_the_values_are_those_of_more_digits(small, correlation):
    """Catches a discriminant whose two large parts cancel to nothing; Fieller's equation is solved here with 60 digits."""
    a, s_a, b, s_b, n = 6.0, 1.8 * small, 2.0, 0.6 * small, 1_000
    found = Quotient(Estimate(a, s_a, n, 0.0), Estimate(b, s_b, n, 0.0), correlation * s_a * s_b)
    with mpmath.workdps(60):
        t, s_ab = mpmath.mpf(stats.t.ppf(0.975, n - 1)), mpmath.mpf(found.covariance)
        A, B, C = b**2 - t**2 * mpmath.mpf(s_b) ** 2, a * b - t**2 * s_ab, a**2 - t**2 * mpmath.mpf(s_a) ** 2
        low, high = (float((B + sign * mpmath.sqrt(B**2 - A * C)) / A - 3) for sign in (-1, 1))
    assert [end - 3.0 for end in found.interval(0.95)] == pytest.approx([low, high], rel=1e-3 if small < 1e-9 else 1e-6)
    assert found.valid(0.95)


@pytest.mark.parametrize("noise", [1e-6, 1e-7])
def test_nearly_multiples_are_covered_or_said_not_to_be(noise):
    """Null: an interval at 95 % that calls itself valid covers in 95 % of 200 draws; at least 174 of them, z = 4.9."""
    generator = np.random.default_rng(7)
    covered = claimed = 0
    for _ in range(200):
        b = 2 + generator.normal(size=1_000)
        samples = np.array([2 * b + noise * generator.normal(size=1_000), b])
        found = Quotient(Estimate.of(samples[0]), Estimate.of(samples[1]), float(np.cov(samples)[0, 1]) / 1_000)
        if found.valid(0.95):
            low, high = found.interval(0.95)
            covered, claimed = covered + (low <= 2 <= high), claimed + 1
    assert covered >= 0.95 * claimed - 4.9 * np.sqrt(0.0475 * claimed)
    assert claimed == 200 or noise < 1e-6
    b = generator.normal(size=1_000)
    exact = Quotient(Estimate.of(2 * b), Estimate.of(b), 2 * float(b.var(ddof=1)) / 1_000)
    assert not exact.valid(0.95)  # no spread of what remains was seen
