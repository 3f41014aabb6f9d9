"""The workloads in JAX as a user would write them: jit, arrays across paths and scan across steps, in double precision."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import numpy as np
from jax import numpy as jnp

from gradnoise.theory.escape.two_basin import SHARP_HESSIAN

jax.config.update("jax_enable_x64", True)


def toy(
    n_paths: int,
    seed: int,
    n_steps: int,
    step_size: float,
    power: float,
    n_data: int,
    batch_size: int,
    factor: np.ndarray,
) -> np.ndarray:
    """Last parameters with the covariance of the gradients, (n_paths, 2); the batch size is not used."""
    return np.asarray(_toy(n_paths, n_steps, n_data)(jax.random.key(seed), step_size, power, factor))


def ornstein_uhlenbeck(n_paths: int, seed: int, n_steps: int, A: np.ndarray, B: np.ndarray) -> np.ndarray:
    """Last theta of theta <- A theta + B z from zero, (n_paths, d)."""
    return np.asarray(_ornstein_uhlenbeck(n_paths, n_steps)(jax.random.key(seed), A, B))


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
    run = _least_squares(n_paths, n_steps, n_samples, kappa > 0)
    return np.asarray(run(jax.random.key(seed), kappa, eta, noise_std, spectrum, start))


def coupled(
    n_paths: int,
    seed: int,
    n_steps: int,
    refinement: int,
    eta: float,
    strength: float,
    data: np.ndarray,
    start: np.ndarray,
) -> np.ndarray:
    """Squared distance of M-SGD from its SDE on the same Brownian path, (n_paths,)."""
    return np.asarray(_coupled(n_paths, n_steps, refinement)(jax.random.key(seed), eta, strength, data, start))


def normals(n_paths: int, seed: int, n: int) -> np.ndarray:
    """Means of n standard normals, (n_paths,)."""
    return np.asarray(_normals(n_paths, n)(jax.random.key(seed)))


def gaussian_weights(size: int, seed: int, n: int, scale: float) -> np.ndarray:
    """Centred Gaussian sampling vectors, (size, n)."""
    return np.asarray(_gaussian_weights(size, n)(jax.random.key(seed), scale))


# Compiled once for each size; the other arguments are traced.


@cache
def _toy(n_paths: int, n_steps: int, n_data: int) -> Callable[..., Any]:
    (h11, h12), (_, h22) = SHARP_HESSIAN

    def run(key: Any, step_size: float, power: float, factor: Any) -> Any:
        of_data, of_noise = jax.random.split(key)
        x1, x2 = jnp.moveaxis(jax.random.normal(of_data, (n_data, n_paths, 2)) @ factor.T, 2, 0)

        def step(w: Any, k: Any) -> tuple[Any, None]:
            w1, w2 = w
            s1, s2 = w1 - 1 - x1, w2 - 1 - x2
            f1, f2 = s1 + 2, s2 + 2
            hs1, hs2 = h11 * s1 + h12 * s2, h12 * s1 + h22 * s2
            sharp = (s1 * hs1 + s2 * hs2) / 2 < f1 * f1 + f2 * f2
            g1, g2 = jnp.where(sharp, hs1, 2 * f1), jnp.where(sharp, hs2, 2 * f2)
            m1, m2 = g1.mean(axis=0), g2.mean(axis=0)
            c11, c12, c22 = (g1 * g1).mean(axis=0) - m1 * m1, (g1 * g2).mean(axis=0) - m1 * m2, (g2 * g2).mean(axis=0) - m2 * m2
            scale = power / (c11 + c22)
            l11 = jnp.sqrt(scale * c11)
            l21 = scale * c12 / l11
            l22 = jnp.sqrt(jnp.maximum(scale * c22 - l21 * l21, 0))
            z1, z2 = jax.random.normal(k, (2, n_paths))
            return (w1 - step_size * m1 + l11 * z1, w2 - step_size * m2 + l21 * z1 + l22 * z2), None

        start = jnp.ones(n_paths), jnp.ones(n_paths)
        return jnp.stack(jax.lax.scan(step, start, jax.random.split(of_noise, n_steps))[0], axis=1)

    return jax.jit(run)


@cache
def _ornstein_uhlenbeck(n_paths: int, n_steps: int) -> Callable[..., Any]:
    def run(key: Any, A: Any, B: Any) -> Any:
        def step(theta: Any, k: Any) -> tuple[Any, None]:
            return theta @ A.T + jax.random.normal(k, theta.shape) @ B.T, None

        return jax.lax.scan(step, jnp.zeros((n_paths, len(A))), jax.random.split(key, n_steps))[0]

    return jax.jit(run)


@cache
def _least_squares(n_paths: int, n_steps: int, n_samples: int, weighted: bool) -> Callable[..., Any]:
    def run(key: Any, kappa: float, eta: float, noise_std: float, spectrum: Any, start: Any) -> Any:
        def step(state: Any, k: Any) -> tuple[Any, None]:
            delta, total = state
            of_x, of_noise, of_w = jax.random.split(k, 3)
            w = jnp.full((n_paths, n_samples), 1 / n_samples)
            if weighted:
                z = jax.random.normal(of_w, (n_paths, n_samples))
                w += kappa * (z - z.mean(axis=1, keepdims=True))
            x = jnp.sqrt(spectrum) * jax.random.normal(of_x, (n_paths, n_samples, len(spectrum)))
            residual = jnp.einsum("pnd,pd->pn", x, delta) - noise_std * jax.random.normal(of_noise, (n_paths, n_samples))
            delta -= eta * jnp.einsum("pn,pnd->pd", w * residual, x)
            return (delta, total + delta), None

        first = jnp.broadcast_to(start, (n_paths, len(start)))
        (_, total), _ = jax.lax.scan(step, (first, first), jax.random.split(key, n_steps))
        return 0.5 * (total / (n_steps + 1)) ** 2 @ spectrum

    return jax.jit(run)


@cache
def _coupled(n_paths: int, n_steps: int, refinement: int) -> Callable[..., Any]:
    apart = 1e-6

    def run(key: Any, eta: float, strength: float, data: Any, start: Any) -> Any:
        A, y = data[:, :-1], data[:, -1]
        h, n = eta / refinement, len(data)

        def gradients(theta: Any) -> Any:  # by component, sample and path
            residual = A @ theta - y[:, None]
            return A.T[:, :, None] * (residual / jnp.sqrt(1 + residual**2))

        def fine(state: Any, k: Any) -> tuple[Any, None]:
            Theta, path = state
            increment = jnp.sqrt(h) * jax.random.normal(k, path.shape)
            G = gradients(Theta)
            mean, noise = G.mean(axis=1), strength * (G * increment).sum(axis=1)
            slope = (gradients(Theta + apart * mean).mean(axis=1) - mean) / apart
            return (Theta - h * mean - noise + 0.5 * h * h * slope, path + increment), None

        def coarse(state: Any, k: Any) -> tuple[Any, None]:
            theta, Theta = state
            (Theta, path), _ = jax.lax.scan(fine, (Theta, jnp.zeros((n, n_paths))), jax.random.split(k, refinement))
            return (theta - (gradients(theta) * (eta / n + strength * path)).sum(axis=1), Theta), None

        first = jnp.broadcast_to(start[:, None], (len(start), n_paths))
        (theta, Theta), _ = jax.lax.scan(coarse, (first, first), jax.random.split(key, n_steps))
        return ((theta - Theta) ** 2).sum(axis=0)

    return jax.jit(run)


@cache
def _normals(n_paths: int, n: int) -> Callable[..., Any]:
    return jax.jit(lambda key: jax.random.normal(key, (n_paths, n)).mean(axis=1))


@cache
def _gaussian_weights(size: int, n: int) -> Callable[..., Any]:
    @jax.jit
    def run(key: Any, scale: float) -> Any:
        z = jax.random.normal(key, (size, n))
        return 1 / n + scale * (z - z.mean(axis=1, keepdims=True))

    return run
