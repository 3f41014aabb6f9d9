"""Claims of zhu2019, Section 4: Fisher and Hessian around the true parameter, and in a network with one hidden layer."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator

import numpy as np

from gradnoise.claims.claim import Claim, Predictions, Quantities, Run, claim
from gradnoise.claims.judgement import Computed
from gradnoise.claims.prediction import AtLeast, AtMost, Margin, Relative
from gradnoise.simulations.clipped_network import descend, random_network
from gradnoise.simulations.softmax_regression import curvature_gap
from gradnoise.simulations.statistics import Estimate
from gradnoise.theory.curvature import (
    ClippedNetwork,
    Curvature,
    SoftmaxRegression,
    alignment_bound,
    printed_alignment_bound,
    printed_radius,
    ratio_bounds,
)

TRUTH = np.array([0.3, -0.5, 0.2, 0.7])


@functools.cache
def softmax_model() -> SoftmaxRegression:
    """Softmax regression on four points."""
    return SoftmaxRegression([[1.0, 0.0], [1.0, 1.0], [1.0, -1.5], [0.3, 2.0]], 3)


@functools.cache
def label_law() -> np.ndarray:
    """Law of its points and labels at the true parameter."""
    return softmax_model().law(TRUTH, [0.1, 0.2, 0.3, 0.4])


@claim(
    "zhu2019.eq18",
    "F = H at the true parameter; Σ̂ and Ĥ are close there, and near it, the gap shrinking as N^{−1/2}",
    kind="comparison",
    source="Section 4 and Eq. (18)",
)
class FisherIsHessian(Claim):
    """Softmax regression on four points: F − H exactly, and N E‖Σ̂ − Ĥ‖² on data, at the truth and at the estimate."""

    population, misspecified = "largest entry of F − H", "largest entry of F − H, labels of another law"
    at_truth, sizes = "N E‖Σ̂ − Ĥ‖² at θ*, N = 1,600", (400, 6_400)
    at_estimate = {n: f"N E‖Σ̂ − Ĥ‖² at θ̂, N = {n:,}" for n in sizes}

    def margin(self, label: str) -> Margin:
        return Relative(0.05)

    def measure(self, run: Run) -> Quantities:
        other = softmax_model().law(-TRUTH, label_law().sum(axis=1))
        return {
            self.population: Computed(self._largest_gap(label_law()), rounding=1e-14),
            self.misspecified: Computed(self._largest_gap(other), rounding=1e-14),
            self.at_truth: self._gap(1_600, run, self.at_truth, fitted=False),
            **{label: self._gap(n, run, label, fitted=True) for n, label in self.at_estimate.items()},
        }

    def published(self) -> Predictions:
        at_truth, at_estimate = self._limits()
        return {self.population: 0.0, self.at_truth: at_truth, **dict.fromkeys(self.at_estimate.values(), at_estimate)}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        at_truth, at_estimate = self._limits()
        yield "for a misspecified model too", {self.misspecified: 0.0}
        yield "the gap shrinks as 1/N", {self.at_estimate[6_400]: at_estimate * 400 / 6_400}
        yield "the gap shrinks as N^{−1/4}", {self.at_estimate[6_400]: at_estimate * math.sqrt(6_400 / 400)}
        yield "at the estimate as at the truth", {self.at_estimate[6_400]: at_truth}

    @staticmethod
    def _gap(n: int, run: Run, label: str, fitted: bool) -> Estimate:
        marginal = label_law().sum(axis=1)
        gap = curvature_gap(softmax_model(), TRUTH, marginal, n, run.n_paths, rng=run.at(label), fitted=fitted)
        return gap.transformed(n)

    @staticmethod
    def _largest_gap(law: np.ndarray) -> float:
        return float(np.abs(softmax_model().fisher(TRUTH, law) - softmax_model().hessian(TRUTH, law)).max())

    @staticmethod
    def _limits() -> tuple[float, float]:
        """Limits of N E‖Σ̂ − Ĥ‖² by the delta method: a sample adds a = gg' − h, and moves the estimate by −H⁻¹g."""
        model, law = softmax_model(), label_law()
        d, (k, classes) = model.dimension, law.shape
        one_point = np.repeat(np.eye(k)[:, :, np.newaxis], classes, axis=2) / classes
        g = np.moveaxis(model.gradients(TRUTH), 0, -1)
        a = np.einsum("kci,kcj->kcij", g, g) - model.hessian(TRUTH, one_point)[:, np.newaxis]
        steps = 1e-5 * np.concatenate([np.eye(d), -np.eye(d)])
        gaps = np.array([model.fisher(TRUTH + step, law) - model.hessian(TRUTH + step, law) for step in steps])
        slopes = (gaps[:d] - gaps[d:]) / 2e-5
        moved = -np.einsum("kci,ij,jab->kcab", g, np.linalg.inv(model.hessian(TRUTH, law)), slopes)
        return float(np.einsum("kc,kcij->", law, a**2)), float(np.einsum("kc,kcij->", law, (a + moved) ** 2))


DELTA = 0.1
WIDTHS = (4, 32, 128, 512)
#: Steps of gradient descent after which a network is looked at: in between, the last samples reach the clip.
RECORD = (0, 3, 10, 30, *range(40, 400, 8))


def points_on_paths(run: Run, halved: bool) -> Iterator[tuple[ClippedNetwork, np.ndarray, Curvature]]:
    """Train networks of each width with two activations, and yield where some outputs are not clipped; random points, too."""
    for width, slopes in itertools.product(WIDTHS, ((0.0, 1.0), (0.2, 1.0))):
        name = f"width {width}, slopes {slopes[0]:g} and {slopes[1]:g}"
        network, start = random_network(width, rng=run.at(name), delta=DELTA, slopes=slopes, halved=halved)
        generator = run.generator(f"points around {name}")
        spread = [start + generator.normal(scale=scale, size=start.shape) for scale in (0.03, 0.1, 0.3, 1.0)]
        for weights in (*descend(network, start, 0.2, RECORD), *spread):
            curvature = network.curvature(weights)
            if curvature.active.any():
                yield network, weights, curvature


class FisherAgainstHessian(Claim):
    """Eigenvalues of F relative to H, at random points and on paths to the minima."""

    halved: bool
    lowest, highest = "smallest ratio / δ²", "largest ratio / (δ+ε)²"
    lowest_swapped, highest_swapped = "smallest ratio / (δ+ε)²", "largest ratio / δ²"
    nearest = "smallest ε on a path, with samples unclipped"

    def measure(self, run: Run) -> Quantities:
        return self.quantities(list(points_on_paths(run, self.halved)))

    def quantities(self, points: list[tuple[ClippedNetwork, np.ndarray, Curvature]]) -> Quantities:
        """Return what is judged, of these points."""
        found: dict[str, list[float]] = {
            label: [] for label in (self.lowest, self.highest, self.lowest_swapped, self.highest_swapped, self.nearest)
        }
        for _, _, curvature in points:
            ratios, largest = curvature.eigenvalue_ratios, curvature.largest_residual
            found[self.lowest].append(ratios[0] / DELTA**2)
            found[self.highest].append(ratios[-1] / largest**2)
            found[self.lowest_swapped].append(ratios[0] / largest**2)
            found[self.highest_swapped].append(ratios[-1] / DELTA**2)
            found[self.nearest].append(largest - DELTA)
        largest_ones = (self.highest, self.highest_swapped)
        return {
            label: Computed(max(v) if label in largest_ones else min(v), rounding=1e-12 * max(v)) for label, v in found.items()
        }

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "δ² and (δ+ε)² swapped", {self.lowest_swapped: AtLeast(1.0), self.highest_swapped: AtMost(1.0)}


@claim(
    "zhu2019.prop2",
    "δ²H ⪯ F ⪯ (δ+ε)²H for the loss ½(f̄ − y)², ε over the samples that are not clipped",
    kind="inequality",
    source="Proposition 2 and Appendix A.4",
)
class FisherIsNearHessian(FisherAgainstHessian):
    """Of the loss that the proof is for; where d is small, eigenvalues of the differences, and outputs without a clip."""

    halved = True
    below, above = "width 4: least eigenvalue of F − δ²H", "width 4: least eigenvalue of (δ+ε)²H − F"
    unclipped = "width 4, no clip: smallest ratio / δ²"

    def quantities(self, points: list[tuple[ClippedNetwork, np.ndarray, Curvature]]) -> Quantities:
        below, above, unclipped = [], [], []
        for network, weights, curvature in points:
            if network.shape[0] > 4:
                break
            F, H = curvature.fisher, curvature.hessian
            lower, upper = ratio_bounds(DELTA, curvature.largest_residual - DELTA)
            scale = np.trace(F)
            below.append(np.linalg.eigvalsh(F - lower * H)[0] / scale)
            above.append(np.linalg.eigvalsh(upper * H - F)[0] / scale)
            unclipped.append(self._without_clip(network, weights).eigenvalue_ratios[0] / DELTA**2)
        return {
            **super().quantities(points),
            self.below: Computed(float(min(below)), rounding=1e-13),
            self.above: Computed(float(min(above)), rounding=1e-13),
            self.unclipped: Computed(float(min(unclipped)), rounding=1e-9),
        }

    def published(self) -> Predictions:
        return {
            self.lowest: AtLeast(1.0), self.highest: AtMost(1.0), self.below: AtLeast(0.0), self.above: AtLeast(0.0),
            self.nearest: AtMost(0.05),
        }  # fmt: skip

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield from super().sabotaged()
        yield "the clip dropped", {self.unclipped: AtLeast(1.0)}
        yield "δ for δ²", {self.lowest: AtLeast(1 / DELTA)}
        yield "as for the loss without the ½", {self.lowest: AtLeast(2.0)}

    @staticmethod
    def _without_clip(network: ClippedNetwork, weights: np.ndarray) -> Curvature:
        """Of the same outputs without φ; their derivatives are differences, exact where an output is linear."""
        steps = 1e-6 * np.eye(weights.size).reshape(-1, *weights.shape)
        jacobian = [(network.output(weights + h) - network.output(weights - h)) / 2e-6 for h in steps]
        return Curvature(jacobian, network.output(weights) - network.labels)


@claim(
    "zhu2019.prop2-printed",
    "The same for the loss (f̄ − y)², as (19) is printed",
    kind="inequality",
    source="Proposition 2 and Eq. (19)",
    expected="refuted",
    corrected="2δ²H ⪯ F ⪯ 2(δ+ε)²H: part (1) holds as printed, part (2) fails wherever 2δ² > (δ+ε)² and H is not zero",
)
class FisherIsNearHessianAsPrinted(FisherAgainstHessian):
    """Of the loss without the ½."""

    halved = False

    def published(self) -> Predictions:
        return {self.lowest: AtLeast(1.0), self.highest: AtMost(1.0)}

    def corrected(self) -> Predictions:
        lower, upper = ratio_bounds(1.0, 0.0, halved=False)
        return {self.lowest: AtLeast(lower), self.highest: AtMost(upper), self.nearest: AtMost(0.4 * DELTA)}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield from super().sabotaged()
        yield "4, the square of the 2", {self.lowest: AtLeast(4.0)}


@claim(
    "zhu2019.fig4",
    "Tr(HΣ)/Tr(HΣ̄) of the clipped network grows with its width, 32, 128, 512",
    kind="inequality",
    source="Section 5.2 and Figure 4",
    expected=None,
)
class IndicatorRatioGrowsWithWidth(Claim):
    """Exact along gradient descent on 1,000 separable points, δ = 0.001, three seeds: it grows as the number of parameters."""

    first, second = "least growth from 32 to 128", "least growth from 128 to 512"
    per_parameter = "largest spread of the ratio per parameter"
    widths, steps, seeds = (32, 128, 512), (0, 10, 30, 100, 300), 3

    def measure(self, run: Run) -> Quantities:
        seeds = [run.at(f"networks {k}") for k in range(self.seeds)]  # each of all widths
        ratios = np.array([[self._ratios(seed, width) for width in self.widths] for seed in seeds])
        growth = (ratios[:, 1:] / ratios[:, :-1]).min(axis=(0, 2))
        per_parameter = ratios / (3 * np.array(self.widths)[:, np.newaxis])
        spread = per_parameter.max(axis=1) / per_parameter.min(axis=1)
        values = {self.first: growth[0], self.second: growth[1], self.per_parameter: spread.max()}
        return {label: Computed(float(value), rounding=1e-9) for label, value in values.items()}

    def published(self) -> Predictions:
        return {self.first: AtLeast(1.0), self.second: AtLeast(1.0)}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "no growth", {self.first: AtMost(1.0), self.second: AtMost(1.0)}
        yield "at most as the root of the width", {self.first: AtMost(2.0), self.second: AtMost(2.0)}
        yield "not as the number of parameters, but for a factor of 2", {self.per_parameter: AtLeast(2.0)}

    def _ratios(self, seed: np.random.SeedSequence, width: int) -> list[float]:
        network, start = random_network(width, rng=seed, n_samples=1_000, delta=1e-3)
        curvatures = [network.curvature(weights) for weights in descend(network, start, 0.2, self.steps)]
        return [c.indicator / c.isotropic_indicator for c in curvatures]


#: Half the angle between the inputs of `pair`, and weights that put both of its outputs on the edge of the clip.
ANGLE = 0.5
EDGE = np.array([[(1 - DELTA) / math.cos(ANGLE), 0.0]])


@functools.cache
def pair() -> ClippedNetwork:
    """Two samples of one class with inputs of equal length, and one ReLU unit."""
    return ClippedNetwork([[math.cos(ANGLE), math.sin(ANGLE)], [math.cos(ANGLE), -math.sin(ANGLE)]], [1, 1], [1.0], DELTA)


@claim(
    "zhu2019.prop3",
    "uᵀΣu ≥ a λ TrΣ/TrH for θ close to a minimum and some a > 0",
    kind="inequality",
    source="Proposition 3 and Eqs. (21), (83)",
    expected="refuted",
    corrected="a = (1 − τ)δ²/(δ+ε)², τ = (u·∇L)²/uᵀFu, wherever λ > 0; next to an edge of a minimum τ can be 1",
)
class NoiseIsAlongTheLeadingDirection(Claim):
    """The largest a that (21) allows: next to two samples' minimum, along training paths, and at random points."""

    at_edge = "largest a in the set (81), equal residuals"
    power = "power of the distance with which a vanishes"
    excess, without_share, swapped = (
        f"smallest excess of a over {bound}" for bound in ("(1−τ)δ²/(δ+ε)²", "δ²/(δ+ε)²", "(1−τ)(δ+ε)²/δ²")
    )
    delta_2 = 0.25

    def measure(self, run: Run) -> Quantities:
        near = self._inside()
        points = [curvature for _, _, curvature in points_on_paths(run, halved=True) if np.ptp(curvature.gradients, axis=1).any()]
        points += [pair().curvature(EDGE + t * np.array([[-1.0, 0.3]])) for t in (0.1, 1e-3, 1e-6)]
        bounds = np.array([alignment_bound(c, DELTA) for c in points])
        shares = np.array([1 - c.mean_share for c in points])
        found = np.array([c.alignment for c in points])
        return {
            self.at_edge: Computed(near.alignment, rounding=1e-12),
            self.power: Computed(self._power(), approximation=1e-3),
            self.excess: Computed(float((found - bounds).min()), rounding=1e-12),
            self.without_share: Computed(float((found - bounds / shares).min()), rounding=1e-12),
            self.swapped: Computed(float((found - shares**2 / bounds).min()), rounding=1e-12),
        }

    def published(self) -> Predictions:
        epsilon = self._inside().largest_residual - DELTA
        return {self.at_edge: AtLeast(printed_alignment_bound(DELTA, epsilon, self.delta_2)), self.power: 0.0}

    def corrected(self) -> Predictions:
        return {self.at_edge: 0.0, self.power: 2.0, self.excess: AtLeast(0.0)}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "1 for 1 − τ", {self.without_share: AtLeast(0.0)}
        yield "δ² and (δ+ε)² swapped", {self.swapped: AtLeast(0.0)}
        yield "a vanishes as the distance", {self.power: 1.0}

    def _inside(self) -> Curvature:
        """A point of the set (81), at half the radius of (65) from a minimum, where both residuals are the same."""
        beside = pair().curvature(EDGE * (1 - 1e-9))  # H, which is constant next to the edge
        radius = printed_radius(DELTA, self.delta_2, beside.largest_eigenvalue, beside.largest_eigenvalue)
        return pair().curvature(EDGE - radius / 2 * np.array([[1.0, 0.0]]))

    @staticmethod
    def _power() -> float:
        near, nearer = (pair().curvature(EDGE + t * np.array([[-1.0, 0.3]])).alignment for t in (2e-6, 1e-6))
        return math.log2(near / nearer)


@claim(
    "zhu2019.prop3-hessian",
    "At a minimum the Hessian is not zero, and it is continuous around it",
    kind="exact",
    source="Appendix A.5, before (62)",
    expected="refuted",
    corrected="Where all samples are fitted and clipped H = F = Σ = 0; H is piecewise constant, with jumps where one is clipped",
)
class HessianIsNotZeroAtTheMinimum(Claim):
    """At the end of training, and on both sides of the edge of two samples' minimum."""

    eigenvalue, fisher = "λ at the end of training", "Tr F at the end of training"
    loss, jump = "largest loss at the end / least possible loss", "jump of λ at the edge"
    change = "change of λ next to the edge, unclipped"

    def measure(self, run: Run) -> Quantities:
        network, start = random_network(32, rng=run.at("network"), delta=DELTA)
        (end,) = descend(network, start, 0.2, [3_000])
        at_end = network.curvature(end)
        inside, beside, further = (pair().curvature(EDGE * scale).largest_eigenvalue for scale in (1 + 1e-9, 1 - 1e-9, 0.9))
        return {
            self.eigenvalue: Computed(at_end.largest_eigenvalue),
            self.fisher: Computed(float(np.trace(at_end.fisher))),
            self.loss: Computed(float(network.losses(end).max() / (DELTA**2 / 2)), rounding=1e-12),
            self.jump: Computed(beside - inside, rounding=1e-12),
            self.change: Computed(further - beside, rounding=1e-12),
        }

    def published(self) -> Predictions:
        return {self.eigenvalue: AtLeast(math.ulp(0.0)), self.jump: 0.0}

    def corrected(self) -> Predictions:
        # λ of ½Σxxᵀ beside the edge, for inputs at ±the angle: cos² of it.
        return {self.eigenvalue: 0.0, self.fisher: 0.0, self.loss: 1.0, self.jump: math.cos(ANGLE) ** 2, self.change: 0.0}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "H changes smoothly up to the edge", {self.change: AtLeast(1e-3)}
        yield "the loss reaches zero", {self.loss: 0.0}
        yield "H continuous", {self.jump: 0.0}
