"""Weights of a batch by itself, against the moments that theory.sampling states for W over all samples.

They would catch a scale of the full batch in a ragged one, a batch whose weights do not sum to one in the mean, a sample that is
lost when it is drawn twice, micro-batches with weaker noise, and weight decay that is multiplied by a weight. Nulls: mean and
covariance are the stated ones; n = 12,000 draws, z = 6, fewer than 400 two-sided comparisons, so a false alarm has a probability
below 1e-6.
"""

import itertools
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'gradnoise[neural]'")

from gradnoise.simulations.neural.batch_weights import batch_weights, weighted_batch
from gradnoise.simulations.neural.weights import weights
from gradnoise.theory.sampling import (
    Bernoulli,
    Enhanced,
    Gaussian,
    GaussianMinibatch,
    Minibatch,
    SparseGaussian,
    compensating_noise_batch_size,
)

from .networks import LOSS, problem

SIZE, Z = 12_000, 6.0
SIZES = [(7, 2, 4), (11, 3, 8)]  # n, b, B


def compensated(n, b, B, centered, replacement):
    plain = None if centered or replacement else n
    return GaussianMinibatch(n, B, compensating_noise_batch_size(B, b, plain), centered, replacement)


def generator(seed=1):
    return torch.Generator().manual_seed(seed)


def drawn(noise, size=None):
    """(SIZE, m) weights of as many batches."""
    source = generator()
    return torch.stack([batch_weights(noise, source, size=size, dtype=torch.float64) for _ in range(SIZE)]).numpy()


def scattered(samples, w, n):
    """W over all samples from those of the batches."""
    W = np.zeros((len(w), n))
    np.add.at(W, (np.arange(len(w))[:, None], samples), w)
    return W


def batches(n, m, replacement, seed=2):
    """(SIZE, m) samples, as a loader draws them."""
    rng = np.random.default_rng(seed)
    return rng.integers(n, size=(SIZE, m)) if replacement else rng.permuted(np.tile(np.arange(n), (SIZE, 1)), axis=1)[:, :m]


def deviation(W, mean, covariance):
    """Largest deviation of means, variances and covariances of the rows. Units: standard errors."""
    centred = W - mean
    products = np.einsum("si,sj->sij", centred, centred) - covariance
    statistics = [*centred.T, *products.reshape(len(W), -1).T]
    return max(abs(s.mean()) / max(s.std() / np.sqrt(len(W)), 1e-12) for s in statistics)


def exchangeable(m, v, c):
    return (v - c) * np.eye(m) + c


def stated(noise):
    return noise.mean, exchangeable(noise.n, noise.variance, noise.covariance)


@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize(("n", "b", "B"), SIZES)
def test_given_the_batch_the_weights_have_the_noise_of_algorithm_2(n, b, B, centered):
    noise = compensated(n, b, B, centered, True)
    for m in (B, B - 1):
        v = 1 / (noise.noise_batch_size * m)  # of 1/m + N(0, 1/(b' m))
        wanted = exchangeable(m, v, -v / (m - 1) if centered else 0)
        w = drawn(noise, m)
        assert deviation(w, 1 / m, wanted) < Z
        assert deviation(w, 1 / m, wanted * m / (m + 1)) > Z  # that of a larger batch: it can fail


@pytest.mark.parametrize("replacement", [True, False])
@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize(("n", "b", "B"), SIZES)
def test_over_all_batches_they_have_the_law_of_the_class(n, b, B, centered, replacement):
    """Also those of a ragged batch, of the class with that batch size; of a full one, the strength of a batch of b."""
    noise = compensated(n, b, B, centered, replacement)
    for m in (B, B - 1):
        W = scattered(batches(n, m, replacement), drawn(noise, m), n)
        law = replace(noise, batch_size=m)
        assert deviation(W, *stated(law)) < Z
        assert deviation(W, *stated(Minibatch(n, m, replacement))) > Z  # without the noise
    assert float(noise.centred_power) == pytest.approx(float(Minibatch(n, b, replacement).centred_power), rel=1e-12)


def test_a_batch_of_two_halves_is_enhanced():
    """Exactly, by enumeration: independent halves have the law of the class, disjoint ones what the docstring adds to it."""
    n, B, alpha = 5, 2, 2.5
    for replacement in (True, False):
        noise = Enhanced(Minibatch(n, B, replacement), alpha)
        w = batch_weights(noise, generator(), dtype=torch.float64).numpy()
        np.testing.assert_allclose(w, [alpha / 2] * 2 + [(1 - alpha) / 2] * 2)
        orders = itertools.product(range(n), repeat=4) if replacement else itertools.permutations(range(n), 4)
        samples = np.array(list(orders))
        W = scattered(samples, np.tile(w, (len(samples), 1)), n)
        C = np.cov(W.T, bias=True)
        extra = 0 if replacement else 2 * alpha * (alpha - 1) / (n * (n - 1))
        assert C[0, 0] - C[0, 1] == pytest.approx(noise.centred_power + extra, rel=1e-12)
        np.testing.assert_allclose(W.mean(axis=0), 1 / n)


def test_ragged_batches():
    noise = compensated(11, 3, 8, True, False)
    for kind, full in ((noise, 8), (Minibatch(11, 8), 8), (Enhanced(noise, 1.7), 16), (Enhanced(Enhanced(noise, 2), 2), 32)):
        assert len(batch_weights(kind, generator())) == full
        for size in (1, 2, 3, 5, 8):
            w = batch_weights(kind, generator(), size=size)
            assert len(w) == size and float(w.sum()) == pytest.approx(1, abs=1e-6)
    assert batch_weights(noise, generator(), size=1).tolist() == [1.0]  # nothing to centre
    assert batch_weights(Bernoulli(11, 4), generator(), size=0).shape == (0,)
    assert batch_weights(Bernoulli(11, 4), generator(), size=5).tolist() == [0.25] * 5  # 1/b, not one over the batch's size


def test_micro_batches_momentum_and_weight_decay():
    """Parts of one draw add up to the noisy gradient, and weight decay is added to it as it is."""
    noise = compensated(9, 2, 7, False, False)

    def step(parts):
        model, x, y = problem("perceptron")
        optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9, weight_decay=0.1)
        source = generator()
        for _ in range(2):
            optimizer.zero_grad()
            w = batch_weights(noise, source, size=7, dtype=torch.float64)
            for x_part, y_part, w_part in zip(x[:7].split(parts), y[:7].split(parts), w.split(parts), strict=True):
                (w_part * LOSS(model(x_part), y_part)).sum().backward()
            optimizer.step()
        return torch.cat([p.detach().flatten() for p in model.parameters()])

    model, x, y = problem("perceptron")
    parameters, source, velocity = list(model.parameters()), generator(), None
    for _ in range(2):
        w = batch_weights(noise, source, size=7, dtype=torch.float64)
        each = [torch.autograd.grad(LOSS(model(x[i : i + 1]), y[i : i + 1])[0], parameters) for i in range(7)]
        with torch.no_grad():
            noisy = [sum(w[i] * each[i][j] for i in range(7)) + 0.1 * p for j, p in enumerate(parameters)]
            velocity = noisy if velocity is None else [0.9 * v + g for v, g in zip(velocity, noisy, strict=True)]
            for p, v in zip(parameters, velocity, strict=True):
                p -= 0.5 * v
    wanted = torch.cat([p.detach().flatten() for p in parameters])
    for parts in (7, 3):
        torch.testing.assert_close(step(parts), wanted, rtol=1e-10, atol=1e-12)


NOISES = [
    (Minibatch(20, 6), 6),
    (Minibatch(20, 6, replacement=False), 6),
    (GaussianMinibatch(20, 6, 2.0), 6),
    (GaussianMinibatch(20, 6, 2.0, centered=True, replacement=False), 6),
    (Enhanced(GaussianMinibatch(20, 6, 2.0), 1.7), 12),
    (Enhanced(Bernoulli(20, 3), 1.7), None),
    (Bernoulli(20, 6), None),
    (Minibatch(20, 20), 20),
    (Enhanced(Minibatch(20, 10), 1.7), 20),
    (Gaussian(20, 6), 20),
    (SparseGaussian(20, 6, 8), 20),
]


@pytest.mark.parametrize(("noise", "size"), NOISES, ids=repr)
def test_samples_and_weights_are_those_of_the_whole_vector(noise, size):
    """Of one shape in all steps; also of an empty batch."""
    sparse, dense, sizes = generator(), generator(), set()
    for _ in range(100):
        batch = weighted_batch(noise, sparse, dtype=torch.float64)
        samples = torch.arange(20) if batch.samples is None else batch.samples
        W = torch.zeros(20, dtype=torch.float64).index_add_(0, samples, batch.weights)
        torch.testing.assert_close(W, weights(noise, dense, dtype=torch.float64), rtol=1e-12, atol=1e-15)
        sizes.add(len(batch.weights))
    assert sizes == {size} if size else len(sizes) > 1


@pytest.mark.parametrize(
    ("noise", "options", "kind", "message"),
    [
        (Minibatch(7, 4), {"size": 5}, ValueError, "size must be between 1 and 4, got 5"),
        (Minibatch(7, 4), {"size": 0}, ValueError, "size must be between 1 and 4, got 0"),
        (Bernoulli(7, 4), {}, ValueError, "size must be given for Bernoulli"),
        (Gaussian(7, 4), {}, TypeError, r"noise of class Gaussian weighs no batch by itself.*draw weights\(Gaussian\(B, b\)"),
        (Enhanced(Gaussian(7, 4), 2.0), {}, TypeError, "must be Minibatch or GaussianMinibatch, got Gaussian"),
        (Minibatch(7, 4), {"dtype": torch.int64}, TypeError, "dtype must be a floating point type"),
    ],
)
def test_bad_arguments_are_named(noise, options, kind, message):
    with pytest.raises(kind, match=message):
        batch_weights(noise, generator(), **options)
