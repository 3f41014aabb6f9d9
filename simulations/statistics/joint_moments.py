"""Mergeable moments of several quantities together, for estimates of what is computed from their means."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gradnoise.simulations.statistics.estimates import Estimate

__all__ = ["JointMoments", "merge_joint_moments"]


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

    @classmethod
    def of(cls, samples: np.ndarray) -> JointMoments:
        """Moments of an (n, q) array, a row per sample."""
        mean = samples.mean(axis=0)
        x = samples - mean
        return cls(len(samples), mean, x.T @ x, np.einsum("ni,nj,nk->ijk", x, x, x))

    def as_block(self) -> tuple[np.ndarray, ...]:
        """Return the moments as arrays, which an ensemble's kernel can return."""
        return np.array(self.n), self.mean, self.second, self.third

    def merge(self, other: JointMoments) -> JointMoments:
        """Moments of both samples together (Pebay 2008)."""
        n, share, delta = self.n + other.n, other.n / (self.n + other.n), other.mean - self.mean
        product = np.multiply.outer(delta, delta)
        second = self.second + other.second + product * self.n * share
        third = self.third + other.third + np.multiply.outer(product, delta) * self.n * share * (self.n - other.n) / n
        mixed = np.multiply.outer(delta, (self.n * other.second - other.n * self.second) / n)
        for axes in ((0, 1, 2), (1, 0, 2), (1, 2, 0)):
            third = third + mixed.transpose(axes)
        return JointMoments(n, self.mean + delta * share, second, third)

    @property
    def covariance(self) -> NDArray[np.float64]:
        """Covariance of the means, (q, q); infinite for one sample, whose spread is not known."""
        return self.second / (self.n - 1) / self.n if self.n > 1 else np.full_like(self.second, math.inf)

    def along(self, direction: np.ndarray) -> Estimate:
        """Estimate the mean of a linear combination of the quantities."""
        a = np.asarray(direction, dtype=np.float64)
        square = max(float(a @ self.second @ a), 0.0)
        cube = float(np.einsum("ijk,i,j,k", self.third, a, a, a))
        skewness = math.sqrt(self.n) * cube / square**1.5 if square > 0 else 0.0
        error = math.sqrt(square / (self.n - 1) / self.n) if self.n > 1 else math.inf
        return Estimate(float(a @ self.mean), error, self.n, skewness)


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

    Examples
    --------
    >>> import numpy as np
    >>> from gradnoise.simulations.statistics import JointMoments, merge_joint_moments
    >>> blocks = [JointMoments.of(np.array(samples)).as_block() for samples in ([[1.0, 2.0]], [[3.0, 4.0]])]
    >>> merge_joint_moments(blocks).mean
    array([2., 3.])
    """
    parts = (JointMoments(int(n), mean, second, third) for n, mean, second, third in blocks)
    return functools.reduce(JointMoments.merge, parts)
