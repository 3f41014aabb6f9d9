"""``gradnoise figures``: draw the papers' figures, from fresh simulations but for long runs of networks."""

from __future__ import annotations

from pathlib import Path

from rich.table import Table

from gradnoise.claims.registry import DEFAULT_SEED
from gradnoise.cli.common import check_writable, console, errors
from gradnoise.figures import registry

__all__ = ["run"]

FORMATS = ("png", "pdf", "svg")


def run(*, names: list[str], list_only: bool, format: str, budget: str, seed: int | None, jobs: int, out: Path | None) -> None:
    """List figures, or draw them into a folder."""
    if list_only:
        table = Table(title="figures", title_justify="left")
        table.add_column("name", style="bold")
        table.add_column("what it shows")
        for figure in registry.FIGURES.values():
            table.add_row(figure.name, figure.title)
        console.print(table)
        return
    if format not in FORMATS:
        raise ValueError(f"--format must be one of {', '.join(FORMATS)}, got {format!r}")
    chosen = registry.select(names, budget)
    folder = out or Path("results")
    check_writable(folder, "--out")
    seed = DEFAULT_SEED if seed is None else seed
    for figure in chosen:
        kept = figure.extra is not None and budget == "full"
        with errors.status(f"{figure.name}: {'drawing' if kept else 'simulating'} …"):
            path = figure.save(folder, format=format, budget=budget, rng=seed, n_jobs=jobs)
        made = "runs that come with gradnoise" if kept else f"seed {seed}, budget {budget}"
        console.print(f"wrote {path} ({made})", highlight=False, soft_wrap=True)
    left = [figure.name for figure in registry.FIGURES.values() if not names and figure not in chosen]
    if left:
        console.print(
            f"left out: {', '.join(left)}; name them to train networks on digits (needs PyTorch), "
            "or take --budget full for runs that are kept",
            highlight=False,
            soft_wrap=True,
        )
