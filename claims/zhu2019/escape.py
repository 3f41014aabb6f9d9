"""Claims of zhu2019, Section 3.1, on the Ornstein–Uhlenbeck process at a minimum."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy

from gradnoise.claims.claim import Claim, Predictions, Quantities, Run, claim, computed, entries
from gradnoise.claims.instances import (
    HESSIAN,
    NOISE_COVARIANCE,
    covariance_by_exponential,
    random_psd,
    random_spectrum,
    search_minimum,
)
from gradnoise.claims.judgement import Computed
from gradnoise.claims.prediction import Absolute, AtLeast, AtMost, Margin, Relative
from gradnoise.simulations import ornstein_uhlenbeck
from gradnoise.theory import escape, gradient_noise
from gradnoise.theory._quadratic_form import quadratic_form_sf


@claim("zhu2019.eq13", "An OU process leaves its minimum by E L = ¼ Tr((I − e^{−2Ht})Σ)", kind="comparison", source="Eq. (13)")
class OrnsteinUhlenbeckLeavesItsMinimum(Claim):
    """A matrix exponential, exact sampling, and Euler–Maruyama, whose own error is a tenth of its margin (full: a third)."""

    time, step_size = 0.5, 0.002

    def margin(self, label: str) -> Margin:
        return Relative(0.02 if label == "Euler–Maruyama" else 0.005)

    def measure(self, run: Run) -> Quantities:
        process = HESSIAN, NOISE_COVARIANCE, self.time
        exact = ornstein_uhlenbeck.simulate(*process, 8 * run.n_paths, rng=run.at("exact sampling"))
        euler = ornstein_uhlenbeck.simulate(
            *process, run.n_paths, rng=run.at("Euler–Maruyama"), method="euler", step_size=self.step_size
        )
        covariance = covariance_by_exponential(HESSIAN, NOISE_COVARIANCE, self.time)
        return {
            "exact sampling": exact.loss,
            "Euler–Maruyama": euler.loss,
            **computed("matrix exponential", np.trace(HESSIAN @ covariance) / 2),
            **computed("Var θ_t", covariance),
        }

    def published(self) -> Predictions:
        covariance = entries("Var θ_t", escape.ou_covariance(HESSIAN, NOISE_COVARIANCE, self.time))
        return {**self._all(float(escape.loss_increase(HESSIAN, NOISE_COVARIANCE, self.time))), **covariance}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        lam, gamma = np.linalg.eigvalsh(HESSIAN), np.linalg.eigvalsh(NOISE_COVARIANCE)
        yield "Eq. (42) without its ½", self._all(2 * float(escape.loss_increase(HESSIAN, NOISE_COVARIANCE, self.time)))
        yield "H and Σ taken to commute", self._all(float(-np.expm1(-2 * lam * self.time) @ gamma / 4))
        yield "e^{−Ht} for e^{−2Ht}", self._all(float(escape.loss_increase(HESSIAN, NOISE_COVARIANCE, self.time / 2)))

    @staticmethod
    def _all(value: float) -> Predictions:
        return dict.fromkeys(("exact sampling", "Euler–Maruyama", "matrix exponential"), value)


def _random_processes(run: Run) -> Iterator[tuple[np.ndarray, np.ndarray, float]]:
    """Random H, Σ, often singular, and times over several decades."""
    generator = run.generator()
    for _ in range(run.n_instances):
        d = int(generator.integers(1, 9))
        rank = int(generator.integers(1, d + 1))
        yield random_psd(generator, d, rank), random_psd(generator, d), 10.0 ** generator.uniform(-4, 2)


@claim(
    "zhu2019.eq13-linear",
    "E L(θ_t) ≈ (t/2) Tr(HΣ); the line lies above, by at most (t²/2) Tr(H²Σ)",
    kind="inequality",
    source="Eq. (13), right",
)
class LossIsBelowItsLine(Claim):
    """Worst of random processes, with the covariance from a matrix exponential instead of eigenvalues."""

    low, high, slope = "smallest gap / (t²/2)Tr(H²Σ)", "largest gap / (t²/2)Tr(H²Σ)", "gap / (t²/2)Tr(H²Σ) as t → 0"

    def measure(self, run: Run) -> Quantities:
        early, later, last = (self._gap(HESSIAN, NOISE_COVARIANCE, t) for t in (1e-3, 2e-3, 1e3))
        gaps = [early, last, *(self._gap(*process) for process in _random_processes(run))]  # the first two are near the bounds
        short = 2 * early - later  # extrapolated, with an error of order t²
        # The gap is a difference: its rounding error grows as the quadratic part of a short time shrinks.
        return {
            self.low: Computed(min(gaps), rounding=1e-6),
            self.high: Computed(max(gaps), rounding=1e-6),
            self.slope: Computed(short, approximation=1e-4),
        }

    def published(self) -> Predictions:
        return {self.low: AtLeast(0.0), self.high: AtMost(1.0), self.slope: 1.0}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "the line lies below", {self.high: AtMost(0.0), self.slope: AtMost(0.0)}
        yield "error at least a hundredth of (t²/2) Tr(H²Σ)", {self.low: AtLeast(0.01)}
        yield "error at most 0.99 of it", {self.high: AtMost(0.99)}
        yield "error at most (t²/4) Tr(H²Σ)", {self.high: AtMost(0.5), self.slope: 0.5}

    @staticmethod
    def _gap(hessian: np.ndarray, covariance: np.ndarray, t: float) -> float:
        t = max(t, 1e-3 / np.trace(hessian))  # below that the gap drowns in rounding
        loss = np.trace(hessian @ covariance_by_exponential(hessian, covariance, t)) / 2
        scale = t**2 / 2 * np.trace(hessian @ hessian @ covariance)
        return float((escape.loss_increase_linear(hessian, covariance, t) - loss) / scale)


@claim(
    "zhu2019.eq13-saturation",
    "Sharper: E L(θ_t) ≤ ¼TrΣ for every structure of Σ, and → ¼TrΣ: structure speeds the transient only",
    kind="comparison",
    source="Eq. (13), t → ∞",
)
class StructureSpeedsTheTransientOnly(Claim):
    """Noise along u₁ against isotropic noise of equal trace, early and late."""

    early, late, trace = 0.02, 60.0, 1.0

    def measure(self, run: Run) -> Quantities:
        found: dict[str, Any] = {}
        for name, covariance, t in self._cases():
            found[name] = ornstein_uhlenbeck.simulate(HESSIAN, covariance, t, run.n_paths, rng=run.at(name)).loss
        processes = [*((HESSIAN, s, t) for _, s, t in self._cases()), *_random_processes(run)]
        losses = [np.trace(h @ covariance_by_exponential(h, s, t)) / 2 / (np.trace(s) / 4) for h, s, t in processes]
        return {**found, "largest E L / ¼TrΣ": Computed(float(max(losses)), rounding=1e-9)}

    def published(self) -> Predictions:
        limit = self.trace / 4
        early = [float(escape.loss_increase(HESSIAN, s, self.early)) for s in self._shapes()]
        return {
            "u₁u₁ᵀ, early": early[0],
            "isotropic, early": early[1],
            "u₁u₁ᵀ, late": limit,
            "isotropic, late": limit,
            "largest E L / ¼TrΣ": AtMost(1.0),
        }

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        advantage = len(HESSIAN) * np.linalg.eigvalsh(HESSIAN)[-1] / np.trace(HESSIAN)
        yield "the advantage Dλ₁/TrH persists", {"u₁u₁ᵀ, late": advantage * self.trace / 4}
        yield "saturation at ½TrΣ", {"u₁u₁ᵀ, late": self.trace / 2, "isotropic, late": self.trace / 2}
        early = self.published()
        yield "no advantage early", {"u₁u₁ᵀ, early": early["isotropic, early"], "isotropic, early": early["u₁u₁ᵀ, early"]}
        yield "E L ≤ 0.99 · ¼TrΣ", {"largest E L / ¼TrΣ": AtMost(0.99)}

    def _shapes(self) -> tuple[np.ndarray, np.ndarray]:
        first = gradient_noise.match_trace(gradient_noise.leading(HESSIAN, 1), self.trace)
        return first, gradient_noise.isotropic_equivalent(first)

    def _cases(self) -> Iterator[tuple[str, np.ndarray, float]]:
        for when, t in (("early", self.early), ("late", self.late)):
            for name, shape in zip(("u₁u₁ᵀ", "isotropic"), self._shapes(), strict=True):
                yield f"{name}, {when}", shape, t


@claim(
    "zhu2019.markov-lower",
    "Sharper: P(L ≥ ϑ E L) ≥ (1−ϑ)²/3 for an OU process",
    kind="inequality",
    source="Section 3.1, a bound from below",
)
class EscapeIsBoundedFromBelow(Claim):
    """Random spectra, an adversarial search over spectrum and ϑ, and a simulation at rank one, the worst that was found."""

    worst, rank_one, theta = "smallest P/(1−ϑ)²", "P(L ≥ 0.05 E L) at rank one", 0.05

    def margin(self, label: str) -> Margin:
        return Absolute(0.01)

    def measure(self, run: Run) -> Quantities:
        generator = run.generator()
        random = [
            self._ratio(random_spectrum(generator, int(generator.integers(1, 9))), generator.uniform(0.001, 0.999))
            for _ in range(run.n_instances)
        ]
        adversarial, _ = search_minimum(
            lambda p: self._ratio(np.exp(p[:-1]), 1 / (1 + np.exp(-p[-1]))),
            [np.array([0.0, 0.0, -3.0]), np.array([0.0, -9.0, -2.0])],
            evaluations=120,
        )
        process = [[1.0]], [[1.0]], 1.0
        deltas = self.theta * escape.loss_increase(*process)
        ou = ornstein_uhlenbeck.simulate(*process, run.n_paths, rng=run.at("rank one"), deltas=deltas)
        return {self.worst: Computed(min(adversarial, *random), approximation=1e-9), self.rank_one: ou.exceedance[0]}

    def published(self) -> Predictions:
        return {
            self.worst: AtLeast(1 / 3, tightness="not known to be attained"),
            self.rank_one: float(scipy.special.erfc(np.sqrt(self.theta / 2))),
        }

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "without the 3 of the fourth moment", {self.worst: AtLeast(1.0), self.rank_one: AtLeast((1 - self.theta) ** 2)}
        yield "(1 − ϑ) for its square", {self.rank_one: AtLeast(1 - self.theta)}
        yield "an exponentially distributed loss", {self.rank_one: float(np.exp(-self.theta))}

    @staticmethod
    def _ratio(weights: np.ndarray, theta: float) -> float:
        above = float(quadratic_form_sf(weights, theta * weights.sum()))
        return above / (1 - theta) ** 2
