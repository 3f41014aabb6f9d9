"""What zhu2019 measures where a network stands: does its noise escape along the curvature, and is there noise at all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gradnoise.simulations.ensemble import Result, versions
from gradnoise.simulations.neural.devices import as_generator
from gradnoise.simulations.neural.loss_operators import LossOperators, as_operators
from gradnoise.simulations.neural.noise_covariance import NoiseCovariance
from gradnoise.simulations.neural.noise_scale import NoiseScale
from gradnoise.simulations.neural.spectrum import leading_on_device, n_alike
from gradnoise.simulations.neural.traces import MOST_PROBES, trace_hessian, trace_hessian_covariance
from gradnoise.simulations.seeds import RNG, Stream
from gradnoise.simulations.statistics import Estimate, Measured, Quotient, TailIndex, with_error
from gradnoise.theory._validation import FloatArray, as_count, as_function, as_instance
from gradnoise.theory.sampling import SamplingNoise

__all__ = ["Escape", "escape"]

_SEARCH = 5  # products with H for each eigenpair, about
STAGES = 3  # of about equal length: two traces, and the eigenvalues


@dataclass(frozen=True, eq=False, repr=False)
class Escape(Result):
    """Result of `escape`; Σ is the covariance of the stochastic gradient GW, of a batch, not of one sample.

    Attributes
    ----------
    indicator : Estimate
        Tr(HΣ). Units: loss³ / parameter⁴.
    isotropic_indicator : Estimate
        Tr(HΣ̄) = TrH TrΣ / d, of isotropic noise of the same strength.
    alignment : Estimate or None
        â = u₁ᵀΣu₁ TrH / (λ₁ TrΣ). None where λ₁ is not positive: there is no direction to align with. Of the u₁ with the least
        noise where there are many, so that â is at least that along each.
    alignment_range : (Estimate, Estimate) or None
        Of the unit vectors that belong to λ₁, the least and the largest â.
    share_along_first : float
        u₁ᵀΣu₁ / TrΣ, of the noise along the sharpest direction; 1/d if it is isotropic. The least where there are many.
    share_range : (float, float)
        Least and largest share of the noise along a unit vector that belongs to λ₁.
    n_sharpest : int
        How many eigenvalues are λ₁ up to 1e-4 of it, closer than which their vectors are not known; some 50 are looked for. Where
        there is one, both ranges have a single number.
    gradient_norm_squared, trace_covariance : float
        ‖∇L‖² of the data, and TrΣ.
    sample_trace_covariance : float
        Tr of the covariance of the gradient of one sample.
    hessian_eigenvalues : (k,) ndarray
        Largest ones, falling.
    arguments, stream, versions
        What made it; see `gradnoise.simulations.ensemble.Result`. The stream is that of the search for eigenvalues.

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.escape import escape
    >>> from gradnoise.simulations.neural.loss_operators import LossOperators
    >>> from gradnoise.theory.sampling import Minibatch
    >>> inputs, targets = torch.eye(3), torch.tensor([0, 1, 1])
    >>> loss = torch.nn.CrossEntropyLoss(reduction="none")
    >>> operators = LossOperators(torch.nn.Linear(3, 2, bias=False), loss, inputs, targets)
    >>> found = escape(operators, Minibatch(3, 1), torch.Generator().manual_seed(1), n_probes=None)
    >>> found.indicator.value > 0, found.indicator.standard_error  # nothing is drawn
    (True, 0.0)
    """

    indicator: Estimate
    isotropic_indicator: Estimate
    alignment: Estimate | None
    alignment_range: tuple[Estimate, Estimate] | None
    share_along_first: float
    share_range: tuple[float, float]
    n_sharpest: int
    gradient_norm_squared: float
    trace_covariance: float
    sample_trace_covariance: float
    hessian_eigenvalues: FloatArray

    def _found(self) -> dict[str, Any]:
        return {name: _with_interval(value) for name, value in super()._found().items()}

    def _headline(self) -> str:
        here, isotropic = self.indicator, self.isotropic_indicator
        found = (with_error(e.value, e.standard_error) for e in (here, isotropic))
        return "Tr(HΣ) {}, of isotropic noise {}".format(*found)


def escape(
    operators: LossOperators,
    noise: SamplingNoise,
    generator: torch.Generator,
    *,
    n_probes: int | None = 100,
    k: int = 1,
    rng: RNG = 0,
    covariance: NoiseCovariance | None = None,
    report: Callable[[int], None] = lambda done: None,
) -> Escape:
    """Measure indicator, alignment and strength of the noise at the present parameters.

    Parameters
    ----------
    operators : LossOperators
    noise : SamplingNoise
        W, over the operators' samples.
    generator : torch.Generator
        Of the probes; on the operators' device.
    n_probes : int or None
        Hessian products for each trace; None is exact, and takes d for that of H, and for Tr(HΣ) n or d, if that is less.
    k : int
        Leading eigenvalues of H; at most d are found.
    rng : None, int, SeedSequence or Generator
        Of the vector with which the search for eigenvalues starts.
    covariance : NoiseCovariance, optional
        Of operators and noise, where the caller has it.
    report : callable, optional
        Called with 1 after each of `STAGES` parts of the work.

    Returns
    -------
    Escape

    Raises
    ------
    ValueError
        If the noise is over other samples, or there is no noise or no curvature.

    References
    ----------
    zhu2019, Eq. (9), (14) and (16), Figures 5 and 7.

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.escape import escape
    >>> from gradnoise.simulations.neural.loss_operators import LossOperators
    >>> from gradnoise.theory.sampling import Minibatch
    >>> model, inputs = torch.nn.Linear(2, 1, bias=False), torch.diag(torch.tensor([1.0, 2.0]))
    >>> _ = torch.nn.init.zeros_(model.weight)
    >>> loss = lambda outputs, targets: (outputs[:, 0] - targets) ** 2 / 2
    >>> operators = LossOperators(model, loss, inputs, torch.ones(2))
    >>> found = escape(operators, Minibatch(2, 1), torch.Generator(), n_probes=None)
    >>> round(found.indicator.value, 4)  # Tr(HΣ) of H = diag(1/2, 2) and Σ with the diagonal (1/4, 1)
    2.125
    >>> round(found.isotropic_indicator.value, 4)  # TrH TrΣ / d = 5/2 · 5/4 / 2
    1.5625
    """
    d, stream = as_operators(operators).dimension, Stream.of(rng)
    as_generator(generator, operators.device)
    k, n_probes = (
        min(as_count(k, "k"), d),
        None if n_probes is None else as_count(n_probes, "n_probes", at_least=2, at_most=MOST_PROBES),
    )
    as_function(report, "report")
    covariance = (
        NoiseCovariance(operators, noise) if covariance is None else as_instance(covariance, "covariance", NoiseCovariance)
    )
    hessian = operators.hessian_here(None if n_probes is None else 2 * n_probes + _SEARCH * k)
    gradient = covariance.gradient
    trace = covariance.trace()
    if covariance.vanishes:
        raise ValueError(
            f"the noise must not be zero, got gradients that are equal to rounding for all samples (TrΣ = {trace:.2g})"
        )
    along_mean = covariance.of_mean * float(gradient @ hessian(gradient))
    of_samples = trace_hessian_covariance(operators, n_probes, generator, hessian=hessian)
    report(1)
    of_hessian = trace_hessian(operators, n_probes, generator, hessian=hessian)
    report(1)
    values, vectors = leading_on_device(hessian, gradient, k, rng=stream.sequence(), complete=True)
    report(1)
    n_sharpest = n_alike(values) if values[0] > 0 else 1
    along = _noise_along(covariance, vectors[:, :n_sharpest].to(operators.dtype))
    shares = float(along[0]) / trace, float(along[-1]) / trace
    alignments = tuple(_times(of_hessian, share / float(values[0])) for share in shares) if values[0] > 0 else None
    return Escape(
        indicator=of_samples.transformed(covariance.share, along_mean),
        isotropic_indicator=of_hessian.transformed(trace / d),
        alignment=None if alignments is None else alignments[0],
        alignment_range=None if alignments is None else (alignments[0], alignments[1]),
        share_along_first=shares[0],
        share_range=shares,
        n_sharpest=n_sharpest,
        gradient_norm_squared=covariance.gradient_norm_squared,
        trace_covariance=trace,
        sample_trace_covariance=covariance.spread.trace,
        hessian_eigenvalues=values[:k],
        arguments={
            "noise": repr(noise),
            "n": operators.n,
            "dimension": d,
            "n_probes": n_probes,
            "seed_of_probes": generator.initial_seed(),
            "k": k,
            "dtype": str(operators.dtype),
            "device": str(operators.device),
        },
        stream=stream,
        versions={**versions(), "torch": str(torch.__version__)},
    )


def is_positive(estimate: Measured) -> bool:
    """Return whether the 95 % interval of an estimate lies above zero.

    Parameters
    ----------
    estimate : Measured

    Returns
    -------
    bool

    Examples
    --------
    >>> from gradnoise.simulations.neural.escape import is_positive
    >>> from gradnoise.simulations.statistics import Estimate
    >>> is_positive(Estimate(3.0, 1.0, 1_000)), is_positive(Estimate(1.0, 1.0, 1_000))
    (True, False)
    """
    if not callable(getattr(estimate, "interval", None)):
        raise TypeError(f"estimate must have a value and an interval, got {estimate!r}")
    return estimate.interval(0.95)[0] > 0


def _noise_along(covariance: NoiseCovariance, vectors: Tensor) -> FloatArray:
    """Eigenvalues of Σ on the space of some orthonormal columns, ascending: between the ends lies uᵀΣu of its unit vectors."""
    if vectors.shape[1] == 1:
        first = vectors[:, 0]
        return np.array([max(float(first @ covariance.product(first)), 0.0)])
    images = torch.stack([covariance.product(u) for u in vectors.T.contiguous()], dim=1)
    inside = (vectors.T @ images).double().cpu().numpy()
    return np.maximum(np.linalg.eigvalsh((inside + inside.T) / 2), 0.0)


def _times(estimate: Estimate, factor: float) -> Estimate:
    """An estimate times a number that is zero, but for rounding, where no noise is along a direction."""
    return estimate.transformed(factor) if factor > 0 else Estimate(0.0, 0.0, estimate.n)


def _with_interval(value: Any) -> Any:
    """An estimate as JSON has it, and each of a pair."""
    if isinstance(value, tuple):
        return [_with_interval(end) for end in value]
    if not isinstance(value, Estimate | Quotient | TailIndex | NoiseScale):
        return value
    return {"value": value.value, "standard_error": value.standard_error, "interval_95": value.interval(0.95), "n": value.n}
