"""What a battery found, kept as JSON and shown in its section of docs/reliability.md."""

from __future__ import annotations

import datetime
import json
import re
from pathlib import Path
from typing import Any

from gradnoise.simulations.ensemble import finite, replacing, versions

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reliability.md"
RESULTS = ROOT / "reliability" / "results"


def keep(battery: str, found: dict[str, Any], shown: str) -> None:
    """Write what was found to results/`battery`.json, and the Markdown that shows it into the page.

    Raises
    ------
    ValueError
        If the page has no section of this name.
    """
    record = {"date": datetime.date.today().isoformat(), "versions": versions(), "found": finite(found)}
    with replacing(RESULTS / f"{battery}.json") as file:
        file.write((json.dumps(record, indent=1, ensure_ascii=False) + "\n").encode())
    page = PAGE.read_text(encoding="utf-8")
    section = re.compile(rf"(?<=<!-- {battery} begins -->\n).*?(?=<!-- {battery} ends -->)", re.S)
    if not section.search(page):
        raise ValueError(f"battery must be a section of {PAGE.name}, got {battery!r}")
    with replacing(PAGE) as file:
        file.write(section.sub(lambda _: shown.strip() + "\n", page).encode())


def found_before(battery: str) -> dict[str, Any]:
    """What `keep` wrote last; nothing where it never did."""
    file = RESULTS / f"{battery}.json"
    return json.loads(file.read_text(encoding="utf-8"))["found"] if file.exists() else {}
