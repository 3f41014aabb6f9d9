"""Claims of zhu2019, Section 3.2: which structure of the noise helps escape."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gradnoise.claims.claim import Exact, Inequality, Predictions, Quantities, Run, claim, computed
from gradnoise.claims.instances import (
    HESSIAN,
    NOISE_COVARIANCE,
    random_psd,
    search_minimum,
)
from gradnoise.claims.judgement import AtLeast, AtMost, Computed
from gradnoise.simulations.enumeration import product_rule
from gradnoise.theory import escape, gradient_noise

H, SIGMA = HESSIAN, NOISE_COVARIANCE


@claim("zhu2019.trace-norm", "E‖ε‖² = Tr Σ", source="Section 3.2")
class TraceNorm(Exact):
    """Gauss–Hermite quadrature over ε = Σ^½ z."""

    label = "E‖ε‖²"

    def measure(self, run: Run) -> Quantities:
        law = product_rule(dimension=3)
        noise = law.vectors @ np.linalg.cholesky(SIGMA).T
        return computed(self.label, law.probabilities @ (noise**2).sum(axis=1))

    def published(self) -> Predictions:
        return {self.label: float(np.trace(SIGMA))}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "largest eigenvalue", {self.label: float(np.linalg.norm(SIGMA, 2))}
        yield "Frobenius norm", {self.label: float(np.linalg.norm(SIGMA))}


@claim(
    "zhu2019.optimal-noise",
    "At fixed Tr Σ, Tr(HΣ) is largest at Σ = (Tr Σ) u₁u₁ᵀ, with the value λ₁ Tr Σ",
    source="Section 3.2",
)
class OptimalNoise(Inequality):
    """Random Σ of trace one, and an ascent over all of them."""

    found, optimum = "largest Tr(HΣ)/TrΣ found", "Tr(HΣ)/TrΣ at u₁u₁ᵀ"

    def measure(self, run: Run) -> Quantities:
        generator = run.generator()
        random = [self._value(generator.standard_normal(9)) for _ in range(run.n_instances)]
        ascent, _ = search_minimum(lambda b: -self._value(b), [generator.standard_normal(9) for _ in range(2)], 2_000)
        return {
            self.found: Computed(max(-ascent, *random), 1e-12),
            self.optimum: Computed(self._value(self._at_optimum()), 1e-12),
        }

    def published(self) -> Predictions:
        largest = float(np.linalg.eigvalsh(H)[-1])
        return {self.found: AtMost(largest), self.optimum: largest}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "largest at Σ ∝ H", {self.found: AtMost(float(np.trace(H @ H) / np.trace(H)))}
        yield "largest at isotropic Σ", {self.found: AtMost(float(np.trace(H) / len(H)))}

    @staticmethod
    def _value(root: np.ndarray) -> float:
        B = root.reshape(3, 3)
        return float(np.trace(H @ B @ B.T) / np.trace(B @ B.T))

    @staticmethod
    def _at_optimum() -> np.ndarray:
        # Power iteration, so that the eigenvector is not the solver's that predicts the value.
        u = np.ones(3)
        for _ in range(300):
            u = H @ u / np.linalg.norm(H @ u)
        return np.stack([u, 0 * u, 0 * u], axis=1).ravel()


@claim("zhu2019.isotropic", "For H = λI, Tr(HΣ) does not depend on the structure of Σ", source="Section 3.2")
class IsotropicMinimum(Exact):
    """Noise injected in a step, by quadrature, for three structures of equal trace."""

    curvature = 1.7

    def measure(self, run: Run) -> Quantities:
        law = product_rule(dimension=3)
        found = {}
        for name, shape in self._shapes().items():
            values, vectors = np.linalg.eigh(shape)
            noise = law.vectors @ (vectors * np.sqrt(np.maximum(values, 0))).T
            found[name] = Computed(float(law.probabilities @ (noise**2).sum(axis=1) * self.curvature), 1e-12)
        return found

    def published(self) -> Predictions:
        return dict.fromkeys(self._shapes(), self.curvature * float(np.trace(SIGMA)))

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        spectral = {name: self.curvature * 3 * float(np.linalg.norm(s, 2)) for name, s in self._shapes().items()}
        yield "D λ γ₁ for λ Tr Σ", spectral
        yield "λ Tr Σ / D", {name: self.curvature * float(np.trace(SIGMA)) / 3 for name in self._shapes()}

    @staticmethod
    def _shapes() -> dict[str, np.ndarray]:
        trace = float(np.trace(SIGMA))
        return {
            "dense Σ": SIGMA,
            "isotropic Σ": gradient_noise.isotropic_equivalent(SIGMA),
            "rank one Σ": gradient_noise.match_trace(np.outer([1.0, 2, 3], [1, 2, 3]), trace),
        }


@claim(
    "zhu2019.eq16-hint",
    "γ₁/TrΣ ≥ a₁λ₁/TrH and ⟨u₁,v₁⟩ ≥ a₂ give (16) with a = a₁a₂",
    source="after Proposition 1",
    expected="refuted",
    corrected="|⟨u₁,v₁⟩| ≥ a₂ ≥ 0 gives (16) with a = a₁a₂²",
)
class AlignmentHint(Inequality):
    """Smallest ratio of the true alignment to the hinted one, over random and rank-one covariances."""

    ratios = ("â/(a₁a₂)", "â/(a₁a₂²)", "â/a₁")

    def measure(self, run: Run) -> Quantities:
        generator = run.generator()
        rows = []
        for k in range(run.n_instances):
            d = int(generator.integers(2, 7))
            hessian = random_psd(generator, d)
            rows.append(self._ratios(hessian, random_psd(generator, d, rank=1 if k % 2 else None)))
        return {label: Computed(float(x), 1e-9) for label, x in zip(self.ratios, np.min(rows, axis=0), strict=True)}

    def published(self) -> Predictions:
        return {self.ratios[0]: AtLeast(1.0)}

    def corrected(self) -> Predictions:
        return {self.ratios[1]: AtLeast(1.0)}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "a = a₁, the angle forgotten", {self.ratios[2]: AtLeast(1.0)}
        yield "a = 1.01 a₁a₂²", {self.ratios[1]: AtLeast(1.01)}

    @staticmethod
    def _ratios(hessian: np.ndarray, covariance: np.ndarray) -> tuple[float, float, float]:
        (lam, U), (gamma, V) = np.linalg.eigh(hessian), np.linalg.eigh(covariance)
        trace_ratio = np.trace(hessian) / (lam[-1] * np.trace(covariance))
        alignment = U[:, -1] @ covariance @ U[:, -1] * trace_ratio  # â of (16)
        a1, a2 = gamma[-1] * trace_ratio, abs(U[:, -1] @ V[:, -1])
        return alignment / (a1 * a2), alignment / (a1 * a2**2), alignment / a1


def _least_favourable(dimension: float, k: int, decay: float, top: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Spectrum that just meets (15), as values and multiplicities: k at the top, one at zero, all others at D^{−d}."""
    return top * np.array([1.0, dimension**-decay, 0.0]), np.array([k, dimension - k - 1, 1])


def _ratio_of_least_noise(values: np.ndarray, counts: np.ndarray, a: float) -> float:
    """Tr(HΣ)/Tr(HΣ̄) where Σ just meets (16) along u₁ and puts the rest of its trace where H is flattest."""
    trace = values @ counts
    aligned = a * values[0] / trace  # share of Tr Σ along u₁
    return float((aligned * values[0] + (1 - aligned) * values.min()) / (trace / counts.sum()))


DECAYS = (0.6, 0.75, 1.0, 1.5, 2.0)


@claim(
    "zhu2019.prop1",
    "Under (15) and (16), Tr(HΣ)/Tr(HΣ̄) grows as aD^{2d−1}, d > ½, read as a lower rate",
    source="Proposition 1",
    expected="refuted",
    corrected="The ratio is ≥ aλ₁²D/(TrH)² ≥ aD/(k+(D−k)D^{−d})², which grows as D^{min(2d−1, 1)}; it never exceeds D",
)
class AnisotropyRate(Inequality):
    """Growth exponent of the smallest ratio that the conditions allow, and the bound on random problems."""

    worst, ratio_over_d = "smallest ratio/bound", "largest ratio/D"
    k, a = 2, 0.5

    def measure(self, run: Run) -> Quantities:
        generator = run.generator()
        over_bound, over_d = [], []
        for _ in range(run.n_instances):
            D, d = int(generator.integers(3, 60)), generator.uniform(0.3, 2.5)
            k, top = int(generator.integers(1, D)), 10.0 ** generator.uniform(-3, 3)
            values = top * np.concatenate([[1.0], generator.uniform(D**-d, 1, k - 1), D**-d * generator.uniform(0, 1, D - k)])
            noise = generator.dirichlet(np.full(D, 0.3))  # Σ along the eigenvectors of H, of trace one
            ratio = values @ noise / values.mean()
            a = noise[0] * values.sum() / values[0]
            over_bound.append(ratio / escape.indicator_ratio_bound(D, k, d, a))
            over_d.append(ratio / D)
        found = {self.worst: Computed(min(over_bound), 1e-9), self.ratio_over_d: Computed(max(over_d), 1e-9)}
        return found | {f"exponent at d = {d:g}": Computed(self._exponent(d), 0.01) for d in DECAYS}

    def published(self) -> Predictions:
        return self._exponents(lambda d: 2 * d - 1)

    def corrected(self) -> Predictions:
        return {**self._exponents(lambda d: min(2 * d - 1, 1)), self.worst: AtLeast(1.0), self.ratio_over_d: AtMost(1.0)}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "exponent d", self._exponents(lambda d: d)
        yield "exponent min(d, 1)", self._exponents(lambda d: min(d, 1))
        yield "the ratio never exceeds D/100", {self.ratio_over_d: AtMost(0.01)}

    def _exponent(self, decay: float) -> float:
        """Log-log slope, at dimensions so large that the k leading eigenvalues no longer blur it."""
        ratios = [_ratio_of_least_noise(*_least_favourable(D, self.k, decay), self.a) for D in (1e13, 1e15)]
        return float(np.log(ratios[1] / ratios[0]) / np.log(100))

    @staticmethod
    def _exponents(rule: Any) -> dict[str, Any]:
        return {f"exponent at d = {d:g}": rule(d) for d in DECAYS}


@claim(
    "zhu2019.prop1-literal",
    "Tr(HΣ)/Tr(HΣ̄) = O(aD^{2d−1}), read as an upper bound",
    source="Proposition 1, Eq. (17)",
    expected="refuted",
    corrected="Tr(HΣ)/Tr(HΣ̄) ≤ Dλ₁/TrH, whatever the alignment",
)
class AnisotropyUpperBound(Inequality):
    """Noise on u₂, with almost none on u₁, where λ₂ = λ₁: the ratio stays while a → 0."""

    grows, bounded = "exponent of ratio/(aD^{2d−1}) in 1/a", "largest ratio/(Dλ₁/TrH)"
    dimension, decay = 1_000, 0.75

    def measure(self, run: Run) -> Quantities:
        values, counts = _least_favourable(self.dimension, 2, self.decay)
        trace = values @ counts
        shares = np.array([1e-4, 1e-6])  # of the noise that lies on u₁; the rest is on u₂
        ratio = values[0] / (trace / counts.sum())
        scaled = ratio / (shares * trace / values[0] * self.dimension ** (2 * self.decay - 1))
        generator = run.generator()
        random = []
        for _ in range(run.n_instances):
            hessian, covariance = random_psd(generator, 5), random_psd(generator, 5, rank=2)
            ratio = np.trace(hessian @ covariance) / np.trace(hessian @ gradient_noise.isotropic_equivalent(covariance))
            random.append(ratio / (5 * np.linalg.eigvalsh(hessian)[-1] / np.trace(hessian)))
        slope = np.log(scaled[1] / scaled[0]) / np.log(shares[0] / shares[1])
        return {self.grows: Computed(float(slope), 1e-9), self.bounded: Computed(float(max(random)), 1e-9)}

    def published(self) -> Predictions:
        return {self.grows: AtMost(0.0)}

    def corrected(self) -> Predictions:
        return {self.bounded: AtMost(1.0)}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "O(√a D^{2d−1})", {self.grows: AtMost(0.5)}
        yield "half of Dλ₁/TrH", {self.bounded: AtMost(0.5)}
