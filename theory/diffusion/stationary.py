r"""Stationary density of a diffusion on the line whose noise depends on the place.

For :math:`d\theta = -L'(\theta) dt + \sqrt{\eta \Sigma(\theta)}\, dW`, in the sense of Ito, a density without flux is

.. math:: p(\theta) \propto \Sigma(\theta)^{-1} \exp\Big(-2 \int \frac{L'}{\eta \Sigma} d\theta\Big).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy

from gradnoise.theory._float_range import exponent_of, within_floats
from gradnoise.theory._validation import FloatArray, as_interval, as_real, as_values

__all__ = ["StationaryDensity"]

_NODES = 20_001
_RESOLVED = 0.02  # of the largest density, between neighbours: a normal one has thirty points in a standard deviation


class StationaryDensity:
    """The density above, by quadrature.

    Parameters
    ----------
    gradient : callable
        L' at points (g,). Units: loss / parameter.
    variance : callable
        eta Sigma > 0 at points (g,). Units: parameter squared / time.
    low, high : float
        The density is taken on [low, high], beyond which it must be negligible.

    Raises
    ------
    ValueError
        If low >= high, the variance is not positive, the density at an end exceeds 1e-9 of its largest value, or the interval
        is so long that the density is narrower than its nodes.

    Examples
    --------
    >>> import numpy as np
    >>> from gradnoise.theory.diffusion import StationaryDensity
    >>> law = StationaryDensity(gradient=lambda x: x, variance=np.ones_like, low=-8.0, high=8.0)  # normal, of variance 1/2
    >>> round(law.probability(0.0, 8.0), 8), round(law.probability(-1.0, 1.0), 6)  # and erf(1)
    (0.5, 0.842701)
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
        self.nodes = np.linspace(low, as_real(high, "high", above=low), _NODES)
        if not np.isfinite(self.nodes[-1] - low) or not (np.diff(self.nodes) > 0).all():
            raise ValueError(f"low and high must be apart by what {_NODES} floats can divide, got {low:g} and {high:g}")
        noise = as_values(variance, self.nodes, "variance")
        if not (noise > 0).all():
            raise ValueError(f"variance must be finite and > 0 between low and high, got a least value of {noise.min():.6g}")
        # In a unit, a power of two, in which squares and cubes of lengths are floats.
        self._unit = exponent_of(self.nodes)
        places = np.ldexp(self.nodes, -self._unit)
        mantissa, power = np.frexp(noise)
        drift = np.ldexp(as_values(gradient, self.nodes, "gradient") / mantissa, self._unit - power)
        exponent = -2 * scipy.integrate.cumulative_simpson(drift, x=places, initial=0.0) - np.log(noise)
        density = np.exp(exponent - exponent.max())
        if max(density[0], density[-1]) > 1e-9:
            raise ValueError(f"low and high must leave out nothing, got a relative density of {max(density[0], density[-1]):.3g}")
        if np.abs(np.diff(density)).max() > _RESOLVED:
            raise ValueError(f"low and high must be so close that {_NODES} points resolve the density, got {low:g} and {high:g}")
        mass = scipy.integrate.cumulative_simpson(density, x=places, initial=0.0)
        self.density = density / np.ldexp(mass[-1], self._unit)
        self._mass = scipy.interpolate.CubicSpline(places, mass / mass[-1])

    def probability(self, low: float, high: float) -> float:
        """P(low <= theta <= high), where the ends may be infinite."""
        below = self._mass(np.ldexp(np.clip(as_interval(low, high), self.nodes[0], self.nodes[-1]), -self._unit))
        return float(np.clip(below[1] - below[0], 0.0, 1.0))  # the spline may fall by a rounding
