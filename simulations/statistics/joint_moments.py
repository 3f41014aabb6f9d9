"""Mergeable moments of several quantities together, for estimates of what is computed from their means."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gradnoise.simulations.statistics.estimates import Estimate, as_samples
from gradnoise.simulations.statistics.scaling import Exponents, exponents, in_units
from gradnoise.theory._validation import as_array, as_instance, as_iterable, as_matching, shown

__all__ = ["JointMoments", "merge_joint_moments"]

_BLOCK_ARRAYS = 5  # n, mean, second, third and powers
_LOST = 1e-14  # share of the terms of a sum below which it is rounding


@dataclass(frozen=True)
class JointMoments:
    """Sums of the second and third joint central moments of q quantities, for a small q.

    Attributes
    ----------
    n : int
        Number of samples.
    mean : (q,) ndarray
    second : (q, q) ndarray
        Sum of products of two deviations from the mean.
    third : (q, q, q) ndarray
        Sum of products of three.
    powers : (q,) ndarray of int
        Units of the deviations; see `gradnoise.simulations.statistics.Moments`.

    Examples
    --------
    >>> import numpy as np
    >>> from gradnoise.simulations.statistics import JointMoments
    >>> moments = JointMoments.of(np.array([[1.0, 2.0], [3.0, 4.0]]))  # two quantities that rise together
    >>> difference = moments.along(np.array([1.0, -1.0]))
    >>> difference.value, difference.standard_error
    (-1.0, 0.0)
    """

    n: int
    mean: np.ndarray
    second: np.ndarray
    third: np.ndarray
    powers: Exponents

    @classmethod
    def of(cls, samples: np.ndarray) -> JointMoments:
        """Moments of an (n, q) array of finite numbers, a row per sample, n >= 1."""
        samples = as_samples(samples)
        powers = exponents(samples)
        scaled = in_units(samples, powers)
        mean = scaled.mean(axis=0)
        x = scaled - mean
        third = np.einsum("ni,nj,nk->ijk", x, x, x)
        return cls(len(samples), in_units(mean, -powers), x.T @ x, third, powers)

    def as_block(self) -> tuple[np.ndarray, ...]:
        """Return the moments as arrays, which an ensemble's kernel can return."""
        return np.array(self.n), self.mean, self.second, self.third, self.powers

    def merge(self, other: JointMoments) -> JointMoments:
        """Moments of both samples together (Pebay 2008)."""
        as_matching(self.mean, as_instance(other, "other", JointMoments).mean, ("self.mean", "other.mean"))
        powers = np.maximum(self.powers, other.powers)
        one, two = self._in(powers), other._in(powers)
        n, share = self.n + other.n, other.n / (self.n + other.n)
        delta = in_units(other.mean, powers) - in_units(self.mean, powers)
        product = np.multiply.outer(delta, delta)
        second = one.second + two.second + product * self.n * share
        third = one.third + two.third + np.multiply.outer(product, delta) * self.n * share * (self.n - other.n) / n
        mixed = np.multiply.outer(delta, (self.n * two.second - other.n * one.second) / n)
        for axes in ((0, 1, 2), (1, 0, 2), (1, 2, 0)):
            third = third + mixed.transpose(axes)
        return JointMoments(n, self.mean + in_units(delta * share, -powers), second, third, powers)

    @property
    def covariance(self) -> NDArray[np.float64]:
        """Covariance of the means, (q, q); infinite for one sample, whose spread is not known, and where it is beyond floats."""
        if self.n < 2:
            return np.full_like(self.second, math.inf)
        with np.errstate(over="ignore"):
            return in_units(self.second / (self.n - 1) / self.n, -np.add.outer(self.powers, self.powers))

    def along(self, direction: np.ndarray) -> Estimate:
        """Estimate the mean of a linear combination of the quantities."""
        a = as_array(direction, "direction", ndim=1)
        if a.shape != self.mean.shape:
            raise ValueError(f"direction must have shape {self.mean.shape}, got {a.shape}")
        b = in_units(a, -self.powers)
        unit = exponents(b[:, np.newaxis])
        b = in_units(b, unit)
        square = float(b @ self.second @ b)
        if square <= _LOST * float(np.abs(b) @ np.abs(self.second) @ np.abs(b)):
            square = 0.0  # what remains of quantities that are nearly multiples of each other: no spread is known
        cube = float(np.einsum("ijk,i,j,k", self.third, b, b, b))
        skewness = math.sqrt(self.n) * cube / square**1.5 if square > 0 else 0.0
        error = math.ldexp(math.sqrt(square / (self.n - 1) / self.n), int(unit[0])) if self.n > 1 else math.inf
        return Estimate(float(a @ self.mean), error, self.n, skewness)

    def _in(self, powers: Exponents) -> JointMoments:
        """The same in other units."""
        change = powers - self.powers
        pairs = np.add.outer(change, change)
        second, third = in_units(self.second, pairs), in_units(self.third, np.add.outer(pairs, change))
        return replace(self, second=second, third=third, powers=powers)

    @classmethod
    def _from_block(cls, block: tuple[np.ndarray, ...]) -> JointMoments:
        """Moments from the arrays of `as_block`."""
        if not isinstance(block, (tuple, list)) or len(block) != _BLOCK_ARRAYS:
            raise TypeError(f"blocks must be tuples of {_BLOCK_ARRAYS} arrays, as those of as_block, got {shown(block)}")
        n, *moments = (as_array(part, "blocks") for part in block)
        q = moments[0].size
        if n.shape or n < 1 or [part.shape for part in moments] != [(q,), (q, q), (q, q, q), (q,)]:
            raise ValueError(f"blocks must be those that as_block made, got {shown(block)}")
        mean, second, third, powers = moments
        return cls(int(n), mean, second, third, powers.astype(np.int32))


def merge_joint_moments(blocks: Iterable[tuple[np.ndarray, ...]]) -> JointMoments:
    """Merge blocks made by `JointMoments.as_block`, in their order; a reduction for `gradnoise.simulations.ensemble.run`.

    Parameters
    ----------
    blocks : iterable of tuple of ndarray
        At least one.

    Returns
    -------
    JointMoments
        Of all samples together.

    Raises
    ------
    TypeError, ValueError
        If there is no block, or one that `JointMoments.as_block` did not make.

    Examples
    --------
    >>> import numpy as np
    >>> from gradnoise.simulations.statistics import JointMoments, merge_joint_moments
    >>> blocks = [JointMoments.of(np.array(samples)).as_block() for samples in ([[1.0, 2.0]], [[3.0, 4.0]])]
    >>> merge_joint_moments(blocks).mean
    array([2., 3.])
    """
    parts = map(JointMoments._from_block, as_iterable(blocks, "blocks", "a sequence of blocks"))
    first = next(parts, None)
    if first is None:
        raise ValueError("blocks must not be empty")
    return functools.reduce(JointMoments.merge, parts, first)
