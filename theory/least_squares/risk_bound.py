r"""Bounds on the excess risk of averaged SGD for least squares: Theorem 1 of wu2020 with explicit constants.

The theorem's constants are in a supplement that is not public, so they are derived here. Let :math:`\delta_t = \theta_t -
\theta_*`, :math:`M = \sum_r w_r x_r x_r^T` and :math:`N = \sum_r w_r \epsilon_r x_r`, so that

.. math:: \delta_{t+1} = (I - \eta M)\, \delta_t + \eta N, \qquad E M = \Sigma, \qquad E N = 0.

Whatever the class of the weights, with :math:`s = E \sum w_r^2` and :math:`q = E (\sum w_r)^2 - s` (1/b and 1 - 1/b in the
theorem), A1 to A3 give

.. math:: E M^2 = s\, E[\|x\|^2 x x^T] + q\, \Sigma^2 \preceq R_b^2 \Sigma, \quad R_b^2 = s R^2 + q^+ \lambda, \qquad
          E N N^T = s\, E[\epsilon^2 x x^T] \preceq \sigma_b^2 \Sigma, \quad \sigma_b^2 = s \sigma^2.

Let :math:`z = \eta R_b^2 \le 1`; then also :math:`\eta \Sigma \preceq I`. Split :math:`\delta_t` into the *bias*, which starts
at :math:`\delta_0` and has N = 0, and the *variance*, which starts at 0.

*Bias.* :math:`E\|\delta_{t+1}\|^2 \le E\|\delta_t\|^2 - \eta (2 - z)\, E\, \delta_t^T \Sigma \delta_t`, so
:math:`\sum_t E\, \delta_t^T \Sigma \delta_t \le \|\delta_0\|^2 / (\eta (2 - z))`, and by convexity the mean of
:math:`\delta_0, \dots, \delta_n` has a risk of at most :math:`\|\delta_0\|^2 / (2 \eta (2 - z)(n + 1))`.

*Variance.* By induction :math:`C_t = E\, \delta_t \delta_t^T \preceq \kappa I` with :math:`\kappa = \eta \sigma_b^2 / (2 - z)`.
Write :math:`\delta_{t+1} = (I - \eta \Sigma) \delta_t + \eta \xi_t` with martingale differences :math:`\xi_t`; then
:math:`E\, \xi_t \xi_t^T \preceq (\kappa R_b^2 + \sigma_b^2) \Sigma = \frac{2 \sigma_b^2}{2 - z} \Sigma`. The sum of the iterates
is :math:`\sum_u \Sigma^{-1} (I - (I - \eta \Sigma)^{n - u}) \xi_u`, so the risk of their mean is at most
:math:`\sigma_b^2 d / ((2 - z)(n + 1))`.

The two meet in three forms:

``elementary``
    Minkowski's inequality: :math:`C_1 = \frac{1}{2 (2 - z)} [\sigma_b \sqrt{2 d} + \|\delta_0\| / \sqrt{\eta}]^2`, C_2 = 0.
``bach-moulines``
    :math:`C_1 = \frac12 [\sigma_b \sqrt{d} / (1 - \sqrt{z}) + \|\delta_0\| / \sqrt{\eta}]^2`, C_2 = 0, for z < 1: Bach and
    Moulines (2013, Theorem 1) with R_b and sigma_b for R and sigma. It is never below the first.
``two-term``
    :math:`C_1 = m\, \sigma_b^2 d / (2 - z)` and :math:`C_2 = \frac{m}{2} [\|\Sigma^{-1/2} \delta_0\|^2 / \eta^2 +
    K_b \|\delta_0\|^2 / (\eta (2 - z))]`, where :math:`K_b = s K + (q - 1)^+` and
    :math:`E[(x^T \Sigma^{-1} x)\, x x^T] \preceq K \Sigma`. The bias is :math:`(I - \eta \Sigma)^t \delta_0` plus what its own
    martingale differences add, for which :math:`\mathrm{Tr}(\Sigma^{-1} E\, \xi_u \xi_u^T) \le K_b\, E\, \delta_u^T \Sigma
    \delta_u`. m = 1 where bias and variance are uncorrelated, as in a well-specified model, and 2 otherwise.

d is the rank of Sigma, and only the part of :math:`\delta_0` in its range counts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from gradnoise.theory._float_range import within_floats
from gradnoise.theory._validation import as_choice, as_count, as_flag, as_real, set_fields, shown
from gradnoise.theory.least_squares.weight_moments import WeightMoments, as_weights

__all__ = ["FORMS", "Assumptions", "RiskBound", "StartingPoint", "bound_constants"]

FORMS = ("elementary", "bach-moulines", "two-term")


@dataclass(frozen=True)
class Assumptions:
    r"""Smallest constants with which a problem meets the assumptions of Theorem 1.

    Attributes
    ----------
    radius_squared : float
        R² of A1, :math:`E[\|x\|^2 x x^T] \preceq R^2 \Sigma`.
    noise_variance : float
        σ² of A2, :math:`E[\epsilon^2 x x^T] \preceq \sigma^2 \Sigma`.
    largest_eigenvalue : float
        λ of A3, :math:`\Sigma \preceq \lambda I`.
    leverage : float
        K of :math:`E[(x^T \Sigma^{-1} x)\, x x^T] \preceq K \Sigma`, for the two-term bound.

    Examples
    --------
    >>> from gradnoise.theory.least_squares import LeastSquares
    >>> LeastSquares([1.0, 1.0], [0.0, 0.0], noise_std=0.5).assumptions()  # R**2 = 2 + 2, K = 2 + 2
    Assumptions(radius_squared=4.0, noise_variance=0.25, largest_eigenvalue=1.0, leverage=4.0)
    """

    radius_squared: float
    noise_variance: float
    largest_eigenvalue: float
    leverage: float

    def __post_init__(self) -> None:
        for field in fields(self):
            set_fields(self, **{field.name: as_real(getattr(self, field.name), field.name, at_least=0)})


@dataclass(frozen=True)
class StartingPoint:
    r"""Norms of the initial error, in the range of Sigma.

    Attributes
    ----------
    squared_norm, squared_inverse_norm : float
        :math:`\|\delta_0\|^2` and :math:`\|\Sigma^{-1/2} \delta_0\|^2`.
    rank : int
        d, of Sigma.
    uncorrelated : bool
        Whether bias and variance are.

    Examples
    --------
    >>> from gradnoise.theory.least_squares import StartingPoint
    >>> StartingPoint(squared_norm=4.0, squared_inverse_norm=2.0, rank=1, uncorrelated=True)  # 2 off, Sigma = 2
    StartingPoint(squared_norm=4.0, squared_inverse_norm=2.0, rank=1, uncorrelated=True)
    """

    squared_norm: float
    squared_inverse_norm: float
    rank: int
    uncorrelated: bool

    def __post_init__(self) -> None:
        for name in ("squared_norm", "squared_inverse_norm"):
            set_fields(self, **{name: as_real(getattr(self, name), name, at_least=0)})
        set_fields(self, rank=as_count(self.rank, "rank"), uncorrelated=as_flag(self.uncorrelated, "uncorrelated"))


@dataclass(frozen=True)
class RiskBound:
    """C_1/(n + 1) + C_2/(n + 1)^2.

    Attributes
    ----------
    bound : float or ndarray
        On the excess risk of the mean of theta_0 ... theta_n; an array where n_steps was one.
    c1, c2 : float
        The constants.

    Examples
    --------
    >>> from gradnoise.theory.least_squares import LeastSquares
    >>> bound = LeastSquares([1.0], [1.0], noise_std=1.0).risk_bound(1 / 3, 1, n_steps=9, form="two-term")
    >>> round(bound.c1, 6), round(bound.c2, 6)
    (1.0, 9.0)
    >>> round(bound.bound, 6)  # 1 / 10 + 9 / 100
    0.19
    """

    bound: float | NDArray[np.float64]
    c1: float
    c2: float


@within_floats
def bound_constants(
    assumptions: Assumptions, start: StartingPoint, step_size: float, weights: WeightMoments, form: str
) -> tuple[float, float]:
    """C_1 and C_2 of a bound of the given form.

    Parameters
    ----------
    assumptions : Assumptions
        Of the problem.
    start : StartingPoint
        Of the iterates.
    step_size : float
        eta > 0.
    weights : WeightMoments
        Of a step.
    form : {"elementary", "bach-moulines", "two-term"}
        See this module.

    Returns
    -------
    (float, float)
        Units: loss.

    Raises
    ------
    ValueError
        If eta R_b^2 is outside the range in which the bound is proved.

    Examples
    --------
    >>> from gradnoise.theory.least_squares import Assumptions, StartingPoint, WeightMoments, bound_constants
    >>> assumptions, start = Assumptions(2.0, 1.0, 1.0, 2.0), StartingPoint(1.0, 1.0, 1, uncorrelated=True)
    >>> bound_constants(assumptions, start, 0.5, WeightMoments.minibatch(1), "two-term")  # eta R**2 = 1
    (1.0, 4.0)
    """
    for value, name, kind in ((assumptions, "assumptions", Assumptions), (start, "start", StartingPoint)):
        if not isinstance(value, kind):
            raise TypeError(f"{name} must be of {kind.__name__}, got {shown(value)}")
    weights, eta = as_weights(weights, "weights"), as_real(step_size, "step_size", above=0)
    as_choice(form, "form", FORMS)
    check_range(assumptions, eta, weights, form)
    return constants(assumptions, start, eta, weights, form)


def check_range(assumptions: Assumptions, step_size: float, weights: WeightMoments, form: str) -> None:
    """Raise unless the bound of this form is proved for the step size."""
    radius_b = _radius_b(assumptions, weights)
    z = step_size * radius_b
    if z > 1 or (z == 1 and form == "bach-moulines"):
        allowed = "< 1" if form == "bach-moulines" else "<= 1"
        raise ValueError(
            f"step_size must make step_size * R_b^2 {allowed} for the bound {form!r}, "
            f"got step_size = {step_size:g}, R_b^2 = {radius_b:g}: at most {1 / radius_b:g}"
        )


def constants(
    assumptions: Assumptions, start: StartingPoint, eta: float, weights: WeightMoments, form: str
) -> tuple[float, float]:
    """C_1 and C_2, in any units that fit together."""
    d, s, q = start.rank, weights.own, weights.between
    variance_b = s * assumptions.noise_variance  # sigma_b^2
    z = eta * _radius_b(assumptions, weights)
    if form == "bach-moulines":
        return 0.5 * (math.sqrt(variance_b * d) / (1 - math.sqrt(z)) + math.sqrt(start.squared_norm / eta)) ** 2, 0.0
    if form == "elementary":
        return (math.sqrt(2 * variance_b * d) + math.sqrt(start.squared_norm / eta)) ** 2 / (2 * (2 - z)), 0.0
    m = 1 if start.uncorrelated else 2
    multiplicative = (s * assumptions.leverage + max(q - 1, 0.0)) * start.squared_norm / (eta * (2 - z))
    return m * variance_b * d / (2 - z), m / 2 * (start.squared_inverse_norm / eta**2 + multiplicative)


def _radius_b(assumptions: Assumptions, weights: WeightMoments) -> float:
    return weights.own * assumptions.radius_squared + max(weights.between, 0.0) * assumptions.largest_eigenvalue  # R_b^2
