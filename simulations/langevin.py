"""Euler-Maruyama paths of d theta = -grad L dt + Sigma^(1/2) dW on a planar landscape, and both sides of Ito's balance."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from gradnoise.simulations import ensemble
from gradnoise.simulations.ensemble import PathsResult, Progress, check_fits, kernel, part
from gradnoise.simulations.seeds import RNG, Stream
from gradnoise.simulations.statistics import Estimate, with_error
from gradnoise.theory._linalg import psd_root
from gradnoise.theory._validation import as_array, as_count, as_psd, as_real
from gradnoise.theory.escape import PlanarLandscape

__all__ = ["LangevinResult", "simulate"]


@dataclass(frozen=True, eq=False, repr=False)
class LangevinResult(PathsResult):
    """Three numbers of each path, whose expectations Ito's formula relates.

    Attributes
    ----------
    increase : (n_paths,) ndarray
        L(theta_t) - L(theta_0). Units: loss.
    dissipation : (n_paths,) ndarray
        Integral of ||grad L||^2 over time. Units: loss.
    injection : (n_paths,) ndarray
        Integral of Tr(H Sigma) over time. Units: loss.
    arguments, stream, versions
        What made it; see `gradnoise.simulations.ensemble.Result`.

    Examples
    --------
    >>> from gradnoise.simulations import langevin
    >>> from gradnoise.theory.escape import PlanarLandscape
    >>> valley = PlanarLandscape(quadratic=1.0, stiffness=2.0)
    >>> found = langevin.simulate(valley, [[0.5, 0.0], [0.0, 0.5]], (0.0, 0.0), 0.01, 100, 2_000, rng=1)
    >>> round(float(found.injection.mean()), 6)  # a quadratic has the same Tr(H Sigma) everywhere: 0.5 + 1
    1.5
    >>> abs(found.imbalance.value) < 4 * found.imbalance.standard_error
    True
    """

    increase: np.ndarray
    dissipation: np.ndarray
    injection: np.ndarray

    @property
    def imbalance(self) -> Estimate:
        """E[L(theta_t) - L(theta_0)] less what Eq. (11) says it is, with the error of the steps' size in it."""
        return Estimate.of(self.increase + self.dissipation - self.injection / 2)

    def _found(self) -> dict[str, Any]:
        parts = {name: Estimate.of(getattr(self, name)) for name in ("increase", "dissipation", "injection")}
        return {**parts, "imbalance": self.imbalance}

    def _headline(self) -> str:
        mean = Estimate.of(self.increase)
        return f"loss increases by {with_error(mean.value, mean.standard_error)}, mean of {mean.n:,} paths"

    def plot(self, ax: Any = None, *, level: float = 0.95) -> Any:
        """Draw both sides of Ito's balance, Eq. (11), with their intervals: the loss, and what noise and descent make of it.

        Parameters
        ----------
        ax : matplotlib Axes, optional
        level : float
            Of the intervals.

        Returns
        -------
        matplotlib Axes

        Examples
        --------
        >>> from gradnoise.simulations import langevin
        >>> from gradnoise.theory.escape import PlanarLandscape
        >>> from matplotlib.figure import Figure
        >>> valley = PlanarLandscape(quadratic=1.0, stiffness=2.0)
        >>> found = langevin.simulate(valley, [[0.5, 0.0], [0.0, 0.5]], (0.0, 0.0), 0.01, 10, 100, rng=1)
        >>> len(found.plot(Figure().subplots()).patches)
        4
        """
        ax, gain, level = self._axes(ax), self.injection / 2, as_real(level, "level")
        bars = {
            "noise\n" + r"$\frac{1}{2}\int E\,\mathrm{Tr}(H\Sigma)\,dt$": (gain, "#E69F00"),
            "descent\n" + r"$-\int E\,\|\nabla L\|^2\,dt$": (-self.dissipation, "#56B4E9"),
            "noise and descent": (gain - self.dissipation, "#999999"),
            "loss\n" + r"$E\,[L(\theta_t) - L(\theta_0)]$": (self.increase, "#0072B2"),
        }
        for place, (samples, color) in enumerate(bars.values()):
            mean = Estimate.of(samples)
            low, high = mean.interval(level)
            ax.bar(place, mean.value, color=color, width=0.6)
            ax.errorbar(place, mean.value, yerr=[[mean.value - low], [high - mean.value]], color="black", capsize=4)
        ax.axhline(0, color="black", linewidth=0.8)
        ax.set_xticks(range(len(bars)), list(bars))
        off = with_error(self.imbalance.value, self.imbalance.standard_error)
        ax.set(ylabel=f"units of the loss, with {100 * level:g} % intervals", title=f"last two: apart by {off}")
        return ax


def simulate(
    landscape: PlanarLandscape,
    covariance: ArrayLike,
    start: ArrayLike,
    step_size: float,
    n_steps: int,
    n_paths: int,
    *,
    rng: RNG,
    n_jobs: int | None = None,
    progress: Progress = None,
) -> LangevinResult:
    """Simulate paths from `start`.

    Parameters
    ----------
    landscape : PlanarLandscape
        L.
    covariance : (2, 2) array_like
        Sigma, symmetric positive semi-definite. Units: parameter squared / time.
    start : (2,) array_like
        theta_0.
    step_size : float
        > 0. Units: time.
    n_steps, n_paths : int
        Steps of a path, and paths.
    rng : None, int, SeedSequence or Generator
    n_jobs : int, optional
    progress : bool or callable, optional
        See `gradnoise.simulations.ensemble.run`.

    Returns
    -------
    LangevinResult
        The integrals are sums over the points from which steps start.

    References
    ----------
    zhu2019, Eqs. (9) and (11).

    Examples
    --------
    >>> from gradnoise.simulations import langevin
    >>> from gradnoise.theory.escape import PlanarLandscape
    >>> valley = PlanarLandscape(quadratic=1.0, stiffness=2.0)
    >>> found = langevin.simulate(valley, [[0.0, 0.0], [0.0, 0.0]], (1.0, 0.0), 0.1, 1, 5, rng=1)
    >>> round(float(found.increase[0]), 6), round(float(found.dissipation[0]), 6)  # no noise: x from 1 to 0.9, (0.9**2 - 1) / 2
    (-0.095, 0.1)
    """
    if not isinstance(landscape, PlanarLandscape):
        raise TypeError(f"landscape must be a PlanarLandscape, got {landscape!r}")
    Sigma, origin = as_psd(covariance, "covariance"), as_array(start, "start", ndim=1)
    if Sigma.shape != (2, 2) or origin.shape != (2,):
        raise ValueError(f"covariance must have shape (2, 2) and start (2,), got {Sigma.shape} and {origin.shape}")
    step, n_steps = as_real(step_size, "step_size", above=0), as_count(n_steps, "n_steps")
    shape = _Shape(*(float(getattr(landscape, name)) for name in _Shape._fields))
    scheme = _Scheme(shape, Sigma, np.sqrt(step) * psd_root(Sigma), origin, step, n_steps)
    n_paths = as_count(n_paths, "n_paths", at_most=ensemble.MOST_PATHS)
    check_fits(56 * n_paths, f"n_paths = {n_paths} makes results")
    stream = Stream.of(rng)
    (paths,) = ensemble.run(
        _block,
        (scheme,),
        n_paths,
        rng=stream,
        reduce=ensemble.concatenate,
        n_jobs=n_jobs,
        progress=progress,
    )
    diverged = f"step_size must keep all paths finite, got {step:g}, with which some diverge"
    if not np.isfinite(paths).all():
        raise ValueError(diverged)
    try:
        with np.errstate(over="ignore"):
            increase = landscape.loss(paths[:, 0], paths[:, 1]) - landscape.loss(*origin)
    except ValueError:  # a loss is beyond floats
        raise ValueError(diverged) from None
    if not np.isfinite(increase).all():
        raise ValueError(diverged)
    arguments = {
        "landscape": asdict(landscape),
        "covariance": Sigma.tolist(),
        "start": origin.tolist(),
        "step_size": step,
        "n_steps": n_steps,
        "n_paths": len(paths),
    }
    return LangevinResult(increase, paths[:, 2], paths[:, 3], arguments=arguments, stream=stream)


class _Shape(NamedTuple):
    """Constants of a `gradnoise.theory.escape.PlanarLandscape`."""

    quadratic: float
    quartic: float
    tilt: float
    stiffness: float
    shear: float


class _Scheme(NamedTuple):
    """What a study fixes."""

    shape: _Shape
    covariance: np.ndarray  # (2, 2), Sigma. Units: parameter squared / time
    factor: np.ndarray  # (2, 2), symmetric root of step Sigma. Units: parameter
    start: np.ndarray  # (2,). Units: parameter
    step: float  # units: time
    n_steps: int


def _block(n_paths: int, generator: np.random.Generator, scheme: _Scheme) -> tuple[np.ndarray, ...]:
    paths = np.empty((n_paths, 4))
    _run_paths(generator, scheme, paths)
    return (paths,)


@kernel
def _run_paths(generator, scheme, paths):
    """Write x, y, and the time integrals of ||grad L||^2 and Tr(H Sigma) of each path."""
    for path in range(paths.shape[0]):
        x, y, dissipation, injection = scheme.start[0], scheme.start[1], 0.0, 0.0
        for _ in range(scheme.n_steps):
            g1, g2 = _gradient(scheme.shape, x, y)
            dissipation += g1 * g1 + g2 * g2
            injection += _trace(scheme.shape, scheme.covariance, x)
            x, y = _step(generator, scheme, x, y, g1, g2)
        paths[path, 0], paths[path, 1] = x, y
        paths[path, 2], paths[path, 3] = scheme.step * dissipation, scheme.step * injection


@part
def _gradient(shape, x, y):
    a, q, c, k, m = shape
    pull = k * (y - m * x)
    return a * x + q * x * (x * x - 1) + c - m * pull, pull


@part
def _trace(shape, Sigma, x):
    """Tr(H Sigma)."""
    a, q, _, k, m = shape
    h11 = a + q * (3 * x * x - 1) + k * m * m
    return h11 * Sigma[0, 0] - 2 * k * m * Sigma[0, 1] + k * Sigma[1, 1]


@part
def _step(generator, scheme, x, y, g1, g2):
    """Take an Euler-Maruyama step against the gradient (g1, g2)."""
    z1, z2 = generator.standard_normal(), generator.standard_normal()
    x += scheme.factor[0, 0] * z1 + scheme.factor[0, 1] * z2 - scheme.step * g1
    y += scheme.factor[0, 1] * z1 + scheme.factor[1, 1] * z2 - scheme.step * g2
    return x, y
