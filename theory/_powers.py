"""Powers of a matrix that is near to one, as the map of a small step is, of which billions are taken."""

from __future__ import annotations

import numpy as np

from gradnoise.theory._validation import FloatArray

__all__ = ["after_steps"]


def after_steps(change: FloatArray, wanted: list[tuple[int, FloatArray]]) -> list[FloatArray]:
    """States after as many steps each: x (1 + change)^k, rows x.

    In 1 + change the digits of a small change are rounded away, and k steps make as many roundings of it. So what the power
    adds to one is squared, too: (1 + c)^2 = 1 + (2 c + c^2). A diagonal entry is one and that, until it has decayed to a half;
    from then on it is squared itself, so that it keeps its digits however small it becomes.

    Examples
    --------
    >>> import numpy as np
    >>> from gradnoise.theory._powers import after_steps
    >>> (row,) = after_steps(np.array([[-1e-17]]), [(10**17, np.ones((1, 1)))])
    >>> round(float(row[0, 0]), 12)  # exp(-1)
    0.367879441171
    """
    powers, states = [power for power, _ in wanted], [state for _, state in wanted]
    diagonal = np.diag_indices(len(change))
    change, whole = change.copy(), change.copy()
    whole[diagonal] += 1
    while any(powers):
        states = [state @ whole if power % 2 else state for power, state in zip(powers, states, strict=True)]
        powers = [power // 2 for power in powers]
        if any(powers):
            change, whole = 2 * change + change @ change, whole @ whole
            near = change[diagonal] > -0.5
            whole[diagonal] = np.where(near, 1 + change[diagonal], whole[diagonal])
            change[diagonal] = np.where(near, change[diagonal], whole[diagonal] - 1)
    return states
