"""Claims of zhu2019 about escape in its two-dimensional toy: Figure 2, Section 5.1, and step and batch size in Section 6."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gradnoise.claims.claim import Claim, Predictions, Quantities, Run, claim
from gradnoise.claims.judgement import Computed
from gradnoise.claims.prediction import Absolute, AtLeast, AtMost, Margin
from gradnoise.simulations import toy
from gradnoise.simulations.statistics import Difference, Estimate
from gradnoise.theory import escape, gradient_noise
from gradnoise.theory.escape import two_basin

ALIGNED = ("gld_leading", "gld_hessian", "gld_eigvec")
UNALIGNED = ("gd", "gld_const", "gld_diag")
#: Directions of u₁ where H is a multiple of I; e₂ is LAPACK's choice, hence the released program's.
TIES = {"e₂": (0.0, 1.0), "(1,1)/√2": (1.0, 1.0), "(1,−1)/√2": (1.0, -1.0)}
#: By how much η is divided and m multiplied.
SETTINGS = {"η, m": (1, 1), "η, 4m": (1, 4), "η/2, m": (2, 1)}


class _SuccessRates(Claim):
    """Success rates of all dynamics, and by how much each aligned one leads each other one."""

    convention: str
    lead = 0.2

    def measure(self, run: Run) -> Quantities:
        rates, found = {}, {}
        for dynamics in (*UNALIGNED, *ALIGNED):
            paths = toy.simulate(dynamics, run.n_paths, rng=run.at(dynamics), convention=self.convention)
            found[dynamics] = rates[dynamics] = paths.success_rate
            found[f"{dynamics}: in the flat basin at some time"] = paths.ever_escaped
        pairs = [(a, u) for a in ALIGNED for u in UNALIGNED] + [("gld_diag", "gld_const")]
        found |= {f"{a} − {b}": Difference(rates[a], rates[b]) for a, b in pairs}
        return found

    def published(self) -> Predictions:
        return self._leads(AtLeast(self.lead, tightness="chosen"))

    def _leads(self, bound: AtLeast) -> Predictions:
        return {f"{a} − {u}": bound for a in ALIGNED for u in UNALIGNED}


@claim(
    "zhu2019.fig2",
    "On the toy, 1st eigvec(H), Hessian and leading escape far more often than const, diag and GD (by over 0.2)",
    kind="inequality",
    source="Figure 2, middle",
)
class AlignedNoiseEscapesFarMoreOften(_SuccessRates):
    """By the released program's convention: noise of power 0.01 added to the weights at every step."""

    convention = "released"

    def margin(self, label: str) -> Margin:
        return Absolute(0.03)

    def published(self) -> Predictions:
        return {**super().published(), "gld_diag − gld_const": AtMost(0.1, tightness="chosen")}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "diagonal noise leads isotropic noise as far", {"gld_diag − gld_const": AtLeast(self.lead)}
        yield "a lead of over 0.6", self._leads(AtLeast(0.6))


@claim(
    "zhu2019.fig2-literal",
    "The same with the noise of Eq. (7) word for word, ηε with E‖ε‖² = 0.01",
    kind="inequality",
    source="Eq. (7) and Figure 2",
    expected="refuted",
    corrected="By it practically nothing escapes: no dynamics in one of a hundred runs",
)
class LiteralNoiseEscapesFarMoreOften(_SuccessRates):
    """As in Figure 2, with noise whose power in a step is 0.005² of that."""

    convention = "literal"

    def margin(self, label: str) -> Margin:
        return Absolute(0.02 if " − " in label else 0.005)

    def corrected(self) -> Predictions:
        return dict.fromkeys((*UNALIGNED, *ALIGNED), AtMost(0.01, tightness="chosen"))

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "half that lead", self._leads(AtLeast(self.lead / 2))
        yield "Hessian noise succeeds in every fourth run", {"gld_hessian": 0.25}


@claim(
    "zhu2019.first-eigenvector",
    "GLD 1st eigvec(H) has the highest success rate: at the final iterate, whatever u₁ is in the flat basin; "
    "but for one such u₁ fewer of its paths were ever there",
    kind="inequality",
    source="Section 5.1 and Figure 2, middle",
)
class FirstEigenvectorSucceedsMostOften(Claim):
    """Leads over the two dynamics that follow it, by how often paths end in the flat basin and how often they were there."""

    least = 0.03  # as far from zero as the margin, so that signs are sure

    def margin(self, label: str) -> Margin:
        return Absolute(self.least)

    def measure(self, run: Run) -> Quantities:
        others = {name: toy.simulate(name, run.n_paths, rng=run.at(name)) for name in ("gld_leading", "gld_hessian")}
        found: dict[str, Any] = {}
        for tie, direction in TIES.items():
            paths = toy.simulate("gld_eigvec", run.n_paths, rng=run.at(tie), tie_direction=direction)
            for name, other in others.items():
                found[self._final(tie, name)] = Estimate.of(paths.success.astype(float) - other.success)
                found[self._ever(tie, name)] = Estimate.of((paths.escape_step >= 0).astype(float) - (other.escape_step >= 0))
        return found

    def published(self) -> Predictions:
        lead = AtLeast(self.least, tightness="chosen")
        final = {self._final(tie, name): lead for tie in TIES for name in ("gld_leading", "gld_hessian")}
        return {**final, self._ever("(1,1)/√2", "gld_leading"): AtMost(-self.least, tightness="chosen")}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "Hessian noise succeeds as often", {self._final("(1,−1)/√2", "gld_hessian"): AtMost(0.0)}
        yield "a lead of a quarter over leading", {self._final("e₂", "gld_leading"): AtLeast(0.25)}
        yield "more of its paths were ever there, by a tenth", {self._ever("(1,1)/√2", "gld_leading"): AtLeast(0.1)}

    @staticmethod
    def _final(tie: str, other: str) -> str:
        return f"at the end, u₁ = {tie}: lead over {other}"

    @staticmethod
    def _ever(tie: str, other: str) -> str:
        return f"at some time, u₁ = {tie}: lead over {other}"


@claim(
    "zhu2019.small-step",
    "At a smaller η or a larger m the structure of the noise matters less: what it adds to the loss falls, and no structure "
    "escapes; but the quotient of the losses does not depend on m",
    kind="inequality",
    source="Section 6, effects of learning rate and batch size",
)
class StructureMattersLessAtSmallNoise(Claim):
    """The lead of Hessian noise over isotropic noise on the toy; and both losses on its sharp quadratic, step by step."""

    step_size, power, n_steps = 0.005, 0.01, 40
    by_batch, by_step = "added loss, 4m over m", "added loss, η/2 over η, at the same time"
    quotient = "loss with u₁u₁ᵀ / loss with isotropic noise, 4m"

    def margin(self, label: str) -> Margin:
        return Absolute(0.03)

    def measure(self, run: Run) -> Quantities:
        found: dict[str, Any] = {}
        for setting, (shorter, larger) in SETTINGS.items():
            step, power = self.step_size / shorter, self.power / (shorter**2 * larger)  # E‖ηε‖²
            hessian, const = (
                toy.simulate(name, run.n_paths, rng=run.at(f"{name}, {setting}"), step_size=step, noise_power=power).success_rate
                for name in ("gld_hessian", "gld_const")
            )
            found[self._lead(setting)] = Difference(hessian, const)
        exact = self._exact(self._stepwise)
        return {**found, **{label: Computed(value, rounding=1e-12 * value) for label, value in exact.items()}}

    def published(self) -> Predictions:
        leads = {self._lead(setting): AtMost(0.05, tightness="chosen") for setting in list(SETTINGS)[1:]}
        return {
            self._lead("η, m"): AtLeast(0.2, tightness="chosen"),
            **leads,
            **self._exact(lambda *case: float(escape.discrete_loss_increase(*case))),
        }

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "as far ahead with 4m", {self._lead("η, 4m"): AtLeast(0.2)}
        yield "as far ahead with η/2", {self._lead("η/2, m"): AtLeast(0.2)}
        yield "what is added falls as 1/√m", {self.by_batch: 0.5}
        yield "what is added falls as η²", {self.by_step: 0.25}
        yield "the quotient falls to one", {self.quotient: 1.0}

    @staticmethod
    def _lead(setting: str) -> str:
        return f"lead of gld_hessian over gld_const, {setting}"

    def _exact(self, loss: Any) -> dict[str, float]:
        """What is predicted of the losses, by a formula or by steps."""
        first = gradient_noise.leading(two_basin.SHARP_HESSIAN, 1)
        shapes = first / np.trace(first), np.eye(2) / 2

        def losses(shorter: int, larger: int) -> list[float]:
            steps = self.step_size / shorter, self.n_steps * shorter
            return [loss(two_basin.SHARP_HESSIAN, shape / larger, *steps) for shape in shapes]

        (aligned, isotropic), batch, step = (losses(*setting) for setting in SETTINGS.values())
        added = aligned - isotropic
        return {
            self.by_batch: (batch[0] - batch[1]) / added,
            self.by_step: (step[0] - step[1]) / added,
            self.quotient: batch[0] / batch[1],
        }

    @staticmethod
    def _stepwise(hessian: np.ndarray, covariance: np.ndarray, eta: float, n_steps: int) -> float:
        """Loss after some steps of Eq. (7) from the minimum, by the covariance of each."""
        moments, shrink = np.zeros_like(hessian), np.eye(len(hessian)) - eta * hessian
        for _ in range(n_steps):
            moments = shrink @ moments @ shrink + eta**2 * covariance
        return float(np.trace(hessian @ moments) / 2)
