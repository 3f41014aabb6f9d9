"""Time Gaussian noise with the covariance of SGD, made by SVD and by sampling, against the exponents of wu2020, Section 4.1."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy: more threads in BLAS would bend the exponents

import statistics
import time
from collections.abc import Callable
from typing import Annotated

import numpy as np
import scipy.linalg
import typer
from rich.console import Console
from rich.table import Table

from gradnoise.theory.gradient_noise import sgd_covariance

BATCH_SIZE = 8
SIZES, FIXED = (512, 1024, 2048), 1024


def by_svd(G: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """U sqrt(Lambda) eps of the covariance matrix C."""
    U, values, _ = scipy.linalg.svd(sgd_covariance(G, BATCH_SIZE))
    return U @ (np.sqrt(values) * rng.standard_normal(len(G)))


def covariance_only(G: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Covariance matrix, the first part of the way by SVD."""
    return sgd_covariance(G, BATCH_SIZE)


def by_sampling(G: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """G W with Gaussian weights; it takes the place of the mean gradient G 1/n."""
    return G @ weights(G, rng)


def weights(G: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Gaussian weights: all that sampling costs beyond a gradient."""
    n = G.shape[1]
    eps = rng.standard_normal(n)
    return 1 / n + (eps - eps.mean()) / np.sqrt(BATCH_SIZE * n)


# With the exponents of d and n at equal sizes, where d^3 leads in d^2 n + d^3.
WAYS: dict[str, tuple[Callable[..., np.ndarray], float, float]] = {
    "matrix and SVD": (by_svd, 3, 0),
    "matrix alone": (covariance_only, 2, 1),
    "sampling, G W": (by_sampling, 1, 1),
    "sampling, W alone": (weights, 0, 1),
}


def main(repeats: Annotated[int, typer.Option(help="interleaved runs; the median counts", min=1)] = 5) -> None:
    """Print times, and the exponents by which they grow from the second largest to the largest size."""
    rng = np.random.default_rng(1)
    shapes = [(d, FIXED) for d in SIZES] + [(FIXED, n) for n in SIZES if n != FIXED]
    gradients = {shape: rng.standard_normal(shape) for shape in shapes}
    times: dict[tuple[str, tuple[int, int]], list[float]] = {}
    for _ in range(repeats):
        for shape, G in gradients.items():
            for name, (way, _, _) in WAYS.items():
                times.setdefault((name, shape), []).append(_seconds(lambda way=way, G=G: way(G, rng)))
    table = Table(
        title=f"milliseconds, median of {repeats}; exponents between {SIZES[-2]} and {SIZES[-1]} (stated ones in brackets)"
    )
    for heading in ("way", *(f"d {d}\nn {n}" for d, n in shapes), "exponent of d", "exponent of n"):
        table.add_column(heading, justify="right" if table.columns else "left")
    for name, (_, of_d, of_n) in WAYS.items():
        median = {shape: statistics.median(times[name, shape]) for shape in shapes}
        middle, largest = SIZES[-2:]
        exponents = [
            np.log(median[shape] / median[(FIXED, middle) if shape[0] == FIXED else (middle, FIXED)]) / np.log(largest / middle)
            for shape in ((largest, FIXED), (FIXED, largest))
        ]
        cells = (f"{e:.1f} ({stated:g})" for e, stated in zip(exponents, (of_d, of_n), strict=True))
        table.add_row(name, *(f"{1e3 * median[shape]:.3g}" for shape in shapes), *cells)
    Console(width=150).print(table)


def _seconds(function: Callable[[], object]) -> float:
    """Processor time of a call, repeated until it is long enough for the clock."""
    calls, elapsed = 0, 0.0
    start = time.process_time()
    while elapsed < 0.01:
        function()
        calls += 1
        elapsed = time.process_time() - start
    return elapsed / calls


if __name__ == "__main__":
    typer.run(main)
