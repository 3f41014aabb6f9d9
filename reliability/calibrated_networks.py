"""What is calibrated and needs PyTorch: traces, kurtosis and tail index along random directions, the noise scale."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from calibrated import Case, stable
from numpy.typing import NDArray

from gradnoise.simulations.neural.exchangeable_trace import exchangeable_trace
from gradnoise.simulations.neural.loss_operators import LossOperators
from gradnoise.simulations.neural.noise_scale import population_gradient
from gradnoise.simulations.neural.tails import excess_kurtosis, noise_tail_index
from gradnoise.simulations.seeds import Stream
from gradnoise.theory.sampling import Gaussian, Minibatch

_D = 60  # below 64, where probes are vectors from the sphere; of an operator that is not diagonal, signs would do as well
_PARAMETERS, _SAMPLES, _BATCH = 40, 60, 8
_SLOPE = 0.4
_PRODUCTS, _DIRECTIONS, _DATA = (6, 10, 20, 50), (5, 10, 20, 50, 100), (5, 10, 20, 50, 100, 1_000)

#: Eigenvalues.
SPECTRA: dict[str, list[float]] = {
    "equal": [1.0] * _D,
    "0.8^k": [0.8**k for k in range(_D)],
    "1/k": [1 / k for k in range(1, _D + 1)],
    "one of 60": [60.0] + [1.0] * (_D - 1),
    "both signs": [3 * k / _D - 1 for k in range(_D)],
    "rank 3": [3.0, 2.0, 1.0] + [0.0] * (_D - 3),
}


def cases() -> Iterator[Case]:
    """All cases of networks."""
    for name, spectrum in SPECTRA.items():
        measure = lambda g, n, spectrum=spectrum: _trace(g, n, spectrum)  # noqa: E731
        yield Case("trace, n products", f"eigenvalues {name}", math.fsum(spectrum), measure, _PRODUCTS)
    generator, noise = np.random.default_rng(1), Minibatch(_SAMPLES, _BATCH)
    gradients: dict[str, NDArray[np.float64]] = {
        "normal": generator.standard_normal((_PARAMETERS, _SAMPLES)),
        "exponential": generator.exponential(size=(_PARAMETERS, _SAMPLES)),
        "Cauchy": stable(1.0, _PARAMETERS * _SAMPLES, generator).reshape(_PARAMETERS, _SAMPLES),
    }
    for name, G in gradients.items():
        true = excess_kurtosis(noise, generator.standard_normal((10_000, _PARAMETERS)) @ G).value
        measure = lambda g, n, G=G: excess_kurtosis(noise, g.standard_normal((n, _PARAMETERS)) @ G)  # noqa: E731
        yield Case("kurtosis, n directions", f"{name} gradients", true, measure, _DIRECTIONS)
        yield Case("tail index, n directions", f"{name} gradients", 2.0, lambda g, n, G=G: _noise_index(g, n, G), _DIRECTIONS)
    for name, spread in (("noise scale 7", 1.0), ("noise scale 700", 10.4)):
        scale = ((3 + 2) * 3 * _SLOPE**2 + 3 * spread**2 - 3 * _SLOPE**2) / (3 * _SLOPE**2)
        yield Case("noise scale", name, scale, lambda g, n, spread=spread: _noise_scale(g, n, spread), _DATA)


def _trace(generator: np.random.Generator, n: int, spectrum: list[float]) -> Any:
    """Of an operator with these eigenvalues, in a random basis."""
    basis = torch.as_tensor(np.linalg.qr(generator.standard_normal((_D, _D)))[0])
    matrix = basis * torch.tensor(spectrum, dtype=basis.dtype) @ basis.T
    stream = torch.Generator().manual_seed(int(generator.integers(2**62)))
    return exchangeable_trace(lambda u: matrix @ u, matrix[0], n, stream)


def _noise_index(generator: np.random.Generator, n: int, gradients: NDArray[np.float64]) -> Any:
    values = generator.standard_normal((n, _PARAMETERS)) @ gradients
    return noise_tail_index(Gaussian(_SAMPLES, _BATCH), values, 100, Stream.of(int(generator.integers(2**62))))


def _noise_scale(generator: np.random.Generator, n: int, spread: float) -> Any:
    """Of least squares at θ = 0, y = x·w + e: E g = −w and Tr Σ = (d + 2) |w|² + d σ² − |w|² for normal x and e."""
    x, model = generator.standard_normal((n, 3)), torch.nn.Linear(3, 1, bias=False, dtype=torch.float64)
    torch.nn.init.zeros_(model.weight)
    y = x @ np.full(3, _SLOPE) + spread * generator.standard_normal(n)
    operators = LossOperators(model, _squares, torch.as_tensor(x), torch.as_tensor(y))
    return population_gradient(operators).noise_scale


def _squares(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return (outputs[:, 0] - targets) ** 2 / 2
