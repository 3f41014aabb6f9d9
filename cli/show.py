"""``gradnoise show``: one claim, whole."""

from __future__ import annotations

import shlex

from rich.markup import escape

from gradnoise.claims import registry
from gradnoise.claims.claim import CORRECTED
from gradnoise.claims.description import describe
from gradnoise.cli import interruption
from gradnoise.cli.common import named_as_options, seed_of
from gradnoise.cli.console import console, say
from gradnoise.cli.gate import FAILED, UNEXPECTED

__all__ = ["run"]

_NARROWEST, _WIDEST = 40, 100


def run(*, id: str, budget: str, seed: int | None, jobs: int, extra: str | None) -> int:
    """Judge a claim and its twins, and print all that led to the verdict; return the exit code."""
    seed = seed_of(seed)
    with named_as_options(ids="ID"):
        chosen = registry.select(id, extra)
    if len(claims := {one.removesuffix(CORRECTED) for one in chosen}) > 1:
        raise ValueError(f"ID must be of one claim, got {id!r}, which are {len(claims)}: {', '.join(sorted(claims)[:3])} ...")
    with interruption.working("nothing was judged"):
        report = registry.verify(chosen, budget=budget, rng=seed, n_jobs=jobs, sabotage=True, extra=extra)
    width = min(max(console.width, _NARROWEST), _WIDEST)
    for entry in report.entries:
        say(escape(describe(entry, width)))
        say("")
    options = [*(["--extra", extra] if extra else []), "--budget", budget, "--seed", str(seed)]
    say(f"again: gradnoise show {escape(shlex.join([id, *options]))}")
    return FAILED if report.failures() else 0 if report.as_expected else UNEXPECTED
