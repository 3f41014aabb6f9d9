"""Stochastic gradients of every dynamics, behind one method: `backward` adds one to the parameters' ``.grad``.

Any optimizer of torch then makes the step: plain, with momentum, or adaptive.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch

from gradnoise.simulations.neural.additive_noise import ADDITIVE, AdditiveNoise
from gradnoise.simulations.neural.batch_weights import weighted_batch
from gradnoise.simulations.neural.devices import as_generator, set_state
from gradnoise.simulations.neural.loss_operators import LossOperators, as_operators
from gradnoise.simulations.neural.weights import COUNTABLE
from gradnoise.theory._validation import as_choice, as_count
from gradnoise.theory.sampling import (
    Bernoulli,
    Enhanced,
    Gaussian,
    GaussianMinibatch,
    Minibatch,
    Rademacher,
    SamplingNoise,
    SparseGaussian,
    as_noise,
    compensating_alpha,
    compensating_noise_batch_size,
)

__all__ = ["DYNAMICS", "Dynamics", "WeightedLosses", "WithAdditiveNoise", "build"]


class Dynamics(Protocol):
    """A source of stochastic gradients whose random state can be kept.

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.dynamics import build
    >>> from gradnoise.simulations.neural.loss_operators import LossOperators
    >>> model, inputs = torch.nn.Linear(2, 1, bias=False), torch.diag(torch.tensor([1.0, 2.0]))
    >>> _ = torch.nn.init.zeros_(model.weight)
    >>> loss = lambda outputs, targets: (outputs[:, 0] - targets) ** 2 / 2
    >>> operators = LossOperators(model, loss, inputs, torch.ones(2))
    >>> dynamics = build("msgd-cov", operators, 1, torch.Generator().manual_seed(1))
    >>> state = dynamics.state_dict()
    >>> dynamics.backward()
    >>> first, model.weight.grad = model.weight.grad, None
    >>> dynamics.load_state_dict(state)
    >>> dynamics.backward()
    >>> torch.equal(model.weight.grad, first)  # the same noise again
    True
    """

    def backward(self) -> None:
        """Add a stochastic gradient to the parameters' ``.grad``."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Random state."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a random state."""
        ...


class WeightedLosses:
    """The gradient of 𝓛(θ)·W, Algorithms 1 and 2; of the mean loss, with no randomness, where there is no noise.

    Parameters
    ----------
    operators : LossOperators
        Of the network.
    noise : SamplingNoise or None
        W; of a minibatch only the samples that are drawn are looked at, as many in each step.
    generator : torch.Generator
        On the network's device.

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.dynamics import WeightedLosses
    >>> from gradnoise.simulations.neural.loss_operators import LossOperators
    >>> model, inputs = torch.nn.Linear(2, 1, bias=False), torch.diag(torch.tensor([1.0, 2.0]))
    >>> _ = torch.nn.init.zeros_(model.weight)
    >>> loss = lambda outputs, targets: (outputs[:, 0] - targets) ** 2 / 2
    >>> operators = LossOperators(model, loss, inputs, torch.ones(2))
    >>> WeightedLosses(operators, None, torch.Generator()).backward()
    >>> model.weight.grad  # mean of (-1, 0) and (0, -2), the gradients of the samples
    tensor([[-0.5000, -1.0000]])
    """

    def __init__(self, operators: LossOperators, noise: SamplingNoise | None, generator: torch.Generator) -> None:
        operators = as_operators(operators)
        if noise is not None and as_noise(noise).n != operators.n:
            raise ValueError(f"noise must be over the {operators.n} samples, got {noise!r}")
        self.operators, self.noise, self.generator = operators, noise, as_generator(generator, operators.device)

    def __repr__(self) -> str:
        return f"WeightedLosses({self.noise!r})"

    def backward(self) -> None:
        """Add the gradient, chunk by chunk of the samples."""
        operators = self.operators
        if self.noise is None:
            operators.backward(operators.losses_like(1 / operators.n))
        else:
            batch = weighted_batch(self.noise, self.generator, dtype=operators.dtype)
            operators.backward(batch.weights, batch.samples)

    def state_dict(self) -> dict[str, Any]:
        """Return the generator's state."""
        return {"generator": self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Set the generator's state, as `state_dict` returned it."""
        set_state(self.generator, state)


class WithAdditiveNoise:
    """The full gradient, and one of the additive noises of Table 1.

    Parameters
    ----------
    noise : AdditiveNoise

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.additive_noise import AdditiveNoise
    >>> from gradnoise.simulations.neural.dynamics import WithAdditiveNoise
    >>> from gradnoise.simulations.neural.loss_operators import LossOperators
    >>> model, inputs = torch.nn.Linear(2, 1, bias=False), torch.diag(torch.tensor([1.0, 2.0]))
    >>> _ = torch.nn.init.zeros_(model.weight)
    >>> loss = lambda outputs, targets: (outputs[:, 0] - targets) ** 2 / 2
    >>> operators = LossOperators(model, loss, inputs, torch.ones(2))
    >>> noise = AdditiveNoise("gld_eigvec", operators, 1, torch.Generator().manual_seed(1))
    >>> WithAdditiveNoise(noise).backward()
    >>> round(float(model.weight.grad[0, 0]), 3)  # ∇L = (-1/2, -1), and all noise along the second axis
    -0.5
    >>> dynamics = WithAdditiveNoise(noise)
    >>> dynamics.load_state_dict(dynamics.state_dict())  # to go on from where one was
    """

    def __init__(self, noise: AdditiveNoise) -> None:
        if not isinstance(noise, AdditiveNoise):
            raise TypeError(f"noise must be an AdditiveNoise, got {noise!r}")
        self.noise = noise
        self._mean = WeightedLosses(noise.operators, None, noise.generator)

    def __repr__(self) -> str:
        return f"WithAdditiveNoise({self.noise!r})"

    def backward(self) -> None:
        """Add the gradient of the mean loss, and the noise."""
        drawn = self.noise.draw()  # before the gradient: it reads the parameters
        self._mean.backward()
        for name, part in self.noise.operators.unflatten(drawn).items():
            parameter = self.noise.operators.model.get_parameter(name)
            assert parameter.grad is not None  # by `backward`, also where no loss depends on the parameter
            parameter.grad = parameter.grad.to_dense().add_(part)  # of an embedding it may be sparse

    def state_dict(self) -> dict[str, Any]:
        """Return the noise's state."""
        return self.noise.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Set the noise's state."""
        self.noise.load_state_dict(state)


#: Sampling noise with the strength of a minibatch of b, from n samples; those of large batches also take B.
_WEIGHTED: dict[str, Callable[[int, int, int], SamplingNoise | None]] = {
    "gd": lambda n, b, B: None,
    "gd-rademacher": lambda n, b, B: Rademacher(n, n, centered=False),
    "sgd": lambda n, b, B: Minibatch(n, b),
    "large-batch-sgd": lambda n, b, B: Minibatch(n, B),
    "msgd-cov": lambda n, b, B: Gaussian(n, b),
    "msgd-fisher": lambda n, b, B: Gaussian(n, b, centered=False),
    "msgd-rademacher": lambda n, b, B: Rademacher(n, b),
    "msgd-bernoulli": lambda n, b, B: Bernoulli(n, b),
    "msgd-fisher-b": lambda n, b, B: SparseGaussian(n, b, B),
    "msgd-cov-b": lambda n, b, B: SparseGaussian(n, b, B, form="cov"),
    "msgd-fisher-batch": lambda n, b, B: GaussianMinibatch(n, B, compensating_noise_batch_size(B, b)),
    "enhanced": lambda n, b, B: Enhanced(Minibatch(n, B), compensating_alpha(B, b)),
}
#: All dynamics by name.
DYNAMICS = (*_WEIGHTED, *ADDITIVE)


def build(
    name: str,
    operators: LossOperators,
    batch_size: int,
    generator: torch.Generator,
    *,
    large_batch_size: int | None = None,
    k: int | None = None,
    period: int = 10,
) -> Dynamics:
    """Make a dynamics; but for three of them its noise is as strong as that of a minibatch of `batch_size`.

    Parameters
    ----------
    name : str
        One of `DYNAMICS`: weighted losses or the additive noises of Table 1. "msgd-fisher-b" and "msgd-cov-b" carry noise on a
        random support, "msgd-fisher-batch" is Algorithm 2 of wu2020, "enhanced" that of ne2021; these, and
        "large-batch-sgd", take batches of `large_batch_size`. "gd" has no noise, "large-batch-sgd" its own, and
        "gd-rademacher", gradient descent on the loss with the Rademacher regulariser of wu2019 (without supremum and modulus),
        that of random signs.
    operators : LossOperators
    batch_size : int
        b.
    generator : torch.Generator
        On the network's device; is used up.
    large_batch_size : int, optional
        B > b, and at most 2⁵³; four times b by default.
    k, period : int
        Of `AdditiveNoise`.

    Returns
    -------
    Dynamics

    Raises
    ------
    ValueError
        If the dynamics is not known, or cannot have that strength.

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.dynamics import build
    >>> from gradnoise.simulations.neural.loss_operators import LossOperators
    >>> model, inputs = torch.nn.Linear(2, 1, bias=False), torch.diag(torch.tensor([1.0, 2.0]))
    >>> _ = torch.nn.init.zeros_(model.weight)
    >>> loss = lambda outputs, targets: (outputs[:, 0] - targets) ** 2 / 2
    >>> operators = LossOperators(model, loss, inputs, torch.ones(2))
    >>> build("sgd", operators, 1, torch.Generator().manual_seed(1)).backward()
    >>> model.weight.grad.tolist() in ([[-1.0, 0.0]], [[0.0, -2.0]])  # the gradient of one of the samples
    True
    """
    as_choice(name, "name", DYNAMICS)
    b = as_count(batch_size, "batch_size", at_most=as_operators(operators).n)
    B = 4 * b if large_batch_size is None else as_count(large_batch_size, "large_batch_size", at_least=b + 1, at_most=COUNTABLE)
    period, k = as_count(period, "period"), None if k is None else as_count(k, "k")
    if name in ADDITIVE:
        return WithAdditiveNoise(AdditiveNoise(name, operators, b, generator, k=k, period=period))
    return WeightedLosses(operators, _WEIGHTED[name](operators.n, b, B), generator)
