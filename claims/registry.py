"""All claims, and how they are verified."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from joblib import parallel_config

from gradnoise.claims.claim import CLAIMS, Claim, Predictions, Quantities, Run, place
from gradnoise.claims.judgement import Computed, Judgement, combine, judge
from gradnoise.claims.report import Component, Entry, Report, Twin
from gradnoise.simulations.ensemble import versions, without_bars
from gradnoise.simulations.seeds import RNG, Stream
from gradnoise.simulations.statistics import find_sample_size
from gradnoise.theory._validation import as_choice, as_flag

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
    "verify",
]

PAPERS = ("zhu2019", "wu2019", "wu2020", "ne2021")
_MODULES = (
    "zhu2019.escape",
    "zhu2019.double_well",
    "zhu2019.alignment",
    "zhu2019.curvature",
    "zhu2019.toy",
    "zhu2019.experiments",
    "wu2019.sampling",
    "wu2019.complexity",
    "wu2019.algorithm",
    "wu2019.weak",
    "wu2019.strong",
    "wu2019.strong_bound",
    "wu2020.sampling",
    "wu2020.cost",
    "wu2020.least_squares",
    "ne2021.enhancement",
    "ne2021.diffusion",
)
#: Claims that need more than the core, by the extra that installs it.
_EXTRA_MODULES = {"neural": ("zhu2019.networks", "wu2019.networks", "wu2020.networks")}
EXTRAS = tuple(_EXTRA_MODULES)

#: A wrong verdict, over all claims of the core, their components and twins, has a probability of at most this ...
FALSE_ALARM_RATE = 1e-6
#: ... shared by this many comparisons of sampled quantities. A fixed number, so that an interval does not depend on which
#: other claims are run; `verify` refuses to make more.
COMPARISONS = 1_000
LEVEL = 1 - FALSE_ALARM_RATE / COMPARISONS
# Claims of an extra may state a lower level of their own: where a sample is a trained network, there are some dozens of them.

DEFAULT_SEED = 20190613
CORRECTED = ".corrected"


@dataclass(frozen=True)
class Budget:
    """How much a verification may cost.

    Attributes
    ----------
    name : str
    margin_factor : float
        Margins of sampled quantities are multiplied by it.
    n_instances : int
        Random instances for an inequality.

    Examples
    --------
    >>> BUDGETS["quick"]
    Budget(name='quick', margin_factor=1.0, n_instances=200)
    >>> round(0.03 * BUDGETS["full"].margin_factor, 12)  # what it makes of a margin of 0.03
    0.01
    """

    name: str
    margin_factor: float
    n_instances: int


BUDGETS = {"quick": Budget("quick", 1.0, 200), "full": Budget("full", 1 / 3, 2_000)}


def all_claims(extra: str | None = None) -> dict[str, Claim]:
    """All claims by id, in the order of the papers: those of the core, or those that need an extra.

    Parameters
    ----------
    extra : {"neural"}, optional
        Claims that need this extra, in place of those of the core.

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
        importlib.import_module(f"gradnoise.simulations.{extra}")
    except ModuleNotFoundError as error:
        raise ValueError(str(error)) from None
    return _EXTRA_MODULES[extra]


def claim_ids(extra: str | None = None) -> list[str]:
    """Ids of all claims, each corrected statement after the published one.

    Parameters
    ----------
    extra : {"neural"}, optional
        Claims that need this extra, in place of those of the core.

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
    extra : {"neural"}, optional
        Claims that need this extra, in place of those of the core.

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
    extra : {"neural"}, optional
        Verify the claims that need this extra, in place of those of the core.
    progress : callable, optional
        Called as ``progress(id, claims done, claims in all)`` before each measurement.
    on_entry : callable, optional
        Called with each `Entry` as soon as it is judged, so that nothing is lost if a later one fails or is interrupted.

    Returns
    -------
    Report

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
    chosen, sabotage = _select(ids, extra), as_flag(sabotage, "sabotage")
    plan = BUDGETS[as_choice(budget, "budget", tuple(BUDGETS))]
    stream = Stream.of(rng)
    entries: list[Entry] = []
    groups: dict[str, list[str]] = {}
    for id in chosen:
        groups.setdefault(id.removesuffix(CORRECTED), []).append(id)
    comparisons = 0
    with _workers(n_jobs):
        for done, (key, group) in enumerate(groups.items()):
            if progress is not None:
                progress(key, done, len(groups))
            started = time.perf_counter()
            subject = CLAIMS[key]
            twins = list(subject.sabotaged()) if sabotage else []
            margins = {label: m * plan.margin_factor for label, m in subject.margins().items()}
            with without_bars():
                quantities = measure(subject, plan, stream, margins)
            seconds = time.perf_counter() - started
            for id in group:
                predictions = subject.corrected() if id.endswith(CORRECTED) else subject.published()
                entries.append(_entry(subject, id, quantities, predictions, twins, margins, seconds))
                if on_entry is not None:
                    on_entry(entries[-1])
                comparisons += sum(_sampled(quantities, p) for p in (predictions, *(t for _, t in twins)))
    if comparisons > COMPARISONS:
        raise RuntimeError(f"{comparisons} comparisons share an error budget made for {COMPARISONS}: raise COMPARISONS")
    return report_of(entries, stream.entropy, plan.name, sabotage)


def report_of(entries: Iterable[Entry], seed: int | tuple[int, ...], budget: str, sabotage: bool) -> Report:
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

    Returns
    -------
    Report

    Examples
    --------
    >>> report_of([], seed=1, budget="quick", sabotage=False)
    Report(no claims; seed 1, budget='quick', sabotage=False)
    """
    return Report(tuple(entries), seed, budget, LEVEL, sabotage, versions())


def _workers(n_jobs: int | None) -> contextlib.AbstractContextManager[Any]:
    """Joblib's active configuration with this number of workers, or as it is for None, which joblib would take for one."""
    if n_jobs is None:
        return contextlib.nullcontext()
    return parallel_config(n_jobs=n_jobs)


def measure(subject: Claim, plan: Budget, stream: Stream, margins: Mapping[str, float]) -> Quantities:
    """Measure a claim: a pilot plans the number of samples, and the measurement proper uses none of the pilot's."""
    # A place of its own in the tree of seeds, by its id, so that a verdict does not depend on what else is run.
    pilot_seed, seed = (stream.child(place(subject.id), stage).sequence() for stage in (0, 1))
    quantities = subject.measure(Run(subject.pilot_paths, plan.n_instances, pilot_seed))
    sampled = {label: q for label, q in quantities.items() if not isinstance(q, Computed) and label in margins}
    if not sampled:
        return quantities
    planned = [(find_sample_size(q, margins[label], level_of(subject)), q.n) for label, q in sampled.items()]
    if None in (needed for needed, _ in planned):
        return quantities  # whose verdict tells why no number of samples decides
    growth = max(needed / n for needed, n in planned if needed is not None)
    n_paths = int(np.ceil(subject.pilot_paths * growth))
    return subject.measure(Run(n_paths, plan.n_instances, seed))


def _entry(
    subject: Claim,
    id: str,
    quantities: Quantities,
    predictions: Predictions,
    twins: list[tuple[str, Predictions]],
    margins: Mapping[str, float],
    seconds: float,
) -> Entry:
    corrected = id.endswith(CORRECTED)
    level = level_of(subject)
    verdict = _judge(quantities, predictions, margins, level)
    return Entry(
        id=id,
        paper=subject.paper,
        kind=subject.kind,
        statement=str(subject.corrected_statement) if corrected else subject.statement,
        source=subject.source,
        verdict=verdict.verdict,
        expected="holds" if corrected else subject.expected,
        components=tuple(
            Component.of(label, q, predictions.get(label), margins.get(label), level) for label, q in quantities.items()
        ),
        seconds=seconds,
        n_to_decide=verdict.n_to_decide,
        sabotaged=tuple(Twin(name, dict(p), _judge(quantities, p, margins, level).verdict) for name, p in twins),
    )


def level_of(subject: Claim) -> float:
    """Level of the intervals of a claim."""
    return LEVEL if subject.confidence is None else subject.confidence


def _judge(quantities: Quantities, predictions: Predictions, margins: Mapping[str, float], level: float) -> Judgement:
    return combine({label: judge(quantities[label], p, margins.get(label, 0.0), level) for label, p in predictions.items()})


def _sampled(quantities: Quantities, predictions: Predictions) -> int:
    return sum(not isinstance(quantities[label], Computed) for label in predictions)


def _select(ids: str | Iterable[str] | None, extra: str | None) -> list[str]:
    known = claim_ids(extra)
    if ids is None:
        return known
    if not isinstance(ids, Iterable):
        raise TypeError(f"ids must be a string or an iterable of strings, got {ids!r}")
    wanted = [ids] if isinstance(ids, str) else list(ids)
    chosen: list[str] = []
    for id in wanted:
        if id in PAPERS:
            chosen += [k for k in known if k.startswith(id + ".")]
        elif id in known:
            chosen.append(id)
        else:
            close = difflib.get_close_matches(str(id), [*known, *PAPERS], n=3)
            hint = f"; did you mean {' or '.join(close)}?" if close else ""
            raise ValueError(f"ids must name claims or papers, got {id!r}{hint} (gradnoise claims lists them)")
    return sorted(dict.fromkeys(chosen), key=known.index)
