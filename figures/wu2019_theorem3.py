"""Theorem 3 of wu2019: the mean-square distance of M-SGD from its SDE on one Brownian path, against the step size."""

from __future__ import annotations

from typing import Any

from matplotlib import pyplot

from gradnoise.figures.style import SDES
from gradnoise.simulations import sde
from gradnoise.simulations.sde.standard_problems import logistic, tanh_network
from gradnoise.simulations.seeds import RNG, Stream
from gradnoise.theory.sampling import Gaussian, Minibatch

__all__ = ["draw"]

PATHS = {"quick": 1_000, "full": 50_000}
STEP_SIZES, TIME, BATCH_SIZE, N = [2.0**-k for k in range(4, 9)], 1.0, 4, 5


def draw(*, budget: str = "quick", rng: RNG, n_jobs: int | None = None) -> Any:
    """Draw, for two losses, the errors of Gaussian M-SGD against both SDEs, and of SGD coupled as well as we can.

    Parameters
    ----------
    budget : {"quick", "full"}
        1,000 or 50,000 Brownian paths.
    rng, n_jobs
        See `gradnoise.simulations.ensemble.run`.

    Returns
    -------
    matplotlib Figure
    """
    stream = Stream.of(rng)
    figure, axes = pyplot.subplots(1, 2, figsize=(10, 5), sharey=True)
    series = (
        ("plain", Gaussian(N, BATCH_SIZE), "plain", 2),
        ("modified", Gaussian(N, BATCH_SIZE), "modified", 3),
        ("minibatch", Minibatch(N, BATCH_SIZE), "plain", 1),
    )
    problems = {"logistic regression": logistic(N), "tanh network": tanh_network(N)}
    for column, (ax, (title, problem)) in enumerate(zip(axes, problems.items(), strict=True)):
        for k, (name, noise, drift, slope) in enumerate(series):
            study = sde.strong_error(
                problem, STEP_SIZES, TIME, PATHS[budget], batch_size=noise, rng=stream.child(column, k), drift=drift,
                refinement=16, n_jobs=n_jobs,
            )  # fmt: skip
            look = SDES[name]
            study.plot(ax, color=look.color, marker=look.marker, name=look.label, references=(slope,), next_term=True)
        ax.set_title(f"{title}, $n = {N}$, $b = {BATCH_SIZE}$, $T = {TIME:g}$")
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14))
    axes[1].set_ylabel("")
    return figure
