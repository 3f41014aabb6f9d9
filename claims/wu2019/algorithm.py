"""Claim of wu2019, Section 5.1: the fast algorithm, which differentiates a randomised loss."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from gradnoise.claims.claim import Claim, Predictions, Quantities, Run, claim, computed, entries
from gradnoise.claims.convergence import FEATURES, N_POINTS
from gradnoise.claims.generic import at_each, generic_sizes
from gradnoise.simulations.sampling import Outcomes, product_rule
from gradnoise.theory import gradient_noise

LABELS = np.array([1.0, -1.0, 1.0, 1.0, -1.0])  # of the points whose features are those of least squares
ALGORITHM_STEP, N_STEPS = 0.1, 20
#: N, the first of the points, and b.
SIZES = generic_sizes((5, 2), (4, 3), (4, 1))


@dataclass(frozen=True)
class Model:
    """Sample losses, as a function of real or complex parameters, their gradient matrix by hand, and where to start."""

    losses: Callable[[np.ndarray], np.ndarray]
    gradients: Callable[[np.ndarray], np.ndarray]
    start: np.ndarray


def _network_losses(theta: np.ndarray) -> np.ndarray:
    hidden = np.tanh(FEATURES @ theta[:4].reshape(2, 2).T)
    return (hidden @ theta[4:] - LABELS) ** 2 / 2


def _network_gradients(theta: np.ndarray) -> np.ndarray:
    hidden = np.tanh(FEATURES @ theta[:4].reshape(2, 2).T)
    residuals = (hidden @ theta[4:] - LABELS)[:, np.newaxis]
    units = residuals * theta[4:] * (1 - hidden**2)
    return np.column_stack([(units[:, :, np.newaxis] * FEATURES[:, np.newaxis]).reshape(N_POINTS, 4), residuals * hidden]).T


MODELS = {
    "least squares": Model(
        lambda t: (FEATURES @ t - LABELS) ** 2 / 2, lambda t: (FEATURES @ t - LABELS) * FEATURES.T, np.array([0.5, -0.3])
    ),
    "logistic": Model(
        lambda t: np.log1p(np.exp(-LABELS * (FEATURES @ t))),
        lambda t: -LABELS / (1 + np.exp(LABELS * (FEATURES @ t))) * FEATURES.T,
        np.array([0.5, -0.3]),
    ),
    "tanh network": Model(_network_losses, _network_gradients, np.array([0.5, -0.3, 0.2, 0.8, 1.0, -0.7])),
}


def weights_of_16(normals: np.ndarray, batch_size: int) -> np.ndarray:
    """W of (16) from normals, along the last axis."""
    n = normals.shape[-1]
    return 1 / n + (normals - normals.mean(axis=-1, keepdims=True)) / np.sqrt(batch_size * n)


def gradient(losses: Callable[[np.ndarray], np.ndarray], theta: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Gradient of the scalar 𝓛(θ)·W, by complex steps: exact to rounding."""
    steps = theta + 1e-30j * np.eye(len(theta))
    return np.array([np.imag(losses(z)[: len(w)] @ w) / 1e-30 for z in steps])


@claim(
    "wu2019.algorithm1",
    "The gradient of the randomised loss 𝓛(θ)·W is GW, and W of (16) gives it the covariance Σ/b",
    kind="exact",
    source="Algorithm 1",
)
class RandomisedLossGivesTheNoise(Claim):
    """Twenty steps of the algorithm as printed, and the covariance of its gradient, on three losses."""

    def measure(self, run: Run) -> Quantities:
        def of(n: int, b: int) -> Quantities:
            found, rule = {}, product_rule(dimension=n)
            for name, model in MODELS.items():
                theta = model.start
                for w in weights_of_16(self._normals(n), b):
                    theta = theta - ALGORITHM_STEP * gradient(model.losses, theta, w)
                found |= computed(f"{name}: θ after {N_STEPS} steps", theta)
                noisy = np.array([gradient(model.losses, model.start, w) for w in weights_of_16(rule.vectors, b)])
                found |= computed(f"{name}: Var", Outcomes(noisy, rule.probabilities).covariance())
            return found

        return at_each(of, SIZES, "N, b")

    def published(self) -> Predictions:
        return {**self._paths(weights_of_16), **self._covariances(gradient_noise.sgd_covariance)}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        def uncentred(normals: np.ndarray, b: int) -> np.ndarray:
            n = normals.shape[1]
            return 1 / n + normals / np.sqrt(b * n)

        def too_strong(normals: np.ndarray, b: int) -> np.ndarray:
            n = normals.shape[1]
            return 1 / n + np.sqrt(n) * (weights_of_16(normals, b) - 1 / n)

        fisher = self._covariances(lambda G, b: gradient_noise.fisher(G) / b)
        yield "W not centred", {**self._paths(uncentred), **fisher}
        yield "W without 1/N", self._paths(lambda normals, b: weights_of_16(normals, b) - 1 / normals.shape[1])
        yield "1/√b for 1/√(bN)", self._paths(too_strong)
        yield "Σ for Σ/b", self._covariances(lambda G, b: gradient_noise.sgd_covariance(G, 1))
        # Right by chance at N, b = 5, 2.
        yield "2/(N−1) for 1/b", self._covariances(lambda G, b: gradient_noise.sgd_covariance(G, 1) * 2 / (G.shape[1] - 1))
        yield "without replacement", self._covariances(lambda G, b: gradient_noise.sgd_covariance(G, b, replacement=False))

    @staticmethod
    def _normals(n: int) -> np.ndarray:
        return np.random.default_rng(0).standard_normal((N_STEPS, n))

    @staticmethod
    def _paths(weights: Callable[[np.ndarray, int], np.ndarray]) -> Predictions:
        def of(n: int, b: int) -> Predictions:
            found: dict[str, float] = {}
            for name, model in MODELS.items():
                theta = model.start
                for w in weights(RandomisedLossGivesTheNoise._normals(n), b):
                    theta = theta - ALGORITHM_STEP * model.gradients(theta)[:, :n] @ w
                found |= entries(f"{name}: θ after {N_STEPS} steps", theta)
            return found

        return at_each(of, SIZES, "N, b")

    @staticmethod
    def _covariances(covariance: Callable[[np.ndarray, int], np.ndarray]) -> Predictions:
        def of(n: int, b: int) -> Predictions:
            found: dict[str, float] = {}
            for name, model in MODELS.items():
                found |= entries(f"{name}: Var", covariance(model.gradients(model.start)[:, :n], b))
            return found

        return at_each(of, SIZES, "N, b")
