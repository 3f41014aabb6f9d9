"""Sampling vectors that are Gaussian given how often each sample was drawn.

A minibatch, a sparse Gaussian noise and a minibatch with Gaussian weights have this in common: given the counts
m_1, ..., m_n of a batch, W is normal, with a mean and a covariance that are polynomials in the counts (and in
S = m_1^2 + ... + m_n^2). Joint moments are then expectations of polynomials in multinomial counts, which are exact
fractions.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator
from fractions import Fraction
from functools import cache, lru_cache

from gradnoise.theory.sampling.exchangeable import Pattern, SamplingNoise, as_pattern

__all__ = ["CountMixture", "Polynomial", "count", "expectation"]

_KEPT = 4096  # moments, of the noises that were asked for last

# Monomial -> coefficient. A monomial is (exponents of the counts of the tracked samples, exponent of S).
Monomial = tuple[tuple[int, ...], int]
Polynomial = dict[Monomial, Fraction]


class CountMixture(SamplingNoise):
    """A sampling vector that is normal given the counts of a batch of `_n_draws` samples, drawn with `replacement` or without."""

    replacement: bool

    @property
    @abstractmethod
    def _n_draws(self) -> int:
        """Size of the batch whose counts are meant."""

    @abstractmethod
    def _conditional_mean(self, i: int, size: int) -> Polynomial:
        """E[W_i | counts], in the counts of `size` tracked samples."""

    def _conditional_covariance(self, i: int, j: int, size: int) -> Polynomial:
        """Cov[W_i, W_j | counts]; none unless the class says otherwise."""
        return {}

    def joint_cumulant(self, pattern: Pattern) -> Fraction:
        """Joint cumulant of distinct components, an exact fraction; see `SamplingNoise.joint_cumulant`."""
        return _joint_cumulant(self, as_pattern(pattern))


def count(i: int, size: int, power: int = 1) -> Monomial:
    """Return the monomial m_i^power."""
    return tuple(power if k == i else 0 for k in range(size)), 0


def product(first: Polynomial, second: Polynomial) -> Polynomial:
    """Product of two polynomials."""
    result: Polynomial = {}
    for (left, s), a in first.items():
        for (right, t), b in second.items():
            key = (tuple(x + y for x, y in zip(left, right, strict=True)), s + t)
            result[key] = result.get(key, Fraction(0)) + a * b
    return result


def expectation(noise: CountMixture, polynomial: Polynomial) -> Fraction:
    """E of a polynomial in the counts of the batch of `noise`."""
    return sum((c * _expectation(noise, *monomial) for monomial, c in polynomial.items()), Fraction(0))


@lru_cache(_KEPT)
def _joint_cumulant(noise: CountMixture, pattern: Pattern) -> Fraction:
    if len(pattern) > noise.n:
        return Fraction(0)  # there are not that many distinct components
    labels = tuple(i for i, times in enumerate(pattern) for _ in range(times))
    total = Fraction(0)
    for blocks in _set_partitions(labels):
        sign = (-1) ** (len(blocks) - 1) * math.factorial(len(blocks) - 1)
        total += sign * math.prod((_joint_moment(noise, block) for block in blocks), start=Fraction(1))
    return total


@lru_cache(_KEPT)
def _joint_moment(noise: CountMixture, labels: tuple[int, ...]) -> Fraction:
    """E of the product of the components with the given labels."""
    order = {label: k for k, label in enumerate(dict.fromkeys(labels))}
    relabelled = tuple(order[label] for label in labels)
    return expectation(noise, _conditional_moment(noise, relabelled, len(order)))


def _conditional_moment(noise: CountMixture, labels: tuple[int, ...], size: int) -> Polynomial:
    """Isserlis' theorem with a mean: the first factor stands alone, or is paired with a later one."""
    if not labels:
        return {((0,) * size, 0): Fraction(1)}
    first, rest = labels[0], labels[1:]
    result: Polynomial = {}
    terms = [(noise._conditional_mean(first, size), rest)]
    terms += [(noise._conditional_covariance(first, other, size), rest[:k] + rest[k + 1 :]) for k, other in enumerate(rest)]
    for factor, remaining in terms:
        if factor:
            for monomial, c in product(factor, _conditional_moment(noise, remaining, size)).items():
                result[monomial] = result.get(monomial, Fraction(0)) + c
    return result


def _expectation(noise: CountMixture, exponents: tuple[int, ...], s_power: int) -> Fraction:
    """E[m_1^e_1 m_2^e_2 ... S^s], S written as the tracked squares plus those of all other samples."""
    if s_power == 0:
        return count_moment(exponents, noise._n_draws, noise.n, noise.replacement)
    total = Fraction(0)
    for k in range(len(exponents)):
        total += _expectation(noise, (*exponents[:k], exponents[k] + 2, *exponents[k + 1 :]), s_power - 1)
    others = noise.n - len(exponents)
    return total + (others * _expectation(noise, (*exponents, 2), s_power - 1) if others else 0)


def count_moment(exponents: tuple[int, ...], n_draws: int, n: int, replacement: bool) -> Fraction:
    r"""E of a product of powers of the counts of distinct samples.

    With replacement the factorial moments of the multinomial law are (B)_k / n^k, and powers are sums of factorial
    powers with Stirling numbers of the second kind; without, a count is zero or one and the moment is (B)_r / (n)_r.
    """
    positive = [e for e in exponents if e]
    if not replacement:
        r = len(positive)
        return Fraction(math.perm(n_draws, r), math.perm(n, r))
    factorials = {0: 1}  # total factorial power -> product of Stirling numbers
    for e in positive:
        step: dict[int, int] = {}
        for k, weight in factorials.items():
            for j in range(1, e + 1):
                step[k + j] = step.get(k + j, 0) + weight * _stirling(e, j)
        factorials = step
    return sum((Fraction(w * math.perm(n_draws, k), n**k) for k, w in factorials.items()), Fraction(0))


@cache
def _stirling(n: int, k: int) -> int:
    """Stirling number of the second kind."""
    if n == k:
        return 1
    if k == 0 or k > n:
        return 0
    return k * _stirling(n - 1, k) + _stirling(n - 1, k - 1)


def _set_partitions(labels: tuple[int, ...]) -> Iterator[list[tuple[int, ...]]]:
    if not labels:
        yield []
        return
    first, rest = labels[0], labels[1:]
    for smaller in _set_partitions(rest):
        yield [(first,), *smaller]
        for k, block in enumerate(smaller):
            yield [*smaller[:k], (first, *block), *smaller[k + 1 :]]
