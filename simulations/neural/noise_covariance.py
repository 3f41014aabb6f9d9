"""Covariance of a network's stochastic gradient, for any sampling noise, without forming it."""

from __future__ import annotations

from functools import cached_property

import torch
from scipy.linalg import eigh
from torch import Tensor

from gradnoise.simulations.neural.gradient_spread import GradientSpread, gradient_spread
from gradnoise.simulations.neural.loss_operators import LossOperators, as_operators
from gradnoise.simulations.neural.spectrum import leading_on_device
from gradnoise.simulations.neural.vectors import as_vector
from gradnoise.theory._validation import as_count
from gradnoise.theory.sampling import Minibatch, SamplingNoise, as_noise

__all__ = ["NoiseCovariance"]

_HELD = 2**26  # numbers in the gradients of all samples, up to which they are held at once ...
_DENSE = 2**12  # ... if there are that few samples or parameters


def matched_noise(noise: int | SamplingNoise, n: int, name: str) -> SamplingNoise:
    """Return a noise over n samples that leaves some.

    Parameters
    ----------
    noise : int or SamplingNoise
        A number b stands for the minibatch with replacement, and is at most n.
    n : int
        Samples.
    name : str
        Of the argument, for messages.

    Returns
    -------
    SamplingNoise

    Raises
    ------
    ValueError, TypeError
        If it is over other samples, or is none.

    Examples
    --------
    >>> from gradnoise.simulations.neural.noise_covariance import matched_noise
    >>> noise = matched_noise(3, 10, "noise")
    >>> type(noise).__name__, noise.n, noise.batch_size, noise.replacement
    ('Minibatch', 10, 3, True)
    """
    return as_noise(noise, name, n=n, default=Minibatch, at_most=n, some=True)


class NoiseCovariance:
    """Var(GW) where the network stands, of exchangeable W; to be made anew when its parameters have changed.

    It is n(v − c) times the covariance of a sample's gradient, and for a noise whose weights do not sum to a constant
    Var(1ᵀW) ∇L∇Lᵀ more.

    Parameters
    ----------
    operators : LossOperators
    noise : SamplingNoise
        W, over the operators' samples.

    Attributes
    ----------
    gradient : (d,) Tensor
        ∇L.
    gradient_norm_squared : float
        ‖∇L‖².
    share, of_mean : float
        n(v − c), and Var(1ᵀW).

    Raises
    ------
    ValueError
        If the noise is over other samples, or is none.

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.loss_operators import LossOperators
    >>> from gradnoise.simulations.neural.noise_covariance import NoiseCovariance
    >>> from gradnoise.theory.sampling import Minibatch
    >>> model, inputs = torch.nn.Linear(2, 1, bias=False), torch.diag(torch.tensor([1.0, 2.0]))
    >>> _ = torch.nn.init.zeros_(model.weight)
    >>> loss = lambda outputs, targets: (outputs[:, 0] - targets) ** 2 / 2
    >>> operators = LossOperators(model, loss, inputs, torch.ones(2))
    >>> covariance = NoiseCovariance(operators, Minibatch(2, 1))
    >>> covariance.variances(), covariance.trace()  # of (-1, 0) and (0, -2), the gradients of the samples
    (tensor([0.2500, 1.0000]), 1.25)
    """

    def __init__(self, operators: LossOperators, noise: SamplingNoise) -> None:
        self.operators, noise = operators, matched_noise(noise, as_operators(operators).n, "noise")
        self.share, self.of_mean = operators.n * float(noise.centred_power), float(noise.sum_variance)
        self.gradient = operators.gradient()
        self.gradient_norm_squared = float(self.gradient @ self.gradient)

    @cached_property
    def spread(self) -> GradientSpread:
        """Squared norms of the gradients of the samples; measured when it is first asked for."""
        return gradient_spread(self.operators, gradient=self.gradient)

    @property
    def vanishes(self) -> bool:
        """Whether there is no noise but for rounding: Tr Σ is a difference, and not exactly zero where gradients are equal."""
        return self.spread.vanishes and self.of_mean * self.gradient_norm_squared <= self.share * self.spread.rounding

    def trace(self) -> float:
        """Tr Σ."""
        return self.share * self.spread.trace + self.of_mean * self.gradient_norm_squared

    def product(self, u: Tensor) -> Tensor:
        """Σu, (d,)."""
        u = as_vector(u, "u", self.gradient.shape).to(self.gradient)
        return self.share * self.operators.covariance_product(u) + self.of_mean * self.gradient * (self.gradient @ u)

    def variances(self) -> Tensor:
        """Diagonal of Σ, (d,)."""
        total = torch.zeros_like(self.gradient)
        for rows in self.operators.sample_gradients():
            total += ((rows - self.gradient) ** 2).sum(dim=0)
        return self.share * total / self.operators.n + self.of_mean * self.gradient**2

    def leading(self, k: int) -> tuple[Tensor, Tensor]:
        """Return the k largest eigenvalues of Σ, falling, and their eigenvectors (d, k).

        From the gradients of all samples where they fit into memory, else by Lanczos' method. k is at most the number of
        samples, and of parameters.
        """
        operators = self.operators
        n, d = operators.n, operators.dimension
        k = as_count(k, "k", at_most=min(n, d))
        if n * d > _HELD or min(n, d) > _DENSE:
            values, vectors = leading_on_device(self.product, self.gradient, k)
            return operators.tensor(values), vectors.to(operators.dtype)
        rows = torch.cat(list(operators.sample_gradients())) - self.gradient
        root = torch.cat([(self.share / n) ** 0.5 * rows, self.of_mean**0.5 * self.gradient.unsqueeze(0)])
        # Σ = rootᵀ root has the eigenvalues of root rootᵀ: the smaller one is decomposed.
        small = (root @ root.T if n < d else root.T @ root).double().cpu().numpy()
        values, vectors = eigh(small, subset_by_index=(len(small) - k, len(small) - 1))
        axes = operators.tensor(vectors[:, ::-1])
        if n < d:
            axes = root.T @ axes
            axes /= axes.norm(dim=0).clamp(min=torch.finfo(axes.dtype).tiny)
        return operators.tensor(values[::-1]).clamp(min=0), axes
