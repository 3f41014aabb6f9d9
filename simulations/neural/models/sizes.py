"""Numbers of channels and units, and how wide a network is."""

from __future__ import annotations

from gradnoise.theory._validation import as_count, as_real

MOST_UNITS, MOST_CHANNELS, MOST_INPUTS = 10**6, 10**4, 10**9
_WIDEST = 16  # has 256 times as many parameters


def as_classes(n_classes: int) -> int:
    """Return a number of outputs, or raise.

    Parameters
    ----------
    n_classes : int

    Returns
    -------
    int

    Examples
    --------
    >>> from gradnoise.simulations.neural.models.sizes import as_classes
    >>> as_classes(10)
    10
    """
    return as_count(n_classes, "n_classes", at_most=MOST_UNITS)


def scaled(size: int, width: float) -> int:
    """Return a number of channels or units at a width: rounded, and at least one.

    Parameters
    ----------
    size : int
    width : float
        Above 0, and at most 16.

    Returns
    -------
    int

    Examples
    --------
    >>> from gradnoise.simulations.neural.models.sizes import scaled
    >>> [scaled(size, 1 / 8) for size in (64, 500, 3)]
    [8, 62, 1]
    """
    return max(1, round(size * as_real(width, "width", above=0, at_most=_WIDEST)))
