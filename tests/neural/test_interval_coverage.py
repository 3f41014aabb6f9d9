"""95 % intervals of estimates hold the exact value in 95 % of 200 seeds, on five architectures.

Exact values are those of the dense matrices of `test_architectures`, from which the operators here multiply, so that 200 seeds
take seconds. Null: an interval covers with a probability of 95 %; at least 177 of 200 are demanded, which fails by chance with a
probability of 3e-4 (binomial), in 25 comparisons of 1 % if all intervals were just right; the seeds are fixed. The twins are
another value, 30 standard deviations away as intervals of few products are long, and for the kurtosis intervals half as long.
"""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'gradnoise[neural]'")

from gradnoise.simulations.neural import tails, traces
from gradnoise.simulations.neural.loss_operators import LossOperators
from gradnoise.theory.sampling import Minibatch

from .architectures import BUILDERS, N
from .test_architectures import B, exact

SEEDS, LEAST, DIRECTIONS = 200, 177, 30


class Dense(LossOperators):
    """Operators of matrices, without a network."""

    def __init__(self, true):
        self.H, self.G, self.n = torch.as_tensor(true.H), torch.as_tensor(true.G), N

    @property
    def parameters(self):
        return torch.zeros(len(self.H), dtype=torch.float64)

    @property
    def device(self):
        return self.H.device

    @property
    def dimension(self):
        return len(self.H)

    def hessian_product(self, u):
        return self.H @ u

    def hessian_here(self, n_products=None):
        return self.hessian_product

    def matrix_product(self, v):
        return self.G @ v

    def transposed_product(self, u):
        return self.G.T @ u

    def losses_like(self, value):
        return torch.full((N,), value, dtype=torch.float64)


def covered(estimates, true):
    return sum(low <= true <= high for low, high in (e.interval(0.95) for e in estimates))


@pytest.mark.parametrize("n_products", [6, 10])
@pytest.mark.parametrize("name", BUILDERS)
def test_intervals_of_traces(name, n_products):
    dense: Any = Dense(exact(name))
    H, S = exact(name).H, exact(name).sigma * B
    for trace, true in ((traces.trace_hessian, np.trace(H)), (traces.trace_hessian_covariance, np.trace(H @ S))):
        estimates = [trace(dense, n_products, torch.Generator().manual_seed(seed)) for seed in range(SEEDS)]
        assert covered(estimates, true) >= LEAST
        assert covered(estimates, true + 30 * np.std([e.value for e in estimates])) < LEAST  # can fail


@pytest.mark.parametrize("name", BUILDERS)
def test_intervals_of_the_kurtosis(name):
    """Its exact value is a mean over all directions, here over 4,000."""
    G, noise, rng = exact(name).G, Minibatch(N, B), np.random.default_rng(2)
    every = [noise.cumulant(4, v) / noise.cumulant(2, v) ** 2 for v in rng.standard_normal((4_000, len(G))) @ G]
    true, error = np.mean(every), np.std(every) / math.sqrt(len(every))
    directions = (rng.standard_normal((DIRECTIONS, len(G))) @ G for _ in range(SEEDS))
    found = [tails.excess_kurtosis(noise, values) for values in directions]
    assert error < 0.12 * np.mean([e.standard_error for e in found])  # the mean is exact beside the intervals
    assert covered(found, true) >= LEAST
    assert covered([replace(e, standard_error=e.standard_error / 2) for e in found], true) < LEAST
