"""Claims of wu2020 about networks (Figure 1, Sections 4.1 and 4.6). They need PyTorch; see `gradnoise.claims.training`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradnoise.claims.claim import Predictions, Quantities, claim
from gradnoise.claims.training import ABOVE, BELOW, HALF_WAY, REPETITIONS_OF_MEANS, AsSgd, Training, quick
from gradnoise.simulations.network_protocols import Comparison
from gradnoise.simulations.statistics import Estimate


@claim(
    "wu2020.fig1",
    "MSGD of every class generalises as SGD, better than GD, on a small network; so does Algorithm 2 with a large batch",
    kind="inequality",
    source="Figure 1, Sections 4.2 to 4.5",
    expected=None,
)
class EveryClassIsAsSgd(AsSgd):
    """Gaussian (Cov and Fisher), Bernoulli and sparse Gaussian noise, and Algorithm 2."""

    tested = {
        "msgd-cov": "MSGD-Cov",
        "msgd-fisher": "MSGD-Fisher",
        "msgd-bernoulli": "MSGD-Bernoulli",
        "msgd-fisher-b": "MSGD-[Fisher-B]",
        "msgd-fisher-batch": "[MSGD-Fisher]-B",
        "gd": "GD",
    }
    protocol = quick("wu2020-fig1", dynamics=("sgd", *tested))

    def published(self) -> Predictions:
        of_classes = {HALF_WAY.format(label): BELOW if name == "gd" else ABOVE for name, label in self.tested.items()}
        return {self.gap: ABOVE, **of_classes}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "GD generalises as SGD", {HALF_WAY.format("GD"): ABOVE}


@claim(
    "wu2020.gaussian-faster-network",
    "On networks Gaussian MSGD converges faster than SGD, as SGD with a larger batch does",
    kind="inequality",
    source="Sections 4.1 and 4.6",
    expected=None,
)
class GaussianIsFasterOnNetworks(Training):
    """Mean over the training of the logarithm of its loss, against that of SGD."""

    names = {"msgd-cov": "MSGD-Cov", "msgd-fisher": "MSGD-Fisher", "large-batch-sgd": "SGD with a batch four times as large"}
    protocol = quick("wu2020-fig1", dynamics=("sgd", *names))
    pilot_paths = REPETITIONS_OF_MEANS

    def quantities(self, found: Comparison) -> Quantities:
        level = {name: np.log(found.of(name, "train_loss")).mean(axis=1) for name in self.protocol.dynamics}
        return {self._label(label): Estimate.of(level[name] - level["sgd"]) for name, label in self.names.items()}

    def published(self) -> Predictions:
        # The larger batch is a control: what is known to be faster must show as faster.
        return {self._label(label): BELOW for label in self.names.values()}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "a larger batch is slower", {self._label(self.names["large-batch-sgd"]): ABOVE}

    @staticmethod
    def _label(name: str) -> str:
        return f"mean log loss of {name} less that of SGD"
