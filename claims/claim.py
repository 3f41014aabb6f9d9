"""What a claim is: one measurement, and the predictions that it judges."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from gradnoise.claims.judgement import Absolute, Computed, Margin, Prediction, Quantity, Relative

__all__ = ["Claim", "Comparison", "Exact", "Inequality", "Predictions", "Quantities", "Run", "claim", "computed", "entries"]

Quantities = Mapping[str, Quantity]
Predictions = Mapping[str, Prediction]
SomeClaim = TypeVar("SomeClaim", bound="Claim")

#: All claims in the order of the papers, by id; filled by the decorator.
CLAIMS: dict[str, Claim] = {}

_ROUNDING = 1e-12  # of sums of up to some thousand terms, relative to the largest entry


@dataclass(frozen=True)
class Run:
    """What a measurement is given.

    Attributes
    ----------
    n_paths : int
        Samples to draw.
    n_instances : int
        Random instances on which an inequality is tried.
    rng : SeedSequence
        Seed of this measurement.
    n_jobs : int or None
        For `gradnoise.simulations.ensemble.run`.
    """

    n_paths: int
    n_instances: int
    rng: np.random.SeedSequence
    n_jobs: int | None = None

    def seed(self, part: int) -> np.random.SeedSequence:
        """Seed of one part of the measurement."""
        return np.random.SeedSequence(self.rng.entropy, spawn_key=(*self.rng.spawn_key, part))

    def generator(self) -> np.random.Generator:
        """Generator for random instances."""
        return np.random.default_rng(self.seed(1_000))


class Claim(ABC):
    """A statement of a paper.

    A subclass measures once and predicts several times: what was published, what is correct where the paper errs (judged
    under the id with ``.corrected`` added), and sabotaged twins, plausible wrong formulas that must all be refuted. A
    prediction may speak of some of the measured quantities only.
    """

    kind: str
    #: Margin of sampled quantities, for all or by label. It is turned into numbers by the published prediction alone.
    margin: Margin | Mapping[str, Margin] = Relative(0.01)
    #: Samples of the pilot, which plans how many the measurement needs.
    pilot_paths = 20_000
    #: Level of the intervals of sampled quantities; that of the registry unless a claim says otherwise.
    confidence: float | None = None

    # Set by the decorator.
    id: str
    statement: str
    source: str
    expected: str | None
    corrected_statement: str | None

    @property
    def paper(self) -> str:
        """Key of the paper."""
        return self.id.partition(".")[0]

    @abstractmethod
    def measure(self, run: Run) -> Quantities:
        """Measure, knowing nothing of what is hoped for."""

    @abstractmethod
    def published(self) -> Predictions:
        """What the paper says."""

    def corrected(self) -> Predictions:
        """What holds instead."""
        return {}

    @abstractmethod
    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        """Wrong formulas, by name."""

    def margins(self) -> dict[str, float]:
        """Margin of each predicted quantity, fixed by the published prediction; by the next one where that is silent."""
        predictions: dict[str, Prediction] = {**self.published()}
        for others in (self.corrected(), *(twin for _, twin in self.sabotaged())):
            predictions = {**others, **predictions}
        by_label = self.margin if isinstance(self.margin, Mapping) else dict.fromkeys(predictions, self.margin)
        return {label: by_label[label].of(p) for label, p in predictions.items() if label in by_label}


class Comparison(Claim):
    """A measured number equals a predicted one."""

    kind = "comparison"


class Inequality(Claim):
    """A measured number is on one side of a predicted one."""

    kind = "inequality"


class Exact(Claim):
    """An identity that is checked up to rounding."""

    kind = "exact"
    margin = Absolute(0.0)


def claim(
    id: str, statement: str, *, source: str, expected: str | None = "holds", corrected: str | None = None
) -> Callable[[type[SomeClaim]], type[SomeClaim]]:
    """Register a claim.

    Parameters
    ----------
    id : str
        ``paper.place``.
    statement : str
        What the paper says, in a line.
    source : str
        Where it says so.
    expected : {"holds", "refuted"} or None
        Verdict that we derived by hand; None for what is only measured.
    corrected : str, optional
        What holds instead, where the paper errs.
    """

    def register(cls: type[SomeClaim]) -> type[SomeClaim]:
        if id in CLAIMS:
            raise ValueError(f"claim {id} is registered twice")
        cls.id, cls.statement, cls.source, cls.expected, cls.corrected_statement = id, statement, source, expected, corrected
        CLAIMS[id] = cls()
        return cls

    return register


def entries(label: str, array: ArrayLike) -> dict[str, float]:
    """Label the entries of an array, of a symmetric matrix those of its upper triangle."""
    a = np.asarray(array, dtype=np.float64)
    if a.ndim == 0:
        return {label: float(a)}
    if a.ndim == 1:
        return {f"{label} [{i + 1}]": float(x) for i, x in enumerate(a)}
    return {f"{label} [{i + 1},{j + 1}]": float(a[i, j]) for i, j in zip(*np.triu_indices(len(a)), strict=True)}


def computed(label: str, array: ArrayLike, tolerance: float | None = None) -> dict[str, Any]:
    """Label computed entries, with a tolerance for rounding relative to the largest one unless another is given."""
    scale = float(np.abs(np.asarray(array)).max())
    bound = _ROUNDING * scale if tolerance is None else tolerance
    return {name: Computed(value, bound) for name, value in entries(label, array).items()}
