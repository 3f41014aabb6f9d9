"""Tails of a network's noise along random directions, against sums over all directions, and the coverage of their intervals.

Null of the intervals: those of 200 seeds at 95 % cover the mean over all directions. Fewer than COVERED do with a probability of
1e-6 each by the binomial law, and there are three such checks. Each stands beside an error that leaves a part out.
"""

import math
from dataclasses import dataclass

import numpy as np
import pytest
from scipy import stats

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'gradnoise[neural]'")

from gradnoise.simulations.neural import diagnosis
from gradnoise.simulations.neural.loss_operators import LossOperators
from gradnoise.simulations.neural.tails import excess_kurtosis, noise_tail_index, random_projections
from gradnoise.simulations.seeds import Stream
from gradnoise.simulations.statistics import tail_index
from gradnoise.theory.sampling import Enhanced, Gaussian, Minibatch, Rademacher, SamplingNoise, StudentT

from .networks import LOSS, N, problem

Z, SEEDS = 6.0, 200
COVERED = stats.binom.ppf(1e-6, SEEDS, 0.95)
NOISE, DIRECTIONS, DRAWS = Minibatch(40, 3), 15, 1_600


def gradients():
    """(d, n), of samples that are far from alike: so the tails depend on the direction."""
    rng = np.random.default_rng(1)
    return rng.standard_normal((12, 40)) * rng.exponential(size=40) ** 2


def values(seed, k=DIRECTIONS):
    return np.random.default_rng(seed).standard_normal((k, 12)) @ gradients()


def kurtosis_over_all_directions():
    """Of 200,000 of them: κ₄/κ₂² of a mean of b independent draws is that of one, over b."""
    v = values(2, 200_000)
    v -= v.mean(axis=1, keepdims=True)
    of_one = (v**4).mean(axis=1) / (v**2).mean(axis=1) ** 2 - 3
    return of_one.mean() / NOISE.batch_size


def test_the_interval_of_the_kurtosis_covers_the_mean_over_all_directions():
    expected = kurtosis_over_all_directions()
    found = [excess_kurtosis(NOISE, values((3, seed))) for seed in range(SEEDS)]
    assert sum(low <= expected <= high for low, high in (e.interval(0.95) for e in found)) >= COVERED
    # Can fail: an error of half the size.
    assert sum(abs(e.value - expected) < e.standard_error for e in found) < COVERED


def test_the_interval_of_the_tail_index_covers_the_mean_over_all_directions():
    """Catches an error of the draws alone, without the spread between directions."""
    found = [noise_tail_index(NOISE, values((3, seed)), DRAWS, Stream.of(seed)) for seed in range(SEEDS)]
    # The expectation is that of the estimates, which are unbiased in 1/α: a fourteenth of the error of one.
    expected = 1 / np.mean([e.inverse.value for e in found])
    assert sum(low <= expected <= high for low, high in (e.interval(0.95) for e in found)) >= COVERED
    spread = np.std([e.inverse.value for e in found], ddof=1)
    assert np.mean([e.inverse.standard_error for e in found]) == pytest.approx(spread, rel=0.3)  # 5 % twice, six times
    # Can fail: one direction, and many draws along it, as often as there are directions.
    one = [noise_tail_index(NOISE, np.repeat(values((3, s), 1), DIRECTIONS, axis=0), DRAWS, Stream.of(s)) for s in range(SEEDS)]
    assert sum(low <= expected <= high for low, high in (e.interval(0.95) for e in one)) < COVERED


def test_gaussian_noise_is_gaussian_along_all_directions():
    """And the interval of its index covers 2, which is where indices end."""
    covered = 0
    for seed in range(SEEDS):
        low, high = noise_tail_index(Gaussian(40, 3), values(4, 5), 100, Stream.of(seed)).interval(0.95)
        covered += low <= 2 <= high
    assert covered >= COVERED
    found = excess_kurtosis(Gaussian(40, 3), values(4))
    assert abs(found.value) <= 4 * found.standard_error < 1e-12


@dataclass(frozen=True)
class CauchyLike(Gaussian):
    """Says that it has the moments of its base, but has weights with heavy tails."""

    def draw(self, size, generator):
        return 1 / self.n + generator.standard_cauchy((size, self.n))


def test_a_subclass_of_gaussian_noise_is_drawn():
    """Catches normal numbers that stand for the draws of any Gaussian noise, also one with a law of its own."""
    found = noise_tail_index(CauchyLike(40, 3, centered=False), values(5, 10), 2_500, Stream.of(1))
    assert abs(found.value - 1) < Z * found.standard_error < 0.3


@pytest.mark.parametrize(
    "noise", [StudentT(40, 3, df=3), StudentT(40, 3, df=4.0), Enhanced(StudentT(40, 3, df=4), 2.0)], ids=repr
)
def test_no_fourth_moment_is_an_infinite_kurtosis(noise):
    found = excess_kurtosis(noise, values(6))
    assert found.value == math.inf and found.standard_error == 0 and found.interval(0.95) == (math.inf, math.inf)
    assert math.isfinite(excess_kurtosis(StudentT(40, 3, df=4.1), values(6)).value)


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
def test_tails_have_no_unit(scale):
    """Catches powers of small and large gradients that are no floats."""
    v = values(7)
    assert excess_kurtosis(NOISE, scale * v).value == pytest.approx(excess_kurtosis(NOISE, v).value, rel=1e-10)
    one, other = (noise_tail_index(NOISE, s * v, 400, Stream.of(1)).value for s in (scale, 1.0))
    assert one == pytest.approx(other, rel=1e-10)


@pytest.mark.parametrize("rounding", [np.finfo(np.float32).eps, np.finfo(np.float64).eps])
def test_gradients_that_are_equal_to_rounding_leave_no_noise(rounding):
    rng = np.random.default_rng(8)
    equal = rng.standard_normal((3, 1)) * (1 + rounding * rng.uniform(-1, 1, (3, 40)))
    for v in (equal, np.zeros((3, 40))):
        with pytest.raises(ValueError, match="the noise must not be zero along any direction, got equal gradients"):
            excess_kurtosis(NOISE, v, rounding=rounding)
        with pytest.raises(ValueError, match="the noise must not be zero along any direction, got equal gradients"):
            noise_tail_index(NOISE, v, 400, Stream.of(1), rounding=rounding)
    # Weights whose sum varies do leave one: the sum of 40 signs.
    signs = Rademacher(40, 3, centered=False)
    assert excess_kurtosis(signs, equal, rounding=rounding).value == pytest.approx(-2 / 40, rel=1e-4)
    assert noise_tail_index(signs, equal, 2_500, Stream.of(1), rounding=rounding).value > 1.8


def test_noise_that_is_too_rare_to_be_seen_is_named():
    """One sample of 10,000 has a gradient, and batches miss it."""
    v = 1.0 * (np.arange(10_000) == 0)[np.newaxis]
    with pytest.raises(ValueError, match="n_draws must be more, for draws of the noise to differ, got 20: samples must"):
        noise_tail_index(Minibatch(10_000, 1), v, 20, Stream.of(1))


@pytest.mark.parametrize("rounding", [np.finfo(np.float32).eps, np.finfo(np.float64).eps])
def test_repeated_samples_are_discrete_noise_of_light_tails(rounding):
    """Two distinct samples, all gradients off by rounding: catches a zero of the noise that is taken for a tiny one."""
    rng = np.random.default_rng(9)
    two = np.tile(rng.standard_normal((3, 2)), 20) * (1 + rounding * rng.uniform(-1, 1, (3, 40)))
    for b in (1, 4):
        found = noise_tail_index(Minibatch(40, b), two, 10_000, Stream.of(1), rounding=rounding)
        assert 1.8 < found.value <= 2
        # A mean of b signs has -2/b, here of all directions: what is left is rounding, and it is in the error.
        kurtosis = excess_kurtosis(Minibatch(40, b), two, rounding=rounding)
        assert abs(kurtosis.value + 2 / b) < 4 * kurtosis.standard_error < 1e3 * rounding


def test_projections_are_of_the_gradients():
    model, x, y = problem("perceptron")
    operators = LossOperators(model, LOSS, x, y)
    found = random_projections(operators, 3, torch.Generator().manual_seed(1))
    directions = torch.randn((3, operators.dimension), generator=torch.Generator().manual_seed(1), dtype=operators.dtype)
    np.testing.assert_allclose(found, directions @ torch.cat(list(operators.sample_gradients())).T, rtol=1e-10, atol=1e-12)


@dataclass(frozen=True)
class Undrawn(SamplingNoise):
    """A noise that nobody can draw."""

    n: int

    def joint_cumulant(self, pattern):
        return Minibatch(self.n, 2).joint_cumulant(pattern)


def test_what_cannot_be_diagnosed_is_refused_before_the_work(monkeypatch):
    model, x, y = problem("perceptron")

    def work(*args, **kwargs):
        raise AssertionError("it was begun")

    monkeypatch.setattr(diagnosis, "escape", work)
    with pytest.raises(TypeError, match="must have a method draw"):
        diagnosis.diagnose(model, LOSS, (x, y), Undrawn(N), rng=1)
    with pytest.raises(ValueError, match="n_draws must be between 4 and"):
        diagnosis.diagnose(model, LOSS, (x, y), 2, rng=1, n_draws=3)
    with pytest.raises(ValueError, match="n_directions must be between 1 and"):
        diagnosis.diagnose(model, LOSS, (x, y), 2, rng=1, n_directions=0)
    with pytest.raises(ValueError, match="the noise must not be zero along any direction"):
        diagnosis.diagnose(model, LOSS, (x[:1].repeat(N, 1), y[:1].repeat(N)), 2, rng=1)
    with pytest.raises(AssertionError, match="it was begun"):  # can fail
        diagnosis.diagnose(model, LOSS, (x, y), 2, rng=1, n_directions=2, n_draws=100)


def test_tensors_are_samples_unless_they_require_a_gradient():
    """Would catch torch's own error, which tells nobody which argument it is about."""
    x = torch.randn(400, generator=torch.Generator().manual_seed(1))
    assert tail_index(x).value > 1
    with pytest.raises(ValueError, match=r"samples must be a rectangular array of numbers: .*requires grad"):
        tail_index(x.requires_grad_())
