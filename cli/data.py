"""``gradnoise data``: which data sets are there, and fetching them."""

from __future__ import annotations

from pathlib import Path

from rich.markup import escape
from rich.table import Table

from gradnoise.cli import interruption
from gradnoise.cli.common import needs_torch
from gradnoise.cli.console import console, say

__all__ = ["run"]


def run(*, name: str | None, folder: Path | None, download: bool) -> None:
    """List the data sets, after fetching one if that is wanted."""
    needs_torch()
    from gradnoise.simulations.neural import fetch

    if download:
        if name is None:
            raise ValueError(f"--fetch must come with a name: {', '.join(fetch.SOURCES)}")
        with interruption.working():
            place = fetch.fetch(name, folder)
        say(escape(f"fetched {name} into {place}"))
    table = Table(title="data sets", title_justify="left")
    for column, side in (("name", "left"), ("to train", "right"), ("to test", "right"), ("", "left")):
        table.add_column(column, justify=side, overflow="fold")  # type: ignore[arg-type]
    for found in fetch.available(folder):
        if name in (None, found.name):
            table.add_row(found.name, str(found.n_train or ""), str(found.n_test or ""), escape(found.problem or "ready"))
    if not table.row_count:
        raise ValueError(f"name must be one of {', '.join(('digits', *fetch.SOURCES))}, got {name!r}")
    console.print(table)
