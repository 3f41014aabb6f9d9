"""Blocks of a matrix that zeros keep apart: eigenvalue problems of their own, whose rounding does not mix."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csgraph

__all__ = ["uncoupled_blocks"]


def uncoupled_blocks(matrix: NDArray[Any]) -> list[NDArray[np.intp]]:
    """Indices of each block, ascending; a block that nothing but zeros couples to the others, and is not made of such.

    Examples
    --------
    >>> import numpy as np
    >>> from gradnoise.theory._blocks import uncoupled_blocks
    >>> [block.tolist() for block in uncoupled_blocks(np.array([[1.0, 0.0, 2.0], [0.0, 3.0, 0.0], [2.0, 0.0, 5.0]]))]
    [[0, 2], [1]]
    """
    coupled = (matrix != 0) | (matrix.T != 0)
    if coupled.all():
        return [np.arange(len(matrix))]
    _, labels = csgraph.connected_components(coupled.astype(np.float64), directed=False)
    return np.split(np.argsort(labels, kind="stable"), np.cumsum(np.bincount(labels))[:-1])
