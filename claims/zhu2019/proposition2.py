"""Claims of zhu2019 on Proposition 2, its network with one hidden layer, and Figure 4."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradnoise.claims.claim import Claim, Predictions, Quantities, Run, claim
from gradnoise.claims.judgement import Computed
from gradnoise.claims.prediction import AtLeast, AtMost
from gradnoise.claims.zhu2019.clipped import DELTA, EDGE, pair, points_on_paths
from gradnoise.simulations.clipped_network import OPTIMIZERS, descend, random_network
from gradnoise.theory.curvature import ClippedNetwork, Curvature, ratio_bounds


class FisherAgainstHessian(Claim):
    """Eigenvalues of F relative to H, at random points and on paths to the minima."""

    halved: bool
    lowest, highest = "smallest ratio / δ²", "largest ratio / (δ+ε)²"
    nearest = "smallest ε on a path, with samples unclipped"

    def measure(self, run: Run) -> Quantities:
        edge = pair(self.halved), EDGE * (1 - 1e-9), pair(self.halved).curvature(EDGE * (1 - 1e-9))  # attains both bounds
        return self.quantities([*points_on_paths(run, self.halved), edge])

    def quantities(self, points: list[tuple[ClippedNetwork, np.ndarray, Curvature]]) -> Quantities:
        """Return what is judged, of these points."""
        lowest, highest, nearest = [], [], []
        for _, _, curvature in points:
            ratios, largest = curvature.eigenvalue_ratios, curvature.largest_residual
            lowest.append(ratios[0] / DELTA**2)
            highest.append(ratios[-1] / largest**2)
            nearest.append(largest - DELTA)
        return {
            self.lowest: Computed(float(min(lowest)), rounding=1e-7),  # a residual is a difference
            self.highest: Computed(float(max(highest)), rounding=1e-12),
            self.nearest: Computed(float(min(nearest[:-1])), rounding=1e-12),
        }

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        lower, upper = ratio_bounds(1.0, 0.0, self.halved)
        yield "δ² larger by a fiftieth", {self.lowest: AtLeast(1.02 * lower)}
        yield "(δ+ε)² smaller by a fiftieth", {self.highest: AtMost(0.98 * upper)}


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
            if network.shape[0] != 4:
                continue
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
            self.unclipped: AtMost(0.5, tightness="chosen"), self.nearest: AtMost(0.05, tightness="chosen"),
        }  # fmt: skip

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield from super().sabotaged()
        yield "F above δ²H by 1 % of TrF", {self.below: AtLeast(0.01)}
        yield "F below (δ+ε)²H by 1 % of TrF", {self.above: AtLeast(0.01)}
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
        return {self.lowest: AtLeast(1.0, tightness="not known to be attained"), self.highest: AtMost(1.0)}

    def corrected(self) -> Predictions:
        lower, upper = ratio_bounds(1.0, 0.0, halved=False)
        return {self.lowest: AtLeast(lower), self.highest: AtMost(upper), self.nearest: AtMost(0.4 * DELTA, tightness="chosen")}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield from super().sabotaged()
        yield "4, the square of the 2", {self.lowest: AtLeast(4.0)}


@claim(
    "zhu2019.fig4",
    "Tr(HΣ)/Tr(HΣ̄) of the clipped network grows with its width, 32, 128, 512, under gradient descent and Adam",
    kind="inequality",
    source="Section 5.2, Figure 4 and Appendix D.2",
    expected=None,
)
class IndicatorRatioGrowsWithWidth(Claim):
    """Exact along descents on 1,000 separable points, δ = 0.001, three seeds: it grows as the number of parameters.

    Numerator and denominator of a small network are compared with differences of its losses, which are quadratic between kinks.
    """

    first, second, per_parameter = (
        {o: f"{what}, {o}" for o in OPTIMIZERS}
        for what in ("least growth from 32 to 128", "least growth from 128 to 512", "largest spread of the ratio per parameter")
    )
    widths, steps, seeds = (32, 128, 512), (0, 10, 30, 100, 300), 3
    rates = (0.2, 0.001)  # of Adam that of the paper
    aligned, isotropic = "width 4: Tr(HΣ)", "width 4: Tr(HΣ̄)"

    def measure(self, run: Run) -> Quantities:
        seeds = [run.at(f"networks {k}") for k in range(self.seeds)]  # each of all widths
        found = {}
        for optimizer, rate in zip(OPTIMIZERS, self.rates, strict=True):
            ratios = np.array([[self._ratios(seed, width, optimizer, rate) for width in self.widths] for seed in seeds])
            growth = (ratios[:, 1:] / ratios[:, :-1]).min(axis=(0, 2))
            per_parameter = ratios / (3 * np.array(self.widths)[:, np.newaxis])
            spread = per_parameter.max(axis=1) / per_parameter.min(axis=1)
            found[self.first[optimizer]], found[self.second[optimizer]] = growth
            found[self.per_parameter[optimizer]] = spread.max()
        H, _, Sigma = by_differences()
        traces = {self.aligned: np.trace(H @ Sigma), self.isotropic: np.trace(H) * np.trace(Sigma) / len(H)}
        return {
            **{label: Computed(float(value), rounding=1e-9) for label, value in found.items()},
            **{label: Computed(float(value), approximation=1e-6 * float(value)) for label, value in traces.items()},
        }

    def published(self) -> Predictions:
        spread = dict.fromkeys(self.per_parameter.values(), AtMost(2.0, tightness="chosen"))
        network, weights = small_network()
        of_small = network.curvature(weights)
        traces = {self.aligned: of_small.indicator, self.isotropic: of_small.isotropic_indicator}
        return {**self._growth(AtLeast(1.0, tightness="chosen")), **spread, **traces}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        H, F, _ = by_differences()
        yield "Tr(HF) for Tr(HΣ)", {self.aligned: float(np.trace(H @ F))}
        yield "TrF for TrΣ", {self.isotropic: float(np.trace(H) * np.trace(F) / len(H))}
        yield "no growth", self._growth(AtMost(1.0))
        yield "at most as the root of the width", self._growth(AtMost(2.0))
        yield "not as the number of parameters, but for a factor of 2", {self.per_parameter["adam"]: AtLeast(2.0)}

    def _growth(self, bound: AtLeast | AtMost) -> Predictions:
        return dict.fromkeys((*self.first.values(), *self.second.values()), bound)

    def _ratios(self, seed: np.random.SeedSequence, width: int, optimizer: str, rate: float) -> list[float]:
        network, start = random_network(width, rng=seed, n_samples=1_000, delta=1e-3)
        curvatures = [network.curvature(weights) for weights in descend(network, start, rate, self.steps, optimizer)]
        return [c.indicator / c.isotropic_indicator for c in curvatures]


def small_network() -> tuple[ClippedNetwork, np.ndarray]:
    """One of width 4 and its w: no output on 40 points is clipped, and no kink is as near as steps of `by_differences` reach."""
    return random_network(4, rng=3, n_samples=40, delta=1e-3)


def by_differences() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """H, F and Σ of `small_network` from its losses alone."""
    network, weights = small_network()
    h = 1e-4
    steps = h * np.eye(weights.size).reshape(-1, *weights.shape)

    def curvature(s: np.ndarray, t: np.ndarray) -> float:
        """Of the mean loss, in two directions."""
        corners = (s + t, 1), (s - t, -1), (t - s, -1), (-s - t, 1)
        return sum(sign * float(network.losses(weights + move).mean()) for move, sign in corners) / (4 * h**2)

    gradients = np.array([(network.losses(weights + s) - network.losses(weights - s)) / (2 * h) for s in steps])
    H = np.array([[curvature(s, t) for t in steps] for s in steps])
    return H, gradients @ gradients.T / gradients.shape[1], np.cov(gradients, bias=True)
