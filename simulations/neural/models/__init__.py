"""The networks of the papers.

- `lenet`, `vgg11` and `ClippedPerceptron` are those of zhu2019, the first two also of wu2019 and wu2020, whose `resnet18` is
- `f1`, `c1` and `c2` are those of ne2021; `perceptron` and `stacked_convolutions` make others of their kinds
- `initialise` is where they begin; `GhostBatchNorm2d` normalises a batch in parts of one size, whatever that of the batch is

Where one is given a ``width``, all its channels and hidden units are multiplied with that, and rounded.
"""

from gradnoise.simulations.neural.models.clipped_perceptron import ClippedPerceptron
from gradnoise.simulations.neural.models.ghost_batch_norm import GhostBatchNorm2d
from gradnoise.simulations.neural.models.initialisation import initialise
from gradnoise.simulations.neural.models.lenet import lenet
from gradnoise.simulations.neural.models.noise_enhancement import c1, c2, f1
from gradnoise.simulations.neural.models.perceptron import perceptron
from gradnoise.simulations.neural.models.resnet import resnet18
from gradnoise.simulations.neural.models.stacked_convolutions import stacked_convolutions
from gradnoise.simulations.neural.models.vgg import vgg11

__all__ = [
    "ClippedPerceptron",
    "GhostBatchNorm2d",
    "c1",
    "c2",
    "f1",
    "initialise",
    "lenet",
    "perceptron",
    "resnet18",
    "stacked_convolutions",
    "vgg11",
]
