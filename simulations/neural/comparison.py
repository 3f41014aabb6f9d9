"""Networks trained by many dynamics from the same start, over seeds."""

from __future__ import annotations

import copy
import os
from typing import Any

import numpy as np
import torch
from joblib import parallel_config

from gradnoise.simulations import ensemble
from gradnoise.simulations.ensemble import Progress, versions
from gradnoise.simulations.network_protocols import ACCURACIES, Comparison, Protocol
from gradnoise.simulations.neural.data import settled_folder
from gradnoise.simulations.neural.devices import pick_device, threads
from gradnoise.simulations.neural.dynamics import DYNAMICS
from gradnoise.simulations.neural.experiments import EXPERIMENTS, advance, facts_of, make
from gradnoise.simulations.neural.measures import PROBES, measure
from gradnoise.simulations.neural.spectrum import leading_eigenpairs
from gradnoise.simulations.seeds import RNG, Stream
from gradnoise.theory._validation import FloatArray, as_choice, as_count

__all__ = ["compare"]

_DESCENT_RECORDS = 10
_MOST_SEEDS = 10**6
_DESCENT, _DYNAMICS = 10, 12  # beside the children of a seed that `make` and `measure` use


def compare(
    protocol: Protocol,
    n_seeds: int,
    *,
    rng: RNG,
    device: str = "auto",
    data_folder: str | os.PathLike[str] | None = None,
    n_jobs: int | None = None,
    store: str | os.PathLike[str] | None = None,
    progress: Progress = None,
) -> Comparison:
    """Train networks as a protocol says.

    Parameters
    ----------
    protocol : Protocol
    n_seeds : int
        Repetitions, each with data, initialisation and noise of its own.
    rng : None, int, SeedSequence or Generator
        See `gradnoise.simulations.ensemble.run`; a repetition is a path.
    device : str
        See `gradnoise.simulations.neural.devices.pick_device`.
    data_folder : path, optional
        See `gradnoise.simulations.neural.data.load`.
    n_jobs : int, optional
        Processes, each with one core; None takes as many as joblib's active configuration says. The numbers do not depend on
        it.
    store : path, optional
        Folder in which finished repetitions are kept, so that a run that was cut off can be continued. They are known by what
        their data are, wherever these lie.
    progress : bool or callable, optional
        See `gradnoise.simulations.ensemble.run`.

    Returns
    -------
    Comparison

    Raises
    ------
    ValueError
        If an argument is not allowed, files are missing, or the data become other ones meanwhile.

    Examples
    --------
    >>> from gradnoise.simulations.network_protocols import Protocol
    >>> from gradnoise.simulations.neural.comparison import compare
    >>> settings = {"experiment": "digits", "learning_rate": 0.2, "batch_size": 10, "n_steps": 2, "every": 1}
    >>> found = compare(Protocol(dynamics=("gd", "sgd"), **settings), n_seeds=1, rng=1, device="cpu", n_jobs=1)
    >>> found.values.shape  # seeds, dynamics, records from step 0 on, and metrics
    (1, 2, 3, 3)
    >>> bool((found.values[:, 0, 0] == found.values[:, 1, 0]).all())  # they begin at one point
    True
    """
    if not isinstance(protocol, Protocol):
        raise TypeError(f"protocol must be a Protocol, got {type(protocol).__name__}")
    for name in protocol.dynamics:
        as_choice(name, "dynamics", DYNAMICS)
    experiment = EXPERIMENTS[as_choice(protocol.experiment, "experiment", tuple(EXPERIMENTS))]
    n_seeds, place, stream = as_count(n_seeds, "n_seeds", at_most=_MOST_SEEDS), pick_device(device), Stream.of(rng)
    folder = settled_folder(data_folder)
    facts = facts_of(experiment, folder)
    with parallel_config("loky"):
        values, descent, eigenvalues = ensemble.run(
            _repetition, (protocol, place.type, facts, str(torch.__version__)), n_seeds, beside=(folder,),
            rng=stream, reduce=ensemble.concatenate, n_jobs=n_jobs, block_size=1, store=store, progress=progress,
        )  # fmt: skip
    arguments = {"n_seeds": n_seeds, "data": facts, "device": place.type}
    made_with = {**versions(), "torch": str(torch.__version__)}
    return Comparison(protocol, values, descent, eigenvalues, arguments=arguments, stream=stream, versions=made_with)


def _repetition(
    n_paths: int,
    generator: np.random.Generator,
    protocol: Protocol,
    device: str,
    facts: dict[str, Any],
    torch_version: str,
    data_folder: str | None,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Compare the dynamics once, with a seed: a block of the ensemble, which holds one path. The version is for the store."""
    with threads(1):  # so that sums do not depend on the cores that a process has: the seeds are what runs in parallel
        return _compare(generator, protocol, device, facts, data_folder)


def _compare(
    generator: np.random.Generator, protocol: Protocol, device: str, facts: dict[str, Any], data_folder: str | None
) -> tuple[FloatArray, FloatArray, FloatArray]:
    stream = Stream.of(generator)
    experiment, place = EXPERIMENTS[protocol.experiment], torch.device(device)
    task = make(experiment, rng=stream, device=place, data_folder=data_folder, facts=facts)
    model = task.operators.model
    descent, eigenvalues = np.empty((1, 0, len(ACCURACIES))), np.empty((1, 0))
    if protocol.descent_steps:
        records = advance(
            task, "gd", rng=stream.child(_DESCENT), n_steps=protocol.descent_steps, learning_rate=protocol.descent_rate,
            batch_size=protocol.batch_size, every=-(-protocol.descent_steps // _DESCENT_RECORDS),
        )  # fmt: skip
        descent = np.array([[[r[name] for name in ACCURACIES] for r in records]])
    if protocol.n_eigenvalues:
        operators = task.operators
        found, _ = leading_eigenpairs(operators.hessian_here(), operators.parameters, protocol.n_eigenvalues)
        eigenvalues = found[np.newaxis]
    start = copy.deepcopy(model.state_dict())
    values = []
    for name in protocol.dynamics:
        model.load_state_dict(start)
        try:
            # The same noise seed for all: they are compared in pairs.
            records = advance(
                task, name, rng=stream.child(_DYNAMICS), n_steps=protocol.n_steps, learning_rate=protocol.learning_rate,
                batch_size=protocol.batch_size, every=protocol.every, period=protocol.period,
                metrics=lambda: measure(
                    task.operators, protocol.measured, batch_size=protocol.batch_size, n_probes=protocol.n_probes,
                    rng=stream.child(PROBES),
                ),
            )  # fmt: skip
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
        values.append([[r[metric] for metric in protocol.metrics] for r in records])
    return np.array([values]), descent, eigenvalues
