"""What claims about training networks share; they are judged on digits. They need PyTorch.

A sample is a repetition of the whole training, with data, initialisation and noise of its own, on scikit-learn's digits with a
perceptron of two hidden layers: the papers' statements, not their numbers, are what is judged. All of it is in how many of the
repetitions something happens, whose interval is exact; means of losses and accuracies are too skew for Student's, now and then.
The number of repetitions is fixed, and so is the bound: half of them. With some dozens of repetitions intervals of 1 − 10⁻⁹
would be empty words, so here they are at 99.9 % each: with a fresh seed one of these claims may well be judged wrongly in fifty
runs. What is only measured has no expected verdict.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from gradnoise.claims.claim import Claim, Quantities, Run
from gradnoise.claims.prediction import AtLeast, AtMost
from gradnoise.simulations.network_protocols import PROTOCOLS, Comparison, Protocol
from gradnoise.simulations.neural.comparison import compare
from gradnoise.simulations.statistics import Proportion

#: Repetitions by which two out of three are told from half with a probability of 70 %, and three out of four with 99.6 %.
MANY = 128
MOSTLY, SELDOM = AtLeast(0.5, tightness="chosen"), AtMost(0.5, tightness="chosen")


def quick(figure: str, **changes: object) -> Protocol:
    """Protocol of a figure on digits, with changes."""
    return replace(PROTOCOLS[figure]["quick"], **changes)  # type: ignore[arg-type]


def share(event: NDArray[np.bool_]) -> Proportion:
    """How often an event happened, of an array of bool."""
    return Proportion(int(np.sum(event)), len(event))


class Training(Claim):
    """A claim that is judged on repetitions of a training."""

    confidence = 0.999
    pilot_paths = 24
    protocol: Protocol

    def margin(self, label: str) -> None:
        """No margin, hence no more repetitions than the pilot's."""

    def measure(self, run: Run) -> Quantities:
        return self.quantities(compare(self.protocol, run.n_paths, rng=run.at("repetitions"), device="cpu", progress=False))

    def quantities(self, found: Comparison) -> Quantities:
        """Return what is judged, of the repetitions."""
        raise NotImplementedError


#: SGD from the initialisation, its noise measured at every 50th of 2,000 steps.
OBSERVED_SGD = quick("zhu2019-fig5", descent_steps=0, n_steps=2_000, every=50, n_eigenvalues=0, measured=("noise",))


GAIN = "share in which SGD ends above GD"
HALF_WAY = "share in which {} ends above the middle of GD and SGD"


def gain(found: Comparison) -> Quantities:
    """Return in how many of the repetitions SGD generalises better in the end than GD."""
    sgd, gd = (found.of(name, "test_accuracy")[:, -1] for name in ("sgd", "gd"))
    return {GAIN: share(sgd > gd)}


class AsSgd(Training):
    """Test accuracies against the middle of those of GD and SGD from the same start: above it is nearer to SGD; a tie is not."""

    pilot_paths = MANY
    tested: Mapping[str, str]

    def quantities(self, found: Comparison) -> Quantities:
        end = {name: found.of(name, "test_accuracy")[:, -1] for name in ("gd", "sgd", *self.tested)}
        middle = (end["gd"] + end["sgd"]) / 2
        above = {HALF_WAY.format(label): share(end[name] > middle) for name, label in self.tested.items()}
        return {**gain(found), **above}
