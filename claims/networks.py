"""Claims of the papers about networks. They need PyTorch, and are verified with ``gradnoise verify --extra neural``."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import torch
from torch import nn

from gradnoise.claims.claim import Exact, Predictions, Quantities, Run, claim
from gradnoise.claims.judgement import Computed
from gradnoise.simulations.neural.dynamics import WeightedLosses
from gradnoise.simulations.neural.experiments import CROSS_ENTROPY
from gradnoise.simulations.neural.loss_operators import LossOperators
from gradnoise.simulations.neural.models import lenet, perceptron, vgg11
from gradnoise.simulations.neural.weights import weights
from gradnoise.theory.sampling import Enhanced, Gaussian, GaussianMinibatch, Minibatch, SparseGaussian


def parameters(model: nn.Module) -> int:
    """Count the trainable parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


@claim(
    "zhu2019.parameters",
    "The LeNet-like network has 11,330 parameters, VGG-11 without batch normalisation 9,750,922",
    source="Section 5.3 and Appendix D.4",
)
class ParameterCounts(Exact):
    """Counted in the networks, which are then run on an image."""

    small, large = "LeNet-like network", "VGG-11"

    def measure(self, run: Run) -> Quantities:
        found = {}
        for label, model, shape in ((self.small, lenet(), (1, 1, 28, 28)), (self.large, vgg11(), (1, 3, 32, 32))):
            outputs = model(torch.zeros(shape)).shape[1]
            found[label] = Computed(parameters(model) if outputs == 10 else 0, 0.0)
        return found

    def published(self) -> Predictions:
        return {self.small: 11_330, self.large: 9_750_922}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        convolutions = [3, 64, 128, 256, 256, 512, 512, 512, 512]
        features = sum(9 * a * b + b for a, b in itertools.pairwise(convolutions))
        yield "no biases", {self.small: 25 * 10 + 25 * 100 + 160 * 50 + 50 * 10}
        yield "convolutions with padding", {self.small: 260 + 2_510 + 49 * 10 * 50 + 50 + 510}
        yield "one linear layer after the convolutions", {self.large: features + 5_130}


@claim(
    "wu2019.algorithm1-network",
    "On a network, too, the gradient of the randomised loss 𝓛(θ)·W is GW: one backward pass for any noise",
    source="Algorithm 1; wu2020, Algorithm 2; ne2021, Algorithm 1",
)
class RandomisedLossOfNetworks(Exact):
    """Gradient by the dynamics of the training loop against the gradients of all samples, one by one, in double precision."""

    noises = {
        "minibatch": Minibatch(12, 4),
        "Gaussian": Gaussian(12, 4),
        "sparse Gaussian": SparseGaussian(12, 4, 6),
        "Gaussian minibatch": GaussianMinibatch(12, 6, 4.0),
        "enhanced": Enhanced(Minibatch(12, 6), 2.0),
    }
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
                found[f"{name}, {noise_name}: ‖∇(𝓛W) − GW‖/‖GW‖"] = Computed(float((gradient - G @ W).norm()) / scale, 1e-12)
                if noise_name == "Gaussian":
                    missed = float((gradient - G.mean(dim=1)).norm()) / scale
                    found[f"{name}, {self.uncentred}"] = Computed(missed, 1e-12)
        return found

    def published(self) -> Predictions:
        return {f"{name}, {noise}: ‖∇(𝓛W) − GW‖/‖GW‖": 0.0 for name in ("LeNet", "perceptron") for noise in self.noises}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "the noise is lost on the way", {f"{name}, {self.uncentred}": 0.0 for name in ("LeNet", "perceptron")}

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
