"""Orders of convergence from errors that are themselves measured."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from gradnoise.simulations.statistics.estimates import Estimate
from gradnoise.simulations.statistics.joint_moments import JointMoments
from gradnoise.simulations.statistics.rounding import with_error
from gradnoise.simulations.statistics.scaling import exponents
from gradnoise.simulations.statistics.validity import as_level, quantile
from gradnoise.theory._validation import FloatArray, as_array, as_flag, as_matching, as_nonnegative

__all__ = ["Order", "fit_order"]

_ABOVE_NOISE = 10.0  # standard errors; near the limit chance decides what is used, and the bias of that must not count
_ABOVE_FLOOR = 10.0  # times the floor, for a bias of at most a tenth
_LINEAR = 0.5  # up to here the half-width of an interval for an error, over the error, lets its log be linearised
_FEWEST = 3
_KNOWN = 2**62  # samples behind standard errors that are taken as known


@dataclass(frozen=True)
class Order(Estimate):
    """Slope of log |error| against log step size.

    Attributes
    ----------
    value, standard_error : float
        The order, and its standard error; zero where the errors are exact.
    n, skewness, support, normal : int, float or None, None, and False
        Of the samples behind the errors; see `gradnoise.simulations.statistics.Estimate`.
    floor : tuple of float
        Smallest absolute error that counts as measured, for each step size.
    local_slopes : tuple of float
        Slope between neighbouring step sizes, the largest first; NaN where one of them is not used. They show whether there
        is one order at all.
    used : tuple of bool
        Which step sizes entered the fit.
    step_sizes : tuple of float
        In the order of the fields above, from the largest to the smallest.
    log_constant : float
        Log of the fitted constant.
    next_term : float
        c, where the error was fitted by constant * eta^order * exp(c eta); zero where c was not fitted.
    largest_relative_error : float
        Standard error over error, where that is largest among those used.

    Examples
    --------
    >>> from gradnoise.simulations.statistics import fit_order
    >>> order = fit_order([0.4, 0.2, 0.1], [3.2, 0.8, 0.2], [0.0, 0.0, 0.0])
    >>> [round(slope, 10) for slope in order.local_slopes]
    [2.0, 2.0]
    >>> order.predict([0.05]).round(10)
    array([0.05])
    """

    floor: tuple[float, ...] = ()
    local_slopes: tuple[float, ...] = ()
    used: tuple[bool, ...] = ()
    step_sizes: tuple[float, ...] = ()
    log_constant: float = math.nan
    next_term: float = 0.0
    largest_relative_error: float = 0.0

    def __repr__(self) -> str:
        return f"Order({with_error(self.value, self.standard_error)}, from {sum(self.used)} of {len(self.used)} step sizes)"

    def valid(self, level: float) -> bool:
        """Whether `interval` keeps its level: also, whether all errors are so well known that their logs are nearly normal."""
        if self.n == _KNOWN and self.largest_relative_error == 0:
            return bool(as_level(level))  # nothing was sampled
        return super().valid(level) and quantile(1 - as_level(level)) * self.largest_relative_error <= _LINEAR

    def predict(self, step_size: ArrayLike) -> FloatArray:
        """Fitted |error| at step sizes."""
        eta = as_array(step_size, "step_size")
        return np.exp(self.log_constant + self.next_term * eta) * eta**self.value


def fit_order(
    step_sizes: ArrayLike,
    errors: ArrayLike,
    standard_errors: ArrayLike,
    *,
    floor: ArrayLike = 0.0,
    next_term: bool = False,
    moments: JointMoments | None = None,
) -> Order:
    """Fit the order of convergence by weighted least squares of log |error| against log step size.

    A step size is used if its error is at least ten standard errors and ten times its floor. So errors below the noise of
    sampling, or below what the reference solution itself is off, do not flatten the fit.

    Parameters
    ----------
    step_sizes : (k,) array_like
        > 0, all different, k >= 3, in any order.
    errors : (k,) array_like
        Their signs, if they have any, must agree where they are used.
    standard_errors : (k,) array_like
        >= 0; zeros for exact errors. They give the weights.
    floor : float or (k,) array_like
        What the reference is off by, in the units of the errors.
    next_term : bool
        Fit C eta^p (1 + c eta), too, as C eta^p exp(c eta): errors often have a second term, of the next order, and where it is
        felt the slope is not yet the order. Takes one more step size.
    moments : JointMoments, optional
        Of the samples whose means are the errors. Errors from the same random paths are correlated, and these moments give
        the fit its right standard error and skewness; without them errors are taken to be independent.

    Returns
    -------
    Order
        Its standard error speaks of sampling alone: whether the errors follow one power is told by ``local_slopes``.

    Raises
    ------
    ValueError
        If an argument is not allowed, fewer than three errors (four with the next term) can be used, or their signs differ.

    Examples
    --------
    >>> from gradnoise.simulations.statistics import fit_order
    >>> order = fit_order([0.8, 0.4, 0.2, 0.1], [0.64, 0.16, 0.04, 0.3], [1e-3, 1e-3, 1e-3, 1.0])
    >>> round(order.value, 6), order.used  # the last error is noise
    (2.0, (True, True, True, False))
    """
    eta, e = as_array(step_sizes, "step_sizes", ndim=1), as_array(errors, "errors", ndim=1)
    se = as_nonnegative(as_array(standard_errors, "standard_errors", ndim=1), "standard_errors")
    as_matching(eta, e, ("step_sizes", "errors"))
    as_matching(e, se, ("errors", "standard_errors"))
    if len(eta) < _FEWEST or (eta <= 0).any() or len(np.unique(eta)) < len(eta):
        raise ValueError(f"step_sizes must be at least {_FEWEST} different numbers > 0, got {eta.tolist()}")
    bias = np.broadcast_to(as_nonnegative(as_array(floor, "floor", ndim=(0, 1)), "floor"), eta.shape)
    order = np.argsort(-eta)
    eta, e, se, bias = eta[order], e[order], se[order], bias[order]
    lowest = np.maximum(_ABOVE_NOISE * se, _ABOVE_FLOOR * bias)
    used = (np.abs(e) > lowest) & (e != 0)
    fewest = _FEWEST + as_flag(next_term, "next_term")
    if used.sum() < fewest:
        raise ValueError(
            f"errors must exceed {_ABOVE_NOISE:g} standard errors and {_ABOVE_FLOOR:g} times the floor for at least {fewest} "
            f"step sizes, got {used.sum()} of {len(eta)}; take more paths, a finer reference or larger step sizes"
        )
    if len(np.unique(np.sign(e[used]))) > 1:
        raise ValueError(
            f"errors must have one sign for an order to make sense, got {e[used].tolist()}; "
            f"the error changes sign between two step sizes, so take smaller ones"
        )
    x, y = np.log(eta[used]), np.log(np.abs(e[used]))
    relative = se[used] / np.abs(e[used])
    unit = int(exponents(relative[:, np.newaxis])[0])  # in which their squares are numbers; weights have no unit
    scaled = np.ldexp(relative, -unit)
    weight = np.ones_like(x) if not relative.any() else 1 / np.maximum(scaled, 1e-3 * scaled.max()) ** 2
    design = np.column_stack([np.ones_like(x), x, *([eta[used]] if next_term else [])])
    root = np.sqrt(weight)
    solution = np.linalg.pinv(design * root[:, np.newaxis]) * root  # from log errors to the coefficients
    constant, value, *rest = (float(c) for c in solution @ y)
    response = solution[1]
    slopes = [
        math.log(abs(e[i] / e[i + 1])) / math.log(eta[i] / eta[i + 1]) if used[i] and used[i + 1] else math.nan
        for i in range(len(eta) - 1)
    ]
    if moments is None:
        spread = Estimate(value, math.ldexp(np.sqrt(((response * scaled) ** 2).sum()), unit), _KNOWN, 0.0)
    else:
        direction = np.zeros(len(eta))
        direction[order[used]] = response / e[used]  # by the delta method
        spread = moments.along(direction)
    return Order(
        value,
        spread.standard_error,
        spread.n,
        spread.skewness,
        floor=tuple(lowest.tolist()),
        local_slopes=tuple(slopes),
        used=tuple(used.tolist()),
        step_sizes=tuple(eta.tolist()),
        log_constant=constant,
        next_term=rest[0] if rest else 0.0,
        largest_relative_error=float(relative.max()),
    )
