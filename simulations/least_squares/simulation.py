"""Averaged SGD and MSGD for online least squares with Gaussian features, fresh samples at every step."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradnoise.simulations import ensemble
from gradnoise.simulations.ensemble import Progress, Result, check_fits, kernel
from gradnoise.simulations.sampling import COMPILED, draw_with, fill_weights, lower, work_space
from gradnoise.simulations.seeds import RNG, Stream
from gradnoise.simulations.statistics import Estimate, Moments, merge_moments, with_error
from gradnoise.theory._validation import FloatArray, as_count, as_iterable
from gradnoise.theory.least_squares import LeastSquares
from gradnoise.theory.sampling import Minibatch, SamplingNoise, as_noise

__all__ = ["RiskCurve", "simulate", "simulate_curve"]

_BLOCK_SIZE = 512
_MOST_STEPS = 2**53  # exact as a float
_GROUP = 4  # samples side by side: their four sums hide the latency of each other's additions
_HELD = 2**18  # normals of a step in NumPy, of all paths that go side by side; it decides the order in which they are drawn


@dataclass(frozen=True, eq=False, repr=False)
class RiskCurve(Result):
    """Estimated excess risks after different numbers of steps of the same replicates.

    Attributes
    ----------
    n_steps : tuple of int
        n, in ascending order.
    averaged, last : tuple of Estimate
        Excess risk of the mean of theta_0 ... theta_n, and of theta_n. Units: loss.
    arguments, stream, versions
        What made it; see `gradnoise.simulations.ensemble.Result`.

    Examples
    --------
    >>> from gradnoise.simulations import least_squares
    >>> from gradnoise.theory.least_squares import LeastSquares
    >>> from gradnoise.theory.sampling import Minibatch
    >>> problem = LeastSquares([1.0, 0.3], initial_error=[1.0, 1.0], noise_std=0.5)
    >>> curve = least_squares.simulate_curve(problem, Minibatch(16, 3, replacement=False), 0.1, [0, 40], 2_000, rng=1)
    >>> curve.n_steps, round(curve.averaged[0].value, 6)  # (1 + 0.3) / 2 before the first step
    ((0, 40), 0.65)
    >>> curve.averaged[1].value > curve.last[1].value  # the mean still remembers the start
    True
    """

    n_steps: tuple[int, ...]
    averaged: tuple[Estimate, ...]
    last: tuple[Estimate, ...]

    def _headline(self) -> str:
        last = self.averaged[-1]
        return f"excess risk {with_error(last.value, last.standard_error)} after {self.n_steps[-1]:,} steps"

    def plot(self, ax: Any = None, *, level: float = 0.95, **style: Any) -> Any:
        """Draw the averaged iterate's excess risk with its intervals, log-log.

        Parameters
        ----------
        ax : matplotlib Axes, optional
        level : float
            Of the intervals.
        **style
            Of matplotlib's ``errorbar``.

        Returns
        -------
        matplotlib Axes

        Examples
        --------
        >>> from gradnoise.simulations import least_squares
        >>> from gradnoise.theory.least_squares import LeastSquares
        >>> from gradnoise.theory.sampling import Minibatch
        >>> from matplotlib.figure import Figure
        >>> problem = LeastSquares([1.0, 0.5], [0.4, -0.4], noise_std=1.0)
        >>> curve = least_squares.simulate_curve(problem, Minibatch(7, 3), 0.1, [1, 4], 100, rng=1)
        >>> curve.plot(Figure().subplots()).get_xlabel()
        '$n + 1$'
        """
        ax = self._axes(ax)
        values = np.array([e.value for e in self.averaged])
        low, high = np.array([e.interval(level) for e in self.averaged]).T
        below = np.minimum(values - low, 0.9 * np.abs(values))  # a bar that reaches zero would leave a logarithmic plot
        options = {"marker": "o", "linestyle": "none", "capsize": 2, **style}
        ax.errorbar(np.array(self.n_steps) + 1, values, yerr=[below, high - values], **options)
        ax.set(xscale="log", yscale="log", xlabel="$n + 1$", ylabel=r"excess risk of the mean of $\theta_0 \ldots \theta_n$")
        return ax


def simulate(
    problem: LeastSquares,
    noise: SamplingNoise,
    step_size: float,
    n_steps: int,
    n_replicates: int,
    *,
    rng: RNG,
    n_jobs: int | None = None,
    store: str | os.PathLike[str] | None = None,
    progress: Progress = None,
) -> Estimate:
    """Estimate the excess risk of the mean of theta_0 ... theta_n.

    Parameters
    ----------
    problem : LeastSquares
        Features, start and label noise.
    noise : SamplingNoise
        Weights of the B = ``noise.n`` fresh samples of a step. ``Minibatch(B, b, replacement=False)`` has the covariance of
        Theorem 1 and is SGD with batch size b, Eq. (3) divided by b, and is simulated as such; the others make Eq. (4). A class
        without a compiled form, as `Enhanced` or one of your own, goes its steps in NumPy, several times as slowly.
    step_size : float
        eta > 0, below the stability limit of these weights.
    n_steps : int
        n >= 0.
    n_replicates : int
        Independent runs.
    rng : None, int, SeedSequence or Generator
    n_jobs : int, optional
    store : path, optional
    progress : bool or callable, optional
        See `gradnoise.simulations.ensemble.run`.

    Returns
    -------
    Estimate
        Units: loss. It has no variance, and its interval no meaning, where the weights have no fourth moment.

    Raises
    ------
    ValueError, TypeError
        If an argument is not allowed.

    References
    ----------
    wu2020, Eqs. (3) and (4).

    Examples
    --------
    >>> from gradnoise.simulations import least_squares
    >>> from gradnoise.theory.least_squares import LeastSquares
    >>> from gradnoise.theory.sampling import Gaussian
    >>> problem, noise = LeastSquares([1.0, 0.5], [0.4, -0.4], noise_std=1.0), Gaussian(7, 3)
    >>> risk = least_squares.simulate(problem, noise, 0.1, 5, 2_000, rng=1)
    >>> abs(risk.value - problem.excess_risk(0.1, noise, 5)) < 6 * risk.standard_error
    True
    """
    n = as_count(n_steps, "n_steps", at_least=0, at_most=_MOST_STEPS)
    options: dict[str, Any] = {"rng": rng, "n_jobs": n_jobs, "store": store, "progress": progress}
    return simulate_curve(problem, noise, step_size, [n], n_replicates, **options).averaged[0]


def simulate_curve(
    problem: LeastSquares,
    noise: SamplingNoise,
    step_size: float,
    n_steps: Sequence[int],
    n_replicates: int,
    *,
    rng: RNG,
    n_jobs: int | None = None,
    store: str | os.PathLike[str] | None = None,
    progress: Progress = None,
) -> RiskCurve:
    """Estimate excess risks after several numbers of steps of the same replicates.

    Parameters
    ----------
    problem : LeastSquares
    noise : SamplingNoise
    step_size : float
        See `simulate`.
    n_steps : sequence of int
        The n >= 0 at which risks are taken, in any order.
    n_replicates : int
        Independent runs.
    rng : None, int, SeedSequence or Generator
    n_jobs : int, optional
    store : path, optional
    progress : bool or callable, optional
        See `gradnoise.simulations.ensemble.run`.

    Returns
    -------
    RiskCurve

    Raises
    ------
    ValueError, TypeError
        If an argument is not allowed.

    Examples
    --------
    >>> from gradnoise.simulations import least_squares
    >>> from gradnoise.theory.least_squares import LeastSquares
    >>> from gradnoise.theory.sampling import Minibatch
    >>> problem = LeastSquares([1.0, 0.5], [0.4, -0.4], noise_std=1.0)
    >>> least_squares.simulate_curve(problem, Minibatch(7, 3), 0.1, [4, 1], 100, rng=1).n_steps
    (1, 4)
    """
    if not isinstance(problem, LeastSquares):
        raise TypeError(f"problem must be a LeastSquares, got {problem!r}")
    eta = problem.stable_step_size(step_size, as_noise(noise))
    n_replicates = as_count(n_replicates, "n_replicates", at_most=ensemble.MOST_PATHS)
    steps = as_iterable(n_steps, "n_steps", "a sequence of integers")
    wanted = sorted({as_count(n, "n_steps", at_least=0, at_most=_MOST_STEPS) for n in steps})
    drawn = 1 if noise in COMPILED else len(problem.spectrum) + 3  # numbers of a sample that are held at once
    check_fits(8 * noise.n * drawn, f"noise of {noise.n} samples makes a step")
    if not wanted:
        raise ValueError("n_steps must not be empty")
    stream = Stream.of(rng)
    setting = problem.spectrum, problem.initial_error, problem.noise_std, eta, np.array(wanted)
    if noise in COMPILED:
        # A sample of weight zero is not drawn, as the samples are fresh and which of them weigh something does not matter. So
        # the weights of a minibatch without replacement are b times 1/b, whatever the B that it is taken from.
        redrawn = not (type(noise) is Minibatch and not noise.replacement)
        block, params = _compiled_block, (*setting, lower(noise), noise.n, redrawn)
    else:
        block, params = _numpy_block, (*setting, noise)
    moments = ensemble.run(
        block,
        params,
        n_replicates,
        rng=stream,
        reduce=merge_moments,
        n_jobs=n_jobs,
        block_size=_BLOCK_SIZE,
        store=store,
        progress=progress,
    )
    estimates = tuple(moments.estimates())
    arguments = {
        "spectrum": problem.spectrum.tolist(),
        "initial_error": problem.initial_error.tolist(),
        "noise_std": problem.noise_std,
        "noise": repr(noise),
        "step_size": eta,
        "n_replicates": n_replicates,
    }
    averaged, last = estimates[: len(wanted)], estimates[len(wanted) :]
    return RiskCurve(tuple(wanted), averaged, last, arguments=arguments, stream=stream)


def _start(spectrum: FloatArray, initial_error: FloatArray, noise_std: float, step_size: float) -> tuple[FloatArray, FloatArray]:
    """Return start and rates in whitened coordinates u = Sigma^(1/2) (theta - theta_*).

    There is one more for the label noise, which is never changed.
    """
    return np.append(np.sqrt(spectrum) * initial_error, -noise_std), np.append(step_size * spectrum, 0.0)


def _compiled_block(n_paths: int, generator: np.random.Generator, *params: Any) -> tuple[np.ndarray, ...]:
    spectrum, initial_error, noise_std, step_size, wanted, rule, n_samples, redrawn = params
    start, rate = _start(spectrum, initial_error, noise_std, step_size)
    risks = np.empty((n_paths, 2 * len(wanted)))
    _kernel(generator, start, rate, rule, np.empty(n_samples), work_space(rule, n_samples), redrawn, wanted, risks)
    return Moments.of(risks).as_block()


def _numpy_block(n_paths: int, generator: np.random.Generator, *params: Any) -> tuple[np.ndarray, ...]:
    """Take the steps of many paths at once, with weights that only NumPy can draw."""
    *setting, wanted, noise = params
    start, rate = _start(*setting)
    risks = np.empty((n_paths, 2, len(wanted)))
    together = max(_HELD // (noise.n * len(start)), 1)
    for first in range(0, n_paths, together):
        part = risks[first : first + together]
        u = np.tile(start, (len(part), 1))
        total = u.copy()
        for t in range(wanted[-1] + 1):
            if t > 0:
                weights = draw_with(noise, len(part), generator)
                z = generator.standard_normal((len(part), noise.n, len(start)))
                residuals = np.einsum("psi,pi->ps", z, u)
                u = u - rate * np.einsum("ps,psi->pi", weights * residuals, z)
                total += u
            if t in wanted:
                part[:, :, np.searchsorted(wanted, t)] = 0.5 * np.stack(
                    [(total[:, :-1] ** 2).sum(axis=1) / (t + 1.0) ** 2, (u[:, :-1] ** 2).sum(axis=1)], axis=1
                )
    return Moments.of(risks.reshape(n_paths, -1)).as_block()


@kernel
def _kernel(generator, start, rate, rule, w, space, redrawn, wanted, risks):
    """Write the excess risks |u|^2 / 2 of averaged and last iterate of each replicate after each wanted number of steps."""
    d, n_wanted = start.shape[0] - 1, wanted.shape[0]
    active = np.zeros(w.shape[0] + _GROUP)
    u, total, gradient, z = np.empty(d + 1), np.empty(d + 1), np.empty(d + 1), np.zeros(_GROUP * (d + 1))
    n_active = 0
    for path in range(risks.shape[0]):
        u[:] = start
        total[:] = start
        taken = 0
        for t in range(wanted[n_wanted - 1] + 1):
            if t > 0:
                if redrawn or n_active == 0:
                    fill_weights(rule, generator, w, space)
                    n_active = _keep_active(w, active)
                _step(generator, active, n_active, rate, u, gradient, z)
                for i in range(d):
                    total[i] += u[i]
            if t == wanted[taken]:
                averaged, last = 0.0, 0.0
                for i in range(d):
                    averaged += total[i] * total[i]
                    last += u[i] * u[i]
                risks[path, taken] = 0.5 * averaged / ((t + 1.0) * (t + 1.0))
                risks[path, n_wanted + taken] = 0.5 * last
                taken += 1


@kernel
def _keep_active(w, active):
    """Gather the weights that are not zero, and pad them with zeros to whole groups."""
    n_active = 0
    for i in range(w.shape[0]):
        if w[i] != 0.0:
            active[n_active] = w[i]
            n_active += 1
    active[n_active : n_active + _GROUP] = 0.0
    return n_active


@kernel
def _step(generator, active, n_active, rate, u, gradient, z):
    """Take one step; normals are drawn sample by sample, the features before the label noise."""
    size = u.shape[0]
    for i in range(size):
        gradient[i] = 0.0
    for first in range(0, n_active, _GROUP):
        for k in range(min(_GROUP, n_active - first) * size):  # what is missing from a group keeps old features, and weighs 0
            z[k] = generator.standard_normal()
        r0 = r1 = r2 = r3 = 0.0
        for i in range(size):
            r0 += z[i] * u[i]
            r1 += z[size + i] * u[i]
            r2 += z[2 * size + i] * u[i]
            r3 += z[3 * size + i] * u[i]
        r0, r1, r2, r3 = active[first] * r0, active[first + 1] * r1, active[first + 2] * r2, active[first + 3] * r3
        for i in range(size):
            gradient[i] += (r0 * z[i] + r1 * z[size + i]) + (r2 * z[2 * size + i] + r3 * z[3 * size + i])
    for i in range(size):
        u[i] -= rate[i] * gradient[i]
