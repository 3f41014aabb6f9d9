"""The table of a run, with its targets, for people and as JSON."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from measure import LARGEST_DEVIATION, Measurement, quotient
from rich.table import Table

from gradnoise.simulations.ensemble import versions

_HEADINGS = (
    "ns per path-step, normal or vector", "C", "limit", "gradnoise", "NumPy", "JAX", "over C", "over limit", "NumPy over",
    "JAX over",    "two threads", "C's",
)  # fmt: skip
_NOTABLE = 1.0  # seconds
_CAPTION = (
    "one thread: processor time; limit: C if its normals cost what ours cost; over C, over limit: gradnoise over them; "
    "NumPy over, JAX over: they over gradnoise; two threads: gain in wall-clock time; targets in brackets"
)


def ratios(m: Measurement, normal: Measurement) -> dict[str, float | None]:
    """All ratios of a case."""
    return {
        "gradnoise_over_c": m.ratio("gradnoise", "C"),
        "gradnoise_over_limit": quotient(m.processor("gradnoise"), m.limit(normal)),
        "numpy_over_gradnoise": m.ratio("NumPy", "gradnoise"),
        "jax_over_gradnoise": m.ratio("JAX", "gradnoise"),
        "two_threads": m.gain("gradnoise"),
        "two_threads_c": m.gain("C"),
    }


def rows(measured: list[Measurement]) -> Iterator[list[tuple[str, bool | None]]]:
    """Cells of the table, each with whether its target is met, or None where there is none; `measured` begins with normals."""
    normal = measured[0]
    for m in measured:
        r = ratios(m, normal)
        times = (m.processor("C"), m.limit(normal), *(m.processor(name) for name in ("gradnoise", "NumPy", "JAX")))
        yield [
            (m.case, None),
            *((_number(t, "#.3g" if t is not None and t < 100 else ",.0f"), None) for t in times),
            _judged(r["gradnoise_over_c"], "<", m.targets.c),
            _judged(r["gradnoise_over_limit"], "≤", m.targets.limit),
            _judged(r["numpy_over_gradnoise"], "≥", m.targets.numpy),
            _judged(r["jax_over_gradnoise"], "≥", m.targets.jax if m is not normal else None),
            _judged(r["two_threads"], "≥", m.targets.threads),
            (_number(r["two_threads_c"], ".2f"), None),
        ]


def table(measured: list[Measurement], title: str) -> Table:
    """Return the table for a terminal."""
    found = Table(title=title, caption=_CAPTION)
    for heading in _HEADINGS:
        found.add_column(heading, justify="right" if found.columns else "left", no_wrap=not found.columns)
    for row in rows(measured):
        found.add_row(*(text if met is None else f"[{'green' if met else 'red'}]{text}[/]" for text, met in row))
    return found


def notes(measured: list[Measurement]) -> Iterator[tuple[str, bool]]:
    """Lines below the table, each with whether all is well."""
    largest = max(m.deviation for m in measured)
    if all(m.passed for m in measured):
        agree = f"All contenders agree with gradnoise within {largest:.1f} standard errors ({LARGEST_DEVIATION:g} allowed)"
        yield f"{agree}, and two threads give the bits of one.", True
    for m in measured:
        if m.deviation > LARGEST_DEVIATION:
            yield f"{m.case}: {' and '.join(m.compared)} DISAGREE by {m.deviation:.1f} standard errors", False
        if not m.same_bits:
            yield f"{m.case}: two threads give OTHER BITS than one", False
    for m in measured:
        packages = [name for name in ("diffrax", "torchsde") if name in m.times]
        if packages:
            yield f"{m.case}: " + ", ".join(f"{name} {m.processor(name):,.0f} ns" for name in packages), True
    share = min(m.processor_share for m in measured)
    busy = "" if share > 0.95 else ": other programs are running, so the gain by two threads means little"
    yield f"One thread had a processor for {share:.0%} of its time{busy}", True
    compiled = [f"{m.case} {m.compile_time:.1f} s" for m in measured if m.compile_time >= _NOTABLE]
    others = "under a second for the others" if compiled else "under a second"
    yield f"First call in an empty cache, not part of the above: {'; '.join([*compiled, others])}", True


def save(folder: Path, machine: dict[str, str], paths: int, repeats: int, measured: list[Measurement]) -> tuple[Path, Path]:
    """Write table.json and table.md, and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    as_json, as_text = folder / "table.json", folder / "table.md"
    cases: list[dict[str, Any]] = [
        {
            "case": m.case, "unit": m.unit, "targets": asdict(m.targets), "ratios": ratios(m, measured[0]),
            "median_processor_ns": {name: m.processor(name) for name in m.times},
            "median_wall_ns": {name: sorted(t.wall for t in times)[len(times) // 2] for name, times in m.times.items()},
            "first_call_s": m.compile_time, "processor_share": m.processor_share, "largest_deviation": m.deviation,
            "same_bits": m.same_bits,
        }
        for m in measured
    ]  # fmt: skip
    as_json.write_text(json.dumps({"machine": machine, "paths": paths, "repeats": repeats, "cases": cases}, indent=1) + "\n")
    lines = [
        "; ".join(f"{name} {value}" for name, value in machine.items()) + ".", "",
        f"Median of {repeats} interleaved runs of {paths:,} paths; {_CAPTION}.", "",
        f"| {' | '.join(_HEADINGS)} |", "|" + "---|" * len(_HEADINGS),
        *(f"| {' | '.join(text for text, _ in row)} |" for row in rows(measured)), "",
        *(f"- {line}" for line, _ in notes(measured)),
    ]  # fmt: skip
    as_text.write_text("\n".join(lines) + "\n")
    return as_json, as_text


def machine(compiler: str | None) -> dict[str, str]:
    """Describe the machine and the versions."""
    found = {"CPU": f"{_cpu()} ({os.cpu_count()} processors)", **versions()}
    for name in ("numba", "joblib", "jax", "diffrax", "torchsde"):
        try:
            found.setdefault(name, version(name))
        except PackageNotFoundError:
            continue
    return found | ({"C": compiler} if compiler else {})


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def _judged(value: float | None, relation: str, target: float | None) -> tuple[str, bool | None]:
    if value is None or not target:
        return _number(value, ".2f"), None
    met = {"≤": value <= target, "<": value < target, "≥": value >= target}[relation]
    return f"{value:.2f} ({relation} {target:g}){'' if met else ' ✗'}", met


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()
