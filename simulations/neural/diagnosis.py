"""What the theory says of a network where it stands: does its noise escape, in which directions, and how heavy are its tails."""

from __future__ import annotations

import math
import textwrap
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Unpack

import numpy as np
import torch
from torch import Tensor, nn

from gradnoise.simulations.ensemble import Progress, reporter
from gradnoise.simulations.neural.escape import STAGES, Escape, escape, is_positive
from gradnoise.simulations.neural.loss_operators import LossOperators, as_operators
from gradnoise.simulations.neural.noise_covariance import NoiseCovariance, matched_noise
from gradnoise.simulations.neural.noise_scale import NoiseScale, population_gradient
from gradnoise.simulations.neural.precision import autocast_noise
from gradnoise.simulations.neural.sample_losses import Options
from gradnoise.simulations.neural.tails import MOST_DRAWS, excess_kurtosis, random_projections
from gradnoise.simulations.neural.tails import noise_tail_index as _tail_index
from gradnoise.simulations.neural.traces import MOST_PROBES, expected_sharpness
from gradnoise.simulations.neural.words import in_words
from gradnoise.simulations.seeds import RNG, Stream
from gradnoise.simulations.statistics import Estimate, Measured, Quotient, TailIndex, with_error
from gradnoise.theory._validation import FloatArray, as_count
from gradnoise.theory.sampling import Gaussian, SamplingNoise

__all__ = ["Diagnosis", "diagnose", "diagnose_operators"]

_COLUMNS = 80  # of a terminal


@dataclass(frozen=True, eq=False, repr=False)
class Diagnosis(Escape):
    """Result of `diagnose`: that of `gradnoise.simulations.neural.escape.escape`, and more.

    Attributes
    ----------
    indicator, isotropic_indicator, alignment, alignment_range, share_along_first, share_range, n_sharpest, \
    gradient_norm_squared, trace_covariance, sample_trace_covariance, hessian_eigenvalues
        See `gradnoise.simulations.neural.escape.Escape`.
    ratio : Quotient or None
        Tr(HΣ) over Tr(HΣ̄): above one, the noise escapes faster than isotropic noise. None where either is not seen to be
        positive, as it then means nothing.
    population_gradient_norm_squared : Estimate
        ‖∇L‖² of the population that the data are taken from, unbiased if the network has not been fitted to these data.
    noise_scale : NoiseScale
        TrΣ/‖∇L‖² in the population, Σ of one sample: McCandlish's B_simple. For data that the network has been fitted to it is
        too large: their mean gradient is small because the fit made it so.
    parameter_traces : dict of str to float
        Tr of the covariance of the gradient of one sample, of each parameter.
    autocast_noise : float or None
        Mean squared error of the samples' gradients by the autocast, relative to the trace of their covariance; NaN if that is
        zero, None without.
    covariance_eigenvalues : (k,) ndarray
        Largest ones of Σ, falling.
    sharpness : Estimate
        E L(θ + ν) − L(θ).
    kurtosis : Estimate
        Excess kurtosis of the noise along random directions, their mean; zero if Gaussian, infinite if the weights have no
        fourth moment.
    tail_index, gaussian_tail_index : TailIndex
        α of the stable law that the noise along random directions looks like, and of Gaussian noise. The variance is finite
        whatever α is: below 2 it tells how large sums of √n_draws draws are beside one, not that a moment is infinite.
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

    ratio: Quotient | None
    population_gradient_norm_squared: Estimate
    noise_scale: NoiseScale
    parameter_traces: dict[str, float]
    autocast_noise: float | None
    covariance_eigenvalues: FloatArray
    sharpness: Estimate
    kurtosis: Estimate
    tail_index: TailIndex
    gaussian_tail_index: TailIndex

    @property
    def dimension(self) -> int:
        """Number of parameters."""
        return int(self.arguments["dimension"])

    @property
    def excess_kurtosis(self) -> float:
        """Value of `kurtosis`."""
        return self.kurtosis.value

    @property
    def words(self) -> list[str]:
        """What it says, in sentences on strength, alignment, escape and tails of the noise."""
        return in_words(self)

    def _found(self) -> dict[str, Any]:
        return {**super()._found(), "words": self.words}

    def _headline(self) -> str:
        times = "" if self.ratio is None else f", {_shown(self.ratio)} times that of isotropic noise"
        return f"Tr(HΣ) {_shown(self.indicator)}{times}"

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
            ("â = u₁ᵀΣu₁ TrH / (λ₁ TrΣ)", self.alignment if self.n_sharpest == 1 else self.alignment_range),
            ("largest eigenvalue of H", self.hessian_eigenvalues[0]),
            ("largest eigenvalue of Σ", self.covariance_eigenvalues[0]),
            ("TrΣ", self.trace_covariance),
            ("TrΣ of one sample", self.sample_trace_covariance),
            ("‖∇L‖² of the data", self.gradient_norm_squared),
            ("‖∇L‖² of their population", self.population_gradient_norm_squared),
            ("noise scale of the population", self.noise_scale),
            ("expected sharpness", self.sharpness),
            ("excess kurtosis of the noise", self.kurtosis),
            ("tail index", self.tail_index),
            ("tail index, Gaussian control", self.gaussian_tail_index),
            *([("error by autocast, of TrΣ", self.autocast_noise)] if self.autocast_noise is not None else []),
        )
        width = max(_width(name) for name, _ in rows)
        table = [f"{name}{' ' * (width - _width(name))}  {_shown(value)}" for name, value in rows]
        meaning = (
            f"Σ is the covariance of the gradient by {self.arguments['noise']}; ± is one standard error, and ranges are "
            f"intervals of 95 %."
        )
        return "\n".join([*table, "", *(textwrap.fill(line, _COLUMNS) for line in (meaning, *self.words))])


def diagnose(
    model: nn.Module,
    loss: Callable[[Any, Any], Tensor] | None,
    data: Any,
    batch_size: int | SamplingNoise,
    *,
    rng: RNG,
    n_probes: int = 100,
    n_eigenvalues: int = 10,
    n_directions: int = 30,
    n_draws: int = 10_000,
    chunk_size: int | None = None,
    progress: Progress = None,
    **options: Unpack[Options],
) -> Diagnosis:
    """Measure a network's noise and curvature at its present parameters.

    Parameters
    ----------
    model : torch.nn.Module
        See `gradnoise.simulations.neural.loss_operators.LossOperators`.
    loss : callable or None
        A loss for each sample; None with a ``closure``.
    data : (Tensor, Tensor), DataLoader or iterable of batches
        Inputs and targets, or batches of them; see `gradnoise.simulations.neural.batches.as_batches`.
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
        Samples taken at once; see `gradnoise.simulations.neural.loss_operators.LossOperators`.
    progress : bool or callable, optional
        See `gradnoise.simulations.ensemble.run`; counts stages.
    **options
        ``closure``, ``sample_dim``, ``token_reduction``, ``mask``, ``parameters`` (for a layer, or a group) and ``autocast`` of
        `gradnoise.simulations.neural.loss_operators.LossOperators`.

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
    >>> round(found.excess_kurtosis, 3)  # of noise that takes three values, each with probability 1/3
    -1.5
    """
    operators = LossOperators(model, loss, data, chunk_size=chunk_size, **options)
    return diagnose_operators(
        operators,
        batch_size,
        rng=rng,
        n_probes=n_probes,
        n_eigenvalues=n_eigenvalues,
        n_directions=n_directions,
        n_draws=n_draws,
        progress=progress,
    )


def diagnose_operators(
    operators: LossOperators,
    batch_size: int | SamplingNoise,
    *,
    rng: RNG,
    n_probes: int = 100,
    n_eigenvalues: int = 10,
    n_directions: int = 30,
    n_draws: int = 10_000,
    progress: Progress = None,
) -> Diagnosis:
    """`diagnose` a network whose operators one has.

    Parameters
    ----------
    operators : LossOperators
    batch_size : int or SamplingNoise
    rng : None, int, SeedSequence or Generator
    n_probes, n_eigenvalues, n_directions, n_draws : int
    progress : bool or callable, optional
        See `diagnose`.

    Returns
    -------
    Diagnosis

    Raises
    ------
    ValueError, TypeError
        As of `diagnose`.

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.diagnosis import diagnose_operators
    >>> from gradnoise.simulations.neural.loss_operators import LossOperators
    >>> model, inputs = torch.nn.Linear(3, 1, bias=False), torch.diag(torch.tensor([1.0, 2.0, 3.0]))
    >>> loss = lambda outputs, targets: (outputs[:, 0] - targets) ** 2 / 2
    >>> operators = LossOperators(model, loss, inputs, torch.ones(3))
    >>> found = diagnose_operators(operators, 1, rng=1, n_probes=20, n_draws=1_000)
    >>> float(found.hessian_eigenvalues[0].round(3))  # of H = diag(1, 4, 9) / 3
    3.0
    """
    n = as_operators(operators).n
    noise = matched_noise(batch_size, n, "batch_size")
    stream = Stream.of(rng)
    generator = torch.Generator(operators.device).manual_seed(stream.seed())
    k = as_count(n_eigenvalues, "n_eigenvalues")
    as_count(n_probes, "n_probes", at_least=2, at_most=MOST_PROBES)
    as_count(n_draws, "n_draws", at_least=4, at_most=MOST_DRAWS)
    with reporter(progress, STAGES + 4, "diagnose", "stages") as report:
        # The tails first: they refuse a noise that is none or that cannot be drawn, before the long work.
        directions = torch.Generator(operators.device).manual_seed(stream.child(2).seed())
        values = random_projections(operators, n_directions, directions)
        rounding = torch.finfo(operators.dtype).eps
        kurtosis = excess_kurtosis(noise, values, rounding=rounding)
        tails = _tail_index(noise, values, n_draws, stream.child(3), rounding=rounding)
        control = _tail_index(Gaussian(n, 1, centered=False), values, n_draws, stream.child(4))
        report(1)
        covariance = NoiseCovariance(operators, noise)
        found = escape(
            operators, noise, generator, n_probes=n_probes, k=k, rng=stream.child(1).sequence(), covariance=covariance,
            report=report,
        )  # fmt: skip
        most = min(max(n - 1, 1), operators.dimension)  # rank of Σ, where the weights sum to a constant
        covariance_values, _ = covariance.leading(min(k, most))
        report(1)
        sharpness = expected_sharpness(operators, generator, n_probes=n_probes)
        report(1)
        spread = covariance.spread
        population = population_gradient(operators, spread)
        report(1)
    made_by = {
        "noise": repr(noise), "n": n, "dimension": operators.dimension, "n_probes": n_probes, "n_eigenvalues": k,
        "n_directions": n_directions, "n_draws": n_draws, "dtype": str(operators.dtype), "device": str(operators.device),
    }  # fmt: skip
    positive = is_positive(found.indicator) and is_positive(found.isotropic_indicator)
    return Diagnosis(
        **vars(found) | {"arguments": made_by, "stream": stream},
        ratio=Quotient(found.indicator, found.isotropic_indicator) if positive else None,
        population_gradient_norm_squared=population.gradient_norm_squared,
        noise_scale=population.noise_scale,
        parameter_traces=spread.traces,
        autocast_noise=None if operators.autocast is None else autocast_noise(operators) / (spread.trace or math.nan),
        covariance_eigenvalues=covariance_values.double().cpu().numpy(),
        sharpness=sharpness,
        kurtosis=kurtosis,
        tail_index=tails,
        gaussian_tail_index=control,
    )


def _width(text: str) -> int:
    """Columns in a terminal, where a bar over a letter has none of its own."""
    return sum(not unicodedata.combining(letter) for letter in text)


def _shown(value: Measured | float | tuple[Measured, Measured] | None) -> str:
    if isinstance(value, tuple):
        return " to ".join(map(_shown, value))
    if value is None or (isinstance(value, NoiseScale) and math.isinf(value.interval()[0])):
        return "means nothing here"
    if isinstance(value, NoiseScale):
        return str(value)
    return f"{value:.4g}" if isinstance(value, float | int) else with_error(value.value, value.standard_error)
