"""``gradnoise study``: measure an order of convergence."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from gradnoise.cli import interruption
from gradnoise.cli.common import draw_into_files, named_as_options, seed_of
from gradnoise.cli.console import console, say
from gradnoise.cli.files import check_apart, check_file, check_json, deliver, file_of
from gradnoise.simulations import sde
from gradnoise.simulations.sde import OrderStudy
from gradnoise.simulations.sde.standard_problems import STANDARD
from gradnoise.simulations.statistics import Order
from gradnoise.theory._validation import as_choice, as_count

__all__ = ["Settings", "run"]

#: Mean-square and weak orders that theory gives, plain and modified, to draw beside what is measured.
REFERENCE_SLOPES = {"strong": (2.0, 3.0), "weak": (1.0, 2.0)}
_MOST_STEP_SIZES = 30
_PICTURES = (".png", ".pdf", ".svg")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Options of the command; None takes the problem's own setting."""

    kind: str
    problem: str
    paths: int
    drift: str
    n_steps: int
    largest_step: float | None
    time: float | None
    batch_size: int | None
    refinement: int | None


def run(settings: Settings, *, seed: int | None, jobs: int, plot: Path | None, json: Path | None, store: Path | None) -> None:
    """Run a study; print its errors and its order; write what was asked for."""
    as_choice(settings.kind, "KIND", ("strong", "weak"))
    as_choice(settings.problem, "--problem", tuple(STANDARD))
    as_count(settings.paths, "--paths")
    check_apart([("--json", file_of(json)), ("--plot", plot)], [("--store", store)])
    check_json(json)
    if plot is not None:
        check_file(plot, "--plot")
        if plot.suffix not in _PICTURES:
            raise ValueError(f"--plot must end in {', '.join(_PICTURES)}, got {str(plot)!r}")
    standard = STANDARD[settings.problem]
    largest = standard.largest_step if settings.largest_step is None else settings.largest_step
    steps = [largest / 2**k for k in range(as_count(settings.n_steps, "--steps", at_most=_MOST_STEP_SIZES))]
    seed = seed_of(seed)
    measure = sde.strong_error if settings.kind == "strong" else sde.weak_error
    named = named_as_options(
        step_sizes="--largest-step and its halves", n_paths="--paths", batch_size="--batch-size", time="--time",
        refinement="--refinement",
    )  # fmt: skip
    with interruption.working(interruption.resume(store)), named:
        study = measure(
            standard.build(),
            steps,
            standard.time if settings.time is None else settings.time,
            settings.paths,
            batch_size=standard.batch_size if settings.batch_size is None else settings.batch_size,
            rng=seed,
            drift=settings.drift,
            refinement=settings.refinement,
            n_jobs=jobs,
            store=store,
        )
    plots = [(plot, lambda path: _draw(study, settings, path))]
    deliver(study, json, lambda: _print(study, settings, seed), plots)


def _print(study: OrderStudy, settings: Settings, seed: int) -> None:
    p = study.arguments
    what = "mean-square distance" if study.kind == "strong" else "difference of E L"
    table = Table(title=f"{study.kind} error of {p['problem']}, {p['drift']} drift, T = {p['time']:g}", title_justify="left")
    for name in ("step size", what, "± standard error", "reference: bias below", "local slope"):
        table.add_column(name, justify="right")
    slopes = [""] * len(study.step_sizes)
    try:
        order, refusal = study.order, ""
        slopes[1:] = [f"{s:.2f}" for s in order.local_slopes]
    except ValueError as error:
        order, refusal = None, str(error)
    rows = zip(study.step_sizes, study.errors, study.standard_errors, study.largest_biases, slopes, strict=True)
    for eta, error, standard_error, reference, slope in rows:
        table.add_row(f"{eta:.6g}", f"{error:.4g}", f"{standard_error:.2g}", f"{reference:.2g}", slope)
    console.print(table)
    say(f"{p['n_paths']} paths, {p['noise']}, reference at η/{p['refinement']}, seed {seed}")
    if order is None:
        say(f"[bold yellow]no order:[/] {escape(refusal)}")
        return
    say(f"[bold]order over these step sizes {_with_interval(order)}")
    try:
        leading = study.leading_order
    except ValueError:
        say("too few step sizes for a term of the next order; the local slopes show whether there is one")
    else:
        say(f"[bold]leading order {_with_interval(leading)}, with a term of the next order beside it")


def _with_interval(order: Order) -> str:
    low, high = order.interval(0.95)
    return f"{order.value:.3f}[/], 95 % interval {low:.3f} to {high:.3f}"


def _draw(study: OrderStudy, settings: Settings, path: Path) -> None:
    draw_into_files()
    from matplotlib import pyplot

    from gradnoise.figures.style import style, write

    with style():
        figure, ax = pyplot.subplots(figsize=(5, 4))
        study.plot(ax, references=REFERENCE_SLOPES[study.kind], next_term=True)
        ax.set_title(f"{settings.problem}, {settings.drift} drift, {settings.paths} paths")
        ax.legend()
        write(figure, path)
