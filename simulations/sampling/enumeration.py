"""All outcomes of a sampling vector, with their probabilities: Monte Carlo without the chance.

Discrete draws are listed one by one, as the definitions of the classes have them. A normal or Student component is
replaced by the three-point rule with the same first five moments (for a normal one, Gauss-Hermite quadrature), so that every
moment of total order up to five is exact, whatever formula it is compared with.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import ArrayLike

from gradnoise.simulations.sampling.rules import Rules
from gradnoise.theory import sampling as classes
from gradnoise.theory._validation import as_array, as_count, as_probabilities, shown
from gradnoise.theory.sampling import SamplingNoise, as_noise

__all__ = ["LISTED", "Outcomes", "outcomes", "product_rule"]

#: Enumerations: ``rule(noise)`` returns the outcomes (k, n) and their probabilities (k,).
LISTED = Rules("must have a method outcomes() that returns its values (k, n) and their probabilities (k,)", "outcomes")

Listed = tuple[np.ndarray, np.ndarray]
_LIMIT = 2_000_000
_MOST_NUMBERS = 2**28  # of all outcomes together: two GiB
#: Nodes and probabilities of the three-point rules.
_NORMAL = (np.array([-math.sqrt(3), 0.0, math.sqrt(3)]), np.array([1 / 6, 2 / 3, 1 / 6]))
_SIGN = (np.array([-1.0, 1.0]), np.array([0.5, 0.5]))


class Outcomes:
    """A finite law of vectors.

    Attributes
    ----------
    vectors : (k, n) ndarray
        Outcomes, one a row.
    probabilities : (k,) ndarray
        They sum to one.

    Raises
    ------
    TypeError, ValueError
        If they are not, or what is asked of them is too large for a float.

    Examples
    --------
    >>> import numpy as np
    >>> from gradnoise.simulations.sampling import Outcomes
    >>> law = Outcomes(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([0.5, 0.5]))
    >>> law.covariance().tolist()
    [[0.25, -0.25], [-0.25, 0.25]]
    >>> law.cumulants([1.0, -1.0])  # of a random sign
    (0.0, 1.0, 0.0, -2.0)
    >>> law.transformed([[1.0, -1.0]]).vectors.tolist()
    [[1.0], [-1.0]]
    """

    def __init__(self, vectors: np.ndarray, probabilities: np.ndarray) -> None:
        self.vectors = as_array(vectors, "vectors", ndim=2)
        if self.vectors.size == 0:
            raise ValueError(f"vectors must be one or more, of one number or more, got shape {self.vectors.shape}")
        given = as_array(probabilities, "probabilities", ndim=1)  # not None, which would stand for equal ones
        self.probabilities = as_probabilities(given, "probabilities", len(self.vectors))

    def mean(self) -> np.ndarray:
        """Mean vector."""
        return self.probabilities @ self.vectors

    def covariance(self) -> np.ndarray:
        """Covariance matrix."""
        with np.errstate(over="ignore", invalid="ignore"):
            centred = self.vectors - self.mean()
            return _floats((centred.T * self.probabilities) @ centred, "vectors must have a covariance")

    def cumulants(self, values: ArrayLike) -> tuple[float, float, float, float]:
        """First four cumulants of ``values @ vector``."""
        with np.errstate(over="ignore", invalid="ignore"):
            y = self.vectors @ self._matching(as_array(values, "values", ndim=1), "values")
            mean = self.probabilities @ y
            second, third, fourth = (self.probabilities @ (y - mean) ** r for r in (2, 3, 4))
            found = np.array([mean, second, third, fourth - 3 * second**2])
        first, second, third, fourth = _floats(found, "values must have four cumulants").tolist()
        return first, second, third, fourth

    def transformed(self, matrix: ArrayLike) -> Outcomes:
        """Law of ``matrix @ vector``, for instance of a stochastic gradient."""
        given = self._matching(as_array(matrix, "matrix", ndim=2), "matrix")
        with np.errstate(over="ignore", invalid="ignore"):
            vectors = _floats(self.vectors @ given.T, "matrix must have products with the vectors")
        return Outcomes(vectors, self.probabilities)

    def _matching(self, array: np.ndarray, name: str) -> np.ndarray:
        """Return an array if its last axis has a number for each component, and raise otherwise."""
        n = self.vectors.shape[1]
        if array.shape[-1] != n or array.size == 0:
            raise ValueError(f"{name} must have {n} numbers in a row, one for each component, got shape {array.shape}")
        return array


def _floats(array: np.ndarray, what: str) -> np.ndarray:
    """Return an array that is finite, and raise otherwise."""
    if not np.isfinite(array).all():
        raise ValueError(f"{what} below 1.8e308, the largest float")
    return array


def outcomes(noise: SamplingNoise) -> Outcomes:
    """List all outcomes of a noise class.

    Parameters
    ----------
    noise : SamplingNoise
        A class of `gradnoise.theory.sampling`, where a StudentT needs df > 4, as its rule matches a fourth moment; or a subclass
        of your own with a method ``outcomes()``.

    Returns
    -------
    Outcomes

    Raises
    ------
    TypeError, ValueError
        If it is not known how to list `noise`, or it has over two million outcomes.

    Examples
    --------
    >>> from gradnoise.simulations.sampling import outcomes
    >>> from gradnoise.theory.sampling import Minibatch
    >>> law = outcomes(Minibatch(7, 2, replacement=False))
    >>> law.vectors.shape, float(law.covariance()[0, 0].round(12)) == round(Minibatch(7, 2, replacement=False).variance, 12)
    ((21, 7), True)
    """
    found = LISTED.apply(as_noise(noise))
    name = f"{type(noise).__name__}.outcomes"
    if not isinstance(found, tuple) or len(found) != 2:
        raise TypeError(f"{name} must return a pair of arrays, values and probabilities, got {type(found).__name__}")
    vectors = as_array(found[0], f"values of {name}", ndim=2)
    if len(vectors) == 0 or vectors.shape[1] != noise.n:
        raise ValueError(f"values of {name} must have shape (k, {noise.n}), got {vectors.shape}")
    return Outcomes(vectors, as_probabilities(found[1], f"probabilities of {name}", len(vectors)))


def product_rule(rule: tuple[np.ndarray, np.ndarray] = _NORMAL, dimension: int = 1) -> Outcomes:
    """Independent components, each with the given nodes and probabilities; a three-point standard normal by default.

    Parameters
    ----------
    rule : tuple of ndarray
        Nodes (m,) and their probabilities (m,), which sum to one.
    dimension : int
        Number of components, d >= 1.

    Returns
    -------
    Outcomes
        All m^d vectors.

    Raises
    ------
    TypeError, ValueError
        If the rule is none, or they are over two million.

    Examples
    --------
    >>> from gradnoise.simulations.sampling import product_rule
    >>> product_rule(dimension=2).vectors.shape, product_rule().covariance().round(12).tolist()
    ((9, 2), [[1.0]])
    """
    if not isinstance(rule, tuple | list) or len(rule) != 2:
        raise TypeError(f"rule must be a pair of arrays, nodes and probabilities, got {shown(rule)}")
    nodes, dimension = as_array(rule[0], "nodes of the rule", ndim=1), as_count(dimension, "dimension")
    if not nodes.size:
        raise ValueError("nodes of the rule must be one or more, got none")
    probabilities = as_probabilities(rule[1], "probabilities of the rule", len(nodes))
    _check_size("rule and dimension", dimension * math.log(len(nodes)), dimension)
    index = np.array(list(itertools.product(range(len(nodes)), repeat=dimension)), dtype=int).reshape(-1, dimension)
    return Outcomes(nodes[index], probabilities[index].prod(axis=1))


@LISTED.of(classes.Enhanced)
def _enhanced(noise: classes.Enhanced) -> Listed:
    base, a = outcomes(noise.base), noise.alpha
    _check_size("noise", 2 * math.log(len(base.vectors)), noise.n)
    pairs = np.array(list(itertools.product(range(len(base.vectors)), repeat=2)))
    first, second = base.vectors[pairs[:, 0]], base.vectors[pairs[:, 1]]
    return a * first + (1 - a) * second, base.probabilities[pairs].prod(axis=1)


@LISTED.of(classes.Minibatch)
def _minibatch(noise: classes.Minibatch) -> Listed:
    return _arrays((counts / noise.batch_size, p) for counts, p in _batches(noise.n, noise.batch_size, noise.replacement))


@LISTED.of(classes.Bernoulli)
def _bernoulli(noise: classes.Bernoulli) -> Listed:
    _check_size("noise", noise.n * math.log(2), noise.n)
    share = noise.batch_size / noise.n
    law = product_rule((np.array([0.0, 1 / noise.batch_size]), np.array([1 - share, share])), noise.n)
    return law.vectors, law.probabilities


@LISTED.of(classes.Gaussian)
def _gaussian(noise: classes.Gaussian) -> Listed:
    return _components(noise, _NORMAL)


@LISTED.of(classes.Rademacher)
def _rademacher(noise: classes.Rademacher) -> Listed:
    return _components(noise, _SIGN)


@LISTED.of(classes.StudentT)
def _student(noise: classes.StudentT) -> Listed:
    if noise.df <= 4:
        raise ValueError(f"noise must have df > 4 to be enumerated, got {noise.df:g}")
    fourth = 3 * (noise.df - 2) / (noise.df - 4)  # of the component of unit variance
    rule = np.sqrt(fourth) * np.array([-1.0, 0.0, 1.0]), np.array([1 / 2, fourth - 1, 1 / 2]) / fourth
    return _components(noise, rule)


def _components(noise: classes.Gaussian | classes.Rademacher | classes.StudentT, rule: tuple[np.ndarray, np.ndarray]) -> Listed:
    _check_size("noise", noise.n * math.log(len(rule[0])), noise.n)
    law, b, n = product_rule(rule, noise.n), noise.batch_size, noise.n
    # Proposition 1 of wu2019 typed in again: what theory has is what these outcomes are to check.
    scale = 1 / (b * n) if noise.replacement else (n - b) / (b * n * (n - 1))
    mean = law.vectors.mean(axis=1, keepdims=True) if noise.centered else 0.0
    return 1 / n + math.sqrt(scale) * (law.vectors - mean), law.probabilities


def _arrays(listed: Iterable[tuple[np.ndarray, float]]) -> Listed:
    vectors, probabilities = zip(*listed, strict=True)
    return np.array(vectors), np.array(probabilities)


def _batches(n: int, size: int, replacement: bool) -> Iterator[tuple[np.ndarray, float]]:
    """Yield the counts of each possible batch, with its probability."""
    _check_size("noise", _log_batches(n, size, replacement), n)
    if replacement:
        for batch in itertools.product(range(n), repeat=size):
            yield np.bincount(batch, minlength=n).astype(float), n**-size
    else:
        for batch in itertools.combinations(range(n), size):
            yield np.bincount(batch, minlength=n).astype(float), 1 / math.comb(n, size)


def _log_batches(n: int, size: int, replacement: bool) -> float:
    """Logarithm of the number of batches, which itself may have more digits than there is memory."""
    if replacement:
        return size * math.log(n)
    return math.lgamma(n + 1) - math.lgamma(size + 1) - math.lgamma(n - size + 1)


@LISTED.of(classes.SparseGaussian)
def _sparse_gaussian(noise: classes.SparseGaussian) -> Listed:
    return _arrays(_sparse(noise))


def _sparse(noise: classes.SparseGaussian) -> Iterator[tuple[np.ndarray, float]]:
    n, b, B = noise.n, noise.batch_size, noise.support_size
    _check_size("noise", _log_batches(n, B, noise.replacement) + n * math.log(3), n)
    rule = product_rule(dimension=n)
    if noise.form == "cov":
        listed = []
        for counts, p in _batches(n, B, noise.replacement):
            eta = counts * (rule.vectors - rule.vectors @ counts[:, np.newaxis] / B)
            listed += [(row, p * q) for row, q in zip(eta, rule.probabilities, strict=True)]
        # Without replacement the released program's scale; with, by definition, what gives a component that variance.
        variance = (B - 1) / n if not noise.replacement else sum(p * eta[0] ** 2 for eta, p in listed)
        scale = math.sqrt((1 / (b * n)) * (1 - 1 / n) / variance)
        yield from ((1 / n + scale * eta, p) for eta, p in listed)
        return
    for counts, p in _batches(n, B, noise.replacement):
        sampled = counts / B if noise.form == "fisher" else counts / B - 1 / n
        for z, q in zip(rule.vectors, rule.probabilities, strict=True):
            yield 1 / n + math.sqrt(B / b) * sampled * z, p * q


@LISTED.of(classes.GaussianMinibatch)
def _gaussian_minibatch(noise: classes.GaussianMinibatch) -> Listed:
    return _arrays(_weighted_batches(noise))


def _weighted_batches(noise: classes.GaussianMinibatch) -> Iterator[tuple[np.ndarray, float]]:
    n, B = noise.n, noise.batch_size
    _check_size("noise", _log_batches(n, B, noise.replacement) + B * math.log(3), n)
    rule = product_rule(dimension=B)
    z = rule.vectors
    if noise.centered:
        z = math.sqrt(B / (B - 1)) * (z - z.mean(axis=1, keepdims=True))
    weights = 1 / B + z / math.sqrt(noise.noise_batch_size * B)
    batches = itertools.product(range(n), repeat=B) if noise.replacement else itertools.combinations(range(n), B)
    p = n**-B if noise.replacement else 1 / math.comb(n, B)
    for batch in batches:
        for w, q in zip(weights, rule.probabilities, strict=True):
            yield np.bincount(batch, weights=w, minlength=n), p * q


def _check_size(name: str, log_size: float, n: int) -> None:
    """Raise unless so many outcomes of n numbers can be listed; of their number the logarithm is given."""
    if log_size > math.log(_LIMIT) + 1e-9 or n * math.exp(log_size) > _MOST_NUMBERS:
        size = f"{math.exp(log_size):.0f}" if log_size < 30 else f"10^{log_size / math.log(10):.0f}"
        raise ValueError(
            f"{name} must have at most {_LIMIT} outcomes, and {_MOST_NUMBERS} numbers in them, got {size} of {n} numbers; take "
            "a smaller n or batch"
        )
