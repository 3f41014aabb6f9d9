"""Count the products of leading eigenpairs beside ARPACK and LOBPCG, and measure traces beside Hutchinson's estimator."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import time
import warnings
from collections.abc import Callable, Iterator
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table
from scipy.sparse.linalg import LinearOperator, eigsh, lobpcg
from torch import Tensor, nn

from gradnoise.simulations.neural.exchangeable_trace import exchangeable_trace
from gradnoise.simulations.neural.loss_operators import LossOperators
from gradnoise.simulations.neural.models import lenet
from gradnoise.simulations.neural.spectrum import leading_on_device

LOSS = nn.CrossEntropyLoss(reduction="none")
Operator = tuple[Callable[[Tensor], Tensor], Tensor]


def network(model: nn.Module, shape: tuple[int, ...], n: int, steps: int) -> LossOperators:
    """Train a network for some steps on ten overlapping clusters."""
    generator = torch.Generator().manual_seed(0)
    width = int(np.prod(shape))
    y = torch.randint(10, (n,), generator=generator)
    noise = torch.randn(n, width, generator=generator) * torch.linspace(1.5, 0.2, width)
    x = (0.6 * torch.randn(10, width, generator=generator)[y] + noise).reshape(n, *shape).to(next(model.parameters()).dtype)
    optimizer = torch.optim.SGD(model.parameters(), 0.02, momentum=0.9)
    for _ in range(steps):
        optimizer.zero_grad()
        LOSS(model(x), y).mean().backward()
        optimizer.step()
    return LossOperators(model, LOSS, x, y)


def networks() -> Iterator[tuple[str, LossOperators]]:
    """Yield names and networks."""
    torch.manual_seed(0)
    yield "softmax regression", network(nn.Linear(30, 10).double(), (30,), 500, 300)
    perceptron = nn.Sequential(nn.Linear(30, 20), nn.Tanh(), nn.Linear(20, 10)).double()
    yield "perceptron, trained", network(perceptron, (30,), 500, 1_000)
    yield "LeNet, at the start", network(lenet(), (1, 28, 28), 512, 0)
    yield "LeNet, trained", network(lenet(), (1, 28, 28), 512, 100)


def products(operator: Operator, k: int, tolerance: float) -> dict[str, tuple[int, float, np.ndarray]]:
    """Products, seconds and eigenvalues of each way."""
    apply, like = operator
    count = 0

    def counted(u: Tensor) -> Tensor:
        nonlocal count
        count += 1
        return apply(u)

    def on_host(u: np.ndarray) -> np.ndarray:
        return counted(torch.as_tensor(u.ravel()).to(like.dtype)).double().numpy()

    d, random = len(like), np.random.default_rng(0)
    start, block = random.standard_normal(d), random.standard_normal((d, k))
    matrix = LinearOperator((d, d), matvec=on_host, dtype=np.float64)  # type: ignore[call-overload]
    largest = float(leading_on_device(apply, like, 1)[0][0])
    ways: dict[str, Callable[[], np.ndarray]] = {
        "gradnoise": lambda: leading_on_device(counted, like, k, tolerance=tolerance)[0],
        "ARPACK": lambda: np.sort(eigsh(matrix, k=k, which="LA", v0=start, tol=tolerance)[0])[::-1],  # type: ignore[arg-type]
        "LOBPCG": lambda: np.sort(lobpcg(matrix, block, largest=True, tol=tolerance * largest, maxiter=300)[0])[::-1],
    }
    found = {}
    for name, way in ways.items():
        count, began = 0, time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of LOBPCG, where it stagnates in single precision
            values = way()
        found[name] = count, time.process_time() - began, values
    return found


def in_samples(operators: LossOperators) -> Tensor:
    """Matrix on the samples whose trace is Tr(HΣ)."""
    gradients, hessian = torch.cat(list(operators.sample_gradients())), operators.hessian_here()
    root = (gradients - gradients.mean(dim=0)) / operators.n**0.5
    inside = torch.stack([root @ hessian(row) for row in root]).double()
    return (inside + inside.T) / 2


def trace_errors(inside: Tensor, n_probes: int, seeds: int) -> tuple[float, float, float]:
    """Relative errors of its trace, Hutchinson's and ours, and how often our interval of 95 % holds it."""
    exact, plain, ours, held = float(inside.trace()), [], [], 0
    for seed in range(seeds):
        generator = torch.Generator().manual_seed(seed)
        z = 2.0 * torch.randint(2, (n_probes, len(inside)), generator=generator).double() - 1
        plain.append(float((z * (z @ inside)).sum(dim=1).mean()) - exact)
        found = exchangeable_trace(lambda u: inside @ u, inside[0], n_probes, generator)
        low, high = found.interval(0.95)
        ours.append(found.value - exact)
        held += low <= exact <= high
    rms = [float(np.sqrt(np.mean(np.square(errors)))) / abs(exact) for errors in (plain, ours)]
    return rms[0], rms[1], held / seeds


def main(seeds: Annotated[int, typer.Option(help="of the traces", min=1)] = 200) -> None:
    """Print products and times of k leading eigenpairs of H, and errors of Tr(HΣ)."""
    console = Console(width=110)
    for name, operators in networks():
        eigen = Table(
            "k, tolerance", "gradnoise", "ARPACK", "LOBPCG", title=f"{name}, d = {operators.dimension:,}: products, seconds"
        )
        for k, tolerance in ((1, 1e-6), (10, 1e-6), (10, 1e-4)):
            found = products((operators.hessian_here(), operators.parameters), k, tolerance)
            eigen.add_row(f"{k}, {tolerance:g}", *(f"{count}, {seconds:.2f} s" for count, seconds, _ in found.values()))
        console.print(eigen)
        trace = Table("products", "Hutchinson", "gradnoise", "intervals that hold it", title="Tr(HΣ), relative error")
        inside = in_samples(operators)
        for n_probes in (10, 30, 100):
            plain, ours, held = trace_errors(inside, n_probes, seeds)
            trace.add_row(str(n_probes), f"{plain:.2g}", f"{ours:.2g}", f"{held:.0%} of {seeds}")
        console.print(trace)


if __name__ == "__main__":
    typer.run(main)
