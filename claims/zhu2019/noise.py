"""Claims of zhu2019, Section 2: the covariance of SGD's noise, its magnitude, and the SDE."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np

from gradnoise.claims import convergence
from gradnoise.claims.claim import Claim, Predictions, Quantities, Run, both_ways, claim, computed, entries
from gradnoise.claims.generic import at_each, generic_sizes
from gradnoise.claims.judgement import Computed
from gradnoise.claims.prediction import Absolute, Margin
from gradnoise.simulations import sampling
from gradnoise.simulations.sampling import outcomes
from gradnoise.theory import gradient_noise
from gradnoise.theory.sampling import Minibatch

#: N and m of which all batches are listed.
SIZES, NAMES = generic_sizes((5, 2), (8, 3)), "N, m"


@functools.cache
def gradients(n: int) -> np.ndarray:
    """Gradients of n samples in two coordinates, with a mean that matters: a column per sample."""
    return np.random.default_rng(n).exponential(size=(2, n))


@claim(
    "zhu2019.eq5",
    "A minibatch gradient has the covariance (F − ∇L∇Lᵀ)/m, × (N−m)/(N−1) without replacement",
    kind="comparison",
    source="Eq. (5)",
)
class CovarianceOfMinibatchGradients(Claim):
    """All batches of a few samples; and draws of 50 out of 200."""

    large = (200, 50)
    insensitive_because = "an entry that is small beside the trace is drawn to a share of the trace; all batches show it exactly"

    @functools.cached_property
    def many(self) -> np.ndarray:
        return np.random.default_rng(5).exponential(size=(2, 200))

    def margin(self, label: str) -> Margin:
        """A fortieth of the trace for each entry, as small entries need no finer one."""
        return Absolute(np.trace(gradient_noise.sgd_covariance(self.many, self.large[1], label.startswith("with,"))) / 40)

    def measure(self, run: Run) -> Quantities:
        def covariances(way: str, replacement: bool) -> dict[str, Any]:
            def listed(n: int, m: int) -> dict[str, Any]:
                law = outcomes(Minibatch(n, m, replacement)).transformed(gradients(n))
                return computed(f"{way}, all batches", law.covariance())

            products = sampling.expectations(Minibatch(*self.large, replacement), self._products, run.n_paths, rng=run.at(way))
            drawn = zip((f"{way}, N = 200 {ij}" for ij in ("[1,1]", "[1,2]", "[2,2]")), products, strict=True)
            return {**at_each(listed, SIZES, NAMES), **dict(drawn)}

        return both_ways(covariances)

    def published(self) -> Predictions:
        return self._predicted(gradient_noise.sgd_covariance)

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        def scaled(factor: Any) -> Predictions:
            """Of one sample's covariance, by a factor without replacement and 1/m with."""
            return self._predicted(
                lambda G, m, r: gradient_noise.sgd_covariance(G, 1) * (1 / m if r else factor(G.shape[1], m) / m)
            )

        yield "without the mean gradient removed", self._predicted(lambda G, m, r: gradient_noise.fisher(G) / m)
        yield (
            "normalised by N − 1",
            self._predicted(lambda G, m, r: gradient_noise.sgd_covariance(G, m, r) * G.shape[1] / (G.shape[1] - 1)),
        )
        yield "with for without replacement", scaled(lambda n, m: 1)
        yield "(N−m)/N for (N−m)/(N−1)", scaled(lambda n, m: (n - m) / n)
        yield "m/(N−1) for (N−m)/(N−1)", scaled(lambda n, m: m / (n - 1))
        yield "(N−m+1)/N for (N−m)/(N−1)", scaled(lambda n, m: (n - m + 1) / n)

    def _predicted(self, covariance: Any) -> Predictions:
        return both_ways(
            lambda way, replacement: {
                **at_each(lambda n, m: entries(f"{way}, all batches", covariance(gradients(n), m, replacement)), SIZES, NAMES),
                **entries(f"{way}, N = 200", covariance(self.many, self.large[1], replacement)),
            }
        )

    def _products(self, weights: np.ndarray) -> np.ndarray:
        noise = np.einsum("mn,dn->md", weights, self.many) - self.many.mean(axis=1)
        return np.stack([noise[:, 0] ** 2, noise[:, 0] * noise[:, 1], noise[:, 1] ** 2], axis=1)


@claim(
    "zhu2019.eq8",
    "Gradient descent with unbiased noise is the Euler–Maruyama scheme of dθ = −∇L dt + √(ηΣ) dW, weakly of first order",
    kind="exact",
    source="Eq. (8)",
)
class DescentIsEulerMaruyama(Claim):
    """Mean and covariance of a step, from all batches; and the slope of the error of exact moments of least squares."""

    step_size = 0.3
    order = "slope of E θθᵀ"

    def measure(self, run: Run) -> Quantities:
        def listed(n: int, m: int) -> dict[str, Any]:
            steps = outcomes(Minibatch(n, m)).transformed(-self.step_size * gradients(n))
            return {**computed("E Δθ", steps.mean()), **computed("Var Δθ", steps.covariance())}

        noise = Minibatch(convergence.N_POINTS, convergence.BATCH_SIZE)
        order = convergence.slope(convergence.moment_error("second_moment", noise))
        return {**at_each(listed, SIZES, NAMES), self.order: order}

    def published(self) -> Predictions:
        return {**self._step(lambda m, sigma: self.step_size * self.step_size * sigma / m), self.order: 1.0}  # h · ηΣ, h = η

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "√η for η", self._step(lambda m, sigma: self.step_size**1.5 * sigma / m)
        yield "Σ of one sample for that of the batch", self._step(lambda m, sigma: self.step_size**2 * sigma)
        yield "√m for m", self._step(lambda m, sigma: self.step_size**2 * sigma / np.sqrt(m))
        yield "weakly of second order", {self.order: 2.0}
        yield "weakly of order ½", {self.order: 0.5}

    def _step(self, covariance: Any) -> Predictions:
        """Predictions with a covariance of batch size and Σ of one sample."""
        return at_each(
            lambda n, m: {
                **entries("E Δθ", -self.step_size * gradients(n).mean(axis=1)),
                **entries("Var Δθ", covariance(m, gradient_noise.sgd_covariance(gradients(n), 1))),
            },
            SIZES,
            NAMES,
        )


@claim(
    "zhu2019.magnitude",
    "The magnitude of SGD's noise is controlled by η/m: to first order in η, the stationary E L − L* is (η/m) TrΣ/4",
    kind="exact",
    source="Section 2, after Eq. (8), and Section 3.2",
)
class LearningRateOverBatchSizeSetsTheMagnitude(Claim):
    """Stationary second moments of SGD on least squares, a linear system of all batches, and how far equal η/m differ."""

    batch_sizes, step_size = (2, 5), 1e-3
    order = "order in η of the difference at equal η/m"

    def measure(self, run: Run) -> Quantities:
        found = {
            self._limit(m): Computed(2 * self._loss(self.step_size, m) - self._loss(2 * self.step_size, m), approximation=1e-5)
            for m in self.batch_sizes
        }
        steps = 2 * self.step_size, self.step_size
        return {**found, self.order: convergence.slope(lambda eta: self._loss(2 * eta, 4) / self._loss(eta, 2) - 1, steps)}

    def published(self) -> Predictions:
        return {**self._limits(lambda m: 1 / 4), self.order: 1.0}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "TrΣ/2, the trace of H times that of a parameter", self._limits(lambda m: 1 / 2)
        yield "controlled by η/√m", self._limits(lambda m: np.sqrt(m) / 4)
        yield "controlled by η/m²", self._limits(lambda m: 1 / (4 * m))
        yield "to second order in η", {self.order: 2.0}

    @staticmethod
    def _limit(m: int) -> str:
        return f"(E L − L*)/(η/m) as η → 0, m = {m}"

    def _limits(self, factor: Any) -> Predictions:
        _, _, at_minimum = self._problem()
        trace = float(np.trace(gradient_noise.sgd_covariance(at_minimum, 1)))
        return {self._limit(m): float(factor(m)) * trace for m in self.batch_sizes}

    @staticmethod
    @functools.cache
    def _problem() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Hessians of the samples, (n, d, d), that of the mean, and the samples' gradients at the minimum, (d, n)."""
        X, y = convergence.FEATURES, convergence.TARGETS
        residuals = X @ np.linalg.lstsq(X, y)[0] - y
        each = X[:, :, np.newaxis] * X[:, np.newaxis, :]
        return each, each.mean(axis=0), residuals * X.T

    def _loss(self, eta: float, m: int) -> float:
        """(E L − L*)/(η/m) in the stationary state: x' = (I − ηH_B)x − ηg_B with x and the batch independent, and E x = 0."""
        each, hessian, at_minimum = self._problem()
        law = outcomes(Minibatch(len(each), m))
        steps = np.eye(2) - eta * np.einsum("kn,nij->kij", law.vectors, each)
        map_of_moments = np.einsum("k,kab,kcd->acbd", law.probabilities, steps, steps).reshape(4, 4)
        added = law.transformed(eta * at_minimum).covariance()
        moments = np.linalg.solve(np.eye(4) - map_of_moments, added.ravel()).reshape(2, 2)
        return float(np.trace(hessian @ moments) / 2 / (eta / m))
