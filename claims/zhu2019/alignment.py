"""Claims of zhu2019, Section 3.2: which structure of the noise helps escape."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gradnoise.claims.claim import Claim, Predictions, Quantities, Run, claim, computed
from gradnoise.claims.instances import (
    HESSIAN,
    NOISE_COVARIANCE,
    covariance_by_exponential,
    random_psd,
    search_minimum,
)
from gradnoise.claims.judgement import Computed
from gradnoise.claims.prediction import AtLeast, AtMost
from gradnoise.simulations.sampling import product_rule
from gradnoise.theory import escape, gradient_noise


@claim("zhu2019.trace-norm", "E‖ε‖² = Tr Σ", kind="exact", source="Section 3.2")
class SquaredNormIsTrace(Claim):
    """Gauss–Hermite quadrature over ε = Σ^½ z."""

    label = "E‖ε‖²"

    def measure(self, run: Run) -> Quantities:
        law = product_rule(dimension=3)
        noise = law.vectors @ np.linalg.cholesky(NOISE_COVARIANCE).T
        return computed(self.label, law.probabilities @ (noise**2).sum(axis=1))

    def published(self) -> Predictions:
        return {self.label: float(np.trace(NOISE_COVARIANCE))}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "largest eigenvalue", {self.label: float(np.linalg.norm(NOISE_COVARIANCE, 2))}
        yield "Frobenius norm", {self.label: float(np.linalg.norm(NOISE_COVARIANCE))}


@claim(
    "zhu2019.optimal-noise",
    "At fixed Tr Σ, Tr(HΣ) is largest at Σ = (Tr Σ) u₁u₁ᵀ, with the value λ₁ Tr Σ",
    kind="inequality",
    source="Section 3.2",
)
class OptimalNoiseIsAlongTheFirstEigenvector(Claim):
    """Random Σ of trace one, and an ascent over all of them."""

    found, optimum = "largest Tr(HΣ)/TrΣ found", "Tr(HΣ)/TrΣ at u₁u₁ᵀ"

    def measure(self, run: Run) -> Quantities:
        generator = run.generator()
        random = [self._value(generator.standard_normal(9)) for _ in range(run.n_instances)]
        ascent, _ = search_minimum(lambda b: -self._value(b), [generator.standard_normal(9) for _ in range(2)], 2_000)
        return {
            self.found: Computed(max(-ascent, *random), rounding=1e-12),
            self.optimum: Computed(self._value(self._at_optimum()), rounding=1e-12),
        }

    def published(self) -> Predictions:
        largest = float(np.linalg.eigvalsh(HESSIAN)[-1])
        return {self.found: AtMost(largest), self.optimum: largest}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "largest at Σ ∝ H", {self.found: AtMost(float(np.trace(HESSIAN @ HESSIAN) / np.trace(HESSIAN)))}
        yield "largest at isotropic Σ", {self.found: AtMost(float(np.trace(HESSIAN) / len(HESSIAN)))}
        yield "the value TrH Tr Σ / D", {self.optimum: float(np.trace(HESSIAN) / len(HESSIAN))}

    @staticmethod
    def _value(root: np.ndarray) -> float:
        B = root.reshape(3, 3)
        return float(np.trace(HESSIAN @ B @ B.T) / np.trace(B @ B.T))

    @staticmethod
    def _at_optimum() -> np.ndarray:
        # Power iteration, so that the eigenvector is not the solver's that predicts the value.
        u = np.ones(3)
        for _ in range(300):
            u = HESSIAN @ u / np.linalg.norm(HESSIAN @ u)
        return np.stack([u, 0 * u, 0 * u], axis=1).ravel()


@claim("zhu2019.isotropic", "For H = λI, Tr(HΣ) does not depend on the structure of Σ", kind="exact", source="Section 3.2")
class StructureDoesNotMatterForIsotropicHessians(Claim):
    """Loss at a fixed time for three structures of equal trace, from the matrix exponential of the covariance's equation."""

    curvature, time = 1.7, 0.4

    def measure(self, run: Run) -> Quantities:
        hessian = self.curvature * np.eye(3)
        found = {}
        for name, shape in self._shapes().items():
            loss = np.trace(hessian @ covariance_by_exponential(hessian, shape, self.time)) / 2
            found[name] = Computed(float(loss), rounding=1e-12)
        return found

    def published(self) -> Predictions:
        # λ Tr Σ at every instant: (1 − e^{−2λt})/(2λ) · λ Tr Σ / 2 over time.
        growth = -np.expm1(-2 * self.curvature * self.time) / (2 * self.curvature)
        return dict.fromkeys(self._shapes(), float(growth * self.curvature * np.trace(NOISE_COVARIANCE) / 2))

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        share = 3 / np.trace(NOISE_COVARIANCE)
        spectral = {n: p * share * np.linalg.norm(self._shapes()[n], 2) for n, p in self.published().items()}  # type: ignore[operator]
        yield "D γ₁ for Tr Σ", spectral
        yield "Tr Σ / D for Tr Σ", {n: p / 3 for n, p in self.published().items()}  # type: ignore[operator]

    @staticmethod
    def _shapes() -> dict[str, np.ndarray]:
        trace = float(np.trace(NOISE_COVARIANCE))
        return {
            "dense Σ": NOISE_COVARIANCE,
            "isotropic Σ": gradient_noise.isotropic_equivalent(NOISE_COVARIANCE),
            "rank one Σ": gradient_noise.match_trace(np.outer([1.0, 2, 3], [1, 2, 3]), trace),
        }


@claim(
    "zhu2019.eq16-hint",
    "γ₁/TrΣ ≥ a₁λ₁/TrH and ⟨u₁,v₁⟩ ≥ a₂ give (16) with a = a₁a₂",
    kind="inequality",
    source="after Proposition 1",
    expected="refuted",
    corrected="|⟨u₁,v₁⟩| ≥ a₂ ≥ 0 gives (16) with a = a₁a₂²",
)
class HintGivesAlignment(Claim):
    """Smallest excess of the true alignment over the hinted one, in units of a₁, over random and rank-one covariances."""

    excess = ("(â − a₁a₂)/a₁", "(â − a₁a₂²)/a₁", "(â − a₁)/a₁")

    def measure(self, run: Run) -> Quantities:
        generator = run.generator()
        rows = []
        for k in range(run.n_instances):
            d = int(generator.integers(2, 7))
            hessian = random_psd(generator, d)
            rows.append(self._excess(hessian, random_psd(generator, d, rank=1 if k % 2 else None)))
        return {label: Computed(float(x), rounding=1e-12) for label, x in zip(self.excess, np.min(rows, axis=0), strict=True)}

    def published(self) -> Predictions:
        return {self.excess[0]: AtLeast(0.0)}

    def corrected(self) -> Predictions:
        return {self.excess[1]: AtLeast(0.0)}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "a = a₁, the angle forgotten", {self.excess[2]: AtLeast(0.0)}
        yield "strictly more than a₁a₂²", {self.excess[1]: AtLeast(0.01)}

    @staticmethod
    def _excess(hessian: np.ndarray, covariance: np.ndarray) -> tuple[float, float, float]:
        (lam, U), (gamma, V) = np.linalg.eigh(hessian), np.linalg.eigh(covariance)
        trace_ratio = np.trace(hessian) / (lam[-1] * np.trace(covariance))
        alignment = U[:, -1] @ covariance @ U[:, -1] * trace_ratio  # â of (16)
        a1, a2 = gamma[-1] * trace_ratio, abs(U[:, -1] @ V[:, -1])
        return alignment / a1 - a2, alignment / a1 - a2**2, alignment / a1 - 1


def _decaying_spectrum(dimension: float, decay: float, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Spectrum that just meets (15), as values and multiplicities: u₁, k − 1 others at the top, D^{−d}, and one zero."""
    values, counts = [1.0, 1.0, dimension**-decay, 0.0], [1.0, k - 1, dimension - k - 1, 1.0]
    return np.array(values), np.array(counts)


def _indicator_ratio(values: np.ndarray, counts: np.ndarray, noise: np.ndarray) -> float:
    """Tr(HΣ)/Tr(HΣ̄) for noise with the given traces along the groups of eigenvectors."""
    return float((values @ noise / noise.sum()) / (values @ counts / counts.sum()))


def _aligned(values: np.ndarray, counts: np.ndarray, a: float, rest: int) -> np.ndarray:
    """Noise that just meets (16) along u₁ with alignment a, and has the rest of its trace along one other group."""
    noise = np.zeros(4)
    noise[0] = a * values[0] / (values @ counts)
    noise[rest] += 1 - noise[0]
    return noise


DECAYS = (0.6, 0.75, 1.0, 1.5, 2.0)


@claim(
    "zhu2019.prop1",
    "Under (15) and (16), Tr(HΣ)/Tr(HΣ̄) grows as aD^{2d−1}, d > ½, read as a lower rate",
    kind="inequality",
    source="Proposition 1",
    expected="refuted",
    corrected="The ratio is ≥ aλ₁²D/(TrH)² ≥ aD/(k+(D−k)D^{−d})², which grows as D^{min(2d−1, 1)}; it never exceeds D",
)
class IndicatorRatioGrows(Claim):
    """Growth exponent of the smallest ratio that the conditions allow, and the bounds on random and least favourable problems."""

    worst, middle, misprint = "smallest ratio/bound", "smallest ratio/(aλ₁²D/(TrH)²)", "smallest ratio/(aλ₁D/(TrH)²)"
    ratio_over_d = "largest ratio/D"
    k, a = 2, 0.5

    def measure(self, run: Run) -> Quantities:
        generator = run.generator()
        rows = [self._least_favourable()]
        for _ in range(run.n_instances):
            D, d = int(generator.integers(3, 60)), generator.uniform(0.3, 2.5)
            k, top = int(generator.integers(1, D)), 10.0 ** generator.uniform(-3, 3)
            values = top * np.concatenate([[1.0], generator.uniform(D**-d, 1, k - 1), D**-d * generator.uniform(0, 1, D - k)])
            noise = generator.dirichlet(np.full(D, 0.3))  # Σ along the eigenvectors of H, of trace one
            ratio, a = values @ noise / values.mean(), noise[0] * values.sum() / values[0]
            middle = a * D * (values[0] / values.sum()) ** 2
            rows.append((ratio / escape.indicator_ratio_bound(D, k, d, a), ratio / middle, ratio / middle * values[0], ratio / D))
        low, high = np.min(rows, axis=0), np.max(rows, axis=0)
        found = {
            self.worst: Computed(float(low[0]), rounding=1e-9),
            self.middle: Computed(float(low[1]), rounding=1e-9),
            self.misprint: Computed(float(low[2]), rounding=1e-9),
            self.ratio_over_d: Computed(float(high[3]), rounding=1e-9),
        }
        return found | {f"exponent at d = {d:g}": Computed(self._exponent(d), approximation=0.01) for d in DECAYS}

    def published(self) -> Predictions:
        return self._exponents(lambda d: 2 * d - 1)

    def corrected(self) -> Predictions:
        bounds = {self.worst: AtLeast(1.0), self.middle: AtLeast(1.0), self.ratio_over_d: AtMost(1.0)}
        return {**self._exponents(lambda d: min(2 * d - 1, 1)), **bounds}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "exponent d", self._exponents(lambda d: d)
        yield "exponent min(d, 1)", self._exponents(lambda d: min(d, 1))
        yield "(45) and (47) as printed, without a factor λ₁", {self.misprint: AtLeast(1.0)}
        yield "bounds 1 % higher", {self.worst: AtLeast(1.01), self.middle: AtLeast(1.01)}

    def _least_favourable(self) -> tuple[float, float, float, float]:
        D, d = 1e6, 0.75
        values, counts = _decaying_spectrum(D, d, self.k)
        ratio = _indicator_ratio(values, counts, _aligned(values, counts, self.a, rest=3))
        middle = self.a * D * (values[0] / (values @ counts)) ** 2
        return ratio / escape.indicator_ratio_bound(D, self.k, d, self.a), ratio / middle, ratio / middle, ratio / D

    def _exponent(self, decay: float) -> float:
        """Log-log slope, at dimensions so large that the k leading eigenvalues no longer blur it."""
        ratios = []
        for D in (1e13, 1e15):
            values, counts = _decaying_spectrum(D, decay, self.k)
            ratios.append(_indicator_ratio(values, counts, _aligned(values, counts, self.a, rest=3)))
        return float(np.log(ratios[1] / ratios[0]) / np.log(100))

    @staticmethod
    def _exponents(rule: Any) -> dict[str, Any]:
        return {f"exponent at d = {d:g}": rule(d) for d in DECAYS}


@claim(
    "zhu2019.prop1-literal",
    "Tr(HΣ)/Tr(HΣ̄) = O(aD^{2d−1}), read as an upper bound",
    kind="inequality",
    source="Proposition 1, Eq. (17)",
    expected="refuted",
    corrected="Tr(HΣ)/Tr(HΣ̄) ≤ Dλ₁/TrH, whatever the alignment; noise on u₂ reaches the exponent min(d, 1)",
)
class IndicatorRatioIsBoundedAbove(Claim):
    """Noise mainly on u₂, where λ₂ = λ₁: its ratio grows faster than D^{2d−1} at a fixed a, and stays while a → 0."""

    vanishing, bounded = "exponent of ratio/a in 1/a", "largest ratio/(Dλ₁/TrH)"
    decays = (0.6, 0.75)

    def measure(self, run: Run) -> Quantities:
        generator = run.generator()
        random = []
        for _ in range(run.n_instances):
            hessian, covariance = random_psd(generator, 5), random_psd(generator, 5, rank=2)
            ratio = np.trace(hessian @ covariance) / np.trace(hessian @ gradient_noise.isotropic_equivalent(covariance))
            random.append(ratio / (5 * np.linalg.eigvalsh(hessian)[-1] / np.trace(hessian)))
        slope = np.log(self._ratio(1e6, 0.75, 1e-6) / 1e-6 / (self._ratio(1e6, 0.75, 1e-4) / 1e-4)) / np.log(100)
        found = {self.vanishing: Computed(float(slope), rounding=1e-9), self.bounded: Computed(float(max(random)), rounding=1e-9)}
        for d in self.decays:
            growth = np.log(self._ratio(1e15, d, 0.5) / self._ratio(1e13, d, 0.5)) / np.log(100)
            found[f"exponent in D at d = {d:g}, a = ½"] = Computed(float(growth), approximation=0.01)
        return found

    def published(self) -> Predictions:
        return {self.vanishing: AtMost(0.0), **self._exponents(lambda d: AtMost(2 * d - 1))}

    def corrected(self) -> Predictions:
        return {self.bounded: AtMost(1.0), **self._exponents(lambda d: min(d, 1.0))}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "O(√a D^{2d−1})", {self.vanishing: AtMost(0.5)}
        yield "half of Dλ₁/TrH", {self.bounded: AtMost(0.5)}
        yield "exponent d/2", self._exponents(lambda d: d / 2)

    @staticmethod
    def _ratio(dimension: float, decay: float, a: float) -> float:
        values, counts = _decaying_spectrum(dimension, decay, 2)
        return _indicator_ratio(values, counts, _aligned(values, counts, a, rest=1))

    def _exponents(self, rule: Any) -> dict[str, Any]:
        return {f"exponent in D at d = {d:g}, a = ½": rule(d) for d in self.decays}
