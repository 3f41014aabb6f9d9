"""Euler-Maruyama paths of d theta = -grad L dt + Sigma^(1/2) dW on a planar landscape, and both sides of Ito's balance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from gradnoise.simulations import ensemble
from gradnoise.simulations.ensemble import Progress, kernel
from gradnoise.theory._linalg import psd_root
from gradnoise.theory._validation import as_array, as_count, as_psd, as_real
from gradnoise.theory.escape import PlanarLandscape

__all__ = ["LangevinResult", "simulate"]


@dataclass(frozen=True)
class LangevinResult:
    """Three numbers of each path, whose expectations Ito's formula relates.

    Attributes
    ----------
    increase : (n_paths,) ndarray
        L(theta_t) - L(theta_0). Units: loss.
    dissipation : (n_paths,) ndarray
        Integral of ||grad L||^2 over time.
    injection : (n_paths,) ndarray
        Integral of Tr(H Sigma) over time.
    """

    increase: np.ndarray
    dissipation: np.ndarray
    injection: np.ndarray


def simulate(
    landscape: PlanarLandscape,
    covariance: ArrayLike,
    start: ArrayLike,
    step_size: float,
    n_steps: int,
    n_paths: int,
    *,
    rng: Any,
    n_jobs: int | None = None,
    progress: Progress = None,
) -> LangevinResult:
    """Simulate paths from `start`.

    Parameters
    ----------
    landscape : PlanarLandscape
        L.
    covariance : (2, 2) array_like
        Sigma, symmetric positive semi-definite. Units: parameter squared / time.
    start : (2,) array_like
        theta_0.
    step_size : float
        > 0. Units: time.
    n_steps, n_paths : int
        Steps of a path, and paths.
    rng, n_jobs, progress
        See `gradnoise.simulations.ensemble.run`.

    Returns
    -------
    LangevinResult
        The integrals are sums over the points from which steps start.

    References
    ----------
    zhu2019, Eqs. (9) and (11).
    """
    if not isinstance(landscape, PlanarLandscape):
        raise TypeError(f"landscape must be a PlanarLandscape, got {landscape!r}")
    Sigma, origin = as_psd(covariance, "covariance"), as_array(start, "start", ndim=1)
    if Sigma.shape != (2, 2) or origin.shape != (2,):
        raise ValueError(f"covariance must have shape (2, 2) and start (2,), got {Sigma.shape} and {origin.shape}")
    step, n_steps = as_real(step_size, "step_size", above=0), as_count(n_steps, "n_steps")
    factor = psd_root(Sigma)
    shape = np.array([landscape.quadratic, landscape.quartic, landscape.tilt, landscape.stiffness, landscape.shear])
    (paths,) = ensemble.run(
        _block,
        (shape, Sigma, factor, origin, step, n_steps),
        n_paths,
        rng=rng,
        reduce=ensemble.concatenate,
        n_jobs=n_jobs,
        progress=progress,
    )
    increase = landscape.loss(paths[:, 0], paths[:, 1]) - landscape.loss(*origin)
    return LangevinResult(increase, paths[:, 2], paths[:, 3])


def _block(n_paths: int, generator: np.random.Generator, *params: Any) -> tuple[np.ndarray, ...]:
    paths = np.empty((n_paths, 4))
    _kernel(generator, *params, paths)
    return (paths,)


@kernel
def _kernel(generator, shape, Sigma, factor, origin, step, n_steps, paths):
    """Write x, y, and the time integrals of ||grad L||^2 and Tr(H Sigma) of each path."""
    a, q, c, k, m = shape
    root = np.sqrt(step)
    f11, f12, f22 = root * factor[0, 0], root * factor[0, 1], root * factor[1, 1]
    for path in range(paths.shape[0]):
        x, y, dissipation, injection = origin[0], origin[1], 0.0, 0.0
        for _ in range(n_steps):
            pull = k * (y - m * x)
            g1, g2 = a * x + q * x * (x * x - 1) + c - m * pull, pull
            dissipation += g1 * g1 + g2 * g2
            h11 = a + q * (3 * x * x - 1) + k * m * m
            injection += h11 * Sigma[0, 0] - 2 * k * m * Sigma[0, 1] + k * Sigma[1, 1]
            z1, z2 = generator.standard_normal(), generator.standard_normal()
            x += f11 * z1 + f12 * z2 - step * g1
            y += f12 * z1 + f22 * z2 - step * g2
        paths[path, 0], paths[path, 1] = x, y
        paths[path, 2], paths[path, 3] = step * dissipation, step * injection
