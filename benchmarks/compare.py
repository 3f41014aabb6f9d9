"""Time gradnoise beside plain C and NumPy on the same work, in one interleaved run."""

from __future__ import annotations

import json as json_module
import os
import platform
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from measure import Measurement

_BLAS_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_COLUMNS = ("ns per path-step or vector", "C", "gradnoise", "NumPy", "gradnoise / C", "NumPy / gradnoise", "two threads", "C's")


def main(
    paths: Annotated[int, typer.Option(help="paths, or vectors; multiples of 32768 keep two threads busy", min=16)] = 32768,
    repeats: Annotated[int, typer.Option(help="interleaved runs of each contender, whose median counts", min=1)] = 5,
    json: Annotated[Path | None, typer.Option(help="also write all times and ratios as JSON", metavar="FILE")] = None,
) -> None:
    """Time gradnoise beside plain C and NumPy on the same work.

    Exits with 1 if their numbers disagree, or those of gradnoise depend on the number of threads; a missed target is only
    shown, as it may be the machine's fault.
    """
    console = Console(width=None if sys.stdout.isatty() else 130, highlight=False)
    with tempfile.TemporaryDirectory() as folder:
        # Read when NumPy and Numba are imported: BLAS on one thread, and nothing compiled by an earlier run.
        os.environ |= dict.fromkeys(_BLAS_THREADS, "1") | {"NUMBA_CACHE_DIR": folder}
        from c_yardstick import NoCompilerError, Yardstick
        from cases import all_cases
        from measure import measure

        try:
            c = Yardstick(Path(folder))
        except NoCompilerError as error:
            c = None
            console.print("Plain C is skipped, and with it all ratios to it:", str(error), style="yellow", markup=False)
        machine = _machine(c.compiler if c else None)
        console.print("; ".join(f"{name} {value}" for name, value in machine.items()), markup=False)
        measured = []
        for case in all_cases(c):
            print(f"running {case.name} ...", file=sys.stderr, flush=True)  # no spinner: its thread would take time
            measured.append(measure(case, paths, repeats))
    console.print(_table(measured, f"Median of {repeats} interleaved runs of {paths:,} paths"))
    _print_notes(console, measured)
    if json:
        json.write_text(_as_json(machine, paths, repeats, measured))
    if not all(m.passed for m in measured):
        console.print("FAILED: the contenders did not do the same work, so their times say nothing", style="bold red")
        raise typer.Exit(1)


def _table(measured: list[Measurement], title: str) -> Table:
    table = Table(title=title, caption="one thread: processor time; gain by two threads: wall-clock time; targets in brackets")
    for heading in _COLUMNS:
        table.add_column(heading, justify="right" if table.columns else "left", no_wrap=not table.columns)
    for m in measured:
        table.add_row(
            m.case,
            *(_number(m.processor(name), ".0f") for name in ("C", "gradnoise", "NumPy")),
            _judged(m.ratio("gradnoise", "C"), "≤", m.target),
            _number(m.ratio("NumPy", "gradnoise"), ".1f"),
            _judged(m.gain("gradnoise"), "≥", m.threads_target),
            _number(m.gain("C"), ".2f"),
        )
    return table


def _print_notes(console: Console, measured: list[Measurement]) -> None:
    from measure import LARGEST_DEVIATION

    for m in measured:
        agree = "" if m.deviation <= LARGEST_DEVIATION else "DISAGREE, "
        bits = "the same bits as one" if m.same_bits else "OTHER BITS than one"
        console.print(
            f"{m.case}: {agree}the others differ from gradnoise in {' and '.join(m.compared)} by at most {m.deviation:.1f} "
            f"standard errors ({LARGEST_DEVIATION:g} allowed); two threads give {bits}",
            style=None if m.passed else "bold red",
        )
    share = min(m.processor_share for m in measured)
    busy = "" if share > 0.95 else ": other programs are running, so the gain by two threads means little"
    console.print(f"One thread had a processor for {share:.0%} of its time{busy}", style="yellow" if busy else None)
    compiled = ", ".join(f"{m.case} {m.compile_time:.1f} s" for m in measured)
    console.print(f"Compile time, paid once and not part of the above: {compiled}")


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def _judged(value: float | None, relation: str, target: float | None) -> str:
    if value is None or target is None:
        return _number(value, ".2f")
    met = value <= target if relation == "≤" else value >= target
    return f"[{'green' if met else 'red'}]{value:.2f}[/] ({relation} {target:g}{'' if met else ', missed'})"


def _as_json(machine: dict[str, str], paths: int, repeats: int, measured: list[Measurement]) -> str:
    ratios = [
        {
            "gradnoise_over_c": m.ratio("gradnoise", "C"),
            "numpy_over_gradnoise": m.ratio("NumPy", "gradnoise"),
            "two_threads": m.gain("gradnoise"),
            "two_threads_c": m.gain("C"),
            "processor_share": m.processor_share,
            "passed": m.passed,
        }
        for m in measured
    ]
    cases = [asdict(m) | ratio for m, ratio in zip(measured, ratios, strict=True)]
    return json_module.dumps({"machine": machine, "paths": paths, "repeats": repeats, "cases": cases}, indent=1) + "\n"


def _machine(compiler: str | None) -> dict[str, str]:
    from gradnoise.simulations.provenance import versions

    machine = {"CPU": f"{_cpu()} ({os.cpu_count()} processors)", **versions()}
    return machine | ({"C": compiler} if compiler else {})


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


if __name__ == "__main__":
    typer.run(main)
