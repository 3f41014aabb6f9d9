"""Whether gradients are the derivatives of losses, in any units, by central differences.

The step is a share of the length of a parameter: the parameter itself, or the losses over their derivatives, whichever is larger.
Where that leaves a doubt, steps of all scales below are tried: a right gradient is met by differences at two of them in a row, a
wrong one at most at one, in passing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from gradnoise.theory._validation import FloatArray

__all__ = ["check_derivatives", "lengths"]

_STEP = 6e-6  # of a length: the cube root of the rounding
_OF_ONE, _OF_ALL = 1e-4, 1e-8  # relative, of a sample's difference and of the largest: a wrong derivative is further off
_RESOLVED = 1e-3  # rounding of a difference that still tells something, relative to it or to the gradient
_SETTLED = 1e-2  # relative change from a step to a finer one
_ROUNDING, _UNDERFLOW = 8 * float(np.finfo(float).eps), 128 * float(np.finfo(float).smallest_subnormal)
_FINER, _SCALES = 4.0 ** -np.arange(537), 2.0 ** np.arange(1020, -1074, -20)  # all that floats have

Losses = Callable[[FloatArray], FloatArray]


@np.errstate(all="ignore")  # differences that are not finite are left out
def check_derivatives(losses: Losses, gradients: FloatArray, theta: FloatArray, far_out: Losses | None = None) -> None:
    """Compare gradients (d, n) at a point with differences of the losses (n,) around it.

    Where a doubt is left, the losses are those of `far_out`, which may be asked for at any point, however far away.

    Raises
    ------
    ValueError
        If they are not alike, or the losses are not finite around the point.
    """
    far_out = far_out or losses
    for j, (length, claimed) in enumerate(zip(lengths(losses, gradients, theta, far_out), gradients, strict=True)):
        line = _Line(far_out, theta, j)
        if not claimed.any():
            visible = line.visible(length)
            if visible is None:
                continue  # the losses do not depend on it
            length = visible
        elif (first := _Line(losses, theta, j).difference(_STEP * length)) is not None and first.agrees_with(claimed):
            continue
        found = line.refutation(claimed, length)
        if found is not None:
            i = int((np.abs(found.value - claimed) - found.allowed(claimed)).argmax())
            raise ValueError(
                f"gradients must be the derivatives of losses, got {claimed[i]:.6g} for sample {i} and parameter {j} "
                f"at the start, where the losses change by {found.value[i]:.6g} per unit"
            )


@np.errstate(all="ignore")
def lengths(losses: Losses, gradients: FloatArray, theta: FloatArray, far_out: Losses | None = None) -> FloatArray:
    """Return for each parameter the distance over which the losses change much: that of others, or one, where nothing tells."""
    height = np.abs(losses(theta)).max() or np.abs((far_out or losses)(theta + 1.0)).max()
    fall = height / np.abs(gradients).max(axis=1)
    found = np.maximum(np.abs(theta), np.where(np.isfinite(fall), fall, 0.0))
    return np.where(found > 0, found, found.max() or 1.0)


class _Difference(NamedTuple):
    """Change of the losses per unit of a parameter."""

    value: FloatArray  # (n,)
    rounding: FloatArray  # (n,), bound on what rounding adds

    @property
    def size(self) -> float:
        return float(np.abs(self.value).max())

    def allowed(self, claimed: FloatArray) -> FloatArray:
        sizes = np.maximum(np.abs(claimed), np.abs(self.value))
        return _OF_ONE * sizes + _OF_ALL * sizes.max() + self.rounding

    def agrees_with(self, claimed: FloatArray) -> bool:
        return bool((np.abs(self.value - claimed) <= self.allowed(claimed)).all())


class _Line(NamedTuple):
    """Losses as one parameter changes."""

    losses: Losses
    theta: FloatArray
    j: int

    def difference(self, step: float) -> _Difference | None:
        """Central difference; None where it is not finite."""
        up, down = self.theta.copy(), self.theta.copy()
        up[self.j] += step
        down[self.j] -= step
        width = up[self.j] - down[self.j]
        if not 0 < width < np.inf:
            return None
        above, below = self.losses(up), self.losses(down)
        largest = np.maximum(np.abs(above), np.abs(below))
        found = _Difference((above - below) / width, _ROUNDING * (largest / width) + _UNDERFLOW / width)
        return found if np.isfinite(found).all() else None

    def visible(self, length: float) -> float | None:
        """Largest step, of all scales, whose change is not lost in rounding; None if there is none."""
        for step in length * _SCALES:
            found = self.difference(step)
            if found is not None and (np.abs(found.value) > found.rounding).any():
                return step
        return None

    def refutation(self, claimed: FloatArray, length: float) -> _Difference | None:
        """Difference that shows a gradient to be wrong, of steps from the length downwards; None if they do not."""
        claims, finite, before, last = float(np.abs(claimed).max()), False, None, None
        for found in filter(None, map(self.difference, length * _FINER)):
            finite = True
            if found.rounding.max() <= _RESOLVED * max(claims, found.size):
                before, last = last, found
                if claims > 0 and before is not None and before.agrees_with(claimed) and last.agrees_with(claimed):
                    return None
            elif last is not None:
                break
        else:
            if last is not None:
                return last  # no limit, as of a jump
        if not finite:
            raise ValueError(
                f"losses must be finite around the start, got NaN or infinity around start[{self.j}] = {self.theta[self.j]:g}"
            )
        if before is None or last is None:
            return None
        settled = np.abs(last.value - before.value).max() <= _SETTLED * last.size
        growing = (
            last.size - last.rounding.max() > before.size + before.rounding.max()
        )  # so that finer steps might meet the claim
        return last if settled or (claims > 0 and not growing) else None
