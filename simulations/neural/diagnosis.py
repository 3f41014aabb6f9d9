"""What the theory says of a network where it stands: does its noise escape, in which directions, and how heavy are its tails."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gradnoise.simulations.ensemble import Progress, reporter
from gradnoise.simulations.neural.escape import STAGES, Escape, escape
from gradnoise.simulations.neural.loss_operators import LossOperators
from gradnoise.simulations.neural.noise_covariance import NoiseCovariance, matched_noise
from gradnoise.simulations.neural.tails import excess_kurtosis, random_projections
from gradnoise.simulations.neural.tails import noise_tail_index as _tail_index
from gradnoise.simulations.neural.traces import expected_sharpness
from gradnoise.simulations.seeds import RNG, Stream
from gradnoise.simulations.statistics import Estimate, TailIndex, with_error
from gradnoise.theory._validation import FloatArray, as_count
from gradnoise.theory.sampling import Gaussian, SamplingNoise

__all__ = ["Diagnosis", "diagnose"]


@dataclass(frozen=True, eq=False, repr=False)
class Diagnosis(Escape):
    """Result of `diagnose`: that of `gradnoise.simulations.neural.escape.escape`, and more.

    Attributes
    ----------
    indicator, isotropic_indicator, alignment, gradient_norm_squared, trace_covariance, hessian_eigenvalues
        See `gradnoise.simulations.neural.escape.Escape`.
    ratio : Estimate
        Tr(HΣ) over Tr(HΣ̄): above one, the noise escapes faster than isotropic noise.
    covariance_eigenvalues : (k,) ndarray
        Largest ones of Σ, falling.
    sharpness : Estimate
        E L(θ + ν) − L(θ).
    excess_kurtosis : Estimate
        Of the noise along random directions, their mean; zero if Gaussian, infinite if the weights have no fourth moment.
    tail_index, gaussian_tail_index : TailIndex
        α of the stable law that the noise along random directions looks like, and of Gaussian noise. Finite data have all
        moments: α below 2 tells how large sums of √n_draws draws are beside one, not that a moment is infinite.
    arguments, stream, versions
        What made it; see `gradnoise.simulations.ensemble.Result`.

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.diagnosis import diagnose
    >>> inputs, targets = torch.eye(3), torch.tensor([0, 1, 1])
    >>> model, loss = torch.nn.Linear(3, 2, bias=False), torch.nn.CrossEntropyLoss(reduction="none")
    >>> found = diagnose(model, loss, (inputs, targets), 1, rng=1, n_probes=20, n_draws=1_000)
    >>> len(found.hessian_eigenvalues), len(found.covariance_eigenvalues), found.ratio.value > 0  # at most d and n - 1
    (6, 2, True)
    """

    ratio: Estimate
    covariance_eigenvalues: FloatArray
    sharpness: Estimate
    excess_kurtosis: Estimate
    tail_index: TailIndex
    gaussian_tail_index: TailIndex

    def _headline(self) -> str:
        here, ratio = self.indicator, self.ratio
        shown = with_error(here.value, here.standard_error), with_error(ratio.value, ratio.standard_error)
        return "Tr(HΣ) {}, {} times that of isotropic noise".format(*shown)

    def plot(self, ax: Any = None) -> Any:
        """Draw the spectra of Hessian and gradient noise, each against its largest eigenvalue, which the legend tells.

        Parameters
        ----------
        ax : matplotlib Axes, optional

        Returns
        -------
        matplotlib Axes
        """
        ax = self._axes(ax)
        spectra = (
            ("Hessian $H$", self.hessian_eigenvalues, "loss/parameter²", "o", "#0072B2"),
            ("noise $\\Sigma$", self.covariance_eigenvalues, "(loss/parameter)²", "s", "#D55E00"),
        )
        for name, values, unit, marker, color in spectra:
            label = f"{name}: $\\lambda_1$ = {values[0]:.3g} {unit}"
            ax.plot(np.arange(1, len(values) + 1), values / values[0], marker=marker, color=color, markersize=5, label=label)
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.set(xlabel="index $k$", ylabel=r"eigenvalue $\lambda_k / \lambda_1$")
        ax.axhline(0, color="black", linewidth=0.8)
        ax.legend()
        return ax

    def __str__(self) -> str:
        rows = (
            ("Tr(HΣ)", self.indicator),
            ("Tr(HΣ̄), isotropic", self.isotropic_indicator),
            ("ratio", self.ratio),
            ("â = u₁ᵀΣu₁ TrH / (λ₁ TrΣ)", self.alignment),
            ("largest eigenvalue of H", self.hessian_eigenvalues[0]),
            ("largest eigenvalue of Σ", self.covariance_eigenvalues[0]),
            ("‖∇L‖²", self.gradient_norm_squared),
            ("TrΣ", self.trace_covariance),
            ("expected sharpness", self.sharpness),
            ("excess kurtosis of the noise", self.excess_kurtosis),
            ("tail index", self.tail_index),
            ("tail index, Gaussian control", self.gaussian_tail_index),
        )
        width = max(len(name) for name, _ in rows)
        return "\n".join(f"{name:<{width}}  {_shown(value)}" for name, value in rows)


def diagnose(
    model: nn.Module,
    loss: Callable[[Tensor, Tensor], Tensor],
    data: tuple[Tensor, Tensor],
    batch_size: int | SamplingNoise,
    *,
    rng: RNG,
    n_probes: int = 100,
    n_eigenvalues: int = 10,
    n_directions: int = 30,
    n_draws: int = 10_000,
    chunk_size: int | None = None,
    progress: Progress = None,
) -> Diagnosis:
    """Measure a network's noise and curvature at its present parameters.

    Parameters
    ----------
    model : torch.nn.Module
        See `gradnoise.simulations.neural.loss_operators.LossOperators`.
    loss : callable
        A loss for each sample.
    data : (Tensor, Tensor)
        Inputs and targets.
    batch_size : int or SamplingNoise
        b of SGD with replacement, or any noise over the samples.
    rng : None, int, SeedSequence or Generator
        See `gradnoise.simulations.seeds.Stream.of`.
    n_probes : int
        Hessian products for each trace, and pairs of points for the sharpness.
    n_eigenvalues : int
        Of H and of Σ.
    n_directions, n_draws : int
        Random directions along which the noise is looked at, and draws of the noise along each; the errors of kurtosis and
        tail index are those of a mean over so many directions.
    chunk_size : int, optional
        Samples taken at once; all by default.
    progress : bool or callable, optional
        See `gradnoise.simulations.ensemble.run`; counts stages.

    Returns
    -------
    Diagnosis

    Raises
    ------
    ValueError, TypeError
        If an argument is not allowed; see `LossOperators` for networks without per-sample losses.

    References
    ----------
    zhu2019, Sections 3 and 5.3.

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.diagnosis import diagnose
    >>> model, inputs = torch.nn.Linear(3, 1, bias=False), torch.diag(torch.tensor([1.0, 2.0, 3.0]))
    >>> _ = torch.nn.init.zeros_(model.weight)
    >>> loss = lambda outputs, targets: (outputs[:, 0] - targets) ** 2 / 2
    >>> found = diagnose(model, loss, (inputs, torch.ones(3)), 1, rng=1, n_probes=20, n_draws=1_000)
    >>> found.hessian_eigenvalues.round(3)  # of H = diag(1, 4, 9) / 3
    array([3.   , 1.333, 0.333])
    >>> round(found.excess_kurtosis.value, 3)  # of noise that takes three values, each with probability 1/3
    -1.5
    """
    operators = LossOperators(model, loss, *data, chunk_size=chunk_size)
    n = operators.n
    noise = matched_noise(batch_size, n, "batch_size")
    stream = Stream.of(rng)
    generator = torch.Generator(operators.device).manual_seed(stream.seed())
    k = as_count(n_eigenvalues, "n_eigenvalues")
    as_count(n_probes, "n_probes", at_least=2)
    as_count(n_draws, "n_draws", at_least=4)
    with reporter(progress, STAGES + 3, "diagnose", "stages") as report:
        # The tails first: they refuse a noise that is none or that cannot be drawn, before the long work.
        directions = torch.Generator(operators.device).manual_seed(stream.child(2).seed())
        values = random_projections(operators, n_directions, directions)
        rounding = torch.finfo(operators.dtype).eps
        kurtosis = excess_kurtosis(noise, values, rounding=rounding)
        tails = _tail_index(noise, values, n_draws, stream.child(3), rounding=rounding)
        control = _tail_index(Gaussian(n, 1, centered=False), values, n_draws, stream.child(4))
        report(1)
        found = escape(operators, noise, generator, n_probes=n_probes, k=k, rng=stream.child(1).sequence(), report=report)
        most = min(n - 1, operators.dimension)  # rank of Σ, where the weights sum to a constant
        covariance_values, _ = NoiseCovariance(operators, noise).leading(min(k, most))
        report(1)
        sharpness = expected_sharpness(operators, generator, n_probes=n_probes)
        report(1)
    made_by = {
        "noise": repr(noise), "n": n, "dimension": operators.dimension, "n_probes": n_probes, "n_eigenvalues": k,
        "n_directions": n_directions, "n_draws": n_draws, "dtype": str(operators.dtype), "device": str(operators.device),
    }  # fmt: skip
    return Diagnosis(
        **vars(found) | {"arguments": made_by, "stream": stream},
        ratio=_quotient(found.indicator, found.isotropic_indicator),
        covariance_eigenvalues=covariance_values.double().cpu().numpy(),
        sharpness=sharpness,
        excess_kurtosis=kurtosis,
        tail_index=tails,
        gaussian_tail_index=control,
    )


def _quotient(first: Estimate, second: Estimate) -> Estimate:
    """Quotient of independent estimates, by the delta method."""
    value = first.value / second.value
    relative = math.hypot(first.standard_error / first.value, second.standard_error / second.value)
    return Estimate(value, abs(value) * relative, min(first.n, second.n))


def _shown(value: Estimate | TailIndex | float) -> str:
    estimated = isinstance(value, (Estimate, TailIndex))
    return with_error(value.value, value.standard_error) if estimated else f"{value:.4g}"
