"""Claims of zhu2019 about the set-up of its experiments: Section 5.3 and the appendices."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy

from gradnoise.claims.claim import Claim, Predictions, Quantities, Run, claim, computed, entries
from gradnoise.claims.generic import at_each, generic_sizes
from gradnoise.claims.instances import HESSIAN, NOISE_COVARIANCE
from gradnoise.claims.judgement import Computed
from gradnoise.claims.prediction import AtLeast, AtMost
from gradnoise.claims.zhu2019.noise import gradients
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
            "chord − L at the middle": -0.4,
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

    sizes, names = generic_sizes((20, 2), (7, 1)), "m, k"

    def measure(self, run: Run) -> Quantities:
        def matched(m: int, k: int) -> dict[str, Any]:
            shapes = {"GLD Hessian": gradient_noise.leading(HESSIAN, k), "GLD 1st eigvec": gradient_noise.leading(HESSIAN, 1)}
            return {name: Computed(self._matched(shape, m), rounding=1e-9) for name, shape in shapes.items()}

        return at_each(matched, self.sizes, self.names)

    def published(self) -> Predictions:
        return self._both(lambda m, k, lam, trace: np.sqrt(np.array([lam.sum(), lam[-1]]) / (m * trace)))

    def corrected(self) -> Predictions:
        return self._both(lambda m, k, lam, trace: np.sqrt(trace / (m * np.array([lam[-k:].sum(), lam[-1]]))))

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "TrH for TrH_k", self._both(lambda m, k, lam, trace: np.sqrt(trace / (m * np.array([lam.sum(), lam[-1]]))))
        yield "kλ₁ for TrH_k", self._both(lambda m, k, lam, trace: np.sqrt(trace / (m * np.array([k * lam[-1], lam[-1]]))))
        yield "without the root", self._both(lambda m, k, lam, trace: trace / (m * np.array([lam[-k:].sum(), lam[-1]])))
        yield "without m", self._both(lambda m, k, lam, trace: np.sqrt(trace / np.array([lam[-k:].sum(), lam[-1]])))

    @staticmethod
    def _matched(shape: np.ndarray, m: int) -> float:
        law = product_rule(dimension=3)
        noise = law.vectors @ psd_axes(shape).T
        power = law.probabilities @ (noise**2).sum(axis=1)
        found = scipy.optimize.root_scalar(lambda c: c**2 * power - np.trace(NOISE_COVARIANCE) / m, bracket=(0, 10), xtol=1e-14)
        return float(found.root)

    def _both(self, coefficients: Any) -> Predictions:
        """Coefficients of both, by a formula in m, k, H's eigenvalues and TrΣ."""
        lam, trace = np.linalg.eigvalsh(HESSIAN), np.trace(NOISE_COVARIANCE)

        def one(m: int, k: int) -> Predictions:
            return dict(zip(("GLD Hessian", "GLD 1st eigvec"), map(float, coefficients(m, k, lam, trace)), strict=True))

        return at_each(one, self.sizes, self.names)


@claim(
    "zhu2019.partition",
    "Disjoint minibatches estimate the covariance of the noise; exactly: mean N/(N−1)·Σ/m, rank one below their number",
    kind="exact",
    source="Appendix D.3",
)
class DisjointBatchesEstimateTheCovariance(Claim):
    """All ways to cut ten samples into pairs, and six into triples."""

    label, rank = "mean estimate", "rank from the batches"
    sizes, names = generic_sizes((10, 2), (6, 3)), "N, m"

    def measure(self, run: Run) -> Quantities:
        def estimated(n: int, m: int) -> dict[str, Any]:
            estimates = [np.cov(gradients(n)[:, cut].mean(axis=2)) for cut in _cuts(tuple(range(n)), m)]
            # In as many dimensions as there are samples, the batches show their rank.
            wide = np.eye(n).reshape(n, -1, m).mean(axis=2)
            return {**computed(self.label, np.mean(estimates, axis=0)), self.rank: Computed(np.linalg.matrix_rank(np.cov(wide)))}

        return at_each(estimated, self.sizes, self.names)

    def published(self) -> Predictions:
        return self._predicted(lambda n, m: n / (n - 1), lambda n, m: n // m - 1)

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "unbiased", self._predicted(lambda n, m: 1)
        yield "the covariance without replacement", self._predicted(lambda n, m: (n - m) / (n - 1))
        yield "(N/m)/(N/m−1) for N/(N−1)", self._predicted(lambda n, m: n / (n - m))
        yield "a rank for each batch", self._predicted(lambda n, m: n / (n - 1), lambda n, m: n // m)

    def _predicted(self, factor: Any, rank: Any = None) -> Predictions:
        """Predictions with a factor of Σ/m and, where it is given, a rank."""

        def one(n: int, m: int) -> Predictions:
            sigma = gradient_noise.sgd_covariance(gradients(n), m)
            return {**entries(self.label, factor(n, m) * sigma), **({} if rank is None else {self.rank: rank(n, m)})}

        return at_each(one, self.sizes, self.names)


def _cuts(samples: tuple[int, ...], m: int) -> Iterator[list[tuple[int, ...]]]:
    """All ways to cut samples into batches of m, each once."""
    if not samples:
        yield []
        return
    first, others = samples[0], samples[1:]
    for rest in itertools.combinations(others, m - 1):
        for cut in _cuts(tuple(i for i in others if i not in rest), m):
            yield [(first, *rest), *cut]


@claim(
    "zhu2019.sharpness",
    "E L(θ+ν) − L(θ), ν ~ N(0, δ²I), is (δ²/2) TrH on a quadratic, with the relative error √(2TrH²/M)/TrH of M draws",
    kind="exact",
    source="Eq. (88)",
)
class SharpnessIsTheTrace(Claim):
    """Gauss–Hermite quadrature, exact for the fourth moments that the error needs."""

    mean, error = "E L(θ+ν) − L(θ)", "relative error"
    sizes, names = generic_sizes((1_000, 100), (70, 3)), "M, 1/δ"

    def measure(self, run: Run) -> Quantities:
        def found(n_draws: int, inverse: int) -> dict[str, Any]:
            law = product_rule(dimension=3)
            nu = law.vectors / inverse
            increase = np.einsum("ki,ij,kj->k", nu, HESSIAN, nu) / 2
            mean = law.probabilities @ increase
            deviation = np.sqrt(law.probabilities @ (increase - mean) ** 2)
            return computed(self.mean, mean) | computed(self.error, deviation / np.sqrt(n_draws) / mean)

        return at_each(found, self.sizes, self.names)

    def published(self) -> Predictions:
        trace, square = np.trace(HESSIAN), np.trace(HESSIAN @ HESSIAN)
        return self._predicted(mean=lambda n, d: d**2 / 2 * trace, error=lambda n, d: np.sqrt(2 * square / n) / trace)

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        trace, square = np.trace(HESSIAN), np.trace(HESSIAN @ HESSIAN)
        yield "δ² for δ²/2", self._predicted(mean=lambda n, d: d**2 * trace)
        yield "TrH² without its 2", self._predicted(error=lambda n, d: np.sqrt(square / n) / trace)
        yield "M − 1 for M", self._predicted(error=lambda n, d: np.sqrt(2 * square / (n - 1)) / trace)

    def _predicted(self, **formulas: Any) -> Predictions:
        """Predictions by formulas in M and δ, by the name of what they are of."""
        return at_each(
            lambda n, inverse: {getattr(self, name): float(formula(n, 1 / inverse)) for name, formula in formulas.items()},
            self.sizes,
            self.names,
        )


#: Sharpness at the end of the three runs on Fashion-MNIST that are kept for Figure 3, in `gradnoise.figures`.
KEPT_SHARPNESS = {
    "gd": (0.0111274, 0.00839507, 0.0100551),
    "sgd": (0.0102765, 0.00405381, 0.00953346),
    "gld_leading": (0.00708868, 0.00603992, 0.0128055),
    "gld_hessian": (0.0113381, 0.0065808, 0.0127363),
    "gld_eigvec": (0.0119972, 0.00730915, 0.0108187),
}


@claim(
    "zhu2019.flatter",
    "Most of the kept runs, 3 runs each, of SGD, GLD leading, Hessian and 1st eigvec(H) end where the loss is flatter than for "
    "GD",
    kind="inequality",
    source="Figure 3, right, and Section 5.3",
    expected=None,
)
class AlignedNoiseEndsFlatter(Claim):
    """Of three runs each, after 400 steps, when those that left have not come to rest: they tell of themselves alone."""

    aligned = tuple(KEPT_SHARPNESS)[1:]

    def measure(self, run: Run) -> Quantities:
        kept = {name: np.array(values) for name, values in KEPT_SHARPNESS.items()}
        return {self._label(name): Computed(float(np.mean(kept[name] < kept["gd"]))) for name in self.aligned}

    def published(self) -> Predictions:
        return {self._label(name): AtLeast(0.5, tightness="chosen") for name in self.aligned}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "SGD's end sharper", {self._label("sgd"): AtMost(0.5)}
        yield "those of GLD leading end sharper", {self._label("gld_leading"): AtMost(0.5)}

    @staticmethod
    def _label(name: str) -> str:
        return f"share of {name} that ends flatter than GD"
