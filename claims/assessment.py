"""How one claim is measured and judged, and what becomes of one that raises."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from gradnoise.claims.claim import CORRECTED, Claim, Predictions, Quantities, Run, place
from gradnoise.claims.entry import ERROR, Component, Entry, Failure, Twin
from gradnoise.claims.judgement import Computed, Judgement, as_quantity, combine, judge
from gradnoise.claims.power import checked_twins
from gradnoise.simulations.ensemble import without_bars
from gradnoise.simulations.seeds import Stream
from gradnoise.simulations.statistics import find_sample_size
from gradnoise.theory._validation import as_instance, as_text, shown

__all__ = ["BUDGETS", "COMPARISONS", "FALSE_ALARM_RATE", "LEVEL", "Budget"]

#: A wrong verdict, over all claims of the core, their components and twins, has a probability of at most this ...
FALSE_ALARM_RATE = 1e-6
#: ... shared by this many comparisons of sampled quantities. A fixed number, so that an interval does not depend on which
#: other claims are run. Where claims of users make more, `gradnoise.claims.report.Report.false_alarm_rate` says so.
COMPARISONS = 1_000
LEVEL = 1 - FALSE_ALARM_RATE / COMPARISONS
# Claims of an extra may state a lower level of their own: where a sample is a trained network, there are some dozens of them.


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


def measure(subject: Claim, plan: Budget, stream: Stream, margins: Mapping[str, float]) -> Quantities:
    """Measure a claim: a pilot plans the number of samples, and the measurement proper uses none of the pilot's."""
    # A place of its own in the tree of seeds, by its id, so that a verdict does not depend on what else is run.
    pilot_seed, seed = (stream.child(place(subject.id), stage).sequence() for stage in (0, 1))
    quantities = _measured(subject, Run(subject.pilot_paths, plan.n_instances, pilot_seed))
    sampled = {label: q for label, q in quantities.items() if not isinstance(q, Computed) and label in margins}
    if not sampled:
        return quantities
    planned = [(find_sample_size(q, margins[label], _level_of(subject)), q.n) for label, q in sampled.items()]
    if None in (needed for needed, _ in planned):
        return quantities  # whose verdict tells why no number of samples decides
    growth = max(needed / n for needed, n in planned if needed is not None)
    n_paths = int(np.ceil(subject.pilot_paths * growth))
    return _measured(subject, Run(n_paths, plan.n_instances, seed))


def _measured(subject: Claim, run: Run) -> Quantities:
    found = as_instance(subject.measure(run), "what measure returns", Mapping)
    return {as_text(label, "each label of what measure returns"): as_quantity(q) for label, q in found.items()}


@dataclass(frozen=True)
class Measured:
    """What a claim and its correction are judged by."""

    quantities: Quantities
    margins: Mapping[str, float]
    twins: list[tuple[str, Predictions]] | None  # None where they were not asked for

    @classmethod
    def by(cls, subject: Claim, plan: Budget, stream: Stream, sabotage: bool) -> Measured:
        """Measure a claim."""
        twins = checked_twins(subject) if sabotage else None
        margins = {label: m * plan.margin_factor for label, m in subject.margins().items()}
        with without_bars():
            return cls(measure(subject, plan, stream, margins), margins, twins)


def entry_of(subject: Claim, id: str, found: Measured | Failure, seconds: float) -> Entry:
    """Judge a claim, or its correction; where something raises, the entry says what."""
    corrected = id.endswith(CORRECTED)
    level = _level_of(subject)
    judged, components, twins = None, (), ()
    never_failed = type(subject).sabotaged is Claim.sabotaged
    if isinstance(found, Measured):
        never_failed |= found.twins == []
        try:
            predictions = subject.corrected() if corrected else subject.published()
            judged = _judge(found, predictions, level)
            components = tuple(
                Component.of(label, q, predictions.get(label), found.margins.get(label), level)
                for label, q in found.quantities.items()
            )
            twins = tuple(_twin(found, subject, name, p, level) for name, p in found.twins or ())
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            judged, components, found = None, (), failure_of(error, subject)
    return Entry(
        id=id,
        paper=subject.paper,
        kind=subject.kind,
        statement=str(subject.corrected_statement) if corrected else subject.statement,
        source=subject.source,
        verdict=ERROR if judged is None else judged.verdict,
        expected="holds" if corrected else subject.expected,
        components=components,
        seconds=seconds,
        n_to_decide=None if judged is None else judged.n_to_decide,
        reason=None if judged is None else judged.reason,
        sabotaged=twins,
        error=found if isinstance(found, Failure) else None,
        insensitive_because=subject.insensitive_because,
        never_failed=never_failed,
    )


def failure_of(error: BaseException, subject: Claim) -> Failure:
    """Describe what a claim raised, and where in its file."""
    return Failure.of(error, getattr(sys.modules.get(type(subject).__module__), "__file__", None))


def _twin(found: Measured, subject: Claim, name: str, predictions: Predictions, level: float) -> Twin:
    try:
        return Twin(name, dict(predictions), _judge(found, predictions, level).verdict)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return Twin(name, {}, ERROR, failure_of(error, subject))


def _level_of(subject: Claim) -> float:
    """Level of the intervals of a claim."""
    return LEVEL if subject.confidence is None else subject.confidence


def _judge(found: Measured, predictions: Predictions, level: float) -> Judgement:
    if unknown := [label for label in predictions if label not in found.quantities]:
        raise ValueError(f"predictions must be of what was measured, {', '.join(found.quantities)}, got {shown(unknown[0])}")
    return combine(
        {label: judge(found.quantities[label], p, found.margins.get(label, 0.0), level) for label, p in predictions.items()}
    )
