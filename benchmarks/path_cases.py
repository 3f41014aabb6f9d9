"""The workloads that follow paths: the toy, Ornstein-Uhlenbeck, least squares, and M-SGD beside its SDE."""

from __future__ import annotations

from importlib.util import find_spec

import numba
import numpy as np
import numpy_versions
from c_yardstick import Yardstick
from case import Case, Outcome, Run, Statistics, Targets, contenders

from gradnoise.simulations import ensemble, least_squares, ornstein_uhlenbeck, toy
from gradnoise.simulations.sde import Coupling, Problem, final_points
from gradnoise.simulations.statistics import Estimate
from gradnoise.theory.escape import two_basin
from gradnoise.theory.least_squares import LeastSquares
from gradnoise.theory.sampling import Gaussian, Minibatch

jax_versions = None
if find_spec("jax"):
    import jax_versions
sde_packages = None
if jax_versions and find_spec("diffrax") and find_spec("torchsde"):
    import sde_packages

NEAR_C = Targets(limit=1.2, threads=1.85)


def normals_case(c: Yardstick | None) -> Case:
    """Standard normals one by one, as kernels draw them: what is taken off the difference between C and gradnoise."""
    n = 1000

    def ours(n_jobs: int) -> Run:
        return lambda paths, seed: Outcome.of(
            ensemble.run(_normals_block, (n,), paths, rng=seed, reduce=ensemble.concatenate, n_jobs=n_jobs)[0]
        )

    others = {
        "NumPy": lambda paths, seed: numpy_versions.normals(paths, seed, n),
        "JAX": jax_versions and (lambda paths, seed: jax_versions.normals(paths, seed, n)),
    }
    runs = contenders(ours, Outcome.of, c and (lambda paths, seed: c.normals(paths, seed, n)), others)
    return Case("a standard normal", "normal", n, ("mean",), runs, Targets(numpy=0.0), 1.0)


def _normals_block(n_paths: int, generator: np.random.Generator, n: int) -> tuple[np.ndarray]:
    means = np.empty(n_paths)
    _mean_normals(generator, n, means)
    return (means,)


@numba.njit(nogil=True)
def _mean_normals(generator, n, means):
    for p in range(means.shape[0]):
        total = 0.0
        for _ in range(n):
            total += generator.standard_normal()
        means[p] = total / n


def toy_cases(c: Yardstick | None) -> list[Case]:
    """Toy with every dynamics, from 100 data points that each path draws anew."""
    return [_toy_case(dynamics, c) for dynamics in toy.DYNAMICS]


def _toy_case(dynamics: str, c: Yardstick | None) -> Case:
    n_steps, step_size, power, n_data, batch_size = 500, 0.005, 0.01, 100, 8
    values, vectors = np.linalg.eigh(two_basin.DATA_COVARIANCE)
    args = (n_steps, step_size, power, n_data, batch_size, (vectors * np.sqrt(values)) @ vectors.T)
    options = {"n_steps": n_steps, "step_size": step_size, "noise_power": power, "n_data": n_data, "progress": False}
    options |= {"batch_size": batch_size} if dynamics == "sgd" else {}

    def outcome(final: np.ndarray) -> Outcome:
        success = (final < toy.ESCAPED_BELOW).all(axis=1)
        return Outcome([Estimate.of(success.astype(float)), Estimate.of(final.sum(axis=1))], final)

    def ours(n_jobs: int) -> Run:
        return lambda n, seed: outcome(toy.simulate(dynamics, n, rng=seed, n_jobs=n_jobs, **options).final)

    kind = toy.DYNAMICS.index(dynamics)
    others = {
        "NumPy": lambda n, seed: numpy_versions.toy(n, seed, dynamics, *args),
        "JAX": (jax_versions and dynamics == "gld_leading" and (lambda n, seed: jax_versions.toy(n, seed, *args))) or None,
    }
    runs = contenders(ours, outcome, c and (lambda n, seed: c.toy(n, seed, kind, *args)), others)
    normals = 2 * n_data / n_steps + {"gd": 0, "sgd": 0, "gld_eigvec": 1}.get(dynamics, 2)
    targets = Targets(c=1.0, numpy=18.0, threads=1.85)
    compared = ("success rate", "mean of w_1 + w_2")
    return Case(f"toy, {dynamics}", "path-step", n_steps, compared, runs, targets, normals, slow_share=16)


def ornstein_uhlenbeck_case(c: Yardstick | None) -> Case:
    """Euler-Maruyama in 16 dimensions with a dense Hessian and a dense noise matrix."""
    d, n_steps, step_size = 16, 1000, 0.005
    rng = np.random.default_rng(12345)
    Q = np.linalg.qr(rng.normal(size=(d, d)))[0]
    H, S = (Q * np.linspace(0.2, 4, d)) @ Q.T, 0.5 * np.eye(d) + 0.1 * rng.normal(size=(d, d))
    H, Sigma = (H + H.T) / 2, S @ S.T
    args = (n_steps, np.eye(d) - step_size * H, np.sqrt(step_size) * S)
    process = (n_steps, step_size, H, S)

    def outcome(theta: np.ndarray) -> Outcome:
        return Outcome([Estimate.of(np.einsum("pi,ij,pj->p", theta, H, theta, optimize=True) / 2)], theta)

    def ours(n_jobs: int) -> Run:
        options = {"method": "euler", "step_size": step_size, "n_jobs": n_jobs, "progress": False}

        def run(n: int, seed: int) -> Outcome:
            result = ornstein_uhlenbeck.simulate(H, Sigma, n_steps * step_size, n, rng=seed, **options)
            loss = [result.loss.value, result.loss.standard_error]
            return Outcome([result.loss], np.concatenate([loss, result.covariance.ravel(), result.covariance_error.ravel()]))

        return run

    others = {
        "NumPy": lambda n, seed: numpy_versions.ornstein_uhlenbeck(n, seed, *args),
        "JAX": jax_versions and (lambda n, seed: jax_versions.ornstein_uhlenbeck(n, seed, *args)),
        "diffrax": sde_packages and (lambda n, seed: sde_packages.in_diffrax(n, seed, *process)),
        "torchsde": sde_packages and (lambda n, seed: sde_packages.in_torchsde(n, seed, *process)),
    }
    runs = contenders(ours, outcome, c and (lambda n, seed: c.ornstein_uhlenbeck(n, seed, *args)), others)
    return Case("Ornstein-Uhlenbeck", "path-step", n_steps, ("mean loss",), runs, NEAR_C, d)


def least_squares_cases(c: Yardstick | None) -> list[Case]:
    """Averaged SGD in 20 dimensions with 4 samples a step, and MSGD with Gaussian weights of its covariance on 64."""
    b = 4
    sgd, msgd = Minibatch(b, b, replacement=False), Gaussian(64, b, replacement=False)
    return [
        _least_squares_case("least squares, SGD", sgd, 0.0, c, share=8),
        _least_squares_case("least squares, MSGD", msgd, float(np.sqrt(msgd.centred_power)), c, share=16),
    ]


def _least_squares_case(name: str, noise: Minibatch | Gaussian, kappa: float, c: Yardstick | None, *, share: int) -> Case:
    d, n_steps, step_size, noise_std = 20, 2000, 0.05, 0.5
    spectrum, start = 1 / np.arange(1, d + 1), np.full(d, -1 / np.sqrt(d))
    problem = LeastSquares(spectrum, start, noise_std)
    args = (n_steps, noise.n, kappa, step_size, noise_std, spectrum, start)

    def ours(n_jobs: int) -> Run:
        def run(n: int, seed: int) -> Outcome:
            risk = least_squares.simulate(problem, noise, step_size, n_steps, n, rng=seed, n_jobs=n_jobs, progress=False)
            return Outcome([risk], np.array([risk.value, risk.standard_error]))

        return run

    others: dict[str, Statistics | None] = {
        "NumPy": lambda n, seed: numpy_versions.least_squares(n, seed, *args),
        "JAX": jax_versions and (lambda n, seed: jax_versions.least_squares(n, seed, *args)),
    }
    runs = contenders(ours, Outcome.of, c and (lambda n, seed: c.least_squares(n, seed, *args)), others)
    normals = noise.n * (d + 1 + (kappa > 0))
    return Case(name, "path-step", n_steps, ("mean risk",), runs, NEAR_C, normals, share)


def coupled_case(c: Yardstick | None) -> Case:
    """M-SGD and its SDE on one Brownian path, for a robust regression on two samples; a unit is a step of the SDE's scheme."""
    n_steps, refinement, eta = 32, 64, 1 / 32
    data, start = np.array([[1.0, 0.3, 0.5], [-0.4, 1.2, -0.8]]), np.array([0.5, 0.5])
    noise = Gaussian(2, 1, centered=False)
    problem = Problem(_losses, _gradients, data, start, "robust regression", vectorized=True)
    coupling = Coupling(noise, eta, (1,), n_steps, refinement)
    args = (n_steps, refinement, eta, float(np.sqrt(eta * noise.centred_power)), data, start)

    def ours(n_jobs: int) -> Run:
        options = {"reduce": ensemble.concatenate, "n_jobs": n_jobs, "block_size": 256}
        return lambda n, seed: Outcome.of(ensemble.run(_distances, (problem, coupling), n, rng=seed, **options)[0])

    others = {
        "NumPy": lambda n, seed: numpy_versions.coupled(n, seed, *args),
        "JAX": jax_versions and (lambda n, seed: jax_versions.coupled(n, seed, *args)),
    }
    runs = contenders(ours, Outcome.of, c and (lambda n, seed: c.coupled(n, seed, *args)), others)
    compared = ("mean-square distance",)
    return Case("M-SGD and its SDE", "fine step", n_steps * refinement, compared, runs, NEAR_C, 2, share=2)


def _distances(n_paths: int, generator: np.random.Generator, problem: Problem, coupling: Coupling) -> tuple[np.ndarray]:
    iterates, references, _ = final_points(n_paths, generator, problem, coupling)
    return (((iterates - references) ** 2).sum(axis=(1, 2)),)


def _losses(theta, data, out):
    for i in range(data.shape[0]):
        residual = data[i, 0] * theta[0] + data[i, 1] * theta[1] - data[i, 2]
        out[i] = np.sqrt(1 + residual**2) - 1


def _gradients(theta, data, out):
    for i in range(data.shape[0]):
        a, b, y = data[i, 0], data[i, 1], data[i, 2]
        for k in range(theta.shape[1]):
            residual = a * theta[0, k] + b * theta[1, k] - y
            slope = residual / np.sqrt(1 + residual * residual)
            out[0, i, k] = slope * a
            out[1, i, k] = slope * b
