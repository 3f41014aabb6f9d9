"""Figure 4 of zhu2019: Tr(HΣ) and its isotropic equivalent while clipped networks of three widths learn."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import pyplot
from matplotlib.lines import Line2D

from gradnoise.simulations.clipped_network import descend, random_network
from gradnoise.simulations.seeds import RNG, Stream

__all__ = ["draw"]

WIDTHS, DELTA, N = (32, 128, 512), 0.001, 1_000
#: Gradient descent beside the paper's Adam, with its rate.
OPTIMIZERS = {"gd": ("gradient descent, rate 0.2", 0.2), "adam": ("Adam, rate 0.001", 0.001)}
#: Steps, and how many points of them are drawn.
STEPS = {"quick": (1_000, 20), "full": (20_000, 60)}
_COLOURS = dict(zip(WIDTHS, ("#E69F00", "#009E73", "#0072B2"), strict=True))


def draw(*, budget: str = "quick", rng: RNG, n_jobs: int | None = None) -> Any:
    """Draw, for each optimizer, Tr(HΣ) and Tr(HΣ̄) along the training of one network of each width.

    Parameters
    ----------
    budget : {"quick", "full"}
        A thousand steps, or twenty thousand.
    rng : None, int, SeedSequence or Generator
        Of the data and of the first weights.
    n_jobs : int, optional
        Not used: this takes less than a minute.

    Returns
    -------
    matplotlib Figure
    """
    stream, (last, n_points) = Stream.of(rng), STEPS[budget]
    record = np.unique(np.geomspace(1, last, n_points).round().astype(int)).tolist()
    figure, axes = pyplot.subplots(1, len(OPTIMIZERS), figsize=(10, 4.2), sharey=True)
    for ax, (optimizer, (title, rate)) in zip(axes, OPTIMIZERS.items(), strict=True):
        for width, colour in _COLOURS.items():
            network, start = random_network(width, rng=stream.child(width), n_samples=N, delta=DELTA)
            path = [network.curvature(weights) for weights in descend(network, start, rate, record, optimizer)]
            # Where all samples are clipped there is neither noise nor curvature.
            kept = [(step, c) for step, c in zip(record, path, strict=True) if c.indicator > 0]
            steps = [step for step, _ in kept]
            ax.plot(steps, [c.indicator for _, c in kept], color=colour)
            ax.plot(steps, [c.isotropic_indicator for _, c in kept], color=colour, linestyle=(0, (4, 2)))
        ax.set(title=title, xlabel="step", xscale="log", yscale="log")
    axes[0].set_ylabel(r"$\mathrm{Tr}(H\Sigma)$ and $\mathrm{Tr}(H\bar\Sigma)$")
    lines = [Line2D([], [], color=colour, label=f"{width} hidden units") for width, colour in _COLOURS.items()]
    lines += [
        Line2D([], [], color="#555555", label=r"$\Sigma$ of SGD"),
        Line2D([], [], color="#555555", linestyle=(0, (4, 2)), label=r"$\bar\Sigma = (\mathrm{Tr}\Sigma/D)\,I$"),
    ]
    axes[-1].legend(handles=lines, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    figure.suptitle(f"clipped network on {N:,} separable points, $\\delta = {DELTA}$", fontsize=10)
    return figure
