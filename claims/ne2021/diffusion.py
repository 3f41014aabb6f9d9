"""The claim that noise enhancement leads to the diffusion of SGD, if its steps are small and its noise is strong."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np

from gradnoise.claims.claim import Claim, Predictions, Quantities, Run, claim
from gradnoise.claims.convergence import BATCH_SIZE, CIRCLE_START, FEATURES, START, TARGETS, TIME, circle, slope
from gradnoise.claims.judgement import Computed
from gradnoise.claims.ne2021.enhancement import enhancement
from gradnoise.simulations.sampling import outcomes
from gradnoise.theory.diffusion import sde_moments, svag_moments, svag_noise
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
    """Slopes in 1/l: exact moments of least squares, and exact expectations on a circle."""

    #: Tends to gradient descent, so that its distance to the SDE stays.
    small_steps = "circle, E L, steps of η/l alone"
    amplifications = (3, 7, 12)

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
        }

    def published(self) -> Predictions:
        slopes = dict.fromkeys(("least squares, E θ", "least squares, E θθᵀ", "circle, E L"), 1.0)
        return {**slopes, self.small_steps: 0.0, **self._powers(float)}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "as 1/l²", {label: 2.0 for label, order in self.published().items() if order == 1.0}
        yield "steps of η/l are enough", {self.small_steps: 1.0}
        yield "α = √l", self._powers(lambda l: enhancement(math.sqrt(l)))
        yield "α = (1+√(2l+1))/2", self._powers(lambda l: l + 1)

    def _powers(self, of: Callable[[int], Number]) -> dict[str, Number]:
        """Growth of the covariance, as a function of l."""
        return {f"c(α) at l = {l}": of(l) for l in self.amplifications}

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
