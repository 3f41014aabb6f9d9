"""ResNet-18 of wu2019 and wu2020."""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from gradnoise.simulations.neural.models.initialisation import STARTS, initialise
from gradnoise.simulations.neural.models.normalisation import convolution
from gradnoise.simulations.neural.models.sizes import as_classes, scaled
from gradnoise.theory._validation import as_choice

_STAGES = (64, 128, 256, 512)


def resnet18(
    n_classes: int = 10,
    width: float = 1.0,
    normalisation: str = "ghost-batch",
    ghost_size: int = 100,
    initialisation: str = "he",
) -> nn.Sequential:
    """ResNet-18 in its form for 32 × 32 images in three channels: 11,173,962 parameters for ten classes.

    Against the form for larger images the first convolution is of 3 × 3 with a stride of one, and no pooling follows it. There
    are four stages of two residual blocks, each of which but the first begins with a stride of two, and a mean over the maps.

    Parameters
    ----------
    n_classes : int
    width : float
        Factor of all channels, above 0 and at most 16.
    normalisation : {"ghost-batch", "group", "none"}
        With ghosts, as in the papers, no sample has a loss of its own in training mode; with groups, of 16 channels and as many
        parameters, it has. Convolutions have biases where there is neither.
    ghost_size : int
        See `gradnoise.simulations.neural.models.GhostBatchNorm2d`. The papers do not tell theirs; 100 is their batch size.
    initialisation : {"he", "glorot", "torch"}
        See `gradnoise.simulations.neural.models.initialise`.

    Returns
    -------
    torch.nn.Sequential
        From (n, 3, 32, 32) to (n, n_classes).

    References
    ----------
    wu2019, Appendix B.3; wu2020, Figure 2. He, Zhang, Ren, Sun (2016), Deep Residual Learning for Image Recognition.

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.models import resnet18
    >>> with torch.device("meta"):  # without memory for the parameters
    ...     sum(p.numel() for p in resnet18().parameters())
    11173962
    """
    start = as_choice(initialisation, "initialisation", STARTS)
    make = partial(convolution, normalisation=normalisation, ghost_size=ghost_size)
    channels = scaled(_STAGES[0], width)
    layers: list[nn.Module] = [*make(3, channels, 3), nn.ReLU()]
    for stage in _STAGES:
        outputs, stride = scaled(stage, width), 1 if stage == _STAGES[0] else 2
        for first in (stride, 1):
            inner = [*make(channels, outputs, 3, stride=first), nn.ReLU(), *make(outputs, outputs, 3)]
            same = first == 1 and channels == outputs
            layers.append(_Residual(inner, [] if same else make(channels, outputs, 1, stride=first)))
            channels = outputs
    pooled = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, as_classes(n_classes))]
    return initialise(nn.Sequential(*layers, *pooled), start)


class _Residual(nn.Module):
    """What some layers make of maps, added to the maps, which are projected where they change their shape."""

    def __init__(self, inner: list[nn.Module], shortcut: list[nn.Module]) -> None:
        super().__init__()
        self.inner, self.shortcut = nn.Sequential(*inner), nn.Sequential(*shortcut)

    def forward(self, maps: Tensor) -> Tensor:
        return (self.inner(maps) + self.shortcut(maps)).relu()
