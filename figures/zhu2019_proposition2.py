"""Propositions 2 and 3 of zhu2019: F relative to H, and noise along H's first direction, while a network learns."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import pyplot

from gradnoise.simulations.clipped_network import descend, random_network
from gradnoise.simulations.seeds import RNG, Stream
from gradnoise.theory.curvature import Curvature, alignment_bound, ratio_bounds

__all__ = ["draw"]

WIDTHS, DELTA, N = (4, 512), 0.1, 200
#: The paths end where the last sample is clipped, and with it Hessian and noise are gone.
_STEPS = {"quick": range(0, 500, 5), "full": range(500)}
_BOUND = (0, (5, 2))


def draw(*, budget: str = "quick", rng: RNG, n_jobs: int | None = None) -> Any:
    """Draw, for two widths, all eigenvalue ratios between their bounds, and the largest a of (21) above its corrected bound.

    Parameters
    ----------
    budget : {"quick", "full"}
        Every fifth step, or each.
    rng : None, int, SeedSequence or Generator
        Of the data and of the first weights.
    n_jobs : int, optional
        Not used: this takes seconds.

    Returns
    -------
    matplotlib Figure
    """
    stream = Stream.of(rng)
    figure, axes = pyplot.subplots(2, len(WIDTHS), figsize=(10, 7), sharex="col", sharey="row", height_ratios=(1.5, 1))
    for column, width in enumerate(WIDTHS):
        network, start = random_network(width, rng=stream.child(column), n_samples=N, delta=DELTA)
        steps = np.array(_STEPS[budget])
        path = [network.curvature(weights) for weights in descend(network, start, 0.2, _STEPS[budget])]
        kept = [k for k, curvature in enumerate(path) if curvature.active.sum() > 1]
        _ratios(axes[0, column], steps[kept], [path[k] for k in kept])
        _alignments(axes[1, column], steps[kept], [path[k] for k in kept])
        axes[0, column].set_title(f"{width} hidden units, $n = {N}$, $\\delta = {DELTA}$")
        axes[1, column].set_xlabel("steps of gradient descent")
    axes[0, 0].set_ylabel("eigenvalues of $F$ relative to $H$")
    axes[1, 0].set_ylabel(r"$u^{\top}\Sigma u \,\mathrm{Tr}H / (\lambda\,\mathrm{Tr}\Sigma)$")
    for row in axes:
        row[-1].legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def _ratios(ax: Any, steps: np.ndarray, path: list[Curvature]) -> None:
    for step, curvature in zip(steps, path, strict=True):
        ratios = curvature.eigenvalue_ratios
        label = "eigenvalue ratios" if step == steps[0] else None
        ax.plot(np.full(len(ratios), step), ratios, color="#0072B2", marker=".", markersize=2, linestyle="none", label=label)
    upper = [ratio_bounds(DELTA, c.largest_residual - DELTA)[1] for c in path]
    ax.plot(steps, upper, color="#D55E00", linestyle="-", label=r"$(\delta+\epsilon)^2$, unclipped samples")
    ax.axhline(DELTA**2, color="#D55E00", linestyle=_BOUND, label=r"$\delta^2$")
    ax.set_yscale("log")


def _alignments(ax: Any, steps: np.ndarray, path: list[Curvature]) -> None:
    ax.plot(steps, [c.alignment for c in path], color="#0072B2", marker=".", markersize=3, linewidth=0.8, label="$a$ of (21)")
    bounds = np.array([alignment_bound(c, DELTA) for c in path])
    shares = np.array([c.mean_share for c in path])
    ax.plot(steps, bounds, color="#D55E00", label=r"$(1-\tau)\,\delta^2/(\delta+\epsilon)^2$")
    ax.plot(steps, bounds / (1 - shares), color="#777777", linestyle=_BOUND, label=r"$\delta^2/(\delta+\epsilon)^2$: no bound")
    ax.set_yscale("log")
