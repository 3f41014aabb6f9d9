"""The workloads in NumPy, vectorised across paths as a user would write them."""

from __future__ import annotations

import numpy as np

from gradnoise.theory.two_basin import SHARP_HESSIAN


def toy(n_paths: int, seed: int, n_steps: int, step_size: float, power: float, n_data: int, factor: np.ndarray) -> np.ndarray:
    """Last parameters, (n_paths, 2)."""
    rng = np.random.default_rng(seed)
    (h11, h12), (_, h22) = SHARP_HESSIAN
    x1, x2 = np.moveaxis(rng.standard_normal((n_paths, n_data, 2)) @ factor.T, 2, 0).copy()
    w = np.ones((n_paths, 2))
    noise_factor = np.zeros((n_paths, 2, 2))
    for _ in range(n_steps):
        s1, s2 = w[:, :1] - 1 - x1, w[:, 1:] - 1 - x2
        f1, f2 = s1 + 2, s2 + 2
        hs1, hs2 = h11 * s1 + h12 * s2, h12 * s1 + h22 * s2
        sharp = (s1 * hs1 + s2 * hs2) / 2 < f1 * f1 + f2 * f2
        g1, g2 = np.where(sharp, hs1, 2 * f1), np.where(sharp, hs2, 2 * f2)
        gradient = np.stack([g1.mean(axis=1), g2.mean(axis=1)], axis=1)
        g1 -= gradient[:, :1]
        g2 -= gradient[:, 1:]
        c11, c12, c22 = (g1 * g1).sum(axis=1), (g1 * g2).sum(axis=1), (g2 * g2).sum(axis=1)
        scale = power / (c11 + c22)
        c11, c12, c22 = scale * c11, scale * c12, scale * c22
        noise_factor[:, 0, 0] = np.sqrt(c11)
        noise_factor[:, 1, 0] = c12 / noise_factor[:, 0, 0]
        noise_factor[:, 1, 1] = np.sqrt(np.maximum(c22 - noise_factor[:, 1, 0] ** 2, 0))
        noise = (noise_factor @ rng.standard_normal((n_paths, 2, 1)))[:, :, 0]
        w += noise - step_size * gradient
    return w


def ornstein_uhlenbeck(n_paths: int, seed: int, n_steps: int, A: np.ndarray, B: np.ndarray) -> np.ndarray:
    """Last theta of theta <- A theta + B z from zero, (n_paths, d)."""
    rng = np.random.default_rng(seed)
    theta = np.zeros((n_paths, len(A)))
    for _ in range(n_steps):
        theta = theta @ A.T + rng.standard_normal(theta.shape) @ B.T
    return theta


def least_squares(
    n_paths: int,
    seed: int,
    n_steps: int,
    n_samples: int,
    kappa: float,
    eta: float,
    noise_std: float,
    spectrum: np.ndarray,
    start: np.ndarray,
) -> np.ndarray:
    """Excess risk of the averaged iterate, (n_paths,)."""
    rng = np.random.default_rng(seed)
    delta = np.tile(start, (n_paths, 1))
    total = delta.copy()
    for _ in range(n_steps):
        w = np.full((n_paths, n_samples), 1 / n_samples)
        if kappa > 0:
            z = rng.standard_normal((n_paths, n_samples))
            w += kappa * (z - z.mean(axis=1, keepdims=True))
        x = np.sqrt(spectrum) * rng.standard_normal((n_paths, n_samples, len(start)))
        residual = (x @ delta[:, :, np.newaxis])[:, :, 0] - noise_std * rng.standard_normal((n_paths, n_samples))
        delta -= eta * ((w * residual)[:, np.newaxis] @ x)[:, 0]
        total += delta
    return 0.5 * (total / (n_steps + 1)) ** 2 @ spectrum


def minibatch_weights(size: int, seed: int, n: int, batch_size: int) -> np.ndarray:
    """Sampling vectors of a batch with replacement, (size, n)."""
    chosen = np.random.default_rng(seed).integers(0, n, (size, batch_size)) + n * np.arange(size)[:, np.newaxis]
    return np.bincount(chosen.ravel(), minlength=size * n).reshape(size, n) / batch_size


def gaussian_weights(size: int, seed: int, n: int, scale: float) -> np.ndarray:
    """Centred Gaussian sampling vectors, (size, n)."""
    z = np.random.default_rng(seed).standard_normal((size, n))
    return 1 / n + scale * (z - z.mean(axis=1, keepdims=True))
