"""The smallest error of each claim's predictions that budget full refutes: `make detectable`.

A formula is judged finely enough where an error of two per cent in any of its predictions is refuted with a probability of 99 %.
A claim that notices larger errors alone has to say why, and one that says so without need is as wrong.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from pathlib import Path
from typing import Any

from page import keep
from repeated import surprises

from gradnoise.claims import registry
from gradnoise.claims.prediction import ATTAINED

MOST = 0.02
_GRID = (1e-9, 1e-6, 1e-3, MOST)

Claim = dict[str, Any]  # of a report's JSON


def main() -> int:
    """Verify at budget full, keep what is noticed, and fail where a claim notices too little and does not say why."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--report", type=Path, help="report.json of `gradnoise verify --budget full --sabotage`, which else is run"
    )
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    report = json.loads(options.report.read_text(encoding="utf-8")) if options.report else verified(options.jobs)
    if (report["budget"], report["complete"], report["sabotage"]) != ("full", True, True):
        parser.error("--report must be of a complete run of `gradnoise verify --budget full --sabotage`")
    claims = report["claims"]
    rows = [row for row in map(noticed, claims) if row]
    problems = [*surprises(claims), *unexplained(rows)]
    keep("detectable", {"seed": report["seed"], "claims": rows, "problems": problems}, shown(claims, rows, problems))
    for problem in problems:
        print(problem, file=sys.stderr)
    return int(bool(problems))


def verified(n_jobs: int) -> dict[str, Any]:
    """Verify all claims, which takes an hour."""

    def tell(id: str, done: int, every: int) -> None:
        print(f"{done} of {every}: {id}", file=sys.stderr, flush=True)

    return registry.verify(budget="full", sabotage=True, n_jobs=n_jobs, progress=tell).to_dict()


def noticed(claim: Claim) -> dict[str, Any] | None:
    """What a claim notices in its least sensitive prediction; None where it holds of nothing that has a size."""
    columns = [claim[key] for key in ("quantities", "detectable_error", "tightness")]
    labels, errors, tightness = columns if isinstance(columns[1], list) else (columns[0], [columns[1]], [columns[2]])
    asked = [
        (error, label)
        for label, error, tight in zip(labels, errors, tightness, strict=True)
        if error is not None and tight in (None, ATTAINED)
    ]
    if claim["verdict"] != "holds" or not asked:
        return None
    error, label = max(asked)
    return {"id": claim["id"], "error": error, "quantity": label, "because": claim["insensitive_because"]}


def unexplained(rows: list[dict[str, Any]]) -> list[str]:
    """Claims that notice too little and do not say why."""
    coarse = [row for row in rows if row["error"] > MOST and not row["because"]]
    return [f"`{row['id']}` would not notice an error of {_per_cent(row['error'])} in {row['quantity']}" for row in coarse]


def shown(claims: list[Claim], rows: list[dict[str, Any]], problems: list[str]) -> str:
    """Markdown: how fine the claims are, and those that are not, with the reason."""
    twins = sum(len(claim["sabotaged"]) for claim in claims)
    lines = [
        f"{len(claims)} verdicts and {twins} twins at budget full: {len(problems)} not as they should be. {len(rows)} claims "
        "hold of what has a size; the smallest relative error that each of their predictions is refuted for is at most",
        "",
        "| " + " | ".join(f"{_per_cent(most)}" for most in _GRID) + " | more |",
        "|" + "---:|" * (len(_GRID) + 1),
        "| " + " | ".join(str(count) for count in _counts([row["error"] for row in rows])) + " |",
        *(["", *(f"- {problem}" for problem in problems)] if problems else []),
    ]
    if coarse := [row for row in rows if row["error"] > MOST]:
        lines += ["", "| claim | notices | in | because |", "|---|---:|---|---|"]
        for row in sorted(coarse, key=lambda row: -row["error"]):
            because = (row["because"] or "not explained").replace("|", "\\|")
            quantity = row["quantity"].replace("|", "\\|")
            lines.append(f"| `{row['id']}` | {_per_cent(row['error'])} | {quantity} | {because} |")
    return "\n".join(lines)


def _counts(errors: list[float]) -> list[int]:
    """How many are in each cell of the grid, and above it."""
    ends = [0.0, *_GRID, float("inf")]
    return [sum(low < error <= high for error in errors) for low, high in itertools.pairwise(ends)]


def _per_cent(share: float) -> str:
    return f"{100 * share:.2g} %"


if __name__ == "__main__":
    sys.exit(main())
