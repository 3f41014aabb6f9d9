"""How fast M-SGD approaches its SDE: strongly, on one Brownian path, and weakly, in expectation."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence

import numpy as np

from gradnoise.simulations import ensemble
from gradnoise.simulations.ensemble import Progress, kernel
from gradnoise.simulations.sde.coupled_paths import Coupling, final_points, sensitivities
from gradnoise.simulations.sde.order_study import OrderStudy
from gradnoise.simulations.sde.problem import Problem, compiled, first_call
from gradnoise.simulations.seeds import RNG, Stream
from gradnoise.simulations.statistics import JointMoments, merge_joint_moments
from gradnoise.theory._validation import as_array, as_choice, as_count, as_flag, as_real, as_whole_steps
from gradnoise.theory.diffusion import DRIFTS
from gradnoise.theory.sampling import Bernoulli, Gaussian, Minibatch, SamplingNoise, as_noise

__all__ = ["strong_error", "weak_error"]

_BLOCK_SIZE = 256
_CHECKED_SHARE, _CHECKED_PATHS = 8, 1024  # one path in eight, but at least so many, are spent on the reference itself
_REFINEMENT = 32
_COUPLED = Gaussian, Minibatch, Bernoulli  # classes whose weights are made from the increments of a path
_MOST_STEPS = 1e8  # of one path; more would take half a minute for each


def strong_error(
    problem: Problem,
    step_sizes: Sequence[float],
    time: float,
    n_paths: int,
    *,
    batch_size: int | SamplingNoise,
    rng: RNG,
    drift: str = "plain",
    refinement: int | None = None,
    shared_increments: bool = True,
    n_jobs: int | None = None,
    store: str | os.PathLike[str] | None = None,
    progress: Progress = None,
) -> OrderStudy:
    r"""Measure :math:`E \|\Theta_T - \theta_{T/\eta}\|^2` between M-SGD and its SDE on the same Brownian path.

    Parameters
    ----------
    problem : Problem
        Losses and gradients of n samples, and the start.
    step_sizes : sequence of float
        All eta, whole multiples of the smallest one.
    time : float
        T > 0, a whole number of each of the steps. M-SGD takes the time eta for a step.
    n_paths : int
        Independent Brownian paths; all step sizes share each of them.
    batch_size : int or SamplingNoise
        A number b stands for the Gaussian noise with the covariance of a minibatch, ``Gaussian(n, b)``. ``Gaussian(n, b,
        centered=False)`` is the uncentred factor of Eq. (67). A Minibatch or Bernoulli noise is coupled to the path as well as
        we can; the SDE then has a Gaussian noise of the same covariance.
    rng : None, int, SeedSequence or Generator
        See `gradnoise.simulations.seeds.Stream.of`.
    drift : {"plain", "modified"}
        Of the SDE; see `gradnoise.theory.diffusion.sde_moments`.
    refinement : int, optional
        Reference steps in each step, even and at least 4; 32 if not given, or the least larger number that a minibatch with
        replacement needs, which is a multiple of its size.
    shared_increments : bool
        If not, M-SGD draws normals of its own. Its distance from the SDE then does not vanish like a strong error.
    n_jobs : int, optional
    store : path, optional
    progress : bool or callable, optional
        See `gradnoise.simulations.ensemble.run`.

    Returns
    -------
    OrderStudy
        Errors are mean squares. Units: parameter squared.

    Raises
    ------
    ValueError, TypeError
        If an argument is not allowed.

    References
    ----------
    wu2019, Eqs. (12), (14), (67) and (68).

    Examples
    --------
    >>> from gradnoise.simulations import sde
    >>> problem = sde.standard_problems.least_squares(n=5)
    >>> study = sde.strong_error(problem, [1 / 8, 1 / 16, 1 / 32], 1.0, 200, batch_size=2, rng=1, refinement=8)
    >>> abs(study.order.value - 2) < 0.5  # a distance of the order of eta, squared
    True
    """
    noise = _noise(problem, batch_size, Gaussian)
    coupling = _coupling(noise, step_sizes, time, drift, refinement, shared_increments)
    return _study(problem, None, coupling, n_paths, rng, n_jobs, store, progress)


def weak_error(
    problem: Problem,
    step_sizes: Sequence[float],
    time: float,
    n_paths: int,
    *,
    batch_size: int | SamplingNoise,
    rng: RNG,
    drift: str = "plain",
    test_function: Callable[..., None] | None = None,
    refinement: int | None = None,
    n_jobs: int | None = None,
    store: str | os.PathLike[str] | None = None,
    progress: Progress = None,
) -> OrderStudy:
    r"""Measure :math:`E g(\theta_{T/\eta}) - E g(\Theta_T)` between SGD and its SDE.

    The two are coupled, so that the noise of the difference is a fraction of that of g itself.

    Parameters
    ----------
    problem : Problem
    step_sizes : sequence of float
    time : float
    n_paths : int
        See `strong_error`.
    batch_size : int or SamplingNoise
        A number b stands for the minibatch with replacement, ``Minibatch(n, b)``.
    rng : None, int, SeedSequence or Generator
    drift : {"plain", "modified"}
        See `strong_error`.
    test_function : callable, optional
        Written as the losses of a `Problem`; g is the mean of what it writes. The loss itself if not given.
    refinement : int, optional
        See `strong_error`.
    n_jobs : int, optional
    store : path, optional
    progress : bool or callable, optional
        See `gradnoise.simulations.ensemble.run`.

    Returns
    -------
    OrderStudy
        Errors have a sign. Units: those of g.

    Raises
    ------
    ValueError, TypeError
        If an argument is not allowed.

    References
    ----------
    wu2019, Eqs. (12) and (13).

    Examples
    --------
    >>> from gradnoise.simulations import sde
    >>> problem = sde.standard_problems.least_squares(n=5)
    >>> study = sde.weak_error(problem, [1 / 8, 1 / 16, 1 / 32], 1.0, 1_000, batch_size=2, rng=1, refinement=8)
    >>> abs(study.order.value - 1) < 0.3  # expectations differ by about eta
    True
    """
    noise = _noise(problem, batch_size, Minibatch)
    function = problem.losses if test_function is None else test_function
    first_call(function, "test_function", problem.start, problem.data, (problem.n,))
    coupling = _coupling(noise, step_sizes, time, drift, refinement)
    return _study(problem, function, coupling, n_paths, rng, n_jobs, store, progress)


def _study(
    problem: Problem,
    function: Callable[..., None] | None,
    coupling: Coupling,
    n_paths: int,
    rng: RNG,
    n_jobs: int | None,
    store: str | os.PathLike[str] | None,
    progress: Progress,
) -> OrderStudy:
    """Run the study, strong without a test function, and one of its reference."""
    stream, n_paths = Stream.of(rng), as_count(n_paths, "n_paths", at_least=2, at_most=ensemble.MOST_PATHS)
    weighed = None if function is None else sensitivities(problem, function, coupling)

    def run(coupling: Coupling, n: int, stream: Stream, progress: Progress) -> JointMoments:
        return ensemble.run(
            _block, (function, problem, coupling, weighed), n,
            rng=stream, reduce=merge_joint_moments, n_jobs=n_jobs, block_size=_BLOCK_SIZE, store=store, progress=progress,
        )  # fmt: skip

    moments = run(coupling, n_paths, stream, progress)
    checked = min(n_paths, max(_CHECKED_PATHS, n_paths // _CHECKED_SHARE))
    check = run(coupling.of_reference(), checked, stream.child(1), False)
    differences = [check.along(unit) for unit in np.eye(len(coupling.multiples))]
    arguments = {
        "problem": problem.name,
        "n": problem.n,
        "start": problem.start.tolist(),
        "time": coupling.finest * coupling.n_finest,
        "n_paths": n_paths,
        "noise": repr(coupling.noise),
        "drift": "modified" if coupling.modified else "plain",
        "refinement": coupling.refinement,
        "shared_increments": coupling.shared,
        "test_function": None if function is None else f"{function.__module__}.{function.__qualname__}",
    }
    return OrderStudy(
        "strong" if function is None else "weak",
        coupling.finest * np.array(coupling.multiples, dtype=np.float64),
        moments,
        np.array([abs(e.value) + 2 * e.standard_error for e in differences]),
        arguments=arguments,
        stream=stream,
    )


def _coupling(
    noise: SamplingNoise, step_sizes: Sequence[float], time: float, drift: str, refinement: int | None, shared: bool = True
) -> Coupling:
    eta = as_array(step_sizes, "step_sizes", ndim=1)
    if eta.size == 0 or (eta <= 0).any():
        raise ValueError(f"step_sizes must be at least one number > 0, got {eta.tolist()}")
    finest, T = float(eta.min()), as_real(time, "time", above=0)
    r = _refinement(noise, refinement)
    n_steps = T / finest * r
    if not n_steps <= _MOST_STEPS:
        raise ValueError(
            f"step_sizes, time and refinement must need at most {_MOST_STEPS:.0e} steps of the reference, got {n_steps:.3g}: "
            f"{r} in each step of {finest:g}, for {noise!r}"
        )
    with np.errstate(over="ignore"):
        multiples = np.rint(eta / finest)
    if not (np.abs(multiples * finest - eta) <= 1e-9 * eta).all() or len(np.unique(multiples)) < len(eta):
        raise ValueError(f"step_sizes must be different whole multiples of the smallest one, got {eta.tolist()}")
    for step in eta:
        as_whole_steps(T, float(step))
    coupling = Coupling(
        noise,
        finest,
        tuple(int(m) for m in multiples),
        as_whole_steps(T, finest),
        r,
        as_choice(drift, "drift", DRIFTS) == "modified",
        as_flag(shared, "shared_increments"),
    )
    coupling.noise_rule()  # raises for a noise that cannot be coupled
    return coupling


def _noise(problem: object, batch_size: object, default: type[SamplingNoise]) -> SamplingNoise:
    if not isinstance(problem, Problem):
        raise TypeError(f"problem must be a Problem, got {problem!r}")
    noise = as_noise(batch_size, "batch_size", n=problem.n, default=default)
    if type(noise) not in _COUPLED:
        names = " or ".join(each.__name__ for each in _COUPLED)
        raise TypeError(
            f"batch_size must be an integer or a noise of exactly the class {names}, got {noise!r}: how weights follow from a "
            f"Brownian path is known of no other, nor of a subclass, which may have another law"
        )
    return noise


def _refinement(noise: SamplingNoise, refinement: int | None) -> int:
    """Even, and a multiple of the size of a batch whose samples are drawn from parts of the step."""
    unit = math.lcm(2, noise.batch_size) if isinstance(noise, Minibatch) and noise.replacement else 2
    if refinement is None:
        return int(-(-_REFINEMENT // unit) * unit)
    r = as_count(refinement, "refinement", at_least=4, at_most=int(_MOST_STEPS))
    if r % unit:
        raise ValueError(f"refinement must be a multiple of {unit} for {noise!r}, got {r}")
    return r


def _block(
    n_paths: int,
    generator: np.random.Generator,
    function: Callable[..., None] | None,
    problem: Problem,
    coupling: Coupling,
    weighed: np.ndarray | None,
) -> tuple[np.ndarray, ...]:
    iterates, references, controls = final_points(n_paths, generator, problem, coupling, weighed)
    if function is None:
        return _moments(((iterates - references) ** 2).sum(axis=-1), coupling)
    values = np.empty((2, *controls.shape))
    for points, out in zip((iterates, references), values, strict=True):
        _mean_values(compiled(function, "test_function"), problem.data, points, out)
    return _moments(values[0] - values[1] - controls, coupling)


def _moments(samples: np.ndarray, coupling: Coupling) -> tuple[np.ndarray, ...]:
    """Moments of a block's paths at all step sizes, (n_paths, levels), if all of them are finite."""
    diverged = ~np.isfinite(samples).all(axis=0)
    if diverged.any():
        steps = (coupling.finest * np.array(coupling.multiples))[diverged]
        raise ValueError(
            f"step_sizes must keep all paths finite, got NaN or infinity at {steps.tolist()}: either the paths diverge, or the "
            f"problem's functions raise, or are not finite, where the paths go"
        )
    return JointMoments.of(samples).as_block()


@kernel
def _mean_values(function, data, points, out):
    """Write the mean of what a function writes at each of the points (n_paths, levels, d)."""
    each = np.empty(data.shape[0])
    for p in range(out.shape[0]):
        for level in range(out.shape[1]):
            each[:] = np.nan
            function(points[p, level], data, each)
            out[p, level] = each.mean()
