"""Claims of wu2020 about networks (Figure 1, Sections 4.1 and 4.6). They need PyTorch; see `gradnoise.claims.training`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradnoise.claims.claim import Predictions, Quantities, claim
from gradnoise.claims.training import GAIN, HALF_WAY, MANY, MOSTLY, SELDOM, AsSgd, Training, quick, share
from gradnoise.simulations.network_protocols import Comparison


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
        of_classes = {HALF_WAY.format(label): SELDOM if name == "gd" else MOSTLY for name, label in self.tested.items()}
        return {GAIN: MOSTLY, **of_classes}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "GD generalises as SGD", {HALF_WAY.format("GD"): MOSTLY}


@claim(
    "wu2020.gaussian-faster-network",
    "On networks Gaussian MSGD converges faster than SGD, as SGD with a larger batch does",
    kind="inequality",
    source="Sections 4.1 and 4.6",
    expected=None,
)
class GaussianIsFasterOnNetworks(Training):
    """Share of the repetitions in which the mean over the training of the logarithm of its loss is below that of SGD.

    A share has an interval whatever the law; the differences themselves are too skew now and then for one of their mean.
    """

    names = {"msgd-cov": "MSGD-Cov", "msgd-fisher": "MSGD-Fisher", "large-batch-sgd": "SGD with a batch four times as large"}
    protocol = quick("wu2020-fig1", dynamics=("sgd", *names))
    pilot_paths = MANY

    def quantities(self, found: Comparison) -> Quantities:
        level = {name: np.log(found.of(name, "train_loss")).mean(axis=1) for name in self.protocol.dynamics}
        return {self._label(label): share(level[name] < level["sgd"]) for name, label in self.names.items()}

    def published(self) -> Predictions:
        # The larger batch is a control: what is known to be faster must show as faster.
        return {self._label(label): MOSTLY for label in self.names.values()}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "a larger batch is slower", {self._label(self.names["large-batch-sgd"]): SELDOM}

    @staticmethod
    def _label(name: str) -> str:
        return f"share in which {name} is faster than SGD"
