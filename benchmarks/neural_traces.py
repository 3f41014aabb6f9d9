"""Time and peak memory of the exact Tr Σ of networks, in multiples of one forward and backward pass over the data."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch

import importlib.util
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from gradnoise.simulations.neural.loss_operators import LossOperators
from gradnoise.simulations.neural.models import lenet, vgg11
from gradnoise.simulations.neural.traces import trace_covariance

LOSS = nn.CrossEntropyLoss(reduction="none")


def cnn() -> nn.Sequential:
    """Five convolutions and two linear layers for images of 32 × 32: 917,961 parameters."""
    layers: list[nn.Module] = []
    channels = 3
    for width in (32, 64, "pool", 128, 128, "pool", 256, "pool"):
        if isinstance(width, str):
            layers.append(nn.MaxPool2d(2))
        else:
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
            channels = width
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(4096, 93), nn.ReLU(), nn.Linear(93, 10))


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], int]] = {
    "LeNet": (lenet, (1, 28, 28), 512),
    "CNN": (cnn, (3, 32, 32), 256),
    "VGG-11": (vgg11, (3, 32, 32), 64),
}


@dataclass(frozen=True, eq=False)
class Problem:
    """A network and its data."""

    model: nn.Module
    inputs: Tensor
    targets: Tensor

    @classmethod
    def of(cls, name: str) -> Problem:
        """Return that of a network, always with the same numbers."""
        torch.manual_seed(0)
        build, shape, n = NETWORKS[name]
        return cls(build(), torch.randn(n, *shape), torch.arange(n) % 10)

    @cached_property
    def operators(self) -> LossOperators:
        """What gradnoise takes."""
        return LossOperators(self.model, LOSS, self.inputs, self.targets)

    @cached_property
    def extended(self) -> tuple[Any, Any]:
        """Model and loss as BackPACK wants them."""
        import backpack

        return backpack.extend(self.model), backpack.extend(nn.CrossEntropyLoss(reduction="sum"))


def one_pass(problem: Problem) -> list[Tensor]:
    """Forward and backward over all samples."""
    loss = LOSS(problem.model(problem.inputs), problem.targets).mean()
    return list(torch.autograd.grad(loss, list(problem.model.parameters())))


def by_layers(problem: Problem) -> float:
    return trace_covariance(problem.operators)


def loop(problem: Problem) -> float:
    """A forward and a backward pass of each sample."""
    parameters, n, total = list(problem.model.parameters()), len(problem.inputs), 0.0
    mean = [torch.zeros_like(p) for p in parameters]
    for x, y in zip(problem.inputs.split(1), problem.targets.split(1), strict=True):
        for m, g in zip(mean, torch.autograd.grad(LOSS(problem.model(x), y)[0], parameters), strict=True):
            total += float(g.square().sum()) / n
            m += g / n
    return total - sum(float(m.square().sum()) for m in mean)


def by_backpack(problem: Problem) -> float:
    """Squared norms, and the gradient of the same pass."""
    import backpack

    model, loss = problem.extended
    model.zero_grad()
    with backpack.backpack(backpack.extensions.BatchL2Grad()):
        loss(model(problem.inputs), problem.targets).backward()
    squares = torch.stack([p.batch_l2 for p in model.parameters()]).sum(0)
    return float(squares.mean()) - sum(float(p.grad.square().sum()) for p in model.parameters()) / len(squares) ** 2


WAYS: dict[str, Callable[[Problem], Any]] = {
    "one pass": one_pass,
    "gradnoise": by_layers,
    "loop": loop,
    "BackPACK": by_backpack,
}


def memory(name: str, way: str) -> float:
    """Peak memory of a process of its own, less that before, in MB."""
    command = [sys.executable, __file__, "--memory-of", f"{name}:{way}"]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def peak_memory() -> float:
    """Peak memory of this process in MB, on Linux; getrusage would count the parent's."""
    return float(re.findall(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[0]) / 1024


def main(
    repeats: Annotated[int, typer.Option(help="interleaved runs; the median counts", min=1)] = 5,
    memory_of: Annotated[str, typer.Option(hidden=True)] = "",
) -> None:
    """Print processor times and peak memory as multiples of one forward and backward pass."""
    torch.set_num_threads(1)
    if memory_of:
        name, way = memory_of.split(":")
        problem = Problem.of(name)
        before = peak_memory()
        WAYS[way](problem)
        print(peak_memory() - before)
        return
    if importlib.util.find_spec("backpack") is None:
        WAYS.pop("BackPACK")
        print("BackPACK is left out: pip install backpack-for-pytorch")
    table = Table(title=f"multiples of one forward and backward pass, median of {repeats}; peak memory in brackets")
    for heading in ("network", "parameters", "n", "one pass", *list(WAYS)[1:]):
        table.add_column(heading, justify="right" if table.columns else "left")
    wrong = False
    for name in NETWORKS:
        problems = {way: Problem.of(name) for way in WAYS}
        values = {way: WAYS[way](problems[way]) for way in WAYS}
        values.pop("one pass")
        wrong |= any(abs(value / values["loop"] - 1) > 1e-4 for value in values.values())
        times: dict[str, list[float]] = {way: [] for way in WAYS}
        for _ in range(repeats):
            for way, run in WAYS.items():
                start = time.process_time()
                run(problems[way])
                times[way].append(time.process_time() - start)
        median = {way: statistics.median(found) for way, found in times.items()}
        peak = {way: memory(name, way) for way in WAYS}
        cells = [f"{median[way] / median['one pass']:.1f} ({peak[way] / peak['one pass']:.1f})" for way in list(WAYS)[1:]]
        operators = problems["gradnoise"].operators
        table.add_row(
            name, f"{operators.dimension:,}", str(operators.n), f"{median['one pass']:.2g} s ({peak['one pass']:.0f} MB)", *cells
        )
    Console(width=120).print(table)
    if wrong:
        print("the ways do not agree")
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
