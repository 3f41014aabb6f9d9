"""Claims of zhu2019 on Eq. (11) and its proof in Appendix A.1: Itô's formula for the loss, and what it needs."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np
import scipy

from gradnoise.claims.claim import Claim, Predictions, Quantities, Run, claim
from gradnoise.claims.judgement import Computed
from gradnoise.claims.prediction import Absolute, Margin
from gradnoise.claims.zhu2019.double_well import WELL, local_minimum
from gradnoise.simulations import ensemble, langevin
from gradnoise.simulations.sampling import product_rule
from gradnoise.simulations.statistics import Estimate, Proportion
from gradnoise.theory import escape
from gradnoise.theory.escape import EulerLaw, PlanarLandscape


@claim(
    "zhu2019.eq11",
    "E[L(θ_t) − L(θ_0)] = −∫E‖∇L‖² + ½∫E Tr(HΣ), without explosion and with square-integrable ∇LᵀΣ^½",
    kind="comparison",
    source="Eq. (11)",
)
class LossBalances(Claim):
    """Left side minus right side, simulated, for a quadratic and for the double well."""

    quadratic = PlanarLandscape(quadratic=0.5, stiffness=1.5, shear=0.7)
    covariance = np.array([[0.9, 0.3], [0.3, 0.4]])
    noise, step_size, n_steps = 0.6, 0.001, 1000

    def margin(self, label: str) -> Margin:
        return Absolute(0.02)

    def measure(self, run: Run) -> Quantities:
        cases = (self.quadratic, self.covariance, (0, 0)), (WELL, np.diag([self.noise, 0]), (local_minimum(), 0))
        found = {}
        for name, case in zip(("Ornstein–Uhlenbeck", "double well"), cases, strict=True):
            p = langevin.simulate(*case, self.step_size, self.n_steps, run.n_paths, rng=run.at(name))
            found[name] = Estimate.of(p.increase + p.dissipation - p.injection / 2)
        return found

    def published(self) -> Predictions:
        return {"Ornstein–Uhlenbeck": 0.0, "double well": 0.0}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        # If a twin's formula held, the balance would be off by what it adds to the right side.
        injection, dissipation = self._terms()
        yield "Itô's term without its ½", {k: x / 2 for k, x in injection.items()}
        yield "without the dissipation", dissipation
        yield "half the dissipation", {k: x / 2 for k, x in dissipation.items()}

    def _terms(self) -> tuple[dict[str, float], dict[str, float]]:
        """∫E Tr(HΣ) and ∫E‖∇L‖², in closed form or by quadrature."""
        t = self.step_size * self.n_steps
        hessian = self.quadratic.hessian(0.0)
        injection = t * escape.indicator(hessian, self.covariance)
        loss = float(escape.loss_increase(hessian, self.covariance, t))
        law = EulerLaw(WELL, self.noise, local_minimum(), self.step_size, self.n_steps)
        quartic = law.time_integral(lambda x: self.noise * WELL.quartic * (3 * x**2 - 1))
        squared = law.time_integral(lambda x: WELL.gradient(x)[0] ** 2)
        return (
            {"Ornstein–Uhlenbeck": injection, "double well": quartic},
            {"Ornstein–Uhlenbeck": injection / 2 - loss, "double well": squared},
        )


@claim(
    "zhu2019.eq11-state",
    "Eq. (11) also holds for Σ(θ), if noise is taken before the step (Itô); in Stratonovich's reading ¼∫E L′Σ′ is added",
    kind="exact",
    source="Eqs. (9) and (11), with Σ_t = Σ(θ_t)",
)
class LossBalancesWhereNoiseDepends(Claim):
    """Exact expectations of two schemes on a double well: noise as before the step, or its mean before and after it."""

    ito, stratonovich = "left − right side, Itô", "left − right side, Stratonovich"
    at_rest, growth = 0.3, 0.3  # Σ = 0.3 + 0.3x²
    landscape = PlanarLandscape(quadratic=0.15, quartic=1.0, tilt=0.2)
    start, time, step_size, reach = 0.8, 1.0, 0.01, 3.0

    def measure(self, run: Run) -> Quantities:
        def limit(midway: bool) -> Computed:
            coarse, fine = (self._imbalance(h, midway) for h in (self.step_size, self.step_size / 2))
            return Computed(2 * fine - coarse, approximation=5e-4)

        return {self.ito: limit(False), self.stratonovich: limit(True)}

    def published(self) -> Predictions:
        return {self.ito: 0.0, self.stratonovich: self._correction()}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        correction = self._correction()
        yield "in Stratonovich's reading, too", {self.stratonovich: 0.0}
        yield "½ for ¼", {self.stratonovich: 2 * correction}
        yield "the two exchanged", {self.ito: correction, self.stratonovich: 0.0}

    def _noise(self, x: np.ndarray) -> np.ndarray:
        return self.at_rest + self.growth * x**2

    def _correction(self) -> float:
        """¼∫E L′Σ′, by the law of Itô's equation with the drift −L′ + ¼Σ′, which is Stratonovich's process."""
        drifted = PlanarLandscape(quadratic=self.landscape.quadratic - self.growth / 2, quartic=1.0, tilt=0.2)
        rates = []
        for h in (self.step_size, self.step_size / 2):
            law = EulerLaw(drifted, self._noise, self.start, h, round(self.time / h), self.reach + 1)
            rates.append(law.time_integral(lambda x: self.landscape.gradient(x)[0] * self.growth * x / 2))
        return 2 * rates[1] - rates[0]

    def _imbalance(self, h: float, midway: bool) -> float:
        """E[L(θ_t) − L(θ_0)] + ∫E L′² − ½∫E L″Σ, of functions on a grid that a step maps to their expectations."""
        x = np.linspace(-self.reach, self.reach, 601)
        step, slope = self._step(x, h, midway), self.landscape.gradient(x)[0]
        curvature = self.landscape.quadratic + 3 * x**2 - 1
        rate, total, later = h * (slope**2 - curvature * self._noise(x) / 2), np.zeros_like(x), self.landscape.loss(x)
        for _ in range(round(self.time / h)):
            total, later = rate + step @ total, step @ later
        change = scipy.interpolate.CubicSpline(x, total + later)(self.start)
        return float(change - self.landscape.loss(self.start))

    def _step(self, x: np.ndarray, h: float, midway: bool) -> np.ndarray:
        """Matrix that maps values at the nodes to their expectations after a step from each, by splines and Gauss–Hermite."""
        law = product_rule(dimension=1)
        increments = np.sqrt(h) * law.vectors[:, 0]
        here = np.sqrt(self._noise(x))[:, np.newaxis]
        noise = (here + np.sqrt(self._noise(x[:, np.newaxis] + here * increments))) / 2 if midway else here
        ends = x[:, np.newaxis] - h * self.landscape.gradient(x)[0][:, np.newaxis] + noise * increments
        spline = scipy.interpolate.CubicSpline(x, np.eye(len(x)))
        return np.einsum("iqj,q->ij", spline(np.clip(ends, x[0], x[-1])), law.probabilities)


@claim(
    "zhu2019.appendix-a1",
    "L ∈ C² is enough for Itô's formula to give Eq. (11)",
    kind="comparison",
    source="Appendix A.1",
    expected="refuted",
    corrected="It needs paths that do not explode: with L = −θ⁴ and Σ = 1 all do, after a mean time of 0.82, and 73 % by t = 1",
)
class SmoothnessIsNotEnough(Claim):
    """Paths that alternate between the drift's exact flow and the noise; and the mean time on a fine chain of points."""

    step_size = 0.01
    half, one, mean = "share exploded by t = ½", "share exploded by t = 1", "mean time of explosion"

    def margin(self, label: str) -> Margin:
        return Absolute(0.01)

    def measure(self, run: Run) -> Quantities:
        n_steps = round(1 / self.step_size)
        study = self.step_size, n_steps
        (time,) = ensemble.run(_explode, study, run.n_paths, rng=run.at("paths"), reduce=ensemble.concatenate)
        shares = {label: Proportion(int((time <= t).sum()), run.n_paths) for label, t in ((self.half, 0.5), (self.one, 1))}
        return {**shares, self.mean: Computed(_chain_mean(), approximation=1e-3)}

    def published(self) -> Predictions:
        return {self.half: 0.0, self.one: 0.0}

    def corrected(self) -> Predictions:
        half, one = _chain_shares()
        return {self.half: half, self.one: one, self.mean: _mean_time()}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        half, _ = _chain_shares()
        yield "no path explodes by t = ½", {self.half: 0.0, self.one: half}
        yield "with a constant rate", {self.one: 1 - (1 - half) ** 2}
        yield "a mean time of 1", {self.mean: 1.0}


def _explode(n_paths: int, generator: np.random.Generator, h: float, n_steps: int) -> tuple[np.ndarray, ...]:
    """Time to infinity of each path of dθ = 4θ³dt + dW from zero, infinite where that is later."""
    theta, time = np.zeros(n_paths), np.full(n_paths, np.inf)
    for k in range(n_steps):
        theta = _flow(theta, time, k * h, h / 2) + np.sqrt(h) * generator.standard_normal(n_paths)
        theta = _flow(theta, time, (k + 0.5) * h, h / 2)
    return (time,)


def _flow(theta: np.ndarray, time: np.ndarray, now: float, span: float) -> np.ndarray:
    """Solution of θ′ = 4θ³ after a span, zero where it is at infinity before; when that is, is written into `time`."""
    left = 1 - 8 * span * theta**2
    gone = (left <= 0) & np.isinf(time)
    time[gone] = now + 1 / (8 * theta[gone] ** 2)
    return np.where(np.isinf(time), theta / np.sqrt(np.where(left > 0, left, 1)), 0)


_END, _SPACING = 5.0, 0.01
_FROM_END = 1 / (8 * _END**2)  # time from there to infinity; noise does not matter any more


def _chain() -> np.ndarray:
    """Generator of jumps between neighbours on (−5, 5) that is lost at the ends, (3, g), its diagonals as LAPACK wants them."""
    x = np.arange(-_END + _SPACING, _END - _SPACING / 2, _SPACING)
    drift = 8 * _SPACING * x**3 + 1e-300
    up, down = (y / np.expm1(y) / (2 * _SPACING**2) for y in (-drift, drift))
    return np.array([np.append(0, up[:-1]), -up - down, np.append(down[1:], 0)])


def _chain_mean() -> float:
    rates = _chain()
    return float(scipy.linalg.solve_banded((1, 1), rates, -np.ones(rates.shape[1]))[rates.shape[1] // 2]) + _FROM_END


@functools.cache
def _chain_shares() -> tuple[float, float]:
    """Shares that are lost by t = ½ and by t = 1, by the trapezoidal rule in time."""
    rates, found = _chain(), []
    for t in (0.5, 1.0):
        n_steps = 2_000
        half = (t - _FROM_END) / n_steps / 2
        left, right = -half * rates, half * rates
        left[1] += 1
        right[1] += 1
        kept = np.ones(rates.shape[1])
        for _ in range(n_steps):
            moved = right[1] * kept
            moved[:-1] += right[0, 1:] * kept[1:]
            moved[1:] += right[2, :-1] * kept[:-1]
            kept = scipy.linalg.solve_banded((1, 1), left, moved)
        found.append(1 - float(kept[len(kept) // 2]))
    return found[0], found[1]


def _mean_time() -> float:
    """Mean time to infinity from zero, 2∫₀^∞ ∫₀^y exp(2z⁴ − 2y⁴) dz dy, where the paths' scale and speed put it."""

    def inner(y: float) -> float:
        return scipy.integrate.quad(lambda u: y * np.exp(2 * y**4 * (u**4 - 1)), 0, 1, points=[max(0, 1 - 1 / (1 + y**4))])[0]

    return 2 * sum(scipy.integrate.quad(inner, *ends, epsabs=1e-9)[0] for ends in ((0, 2), (2, 20))) + 1 / (8 * 20**2)
