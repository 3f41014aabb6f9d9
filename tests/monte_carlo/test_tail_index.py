"""Tail index of stable samples.

Null: the index is that of the law. Cauchy (1) and Gaussian (2) samples and one in between, by Chambers, Mallows and Stuck's
formula; z = 6 on 400 groups, whose mean is normal to 1e-6. A wrong index a tenth away is refuted.
"""

import numpy as np
import pytest

from gradnoise.simulations.statistics import tail_index

Z, SIZE = 6.0, 400 * 100


def stable(alpha, size, rng):
    """Chambers, Mallows and Stuck (1976)."""
    angle, exponential = rng.uniform(-np.pi / 2, np.pi / 2, size), rng.exponential(size=size)
    first = np.sin(alpha * angle) / np.cos(angle) ** (1 / alpha)
    return first * (np.cos((1 - alpha) * angle) / exponential) ** ((1 - alpha) / alpha)


@pytest.mark.parametrize("alpha", [1.0, 1.5, 2.0])
def test_stable_samples(alpha):
    found = tail_index(stable(alpha, SIZE, np.random.default_rng(1)), 100)
    assert found.n == 400
    assert abs(found.value - alpha) < Z * found.standard_error < 0.35
    assert abs(found.value - alpha / 2) > Z * found.standard_error  # can fail


def test_the_standard_error_is_that_of_repeated_samples():
    rng = np.random.default_rng(2)
    found = [tail_index(rng.standard_normal(2_500)) for _ in range(300)]
    spread = np.std([e.value for e in found])
    # The standard deviation of 300 values is known to 4 %; five of those.
    assert np.mean([e.standard_error for e in found]) == pytest.approx(spread, rel=0.2)


def test_zeros_do_not_count_and_too_few_samples_are_named():
    x = np.random.default_rng(3).standard_normal(400)
    assert tail_index(np.concatenate([x[:100], np.zeros(50), x[100:]])) == tail_index(x)
    with pytest.raises(ValueError, match="samples must be at least two groups of 30 that are not zero, got 40"):
        tail_index(x[:40], 30)
    with pytest.raises(ValueError, match="group_size must be >= 2"):
        tail_index(x, 1)
