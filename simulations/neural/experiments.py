"""The papers' experiments: data, network and settings that belong together."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from gradnoise.simulations.ensemble import Progress, versions
from gradnoise.simulations.network_protocols import as_measured
from gradnoise.simulations.neural import data, models
from gradnoise.simulations.neural.checkpoints import as_json
from gradnoise.simulations.neural.devices import pick_device
from gradnoise.simulations.neural.loss_operators import LossOperators
from gradnoise.simulations.neural.measures import PROBES, measure
from gradnoise.simulations.neural.methods import Method
from gradnoise.simulations.neural.tasks import Task
from gradnoise.simulations.neural.training import Record, load_checkpoint, train
from gradnoise.simulations.seeds import RNG, Stream
from gradnoise.theory._validation import as_choice, as_count, as_function, as_instance, as_path, as_real, set_fields, shown

__all__ = ["CROSS_ENTROPY", "EXPERIMENTS", "Experiment", "Task", "advance", "facts_of", "make", "restore", "run"]

CROSS_ENTROPY = partial(functional.cross_entropy, reduction="none")
_DATA, _INITIALISATION, _NOISE, _CONTINUED = range(4)


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
    learning_rate : float
    batch_size : int
        Of the paper, or like it.

    Examples
    --------
    >>> from gradnoise.simulations.neural.experiments import EXPERIMENTS
    >>> digits = EXPERIMENTS["digits"]
    >>> digits.n_train, round(digits.corrupted * digits.n_train), digits.batch_size
    (300, 50, 10)
    >>> from gradnoise.simulations.neural.experiments import Experiment
    >>> from gradnoise.simulations.neural.models import lenet
    >>> Experiment("fashion-mnist", lenet, n_train=600, corrupted=0.1, learning_rate=0.1, batch_size=10).n_train
    600
    """

    dataset: str
    build: Callable[[], nn.Module]
    n_train: int
    corrupted: float
    learning_rate: float
    batch_size: int

    def __post_init__(self) -> None:
        as_choice(self.dataset, "dataset", tuple(data.DATASETS))
        if not callable(self.build):
            raise TypeError(f"build must be callable, got {shown(self.build)}")
        counts = {name: as_count(getattr(self, name), name) for name in ("n_train", "batch_size")}
        corrupted = as_real(self.corrupted, "corrupted", at_least=0, at_most=1)
        set_fields(self, **counts, corrupted=corrupted, learning_rate=as_real(self.learning_rate, "learning_rate", above=0))


def _perceptron() -> nn.Module:
    return models.perceptron(64, 10, (50, 50))


class _Centred(nn.Module):
    """Brings pixels from [0, 1] to [−1, 1]."""

    def forward(self, inputs: Tensor) -> Tensor:
        return 2 * inputs - 1


def _released_lenet() -> nn.Module:
    return nn.Sequential(_Centred(), *models.initialise(models.lenet(), "small"))


_NARROW = 1 / 8  # of the channels, with which a CPU trains in minutes what takes it hours

#: "fashion" is Section 5.3 of zhu2019, "fashion-clean" Appendix B.1 of wu2019; those with digits are like them, and need no
#: files. F1, C1 and C2 are of ne2021, with Adam's own rate and the best of its batch sizes without enhancement (Table 2); those
#: with VGG-11 are Appendix D.4 of zhu2019, for SGD without momentum, and that with ResNet-18 Appendix B.3 of wu2019, which has a
#: momentum of .9. wu2019 has images of SVHN's test file to train on, and those of its training file to test; here it is not so.
#: "few" are 2,000 images, for many runs on a CPU; the narrow F1 has a quarter of its units, 125 in a layer. "released" is as the
#: released program of zhu2019: 6,000 images, not 1,200, of which 200 have wrong labels, pixels from −1 to 1, and a small start;
#: "fashion-6000" has its images alone, "released-1200" its pixels and start alone.
EXPERIMENTS = {
    "digits": Experiment("digits", _perceptron, 300, 1 / 6, 0.2, 10),
    "fashion": Experiment("fashion-mnist", models.lenet, 1200, 1 / 6, 0.07, 20),
    "fashion-6000": Experiment("fashion-mnist", models.lenet, 6000, 1 / 30, 0.07, 20),
    "fashion-released": Experiment("fashion-mnist", _released_lenet, 6000, 1 / 30, 0.07, 20),
    "fashion-released-1200": Experiment("fashion-mnist", _released_lenet, 1200, 1 / 6, 0.07, 20),
    "digits-clean": Experiment("digits", _perceptron, 300, 0.0, 0.2, 10),
    "fashion-clean": Experiment("fashion-mnist", models.lenet, 1000, 0.0, 0.01, 50),
    "fashion-f1": Experiment("fashion-mnist", models.f1, 60_000, 0.0, 0.001, 900),
    "fashion-f1-narrow": Experiment("fashion-mnist", partial(models.f1, width=1 / 4), 60_000, 0.0, 0.001, 900),
    "cifar10-c1": Experiment("cifar10", models.c1, 50_000, 0.0, 0.001, 100),
    "cifar10-c1-narrow": Experiment("cifar10", partial(models.c1, width=_NARROW), 50_000, 0.0, 0.001, 100),
    "cifar100-c2": Experiment("cifar100", models.c2, 50_000, 0.0, 0.001, 600),
    "cifar10-vgg11": Experiment("cifar10", models.vgg11, 50_000, 0.0, 0.05, 100),
    "cifar10-vgg11-narrow": Experiment("cifar10", partial(models.vgg11, width=_NARROW), 50_000, 0.0, 0.05, 100),
    "cifar10-vgg11-narrow-few": Experiment("cifar10", partial(models.vgg11, width=_NARROW), 2_000, 0.0, 0.05, 50),
    "cifar10-resnet18": Experiment("cifar10", models.resnet18, 50_000, 0.0, 0.1, 100),
    "cifar10-resnet18-narrow": Experiment("cifar10", partial(models.resnet18, width=_NARROW), 50_000, 0.0, 0.1, 100),
    "svhn-vgg11": Experiment("svhn", models.vgg11, 25_000, 0.0, 0.05, 100),
}


@torch.inference_mode(False)  # in which the network could not be differentiated
def make(
    experiment: Experiment,
    *,
    rng: RNG,
    device: torch.device,
    data_folder: str | os.PathLike[str] | None = None,
    chunk_size: int | None = None,
    facts: Mapping[str, Any] | None = None,
) -> Task:
    """Load the data, corrupt labels, and initialise the network, each with a seed of its own.

    Parameters
    ----------
    experiment : Experiment
    rng : None, int, SeedSequence or Generator
        See `gradnoise.simulations.seeds.Stream.of`.
    device : torch.device
        Where network and samples go.
    data_folder : path, optional
        See `gradnoise.simulations.neural.data.load`.
    chunk_size : int, optional
        Samples taken at once, in training and in evaluation; as many as memory has room for by default, see
        `gradnoise.simulations.neural.loss_operators.LossOperators`.
    facts : mapping, optional
        What the data must be, as `facts_of` has told it before.

    Returns
    -------
    Task

    Raises
    ------
    ValueError, TypeError
        If an argument is not allowed, files are missing, or the data are other ones.

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.experiments import EXPERIMENTS, make
    >>> task = make(EXPERIMENTS["digits"], rng=1, device=torch.device("cpu"))
    >>> task.facts["n_train"], task.facts["n_corrupted"], task.facts["n_test"]
    (300, 50, 597)
    """
    as_instance(experiment, "experiment", Experiment)
    stream, device = Stream.of(rng), pick_device(device)
    whole = _loaded(experiment, data_folder)
    found = _facts(experiment, whole)
    if facts is not None and dict(as_instance(facts, "facts", Mapping)) != found:
        place = "" if data_folder is None else f" in {os.fspath(data_folder)!r}"
        raise ValueError(f"facts must be of the data of {experiment.dataset}{place}, {found}, got {dict(facts)}: of other data")
    seed, n_train = stream.child(_DATA), found["n_train"]
    part = data.subset(whole, n_train, rng=seed.child(0).sequence())
    labels = data.corrupt(part.train_labels, found["n_corrupted"], part.n_classes, rng=seed.child(1).sequence())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream.child(_INITIALISATION).seed())
        model = experiment.build()
    # In the order of the axes in which convolutions are fastest.
    model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def moved(array: Any) -> Tensor:
        tensor = torch.as_tensor(array, device=device)
        return tensor.contiguous(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor

    operators = LossOperators(model, CROSS_ENTROPY, moved(part.train_inputs), moved(labels), chunk_size=chunk_size)
    return Task(operators, (moved(part.test_inputs), moved(part.test_labels)), found)


def facts_of(experiment: Experiment, data_folder: str | os.PathLike[str] | None = None) -> dict[str, Any]:
    """Return what the data of an experiment are, without its network.

    Parameters
    ----------
    experiment : Experiment
    data_folder : path, optional
        See `gradnoise.simulations.neural.data.load`.

    Returns
    -------
    dict
        See `gradnoise.simulations.neural.tasks.Task`.

    Raises
    ------
    ValueError, TypeError
        If an argument is not allowed, or files are missing.

    Examples
    --------
    >>> from gradnoise.simulations.neural.experiments import EXPERIMENTS, facts_of
    >>> facts_of(EXPERIMENTS["digits"])["n_corrupted"]
    50
    """
    as_instance(experiment, "experiment", Experiment)
    return _facts(experiment, _loaded(experiment, data_folder))


def _loaded(experiment: Experiment, data_folder: str | os.PathLike[str] | None) -> data.Dataset:
    return data.load(experiment.dataset, None if data_folder is None else as_path(data_folder, "data_folder"))


def _facts(experiment: Experiment, whole: data.Dataset) -> dict[str, Any]:
    n_train = min(experiment.n_train, len(whole.train_labels))
    wrong = round(experiment.corrupted * n_train)
    return {"n_train": n_train, "n_corrupted": wrong, "n_test": len(whole.test_labels), "sha256": data.digest(whole)}


def run(
    experiment: str,
    dynamics: str = "sgd",
    *,
    n_steps: int,
    rng: RNG,
    learning_rate: float | None = None,
    batch_size: int | None = None,
    large_batch_size: int | None = None,
    alpha: float | None = None,
    svag_l: int | None = None,
    optimizer: str = "sgd",
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    milestones: tuple[int, ...] = (),
    decay: float = 0.1,
    halve_at: float | None = None,
    stop_at: float | None = None,
    augment: bool = False,
    every: int = 100,
    measured: Sequence[str] = (),
    n_probes: int = 30,
    start: str | os.PathLike[str] | None = None,
    device: str | torch.device = "auto",
    chunk_size: int | None = None,
    data_folder: str | os.PathLike[str] | None = None,
    facts: Mapping[str, Any] | None = None,
    folder: str | os.PathLike[str] | None = None,
    progress: Progress = None,
) -> list[Record]:
    """Train the network of an experiment.

    Parameters
    ----------
    experiment : str
        One of `EXPERIMENTS`.
    dynamics : str
        One of `gradnoise.simulations.neural.dynamics.DYNAMICS`.
    n_steps : int
        See `gradnoise.simulations.neural.training.train`.
    rng : None, int, SeedSequence or Generator
        Of data, initialisation and noise, which are seeded apart, so that all dynamics of a seed begin alike.
    learning_rate : float, optional
        That of the experiment if not given.
    batch_size : int, optional
        That of the experiment if not given. With alpha it must not be.
    large_batch_size, alpha, svag_l, augment : optional
        See `gradnoise.simulations.neural.dynamics.build`.
    optimizer, momentum, weight_decay, milestones, decay, halve_at, stop_at : optional
        See `gradnoise.simulations.neural.methods.Method`.
    every : int
        Steps between two records.
    measured, n_probes : optional
        What is recorded beside loss and accuracies; see `gradnoise.simulations.neural.measures.measure`. The noise is that of
        minibatches of batch_size, or of the experiment's with alpha, whatever the dynamics.
    start : path, optional
        Folder of another run of the same experiment and seed, from whose last parameters this one starts, with other noise.
    device : str or torch.device
        See `gradnoise.simulations.neural.devices.pick_device`.
    chunk_size : int, optional
        See `make`. A run may be continued with another one; numbers then agree but for rounding.
    data_folder : path, optional
        See `gradnoise.simulations.neural.data.load`.
    facts : mapping, optional
        See `make`.
    folder : path, optional
        Where records and checkpoint go; see `gradnoise.simulations.neural.training.train`.
    progress : bool or callable, optional
        See `gradnoise.simulations.ensemble.run`; counts steps.

    Returns
    -------
    list of dict
        Step, loss and accuracies; and where the training goes by its loss, see `gradnoise.simulations.neural.training.train`.

    Raises
    ------
    ValueError
        If an argument is not allowed, or files are missing.

    Examples
    --------
    >>> from gradnoise.simulations.neural.experiments import run
    >>> records = run("digits", "sgd", n_steps=2, every=1, rng=1, device="cpu")
    >>> [record["step"] for record in records], sorted(records[0])
    ([0, 1, 2], ['step', 'test_accuracy', 'train_accuracy', 'train_loss'])
    """
    chosen = EXPERIMENTS[as_choice(experiment, "experiment", tuple(EXPERIMENTS))]
    place, stream = pick_device(device), Stream.of(rng)
    task = make(chosen, rng=stream, device=place, data_folder=data_folder, chunk_size=chunk_size, facts=facts)
    settings: dict[str, Any] = {"experiment": experiment, "stream": asdict(stream), "data": task.facts}
    noise = stream
    if start is not None:
        try:
            content, other = load_checkpoint(as_path(start, "start"))
        except ValueError as error:
            raise ValueError(f"start must be the folder of a run: {error}") from None
        if other.get("experiment") != experiment or other.get("stream") != json.loads(json.dumps(settings["stream"])):
            raise ValueError(f"start must be a run of {experiment} with the same seed, got {os.fspath(start)!r}")
        _load(task, content, other, start)
        settings["start"] = {"settings": other, "record": json.loads(content["records"])[-1]}
        depth = 1  # how many runs led here: each has noise of its own
        while (other := other.get("start", {}).get("settings")) is not None:
            depth += 1
        noise = stream.child(_CONTINUED, depth)
    metrics, wanted, n_probes = None, as_measured(measured), as_count(n_probes, "n_probes")
    if wanted:
        settings |= {"measured": wanted, "n_probes": n_probes}
        metrics = partial(
            measure, task.operators, wanted, batch_size=chosen.batch_size if batch_size is None else batch_size,
            n_probes=n_probes, rng=stream.child(PROBES),
        )  # fmt: skip
    if batch_size is None and alpha is None:
        batch_size = chosen.batch_size
    return advance(
        task, dynamics, rng=noise, n_steps=n_steps,
        learning_rate=chosen.learning_rate if learning_rate is None else learning_rate, batch_size=batch_size,
        large_batch_size=large_batch_size, alpha=alpha, svag_l=svag_l, optimizer=optimizer, momentum=momentum,
        weight_decay=weight_decay, milestones=milestones, decay=decay, halve_at=halve_at, stop_at=stop_at,
        augment=augment, every=every, metrics=metrics, settings=settings, folder=folder, progress=progress,
    )  # fmt: skip


def advance(
    task: Task,
    dynamics: str,
    *,
    rng: RNG,
    n_steps: int,
    learning_rate: float,
    batch_size: int | None,
    every: int,
    large_batch_size: int | None = None,
    alpha: float | None = None,
    svag_l: int | None = None,
    optimizer: str = "sgd",
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    milestones: tuple[int, ...] = (),
    decay: float = 0.1,
    halve_at: float | None = None,
    stop_at: float | None = None,
    augment: bool = False,
    period: int = 10,
    metrics: Callable[[], Mapping[str, float]] | None = None,
    settings: Mapping[str, Any] | None = None,
    folder: str | os.PathLike[str] | None = None,
    progress: Progress = None,
) -> list[Record]:
    """Train the network of a task from where it stands.

    Parameters
    ----------
    task : Task
        Is changed. Samples are taken in chunks as its operators take them.
    dynamics : str
        One of `gradnoise.simulations.neural.dynamics.DYNAMICS`.
    rng : None, int, SeedSequence or Generator
        Of the noise.
    n_steps : int
        See `gradnoise.simulations.neural.training.train`.
    learning_rate : float
    batch_size : int or None
        See `gradnoise.simulations.neural.methods.Method`.
    every : int
        Steps between two records.
    large_batch_size, alpha, svag_l, augment, period : optional
        See `gradnoise.simulations.neural.dynamics.build`.
    optimizer, momentum, weight_decay, milestones, decay, halve_at, stop_at : optional
        See `gradnoise.simulations.neural.methods.Method`.
    metrics : callable, optional
        See `gradnoise.simulations.neural.training.train`; they come after the accuracies.
    settings : mapping, optional
        See `gradnoise.simulations.neural.training.train`; they come before those here.
    folder : path, optional
        See `gradnoise.simulations.neural.training.train`.
    progress : bool or callable, optional
        See `gradnoise.simulations.ensemble.run`; counts steps.

    Returns
    -------
    list of dict
        Step, loss, accuracies, and the metrics.

    Raises
    ------
    ValueError
        If an argument is not allowed; see `gradnoise.simulations.neural.training.train` for others.

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.experiments import EXPERIMENTS, advance, make
    >>> task = make(EXPERIMENTS["digits"], rng=1, device=torch.device("cpu"))
    >>> first, last = advance(task, "gd", rng=1, n_steps=3, learning_rate=0.2, batch_size=10, every=3)
    >>> first["step"], last["step"], last["train_loss"] < first["train_loss"]
    (0, 3, True)
    """
    operators, stream = as_instance(task, "task", Task).operators, Stream.of(rng)
    given = as_json({} if settings is None else settings, "settings")
    if metrics is not None:
        as_function(metrics, "metrics")
    every = as_count(every, "every")
    method = Method(
        dynamics=dynamics, learning_rate=learning_rate, batch_size=batch_size, large_batch_size=large_batch_size, alpha=alpha,
        svag_l=svag_l, optimizer=optimizer, momentum=momentum, weight_decay=weight_decay, milestones=milestones, decay=decay,
        halve_at=halve_at, stop_at=stop_at, augment=augment, period=period,
    ).checked(operators)  # fmt: skip
    generator = torch.Generator(operators.device).manual_seed(stream.child(_NOISE).seed())
    parts = method.parts(operators, generator)
    made_by = {
        **given, **method.settings(), "every": every,
        "device": operators.device.type, "versions": {**versions(), "torch": torch.__version__},
    }  # fmt: skip

    def measured() -> dict[str, float]:
        accuracies, more = task.metrics(), {} if metrics is None else metrics()
        if not isinstance(more, Mapping):
            raise TypeError(f"metrics must return numbers by name, got {shown(more)}")
        return {**accuracies, **more}

    return train(
        operators, parts.dynamics, parts.optimizer, n_steps, every=every, schedule=parts.schedule, rule=parts.rule,
        metrics=measured, folder=folder, settings=made_by, progress=progress,
    )  # fmt: skip


def restore(
    folder: str | os.PathLike[str],
    *,
    device: str | torch.device = "auto",
    data_folder: str | os.PathLike[str] | None = None,
    chunk_size: int | None = None,
) -> tuple[Task, dict[str, Any]]:
    """Return the network of a run's checkpoint with its data, and the run's settings.

    Parameters
    ----------
    folder : path
        Of `run`.
    device : str or torch.device
        See `gradnoise.simulations.neural.devices.pick_device`.
    data_folder : path, optional
        See `gradnoise.simulations.neural.data.load`.
    chunk_size : int, optional
        See `make`.

    Returns
    -------
    task : Task
    settings : dict

    Raises
    ------
    ValueError
        If there is no checkpoint of an experiment.

    Examples
    --------
    >>> import tempfile
    >>> from gradnoise.simulations.neural.experiments import restore, run
    >>> folder = tempfile.mkdtemp()
    >>> records = run("digits", "sgd", n_steps=2, rng=1, device="cpu", folder=folder)
    >>> task, settings = restore(folder, device="cpu")
    >>> settings["dynamics"], task.metrics()["test_accuracy"] == records[-1]["test_accuracy"]
    ('sgd', True)
    """
    content, settings = load_checkpoint(folder)
    if settings.get("experiment") not in EXPERIMENTS or not {"stream", "data", "batch_size"} <= settings.keys():
        raise ValueError(f"folder must be of an experiment, got settings {settings} in {os.fspath(folder)!r}")
    entropy, key, bit_generator = (settings["stream"][name] for name in ("entropy", "spawn_key", "bit_generator"))
    stream = Stream(entropy if isinstance(entropy, int) else tuple(entropy), tuple(key), bit_generator)
    task = make(
        EXPERIMENTS[settings["experiment"]],
        rng=stream,
        device=pick_device(device),
        data_folder=data_folder,
        chunk_size=chunk_size,
    )
    _load(task, content, settings, folder)
    return task, settings


def _load(task: Task, content: dict[str, Any], settings: dict[str, Any], folder: str | os.PathLike[str]) -> None:
    """Load the parameters of a run, whose data must be those of the task."""
    if settings["data"] != task.facts:
        raise ValueError(f"data must be those of the run in {os.fspath(folder)!r}, {settings['data']}, got {task.facts}")
    task.operators.model.load_state_dict(content["model"])
