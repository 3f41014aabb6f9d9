"""SGD on least squares, its SDE, and how far apart they are: weakly, by moments, and strongly, on one Brownian path.

All is exact up to rounding. The noise of a sample's gradient is linear in the parameters, so first and second moments are
closed; see `gradnoise.theory.diffusion.AugmentedMoments`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from gradnoise.theory._float_range import exponent_of, within_floats
from gradnoise.theory._validation import FloatArray, as_array, as_choice, as_count, as_real, as_whole_steps, shown
from gradnoise.theory.diffusion.augmented_moments import AugmentedMoments
from gradnoise.theory.sampling import Enhanced, Gaussian, Minibatch, SamplingNoise, as_noise

__all__ = [
    "DRIFTS",
    "ParameterMoments",
    "sde_moments",
    "sgd_moments",
    "strong_error",
    "svag_moments",
    "svag_noise",
]

#: -grad L, and -grad(L + eta/4 |grad L|^2).
DRIFTS = ("plain", "modified")

_LARGEST_DIMENSION = 60  # a flow has (d + 1)^4 entries
_PLAIN = 100  # powers of two up to which products of four need no unit


class ParameterMoments(NamedTuple):
    """Moments of the parameters at one time.

    Attributes
    ----------
    mean : (d,) ndarray
    second_moment : (d, d) ndarray
        E theta theta', about zero.

    Examples
    --------
    >>> import numpy as np
    >>> from gradnoise.theory.diffusion import ParameterMoments
    >>> ParameterMoments(mean=np.array([2.0]), second_moment=np.array([[5.0]])).covariance
    array([[1.]])
    """

    mean: FloatArray
    second_moment: FloatArray

    @property
    @within_floats
    def covariance(self) -> FloatArray:
        """Second moment about the mean."""
        return self.second_moment - np.outer(self.mean, self.mean)


@within_floats
def sgd_moments(
    X: ArrayLike,
    y: ArrayLike,
    theta0: ArrayLike,
    step_size: float,
    batch_size: int | SamplingNoise,
    n_steps: int,
    replacement: bool = True,
) -> ParameterMoments:
    r"""Exact moments of SGD, or of any M-SGD, on the empirical risk :math:`\frac{1}{2n} \sum_i (y_i - x_i^T \theta)^2`.

    Parameters
    ----------
    X : (n, d) array_like
        Features, a row per sample.
    y : (n,) array_like
        Labels.
    theta0 : (d,) array_like
        Where it starts.
    step_size : float
        eta > 0.
    batch_size : int or SamplingNoise
        Size of a minibatch; or any noise over the n samples, such as ``Gaussian(n, b)`` (MSGD-Cov, whose moments are the
        minibatch's) or ``Gaussian(n, b, centered=False)`` (MSGD-Fisher).
    n_steps : int
        >= 0.
    replacement : bool
        Of the minibatch; applies to a batch size only.

    Returns
    -------
    ParameterMoments
        ``mean, second_moment``.

    Raises
    ------
    ValueError, TypeError
        If shapes do not match, or an argument is not allowed.

    References
    ----------
    wu2019, Eqs. (1), (3) and (6).

    Examples
    --------
    >>> from gradnoise.theory.diffusion import sgd_moments
    >>> X, y = [[1.0], [1.0]], [0.0, 2.0]  # theta_1 = eta y is 0 or 1
    >>> sgd_moments(X, y, [0.0], step_size=0.5, batch_size=1, n_steps=1)
    ParameterMoments(mean=array([0.5]), second_moment=array([[0.5]]))
    """
    problem = _Problem(X, y, theta0)
    noise = as_noise(batch_size, "batch_size", n=len(problem.labels), default=Minibatch, replacement=replacement)
    moments = problem.moments(noise, as_real(step_size, "step_size", above=0))
    return problem.in_parameters(moments.after(problem.start, as_count(n_steps, "n_steps", at_least=0)))


@within_floats
def svag_noise(noise: SamplingNoise, amplification: int) -> Enhanced:
    r"""Noise of SVAG: that of `noise`, enhanced so that its covariance is l times as large.

    :math:`\alpha = (1 + \sqrt{2l - 1})/2` solves :math:`\alpha^2 + (1 - \alpha)^2 = l`, Eq. (10) of ne2021.

    Parameters
    ----------
    noise : SamplingNoise
        Of a step of SGD.
    amplification : int
        l >= 1. A step of SGD is to be replaced by l steps of size eta / l with the noise that is returned.

    Returns
    -------
    Enhanced

    References
    ----------
    Li, Malladi and Arora, "On the validity of modeling SGD with stochastic differential equations" (2021).

    Examples
    --------
    >>> from gradnoise.theory.diffusion import svag_noise
    >>> from gradnoise.theory.sampling import Minibatch
    >>> noise = svag_noise(Minibatch(4, 1), amplification=5)
    >>> noise.alpha  # 2**2 + (1 - 2)**2 = 5
    2.0
    >>> float(noise.variance / Minibatch(4, 1).variance)
    5.0
    """
    return Enhanced(as_noise(noise), (1 + math.sqrt(2 * as_count(amplification, "amplification") - 1)) / 2)


@within_floats
def svag_moments(
    X: ArrayLike,
    y: ArrayLike,
    theta0: ArrayLike,
    step_size: float,
    batch_size: int | SamplingNoise,
    n_steps: int,
    amplification: int,
    replacement: bool = True,
) -> ParameterMoments:
    """Exact moments of SVAG: l steps of size eta / l in place of one, their noise amplified to be that of one step.

    As l grows it tends to the SDE of SGD with step size eta; l = 1 is SGD.

    Parameters
    ----------
    X, y, theta0 : array_like
        See `sgd_moments`.
    step_size, batch_size : float and int or SamplingNoise
        Those of SGD.
    n_steps : int
        Steps of SGD that are replaced.
    amplification : int
        l >= 1.
    replacement : bool
        See `sgd_moments`.

    Returns
    -------
    ParameterMoments

    Raises
    ------
    ValueError, TypeError
        If an argument is not allowed.

    Examples
    --------
    >>> from gradnoise.theory.diffusion import svag_moments
    >>> X, y = [[1.0], [1.0]], [0.0, 2.0]
    >>> moments = svag_moments(X, y, [0.0], step_size=0.5, batch_size=1, n_steps=1, amplification=5)
    >>> moments.mean.round(8)  # 1 - (1 - 0.5 / 5)**5
    array([0.40951])
    """
    problem = _Problem(X, y, theta0)
    of_sgd = as_noise(batch_size, "batch_size", n=len(problem.labels), default=Minibatch, replacement=replacement)
    noise = svag_noise(of_sgd, amplification)
    n = as_count(n_steps, "n_steps", at_least=0) * amplification
    eta = as_real(step_size, "step_size", above=0)
    return problem.in_parameters(problem.moments(noise, eta / amplification).after(problem.start, n))


@within_floats
def sde_moments(
    X: ArrayLike,
    y: ArrayLike,
    theta0: ArrayLike,
    step_size: float,
    batch_size: int | SamplingNoise,
    time: float,
    drift: str = "plain",
    replacement: bool = True,
) -> ParameterMoments:
    r"""Exact moments of the SDE of SGD, Eq. (12) of wu2019, by the matrix exponential of its moment system.

    .. math:: d\Theta = -\nabla L\, dt + \sqrt{\eta}\, C(\Theta)\, dW, \quad C C^T = \text{covariance of a step's gradient}

    Parameters
    ----------
    X, y, theta0 : array_like
        See `sgd_moments`; d is at most 60.
    step_size, batch_size : float and int or SamplingNoise
        See `sgd_moments`; the step size scales the diffusion.
    time : float
        t >= 0; a step of SGD takes the time eta.
    drift : {"plain", "modified"}
        Modified: :math:`-\nabla(L + \frac{\eta}{4} \|\nabla L\|^2)`, with which the approximation is weakly of second order.
    replacement : bool
        See `sgd_moments`.

    Returns
    -------
    ParameterMoments

    Raises
    ------
    ValueError, TypeError
        If an argument is not allowed.

    Examples
    --------
    >>> import numpy as np
    >>> from gradnoise.theory.diffusion import sde_moments
    >>> X, y = [[1.0], [1.0]], [0.0, 2.0]  # an Ornstein-Uhlenbeck process around 1, with noise of variance eta per time
    >>> moments = sde_moments(X, y, [0.0], step_size=0.5, batch_size=1, time=np.log(2))
    >>> moments.mean.round(8), moments.covariance.round(8)  # 1 - 1/2, and 0.5 (1 - 1/4) / 2
    (array([0.5]), array([[0.1875]]))
    """
    problem, moments = _diffusion(X, y, theta0, step_size, batch_size, drift, replacement)
    M, t = problem.start, problem.time(as_real(time, "time", at_least=0))
    return problem.in_parameters((moments.flow(t) @ M.ravel()).reshape(M.shape))


@within_floats
def strong_error(
    X: ArrayLike,
    y: ArrayLike,
    theta0: ArrayLike,
    step_size: float,
    batch_size: int | SamplingNoise,
    time: float,
    drift: str = "plain",
    replacement: bool = True,
) -> float:
    r"""Exact mean-square distance :math:`E \|\Theta_{k\eta} - \theta_k\|^2` of Gaussian M-SGD from its SDE, on one path.

    Parameters
    ----------
    X, y, theta0 : array_like
        See `sde_moments`.
    step_size, batch_size : float and int or Gaussian
        A batch size stands for ``Gaussian(n, batch_size)``.
    time : float
        A whole number of steps.
    drift, replacement : str and bool
        See `sde_moments`.

    Returns
    -------
    float
        Units: parameter squared. Rounding adds about 1e-15 times the squared size of the parameters.

    Raises
    ------
    ValueError, TypeError
        If an argument is not allowed; if a noise is not Gaussian, as it then has no Brownian path.

    References
    ----------
    wu2019, Eq. (14).

    Examples
    --------
    >>> from gradnoise.theory.diffusion import strong_error
    >>> round(strong_error([[1.0]], [0.0], [1.0], step_size=0.5, batch_size=1, time=0.5), 6)  # no noise: (exp(-0.5) - 0.5)**2
    0.011349
    """
    if isinstance(batch_size, SamplingNoise) and type(batch_size) is not Gaussian:  # a subclass may have another law
        raise TypeError(f"batch_size must be an integer or a Gaussian noise, got {shown(batch_size)}")
    problem, moments = _diffusion(X, y, theta0, step_size, batch_size, drift, replacement, Gaussian)
    n_steps = as_whole_steps(as_real(time, "time", at_least=0), float(step_size))
    return math.ldexp(moments.strong_error(problem.start, n_steps), 2 * problem.of_parameters)


class _Problem:
    """Features, labels and start, in units in which no product of four leaves the range of floats."""

    def __init__(self, X: ArrayLike, y: ArrayLike, theta0: ArrayLike) -> None:
        features, labels = as_array(X, "X", ndim=2), as_array(y, "y", ndim=1)
        start = as_array(theta0, "theta0", ndim=1)
        n, d = features.shape
        if n == 0 or len(labels) != n or len(start) != d:
            raise ValueError(
                f"X of shape (n, d), n >= 1, must come with n labels y and d entries of theta0, "
                f"got {features.shape}, {len(labels)} and {len(start)}"
            )
        of_features = exponent_of(features)
        of_parameters = max(exponent_of(start), exponent_of(labels) - of_features)
        if max(abs(of_features), abs(of_parameters)) <= _PLAIN:
            of_features = of_parameters = 0
        self.of_features, self.of_parameters = of_features, of_parameters
        self.features, self.labels = np.ldexp(features, -of_features), np.ldexp(labels, -of_features - of_parameters)
        self.start = AugmentedMoments.start(np.ldexp(start, -of_parameters))

    def time(self, time: float) -> float:
        """A time, or a step size."""
        return math.ldexp(time, 2 * self.of_features)

    def moments(self, noise: SamplingNoise, step_size: float, correction: float = 0.0) -> AugmentedMoments:
        return AugmentedMoments(self.features, self.labels, noise, self.time(step_size), correction)

    def in_parameters(self, M: FloatArray) -> ParameterMoments:
        mean, second_moment = M[:-1, -1].copy(), M[:-1, :-1].copy()
        return ParameterMoments(np.ldexp(mean, self.of_parameters), np.ldexp(second_moment, 2 * self.of_parameters))


def _diffusion(
    X: ArrayLike,
    y: ArrayLike,
    theta0: ArrayLike,
    step_size: float,
    batch_size: int | SamplingNoise,
    drift: str,
    replacement: bool,
    default: type[SamplingNoise] = Minibatch,
) -> tuple[_Problem, AugmentedMoments]:
    problem = _Problem(X, y, theta0)
    n, d = problem.features.shape
    if d > _LARGEST_DIMENSION:
        raise ValueError(f"X must have at most {_LARGEST_DIMENSION} columns for the moments of an SDE, got {d}")
    noise = as_noise(batch_size, "batch_size", n=n, default=default, replacement=replacement)
    eta = as_real(step_size, "step_size", above=0)
    correction = 1.0 if as_choice(drift, "drift", DRIFTS) == "modified" else 0.0
    return problem, problem.moments(noise, eta, correction)
