"""Gradient norm and noise scale of the population that the data are drawn from, without the bias of their number."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from gradnoise.simulations.neural.gradient_spread import GradientSpread, gradient_spread
from gradnoise.simulations.neural.loss_operators import LossOperators, as_operators
from gradnoise.simulations.statistics import Estimate, Quotient, with_error
from gradnoise.theory._validation import as_instance

__all__ = ["NoiseScale", "PopulationGradient", "population_gradient"]


@dataclass(frozen=True)
class NoiseScale:
    """Tr Σ / ‖∇L‖², the batch size at which noise and gradient are of one strength.

    Attributes
    ----------
    inverse : Quotient
        ‖∇L‖² / Tr Σ, as it was found: its denominator is well known, its numerator may be zero.

    References
    ----------
    S. McCandlish, J. Kaplan, D. Amodei et al., An empirical model of large-batch training (2018), arXiv:1812.06162, Eq. (2.9).

    Examples
    --------
    >>> from gradnoise.simulations.neural.noise_scale import NoiseScale
    >>> from gradnoise.simulations.statistics import Estimate, Quotient
    >>> found = NoiseScale(Quotient(Estimate(1.0, 0.6, 1_000, 0.0), Estimate(100.0, 1.0, 1_000, 0.0)))
    >>> found.value, [round(end, 1) for end in found.interval(0.95)]  # the gradient may be zero
    (100.0, [45.9, inf])
    >>> found.valid(0.95), found.resized(10_000).interval(0.95)[1] < 1_000  # ten times as many samples would tell
    (True, True)
    """

    inverse: Quotient

    def __post_init__(self) -> None:
        as_instance(self.inverse, "inverse", Quotient)

    def __str__(self) -> str:
        low, high = self.interval()
        return f"{self.value:.3g}, {low:.3g} to {high:.3g} (95 %)"

    @property
    def value(self) -> float:
        """B_simple; infinite where the data show no gradient."""
        return 1 / self.inverse.value if self.inverse.value > 0 else math.inf

    @property
    def standard_error(self) -> float:
        """By the delta method; infinite where the data show no gradient."""
        return self.inverse.standard_error * self.value**2 if math.isfinite(self.value) else math.inf

    @property
    def n(self) -> int:
        """Samples."""
        return self.inverse.n

    def resized(self, n: int) -> NoiseScale:
        """What n samples would be expected to give."""
        return NoiseScale(self.inverse.resized(n))

    def valid(self, level: float) -> bool:
        """Whether `interval` keeps its level."""
        return self.inverse.valid(level)

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Confidence interval, whose upper end is infinite where the gradient may be zero."""
        inverse = self.inverse
        low, high = inverse.interval(level)
        if math.isinf(low):  # as Tr Σ may be zero; then it is well known beside the gradient, unless that may be zero, too
            low, high = Quotient(inverse.denominator, inverse.numerator, inverse.covariance).interval(level)
            return max(low, 0.0), high
        low, high = max(low, 0.0), max(high, 0.0)
        return (1 / high if high else math.inf), (1 / low if low else math.inf)


@dataclass(frozen=True)
class PopulationGradient:
    """What n samples tell of the population that they were drawn from.

    Attributes
    ----------
    gradient_norm_squared : Estimate
        ‖∇L‖², unbiased, so that it may come out negative.
    trace_covariance : Estimate
        Tr Σ of the gradient of one sample, unbiased.
    noise_scale : NoiseScale
        Their quotient.

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.loss_operators import LossOperators
    >>> from gradnoise.simulations.neural.noise_scale import population_gradient
    >>> _ = torch.manual_seed(1)
    >>> model, inputs, targets = torch.nn.Linear(5, 3), torch.randn(50, 5), torch.randint(3, (50,))
    >>> found = population_gradient(LossOperators(model, torch.nn.CrossEntropyLoss(reduction="none"), inputs, targets))
    >>> found.noise_scale.interval()[0] < found.noise_scale.value
    True
    """

    gradient_norm_squared: Estimate
    trace_covariance: Estimate
    noise_scale: NoiseScale

    def __str__(self) -> str:
        rows = (
            ("‖∇L‖²", self.gradient_norm_squared),
            ("Tr Σ of one sample", self.trace_covariance),
        )
        shown = [f"{name} {with_error(e.value, e.standard_error)}" for name, e in rows]
        return ", ".join([*shown, f"noise scale {self.noise_scale}"])


def population_gradient(operators: LossOperators, spread: GradientSpread | None = None) -> PopulationGradient:
    r"""Estimate gradient norm and noise scale of the population of which the data are independent samples.

    That is, of data that the network has not been fitted to: a fit makes their mean gradient small, and the estimates then mean
    nothing.

    The squared norm of their mean gradient, :math:`\|\bar g\|^2`, is too large by Tr Σ/n in expectation. Products of gradients of
    different samples have no such bias,

    .. math:: U = \frac{1}{n (n - 1)} \sum_{i \ne j} g_i \cdot g_j = \frac{1}{n} \sum_i h_i,
        \qquad h_i = \frac{n g_i \cdot \bar g - \|g_i\|^2}{n - 1},

    and Tr Σ is the mean of :math:`\|g_i\|^2` less U. Errors are by the jackknife, which for U is :math:`4 \mathrm{Var}(h) / n`;
    near a stationary point that is more than U's variance, up to twice as much.

    Parameters
    ----------
    operators : LossOperators
        Of two samples or more.
    spread : GradientSpread, optional
        Of the operators, where the caller has it.

    Returns
    -------
    PopulationGradient

    Raises
    ------
    ValueError
        If there is one sample only.

    References
    ----------
    W. Hoeffding, Ann. Math. Stat. 19 (1948) 293, for U.

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.loss_operators import LossOperators
    >>> from gradnoise.simulations.neural.noise_scale import population_gradient
    >>> model, inputs = torch.nn.Linear(2, 1, bias=False), torch.diag(torch.tensor([1.0, 2.0]))
    >>> _ = torch.nn.init.zeros_(model.weight)
    >>> loss = lambda outputs, targets: (outputs[:, 0] - targets) ** 2 / 2
    >>> found = population_gradient(LossOperators(model, loss, inputs, torch.ones(2)))
    >>> found.gradient_norm_squared.value, found.trace_covariance.value  # gradients (-1, 0) and (0, -2): no product, 5/2
    (0.0, 2.5)
    """
    n = as_operators(operators).n
    if n < 2:
        raise ValueError("operators must be of two samples or more, got one")
    spread = gradient_spread(operators) if spread is None else as_instance(spread, "spread", GradientSpread)
    norms = spread.squares.cpu().numpy()
    along = operators.transposed_product(operators.gradient()).double().cpu().numpy()
    others = (n * along - norms) / (n - 1)
    gradient, norm = Estimate.of(others), Estimate.of(norms)
    # Each sample is in the products of all others: twice its share.
    error, both = 2 * gradient.standard_error, 2 * float(np.cov(others, norms)[0, 1]) / n
    gradient = Estimate(gradient.value, error, n, gradient.skewness)
    of_trace = math.sqrt(max(norm.standard_error**2 + error**2 - 2 * both, 0.0))
    trace = Estimate(norm.value - gradient.value, of_trace, n, norm.skewness)
    most = error * of_trace  # rounding may leave more, where one of the two is nothing but that
    covariance = min(max(both - error**2, -most), most)
    if spread.vanishes:  # a difference that is made of rounding, whose sign would decide between a scale of zero and infinity
        trace, covariance = Estimate(0.0, max(of_trace, spread.rounding), n), 0.0
    return PopulationGradient(gradient, trace, NoiseScale(Quotient(gradient, trace, covariance)))
