"""Closed formulas around the noise classes: equivalent batch sizes, compensation, contracts and error messages.

It would catch a compensation that misses its target by a factor such as n/(n - 1) or B/(B - 1), a wrong limit (b = B, b = n, no
noise at all), a class that loses exactness with NumPy numbers, a cumulant that is given though it does not exist, and any bad
argument that passes, or whose error does not say which argument it was.
"""

import math
from dataclasses import FrozenInstanceError, dataclass, replace
from fractions import Fraction
from functools import partial
from typing import Any, cast

import numpy as np
import pytest

from gradnoise.theory.least_squares import WeightMoments
from gradnoise.theory.sampling import (
    Bernoulli,
    Enhanced,
    Gaussian,
    GaussianMinibatch,
    Minibatch,
    Rademacher,
    SamplingNoise,
    SparseGaussian,
    StudentT,
    as_noise,
    compensating_alpha,
    compensating_noise_batch_size,
    effective_batch_size,
    minibatch_power,
)
from gradnoise.theory.sampling.count_mixture import CountMixture

# One division or square root after exact fractions, in float: a few units in the last place.
ROUNDING = 1e-14
FULL = [(9, 1), (9, 4), (9, 8), (1000, 32)]


def _same(first, second):
    return math.isclose(first, second, rel_tol=ROUNDING, abs_tol=1e-300)


def _same_covariance(noise, target):
    return _same(noise.variance, target.variance) and _same(noise.covariance, target.covariance)


@pytest.mark.parametrize("replacement", [True, False])
@pytest.mark.parametrize(("n", "b"), FULL)
def test_effective_batch_size_of_a_minibatch_is_its_own(n, b, replacement):
    assert _same(effective_batch_size(Minibatch(n, b, replacement), replacement), b)


@pytest.mark.parametrize(("n", "b"), FULL)
def test_effective_batch_size_translates_between_the_schemes(n, b):
    as_with = effective_batch_size(Minibatch(n, b, replacement=False))
    assert _same(as_with, b * (n - 1) / (n - b))  # (n - b)/(n - 1) is the finite-population correction
    again = effective_batch_size(Gaussian(n, as_with), replacement=False)
    # For b near n the noise of a batch with replacement is large against its change; b comes back with n/b digits less.
    assert math.isclose(again, b, rel_tol=ROUNDING * n / b)


@pytest.mark.parametrize("noise", [Gaussian(7, 2.5), Gaussian(7, 2.5, centered=False), Rademacher(7, 2.5), StudentT(7, 2.5, 3)])
def test_effective_batch_size_of_component_noise_is_the_matched_one(noise):
    assert _same(effective_batch_size(noise), 2.5)


def test_no_noise_is_an_infinite_batch_or_the_whole_set():
    still = Minibatch(6, 6, replacement=False)
    assert effective_batch_size(still) == math.inf
    assert effective_batch_size(still, replacement=False) == 6


def test_effective_batch_size_can_fail():
    assert not _same(effective_batch_size(Minibatch(9, 4, replacement=False)), 4)
    assert not _same(effective_batch_size(Minibatch(9, 4), replacement=False), 4)


PAIRS = [(8, 2), (8, 8), (8, 7), (8, 2.5), (100, 1)]


@pytest.mark.parametrize(("B", "b"), PAIRS)
def test_enhancement_compensates_with_replacement(B, b):
    alpha = compensating_alpha(B, b)
    assert alpha >= 0.5
    assert _same_covariance(Enhanced(Minibatch(128, B), alpha), Gaussian(128, b))


@pytest.mark.parametrize(("B", "b"), PAIRS)
def test_enhancement_compensates_without_replacement(B, b):
    alpha = compensating_alpha(B, b, n=128)
    assert _same_covariance(Enhanced(Minibatch(128, B, False), alpha), Gaussian(128, b, replacement=False))


def test_enhancement_compensates_can_fail():
    alpha = compensating_alpha(8, 2)  # for batches with replacement
    assert not _same_covariance(Enhanced(Minibatch(128, 8, False), alpha), Gaussian(128, 2, replacement=False))
    assert not _same_covariance(Enhanced(Minibatch(128, 8), math.sqrt(8 / 2)), Gaussian(128, 2))


def test_enhancement_reaches_twice_the_batch_and_no_further():
    assert compensating_alpha(8, 16) == 0.5
    assert _same_covariance(Enhanced(Minibatch(128, 8), 0.5), Minibatch(128, 16))
    with pytest.raises(ValueError, match="target_batch_size"):
        compensating_alpha(8, 16.001)


def test_batches_that_floats_do_not_tell_apart_are_compensated():
    """Catches a whole batch size that becomes a float: no noise, for b = B, is then found for b = B - 1."""
    assert compensating_noise_batch_size(2**60, 2**60 - 1) == 2.0**120


@pytest.mark.parametrize(("B", "b"), [(8, 2), (8, 7), (8, 2.5), (100, 3)])
@pytest.mark.parametrize("replacement", [True, False])
def test_centred_gaussian_weights_compensate_exactly(B, b, replacement):
    weights = compensating_noise_batch_size(B, b)  # wu2020, Algorithm 2: the same b' with and without
    noise = GaussianMinibatch(128, B, weights, centered=True, replacement=replacement)
    assert _same_covariance(noise, Gaussian(128, b, replacement=replacement))
    assert not _same_covariance(noise, Gaussian(128, b, replacement=not replacement))


@pytest.mark.parametrize(("B", "b"), [(8, 2), (8, 7), (8, 2.5), (100, 3)])
def test_plain_gaussian_weights_compensate_the_centred_power(B, b):
    with_, without = compensating_noise_batch_size(B, b), compensating_noise_batch_size(B, b, n=128)
    assert _same(without, with_ * 127 / 128)
    assert _same(effective_batch_size(GaussianMinibatch(128, B, with_)), b)
    assert _same(effective_batch_size(GaussianMinibatch(128, B, without, replacement=False), replacement=False), b)
    # and they can fail: each b' in the place of the other
    assert not _same(effective_batch_size(GaussianMinibatch(128, B, without)), b)
    assert not _same(effective_batch_size(GaussianMinibatch(128, B, with_, replacement=False), replacement=False), b)


def test_a_batch_of_the_target_size_needs_no_noise():
    assert compensating_noise_batch_size(8, 8) == math.inf == compensating_noise_batch_size(8, 8, n=128)
    assert compensating_alpha(8, 8) == 1


def test_the_answer_for_no_noise_can_be_given_back():
    assert _same_covariance(GaussianMinibatch(128, 8, compensating_noise_batch_size(8, 8)), Minibatch(128, 8))


@dataclass(frozen=True)
class OneSample(SamplingNoise):
    """All weight on one sample: a minibatch of one, but stated by its own moments, in floats."""

    n: int

    def joint_cumulant(self, pattern):
        p = 1 / self.n
        match pattern:
            case (1,):
                return p
            case (2,):
                return p * (1 - p)
            case (1, 1):
                return -(p**2)
        raise ValueError("only moments up to the second are known")


def test_a_class_of_ones_own_inherits_the_rest():
    noise, x = OneSample(4), np.array([1.0, -2.0, 5.0, 0.0])
    assert noise.mean == 0.25
    assert np.allclose(noise.covariance_matrix(), np.eye(4) / 4 - 1 / 16, rtol=0, atol=1e-16)
    assert _same(noise.cumulant(1, x), x.mean())
    assert _same(noise.cumulant(2, x), x.var())
    assert np.allclose(noise.gradient_covariance([x, x**2]), np.cov([x, x**2], bias=True), rtol=ROUNDING)
    assert _same(effective_batch_size(noise), 1)
    assert _same(Enhanced(noise, 2.0).variance, 5 * noise.variance)
    with pytest.raises(ValueError, match="second"):
        noise.cumulant(3, x)


def test_a_class_without_moments_is_abstract():
    with pytest.raises(TypeError, match="joint_cumulant"):
        cast(Any, SamplingNoise)()


@pytest.mark.parametrize(("df", "order", "exists"), [(3, 3, False), (3, 4, False), (3.5, 3, True), (4, 4, False), (4.5, 4, True)])
def test_student_cumulants_exist_below_df(df, order, exists):
    noise, x = StudentT(5, 2, df), np.arange(5.0)
    assert noise.cumulant(2, x) == Gaussian(5, 2).cumulant(2, x)
    for each in (noise, Enhanced(noise, 0.75)):
        if exists:
            assert (each.cumulant(order, x) > 0) == (order == 4)
        else:
            with pytest.raises(ValueError, match=f"order {order} does not exist for df = {df}"):
                each.cumulant(order, x)


@pytest.mark.parametrize("n", [16385, 10**9, np.int32(10**5), np.int64(4 * 10**9)])
def test_a_covariance_matrix_over_two_gib_is_refused(n):
    size = f"{int(n) ** 2 / 2**27:.1f}"
    with pytest.raises(ValueError, match=rf"n = {n} .* {size} GiB, allowed are 2 GiB.*gradient_covariance"):
        Gaussian(n, 2).covariance_matrix()


def _binomial(n, b):
    """Variance and fourth cumulant of a Binomial(b, 1/n) count over b."""
    q = Fraction(1, n) * (1 - Fraction(1, n))
    return q / b, q * (1 - 6 * q) / b**3


def _coin(n, b):
    """Of a Bernoulli(b/n) variable over b."""
    q = Fraction(b, n) * (1 - Fraction(b, n))
    return q / b**2, q * (1 - 6 * q) / b**4


# Products of NumPy integers overflow: a Fraction must not be made of them. The other side is worked out by hand, and each kind
# has its own n, since results are cached under keys that are equal for equal numbers of any kind.
@pytest.mark.parametrize("kind", [int, np.int64, np.int32])
@pytest.mark.parametrize(
    ("make", "moments"),
    [
        (Minibatch, _binomial),
        (lambda n, b: Minibatch(n, b, False), _coin),
        (Bernoulli, _coin),
        (Gaussian, lambda n, b: (Fraction(n - 1, n) / (b * n), 0)),
        (lambda n, b: SparseGaussian(n, b, b), lambda n, b: (Fraction(1, n * b), 3 * Fraction(n - b, n**2 * b**3))),
    ],
    ids=["minibatch-with", "minibatch-without", "bernoulli", "gaussian", "sparse"],
)
def test_numpy_integers_are_as_exact_as_python_ones(make, moments, kind):
    n, b = 123_457 + [int, np.int64, np.int32].index(kind), 128
    noise = make(kind(n), kind(b))
    assert (noise.joint_cumulant((2,)), noise.joint_cumulant((4,))) == moments(n, b)
    assert effective_batch_size(noise, replacement=False) > 0


@pytest.mark.parametrize("kind", [np.float64, np.float32, Fraction])
def test_every_real_number_is_a_strength(kind):
    half = kind(2.5)
    assert Gaussian(5, half).variance == Gaussian(5, 2.5).variance
    assert GaussianMinibatch(5, 3, half).variance == GaussianMinibatch(5, 3, 2.5).variance
    assert SparseGaussian(5, half, 3).variance == SparseGaussian(5, 2.5, 3).variance
    assert Enhanced(Minibatch(5, 3), half).variance == Enhanced(Minibatch(5, 3), 2.5).variance
    assert StudentT(5, 3, kind(4.5)).cumulant(4, np.arange(5.0)) == StudentT(5, 3, 4.5).cumulant(4, np.arange(5.0))


@pytest.mark.parametrize("replacement", [True, False])
@pytest.mark.parametrize(("n", "b"), [(1, 1), (2, 1), (7, 3), (11, 8), (11, 11), (np.int64(123_461), np.int32(128))])
def test_a_minibatch_has_the_power_that_its_counts_give(n, b, replacement):
    """Two routes: Eqs. (4) and (5) of wu2019, and moments of multinomial and hypergeometric counts."""
    noise = Minibatch(n, b, replacement)
    for pattern in ((2,), (1, 1)):
        assert noise.joint_cumulant(pattern) == CountMixture.joint_cumulant(noise, pattern)
    if n > 1:
        v, c = noise.joint_cumulant((2,)), noise.joint_cumulant((1, 1))
        assert minibatch_power(n, b, replacement) == v - c
        assert (minibatch_power(n, b, not replacement) == v - c) == (b == 1)  # one sample is drawn either way
        assert minibatch_power(n, b + 1, True) != v - c


def test_a_batch_size_stands_for_the_class_that_is_named():
    assert GIVEN(3) == GIVEN(np.int64(3)) == GIVEN(np.uint8(3)) == Minibatch(11, 3)
    batch = GIVEN(np.int64(3))
    assert isinstance(batch, Minibatch) and isinstance(batch.batch_size, int)
    assert GIVEN(3, replacement=False) == Minibatch(11, 3, replacement=False)
    assert GIVEN(3, default=Gaussian) == Gaussian(11, 3)
    assert GIVEN(3, default=Gaussian, replacement=False) == Gaussian(11, 3, replacement=False)
    own = OneSample(11)
    assert GIVEN(own, replacement=False, at_most=2, some=True) is own  # limits of a batch size are not those of a noise
    assert as_noise(THREE) is THREE


# --- Bad input -----------------------------------------------------------------------------------------------------------------

THREE = Minibatch(3, 2)
GIVEN = partial(as_noise, name="b", n=11, default=Minibatch)
BAD = [
    (lambda: Minibatch(5, 6, replacement=False), ValueError, "batch_size must be between 1 and 5, got 6"),
    (lambda: Minibatch(5, 0), ValueError, "batch_size must be >= 1, got 0"),
    (lambda: Minibatch(0, 1), ValueError, "n must be >= 1"),
    (lambda: Minibatch(cast(Any, 5.0), 1), TypeError, "n must be an integer"),
    (lambda: Minibatch(5, cast(Any, 2.0)), TypeError, "batch_size must be an integer"),
    (lambda: Minibatch(True, 1), TypeError, "n must be an integer"),
    (lambda: Minibatch(5, True), TypeError, "batch_size must be an integer"),
    (lambda: Minibatch(5, cast(Any, "2")), TypeError, "batch_size"),
    (lambda: Minibatch(5, 2, cast(Any, 1)), TypeError, "replacement must be True or False"),
    (lambda: Bernoulli(5, 6), ValueError, "batch_size"),
    (lambda: Gaussian(5, 0), ValueError, "batch_size must be > 0"),
    (lambda: Gaussian(5, math.nan), ValueError, "batch_size"),
    (lambda: Gaussian(5, math.inf), ValueError, "batch_size"),
    (lambda: Gaussian(5, 5.5, replacement=False), ValueError, "batch_size must be > 0 and <= 5"),
    (lambda: Gaussian(5, True), TypeError, "batch_size"),
    (lambda: Gaussian(5, 2, centered=cast(Any, 1)), TypeError, "centered"),
    (lambda: Rademacher(cast(Any, 5.5), 2), TypeError, "n must be an integer"),
    (lambda: StudentT(5, 2, 2), ValueError, "df must be > 2"),
    (lambda: StudentT(5, 2, math.nan), ValueError, "df"),
    (lambda: SparseGaussian(5, 2, 6), ValueError, "support_size"),
    (lambda: SparseGaussian(5, 2, 0, replacement=True), ValueError, "support_size"),
    (lambda: SparseGaussian(5, -2, 3), ValueError, "batch_size"),
    (lambda: SparseGaussian(5, 2, 3, form="Fisher"), ValueError, "form must be one of fisher, cov, printed, got 'Fisher'"),
    (lambda: SparseGaussian(5, 2, 1, form="cov"), ValueError, "support_size >= 2"),
    (lambda: GaussianMinibatch(5, 6, 2, replacement=False), ValueError, "batch_size"),
    (lambda: GaussianMinibatch(5, 3, 0), ValueError, "noise_batch_size"),
    (lambda: GaussianMinibatch(5, 1, 2, centered=True), ValueError, "batch_size >= 2"),
    (lambda: GaussianMinibatch(5, 3, 2, centered=cast(Any, "no")), TypeError, "centered"),
    (lambda: Enhanced(cast(Any, 3), 0.5), TypeError, "base must be a SamplingNoise"),
    (lambda: Enhanced(THREE, math.nan), ValueError, "alpha"),
    (lambda: Enhanced(THREE, cast(Any, "1")), TypeError, "alpha"),
    (lambda: THREE.cumulant(5, [1, 2, 3]), ValueError, "order must be between 1 and 4, got 5"),
    (lambda: THREE.cumulant(0, [1, 2, 3]), ValueError, "order"),
    (lambda: THREE.cumulant(cast(Any, 2.0), [1, 2, 3]), TypeError, "order"),
    (lambda: THREE.cumulant(2, [1, 2]), ValueError, "values must have n = 3 entries, got 2"),
    (lambda: THREE.cumulant(2, [[1, 2, 3]]), ValueError, "values must have 1 dimension"),
    (lambda: THREE.cumulant(2, [1, 2, math.nan]), ValueError, "values must be finite"),
    (lambda: THREE.cumulant(2, [1, 2, 3j]), TypeError, "values"),
    (lambda: THREE.cumulant(2, [[1], [2, 3]]), ValueError, "values must be a rectangular"),
    (lambda: THREE.gradient_covariance([1, 2, 3]), ValueError, "gradients must have 2 dimension"),
    (lambda: THREE.gradient_covariance(np.ones((3, 2))), ValueError, "gradients must have n = 3 columns"),
    (lambda: THREE.gradient_covariance([[1, 2, math.inf]]), ValueError, "gradients must be finite"),
    (lambda: minibatch_power(0, 1), ValueError, "n must be >= 1"),
    (lambda: minibatch_power(5, 0), ValueError, "batch_size must be > 0"),
    (lambda: minibatch_power(5, 5.5, replacement=False), ValueError, "batch_size must be > 0 and <= 5"),
    (lambda: minibatch_power(5, 2, replacement=cast(Any, 0)), TypeError, "replacement must be True or False"),
    (lambda: as_noise(3), TypeError, "noise must be a SamplingNoise, got 3"),
    (lambda: as_noise(Minibatch, "base"), TypeError, "base must be a SamplingNoise, got <class"),
    (lambda: GIVEN(2.0), TypeError, "b must be an integer or a SamplingNoise, got 2.0"),
    (lambda: GIVEN(True), TypeError, "b must be an integer or a SamplingNoise, got True"),
    (lambda: GIVEN(np.bool_(True)), TypeError, "b must be an integer or a SamplingNoise"),
    (lambda: GIVEN("3"), TypeError, "b must be an integer or a SamplingNoise, got '3'"),
    (lambda: GIVEN(None), TypeError, "b must be an integer or a SamplingNoise, got None"),
    (lambda: GIVEN(0), ValueError, "b must be >= 1, got 0"),
    (lambda: GIVEN(8, at_most=7), ValueError, "b must be between 1 and 7, got 8"),
    (lambda: GIVEN(12, replacement=False), ValueError, "b must be between 1 and 11, got 12"),
    (lambda: GIVEN(8, replacement=False, at_most=7), ValueError, "b must be between 1 and 7"),
    (lambda: GIVEN(3, replacement=cast(Any, "no")), TypeError, "replacement must be True or False"),
    (lambda: GIVEN(Gaussian(7, 3)), ValueError, r"b must be a noise over the 11 samples, got Gaussian\(n=7"),
    (lambda: GIVEN(11, replacement=False, some=True), ValueError, "b must leave some noise, v > c, got Minibatch"),
    (lambda: as_noise(Minibatch(7, 7, False), some=True), ValueError, "noise must leave some noise, v > c, got Minibatch"),
    (lambda: effective_batch_size(cast(Any, 3)), TypeError, "noise must be a SamplingNoise"),
    (lambda: effective_batch_size(THREE, cast(Any, "with")), TypeError, "replacement"),
    (lambda: compensating_alpha(8, 0), ValueError, "target_batch_size"),
    (lambda: compensating_alpha(cast(Any, 8.0), 2), TypeError, "batch_size"),
    (lambda: compensating_alpha(8, 2, n=8), ValueError, "batch_size = n = 8 without replacement"),
    (lambda: compensating_alpha(9, 2, n=8), ValueError, "batch_size must be between 1 and 8"),
    (lambda: compensating_alpha(4, 9, n=8), ValueError, "target_batch_size"),
    (lambda: compensating_alpha(4, math.nan), ValueError, "target_batch_size"),
    (lambda: compensating_alpha(4, 2, n=cast(Any, 8.0)), TypeError, "n must be an integer"),
    (lambda: compensating_noise_batch_size(8, 9), ValueError, "target_batch_size must be <= batch_size = 8"),
    (lambda: compensating_noise_batch_size(8, -1), ValueError, "target_batch_size"),
    (lambda: compensating_noise_batch_size(True, 1), TypeError, "batch_size"),
    (lambda: compensating_noise_batch_size(8, cast(Any, Fraction(100, 3))), ValueError, "<= batch_size = 8, got 33.3333"),
    (lambda: compensating_alpha(8, cast(Any, Fraction(100, 3))), ValueError, "target_batch_size = 33.3333 has less"),
]


@pytest.mark.parametrize(("call", "error", "says"), BAD, ids=[f"{i}-{says}" for i, (_, _, says) in enumerate(BAD)])
def test_bad_input_is_named(call, error, says):
    with pytest.raises(error, match=says):
        call()


def test_one_sample_has_no_pairs_and_no_noise():
    assert Gaussian(1, 2).covariance == 0
    assert effective_batch_size(Gaussian(1, 2)) == effective_batch_size(Minibatch(1, 2)) == math.inf
    with pytest.raises(ValueError, match="n must be >= 2"):
        compensating_noise_batch_size(1, 0.5, n=1)


def test_values_whose_powers_overflow_are_named():
    with pytest.raises(ValueError, match="values must be small enough"):
        Minibatch(3, 2).cumulant(4, [1e90, 2, 3])


@dataclass(frozen=True)
class InSinglePrecision(SamplingNoise):
    n: int

    def joint_cumulant(self, pattern: tuple[int, ...]) -> Any:
        return np.float32(Minibatch(self.n, 2).joint_cumulant(pattern))


@pytest.mark.parametrize(
    "noise", [Minibatch(7, 2), Gaussian(7, 2), Bernoulli(7, 2), SparseGaussian(7, 2, 3), Enhanced(Minibatch(7, 2), 2)]
)
@pytest.mark.parametrize(
    "pattern", [(5,), (2, 1, 1, 1), (1, 2), (2, 0), (-1,), (), [2], (2.0,), (True, True), "2", None, ((2,),), (10**400,)]
)
def test_what_is_no_pattern_has_no_joint_cumulant(noise, pattern):
    with pytest.raises((TypeError, ValueError), match="pattern must be"):
        noise.joint_cumulant(pattern)


@dataclass(frozen=True)
class Wrong(SamplingNoise):
    n: int
    stated: Any

    def joint_cumulant(self, pattern: tuple[int, ...]) -> Any:
        return self.stated


@pytest.mark.parametrize("stated", [math.nan, -math.inf, 1j, "0.5", None, True, np.ma.masked, np.ones(1)])
def test_a_cumulant_that_is_no_number_is_named(stated):
    for use in (lambda noise: noise.variance, lambda noise: noise.cumulant(2, [1, 2, 3]), effective_batch_size):
        with pytest.raises((TypeError, ValueError), match=r"joint_cumulant\(\(2,\)\) must be"):
            use(Wrong(3, stated))


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: as_noise(2, n=5, default=cast(Any, "Minibatch")), "default must be a class of noise, got 'Minibatch'"),
        (lambda: as_noise(2, n=5, default=cast(Any, float)), "default must be a class of noise, got <class 'float'>"),
        (lambda: as_noise(2, n=5, default=cast(Any, lambda *_, **more: 3)), "what default makes must be of class SamplingNoise"),
        (lambda: as_noise(2, cast(Any, 3), n=5, default=Minibatch), "name must be a string, got 3"),
        (lambda: as_noise(2, n=5, default=Minibatch, at_most=cast(Any, "3")), "at_most must be an integer, got '3'"),
        (lambda: as_noise(2, n=5, default=Minibatch, some=cast(Any, None)), "some must be True or False, got None"),
        (lambda: as_noise(cast(Any, np.timedelta64(3)), n=5, default=Minibatch), "noise must be an integer or a SamplingNoise"),
        (lambda: WeightMoments.fresh(cast(Any, 3)), "noise must be a SamplingNoise, got 3"),
        (lambda: WeightMoments.fixed_data(cast(Any, None)), "noise must be a SamplingNoise, got None"),
    ],
)
def test_what_is_no_noise_is_named(call, says):
    with pytest.raises((TypeError, ValueError), match=says):
        call()


def test_numbers_of_few_bits_do_not_overflow():
    assert compensating_noise_batch_size(8, 2, n=cast(Any, np.uint8(255))) == compensating_noise_batch_size(8, 2, n=255)
    assert compensating_alpha(8, 2, n=cast(Any, np.int8(120))) == compensating_alpha(8, 2, n=120)


def test_a_class_may_state_its_cumulants_as_any_real_numbers():
    values = np.arange(7.0) ** 2
    for order in (1, 2, 3, 4):
        assert InSinglePrecision(7).cumulant(order, values) == pytest.approx(Minibatch(7, 2).cumulant(order, values), rel=1e-4)


@pytest.mark.parametrize("noise", [
    Minibatch(7, 3), Gaussian(7, 3), Rademacher(7, 3), StudentT(7, 3, df=9), Bernoulli(7, 3), SparseGaussian(7, 2, 4),
    GaussianMinibatch(7, 4, 3), Enhanced(Minibatch(7, 4), 2.0),
])  # fmt: skip
def test_a_noise_is_a_value_that_can_be_a_key(noise):
    """Catches a record that can be changed after it was checked, and that has no hash then."""
    assert {noise: 1}[replace(noise)] == 1
    with pytest.raises(FrozenInstanceError):
        setattr(noise, next(iter(vars(noise))), 1)
