"""All claims, and how they are verified."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from joblib import parallel_config

from gradnoise.claims.assessment import BUDGETS, COMPARISONS, CORRECTED, FALSE_ALARM_RATE, LEVEL, Budget, Measured, entry_of
from gradnoise.claims.claim import CLAIMS, Claim
from gradnoise.claims.entry import Entry, Failure
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

PAPERS = ("zhu2019", "wu2019", "wu2020", "ne2021")
_MODULES = (
    "zhu2019.noise",
    "zhu2019.double_well",
    "zhu2019.ito",
    "zhu2019.escape",
    "zhu2019.alignment",
    "zhu2019.proposition1",
    "zhu2019.fisher",
    "zhu2019.proposition2",
    "zhu2019.proposition3",
    "zhu2019.toy",
    "zhu2019.figure2",
    "zhu2019.experiments",
    "wu2019.sampling",
    "wu2019.complexity",
    "wu2019.sgd_complexity",
    "wu2019.weak",
    "wu2019.strong",
    "wu2019.strong_bound",
    "wu2019.algorithm",
    "wu2019.gaussian_noise",
    "wu2019.independent",
    "wu2020.noise_class",
    "wu2020.risk_bound",
    "wu2020.least_squares",
    "wu2020.cost",
    "wu2020.sampling",
    "wu2020.minibatch",
    "ne2021.enhancement",
    "ne2021.tables",
    "ne2021.costs",
    "ne2021.adam",
    "ne2021.wells",
    "ne2021.diffusion",
)
#: Claims beside those of the core: "neural" trains networks, for which it needs PyTorch; "kept" judges trainings that come with
#: gradnoise.
_EXTRA_MODULES = {
    "neural": ("zhu2019.networks", "wu2019.networks", "wu2020.networks"),
    "kept": ("wu2020.kept",),
}
EXTRAS = tuple(_EXTRA_MODULES)
_NEEDS = {"neural": "gradnoise.simulations.neural"}

DEFAULT_SEED = 20190613
_LONGEST_ID = 100  # letters of a wrong one that are compared with those that there are


def all_claims(extra: str | None = None) -> dict[str, Claim]:
    """All claims by id, in the order of the papers: those of the core, or those of an extra.

    Parameters
    ----------
    extra : {"neural", "kept"}, optional
        Claims of this extra, in place of those of the core.

    Returns
    -------
    dict of Claim

    Raises
    ------
    ValueError
        If the extra is not known, or not installed.

    Examples
    --------
    >>> found = all_claims()["zhu2019.trace-norm"]
    >>> found.paper, found.statement, found.expected
    ('zhu2019', 'E‖ε‖² = Tr Σ', 'holds')
    """
    names = [f"gradnoise.claims.{module}" for module in (_MODULES if extra is None else _of_extra(extra))]
    for name in names:
        importlib.import_module(name)
    return {id: c for name in names for id, c in CLAIMS.items() if type(c).__module__ == name}


def _of_extra(extra: str) -> tuple[str, ...]:
    as_choice(extra, "extra", EXTRAS)
    try:
        if extra in _NEEDS:
            importlib.import_module(_NEEDS[extra])
    except ModuleNotFoundError as error:
        raise ValueError(str(error)) from None
    return _EXTRA_MODULES[extra]


def claim_ids(extra: str | None = None) -> list[str]:
    """Ids of all claims, each corrected statement after the published one.

    Parameters
    ----------
    extra : {"neural", "kept"}, optional
        Claims of this extra, in place of those of the core.

    Returns
    -------
    list of str

    Examples
    --------
    >>> [id for id in claim_ids() if id.startswith("zhu2019.toy-minima")]
    ['zhu2019.toy-minima', 'zhu2019.toy-minima.corrected']
    """
    claims = all_claims(extra).items()
    return [id for key, c in claims for id in ([key, key + CORRECTED] if c.corrected_statement else [key])]


def ledger(extra: str | None = None) -> list[dict[str, str | None]]:
    """Rows of the ledger: id, paper, kind, statement, source and expected verdict of every claim.

    Parameters
    ----------
    extra : {"neural", "kept"}, optional
        Claims of this extra, in place of those of the core.

    Returns
    -------
    list of dict

    Examples
    --------
    >>> (row,) = [row for row in ledger() if row["id"] == "zhu2019.trace-norm"]
    >>> row["kind"], row["statement"], row["expected"]
    ('exact', 'E‖ε‖² = Tr Σ', 'holds')
    """
    rows = []
    for id in claim_ids(extra):
        subject, corrected = CLAIMS[id.removesuffix(CORRECTED)], id.endswith(CORRECTED)
        rows.append(
            {
                "id": id,
                "paper": subject.paper,
                "kind": subject.kind,
                "statement": subject.corrected_statement if corrected else subject.statement,
                "source": subject.source,
                "expected": "holds" if corrected else subject.expected,
            }
        )
    return rows


def verify(
    ids: str | Iterable[str] | None = None,
    *,
    budget: str = "quick",
    rng: RNG = DEFAULT_SEED,
    n_jobs: int | None = None,
    sabotage: bool = False,
    extra: str | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    on_entry: Callable[[Entry], None] | None = None,
) -> Report:
    """Measure claims and judge their predictions.

    Parameters
    ----------
    ids : str or iterable of str, optional
        Claims, corrected statements (``zhu2019.d1.corrected``) or whole papers (``zhu2019``); all by default.
    budget : {"quick", "full"}
        "full" has a third of the margins of "quick" and ten times the instances.
    rng : None, int, SeedSequence or Generator
        The same seed gives the same report, claim by claim, whichever of them are run.
    n_jobs : int, optional
        Workers, of joblib's active backend. None takes its active configuration, ``joblib.parallel_config("loky" | "dask" |
        ..., n_jobs=...)``, and one worker where there is none. The numbers do not depend on it.
    sabotage : bool
        Also judge the sabotaged twins, which must all be refuted.
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
        A claim that raises does not end the run: its verdict is "error", and `Entry.error` says what was raised.

    Raises
    ------
    ValueError
        If an id, a budget or an extra is not known, or the extra is not installed.

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
                found = Failure.of(error)
            seconds = time.perf_counter() - started
            for id in group:
                entries.append(entry_of(subject, id, found, seconds))
                if on_entry is not None:
                    on_entry(entries[-1])
    comparisons = sum(e.comparisons for e in entries)
    if comparisons > COMPARISONS:
        raise RuntimeError(f"{comparisons} comparisons share an error budget made for {COMPARISONS}: raise COMPARISONS")
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


def select(ids: str | Iterable[str] | None = None, extra: str | None = None) -> list[str]:
    """Ids of the claims that `verify` judges.

    Parameters
    ----------
    ids : str or iterable of str, optional
        See `verify`.
    extra : {"neural"}, optional
        See `verify`.

    Returns
    -------
    list of str
        Each once, in the order of the ledger.

    Raises
    ------
    TypeError, ValueError
        If an id or an extra is not known, or the extra is not installed.

    Examples
    --------
    >>> select(["zhu2019.d1", "zhu2019.trace-norm", "zhu2019.d1"])
    ['zhu2019.trace-norm', 'zhu2019.d1']
    """
    known = claim_ids(extra)
    if ids is None:
        return known
    if not isinstance(ids, Iterable) or isinstance(ids, Mapping) or getattr(ids, "ndim", 1) == 0:
        raise TypeError(f"ids must be a string or an iterable of strings, got {shown(ids)}")
    wanted = [ids] if isinstance(ids, str) else [as_text(id, "each of ids") for id in ids]
    chosen: list[str] = []
    for id in wanted:
        if id in PAPERS:
            chosen += [k for k in known if k.startswith(id + ".")]
        elif id in known:
            chosen.append(id)
        else:
            close = difflib.get_close_matches(id[:_LONGEST_ID], [*known, *PAPERS], n=3)
            hint = f"; did you mean {' or '.join(close)}?" if close else ""
            raise ValueError(f"ids must name claims or papers, got {shown(id)}{hint} (gradnoise claims lists them)")
    return sorted(dict.fromkeys(chosen), key=known.index)
