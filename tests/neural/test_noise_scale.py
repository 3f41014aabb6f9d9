"""Gradient norm and noise scale of a population from a few of its samples.

The population is finite, so that its values are exact; its samples are drawn without replacement from so many that this does not
matter. Nulls: the estimates are unbiased (z = 5 over 400 draws), and 95 % intervals cover in 95 % of them (at most 5 standard
deviations less). Both together raise a false alarm with a probability below 1e-5 a test.
"""

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'gradnoise[neural]'")

from torch import nn

from gradnoise.simulations.neural.gradient_spread import GradientSpread
from gradnoise.simulations.neural.loss_operators import LossOperators
from gradnoise.simulations.neural.noise_scale import NoiseScale, population_gradient
from gradnoise.simulations.statistics import Estimate, Quotient

from .networks import LOSS, problem

Z, DRAWS = 5.0, 400
POPULATION, SAMPLES = 20_000, 64


def softmax_regression(away):
    """Gradients (p − e_y) xᵀ of all samples in closed form; far from the minimum of the losses, or close to it."""
    generator = np.random.default_rng(3)
    x = np.hstack([generator.standard_normal((POPULATION, 4)), np.ones((POPULATION, 1))])
    theta = generator.standard_normal((5, 3))
    p = np.exp(x @ theta)
    p /= p.sum(axis=1, keepdims=True)
    labels = (generator.random((POPULATION, 1)) > p.cumsum(axis=1)).sum(axis=1)
    q = np.exp(x @ (theta + away))
    q /= q.sum(axis=1, keepdims=True)
    residual = q - np.eye(3)[labels]
    return (x[:, :, np.newaxis] * residual[:, np.newaxis, :]).reshape(POPULATION, -1)


class Rows(LossOperators):
    """Operators of gradients that are known, without a network."""

    def __init__(self, rows):
        self.rows, self.n = torch.as_tensor(rows), len(rows)

    def gradient(self):
        return self.rows.mean(dim=0)

    def transposed_product(self, u):
        return self.rows @ u


def estimated(rows):
    rows = torch.as_tensor(rows)
    operators: Any = Rows(rows)
    squares, mean = rows.square().sum(dim=1), rows.mean(dim=0)
    spread = GradientSpread(squares, {"all": float(squares.mean())}, {"all": float(mean @ mean)}, 0.0, ())
    return population_gradient(operators, spread)


@pytest.mark.parametrize("away", [0.0, np.array([[0.5, 0, 0]]), np.array([[2.0, 0, 0]])])
def test_estimates_are_unbiased_and_intervals_cover(away):
    rows = softmax_regression(away)
    gradient = float(np.sum(rows.mean(axis=0) ** 2))
    trace = float(rows.var(axis=0).sum())
    generator = np.random.default_rng(4)
    found = [estimated(rows[generator.choice(POPULATION, SAMPLES, replace=False)]) for _ in range(DRAWS)]
    naive = np.array([f.gradient_norm_squared.value + f.trace_covariance.value / SAMPLES for f in found])
    least = DRAWS * 0.95 - Z * np.sqrt(DRAWS * 0.95 * 0.05)
    for exact, estimates in (
        (gradient, [f.gradient_norm_squared for f in found]),
        (trace, [f.trace_covariance for f in found]),
        (trace / gradient, [f.noise_scale for f in found]),
    ):
        values = np.array([e.value for e in estimates])
        if exact != trace / gradient:
            assert abs(values.mean() - exact) < Z * values.std() / np.sqrt(DRAWS)
        ends = np.array([e.interval(0.95) for e in estimates])
        assert ((ends[:, 0] <= exact) & (exact <= ends[:, 1])).sum() >= least
    assert abs(naive.mean() - gradient) > Z * naive.std() / np.sqrt(DRAWS)  # can fail: ‖ḡ‖², which is biased
    if trace / gradient < SAMPLES:  # and a noise scale three times as large, where it can be seen
        wrong = 3 * np.array([f.noise_scale.interval(0.95) for f in found])
        assert ((wrong[:, 0] <= trace / gradient) & (trace / gradient <= wrong[:, 1])).sum() < least


def test_a_network_has_the_estimates_of_its_gradients():
    """Catches a norm or a product that is not of the samples' gradients."""
    model, x, y = problem("convolutional")
    operators = LossOperators(model, LOSS, x, y, chunk_size=4)
    found, expected = population_gradient(operators), estimated(torch.cat(list(operators.sample_gradients())))
    for name in ("gradient_norm_squared", "trace_covariance", "noise_scale"):
        a, b = getattr(found, name), getattr(expected, name)
        assert (a.value, a.standard_error) == pytest.approx((b.value, b.standard_error), rel=1e-9)
    G = torch.cat(list(operators.sample_gradients())).numpy()
    products = G @ G.T
    n = len(G)
    assert found.gradient_norm_squared.value == pytest.approx((products.sum() - np.trace(products)) / (n * (n - 1)), rel=1e-9)
    assert found.trace_covariance.value == pytest.approx(np.cov(G.T).trace(), rel=1e-9)


def test_a_gradient_that_is_not_seen_leaves_the_noise_scale_open():
    scale = NoiseScale(Quotient(Estimate(-0.1, 0.2, 50), Estimate(3.0, 0.1, 50)))
    low, high = scale.interval(0.95)
    assert scale.value == np.inf == high and 0 < low < 3.1 / 0.2
    assert scale.standard_error == np.inf and "to inf" in str(scale)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [2, 30, 1_000])
def test_equal_samples_have_a_noise_scale_of_zero(size, dtype):
    """Would catch one of 1e-7 with an error of zero, and an infinite one where rounding leaves a negative Tr Σ."""
    torch.manual_seed(size)
    model, x = nn.Sequential(nn.Linear(4, 60), nn.Tanh(), nn.Linear(60, 3)).to(dtype), 3 * torch.randn(1, 4, dtype=dtype)
    operators = LossOperators(model, LOSS, x.expand(size, -1), torch.ones(size, dtype=torch.int64))
    found = population_gradient(operators)
    assert found.trace_covariance.value == 0 < found.trace_covariance.standard_error
    low, high = found.noise_scale.interval(0.95)
    assert found.noise_scale.value == low == 0 < high < 100 * size**0.5 * torch.finfo(dtype).eps
    zero = population_gradient(LossOperators(model, lambda o, t: 0 * LOSS(o, t), x.expand(9, -1), torch.ones(9).long()))
    assert zero.noise_scale.interval(0.95) == (0, np.inf)  # zero over zero may be anything


def test_one_sample_is_refused():
    model, x, y = problem("perceptron")
    with pytest.raises(ValueError, match="operators must be of two samples or more, got one"):
        population_gradient(LossOperators(model, LOSS, x[:1], y[:1]))


def test_single_precision_is_enough():
    model = nn.Linear(5, 3)
    x, y = torch.randn(50, 5), torch.arange(50) % 3
    found = population_gradient(LossOperators(model, LOSS, x, y))
    exact = population_gradient(LossOperators(model.double(), LOSS, x.double(), y))
    assert found.noise_scale.inverse.value == pytest.approx(exact.noise_scale.inverse.value, rel=1e-4)
