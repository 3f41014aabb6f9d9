"""Stacks of convolutions, after each of which the maps are half as large."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from gradnoise.simulations.neural.models.initialisation import STARTS, initialise
from gradnoise.simulations.neural.models.normalisation import convolution
from gradnoise.simulations.neural.models.sizes import MOST_CHANNELS, MOST_UNITS, as_classes, scaled
from gradnoise.theory._validation import as_choice, as_count, shown

_SIDE, _CHANNELS = 32, 3  # of the images
_MOST_STACKS, _MOST_LAYERS = 5, 1000  # 32 is halved five times


def stacked_convolutions(
    stacks: Sequence[tuple[int, int]],
    n_classes: int = 10,
    *,
    hidden: Sequence[int] = (),
    width: float = 1.0,
    normalisation: str = "ghost-batch",
    ghost_size: int = 100,
    initialisation: str = "he",
) -> nn.Sequential:
    """Network of the kind of VGG, for 32 × 32 images in three channels.

    Convolutions are of 3 × 3 with padding, so that they keep the size of a map; each is normalised and followed by a ReLU, each
    stack by a max-pooling of 2.

    Parameters
    ----------
    stacks : sequence of (int, int)
        How many convolutions, and of how many channels, from one to five times.
    n_classes : int
    hidden : sequence of int
        Units of linear layers with ReLUs, after the convolutions and before the outputs. They are not normalised.
    width : float
        Factor of all channels and hidden units, above 0 and at most 16.
    normalisation : {"ghost-batch", "group", "none"}
        Of the convolutions, which have biases where there is none. With ghosts no sample has a loss of its own in training mode;
        with groups, of 16 channels, it has.
    ghost_size : int
        See `gradnoise.simulations.neural.models.GhostBatchNorm2d`.
    initialisation : {"he", "glorot", "torch"}
        See `gradnoise.simulations.neural.models.initialise`.

    Returns
    -------
    torch.nn.Sequential
        From (n, 3, 32, 32) to (n, n_classes).

    References
    ----------
    Simonyan, Zisserman (2014), Very Deep Convolutional Networks; ne2021, Section 3: "n × [a, b, c, d]" is (n, a) here.

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.models import stacked_convolutions
    >>> network = stacked_convolutions([(2, 16), (1, 32)], hidden=[50], normalisation="group")
    >>> network(torch.zeros(4, 3, 32, 32)).shape
    torch.Size([4, 10])
    """
    if not isinstance(stacks, tuple | list) or not all(isinstance(pair, tuple | list) and len(pair) == 2 for pair in stacks):
        raise TypeError(f"stacks must be pairs of integers in a tuple or list, got {shown(stacks)}")
    if not 1 <= len(stacks) <= _MOST_STACKS:
        raise ValueError(f"stacks must be from one to {_MOST_STACKS}, got {len(stacks)}")
    if not isinstance(hidden, tuple | list):
        raise TypeError(f"hidden must be integers in a tuple or list, got {shown(hidden)}")
    start = as_choice(initialisation, "initialisation", STARTS)
    layers: list[nn.Module] = []
    channels = _CHANNELS
    for n_convolutions, outputs in stacks:
        outputs = scaled(as_count(outputs, "stacks", at_most=MOST_CHANNELS), width)
        for _ in range(as_count(n_convolutions, "stacks", at_most=_MOST_LAYERS)):
            layers += [*convolution(channels, outputs, 3, normalisation, ghost_size), nn.ReLU()]
            channels = outputs
        layers.append(nn.MaxPool2d(2))
    units = channels * (_SIDE // 2 ** len(stacks)) ** 2
    layers.append(nn.Flatten())
    for size in hidden:
        size = scaled(as_count(size, "hidden", at_most=MOST_UNITS), width)
        layers += [nn.Linear(units, size), nn.ReLU()]
        units = size
    return initialise(nn.Sequential(*layers, nn.Linear(units, as_classes(n_classes))), start)
