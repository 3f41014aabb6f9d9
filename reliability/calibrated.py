"""What is calibrated: every interval of the package, on samples of laws whose true value is known.

A `Case` draws n samples and returns what the package makes of them. Where it refuses, it returns None.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradnoise.simulations.statistics import (
    Difference,
    Estimate,
    JointMoments,
    Measured,
    Proportion,
    Quotient,
    SkewedEstimate,
    fit_order,
    tail_index,
)

Draw = Callable[[np.random.Generator, tuple[int, ...]], NDArray[Any]]

SIZES = (5, 10, 20, 50, 100, 1_000, 10_000, 100_000)
_ETA, _SPREAD = np.array([0.4, 0.2, 0.1, 0.05]), 0.2


@dataclass(frozen=True)
class Case:
    """An interval on samples of a law.

    Attributes
    ----------
    interval, law : str
    true : float
        What it should cover.
    measure : callable
        ``measure(generator, n)`` returns the quantity, or None where the package refuses to.
    sizes : tuple of int
    """

    interval: str
    law: str
    true: float
    measure: Callable[[np.random.Generator, int], Measured | None]
    sizes: tuple[int, ...] = SIZES


#: By name: a draw, and its mean.
LAWS: dict[str, tuple[Draw, float]] = {
    "normal": (lambda g, shape: g.standard_normal(shape), 0.0),
    "uniform": (lambda g, shape: g.random(shape), 0.5),
    "Student t₃": (lambda g, shape: g.standard_t(3, shape), 0.0),
    "exponential": (lambda g, shape: g.exponential(size=shape), 1.0),
    "lognormal(1)": (lambda g, shape: np.exp(g.standard_normal(shape)), math.exp(0.5)),
    "lognormal(2)": (lambda g, shape: np.exp(2 * g.standard_normal(shape)), math.exp(2.0)),
    "Bernoulli(½)": (lambda g, shape: (g.random(shape) < 0.5) * 1.0, 0.5),
    "Bernoulli(.02)": (lambda g, shape: (g.random(shape) < 0.02) * 1.0, 0.02),
}
_BOUNDED = ("uniform", "Bernoulli(½)", "Bernoulli(.02)")
_SKEWED = ("normal", "exponential", "lognormal(1)", "lognormal(2)", "Bernoulli(½)", "Bernoulli(.02)")


def cases() -> Iterator[Case]:
    """All cases that need no PyTorch, an interval at a time."""
    for name, (draw, mean) in LAWS.items():
        yield Case("mean", name, mean, lambda g, n, draw=draw: Estimate.of(draw(g, (n,))))
    yield Case("mean, known to be normal", "normal", 0.0, lambda g, n: Estimate.of(g.standard_normal(n), normal=True))
    for name in _BOUNDED:
        draw, mean = LAWS[name]
        yield Case("mean, support known", name, mean, lambda g, n, draw=draw: Estimate.of(draw(g, (n,)), (0.0, 1.0)))
    for name in _SKEWED:
        draw, mean = LAWS[name]
        yield Case("mean, skew", name, mean, lambda g, n, draw=draw: SkewedEstimate.like(Estimate.of(draw(g, (n,)))))
    for p in (0.5, 0.02, 0.001):
        yield Case("proportion", f"p = {p:g}", p, lambda g, n, p=p: Proportion(int(g.binomial(n, p)), n))
    for p, q in ((0.5, 0.4), (0.02, 0.01)):
        yield Case("difference of proportions", f"{p:g} − {q:g}", p - q, lambda g, n, p=p, q=q: _of_proportions(g, n, p, q))
    for name in _SKEWED:
        draw, mean = LAWS[name]
        yield Case("difference of means", f"{name} − normal", mean, lambda g, n, draw=draw: _of_means(g, n, draw))
    for name in _SKEWED:
        draw, _ = LAWS[name]
        yield Case("quotient", f"two of {name} + 3", 1.0, lambda g, n, draw=draw: _quotient(draw(g, (n, 2)) + 3))
    yield Case("quotient", "exponential, correlated", 2.0, lambda g, n: _quotient(g.exponential(size=(n, 2)) @ [[1, 0], [1, 1]]))
    yield Case("quotient", "normal, denominator ½ ± 1", 1.0, lambda g, n: _quotient(0.5 + g.standard_normal((n, 2))))
    for alpha in (2.0, 1.8, 1.5, 1.0, 0.7, 0.5):
        yield Case("tail index", f"stable, α = {alpha:g}", alpha, lambda g, n, alpha=alpha: tail_index(stable(alpha, n, g)))
    for name in _SKEWED:
        draw, mean = LAWS[name]
        yield Case("order", f"{name} factors", 1.0, lambda g, n, draw=draw, m=mean: _order(1 + _SPREAD * (draw(g, (n, 4)) - m)))


def stable(alpha: float, size: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """Symmetric stable samples by Chambers, Mallows and Stuck (1976)."""
    angle, exponential = generator.uniform(-np.pi / 2, np.pi / 2, size), generator.exponential(size=size)
    first = np.sin(alpha * angle) / np.cos(angle) ** (1 / alpha)
    return first * (np.cos((1 - alpha) * angle) / exponential) ** ((1 - alpha) / alpha)


def _means(samples: NDArray[np.float64]) -> tuple[Estimate, Estimate]:
    return Estimate.of(samples[:, 0]), Estimate.of(samples[:, 1])


def _of_means(generator: np.random.Generator, n: int, draw: Draw) -> Difference:
    return Difference(Estimate.of(draw(generator, (n,))), Estimate.of(generator.standard_normal(n)))


def _of_proportions(generator: np.random.Generator, n: int, p: float, q: float) -> Difference:
    return Difference(*(Proportion(int(generator.binomial(n, share)), n) for share in (p, q)))


def _quotient(samples: NDArray[np.float64]) -> Quotient:
    return Quotient(*_means(samples), float(np.cov(samples.T)[0, 1]) / len(samples))


def _order(factors: NDArray[np.float64]) -> Measured | None:
    """Order of errors that are the means of η times these."""
    moments = JointMoments.of(_ETA * factors)
    try:
        return fit_order(_ETA, moments.mean, np.sqrt(np.diag(moments.covariance)), moments=moments)
    except ValueError:  # too few errors are above their noise
        return None
