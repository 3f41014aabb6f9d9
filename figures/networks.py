"""Figures of the papers about small networks: Figures 3, 5, 7 and 8 of zhu2019, and Figure 1 of wu2019 and wu2020 on digits.

At budget "quick" networks are trained on digits, which needs PyTorch. At budget "full" those of zhu2019 show runs on
Fashion-MNIST that are kept beside this module, with their seeds and versions; `gradnoise compare` makes such runs.
"""

from __future__ import annotations

import textwrap
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import pyplot

from gradnoise.figures.style import NETWORKS
from gradnoise.simulations.network_protocols import EQUIVALENCE_MARGIN, PROTOCOLS, Comparison
from gradnoise.simulations.seeds import RNG
from gradnoise.theory._validation import FloatArray

__all__ = ["comparison", "draw_escape", "draw_noise", "draw_sampling_noises", "draw_spectrum"]

SEEDS = {"zhu2019-fig3": 4, "zhu2019-fig5": 4, "zhu2019-fig8": 4, "wu2020-fig1": 8}
_FIRST_STEPS = 100
_LETTERS_PER_INCH = 11.5
_STORED = Path(__file__).parent / "data"
_NAMES = {"digits": ("digits", "perceptron"), "fashion": ("Fashion-MNIST", "LeNet with 11,330 parameters")}


def comparison(name: str, budget: str, rng: RNG, n_jobs: int | None) -> Comparison:
    """Return the runs of a protocol: fresh ones on digits, or those kept on Fashion-MNIST.

    Raises
    ------
    ValueError
        If there is no PyTorch for fresh ones.
    """
    if budget == "full":
        return Comparison.load(_STORED / f"{name}.json")
    try:
        from gradnoise.simulations.neural.comparison import compare
    except ModuleNotFoundError as error:
        raise ValueError(str(error)) from None
    return compare(PROTOCOLS[name]["quick"], SEEDS[name], rng=rng, device="cpu", n_jobs=n_jobs)


def draw_escape(name: str, *, budget: str = "quick", rng: RNG, n_jobs: int | None = None) -> Any:
    """Draw accuracies and, where it was measured, the sharpness along the dynamics from the minimum that GD found.

    Parameters
    ----------
    name : {"zhu2019-fig3", "zhu2019-fig8"}
    budget : {"quick", "full"}
        Fresh runs on digits, or those that are kept.
    rng, n_jobs
        See `gradnoise.simulations.ensemble.run`.

    Returns
    -------
    matplotlib Figure
    """
    found = _first_steps(budget, rng, n_jobs) if name == "zhu2019-fig8" else comparison(name, budget, rng, n_jobs)
    panels = {"train_accuracy": "training accuracy", "test_accuracy": "test accuracy", "sharpness": "expected sharpness"}
    shown = [metric for metric in panels if metric in found.protocol.metrics]
    figure, axes = pyplot.subplots(1, len(shown), figsize=(4.2 * len(shown), 4.0))
    for ax, metric in zip(axes, shown, strict=True):
        for dynamics in found.protocol.dynamics:
            _band(ax, found.steps, found.of(dynamics, metric), dynamics)
        ax.axhline(found.of("gd", metric)[:, 0].mean(), color="black", linewidth=0.6)
        ax.set(xlabel="step from the minimum of GD", ylabel=panels[metric])
    if "sharpness" in shown:
        axes[-1].set(yscale="log", ylim=(1e-4, None))
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(handles) // 2)
    _entitle(figure, found, "line: mean; band: range")
    return figure


def draw_spectrum(*, budget: str = "quick", rng: RNG, n_jobs: int | None = None) -> Any:
    """Draw the spectrum of the Hessian at the minimum of GD, and â, Tr(HΣ) and Tr(HΣ̄) along SGD from there.

    Parameters
    ----------
    budget, rng, n_jobs
        See `draw_escape`.

    Returns
    -------
    matplotlib Figure
    """
    found = comparison("zhu2019-fig5", budget, rng, n_jobs)
    figure, axes = pyplot.subplots(1, 3, figsize=(12.5, 3.8))
    index = np.arange(1, found.eigenvalues.shape[1] + 1)
    axes[0].set(yscale="log")
    _band(axes[0], index, np.maximum(found.eigenvalues, np.finfo(float).tiny), "sgd")
    share = found.eigenvalues[:, 139] / found.eigenvalues[:, 0]
    axes[0].axvline(140, color="#999999", linewidth=0.8)
    axes[0].annotate(
        f"140th: {100 * share.mean():.2g} % of the first", (140, found.eigenvalues[:, 0].max()), xytext=(5, 0),
        textcoords="offset points", va="top",
    )  # fmt: skip
    axes[0].set(xlabel="index", ylabel="eigenvalue of $H$ at the minimum of GD", ylim=(1e-5, None))
    _band(axes[1], found.steps, found.of("sgd", "alignment"), "sgd")
    axes[1].axhline(1, color="#999999", linewidth=0.8)
    axes[1].set(
        xlabel="step of SGD",
        ylabel=r"$\hat a = u_1^\top\Sigma u_1\,\mathrm{Tr}H\,/\,(\lambda_1\mathrm{Tr}\Sigma)$",
        ylim=(0, None),
    )
    axes[2].set(yscale="log", xlabel="step of SGD", ylabel="indicator of escape")
    _band(axes[2], found.steps, found.of("sgd", "indicator"), "sgd", r"$\mathrm{Tr}(H\Sigma)$")
    _band(axes[2], found.steps, found.of("sgd", "isotropic_indicator"), "gld_dynamic", r"$\mathrm{Tr}(H\bar\Sigma)$")
    axes[2].legend()
    _entitle(figure, found, "line: mean, geometric on logarithmic axes; band: range")
    return figure


def draw_noise(*, budget: str = "quick", rng: RNG, n_jobs: int | None = None) -> Any:
    """Draw ‖∇L‖² and TrΣ along SGD from the minimum of GD.

    Parameters
    ----------
    budget, rng, n_jobs
        See `draw_escape`.

    Returns
    -------
    matplotlib Figure
    """
    found = comparison("zhu2019-fig5", budget, rng, n_jobs)
    figure, ax = pyplot.subplots(figsize=(6.5, 4.0))
    ax.set(yscale="log", xlabel="step of SGD from the minimum of GD", ylabel="expected squared norm")
    _band(ax, found.steps, found.of("sgd", "trace_covariance"), "sgd", r"noise, $\mathrm{Tr}\Sigma$")
    _band(ax, found.steps, found.of("sgd", "gradient_norm_squared"), "gd", r"gradient, $\|\nabla L\|^2$")
    ax.legend()
    _entitle(figure, found, "line: geometric mean; band: range")
    return figure


def draw_sampling_noises(*, budget: str = "quick", rng: RNG, n_jobs: int | None = None) -> Any:
    """Draw test accuracies with sampling noises of every class on digits, and how far they end from that of SGD.

    Parameters
    ----------
    budget : {"quick"}
        At "full" the figure shows runs of a plan.
    rng, n_jobs
        See `draw_escape`.

    Returns
    -------
    matplotlib Figure
    """
    found = comparison("wu2020-fig1", budget, rng, n_jobs)
    names = found.protocol.dynamics
    figure, axes = pyplot.subplots(1, 2, figsize=(11.5, 4.6), width_ratios=(1.3, 1))
    for name in names:
        look = NETWORKS[name]
        axes[0].plot(
            found.steps,
            found.of(name, "test_accuracy").mean(axis=0),
            color=look.color,
            linestyle=look.linestyle,
            label=look.label,
        )
    axes[0].set(xlabel="step", ylabel="test accuracy, mean over the seeds", xlim=(0, found.steps[-1]))
    axes[0].legend(loc="lower right", ncols=2, fontsize=8)
    others = [name for name in names if name != "sgd"]
    for row, name in enumerate(others):
        look, gap = NETWORKS[name], found.difference(name, "sgd")
        low, high = gap.interval(0.95)
        bars = [[100 * (gap.value - low)], [100 * (high - gap.value)]]
        axes[1].errorbar(100 * gap.value, row, xerr=bars, color=look.color, marker=look.marker, capsize=3)
    axes[1].axvline(0, color="black", linewidth=0.8)
    axes[1].axvspan(-100 * EQUIVALENCE_MARGIN, 100 * EQUIVALENCE_MARGIN, color="#999999", alpha=0.15, linewidth=0)
    axes[1].set_yticks(range(len(others)), [NETWORKS[name].label for name in others])
    axes[1].invert_yaxis()
    axes[1].set(
        xlabel=f"points above SGD at the end, 95 % intervals; shaded: ± {100 * EQUIVALENCE_MARGIN:g} points",
        xlim=(-250 * EQUIVALENCE_MARGIN, 250 * EQUIVALENCE_MARGIN),
    )
    _entitle(figure, found)
    return figure


def _first_steps(budget: str, rng: RNG, n_jobs: int | None) -> Comparison:
    """Runs of Figure 8: of their own on digits, and else the first steps of those of Figure 3, which are kept."""
    if budget == "quick":
        return comparison("zhu2019-fig8", budget, rng, n_jobs)
    whole = comparison("zhu2019-fig3", budget, rng, n_jobs)
    protocol = replace(whole.protocol, n_steps=_FIRST_STEPS, measured=())
    records, metrics = (whole.steps <= _FIRST_STEPS).sum(), len(protocol.metrics)
    return replace(whole, protocol=protocol, values=whole.values[:, :, :records, :metrics])


def _band(ax: Any, x: FloatArray, values: FloatArray, name: str, label: str | None = None) -> None:
    """Draw the mean over the seeds, of (seeds, records), in a band from the least to the largest; geometric if the axis is."""
    look = NETWORKS[name]
    with np.errstate(divide="ignore", invalid="ignore"):  # a logarithmic axis has a gap where one of the values is negative
        middle = np.exp(np.log(values).mean(axis=0)) if ax.get_yscale() == "log" else values.mean(axis=0)
    ax.fill_between(x, values.min(axis=0), values.max(axis=0), color=look.color, alpha=0.1, linewidth=0)
    ax.plot(x, middle, color=look.color, linestyle=look.linestyle, label=label or look.label)
    ax.set_xlim(x[0], x[-1])


def _entitle(figure: Any, found: Comparison, more: str = "") -> None:
    """Write above a figure what was run, the task and below it the settings."""
    p, facts = found.protocol, found.arguments["data"]
    images, network = _NAMES[p.experiment.removesuffix("-clean")]
    wrong = f" with {facts['n_corrupted']} wrong labels" if facts["n_corrupted"] else ""
    task = f"{images}, {facts['n_train']} images{wrong}, {network}, {facts['n_test']} images to test"
    settings = f"η = {p.learning_rate:g}, b = {p.batch_size}, {found.n_seeds} seeds" + (more and f" ({more})")
    width = int(_LETTERS_PER_INCH * figure.get_figwidth())
    figure.suptitle("\n".join(textwrap.fill(line, width) for line in (task, settings)))


#: The drawing functions that take no name, by figure.
draw_figure_3, draw_figure_8 = (partial(draw_escape, name) for name in ("zhu2019-fig3", "zhu2019-fig8"))
