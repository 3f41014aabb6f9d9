r"""Weak errors without sampling errors on a loss that is not quadratic: angles in place of parameters.

The sample losses :math:`\ell_i(\theta) = \sum_h a_{ih} (1 - \cos(h \theta - \varphi_{ih}))` are bounded and smooth, in general
not convex, and everything has the period 2 pi. So an expectation as a function of the starting angle is a short Fourier series,
and it is carried backwards by a matrix: for a step of SGD by interpolation, for the SDE by its generator. Both are exact up to
rounding once the nodes resolve the series.
"""

from __future__ import annotations

import numpy as np
import scipy
from numpy.typing import ArrayLike

from gradnoise.theory._float_range import within_floats
from gradnoise.theory._validation import FloatArray, as_array, as_choice, as_count, as_probabilities, as_real
from gradnoise.theory.diffusion.least_squares import DRIFTS
from gradnoise.theory.sampling import Minibatch, SamplingNoise, as_noise

__all__ = ["CircleLosses"]

_MOST_NODES = 2049  # an exponential of their matrix takes seconds
_OUTCOMES = 64  # whose interpolations are held at once
_RESOLVED = 1e-9  # what the highest frequencies may carry, relative to the largest coefficient


class CircleLosses:
    """The sample losses above.

    Parameters
    ----------
    amplitudes, phases : (n, harmonics) array_like
        a and phi; column h - 1 belongs to the h-th harmonic. Units: loss; radians.
    n_nodes : int
        Odd and at most 2049; 257 resolve what a few unit times of two harmonics make of a smooth function.

    Raises
    ------
    ValueError
        If the shapes differ, or n_nodes is even.

    Examples
    --------
    >>> import numpy as np
    >>> from gradnoise.theory.diffusion import CircleLosses
    >>> circle = CircleLosses(amplitudes=[[1.0], [1.0]], phases=[[0.0], [0.0]], n_nodes=65)
    >>> circle.losses([0.0, np.pi])  # 1 - cos
    array([[0., 2.],
           [0., 2.]])
    >>> cosine = np.cos(circle.nodes)
    >>> round(circle.sde_expectation(cosine, np.pi, 1, step_size=0.1, time=1.0), 10)  # without noise it stays on top
    -1.0
    >>> circle.curvatures([0.0]).ravel(), float(circle.mean_loss().max().round(2))
    (array([1., 1.]), 2.0)
    >>> both = [[0.5, 0.5]]  # the weights of the two samples, always
    >>> round(circle.sgd_expectation(cosine, np.pi / 2, both, [1.0], step_size=np.pi / 2, n_steps=1), 10)  # downhill to 0
    1.0
    """

    def __init__(self, amplitudes: ArrayLike, phases: ArrayLike, n_nodes: int = 257) -> None:
        self.amplitudes, self.phases = as_array(amplitudes, "amplitudes", ndim=2), as_array(phases, "phases", ndim=2)
        if self.amplitudes.shape != self.phases.shape or self.amplitudes.size == 0:
            raise ValueError(
                f"amplitudes and phases must have the same shape, not empty, got {self.amplitudes.shape} and {self.phases.shape}"
            )
        n_nodes = as_count(n_nodes, "n_nodes", at_least=3, at_most=_MOST_NODES)
        if n_nodes % 2 == 0:
            raise ValueError(f"n_nodes must be odd, got {n_nodes}")
        self.nodes = 2 * np.pi * np.arange(n_nodes) / n_nodes
        self._frequencies = np.arange(-(n_nodes // 2), n_nodes // 2 + 1)
        self._analysis = np.exp(-1j * np.outer(self._frequencies, self.nodes)) / n_nodes  # values at nodes -> coefficients

    @property
    def n(self) -> int:
        """Number of samples."""
        return len(self.amplitudes)

    @within_floats
    def losses(self, theta: ArrayLike) -> FloatArray:
        """Loss of each sample at angles (m,), as (n, m)."""
        return (self.amplitudes[:, :, np.newaxis] * 2 * np.sin(self._angles(theta) / 2) ** 2).sum(axis=1)

    @within_floats
    def gradients(self, theta: ArrayLike) -> FloatArray:
        """Derivative of each sample's loss at angles (m,), as (n, m)."""
        return ((self._harmonics * self.amplitudes)[:, :, np.newaxis] * np.sin(self._angles(theta))).sum(axis=1)

    @within_floats
    def curvatures(self, theta: ArrayLike) -> FloatArray:
        """Second derivative of each sample's loss at angles (m,), as (n, m)."""
        return ((self._harmonics**2 * self.amplitudes)[:, :, np.newaxis] * np.cos(self._angles(theta))).sum(axis=1)

    @within_floats
    def mean_loss(self) -> FloatArray:
        """L at the nodes."""
        return self.losses(self.nodes).mean(axis=0)

    @within_floats
    def sgd_expectation(
        self,
        function: ArrayLike,
        start: float,
        weights: ArrayLike,
        probabilities: ArrayLike | None,
        step_size: float,
        n_steps: int,
    ) -> float:
        """Return E g(theta_n) of M-SGD whose weights take finitely many values.

        Parameters
        ----------
        function : (m,) array_like
            g at the nodes.
        start : float
            theta_0.
        weights, probabilities : (k, n) array_like, and (k,) array_like or None
            Values of the sampling vector, and how likely they are; None for equally.
        step_size : float
            eta > 0.
        n_steps : int
            >= 0.

        Returns
        -------
        float
        """
        W = as_array(weights, "weights", ndim=2)
        if W.shape[1] != self.n:
            raise ValueError(f"weights must have {self.n} columns, got shape {W.shape}")
        p = as_probabilities(probabilities, "probabilities", len(W))
        moved = self.nodes - as_real(step_size, "step_size", above=0) * (W @ self.gradients(self.nodes))
        step = np.zeros((len(self.nodes), len(self.nodes)))
        for k in range(0, len(p), _OUTCOMES):
            step += np.einsum("k,kjm->jm", p[k : k + _OUTCOMES], self._interpolation(moved[k : k + _OUTCOMES]))
        return self._at(start, np.linalg.matrix_power(step, as_count(n_steps, "n_steps", at_least=0)) @ self._values(function))

    @within_floats
    def sde_expectation(
        self,
        function: ArrayLike,
        start: float,
        batch_size: int | SamplingNoise,
        step_size: float,
        time: float,
        drift: str = "plain",
        replacement: bool = True,
    ) -> float:
        """Return E g(Theta_t) of the SDE.

        Parameters
        ----------
        function, start
            See `sgd_expectation`.
        batch_size, step_size, time, drift, replacement
            See `gradnoise.theory.diffusion.sde_moments`.

        Returns
        -------
        float
        """
        noise = as_noise(batch_size, "batch_size", n=self.n, default=Minibatch, replacement=replacement)
        eta, t = as_real(step_size, "step_size", above=0), as_real(time, "time", at_least=0)
        each = self.gradients(self.nodes)
        gradient, variance = each.mean(axis=0), np.array([float(noise.gradient_covariance(g[np.newaxis])[0, 0]) for g in each.T])
        force = -gradient
        if as_choice(drift, "drift", DRIFTS) == "modified":
            force = force - eta / 2 * self.curvatures(self.nodes).mean(axis=0) * gradient
        first, second = (self._derivative(order) for order in (1, 2))
        generator = force[:, np.newaxis] * first + (eta * variance / 2)[:, np.newaxis] * second
        return self._at(start, scipy.linalg.expm(t * generator) @ self._values(function))

    @property
    def _harmonics(self) -> FloatArray:
        return np.arange(1.0, self.amplitudes.shape[1] + 1)

    def _angles(self, theta: ArrayLike) -> FloatArray:
        angles = np.multiply.outer(self._harmonics, as_array(theta, "theta", ndim=1))
        return angles - self.phases[:, :, np.newaxis]

    def _values(self, function: ArrayLike) -> FloatArray:
        values = as_array(function, "function", ndim=1)
        if values.shape != self.nodes.shape:
            raise ValueError(f"function must have a value at each of the {len(self.nodes)} nodes, got shape {values.shape}")
        return values

    def _interpolation(self, angles: FloatArray) -> FloatArray:
        """Matrices from values at the nodes to values at angles (..., m)."""
        return (np.exp(1j * angles[..., np.newaxis] * self._frequencies) @ self._analysis).real

    def _derivative(self, order: int) -> FloatArray:
        basis = np.exp(1j * np.outer(self.nodes, self._frequencies))
        return (basis * (1j * self._frequencies) ** order @ self._analysis).real

    def _at(self, start: float, values: FloatArray) -> float:
        sizes = np.abs(self._analysis @ values)
        unresolved = np.concatenate([sizes[:3], sizes[-3:]]).max()
        if not unresolved <= _RESOLVED * sizes.max():
            raise ValueError(
                f"n_nodes must resolve the expectation as a function of the start, got {len(self.nodes)}, which leaves "
                f"{unresolved / sizes.max():.1g} of it at the highest frequencies; take more nodes or a shorter time"
            )
        return float(self._interpolation(np.array([as_real(start, "start")]))[0] @ values)
