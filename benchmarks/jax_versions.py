"""The workloads in JAX as a user would write them: jit, vmap across paths and scan across steps, in double precision."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import numpy as np
from jax import numpy as jnp
from jax.numpy import linalg

from gradnoise.theory.two_basin import SHARP_HESSIAN

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
    hessian = jnp.asarray(SHARP_HESSIAN)

    def path(key: Any, step_size: float, power: float, factor: Any) -> Any:
        of_data, of_noise = jax.random.split(key)
        data = jax.random.normal(of_data, (n_data, 2)) @ factor.T

        def step(w: Any, z: Any) -> tuple[Any, None]:
            s = w - 1 - data
            f, curved = s + 2, s @ hessian
            sharp = (s * curved).sum(axis=1) / 2 < (f * f).sum(axis=1)
            gradients = jnp.where(sharp[:, None], curved, 2 * f)
            mean = gradients.mean(axis=0)
            centred = gradients - mean
            covariance = centred.T @ centred
            root = linalg.cholesky(covariance * (power / jnp.trace(covariance)))
            return w - step_size * mean + root @ z, None

        return jax.lax.scan(step, jnp.ones(2), jax.random.normal(of_noise, (n_steps, 2)))[0]

    return jax.jit(lambda key, *args: jax.vmap(lambda k: path(k, *args))(jax.random.split(key, n_paths)))


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

        def slopes(theta: Any) -> Any:
            residual = theta @ A.T - y
            return residual / jnp.sqrt(1 + residual**2)

        def fine(state: Any, k: Any) -> tuple[Any, None]:
            Theta, path = state
            increment = jnp.sqrt(h) * jax.random.normal(k, path.shape)
            s = slopes(Theta)
            mean, noise = s @ A / n, (s * increment) @ A * strength
            slope = (slopes(Theta + apart * mean) @ A / n - mean) / apart
            return (Theta - h * mean - noise + 0.5 * h * h * slope, path + increment), None

        def coarse(state: Any, k: Any) -> tuple[Any, None]:
            theta, Theta = state
            (Theta, path), _ = jax.lax.scan(fine, (Theta, jnp.zeros((n_paths, n))), jax.random.split(k, refinement))
            return (theta - (slopes(theta) * (eta / n + strength * path)) @ A, Theta), None

        first = jnp.broadcast_to(start, (n_paths, len(start)))
        (theta, Theta), _ = jax.lax.scan(coarse, (first, first), jax.random.split(key, n_steps))
        return ((theta - Theta) ** 2).sum(axis=1)

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
