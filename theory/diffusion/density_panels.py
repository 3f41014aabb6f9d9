"""Panels on which the logarithm of a density is known, halved until they resolve it.

A panel has Gauss's nodes. On it the slope of an exponent is integrated as a polynomial, from its left end to each node, and the
density, which need not be one that a float can hold, by its logarithm. A panel is resolved where its two halves say the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cache

import numpy as np

from gradnoise.theory._validation import FloatArray

__all__ = ["Panels", "joined", "resolved"]

Law = Callable[[FloatArray], tuple[FloatArray, FloatArray]]

_POINTS = 12
_AT_FIRST = 1_024  # so that what is wider than 1e-4 of the interval cannot hide between the nodes
_MOST = 200_000
_EXPONENT = 1e-10  # error that a panel's change of the exponent may have, beside its rounding
_MASS = 1e-11  # and its mass, relative to what lies beyond it, on the side where that is less
_DOUBT = 4.0  # times that by which two integrals of the slope differ, for what both may be off
_ROUNDING = 64 * float(np.finfo(float).eps)
_NOTHING = 745.0  # exp(-745) is no float


@dataclass(frozen=True)
class Panels:
    """Panels, a row each.

    Attributes
    ----------
    left, right : (k,) ndarray
        Ends.
    places : (k, m) ndarray
        Nodes, ascending.
    change : (k,) ndarray
        Of the exponent, from the left end to the right one.
    steepest : (k,) ndarray
        Largest change that the slope at a node would make over half a panel.
    height : (k, m) ndarray
        Log density at the nodes, with an exponent of zero at the left end.
    log_mass, highest : (k,) ndarray
        Log of its integral, and more than the height can be between nodes where the slope is resolved.
    doubt : (k,) ndarray
        By how much the change may be wrong.
    """

    left: FloatArray
    right: FloatArray
    places: FloatArray
    change: FloatArray
    steepest: FloatArray
    height: FloatArray
    log_mass: FloatArray
    highest: FloatArray
    doubt: FloatArray

    @classmethod
    def of(cls, law: Law, left: FloatArray, right: FloatArray) -> Panels:
        """Panels between these ends, where `law` has the slope of the exponent and the log of the factor beside it."""
        points, weights, integrals = _gauss()
        half = ((right - left) / 2)[:, np.newaxis]
        places = left[:, np.newaxis] + half * (1 + points)
        slope, log_factor = (values.reshape(places.shape) for values in law(places.ravel()))
        height = half * (slope @ integrals.T) + log_factor
        steepest = half[:, 0] * np.abs(slope).max(axis=1)
        highest = height.max(axis=1) + steepest / 2 + np.ptp(log_factor, axis=1)
        with np.errstate(divide="ignore"):  # a panel without a length has no mass
            log_mass = np.logaddexp.reduce(height + np.log(half * weights), axis=1)
        change = half[:, 0] * (slope @ weights)
        return cls(left, right, places, change, steepest, height, log_mass, highest, doubt=np.zeros_like(change))

    def __len__(self) -> int:
        return len(self.left)

    def __getitem__(self, index: object) -> Panels:
        return Panels(*(getattr(self, field.name)[index] for field in fields(self)))

    @property
    def start(self) -> FloatArray:
        """Exponent at each left end, zero where there is most mass; the panels are in order and leave no gap.

        Summed from there, so that large exponents far away, where there is nothing, do not round what matters.
        """
        most = self._place_of_most
        return np.concatenate([np.cumsum(-self.change[:most][::-1])[::-1], [0.0], np.cumsum(self.change[most:-1])])

    @property
    def doubt_of_start(self) -> FloatArray:
        """By how much the exponent may be wrong at the end of each panel that is farther from where there is most mass."""
        most = self._place_of_most
        return np.concatenate([np.cumsum(self.doubt[:most][::-1])[::-1], np.cumsum(self.doubt[most:])])

    @property
    def _place_of_most(self) -> int:
        return int(np.argmax(np.cumsum(self.change) - self.change + self.log_mass))


def joined(*parts: Panels) -> Panels:
    """All panels, from left to right."""
    together = Panels(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Panels)))
    return together[np.argsort(together.left, kind="stable")]


def resolved(law: Law, low: float, high: float) -> Panels | None:
    """Return panels from low to high that resolve a density as far as floats reach, into its tails.

    None where there would be too many, or one is too short for floats to divide it.
    """
    edges = np.linspace(low, high, _AT_FIRST + 1)
    parents, done = Panels.of(law, edges[:-1], edges[1:]), list[Panels]()
    if not (np.diff(parents.places) > 0).all():
        return None
    while len(parents):
        middle = parents.left + (parents.right - parents.left) / 2
        halves = Panels.of(law, np.stack([parents.left, middle], 1).ravel(), np.stack([middle, parents.right], 1).ravel())
        off = np.abs(halves.change[::2] + halves.change[1::2] - parents.change)
        halves = replace(halves, doubt=np.repeat(_DOUBT * off, 2))
        whole = joined(*done, halves)
        if not (np.diff(whole.places) > 0).all() or len(whole) > _MOST:
            return None
        open_still = ~_agree(parents, halves, whole)
        done.append(halves[np.repeat(~open_still, 2)])
        parents = halves[np.repeat(open_still, 2)]
    return joined(*done)


def _agree(parents: Panels, halves: Panels, whole: Panels) -> np.ndarray:
    """Which parents their halves confirm, or have nothing to do with the density."""
    first, second = halves[::2], halves[1::2]
    at = np.searchsorted(whole.left, parents.left)
    start = whole.start
    mass = start + whole.log_mass
    total = np.logaddexp.reduce(mass)
    beyond = _lesser_tail(mass, at)
    # What has not been seen yet, as it lies between nodes or behind a jump, counts with as much as it can be.
    most = np.maximum(mass, start + whole.highest + np.log(whole.right - whole.left)) + whole.doubt_of_start
    matters = _lesser_tail(most, at) > total - _NOTHING
    log_mass = np.logaddexp(first.log_mass, first.change + second.log_mass)
    exponent_agrees = first.doubt <= _DOUBT * (_EXPONENT + _ROUNDING * parents.steepest)
    relative = np.exp(np.minimum(start[at] + log_mass - beyond, 0.0))
    mass_agrees = np.abs(log_mass - parents.log_mass) * relative <= _MASS
    return ~matters | (exponent_agrees & mass_agrees)


def _lesser_tail(mass: FloatArray, at: np.ndarray) -> FloatArray:
    """Log of the mass on that side of a parent where there is less, its own included; `at` are the places of its left halves."""
    below, above = np.logaddexp.accumulate(mass), np.logaddexp.accumulate(mass[::-1])[::-1]
    return np.minimum(below[at + 1], above[at])


@cache
def _gauss() -> tuple[FloatArray, FloatArray, FloatArray]:
    """Nodes and weights on (-1, 1), and the integrals from -1 to each node as a matrix on the values at the nodes."""
    points, weights = np.polynomial.legendre.leggauss(_POINTS)
    degrees = np.arange(_POINTS)
    values = np.polynomial.legendre.legvander(points, _POINTS)
    # The integral of P_k is (P_(k+1) - P_(k-1)) / (2k + 1), and that of P_0 is x + 1.
    primitive = np.column_stack([points + 1, (values[:, 2:] - values[:, :-2]) / (2 * degrees[1:] + 1)])
    coefficients = (values[:, :-1] * weights[:, np.newaxis]).T * (degrees[:, np.newaxis] + 0.5)
    return points, weights, primitive @ coefficients
