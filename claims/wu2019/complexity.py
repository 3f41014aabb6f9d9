"""Claims of wu2019, Section 3: the randomised loss as a regularised one, and Theorem 1 on local complexities."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from gradnoise.claims.claim import Claim, Predictions, Quantities, Run, claim
from gradnoise.claims.judgement import Computed
from gradnoise.claims.prediction import AtLeast, AtMost
from gradnoise.simulations import complexity as sampled
from gradnoise.simulations.sampling import outcomes
from gradnoise.simulations.statistics import Estimate
from gradnoise.theory import complexity
from gradnoise.theory.complexity import AffineLosses, FiniteLosses, LeastSquaresLosses, LossClass, expected_largest_weight
from gradnoise.theory.sampling import Gaussian, Minibatch, Rademacher, SamplingNoise

#: Of sums of at most 2^20 suprema, each a sum of 20 products: relative to the result.
ROUNDING = 1e-12


def random_losses(generator: np.random.Generator, n: int, radius: float) -> list[LossClass]:
    """Draw one class of each kind on n samples, affine and quadratic losses on a ball of that radius."""
    d = int(generator.integers(1, 4))
    X, y, theta = generator.standard_normal((n, d)), generator.standard_normal(n), generator.standard_normal(d)
    residuals = X @ theta - y
    rows = int(generator.integers(1, 6))
    return [
        AffineLosses(residuals**2 / 2, residuals * X.T, radius),
        LeastSquaresLosses(X, y, theta, radius),
        FiniteLosses(generator.standard_normal((rows, n)) + generator.standard_normal(n)),
    ]


def on_points(generator: np.random.Generator) -> tuple[FiniteLosses, np.ndarray]:
    """Draw a few losses on two or three points, and the points' probabilities, some of them small."""
    m = int(generator.integers(2, 4))
    p = generator.dirichlet(np.full(m, generator.choice([0.1, 0.3, 1.0, 3.0])))
    shape = (int(generator.integers(1, 6)), m)
    values = generator.standard_normal(shape) if generator.random() < 0.5 else generator.integers(0, 2, shape).astype(float)
    return FiniteLosses(values), p


def relative(value: float) -> Computed:
    """Return a computed ratio, with the rounding of what was divided."""
    return Computed(float(value), rounding=ROUNDING * max(1.0, abs(float(value))))


def bound_ratio_of_distinct_points(batch_size: int, n: int) -> float:
    """R(V) with replacement over the bound of Theorem 1 (2), for indicators of points that are all distinct."""
    # Their suprema are max|v_i|, and max|a_i| = 1.
    return expected_largest_weight(n, batch_size) / n / complexity.sgd_bounds(1 / batch_size, n, batch_size).upper


@claim(
    "wu2019.eq8",
    "L + 𝓛V/N ≤ L + sup over the δ-ball of |𝓛V|/N, tighter the smaller δ; the mean slack left at δ → 0 is E|𝓛V|/N",
    kind="inequality",
    source="Eq. (8)",
)
class RandomisedLossIsRegularised(Claim):
    """All batches and signs on random classes: the bound, that it shrinks with δ, and what it leaves at δ = 0."""

    slack, shrinking, left = "smallest slack", "smallest decrease of the bound with δ", "E of the slack at δ → 0, in E|𝓛V|/N"
    radii = (1.0, 0.3, 0.1, 1e-3, 1e-9)
    n, batch_size = 5, 2

    def measure(self, run: Run) -> Quantities:
        generator = run.generator()
        laws = [outcomes(noise) for noise in self._noises()]
        slacks, decreases, shares = [], [], []
        for _ in range(-(-run.n_instances // 5)):  # each is a class on five balls under all outcomes of four laws
            seed = int(generator.integers(2**32))
            # The same affine and quadratic losses on ever smaller balls; the last class has no ball.
            balls = [random_losses(np.random.default_rng(seed), self.n, radius)[:2] for radius in self.radii]
            for law in laws:
                v = self.n * law.vectors - 1
                for family in zip(*balls, strict=True):
                    losses = v @ family[0].statistics[0]  # at the centre; both kinds have it as their first statistic
                    bounds = np.array([member.supremum(v) for member in family])
                    scale = bounds.max()
                    slacks.append((bounds - losses).min() / scale)
                    decreases.append(-np.diff(bounds, axis=0).max() / scale)
                    left = law.probabilities @ (bounds[-1] - losses)
                    shares.append(left / (law.probabilities @ np.abs(losses)))
        return {
            self.slack: Computed(min(slacks), rounding=ROUNDING),
            self.shrinking: Computed(min(decreases), rounding=ROUNDING),
            self.left: Computed(max(shares, key=lambda share: abs(share - 1)), approximation=1e-7),  # the last radius is not zero
        }

    def published(self) -> Predictions:
        return {self.slack: AtLeast(0.0), self.shrinking: AtLeast(0.0), self.left: 1.0}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "the absolute value dropped: tight at δ → 0", {self.left: 0.0}
        yield "tight up to the sign of V: half is left", {self.left: 0.5}
        yield "a bound from below", {self.slack: AtLeast(0.01)}

    def _noises(self) -> tuple[SamplingNoise, ...]:
        n, b = self.n, self.batch_size
        return Minibatch(n, b), Minibatch(n, b, False), Rademacher(n, n, centered=False), Gaussian(n, b)


@claim(
    "wu2019.thm1.1",
    "cR(A) ≤ R(G) ≤ C ln N · R(A) for N ≥ 2, C = 2/(√π ln 2); sharper, and attained: √(2/π) R(A) ≤ R(G) ≤ E max|g_i| · R(A)",
    kind="inequality",
    source="Theorem 1 (1)",
)
class GaussianAndRademacherComplexityAgree(Claim):
    """Affine losses exactly, all signs and a quadrature; quadratic and finite ones with sampled normals; both ends attained."""

    lowest, highest = "affine: smallest R(G)/R(A)", "affine: largest R(G)/(E max|g_i| R(A))"
    logarithmic, steepest = "affine: largest R(G)/(C ln N R(A))", "largest E max|g_i| / ln N"
    one_sample, coordinates = "one sample: R(G)/R(A)", "8 coordinate functions: R(G)/R(A)"
    quadratic, finite = "least squares, N = 8: R(G)/R(A)", "five losses, N = 8: R(G)/R(A)"
    n = 8
    sizes = (*range(2, 40), 100, 1_000, 10**6)

    def measure(self, run: Run) -> Quantities:
        generator = run.generator()
        lowest, highest, logarithmic = [], [], []
        for _ in range(run.n_instances):
            n = int(generator.integers(1, 11))
            affine = random_losses(generator, n, 10.0 ** generator.uniform(-2, 1))[0]
            assert isinstance(affine, AffineLosses)
            ratio = complexity.gaussian(affine) / (signs := complexity.rademacher(affine))
            lowest.append(ratio)
            highest.append(ratio / complexity.gaussian_bounds(1.0, n).upper)
            if n >= 2:
                logarithmic.append(complexity.gaussian(affine) / complexity.gaussian_bounds(signs, n, published=True).upper)
        one = AffineLosses([0.0], [[1.0], [0.5]], 2.0)
        _, quadratic, finite = random_losses(np.random.default_rng(0), self.n, 1.0)
        of_finite = self._ratio(finite, run, self.finite)
        of_quadratic = self._ratio(quadratic, run, self.quadratic)
        return {
            self.lowest: relative(min(lowest)),
            self.highest: relative(max(highest)),
            self.logarithmic: relative(max(logarithmic)),
            self.steepest: relative(max(complexity.largest_normal(n) / math.log(n) for n in self.sizes)),
            self.one_sample: relative(complexity.gaussian(one) / complexity.rademacher(one)),
            self.coordinates: self._ratio(FiniteLosses(np.eye(self.n)), run, self.coordinates),
            **{f"{label}, {side}": q for label, q in ((self.quadratic, of_quadratic), (self.finite, of_finite))
               for side in ("from below", "from above")},
        }  # fmt: skip

    def published(self) -> Predictions:
        exact = complexity.gaussian_bounds(1.0, self.n)
        return {
            self.lowest: AtLeast(complexity.MEAN_ABSOLUTE_NORMAL),
            self.highest: AtMost(1.0),
            self.logarithmic: AtMost(1.0),
            self.steepest: complexity.gaussian_bounds(1.0, 2, published=True).upper / math.log(2),
            self.one_sample: complexity.MEAN_ABSOLUTE_NORMAL,
            self.coordinates: exact.upper,
            **self._sides(exact.lower, exact.upper),
        }

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        upper = complexity.largest_normal(self.n)
        yield "c = 1", {self.lowest: AtLeast(1.0), **self._sides(1.0, upper)}
        yield "for N = 1 too, where ln N = 0", {self.one_sample: AtMost(0.0)}
        yield "C = 1", {self.steepest: AtMost(1.0)}
        yield "the absolute values dropped: E max g_i", {self.coordinates: self._largest_signed()}
        yield "R(G) = R(A)", {self.coordinates: 1.0}

    def _ratio(self, losses: LossClass, run: Run, label: str) -> Estimate:
        found = sampled.simulate(losses, sampled.normals(self.n), run.n_paths, rng=run.at(label))
        return found.transformed(1 / complexity.rademacher(losses))

    def _sides(self, lower: float, upper: float) -> dict[str, AtLeast | AtMost]:
        sides = {"from below": AtLeast(lower), "from above": AtMost(upper)}
        return {f"{label}, {side}": bound for label in (self.quadratic, self.finite) for side, bound in sides.items()}

    def _largest_signed(self) -> float:
        """E max g_i, without the modulus, by quadrature."""
        from scipy import stats  # here, as its import takes long

        return float(stats.norm().expect(lambda x: self.n * x * stats.norm.cdf(x) ** (self.n - 1), lb=-12, ub=12))


@claim(
    "wu2019.thm1.2",
    "R(V_sgd, N) ≤ (2(k−1)/k) R(A, b), N = kb",
    kind="inequality",
    source="Theorem 1 (2)",
    expected="refuted",
    corrected="Holds without replacement, and 2(k−1)/k is sharp. With replacement, the paper's default, no constant does: "
    "for indicators of distinct points the ratio grows as the largest count of a sample",
)
class SgdComplexityIsBounded(Claim):
    """Exact over finite sample spaces, over a single rare event, and where all samples are distinct."""

    kept = {False: "without: largest R(V)/bound", True: "with: largest R(V)/bound"}
    rare = {False: "without, an event of probability 1e-9: R(V)/bound", True: "with, an event of probability 1e-9: R(V)/bound"}
    distinct = "with, distinct points, b = 4, N = 8: R(V)"
    growth = "with, distinct points, b = 64, N = 128: R(V)/bound"
    spread = "without, distinct points, b = 2, N = 8: R(V)/(2(k−1)/k)"
    event = 1e-9

    def measure(self, run: Run) -> Quantities:
        generator = run.generator()
        largest = {False: 0.0, True: 0.0}
        for _ in range(run.n_instances):
            losses, p = on_points(generator)
            b, k = int(generator.integers(1, 5)), int(generator.integers(2, 4))
            bound = complexity.sgd_bounds(complexity.rademacher(losses, b, p), k * b, b).upper
            if bound == 0:
                continue
            for replacement in largest:
                ratio = complexity.sgd(losses, b, replacement, k * b, p) / bound
                largest[replacement] = max(largest[replacement], ratio)
        of_event = FiniteLosses([[1.0, 0.0]])
        p = np.array([self.event, 1 - self.event])
        bound = complexity.sgd_bounds(complexity.rademacher(of_event, 4, p), 8, 4).upper
        points = FiniteLosses(np.eye(8))
        return {
            **{self.kept[r]: relative(max(ratio, self._rare(bound, of_event, p, r))) for r, ratio in largest.items()},
            **{
                self.rare[r]: Computed(self._rare(bound, of_event, p, r), approximation=1e-7) for r in (False, True)
            },  # the event may recur
            self.distinct: relative(complexity.sgd(points, 4, True)),
            self.growth: self._many_points(run),
            self.spread: relative(complexity.sgd(points, 2, False) / complexity.sgd_bounds(1.0, 8, 2).upper),
        }

    def published(self) -> Predictions:
        # Indicators of distinct points: R(A, b) = 1/b.
        bound = complexity.sgd_bounds(1 / 4, 8, 4).upper
        ratios = [*self.kept.values(), *self.rare.values(), self.growth]
        return {**dict.fromkeys(ratios, AtMost(1.0)), self.distinct: AtMost(bound), self.spread: AtMost(1 / 2)}

    def corrected(self) -> Predictions:
        # A sample weighs more than nothing with the probability of not being drawn, (1 − 1/N)^b, E|v| being twice E v⁻.
        of_event = (1 - 1 / 8) ** 4 / (1 - 1 / 2)
        return {
            self.kept[False]: AtMost(1.0),
            self.kept[True]: AtLeast(1.0),
            self.rare[False]: 1.0,
            self.rare[True]: of_event,
            self.distinct: bound_ratio_of_distinct_points(4, 8) / 4,
            self.growth: bound_ratio_of_distinct_points(64, 128),
            self.spread: AtMost(1 / 2),
        }

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "N for b: R(A, N)", {self.spread: AtMost(1 / 8)}
        yield "(k−1)/k", {self.kept[False]: AtMost(0.5), self.rare[False]: 0.5}
        yield "with as without replacement", {self.rare[True]: 1.0}
        yield "with replacement at 2 for 2(k−1)/k", {self.growth: AtMost(2.0)}
        yield "with replacement as for a single event", {self.growth: (1 - 1 / 128) ** 64 / (1 - 1 / 2)}

    @staticmethod
    def _many_points(run: Run) -> Estimate:
        points, b = FiniteLosses(np.eye(128)), 64
        found = sampled.simulate(points, Minibatch(points.n, b), run.n_paths, rng=run.at("many distinct points"))
        return found.transformed(1 / complexity.sgd_bounds(1 / b, points.n, b).upper)

    @staticmethod
    def _rare(bound: float, losses: FiniteLosses, p: np.ndarray, replacement: bool) -> float:
        return complexity.sgd(losses, 4, replacement, 8, p) / bound


@claim(
    "wu2019.thm1.3",
    "Sharper, without replacement: on the centred class (k−1)/(2k) R(A, b) ≤ R(V, N) ≤ 2(k−1)/k R(A, b)",
    kind="inequality",
    source="Theorem 1, sharper",
)
class SgdComplexityIsBoundedFromBelow(Claim):
    """Exact over finite sample spaces; and differences of two distinct points' indicators, where the ½ is needed."""

    lowest, highest, needed = "smallest R(V)/lower bound", "largest R(V)/upper bound", "differences of indicators, b = 4, N = 16"
    uncentred, unchanged = "a constant, uncentred: R(V)/R(A, b)", "largest change of R(V) by centring"

    def measure(self, run: Run) -> Quantities:
        generator = run.generator()
        lowest, highest, changes = [], [], []
        for _ in range(run.n_instances):
            losses, p = on_points(generator)
            centred = losses.centred(p)
            b, k = int(generator.integers(1, 5)), int(generator.integers(2, 4))
            signs, found = complexity.rademacher(centred, b, p), complexity.sgd(centred, b, False, k * b, p)
            if signs < 1e-6:
                continue  # constants up to rounding, and their rounding
            bounds = complexity.sgd_bounds(signs, k * b, b)
            lowest.append(found / bounds.lower)
            highest.append(found / bounds.upper)
            changes.append(abs(complexity.sgd(losses, b, False, k * b, p) / found - 1))
        one = FiniteLosses([[1.0]])
        n, b = 16, 4
        # x without atoms: n distinct points; of f = 1[x = z] − 1[x = z'], whose mean is zero, both z, or one, may be among them.
        pairs = np.vstack([np.eye(n), *(np.eye(n)[i] - np.eye(n)[i + 1 :] for i in range(n - 1))])
        differences = FiniteLosses(pairs)
        signs = complexity.rademacher(differences.at(range(b)))
        return {
            self.lowest: Computed(min(lowest), rounding=1e-9),  # centring cancels up to six digits of the losses
            self.highest: Computed(max(highest), rounding=1e-9),
            self.needed: relative(complexity.sgd(differences, b, False) / signs),
            self.uncentred: relative(complexity.sgd(one, 2, False, 4, [1.0]) / complexity.rademacher(one, 2, [1.0])),
            self.unchanged: Computed(max(changes), rounding=1e-9),
        }

    def published(self) -> Predictions:
        # b distinct samples with both signs among them have a supremum of 2, all of one sign that of 1.
        ratio = 1 / (2 - 2.0**-3)
        return {
            self.lowest: AtLeast(1.0), self.highest: AtMost(1.0), self.needed: ratio, self.uncentred: 0.0, self.unchanged: 0.0
        }  # fmt: skip

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        bounds = complexity.sgd_bounds(1.0, 16, 4)
        yield "(k−1)/k for (k−1)/(2k)", {self.needed: AtLeast(2 * bounds.lower)}
        yield "on every class, not only centred ones", {self.uncentred: AtLeast(complexity.sgd_bounds(1.0, 4, 2).lower)}
        yield "(k−1)/k for 2(k−1)/k", {self.highest: AtMost(0.5)}
