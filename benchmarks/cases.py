"""The workloads: what each contender runs, and which numbers of theirs must agree."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy_versions
from c_yardstick import Yardstick

from gradnoise.simulations import least_squares, ornstein_uhlenbeck, sampling, toy
from gradnoise.simulations.statistics import Estimate
from gradnoise.theory import two_basin
from gradnoise.theory.least_squares import LeastSquares
from gradnoise.theory.sampling import Gaussian, Minibatch

Statistics = Callable[[int, int], np.ndarray]

_BLOCK = 512  # paths that plain C and NumPy run at a time: about where NumPy is fastest, as its arrays still fit into the cache


@dataclass(frozen=True)
class Outcome:
    """What a run of a contender found.

    Attributes
    ----------
    estimates : list of Estimate
        Numbers on which all contenders must agree.
    bits : ndarray
        All that gradnoise returned, which must not depend on the number of threads.
    """

    estimates: list[Estimate]
    bits: np.ndarray


Run = Callable[[int, int], Outcome]


@dataclass(frozen=True)
class Case:
    """A workload.

    Attributes
    ----------
    name, unit : str
        The unit is what `n_steps` and the number of paths count.
    n_steps : int
        Units of one path.
    compared : tuple of str
        Names of the estimates.
    contenders : dict
        Name -> run(n_paths, seed). "C" and "C, 2 threads" are missing where there is no compiler.
    numpy_share : int
        NumPy runs n_paths over this, as it is slow; its times are per unit all the same.
    target : float or None
        Of gradnoise / C, on one thread.
    threads_target : float or None
        Of the gain by two threads.
    share : int
        All run n_paths over this, as a path takes long.
    """

    name: str
    unit: str
    n_steps: int
    compared: tuple[str, ...]
    contenders: dict[str, Run]
    numpy_share: int = 1
    target: float | None = None
    threads_target: float | None = None
    share: int = 1


def all_cases(c: Yardstick | None) -> list[Case]:
    """Return the workloads, without plain C if `c` is None."""
    return [toy_case(c), ornstein_uhlenbeck_case(c), *least_squares_cases(c), *weights_cases(c)]


def toy_case(c: Yardstick | None) -> Case:
    """Toy with the covariance of SGD recomputed at every step, from data that each path draws anew."""
    n_steps, step_size, power, n_data = 500, 0.005, 0.01, 100
    values, vectors = np.linalg.eigh(two_basin.DATA_COVARIANCE)
    args = (n_steps, step_size, power, n_data, (vectors * np.sqrt(values)) @ vectors.T)

    def outcome(final: np.ndarray) -> Outcome:
        success = (final < toy.ESCAPED_BELOW).all(axis=1)
        return Outcome([Estimate.of(success.astype(float)), Estimate.of(final.sum(axis=1))], final)

    def ours(n_jobs: int) -> Run:
        options = {"n_steps": n_steps, "step_size": step_size, "noise_power": power, "n_data": n_data, "n_jobs": n_jobs}
        return lambda n, seed: outcome(toy.simulate("gld_leading", n, rng=seed, progress=False, **options).final)

    contenders = _contenders(
        ours, outcome, lambda n, seed: numpy_versions.toy(n, seed, *args), c and (lambda n, seed: c.toy(n, seed, *args))
    )
    compared = ("success rate", "mean of w_1 + w_2")
    return Case("two-basin toy", "path-step", n_steps, compared, contenders, numpy_share=8, target=1.7, threads_target=1.75)


def ornstein_uhlenbeck_case(c: Yardstick | None) -> Case:
    """Euler-Maruyama in 16 dimensions with a dense Hessian and a dense noise matrix."""
    d, n_steps, step_size = 16, 1000, 0.005
    rng = np.random.default_rng(12345)
    Q = np.linalg.qr(rng.normal(size=(d, d)))[0]
    H, S = (Q * np.linspace(0.2, 4, d)) @ Q.T, 0.5 * np.eye(d) + 0.1 * rng.normal(size=(d, d))
    H, Sigma = (H + H.T) / 2, S @ S.T
    args = (n_steps, np.eye(d) - step_size * H, np.sqrt(step_size) * S)

    def outcome(theta: np.ndarray) -> Outcome:
        return Outcome([Estimate.of(np.einsum("pi,ij,pj->p", theta, H, theta, optimize=True) / 2)], theta)

    def ours(n_jobs: int) -> Run:
        options = {"method": "euler", "step_size": step_size, "n_jobs": n_jobs, "progress": False}

        def run(n: int, seed: int) -> Outcome:
            result = ornstein_uhlenbeck.simulate(H, Sigma, n_steps * step_size, n, rng=seed, **options)
            loss = [result.loss.value, result.loss.standard_error]
            return Outcome([result.loss], np.concatenate([loss, result.covariance.ravel(), result.covariance_error.ravel()]))

        return run

    contenders = _contenders(
        ours,
        outcome,
        lambda n, seed: numpy_versions.ornstein_uhlenbeck(n, seed, *args),
        c and (lambda n, seed: c.ornstein_uhlenbeck(n, seed, *args)),
    )
    name = "Ornstein-Uhlenbeck"
    return Case(name, "path-step", n_steps, ("mean loss",), contenders, numpy_share=4, target=2.0, threads_target=1.75)


def least_squares_cases(c: Yardstick | None) -> list[Case]:
    """Averaged SGD in 20 dimensions with 4 samples a step, and MSGD with Gaussian weights of its covariance on 64."""
    b = 4
    sgd, msgd = Minibatch(b, b, replacement=False), Gaussian(64, b, replacement=False)
    return [
        _least_squares_case("least squares, SGD", sgd, 0.0, c, share=8, target=1.8),
        _least_squares_case("least squares, MSGD", msgd, float(np.sqrt(msgd.centred_power)), c, share=32, target=None),
    ]


def _least_squares_case(
    name: str, noise: Minibatch | Gaussian, kappa: float, c: Yardstick | None, *, share: int, target: float | None
) -> Case:
    d, n_steps, step_size, noise_std = 20, 2000, 0.05, 0.5
    spectrum, start = 1 / np.arange(1, d + 1), np.full(d, -1 / np.sqrt(d))
    problem = LeastSquares(spectrum, start, noise_std)
    args = (n_steps, noise.n, kappa, step_size, noise_std, spectrum, start)

    def ours(n_jobs: int) -> Run:
        def run(n: int, seed: int) -> Outcome:
            risk = least_squares.simulate(problem, noise, step_size, n_steps, n, rng=seed, n_jobs=n_jobs, progress=False)
            return Outcome([risk], np.array([risk.value, risk.standard_error]))

        return run

    contenders = _contenders(
        ours,
        lambda risks: Outcome([Estimate.of(risks)], risks),
        lambda n, seed: numpy_versions.least_squares(n, seed, *args),
        c and (lambda n, seed: c.least_squares(n, seed, *args)),
    )
    return Case(name, "path-step", n_steps, ("mean risk",), contenders, 8, target, 1.75, share)


def weights_cases(c: Yardstick | None) -> list[Case]:
    """Sampling vectors of two classes, all n weights of each."""
    batch, normal = Minibatch(1000, 32), Gaussian(1000, 32)
    scale = float(np.sqrt(normal.centred_power))
    return [
        _weights_case(
            batch,
            lambda n, seed: numpy_versions.minibatch_weights(n, seed, batch.n, batch.batch_size),
            c and (lambda n, seed: c.minibatch_weights(n, seed, batch.n, batch.batch_size)),
        ),
        _weights_case(
            normal,
            lambda n, seed: numpy_versions.gaussian_weights(n, seed, normal.n, scale),
            c and (lambda n, seed: c.gaussian_weights(n, seed, normal.n, scale)),
        ),
    ]


def _statistic(w: np.ndarray) -> np.ndarray:
    """Square of the sum of eight weights, whose mean a wrong variance or covariance would shift."""
    return w[:, :8].sum(axis=1, keepdims=True) ** 2


def _weights_case(noise: Minibatch | Gaussian, in_numpy: Statistics, in_c: Statistics | None) -> Case:
    def outcome(values: np.ndarray) -> Outcome:
        return Outcome([Estimate.of(values[:, 0])], values)

    def ours(n_jobs: int) -> Run:
        def run(n: int, seed: int) -> Outcome:
            estimates = sampling.expectations(noise, _statistic, n, rng=seed, n_jobs=n_jobs)
            return Outcome(estimates, np.array([(e.value, e.standard_error) for e in estimates]))

        return run

    contenders = _contenders(
        ours, outcome, lambda n, seed: _statistic(in_numpy(n, seed)), in_c and (lambda n, seed: _statistic(in_c(n, seed)))
    )
    name = f"W of {type(noise).__name__}({noise.n}, {noise.batch_size})"
    return Case(name, "vector", 1, ("mean of (W_1 + ... + W_8)²",), contenders, numpy_share=4)


def _contenders(
    ours: Callable[[int], Run],
    outcome: Callable[[np.ndarray], Outcome],
    in_numpy: Statistics,
    in_c: Statistics | None,
) -> dict[str, Run]:
    """Name the contenders in the order in which they run."""
    runs: dict[str, Run] = {}
    if in_c is not None:
        runs["C"] = lambda n, seed: outcome(_in_blocks(in_c, n, seed, 1))
        runs["C, 2 threads"] = lambda n, seed: outcome(_in_blocks(in_c, n, seed, 2))
    runs["gradnoise"] = ours(1)
    runs["gradnoise, 2 threads"] = ours(2)
    runs["NumPy"] = lambda n, seed: outcome(_in_blocks(in_numpy, n, seed, 1))
    return runs


def _in_blocks(function: Statistics, n: int, seed: int, n_jobs: int) -> np.ndarray:
    """Join what `function(n_paths, seed)` returns for blocks with seeds of their own."""
    starts = range(0, n, _BLOCK)

    def one(start: int) -> np.ndarray:
        return function(min(_BLOCK, n - start), 1_000_003 * (seed + 1) + start)

    if n_jobs == 1:
        return np.concatenate([one(start) for start in starts])
    with ThreadPoolExecutor(n_jobs) as pool:
        return np.concatenate(list(pool.map(one, starts)))
