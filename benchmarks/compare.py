"""Time gradnoise beside plain C, JAX, NumPy and packages for SDEs on the same work, in one interleaved run."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

if TYPE_CHECKING:
    from measure import Measurement

# Read when the libraries are imported: one thread for each, and nothing compiled by an earlier run.
_ONE_THREAD = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    "JAX_PLATFORMS": "cpu",
}
STORED = Path(__file__).parent / "results" / "table.json"


def main(
    only: Annotated[list[str] | None, typer.Argument(help="parts of the names of workloads; all by default")] = None,
    paths: Annotated[int, typer.Option(help="paths, or vectors; multiples of 32768 keep two threads busy", min=256)] = 32768,
    repeats: Annotated[int, typer.Option(help="interleaved runs of each contender, whose median counts", min=1)] = 5,
    save: Annotated[Path | None, typer.Option(help="folder for table.json and table.md", metavar="DIR")] = None,
    check: Annotated[bool, typer.Option("--check", help="fail where a stored ratio has become 20 % worse")] = False,
) -> None:
    """Time gradnoise beside plain C and others on the same work.

    Exits with 1 if their numbers disagree, those of gradnoise depend on the number of threads, or (with --check) a ratio is
    worse than the stored one. A missed target is only shown, as it may be the machine's fault.
    """
    console = Console(width=None if sys.stdout.isatty() else 170, highlight=False)
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {**_ONE_THREAD, "NUMBA_CACHE_DIR": folder}
        import regression
        import report
        from c_yardstick import NoCompilerError, Yardstick
        from measure import measure
        from workloads import all_cases, missing

        from gradnoise.cli.common import check_writable

        try:
            stored = regression.load(STORED) if check else {}
            if save:
                check_writable(save, "--save")
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None
        try:
            c = Yardstick(Path(folder))
        except NoCompilerError as error:
            c = None
            console.print("Plain C is skipped, and with it all ratios to it:", str(error), style="yellow", markup=False)
        for line in missing():
            console.print(line, style="yellow", markup=False)
        machine = report.machine(c.compiler if c else None)
        console.print("; ".join(f"{name} {value}" for name, value in machine.items()), markup=False)
        normal, *cases = all_cases(c)
        wanted = [case for case in cases if not only or any(part in case.name for part in only)]
        if not wanted:
            raise typer.BadParameter(f"no workload has {' or '.join(only or [])} in its name: {'; '.join(c.name for c in cases)}")
        measured: list[Measurement] = []
        worse: list[str] = []
        for case in [normal, *wanted]:
            print(f"running {case.name} ...", file=sys.stderr, flush=True)  # no spinner: its thread would take time
            found = measure(case, paths, repeats)
            if regression.worse(found, stored):  # another program may have disturbed it, hence once more
                found = measure(case, paths, repeats)
                worse += regression.worse(found, stored)
            measured.append(found)
    console.print(report.table(measured, f"Median of {repeats} interleaved runs of {paths:,} paths"))
    for line, good in report.notes(measured):
        console.print(line, style=None if good else "bold red")
    if save:
        for path in report.save(save, machine, paths, repeats, measured):
            console.print(f"wrote {path}")
    for line in worse:
        console.print(f"REGRESSION: {line}", style="bold red")
    if not all(m.passed for m in measured):
        console.print("FAILED: the contenders did not do the same work, so their times say nothing", style="bold red")
    if worse or not all(m.passed for m in measured):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
