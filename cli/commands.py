"""All commands. They import what they need when they run, so that --help answers at once."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import Annotated

import typer

from gradnoise.cli.common import worker_count
from gradnoise.cli.console import say
from gradnoise.cli.gate import Gate
from gradnoise.cli.options import Budget, ChunkSize, DataDir, Device, Extra, Jobs, Json, Out, Seed, Store
from gradnoise.cli.paragraphs import Paragraphs

__all__ = ["app"]

app = typer.Typer(
    cls=Gate,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="The numerical referee of SGD-noise theory: verify the claims of four papers, and draw their figures.",
    epilog="Results do not depend on --jobs. The seed is printed; the same seed gives the same numbers.",
)


def _version(wanted: bool) -> None:
    if wanted:
        say(f"gradnoise {importlib.metadata.version('gradnoise')}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version")] = False,
) -> None:
    if context.invoked_subcommand is None:  # typer's own no_args_is_help would exit with 2, as if that were a mistake
        typer.echo(context.get_help())


@app.command(cls=Paragraphs)
def verify(
    ids: Annotated[
        list[str] | None,
        typer.Argument(help="claims such as zhu2019.eq13, papers, or files of claims such as my_claims.py", metavar="[IDS]"),
    ] = None,
    paper: Annotated[list[str] | None, typer.Option("--paper", help="all claims of a paper; may be repeated")] = None,
    budget: Budget = "quick",
    seed: Seed = None,
    jobs: Jobs = 0,
    sabotage: Annotated[bool, typer.Option("--sabotage", help="also judge wrong formulas, which must all be refuted")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="refuse claims without any such wrong formula")] = False,
    extra: Extra = None,
    json: Json = None,
    out: Out = None,
) -> None:
    """Measure claims, judge their predictions, and print one table.

    Without IDS these are all claims of the papers. A file or a module of claims of your own is imported, and its code runs;
    FILE::ID is one claim of it. gradnoise new-claim writes such a file.

    A claim holds, is refuted, or is inconclusive, as more samples are needed to tell; that numbers which a paper prints show an
    effect is a test of significance, by which it may also be not established. The table says how many samples would decide.

    Exits with 0 if every verdict is the expected one (with --sabotage: and every wrong formula is refuted), with 1 if one
    differs, with 2 on bad usage, with 3 if a claim ended in an error, and with 130 if it was interrupted;
    what was judged until then is kept.
    """
    from gradnoise.cli import verify as command

    code = command.run(
        ids=ids or [], papers=paper or [], budget=budget, seed=seed, jobs=worker_count(jobs), sabotage=sabotage,
        strict=strict, extra=extra, json=json, out=out,
    )  # fmt: skip
    raise typer.Exit(code)


@app.command(cls=Paragraphs)
def claims(
    ids: Annotated[
        list[str] | None, typer.Argument(help="claims, papers, or files of claims; all by default", metavar="[IDS]")
    ] = None,
    paper: Annotated[str | None, typer.Option("--paper", help="of one paper only")] = None,
    extra: Extra = None,
    as_json: Annotated[bool, typer.Option("--json", help="as JSON on stdout")] = False,
) -> None:
    """List the ledger: every claim, where it stands, and its expected verdict."""
    from gradnoise.cli import claims as command

    command.run(ids=ids or [], paper=paper, extra=extra, as_json=as_json)


@app.command(cls=Paragraphs)
def show(
    id: Annotated[str, typer.Argument(help="claim such as zhu2019.eq13, or my_claims.py::me2026.lemma1", metavar="ID")],
    budget: Budget = "quick",
    seed: Seed = None,
    jobs: Jobs = 0,
    extra: Extra = None,
) -> None:
    """Judge one claim, and print all that led to its verdict.

    That is every quantity with its interval beside what was predicted and allowed, the smallest error that would be noticed, and
    the verdict on every wrong formula. Exits as gradnoise verify.
    """
    from gradnoise.cli import show as command

    raise typer.Exit(command.run(id=id, budget=budget, seed=seed, jobs=worker_count(jobs), extra=extra))


@app.command("new-claim", cls=Paragraphs)
def new_claim(
    name: Annotated[str, typer.Argument(help="of the file without .py, and of the paper", metavar="NAME")],
) -> None:
    """Write a file with a claim of your own to begin with, which runs."""
    from gradnoise.cli import new_claim as command

    raise typer.Exit(command.run(name=name))


@app.command(cls=Paragraphs)
def figures(
    names: Annotated[list[str] | None, typer.Argument(help="figures; all by default", metavar="[NAMES]")] = None,
    list_only: Annotated[bool, typer.Option("--list", help="list the figures and stop")] = False,
    format: Annotated[str, typer.Option("--format", help="png, pdf or svg")] = "png",
    budget: Budget = "quick",
    seed: Seed = None,
    jobs: Jobs = 0,
    out: Out = None,
) -> None:
    """Draw figures of the papers from fresh simulations.

    Those of networks train on digits, and need PyTorch; with --budget full they show runs that come with gradnoise. Exits with
    3 if one could not be drawn.
    """
    from gradnoise.cli import figures as command

    code = command.run(
        names=names or [], list_only=list_only, format=format, budget=budget, seed=seed, jobs=worker_count(jobs), out=out
    )
    raise typer.Exit(code)


@app.command(cls=Paragraphs)
def study(
    kind: Annotated[str, typer.Argument(help="strong: on one Brownian path; weak: in expectation", metavar="strong|weak")],
    problem: Annotated[
        str, typer.Option("--problem", help="least-squares, logistic, tanh or two-basin", metavar="NAME")
    ] = "logistic",
    paths: Annotated[int, typer.Option("--paths", help="Brownian paths")] = 10_000,
    drift: Annotated[
        str,
        typer.Option("--drift", help="of the SDE: without or with the term of the step size", metavar="plain|modified"),
    ] = "plain",
    n_steps: Annotated[int, typer.Option("--steps", help="step sizes, each half of the one before")] = 6,
    largest_step: Annotated[float | None, typer.Option("--largest-step", help="largest step size; the problem's own")] = None,
    time: Annotated[float | None, typer.Option("--time", help="T, a whole number of steps; the problem's own")] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", help="of a step; the problem's own")] = None,
    refinement: Annotated[int | None, typer.Option("--refinement", help="reference steps in a step; 32")] = None,
    plot: Annotated[Path | None, typer.Option("--plot", help="write the order plot: .png, .pdf or .svg", metavar="FILE")] = None,
    json: Json = None,
    store: Store = None,
    seed: Seed = None,
    jobs: Jobs = 0,
) -> None:
    """Measure how fast M-SGD approaches its SDE as the step size falls, and fit the order.

    Strong errors are mean squares on one Brownian path, of Gaussian M-SGD; weak ones are differences of the expected loss, of
    SGD. Problems of your own go through gradnoise.simulations.sde in Python.
    """
    from gradnoise.cli import study as command

    settings = command.Settings(
        kind=kind, problem=problem, paths=paths, drift=drift, n_steps=n_steps, largest_step=largest_step, time=time,
        batch_size=batch_size, refinement=refinement,
    )  # fmt: skip
    command.run(settings, seed=seed, jobs=worker_count(jobs), plot=plot, json=json, store=store)


@app.command(cls=Paragraphs)
def train(
    experiment: Annotated[
        str,
        typer.Option(
            "--experiment",
            help="digits needs no files; fashion is Section 5.3 of zhu2019; fashion-f1, cifar10-c1 ...: a wrong name lists all",
            metavar="NAME",
        ),
    ] = "digits",
    dynamics: Annotated[
        str, typer.Option("--dynamics", help="gd, sgd, msgd-cov, gld_hessian ...; a wrong name lists them all", metavar="NAME")
    ] = "sgd",
    steps: Annotated[int, typer.Option("--steps", help="in all, those before a resume included")] = 1_000,
    every: Annotated[int, typer.Option("--every", help="steps between two records")] = 100,
    learning_rate: Annotated[float | None, typer.Option("--learning-rate", help="the experiment's own")] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", help="whose noise is matched; the experiment's own")] = None,
    large_batch_size: Annotated[
        int | None, typer.Option("--large-batch-size", help="of the dynamics with large batches; four times the batch size")
    ] = None,
    alpha: Annotated[
        float | None,
        typer.Option("--alpha", help="of enhanced: its noise is as strong as that says, with batches of --large-batch-size"),
    ] = None,
    svag_l: Annotated[
        int | None, typer.Option("--svag-l", help="of svag: steps of it that stand for one of SGD, each a step of --steps; 2")
    ] = None,
    optimizer: Annotated[str, typer.Option("--optimizer", help="makes steps of the gradients", metavar="sgd|adam")] = "sgd",
    momentum: Annotated[float, typer.Option("--momentum", help="of the optimizer sgd")] = 0.0,
    weight_decay: Annotated[float, typer.Option("--weight-decay", help="times the parameters, added to the gradient")] = 0.0,
    milestones: Annotated[
        str, typer.Option("--milestones", help="after these steps the rate is multiplied by --decay", metavar="N,N,...")
    ] = "",
    decay: Annotated[float, typer.Option("--decay", help="above 0, at most 1")] = 0.1,
    halve_at: Annotated[
        float | None, typer.Option("--halve-at", help="halve the rate once an epoch's training loss has fallen to that")
    ] = None,
    stop_at: Annotated[
        float | None, typer.Option("--stop-at", help="end once an epoch's training loss is below that; --steps are the most")
    ] = None,
    augment: Annotated[bool, typer.Option("--augment", help="flip and crop images at random, in training alone")] = False,
    start: Annotated[
        Path | None, typer.Option("--start", help="begin where the run in that folder, of the same seed, ended", metavar="DIR")
    ] = None,
    device: Device = "auto",
    chunk_size: ChunkSize = None,
    data_dir: DataDir = None,
    seed: Seed = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="keep records and checkpoints there, and continue them", metavar="DIR"),
    ] = None,
) -> None:
    """Train a network of the papers with any noise. Needs PyTorch.

    Data, initialisation and noise are seeded apart: all dynamics of a seed begin alike.
    """
    from gradnoise.cli import train as command

    settings = command.Settings(
        experiment=experiment, dynamics=dynamics, steps=steps, every=every, learning_rate=learning_rate,
        batch_size=batch_size, large_batch_size=large_batch_size, alpha=alpha, svag_l=svag_l, optimizer=optimizer,
        momentum=momentum, weight_decay=weight_decay, milestones=milestones, decay=decay, halve_at=halve_at, stop_at=stop_at,
        augment=augment, start=start, device=device, chunk_size=chunk_size,
    )  # fmt: skip
    command.train(settings, seed=seed, data=data_dir, out=out)


@app.command(cls=Paragraphs)
def compare(
    figure: Annotated[str, typer.Argument(help="zhu2019-fig3, zhu2019-fig5, zhu2019-fig8 or wu2020-fig1", metavar="FIGURE")],
    budget: Annotated[
        str, typer.Option("--budget", help="quick: on digits; full: on Fashion-MNIST, as in the paper", metavar="quick|full")
    ] = "quick",
    seeds: Annotated[int, typer.Option("--seeds", help="repetitions, each with data and initialisation of its own")] = 4,
    device: Device = "auto",
    data_dir: DataDir = None,
    seed: Seed = None,
    jobs: Jobs = 0,
    store: Store = None,
    json: Json = None,
) -> None:
    """Train networks by all the dynamics of a figure from the same start. Needs PyTorch.

    Quick takes minutes; full half an hour for each repetition on a processor core.
    """
    from gradnoise.cli import compare as command

    command.run(
        figure=figure, budget=budget, seeds=seeds, seed=seed, jobs=worker_count(jobs), device=device, data=data_dir,
        store=store, json=json,
    )  # fmt: skip


@app.command(cls=Paragraphs)
def sweep(
    plan: Annotated[
        Path, typer.Argument(help="TOML: settings of all trainings, and tables of runs; or a paper's plan", metavar="PLAN")
    ],
    store: Store = None,
    minutes: Annotated[
        float | None, typer.Option("--minutes", help="stop the runs behind a record then; the next call goes on")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="train nothing; show what is finished, and what is left")] = False,
    device: Device = "auto",
    data_dir: DataDir = None,
    jobs: Jobs = 0,
    json: Json = None,
) -> None:
    r"""Work off a plan of many trainings, and keep one table of all they recorded. Needs PyTorch.

    Settings are the options of gradnoise train, with _ for -; a list stands for a run with each of its values. What is finished
    is kept in PLAN-runs, or in the store, so that a plan can be cut off, continued and extended. Plans of the papers' experiments
    come with gradnoise, by name: zhu2019-fig3, wu2020-fig1, wu2020-fig2, ne2021-tables for a processor, wu2019-fig1c, wu2019-fig2
    for a GPU, in slices of --minutes. A plan of your own reads, for instance:

    seeds = 3

    settings.experiment = "digits"

    settings.n_steps = 500

    runs = \[{dynamics = \["gd", "sgd"]}]
    """
    from gradnoise.cli import sweep as command

    code = command.run(
        plan=plan, store=store, jobs=worker_count(jobs), device=device, data=data_dir, minutes=minutes, dry_run=dry_run,
        json=json,
    )  # fmt: skip
    raise typer.Exit(code)


@app.command(cls=Paragraphs)
def diagnose(
    folder: Annotated[Path, typer.Argument(help="that gradnoise train wrote", metavar="DIR")],
    batch_size: Annotated[int | None, typer.Option("--batch-size", help="of the noise; the run's own")] = None,
    probes: Annotated[int, typer.Option("--probes", help="random probes for each trace")] = 100,
    device: Device = "auto",
    chunk_size: ChunkSize = None,
    data_dir: DataDir = None,
    seed: Seed = None,
    json: Json = None,
) -> None:
    """Measure noise and curvature of a trained network: Tr(HΣ), spectra, sharpness, tails. Needs PyTorch.

    Networks of your own go through gradnoise.simulations.neural.diagnosis in Python.
    """
    from gradnoise.cli import train as command

    command.diagnose(
        folder, batch_size=batch_size, probes=probes, seed=seed, device=device, chunk_size=chunk_size, data=data_dir,
        json=json,
    )  # fmt: skip


@app.command(cls=Paragraphs)
def data(
    name: Annotated[str | None, typer.Argument(help="one data set; all by default", metavar="[NAME]")] = None,
    fetch: Annotated[bool, typer.Option("--fetch", help="download its official files first")] = False,
    data_dir: DataDir = None,
) -> None:
    """List the data sets that can be trained on, and fetch their files. Needs PyTorch."""
    from gradnoise.cli import data as command

    command.run(name=name, folder=data_dir, download=fetch)
