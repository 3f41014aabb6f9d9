"""Claims of zhu2019 about networks (Figures 3, 5, 7 and 8). They need PyTorch; see `gradnoise.claims.training`."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import torch
from torch import nn

from gradnoise.claims.claim import Claim, Predictions, Quantities, Run, claim
from gradnoise.claims.judgement import Computed
from gradnoise.claims.training import GAIN, MOSTLY, OBSERVED_SGD, SELDOM, Training, gain, quick, share
from gradnoise.simulations.network_protocols import Comparison
from gradnoise.simulations.neural.models import lenet, vgg11
from gradnoise.simulations.statistics import Proportion

#: A network has left a minimum in which it knows all labels once it knows fewer of them than this.
LEFT = 0.9


def parameters(model: nn.Module) -> int:
    """Count the trainable parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


@claim(
    "zhu2019.parameters",
    "The LeNet-like network has 11,330 parameters, VGG-11 without batch normalisation 9,750,922",
    kind="exact",
    source="Section 5.3 and Appendix D.4",
)
class ParameterCounts(Claim):
    """Counted in the networks, which are then run on an image."""

    small, large = "LeNet-like network", "VGG-11"

    def measure(self, run: Run) -> Quantities:
        found = {}
        for label, model, shape in ((self.small, lenet(), (1, 1, 28, 28)), (self.large, vgg11(), (1, 3, 32, 32))):
            outputs = model(torch.zeros(shape)).shape[1]
            found[label] = Computed(parameters(model) if outputs == 10 else 0)
        return found

    def published(self) -> Predictions:
        return {self.small: 11_330, self.large: 9_750_922}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        convolutions = [3, 64, 128, 256, 256, 512, 512, 512, 512]
        features = sum(9 * a * b + b for a, b in itertools.pairwise(convolutions))
        yield "no biases", {self.small: 25 * 10 + 25 * 100 + 160 * 50 + 50 * 10}
        yield "convolutions with padding", {self.small: 260 + 2_510 + 49 * 10 * 50 + 50 + 510}
        yield "one linear layer after the convolutions", {self.large: features + 5_130}


LEAVERS = {"sgd": "SGD", "gld_leading": "GLD leading", "gld_hessian": "GLD Hessian", "gld_eigvec": "GLD 1st eigvec(H)"}
STAYERS = {"gd": "GD", "gld_const": "GLD const", "gld_dynamic": "GLD dynamic", "gld_diag": "GLD diag"}


def shares_left(found: Comparison, within: int) -> dict[str, Proportion]:
    """By label, in what share of the repetitions a dynamics has left the minimum within that many steps."""
    early = found.steps <= within
    left = {label: found.of(name, "train_accuracy")[:, early].min(axis=1) < LEFT for name, label in (LEAVERS | STAYERS).items()}
    return {label: share(event) for label, event in left.items()}


@claim(
    "zhu2019.fig3",
    "SGD and noise along the curvature leave the minimum that GD found, SGD to generalise better; GD, GLD and GLD diag stay",
    kind="inequality",
    source="Figure 3, Section 5.3",
    expected=None,
)
class NoiseAlongTheCurvatureEscapes(Training):
    """Share of the repetitions in which a dynamics leaves the minimum, and of those in which SGD gains accuracy by it."""

    protocol = quick("zhu2019-fig3", measured=())
    pilot_paths = 64

    def quantities(self, found: Comparison) -> Quantities:
        left = shares_left(found, self.protocol.n_steps)
        return {**{f"share of {label} that leaves": p for label, p in left.items()}, **gain(found)}

    def published(self) -> Predictions:
        leave = {f"share of {label} that leaves": MOSTLY for label in LEAVERS.values()}
        stay = {f"share of {label} that leaves": SELDOM for label in STAYERS.values()}
        return {**leave, **stay, GAIN: MOSTLY}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "isotropic noise of that strength leaves, too", {"share of GLD dynamic that leaves": MOSTLY}
        yield "diagonal noise leaves, too", {"share of GLD diag that leaves": MOSTLY}
        yield "SGD stays", {"share of SGD that leaves": SELDOM}
        yield "the minimum of GD generalises better", {GAIN: SELDOM}


@claim(
    "zhu2019.fig5",
    "At the minimum of GD the noise of SGD follows the curvature: Tr(HΣ) is far above Tr(HΣ̄), and â of order one or more; "
    "later on Tr(HΣ) is 10⁷ times smaller",
    kind="inequality",
    source="Figure 5, Section 5.3",
    expected=None,
)
class NoiseFollowsTheCurvature(Training):
    """Share of the repetitions in which Tr(HΣ) is ten times Tr(HΣ̄), â at least one, and Tr(HΣ) falls 10⁷-fold.

    In the three runs on Fashion-MNIST that are kept for the figure it falls 97-, 1,310- and 2,342-fold.
    """

    far = "share with Tr(HΣ) ≥ 10 Tr(HΣ̄) at the start"
    isotropic = "share with Tr(HΣ) ≤ 2 Tr(HΣ̄) at the start"
    order_one = "share with â ≥ 1 at the start"
    falls, falls_at_all = "share in which Tr(HΣ) falls 10⁷-fold", "share in which Tr(HΣ) falls to a tenth"
    protocol = quick("zhu2019-fig5", n_steps=4_000, every=4_000, n_eigenvalues=0, n_probes=100)

    def quantities(self, found: Comparison) -> Quantities:
        indicator, isotropic = found.of("sgd", "indicator"), found.of("sgd", "isotropic_indicator")
        return {
            self.far: share(indicator[:, 0] >= 10 * isotropic[:, 0]),
            self.isotropic: share(indicator[:, 0] <= 2 * isotropic[:, 0]),
            self.order_one: share(found.of("sgd", "alignment")[:, 0] >= 1),
            self.falls: share(indicator[:, -1] <= 1e-7 * indicator[:, 0]),
            self.falls_at_all: share(indicator[:, -1] <= 0.1 * indicator[:, 0]),
        }

    def published(self) -> Predictions:
        said = dict.fromkeys((self.far, self.order_one, self.falls, self.falls_at_all), MOSTLY)
        return {**said, self.isotropic: SELDOM}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "SGD's noise is isotropic", {self.isotropic: MOSTLY}
        yield "no alignment with the first eigenvector", {self.order_one: SELDOM}


@claim(
    "zhu2019.fig7",
    "Late in training the noise dominates the gradient: TrΣ > ‖∇L‖²",
    kind="inequality",
    source="Figure 7, Appendix C.1",
    expected=None,
)
class NoiseDominatesTheGradient(Training):
    """Share of the repetitions in which it does after 2,000 steps of SGD from the initialisation."""

    late = "share with TrΣ > ‖∇L‖² after 2,000 steps"
    protocol = OBSERVED_SGD

    def quantities(self, found: Comparison) -> Quantities:
        dominates = found.of("sgd", "trace_covariance") > found.of("sgd", "gradient_norm_squared")
        return {self.late: share(dominates[:, -1])}

    def published(self) -> Predictions:
        return {self.late: MOSTLY}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "the gradient dominates", {self.late: SELDOM}


@claim(
    "zhu2019.fig8",
    "SGD, GLD 1st eigvec, Hessian and leading leave the minimum of GD within 50 steps; GD, GLD const, dynamic and diag do not",
    kind="inequality",
    source="Figure 8, Appendix C.2",
    expected=None,
)
class NoiseAlongTheCurvatureEscapesAtOnce(Training):
    """Share of the repetitions in which a dynamics has left after 50 and after 200 steps."""

    protocol = quick("zhu2019-fig3", measured=(), n_steps=200, every=10)
    pilot_paths = 48

    def quantities(self, found: Comparison) -> Quantities:
        left = {steps: shares_left(found, steps) for steps in (50, 200)}
        return {f"share of {label} that has left after {k} steps": p for k, shares in left.items() for label, p in shares.items()}

    def published(self) -> Predictions:
        leave = {f"share of {label} that has left after {k} steps": MOSTLY for k in (50, 200) for label in LEAVERS.values()}
        return leave | {f"share of {label} that has left after 50 steps": SELDOM for label in STAYERS.values()}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        for label in LEAVERS.values():
            yield f"{label} stays for 200 steps", {f"share of {label} that has left after 200 steps": SELDOM}
