"""What normalises the maps of a convolution."""

from __future__ import annotations

from torch import nn

from gradnoise.simulations.neural.models.ghost_batch_norm import GhostBatchNorm2d
from gradnoise.theory._validation import as_choice, as_count

_NORMALISATIONS = ("ghost-batch", "group", "none")
_IN_GROUP = 16  # channels, as many as Wu and He find best where their number is fixed


def convolution(inputs: int, outputs: int, size: int, normalisation: str, ghost_size: int, *, stride: int = 1) -> list[nn.Module]:
    """Return a convolution that keeps the size of a map, but for its stride, and what normalises its outputs.

    It has biases only where nothing normalises, which would take them away again: gradients that are zero but for rounding
    become steps of full size in Adam.

    Parameters
    ----------
    inputs, outputs : int
        Channels.
    size : int
        Of the kernel, odd.
    normalisation : {"ghost-batch", "group", "none"}
        Groups are of 16 channels, or a few more where 16 does not divide them; of all, where there are fewer than 32.
    ghost_size : int
        See `gradnoise.simulations.neural.models.GhostBatchNorm2d`.
    stride : int

    Returns
    -------
    list of torch.nn.Module

    References
    ----------
    Wu, He (2018), Group Normalization, Table 3.

    Examples
    --------
    >>> from gradnoise.simulations.neural.models.normalisation import convolution
    >>> filters, norm = convolution(3, 48, 3, "group", 100)
    >>> norm.num_groups, filters.bias is None
    (3, True)
    """
    as_choice(normalisation, "normalisation", _NORMALISATIONS)
    as_count(ghost_size, "ghost_size")
    layers: list[nn.Module] = [nn.Conv2d(inputs, outputs, size, stride=stride, padding=size // 2, bias=normalisation == "none")]
    if normalisation == "ghost-batch":
        layers.append(GhostBatchNorm2d(outputs, ghost_size))
    elif normalisation == "group":
        groups = next(g for g in range(max(1, outputs // _IN_GROUP), 0, -1) if outputs % g == 0)
        layers.append(nn.GroupNorm(groups, outputs))
    return layers
