"""Dozens of groups of thousands of finds, and the page that shows their counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from .trials import NO_GOOD_CALL, NOT_TRIED, Fault, Trial

__all__ = ["FLOORS", "KINDS", "Group", "as_records", "floor_of", "grouped", "markdown", "text"]

#: Kinds of finds, and how many of them an earlier attack of 64,343 calls of 237 entry points found.
KINDS = {
    "other exception": "2,960",
    "does not name the argument": "not counted",
    "NaN": "328",
    "infinite": "not counted",
    "nonsense": "86",
    "accepted": "not counted",
    "another answer": "not counted",
    "mask dropped": "168",
    "warning": "573",
    "crash": "1",
    "hang": "65",
    "memory": "not counted",
}
FLOORS = ("theory", "simulations", "neural", "claims", "testing", "figures", "command line", "loaders")


@dataclass(frozen=True)
class Group:
    """Finds of one kind, at one place, with one argument of one entry point."""

    name: str
    argument: str
    kind: str
    where: str
    count: int
    values: tuple[str, ...]
    message: str


def floor_of(name: str) -> str:
    """Part of the package to which a name belongs."""
    if name.startswith("simulations.neural"):
        return "neural"
    first = name.partition(" ")[0].partition(".")[0]
    return {"gradnoise": "command line", "load": "loaders"}.get(first, first)


def grouped(finds: Sequence[tuple[Trial, Fault]]) -> list[Group]:
    """Group finds, the most frequent kinds first in each entry point."""
    by_place: dict[tuple[str, str, str, str], list[tuple[Trial, Fault]]] = {}
    for trial, fault in finds:
        if fault.kind not in (NOT_TRIED, NO_GOOD_CALL):
            by_place.setdefault((trial.name, trial.argument, fault.kind, fault.where), []).append((trial, fault))
    return [
        Group(*place, len(found), tuple(dict.fromkeys(t.value for t, _ in found)), found[0][1].message)
        for place, found in sorted(by_place.items())
    ]


def text(groups: Sequence[Group]) -> str:
    """Lines to read: a find a line, under its entry point."""
    lines, last = [], ""
    for g in groups:
        if g.name != last:
            lines.append(g.name)
            last = g.name
        values = ", ".join(g.values[:6]) + (f" and {len(g.values) - 6} more" if len(g.values) > 6 else "")
        lines.append(f"    {g.argument}: {g.kind} ({g.count}) {g.where} | {values} | {g.message}")
    return "\n".join(lines)


def markdown(groups: Sequence[Group], calls: Counter[str], not_tried: int, without_call: Sequence[str]) -> str:
    """Counts by kind and part of the package, beside those of the earlier attack."""
    parts = [part for part in FLOORS if calls[part]]
    lines = [
        f"{sum(calls.values()):,} calls, of which {not_tried:,} were given up where others like them took too long. "
        f"Left out are {len(without_call)} public names without an example that can be repeated, records that only the package "
        "makes, and kernels, which check nothing.",
        "",
        "| kind | before | now | " + " | ".join(parts) + " |",
        "|---|---:|---:|" + "---:|" * len(parts),
        "| calls | 64,343 | " + " | ".join(f"{n:,}" for n in (sum(calls.values()), *(calls[p] for p in parts))) + " |",
    ]
    for kind, before in KINDS.items():
        counts = [sum(g.count for g in groups if g.kind == kind and floor_of(g.name) == part) for part in parts]
        lines.append(f"| {kind} | {before} | {sum(counts):,} | " + " | ".join(map(str, counts)) + " |")
    return "\n".join(lines)


def as_records(groups: Sequence[Group]) -> list[dict[str, object]]:
    """Groups as JSON has them."""
    return [asdict(g) for g in groups]
