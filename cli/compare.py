"""``gradnoise compare``: train networks by many dynamics from the same start. Everything here needs PyTorch."""

from __future__ import annotations

from pathlib import Path

from rich.table import Table

from gradnoise.claims.judgement import HOLDS, placed
from gradnoise.cli import interruption
from gradnoise.cli.common import needs_torch, seed_of
from gradnoise.cli.console import console
from gradnoise.cli.files import check_apart, check_json, deliver, file_of
from gradnoise.simulations.network_protocols import ACCURACIES, EQUIVALENCE_MARGIN, PROTOCOLS, Comparison
from gradnoise.theory._validation import as_choice, as_count

__all__ = ["run"]

_LEVEL = 0.95


def run(
    *,
    figure: str,
    budget: str,
    seeds: int,
    seed: int | None,
    jobs: int,
    device: str,
    data: Path | None,
    store: Path | None,
    json: Path | None,
) -> None:
    """Compare; print what came out, or write it as JSON."""
    as_choice(figure, "FIGURE", tuple(PROTOCOLS))
    as_choice(budget, "--budget", ("quick", "full"))
    as_count(seeds, "--seeds")
    check_apart([("--json", file_of(json))], [("--store", store)])
    check_json(json)
    needs_torch()
    from gradnoise.simulations.neural.comparison import compare

    chosen = seed_of(seed)
    with interruption.working(interruption.resume(store)):
        found = compare(PROTOCOLS[figure][budget], seeds, rng=chosen, device=device, data_folder=data, n_jobs=jobs, store=store)
    title = f"{figure}, {found.protocol.experiment}, {seeds} repetitions, seed {chosen}"
    deliver(found, json, lambda: console.print(_table(found, title)))


def _table(found: Comparison, title: str) -> Table:
    against_sgd = "sgd" in found.protocol.dynamics and len(found.protocol.dynamics) > 1 and found.n_seeds > 1
    table = Table(title=title, title_justify="left", caption_justify="left")
    table.add_column("dynamics")
    more = found.protocol.metrics[len(ACCURACIES) :]
    headings = ["training accuracy", "test accuracy", *(name.replace("_", " ") + ", start → end" for name in more)]
    for name in headings + (["points above SGD", "95 % interval", "as SGD?"] if against_sgd else []):
        table.add_column(name, justify="right")
    verdicts, supposed = {}, False
    for name in found.protocol.dynamics:
        row = [f"{found.of(name, metric)[:, -1].mean():.4f}" for metric in ("train_accuracy", "test_accuracy")]
        row += [" → ".join(f"{x:.3g}" for x in found.of(name, metric)[:, [0, -1]].mean(axis=0)) for metric in more]
        if against_sgd and name != "sgd":
            gap = found.difference(name, "sgd")
            low, high = gap.interval(_LEVEL)
            verdicts[name] = placed((low, high), (-EQUIVALENCE_MARGIN, EQUIVALENCE_MARGIN))
            mark = "" if gap.valid(_LEVEL) else "*"
            row += [f"{100 * gap.value:+.2f}", f"{100 * low:+.2f} to {100 * high:+.2f}", verdicts[name] + mark]
            supposed = supposed or bool(mark)
        table.add_row(name, *row)
    if against_sgd:
        table.caption = f"as SGD: the interval is within ± {100 * EQUIVALENCE_MARGIN:g} points"
        if verdicts.get("gd") == HOLDS:
            table.caption += "; so is that of GD, without any noise: here this says little"
        if supposed:
            table.caption += "\n* if the differences are normal, which so few or such skew ones do not show"
    return table
