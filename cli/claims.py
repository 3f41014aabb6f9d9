"""``gradnoise claims``: the ledger as a table."""

from __future__ import annotations

import json

from rich.table import Table

from gradnoise.claims import registry
from gradnoise.cli.console import console, write_json_text

__all__ = ["run"]


def run(*, ids: list[str], paper: str | None, extra: str | None, as_json: bool) -> None:
    """Print claims that are named, or those of one paper, or all, of the core or of an extra."""
    if paper is not None and paper not in registry.PAPERS:
        raise ValueError(f"--paper must be one of {', '.join(registry.PAPERS)}, got {paper!r}")
    rows = registry.ledger(extra, [*ids, *([] if paper is None else [paper])] or None)
    if as_json:
        write_json_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
        return
    table = Table(title=f"{len(rows)} claim{'' if len(rows) == 1 else 's'}", title_justify="left")
    for column, style in (("claim", "bold"), ("what it says", ""), ("where", "dim"), ("kind", "dim"), ("expected", "")):
        table.add_column(column, style=style, overflow="fold", no_wrap=column == "claim")  # an id is copied whole
    for row in rows:
        table.add_row(*(str(row[key] or "to be measured") for key in ("id", "statement", "source", "kind", "expected")))
    console.print(table)
