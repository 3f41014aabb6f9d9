"""Sampling vectors drawn by torch against the moments of theory.sampling.

Null: the mean, variance and covariance of W are the stated ones, and its third and fourth cumulants along fixed values. With
n = 400,000 draws and z = 6 there are fewer than 100 two-sided comparisons, so a false alarm has a probability below 1e-6 (1e-5
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
    for noise, wrong in ((NOISES[0], NOISES[1]), (NOISES[2], NOISES[3]), (NOISES[8], NOISES[7]), (NOISES[4], NOISES[2])):
        assert deviation(wrong, drawn(noise)) > Z


def test_a_batch_holds_its_samples():
    W = drawn(NOISES[0])
    np.testing.assert_allclose(W * 3, np.round(W * 3), atol=1e-12)
    np.testing.assert_allclose(W.sum(axis=1), 1, rtol=1e-12)
    assert (drawn(NOISES[1]) > 0).sum(axis=1).tolist() == [3] * SIZE


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
