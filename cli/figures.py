"""``gradnoise figures``: draw the papers' figures, from fresh simulations but for long runs of networks."""

from __future__ import annotations

from pathlib import Path

from rich.markup import escape
from rich.table import Table

from gradnoise.cli import interruption
from gradnoise.cli.common import draw_into_files, needs_torch, seed_of
from gradnoise.cli.console import console, errors, say
from gradnoise.cli.files import check_writable
from gradnoise.cli.gate import FAILED, tell
from gradnoise.figures import registry
from gradnoise.theory._validation import as_choice

__all__ = ["run"]

FORMATS = ("png", "pdf", "svg")


def run(*, names: list[str], list_only: bool, format: str, budget: str, seed: int | None, jobs: int, out: Path | None) -> int:
    """List figures, or draw them into a folder; return the exit code. One that raises does not keep the others from it."""
    if list_only:
        console.print(_listed(budget))
        return 0
    if format not in FORMATS:
        raise ValueError(f"--format must be one of {', '.join(FORMATS)}, got {format!r}")
    chosen = registry.select(names, budget)
    folder = out or Path("results")
    check_writable(folder, "--out")
    seed = seed_of(seed)
    if budget == "quick" and any(figure.extra is not None for figure in chosen):
        needs_torch()
    draw_into_files()
    failed = False
    for done, figure in enumerate(chosen):
        kept = figure.kept(budget)
        try:
            with (
                errors.status(f"{figure.name}: {'drawing' if kept else 'simulating'} …", spinner="line"),
                interruption.working(f"{done} of {len(chosen)} figures were drawn before"),
            ):
                path = figure.save(folder, format=format, budget=budget, rng=seed, n_jobs=jobs)
        except Exception as error:
            if interruption.received():
                raise KeyboardInterrupt from error
            tell(f"{figure.name} could not be drawn: {type(error).__name__}: {error}")
            failed = True
            continue
        made = "runs that come with gradnoise" if kept else f"seed {seed}, budget {budget}"
        say(escape(f"wrote {path} ({made})"))
    left = [figure.name for figure in registry.FIGURES.values() if not names and figure not in chosen]
    if left:
        say(
            f"left out: {', '.join(left)}; name them to train networks on digits (needs PyTorch), "
            "or take --budget full for runs that are kept"
        )
    return FAILED if failed else 0


def _listed(budget: str) -> Table:
    """All figures, with how much is simulated for them."""
    as_choice(budget, "--budget", ("quick", "full"))
    table = Table(title=f"figures at budget {budget}", title_justify="left")
    table.add_column("name", style="bold", no_wrap=True)
    for name in ("of the paper", "what it shows", "scale", "results"):
        table.add_column(name)
    for figure in registry.FIGURES.values():
        kept = "kept" if figure.kept(budget) else "fresh"
        table.add_row(figure.name, figure.source, figure.title, figure.scale(budget), kept)
    return table
