"""Claims of zhu2019, Section 3.1, on any minimum: tried on a double well whose minima differ in depth."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np

from gradnoise.claims.claim import Claim, Predictions, Quantities, Run, claim
from gradnoise.claims.judgement import Computed
from gradnoise.claims.prediction import Absolute, AtLeast, AtMost, Margin
from gradnoise.simulations import langevin, ornstein_uhlenbeck
from gradnoise.simulations.statistics import Estimate, Proportion
from gradnoise.theory import escape
from gradnoise.theory.escape import EulerLaw, PlanarLandscape

#: A double well whose left basin is the deeper one; its right minimum is local only.
WELL = PlanarLandscape(quartic=1.0, tilt=0.2)


@functools.cache
def global_minimum() -> float:
    """Bottom of the left basin."""
    return float(WELL.minima()[0])


@functools.cache
def local_minimum() -> float:
    """Bottom of the right basin."""
    return float(WELL.minima()[1])


@claim(
    "zhu2019.definition1",
    "From a minimum, some small time t has L(θ_t) ≥ L(θ_0)",
    kind="comparison",
    source="Definition 1",
    expected="refuted",
    corrected="Every path does if and only if the minimum is global; in expectation the loss rises from any, if Tr(HΣ) > 0",
)
class LossIsAboveItsStart(Claim):
    """How often a path of the double well is below its start, sampled and by quadrature; and how its expected loss sets off."""

    insensitive_because = "a path is seldom below its start early on: those probabilities are sampled to an absolute margin"
    noise, step_size = 0.6, 0.01
    local_rise, global_rise = (f"E[L(θ_t) − L(θ_0)]/t as t → 0, {which} minimum" for which in ("local", "global"))
    shortest = "smallest P from the local minimum, t = 0.1 … 1"

    def margin(self, label: str) -> Margin:
        return Absolute(0.001 if label == "local minimum, t = 0.3" else 0.004)

    def measure(self, run: Run) -> Quantities:
        exact = [self._law(n).probability(self._below_start()) for n in (10, 20, 30, 50, 100)]
        starts = {
            "local minimum, t = 1": (local_minimum(), 100),
            "local minimum, t = 0.3": (local_minimum(), 30),
            "global minimum": (global_minimum(), 100),
        }
        sampled = {label: self._below(*start, run, label) for label, start in starts.items()}
        rises = {self.local_rise: self._rise(local_minimum()), self.global_rise: self._rise(global_minimum())}
        return {**sampled, self.shortest: Computed(min(exact), approximation=1e-9), **rises}

    def published(self) -> Predictions:
        return {"local minimum, t = 1": 0.0, "local minimum, t = 0.3": 0.0, "global minimum": 0.0, self.shortest: 0.0}

    def corrected(self) -> Predictions:
        return {
            "local minimum, t = 1": self._law(100).probability(self._below_start()),
            "local minimum, t = 0.3": self._law(30).probability(self._below_start()),
            "global minimum": 0.0,
            self.shortest: AtLeast(1e-6, tightness="chosen"),
            self.local_rise: self._indicator(local_minimum()) / 2,
            self.global_rise: self._indicator(global_minimum()) / 2,
        }

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        correct = self.corrected()
        yield "as often early as late", {"local minimum, t = 0.3": correct["local minimum, t = 1"]}
        yield "a global minimum is like a local one", {"global minimum": correct["local minimum, t = 1"]}
        yield "in expectation, too, the loss does not rise from a local minimum", {self.local_rise: AtMost(0.0)}
        yield "it rises as Tr(HΣ)", {self.local_rise: self._indicator(local_minimum())}

    def _rise(self, start: float) -> Computed:
        """Of two steps, extrapolated to steps of zero."""
        h = self.step_size / 50
        rates = []
        for step in (h, 2 * h):
            law = EulerLaw(WELL, self.noise, start, step, 2)
            rates.append(law.expectation(lambda x: WELL.loss(x) - WELL.loss(start)) / (2 * step))
        return Computed(2 * rates[0] - rates[1], approximation=1e-5)

    def _indicator(self, at: float) -> float:
        return escape.indicator(WELL.hessian(at), np.diag([self.noise, 0]))

    def _law(self, n_steps: int) -> EulerLaw:
        return EulerLaw(WELL, self.noise, local_minimum(), self.step_size, n_steps)

    @staticmethod
    def _below_start() -> list[tuple[float, float]]:
        return WELL.sublevel_intervals(float(WELL.loss(local_minimum())))

    def _below(self, start: float, n_steps: int, run: Run, label: str) -> Proportion:
        noise = np.diag([self.noise, 0])
        paths = langevin.simulate(WELL, noise, (start, 0), self.step_size, n_steps, run.n_paths, rng=run.at(label))
        return Proportion(int((paths.increase < 0).sum()), run.n_paths)


@claim(
    "zhu2019.markov",
    "P(L(θ_t) − L(θ_0) ≥ δ) ≤ E[L(θ_t) − L(θ_0)]/δ",
    kind="inequality",
    source="Section 3.1",
    expected="refuted",
    corrected="It is so at a global minimum; at a local one paths that fall into a deeper basin make the expectation small, or "
    "negative, and it is so with that of the positive part",
)
class MarkovsInequalityBoundsTheEscape(Claim):
    """An OU process whose H and Σ do not commute, against the exact law of its loss; and the double well, against quadrature."""

    # So far from commuting that the law of the loss shows it, while its mean depends on Σ in the eigenvectors of H alone.
    hessian, covariance = np.kron(np.eye(12), [[1.0, 0.1], [0.1, 0.4]]), np.kron(np.eye(12), [[1.0, -0.7], [-0.7, 0.6]])
    time, levels = 0.7, (0.8, 1.5)
    insensitive_because = "an inequality is claimed; what is on its sides is far apart, and sampled to absolute margins"
    noise, step_size, n_steps, delta = 0.3, 0.01, 500, 0.1

    def margin(self, label: str) -> Margin:
        wells = {"double well: P": 0.004, "double well: E/δ": 0.1, "double well: E₊/δ": 0.03}
        return Absolute(wells.get(label, 0.008))

    def measure(self, run: Run) -> Quantities:
        ou = ornstein_uhlenbeck.simulate(
            self.hessian, self.covariance, self.time, run.n_paths, rng=run.at("OU"), deltas=self._deltas()
        )
        noise, start = np.diag([self.noise, 0]), (local_minimum(), 0)
        well = langevin.simulate(WELL, noise, start, self.step_size, self.n_steps, run.n_paths, rng=run.at("double well"))
        return {
            "OU: P(L ≥ 0.8 E L)": ou.exceedance[0],
            "OU: P(L ≥ 1.5 E L)": ou.exceedance[1],
            "double well: P": Proportion(int((well.increase >= self.delta).sum()), run.n_paths),
            "double well: E/δ": Estimate.of(well.increase / self.delta),
            "double well: E₊/δ": Estimate.of(np.maximum(well.increase, 0) / self.delta),
        }

    def published(self) -> Predictions:
        mean, _, _ = self._well()
        far = AtMost(1 / 1.5, tightness="not known to be attained")
        return {"OU: P(L ≥ 1.5 E L)": far, "double well: P": AtMost(mean)}

    def corrected(self) -> Predictions:
        exact = escape.escape_probability(self.hessian, self.covariance, self.time, self._deltas())
        mean, positive, probability = self._well()
        assert probability <= positive  # so the equalities below include the inequality
        return {
            "OU: P(L ≥ 0.8 E L)": float(exact[0]),
            "OU: P(L ≥ 1.5 E L)": float(exact[1]),
            "double well: P": probability,
            "double well: E/δ": mean,
            "double well: E₊/δ": positive,
        }

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "half of Markov's bound", {"OU: P(L ≥ 0.8 E L)": AtMost(0.5 / 0.8)}
        yield "a tenth of the corrected bound", {"double well: P": AtMost(self._well()[1] / 10)}
        yield "an exponentially distributed loss", {f"OU: P(L ≥ {level:g} E L)": float(np.exp(-level)) for level in self.levels}
        commuting = escape.escape_probability(self.hessian, self._commuting(), self.time, self._deltas())
        yield "as if H and Σ commuted", {f"OU: P(L ≥ {v:g} E L)": float(p) for v, p in zip(self.levels, commuting, strict=True)}
        yield "the expectation for that of the positive part", {"double well: E₊/δ": self._well()[0]}

    def _commuting(self) -> np.ndarray:
        """Σ without its entries between different eigenvectors of H."""
        _, U = np.linalg.eigh(self.hessian)
        return (U * np.diag(U.T @ self.covariance @ U)) @ U.T

    def _deltas(self) -> np.ndarray:
        return np.array(self.levels) * escape.loss_increase(self.hessian, self.covariance, self.time)

    def _well(self) -> tuple[float, float, float]:
        """E/δ, E₊/δ and P of the loss increase in the double well."""
        law, start = EulerLaw(WELL, self.noise, local_minimum(), self.step_size, self.n_steps), WELL.loss(local_minimum())
        mean = law.expectation(lambda x: WELL.loss(x) - start) / self.delta
        positive = law.expectation(lambda x: np.maximum(WELL.loss(x) - start, 0)) / self.delta
        return mean, positive, 1 - law.probability(WELL.sublevel_intervals(float(start) + self.delta))
