r"""A planar landscape with a quadratic and a double-well part, and the exact law of its one-dimensional dynamics.

.. math:: L(x, y) = \tfrac{a}{2} x^2 + \tfrac{q}{4} (x^2 - 1)^2 + c x + \tfrac{k}{2} (y - m x)^2

With q = 0 it is a quadratic whose Hessian commutes with few covariances; with a tilt c its two wells differ in depth, and
with k = 0 it is a landscape on the line.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import ArrayLike

from gradnoise.theory._float_range import within_floats, within_floats_or_infinite
from gradnoise.theory._validation import FloatArray, as_array, as_count, as_interval, as_real, as_values, set_fields, shown

__all__ = ["EulerLaw", "PlanarLandscape"]

_MOST_PRODUCTS = 2 * 10**10  # of an `EulerLaw`, half a minute or so
_MOST_NODES = 5_793
_EPS = np.finfo(np.float64).eps
_RESOLVED = 1e-6  # error of the loss at an edge of a sublevel set, relative to the depth of the well, or the height beyond


@dataclass(frozen=True)
class PlanarLandscape:
    """The landscape above.

    Attributes
    ----------
    quadratic, quartic, tilt, stiffness, shear : float
        a, q, c, k and m; a, q and k are >= 0.

    Examples
    --------
    >>> from gradnoise.theory.escape import PlanarLandscape
    >>> well = PlanarLandscape(quartic=1.0)
    >>> well.minima()
    array([-1.,  1.])
    >>> float(well.loss(0.0))  # the barrier between them, q / 4
    0.25
    >>> float(well.hessian(1.0)[0, 0]), len(well.sublevel_intervals(0.125))  # 2 q, and both wells
    (2.0, 2)
    """

    quadratic: float = 0.0
    quartic: float = 0.0
    tilt: float = 0.0
    stiffness: float = 0.0
    shear: float = 0.0

    def __post_init__(self) -> None:
        for name in ("quadratic", "quartic", "stiffness"):
            set_fields(self, **{name: as_real(getattr(self, name), name, at_least=0)})
        for name in ("tilt", "shear"):
            set_fields(self, **{name: as_real(getattr(self, name), name)})

    @within_floats
    def loss(self, x: ArrayLike, y: ArrayLike = 0.0) -> FloatArray:
        """L at points (x, y)."""
        x, y = _as_points(x, y)
        well = self.quadratic / 2 * x**2 + self.quartic / 4 * (x**2 - 1) ** 2 + self.tilt * x
        return well + self.stiffness / 2 * (y - self.shear * x) ** 2

    @within_floats
    def gradient(self, x: ArrayLike, y: ArrayLike = 0.0) -> FloatArray:
        """Gradient at points (x, y), along a first axis of two."""
        x, y = _as_points(x, y)
        pull = self.stiffness * (y - self.shear * x)
        return np.stack([self.quadratic * x + self.quartic * x * (x**2 - 1) + self.tilt - self.shear * pull, pull])

    @within_floats
    def hessian(self, x: float) -> FloatArray:
        """Hessian at a point, (2, 2); it does not depend on y."""
        k, m, x = self.stiffness, self.shear, as_real(x, "x")
        return np.array([[self.quadratic + self.quartic * (3 * x**2 - 1) + k * m**2, -k * m], [-k * m, k]])

    @within_floats
    def minima(self) -> FloatArray:
        """Ascending x of the local minima; y is m x there."""
        x = self._turns()
        between = np.concatenate([_beyond(x[:1], -1), (x[:-1] + x[1:]) / 2, _beyond(x[-1:], 1)])
        slope = self.gradient(between, self.shear * between)[0]
        return x[(slope[:-1] < 0) & (slope[1:] > 0)]  # a curvature may be zero there

    @within_floats_or_infinite
    def sublevel_intervals(self, level: float) -> list[tuple[float, float]]:
        """Intervals of x on which L(x, m x) < level."""
        level = as_real(level, "level")
        x = self._edges(level)
        edges = np.concatenate([[-np.inf], x, [np.inf]])
        middle = (
            np.clip((edges[:-1] + edges[1:]) / 2, _beyond(edges[1], -1), _beyond(edges[-2], 1)) if len(x) else np.array([0.0])
        )
        below = self.loss(middle, self.shear * middle) < level
        return [(float(a), float(b)) for a, b, low in zip(edges[:-1], edges[1:], below, strict=True) if low and a < b]

    def _turns(self) -> FloatArray:
        """Ascending x at which the slope of L(x, m x) is zero."""
        return np.unique(_real_roots([self.quartic, 0, self.quadratic - self.quartic, self.tilt]))

    def _edges(self, level: float) -> FloatArray:
        """Ascending x with L(x, m x) = level, as roots of a polynomial.

        Near the bottom of a well, or the top of a barrier, where two are nearly one, these are not known, nor how many there are.
        So they are counted by the turns between them; where the count, or a root, is wrong, a bracket has each.
        """

        def height(x: FloatArray) -> FloatArray:
            return self.loss(x, self.shear * x) - level

        q, turns = self.quartic / 4, self._turns()
        x = _real_roots([q, 0, self.quadratic / 2 - 2 * q, self.tilt, q - level])
        depths = height(turns)
        inside = depths < 0
        known = (np.abs(height(x)) <= _RESOLVED * np.abs(depths[depths != 0]).min(initial=np.inf)).all()
        if not len(turns) or (known and len(x) == np.count_nonzero(np.diff(inside)) + int(inside[0]) + int(inside[-1])):
            return x
        ends, outside = turns[[0, -1]], np.array([-1.0, 1.0])
        while inside.any() and (height(ends) < 0).any():
            ends, outside = ends + outside, 2 * outside
        points, below = np.concatenate([ends[:1], turns, ends[1:]]), np.concatenate([[False], inside, [False]])
        pieces = np.flatnonzero(np.diff(below))
        return np.array([scipy.optimize.brentq(height, *points[i : i + 2], xtol=1e-300, rtol=4 * _EPS) for i in pieces])


class EulerLaw:
    """Exact law of Euler-Maruyama on the line, x' = x - h L'(x) + sqrt(h s(x)) Z.

    A step maps a density by a Gaussian kernel, and the trapezoidal rule integrates Gaussians to machine precision once
    its nodes are closer than two thirds of their standard deviation. So expectations come without a sampling error.

    Parameters
    ----------
    landscape : PlanarLandscape
        With stiffness 0.
    noise : float or callable
        s > 0, variance per time; a function of points (g,) where it depends on the point.
    start : float
        x_0.
    step_size : float
        h > 0.
    n_steps : int
        >= 2.
    reach : float
        The density lives on [-reach, reach]; nodes are as close as half a standard deviation of the smallest step.

    Attributes
    ----------
    nodes, densities : ndarray
        (g,) nodes and (n_steps, g) densities after steps 1 to n_steps.

    Raises
    ------
    ValueError
        If an argument is not allowed, more than 1e-9 of the mass has left the interval, or there are too many nodes: more than
        5,793, or 2e10 products of nodes, nodes and steps.

    Examples
    --------
    >>> import numpy as np
    >>> from gradnoise.theory.escape import EulerLaw, PlanarLandscape
    >>> law = EulerLaw(PlanarLandscape(quadratic=1.0), noise=1.0, start=0.0, step_size=0.5, n_steps=2, reach=6.0)
    >>> round(law.expectation(np.square), 10)  # 0.5**2 * 0.5 from the first step, and 0.5
    0.625
    >>> round(law.time_integral(np.square), 10)  # 0.5 times (0 + 0.5)
    0.25
    >>> round(law.probability([(0.0, np.inf)]), 10)
    0.5
    """

    @within_floats
    def __init__(
        self,
        landscape: PlanarLandscape,
        noise: float | Callable[[FloatArray], FloatArray],
        start: float,
        step_size: float,
        n_steps: int,
        reach: float = 3.0,
    ) -> None:
        if not isinstance(landscape, PlanarLandscape):
            raise TypeError(f"landscape must be a PlanarLandscape, got {shown(landscape)}")
        if landscape.stiffness != 0:
            raise ValueError(f"landscape must have stiffness 0, a landscape on the line, got {landscape.stiffness:g}")
        n_steps = as_count(n_steps, "n_steps", at_least=2)
        step, start = as_real(step_size, "step_size", above=0), as_real(start, "start")
        reach = as_real(reach, "reach", above=abs(start))
        self._landscape, self._step, self._start = landscape, step, start
        if not callable(noise):
            as_real(noise, "noise", above=0)
        self._noise = noise
        half = np.ceil(reach / (0.5 * self._deviation(np.linspace(-reach, reach, 1001)).min()))
        if half > _MOST_NODES // 2 or n_steps * (2 * half + 1) ** 2 > _MOST_PRODUCTS:
            raise ValueError(
                f"reach, noise, step_size and n_steps must need at most {_MOST_NODES} nodes and {_MOST_PRODUCTS:.0g} products, "
                f"got {2 * half + 1:.6g} nodes for reach = {reach:g}, and n_steps = {n_steps}"
            )
        self.nodes = np.linspace(-reach, reach, 2 * int(half) + 1)
        self._spacing = self.nodes[1] - self.nodes[0]
        kernel = self._normal(self.nodes[:, np.newaxis], self.nodes) * self._spacing
        self.densities = np.empty((n_steps, len(self.nodes)))
        self.densities[0] = self._normal(self.nodes, np.array([start]))
        for k in range(1, n_steps):
            self.densities[k] = kernel @ self.densities[k - 1]
        if not abs(self.expectation(np.ones_like) - 1) <= 1e-9:
            raise ValueError(f"reach = {reach:g} is too small, mass has left the interval")

    @within_floats
    def expectation(self, function: Callable[[FloatArray], ArrayLike]) -> float:
        """E f(x) after the last step, for a smooth f."""
        return float(as_values(function, self.nodes, "function") @ self.densities[-1] * self._spacing)

    @within_floats
    def time_integral(self, function: Callable[[FloatArray], ArrayLike]) -> float:
        """Sum of h E f(x_k) over the points x_0 ... x_(n-1) from which steps start."""
        later = (as_values(function, self.nodes, "function") @ self.densities[:-1].T).sum() * self._spacing
        return float(self._step * (later + as_values(function, np.array([self._start]), "function")[0]))

    def probability(self, intervals: Sequence[tuple[float, float]]) -> float:
        """P(x lies in one of the intervals) after the last step; their ends, which may be infinite, ascend."""
        centre, deviation = self._drifted(self.nodes), self._deviation(self.nodes)
        mass = self.densities[-2] * self._spacing
        ends = (((a - centre) / deviation, (b - centre) / deviation) for a, b in _union(intervals))
        return min(float(sum(mass @ _normal_between(low, high) for low, high in ends)), 1.0)

    def _drifted(self, x: FloatArray) -> FloatArray:
        return x - self._step * self._landscape.gradient(x)[0]

    def _deviation(self, x: FloatArray) -> FloatArray:
        noise = as_values(self._noise, x, "noise") if callable(self._noise) else np.full_like(x, self._noise)
        if not (noise > 0).all():
            raise ValueError(f"noise must be > 0 on the whole interval, got {noise.min():g}")
        return np.sqrt(self._step * noise)

    def _normal(self, x: FloatArray, origin: FloatArray) -> FloatArray:
        """Density at x of a step from an origin."""
        deviation = self._deviation(origin)
        z = (x - self._drifted(origin)) / deviation
        return np.exp(-(z**2) / 2) / (deviation * np.sqrt(2 * np.pi))


def _normal_between(low: FloatArray, high: FloatArray) -> FloatArray:
    """Probability that a standard normal is between; above zero by the upper tails, as the lower ones are all but one there."""
    below, sign = scipy.special.ndtr, np.where(low > 0, -1.0, 1.0)
    return sign * (below(sign * high) - below(sign * low))


def _as_points(x: ArrayLike, y: ArrayLike) -> tuple[FloatArray, FloatArray]:
    x, y = as_array(x, "x"), as_array(y, "y")
    try:
        np.broadcast_shapes(x.shape, y.shape)
    except ValueError:
        raise ValueError(f"x and y must broadcast, got shapes {x.shape} and {y.shape}") from None
    return x, y


def _union(intervals: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Disjoint intervals that cover what these do."""
    if not isinstance(intervals, (Sequence, np.ndarray)) or isinstance(intervals, str):
        raise TypeError(f"intervals must be a list of pairs of numbers, got {shown(intervals)}")
    try:
        pairs = [(low, high) for low, high in intervals]
    except (TypeError, ValueError):
        raise TypeError(f"intervals must be pairs of numbers, got {shown(intervals)}") from None
    result: list[tuple[float, float]] = []
    for low, high in sorted(as_interval(low, high, ("low ends of intervals", "high ends of intervals")) for low, high in pairs):
        if result and low <= result[-1][1]:
            low, high = result[-1][0], max(result.pop()[1], high)
        result.append((low, high))
    return result


def _beyond(x: FloatArray, side: int) -> FloatArray:
    """A point on a side of x that is another float."""
    return x + side * (1 + np.abs(x))


def _real_roots(coefficients: list[float]) -> FloatArray:
    roots = np.roots(np.trim_zeros(np.array(coefficients, dtype=np.float64), "f"))
    return np.sort(roots[np.abs(roots.imag) < 1e-9 * (1 + np.abs(roots.real))].real).astype(np.float64)
