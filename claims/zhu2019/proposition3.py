"""Claims of zhu2019 on Proposition 3 and its proof in Appendix A.5: the noise along the leading direction."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from gradnoise.claims.claim import Claim, Predictions, Quantities, Run, claim
from gradnoise.claims.judgement import Computed
from gradnoise.claims.prediction import AtLeast, AtMost
from gradnoise.claims.zhu2019.clipped import ANGLE, DELTA, EDGE, pair, points_on_paths
from gradnoise.simulations.clipped_network import descend, random_network
from gradnoise.theory.curvature import ClippedNetwork, Curvature, alignment_bound, printed_alignment_bound, printed_radius


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
    excess, many = "smallest excess of a over (1−τ)δ²/(δ+ε)²", "a with 200 directions, ε = 4δ on all but the leading one"
    bound_of_many = "(1−τ)δ²/(δ+ε)² with 200 directions"
    delta_2, directions = 0.25, 200

    def measure(self, run: Run) -> Quantities:
        near = self._inside()
        points = [curvature for _, _, curvature in points_on_paths(run, halved=True) if np.ptp(curvature.gradients, axis=1).any()]
        points += [pair().curvature(EDGE + t * np.array([[-1.0, 0.3]])) for t in (0.1, 1e-3, 1e-6)]
        excess = min(c.alignment - alignment_bound(c, DELTA) for c in points)
        return {
            self.at_edge: Computed(near.alignment, rounding=1e-12),
            self.power: Computed(self._power(), approximation=1e-3),
            self.excess: Computed(float(excess), rounding=1e-12),
            self.many: Computed(self._many().alignment, rounding=1e-12),
            self.bound_of_many: Computed(alignment_bound(self._many(), DELTA), rounding=1e-12),
        }

    def published(self) -> Predictions:
        epsilon = self._inside().largest_residual - DELTA
        return {self.at_edge: AtLeast(printed_alignment_bound(DELTA, epsilon, self.delta_2)), self.power: 0.0}

    def corrected(self) -> Predictions:
        of_many = self._bound(1 / 5**2)
        bounds = {self.excess: AtLeast(0.0), self.many: AtLeast(of_many), self.bound_of_many: of_many}
        return {self.at_edge: 0.0, self.power: 2.0, **bounds}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        inside = self._inside()
        yield "1 for 1 − τ", {self.at_edge: AtLeast((DELTA / inside.largest_residual) ** 2)}
        yield "a above the bound by 0.01", {self.excess: AtLeast(0.01)}
        yield "larger by a fiftieth", {self.many: AtLeast(1.02 * self._bound(1 / 5**2))}
        yield "δ/(δ+ε) for its square", {self.many: AtLeast(self._bound(1 / 5))}
        yield "δ² and (δ+ε)² swapped", {self.many: AtLeast(self._bound(5**2))}
        yield "a vanishes as the distance", {self.power: 1.0}

    def _inside(self) -> Curvature:
        """A point of the set (81), at half the radius of (65) from a minimum, where both residuals are the same."""
        beside = pair().curvature(EDGE * (1 - 1e-9))  # H, which is constant next to the edge
        radius = printed_radius(DELTA, self.delta_2, beside.largest_eigenvalue, beside.largest_eigenvalue)
        return pair().curvature(EDGE - radius / 2 * np.array([[1.0, 0.0]]))

    def _bound(self, ratio: float) -> float:
        """(1 − τ) times a ratio, where each direction has a sample, so that τ is its share of them."""
        return (1 - 1 / self.directions) * ratio

    def _many(self) -> Curvature:
        """Nearly attains the bound: along u the residual is δ, and along all of the many other directions 5δ."""
        lengths, residuals = np.ones(self.directions), np.full(self.directions, 5 * DELTA)
        lengths[0], residuals[0] = 1.001, DELTA * (1 + 1e-12)  # u is the first axis
        network = ClippedNetwork(np.diag(lengths), np.ones(self.directions), [1.0], DELTA)
        return network.curvature([(1 - residuals) / lengths])

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
        yield "H jumps to half of λ", {self.jump: math.cos(ANGLE) ** 2 / 2}


@claim(
    "zhu2019.eq71-72",
    "(u·∇L)² = ‖∇L‖², from (71) to (72)",
    kind="inequality",
    source="Appendix A.5, Eqs. (71) and (72)",
    expected="refuted",
    corrected="(u·∇L)² ≤ ‖∇L‖², which is what the bound needs: (71) ≥ (72)",
)
class GradientIsAlongTheLeadingDirection(Claim):
    """Share of the gradient's square along u and what it does to (71), along training paths and next to two samples' minimum."""

    smallest, largest = (f"{which} (u·∇L)²/‖∇L‖²" for which in ("smallest", "largest"))
    difference = "smallest (71) − (72)"

    def measure(self, run: Run) -> Quantities:
        points = [curvature for _, _, curvature in points_on_paths(run, halved=True) if np.ptp(curvature.gradients, axis=1).any()]
        points.append(pair().curvature(EDGE * 0.9))  # by symmetry its gradient is along u
        along, whole, leading, total = np.array([self._parts(c) for c in points]).T
        spread = total > (1 + 1e-9) * whole  # where the gradients differ, which the last do not
        printed = {n: (leading - mean)[spread] / (total - whole)[spread] for n, mean in ((71, along), (72, whole))}
        return {
            self.smallest: Computed(float((along / whole).min()), rounding=1e-12),
            self.largest: Computed(float((along / whole).max()), rounding=1e-12),
            self.difference: Computed(float((printed[71] - printed[72]).min()), rounding=1e-12),
        }

    def published(self) -> Predictions:
        return {self.smallest: 1.0, self.largest: 1.0}

    def corrected(self) -> Predictions:
        return {self.smallest: AtMost(0.5, tightness="chosen"), self.largest: AtMost(1.0), self.difference: AtLeast(0.0)}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "at most 0.98 of it", {self.largest: AtMost(0.98)}
        yield "(71) above (72) by 0.01", {self.difference: AtLeast(0.01)}
        yield "at least nine tenths of it", {self.smallest: AtLeast(0.9)}

    @staticmethod
    def _parts(c: Curvature) -> tuple[float, ...]:
        """(u·∇L)², ‖∇L‖², uᵀFu and TrF."""
        along = c.leading_gradients
        numbers = along.mean() ** 2, c.gradient @ c.gradient, np.mean(along**2), (c.gradients**2).sum() / len(along)
        return tuple(map(float, numbers))
