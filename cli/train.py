"""``gradnoise train`` and ``gradnoise diagnose``: networks. Everything here needs PyTorch."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from gradnoise.cli import interruption
from gradnoise.cli.common import named_as_options, needs_torch, seed_of
from gradnoise.cli.console import console, say
from gradnoise.cli.files import check_apart, check_json, check_writable, deliver, file_of

__all__ = ["Settings", "diagnose", "train"]

_SHOWN = 10  # records, beside the first


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Options of ``gradnoise train``; None takes the experiment's own setting."""

    experiment: str
    dynamics: str
    steps: int
    every: int
    learning_rate: float | None
    batch_size: int | None
    large_batch_size: int | None
    alpha: float | None
    svag_l: int | None
    optimizer: str
    momentum: float
    weight_decay: float
    milestones: str
    decay: float
    halve_at: float | None
    stop_at: float | None
    augment: bool
    start: Path | None
    device: str
    chunk_size: int | None


def train(settings: Settings, *, seed: int | None, data: Path | None, out: Path | None) -> None:
    """Train; print the records, or the last ones of many."""
    if out is not None:
        check_writable(out, "--out")
    needs_torch()
    from gradnoise.simulations.neural import experiments

    chosen = seed_of(seed)
    options = {f.name: getattr(settings, f.name) for f in fields(settings)}
    named = {name: f"--{name.replace('_', '-')}" for name in options} | {"n_steps": "--steps"}
    n_steps, options["milestones"] = options.pop("steps"), _milestones(settings.milestones)
    with interruption.working(interruption.resume(out, "--out")), named_as_options(**named):
        records = experiments.run(**options, n_steps=n_steps, rng=chosen, data_folder=data, folder=out)
    table = Table(title=f"{settings.experiment}, {settings.dynamics}, seed {chosen}", title_justify="left")
    for name in ("step", "training loss", "training accuracy", "test accuracy"):
        table.add_column(name, justify="right")
    for r in records[:1] + records[1:][-_SHOWN:]:
        table.add_row(f"{r['step']:.0f}", f"{r['train_loss']:.4g}", f"{r['train_accuracy']:.4f}", f"{r['test_accuracy']:.4f}")
    console.print(table)
    last = records[-1]
    if last.get("stopped"):
        say(f"stopped at step {last['step']:.0f}, where the training loss of an epoch was below {settings.stop_at:g}")
    if out is not None:
        say(escape(f"records and checkpoint: {out}"))


def _milestones(text: str) -> tuple[int, ...]:
    """Return steps that are separated by commas."""
    try:
        return tuple(int(step) for step in text.split(",")) if text.strip() else ()
    except ValueError:
        raise ValueError(f"--milestones must be integers that are separated by commas, got {text!r}") from None


def diagnose(
    folder: Path,
    *,
    batch_size: int | None,
    probes: int,
    seed: int | None,
    device: str,
    chunk_size: int | None,
    data: Path | None,
    json: Path | None,
) -> None:
    """Diagnose the network of a run; print the numbers, or write them as JSON."""
    check_json(json)
    needs_torch()
    from gradnoise.simulations.neural import experiments
    from gradnoise.simulations.neural.checkpoints import CHECKPOINT, METRICS, PREVIOUS
    from gradnoise.simulations.neural.diagnosis import diagnose_operators

    check_apart([("--json", file_of(json)), *(("DIR", folder / name) for name in (CHECKPOINT, METRICS, PREVIOUS))])
    with interruption.working(), named_as_options(n_probes="--probes"):
        task, settings = experiments.restore(folder, device=device, data_folder=data, chunk_size=chunk_size)
        found = diagnose_operators(
            task.operators,
            settings["batch_size"] if batch_size is None else batch_size,
            rng=seed_of(seed),
            n_probes=probes,
        )
    deliver(found, json, lambda: console.print(escape(str(found)), highlight=False))
