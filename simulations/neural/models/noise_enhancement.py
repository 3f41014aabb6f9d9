"""The networks of ne2021, by its names for them."""

from __future__ import annotations

from torch import nn

from gradnoise.simulations.neural.models.initialisation import STARTS, initialise
from gradnoise.simulations.neural.models.perceptron import perceptron
from gradnoise.simulations.neural.models.sizes import scaled
from gradnoise.simulations.neural.models.stacked_convolutions import stacked_convolutions
from gradnoise.theory._validation import as_choice

_C1 = ((3, 64), (3, 128), (3, 256))
_C2 = (*_C1, (2, 512))


def f1(n_classes: int = 10, width: float = 1.0, initialisation: str = "glorot") -> nn.Sequential:
    """F1: seven hidden layers of 500 ReLUs for 28 × 28 images with one channel, of 1,900,510 parameters for ten classes.

    Parameters
    ----------
    n_classes : int
    width : float
        Factor of all hidden units, above 0 and at most 16.
    initialisation : {"glorot", "he", "torch"}
        See `gradnoise.simulations.neural.models.initialise`; that of the paper is Glorot's.

    Returns
    -------
    torch.nn.Sequential
        From (n, 1, 28, 28) to (n, n_classes).

    References
    ----------
    ne2021, Section 3.

    Examples
    --------
    >>> from gradnoise.simulations.neural.models import f1
    >>> sum(p.numel() for p in f1().parameters())  # (784 + 1) · 500 + 6 · (500 + 1) · 500 + (500 + 1) · 10
    1900510
    """
    start = as_choice(initialisation, "initialisation", STARTS)
    return initialise(perceptron(28 * 28, n_classes, 7 * (scaled(500, width),)), start)


def c1(
    n_classes: int = 10,
    width: float = 1.0,
    normalisation: str = "ghost-batch",
    ghost_size: int = 100,
    initialisation: str = "glorot",
) -> nn.Sequential:
    """C1: three stacks of three convolutions, of 64, 128 and 256 channels: 1,962,314 parameters for ten classes.

    Ghosts of 100 samples are normalised together, as the paper has it. It does not say whether convolutions are padded or have
    biases: without padding there would be nothing left of the third stack's maps, and biases are taken away again by what
    normalises, so that there are none.

    Parameters
    ----------
    n_classes : int
    width : float
        Factor of all channels, above 0 and at most 16.
    normalisation : {"ghost-batch", "group", "none"}
    ghost_size : int
    initialisation : {"glorot", "he", "torch"}
        See `gradnoise.simulations.neural.models.stacked_convolutions`; those by default are the paper's.

    Returns
    -------
    torch.nn.Sequential
        From (n, 3, 32, 32) to (n, n_classes).

    References
    ----------
    ne2021, Section 3.

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.models import c1
    >>> with torch.device("meta"):  # without memory for the parameters
    ...     sum(p.numel() for p in c1().parameters())
    1962314
    """
    return stacked_convolutions(
        _C1, n_classes, width=width, normalisation=normalisation, ghost_size=ghost_size, initialisation=initialisation
    )


def c2(
    n_classes: int = 100,
    width: float = 1.0,
    normalisation: str = "ghost-batch",
    ghost_size: int = 100,
    initialisation: str = "glorot",
) -> nn.Sequential:
    """C2: C1 with a fourth stack, of two convolutions of 512 channels, and a hidden layer of 1024.

    It has 7,663,012 parameters for a hundred classes.

    Parameters
    ----------
    n_classes : int
    width : float
        Factor of all channels and hidden units, above 0 and at most 16.
    normalisation : {"ghost-batch", "group", "none"}
        Of the convolutions; the hidden layer is not normalised.
    ghost_size : int
    initialisation : {"glorot", "he", "torch"}
        See `gradnoise.simulations.neural.models.stacked_convolutions`; those by default are the paper's.

    Returns
    -------
    torch.nn.Sequential
        From (n, 3, 32, 32) to (n, n_classes).

    References
    ----------
    ne2021, Section 3.

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.models import c2
    >>> with torch.device("meta"):  # without memory for the parameters
    ...     sum(p.numel() for p in c2().parameters())
    7663012
    """
    return stacked_convolutions(
        _C2, n_classes, hidden=(1024,), width=width,
        normalisation=normalisation, ghost_size=ghost_size, initialisation=initialisation,
    )  # fmt: skip
