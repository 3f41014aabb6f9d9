"""Softmax regression on a finite design: Fisher and Hessian of any law of (x, y) on it."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from gradnoise.theory._float_range import within_floats
from gradnoise.theory._validation import FloatArray, as_array, as_count, as_nonnegative, as_probabilities

__all__ = ["SoftmaxRegression"]

_NEWTON_STEPS = 50
_CONVERGED = 1e-11  # largest entry of the gradient, over the design's largest
_LAST_STEP = 1e-6  # in scores: for separable data the gradient vanishes, too, but every step is of order one


class SoftmaxRegression:
    r"""The model :math:`p(c \mid x) \propto e^{x \cdot \theta_c}`, :math:`\theta_C = 0`, with its negative log likelihood.

    A law of (x, y) is an array of probabilities: the model's own gives population quantities, frequencies of data give
    empirical ones. All methods broadcast over leading axes, for many parameters or data sets at once.

    Parameters
    ----------
    design : (k, p) array_like
        The points x.
    n_classes : int
        C >= 2; the last class is the reference, so that the d = p (C − 1) parameters are identified.

    References
    ----------
    zhu2019, Section 4 and Eq. (18).

    Examples
    --------
    >>> from gradnoise.theory.curvature import SoftmaxRegression
    >>> model = SoftmaxRegression(design=[[1.0]], n_classes=2)
    >>> law = model.law([0.0])  # the model's own, a fair coin
    >>> law, model.fisher([0.0], law), model.hessian([0.0], law)  # p (1 - p), twice
    (array([[0.5, 0.5]]), array([[0.25]]), array([[0.25]]))
    >>> model.covariance([0.0], [[1.0, 0.0]])  # one outcome, always
    array([[0.]])
    >>> model.fit([[0.75, 0.25]], start=[0.0]).round(6)  # log 3
    array([1.098612])
    """

    def __init__(self, design: ArrayLike, n_classes: int) -> None:
        self.design = as_array(design, "design", ndim=2)
        if not self.design.size:
            raise ValueError(f"design must not be empty, got shape {self.design.shape}")
        self.n_classes = as_count(n_classes, "n_classes", at_least=2)

    def __repr__(self) -> str:
        return f"SoftmaxRegression({len(self.design)} points, {self.n_classes} classes)"

    @property
    def dimension(self) -> int:
        """Number of parameters, d."""
        return self.design.shape[1] * (self.n_classes - 1)

    @within_floats
    def class_probabilities(self, theta: ArrayLike) -> FloatArray:
        """p(c | x).

        Parameters
        ----------
        theta : (..., d) array_like
            Parameters of the classes but the last, one class after the other.

        Returns
        -------
        (..., k, C) ndarray
        """
        t = as_array(theta, "theta")
        if t.ndim == 0 or t.shape[-1] != self.dimension:
            raise ValueError(f"theta must have {self.dimension} entries along the last axis, got shape {t.shape}")
        by_class = t.reshape(*t.shape[:-1], self.n_classes - 1, -1)
        scores = np.zeros((*t.shape[:-1], len(self.design), self.n_classes))
        scores[..., :-1] = np.einsum("...cp,kp->...kc", by_class, self.design)
        odds = np.exp(scores - scores.max(axis=-1, keepdims=True))
        return odds / odds.sum(axis=-1, keepdims=True)

    @within_floats
    def law(self, theta: ArrayLike, marginal: ArrayLike | None = None) -> FloatArray:
        """Law of (x, y) under the model.

        Parameters
        ----------
        theta : (..., d) array_like
        marginal : (k,) array_like, optional
            Probabilities of the points; equal by default.

        Returns
        -------
        (..., k, C) ndarray
        """
        p = as_probabilities(marginal, "marginal", len(self.design))
        return p[:, np.newaxis] * self.class_probabilities(theta)

    @within_floats
    def gradients(self, theta: ArrayLike) -> FloatArray:
        """Gradients of −log p(c | x): (..., d, k, C)."""
        p, own = self.class_probabilities(theta), np.eye(self.n_classes, dtype=bool)
        errors = np.where(own, -_complements(p)[..., np.newaxis, :], p[..., np.newaxis, :])[..., :-1]  # (..., k, C, C − 1)
        G = np.einsum("...kce,kp->...epkc", errors, self.design)
        return G.reshape(*G.shape[:-4], self.dimension, *G.shape[-2:])

    @within_floats
    def gradient(self, theta: ArrayLike, law: ArrayLike) -> FloatArray:
        """Gradient of the mean loss under a law (..., k, C) of (x, y): (..., d)."""
        return np.einsum("...dkc,...kc->...d", self.gradients(theta), self._law(law, theta))

    @within_floats
    def fisher(self, theta: ArrayLike, law: ArrayLike) -> FloatArray:
        """F, the second moment of the gradient under a law (..., k, C) of (x, y): (..., d, d)."""
        G = self.gradients(theta)
        return np.einsum("...dkc,...kc,...ekc->...de", G, self._law(law, theta), G, optimize=True)

    @within_floats
    def covariance(self, theta: ArrayLike, law: ArrayLike) -> FloatArray:
        """Σ = F − ∇L∇Lᵀ: (..., d, d)."""
        gradient = self.gradient(theta, law)
        return self.fisher(theta, law) - gradient[..., :, np.newaxis] * gradient[..., np.newaxis, :]

    @within_floats
    def hessian(self, theta: ArrayLike, law: ArrayLike) -> FloatArray:
        """H of the mean loss under a law (..., k, C) of (x, y), which matters through its marginal alone: (..., d, d)."""
        p, own = self.class_probabilities(theta), np.eye(self.n_classes, dtype=bool)
        spread = p[..., np.newaxis] * np.where(own, _complements(p)[..., np.newaxis, :], -p[..., np.newaxis, :])
        spread = spread[..., :-1, :-1]
        marginal = self._law(law, theta).sum(axis=-1)
        blocks = np.einsum("...k,...kce,kp,kq->...cpeq", marginal, spread, self.design, self.design, optimize=True)
        return blocks.reshape(*blocks.shape[:-4], self.dimension, self.dimension)

    @within_floats
    def fit(self, law: ArrayLike, start: ArrayLike) -> FloatArray:
        """Maximum likelihood estimate under a law of (x, y), by Newton's method, steps halved while they go uphill.

        Parameters
        ----------
        law : (..., k, C) array_like
            Frequencies of the data.
        start : (d,) array_like

        Returns
        -------
        (..., d) ndarray

        Raises
        ------
        ValueError
            If there is no maximum, as for separable data.
        """
        weights = self._law(law)
        start = as_array(start, "start", ndim=1)
        if len(start) != self.dimension:
            raise ValueError(f"start must have {self.dimension} entries, got {len(start)}")
        theta = np.broadcast_to(start, (*weights.shape[:-2], self.dimension)).copy()
        loss = self._loss(theta, weights)
        for _ in range(_NEWTON_STEPS):
            gradient, largest = self.gradient(theta, weights), np.abs(self.design).max()
            try:
                step = np.linalg.solve(self.hessian(theta, weights), gradient[..., np.newaxis])[..., 0]
            except np.linalg.LinAlgError:
                break
            if np.abs(gradient).max(initial=0) <= _CONVERGED * largest and np.abs(step).max(initial=0) * largest <= _LAST_STEP:
                return theta
            for _ in range(_NEWTON_STEPS):
                uphill = self._loss(theta - step, weights) > loss + 1e-14 * np.abs(loss)
                if not uphill.any():
                    break
                step = np.where(uphill[..., np.newaxis], step / 2, step)
            theta = theta - step
            loss = self._loss(theta, weights)
        raise ValueError(f"law must have one maximum likelihood estimate, got none in {_NEWTON_STEPS} steps: separable data?")

    def _loss(self, theta: FloatArray, weights: FloatArray) -> FloatArray:
        with np.errstate(divide="ignore", invalid="ignore"):  # probabilities that underflow, times weights of zero
            return -np.sum(weights * np.log(self.class_probabilities(theta)), axis=(-2, -1), where=weights > 0)

    def _law(self, law: ArrayLike, theta: ArrayLike | None = None) -> FloatArray:
        weights, shape = as_nonnegative(law, "law"), (len(self.design), self.n_classes)
        if weights.shape[-2:] != shape or np.abs(weights.sum(axis=(-2, -1)) - 1).max(initial=0) > 1e-9:
            raise ValueError(f"law must be of shape (..., {shape[0]}, {shape[1]}) and sum to one, got shape {weights.shape}")
        if theta is not None:
            try:
                np.broadcast_shapes(np.shape(theta)[:-1], weights.shape[:-2])
            except ValueError:
                shapes = f"{np.shape(theta)} and {weights.shape}"
                raise ValueError(f"theta (..., d) and law (..., k, C) must broadcast, got shapes {shapes}") from None
        return weights


def _complements(p: FloatArray) -> FloatArray:
    """1 − p of each class as the sum of the others, of which a class that is all but certain leaves no digits otherwise."""
    return p @ (1 - np.eye(p.shape[-1]))
