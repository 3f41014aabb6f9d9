r"""Escape from a minimum: the Ornstein-Uhlenbeck process of zhu2019, Section 3.

Near a minimum :math:`L(\theta) = \tfrac12 \theta^T H \theta` and the dynamics is
:math:`d\theta_t = -H \theta_t dt + \Sigma^{1/2} dW_t`, :math:`\theta_0 = 0`. Units: H in loss / parameter^2, which is
1 / time; Sigma in parameter^2 / time; t in time.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from gradnoise.theory._float_range import product, within_floats
from gradnoise.theory._linalg import psd_eigh
from gradnoise.theory._quadratic_form import quadratic_form_sf
from gradnoise.theory._validation import FloatArray, as_array, as_count, as_matching, as_nonnegative, as_psd, as_real, shown

__all__ = [
    "discrete_loss_increase",
    "escape_probability",
    "indicator",
    "indicator_ratio_bound",
    "loss_increase",
    "loss_increase_linear",
    "markov_bound",
    "ou_covariance",
]

_ROUNDING = 1e-9  # of an alignment that is as large as it can be
_SMALLEST = float(np.finfo(float).tiny)  # of a number with all its digits


@within_floats
def indicator(hessian: ArrayLike, covariance: ArrayLike) -> float:
    """Escape indicator Tr(H Sigma).

    Parameters
    ----------
    hessian, covariance : (d, d) array_like
        Symmetric positive semi-definite.

    Returns
    -------
    float
        Twice the initial rate of the loss. Units: loss / time.

    Raises
    ------
    ValueError
        If a matrix is not symmetric positive semi-definite, or the shapes differ.

    References
    ----------
    zhu2019, Eq. (13).

    Examples
    --------
    >>> from gradnoise.theory.escape import indicator
    >>> indicator([[2.0, 0.0], [0.0, 1.0]], [[3.0, 0.0], [0.0, 5.0]])  # 2 * 3 + 1 * 5
    11.0
    """
    return float(np.ldexp(*_trace_of_product(*_pair(hessian, covariance))))


@within_floats
def loss_increase(hessian: ArrayLike, covariance: ArrayLike, time: ArrayLike) -> FloatArray:
    r"""Expected loss increase of an OU process that starts at the minimum.

    .. math:: E[L(\theta_t) - L(\theta_0)] = \tfrac14 \mathrm{Tr}((I - e^{-2Ht})\Sigma)

    Parameters
    ----------
    hessian, covariance : (d, d) array_like
        H and Sigma, symmetric positive semi-definite; they need not commute, and H may be singular.
    time : array_like
        t >= 0, any shape.

    Returns
    -------
    ndarray
        Of the shape of time. Units: loss.

    Raises
    ------
    ValueError
        If a shape is wrong, a matrix is not symmetric positive semi-definite, or t < 0.

    Notes
    -----
    A small curvature beside a large one counts with all its digits where the entries of H determine it: in diagonal and in
    graded matrices, D C D with a diagonal D and a well-conditioned C, and in blocks of such. In any other matrix it is known to
    4 d roundings of the largest, 9e-16 d lambda_1, which is what storing the entries leaves of it, and is zero below that; the
    increase is then wrong by up to t/2 Tr Sigma times as much. So it is in all functions here.

    References
    ----------
    zhu2019, Eq. (13) and Appendix A.2.

    Examples
    --------
    >>> import numpy as np
    >>> from gradnoise.theory.escape import loss_increase
    >>> times = [np.log(2) / 2, 100.0]  # exp(-2 t) is 1/2, and then nothing
    >>> loss_increase([[1.0]], [[2.0]], times).round(10)
    array([0.25, 0.5 ])
    """
    lam, s = _spectrum(*_pair(hessian, covariance))
    t = as_nonnegative(time, "time")
    exponent = _outer(t, 2 * lam)
    small = exponent < _SMALLEST  # where it is the first term of 1 - exp(-2 t lam), and has lost digits to underflow
    increase = -0.25 * np.expm1(np.where(small, 0.0, -exponent)) @ s  # (42); expm1 keeps small t exact
    return increase + product(0.5, np.where(small, t[..., np.newaxis], 0.0), lam, s).sum(axis=-1)


@within_floats
def loss_increase_linear(hessian: ArrayLike, covariance: ArrayLike, time: ArrayLike) -> FloatArray:
    """First-order approximation (t/2) Tr(H Sigma) of `loss_increase`, which it never falls below.

    Parameters
    ----------
    hessian, covariance, time : array_like
        See `loss_increase`, whose errors it raises, too.

    Returns
    -------
    ndarray
        Of the shape of time. Units: loss.

    References
    ----------
    zhu2019, Eq. (13), right; its error lies in [0, (t^2/2) Tr(H^2 Sigma)].

    Examples
    --------
    >>> from gradnoise.theory.escape import loss_increase, loss_increase_linear
    >>> loss_increase_linear([[1.0]], [[2.0]], [0.01, 1.0])
    array([0.01, 1.  ])
    >>> loss_increase([[1.0]], [[2.0]], [0.01, 1.0]).round(4)  # close for a short time only
    array([0.0099, 0.4323])
    """
    t, (trace, power) = as_nonnegative(time, "time"), _trace_of_product(*_pair(hessian, covariance))
    return product(t / 2, trace, power=power)


@within_floats
def discrete_loss_increase(hessian: ArrayLike, covariance: ArrayLike, step_size: float, n_steps: ArrayLike) -> FloatArray:
    r"""Expected loss after k steps of gradient descent with noise on a quadratic.

    .. math:: E L(\theta_k) = \frac{\eta}{2} \sum_i s_i \frac{1 - (1 - \eta\lambda_i)^{2k}}{2 - \eta\lambda_i},
              \qquad s_i = u_i^T \Sigma u_i

    for :math:`\theta_{k+1} = \theta_k - \eta H\theta_k + \eta\epsilon_k`, Var eps = Sigma. Eq. (13) is its limit for
    small eta, with eta Sigma as the covariance of the process; it does not describe steps with eta lambda of order one.

    Parameters
    ----------
    hessian : (d, d) array_like
        H, symmetric positive semi-definite.
    covariance : (d, d) array_like
        Sigma of the gradient noise eps, symmetric positive semi-definite. Units: gradient squared.
    step_size : float
        eta > 0 with eta lambda_1 < 2, where gradient descent is stable.
    n_steps : array_like
        k >= 0, any shape.

    Returns
    -------
    ndarray
        Of the shape of n_steps. Units: loss.

    Raises
    ------
    ValueError
        As `loss_increase`, and for a step size at which gradient descent diverges.

    References
    ----------
    zhu2019, Eq. (7) on a quadratic.

    Examples
    --------
    >>> from gradnoise.theory.escape import discrete_loss_increase
    >>> discrete_loss_increase([[1.0]], [[2.0]], step_size=1.0, n_steps=[0, 1, 5])  # eta * lambda = 1 forgets in one step
    array([0., 1., 1.])
    """
    lam, s = _spectrum(*_pair(hessian, covariance))
    eta = as_real(step_size, "step_size", above=0)
    x = _outer(np.array(eta), lam)
    if x[-1] >= 2:
        raise ValueError(f"step_size must be < 2/lambda_1 = {2 / lam[-1]:.6g}, where descent is stable, got {eta:g}")
    k = as_nonnegative(n_steps, "n_steps")[..., np.newaxis]
    if (k != np.round(k)).any() or (k >= 2.0**63).any():
        raise ValueError(f"n_steps must be whole and below 2**63, got {shown(n_steps)}")
    with np.errstate(divide="ignore", invalid="ignore"):  # x = 1 forgets in one step, and k = 0 has none
        log_decay = np.where(x < 1, np.log1p(-np.minimum(x, 1)), np.log(np.maximum(x - 1, 0)))
        shrink = np.where(k > 0, -np.expm1(2 * k * log_decay), 0.0)  # 1 - (1 - x)^2k, with all its digits for small x
    small = x < _SMALLEST
    forgotten = product(0.5, eta, np.where(small, 0.0, shrink) / (2 - x), s)
    return (forgotten + product(0.5, eta, eta, np.where(small, lam, 0.0), k, s)).sum(axis=-1)


@within_floats
def ou_covariance(hessian: ArrayLike, covariance: ArrayLike, time: ArrayLike) -> FloatArray:
    r"""Covariance of the OU process at time t.

    .. math:: \int_0^t e^{-Hs} \Sigma e^{-Hs} ds, \qquad
              (U^T \cdot U)_{ij} = (U^T \Sigma U)_{ij} \frac{1 - e^{-(\lambda_i + \lambda_j) t}}{\lambda_i + \lambda_j}

    Parameters
    ----------
    hessian, covariance, time : array_like
        See `loss_increase`, whose errors it raises, too.

    Returns
    -------
    (..., d, d) ndarray
        A matrix for each time. Units: parameter squared.

    References
    ----------
    zhu2019, Eq. (35).

    Examples
    --------
    >>> import numpy as np
    >>> from gradnoise.theory.escape import ou_covariance
    >>> ou_covariance([[1.0]], [[2.0]], np.log(2) / 2).round(10)  # 2 (1 - exp(-2 t)) / 2
    array([[0.5]])
    >>> ou_covariance([[0.0]], [[2.0]], 3.0)  # no curvature: a Brownian motion
    array([[6.]])
    """
    H, Sigma = _pair(hessian, covariance)
    t = as_nonnegative(time, "time")[..., np.newaxis, np.newaxis]
    lam, U = psd_eigh(H)
    rate = np.add.outer(lam, lam)
    exponent = _outer(t[..., 0, 0], rate)
    grows = exponent >= _SMALLEST
    growth = np.where(grows, -np.expm1(-exponent) / np.where(grows, rate, 1), t)  # t itself where H is singular
    C = U @ (U.T @ Sigma @ U * growth) @ U.T
    return (C + np.swapaxes(C, -1, -2)) / 2


@within_floats
def escape_probability(hessian: ArrayLike, covariance: ArrayLike, time: ArrayLike, delta: ArrayLike) -> FloatArray:
    """P(L(theta_t) >= delta) of an OU process that starts at the minimum.

    L(theta_t) is a quadratic form of a Gaussian vector, whose law is inverted with an error below 1e-8 of the probability, be
    that as small as 1e-300. So far out it changes, relatively, some 700 times as much as the largest mean of a direction does:
    what H and Sigma are not known to counts as many times.

    Parameters
    ----------
    hessian, covariance : (d, d) array_like
        H and Sigma, symmetric positive semi-definite.
    time, delta : array_like
        t >= 0 and the loss increase to exceed; they broadcast.

    Returns
    -------
    ndarray
        Of the broadcast shape. One where delta <= 0.

    Raises
    ------
    ValueError
        As `loss_increase`, or if delta is not finite.

    References
    ----------
    zhu2019, the second remark on Definition 1.

    Examples
    --------
    >>> import numpy as np
    >>> from gradnoise.theory.escape import escape_probability
    >>> delta = np.log([1.0, 2.0, 4.0])  # in the plane, with Sigma = 2 H, the loss becomes exponential with mean one
    >>> escape_probability(np.eye(2), 2 * np.eye(2), 100.0, delta).round(8)
    array([1.  , 0.5 , 0.25])
    """
    H, Sigma = _pair(hessian, covariance)
    t, d = as_nonnegative(time, "time"), as_array(delta, "delta")
    t, d = _broadcast(t, d, ("time", "delta"))
    lam, U = psd_eigh(H)
    root, rate, S = np.sqrt(lam), np.add.outer(lam, lam), U.T @ Sigma @ U
    shares = root * root[:, np.newaxis] / np.where(rate > 0, rate, 1)
    result = np.empty(t.shape)
    for value in np.unique(t):
        exponent = _outer(value, rate)
        # L = z' H^(1/2) C H^(1/2) z / 2 with the covariance C, Eq. (35), all in the eigenvectors of H.
        small = exponent < _SMALLEST
        form = product(root, root[:, np.newaxis], np.where(small, value, 0.0), S)
        form = form + product(shares, np.where(small, 0.0, -np.expm1(-exponent)), S)
        weights = psd_eigh((form + form.T) / 2)[0] / 2
        at = t == value
        result[at] = np.where(d[at] <= 0, 1.0, quadratic_form_sf(weights, d[at]))
    return result


@within_floats
def markov_bound(expected_increase: ArrayLike, delta: ArrayLike) -> FloatArray:
    """Markov's bound E[L(theta_t) - L(theta_0)] / delta on the escape probability.

    Parameters
    ----------
    expected_increase : array_like
        E[L(theta_t) - L(theta_0)] at a global minimum. At a merely local one the increase can be negative, and the bound
        holds for the expectation of its positive part instead.
    delta : array_like
        > 0.

    Returns
    -------
    ndarray
        At most one.

    References
    ----------
    zhu2019, the second remark on Definition 1.

    Examples
    --------
    >>> from gradnoise.theory.escape import markov_bound
    >>> markov_bound(0.5, [0.1, 2.0])
    array([1.  , 0.25])
    """
    increase, d = as_nonnegative(expected_increase, "expected_increase"), as_array(delta, "delta")
    if not (d > 0).all():
        raise ValueError(f"delta must be > 0, got {shown(delta)}")
    increase, d = _broadcast(increase, d, ("expected_increase", "delta"))
    return np.minimum(increase, d) / d


@within_floats
def indicator_ratio_bound(dimension: float, n_leading: int, decay: float, alignment: float) -> float:
    r"""Lower bound on Tr(H Sigma) / Tr(H Sigma_bar) for ill-conditioned H and aligned Sigma.

    .. math:: \frac{\mathrm{Tr}(H\Sigma)}{\mathrm{Tr}(H\bar\Sigma)} \ge \frac{a \lambda_1^2 D}{(\mathrm{Tr} H)^2}
              \ge \frac{a D}{(k + (D - k) D^{-d})^2}

    It grows as D^min(2d - 1, 1): never faster than the ratio itself can, which is at most D.

    Parameters
    ----------
    dimension : float
        D >= 1; a float, so that asymptotic rates can be looked at.
    n_leading : int
        k, between 1 and D: all eigenvalues of H after the k-th are below lambda_1 D^-d.
    decay : float
        d >= 0.
    alignment : float
        a with u_1' Sigma u_1 >= a lambda_1 Tr Sigma / Tr H: between 0 and k + (D - k) D^-d, as Tr H / lambda_1 is at most that.

    Returns
    -------
    float

    Notes
    -----
    The published (45) and (47) lack a factor lambda_1, a misprint; and O(a D^(2d - 1)) is no lower rate for d > 1.

    References
    ----------
    zhu2019, Proposition 1 and Appendix A.3.

    Examples
    --------
    >>> from gradnoise.theory.escape import indicator_ratio_bound
    >>> round(indicator_ratio_bound(100, n_leading=1, decay=1.0, alignment=1.0), 2)  # 100 / (1 + 99 / 100)**2
    25.25
    """
    D = as_real(dimension, "dimension", at_least=1)
    k = as_count(n_leading, "n_leading")
    if k > D:
        raise ValueError(f"n_leading must be <= dimension = {D:g}, got {k}")
    d, a = as_real(decay, "decay", at_least=0), as_real(alignment, "alignment", at_least=0)
    terms = k + (D - k) * D**-d
    if a > terms * (1 + _ROUNDING):
        raise ValueError(f"alignment must be at most k + (D - k) D^-d = {terms:g}, got {a:g}")
    unit = 2.0 ** math.floor(math.log2(terms))  # its square may be beyond a float
    return a * (D / unit / unit) / (terms / unit) ** 2


def _pair(hessian: ArrayLike, covariance: ArrayLike) -> tuple[FloatArray, FloatArray]:
    H, Sigma = as_psd(hessian, "hessian"), as_psd(covariance, "covariance")
    as_matching(H, Sigma, ("hessian", "covariance"))
    return H, Sigma


def _broadcast(first: FloatArray, second: FloatArray, names: tuple[str, str]) -> tuple[FloatArray, FloatArray]:
    try:
        first, second = np.broadcast_arrays(first, second)
        return first, second
    except ValueError:
        raise ValueError(f"{names[0]} and {names[1]} must broadcast, got shapes {first.shape} and {second.shape}") from None


def _outer(t: FloatArray, rates: FloatArray) -> FloatArray:
    """Exponents, infinite where all is forgotten."""
    with np.errstate(over="ignore"):
        return np.multiply.outer(t, rates)


def _trace_of_product(H: FloatArray, Sigma: FloatArray) -> tuple[np.float64, np.int64]:
    """Tr(H Sigma) as a number and the power of two that it is to be multiplied with."""
    (of_h, power_h), (of_sigma, power_sigma) = np.frexp(H), np.frexp(Sigma)
    terms, powers = of_h * of_sigma, power_h + power_sigma.astype(np.int64)
    largest = powers[terms != 0].max(initial=-3000)
    return np.ldexp(terms, np.maximum(powers - largest, -3000)).sum(), largest


def _spectrum(H: FloatArray, Sigma: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Eigenvalues of H, and the noise along its eigenvectors."""
    lam, U = psd_eigh(H)
    return lam, np.maximum(np.einsum("ji,jk,ki->i", U, Sigma, U), 0.0)
