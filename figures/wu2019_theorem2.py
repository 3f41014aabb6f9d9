"""Theorem 2 of wu2019: how far SGD is from its SDE in expectation, against the step size."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import pyplot

from gradnoise.figures.style import SDES
from gradnoise.simulations import sde
from gradnoise.simulations.sde import draw_slopes
from gradnoise.simulations.sde.standard_problems import least_squares, tanh_network
from gradnoise.simulations.seeds import RNG, Stream
from gradnoise.theory.diffusion import DRIFTS, sde_moments, sgd_moments

__all__ = ["draw"]

PATHS = {"quick": 20_000, "full": 1_000_000}
TIME, N = 2.0, 4
_EXACT_STEPS = 2.0 ** -np.arange(3, 11)
_SLOPES = {"plain": (1.0,), "modified": (2.0,)}
_STEP_SIZES = [2.0**-k for k in range(1, 6)]


def draw(*, budget: str = "quick", rng: RNG, n_jobs: int | None = None) -> Any:
    """Draw the error of the second moment, exact for least squares, and of the loss, simulated for a network; both SDEs.

    Parameters
    ----------
    budget : {"quick", "full"}
        20,000 or 1,000,000 paths.
    rng, n_jobs
        See `gradnoise.simulations.ensemble.run`.

    Returns
    -------
    matplotlib Figure
    """
    stream = Stream.of(rng)
    figure, (exact, simulated) = pyplot.subplots(1, 2, figsize=(10, 5))
    problem = least_squares(N)
    X, y = problem.data[:, :-1], problem.data[:, -1]
    for drift in DRIFTS:
        errors = [_second_moment_error(X, y, problem.start, eta, drift) for eta in _EXACT_STEPS]
        look = SDES[drift]
        exact.plot(_EXACT_STEPS, errors, color=look.color, marker=look.marker, markersize=4, linewidth=1, label=look.label)
        draw_slopes(exact, _EXACT_STEPS, max(errors), _SLOPES[drift])
    exact.set_xscale("log", base=2)
    exact.set(yscale="log", xlabel=r"step size $\eta$")
    exact.set_ylabel(r"$\|E\,\theta\theta^{\top} - E\,\Theta_T\Theta_T^{\top}\|$")
    exact.set_title(f"least squares, $n = {N}$, $b = 1$: exact")
    exact.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14))
    network = tanh_network(N, n_hidden=1)
    for k, drift in enumerate(DRIFTS):
        study = sde.weak_error(
            network,
            _STEP_SIZES,
            TIME,
            PATHS[budget],
            batch_size=1,
            rng=stream.child(k),
            drift=drift,
            refinement=16,
            n_jobs=n_jobs,
        )
        look = SDES[drift]
        study.plot(simulated, color=look.color, marker=look.marker, name=look.label, references=_SLOPES[drift])
    simulated.set_ylabel(r"$|E\,L(\theta) - E\,L(\Theta_T)|$")
    simulated.set_title(f"tanh network, $n = {N}$, $b = 1$: simulated")
    simulated.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14))
    return figure


def _second_moment_error(X: np.ndarray, y: np.ndarray, start: np.ndarray, eta: float, drift: str) -> float:
    of_sgd = sgd_moments(X, y, start, eta, 1, round(TIME / eta))
    return float(np.linalg.norm(of_sgd.second_moment - sde_moments(X, y, start, eta, 1, TIME, drift).second_moment))
