"""Small networks in double precision, with tied, frozen and normalised parameters."""

from functools import partial

import torch
from torch import nn
from torch.nn import functional

LOSS = partial(functional.cross_entropy, reduction="none")
N, CLASSES = 9, 3


class Tied(nn.Module):
    """One matrix used twice, and a frozen output layer."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, 4, bias=False)
        self.second.weight = self.first.weight
        self.norm = nn.LayerNorm(4)
        self.out = nn.Linear(4, CLASSES)
        for p in self.out.parameters():
            p.requires_grad_(False)

    def forward(self, x):
        return self.out(self.norm(torch.tanh(self.second(torch.tanh(self.first(x))))))


def perceptron():
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, CLASSES))


def convolutional():
    layers = nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.MaxPool2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(16, CLASSES)
    return nn.Sequential(nn.Unflatten(1, (1, 6, 6)), *layers)


def batch_normalised():
    return nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, CLASSES)).eval()


BUILDERS = {
    "perceptron": (perceptron, 4),
    "convolutional": (convolutional, 36),
    "tied": (Tied, 4),
    "batch norm": (batch_normalised, 4),
}


def problem(name, seed=0):
    """Return a model, inputs and targets."""
    torch.manual_seed(seed)
    build, width = BUILDERS[name]
    model = build().double()
    return model, torch.randn(N, width, dtype=torch.float64), torch.arange(N) % CLASSES
