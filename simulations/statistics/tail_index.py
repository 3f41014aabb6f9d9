"""Tail index of a symmetric stable law, and how far a Gaussian sample is from one."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from gradnoise.simulations.statistics.estimates import Estimate
from gradnoise.theory._validation import as_array, as_count

__all__ = ["tail_index"]


def tail_index(samples: ArrayLike, group_size: int | None = None) -> Estimate:
    r"""Estimate α of symmetric α-stable samples: 2 for Gaussian ones, less for heavier tails.

    Sums of m samples are m^{1/α} times as large as one, so that

    .. math:: \frac{1}{\alpha} = \frac{\mathbb{E}\log|x_1 + \dots + x_m| - \mathbb{E}\log|x|}{\log m}.

    Samples that are not stable get the index of the stable law that they look like at this m: light but peaked tails get less
    than 2, without any infinite moment. So compare with a Gaussian control of the same size, and with other m.

    Parameters
    ----------
    samples : (k,) array_like
        Independent, centred, of one law. Zeros do not count.
    group_size : int, optional
        m >= 2; the root of k by default.

    Returns
    -------
    Estimate
        Of α. The standard error is by the delta method from the groups, which are independent.

    Raises
    ------
    ValueError
        If there are fewer than two whole groups.

    References
    ----------
    M. Mohammadi, A. Mohammadpour, H. Ogata, Metrika 78 (2015) 549.

    Examples
    --------
    >>> import numpy as np
    >>> from gradnoise.simulations.statistics import tail_index
    >>> generator = np.random.default_rng(1)
    >>> normal, cauchy = generator.standard_normal(100_000), generator.standard_cauchy(100_000)
    >>> abs(tail_index(normal).value - 2) < 0.2 and abs(tail_index(cauchy).value - 1) < 0.1
    True
    """
    x = as_array(samples, "samples", ndim=1)
    x = x[x != 0]
    m = as_count(math.isqrt(len(x)) if group_size is None else group_size, "group_size", at_least=2)
    n_groups = len(x) // m
    if n_groups < 2:
        raise ValueError(f"samples must be at least two groups of {m} that are not zero, got {len(x)}")
    groups = x[: n_groups * m].reshape(n_groups, m)
    sums = np.abs(groups.sum(axis=1))
    # A sum of exactly zero, as of discrete samples, counts as the smallest one.
    inverse = (np.log(np.maximum(sums, np.finfo(float).tiny)) - np.log(np.abs(groups)).mean(axis=1)) / math.log(m)
    found = Estimate.of(inverse)
    alpha = 1 / found.value
    return Estimate(alpha, found.standard_error * alpha**2, found.n, None if found.skewness is None else -found.skewness)
