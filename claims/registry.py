"""All claims, and how they are verified."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable
from typing import Any

from joblib import parallel_config

from gradnoise.claims.assessment import BUDGETS, FALSE_ALARM_RATE, LEVEL, Budget, Measured, entry_of, failure_of
from gradnoise.claims.catalogue import EXTRAS, PAPERS, Wanted, all_claims, claim_ids, ledger, select
from gradnoise.claims.claim import CLAIMS, CORRECTED
from gradnoise.claims.entry import Entry
from gradnoise.claims.power import has_twins
from gradnoise.claims.report import Report
from gradnoise.simulations.ensemble import as_workers, versions
from gradnoise.simulations.seeds import RNG, Stream
from gradnoise.theory._validation import as_choice, as_count, as_flag, as_function, as_instance, as_text, shown

__all__ = [
    "BUDGETS",
    "DEFAULT_SEED",
    "EXTRAS",
    "FALSE_ALARM_RATE",
    "LEVEL",
    "PAPERS",
    "Budget",
    "all_claims",
    "claim_ids",
    "ledger",
    "report_of",
    "select",
    "verify",
]

DEFAULT_SEED = 20190613


def verify(
    ids: Wanted = None,
    *,
    budget: str = "quick",
    rng: RNG = DEFAULT_SEED,
    n_jobs: int | None = None,
    sabotage: bool = False,
    strict: bool = False,
    extra: str | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    on_entry: Callable[[Entry], None] | None = None,
) -> Report:
    """Measure claims and judge their predictions.

    Parameters
    ----------
    ids : str, Claim or iterable of these, optional
        Claims, whole papers, files or modules of claims of your own, or their classes: see `select`; all claims of the papers by
        default.
    budget : {"quick", "full"}
        "full" has a third of the margins of "quick" and ten times the instances.
    rng : None, int, SeedSequence or Generator
        The same seed gives the same report, claim by claim, whichever of them are run.
    n_jobs : int, optional
        Workers, of joblib's active backend. None takes its active configuration, ``joblib.parallel_config("loky" | "dask" |
        ..., n_jobs=...)``, and one worker where there is none. The numbers do not depend on it.
    sabotage : bool
        Also judge the sabotaged twins, which must all be refuted.
    strict : bool
        Refuse claims without any twin: such a check was never seen to fail.
    extra : {"neural", "kept"}, optional
        Verify the claims of this extra, in place of those of the core: "neural" trains networks, "kept" judges trainings that
        come with gradnoise.
    progress : callable, optional
        Called as ``progress(id, claims done, claims in all)`` before each measurement.
    on_entry : callable, optional
        Called with each `Entry` as soon as it is judged, so that nothing is lost if the run is interrupted.

    Returns
    -------
    Report
        A claim that raises does not end the run: its verdict is "error", and `Entry.error` says what was raised, and where.

    Raises
    ------
    ValueError
        If an id, a budget or an extra is not known, the extra is not installed, a file of claims cannot be imported, or with
        `strict` a claim has no twin.

    Examples
    --------
    >>> report = verify("zhu2019.trace-norm", sabotage=True)
    >>> (entry,) = report.entries
    >>> entry.statement, entry.verdict
    ('E‖ε‖² = Tr Σ', 'holds')
    >>> [(twin.name, twin.verdict) for twin in entry.sabotaged]
    [('largest eigenvalue', 'refuted'), ('Frobenius norm', 'refuted')]
    >>> report.as_expected
    True
    """
    for name, function in {"progress": progress, "on_entry": on_entry}.items():
        if function is not None:
            as_function(function, name)
    chosen, sabotage = select(ids, extra), as_flag(sabotage, "sabotage")
    if as_flag(strict, "strict") and (without := [id for id in chosen if not has_twins(CLAIMS[id.removesuffix(CORRECTED)])]):
        raise ValueError(f"ids must be of claims with sabotaged twins where strict is set, got {', '.join(without)}")
    plan = BUDGETS[as_choice(budget, "budget", tuple(BUDGETS))]
    stream = Stream.of(rng)
    entries: list[Entry] = []
    groups: dict[str, list[str]] = {}
    for id in chosen:
        groups.setdefault(id.removesuffix(CORRECTED), []).append(id)
    with _workers(n_jobs):
        for done, (key, group) in enumerate(groups.items()):
            if progress is not None:
                progress(key, done, len(groups))
            started = time.perf_counter()
            subject = CLAIMS[key]
            try:
                found = Measured.by(subject, plan, stream, sabotage)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # a SystemExit of a claim's, too, is about this claim alone
                found = failure_of(error, subject)
            seconds = time.perf_counter() - started
            for id in group:
                entries.append(entry_of(subject, id, found, seconds))
                if on_entry is not None:
                    on_entry(entries[-1])
    return report_of(entries, stream.entropy, plan.name, sabotage)


def report_of(
    entries: Iterable[Entry], seed: int | tuple[int, ...], budget: str, sabotage: bool, left_out: Iterable[str] = ()
) -> Report:
    """Make a report of entries, for instance of those that were judged before an interruption.

    Parameters
    ----------
    entries : iterable of Entry
        In the order of the report.
    seed : int or tuple of int
        Entropy of the run.
    budget : {"quick", "full"}
        That of the run.
    sabotage : bool
        Whether twins were judged.
    left_out : iterable of str
        Ids of claims that were not judged, as the run was cut off.

    Returns
    -------
    Report

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it should be.

    Examples
    --------
    >>> report_of([], seed=1, budget="quick", sabotage=False, left_out=["zhu2019.eq13"])
    Report(no claims, 1 left out; seed 1, budget='quick', sabotage=False)
    """
    if not isinstance(entries, Iterable) or not isinstance(left_out, Iterable) or isinstance(left_out, str):
        raise TypeError(f"entries and left_out must be iterables, got {shown(entries)} and {shown(left_out)}")
    return Report(
        tuple(as_instance(entry, "each of entries", Entry) for entry in entries),
        tuple(map(_as_entropy, seed)) if isinstance(seed, tuple) else _as_entropy(seed),
        as_choice(budget, "budget", tuple(BUDGETS)),
        LEVEL,
        as_flag(sabotage, "sabotage"),
        versions(),
        tuple(as_text(id, "each of left_out") for id in left_out),
    )


def _as_entropy(seed: object) -> int:
    """Return `seed` as an integer >= 0 of any size, as entropy of the operating system has 128 bits."""
    return as_count(seed, "seed", at_least=0, at_most=2**10_000)


def _workers(n_jobs: int | None) -> contextlib.AbstractContextManager[Any]:
    """Joblib's active configuration with this number of workers, or as it is for None, which joblib would take for one."""
    if n_jobs is None:
        return contextlib.nullcontext()
    return parallel_config(n_jobs=as_workers(n_jobs))
