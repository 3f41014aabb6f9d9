"""Gradient noise with the covariances of Table 1 of zhu2019, under the trace constraint (14)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from gradnoise.simulations.neural.devices import as_generator, set_state
from gradnoise.simulations.neural.loss_operators import LossOperators, as_operators
from gradnoise.simulations.neural.noise_covariance import NoiseCovariance, matched_noise
from gradnoise.simulations.neural.spectrum import leading_on_device
from gradnoise.simulations.neural.vectors import as_dense
from gradnoise.theory._validation import as_choice, as_count, as_real, shown
from gradnoise.theory.sampling import SamplingNoise

__all__ = ["ADDITIVE", "AdditiveNoise"]

#: Rows of Table 1: σ²I fixed at the start; σ_t²I; diag(Σ); the leading part of Σ, and of H; and λ₁u₁u₁ᵀ.
ADDITIVE = ("gld_const", "gld_dynamic", "gld_diag", "gld_leading", "gld_hessian", "gld_eigvec")

_KEPT = 20  # eigenpairs
_PRODUCTS = 3  # with H for each eigenpair, about
_EIGENVALUE_TOLERANCE = 1e-4  # of eigenvalues that shape a noise whose strength is matched anyway
_NO_NOISE = "the noise to be matched must not be zero, got equal gradients for all samples, to rounding"


class AdditiveNoise:
    """Noise to add to the full gradient, as strong as that of SGD: E‖noise‖² = Tr Var(GW) at every refreshed point.

    Parameters
    ----------
    kind : {"gld_const", "gld_dynamic", "gld_diag", "gld_leading", "gld_hessian", "gld_eigvec"}
        Row of Table 1. "gld_const" keeps the strength of its first draw, or has the given one.
    operators : LossOperators
        Of the network that is trained.
    noise : int or SamplingNoise
        Whose strength is matched; a number b stands for the minibatch with replacement.
    generator : torch.Generator
        On the network's device.
    k : int, optional
        Eigenpairs kept by "gld_leading" and "gld_hessian"; at most as many as parameters, for "gld_leading" as samples, too. 20,
        or all of fewer, by default.
    period : int
        Draws after which the covariance is measured anew.
    strength : float, optional
        For "gld_const" alone: the standard deviation of each component of the noise, > 0, in place of the matched one. Units:
        loss / parameter.

    Raises
    ------
    ValueError
        If an argument is not allowed; when drawn, if the noise to be matched, or the curvature to follow, is zero.

    References
    ----------
    zhu2019, Table 1, Eq. (14) and Appendix D.3, whose coefficients of Hessian and 1st eigvec have the fraction upside down.

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.additive_noise import AdditiveNoise
    >>> from gradnoise.simulations.neural.loss_operators import LossOperators
    >>> model, inputs = torch.nn.Linear(2, 1, bias=False), torch.diag(torch.tensor([1.0, 2.0]))
    >>> _ = torch.nn.init.zeros_(model.weight)
    >>> loss = lambda outputs, targets: (outputs[:, 0] - targets) ** 2 / 2
    >>> operators = LossOperators(model, loss, inputs, torch.ones(2))
    >>> noise = AdditiveNoise("gld_eigvec", operators, 1, torch.Generator().manual_seed(1), period=1_000)
    >>> drawn = torch.stack([noise.draw() for _ in range(1_000)])
    >>> bool(drawn[:, 0].abs().max() < 1e-3)  # H = diag(1/2, 2): all noise is along the second axis
    True
    >>> strength = float((drawn**2).sum(dim=1).mean())  # of SGD: gradients (-1, 0) and (0, -2), so that Tr Σ = 5/4
    >>> abs(strength - 1.25) < 0.25
    True
    >>> state = noise.state_dict()
    >>> first = noise.draw()
    >>> noise.load_state_dict(state)
    >>> torch.equal(noise.draw(), first)
    True
    """

    def __init__(
        self,
        kind: str,
        operators: LossOperators,
        noise: int | SamplingNoise,
        generator: torch.Generator,
        *,
        k: int | None = None,
        period: int = 1,
        strength: float | None = None,
    ) -> None:
        self.kind, operators = as_choice(kind, "kind", ADDITIVE), as_operators(operators)
        self.operators, self.generator = operators, as_generator(generator, operators.device)
        self.noise = matched_noise(noise, operators.n, "noise")
        most = min(operators.n, operators.dimension) if kind == "gld_leading" else operators.dimension
        self.k = 1
        if kind in ("gld_leading", "gld_hessian"):
            self.k = min(_KEPT, most) if k is None else as_count(k, "k", at_most=most)
        self.period = as_count(period, "period")
        if strength is not None and kind != "gld_const":
            raise ValueError(f"strength must be left out for {kind}, whose strength is matched, got {strength!r}")
        self.strength = None if strength is None else as_real(strength, "strength", above=0)
        self._drawn = 0
        self._axes: Tensor | None = None  # (d, k), orthonormal, of a noise that has less than all directions
        self._scale: Tensor | None = None  # standard deviations along them, or of the components, or one of all

    def __repr__(self) -> str:
        return f"AdditiveNoise({self.kind}, {self.noise!r}, k={self.k}, period={self.period}, strength={self.strength})"

    def draw(self) -> Tensor:
        """Draw the noise, (d,), to be added to the gradient; after every `period` draws its covariance is measured anew."""
        if self._scale is None or (self._drawn % self.period == 0 and self.kind != "gld_const"):
            self._scale, self._axes = self._measured()
        self._drawn += 1
        size = self.operators.dimension if self._axes is None else self._axes.shape[1]
        z = torch.randn(size, generator=self.generator, device=self.operators.device, dtype=self.operators.dtype)
        return self._scale * z if self._axes is None else self._axes @ (self._scale * z)

    def state_dict(self) -> dict[str, Any]:
        """Return what a later `load_state_dict` needs to draw the same noise on."""
        return {"drawn": self._drawn, "axes": self._axes, "scale": self._scale, "generator": self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state that `state_dict` returned."""
        device = self.operators.device
        if not (isinstance(state, Mapping) and {"drawn", "axes", "scale"} <= state.keys()):
            raise ValueError(f"state must have drawn, axes, scale and generator, got {shown(state)}")
        drawn = as_count(state["drawn"], "state of drawn", at_least=0)
        axes, scale = (None if state[name] is None else as_dense(state[name], f"state of {name}") for name in ("axes", "scale"))
        set_state(self.generator, state)  # before the rest, as it may be refused
        self._drawn = drawn
        self._axes, self._scale = (None if part is None else part.to(device) for part in (axes, scale))

    def _measured(self) -> tuple[Tensor, Tensor | None]:
        """Standard deviations, and the axes that they are along, if these are not the parameters."""
        operators = self.operators
        if self.strength is not None:
            return torch.tensor(self.strength, device=operators.device, dtype=operators.dtype), None
        covariance = NoiseCovariance(operators, self.noise)
        if self.kind == "gld_diag":
            variances, squared_norm = covariance.variances(), covariance.gradient_norm_squared
            # Sums of squares, which lose fewer digits than Tr Σ, a difference of squares; that need not be measured.
            if float(variances.sum()) <= torch.finfo(operators.dtype).eps * covariance.share * squared_norm:
                raise ValueError(_NO_NOISE)
            return variances.sqrt(), None
        trace = covariance.trace()
        if covariance.vanishes:
            raise ValueError(_NO_NOISE)
        if self.kind in ("gld_const", "gld_dynamic"):
            return torch.tensor(math.sqrt(trace / operators.dimension), device=operators.device, dtype=operators.dtype), None
        if self.kind == "gld_leading":
            kept, axes = covariance.leading(self.k)
        else:
            kept, axes = self._curvature(covariance.gradient)
        return (kept * (trace / float(kept.sum()))).sqrt(), axes

    def _curvature(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Leading eigenvalues of the Hessian, negative ones replaced by zero, and its eigenvectors."""
        operators, stretches = self.operators, []
        hessian = operators.hessian_here(n_products=_PRODUCTS * self.k)

        def product(u: Tensor) -> Tensor:
            found = hessian(u)
            stretches.append(found.norm() / u.norm())
            return found

        values, vectors = leading_on_device(product, like, self.k, tolerance=_EIGENVALUE_TOLERANCE, start=self._axes)
        kept = operators.tensor(values).clamp(min=0)
        if float(kept[0]) <= torch.finfo(operators.dtype).eps * float(torch.stack(stretches).max()):
            raise ValueError(f"{self.kind} must have a positive eigenvalue to follow, got {float(values[0]):.3g} for the largest")
        return kept, vectors.to(operators.dtype)
