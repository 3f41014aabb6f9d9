"""Trace of a symmetric operator from few products: XTrace, with the jackknife's standard error.

Half of the products span a subspace, in which the trace is exact; the rest of it is estimated with the same random vectors, each
of which is left out of the subspace in turn (Epperly, Tropp and Webber 2024). What they give is not independent: the standard
deviation of their mean, taken as if it were, is a half to two thirds of the true one. The jackknife, which leaves one vector out
of everything, is not too small on the average (Efron and Stein 1981).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from gradnoise.simulations.neural.devices import as_generator
from gradnoise.simulations.neural.krylov import image_of
from gradnoise.simulations.neural.vectors import as_like
from gradnoise.simulations.statistics import Estimate
from gradnoise.theory._validation import FloatArray, as_count, as_function

__all__ = ["exchangeable_trace"]

MOST_PROBES = 10**7  # each a pass over the data: with a millisecond each they take three hours
_HELD = 2**26  # numbers in the subspace
_VECTORS = 100  # in the subspace, as all are left out in turn
_ROUNDINGS = 8  # of the dtype, in a product
_SIGNS = 64  # dimensions from which random signs are as good as never parallel


def exchangeable_trace(
    product: Callable[[Tensor], Tensor], like: Tensor, n_products: int, generator: torch.Generator
) -> Estimate:
    """Trace of a symmetric operator A on R^d.

    Parameters
    ----------
    product : callable
        A on (d,) Tensors.
    like : Tensor
        A (d,) Tensor of the dtype and on the device that it takes, d >= 2.
    n_products : int
        4 to 10⁷; of an odd number one is not used. Many, or in a high dimension, are shared out among several subspaces, each
        of which spans at most everything.
    generator : torch.Generator
        Is used up; on that device.

    Returns
    -------
    Estimate
        Unbiased. Its n is one more than the degrees of freedom.

    References
    ----------
    Epperly, Tropp and Webber (2024), XTrace: making the most of every sample in stochastic trace estimation, SIAM J. Matrix
    Anal. Appl. 45. Efron and Stein (1981), The jackknife estimate of variance, Ann. Statist. 9.

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.exchangeable_trace import exchangeable_trace
    >>> diagonal = torch.tensor([5.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    >>> found = exchangeable_trace(lambda u: diagonal * u, diagonal, 6, torch.Generator().manual_seed(1))
    >>> round(found.value, 4), found.standard_error < 1e-4  # any vector spans what is not zero
    (5.0, True)
    """
    as_function(product, "product")
    if as_like(like).dtype not in (torch.float32, torch.float64):
        raise TypeError(f"like must be of float32 or float64, got {like.dtype}")
    as_generator(generator, like.device)
    pairs = as_count(n_products, "n_products", at_least=4, at_most=MOST_PROBES) // 2
    if len(like) < 2:
        raise ValueError("like must have two numbers or more, got one: its product is the trace")
    at_once = min(max(2, min(_VECTORS, _HELD // len(like))), len(like))  # more than d vectors span no more
    n_parts = max(1, min(-(-pairs // at_once), pairs // 2))
    parts = [min(len(part), len(like)) for part in np.array_split(np.arange(pairs), n_parts)]
    found = [_one_subspace(product, like, size, generator) for size in parts]
    error = math.hypot(*(e.standard_error for e in found)) / n_parts
    return Estimate(sum(e.value for e in found) / n_parts, error, sum(parts) - n_parts + 1)


def random_probes(like: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Random vectors z with E zzᵀ = I, as rows.

    Parameters
    ----------
    like : Tensor
        A (d,) Tensor of the wanted dtype, on the wanted device.
    size : int
    generator : torch.Generator
        Is used up; on that device.

    Returns
    -------
    (size, d) Tensor
        Signs; in few dimensions, where two of these may be parallel by chance, vectors from the sphere of radius √d.

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.exchangeable_trace import random_probes
    >>> random_probes(torch.zeros(4), 2, torch.Generator().manual_seed(1)).norm(dim=1)
    tensor([2., 2.])
    """
    shape, d = (size, len(like)), len(like)
    if d >= _SIGNS:
        return torch.randint(2, shape, generator=generator, device=like.device).to(like.dtype) * 2 - 1
    normal = torch.randn(shape, generator=generator, device=like.device, dtype=like.dtype)
    return normal * (d**0.5 / normal.norm(dim=1, keepdim=True))


def check_finite(*arrays: FloatArray | Tensor) -> None:
    """Refuse products that are not finite, as those of three large factors can be in single precision.

    Parameters
    ----------
    *arrays : ndarray or Tensor

    Raises
    ------
    ValueError

    Examples
    --------
    >>> import numpy as np
    >>> from gradnoise.simulations.neural.exchangeable_trace import check_finite
    >>> check_finite(np.array([1.0, np.inf]))
    Traceback (most recent call last):
    ValueError: products must be finite, got NaN or infinity; take double precision, or a loss in other units
    """
    if not all((array.isfinite() if isinstance(array, Tensor) else np.isfinite(array)).all() for array in arrays):
        raise ValueError("products must be finite, got NaN or infinity; take double precision, or a loss in other units")


def _one_subspace(product: Callable[[Tensor], Tensor], like: Tensor, size: int, generator: torch.Generator) -> Estimate:
    probes = random_probes(like, size, generator)
    images = torch.stack([image_of(product, z).to(like) for z in probes])
    check_finite(images)
    basis, triangle = torch.linalg.qr(images.T)
    of_probes, values = basis.T @ probes.T, torch.stack([z @ image for z, image in zip(probes, images, strict=True)])
    del probes, images
    inside, lengths = [], []
    for axis in basis.T:
        image = image_of(product, axis.contiguous()).to(like)
        inside.append(basis.T @ image)
        lengths.append(image.norm())
    R, W, H, values = (t.double().cpu().numpy() for t in (triangle, of_probes, torch.stack(inside), values))
    check_finite(R, H, values)
    H = (H + H.T) / 2
    left_out = np.empty(size)
    for i in range(size):
        others = np.arange(size) != i
        left_out[i] = _samples(R[:, others], W[:, others], H, values[others]).mean()
    variance = (size - 1) / size * float(((left_out - left_out.mean()) ** 2).sum())
    # Where all leave-one-out estimates agree, there is the rounding of the products yet: an error of zero would be a false one.
    rounding = _ROUNDINGS * torch.finfo(like.dtype).eps * float(torch.stack(lengths).sum())
    return Estimate(float(_samples(R, W, H, values).mean()), math.hypot(math.sqrt(variance), rounding), size)


def _samples(R: FloatArray, W: FloatArray, H: FloatArray, values: FloatArray) -> FloatArray:
    """Estimates of Tr A, each with one random vector ω left out of the subspace of the Aω.

    All in an orthonormal basis Q: R = QᵀAΩ (AΩ = QR), W = QᵀΩ and H = QᵀAQ; `values` are the ωᵀAω.
    """
    Q, R = np.linalg.qr(R)
    W, H = Q.T @ W, Q.T @ H @ Q
    diagonal = np.abs(np.diag(R))
    if diagonal.max() == 0:
        return values
    # Beyond the rank of A the triangle is singular but for rounding; any direction will do there, as A is zero in it.
    least = np.finfo(float).eps * diagonal.max()
    np.fill_diagonal(R, np.where(diagonal > least, np.diag(R), least))
    S = np.linalg.inv(R).T
    S /= np.linalg.norm(S, axis=0)  # the direction that is lost with ω
    C = W - S * (S * W).sum(axis=0)  # ω in what is left
    outside = values - 2 * (C * R).sum(axis=0) + (C * (H @ C)).sum(axis=0)  # uᵀAu of u = ω − QC
    return np.trace(H) - (S * (H @ S)).sum(axis=0) + outside
