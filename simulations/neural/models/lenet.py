"""The small convolutional network of zhu2019, wu2019 and wu2020."""

from __future__ import annotations

from torch import nn

from gradnoise.simulations.neural.models.sizes import MOST_CHANNELS, MOST_UNITS, as_classes
from gradnoise.theory._validation import as_count


def lenet(n_classes: int = 10, channels: int = 10, hidden: int = 50) -> nn.Sequential:
    """LeNet-like network for 28 × 28 images with one channel: 11,330 parameters for ten classes.

    Two convolutions of 5 × 5 without padding, each followed by a max-pooling of 2 and a ReLU; then two linear layers.

    Parameters
    ----------
    n_classes, channels, hidden : int
        Outputs, channels of both convolutions, and units between the linear layers.

    Returns
    -------
    torch.nn.Sequential
        From (n, 1, 28, 28) to (n, n_classes).

    References
    ----------
    zhu2019, Appendix D.3.

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.models import lenet
    >>> lenet()(torch.zeros(3, 1, 28, 28)).shape
    torch.Size([3, 10])
    >>> sum(p.numel() for p in lenet().parameters())
    11330
    """
    c, h = as_count(channels, "channels", at_most=MOST_CHANNELS), as_count(hidden, "hidden", at_most=MOST_UNITS)
    return nn.Sequential(
        nn.Conv2d(1, c, 5), nn.MaxPool2d(2), nn.ReLU(),
        nn.Conv2d(c, c, 5), nn.MaxPool2d(2), nn.ReLU(),
        nn.Flatten(), nn.Linear(16 * c, h), nn.ReLU(), nn.Linear(h, as_classes(n_classes)),
    )  # fmt: skip
