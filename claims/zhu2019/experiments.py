"""Claims of zhu2019 about the set-up of its experiments: Section 5.3 and the appendices."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy

from gradnoise.claims.claim import Claim, Predictions, Quantities, Run, claim, computed, entries
from gradnoise.claims.instances import GRADIENTS, HESSIAN, NOISE_COVARIANCE
from gradnoise.claims.judgement import Computed
from gradnoise.claims.prediction import AtLeast, AtMost
from gradnoise.simulations.sampling import product_rule
from gradnoise.theory import gradient_noise
from gradnoise.theory._linalg import psd_axes
from gradnoise.theory.curvature import ClippedNetwork


@claim(
    "zhu2019.appendix-b",
    "L(1,0) = 0.01, L(0,1) = 0.81, L(½,½) = 0.81: the model of Proposition 2 is not convex and has separate minima",
    kind="exact",
    source="Appendix B",
)
class MinimaAreSeparate(Claim):
    """The printed one-sample network, at the printed points and around them."""

    @functools.cached_property
    def network(self) -> ClippedNetwork:
        """Both inputs are 1 and each unit reads one, so that one input serves."""
        return ClippedNetwork([[1.0]], [1.0], [1.0, -1.0], delta=0.1, halved=False)

    def measure(self, run: Run) -> Quantities:
        values = {"L(1, 0)": self._loss(1, 0), "L(0, 1)": self._loss(0, 1), "L(½, ½)": self._loss(0.5, 0.5)}
        around = np.linspace(-0.3, 0.3, 13)
        valley = max(abs(self._loss(x, 1 + y) - self._loss(0, 1)) for x, y in itertools.product(around, around))
        convexity = (values["L(1, 0)"] + values["L(0, 1)"]) / 2 - values["L(½, ½)"]
        found = {**values, "chord − L at the middle": convexity, "largest change of L around (0, 1)": valley}
        return {label: Computed(value, rounding=1e-14) for label, value in found.items()}

    def published(self) -> Predictions:
        return {
            "L(1, 0)": 0.01,
            "L(0, 1)": 0.81,
            "L(½, ½)": 0.81,
            "chord − L at the middle": AtMost(-0.39),
            "largest change of L around (0, 1)": 0.0,
        }

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "the clip dropped", {"L(1, 0)": 0.0, "L(0, 1)": 4.0, "L(½, ½)": 1.0}
        yield "with the ½ of Proposition 2's proof", {"L(1, 0)": 0.005, "L(0, 1)": 0.405}
        yield "convex", {"chord − L at the middle": AtLeast(0.0)}

    def _loss(self, w1: float, w2: float) -> float:
        return float(self.network.losses([w1, w2])[0])


@claim(
    "zhu2019.d3",
    "Coefficients √(TrH/(mTrΣ)) and √(λ₁/(mTrΣ)) give GLD Hessian and 1st eigvec the trace of SGD's noise",
    kind="exact",
    source="Appendix D.3",
    expected="refuted",
    corrected="The coefficients are √(TrΣ/(m TrH_k)), with the rank-k part that is used, and √(TrΣ/(mλ₁))",
)
class CoefficientsMatchTheTrace(Claim):
    """The coefficient for which E‖noise‖² = TrΣ/m, found by a root search over a quadrature of the noise."""

    m, k = 20, 2

    def measure(self, run: Run) -> Quantities:
        return {name: Computed(self._matched(shape), rounding=1e-9) for name, shape in self._shapes().items()}

    def published(self) -> Predictions:
        lam = np.linalg.eigvalsh(HESSIAN)
        return self._both(
            np.sqrt(lam.sum() / (self.m * np.trace(NOISE_COVARIANCE))), np.sqrt(lam[-1] / (self.m * np.trace(NOISE_COVARIANCE)))
        )

    def corrected(self) -> Predictions:
        lam = np.linalg.eigvalsh(HESSIAN)
        kept = lam[-self.k :].sum()
        return self._both(
            np.sqrt(np.trace(NOISE_COVARIANCE) / (self.m * kept)), np.sqrt(np.trace(NOISE_COVARIANCE) / (self.m * lam[-1]))
        )

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        lam, trace = np.linalg.eigvalsh(HESSIAN), np.trace(NOISE_COVARIANCE)
        yield "TrH for TrH_k", {"GLD Hessian": float(np.sqrt(trace / (self.m * lam.sum())))}
        yield "without the root", self._both(trace / (self.m * lam[-self.k :].sum()), trace / (self.m * lam[-1]))

    def _matched(self, shape: np.ndarray) -> float:
        law = product_rule(dimension=3)
        noise = law.vectors @ psd_axes(shape).T
        power = law.probabilities @ (noise**2).sum(axis=1)
        found = scipy.optimize.root_scalar(
            lambda c: c**2 * power - np.trace(NOISE_COVARIANCE) / self.m, bracket=(0, 10), xtol=1e-14
        )
        return float(found.root)

    def _shapes(self) -> dict[str, np.ndarray]:
        return {"GLD Hessian": gradient_noise.leading(HESSIAN, self.k), "GLD 1st eigvec": gradient_noise.leading(HESSIAN, 1)}

    @staticmethod
    def _both(hessian: Any, eigenvector: Any) -> Predictions:
        return {"GLD Hessian": float(hessian), "GLD 1st eigvec": float(eigenvector)}


@claim(
    "zhu2019.partition",
    "Disjoint minibatches estimate the covariance of the noise; exactly: mean N/(N−1)·Σ/m, rank below their number",
    kind="exact",
    source="Appendix D.3",
)
class DisjointBatchesEstimateTheCovariance(Claim):
    """All ways to cut six samples into three pairs."""

    label, rank = "mean estimate", "rank from three batches"
    m = 2

    def measure(self, run: Run) -> Quantities:
        estimates = []
        for order in itertools.permutations(range(GRADIENTS.shape[1])):
            means = GRADIENTS[:, order].reshape(2, -1, self.m).mean(axis=2)
            estimates.append(np.cov(means))
        # In as many dimensions as there are samples, the three batches show their rank.
        wide = np.eye(6).reshape(6, 3, self.m).mean(axis=2)
        return {**computed(self.label, np.mean(estimates, axis=0)), self.rank: Computed(np.linalg.matrix_rank(np.cov(wide)))}

    def published(self) -> Predictions:
        n = GRADIENTS.shape[1]
        return {**entries(self.label, self._sigma() * n / (n - 1)), self.rank: AtMost(2)}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        n = GRADIENTS.shape[1]
        yield "unbiased", entries(self.label, self._sigma())
        yield "the covariance without replacement", entries(self.label, self._sigma() * (n - self.m) / (n - 1))
        yield "a rank for each batch", {self.rank: 3}

    def _sigma(self) -> np.ndarray:
        return gradient_noise.sgd_covariance(GRADIENTS, self.m)


@claim(
    "zhu2019.sharpness",
    "E L(θ+ν) − L(θ), ν ~ N(0, δ²I), is (δ²/2) TrH on a quadratic, with the relative error √(2TrH²/M)/TrH of M draws",
    kind="exact",
    source="Eq. (88)",
)
class SharpnessIsTheTrace(Claim):
    """Gauss–Hermite quadrature, exact for the fourth moments that the error needs."""

    mean, error = "E L(θ+ν) − L(θ)", "relative error at M = 1,000"
    delta, n_draws = 0.01, 1_000

    def measure(self, run: Run) -> Quantities:
        law = product_rule(dimension=3)
        nu = self.delta * law.vectors
        increase = np.einsum("ki,ij,kj->k", nu, HESSIAN, nu) / 2
        mean = law.probabilities @ increase
        deviation = np.sqrt(law.probabilities @ (increase - mean) ** 2)
        return computed(self.mean, mean) | computed(self.error, deviation / np.sqrt(self.n_draws) / mean)

    def published(self) -> Predictions:
        error = np.sqrt(2 * np.trace(HESSIAN @ HESSIAN) / self.n_draws) / np.trace(HESSIAN)
        return {self.mean: float(self.delta**2 / 2 * np.trace(HESSIAN)), self.error: float(error)}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "δ² for δ²/2", {self.mean: float(self.delta**2 * np.trace(HESSIAN))}
        yield "TrH² without its 2", {self.error: float(np.sqrt(np.trace(HESSIAN @ HESSIAN) / self.n_draws) / np.trace(HESSIAN))}
