"""Time and peak memory of what a network's operators compute, in multiples of one forward and backward pass over the data.

Beside gradnoise run curvlinops, BackPACK, and a plain loop over the samples, on the same numbers in one interleaved run.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch

import copy
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
    def vector(self) -> Tensor:
        """A normal vector in the space of the parameters."""
        return torch.randn(self.operators.dimension, generator=torch.Generator().manual_seed(1))

    @cached_property
    def kept(self) -> Callable[[Tensor], Tensor]:
        """H at the present parameters, from the graph of a gradient."""
        return self.operators.hessian_here(n_products=1)

    @cached_property
    def traced(self) -> Callable[[Tensor], Tensor]:
        """H at the present parameters, linearised where that is worth while."""
        return self.operators.hessian_here()

    @cached_property
    def extended(self) -> tuple[Any, Any]:
        """A copy of the model, and the loss, as BackPACK wants them: its hooks stand in the way of others."""
        import backpack

        return backpack.extend(copy.deepcopy(self.model)), backpack.extend(nn.CrossEntropyLoss(reduction="sum"))

    def of_curvlinops(self, kind: str) -> Any:
        """An operator of curvlinops on the same mean loss."""
        import curvlinops

        parameters = list(self.model.parameters())
        data = [(self.inputs, self.targets)]
        return getattr(curvlinops, kind)(self.model, nn.CrossEntropyLoss(), parameters, data, check_deterministic=False)

    @cached_property
    def fisher_of_curvlinops(self) -> tuple[Any, Tensor]:
        """Empirical Fisher, and the gradient, which centres it."""
        return self.of_curvlinops("EFLinearOperator"), torch.cat([g.flatten() for g in one_pass(self)])

    @cached_property
    def hessian_of_curvlinops(self) -> Any:
        """Of the mean loss."""
        return self.of_curvlinops("HessianLinearOperator")


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


def centred_by_curvlinops(problem: Problem) -> Tensor:
    """Fv less its part along the gradient."""
    fisher, gradient = problem.fisher_of_curvlinops
    return fisher @ problem.vector - gradient * (gradient @ problem.vector)


Way = Callable[[Problem], Any]
#: Quantities, each by ways whose results must agree.
QUANTITIES: dict[str, dict[str, Way]] = {
    "Σv": {"gradnoise": lambda p: p.operators.covariance_product(p.vector), "curvlinops": centred_by_curvlinops},
    "Hv": {
        "gradnoise": lambda p: p.operators.hessian_product(p.vector),
        "curvlinops": lambda p: p.hessian_of_curvlinops @ p.vector,
    },
    "Hv, kept": {"gradnoise": lambda p: p.kept(p.vector), "gradnoise, linearised": lambda p: p.traced(p.vector)},
    "Tr Σ": {"gradnoise": by_layers, "loop": loop, "BackPACK": by_backpack},
}
PACKAGES = {"curvlinops": "curvlinops-for-pytorch", "BackPACK": "backpack-for-pytorch"}


def memory(name: str, quantity: str, way: str) -> float:
    """Peak memory of a process of its own, less that before, in MB."""
    command = [sys.executable, __file__, "--memory-of", f"{name}:{quantity}:{way}"]
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
        name, quantity, way = memory_of.split(":")
        problem, run = Problem.of(name), QUANTITIES[quantity][way] if quantity else one_pass
        before = peak_memory()
        run(problem)
        print(peak_memory() - before)
        return
    for package, distribution in PACKAGES.items():
        if importlib.util.find_spec(package.lower()) is None:
            print(f"{package} is left out: pip install {distribution}")
            for ways in QUANTITIES.values():
                ways.pop(package, None)
    table = Table(title=f"multiples of one forward and backward pass, median of {repeats}; peak memory in brackets")
    for heading in ("", "", *NETWORKS):
        table.add_column(heading, justify="right" if len(table.columns) > 1 else "left")
    rows: dict[tuple[str, str], list[str]] = {(q, way): [] for q, ways in QUANTITIES.items() for way in ways}
    rows["one pass", ""] = []
    agree = True
    for name in NETWORKS:
        problem = Problem.of(name)
        for ways in QUANTITIES.values():
            values = [torch.as_tensor(run(problem), dtype=torch.float64) for run in ways.values()]  # and what is made once
            agree &= all(bool((v - values[0]).norm() <= 1e-3 * values[0].norm()) for v in values)
        runs = {(q, way): run for q, ways in QUANTITIES.items() for way, run in ways.items()} | {("one pass", ""): one_pass}
        times: dict[tuple[str, str], list[float]] = {key: [] for key in runs}
        for _ in range(repeats):
            for key, run in runs.items():
                start = time.process_time()
                run(problem)
                times[key].append(time.process_time() - start)
        median = {key: statistics.median(found) for key, found in times.items()}
        unit, unit_memory = median.pop(("one pass", "")), memory(name, "", "")
        for key, found in median.items():
            rows[key].append(f"{found / unit:.1f} ({memory(name, *key) / unit_memory:.1f})")
        rows["one pass", ""].append(f"{unit:.2g} s ({unit_memory:.0f} MB)")
        print(f"{name}: d = {problem.operators.dimension:,}, n = {problem.operators.n}", flush=True)
    for key, cells in rows.items():
        table.add_row(*key, *cells)
    Console(width=100).print(table)
    if not agree:
        print("the ways do not agree")
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
