r"""One parameter, one sample, quadratic loss: M-SGD and its SDE in closed form.

With :math:`\ell(\theta) = a \theta^2/2` a step of Gaussian M-SGD, Eq. (67) of wu2019, multiplies :math:`\theta` by
:math:`1 - a\eta - cZ`, :math:`c = a\eta/\sqrt b`, and its SDE by :math:`\exp(-a\eta - c^2/2 - cZ)` with the same normal Z. The
factors of different steps are independent, so the mean-square distance is a sum of three powers.
"""

from __future__ import annotations

import decimal
from decimal import Decimal

from gradnoise.theory._float_range import within_floats
from gradnoise.theory._validation import as_count, as_real

__all__ = ["mean_square_gradient", "strong_error"]

_DIGITS = 60  # beyond those in which the three powers agree


@within_floats
def strong_error(curvature: float, step_size: float, n_steps: int, batch_size: float, start: float) -> float:
    r"""Exact :math:`E (\Theta_{k\eta} - \theta_k)^2` on one Brownian path, without a loss of digits.

    Parameters
    ----------
    curvature : float
        a, of any sign. Units: loss / parameter squared.
    step_size : float
        eta > 0.
    n_steps : int
        k >= 0.
    batch_size : float
        b >= 1.
    start : float
        theta_0.

    Returns
    -------
    float
        Units: parameter squared.

    Raises
    ------
    ValueError, TypeError
        If an argument is not allowed.

    Examples
    --------
    >>> from gradnoise.theory.diffusion import geometric_motion
    >>> geometric_motion.strong_error(1.0, step_size=0.5, n_steps=0, batch_size=4, start=1.0)  # both at the start
    0.0
    >>> quiet = geometric_motion.strong_error(1.0, step_size=0.5, n_steps=1, batch_size=1e12, start=1.0)
    >>> round(quiet, 6)  # (exp(-0.5) - 0.5)**2
    0.011349
    """
    a, eta, b = _arguments(curvature, step_size, batch_size)
    k, theta = as_count(n_steps, "n_steps", at_least=0), Decimal(as_real(start, "start"))
    with decimal.localcontext(_context(a, eta, b, k)):
        drift, c_squared = a * eta, (a * eta) ** 2 / b
        diffusion = (-2 * drift + c_squared).exp()
        between = (-drift).exp() * (1 - drift + c_squared)
        iterate = (1 - drift) ** 2 + c_squared
        return float(theta**2 * (diffusion**k - 2 * between**k + iterate**k))


@within_floats
def mean_square_gradient(curvature: float, step_size: float, n_steps: int, batch_size: float, start: float) -> float:
    """Largest mean square of the gradient along the iterates 0 ... k of M-SGD.

    Parameters
    ----------
    curvature, step_size, n_steps, batch_size, start : float
        See `strong_error`.

    Returns
    -------
    float
        Units: (loss / parameter) squared.

    Examples
    --------
    >>> from gradnoise.theory.diffusion import geometric_motion
    >>> geometric_motion.mean_square_gradient(2.0, step_size=0.25, n_steps=3, batch_size=1, start=3.0)  # largest at the start
    36.0
    """
    a, eta, b = _arguments(curvature, step_size, batch_size)
    k, theta = as_count(n_steps, "n_steps", at_least=0), Decimal(as_real(start, "start"))
    with decimal.localcontext(_context(a, eta, b, k)):
        growth = (1 - a * eta) ** 2 + (a * eta) ** 2 / b
        return float((a * theta) ** 2 * max(Decimal(1), growth**k))


def _context(a: Decimal, eta: Decimal, b: Decimal, k: int) -> decimal.Context:
    """Digits for a difference of the order (a eta)^4 / b^2 between powers of order one, and all exponents."""
    lost = -4 * min(a.adjusted() + eta.adjusted(), 0) + 2 * b.adjusted() + len(str(k))
    traps = [decimal.Overflow, decimal.InvalidOperation, decimal.DivisionByZero]
    return decimal.Context(_DIGITS + lost, Emin=decimal.MIN_EMIN, Emax=decimal.MAX_EMAX, traps=traps)


def _arguments(curvature: float, step_size: float, batch_size: float) -> tuple[Decimal, Decimal, Decimal]:
    return (
        Decimal(as_real(curvature, "curvature")),
        Decimal(as_real(step_size, "step_size", above=0)),
        Decimal(as_real(batch_size, "batch_size", at_least=1)),
    )
