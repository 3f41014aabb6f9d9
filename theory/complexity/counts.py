"""All ways in which draws can fall into cells, with their probabilities."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator

import numpy as np
import scipy
from numpy.typing import NDArray

from gradnoise.theory._validation import FloatArray

__all__ = ["batch_counts", "batch_types", "expected_largest_weight", "multinomial_counts"]

_LIMIT = 2_000_000

Counts = NDArray[np.int64]


def multinomial_counts(n_draws: int, probabilities: FloatArray) -> tuple[Counts, FloatArray]:
    """List the multinomial law.

    Parameters
    ----------
    n_draws : int
        >= 0.
    probabilities : (m,) ndarray
        Of the cells.

    Returns
    -------
    counts : (k, m) ndarray of int
        How many draws fell into each cell.
    probabilities : (k,) ndarray

    Raises
    ------
    ValueError
        If there are more than two million.

    Examples
    --------
    >>> import numpy as np
    >>> from gradnoise.theory.complexity import multinomial_counts
    >>> multinomial_counts(2, np.array([0.5, 0.5]))
    (array([[0, 2],
           [1, 1],
           [2, 0]]), array([0.25, 0.5 , 0.25]))
    """
    m = len(probabilities)
    check_size(math.comb(n_draws + m - 1, m - 1))
    bars = itertools.chain.from_iterable(itertools.combinations(range(n_draws + m - 1), m - 1))
    inner = np.fromiter(bars, dtype=np.int64).reshape(-1, m - 1) if m > 1 else np.empty((1, 0), dtype=np.int64)
    ends = np.full((len(inner), 1), -1), np.full((len(inner), 1), n_draws + m - 1)
    counts = np.diff(np.hstack([ends[0], inner, ends[1]]), axis=1) - 1
    factorials = np.array([math.factorial(k) for k in range(n_draws + 1)], dtype=object)
    coefficients = factorials[n_draws] // factorials[counts].prod(axis=1)
    return counts, coefficients.astype(np.float64) * (probabilities**counts).prod(axis=1)


def batch_counts(n: int, batch_size: int, replacement: bool) -> tuple[Counts, FloatArray]:
    """List the batches: how often each of n samples is in one, and with what probability.

    Parameters
    ----------
    n, batch_size : int
        Samples, and draws from them.
    replacement : bool
        Whether a sample can be drawn twice.

    Returns
    -------
    counts : (k, n) ndarray of int
    probabilities : (k,) ndarray

    Raises
    ------
    ValueError
        If there are more than two million.

    Examples
    --------
    >>> from gradnoise.theory.complexity import batch_counts
    >>> batch_counts(2, 2, replacement=True)
    (array([[0, 2],
           [1, 1],
           [2, 0]]), array([0.25, 0.5 , 0.25]))
    >>> batch_counts(2, 2, replacement=False)
    (array([[1, 1]]), array([1.]))
    """
    if replacement:
        return multinomial_counts(batch_size, np.full(n, 1 / n))
    check_size(math.comb(n, batch_size))
    members = np.array(list(itertools.combinations(range(n), batch_size)))
    counts = np.zeros((len(members), n), dtype=np.int64)
    np.put_along_axis(counts, members, 1, axis=1)
    return counts, np.full(len(counts), 1 / len(counts))


def batch_types(n: int, batch_size: int, replacement: bool) -> Iterator[tuple[float, dict[int, int]]]:
    """List the batches up to the order of the samples.

    Parameters
    ----------
    n, batch_size, replacement : int, int and bool
        See `batch_counts`.

    Yields
    ------
    probability : float
    sizes : dict of int to int
        How many samples have each count.

    Examples
    --------
    >>> from gradnoise.theory.complexity import batch_types
    >>> list(batch_types(4, 2, replacement=True))  # one sample twice, or two once
    [(0.25, {2: 1, 0: 3}), (0.75, {1: 2, 0: 2})]
    """
    if not replacement:
        yield 1.0, {1: batch_size, 0: n - batch_size}
        return
    for parts in _partitions(batch_size, n):
        sizes = Counter(parts)
        sizes[0] = n - len(parts)
        batches = math.factorial(batch_size) // math.prod(math.factorial(part) for part in parts)
        places = math.factorial(n) // math.prod(math.factorial(k) for k in sizes.values())
        yield batches * places / n**batch_size, dict(sizes)


def expected_largest_weight(n: int, batch_size: int) -> float:
    """E max|n c_i/b − 1| over the counts c_i of a batch of b drawn with replacement from n > b samples.

    P(all counts <= m) is a coefficient of a power of truncated Poisson weights, as independent Poisson counts, given their sum,
    are those of a batch. A sample that is not drawn weighs 1, so that the largest is not below that.

    Parameters
    ----------
    n, batch_size : int
        Samples, and draws from them.

    Returns
    -------
    float

    Examples
    --------
    >>> from gradnoise.theory.complexity import expected_largest_weight
    >>> round(expected_largest_weight(4, 2), 10)  # 3 with probability 1/4, else 1
    1.5
    """
    most = np.arange(batch_size + 1)
    weights, whole = scipy.stats.poisson.pmf(most, batch_size / n), scipy.stats.poisson.pmf(batch_size, batch_size)
    at_most = np.zeros(batch_size + 1)
    for m in most[1:]:
        power = np.ones(1)
        for _ in range(n):
            power = np.convolve(power, weights[: m + 1])[: batch_size + 1]
        at_most[m] = power[batch_size] / whole if len(power) > batch_size else 0.0
    return float(np.diff(at_most) @ np.maximum(n * most[1:] / batch_size - 1, 1))


def check_size(size: int) -> None:
    """Raise where a list would not fit."""
    if size > _LIMIT:
        raise ValueError(f"there are {size} outcomes, at most {_LIMIT} are listed; simulate, or take fewer samples or points")


def _partitions(total: int, most: int, largest: int | None = None) -> Iterator[tuple[int, ...]]:
    """Partitions of a number into at most `most` parts, in falling order."""
    if total == 0:
        yield ()
    elif most:
        for first in range(min(total, largest or total), 0, -1):
            yield from ((first, *rest) for rest in _partitions(total - first, most - 1, first))
