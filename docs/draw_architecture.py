"""Draw the floors, their rooms, and who imports whom, as the code has it: ``python docs/draw_architecture.py``.

It writes ``architecture.svg`` and, for a diff that can be read, all imports between rooms as ``architecture.txt``. With
``--check`` it writes nothing and fails where either is not what the code says.

The picture leaves out an arrow that others on the same floor imply: toy → seeds, as toy → ensemble → seeds. The text has them
all. A room is a package below a floor, and a file of theory or simulations by itself; the files directly on the three upper
floors are one box each. Private files, which all rooms of theory use, are left out.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import itertools
import re
import sys
from collections import Counter
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
FLOORS = ("theory", "simulations", "claims", "testing", "figures", "cli")
TOGETHER = ("claims", "testing", "figures", "cli")  # floors whose own files are one box
PACKAGES_AS_ONE = ("simulations.neural",)

Graph = Counter[tuple[str, str]]

# --- What the code says --------------------------------------------------------------------------------------------------------


def modules(root: Path) -> dict[str, Path]:
    """All modules below the floors, by their names without "gradnoise."."""
    found = {}
    for path in sorted(p for floor in FLOORS for p in (root / floor).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def room_of(module: str, path: Path) -> str:
    """Room that a module is in; empty for a private file, and for the empty package of a floor."""
    floor, *inner = module.split(".")
    if not inner or inner[0].startswith("_"):
        return floor if floor in TOGETHER else ""
    in_package = len(inner) > 1 or path.name == "__init__.py"
    return floor if floor in TOGETHER and not in_package else f"{floor}.{inner[0]}"


def read(root: Path) -> tuple[Graph, Counter[str]]:
    """Imports between rooms, and the number of files in each."""
    found = modules(root)
    rooms = {module: room_of(module, path) for module, path in found.items()}
    imports: Graph = Counter()
    for module, path in found.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for target in _targets(node, found):
                if rooms[module] and rooms[target] and rooms[module] != rooms[target]:
                    imports[rooms[module], rooms[target]] += 1
    files = Counter(room for module, room in rooms.items() if room and found[module].name != "__init__.py")
    return imports, files


def _targets(node: ast.AST, known: dict[str, Path]) -> set[str]:
    """Modules of ours that a statement imports."""
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        names = [f"{node.module}.{alias.name}" for alias in node.names]
        names = [name if name.removeprefix("gradnoise.") in known else str(node.module) for name in names]
    else:
        return set()
    return {name.removeprefix("gradnoise.") for name in names if name.startswith("gradnoise.")} & known.keys()


def as_text(imports: Graph, files: Counter[str]) -> str:
    """All of it, a line each."""
    lines = [f"{room}: {n} file{'s' * (n != 1)}" for room, n in sorted(files.items())]
    return "\n".join(lines + [f"{a} -> {b}: {n}" for (a, b), n in sorted(imports.items())]) + "\n"


def without_implied(imports: Graph) -> Graph:
    """Leave out a → b where a uses another room of a's or b's floor that uses b, itself or through others."""
    uses: dict[str, set[str]] = {}
    for a, b in imports:
        uses.setdefault(a, set()).add(b)

    def reached(room: str) -> set[str]:
        return uses.get(room, set()).union(*(reached(r) for r in uses.get(room, ())))

    behind = {room: reached(room) for room in {r for edge in imports for r in edge}}

    def implied(a: str, b: str) -> bool:
        return any(b in behind[r] for r in uses[a] - {b} if floor_of(r) in (floor_of(a), floor_of(b)))

    return Counter({edge: n for edge, n in imports.items() if not implied(*edge)})


def floor_of(room: str) -> str:
    """Floor of a room."""
    return room.partition(".")[0]


# --- Where the boxes stand -----------------------------------------------------------------------------------------------------

SLOTS = 10  # places for boxes in a row
STARTS = 24
WIDTH, HEIGHT = 0.82, 0.4  # of a box, where slots are one apart
BETWEEN_ROWS, BETWEEN_FLOORS = 0.86, 1.1


def rows_of(imports: Graph, rooms: list[str]) -> list[list[str]]:
    """Rows from the lowest: floors, and on each the rooms by how many others of that floor stand under them."""
    rows: list[list[str]] = []
    for floor in FLOORS:
        inside = {r: {b for a, b in imports if a == r and floor_of(b) == floor} for r in rooms if floor_of(r) == floor}
        while inside:
            row = sorted(r for r, below in inside.items() if not below & inside.keys())
            rows += [row[start : start + SLOTS] for start in range(0, len(row), SLOTS)]
            inside = {r: below for r, below in inside.items() if r not in row}
    return rows


def arrange(imports: Graph, rows: list[list[str]]) -> dict[str, tuple[float, int]]:
    """Slot and row of each room: few arrows that cross each other or run behind a box, and short ones.

    Boxes are moved and swapped within their rows while that helps, from a few seeded starts.
    """
    level = {room: y for y, row in enumerate(rows) for room in row}
    edges = np.array([(list(level).index(a), list(level).index(b)) for a, b in imports])
    ys = np.array(list(level.values()), dtype=float)
    best: tuple[float, np.ndarray] = (np.inf, np.zeros(0))
    for seed in range(STARTS):
        generator = np.random.default_rng(seed)
        xs = np.concatenate([generator.permutation(SLOTS)[: len(row)] for row in rows]).astype(float)
        cost, better = _cost(xs, ys, edges), True
        while better:
            better = False
            for i, slot in itertools.product(range(len(xs)), range(SLOTS)):
                other = xs.copy()
                other[(xs == slot) & (ys == ys[i])] = xs[i]
                other[i] = slot
                if (new := _cost(other, ys, edges)) < cost - 1e-9:
                    xs, cost, better = other, new, True
        best = min(best, (cost, xs), key=lambda found: found[0])
    return {room: (float(x), level[room]) for room, x in zip(level, best[1], strict=True)}


def _cost(xs: np.ndarray, ys: np.ndarray, edges: np.ndarray) -> float:
    top, bottom = edges.T
    x1, y1, x2, y2 = xs[top], ys[top], xs[bottom], ys[bottom]
    long = (np.abs(x1 - x2) / (1 + np.abs(y1 - y2))).sum() + np.abs(xs - (SLOTS - 1) / 2).sum() / 20
    # Behind a box: the arrow's x in the box's row.
    share = (y1[:, np.newaxis] - ys) / np.maximum(y1 - y2, 1e-9)[:, np.newaxis]
    inside = (share > 1e-9) & (share < 1 - 1e-9)
    behind = inside & (np.abs(x1[:, np.newaxis] + share * (x2 - x1)[:, np.newaxis] - xs) < 0.5)
    # Crossings, where both arrows pass the same rows: the order at the first and at the last of them differs.
    high, low = np.minimum.outer(y1, y1), np.maximum.outer(y2, y2)
    slope = (x2 - x1) / np.minimum(y2 - y1, -1e-9)
    at_high, at_low = (x1[:, np.newaxis] + slope[:, np.newaxis] * (y - y1[:, np.newaxis]) for y in (high, low))
    crossing = (high > low) & ((at_high - at_high.T) * (at_low - at_low.T) < 0)
    return float(long + 4 * behind.sum() + 0.4 * crossing.sum())


# --- The picture ---------------------------------------------------------------------------------------------------------------

COLORS = {
    "theory": "#2f6f4f",
    "simulations": "#2b5c94",
    "claims": "#a9531b",
    "testing": "#8c7a1f",
    "figures": "#7a4a8c",
    "cli": "#555555",
}
SAYS = {
    "theory": "what should happen", "simulations": "what does happen", "claims": "where the two meet",
    "testing": "for other people", "figures": "what it looks like", "cli": "the front door",
}  # fmt: skip
BENDS = (0.0, 0.03, 0.06, 0.09, 0.12, 0.15, 0.2)
OWN_FILES = {"claims": "judging", "testing": "cases", "figures": "figures", "cli": "commands"}


def draw(imports: Graph, files: Counter[str], path: Path, digest: str) -> None:
    """Draw the graph; an arrow is as wide as the imports are many."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

    matplotlib.rcParams["svg.hashsalt"] = "gradnoise"
    arrows = without_implied(imports)
    rows = rows_of(arrows, sorted(files))
    heights, y = [], 0.0
    for row, after in itertools.pairwise([*rows, [""]]):
        heights.append(y)
        y += BETWEEN_ROWS if floor_of(row[0]) == floor_of(after[0]) else BETWEEN_FLOORS
    places = {room: (x, heights[k]) for room, (x, k) in arrange(arrows, rows).items()}
    left, right = -1.75, SLOTS - 0.45
    bottom, top = -0.5, heights[-1] + 0.5
    figure, ax = pyplot.subplots(figsize=(12, 12 * (top - bottom) / (right - left + 0.1)), dpi=100)
    for floor in FLOORS:
        levels = [places[room][1] for room in places if floor_of(room) == floor]
        low, high = min(levels) - 0.42, max(levels) + 0.42
        ax.add_patch(
            FancyBboxPatch(
                (left, low), right - left, high - low, boxstyle="round,pad=0,rounding_size=0.1", lw=0,
                color=COLORS[floor], alpha=0.1, zorder=0,
            )
        )  # fmt: skip
        middle = (low + high) / 2
        ax.text(left + 0.12, middle + 0.1, floor, color=COLORS[floor], size=13, weight="bold", va="center")
        ax.text(left + 0.12, middle - 0.14, SAYS[floor], color=COLORS[floor], size=9, va="center")
    for (a, b), n in sorted(arrows.items()):
        (x1, y1), (x2, y2) = places[a], places[b]
        lean = np.clip((x2 - x1) / 6, -1, 1) * WIDTH * 0.4  # arrows leave and reach a box at places of their own
        start, end = np.array([x1 + lean, y1 - HEIGHT / 2]), np.array([x2 - lean, y2 + HEIGHT / 2])
        others = np.array([place for room, place in places.items() if room not in (a, b)])
        around = f"arc3,rad={bend(start, end, others)}"
        ax.add_patch(
            FancyArrowPatch(
                tuple(start), tuple(end), arrowstyle="-|>,head_length=5,head_width=2.4", connectionstyle=around,
                lw=0.7 + 0.55 * np.sqrt(n), color=COLORS[floor_of(a)], alpha=0.75, shrinkA=0, shrinkB=1, zorder=1,
            )
        )  # fmt: skip
    for room, (x, y) in places.items():
        color = COLORS[floor_of(room)]
        ax.add_patch(
            FancyBboxPatch(
                (x - WIDTH / 2, y - HEIGHT / 2), WIDTH, HEIGHT, boxstyle="round,pad=0,rounding_size=0.06", lw=1.3,
                edgecolor=color, facecolor="white", zorder=2,
            )
        )  # fmt: skip
        name = (room.partition(".")[2] or OWN_FILES[room]).replace("_", "\n" if len(room.partition(".")[2]) > 12 else " ")
        two_lines = "\n" in name
        ax.text(x, y + 0.06, name, ha="center", va="center", size=7.5 if two_lines else 8.6, linespacing=0.95, zorder=3)
        of_files = f"{files[room]} files" if files[room] > 1 else "a file"
        ax.text(x, y - 0.14, of_files, ha="center", va="center", size=6, color=color, zorder=3)
    ax.set(xlim=(left - 0.05, right + 0.05), ylim=(bottom, top), aspect="equal")
    ax.set_axis_off()
    figure.subplots_adjust(0, 0, 1, 1)
    about = {"Description": digest, "Date": None} if path.suffix == ".svg" else None
    figure.savefig(path, facecolor="white", metadata=about)


def bend(start: np.ndarray, end: np.ndarray, boxes: np.ndarray) -> float:
    """Least curvature with which an arrow runs behind the fewest boxes."""
    t = np.linspace(0, 1, 200)[:, np.newaxis]
    across = np.array([end[1] - start[1], start[0] - end[0]])

    def hidden(rad: float) -> int:
        curve = (1 - t) ** 2 * start + 2 * t * (1 - t) * ((start + end) / 2 + rad * across) + t**2 * end
        away = np.abs(curve[:, np.newaxis] - boxes) - np.array([WIDTH / 2 + 0.05, HEIGHT / 2 + 0.03])
        return int((away < 0).all(axis=2).any(axis=0).sum())

    return min((r for size in BENDS for r in (size, -size)), key=lambda r: (hidden(r), abs(r)))


def main(arguments: list[str] | None = None) -> int:
    """Write or check; return the exit status."""
    parser = argparse.ArgumentParser(description="Draw the floors, their rooms, and who imports whom.")
    parser.add_argument("--check", action="store_true", help="fail where the kept picture is not what the code says")
    parser.add_argument("--picture", type=Path, default=HERE / "architecture.svg", help="where to draw (%(default)s)")
    options = parser.parse_args(arguments)
    imports, files = read(HERE.parent)
    text, kept = as_text(imports, files), HERE / "architecture.txt"
    digest = hashlib.sha256(text.encode()).hexdigest()
    if not options.check:
        kept.write_text(text, encoding="utf-8")
        draw(imports, files, options.picture, digest)
        return 0
    before = kept.read_text(encoding="utf-8").splitlines() if kept.exists() else []
    changed = [f"+ {line}" for line in text.splitlines() if line not in before]
    changed += [f"- {line}" for line in before if line not in text.splitlines()]
    drawn = options.picture.exists() and re.search(digest, options.picture.read_text(encoding="utf-8"))
    if changed or not drawn:
        print("\n".join(["docs/architecture is not up to date; run: make architecture", *changed]), file=sys.stderr)
    return int(bool(changed) or not drawn)


if __name__ == "__main__":
    sys.exit(main())
