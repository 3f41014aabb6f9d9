"""Claims of wu2019, Section 3: the randomised loss as a regularised one, Rademacher and Gaussian complexity (Theorem 1 (1))."""

from __future__ import annotations

import itertools
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
from gradnoise.theory.complexity import AffineLosses, FiniteLosses, LeastSquaresLosses, LossClass
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


def relative(value: float) -> Computed:
    """Return a computed ratio, with the rounding of what was divided."""
    return Computed(float(value), rounding=ROUNDING * max(1.0, abs(float(value))))


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
        yield "a hundredth to spare", {self.slack: AtLeast(0.01)}
        yield "tighter by a hundredth with each smaller δ", {self.shrinking: AtLeast(0.01)}

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
    """Affine losses exactly, all signs and a quadrature; quadratic and finite ones with sampled normals.

    One sample attains the lower end, and coordinate functions the upper ones, of which two have a quadrature in the angle.
    """

    lowest, highest = "smallest R(G)/R(A)", "largest R(G)/(E max|g_i| R(A))"
    logarithmic, steepest = "largest R(G)/(C ln N R(A))", "largest E max|g_i| / ln N"
    coordinates = "8 coordinate functions: R(G)/R(A)"
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
        lowest.append(complexity.gaussian(one) / complexity.rademacher(one))
        two = _two_coordinates() / complexity.rademacher(FiniteLosses(np.eye(2)))
        highest.append(two / complexity.gaussian_bounds(1.0, 2).upper)
        logarithmic.append(two / complexity.gaussian_bounds(1.0, 2, published=True).upper)
        _, quadratic, finite = random_losses(np.random.default_rng(0), self.n, 1.0)
        of_finite = self._ratio(finite, run, self.finite)
        of_quadratic = self._ratio(quadratic, run, self.quadratic)
        return {
            self.lowest: relative(min(lowest)),
            self.highest: relative(max(highest)),
            self.logarithmic: relative(max(logarithmic)),
            self.steepest: relative(max(complexity.largest_normal(n) / math.log(n) for n in self.sizes)),
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
            self.coordinates: exact.upper,
            **self._sides(exact.lower, exact.upper),
        }

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        upper = complexity.largest_normal(self.n)
        yield "c = 1", {self.lowest: AtLeast(1.0), **self._sides(1.0, upper)}
        yield "c = 0.81", {self.lowest: AtLeast(0.81)}
        yield "2 % below E max|g_i|", {self.highest: AtMost(0.98)}
        yield "2 % below the least C", {self.logarithmic: AtMost(0.98)}
        yield "C = 1", {self.steepest: AtMost(1.0)}
        yield "the absolute values dropped: E max g_i", {self.coordinates: self._largest_signed()}
        yield "R(G) = R(A)", {self.coordinates: 1.0}

    def _ratio(self, losses: LossClass, run: Run, label: str) -> Estimate:
        found = sampled.simulate(losses, sampled.normals(self.n), run.n_paths, rng=run.at(label))
        return found.transformed(1 / complexity.rademacher(losses))

    def _sides(self, lower: float, upper: float) -> dict[str, AtLeast | AtMost]:
        # Other classes attain them.
        unattained = "not known to be attained"
        sides = {"from below": AtLeast(lower, tightness=unattained), "from above": AtMost(upper, tightness=unattained)}
        return {f"{label}, {side}": bound for label in (self.quadratic, self.finite) for side, bound in sides.items()}

    def _largest_signed(self) -> float:
        """E max g_i, without the modulus, by quadrature."""
        from scipy import stats  # here, as its import takes long

        return float(stats.norm().expect(lambda x: self.n * x * stats.norm.cdf(x) ** (self.n - 1), lb=-12, ub=12))


def _two_coordinates() -> float:
    """R(G) of the coordinate functions on two samples: in polar coordinates E max(|g₁|, |g₂|) is E r times a mean cosine."""
    nodes, weights = np.polynomial.legendre.leggauss(20)
    angles = math.pi / 8 * (nodes + 1)  # an eighth of the circle, which has all there is
    return math.sqrt(math.pi / 2) * float(weights @ np.cos(angles)) / 2 / 2


@claim(
    "wu2019.contraction",
    "E sup|Σ aᵢαᵢf(xᵢ)| ≤ E sup|Σ aᵢf(xᵢ)| for 0 ≤ αᵢ ≤ 1: the left side is even and convex in each αᵢ, and so rises with it",
    kind="inequality",
    source="Eqs. (48), (53) and (54)",
)
class FactorsContract(Claim):
    """All signs, on random classes of three kinds with random factors, and on coordinate functions, where one factor decides."""

    ratio, rise = "largest E sup with factors / without", "smallest rise from αᵢ to 1 / E sup without"
    convexity, evenness = "smallest second difference in αᵢ / E sup without", "largest change by the sign of αᵢ / E sup without"
    step = 0.1

    def measure(self, run: Run) -> Quantities:
        generator = run.generator()
        cases = [(FiniteLosses(np.eye(5)), np.array([1.0, 0.3, 0.2, 0.0, 0.6]))]
        for _ in range(-(-run.n_instances // 3)):  # each is a class of every kind
            n = int(generator.integers(2, 8))
            cases += [(losses, generator.random(n)) for losses in random_losses(generator, n, 10.0 ** generator.uniform(-2, 1))]
        found = np.array([self._of(losses, factors) for losses, factors in cases])
        values = {
            self.ratio: found[:, 0].max(),
            self.rise: found[:, 1].min(),
            self.convexity: found[:, 2].min(),
            self.evenness: np.abs(found[:, 3]).max(),
        }
        return {label: Computed(float(value), rounding=ROUNDING) for label, value in values.items()}

    def published(self) -> Predictions:
        return {self.ratio: AtMost(1.0), self.rise: AtLeast(0.0), self.convexity: AtLeast(0.0), self.evenness: 0.0}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "a hundredth less than without factors", {self.ratio: AtMost(0.99)}
        yield "it rises by a hundredth", {self.rise: AtLeast(0.01)}
        yield "it is strictly convex", {self.convexity: AtLeast(0.01)}

    def _of(self, losses: LossClass, factors: np.ndarray) -> tuple[float, float, float, float]:
        """Ratio, rise, second difference and change by the sign, the last three in the first factor."""
        signs = np.array(list(itertools.product((-1.0, 1.0), repeat=losses.n)))

        def expected(factors: np.ndarray) -> float:
            return float(losses.supremum(signs * factors).mean())

        def with_first(first: float) -> float:
            return expected(np.append(first, factors[1:]))

        whole, first = expected(np.ones(losses.n)), float(factors[0])
        here = with_first(first)
        second = with_first(first + self.step) - 2 * here + with_first(first - self.step)
        return here / whole, (with_first(1.0) - here) / whole, second / whole, (with_first(-first) - here) / whole
