"""Print, of the last coverage run, how many lines and branches of each room were reached."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path


def room_of(file: str) -> str:
    """Room of a file of the installed package: a package, or a file directly on a floor."""
    parts = Path(file).with_suffix("").parts
    inside = parts[len(parts) - parts[::-1].index("gradnoise") :]
    return ".".join(inside[:2])


def main(report: Path) -> None:
    """Print a table of what `coverage json` wrote."""
    rooms: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for file, found in json.loads(report.read_text(encoding="utf-8"))["files"].items():
        summary = found["summary"]
        for name in (room_of(file), "all"):
            rooms[name][0] += summary["covered_lines"] + summary["covered_branches"]
            rooms[name][1] += summary["num_statements"] + summary["num_branches"]
    for name, (reached, there) in sorted(rooms.items(), key=lambda item: (item[0] == "all", item[0])):
        print(f"{name:36} {reached:6} of {there:6}  {100 * reached / max(there, 1):5.1f} %")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
