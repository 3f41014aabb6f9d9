"""Traces of products of Hessian and gradient covariance, estimated with random probes.

Σ is the covariance of one sample's gradient; that of a minibatch of b is Σ/b. With A = G(I − J/n)/√n, Σ = AAᵀ, so that
Tr(HΣ) = Tr(AᵀHA), of a symmetric operator on Rⁿ: probes live in the space of the samples, which is the smaller one.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from gradnoise.simulations.neural.devices import as_generator
from gradnoise.simulations.neural.exchangeable_trace import MOST_PROBES, check_finite, exchangeable_trace, random_probes
from gradnoise.simulations.neural.gradient_spread import gradient_spread
from gradnoise.simulations.neural.krylov import image_of
from gradnoise.simulations.neural.loss_operators import LossOperators, as_operators
from gradnoise.simulations.statistics import Estimate
from gradnoise.theory._validation import as_count, as_function, as_real

__all__ = ["MOST_PROBES", "expected_sharpness", "trace_covariance", "trace_hessian", "trace_hessian_covariance"]

_NORMAL = 100  # above all normal numbers that are drawn
_XTRACE = 4  # products, of which two span a subspace


def trace_covariance(operators: LossOperators) -> float:
    """Tr Σ, exact: the mean squared norm of the samples' gradients less the squared norm of their mean.

    `gradient_spread` tells whether it is zero to rounding.

    Parameters
    ----------
    operators : LossOperators

    Returns
    -------
    float
        Units: loss² / parameter².

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.loss_operators import LossOperators
    >>> from gradnoise.simulations.neural.traces import trace_covariance
    >>> model, inputs = torch.nn.Linear(2, 1, bias=False), torch.diag(torch.tensor([1.0, 2.0]))
    >>> _ = torch.nn.init.zeros_(model.weight)
    >>> loss = lambda outputs, targets: (outputs[:, 0] - targets) ** 2 / 2
    >>> operators = LossOperators(model, loss, inputs, torch.ones(2))
    >>> trace_covariance(operators)  # of (-1, 0) and (0, -2), the gradients of the samples
    1.25
    """
    return gradient_spread(operators).trace


def trace_hessian(
    operators: LossOperators,
    n_probes: int | None,
    generator: torch.Generator,
    *,
    hessian: Callable[[Tensor], Tensor] | None = None,
) -> Estimate:
    """Tr H, by XTrace; see `gradnoise.simulations.neural.exchangeable_trace`.

    Parameters
    ----------
    operators : LossOperators
    n_probes : int or None
        Products with H, >= 2. Four or more are shared between finding what leads and estimating the rest; two or three are
        random vectors z, and Tr H = E[zᵀHz], with intervals that may be too short. None, and d or more, take the d axes, which
        is exact.
    generator : torch.Generator
        Is used up; on the operators' device.
    hessian : callable, optional
        `LossOperators.hessian_here`, where the caller has it.

    Returns
    -------
    Estimate
        Units: loss / parameter². With a standard error of zero where it is exact.

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.loss_operators import LossOperators
    >>> from gradnoise.simulations.neural.traces import trace_hessian
    >>> model, inputs = torch.nn.Linear(2, 1, bias=False), torch.diag(torch.tensor([1.0, 2.0]))
    >>> _ = torch.nn.init.zeros_(model.weight)
    >>> loss = lambda outputs, targets: (outputs[:, 0] - targets) ** 2 / 2
    >>> operators = LossOperators(model, loss, inputs, torch.ones(2))
    >>> trace_hessian(operators, None, torch.Generator()).value  # of H = diag(1/2, 2)
    2.5
    """
    as_generator(generator, as_operators(operators).device)
    product = _product(operators, hessian)
    few, like = _few(n_probes, operators.dimension), operators.parameters
    return _exact(lambda z: z @ product(z), like) if few is None else _estimated(product, like, few, generator)


def trace_hessian_covariance(
    operators: LossOperators,
    n_probes: int | None,
    generator: torch.Generator,
    *,
    hessian: Callable[[Tensor], Tensor] | None = None,
) -> Estimate:
    """Tr(HΣ), the indicator of escape.

    Parameters
    ----------
    operators : LossOperators
    n_probes : int or None
        Products with H, >= 2. Four or more are shared between finding what leads and estimating the rest; two or three are
        random vectors, with intervals that may be too short. None, and as many as there are samples or parameters, take these
        one by one, which is exact.
    generator : torch.Generator
        Is used up; on the operators' device.
    hessian : callable, optional
        `LossOperators.hessian_here`, where the caller has it.

    Returns
    -------
    Estimate
        Units: loss³ / parameter⁴.

    References
    ----------
    zhu2019, Eq. (9) and what follows.

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.loss_operators import LossOperators
    >>> from gradnoise.simulations.neural.traces import trace_hessian_covariance
    >>> model, inputs = torch.nn.Linear(2, 1, bias=False), torch.diag(torch.tensor([1.0, 2.0]))
    >>> _ = torch.nn.init.zeros_(model.weight)
    >>> loss = lambda outputs, targets: (outputs[:, 0] - targets) ** 2 / 2
    >>> operators = LossOperators(model, loss, inputs, torch.ones(2))
    >>> found = trace_hessian_covariance(operators, None, torch.Generator())
    >>> round(found.value, 4)  # of H = diag(1/2, 2) and Σ with the diagonal (1/4, 1)
    2.125
    """
    as_generator(generator, as_operators(operators).device)
    product = _product(operators, hessian)

    def root(z: Tensor) -> Tensor:
        return operators.matrix_product((z - z.mean()) / math.sqrt(operators.n))

    def in_samples(z: Tensor) -> Tensor:
        image = product(root(z))
        check_finite(image)
        slopes = operators.transposed_product(image)
        return (slopes - slopes.mean()) / math.sqrt(operators.n)

    def quadratic(z: Tensor) -> Tensor:
        along = root(z)
        return along @ product(along)

    samples, theta = operators.losses_like(0.0), operators.parameters
    few = _few(n_probes, min(len(samples), len(theta)))
    if few is not None:
        return _estimated(in_samples, samples, few, generator)
    if len(theta) < len(samples):
        return _exact(lambda u: product(u) @ operators.covariance_product(u), theta)
    return _exact(quadratic, samples)


def expected_sharpness(
    operators: LossOperators, generator: torch.Generator, *, radius: float = 0.01, n_probes: int = 1_000
) -> Estimate:
    r"""Estimate :math:`E[L(\theta + \nu)] - L(\theta)`, ν normal with standard deviation `radius` in each parameter.

    Every ν is used with both signs, which removes the part of first order.

    Parameters
    ----------
    operators : LossOperators
    generator : torch.Generator
        Is used up; on the operators' device.
    radius : float
        > 0. Units: parameter.
    n_probes : int
        Pairs of ν and −ν, >= 2.

    Returns
    -------
    Estimate
        Units: loss.

    References
    ----------
    zhu2019, Eq. (88).

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.loss_operators import LossOperators
    >>> from gradnoise.simulations.neural.traces import expected_sharpness
    >>> model, inputs = torch.nn.Linear(2, 1, bias=False), torch.diag(torch.tensor([1.0, 2.0]))
    >>> _ = torch.nn.init.zeros_(model.weight)
    >>> loss = lambda outputs, targets: (outputs[:, 0] - targets) ** 2 / 2
    >>> operators = LossOperators(model, loss, inputs, torch.ones(2))
    >>> found = expected_sharpness(operators, torch.Generator().manual_seed(1), radius=0.1, n_probes=200)
    >>> abs(found.value - 0.1**2 * 2.5 / 2) < 5 * found.standard_error  # radius² TrH / 2, the loss being quadratic
    True
    """
    as_generator(generator, as_operators(operators).device)
    n_probes = as_count(n_probes, "n_probes", at_least=2, at_most=MOST_PROBES)
    spread = as_real(radius, "radius", above=0, at_most=torch.finfo(operators.dtype).max / _NORMAL)
    theta, here, found = operators.parameters, operators.losses().mean(), []
    for _ in range(n_probes):
        nu = spread * torch.randn(theta.shape, generator=generator, device=theta.device, dtype=theta.dtype)
        around = [operators.losses(theta + sign * nu).mean() for sign in (1, -1)]
        found.append((around[0] + around[1]) / 2 - here)
    gains = torch.stack(found).double().cpu().numpy()
    if not np.isfinite(gains).all():
        raise ValueError(f"radius must be one within which the losses are finite, got {radius!r}")
    return Estimate.of(gains)


def _product(operators: LossOperators, hessian: Callable[[Tensor], Tensor] | None) -> Callable[[Tensor], Tensor]:
    """H where the network stands, or the one that a caller has."""
    if hessian is None:
        return operators.hessian_here()
    given = as_function(hessian, "hessian")
    return lambda u: image_of(given, u, "hessian")


def _estimated(product: Callable[[Tensor], Tensor], like: Tensor, n_probes: int, generator: torch.Generator) -> Estimate:
    """Trace of a symmetric operator from so many products."""
    if n_probes >= _XTRACE:
        return exchangeable_trace(product, like, n_probes, generator)
    found = torch.stack([z @ product(z).detach() for z in random_probes(like, n_probes, generator)]).double().cpu().numpy()
    check_finite(found)
    return Estimate.of(found)


def _exact(quadratic: Callable[[Tensor], Tensor], like: Tensor) -> Estimate:
    """Sum of a quadratic form over the axes, one at a time: all together are a matrix."""
    values = []
    for i in range(len(like)):
        axis = torch.zeros_like(like)
        axis[i] = 1
        values.append(quadratic(axis))
    found = torch.stack(values).double().cpu().numpy()
    check_finite(found)
    return Estimate(math.fsum(found), 0.0, len(like))


def _few(n_probes: int | None, size: int) -> int | None:
    """Return a number of probes; None where the axes are no more."""
    if n_probes is None or as_count(n_probes, "n_probes", at_least=2, at_most=MOST_PROBES) >= size:
        return None
    return n_probes
