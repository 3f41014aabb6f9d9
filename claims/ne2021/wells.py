"""The claim of ne2021 that noise drives the parameters to the minimum where it is weaker."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator

import numpy as np
import scipy

from gradnoise.claims.claim import Claim, Predictions, Quantities, Run, claim
from gradnoise.claims.judgement import Computed
from gradnoise.claims.prediction import Absolute, AtLeast, Margin, number
from gradnoise.simulations import ensemble
from gradnoise.simulations.sde import Coupling, Problem, final_points
from gradnoise.simulations.statistics import Proportion
from gradnoise.theory.diffusion import StationaryDensity
from gradnoise.theory.escape import EulerLaw, PlanarLandscape
from gradnoise.theory.sampling import Minibatch

#: Two wells of equal depth at -1 and 1, and the noise's amplitude: weaker at the left minimum, and stronger, by the height of a
#: bump, between this and the barrier.
WELLS = PlanarLandscape(quartic=1.0)
AMPLITUDE, ASYMMETRY, BUMP, CENTRE, WIDTH = 2.5, 0.2, 1.5, -0.35, 0.45
STEP = 0.1
#: Height of the bump in the two cases.
CASES = {"plain": 0.0, "noisy flank": BUMP}


def amplitude(x: np.ndarray, bump: float) -> np.ndarray:
    """Half the difference of the two samples' gradients."""
    return AMPLITUDE * (1 + ASYMMETRY * np.tanh(x) + bump * np.exp(-(((x - CENTRE) / WIDTH) ** 2)))


def _losses(theta, data, out):
    x = theta[0]
    of_bump = 0.5 * math.sqrt(math.pi) * WIDTH * math.erf((x - CENTRE) / WIDTH)
    for i in range(data.shape[0]):
        noise = AMPLITUDE * (x + ASYMMETRY * math.log(math.cosh(x)) + BUMP * of_bump)
        out[i] = 0.25 * (x * x - 1.0) ** 2 + data[i, 0] * noise


def _gradients(theta, data, out):
    x = theta[0]
    z = (x - CENTRE) / WIDTH
    noise = AMPLITUDE * (1.0 + ASYMMETRY * math.tanh(x) + BUMP * math.exp(-z * z))
    for i in range(data.shape[0]):
        out[0, i] = x * (x * x - 1.0) + data[i, 0] * noise


def _left(n_paths: int, generator: np.random.Generator, problem: Problem, coupling: Coupling) -> tuple[np.ndarray]:
    _, references, _ = final_points(n_paths, generator, problem, coupling)
    return (references[:, 0, 0] < 0,)


@claim(
    "ne2021.noise-prefers-quiet",
    "Noise drives θ to the minimum where it is weaker",
    kind="comparison",
    source="Section 4(i)",
    expected="refuted",
    corrected="p ∝ Σ⁻¹ exp(−2∫L′/(ηΣ)): between minima that are as deep, the prefactor and the noise all along the way decide. "
    "Noise that grows evenly to the right drives left (P = .65); a noisy flank of the left well drives right (P = .38)",
)
class NoisePrefersQuiet(Claim):
    """Two wells: P(θ < 0) and p(−1)/p(1), by quadrature and by a Markov chain; with the noisy flank simulated, too."""

    time, refinement, start = 10.0, 8, 0.1
    simulated = "noisy flank: P(quiet), simulated"
    insensitive_because = (
        "P(quiet) is simulated with a wide margin, as a path takes hundreds of steps; the same probability from the Markov chain "
        "shows errors of a few ten-thousandths."
    )

    def margin(self, label: str) -> Margin:
        return Absolute(0.02)

    def measure(self, run: Run) -> Quantities:
        problem = Problem(_losses, _gradients, np.array([[1.0], [-1.0]]), np.array([self.start]), "two wells")
        coupling = Coupling(Minibatch(2, 1), STEP, (1,), round(self.time / STEP), self.refinement)
        (left,) = ensemble.run(_left, (problem, coupling), run.n_paths, rng=run.at("paths"), reduce=ensemble.concatenate)
        found = {}
        for case, bump in CASES.items():
            share, ratio = _by_chain(bump)
            found[f"{case}: P(quiet)"] = Computed(share, approximation=5e-5)
            found[f"{case}: log p(−1)/p(1)"] = Computed(ratio, approximation=5e-4)
        return {**found, self.simulated: Proportion(int(left.sum()), run.n_paths)}

    def published(self) -> Predictions:
        labels = [label for label in self._predicted(_drift) if "P(quiet)" in label]
        return dict.fromkeys(labels, AtLeast(0.5))

    def corrected(self) -> Predictions:
        return self._predicted(_drift)

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        right = self._predicted(_drift)
        yield "both alike", {label: 0.5 if "P(quiet)" in label else 0.0 for label in right}
        yield "the other one", {label: 1 - number(p) for label, p in right.items() if "P(quiet)" in label}
        yield "Σ^{−1/2} for Σ⁻¹ (Stratonovich)", self._predicted(lambda bump: _with_extra_force(bump, 0.25))
        yield "without Σ⁻¹", self._predicted(lambda bump: _with_extra_force(bump, 0.5))
        yield "the prefactor alone", self._ratios(_prefactor)
        yield "the way alone", self._ratios(lambda bump: _way(_drift(bump), bump))

    def _predicted(self, force: Callable[[float], Callable[[np.ndarray], np.ndarray]]) -> Predictions:
        shares = {
            case: StationaryDensity(force(bump), functools.partial(_variance, bump=bump), -6, 9).probability(-6, 0)
            for case, bump in CASES.items()
        }
        return {
            **{f"{case}: P(quiet)": share for case, share in shares.items()},
            **self._ratios(lambda bump: _prefactor(bump) + _way(force(bump), bump)),
            self.simulated: shares["noisy flank"],
        }

    @staticmethod
    def _ratios(of: Callable[[float], float]) -> dict[str, float]:
        return {f"{case}: log p(−1)/p(1)": of(bump) for case, bump in CASES.items()}


def _variance(x: np.ndarray, bump: float) -> np.ndarray:
    return STEP * amplitude(x, bump) ** 2


def _drift(bump: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda x: WELLS.gradient(x)[0]


def _with_extra_force(bump: float, power: float) -> Callable[[np.ndarray], np.ndarray]:
    """Drift of a density that has 1/Σ to the power 1 − 2·power: less power·(ηΣ)′."""

    def force(x: np.ndarray) -> np.ndarray:
        z = (x - CENTRE) / WIDTH
        of_amplitude = AMPLITUDE * (ASYMMETRY / np.cosh(x) ** 2 - bump * 2 * z / WIDTH * np.exp(-(z**2)))
        return WELLS.gradient(x)[0] - power * 2 * STEP * amplitude(x, bump) * of_amplitude

    return force


def _prefactor(bump: float) -> float:
    """Logarithm of Σ(1)/Σ(−1)."""
    return 2 * float(np.log(amplitude(np.array(1.0), bump) / amplitude(np.array(-1.0), bump)))


def _way(force: Callable[[np.ndarray], np.ndarray], bump: float) -> float:
    """2∫L′/(ηΣ) from −1 to 1."""
    integral, _ = scipy.integrate.quad(lambda x: force(np.array(x)) / _variance(np.array(x), bump), -1, 1, epsabs=1e-10)
    return 2 * float(integral)


@functools.cache
def _by_chain(bump: float) -> tuple[float, float]:
    """P(θ < 0) and log p(−1)/p(1) of Euler–Maruyama after a long time, extrapolated to a step of zero."""

    def after(h: float) -> np.ndarray:
        law = EulerLaw(WELLS, functools.partial(_variance, bump=bump), 0.0, h, round(40 / h), reach=5.0)
        left, right = scipy.interpolate.CubicSpline(law.nodes, law.densities[-1])([-1.0, 1.0])
        return np.array([law.probability([(-np.inf, 0.0)]), np.log(left / right)])

    share, ratio = (8 * after(0.0025) - 6 * after(0.005) + after(0.01)) / 3
    return float(share), float(ratio)
