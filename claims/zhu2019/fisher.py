"""Claims of zhu2019, Section 4: Fisher and Hessian around the true parameter."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator

import numpy as np

from gradnoise.claims.claim import Claim, Predictions, Quantities, Run, claim
from gradnoise.claims.judgement import Computed
from gradnoise.claims.prediction import AtLeast, Margin, Relative
from gradnoise.simulations.softmax_regression import curvature_gap
from gradnoise.simulations.statistics import Estimate
from gradnoise.theory.curvature import SoftmaxRegression

TRUTH = np.array([0.3, -0.5, 0.2, 0.7])


@functools.cache
def softmax_model() -> SoftmaxRegression:
    """Softmax regression on four points."""
    return SoftmaxRegression([[1.0, 0.0], [1.0, 1.0], [1.0, -1.5], [0.3, 2.0]], 3)


@functools.cache
def label_law() -> np.ndarray:
    """Law of its points and labels at the true parameter."""
    return softmax_model().law(TRUTH, [0.1, 0.2, 0.3, 0.4])


@claim(
    "zhu2019.eq18",
    "F = H at the true parameter; Σ̂ and Ĥ are close there, and near it, the gap shrinking as N^{−1/2}",
    kind="comparison",
    source="Section 4 and Eq. (18)",
)
class FisherIsHessian(Claim):
    """Softmax regression on four points: F − H exactly, and N E‖Σ̂ − Ĥ‖² on data, at the truth and at the estimate.

    Its limit is predicted, which N = 400 would miss by one per cent.
    """

    population, misspecified = "largest entry of F − H", "largest entry of F − H, labels of another law"
    at_truth, sizes = "N E‖Σ̂ − Ĥ‖² at θ*, N = 1,600", (1_600, 6_400)
    at_estimate = {n: f"N E‖Σ̂ − Ĥ‖² at θ̂, N = {n:,}" for n in sizes}

    def margin(self, label: str) -> Margin:
        return Relative(0.03)

    def measure(self, run: Run) -> Quantities:
        other = softmax_model().law(-TRUTH, label_law().sum(axis=1))
        return {
            self.population: Computed(self._largest_gap(label_law()), rounding=1e-14),
            self.misspecified: Computed(self._largest_gap(other), rounding=1e-14),
            self.at_truth: self._gap(1_600, run, self.at_truth, fitted=False),
            **{label: self._gap(n, run, label, fitted=True) for n, label in self.at_estimate.items()},
        }

    def published(self) -> Predictions:
        at_truth, at_estimate = self._limits()
        return {
            self.population: 0.0,
            self.misspecified: AtLeast(0.05, tightness="chosen"),
            self.at_truth: at_truth,
            **dict.fromkeys(self.at_estimate.values(), at_estimate),
        }

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        at_truth, at_estimate = self._limits()
        yield "for a misspecified model too", {self.misspecified: 0.0}
        yield "the gap shrinks as 1/N", {self.at_estimate[6_400]: at_estimate * 1_600 / 6_400}
        yield "the gap shrinks as N^{−1/4}", {self.at_estimate[6_400]: at_estimate * math.sqrt(6_400 / 1_600)}
        yield "at the estimate as at the truth", {self.at_estimate[6_400]: at_truth}

    @staticmethod
    def _gap(n: int, run: Run, label: str, fitted: bool) -> Estimate:
        marginal = label_law().sum(axis=1)
        gap = curvature_gap(softmax_model(), TRUTH, marginal, n, run.n_paths, rng=run.at(label), fitted=fitted)
        return gap.transformed(n)

    @staticmethod
    def _largest_gap(law: np.ndarray) -> float:
        return float(np.abs(softmax_model().fisher(TRUTH, law) - softmax_model().hessian(TRUTH, law)).max())

    @staticmethod
    def _limits() -> tuple[float, float]:
        """Limits of N E‖Σ̂ − Ĥ‖² by the delta method: a sample adds a = gg' − h, and moves the estimate by −H⁻¹g."""
        model, law = softmax_model(), label_law()
        d, (k, classes) = model.dimension, law.shape
        one_point = np.repeat(np.eye(k)[:, :, np.newaxis], classes, axis=2) / classes
        g = np.moveaxis(model.gradients(TRUTH), 0, -1)
        a = np.einsum("kci,kcj->kcij", g, g) - model.hessian(TRUTH, one_point)[:, np.newaxis]
        steps = 1e-5 * np.concatenate([np.eye(d), -np.eye(d)])
        gaps = np.array([model.fisher(TRUTH + step, law) - model.hessian(TRUTH + step, law) for step in steps])
        slopes = (gaps[:d] - gaps[d:]) / 2e-5
        moved = -np.einsum("kci,ij,jab->kcab", g, np.linalg.inv(model.hessian(TRUTH, law)), slopes)
        return float(np.einsum("kc,kcij->", law, a**2)), float(np.einsum("kc,kcij->", law, (a + moved) ** 2))
