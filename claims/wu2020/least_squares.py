"""Section 3 of wu2020, and what it says of least squares beyond the bound: assumptions, equal risks, and how fast they fall."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import scipy

from gradnoise.claims.claim import Claim, Predictions, Quantities, Run, claim, computed
from gradnoise.claims.generic import generic_sizes
from gradnoise.claims.judgement import Computed
from gradnoise.claims.prediction import AtLeast, AtMost
from gradnoise.claims.wu2020.problems import (
    LISTED_STEP,
    SIMULATED_STEP,
    WRONG_WEIGHTS,
    classes,
    listed_data,
    listed_problem,
    simulated_problem,
    without_fourth_moment,
)
from gradnoise.simulations import least_squares
from gradnoise.simulations.least_squares import excess_risks
from gradnoise.simulations.sampling import Outcomes, outcomes
from gradnoise.theory.least_squares import FiniteLeastSquares, WeightMoments
from gradnoise.theory.sampling import Bernoulli, Gaussian, Minibatch, SamplingNoise, StudentT

#: B and b where all paths are listed, and where they are simulated.
LISTED, SIMULATED = generic_sizes((3, 2), (7, 3))

_BEYOND_ROUNDING = 1e-9


@claim(
    "wu2020.a3",
    "A1 and A2 hold for bounded data with R = max‖x‖ and σ = max|ε|, A2 in a well-specified model with σ² = Var ε; sharper: A1 "
    "gives A3 with λ = R²",
    kind="inequality",
    source="Assumptions A1 to A3 and the remark on them",
)
class AssumptionsHoldForBoundedData(Claim):
    """Sharp constants over those of the remark: random sample spaces, single points, and all pairs of features and residuals."""

    radius, noise = "largest R² / max‖x‖²", "largest σ² / max ε²"
    eigenvalue, well_specified = "largest λ / R²", "σ² / Var ε, well-specified"
    residuals = np.array([-1.0, -0.5, 1.5])

    def measure(self, run: Run) -> Quantities:
        generator = run.generator()
        spaces = [self._random(generator) for _ in range(run.n_instances)]
        # A single point, with two labels: no feature is shorter than R, and no residual smaller than σ.
        spaces.append(FiniteLeastSquares([[1.0, -2.0], [1.0, -2.0]], [1.0, -1.0], [0.0, 0.0]))
        ratios = np.array([self._ratios(space) for space in spaces]).max(axis=0)
        found = dict(zip((self.radius, self.noise, self.eigenvalue), ratios.tolist(), strict=True))
        found[self.well_specified] = self._independent(generator.standard_normal((4, 3)))
        return {label: Computed(value, rounding=1e-9) for label, value in found.items()}

    def published(self) -> Predictions:
        return {**dict.fromkeys((self.radius, self.noise, self.eigenvalue), AtMost(1.0)), self.well_specified: 1.0}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        for label in (self.radius, self.noise, self.eigenvalue):
            yield f"{label} ≤ 0.99", {label: AtMost(0.99)}
        yield "Σ ⪯ R²I/2", {self.eigenvalue: AtMost(0.5)}
        largest, variance = float((self.residuals**2).max()), float((self.residuals**2).mean())
        yield "σ = max|ε| in well-specified models, too", {self.well_specified: largest / variance}

    @staticmethod
    def _random(generator: np.random.Generator) -> FiniteLeastSquares:
        m = int(generator.integers(4, 8))  # more than a plane fits
        return FiniteLeastSquares(generator.standard_normal((m, 3)) * 3, generator.standard_normal(m), np.zeros(3))

    @staticmethod
    def _ratios(space: FiniteLeastSquares) -> tuple[float, float, float]:
        a = space.assumptions()
        residuals = space.targets - space.features @ space.optimum
        longest, largest = float((space.features**2).sum(axis=1).max()), float((residuals**2).max())
        return a.radius_squared / longest, a.noise_variance / largest, a.largest_eigenvalue / a.radius_squared

    def _independent(self, features: np.ndarray) -> float:
        """σ² over the variance of residuals of mean zero that come with all features alike."""
        X = np.repeat(features, len(self.residuals), axis=0)
        y = X @ np.ones(X.shape[1]) + np.tile(self.residuals, len(features))
        return FiniteLeastSquares(X, y, np.zeros(X.shape[1])).assumptions().noise_variance / float((self.residuals**2).mean())


@claim(
    "wu2020.thm1-equality",
    "Sharper: the exact excess risks are equal at every n, for every W whose E[W], E[WWᵀ], given data and past, are its",
    kind="comparison",
    source="Theorem 1",
)
class RisksAreEqual(Claim):
    """All paths of two steps on three points; simulated risks of four classes after 1, 4 and 12 steps; and many steps.

    Of the many, moments of a step over all its batches are followed one by one, where the theory takes powers of its matrix.
    """

    listed_steps, steps = 2, (1, 4, 12)
    deterministic, data_dependent = "deterministic weights ⅔, ⅙, ⅙", "all paths, W leaves out the longest x"
    many = "one step at a time, SGD of b = 2, n = 30,000"
    many_steps, many_step, many_batch = 30_000, 1.5, 2

    def measure(self, run: Run) -> Quantities:
        B, b = LISTED
        laws = {name: outcomes(noise) for name, noise in classes(B, b).items()}
        laws[self.deterministic] = Outcomes(np.array([[2 / 3, 1 / 6, 1 / 6]]), np.ones(1))
        found: dict[str, Any] = {}
        for name, law in laws.items():
            found |= self._listed(f"all paths, {name}", lambda _, law=law: law, B)
        found |= self._listed("all paths, SGD", lambda _: Outcomes(np.full((1, b), 1 / b), np.ones(1)), b)
        found |= self._listed(self.data_dependent, _without_longest, B)
        risk = risk_step_by_step(rarely_long(), self.many_step, self.many_batch, self.many_steps)
        found[self.many] = Computed(risk, rounding=1e-9 * risk)
        for name, noise in classes(*SIMULATED).items():
            curve = least_squares.simulate_curve(
                simulated_problem(), noise, SIMULATED_STEP, self.steps, run.n_paths, rng=run.at(name)
            )
            found |= {f"simulated, {name}, n = {n}": estimate for n, estimate in zip(self.steps, curve.averaged, strict=True)}
        return found

    def published(self) -> Predictions:
        # Over the data this W, too, has the moments of SGD; given them it has not, and another risk.
        other = risk_by_moments(listed_problem(), _without_longest, LISTED[0], LISTED_STEP, self.listed_steps)
        risks = self._predicted(lambda B, b: WeightMoments.minibatch(b))
        return {**risks, self.data_dependent: other, self.many: self._many()}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        for name, weights in WRONG_WEIGHTS.items():
            yield name, self._predicted(weights)
        equal = listed_problem().excess_risk(LISTED_STEP, LISTED[1], self.listed_steps)
        yield "the same covariance, not given the data, is enough", {self.data_dependent: equal}
        yield "bias and variance correlated the other way", {self.many: self._many(sign=-1)}
        yield "uncorrelated, as in a well-specified model", {self.many: self._many(sign=0)}
        yield "B for b, after many steps", {self.many: self._many(batch=3)}
        wrong = without_fourth_moment().excess_risk(SIMULATED_STEP, SIMULATED[1], self.steps)
        yield "the recursion without its fourth-moment term", self._curves(wrong)

    def _many(self, batch: int = many_batch, sign: int = 1) -> float:
        """Bias, variance, and cross term, times a sign."""
        parts = rarely_long().risk_parts(self.many_step, batch, self.many_steps)
        return float(parts.bias + parts.variance + sign * parts.cross)

    def _listed(self, label: str, weights: Callable[[np.ndarray], Outcomes], n_samples: int) -> dict[str, Any]:
        return computed(label, excess_risks(listed_problem(), weights, LISTED_STEP, self.listed_steps, n_samples=n_samples)[-1])

    def _predicted(self, weights: Callable[[int, int], WeightMoments]) -> Predictions:
        listed = listed_problem().excess_risk(LISTED_STEP, weights(*LISTED), self.listed_steps)
        names = [*classes(*LISTED), self.deterministic, "SGD"]
        predicted: dict[str, float] = {f"all paths, {name}": listed for name in names}
        return {**predicted, **self._curves(simulated_problem().excess_risk(SIMULATED_STEP, weights(*SIMULATED), self.steps))}

    def _curves(self, risks: np.ndarray) -> Predictions:
        at = dict(zip(self.steps, risks, strict=True))
        return {f"simulated, {name}, n = {n}": float(risk) for name in classes(*SIMULATED) for n, risk in at.items()}


@functools.cache
def rarely_long() -> FiniteLeastSquares:
    """One feature, of which one value in ten thousand alone can tell much; no line fits it and the others."""
    return FiniteLeastSquares([[1.0], [0.005]], [0.0, 1.0], [45.0], [1e-4, 1 - 1e-4])


def risk_step_by_step(problem: FiniteLeastSquares, step_size: float, batch: int, n_steps: int) -> float:
    """Excess risk of the mean of all iterates for one feature, from δ ← Aδ + B with A and B listed over all minibatches."""
    x, p = problem.features[:, 0], problem.probabilities
    best = float(p @ (x * problem.targets) / (p @ x**2))
    residuals = problem.targets - best * x
    batches = np.array(list(itertools.product(range(len(x)), repeat=batch)))
    A, B = 1 - step_size * (x**2)[batches].mean(axis=1), step_size * (x * residuals)[batches].mean(axis=1)
    chances = p[batches].prod(axis=1)
    a, aa, ab, bb = (float(chances @ v) for v in (A, A**2, A * B, B**2))  # E B = 0 at the optimum
    mean = float(problem.initial[0]) - best
    square = with_sum = total = mean**2  # E δ², E δs and E s², with the sum s of all so far
    for _ in range(n_steps):
        square = aa * square + 2 * ab * mean + bb
        mean *= a
        total += 2 * a * with_sum + square
        with_sum = a * with_sum + square
    return float(p @ x**2) * total / (2 * (n_steps + 1) ** 2)


def _without_longest(features: np.ndarray) -> Outcomes:
    """1/b for all samples but the longest, ties at random: over the data, the covariance of a minibatch."""
    length = (features**2).sum(axis=1)
    longest = np.flatnonzero(length >= length.max() * (1 - 1e-12))
    vectors = np.full((len(longest), len(features)), 1 / (len(features) - 1))
    vectors[np.arange(len(longest)), longest] = 0.0
    return Outcomes(vectors, np.full(len(longest), 1 / len(longest)))


def risk_by_moments(
    problem: FiniteLeastSquares, weights: Callable[[np.ndarray], Outcomes], n_samples: int, step_size: float, n_steps: int
) -> float:
    """Excess risk of the averaged iterate for weights that may depend on the data, step by step and without any path.

    A step is linear in (θ_t, θ_0 + … + θ_t, 1), and so is its effect on their second moments.
    """
    X, y, d = problem.features, problem.targets, problem.features.shape[1]
    start = np.concatenate([problem.initial, problem.initial, [1.0]])
    moments = np.outer(start, start)
    steps = []
    for batch in map(list, itertools.product(range(len(X)), repeat=n_samples)):
        law = weights(X[batch])
        for w, p in zip(law.vectors, law.probabilities, strict=True):
            A, c = np.eye(d) - step_size * (X[batch].T * w) @ X[batch], step_size * X[batch].T @ (w * y[batch])
            step = np.block(
                [[A, np.zeros((d, d)), c[:, np.newaxis]], [A, np.eye(d), c[:, np.newaxis]], [np.eye(1, 2 * d + 1, 2 * d)]]
            )
            steps.append((p * problem.probabilities[batch].prod(), step))
    for _ in range(n_steps):
        moments = sum(p * step @ moments @ step.T for p, step in steps)
    to_error = np.hstack([np.zeros((d, d)), np.eye(d) / (n_steps + 1), -problem.optimum[:, np.newaxis]])
    errors = to_error @ moments @ to_error.T
    return float(0.5 * np.trace((X.T * problem.probabilities) @ X @ errors))


@claim(
    "wu2020.two-moments",
    "On a quadratic loss the risk depends on the noise through two moments",
    kind="comparison",
    source="Section 3",
)
class TwoMomentsDecide(Claim):
    """Each class has the risk that E Σw² and E(Σw)² give: all paths, on fresh samples and on fixed data, and simulated ones.

    That the fourth does not count is no small matter: a Student-t weight's is far from a normal one's, by moments of its law.
    """

    #: Degrees of freedom.
    tails = (6.5, 9.0)
    n_steps = 3
    #: B and b.
    listed, simulated = generic_sizes((3, 2), (6, 3))

    def measure(self, run: Run) -> Quantities:
        found: dict[str, Any] = {}
        for name, noise in _all_classes(*self.listed).items():
            law = outcomes(noise)
            for kind, n_samples in (("fresh samples", noise.n), ("fixed data", None)):
                risks = excess_risks(listed_data(), lambda _, law=law: law, LISTED_STEP, 2, n_samples=n_samples)
                found |= computed(f"all paths, {name}, {kind}", risks[-1])
        # The risk of the last one has no variance, so it is shown without a verdict.
        heavy = {"Student-t(3)": StudentT(*self.simulated, df=3, replacement=False)}
        for name, noise in {**_all_classes(*self.simulated), **heavy}.items():
            found[f"simulated, {name}"] = least_squares.simulate(
                simulated_problem(), noise, SIMULATED_STEP, self.n_steps, run.n_paths, rng=run.at(name)
            )
        laws = {df: scipy.stats.t(df) for df in self.tails}
        fourth = {df: float(law.moment(4) / law.moment(2) ** 2 - 3) for df, law in laws.items()}
        return {**found, **{label: Computed(fourth[df], rounding=1e-9) for label, df in self._fourth(lambda df: df).items()}}

    def published(self) -> Predictions:
        return {**self._predicted(lambda noise: noise), **self._fourth(self._stated)}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "the variance of a weight is enough, whatever the covariance", self._predicted(self._minibatch)
        yield "E(Σw)² = 1 for all", self._predicted(lambda noise: noise, fresh=_of_sum_one)
        yield "κ₄ = 6/(df − 2)", self._fourth(lambda df: 6 / (df - 2))
        yield "fresh samples are fixed data", self._predicted(lambda noise: noise, fixed=WeightMoments.fresh)

    def _fourth(self, of: Callable[[float], float]) -> dict[str, float]:
        """Fourth cumulants over squared variances, as a function of the degrees of freedom."""
        return {f"κ₄/κ₂² of a weight, Student-t({df:g})": of(df) for df in self.tails}

    def _stated(self, df: float) -> float:
        noise = StudentT(*self.simulated, df=df, centered=False)
        return float(noise.joint_cumulant((4,)) / noise.joint_cumulant((2,)) ** 2)

    def _minibatch(self, noise: SamplingNoise) -> SamplingNoise:
        return Minibatch(noise.n, next(b for B, b in (self.listed, self.simulated) if noise.n == B), replacement=False)

    def _predicted(
        self,
        stand_in: Callable[[SamplingNoise], SamplingNoise],
        fresh: Callable[[SamplingNoise], WeightMoments] = WeightMoments.fresh,
        fixed: Callable[[SamplingNoise], WeightMoments] = WeightMoments.fixed_data,
    ) -> Predictions:
        predicted: dict[str, float] = {}
        for name, noise in _all_classes(*self.listed).items():
            for kind, moments in (("fresh samples", fresh), ("fixed data", fixed)):
                predicted[f"all paths, {name}, {kind}"] = listed_data().excess_risk(LISTED_STEP, moments(stand_in(noise)), 2)
        for name, noise in _all_classes(*self.simulated).items():
            predicted[f"simulated, {name}"] = simulated_problem().excess_risk(
                SIMULATED_STEP, fresh(stand_in(noise)), self.n_steps
            )
        return predicted


def _of_sum_one(noise: SamplingNoise) -> WeightMoments:
    own = WeightMoments.fresh(noise).own
    return WeightMoments(own, 1 - own)


def _all_classes(B: int, b: int) -> dict[str, SamplingNoise]:
    """Those of `classes`, and independent weights, whose sum varies."""
    fisher = Gaussian(B, b, centered=False, replacement=False)
    return {**classes(B, b), "Fisher": fisher, "Bernoulli": Bernoulli(B, b)}


@claim(
    "wu2020.gaussian-faster",
    "Gaussian MSGD converges faster than SGD",
    kind="exact",
    source="Sections 4.1 and 4.6, read as the mean loss on a quadratic",
    expected="refuted",
    corrected="In mean loss MSGD-Cov equals SGD at every step, and MSGD-Fisher is above it at every step, by little for small η",
)
class GaussianIsFaster(Claim):
    """Excess risk of the last iterate over SGD's after 1 to 30 steps: random problems on fresh samples and on fixed data."""

    n_steps, B, b = 30, 8, 3
    settings = ("fresh samples", "fixed data")
    #: Of the largest stable step size; where Fisher noise adds least, it adds next to nothing.
    shares = (0.5, 0.005)

    def measure(self, run: Run) -> Quantities:
        generator = run.generator()
        found: dict[str, Any] = {}
        for setting in self.settings:
            problems = [self._random(generator) for _ in range(run.n_instances // 4)]
            gains = [self._excess(setting, problem, share) for share in self.shares for problem in problems]
            cov, fisher = (np.array(gain) for gain in zip(*gains, strict=True))
            smallest = {"Cov / SGD − 1, smallest": cov.min(), "Fisher / SGD − 1, smallest": fisher.min()}
            values = {**smallest, "|Cov / SGD − 1|, largest": np.abs(cov).max()}
            found |= {f"{setting}: {label}": Computed(float(value), rounding=1e-11) for label, value in values.items()}
        law = [outcomes(noise) for noise in (Gaussian(3, 2), Minibatch(3, 2))]
        listed = [excess_risks(listed_data(), lambda _, w=w: w, LISTED_STEP, 2)[-1] for w in law]
        return found | {"all paths on fixed data: Cov / SGD − 1": Computed(listed[0] / listed[1] - 1, rounding=1e-11)}

    def published(self) -> Predictions:
        faster = AtMost(-_BEYOND_ROUNDING, tightness="chosen")
        return {f"{setting}: Cov / SGD − 1, smallest": faster for setting in self.settings}

    def corrected(self) -> Predictions:
        predicted: dict[str, Any] = {"all paths on fixed data: Cov / SGD − 1": 0.0}
        for setting in self.settings:
            predicted[f"{setting}: |Cov / SGD − 1|, largest"] = 0.0
            predicted[f"{setting}: Fisher / SGD − 1, smallest"] = AtLeast(0.0)
        return predicted

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        for setting in self.settings:
            fisher = f"{setting}: Fisher / SGD − 1, smallest"
            yield f"Fisher is faster, {setting}", {fisher: AtMost(-_BEYOND_ROUNDING)}
            yield f"Fisher is as fast, {setting}", {fisher: 0.0}
            yield f"Fisher is slower by a hundredth, whatever the step size, {setting}", {fisher: AtLeast(0.01)}
        yield "Cov is slower", {f"{s}: |Cov / SGD − 1|, largest": AtLeast(_BEYOND_ROUNDING) for s in self.settings}

    def _random(self, generator: np.random.Generator) -> FiniteLeastSquares:
        X = generator.standard_normal((self.B, 3)) * generator.exponential(size=(self.B, 1))
        return FiniteLeastSquares(X, generator.standard_normal(self.B), generator.standard_normal(3))

    def _excess(self, setting: str, problem: FiniteLeastSquares, share: float) -> tuple[np.ndarray, np.ndarray]:
        """Risks of Cov and Fisher over that of SGD, minus one, after each number of steps."""
        fixed = setting == "fixed data"
        noises = [Minibatch(self.B, self.b, fixed), *(Gaussian(self.B, self.b, centred, fixed) for centred in (True, False))]
        moments = [WeightMoments.fixed_data(w) if fixed else WeightMoments.fresh(w) for w in noises]
        eta = share * min(problem.stability_limit(w) for w in moments)
        sgd, cov, fisher = (problem.last_iterate_risk(eta, w, np.arange(1, self.n_steps + 1)) for w in moments)
        return cov / sgd - 1, fisher / sgd - 1
