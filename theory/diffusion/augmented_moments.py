r"""Second moments of least-squares iterates, of their diffusion, and between the two.

With :math:`\tilde\theta = (\theta, 1)` the gradient of a sample is the linear map :math:`A_i \tilde\theta`,
:math:`A_i = u_i z_i^T`, :math:`u_i = (x_i, 0)`, :math:`z_i = (x_i, -y_i)`. So :math:`M = E\, \tilde\theta \tilde\theta^T`, which
holds mean and second moment, changes linearly, in a step of M-SGD as in time: with :math:`A` the mean of the A_i,

.. math:: M \leftarrow (I - \eta A) M (I - \eta A)^T + \eta^2 N(M), \qquad
          \dot M = -B M - M B^T + \eta N(M),

where N(M) is the expected noise covariance and :math:`B = A + \kappa \tfrac{\eta}{2} A^2`: the drift is plain for
:math:`\kappa = 0` and modified for 1, as :math:`\nabla(L + \tfrac{\eta}{4} \|\nabla L\|^2) = (I + \tfrac{\eta}{2} \nabla^2 L)
\nabla L`.
"""

from __future__ import annotations

import numpy as np
import scipy
from numpy.typing import ArrayLike

from gradnoise.theory._float_range import within_floats
from gradnoise.theory._powers import after_steps
from gradnoise.theory._validation import FloatArray, as_array, as_count, as_real
from gradnoise.theory.sampling import SamplingNoise, as_noise

__all__ = ["AugmentedMoments"]

_STEPPED = 20_000  # steps that are taken one by one: seconds
_POWERED = 1000  # entries of M whose map is squared: seconds


class AugmentedMoments:
    """Moments of M-SGD and of its SDE on the empirical risk of least squares.

    Parameters
    ----------
    X : (n, d) ndarray
        Features.
    y : (n,) ndarray
        Labels.
    noise : SamplingNoise
        Over the n samples.
    step_size : float
        eta.
    correction : float
        kappa, how much of the modification the drift of the SDE has.

    Examples
    --------
    >>> import numpy as np
    >>> from gradnoise.theory.diffusion import AugmentedMoments
    >>> from gradnoise.theory.sampling import Minibatch
    >>> moments = AugmentedMoments(np.ones((2, 1)), np.array([0.0, 2.0]), Minibatch(2, 1), step_size=0.5)
    >>> moments.step(moments.start(np.array([0.0])))  # E of (theta, 1) (theta, 1)', where theta is 0 or 1
    array([[0.5, 0.5],
           [0.5, 1. ]])
    >>> moments.mean_square_gradient(moments.start(np.array([0.0])))  # of gradients 0 and -2
    2.0
    >>> round(float(moments.noise_covariance(moments.start(np.array([0.0])))[0, 0]), 12)  # their variance
    1.0
    """

    @within_floats
    def __init__(self, X: FloatArray, y: FloatArray, noise: SamplingNoise, step_size: float, correction: float = 0.0) -> None:
        X, y = as_array(X, "X", ndim=2), as_array(y, "y", ndim=1)
        n = len(X)
        if n == 0 or len(y) != n:
            raise ValueError(f"X must have a row for each of the labels y, one or more, got {n} and {len(y)}")
        as_noise(noise, n=n)
        step_size, correction = as_real(step_size, "step_size", above=0), as_real(correction, "correction")
        self.step_size = step_size
        self._u, self._z = np.hstack([X, np.zeros((n, 1))]), np.hstack([X, -y[:, np.newaxis]])
        self._own, self._common = noise.centred_power, n**2 * noise.covariance
        self._gradient = self._u.T @ self._z / n
        self._drift = self._gradient + correction * step_size / 2 * self._gradient @ self._gradient

    @staticmethod
    @within_floats
    def start(theta0: FloatArray) -> FloatArray:
        """M at time zero."""
        augmented = np.append(as_array(theta0, "theta0", ndim=1), 1.0)
        return np.outer(augmented, augmented)

    @within_floats
    def noise_covariance(self, M: FloatArray) -> FloatArray:
        """N(M), bilinear in the two processes whose moment M is."""
        return self._noise_covariance(self._as_moments(M))

    def _noise_covariance(self, M: FloatArray) -> FloatArray:
        own = (self._u * np.einsum("ni,ij,nj->n", self._z, M, self._z)[:, np.newaxis]).T @ self._u
        return self._own * own + self._common * self._gradient @ M @ self._gradient.T

    @within_floats
    def mean_square_gradient(self, M: FloatArray) -> float:
        """Mean over the samples of E |gradient|^2."""
        M = self._as_moments(M)
        return float((np.einsum("ni,ij,nj->n", self._z, M, self._z) * (self._u**2).sum(axis=1)).mean())

    @within_floats
    def step(self, M: FloatArray) -> FloatArray:
        """M after a step of M-SGD."""
        return self._stepped(self._as_moments(M))

    @within_floats
    def after(self, M: FloatArray, n_steps: int) -> FloatArray:
        """M after a number of steps of M-SGD; the map of very many is squared, in O(log n_steps) for a given size."""
        M = self._as_moments(M)
        if as_count(n_steps, "n_steps", at_least=0) <= _STEPPED:
            for _ in range(n_steps):
                M = self._stepped(M)
            return M
        if M.size > _POWERED:
            raise ValueError(f"n_steps must be at most {_STEPPED} where M has more than {_POWERED} entries, got {n_steps}")
        eye, drift = np.eye(len(M)), self.step_size * self._gradient
        change = np.kron(drift, drift) - np.kron(drift, eye) - np.kron(eye, drift) + self.step_size**2 * self._noise_matrix()
        (later,) = after_steps(change.T, [(n_steps, M.reshape(1, -1))])
        return later.reshape(M.shape)

    def _stepped(self, M: FloatArray) -> FloatArray:
        shrink = np.eye(len(M)) - self.step_size * self._gradient
        return shrink @ M @ shrink.T + self.step_size**2 * self._noise_covariance(M)

    @within_floats
    def strong_error(self, start: FloatArray, n_steps: int) -> float:
        """Mean-square distance of M-SGD from the SDE after a number of steps from M, if they share a Brownian path."""
        start = self._as_moments(start, "start")
        of_sgd = self.after(start, n_steps)
        (between,) = after_steps(self._change_of_coupled().T, [(n_steps, start.reshape(1, -1))])
        of_sde = self.flow(n_steps * self.step_size) @ start.ravel()
        distance = of_sgd.ravel() - 2 * between.ravel() + of_sde
        return max(float(np.trace(distance.reshape(start.shape))), 0.0)  # rounding makes tiny ones negative

    @within_floats
    def flow(self, time: float) -> FloatArray:
        """Matrix that carries vec M of the SDE over a time, ((d+1)^2, (d+1)^2)."""
        eye, B, time = np.eye(len(self._drift)), self._drift, as_real(time, "time", at_least=0)
        return np.asarray(
            scipy.linalg.expm(time * (self.step_size * self._noise_matrix() - np.kron(B, eye) - np.kron(eye, B))),
            dtype=np.float64,
        )

    @within_floats
    def coupled_flow(self) -> FloatArray:
        r"""Matrix that carries vec :math:`E\, \tilde\theta_k \tilde\Theta_{k\eta}^T` over a step, on one Brownian path.

        Within the step the moments with the last iterate, :math:`Q_s = E\, \tilde\theta_k \tilde\Theta_s^T`, and with its
        interpolation, :math:`P_s = E\, \hat\theta_s \tilde\Theta_s^T`, obey :math:`\dot Q = -Q B^T` and
        :math:`\dot P = -A Q - P B^T + \eta N(Q)`, as iterate and diffusion share their increments.
        """
        change = self._change_of_coupled()
        return np.eye(len(change)) + change

    def _change_of_coupled(self) -> FloatArray:
        """What `coupled_flow` adds to one."""
        eye, eta = np.eye(len(self._drift)), self.step_size
        back = -np.kron(eye, self._drift)
        system = np.block(
            [[back, np.zeros_like(back)], [eta * self._noise_matrix() - np.kron(self._gradient, eye), back]],
        )
        size = len(system)
        twice = np.zeros((2 * size, 2 * size))
        twice[:size, :size] = twice[:size, size:] = eta * system
        # Above zeros, the exponential has beside that of the first block what that adds to one, with all its digits.
        change = np.asarray(scipy.linalg.expm(twice), dtype=np.float64)[:size, size:]
        return change[size // 2 :, : size // 2] + change[size // 2 :, size // 2 :]  # both start from the same moment

    def _as_moments(self, M: ArrayLike, name: str = "M") -> FloatArray:
        moments = as_array(M, name, ndim=2)
        if moments.shape != self._drift.shape:
            raise ValueError(f"{name} must have shape {self._drift.shape}, got {moments.shape}")
        return moments

    def _noise_matrix(self) -> FloatArray:
        """Matrix of N on vec M, rows first."""
        uu, zz = (np.einsum("ni,nj->nij", a, a).reshape(len(a), -1) for a in (self._u, self._z))
        return self._own * uu.T @ zz + self._common * np.kron(self._gradient, self._gradient)
