"""Measure what a study costs beside its arithmetic: memory, start, growth with the work, and spreading over a dask cluster."""

from __future__ import annotations

import os

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")  # read by NumPy's import

import json as json_module
import operator
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

# gradnoise is imported where it is used: Numba reads the folder of its cache when it is imported, and a child's peak memory
# starts at that of its parent.

STUDIES = {
    "Ornstein-Uhlenbeck": """
from gradnoise.simulations import ornstein_uhlenbeck
ornstein_uhlenbeck.simulate([[1.0]], [[1.0]], 1.0, 10, rng=1)
""",
    "toy": """
from gradnoise.simulations import toy
toy.simulate("gld_hessian", 10, rng=1)
""",
    "least squares": """
from gradnoise.simulations import least_squares
from gradnoise.theory.least_squares import LeastSquares
from gradnoise.theory.sampling import Minibatch
least_squares.simulate(LeastSquares([1.0], [1.0], 0.5), Minibatch(8, 4, replacement=False), 0.1, 10, 10, rng=1)
""",
    "strong error": """
from gradnoise.simulations import sde
from gradnoise.simulations.sde import standard_problems
sde.strong_error(standard_problems.least_squares(), [1 / 8, 1 / 16], 1.0, 10, batch_size=4, rng=1)
""",
}
PEAK_MEMORY = """
import resource, sys
from gradnoise.simulations import ornstein_uhlenbeck
ornstein_uhlenbeck.simulate([[2.0, 0.5], [0.5, 1.0]], [[0.6, 0.1], [0.1, 0.3]], 0.5, {n_paths}, rng=1, n_jobs=1)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024))
"""


@dataclass(frozen=True)
class Finding:
    """A number, and what it should be.

    Attributes
    ----------
    name, unit : str
        What was measured.
    value : float
    relation : {"<=", ">="} or None
        None where there is no target.
    target : float
    note : str
        What else is known about it.
    """

    name: str
    value: float
    unit: str
    relation: str | None = None
    target: float = 0.0
    note: str = ""

    @property
    def met(self) -> bool:
        """Whether the target is met."""
        compare = {"<=": operator.le, ">=": operator.ge, None: lambda a, b: True}[self.relation]
        return bool(compare(self.value, self.target))


@dataclass(frozen=True)
class Sweep:
    """A study whose work grows.

    Attributes
    ----------
    kernel, quantity : str
        What runs, and what of it grows.
    power : float
        Of the quantity in the cost, once it is large.
    sizes : tuple of int
    run : callable
        run(size), on one thread.
    """

    kernel: str
    quantity: str
    power: float
    sizes: tuple[int, ...]
    run: Callable[[int], object]


def main(
    repeats: Annotated[int, typer.Option(help="interleaved runs; the median counts", min=1)] = 3,
    start_only: Annotated[bool, typer.Option("--start-only", help="measure the start of processes alone")] = False,
    blocks: Annotated[int, typer.Option(help="blocks of the dask study, half a second each; 0 leaves it out", min=0)] = 40,
    json: Annotated[Path | None, typer.Option(help="also write all numbers as JSON", metavar="FILE")] = None,
    plot: Annotated[Path | None, typer.Option(help="also draw cost against work", metavar="FILE")] = None,
) -> None:
    """Measure memory, start, growth of the cost with the work, and the gain by a second worker of a dask cluster.

    Exits with 1 if two workers give other numbers than one; a missed target is only shown, as it may be the machine's fault.
    """
    from gradnoise.cli.common import check_file

    console = Console(width=None if sys.stdout.isatty() else 130, highlight=False)
    try:
        for path, option in ((json, "--json"), (plot, "--plot")):
            if path:
                check_file(path, option)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    with tempfile.TemporaryDirectory() as folder:
        os.environ["NUMBA_CACHE_DIR"] = folder
        findings = [*start(repeats, console)]
        if not start_only:
            findings.append(memory())  # early, as this process is still small
            findings += workers_of_dask(repeats, blocks, console)
        sweeps = [] if start_only else all_sweeps()
        seconds = growth(sweeps, repeats)
    findings += [_power(sweep, times) for sweep, times in zip(sweeps, seconds, strict=True)]
    console.print(_table(findings, repeats))
    if json:
        json.write_text(_as_json(findings, sweeps, seconds))
    if plot and sweeps:
        draw(sweeps, seconds, plot)
    if any(f.name == SAME_BITS and not f.met for f in findings):
        console.print("FAILED: the result depends on the number of workers", style="bold red")
        raise typer.Exit(1)


def memory() -> Finding:
    """Peak memory of a streamed study in a process of its own, at ten times as many paths; the kernel is in the cache."""
    peaks = [int(_python(PEAK_MEMORY.format(n_paths=n)).stdout) / 1e6 for n in (100, 10**6, 10**7)][1:]
    return Finding("peak memory, 10⁷ against 10⁶ paths", peaks[1] - peaks[0], "MB", "<=", 20, f"of {peaks[0]:.0f}")


#: Commands that compute nothing, and the processor time that they may take.
ANSWERS = {"--help": 0.3, "claims": 0.7, "figures --list": 0.7}


def start(repeats: int, console: Console) -> Iterator[Finding]:
    """Time whole processes, from the interpreter's start to its end, whose kernels an earlier process has compiled."""
    for name, code in STUDIES.items():
        yield _duration(f"second process, {name}", [sys.executable, "-c", code], 1.0, repeats)
    yield _duration("import gradnoise", [sys.executable, "-c", "import gradnoise"], 0.05, repeats)
    yield _duration("import gradnoise.theory.sampling", [sys.executable, "-c", "import gradnoise.theory.sampling"], 0.5, repeats)
    command = shutil.which("gradnoise", path=Path(sys.executable).parent)
    if command is None:
        console.print("gradnoise's answers are skipped: the command is not installed beside this Python", style="yellow")
        return
    for arguments, target in ANSWERS.items():
        yield _duration(f"gradnoise {arguments}", [command, *arguments.split()], target, repeats)


def _duration(name: str, command: list[str], target: float, repeats: int) -> Finding:
    """Processor time of a process; on a busy machine the clock on the wall tells of its neighbours."""

    def one() -> tuple[float, float]:
        wall, before = time.perf_counter(), os.times()
        subprocess.run(command, check=True, capture_output=True)
        after = os.times()
        processor = after.children_user + after.children_system - before.children_user - before.children_system
        return time.perf_counter() - wall, processor

    one()  # fills the caches
    wall, processor = (statistics.median(times) for times in zip(*(one() for _ in range(repeats)), strict=True))
    return Finding(f"{name}, processor time", processor, "s", "<=", target, f"{wall:.2f} s on the wall")


def _python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True)


SAME_BITS = "dask, two workers give the bits of one"


def workers_of_dask(repeats: int, blocks: int, console: Console) -> Iterator[Finding]:
    """Time a study on local clusters of one and of two single-threaded worker processes, in turn.

    With one worker joblib computes in the calling process, so that "one" has none of the scheduler's costs.
    """
    if blocks == 0:
        return
    try:
        from distributed import Client, LocalCluster
    except ImportError:
        console.print("dask is skipped: it is not installed (pip install 'gradnoise[dask]')", style="yellow")
        return
    options = {"threads_per_worker": 1, "dashboard_address": ":0"}
    with (
        LocalCluster(n_workers=1, **options) as one,
        LocalCluster(n_workers=2, **options) as two,
        Client(one) as first,
        Client(two) as second,
    ):
        ways = {
            "one worker": lambda n: _on(first, n),
            "two workers": lambda n: _on(second, n),
            "two threads": lambda n: ornstein_uhlenbeck(16, 1000, 8192 * n, n_jobs=2),  # what the machine can give just now
        }
        results, walls = [], {name: [] for name in ways}
        for way in ways.values():
            way(2)  # imports gradnoise and loads the kernel on each worker
        for _ in range(repeats):
            for name, way in ways.items():
                wall = time.perf_counter()
                results.append(way(blocks))
                walls[name].append(time.perf_counter() - wall)
    one, two, threads = (statistics.median(times) for times in walls.values())
    yield Finding(SAME_BITS, float(all(r == results[0] for r in results)), "", ">=", 1)
    note = f"{one:.1f} s and {two:.1f} s; two threads without dask gain {one / threads:.2f}"
    yield Finding("dask, one worker's time over that of two", one / two, "", ">=", 1.6, note)


def _on(client: Any, blocks: int) -> dict[str, Any]:
    import joblib

    with joblib.parallel_config("dask", client=client):
        return ornstein_uhlenbeck(16, 1000, 8192 * blocks)


def ornstein_uhlenbeck(d: int, n_steps: int, n_paths: int, n_jobs: int | None = None) -> dict[str, Any]:
    from gradnoise.simulations import ornstein_uhlenbeck

    H, Sigma, step_size = np.diag(np.linspace(0.2, 2, d)), np.eye(d) + 0.1, 2.0**-8
    options: dict[str, Any] = {"method": "euler", "step_size": step_size, "n_jobs": n_jobs, "progress": False}
    return ornstein_uhlenbeck.simulate(H, Sigma, n_steps * step_size, n_paths, rng=1, **options).to_dict()


def least_squares(d: int, batch_size: int) -> object:
    from gradnoise.simulations import least_squares
    from gradnoise.theory.least_squares import LeastSquares
    from gradnoise.theory.sampling import Minibatch

    problem, noise = LeastSquares(np.ones(d), np.ones(d), 0.5), Minibatch(batch_size, batch_size, replacement=False)
    return least_squares.simulate(problem, noise, 0.1 / d, 200, 128, rng=1, progress=False)


def toy(n_data: int) -> object:
    from gradnoise.simulations import toy

    return toy.simulate("gld_leading", 256, rng=1, n_data=n_data, progress=False)


def strong_error(n: int) -> object:
    from gradnoise.simulations import sde
    from gradnoise.simulations.sde import standard_problems

    problem = standard_problems.least_squares(n)
    return sde.strong_error(problem, [1 / 8], 1.0, 64, batch_size=4, rng=1, progress=False)


def all_sweeps() -> list[Sweep]:
    """Return the studies; the powers are those of the leading term, as the kernels' loops have it."""
    ou = "Ornstein-Uhlenbeck, Euler"
    return [
        Sweep(ou, "number of paths", 1, doubling(8192, 131072), lambda n: ornstein_uhlenbeck(4, 100, n)),
        Sweep(ou, "number of steps", 1, doubling(64, 4096), lambda n: ornstein_uhlenbeck(4, n, 4096)),
        Sweep(ou, "dimension d", 2, doubling(4, 256), lambda d: ornstein_uhlenbeck(d, 500, 128)),  # d normals, d²/2 products
        Sweep("toy, covariance of SGD", "samples of a path", 1, doubling(100, 6400), toy),
        Sweep("least squares, SGD", "dimension d", 1, doubling(8, 512), lambda d: least_squares(d, 4)),
        Sweep("least squares, SGD", "batch size", 1, doubling(4, 256), lambda b: least_squares(8, b)),
        Sweep("strong error of M-SGD", "number of samples N", 1, doubling(16, 1024), strong_error),
    ]


def doubling(first: int, last: int) -> tuple[int, ...]:
    return tuple(first * 2**k for k in range((last // first).bit_length()))


def growth(sweeps: list[Sweep], repeats: int) -> list[list[float]]:
    """Median processor time of each sweep at each of its sizes."""
    times: dict[tuple[int, int], list[float]] = {}
    for repeat in range(-1, repeats):
        for k, sweep in enumerate(sweeps):
            for size in sweep.sizes if repeat >= 0 else sweep.sizes[:1]:  # a first round compiles
                before = time.process_time()
                sweep.run(size)
                if repeat >= 0:
                    times.setdefault((k, size), []).append(time.process_time() - before)
    return [[statistics.median(times[k, size]) for size in sweep.sizes] for k, sweep in enumerate(sweeps)]


def _power(sweep: Sweep, seconds: list[float]) -> Finding:
    """Fit the power over the three largest sizes, where fixed costs matter least."""
    power = np.polyfit(np.log(sweep.sizes[-3:]), np.log(seconds[-3:]), 1)[0]
    return Finding(f"{sweep.kernel}: power of the {sweep.quantity}", float(power), "", "<=", sweep.power + 0.1)


def draw(sweeps: list[Sweep], seconds: list[list[float]], path: Path) -> None:
    """Draw a panel for each sweep: what was measured, and a line of the expected slope through the last point."""
    from matplotlib import pyplot

    from gradnoise.figures.style import style

    with style():
        figure, axes = pyplot.subplots(2, len(sweeps) // 2 + 1, figsize=(12, 6))  # at least one panel is left for the legend
        figure.get_layout_engine().set(h_pad=0.1, w_pad=0.1)
        for ax, sweep, times in zip(axes.flat, sweeps, seconds, strict=False):
            sizes = np.array(sweep.sizes)
            ax.loglog(
                sizes,
                times[-1] * (sizes / sizes[-1]) ** sweep.power,
                color="#999999",
                label="expected slope,\nthrough the last point",
            )
            ax.loglog(sizes, times, "o", color="#0072B2", label="measured,\none thread")
            ax.set(title=sweep.kernel, xlabel=sweep.quantity, ylabel="processor time / s")
            ax.tick_params(which="minor", labelleft=False, labelbottom=False)
            ax.text(0.95, 0.05, f"slope {sweep.power:g}", transform=ax.transAxes, ha="right")
        for ax in axes.flat[len(sweeps) :]:
            ax.axis("off")
            ax.legend(*axes.flat[0].get_legend_handles_labels(), loc="center")
        figure.savefig(path)
        pyplot.close(figure)


def _table(findings: list[Finding], repeats: int) -> Table:
    table = Table(title=f"Medians of {repeats} runs")
    for heading in ("what", "measured", "target", "note"):
        table.add_column(heading, justify="left" if heading in ("what", "note") else "right", no_wrap=heading != "note")
    for f in findings:
        sign = {"<=": "≤", ">=": "≥"}.get(f.relation or "", "")
        target = f"{sign} {f.target:g} {f.unit}".strip()
        value = f"[{'green' if f.met else 'red'}]{f.value:.2f} {f.unit}".strip()
        table.add_row(f.name, value, target if f.met else f"{target}, missed", f.note)
    return table


def _as_json(findings: list[Finding], sweeps: list[Sweep], seconds: list[list[float]]) -> str:
    from gradnoise.simulations.ensemble import versions

    costs = [
        {"kernel": s.kernel, "quantity": s.quantity, "power": s.power, "sizes": s.sizes, "processor_seconds": times}
        for s, times in zip(sweeps, seconds, strict=True)
    ]
    machine = {"processors": os.cpu_count(), **versions()}
    found = [asdict(f) | {"met": f.met} for f in findings]
    return json_module.dumps({"machine": machine, "findings": found, "costs": costs}, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    typer.run(main)
