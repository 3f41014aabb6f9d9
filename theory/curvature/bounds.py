r"""Fisher, Hessian and gradient covariance where a squared loss meets piecewise linear outputs.

There the outputs have no second derivative, so that with Jacobian columns :math:`j_i` and residuals :math:`r_i`

.. math:: H = \frac{s}{n} \sum_i j_i j_i^T, \qquad F = \frac{s^2}{n} \sum_i r_i^2 j_i j_i^T

almost everywhere, s = 1 for the loss ½r² and s = 2 for r². Propositions 2 and 3 of zhu2019 follow from bounds on the residuals
that count, those with :math:`j_i \ne 0`. `gradnoise.theory.curvature.ClippedNetwork` is their network.
"""

from __future__ import annotations

from fractions import Fraction
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from gradnoise.theory import gradient_noise
from gradnoise.theory._float_range import exponent_of, root, within_floats
from gradnoise.theory._linalg import accurate_svd
from gradnoise.theory._validation import FloatArray, as_array, as_flag, as_real, shown

__all__ = ["Curvature", "alignment_bound", "printed_alignment_bound", "printed_radius", "ratio_bounds"]

_ROUNDING = 4 * float(np.finfo(float).eps)
_ALIKE = 1e-9  # relative difference up to which singular values count as one: below, rounding mixes their vectors


class Curvature:
    """Second-order quantities of a mean squared loss at one point.

    Parameters
    ----------
    jacobian : (d, n) array_like
        Gradients of the outputs, a column per sample.
    residuals : (n,) array_like
        Outputs less targets.
    halved : bool
        Whether the loss is ½r² or r².

    Examples
    --------
    >>> from gradnoise.theory.curvature import Curvature
    >>> curvature = Curvature(jacobian=[[1.0, 2.0]], residuals=[0.5, 0.5])
    >>> curvature.hessian, curvature.fisher  # (1 + 4) / 2, and 0.5**2 times that
    (array([[2.5]]), array([[0.625]]))
    >>> curvature.eigenvalue_ratios.round(10)
    array([0.25])
    """

    def __init__(self, jacobian: ArrayLike, residuals: ArrayLike, halved: bool = True) -> None:
        J, r = as_array(jacobian, "jacobian", ndim=2), as_array(residuals, "residuals", ndim=1)
        if J.shape[1] != len(r) or not J.size:
            raise ValueError(f"jacobian must have a column for each of the {len(r)} residuals, got shape {J.shape}")
        self.jacobian, self.residuals, self.halved = J, r, as_flag(halved, "halved")

    def __repr__(self) -> str:
        d, n = self.jacobian.shape
        return f"Curvature(d={d}, n={n}, active={self.active.sum()}, halved={self.halved})"

    @property
    def scale(self) -> int:
        """Derivative of the loss over the residual: 1 or 2."""
        return 1 if self.halved else 2

    @property
    @within_floats
    def gradients(self) -> FloatArray:
        """Gradient matrix, (d, n)."""
        return self.scale * self.residuals * self.jacobian

    @property
    @within_floats
    def gradient(self) -> FloatArray:
        """Gradient of the mean loss, (d,)."""
        return self.gradients.mean(axis=1)

    @property
    @within_floats
    def fisher(self) -> FloatArray:
        """F, (d, d)."""
        return gradient_noise.fisher(self.gradients)

    @property
    @within_floats
    def hessian(self) -> FloatArray:
        """H, (d, d)."""
        return self.scale * gradient_noise.fisher(self.jacobian)

    @property
    @within_floats
    def covariance(self) -> FloatArray:
        """Σ = F − ∇L∇Lᵀ, (d, d)."""
        return gradient_noise.sgd_covariance(self.gradients, 1)

    @cached_property
    def active(self) -> np.ndarray:
        """Which samples have a gradient, (n,) of bool."""
        return np.asarray(self.jacobian.any(axis=0))

    @property
    def largest_residual(self) -> float:
        """Largest modulus of a residual with a gradient, δ + ε of Proposition 2; zero where there is none."""
        return float(np.abs(self.residuals[self.active]).max(initial=0.0))

    @cached_property
    def _svd(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        return accurate_svd(self.jacobian[:, self.active])

    @cached_property
    @within_floats
    def eigenvalue_ratios(self) -> FloatArray:
        """Ascending eigenvalues of F relative to H, on H's range: uᵀFu/uᵀHu lies between the first and the last.

        They are those of V diag(s r²) Vᵀ with the Jacobian's right singular vectors V, which stays accurate where H is nearly
        singular.
        """
        _, _, right = self._svd
        return as_array(np.linalg.eigvalsh(right * (self.scale * self.residuals[self.active] ** 2) @ right.T), "ratios")

    @property
    @within_floats
    def largest_eigenvalue(self) -> float:
        """λ of H; zero where all samples are clipped."""
        _, s, _ = self._svd
        return self.scale * float(s.max(initial=0.0)) ** 2 / len(self.residuals)

    @property
    @within_floats
    def leading_gradients(self) -> FloatArray:
        """Gradients along u, the leading eigenvector of H, that with the least noise where there are many: (n,)."""
        return self._leading_direction @ self.gradients

    @property
    @within_floats
    def indicator(self) -> float:
        """Tr(HΣ), from products between samples: nothing of size (d, d) is formed."""
        centred = self.gradients - self.gradient[:, np.newaxis]
        n = len(self.residuals)
        return self.scale * float(((self.jacobian[:, self.active].T @ centred) ** 2).sum()) / n**2

    @property
    @within_floats
    def isotropic_indicator(self) -> float:
        """Tr(HΣ̄) = TrH TrΣ/d, of isotropic noise of the same strength."""
        d, n = self.jacobian.shape
        trace = self.scale * float((self.jacobian**2).sum()) / n
        return trace * float(np.var(self.gradients, axis=1).sum()) / d

    @property
    @within_floats
    def alignment(self) -> float:
        r"""The largest a for which (21) holds here, :math:`u^T\Sigma u\, \mathrm{Tr}H / (\lambda\, \mathrm{Tr}\Sigma)`.

        Where λ is repeated, up to rounding, (21) has the u with the least noise, so that it holds for every u.

        Raises
        ------
        ValueError
            If H or Σ is zero.
        """
        return self.alignment_range[0]

    @property
    @within_floats
    def alignment_range(self) -> tuple[float, float]:
        """Least and largest alignment of the unit vectors u that belong to λ; they differ where λ is repeated, up to rounding.

        Raises
        ------
        ValueError
            If H or Σ is zero.

        Examples
        --------
        >>> from gradnoise.theory.curvature import Curvature
        >>> repeated = Curvature([[1.0, 0.0], [0.0, 1.0]], [5.0, 1.0])  # H = I/2, and noise along (5, -1) alone
        >>> [round(end, 10) for end in repeated.alignment_range]
        [0.0, 2.0]
        """
        point = self._in_units
        variances = point._leading_noise[0]
        total = float(np.var(point.gradients, axis=1).sum())
        if total <= _ROUNDING**2 * float((point.gradients**2).sum(axis=0).max()):  # where the mean has been rounded
            raise ValueError(f"alignment needs gradients that differ, got a covariance of zero for {self!r}")
        trace = point.scale * float((point.jacobian**2).sum()) / len(point.residuals)
        low, high = (float(v) * trace / (point.largest_eigenvalue * total) for v in variances[[0, -1]])
        return low, high

    @property
    @within_floats
    def mean_share(self) -> float:
        r"""τ, the mean gradient's share of F along u: :math:`(u\cdot\nabla L)^2 / u^TFu`."""
        along = self._in_units.leading_gradients
        if not along.any():
            raise ValueError(f"mean_share needs gradients along the leading direction, got residuals of zero for {self!r}")
        return min(float(along.mean() ** 2 / np.mean(along**2)), 1.0)

    @cached_property
    def _in_units(self) -> Curvature:
        """The same with entries of order one; what has no unit is the same."""
        jacobian = np.ldexp(self.jacobian, -exponent_of(self.jacobian))
        return Curvature(jacobian, np.ldexp(self.residuals, -exponent_of(self.residuals)), self.halved)

    @property
    def _leading_direction(self) -> FloatArray:
        space = self._leading_space
        return space[:, 0] if space.shape[1] == 1 else self._in_units._leading_noise[1]

    @property
    def _leading_space(self) -> FloatArray:
        """Orthonormal vectors of λ, as columns."""
        left, s, _ = self._svd
        if not s.size:
            raise ValueError(f"the Hessian must not be zero: all samples are clipped, their jacobian is zero, got {self!r}")
        return left[:, s >= (1 - _ALIKE) * s[0]]

    @cached_property
    def _leading_noise(self) -> tuple[FloatArray, FloatArray]:
        """Eigenvalues of Σ on the space of λ, ascending, and the unit vector of the least."""
        space = self._leading_space
        along = space.T @ self.gradients
        if len(along) == 1:
            return np.var(along, axis=1), space[:, 0]
        centred = along - along.mean(axis=1, keepdims=True)
        values, vectors = np.linalg.eigh(centred @ centred.T / len(self.residuals))
        return np.maximum(values, 0.0), space @ vectors[:, 0]


@within_floats
def ratio_bounds(delta: float, epsilon: float, halved: bool = True) -> tuple[float, float]:
    r"""Bounds on the eigenvalues of F relative to H, Proposition 2: :math:`\delta^2 H \preceq F \preceq (\delta+\epsilon)^2 H`.

    Parameters
    ----------
    delta, epsilon : float
        Residuals with a gradient lie between delta and delta + epsilon.
    halved : bool
        Of the loss ½r², for which the proof is. For r², as (19) is printed, both bounds double.

    Returns
    -------
    (float, float)
        In units of the loss.

    References
    ----------
    zhu2019, Proposition 2 and Appendix A.4.

    Examples
    --------
    >>> from gradnoise.theory.curvature import ratio_bounds
    >>> ratio_bounds(delta=0.5, epsilon=0.5)
    (0.25, 1.0)
    >>> ratio_bounds(delta=0.5, epsilon=0.5, halved=False)
    (0.5, 2.0)
    """
    delta, epsilon = as_real(delta, "delta", at_least=0), as_real(epsilon, "epsilon", at_least=0)
    scale = 1 if as_flag(halved, "halved") else 2  # misprint: (19) lacks the ½ of (49)
    return scale * delta**2, scale * (delta + epsilon) ** 2


@within_floats
def alignment_bound(curvature: Curvature, delta: float) -> float:
    r"""The constant a of Proposition 3, corrected: it needs no minimum nearby.

    .. math:: a = (1 - \tau)\, \frac{\delta^2}{(\delta+\epsilon)^2}, \qquad \tau = \frac{(u\cdot\nabla L)^2}{u^T F u}

    with δ + ε the largest residual that has a gradient. Proof: uᵀΣu = (1 − τ) uᵀFu >= (1 − τ)δ²λ, and
    TrΣ <= TrF <= (δ + ε)² TrH. The published constant has 1 − 2δ₂ for 1 − τ, from (63), which takes ∇L(θ*) for zero; on the
    edge of a minimum's flat floor it is not, and τ can be 1.

    Parameters
    ----------
    curvature : Curvature
        Where H is not zero.
    delta : float
        Residuals with a gradient are at least that.

    Returns
    -------
    float
        At most 1.

    Raises
    ------
    ValueError
        If a residual with a gradient is below delta, or H is zero.

    References
    ----------
    zhu2019, Proposition 3 and Eqs. (61)-(83).

    Examples
    --------
    >>> from gradnoise.theory.curvature import Curvature, alignment_bound
    >>> opposed, equal = Curvature([[1.0, 1.0]], [0.5, -0.5]), Curvature([[1.0, 1.0]], [0.5, 0.5])
    >>> round(alignment_bound(opposed, delta=0.5), 10)  # no mean gradient: all of F is noise
    1.0
    >>> round(alignment_bound(equal, delta=0.5), 10)  # one gradient for all samples: nothing is
    0.0
    """
    if not isinstance(curvature, Curvature):
        raise TypeError(f"curvature must be a Curvature, got {shown(curvature)}")
    delta, sizes = as_real(delta, "delta", at_least=0), np.abs(curvature.residuals)
    least = float(sizes[curvature.active].min(initial=sizes.max()))
    if delta > least + _ROUNDING * float(sizes.max()):  # a residual is a difference
        raise ValueError(f"delta must be at most the least residual that has a gradient, {least:.6g}, got {delta:.6g}")
    return (1 - curvature.mean_share) * min(delta / curvature.largest_residual, 1.0) ** 2


@within_floats
def printed_alignment_bound(delta: float, epsilon: float, delta_2: float) -> float:
    """The constant a of (83), (1 − 2δ₂)δ²/(δ+ε)², for points within `printed_radius` of a minimum. It is wrong there.

    Parameters
    ----------
    delta, epsilon : float
        Bounds on the residuals, as in `ratio_bounds`.
    delta_2 : float
        Between 0 and ½.

    Returns
    -------
    float

    Examples
    --------
    >>> from gradnoise.theory.curvature import printed_alignment_bound
    >>> printed_alignment_bound(delta=0.5, epsilon=0.5, delta_2=0.25)  # (1 - 2 * 0.25) * (0.5 / 1)**2
    0.125
    """
    delta, epsilon = as_real(delta, "delta", above=0), as_real(epsilon, "epsilon", at_least=0)
    power = exponent_of(delta + epsilon)
    lower, upper = ratio_bounds(float(np.ldexp(delta, -power)), float(np.ldexp(epsilon, -power)))
    return (1 - 2 * as_real(delta_2, "delta_2", above=0, at_most=0.5)) * lower / upper


@within_floats
def printed_radius(delta: float, delta_2: float, least_eigenvalue: float, norm: float) -> float:
    """Distance from a minimum up to which (65) has Proposition 3 hold, √(δ²δ₂(λ*−ε₁)) / ‖H(θ*)‖.

    Parameters
    ----------
    delta, delta_2 : float
        See `printed_alignment_bound`.
    least_eigenvalue : float
        λ* − ε₁, a lower bound on H's largest eigenvalue around the minimum.
    norm : float
        ‖H(θ*)‖.

    Returns
    -------
    float
        In units of the parameters.

    Examples
    --------
    >>> from gradnoise.theory.curvature import printed_radius
    >>> printed_radius(delta=0.5, delta_2=0.25, least_eigenvalue=1.0, norm=2.0)  # sqrt(0.5**2 * 0.25) / 2
    0.125
    """
    delta, delta_2 = as_real(delta, "delta", above=0), as_real(delta_2, "delta_2", above=0, at_most=0.5)
    least_eigenvalue, norm = as_real(least_eigenvalue, "least_eigenvalue", above=0), as_real(norm, "norm", above=0)
    return root(Fraction(delta) ** 2 * Fraction(delta_2) * Fraction(least_eigenvalue) / Fraction(norm) ** 2)
