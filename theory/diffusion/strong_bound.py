r"""Bounds on the mean-square distance of Gaussian M-SGD from its SDE on one Brownian path.

Let every gradient of a sample be L-Lipschitz and bounded by M, so that drift and diffusion matrix are, too (b >= 1).

**The step (76).** The paper splits :math:`E|\hat\Theta_t - \Theta_t|^2` into twice a drift and twice a diffusion part and takes
the square of the drift part's time integral by the inequality of Cauchy and Schwarz, which reads
:math:`|\int_0^t f\,ds|^2 \le t \int_0^t |f|^2 ds`. The printed (76) lacks its factor t. With it, (77) has
:math:`4(t + \eta)L^2` for :math:`4(1 + \eta)L^2`, and Gronwall's inequality gives

.. math:: E|\Theta_{k\eta} - \theta_k|^2 \le 16 (T + \eta) L^2 M^2 T e^{4 (T + \eta) L^2 T} \eta^2

in place of (81). For T > 1 the printed proof fails, and the printed bound is false from about T > 64 (1 + eta).

**A sharper bound.** Let :math:`D = \hat\Theta - \Theta` and let :math:`\delta` be what the interpolated iterate
:math:`\hat\Theta` has moved since its last step; :math:`E|\delta|^2 \le 2 \eta^2 M^2`. Ito's formula gives

.. math:: \frac{d}{dt} E|D|^2 = -2 E\langle D, \nabla L(\hat\Theta_{\lfloor\cdot\rfloor}) - \nabla L(\Theta)\rangle
          + \eta E|C(\hat\Theta_{\lfloor\cdot\rfloor}) - C(\Theta)|^2
          \le (3 L + 2 \eta L^2) E|D|^2 + (L + 2 \eta L^2) E|\delta|^2,

where the inner product is split at :math:`\nabla L(\hat\Theta)` and 2ab <= a^2 + b^2 is used. Where the loss is convex the part
:math:`\langle D, \nabla L(\hat\Theta) - \nabla L(\Theta)\rangle` is not negative, and 3 L becomes L. Gronwall's inequality does
the rest. Only iterates enter through M, in the mean square.
"""

from __future__ import annotations

import math

import numpy as np

from gradnoise.theory._float_range import product, within_floats_or_infinite
from gradnoise.theory._validation import as_flag, as_real

__all__ = ["sharp_strong_error_bound", "strong_error_bound"]

_ENORMOUS = 10_000.0  # whose exponential no product of nine floats brings back into their range


@within_floats_or_infinite
def strong_error_bound(step_size: float, time: float, lipschitz: float, gradient_bound: float, published: bool = False) -> float:
    r"""Bound on :math:`E\|\Theta_{k\eta} - \theta_k\|^2` up to a time, corrected or as printed.

    Parameters
    ----------
    step_size : float
        eta > 0.
    time : float
        T >= 0.
    lipschitz : float
        L >= 0, of the gradient of every sample. Units: loss / parameter squared.
    gradient_bound : float
        M >= 0, on the norm of the gradient of every sample. Units: loss / parameter.
    published : bool
        Return what is printed, with (1 + eta) for (T + eta); see this module for the step (76), which fails.

    Returns
    -------
    float
        Units: parameter squared. Infinite where it overflows.

    Raises
    ------
    ValueError, TypeError
        If an argument is not allowed.

    References
    ----------
    wu2019, Eq. (81).

    Examples
    --------
    >>> from gradnoise.theory.diffusion import strong_error_bound
    >>> round(strong_error_bound(0.1, time=1.0, lipschitz=1.0, gradient_bound=1.0), 4)  # 16 * 1.1 * 0.01 * exp(4.4)
    14.3354
    >>> [strong_error_bound(0.1, T, 1.0, 1.0) > strong_error_bound(0.1, T, 1.0, 1.0, published=True) for T in (0.5, 1.0, 2.0)]
    [False, False, True]
    """
    eta, T, L, M = _arguments(step_size, time, lipschitz, gradient_bound)
    factor = (1 if as_flag(published, "published") else T) + eta
    return _growing((16, factor, L, L, eta, eta, M, M, T), _times(4, factor, L, L, T))  # (81), misprint: it has e^{…t}


@within_floats_or_infinite
def sharp_strong_error_bound(
    step_size: float, time: float, lipschitz: float, gradient_bound: float, convex: bool = False
) -> float:
    r"""Sharper bound on the same distance; the proof is in this module.

    .. math:: 2 M^2 \eta^2 \frac{1 + 2 \eta L}{3 + 2 \eta L} (e^{(3 + 2 \eta L) L T} - 1), \qquad
              2 M^2 \eta^2 (e^{(1 + 2 \eta L) L T} - 1) \text{ for convex losses.}

    Parameters
    ----------
    step_size, time, lipschitz : float
        See `strong_error_bound`.
    gradient_bound : float
        M; here a bound on the root mean square of the gradients along the iterates is enough.
    convex : bool
        Whether the loss is convex.

    Returns
    -------
    float
        Units: parameter squared. Infinite where it overflows.

    Raises
    ------
    ValueError, TypeError
        If an argument is not allowed.

    Examples
    --------
    >>> from gradnoise.theory.diffusion import sharp_strong_error_bound
    >>> round(sharp_strong_error_bound(0.1, 1.0, 1.0, 1.0, convex=True), 6)  # 2 * 0.01 * (exp(1.2) - 1)
    0.046402
    """
    eta, T, L, M = _arguments(step_size, time, lipschitz, gradient_bound)
    rate = (1 if as_flag(convex, "convex") else 3) + 2 * eta * L
    share = (1 + 2 * eta * L) / rate if rate < math.inf else 1.0
    return _growing((2, M, M, eta, eta, share), _times(rate, L, T), less=1)


def _arguments(step_size: float, time: float, lipschitz: float, gradient_bound: float) -> tuple[float, float, float, float]:
    return (
        as_real(step_size, "step_size", above=0),
        as_real(time, "time", at_least=0),
        as_real(lipschitz, "lipschitz", at_least=0),
        as_real(gradient_bound, "gradient_bound", at_least=0),
    )


def _times(*factors: float) -> float:
    """Product, infinite where it overflows."""
    if 0 in factors:
        return 0.0
    with np.errstate(over="ignore"):
        return float(product(*factors))


def _growing(factors: tuple[float, ...], exponent: float, less: int = 0) -> float:
    """Product with exp(exponent) - less, in which nothing stays nothing, however fast it grows."""
    if 0 in factors:
        return 0.0
    # Above 700 the exponential is beyond a float, but a small factor may bring it back.
    power = 0 if exponent <= 700 else round(min(exponent, _ENORMOUS) / math.log(2))
    growth = math.expm1(exponent) if less and not power else math.exp(min(exponent, _ENORMOUS) - power * math.log(2))
    with np.errstate(over="ignore"):
        return float(product(*factors, growth, power=power))
