"""Claims of zhu2019, Section 3.2: which structure of the noise helps escape."""

from __future__ import annotations

from collections.abc import Iterator

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
from gradnoise.theory import gradient_noise


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
        optimum = self._value(self._at_optimum())
        return {
            self.found: Computed(max(optimum, -ascent, *random), rounding=1e-12),
            self.optimum: Computed(optimum, rounding=1e-12),
        }

    def published(self) -> Predictions:
        largest = float(np.linalg.eigvalsh(HESSIAN)[-1])
        return {self.found: AtMost(largest), self.optimum: largest}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "largest at Σ ∝ H", {self.found: AtMost(float(np.trace(HESSIAN @ HESSIAN) / np.trace(HESSIAN)))}
        yield "one per cent less", {self.found: AtMost(0.99 * float(np.linalg.eigvalsh(HESSIAN)[-1]))}
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

    excess = ("(â − a₁a₂)/a₁", "(â − a₁a₂²)/a₁")

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
        yield "a = a₁(a₂ − 0.1)", {self.excess[0]: AtLeast(-0.1)}
        yield "a = a₁(a₂² + 0.01)", {self.excess[1]: AtLeast(0.01)}

    @staticmethod
    def _excess(hessian: np.ndarray, covariance: np.ndarray) -> tuple[float, float]:
        (lam, U), (gamma, V) = np.linalg.eigh(hessian), np.linalg.eigh(covariance)
        trace_ratio = np.trace(hessian) / (lam[-1] * np.trace(covariance))
        alignment = U[:, -1] @ covariance @ U[:, -1] * trace_ratio  # â of (16)
        a1, a2 = gamma[-1] * trace_ratio, abs(U[:, -1] @ V[:, -1])
        return alignment / a1 - a2, alignment / a1 - a2**2
