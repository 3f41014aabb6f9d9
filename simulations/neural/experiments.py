"""The papers' small experiments: data, network and settings that belong together."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from gradnoise.simulations.neural import data, models
from gradnoise.simulations.neural.dynamics import build
from gradnoise.simulations.neural.loss_operators import LossOperators
from gradnoise.simulations.neural.training import Record, load_checkpoint, train
from gradnoise.simulations.progress import Progress
from gradnoise.simulations.provenance import versions
from gradnoise.simulations.seeds import Stream
from gradnoise.theory._validation import as_choice, as_real

__all__ = ["EXPERIMENTS", "Experiment", "Task", "pick_device", "restore", "run"]

CROSS_ENTROPY = partial(functional.cross_entropy, reduction="none")
_DATA, _INITIALISATION, _NOISE = range(3)


@dataclass(frozen=True)
class Experiment:
    """A data set with corrupted labels, a network, and the settings of the paper.

    Attributes
    ----------
    dataset : str
        See `gradnoise.simulations.neural.data.load`.
    build : callable
        Makes the network.
    n_train : int
        Images to train on; at most as many as there are.
    corrupted : float
        Share of the labels that are really wrong.
    learning_rate, batch_size
        Of the paper, or like it.
    """

    dataset: str
    build: Callable[[], nn.Module]
    n_train: int
    corrupted: float
    learning_rate: float
    batch_size: int


#: "fashion" is Section 5.3 of zhu2019; "digits" is like it, and needs no files.
EXPERIMENTS = {
    "digits": Experiment("digits", lambda: models.perceptron(64, 10, (50,)), 600, 1 / 6, 0.07, 20),
    "fashion": Experiment("fashion-mnist", models.lenet, 1200, 1 / 6, 0.07, 20),
}


@dataclass(frozen=True, eq=False)
class Task:
    """A network with its data, on a device.

    Attributes
    ----------
    operators : LossOperators
        Of the training samples with their corrupted labels.
    test : (Tensor, Tensor)
        Inputs and labels, all of them right.
    """

    operators: LossOperators
    test: tuple[Tensor, Tensor]

    def metrics(self) -> dict[str, float]:
        """Accuracy on the training labels, corrupted ones included, and on the test images."""
        model, (inputs, labels) = self.operators.model, self.test
        with torch.no_grad():
            train_accuracy = accuracy(model(self.operators.inputs), self.operators.targets)
            return {"train_accuracy": train_accuracy, "test_accuracy": accuracy(model(inputs), labels)}


def make(experiment: Experiment, *, rng: Any, device: torch.device, data_folder: str | os.PathLike[str] | None = None) -> Task:
    """Load the data, corrupt labels, and initialise the network, each with a seed of its own."""
    stream = Stream.of(rng)
    whole = data.load(experiment.dataset, data_folder)
    seed = stream.child(_DATA)
    n_train = min(experiment.n_train, len(whole.train_labels))
    part = data.subset(whole, n_train, rng=seed.child(0).sequence())
    wrong = round(experiment.corrupted * n_train)
    labels = data.corrupt(part.train_labels, wrong, part.n_classes, rng=seed.child(1).sequence())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(stream.child(_INITIALISATION).generator(0).integers(2**62)))
        model = experiment.build()
    model.to(device)

    def moved(array: Any) -> Tensor:
        return torch.as_tensor(array, device=device)

    operators = LossOperators(model, CROSS_ENTROPY, moved(part.train_inputs), moved(labels))
    return Task(operators, (moved(part.test_inputs), moved(part.test_labels)))


def run(
    experiment: str,
    dynamics: str = "sgd",
    *,
    n_steps: int,
    rng: Any,
    learning_rate: float | None = None,
    batch_size: int | None = None,
    large_batch_size: int | None = None,
    momentum: float = 0.0,
    every: int = 100,
    device: str = "auto",
    data_folder: str | os.PathLike[str] | None = None,
    folder: str | os.PathLike[str] | None = None,
    progress: Progress = None,
) -> list[Record]:
    """Train the network of an experiment.

    Parameters
    ----------
    experiment : {"digits", "fashion"}
    dynamics : str
        One of `gradnoise.simulations.neural.dynamics.DYNAMICS`.
    n_steps, every, folder, progress
        See `gradnoise.simulations.neural.training.train`.
    rng : None, int, SeedSequence or Generator
        Of data, initialisation and noise, which are seeded apart, so that all dynamics of a seed begin alike.
    learning_rate, batch_size : optional
        Those of the experiment if not given.
    large_batch_size : int, optional
        See `gradnoise.simulations.neural.dynamics.build`.
    momentum : float
        Between 0 and 1.
    device : str
        "cpu", "cuda", or "auto".
    data_folder : path, optional
        See `gradnoise.simulations.neural.data.load`.

    Returns
    -------
    list of dict
        Step, loss and accuracies.

    Raises
    ------
    ValueError
        If an argument is not allowed, or files are missing.
    """
    chosen = EXPERIMENTS[as_choice(experiment, "experiment", tuple(EXPERIMENTS))]
    place = pick_device(device)
    rate = as_real(chosen.learning_rate if learning_rate is None else learning_rate, "learning_rate", above=0)
    b = chosen.batch_size if batch_size is None else batch_size
    stream = Stream.of(rng)
    task = make(chosen, rng=stream, device=place, data_folder=data_folder)
    generator = torch.Generator(place).manual_seed(int(stream.child(_NOISE).generator(0).integers(2**62)))
    source = build(dynamics, task.operators, b, generator, large_batch_size=large_batch_size)
    optimizer = torch.optim.SGD(task.operators.model.parameters(), lr=rate, momentum=as_real(momentum, "momentum", at_least=0))
    settings = {
        "experiment": experiment, "dynamics": dynamics, "learning_rate": rate, "batch_size": b,
        "large_batch_size": large_batch_size, "momentum": momentum, "every": every, "device": place.type,
        "stream": asdict(stream), "versions": {**versions(), "torch": torch.__version__},
    }  # fmt: skip
    return train(
        task.operators, source, optimizer, n_steps,
        every=every, metrics=task.metrics, folder=folder, settings=settings, progress=progress,
    )  # fmt: skip


def restore(
    folder: str | os.PathLike[str], *, device: str = "auto", data_folder: str | os.PathLike[str] | None = None
) -> tuple[Task, dict[str, Any]]:
    """Return the network of a run's checkpoint with its data, and the run's settings.

    Parameters
    ----------
    folder : path
        Of `run`.
    device, data_folder
        See `run`.

    Raises
    ------
    ValueError
        If there is no checkpoint of an experiment.
    """
    content, settings = load_checkpoint(folder)
    if settings.get("experiment") not in EXPERIMENTS:
        raise ValueError(f"folder must be of an experiment, got settings {settings} in {os.fspath(folder)!r}")
    entropy, key, bit_generator = (settings["stream"][name] for name in ("entropy", "spawn_key", "bit_generator"))
    stream = Stream(entropy if isinstance(entropy, int) else tuple(entropy), tuple(key), bit_generator)
    task = make(EXPERIMENTS[settings["experiment"]], rng=stream, device=pick_device(device), data_folder=data_folder)
    task.operators.model.load_state_dict(content["model"])
    return task, settings


def pick_device(name: str) -> torch.device:
    """Return a device by name; "auto" takes CUDA where there is some.

    Raises
    ------
    ValueError
        If there is no such device.
    """
    as_choice(name, "device", ("auto", "cpu", "cuda"))
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("device must be there, got cuda, and torch sees no CUDA device")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def accuracy(outputs: Tensor, labels: Tensor) -> float:
    """Share of the outputs (n, classes) whose largest is that of the label (n,)."""
    return float((outputs.argmax(dim=1) == labels).double().mean())
