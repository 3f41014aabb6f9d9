"""The Ornstein-Uhlenbeck process at a minimum, sampled exactly or by Euler-Maruyama."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from gradnoise.simulations import ensemble
from gradnoise.simulations.ensemble import Progress, Result, kernel, part
from gradnoise.simulations.seeds import RNG, Stream
from gradnoise.simulations.statistics import Estimate, Moments, Proportion, with_error
from gradnoise.theory import escape
from gradnoise.theory._linalg import psd_eigh, triangular_root
from gradnoise.theory._validation import as_array, as_choice, as_matching, as_psd, as_real, as_whole_steps

__all__ = ["OUResult", "simulate"]

_BLOCK_SIZE = 8192
_LANES = 64  # part of the contract, as it decides the order in which normals are drawn


@dataclass(frozen=True, eq=False, repr=False)
class OUResult(Result):
    """Statistics of theta_t.

    Attributes
    ----------
    loss : Estimate
        E L(theta_t). Units: loss.
    exceedance : tuple of Proportion
        P(L(theta_t) >= delta), for each delta.
    covariance : (d, d) ndarray
        Sample mean of theta_t theta_t', whose expectation is the covariance, as the process starts at zero.
    covariance_error : (d, d) ndarray
        Standard errors of its entries.
    arguments, stream, versions
        What made it; see `gradnoise.simulations.ensemble.Result`.

    Examples
    --------
    >>> from gradnoise.simulations import ornstein_uhlenbeck
    >>> found = ornstein_uhlenbeck.simulate([[2.0]], [[1.0]], 0.5, 1_000, rng=1, deltas=[0.3])
    >>> found.exceedance[0].n, found.covariance.shape
    (1000, (1, 1))
    >>> again = ornstein_uhlenbeck.simulate(**found.arguments, rng=found.stream)
    >>> again.loss == found.loss
    True
    """

    loss: Estimate
    exceedance: tuple[Proportion, ...]
    covariance: np.ndarray
    covariance_error: np.ndarray

    def _headline(self) -> str:
        return f"E L {with_error(self.loss.value, self.loss.standard_error)} of {self.loss.n:,} paths"


def simulate(
    hessian: ArrayLike,
    covariance: ArrayLike,
    time: float,
    n_paths: int,
    *,
    rng: RNG,
    method: str = "exact",
    step_size: float | None = None,
    deltas: ArrayLike = (),
    n_jobs: int | None = None,
    store: str | os.PathLike[str] | None = None,
    progress: Progress = None,
) -> OUResult:
    """Sample theta_t of d theta = -H theta dt + Sigma^(1/2) dW, theta_0 = 0.

    Parameters
    ----------
    hessian, covariance : (d, d) array_like
        H and Sigma, symmetric positive semi-definite.
    time : float
        t >= 0.
    n_paths : int
        Independent paths.
    rng : None, int, SeedSequence or Generator
        See `gradnoise.simulations.seeds.Stream.of`.
    method : {"exact", "euler"}
        "exact" draws from the transition law of the whole time at once; "euler" is the Euler-Maruyama scheme, whose error is
        of first order in its step, and which is gradient descent with noise where the step is the learning rate.
    step_size : float, optional
        Of "euler"; the time must be a whole number of steps.
    deltas : array_like
        Loss levels whose exceedance is counted.
    n_jobs : int, optional
    store : path, optional
    progress : bool or callable, optional
        See `gradnoise.simulations.ensemble.run`.

    Returns
    -------
    OUResult

    Raises
    ------
    ValueError, TypeError
        If an argument is not allowed.

    References
    ----------
    zhu2019, Eq. (12).

    Examples
    --------
    >>> from gradnoise.simulations import ornstein_uhlenbeck
    >>> found = ornstein_uhlenbeck.simulate([[2.0]], [[1.0]], 50.0, 1_000, rng=1)
    >>> abs(found.loss.value - 0.25) < 6 * found.loss.standard_error  # Tr Sigma / 4, as the time is long
    True
    >>> ornstein_uhlenbeck.simulate([[2.0]], [[1.0]], 0.0, 10, rng=1).covariance  # it starts at zero
    array([[0.]])
    """
    H, Sigma = as_psd(hessian, "hessian"), as_psd(covariance, "covariance")
    as_matching(H, Sigma, ("hessian", "covariance"))
    t = as_real(time, "time", at_least=0)
    as_choice(method, "method", ("exact", "euler"))
    levels = np.atleast_1d(as_array(deltas, "deltas", ndim=(0, 1)))
    stream = Stream.of(rng)

    # The scheme commutes with rotations, so it may run in the eigenbasis of H, where its drift is diagonal.
    lam, U = psd_eigh(H)
    if method == "exact":
        if step_size is not None:
            raise ValueError(f"step_size applies to the method 'euler' only, got {step_size!r}")
        n_steps, shrink = 1, np.zeros_like(lam)
        noise = escape.ou_covariance(H, Sigma, t)
    else:
        if step_size is None:
            raise ValueError("step_size must be given for the method 'euler'")
        step_size = eta = as_real(step_size, "step_size", above=0)
        n_steps = as_whole_steps(t, eta)
        shrink, noise = 1 - eta * lam, eta * Sigma
    scheme = _Scheme(n_steps, shrink, triangular_root(U.T @ noise @ U), lam, np.ascontiguousarray(U))
    (moments, counts) = ensemble.run(
        _block,
        (scheme, levels),
        n_paths,
        rng=stream,
        reduce=_reduce,
        n_jobs=n_jobs,
        block_size=_BLOCK_SIZE,
        store=store,
        progress=progress,
    )
    loss, *products = moments.estimates()
    second, error = np.empty_like(H), np.empty_like(H)
    for (i, j), product in zip(zip(*np.triu_indices(len(H)), strict=True), products, strict=True):
        second[i, j] = second[j, i] = product.value
        error[i, j] = error[j, i] = product.standard_error
    arguments = {
        "hessian": H.tolist(),
        "covariance": Sigma.tolist(),
        "time": t,
        "n_paths": n_paths,
        "method": method,
        "step_size": step_size,
        "deltas": levels.tolist(),
    }
    exceedance = tuple(Proportion(int(c), loss.n) for c in counts)
    return OUResult(loss, exceedance, second, error, arguments=arguments, stream=stream)


class _Scheme(NamedTuple):
    """Steps theta <- shrink theta + factor z, z standard normal, in the eigenbasis of H."""

    n_steps: int
    shrink: np.ndarray  # (d,)
    factor: np.ndarray  # (d, d), lower triangular. Units: parameter
    eigenvalues: np.ndarray  # (d,), of H. Units: loss / parameter squared
    axes: np.ndarray  # (d, d), its eigenvectors, as columns


def _block(n_paths: int, generator: np.random.Generator, scheme: _Scheme, levels: np.ndarray) -> tuple[np.ndarray, ...]:
    d = len(scheme.eigenvalues)
    statistics = np.empty((n_paths, 1 + d * (d + 1) // 2))
    _run_paths(generator, scheme, statistics)
    if not np.isfinite(statistics).all():
        raise ValueError(f"time and step_size must keep all paths finite, got {scheme.n_steps} steps, in which some diverge")
    counts = (statistics[:, :1] >= levels).sum(axis=0)
    return (*Moments.of(statistics).as_block(), counts)


def _reduce(blocks: Iterable[tuple[np.ndarray, ...]]) -> tuple[Moments, np.ndarray]:
    parts = ((Moments.from_block(block), counts) for block, counts in blocks)
    return functools.reduce(lambda a, b: (a[0].merge(b[0]), a[1] + b[1]), parts)


@kernel
def _run_paths(generator, scheme, statistics):
    """Write the loss and the products theta_i theta_j, i <= j, of each path."""
    n_paths, d = statistics.shape[0], scheme.eigenvalues.shape[0]
    theta, z, x = np.zeros(d * _LANES), np.zeros(d * _LANES), np.empty(d)  # rows of _LANES
    for first in range(0, n_paths, _LANES):
        lanes = min(_LANES, n_paths - first)
        theta[:] = 0.0
        for _ in range(scheme.n_steps):
            _draw_normals(generator, lanes, z)
            _step(scheme.shrink, scheme.factor, z, theta)
        _write_statistics(scheme, theta, x, first, lanes, statistics)


@kernel
def _draw_normals(generator, lanes, z):
    for row in range(0, z.shape[0], _LANES):
        for lane in range(lanes):
            z[row + lane] = generator.standard_normal()


@kernel
def _step(shrink, factor, z, theta):
    """Shrink each coordinate and add its normals, four columns of the factor at a time to spare loads and stores."""
    for i in range(shrink.shape[0]):
        row, a = theta[i * _LANES : (i + 1) * _LANES], shrink[i]
        for lane in range(_LANES):
            row[lane] *= a
        j = 0
        while j + 4 <= i + 1:
            c0, c1, c2, c3 = factor[i, j], factor[i, j + 1], factor[i, j + 2], factor[i, j + 3]
            columns = z[j * _LANES : (j + 4) * _LANES]
            for lane in range(_LANES):
                s = row[lane] + c0 * columns[lane] + c1 * columns[_LANES + lane]
                row[lane] = s + c2 * columns[2 * _LANES + lane] + c3 * columns[3 * _LANES + lane]
            j += 4
        while j <= i:
            c, column = factor[i, j], z[j * _LANES : (j + 1) * _LANES]
            for lane in range(_LANES):
                row[lane] += c * column[lane]
            j += 1


@part
def _write_statistics(scheme, theta, x, first, lanes, statistics):
    lam, U, d = scheme.eigenvalues, scheme.axes, x.shape[0]
    for lane in range(lanes):
        loss = 0.0
        for i in range(d):
            loss += 0.5 * lam[i] * theta[i * _LANES + lane] * theta[i * _LANES + lane]
        for i in range(d):
            x[i] = 0.0
            for j in range(d):
                x[i] += U[i, j] * theta[j * _LANES + lane]
        statistics[first + lane, 0] = loss
        column = 1
        for i in range(d):
            for j in range(i, d):
                statistics[first + lane, column] = x[i] * x[j]
                column += 1
