"""Claims of ne2021 on enhanced noise and diffusions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gradnoise.claims.claim import Claim, Predictions, Quantities, Run, claim
from gradnoise.claims.convergence import BATCH_SIZE, CIRCLE_START, FEATURES, START, TARGETS, TIME, circle, slope
from gradnoise.claims.judgement import Computed
from gradnoise.claims.prediction import Absolute, Margin
from gradnoise.simulations import ensemble
from gradnoise.simulations.sampling import outcomes
from gradnoise.simulations.sde import Coupling, Problem, final_points
from gradnoise.simulations.statistics import Proportion
from gradnoise.theory.diffusion import StationaryDensity, sde_moments, svag_moments, svag_noise
from gradnoise.theory.escape import EulerLaw, PlanarLandscape
from gradnoise.theory.sampling import Enhanced, Minibatch

SVAG_STEP = 0.25
#: One over l, whose halving should halve the distance.
INVERSE_AMPLIFICATIONS = (1 / 512, 1 / 1024)


@claim(
    "ne2021.svag",
    "Sharper: α = (1+√(2l−1))/2 has c(α) = l; with steps of η/l it is SVAG, whose weak distance to the SDE falls as 1/l",
    kind="order of convergence",
    source="Eq. (10), sharper",
)
class SvagConvergesToTheSde(Claim):
    """Slopes in 1/l: exact moments of least squares, and exact expectations on a circle."""

    small_steps, wrong_strength = "circle, steps of η/l alone", "circle, α = √l"

    def measure(self, run: Run) -> Quantities:
        found: dict[str, Any] = {
            f"least squares, {label}": slope(self._least_squares(part), INVERSE_AMPLIFICATIONS)
            for part, label in (("mean", "E θ"), ("second_moment", "E θθᵀ"))
        }
        noise = Minibatch(circle().n, 1)
        return {
            **found,
            "circle, E L": slope(self._circle(lambda l: svag_noise(noise, l)), INVERSE_AMPLIFICATIONS),
            self.small_steps: slope(self._circle(lambda l: Enhanced(noise, 1.0)), INVERSE_AMPLIFICATIONS),
            self.wrong_strength: slope(self._circle(lambda l: Enhanced(noise, math.sqrt(l))), INVERSE_AMPLIFICATIONS),
            "c(α) at l = 7": Computed(svag_noise(noise, 7).centred_power / noise.centred_power, rounding=1e-12),
        }

    def published(self) -> Predictions:
        slopes = dict.fromkeys(("least squares, E θ", "least squares, E θθᵀ", "circle, E L"), 1.0)
        return {**slopes, "c(α) at l = 7": 7.0}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "as 1/l²", {label: 2.0 for label, order in self.published().items() if order == 1.0}
        yield "steps of η/l are enough", {self.small_steps: 1.0}
        yield "α = √l", {self.wrong_strength: 1.0}
        yield "α = (1+√(2l+1))/2", {"c(α) at l = 7": 8.0}

    @staticmethod
    def _least_squares(part: str) -> Callable[[float], float]:
        of_sde = sde_moments(FEATURES, TARGETS, START, SVAG_STEP, BATCH_SIZE, TIME)

        def error(inverse: float) -> float:
            n_steps = round(TIME / SVAG_STEP)
            of_svag = svag_moments(FEATURES, TARGETS, START, SVAG_STEP, BATCH_SIZE, n_steps, round(1 / inverse))
            return float(np.linalg.norm(getattr(of_svag, part) - getattr(of_sde, part)))

        return error

    @staticmethod
    def _circle(noise_of: Callable[[int], Any]) -> Callable[[float], float]:
        loss = circle().mean_loss()
        of_sde = circle().sde_expectation(loss, CIRCLE_START, 1, SVAG_STEP, TIME)

        def error(inverse: float) -> float:
            l = round(1 / inverse)
            law, n_steps = outcomes(noise_of(l)), l * round(TIME / SVAG_STEP)
            return circle().sgd_expectation(loss, CIRCLE_START, law.vectors, law.probabilities, SVAG_STEP / l, n_steps) - of_sde

        return error


#: Two wells of equal depth at -1 and 1, and an amplitude of the noise that is smaller on the left.
WELLS = PlanarLandscape(quartic=1.0)
AMPLITUDE, ASYMMETRY, WELLS_STEP = 3.0, 0.3, 0.1


def amplitude(x: np.ndarray) -> np.ndarray:
    """Half the difference of the two samples' gradients."""
    return AMPLITUDE * (1 + ASYMMETRY * np.tanh(x))


def _wells_losses(theta, data, out):
    x = theta[0]
    for i in range(data.shape[0]):
        noise = AMPLITUDE * (x + ASYMMETRY * math.log(math.cosh(x)))
        out[i] = 0.25 * (x * x - 1.0) ** 2 + data[i, 0] * noise


def _wells_gradients(theta, data, out):
    x = theta[0]
    for i in range(data.shape[0]):
        out[0, i] = x * (x * x - 1.0) + data[i, 0] * AMPLITUDE * (1.0 + ASYMMETRY * math.tanh(x))


def _quiet(n_paths: int, generator: np.random.Generator, problem: Problem, coupling: Coupling) -> tuple[np.ndarray]:
    _, references, _ = final_points(n_paths, generator, problem, coupling)
    return (references[:, 0, 0] < 0,)


@claim(
    "ne2021.noise-prefers-quiet",
    "Noise drives θ to the minimum where it is weaker: on the line p ∝ Σ⁻¹ exp(−2∫L′/(ηΣ))",
    kind="comparison",
    source="Section 4(i)",
)
class NoisePrefersQuiet(Claim):
    """Two wells of equal depth: P(θ < 0), the quiet one, by quadrature of the density, by a Markov chain, and simulated."""

    time, refinement = 12.0, 8
    chain, simulated = "Markov chain, P(quiet)", "simulated, P(quiet)"

    def margin(self, label: str) -> Margin:
        return Absolute(0.02)

    def measure(self, run: Run) -> Quantities:
        problem = Problem(_wells_losses, _wells_gradients, np.array([[1.0], [-1.0]]), np.array([0.0]), "two wells")
        coupling = Coupling(Minibatch(2, 1), WELLS_STEP, (1,), round(self.time / WELLS_STEP), self.refinement)
        (quiet,) = ensemble.run(_quiet, (problem, coupling), run.n_paths, rng=run.at("paths"), reduce=ensemble.concatenate)
        return {
            self.chain: Computed(self._chain(), approximation=2e-4),
            self.simulated: Proportion(int(quiet.sum()), run.n_paths),
        }

    def published(self) -> Predictions:
        density = StationaryDensity(lambda x: WELLS.gradient(x)[0], self._variance, -6, 8)
        return self._both(density.probability(-6, 0))

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "both alike", self._both(0.5)
        yield "the noisier one", self._both(1 - float(self.published()[self.chain]))  # type: ignore[arg-type]
        yield "Σ^{−1/2} for Σ⁻¹ (Stratonovich)", self._both(self._with_extra_force(0.25))
        yield "without Σ⁻¹", self._both(self._with_extra_force(0.5))

    def _both(self, value: float) -> Predictions:
        return {self.chain: value, self.simulated: value}

    @staticmethod
    def _variance(x: np.ndarray) -> np.ndarray:
        return WELLS_STEP * amplitude(x) ** 2

    def _with_extra_force(self, power: float) -> float:
        """P(quiet) of the density whose force lacks 2·power·(ηΣ)′/2, and so 1/Σ the power 1 − 2·power."""

        def force(x: np.ndarray) -> np.ndarray:
            slope_of_variance = 2 * WELLS_STEP * amplitude(x) * AMPLITUDE * ASYMMETRY / np.cosh(x) ** 2
            return WELLS.gradient(x)[0] - power * slope_of_variance

        return StationaryDensity(force, self._variance, -6, 9).probability(-6, 0)

    def _chain(self) -> float:
        """Of Euler–Maruyama after a long time, extrapolated to a step of zero."""
        coarse, fine = (
            EulerLaw(WELLS, self._variance, 0.0, h, round(30 / h), reach=6.0).probability([(-np.inf, 0.0)]) for h in (0.01, 0.005)
        )
        return 2 * fine - coarse
