"""All ways in which draws can fall into cells, with their probabilities."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator

import numpy as np
import scipy
from numpy.typing import NDArray

from gradnoise.theory._float_range import within_floats
from gradnoise.theory._validation import FloatArray, as_array, as_count, as_flag, as_probabilities

__all__ = ["batch_counts", "batch_types", "expected_largest_weight", "multinomial_counts"]

_LIMIT = 2_000_000
_ENTRIES = 25 * _LIMIT  # of a list, its outcomes times what each holds
_EXACT = 170  # draws whose factorials are floats
_LARGEST_BATCH = 20_000  # whose largest weight takes seconds
_LARGEST_TYPED_BATCH = 500  # a partition has a part in a part, that often
_TYPES = 200_000
_NEVER = 1e-20

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
    n_draws, p = as_count(n_draws, "n_draws", at_least=0), as_array(probabilities, "probabilities", ndim=1)
    as_probabilities(p, "probabilities", max(len(p), 1))
    return listed(n_draws, p, f"n_draws = {n_draws}")


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
    return listed_batches(*_as_batch(n, batch_size, replacement), replacement)


def batch_types(n: int, batch_size: int, replacement: bool) -> Iterator[tuple[float, dict[int, int]]]:
    """List the batches up to the order of the samples.

    Parameters
    ----------
    n, batch_size, replacement : int, int and bool
        See `batch_counts`.

    Returns
    -------
    iterator of (float, dict of int to int)
        Probability of a type, and how many samples have each count.

    Raises
    ------
    ValueError
        If the batch is larger than 500, or there are more than 200,000 types.

    Examples
    --------
    >>> from gradnoise.theory.complexity import batch_types
    >>> list(batch_types(4, 2, replacement=True))  # one sample twice, or two once
    [(0.25, {2: 1, 0: 3}), (0.75, {1: 2, 0: 2})]
    """
    n, batch_size = _as_batch(n, batch_size, replacement)
    if not replacement:
        return iter([(1.0, {1: batch_size, 0: n - batch_size})])
    if batch_size > _LARGEST_TYPED_BATCH or _n_partitions(batch_size, n) > _TYPES:
        raise ValueError(
            f"batch_size must be at most {_LARGEST_TYPED_BATCH}, and have at most {_TYPES} types of batches, got {batch_size}; "
            "simulate instead"
        )
    return _types(n, batch_size)


def _types(n: int, batch_size: int) -> Iterator[tuple[float, dict[int, int]]]:
    for parts in _partitions(batch_size, n):
        sizes = Counter(parts)
        sizes[0] = n - len(parts)
        batches = math.factorial(batch_size) // math.prod(math.factorial(part) for part in parts)
        places = math.perm(n, len(parts)) // math.prod(math.factorial(k) for part, k in sizes.items() if part)
        yield batches * places / n**batch_size, dict(sizes)


@within_floats
def expected_largest_weight(n: int, batch_size: int) -> float:
    """E max|n c_i/b − 1| over the counts c_i of a batch of b drawn with replacement from n > b samples.

    P(all counts of k draws <= m) is k!/n^k times a coefficient of the n-th power of 1 + z + ... + z^m/m!, so that it has a
    recursion in k (Miller's for powers of series), whose terms are all positive. A sample that is not drawn weighs 1, so that the
    largest is not below that.

    Parameters
    ----------
    n, batch_size : int
        Samples, and fewer draws from them, at most 20,000.

    Returns
    -------
    float

    Examples
    --------
    >>> from gradnoise.theory.complexity import expected_largest_weight
    >>> round(expected_largest_weight(4, 2), 10)  # 3 with probability 1/4, else 1
    1.5
    """
    n = as_count(n, "n", at_least=2)
    b = as_count(batch_size, "batch_size", at_most=min(n - 1, _LARGEST_BATCH))
    most = next(m for m in itertools.count(1) if n * scipy.stats.binom.sf(m, b, 1 / n) < _NEVER)  # above is rounding
    sizes = np.arange(1, most + 1)
    at_most = np.zeros((b + 1, most))  # P(all counts <= m) after k draws
    at_most[0] = 1.0
    for k in range(1, b + 1):
        i = sizes[: min(k, most)]
        factors = (n * i - (k - i)) / k * np.cumprod((k - i + 1.0) / (i * float(n)))
        terms = factors[:, np.newaxis] * at_most[k - i]
        at_most[k] = np.where(i[:, np.newaxis] <= sizes, terms, 0.0).sum(axis=0)
    chances = np.diff(at_most[b, :-1], prepend=0.0, append=1.0)
    return float(chances @ np.maximum(n * sizes / b - 1, 1))


def listed(n_draws: int, p: FloatArray, given: str) -> tuple[Counts, FloatArray]:
    """List the multinomial law of arguments that have been checked, and are `given` as a message shows them."""
    m = len(p)
    check_size(binomial(n_draws + m - 1, m - 1), m, given)
    if m == 1:
        return np.array([[n_draws]]), np.ones(1)
    bars = itertools.chain.from_iterable(itertools.combinations(range(n_draws + m - 1), m - 1))
    inner = np.fromiter(bars, dtype=np.int64).reshape(-1, m - 1)
    ends = np.full((len(inner), 1), -1), np.full((len(inner), 1), n_draws + m - 1)
    counts = np.diff(np.hstack([ends[0], inner, ends[1]]), axis=1) - 1
    if n_draws > _EXACT:
        logs = scipy.special.gammaln(n_draws + 1.0) - scipy.special.gammaln(counts + 1.0).sum(axis=1)
        found = np.exp(logs + scipy.special.xlogy(counts, p).sum(axis=1))
        return counts, found / math.fsum(found)  # logarithms of factorials are large, and rounded
    factorials = np.array([math.factorial(k) for k in range(n_draws + 1)], dtype=object)
    coefficients = factorials[n_draws] // factorials[counts].prod(axis=1)
    return counts, coefficients.astype(np.float64) * (p**counts).prod(axis=1)


def listed_batches(n: int, batch_size: int, replacement: bool) -> tuple[Counts, FloatArray]:
    """List the batches of arguments that have been checked."""
    given = f"n = {n} with batch_size = {batch_size}"
    if replacement:
        check_size(binomial(n + batch_size - 1, batch_size), n, given)  # before n probabilities are made
        return listed(batch_size, np.full(n, 1 / n), given)
    check_size(binomial(n, batch_size), n, given)
    members = np.array(list(itertools.combinations(range(n), batch_size)))
    counts = np.zeros((len(members), n), dtype=np.int64)
    np.put_along_axis(counts, members, 1, axis=1)
    return counts, np.full(len(counts), 1 / len(counts))


def check_size(size: int, width: int, given: str) -> None:
    """Raise where a list of outcomes, each of some width, would not fit."""
    if size > _LIMIT or size * width > _ENTRIES:
        found = f"over {_LIMIT}" if size > _LIMIT else f"{size} times {width}"
        raise ValueError(
            f"{given} has {found} outcomes, at most {_LIMIT} are listed, and {_ENTRIES} counts in them; "
            "simulate, or take fewer samples or points"
        )


def binomial(n: int, k: int) -> int:
    """Binomial coefficient, or some number above the limit of a list where it is above that, however large."""
    result = 1
    for i in range(1, min(k, n - k) + 1):
        result = result * (n + 1 - i) // i
        if result > _LIMIT:
            break
    return result


def _as_batch(n: int, batch_size: int, replacement: bool) -> tuple[int, int]:
    n = as_count(n, "n")
    return n, as_count(batch_size, "batch_size", at_most=None if as_flag(replacement, "replacement") else n)


def _n_partitions(total: int, most: int) -> int:
    """How many partitions into at most `most` parts a number has: as many as into parts of at most that size."""
    ways = [1] + [0] * total
    for part in range(1, min(most, total) + 1):
        for k in range(part, total + 1):
            ways[k] += ways[k - part]
    return ways[total]


def _partitions(total: int, most: int, largest: int | None = None) -> Iterator[tuple[int, ...]]:
    """Partitions of a number into at most `most` parts, in falling order."""
    if total == 0:
        yield ()
    elif most:
        for first in range(min(total, largest or total), 0, -1):
            yield from ((first, *rest) for rest in _partitions(total - first, most - 1, first))
