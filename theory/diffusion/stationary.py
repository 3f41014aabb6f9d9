r"""Stationary density of a diffusion on the line whose noise depends on the place.

For :math:`d\theta = -L'(\theta) dt + \sqrt{\eta \Sigma(\theta)}\, dW`, in the sense of Ito, a density without flux is

.. math:: p(\theta) \propto \Sigma(\theta)^{-1} \exp\Big(-2 \int \frac{L'}{\eta \Sigma} d\theta\Big).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gradnoise.theory._float_range import exponent_of, within_floats
from gradnoise.theory._validation import FloatArray, as_interval, as_real, as_values
from gradnoise.theory.diffusion.density_panels import Panels, resolved

__all__ = ["StationaryDensity"]

_DENSITY = 1e-9  # at an end, relative to the largest
_MASS = 1e-6  # beyond an end, of all


class StationaryDensity:
    """The density above, by adaptive quadrature of its logarithm.

    It is resolved however narrow it is within the interval, and however long its tails are. What is narrower than 1e-4 of
    the interval is seen where the gradient leads to it; a dent of the variance or a jump of the gradient alone, to either side
    of which they are as smooth as without it, may stay unseen.

    Parameters
    ----------
    gradient : callable
        L' at points (g,). Units: loss / parameter.
    variance : callable
        eta Sigma > 0 at points (g,). Units: parameter squared / time.
    low, high : float
        The density is taken on [low, high], beyond which it must be negligible.

    Attributes
    ----------
    nodes, density : (m,) ndarray
        Places, ascending and closer where the density changes faster, and the density there.

    Raises
    ------
    ValueError
        If low >= high, the variance is not positive, the density at an end exceeds 1e-9 of its largest value or leaves more
        than 1e-6 of its mass beyond, as far as its slope there tells, or the density cannot be resolved.

    Examples
    --------
    >>> import numpy as np
    >>> from gradnoise.theory.diffusion import StationaryDensity
    >>> law = StationaryDensity(gradient=lambda x: x, variance=np.ones_like, low=-8.0, high=8.0)  # normal, of variance 1/2
    >>> round(law.probability(0.0, 8.0), 8), round(law.probability(-1.0, 1.0), 6)  # and erf(1)
    (0.5, 0.842701)
    >>> float(f"{law.probability(6.0, 8.0):.6g}")  # erfc(6) / 2, to as many digits of its own
    1.07599e-17
    """

    @within_floats
    def __init__(
        self,
        gradient: Callable[[FloatArray], FloatArray],
        variance: Callable[[FloatArray], FloatArray],
        low: float,
        high: float,
    ) -> None:
        low = as_real(low, "low")
        ends = np.array([low, as_real(high, "high", above=low)])
        if not np.isfinite(ends[1] - ends[0]):
            raise ValueError(f"low and high must be apart by what floats can hold, got {low:g} and {high:g}")
        self._gradient, self._variance = gradient, variance
        self._unit = exponent_of(ends)  # a power of two in which squares and cubes of lengths are floats
        self._low, self._high = np.ldexp(ends, -self._unit)
        panels = resolved(self._law, self._low, self._high)
        if panels is None:
            raise ValueError(
                f"low and high must be so close, and so near to zero, that the floats between them resolve gradient, variance "
                f"and density, got {low:g} and {high:g}"
            )
        self._panels, self._start = panels, panels.start
        mass = self._start + panels.log_mass
        self._total = np.logaddexp.reduce(mass)
        self._mass = np.exp(mass - self._total)
        heights = self._start[:, np.newaxis] + panels.height - self._total
        self._check_ends(heights)
        self.nodes = np.ldexp(panels.places.ravel(), self._unit)
        self.density = np.ldexp(np.exp(heights.ravel()), -self._unit)

    def probability(self, low: float, high: float) -> float:
        """P(low <= theta <= high), where the ends may be infinite; small ones keep their digits."""
        ends = np.ldexp(np.clip(as_interval(low, high), *np.ldexp([self._low, self._high], self._unit)), -self._unit)
        left, right = np.maximum(self._panels.left, ends[0]), np.minimum(self._panels.right, ends[1])
        whole = (left == self._panels.left) & (right == self._panels.right)
        if whole.all():
            return 1.0
        cut = (left < right) & ~whole
        before, within = Panels.of(self._law, self._panels.left[cut], left[cut]), Panels.of(self._law, left[cut], right[cut])
        parts = np.exp(self._start[cut] + before.change + within.log_mass - self._total)
        return min(float(self._mass[whole].sum() + parts.sum()), 1.0)

    def _law(self, places: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Slope of the exponent, and the log of 1 / (eta Sigma), at places in the unit."""
        x = np.ldexp(places, self._unit)
        noise = as_values(self._variance, x, "variance")
        if not (noise > 0).all():
            raise ValueError(f"variance must be finite and > 0 between low and high, got a least value of {noise.min():.6g}")
        mantissa, power = np.frexp(noise)
        return -2 * np.ldexp(as_values(self._gradient, x, "gradient") / mantissa, self._unit - power), -np.log(noise)

    def _check_ends(self, heights: FloatArray) -> None:
        """Raise unless the density is negligible at the ends, and falls so fast there that what lies beyond is, too."""
        panels = self._panels
        _, at_ends = self._law(np.array([self._low, self._high]))
        at_ends = at_ends + np.array([self._start[0], self._start[-1] + panels.change[-1]]) - self._total
        beside = heights[[0, -1], [0, -1]]
        distance = np.array([panels.places[0, 0] - self._low, self._high - panels.places[-1, -1]])
        density = np.exp(np.minimum(at_ends - heights.max(), 0.0)).max()
        if density > _DENSITY:
            raise ValueError(f"low and high must leave out nothing, got a relative density of {density:.3g}")
        # As if it went on falling as fast, and were gone after another interval if it does not fall.
        fall = np.maximum((beside - at_ends) / distance, 1 / (self._high - self._low))
        share = (np.exp(at_ends) / fall).max()
        if share > _MASS:
            raise ValueError(f"low and high must leave out nothing, got a share of about {share:.3g} beyond them")
