"""The claim of ne2021 that noise enhancement carries over to Adam."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator

import numpy as np

from gradnoise.claims.claim import Claim, Predictions, Quantities, Run, claim
from gradnoise.claims.generic import generic_sizes
from gradnoise.claims.judgement import Computed
from gradnoise.simulations.sampling import outcomes
from gradnoise.theory.diffusion import sgd_moments
from gradnoise.theory.sampling import Enhanced, Minibatch, SamplingNoise, compensating_alpha

#: Least squares of four samples in one parameter, and where it starts.
X, Y, START = np.array([1.0, 0.7, -1.2, 0.5]), np.array([1.3, -0.8, 0.4, 1.1]), 0.8
STEP_SIZE = 0.3
#: Of Adam, as its authors and the paper have them.
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8


def _loss(theta: np.ndarray) -> np.ndarray:
    return ((X * theta[..., np.newaxis] - Y) ** 2).mean(axis=-1) / 2


def _gradient(theta: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return (weights * X * (X * theta[..., np.newaxis] - Y)).sum(axis=-1)


@claim(
    "ne2021.adam",
    "Enhancement is applicable to Adam: read as that it multiplies a step's covariance by c(α), as a batch of B/c(α) does",
    kind="exact",
    source="Section 2, last sentence; Adam is the optimizer of all experiments",
    expected="refuted",
    corrected="A step of Adam divides by the noise that it sees: the first is η long whatever α, and has the variance of a sign; "
    "two steps depend on more than two moments of the noise, unlike those of SGD",
)
class EnhancementCarriesOverToAdam(Claim):
    """Variance of a first step and mean loss after two, over all batches; of SGD too, where the equivalence holds.

    Measured by running the optimizers; predicted from signs, and by the closed form of two steps.
    """

    sizes = generic_sizes((2, 1), (3, 1), (3, 2))  # B, and the batch b that is as noisy
    _accuracy = 2e-6  # of signs in place of g/(|g| + ε), as the mean of 1/|g| is below 10: a variance has 4ε times it, or less

    def measure(self, run: Run) -> Quantities:
        found: dict[str, Computed] = {}
        for B, b in self.sizes:
            enhanced = self._enhanced(B, b)
            first, loss = _run(enhanced, adam=True)
            _, of_sgd = _run(enhanced, adam=False)
            growth = first / _run(Minibatch(len(X), B), adam=True)[0]
            of_adam = (Computed(value, approximation=self._accuracy) for value in (growth, loss))
            found |= zip(self._labels(B, b), (Computed(of_sgd, rounding=1e-10), *of_adam), strict=True)
        return found

    def published(self) -> Predictions:
        predicted: dict[str, float] = {}
        for B, b in self.sizes:
            _, loss = _run(Minibatch(len(X), b), adam=True)
            predicted |= zip(self._labels(B, b), (self._sgd(b), B / b, loss), strict=True)
        return predicted

    def corrected(self) -> Predictions:
        predicted: dict[str, float] = {}
        for B, b in self.sizes:
            enhanced = _gradients_of_pairs(B, compensating_alpha(B, b))
            growth = _variance_of_sign(enhanced(START)) / _variance_of_sign(_gradients_of_pairs(B, 1.0)(START))
            predicted |= zip(self._labels(B, b), (self._sgd(b), growth, _two_steps(enhanced)), strict=True)
        return predicted

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        sgd, growth, loss = zip(*(self._labels(B, b) for B, b in self.sizes), strict=True)
        yield "a step's noise does not depend on α at all", dict.fromkeys(growth, 1.0)
        yield "Adam ends where SGD does", {label: self._sgd(b) for label, (_, b) in zip(loss, self.sizes, strict=True)}
        yield "SGD of the batch B", {label: self._sgd(B) for label, (B, _) in zip(sgd, self.sizes, strict=True)}

    @staticmethod
    def _labels(B: int, b: int) -> tuple[str, str, str]:
        end = f"at B, b = {B}, {b}"
        return f"SGD, E L {end}", f"Adam, growth of a step's variance {end}", f"Adam, E L {end}"

    @staticmethod
    def _enhanced(B: int, b: int) -> Enhanced:
        return Enhanced(Minibatch(len(X), B), compensating_alpha(B, b))

    @staticmethod
    def _sgd(b: int) -> float:
        found = sgd_moments(X[:, np.newaxis], Y, [START], STEP_SIZE, b, 2)
        return float((X**2).mean() * found.second_moment[0, 0] / 2 - (X * Y).mean() * found.mean[0] + (Y**2).mean() / 2)


@functools.cache
def _run(noise: SamplingNoise, adam: bool) -> tuple[float, float]:
    """Variance of the first point, and mean loss after two steps, over all weights."""
    law = outcomes(noise)
    weights, where = np.unique(law.vectors.round(12), axis=0, return_inverse=True)  # many pairs give the same ones
    chances = np.bincount(where.ravel(), law.probabilities)
    theta, m, v, chance = np.array([START]), np.zeros(1), np.zeros(1), np.ones(1)
    variance = 0.0
    for t in (1, 2):
        g = _gradient(theta[:, np.newaxis], weights)
        m, v = BETA_1 * m[:, np.newaxis] + (1 - BETA_1) * g, BETA_2 * v[:, np.newaxis] + (1 - BETA_2) * g**2
        step = (m / (1 - BETA_1**t)) / (np.sqrt(v / (1 - BETA_2**t)) + EPSILON) if adam else g
        theta, chance = (theta[:, np.newaxis] - STEP_SIZE * step).ravel(), np.outer(chance, chances).ravel()
        m, v = m.ravel(), v.ravel()
        if t == 1:
            variance = float(chance @ (theta - chance @ theta) ** 2)
    return variance, float(chance @ _loss(theta))


def _gradients_of_pairs(B: int, alpha: float) -> Callable[[float], tuple[np.ndarray, np.ndarray]]:
    """Stochastic gradients at a point, and how likely they are, from all pairs of batches."""
    batches = list(itertools.product(range(len(X)), repeat=B))

    def gradients(theta: float) -> tuple[np.ndarray, np.ndarray]:
        of_batch = np.array([np.mean([X[i] * (X[i] * theta - Y[i]) for i in batch]) for batch in batches])
        values, counts = np.unique(np.add.outer(alpha * of_batch, (1 - alpha) * of_batch).round(12), return_counts=True)
        return values, counts / len(batches) ** 2

    return gradients


def _variance_of_sign(gradients: tuple[np.ndarray, np.ndarray]) -> float:
    values, chances = gradients
    below = float(chances[values < 0].sum())
    return 4 * below * (1 - below)


def _two_steps(gradients: Callable[[float], tuple[np.ndarray, np.ndarray]]) -> float:
    """Mean loss after two steps of Adam: the first by the sign of g₁, the second by (β₁g₁ + g₂)/√(β₂g₁² + g₂²)."""
    values, chances = gradients(START)
    scale = math.sqrt(1 + BETA_2) / (1 + BETA_1)  # of the two corrections for the start
    total = 0.0
    for sign in (-1, 1):
        theta, to_here = START - STEP_SIZE * sign, np.sign(values) == sign
        g_2, from_here = gradients(theta)
        g_1 = values[to_here, np.newaxis]
        end = theta - STEP_SIZE * scale * (BETA_1 * g_1 + g_2) / np.sqrt(BETA_2 * g_1**2 + g_2**2)
        total += float(chances[to_here] @ _loss(end) @ from_here)
    return total
