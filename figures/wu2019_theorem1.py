"""Theorem 1 of wu2019: local Rademacher, Gaussian and SGD complexity against the number of samples, with the bounds."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import pyplot

from gradnoise.figures.style import COMPLEXITIES
from gradnoise.simulations import complexity as sampled
from gradnoise.simulations.seeds import RNG, Stream
from gradnoise.theory import complexity
from gradnoise.theory.complexity import AffineLosses, LeastSquaresLosses, expected_largest_weight

__all__ = ["draw"]

PATHS = {"quick": 20_000, "full": 1_000_000}
#: Least squares on three points, linearised for the affine class.
_X, _Y = np.array([[1.0, 0.5], [-0.5, 1.0], [0.8, -1.2]]), np.array([0.5, -1.0, 1.5])
_POINTS, _RADIUS = np.array([0.2, 0.5, 0.3]), 0.5
_SIZES = list(range(2, 21, 2))
_SIMULATED = (2, 4, 8, 16)
_DISTINCT = [2**k for k in range(1, 8)]


def draw(*, budget: str = "quick", rng: RNG, n_jobs: int | None = None) -> Any:
    """Draw the complexities of affine losses, all exact, and the ratios that both parts of the theorem bound.

    Parameters
    ----------
    budget : {"quick", "full"}
        20,000 or 1,000,000 normal vectors for the classes without an exact Gaussian complexity.
    rng, n_jobs
        See `gradnoise.simulations.ensemble.run`.

    Returns
    -------
    matplotlib Figure
    """
    figure, (of_affine, of_normals, of_batches) = pyplot.subplots(1, 3, figsize=(13, 4.8))
    affine = AffineLosses(_Y**2 / 2, -_Y * _X.T, _RADIUS)
    signs = {N: complexity.rademacher(affine, N, _POINTS) for N in range(1, 21)}
    normals = np.array([complexity.gaussian(affine, N, _POINTS) for N in _SIZES])
    batches = {r: np.array([complexity.sgd(affine, N // 2, r, N, _POINTS) for N in _SIZES]) for r in (True, False)}
    _complexities(of_affine, signs, normals, batches)
    _gaussian_ratios(of_normals, normals / [signs[N] for N in _SIZES], PATHS[budget], Stream.of(rng), n_jobs)
    _sgd_ratios(of_batches, {r: values / [signs[N // 2] for N in _SIZES] for r, values in batches.items()})
    for ax in (of_affine, of_normals, of_batches):
        ax.set_xscale("log", base=2)
        ax.set_xlabel("number of samples $N$")
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14))
    return figure


def _complexities(ax: Any, signs: dict[int, float], normals: np.ndarray, batches: dict[bool, np.ndarray]) -> None:
    curves = {"rademacher": [signs[N] for N in _SIZES], "gaussian": normals, "sgd": batches[True], "sgd_without": batches[False]}
    for name, values in curves.items():
        _line(ax, _SIZES, values, name)
    of_normals = [complexity.gaussian_bounds(signs[N], N) for N in _SIZES]
    of_batches = [complexity.sgd_bounds(signs[N // 2], N, N // 2) for N in _SIZES]
    ax.fill_between(
        _SIZES, [b.lower for b in of_normals], [b.upper for b in of_normals], color=COMPLEXITIES["gaussian"].color, alpha=0.12,
        linewidth=0, label="bounds on $R(\\mathcal{G})$",
    )  # fmt: skip
    ax.plot(
        _SIZES, [b.upper for b in of_batches], color=COMPLEXITIES["sgd_without"].color, linestyle=(0, (1, 1.5)), linewidth=1.2,
        label="bound on $R(\\mathcal{V})$ without replacement",
    )  # fmt: skip
    ax.set(yscale="log", ylabel="complexity, in units of the loss")
    ax.set_title("affine losses on a ball, $b = N/2$: exact")


def _gaussian_ratios(ax: Any, of_affine: np.ndarray, n_paths: int, stream: Stream, n_jobs: int | None) -> None:
    N = range(2, 21)
    ax.plot(N, [complexity.gaussian_bounds(1.0, n, published=True).upper for n in N], color="#777777", linestyle=(0, (1, 1.5)),
            label=r"$C\,\ln N$, $C = 2/(\sqrt{\pi}\ln 2)$")  # fmt: skip
    ax.plot(N, [complexity.largest_normal(n) for n in N], color="black", label=r"$E\max_i |g_i|$: attained by coordinates")
    ax.axhline(
        complexity.MEAN_ABSOLUTE_NORMAL, color="black", linestyle=(0, (5, 2)), label=r"$\sqrt{2/\pi}$: attained at $N = 1$"
    )
    ax.plot(_SIZES, of_affine, color=COMPLEXITIES["gaussian"].color, marker="o", markersize=4, label="affine losses, exact")
    generator = np.random.default_rng(0)
    values, halves = [], []
    for k, n in enumerate(_SIMULATED):
        losses = LeastSquaresLosses(generator.standard_normal((n, 2)), generator.standard_normal(n), np.zeros(2), 1.0)
        found = sampled.simulate(losses, sampled.normals(n), n_paths, rng=stream.child(k), n_jobs=n_jobs)
        low, high = found.interval(0.95)
        values.append(found.value / complexity.rademacher(losses))
        halves.append((high - low) / 2 / complexity.rademacher(losses))
    ax.errorbar(_SIMULATED, values, yerr=halves, color="#CC79A7", marker="s", markersize=4, linestyle="none",
                label="least squares, simulated (95 %)")  # fmt: skip
    ax.set(ylim=(0.6, 3.6), ylabel=r"$R(\mathcal{G}, N)\,/\,R(\mathcal{A}, N)$")
    ax.set_title("Theorem 1 (1)")


def _sgd_ratios(ax: Any, of_affine: dict[bool, np.ndarray]) -> None:
    for replacement, values in of_affine.items():
        _line(ax, _SIZES, values, "sgd" if replacement else "sgd_without", " affine losses")
    of_points = [expected_largest_weight(n, n // 2) / 2 for n in _DISTINCT]  # over N, and R(A, b) = 1/b
    _line(ax, _DISTINCT, of_points, "sgd", " indicators of distinct points", marker="^")
    bounds = complexity.sgd_bounds(1.0, 2, 1)
    ax.axhline(bounds.upper, color="black", label=r"$2(k-1)/k$: without replacement only")
    ax.axhline(bounds.lower, color="black", linestyle=(0, (5, 2)), label=r"$(k-1)/(2k)$: on centred classes")
    ax.set(ylim=(0, None), ylabel=r"$R(\mathcal{V}, N)\,/\,R(\mathcal{A}, b)$")
    ax.set_title("Theorem 1 (2), $k = N/b = 2$")


def _line(ax: Any, x: Any, y: Any, name: str, suffix: str = "", marker: str | None = None) -> None:
    look = COMPLEXITIES[name]
    label = f"{look.label}:{suffix}" if suffix else look.label
    ax.plot(x, y, color=look.color, linestyle=look.linestyle, marker=marker or look.marker, markersize=4, label=label)
