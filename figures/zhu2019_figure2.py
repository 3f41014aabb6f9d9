"""Figure 2 of zhu2019: escape from the sharp minimum of the two-basin toy."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import pyplot
from matplotlib.colors import LogNorm

from gradnoise.figures.style import DYNAMICS
from gradnoise.simulations import toy
from gradnoise.simulations.seeds import RNG, Stream
from gradnoise.theory._linalg import psd_axes
from gradnoise.theory.escape import two_basin

__all__ = ["draw"]

REPEATS = {"quick": 10_000, "full": 100_000}
_PATHS_OF_INDICATOR = 1_000
_GRID = 161


def draw(*, budget: str = "quick", rng: RNG, n_jobs: int | None = None) -> Any:
    """Draw the landscape with one trajectory of each dynamics, success rates, and Tr(HΣ) over time.

    Parameters
    ----------
    budget : {"quick", "full"}
        10,000 or 100,000 repeats for the success rates.
    rng, n_jobs
        See `gradnoise.simulations.ensemble.run`.

    Returns
    -------
    matplotlib Figure
    """
    stream = Stream.of(rng)
    rates, runs = {}, {}
    for k, name in enumerate(DYNAMICS):
        rates[name] = toy.simulate(name, REPEATS[budget], rng=stream.child(0, k), n_jobs=n_jobs)
        # All dynamics start from the same seed here, hence from the same data.
        runs[name] = toy.simulate(
            name, _PATHS_OF_INDICATOR, rng=stream.child(1), record=("trajectory", "indicator"), n_jobs=n_jobs
        )
    figure, axes = pyplot.subplots(1, 3, figsize=(12.5, 4.2), width_ratios=(1.1, 1, 1.1))
    _landscape(axes[0], runs, figure)
    _success(axes[1], rates)
    _indicator(axes[2], runs)
    handles, labels = axes[2].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=6)
    return figure


def _landscape(ax: Any, runs: dict[str, toy.ToyResult], figure: Any) -> None:
    w = np.linspace(-2.5, 2.0, _GRID)
    data = _sigma_points()
    loss = np.array([[two_basin.losses((x, y), data).mean() for x in w] for y in w])
    shades = ax.contourf(w, w, loss, levels=np.geomspace(1e-3, 30, 25), norm=LogNorm(), cmap="Greys_r", alpha=0.6, extend="both")
    figure.colorbar(shades, ax=ax, label="population loss", ticks=[1e-3, 1e-2, 0.1, 1, 10], shrink=0.9)
    path = _typical_path(runs)
    for name, look in DYNAMICS.items():
        x, y = runs[name].recorded("trajectory")[path].T
        ax.plot(x, y, color=look.color, linewidth=0.8, alpha=0.85)
        ax.plot(x[-1], y[-1], marker=look.marker, color=look.color, markersize=7, markeredgecolor="white", markeredgewidth=0.6)
    for point, name, at in ((two_basin.SHARP_MINIMUM, "sharp", (1.2, 1.6)), (two_basin.FLAT_MINIMUM, "flat", (-2.35, -1.9))):
        ax.plot(*point, marker="+", color="#D55E00", markersize=11, markeredgewidth=2, zorder=5)
        ax.annotate(name, point, xytext=at, color="#D55E00", weight="bold", arrowprops={"arrowstyle": "-", "color": "#D55E00"})
    limits = (w[0], w[-1])
    ax.set(
        title="One run in which only aligned noise escapes",
        xlabel="$w_1$",
        ylabel="$w_2$",
        aspect="equal",
        xlim=limits,
        ylim=limits,
    )


def _typical_path(runs: dict[str, toy.ToyResult]) -> int:
    """Return the first run on which all aligned noises escape and no other does; the middle panel tells how often they do."""
    aligned = np.all([runs[n].success for n in ("gld_leading", "gld_hessian", "gld_eigvec")], axis=0)
    other = np.any([runs[n].success for n in ("gd", "gld_const", "gld_diag")], axis=0)
    return int(np.argmax(aligned & ~other))


def _success(ax: Any, rates: dict[str, toy.ToyResult]) -> None:
    for k, (name, look) in enumerate(DYNAMICS.items()):
        rate, ever = rates[name].success_rate, rates[name].ever_escaped
        low, high = rate.interval(0.95)
        ax.bar(k, rate.value, color=look.color, width=0.62, edgecolor="black", linewidth=0.6)
        ax.errorbar(k, rate.value, yerr=[[rate.value - low], [high - rate.value]], color="black", capsize=3, linewidth=1)
        ax.plot(k, ever.value, marker="_", color="black", markersize=16, markeredgewidth=1.2)
        top = high if ever.value - high > 0.06 else max(high, ever.value)  # between bar and dash where there is room
        ax.annotate(f"{100 * rate.value:.1f} %", (k, top), xytext=(0, 4), textcoords="offset points", ha="center")
    ax.plot([], [], marker="_", color="black", linestyle="none", markersize=14, label="was there at some time")
    ax.set_xticks(
        range(len(DYNAMICS)),
        [look.label.replace("GLD ", "").replace("(H)", "") for look in DYNAMICS.values()],
        rotation=30,
        ha="right",
    )
    n = rates["gd"].success_rate.n
    ax.set(title=f"In the flat basin after 500 steps ({n:,} runs)", ylabel="success rate, with 95 % interval", ylim=(0, 0.68))
    ax.legend(loc="upper left")


def _indicator(ax: Any, runs: dict[str, toy.ToyResult]) -> None:
    for name, look in DYNAMICS.items():
        indicator = runs[name].recorded("indicator")
        ax.plot(indicator.mean(axis=0), color=look.color, linestyle=look.linestyle, linewidth=1.6, label=look.label)
        step = 440 if name == "gld_const" else 490  # it runs under GLD diag, whose noise is isotropic here
        ax.plot(step, indicator[:, step].mean(), marker=look.marker, color=look.color, clip_on=False)
    ax.set(
        title=f"Escape indicator, mean of {_PATHS_OF_INDICATOR:,} runs",
        xlabel="step $t$",
        ylabel=r"$\mathrm{Tr}(H_t\,\Sigma_t)$",
        ylim=(-0.05, None),
    )


def _sigma_points() -> np.ndarray:
    """Nine points with the mean and covariance of the data: a three-point rule along each of their axes."""
    grid = np.stack(np.meshgrid([-1, 0, 1], [-1, 0, 1]), axis=-1).reshape(-1, 2) * np.sqrt(1.5)
    return grid @ psd_axes(two_basin.DATA_COVARIANCE).T
