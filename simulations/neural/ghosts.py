"""Networks that normalise a batch in ghosts, where in training mode no sample has a loss of its own."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from gradnoise.simulations.neural.models import GhostBatchNorm2d

Ghosts = dict[str, GhostBatchNorm2d]


def ghosts_of(model: nn.Module) -> Ghosts:
    """Return the layers, by name, that normalise ghosts as the network stands: those in training mode.

    Parameters
    ----------
    model : torch.nn.Module

    Returns
    -------
    dict of GhostBatchNorm2d

    Examples
    --------
    >>> from gradnoise.simulations.neural.ghosts import ghosts_of
    >>> from gradnoise.simulations.neural.models import c1
    >>> model = c1(width=1 / 8)
    >>> len(ghosts_of(model)), len(ghosts_of(model.eval()))
    (9, 0)
    """
    return {name: layer for name, layer in model.named_modules() if isinstance(layer, GhostBatchNorm2d) and layer.training}


def refuse_ghosts(model: nn.Module) -> None:
    """Raise where samples have no losses of their own.

    Parameters
    ----------
    model : torch.nn.Module

    Raises
    ------
    ValueError

    Examples
    --------
    >>> from gradnoise.simulations.neural.ghosts import refuse_ghosts
    >>> from gradnoise.simulations.neural.models import resnet18
    >>> refuse_ghosts(resnet18(width=1 / 8, normalisation="group"))
    >>> refuse_ghosts(resnet18(width=1 / 8))
    Traceback (most recent call last):
    ValueError: the loss of a sample must not depend on other samples, but GhostBatchNorm2d '1' is in training mode, ...
    """
    for name in ghosts_of(model):
        raise ValueError(
            f"the loss of a sample must not depend on other samples, but GhostBatchNorm2d {name!r} is in training mode, where it "
            f'depends on its ghost: call model.eval(), or take normalisation="group"'
        )


@contextmanager
def running_statistics(model: nn.Module) -> Iterator[None]:
    """Normalise by running means and variances what is normalised by ghosts; all else stays in its mode.

    Parameters
    ----------
    model : torch.nn.Module

    Examples
    --------
    >>> from gradnoise.simulations.neural.ghosts import ghosts_of, running_statistics
    >>> from gradnoise.simulations.neural.models import c1
    >>> model = c1(width=1 / 8)
    >>> with running_statistics(model):
    ...     len(ghosts_of(model)), model.training
    (0, True)
    >>> len(ghosts_of(model))
    9
    """
    layers = list(ghosts_of(model).values())
    for layer in layers:
        layer.training = False
    try:
        yield
    finally:
        for layer in layers:
            layer.training = True


def whole_ghosts(n_samples: int, layers: Ghosts) -> int:
    """Return about as many samples as are given, of which none are parted from their ghost: at least one ghost of each layer.

    Parameters
    ----------
    n_samples : int
    layers : dict of GhostBatchNorm2d

    Returns
    -------
    int

    Examples
    --------
    >>> from gradnoise.simulations.neural.ghosts import whole_ghosts
    >>> from gradnoise.simulations.neural.models import GhostBatchNorm2d
    >>> layers = {"first": GhostBatchNorm2d(3, ghost_size=20), "second": GhostBatchNorm2d(3, ghost_size=30)}
    >>> [whole_ghosts(n, layers) for n in (10, 130)]
    [60, 120]
    """
    together = math.lcm(*(layer.ghost_size for layer in layers.values()))  # 1 of none
    return max(n_samples - n_samples % together, together)
