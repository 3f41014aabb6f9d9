"""What the batteries interrupt.

python reliability/workloads.py NAME FOLDER runs one, keeps its state in the folder, and prints a hash of its result.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import joblib
import numpy as np

from gradnoise.simulations import ensemble, sde
from gradnoise.simulations.sde.standard_problems import STANDARD

SEED = 11


def study(folder: str) -> Any:
    """A strong error of some 120 blocks."""
    with joblib.parallel_config("threading", n_jobs=2):
        found = sde.strong_error(
            STANDARD["logistic"].build(), [0.2, 0.1, 0.05], 2.0, 30_000, batch_size=3, rng=SEED, refinement=16, store=folder
        )
    return found.errors, found.standard_errors


def slow_kernel(n_paths: int, generator: np.random.Generator, rounds: int) -> tuple[np.ndarray, ...]:
    """Mean squares of many normal numbers: pure NumPy, so that a worker is always in the middle of a block."""
    total = np.zeros(n_paths)
    for _ in range(rounds):
        total += (generator.standard_normal((n_paths, 100)) ** 2).mean(axis=1)
    return (total / rounds,)


def processes(folder: str, backend: str = "loky") -> Any:
    """An ensemble of 60 blocks of a tenth of a second, in processes."""
    with joblib.parallel_config(backend, n_jobs=2):
        return ensemble.run(slow_kernel, (1_000,), 6_000, rng=SEED, reduce=ensemble.concatenate, block_size=100, store=folder)


def dask(folder: str) -> Any:
    """The same on two dask workers, processes of this machine."""
    from distributed import Client, LocalCluster  # pyright: ignore[reportMissingImports]

    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster, Client(cluster):
        return processes(folder, "dask")


def training(folder: str, dynamics: str, n_steps: int = 60, **settings: Any) -> Any:
    """A training run that keeps a checkpoint with each record."""
    from gradnoise.simulations.neural import experiments

    records = experiments.run("digits", dynamics, rng=SEED, device="cpu", folder=folder, n_steps=n_steps, every=10, **settings)
    return [sorted(record.items()) for record in records]


def sweep(folder: str) -> Any:
    """A plan of six runs, two at a time."""
    from gradnoise.simulations.neural.sweeps import sweep
    from gradnoise.simulations.sweeps import Plan

    plan = {"seeds": 3, "settings": {"experiment": "digits", "n_steps": 200, "every": 20}, "runs": [{"dynamics": ["sgd", "gd"]}]}
    table = sweep(Plan.of(plan), folder, device="cpu", n_jobs=2)
    return [sorted((name, value) for name, value in row.items() if name != "seconds") for row in table.rows]


def comparison(folder: str) -> Any:
    """Six repetitions of a comparison of two dynamics."""
    from gradnoise.simulations.network_protocols import Protocol
    from gradnoise.simulations.neural.comparison import compare

    protocol = Protocol(
        experiment="digits", dynamics=("gd", "sgd"), learning_rate=0.1, batch_size=10, n_steps=60, every=20, descent_steps=40,
        descent_rate=0.1,
    )  # fmt: skip
    return compare(protocol, 6, rng=SEED, device="cpu", n_jobs=2, store=folder).values


WORKLOADS: dict[str, Callable[[str], Any]] = {
    "study, threads": study,
    "ensemble, loky": processes,
    "ensemble, dask": dask,
    "train, sgd": partial(training, dynamics="sgd", n_steps=400),
    "train, gld_hessian, adam": partial(training, dynamics="gld_hessian", optimizer="adam"),
    "train, enhanced, adam, L* and L**": partial(
        training, dynamics="enhanced", n_steps=4_000, optimizer="adam", learning_rate=0.005, halve_at=0.2, stop_at=0.05
    ),
    "compare": comparison,
    "sweep": sweep,
}


def digest(result: Any) -> str:
    """SHA-256 of nested lists of arrays and numbers, bit by bit."""
    found = hashlib.sha256()

    def add(value: Any) -> None:
        if isinstance(value, (list, tuple)):
            found.update(f"[{len(value)}".encode())
            for item in value:
                add(item)
        elif isinstance(value, np.ndarray):
            found.update(f"{value.dtype.str}{value.shape}".encode() + value.tobytes())
        else:
            found.update(repr(value).encode())

    add(result)
    return found.hexdigest()


if __name__ == "__main__":
    print(digest(WORKLOADS[sys.argv[1]](sys.argv[2])))
