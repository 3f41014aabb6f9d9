"""VGG-11 of zhu2019, wu2019 and wu2020."""

from __future__ import annotations

from torch import nn

from gradnoise.simulations.neural.models.stacked_convolutions import stacked_convolutions

_STACKS = ((1, 64), (1, 128), (2, 256), (2, 512), (2, 512))


def vgg11(n_classes: int = 10, width: float = 1.0, initialisation: str = "he") -> nn.Sequential:
    """VGG-11 for 32 × 32 images in three channels, without batch normalisation: 9,750,922 parameters for ten classes.

    Eight convolutions of 3 × 3 with five max-poolings in between, and two hidden layers of 512.

    Parameters
    ----------
    n_classes : int
    width : float
        Factor of all channels and hidden units, above 0 and at most 16: 611,434 parameters at 1/4, 153,530 at 1/8.
    initialisation : {"he", "glorot", "torch"}
        See `gradnoise.simulations.neural.models.initialise`. The papers do not say how they begin; "he" trains.

    Returns
    -------
    torch.nn.Sequential
        From (n, 3, 32, 32) to (n, n_classes).

    Notes
    -----
    Without normalisation the start decides. For images of uniform pixels the outputs have a standard deviation between images of
    .08 from "he", 5·10⁻⁴ from "glorot" and 4·10⁻⁶ from "torch". In 2,000 steps of SGD on CIFAR-10 (at a width of 1/8, with
    batches of 100 and a rate of .05, one seed) the loss fell from ln 10 = 2.30 to 1.34 with "he"; with "glorot" it stood still
    for 400 steps, and fell to 1.69; with "torch" it stood still all the time.

    References
    ----------
    zhu2019, Section 5.4 and Appendix D.4. He, Zhang, Ren, Sun (2015), Delving Deep into Rectifiers, Eq. (10): the start.

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.models import vgg11
    >>> with torch.device("meta"):  # without memory for the parameters
    ...     sum(p.numel() for p in vgg11().parameters())
    9750922
    """
    return stacked_convolutions(
        _STACKS, n_classes, hidden=(512, 512), width=width, normalisation="none", initialisation=initialisation
    )
