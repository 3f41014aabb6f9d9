"""The Ornstein-Uhlenbeck workload in packages for stochastic differential equations, each with its fastest Euler-Maruyama."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import diffrax
import jax
import numpy as np
import torch
import torchsde
from jax import numpy as jnp

jax.config.update("jax_enable_x64", True)
torch.set_num_threads(1)


def in_diffrax(n_paths: int, seed: int, n_steps: int, step_size: float, H: np.ndarray, S: np.ndarray) -> np.ndarray:
    """Last theta of d theta = -H theta dt + S dW from zero, (n_paths, d)."""
    return np.asarray(_in_diffrax(n_paths, n_steps, step_size)(jax.random.key(seed), H, S))


@cache
def _in_diffrax(n_paths: int, n_steps: int, step_size: float) -> Callable[..., Any]:
    def path(key: Any, H: Any, S: Any) -> Any:
        brownian = diffrax.UnsafeBrownianPath(shape=(len(H),), key=key)
        drift = diffrax.ODETerm(lambda t, theta, args: -H @ theta)
        noise = diffrax.ControlTerm(lambda t, theta, args: S, brownian)
        solution = diffrax.diffeqsolve(
            diffrax.MultiTerm(drift, noise), diffrax.Euler(), 0.0, n_steps * step_size, step_size, jnp.zeros(len(H)),
            adjoint=diffrax.DirectAdjoint(), max_steps=n_steps + 1,
        )  # fmt: skip
        return solution.ys[-1]

    return jax.jit(lambda key, H, S: jax.vmap(lambda k: path(k, H, S))(jax.random.split(key, n_paths)))


class _OrnsteinUhlenbeck(torch.nn.Module):
    noise_type, sde_type = "additive", "ito"

    def __init__(self, H: np.ndarray, S: np.ndarray) -> None:
        super().__init__()
        self.H, self.S = torch.as_tensor(H), torch.as_tensor(S)

    def f(self, t: torch.Tensor, theta: torch.Tensor) -> torch.Tensor:
        return -theta @ self.H

    def g(self, t: torch.Tensor, theta: torch.Tensor) -> torch.Tensor:
        return self.S.expand(len(theta), *self.S.shape)


def in_torchsde(n_paths: int, seed: int, n_steps: int, step_size: float, H: np.ndarray, S: np.ndarray) -> np.ndarray:
    """Last theta of the same, (n_paths, d)."""
    torch.manual_seed(seed)
    sde, start = _OrnsteinUhlenbeck(H, S), torch.zeros(n_paths, len(H), dtype=torch.float64)
    times = torch.tensor([0.0, n_steps * step_size], dtype=torch.float64)
    with torch.no_grad():
        return torchsde.sdeint(sde, start, times, dt=step_size, method="euler")[-1].numpy()
