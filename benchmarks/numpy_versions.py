"""The workloads in NumPy, vectorised across paths as a user would write them."""

from __future__ import annotations

import numpy as np

from gradnoise.theory.escape.two_basin import SHARP_HESSIAN


def toy(
    n_paths: int,
    seed: int,
    dynamics: str,
    n_steps: int,
    step_size: float,
    power: float,
    n_data: int,
    batch_size: int,
    factor: np.ndarray,
) -> np.ndarray:
    """Last parameters, (n_paths, 2)."""
    rng = np.random.default_rng(seed)
    (h11, h12), (_, h22) = SHARP_HESSIAN
    x1, x2 = np.moveaxis(rng.standard_normal((n_paths, n_data, 2)) @ factor.T, 2, 0).copy()
    w = np.ones((n_paths, 2))
    noise_factor = np.zeros((n_paths, 2, 2))
    for _ in range(n_steps):
        y1, y2 = x1, x2
        if dynamics == "sgd":
            batch = rng.integers(0, n_data, (n_paths, batch_size))
            y1, y2 = np.take_along_axis(x1, batch, axis=1), np.take_along_axis(x2, batch, axis=1)
        s1, s2 = w[:, :1] - 1 - y1, w[:, 1:] - 1 - y2
        f1, f2 = s1 + 2, s2 + 2
        hs1, hs2 = h11 * s1 + h12 * s2, h12 * s1 + h22 * s2
        sharp = (s1 * hs1 + s2 * hs2) / 2 < f1 * f1 + f2 * f2
        g1, g2 = np.where(sharp, hs1, 2 * f1), np.where(sharp, hs2, 2 * f2)
        gradient = np.stack([g1.mean(axis=1), g2.mean(axis=1)], axis=1)
        w -= step_size * gradient
        if dynamics in ("gd", "sgd"):
            continue
        c11, c12, c22 = _covariance(dynamics, g1 - gradient[:, :1], g2 - gradient[:, 1:], sharp.mean(axis=1))
        scale = power / (c11 + c22)
        c11, c12, c22 = scale * c11, scale * c12, scale * c22
        noise_factor[:, 0, 0] = np.sqrt(c11)
        noise_factor[:, 1, 0] = np.divide(c12, noise_factor[:, 0, 0], out=np.sqrt(c22), where=c11 > 0)
        noise_factor[:, 1, 1] = np.sqrt(np.maximum(c22 - noise_factor[:, 1, 0] ** 2, 0))
        w += (noise_factor @ rng.standard_normal((n_paths, 2, 1)))[:, :, 0]
    return w


def _covariance(dynamics: str, g1: np.ndarray, g2: np.ndarray, share: np.ndarray) -> tuple[np.ndarray, ...]:
    """Covariance of the noise up to its trace, from centred gradients and the share of the sharp branch."""
    (h11, h12), (_, h22) = SHARP_HESSIAN
    one, zero = np.ones_like(share), np.zeros_like(share)
    match dynamics:
        case "gld_const":
            return one, zero, one
        case "gld_hessian":
            return share * h11 + (1 - share) * 2, share * h12, share * h22 + (1 - share) * 2
        case "gld_eigvec":  # of a multiple of I, e_2
            mixed = np.where(share > 0, one, zero)
            return mixed, mixed, one
    c11, c22 = (g1 * g1).sum(axis=1), (g2 * g2).sum(axis=1)
    return c11, zero if dynamics == "gld_diag" else (g1 * g2).sum(axis=1), c22


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
    rng = np.random.default_rng(seed)
    A, y = data[:, :-1], data[:, -1]
    h, apart = eta / refinement, 1e-6

    def slopes(theta: np.ndarray) -> np.ndarray:
        residual = theta @ A.T - y
        return residual / np.sqrt(1 + residual**2)

    theta = np.tile(start, (n_paths, 1))
    Theta = theta.copy()
    for _ in range(n_steps):
        path = np.zeros((n_paths, len(y)))
        for _ in range(refinement):
            increment = np.sqrt(h) * rng.standard_normal(path.shape)
            path += increment
            s = slopes(Theta)
            mean, noise = s @ A / len(y), (s * increment) @ A * strength
            slope = (slopes(Theta + apart * mean) @ A / len(y) - mean) / apart
            Theta -= h * mean + noise - 0.5 * h * h * slope
        s = slopes(theta)
        theta -= (s * (eta / len(y) + strength * path)) @ A
    return ((theta - Theta) ** 2).sum(axis=1)


def normals(n_paths: int, seed: int, n: int) -> np.ndarray:
    """Means of n standard normals, (n_paths,)."""
    return np.random.default_rng(seed).standard_normal((n_paths, n)).mean(axis=1)


def weights(size: int, seed: int, kind: str, n: int, batch_size: int, scale: float, df: float = 0.0) -> np.ndarray:
    """Sampling vectors of a class, (size, n); `scale` is that of the random part."""
    rng, shape, b = np.random.default_rng(seed), (size, n), batch_size
    match kind:
        case "minibatch":
            return _counts(rng, size, n, b) / b
        case "minibatch without":
            w = np.zeros(shape)
            np.put_along_axis(w, rng.random(shape).argpartition(b, axis=1)[:, :b], 1 / b, axis=1)
            return w
        case "bernoulli":
            return (rng.random(shape) < b / n) / b
        case "gaussian" | "rademacher" | "student":
            if kind == "gaussian":
                z = rng.standard_normal(shape)
            else:
                z = 2.0 * rng.integers(0, 2, shape) - 1 if kind == "rademacher" else rng.standard_t(df, shape)
            return 1 / n + scale * (z - z.mean(axis=1, keepdims=True))
        case "gaussian minibatch":
            chosen = rng.integers(0, n, (size, b)) + n * np.arange(size)[:, np.newaxis]
            added = 1 / b + scale * rng.standard_normal((size, b))
            return np.bincount(chosen.ravel(), added.ravel(), minlength=size * n).reshape(shape)
    counts, z = _counts(rng, size, n, b), rng.standard_normal(shape)
    if kind == "fisher":
        return 1 / n + scale * counts / b * z
    if kind == "cov":
        return 1 / n + scale * counts * (z - (counts * z).sum(axis=1, keepdims=True) / b)
    return 1 / n + scale * (counts / b - 1 / n) * z


def _counts(rng: np.random.Generator, size: int, n: int, batch_size: int) -> np.ndarray:
    chosen = rng.integers(0, n, (size, batch_size)) + n * np.arange(size)[:, np.newaxis]
    return np.bincount(chosen.ravel(), minlength=size * n).reshape(size, n)


def affine_complexity(size: int, seed: int, radius: float, columns: np.ndarray) -> np.ndarray:
    """Suprema of affine losses (n, d + 1) under random signs, (size,)."""
    sums = (2.0 * np.random.default_rng(seed).integers(0, 2, (size, len(columns))) - 1) @ columns
    return (np.abs(sums[:, 0]) + radius * np.linalg.norm(sums[:, 1:], axis=1)) / len(columns)
