"""The sampling vector W, E W = 1/n: the noise classes of the four papers as exact moments.

A stochastic gradient is G W, the gradient matrix times W. Each class is a small frozen dataclass that states its law (wu2019,
Proposition 1; wu2020, Section 2); drawing from it is `gradnoise.simulations.sampling.draw`. Here n is the number of samples, b
the batch size whose noise is matched, B the size of a larger batch; "with" and "without" mean replacement.

- made of a batch: `Minibatch`, `SparseGaussian`, `GaussianMinibatch`
- made of independent components: `Gaussian`, `Rademacher`, `StudentT`, `Bernoulli`
- made of another noise: `Enhanced` (ne2021, Eqs. (6) and (10))
- of your own: a subclass of `SamplingNoise`, which says what methods it may have
- `minibatch_power` is the noise power of a minibatch (wu2019, Eqs. (4) and (5)); `effective_batch_size`, `compensating_alpha`,
  `compensating_noise_batch_size` give one batch the noise of another (ne2021, Eqs. (10) and (11))
- `as_noise` makes a noise of what a caller gives, a noise or a batch size
"""

from __future__ import annotations

from gradnoise.theory.sampling.batch_noise import GaussianMinibatch, Minibatch, SparseGaussian
from gradnoise.theory.sampling.batch_size import (
    compensating_alpha,
    compensating_noise_batch_size,
    effective_batch_size,
    minibatch_power,
)
from gradnoise.theory.sampling.component_noise import Bernoulli, Gaussian, Rademacher, StudentT
from gradnoise.theory.sampling.enhanced import Enhanced
from gradnoise.theory.sampling.exchangeable import Pattern, SamplingNoise
from gradnoise.theory.sampling.noise_argument import as_noise

__all__ = [
    "Bernoulli",
    "Enhanced",
    "Gaussian",
    "GaussianMinibatch",
    "Minibatch",
    "Pattern",
    "Rademacher",
    "SamplingNoise",
    "SparseGaussian",
    "StudentT",
    "as_noise",
    "compensating_alpha",
    "compensating_noise_batch_size",
    "effective_batch_size",
    "minibatch_power",
]
