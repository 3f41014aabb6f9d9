"""The network of Propositions 2 and 3: one hidden layer, a fixed output layer, and an output that is clipped."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from gradnoise.theory._float_range import within_floats
from gradnoise.theory._validation import FloatArray, as_array, as_flag, as_real, shown
from gradnoise.theory.curvature.bounds import Curvature

__all__ = ["ClippedNetwork"]


class ClippedNetwork:
    r"""A binary classifier with output :math:`\phi(\sum_k a_k \sigma(w_k \cdot x))` and a squared loss.

    σ is piecewise linear with a kink at zero, φ clips to [δ, 1 − δ], and the hidden weights w alone are trained. A column of
    ones in the inputs gives biases.

    Parameters
    ----------
    inputs : (n, p) array_like
        A sample per row.
    labels : (n,) array_like
        0 or 1.
    output_weights : (m,) array_like
        a, a number for each hidden unit.
    delta : float
        0 < δ < ½.
    slopes : (float, float)
        Of σ below and above zero: (0, 1) is ReLU.
    halved : bool
        The loss ½r² of the proof, (49), or r² as printed in (19).

    Raises
    ------
    ValueError
        If shapes do not match, labels are neither 0 nor 1, or δ is not between 0 and ½.

    References
    ----------
    zhu2019, Proposition 2, Eqs. (19), (20), (48) and (49).

    Examples
    --------
    >>> from gradnoise.theory.curvature import ClippedNetwork
    >>> network = ClippedNetwork(inputs=[[1.0], [8.0]], labels=[0, 1], output_weights=[1.0], delta=0.125)
    >>> network.output([[0.5]]), network.residuals([[0.5]])  # the second is clipped to 1 - delta
    (array([0.5, 4. ]), array([ 0.5  , -0.125]))
    >>> network.losses([[0.5]])  # halves of their squares
    array([0.125    , 0.0078125])
    >>> network.curvature([[0.5]]).hessian  # of the first sample alone: 1**2 / 2
    array([[0.5]])
    """

    def __init__(
        self,
        inputs: ArrayLike,
        labels: ArrayLike,
        output_weights: ArrayLike,
        delta: float,
        slopes: tuple[float, float] = (0.0, 1.0),
        halved: bool = True,
    ) -> None:
        X, y = as_array(inputs, "inputs", ndim=2), as_array(labels, "labels", ndim=1)
        if len(X) != len(y) or not X.size:
            raise ValueError(f"inputs must have a row for each of the {len(y)} labels, got shape {X.shape}")
        if not np.isin(y, (0, 1)).all():
            raise ValueError(f"labels must be 0 or 1, got {y[~np.isin(y, (0, 1))][0]:g}")
        self.inputs, self.labels = X, y
        self.output_weights = as_array(output_weights, "output_weights", ndim=1)
        if not self.output_weights.size:
            raise ValueError("output_weights must not be empty, got shape (0,)")
        self.delta, self.halved = as_real(delta, "delta", above=0), as_flag(halved, "halved")
        if self.delta >= 0.5:
            raise ValueError(f"delta must be < 0.5, got {self.delta:g}")
        found = as_array(slopes, "slopes", ndim=1)
        if len(found) != 2:
            raise ValueError(f"slopes must be two numbers, below and above zero, got {shown(slopes)}")
        self.slopes = float(found[0]), float(found[1])

    def __repr__(self) -> str:
        return f"ClippedNetwork(n={len(self.labels)}, shape={self.shape}, delta={self.delta:g}, slopes={self.slopes})"

    @property
    def shape(self) -> tuple[int, int]:
        """Of the hidden weights: units and inputs, (m, p)."""
        return len(self.output_weights), self.inputs.shape[1]

    @within_floats
    def output(self, weights: ArrayLike) -> FloatArray:
        """Output before it is clipped, f(x_i): (n,).

        Parameters
        ----------
        weights : (m, p) or (m p,) array_like
            w, a row per hidden unit. All methods take it so.
        """
        z = self._preactivations(weights)
        return self._slopes_at(z) * z @ self.output_weights

    @within_floats
    def residuals(self, weights: ArrayLike) -> FloatArray:
        """Clipped output less label: (n,)."""
        return np.clip(self.output(weights), self.delta, 1 - self.delta) - self.labels

    @within_floats
    def losses(self, weights: ArrayLike) -> FloatArray:
        """Loss of each sample: (n,)."""
        return self.residuals(weights) ** 2 / (2 if self.halved else 1)

    @within_floats
    def unclipped(self, weights: ArrayLike) -> np.ndarray:
        """Which outputs lie strictly between δ and 1 − δ: (n,) of bool."""
        f = self.output(weights)
        return (f > self.delta) & (f < 1 - self.delta)

    @within_floats
    def curvature(self, weights: ArrayLike) -> Curvature:
        """Gradients, Fisher and Hessian at w, in closed form.

        On the kinks, a null set, one of the one-sided derivatives is taken: σ's slope below zero, and φ's slope zero.

        Returns
        -------
        Curvature
            With d = m p parameters, a unit's p weights side by side.
        """
        z = self._preactivations(weights)
        of_units = self._slopes_at(z) * self.output_weights * self.unclipped(weights)[:, np.newaxis]
        jacobian = of_units[:, :, np.newaxis] * self.inputs[:, np.newaxis, :]
        return Curvature(jacobian.reshape(len(self.labels), -1).T, self.residuals(weights), self.halved)

    def _preactivations(self, weights: ArrayLike) -> FloatArray:
        w = as_array(weights, "weights", ndim=(1, 2))
        if w.shape not in (self.shape, (self.shape[0] * self.shape[1],)):
            raise ValueError(f"weights must have shape {self.shape}, or be that flattened, got {w.shape}")
        return self.inputs @ w.reshape(self.shape).T

    def _slopes_at(self, z: FloatArray) -> FloatArray:
        below, above = self.slopes
        return np.where(z > 0, above, below)
