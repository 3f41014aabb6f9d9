"""The constants in the proof of Theorem 3 of wu2019."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from gradnoise.claims.claim import Claim, Predictions, Quantities, Run, claim
from gradnoise.claims.instances import search_minimum
from gradnoise.claims.judgement import Computed
from gradnoise.claims.prediction import Absolute, AtMost, Margin
from gradnoise.simulations import sde
from gradnoise.simulations.sde.standard_problems import logistic
from gradnoise.theory.diffusion import (
    AugmentedMoments,
    CircleLosses,
    geometric_motion,
    sharp_strong_error_bound,
    strong_error_bound,
)
from gradnoise.theory.sampling import Gaussian

_ROUNDING = 1e-9

Bound = Callable[[float, float, float, float], float]  # of step size, time, L and M


def third_order(bound: Bound) -> Bound:
    """Wrong: a bound with (ηL)η² for η²."""
    return lambda eta, T, L, M: eta * L * bound(eta, T, L, M)


def without_growth(eta: float, T: float, L: float, M: float) -> float:
    """Wrong: the corrected bound without its exponential."""
    return 16 * (T + eta) * L**2 * M**2 * T * eta**2


def first_order_in_time(eta: float, T: float, L: float, M: float) -> float:
    """Wrong: the sharper bound to first order in T."""
    return 2 * M**2 * eta**2 * (1 + 2 * eta * L) * L * T


def loose(bound: float) -> AtMost:
    """Return a bound that no motion that we know attains, as Gronwall's inequality is not attained by one."""
    return AtMost(bound, tightness="not known to be attained")


@dataclass(frozen=True)
class Motion:
    """M-SGD on ℓ = ± θ²/2, whose error has a closed form, from θ = 1 with b = 1."""

    label: str
    sign: int
    step_size: float
    n_steps: int

    def error(self) -> float:
        """Exact mean square at the end."""
        return geometric_motion.strong_error(self.sign, self.step_size, self.n_steps, 1, 1.0)

    def bound(self, bound: Bound) -> float:
        """Bound of any kind on it, with the root mean square of the gradients for M."""
        M = math.sqrt(geometric_motion.mean_square_gradient(self.sign, self.step_size, self.n_steps, 1, 1.0))
        return bound(self.step_size, self.n_steps * self.step_size, 1.0, M)


SLOW = Motion("θ²/2, η = 10⁻³, T = 0.5", +1, 1e-3, 500)
GROWING = Motion("−θ²/2, η = 1, T = 10", -1, 1.0, 10)


@claim(
    "wu2019.eq81",
    "E‖Θ_kη − θ_k‖² ≤ 16(1+η)L²M²T e^{4(1+η)L²T} η²",
    kind="inequality",
    source="Eqs. (76), (81)",
    expected="refuted",
    corrected="It is so with (T+η) for (1+η), twice",
)
class StrongErrorIsBoundedAsPrinted(Claim):
    """A Huber loss of curvature L = 10⁻³ or less, capped where its slope is M = 1, of one sample, b = 1; and random problems.

    From 0.99 M/L no path meets the cap within T, but for a probability below exp(−2 · 0.01/(L η)), so that the closed form for
    the quadratic holds.
    """

    cases: tuple[tuple[str, float, float, float], ...] = (
        ("Huber, T = 1000, η = 0.1", 1e-3, 1e3, 0.1),
        ("Huber, T = 80, η = 0.01", 1e-4, 80.0, 0.01),
        ("Huber, T = 1000, η = 10⁻³", 1e-3, 1e3, 1e-3),
    )
    on_random = "largest error / corrected bound, random least squares and the line"

    def measure(self, run: Run) -> Quantities:
        found = {label: self._error(L, T, eta) for label, L, T, eta in self.cases}
        on_line = [worst_on_line(sign, strong_error_bound) for sign in (+1, -1)]
        found[self.on_random] = max(*ratios(run.generator(), run.n_instances, strong_error_bound), *on_line)
        found |= {motion.label: motion.error() for motion in (SLOW, GROWING)}
        return {label: Computed(value, rounding=_ROUNDING * value) for label, value in found.items()}

    def published(self) -> Predictions:
        return self._bounds(lambda eta, T, L, M: strong_error_bound(eta, T, L, M, published=True))

    def corrected(self) -> Predictions:
        motions = {motion.label: loose(motion.bound(strong_error_bound)) for motion in (SLOW, GROWING)}
        return {**self._bounds(strong_error_bound), self.on_random: loose(1.0), **motions}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "(ηL)η² for η²", {SLOW.label: AtMost(SLOW.bound(third_order(strong_error_bound)))}
        yield "without the exponential", {GROWING.label: AtMost(GROWING.bound(without_growth))}
        yield "a twentieth of the bound", {self.on_random: AtMost(0.05)}

    def _bounds(self, bound: Bound) -> Predictions:
        return {label: loose(bound(eta, T, L, 1.0)) for label, L, T, eta in self.cases}

    @staticmethod
    def _error(L: float, T: float, eta: float) -> float:
        return geometric_motion.strong_error(L, eta, round(T / eta), 1, 0.99 / L)


@claim(
    "wu2019.eq81-sharper",
    "Sharper: E‖Θ_kη − θ_k‖² ≤ 2M²η² (1+2ηL)/(3+2ηL) (e^{(3+2ηL)LT} − 1), and 2M²η² (e^{(1+2ηL)LT} − 1) for convex losses",
    kind="inequality",
    source="Eq. (81), sharper",
)
class StrongErrorIsBoundedSharply(Claim):
    """Largest ratios of exact errors to the bound: random least squares, the worst motion on the line, and simulations."""

    pilot_paths = 4_096
    on_random, on_line = "random least squares, convex", "worst on the line, convex"
    on_saddles, simulated = "worst on the line, not convex", "logistic regression, convex"

    def margin(self, label: str) -> Margin:
        return Absolute(0.2)

    def measure(self, run: Run) -> Quantities:
        generator = run.generator()
        random = max(ratios(generator, run.n_instances, convex_bound))
        return {
            self.on_random: Computed(random, rounding=_ROUNDING),
            self.on_line: Computed(worst_on_line(+1, convex_bound), rounding=_ROUNDING),
            self.on_saddles: Computed(worst_on_line(-1, sharp_strong_error_bound), rounding=_ROUNDING),
            self.simulated: self._logistic(run),
            **{m.label: Computed(m.error(), rounding=_ROUNDING * m.error()) for m in (SLOW, GROWING)},
        }

    def published(self) -> Predictions:
        ratios = dict.fromkeys((self.on_random, self.on_line, self.on_saddles, self.simulated), loose(1.0))
        return {
            **ratios,
            SLOW.label: loose(SLOW.bound(convex_bound)),
            GROWING.label: loose(GROWING.bound(sharp_strong_error_bound)),
        }

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "(ηL)η² for η²", {SLOW.label: AtMost(SLOW.bound(third_order(convex_bound)))}
        yield "the bound to first order in T", {GROWING.label: AtMost(GROWING.bound(first_order_in_time))}
        yield "a twentieth of the convex bound", {self.on_line: AtMost(0.05)}
        yield "a twentieth of the other bound", {self.on_saddles: AtMost(0.05)}

    @staticmethod
    def _logistic(run: Run):
        problem, eta, T = logistic(n=4), 1 / 8, 1.0
        sizes = np.linalg.norm(problem.data, axis=1)
        bound = convex_bound(eta, T, float(sizes.max() ** 2 / 4), float(sizes.max()))
        study = sde.strong_error(
            problem, [eta], T, run.n_paths, batch_size=Gaussian(4, 1, centered=False), rng=run.at("logistic regression"),
            refinement=4,
        )  # fmt: skip
        return study.moments.along(np.array([1 / bound]))


def convex_bound(eta: float, T: float, L: float, M: float) -> float:
    """The sharper bound for convex losses."""
    return sharp_strong_error_bound(eta, T, L, M, convex=True)


def ratios(generator: np.random.Generator, n_instances: int, bound: Bound) -> Iterator[float]:
    """Exact error over bound for random least squares, M being the root mean square of the gradients along the iterates."""
    for _ in range(n_instances):
        n, d = int(generator.integers(1, 5)), int(generator.integers(1, 4))
        X, y = generator.standard_normal((n, d)), generator.standard_normal(n)
        L = float((X**2).sum(axis=1).max())
        n_steps = int(generator.integers(1, 20))
        eta = 10 ** generator.uniform(-2, 0) / L
        noise = Gaussian(n, int(generator.integers(1, 4)), centered=bool(generator.integers(2)))
        moments = AugmentedMoments(X, y, noise, eta)
        start = moments.start(3 * generator.standard_normal(d))
        M, squares = start, []
        for _ in range(n_steps):
            squares.append(moments.mean_square_gradient(M))
            M = moments.step(M)
        yield moments.strong_error(start, n_steps) / bound(eta, n_steps * eta, L, math.sqrt(max(squares)))


def worst_on_line(sign: int, bound: Bound) -> float:
    """Largest error over bound that is found for ℓ = ± θ²/2 over step size, time and batch size."""

    def ratio(x: np.ndarray) -> float:
        eta, time, b = float(np.exp(np.clip(x[0], -9.0, 1.0))), float(np.exp(min(x[1], 2.0))), 1 + float(np.exp(min(x[2], 20)))
        n_steps = max(1, min(round(time / eta), 5_000))
        M = math.sqrt(geometric_motion.mean_square_gradient(sign, eta, n_steps, b, 1.0))
        return geometric_motion.strong_error(sign, eta, n_steps, b, 1.0) / bound(eta, n_steps * eta, 1.0, M)

    starts = [np.array(x, dtype=np.float64) for x in ((-3, 0, 0), (-1, 0, -5), (-6, 0, 5), (-2, 1, -5), (0, 1, -5))]
    return -search_minimum(lambda x: -ratio(x), starts, evaluations=150)[0]


@claim(
    "wu2019.thm3-bounded",
    "ℓ_i bounded by K with an L-Lipschitz gradient have bounded gradients; sharp: M = √(2LK)",
    kind="inequality",
    source="Theorem 3 and its rigorous statement",
)
class BoundedLossesHaveBoundedGradients(Claim):
    """max|ℓ′|/√(K L) on random trigonometric losses, and on two parabolic arcs, where Landau's sharp √2 is attained."""

    largest = "largest max|ℓ′|/√(KL)"

    def measure(self, run: Run) -> Quantities:
        generator = run.generator()
        ratios = [self._arcs(), *(self._random(generator) for _ in range(run.n_instances))]
        return {self.largest: Computed(max(ratios), rounding=_ROUNDING)}

    def published(self) -> Predictions:
        return {self.largest: AtMost(math.sqrt(2))}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "√(LK)", {self.largest: AtMost(1.0)}
        yield "1 % below √(2LK)", {self.largest: AtMost(0.99 * math.sqrt(2))}

    @staticmethod
    def _random(generator: np.random.Generator) -> float:
        """Smallest K for a loss is half its range, as a constant may be added; L and M are maxima over a fine grid."""
        h = int(generator.integers(1, 5))
        losses = CircleLosses(generator.standard_normal((1, h)), generator.uniform(0, 2 * math.pi, (1, h)))
        theta = np.linspace(0, 2 * math.pi, 2_001)
        values, slopes, curvatures = losses.losses(theta), losses.gradients(theta), losses.curvatures(theta)
        # The grid's smallest K and L could be too small by (h Δθ)²/8 of themselves; the ratio is made safe against it.
        slack = 1 - (h * math.pi / 2_000) ** 2
        K, L = (values.max() - values.min()) / 2, np.abs(curvatures).max()
        return float(np.abs(slopes).max() * slack / math.sqrt(K * L))

    @staticmethod
    def _arcs() -> float:
        """Curvature L up to the middle and −L from there to the top, where both ends are flat; then back, and so on."""
        K, L = 0.7, 3.0
        rise = math.sqrt(2 * K / L)  # a loss of slope zero rises by K in this time
        upwards = np.linspace(0, rise, 2)
        slopes = np.concatenate([L * upwards, L * upwards[::-1]])
        gained = L * rise**2 / 2 + (L * rise * rise - L * rise**2 / 2)
        return float(np.abs(slopes).max() / math.sqrt(gained / 2 * L))
