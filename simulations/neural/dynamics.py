"""Stochastic gradients of every dynamics, behind one method: `backward` adds one to the parameters' ``.grad``.

Any optimizer of torch then makes the step: plain, with momentum, or adaptive.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

from gradnoise.simulations.neural.additive_noise import ADDITIVE, AdditiveNoise
from gradnoise.simulations.neural.augmentation import FlipsAndCrops, check_images
from gradnoise.simulations.neural.batch_weights import WeightedBatch, weighted_batch
from gradnoise.simulations.neural.devices import as_generator, set_state
from gradnoise.simulations.neural.loss_operators import LossOperators, as_operators
from gradnoise.simulations.neural.weights import COUNTABLE
from gradnoise.theory._validation import as_choice, as_count, as_flag, as_instance, as_real, shown
from gradnoise.theory.diffusion import svag_noise
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
    >>> _ = dynamics.backward()
    >>> first, model.weight.grad = model.weight.grad, None
    >>> dynamics.load_state_dict(state)
    >>> _ = dynamics.backward()
    >>> torch.equal(model.weight.grad, first)  # the same noise again
    True
    """

    def backward(self) -> Tensor | None:
        """Add a stochastic gradient to the parameters' ``.grad``, and return the mean loss of its batch, () and detached.

        Without a loss, None, there is no `gradnoise.simulations.neural.loss_rule.LossRule` to go by.
        """
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
    augmentation : FlipsAndCrops, optional
        What is done to each image that is looked at, by random numbers of the same generator; of one that is drawn twice to
        each by itself, unless as many are drawn as there are, or more.

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.dynamics import WeightedLosses
    >>> from gradnoise.simulations.neural.loss_operators import LossOperators
    >>> model, inputs = torch.nn.Linear(2, 1, bias=False), torch.diag(torch.tensor([1.0, 2.0]))
    >>> _ = torch.nn.init.zeros_(model.weight)
    >>> loss = lambda outputs, targets: (outputs[:, 0] - targets) ** 2 / 2
    >>> operators = LossOperators(model, loss, inputs, torch.ones(2))
    >>> WeightedLosses(operators, None, torch.Generator()).backward()  # mean loss
    tensor(0.5000)
    >>> model.weight.grad  # mean of (-1, 0) and (0, -2), the gradients of the samples
    tensor([[-0.5000, -1.0000]])
    """

    def __init__(
        self,
        operators: LossOperators,
        noise: SamplingNoise | None,
        generator: torch.Generator,
        augmentation: FlipsAndCrops | None = None,
    ) -> None:
        operators = as_operators(operators)
        if augmentation is not None:
            as_instance(augmentation, "augmentation", FlipsAndCrops)
            check_images(operators.batches.some()[0])
        if noise is not None and as_noise(noise).n != operators.n:
            raise ValueError(f"noise must be over the {operators.n} samples, got {noise!r}")
        self.operators, self.noise, self.generator = operators, noise, as_generator(generator, operators.device)
        self.augmentation = augmentation

    def __repr__(self) -> str:
        return f"WeightedLosses({self.noise!r}{'' if self.augmentation is None else f', {self.augmentation!r}'})"

    @property
    def batch_size(self) -> int:
        """Samples of a batch, of which noise enhancement takes two in a step; n where all of them have a weight."""
        noise = self.noise.base if isinstance(self.noise, Enhanced) else self.noise
        drawn = isinstance(noise, Minibatch | GaussianMinibatch | Bernoulli)
        return min(self.operators.n, noise.batch_size) if drawn else self.operators.n

    def backward(self) -> Tensor:
        """Add the gradient, chunk by chunk of the samples, and return their mean loss, without weights."""
        operators = self.operators
        if self.noise is None:
            batch = WeightedBatch(None, operators.losses_like(1 / operators.n))
        else:
            batch = weighted_batch(self.noise, self.generator, dtype=operators.dtype)
        change = None if self.augmentation is None else self.augmentation.draw(len(batch.weights), self.generator)
        return operators.backward(batch.weights, batch.samples, change)

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
    >>> _ = WithAdditiveNoise(noise).backward()
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

    @property
    def batch_size(self) -> int:
        """Samples that a step looks at: all n."""
        return self._mean.batch_size

    def backward(self) -> Tensor:
        """Add the gradient of the mean loss, and the noise, and return the mean loss."""
        drawn = self.noise.draw()  # before the gradient: it reads the parameters
        loss = self._mean.backward()
        for name, part in self.noise.operators.unflatten(drawn).items():
            parameter = self.noise.operators.model.get_parameter(name)
            assert parameter.grad is not None  # by `backward`, also where no loss depends on the parameter
            parameter.grad = parameter.grad.to_dense().add_(part)  # of an embedding it may be sparse
        return loss

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
DYNAMICS = (*_WEIGHTED, "svag", *ADDITIVE)

#: Dynamics that draw the samples that they look at; the others have noise that is defined by the gradients of all samples.
BATCHED = ("sgd", "large-batch-sgd", "msgd-bernoulli", "msgd-fisher-batch", "enhanced", "svag")
#: l of SVAG by default, the least that is not SGD.
SVAG_L = 2


def build(
    name: str,
    operators: LossOperators,
    batch_size: int | None,
    generator: torch.Generator,
    *,
    large_batch_size: int | None = None,
    alpha: float | None = None,
    svag_l: int | None = None,
    augment: bool = False,
    k: int | None = None,
    period: int = 10,
) -> WeightedLosses | WithAdditiveNoise:
    """Make a dynamics; but for four of them its noise is as strong as that of a minibatch of `batch_size`.

    Parameters
    ----------
    name : str
        One of `DYNAMICS`: weighted losses or the additive noises of Table 1. "msgd-fisher-b" and "msgd-cov-b" carry noise on a
        random support, "msgd-fisher-batch" is Algorithm 2 of wu2020, "enhanced" that of ne2021; these, and
        "large-batch-sgd", take batches of `large_batch_size`. "gd" has no noise, "large-batch-sgd" its own, and
        "gd-rademacher", gradient descent on the loss with the Rademacher regulariser of wu2019 (without supremum and modulus),
        that of random signs. "svag" has l times the covariance of SGD, for steps of η/l, by two batches of `batch_size`.
    operators : LossOperators
    batch_size : int or None
        b; None where alpha is given.
    generator : torch.Generator
        On the network's device; is used up.
    large_batch_size : int, optional
        B > b, and at most 2⁵³; four times b by default. With alpha it must be given, and is any size.
    alpha : float, optional
        Of "enhanced" alone: α >= 1 of Eq. (6) of ne2021, whose two batches are of `large_batch_size`; 1 is SGD with one of them.
        By default it is what makes the noise that of a minibatch of b.
    svag_l : int, optional
        Of "svag" alone: l >= 1, 2 by default; 1 is SGD.
    augment : bool
        Whether batches are of images that are flipped and cropped; see `gradnoise.simulations.neural.augmentation`. Of
        dynamics that draw batches alone: "sgd", "large-batch-sgd", "msgd-bernoulli", "msgd-fisher-batch", "enhanced" and "svag".
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
    >>> _ = build("sgd", operators, 1, torch.Generator().manual_seed(1)).backward()
    >>> model.weight.grad.tolist() in ([[-1.0, 0.0]], [[0.0, -2.0]])  # the gradient of one of the samples
    True
    """
    as_choice(name, "name", DYNAMICS)
    n = as_operators(operators).n
    period, k = as_count(period, "period"), None if k is None else as_count(k, "k")
    for argument, value, owner in (("alpha", alpha, "enhanced"), ("svag_l", svag_l, "svag")):
        if value is not None and name != owner:
            raise ValueError(f"{argument} must be left out for {name}, as it is of {owner}, got {shown(value)}")
    augmentation = FlipsAndCrops() if as_flag(augment, "augment") else None
    if augmentation is not None and name not in BATCHED:
        others = ", ".join(BATCHED)
        raise ValueError(f"augment must be False for {name}, which is of the gradients of all data as they are, unlike {others}")
    if alpha is not None:
        return WeightedLosses(operators, _enhanced(n, batch_size, large_batch_size, alpha), generator, augmentation)
    b = as_count(batch_size, "batch_size", at_most=n)
    B = 4 * b if large_batch_size is None else as_count(large_batch_size, "large_batch_size", at_least=b + 1, at_most=COUNTABLE)
    if name in ADDITIVE:
        return WithAdditiveNoise(AdditiveNoise(name, operators, b, generator, k=k, period=period))
    if name == "svag":
        l = SVAG_L if svag_l is None else as_count(svag_l, "svag_l", at_most=COUNTABLE)
        return WeightedLosses(operators, _unless_plain(svag_noise(Minibatch(n, b), l)), generator, augmentation)
    return WeightedLosses(operators, _WEIGHTED[name](n, b, B), generator, augmentation)


def _enhanced(n: int, batch_size: int | None, large_batch_size: int | None, alpha: float) -> SamplingNoise:
    """Noise of Eq. (6) of ne2021 with a strength that is given, and matches no other."""
    if batch_size is not None:
        raise ValueError(f"batch_size must be left out with alpha, whose batches are of large_batch_size, got {batch_size!r}")
    if large_batch_size is None:
        raise ValueError("large_batch_size must be given with alpha: it is the size of both batches")
    B = as_count(large_batch_size, "large_batch_size", at_most=COUNTABLE)
    return _unless_plain(Enhanced(Minibatch(n, B), as_real(alpha, "alpha", at_least=1)))


def _unless_plain(noise: Enhanced) -> SamplingNoise:
    """Leave out a second batch that would have no weight."""
    return noise.base if noise.alpha == 1 else noise
