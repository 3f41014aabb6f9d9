"""Claims of wu2019 about networks (Figure 1, Algorithm 1 and Eq. (17)). They need PyTorch; see `gradnoise.claims.training`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch

from gradnoise.claims.claim import Claim, Predictions, Quantities, Run, claim
from gradnoise.claims.judgement import Computed
from gradnoise.claims.prediction import AtLeast
from gradnoise.claims.training import HALF_WAY, MOSTLY, OBSERVED_SGD, SELDOM, AsSgd, Training, quick, share
from gradnoise.simulations.network_protocols import Comparison
from gradnoise.simulations.neural.dynamics import WeightedLosses
from gradnoise.simulations.neural.experiments import CROSS_ENTROPY
from gradnoise.simulations.neural.loss_operators import LossOperators
from gradnoise.simulations.neural.models import lenet, perceptron
from gradnoise.simulations.neural.weights import weights
from gradnoise.theory.sampling import Enhanced, Gaussian, GaussianMinibatch, Minibatch, SparseGaussian


@claim(
    "wu2019.algorithm1-network",
    "On a network, too, the gradient of the randomised loss 𝓛(θ)·W is GW: one backward pass for any noise",
    kind="exact",
    source="Algorithm 1; wu2020, Algorithm 2; ne2021, Algorithm 1",
)
class RandomisedLossGivesTheNoiseOfNetworks(Claim):
    """Gradient by the dynamics of the training loop against the gradients of all samples, one by one, in double precision."""

    noises = {
        "minibatch": Minibatch(12, 4),
        "Gaussian": Gaussian(12, 4),
        "sparse Gaussian": SparseGaussian(12, 4, 6),
        "Gaussian minibatch": GaussianMinibatch(12, 6, 4.0),
        "enhanced": Enhanced(Minibatch(12, 6), 2.0),
    }
    networks = ("LeNet", "perceptron")
    uncentred = "Gaussian against that of the mean gradient"

    def measure(self, run: Run) -> Quantities:
        found = {}
        for name, operators in self._networks().items():
            G = torch.cat(list(operators.sample_gradients())).T
            for noise_name, noise in self.noises.items():
                W = weights(noise, torch.Generator().manual_seed(1), dtype=torch.float64)
                dynamics = WeightedLosses(operators, noise, torch.Generator().manual_seed(1))
                operators.model.zero_grad()
                dynamics.backward()
                gradient = torch.cat([p.grad.reshape(-1) for p in operators.model.parameters() if p.grad is not None])
                scale = float((G @ W).norm())
                found[f"{name}, {noise_name}: ‖∇(𝓛W) − GW‖/‖GW‖"] = Computed(
                    float((gradient - G @ W).norm()) / scale, rounding=1e-12
                )
                if noise_name == "Gaussian":
                    missed = float((gradient - G.mean(dim=1)).norm()) / scale
                    found[f"{name}, {self.uncentred}"] = Computed(missed, rounding=1e-12)
        return found

    def published(self) -> Predictions:
        moved = {f"{name}, {self.uncentred}": AtLeast(0.1, tightness="chosen") for name in self.networks}
        return {**{f"{name}, {noise}: ‖∇(𝓛W) − GW‖/‖GW‖": 0.0 for name in self.networks for noise in self.noises}, **moved}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "the noise is lost on the way", {f"{name}, {self.uncentred}": 0.0 for name in self.networks}

    @staticmethod
    def _networks() -> dict[str, LossOperators]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            models = {
                "LeNet": (lenet().double(), (1, 28, 28)),
                "perceptron": (perceptron(8, 10, activation="tanh").double(), (8,)),
            }
            labels = torch.arange(12) % 10
            return {
                name: LossOperators(model, CROSS_ENTROPY, torch.randn(12, *shape, dtype=torch.float64), labels, chunk_size=5)
                for name, (model, shape) in models.items()
            }


@claim(
    "wu2019.fig1",
    "GD on the loss with the Rademacher regulariser generalises as SGD on a small network, which GD alone does not",
    kind="inequality",
    source="Figure 1 (a), Section 3",
    expected=None,
)
class RademacherRegulariserIsAsSgd(AsSgd):
    """The regulariser (1/N) Σ σᵢℓᵢ as it is defined, whose strength the paper tunes, and at the strength of SGD's noise."""

    tested = {"gd-rademacher": "GD-Rademacher", "msgd-rademacher": "MSGD-Rademacher", "gd": "GD"}
    protocol = quick("wu2020-fig1", dynamics=("sgd", *tested))

    def published(self) -> Predictions:
        return {HALF_WAY.format("GD-Rademacher"): MOSTLY, HALF_WAY.format("GD"): SELDOM}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "GD alone generalises as SGD", {HALF_WAY.format("GD"): MOSTLY}


@claim(
    "wu2019.eq17-network",
    "Fisher and gradient covariance of a network agree to a tenth, and no thousandth, whenever one looks: ‖∇L‖² ≤ TrF/10",
    kind="inequality",
    source="Eq. (17); wu2020, Section 4.2",
    expected=None,
)
class FisherIsCovariance(Training):
    """Share of the repetitions in which ‖∇L‖²/TrF is below a bound at each 50th of 2,000 steps of SGD from the initialisation."""

    tenth, thousandth = "share with ‖∇L‖² ≤ TrF/10 each time", "share with ‖∇L‖² ≤ TrF/1000 each time"
    protocol = OBSERVED_SGD

    def quantities(self, found: Comparison) -> Quantities:
        squared = found.of("sgd", "gradient_norm_squared")
        fisher = self.protocol.batch_size * found.of("sgd", "trace_covariance") + squared
        largest = (squared / fisher).max(axis=1)
        return {self.tenth: share(largest <= 0.1), self.thousandth: share(largest <= 0.001)}

    def published(self) -> Predictions:
        return {self.tenth: MOSTLY, self.thousandth: SELDOM}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "they agree to a part in a thousand", {self.thousandth: MOSTLY}


@claim(
    "wu2019.early",
    "At the beginning of the training the gradient dominates the noise, ‖∇L‖² > TrΣ, and later on it does not",
    kind="inequality",
    source="Appendix, M-SGD-Cov and M-SGD-Fisher; wu2020, Section 4.2",
    expected=None,
)
class GradientDominatesAtFirst(Training):
    """Share of the repetitions in which it does at the initialisation, and after 500 steps of SGD.

    In batches of 10 ‖∇L‖² is a twentieth of TrΣ at the initialisation: it would take a batch twenty times as large.
    """

    first, later = "share with ‖∇L‖² > TrΣ at step 0", "share with ‖∇L‖² > TrΣ at step 500"
    protocol = replace(OBSERVED_SGD, n_steps=500)

    def quantities(self, found: Comparison) -> Quantities:
        dominates = found.of("sgd", "gradient_norm_squared") > found.of("sgd", "trace_covariance")
        return {self.first: share(dominates[:, 0]), self.later: share(dominates[:, -1])}

    def published(self) -> Predictions:
        return {self.first: MOSTLY, self.later: SELDOM}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "the gradient dominates later on, too", {self.later: MOSTLY}
