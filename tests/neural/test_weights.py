"""Sampling vectors drawn by torch against the moments of theory.sampling.

Null: the mean, variance and covariance of W are the stated ones, and its third and fourth cumulants along fixed values. With
n = 400,000 draws and z = 6 there are fewer than 130 two-sided comparisons, so a false alarm has a probability below 1e-6 (1e-5
with the skewness of products of weights).
"""

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'gradnoise[neural]'")


from gradnoise.simulations.neural.weights import DRAWN_BY_TORCH, weights
from gradnoise.theory import sampling
from gradnoise.theory.sampling import SamplingNoise

SIZE, Z, VALUES = 400_000, 6.0, np.array([0.3, -1.0, 0.7, 1.5, -0.4, 0.2])
NOISES = [
    sampling.Minibatch(6, 3),
    sampling.Minibatch(6, 3, replacement=False),
    sampling.Gaussian(6, 3),
    sampling.Gaussian(6, 3, centered=False),
    sampling.Rademacher(6, 3),
    sampling.StudentT(6, 3, df=12),
    sampling.Bernoulli(6, 3),
    sampling.SparseGaussian(6, 3, 4),
    sampling.SparseGaussian(6, 3, 4, form="cov"),
    sampling.SparseGaussian(6, 3, 4, form="printed", replacement=True),
    sampling.GaussianMinibatch(6, 4, 2.0),
    sampling.GaussianMinibatch(6, 4, 2.0, centered=True, replacement=False),
    sampling.Enhanced(sampling.Minibatch(6, 3), 2.0),
    # So many draws that they are counted without being listed.
    sampling.Minibatch(6, 100),
    sampling.SparseGaussian(6, 3, 100, form="cov", replacement=True),
    sampling.GaussianMinibatch(6, 100, 2.0),
    sampling.GaussianMinibatch(6, 100, 2.0, centered=True),
]


def drawn(noise, seed=1):
    return weights(noise, torch.Generator().manual_seed(seed), size=SIZE, dtype=torch.float64).numpy()


def deviation(noise, W):
    """Largest deviation of the moments from the stated ones. Units: standard errors."""
    centred = W - noise.mean
    y = W @ VALUES - noise.cumulant(1, VALUES)
    k2, k4 = noise.cumulant(2, VALUES), noise.cumulant(4, VALUES)
    statistics = [
        *(centred[:, [0, -1]].T),
        centred[:, 0] ** 2 - float(noise.variance),
        centred[:, 0] * centred[:, -1] - float(noise.covariance),
        y**2 - k2,
        y**3 - noise.cumulant(3, VALUES),
        y**4 - 3 * k2**2 - k4,
    ]
    # A statistic that does not vary must be right to rounding.
    return max(abs(s.mean()) / max(s.std() / np.sqrt(SIZE), 1e-12) for s in statistics)


@pytest.mark.parametrize("noise", NOISES, ids=repr)
def test_moments(noise):
    assert deviation(noise, drawn(noise)) < Z


def test_every_exported_class_has_a_rule():
    found = (getattr(sampling, name) for name in sampling.__all__)
    exported = {cls for cls in found if isinstance(cls, type) and issubclass(cls, SamplingNoise) and cls is not SamplingNoise}
    assert exported == set(DRAWN_BY_TORCH.known) == {type(noise) for noise in NOISES} and not DRAWN_BY_TORCH.missing


def test_moments_can_fail():
    for noise, wrong in (
        (NOISES[15], NOISES[16]),
        (NOISES[0], NOISES[1]),
        (NOISES[2], NOISES[3]),
        (NOISES[8], NOISES[7]),
        (NOISES[4], NOISES[2]),
    ):
        assert deviation(wrong, drawn(noise)) > Z


def test_a_batch_holds_its_samples():
    W = drawn(NOISES[0])
    np.testing.assert_allclose(W * 3, np.round(W * 3), atol=1e-12)
    np.testing.assert_allclose(W.sum(axis=1), 1, rtol=1e-12)
    assert (drawn(NOISES[1]) > 0).sum(axis=1).tolist() == [3] * SIZE


@pytest.mark.parametrize(("n", "b"), [(1, 10**5), (2, 10**6), (3, 10**12), (10, 150), (10, 10**5), (1000, 10**4), (7, 10**15)])
def test_large_batches_sum_to_one(n, b):
    """In single precision, and in memory that does not grow with b. Would catch 1/b that is added once a draw."""
    for noise in (sampling.Minibatch(n, b), sampling.Enhanced(sampling.Minibatch(n, b), 1.5)):
        W = weights(noise, torch.Generator().manual_seed(0), dtype=torch.float32)
        assert abs(float(W.double().sum()) - 1) < 4e-7
    if b < 10**6:
        counts = weights(sampling.Minibatch(n, b), torch.Generator().manual_seed(0), dtype=torch.float64) * b
        assert float((counts - counts.round()).abs().max()) < 1e-9


def test_more_draws_than_can_be_counted_are_refused():
    with pytest.raises(ValueError, match=r"batch_size must be at most 2\^53 to be counted"):
        weights(sampling.Minibatch(2, 2**54), torch.Generator())


@pytest.mark.parametrize("noise", NOISES, ids=repr)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_a_precision_is_rounded_once(noise, dtype):
    """Would catch sums that are formed in half a precision, and gamma variables that torch does not have there."""
    rounded, exact = (weights(noise, torch.Generator().manual_seed(1), size=50, dtype=d) for d in (dtype, torch.float32))
    assert rounded.dtype == dtype and torch.equal(rounded, exact.to(dtype))


def test_shapes_types_and_seeds():
    generator = torch.Generator().manual_seed(5)
    one = weights(NOISES[2], generator)
    assert one.shape == (6,) and one.dtype == torch.get_default_dtype()
    again = weights(NOISES[2], torch.Generator().manual_seed(5))
    assert torch.equal(one, again) and not torch.equal(one, weights(NOISES[2], generator))


@dataclasses.dataclass(frozen=True)
class Own(SamplingNoise):
    n: int = 6

    def joint_cumulant(self, pattern):
        return 1 / 6 if pattern == (1,) else 0

    def draw_torch(self, size, generator, dtype):
        return torch.full((size, 6), 1 / 6, dtype=dtype)


def test_a_class_of_ones_own():
    assert weights(Own(), torch.Generator(), size=2).shape == (2, 6)

    class Wrong(Own):
        def draw_torch(self, size, generator, dtype):
            return torch.zeros(6)

    class Silent(sampling.Gaussian):
        pass

    with pytest.raises(ValueError, match=r"Wrong\.draw_torch must return a tensor of shape"):
        weights(Wrong(), torch.Generator())
    for silent in (Silent(6, 3), sampling.Enhanced(Silent(6, 3), 1.3)):
        with pytest.raises(TypeError, match=r"noise of class Silent must have a method draw_torch\(size, generator, dtype\)"):
            weights(silent, torch.Generator())


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        (("sgd", torch.Generator()), TypeError, "noise must be a SamplingNoise"),
        ((NOISES[0], np.random.default_rng(0)), TypeError, "generator must be a torch.Generator"),
    ],
)
def test_bad_arguments_are_named(arguments, kind, message):
    with pytest.raises(kind, match=message):
        weights(*arguments)
    with pytest.raises(TypeError, match="dtype must be a floating point type"):
        weights(NOISES[0], torch.Generator(), dtype=torch.int64)
