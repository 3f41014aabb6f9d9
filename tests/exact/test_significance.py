"""Tests of significance on printed numbers.

They catch a correction that is not Holm's, a power that is not the test's, and a level that runs which differ by nothing exceed.
"""

import math
from typing import Any, cast

import numpy as np
import pytest

from gradnoise.claims.significance import Printed, holm, runs_to_establish, welch


def test_welch_is_the_integral_of_the_printed_formula():
    """Student's density with Welch's degrees of freedom, integrated in mpmath."""
    from mpmath import gamma, inf, mp, mpf, pi, quad, sqrt

    mp.dps = 30
    a, b = Printed(24_500, 2_775, 7), Printed(20_825, 2_113, 12)
    u, v = mpf(2_775) ** 2 / 7, mpf(2_113) ** 2 / 12
    t, nu = mpf(24_500 - 20_825) / sqrt(u + v), (u + v) ** 2 / (u**2 / 6 + v**2 / 11)
    density = lambda x: gamma((nu + 1) / 2) / (sqrt(nu * pi) * gamma(nu / 2)) * (1 + x**2 / nu) ** (-(nu + 1) / 2)  # noqa: E731
    assert welch(a, b) == pytest.approx(float(cast(Any, 2 * quad(density, [t, 4 * t, inf]))), rel=1e-9)


def test_the_runs_that_would_decide_do_so_in_nine_of_ten_experiments():
    """4,000 experiments of normal runs; the bounds are four standard errors away."""
    a, b, level = Printed(61.40, 0.54), Printed(61.80, 0.35), 0.05 / 3
    n = runs_to_establish(a, b, level) or 0
    rng = np.random.default_rng(5)

    def power(runs):
        one, other = (rng.normal(p.mean, p.deviation, (4_000, runs)) for p in (a, b))
        seen = [
            welch(Printed(x.mean(), x.std(ddof=1), runs), Printed(y.mean(), y.std(ddof=1), runs))
            for x, y in zip(one, other, strict=True)
        ]
        return np.mean(np.array(seen) <= level)

    error = math.sqrt(0.9 * 0.1 / 4_000)
    assert abs(power(n) - 0.9) < 4 * error + 0.01  # whole runs: the last one takes it from below 90 % to above
    assert power(n * 7 // 10) < 0.9 - 4 * error


def test_holms_correction_is_that_of_its_definition():
    """Rejection one by one, at each level, against the corrected p-values."""
    rng = np.random.default_rng(8)
    for _ in range(50):
        k = int(rng.integers(1, 6))
        pairs = {f"row {i}": (Printed(0, 1), Printed(float(rng.normal(0, 1)), float(rng.uniform(0.5, 2)))) for i in range(k)}
        tested = holm(pairs, 0.05)
        p = {label: welch(*pair) for label, pair in pairs.items()}
        for level in (0.01, 0.05, 0.2, 0.7):
            rejected, left = set(), sorted(p, key=lambda label: p[label])
            while left and p[left[0]] <= level / len(left):
                rejected.add(left.pop(0))
            assert {label for label, one in tested.items() if one.value <= level} == rejected
        assert list(tested) == list(pairs)
        assert all((one.effect > 0) == (pairs[label][1].mean > 0) for label, one in tested.items())


def test_no_effect_is_never_established_by_any_number_of_runs():
    assert runs_to_establish(Printed(1.0, 0.1), Printed(1.0, 0.2), 0.05) is None


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Printed(1.0, 0.0), ValueError, "deviation must be > 0 and <= 1e.100, got 0"),
        (lambda: Printed(1.0, 0.1, 1), ValueError, "n_runs must be >= 2, got 1"),
        (lambda: holm({}, 0.05), TypeError, "pairs must be a mapping of pairs of Printed"),
        (lambda: welch(Printed(1.0, 0.1), cast(Any, 1.0)), TypeError, "other must be of class Printed, got 1.0"),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
