"""Theorem 1 of wu2020: the excess risk of averaged SGD and MSGD, exact, simulated, bounded and in the limit."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import pyplot
from matplotlib.lines import Line2D

from gradnoise.figures.style import NOISES
from gradnoise.simulations import least_squares
from gradnoise.simulations.least_squares import RiskCurve
from gradnoise.simulations.seeds import RNG, Stream
from gradnoise.theory.least_squares import LeastSquares
from gradnoise.theory.sampling import Gaussian, Minibatch, Rademacher, SamplingNoise, StudentT

__all__ = ["draw"]

REPLICATES = {"quick": 500, "full": 10_000}
BATCH_SIZE, LARGE_BATCHES = 4, {8: "o", 64: "s", 512: "^"}
_SIMULATED = (1, 4, 20, 100)
_EXACT = np.unique(np.geomspace(1, 20_001, 120).astype(int)) - 1
_SHARE = 0.5  # of the largest step size for which the bounds are proved
_FORMS = {"elementary": "-", "two-term": (0, (5, 2)), "bach-moulines": (0, (1, 1))}
_SPECTRA = {"well-conditioned, $\\lambda_i = 1$": np.ones(5), "ill-conditioned, $\\lambda_i = 10^{1-i}$": 10.0 ** -np.arange(5)}


def draw(*, budget: str = "quick", rng: RNG, n_jobs: int | None = None) -> Any:
    """Draw, for two spectra, risk against n; simulated over exact risk; and each bound over the exact risk.

    Parameters
    ----------
    budget : {"quick", "full"}
        500 or 10,000 replicates.
    rng, n_jobs
        See `gradnoise.simulations.ensemble.run`.

    Returns
    -------
    matplotlib Figure
    """
    stream = Stream.of(rng)
    figure, axes = pyplot.subplots(3, 2, figsize=(11, 10.5), sharex="col", height_ratios=(2.2, 1, 1))
    for column, (title, spectrum) in enumerate(_SPECTRA.items()):
        problem = LeastSquares(spectrum, np.ones(len(spectrum)), 1.0)
        a = problem.assumptions()
        eta = _SHARE * BATCH_SIZE / (a.radius_squared + (BATCH_SIZE - 1) * a.largest_eigenvalue)
        exact = problem.excess_risk(eta, BATCH_SIZE, _EXACT)
        curves = [
            (name, B, least_squares.simulate_curve(
                problem, noise, eta, _SIMULATED, REPLICATES[budget], rng=stream.child(column, k), n_jobs=n_jobs
            ))
            for k, (name, B, noise) in enumerate(_noises())
        ]  # fmt: skip
        _risks(axes[0, column], problem, eta, exact, curves)
        axes[0, column].set(title=f"{title};  $\\eta R_b^2 = {_SHARE}$, $b = {BATCH_SIZE}$")
        _ratios(axes[1, column], problem, eta, curves)
        _tightness(axes[2, column], problem, eta, exact)
    for ax, label in zip(axes[:, 0], ("excess risk of the averaged iterate", "simulated / exact", "bound / exact"), strict=True):
        ax.set_ylabel(label)
    for ax in axes[2]:
        ax.set_xlabel("$n + 1$, number of averaged iterates")
    _legend(figure, axes)
    figure.align_ylabels(axes[:, 0])
    return figure


def _noises() -> list[tuple[str, int, SamplingNoise]]:
    """Classes with the theorem's covariance; that of SGD is simulated as such, whatever B."""
    b = BATCH_SIZE
    noises: list[tuple[str, int, SamplingNoise]] = [("minibatch", min(LARGE_BATCHES), Minibatch(b, b, replacement=False))]
    for B in LARGE_BATCHES:
        noises += [
            ("gaussian", B, Gaussian(B, b, replacement=False)),
            ("rademacher", B, Rademacher(B, b, replacement=False)),
            ("student9", B, StudentT(B, b, df=9, replacement=False)),
            ("student3", B, StudentT(B, b, df=3, replacement=False)),
        ]
    return noises


def _risks(ax: Any, problem: LeastSquares, eta: float, exact: np.ndarray, curves: list[tuple[str, int, RiskCurve]]) -> None:
    n = _EXACT + 1
    ax.plot(n, exact, color="black", linewidth=1.4, zorder=3)
    ax.plot(n, problem.asymptotic_constant(eta, BATCH_SIZE) / n, color="#D55E00", linewidth=1.2, linestyle=(0, (4, 2)))
    ax.plot(n, len(problem.spectrum) / (2 * BATCH_SIZE) / n, color="#D55E00", linewidth=1, linestyle=(0, (1, 1.5)))
    for form, line in _FORMS.items():
        ax.plot(n, problem.risk_bound(eta, BATCH_SIZE, _EXACT, form=form).bound, color="#777777", linestyle=line, linewidth=1.2)
    for name, B, curve in curves:
        _points(ax, name, B, curve, shift=1.0, scale=1.0)
    ax.set(xscale="log", yscale="log", ylim=(exact[-1] / 3, 60 * exact[0]))


def _ratios(ax: Any, problem: LeastSquares, eta: float, curves: list[tuple[str, int, RiskCurve]]) -> None:
    ax.axhline(1, color="black", linewidth=1)
    for k, (name, B, curve) in enumerate(curves):
        exact = problem.excess_risk(eta, BATCH_SIZE, curve.n_steps)
        _points(ax, name, B, curve, shift=1.45 ** (2 * k / (len(curves) - 1) - 1), scale=exact)
    ax.set_xscale("log")
    text = "points of one $n$ are spread sideways; bars: 95 %"
    ax.text(0.99, 0.9, text, transform=ax.transAxes, ha="right", fontsize=8)


def _points(ax: Any, name: str, B: int, curve: RiskCurve, *, shift: float, scale: Any) -> None:
    look, n = NOISES[name], np.array(curve.n_steps) + 1
    values = np.array([e.value for e in curve.averaged])
    half = np.abs(np.array([e.interval(0.95) for e in curve.averaged]).T - values)
    marker = "D" if name == "minibatch" else LARGE_BATCHES[B]
    ax.errorbar(
        n * shift, values / scale, yerr=half / scale, color=look.color, marker=marker, markersize=3.2, linestyle="none",
        linewidth=0.8, markerfacecolor="none" if name == "student3" else look.color, markeredgewidth=0.7,
    )  # fmt: skip


def _tightness(ax: Any, problem: LeastSquares, eta: float, exact: np.ndarray) -> None:
    for form, line in _FORMS.items():
        bound = problem.risk_bound(eta, BATCH_SIZE, _EXACT, form=form).bound
        ax.plot(_EXACT + 1, bound / exact, color="#777777", linestyle=line, linewidth=1.4)
    ax.axhline(1, color="black", linewidth=1)
    ax.set(xscale="log", yscale="log", ylim=(0.8, None))


def _legend(figure: Any, axes: Any) -> None:
    lines = [
        Line2D([], [], color="black", label="exact"),
        Line2D([], [], color="#D55E00", linestyle=(0, (4, 2)), label="asymptote, with multiplicative noise"),
        Line2D([], [], color="#D55E00", linestyle=(0, (1, 1.5)), label=r"$\sigma^2 d / (2 b (n+1))$"),
        *(Line2D([], [], color="#777777", linestyle=line, label=f"bound, {form}") for form, line in _FORMS.items()),
    ]
    names = [
        Line2D([], [], color=look.color, marker="D" if name == "minibatch" else "o", linestyle="none", label=look.label,
               markerfacecolor="none" if name == "student3" else look.color)
        for name, look in NOISES.items()
    ]  # fmt: skip
    names += [Line2D([], [], color="black", marker=m, linestyle="none", label=f"$B = {B}$") for B, m in LARGE_BATCHES.items()]
    figure.legend(handles=lines + names, loc="outside lower center", ncols=4, handlelength=2.6)
