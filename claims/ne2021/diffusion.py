"""The claim that noise enhancement leads to the diffusion of SGD, if its steps are small and its noise is strong."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np

from gradnoise.claims.claim import Claim, Predictions, Quantities, Run, claim
from gradnoise.claims.convergence import BATCH_SIZE, CIRCLE_START, FEATURES, N_POINTS, START, TARGETS, TIME, circle, slope
from gradnoise.claims.judgement import Computed
from gradnoise.claims.ne2021.enhancement import enhancement
from gradnoise.simulations.sampling import outcomes
from gradnoise.theory.diffusion import ParameterMoments, sde_moments, svag_moments, svag_noise
from gradnoise.theory.sampling import Enhanced, Minibatch

Number = TypeVar("Number", int, float)

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
    """Slopes in 1/l: exact moments of least squares, and exact expectations on a circle; and all paths at two small l."""

    #: Tends to gradient descent, so that its distance to the SDE stays.
    small_steps = "circle, E L, steps of η/l alone"
    amplifications = (3, 7, 12)
    #: l and the number of steps of SGD that are replaced: all paths of b = 1 are few enough to follow.
    enumerated = ((3, 1), (2, 2))

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
            **{
                label: Computed(svag_noise(noise, l).centred_power / noise.centred_power, rounding=1e-12)
                for label, l in self._powers(lambda l: l).items()
            },
            **{label: Computed(value, rounding=1e-12) for label, value in self._moments(_of_all_paths).items()},
        }

    def published(self) -> Predictions:
        slopes = dict.fromkeys(("least squares, E θ", "least squares, E θθᵀ", "circle, E L"), 1.0)
        return {**slopes, self.small_steps: 0.0, **self._powers(float), **self._moments(_by_formula)}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "as 1/l²", {label: 2.0 for label, order in self.published().items() if order == 1.0}
        yield "steps of η/l are enough", {self.small_steps: 1.0}
        yield "α = √l", self._powers(lambda l: enhancement(math.sqrt(l)))
        yield "α = (1+√(2l+1))/2", self._powers(lambda l: l + 1)
        yield "one step too few", self._moments(lambda l, n_steps: _of_all_paths(l, n_steps, missing=1))
        yield "the noise of SGD in each step", self._moments(lambda l, n_steps: _of_all_paths(l, n_steps, alpha=1.0))

    def _powers(self, of: Callable[[int], Number]) -> dict[str, Number]:
        """Growth of the covariance, as a function of l."""
        return {f"c(α) at l = {l}": of(l) for l in self.amplifications}

    def _moments(self, of: Callable[[int, int], ParameterMoments]) -> dict[str, float]:
        """Two numbers of the moments after l steps for each of SGD's, as a function of l and their number."""
        found = {f"l = {l}, {n_steps} of SGD": of(l, n_steps) for l, n_steps in self.enumerated}
        return {
            **{f"E θ₁, {label}": float(moments.mean[0]) for label, moments in found.items()},
            **{f"E ‖θ‖², {label}": float(np.trace(moments.second_moment)) for label, moments in found.items()},
        }

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


def _by_formula(l: int, n_steps: int) -> ParameterMoments:
    return svag_moments(FEATURES, TARGETS, START, SVAG_STEP, 1, n_steps, l)


def _of_all_paths(l: int, n_steps: int, missing: int = 0, alpha: float | None = None) -> ParameterMoments:
    """Moments of SVAG of one sample a step, by following every path; with steps missing, or with another α."""
    alpha = (1 + math.sqrt(2 * l - 1)) / 2 if alpha is None else alpha
    law = outcomes(Enhanced(Minibatch(N_POINTS, 1), alpha))
    points, chances = START[np.newaxis], np.ones(1)
    for _ in range(l * n_steps - missing):
        residuals = points @ FEATURES.T - TARGETS
        gradients = np.einsum("pi,ki,id->pkd", residuals, law.vectors, FEATURES)
        points = (points[:, np.newaxis] - SVAG_STEP / l * gradients).reshape(-1, points.shape[1])
        chances = np.outer(chances, law.probabilities).ravel()
    return ParameterMoments(chances @ points, (points.T * chances) @ points)
