"""What a claim is: one measurement, and the predictions that it judges."""

from __future__ import annotations

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from gradnoise.claims.judgement import HOLDS, NOT_ESTABLISHED, REFUTED, Computed, Quantity
from gradnoise.claims.prediction import Margin, Prediction, Relative
from gradnoise.theory._validation import as_array, as_choice, as_count, as_function, as_instance, as_text, set_fields, shown

__all__ = [
    "CORRECTED",
    "KINDS",
    "Claim",
    "Predictions",
    "Quantities",
    "Run",
    "both_ways",
    "claim",
    "computed",
    "entries",
    "place",
]

Quantities = Mapping[str, Quantity]
Predictions = Mapping[str, Prediction]
SomeClaim = TypeVar("SomeClaim", bound="Claim")
Labelled = TypeVar("Labelled")

SIGNIFICANCE = "test of significance"
#: What a claim may state: that a measured number equals a predicted one or is on one side of it, an identity that is checked
#: without sampling, the power with which an error falls, or that printed numbers establish an effect.
KINDS = ("comparison", "inequality", "exact", "order of convergence", SIGNIFICANCE)

#: All claims in the order of the papers, by id; filled by the decorator.
CLAIMS: dict[str, Claim] = {}

#: What the id of a corrected statement has behind that of the published one.
CORRECTED = ".corrected"
_ID = re.compile(r"[\w-]+(\.[\w+-]+)+")
_ROUNDING = 1e-12  # of sums of up to some thousand terms, relative to the largest entry


@dataclass(frozen=True)
class Run:
    """What one measurement is given. Workers it takes from joblib's active configuration, which `registry.verify` sets.

    Attributes
    ----------
    n_paths : int
        Samples to draw.
    n_instances : int
        Random instances on which an inequality is tried.
    rng : SeedSequence
        Seed of this measurement.

    Examples
    --------
    >>> run = Run(n_paths=1_000, n_instances=20, rng=np.random.SeedSequence(1))
    >>> seed = run.at("with replacement")  # for the `rng` of a simulation
    >>> run.at("with replacement")
    Traceback (most recent call last):
    ValueError: label must name a part of the measurement that has no seed yet, got 'with replacement' again
    """

    n_paths: int
    n_instances: int
    rng: np.random.SeedSequence
    _taken: set[str] = field(default_factory=set, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        counts = {name: as_count(getattr(self, name), name) for name in ("n_paths", "n_instances")}
        set_fields(self, **counts, rng=as_instance(self.rng, "rng", np.random.SeedSequence))

    def at(self, label: str) -> np.random.SeedSequence:
        """Return the seed of a part of the measurement, which its name alone decides.

        Raises
        ------
        TypeError, ValueError
            If the label is no string, or was asked for before: two parts must not share a stream by mistake.
        """
        if as_text(label, "label") in self._taken:
            raise ValueError(f"label must name a part of the measurement that has no seed yet, got {shown(label)} again")
        self._taken.add(label)
        return np.random.SeedSequence(self.rng.entropy, spawn_key=(*self.rng.spawn_key, place(label)))

    def generator(self, label: str = "instances") -> np.random.Generator:
        """Return a generator, by default that for random instances, seeded as `at` says."""
        return np.random.default_rng(self.at(label))


def place(name: str) -> int:
    """Place of a name in the tree of seeds.

    Parameters
    ----------
    name : str
        Of a claim, or of a part of its measurement.

    Returns
    -------
    int
        Below 2^64, from a hash of the name: the same on every machine.

    Examples
    --------
    >>> place("zhu2019.d1") == place("zhu2019.d1"), place("zhu2019.d1") == place("zhu2019.d2")
    (True, False)
    >>> hex(place(""))  # SHA-256 of nothing begins with it
    '0xe3b0c44298fc1c14'
    """
    return int.from_bytes(hashlib.sha256(as_text(name, "name").encode(errors="surrogatepass")).digest()[:8], "big")


class Claim(ABC):
    """A statement of a paper.

    A subclass measures once and predicts several times: what was published, what is correct where the paper errs (judged
    under the id with ``.corrected`` added), and sabotaged twins, plausible wrong formulas that must all be refuted. A
    prediction may speak of some of the measured quantities only, a twin of those alone of which a statement does; and a bound
    that is attained has a twin that is a little tighter: see `gradnoise.claims.power`.

    Attributes
    ----------
    id, statement, kind, source, expected, corrected_statement : str
        What the decorator `claim` was given.

    Examples
    --------
    A claim without its decorator is in no ledger:

    >>> class MeanOfDie(Claim):
    ...     def measure(self, run):
    ...         return computed("mean", np.arange(1, 7).mean())
    ...
    ...     def published(self):
    ...         return {"mean": 3.5}
    ...
    ...     def sabotaged(self):
    ...         yield "faces from 0 to 5", {"mean": 2.5}
    >>> MeanOfDie().margins()
    {'mean': 0.035}
    """

    #: Samples of the pilot, which plans how many the measurement needs.
    pilot_paths = 20_000
    #: Level of the intervals of sampled quantities; that of the registry unless a claim says otherwise.
    confidence: float | None = None
    #: Why an error of more than two per cent passes at budget full, where it does.
    insensitive_because: str | None = None

    # Set by the decorator.
    id: str
    statement: str
    kind: str
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

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        """Wrong formulas, by name; a claim without any was never seen to fail, and the report says so."""
        yield from ()

    def margin(self, label: str) -> Margin | None:
        """Margin of a sampled quantity; None where no margin plans the number of samples.

        It is turned into a number by the published prediction alone. Where a quantity was computed it plays no part.
        """
        as_text(label, "label")
        return Relative(0.01)

    def margins(self) -> dict[str, float]:
        """Margin of each predicted quantity, fixed by the published prediction; by the correct one where that is silent."""
        predictions = {**self.corrected(), **self.published()}
        by_label = {label: (self.margin(label), p) for label, p in predictions.items()}
        return {label: margin.of(p) for label, (margin, p) in by_label.items() if margin is not None}


def claim(
    id: str, statement: str, *, kind: str, source: str, expected: str | None = "holds", corrected: str | None = None
) -> Callable[[type[SomeClaim]], type[SomeClaim]]:
    """Register a claim: a decorator of its class.

    Parameters
    ----------
    id : str
        ``paper.place``, such as ``me2026.lemma1``; not ending with ``.corrected``.
    statement : str
        What the paper says, in a line.
    kind : str
        One of `KINDS`.
    source : str
        Where it says so.
    expected : {"holds", "refuted", "not established"} or None
        Verdict that we derived by hand, the last of a test of significance alone; None for what is only measured.
    corrected : str, optional
        What holds instead, where the paper errs.

    Returns
    -------
    callable

    Raises
    ------
    TypeError, ValueError
        If the kind or the expected verdict is not known, a text is none, the id is registered already, or what is decorated is
        no `Claim`.

    Examples
    --------
    >>> claim("zhu2019.eq0", "One is one", kind="tautology", source="nowhere")
    Traceback (most recent call last):
    ValueError: kind must be one of comparison, inequality, exact, order of convergence, test of significance, got 'tautology'
    """
    as_choice(kind, "kind", KINDS)
    for name, value in {"id": id, "statement": statement, "source": source}.items():
        as_text(value, name)
    if not _ID.fullmatch(id) or id.endswith(CORRECTED):
        raise ValueError(f"id must be paper.place, such as me2026.lemma1, got {shown(id)}")
    if expected is not None:
        as_choice(expected, "expected", (HOLDS, NOT_ESTABLISHED, REFUTED) if kind == SIGNIFICANCE else (HOLDS, REFUTED))
    if corrected is not None:
        as_text(corrected, "corrected")

    def register(cls: type[SomeClaim]) -> type[SomeClaim]:
        if not (isinstance(cls, type) and issubclass(cls, Claim)):
            raise TypeError(f"cls must be a subclass of Claim, got {shown(cls)}")
        if id in CLAIMS:
            raise ValueError(f"id must name a claim that is not registered yet, got {id!r} again")
        cls.id, cls.statement, cls.kind, cls.source = id, statement, kind, source
        cls.expected, cls.corrected_statement = expected, corrected
        CLAIMS[id] = cls()
        return cls

    return register


def entries(label: str, array: ArrayLike) -> dict[str, float]:
    """Label the entries of an array, of a symmetric matrix those of its upper triangle.

    Parameters
    ----------
    label : str
        What the names begin with.
    array : float or (k,) or (k, k) array_like
        A matrix is taken to be symmetric.

    Returns
    -------
    dict of float
        By name, with places counted from one; of a single number, the label is the name.

    Examples
    --------
    >>> entries("Σ", [[2.0, 0.5], [0.5, 1.0]])
    {'Σ [1,1]': 2.0, 'Σ [1,2]': 0.5, 'Σ [2,2]': 1.0}
    """
    a, label = as_array(array, "array", ndim=(0, 1, 2)), as_text(label, "label")
    if a.size == 0 or (a.ndim == 2 and len(a) != a.shape[1]):
        raise ValueError(f"array must be a number, a vector or a square matrix, and not empty, got shape {a.shape}")
    if a.ndim == 0:
        return {label: float(a)}
    if a.ndim == 1:
        return {f"{label} [{i + 1}]": float(x) for i, x in enumerate(a)}
    return {f"{label} [{i + 1},{j + 1}]": float(a[i, j]) for i, j in zip(*np.triu_indices(len(a)), strict=True)}


def computed(label: str, array: ArrayLike) -> dict[str, Any]:
    """Label computed entries, with a bound on their rounding relative to the largest one.

    Parameters
    ----------
    label : str
        What the names begin with.
    array : float or (k,) or (k, k) array_like
        As for `entries`.

    Returns
    -------
    dict of Computed
        By name; `Computed.rounding` is the same for all of them.

    Examples
    --------
    >>> computed("mean", [1.0, -2.0])
    {'mean [1]': Computed(value=1.0, rounding=2e-12, approximation=0.0), \
'mean [2]': Computed(value=-2.0, rounding=2e-12, approximation=0.0)}
    """
    labelled = entries(label, array)
    rounding = _ROUNDING * float(np.abs(as_array(array, "array")).max())
    return {name: Computed(value, rounding=rounding) for name, value in labelled.items()}


def both_ways(of: Callable[[str, bool], Mapping[str, Labelled]]) -> dict[str, Labelled]:
    """Quantities, predictions or seeds of a batch that is drawn with replacement, and then of one without.

    Parameters
    ----------
    of : callable
        ``of(way, replacement)`` returns those of one way, by label, where `way` is "with" or "without" and replacement
        True or False.

    Returns
    -------
    dict
        All of them.

    Examples
    --------
    >>> both_ways(lambda way, replacement: {f"{way}: variance": 1.0 if replacement else 0.75})
    {'with: variance': 1.0, 'without: variance': 0.75}
    """
    as_function(of, "of")
    return {**as_labelled(of("with", True)), **as_labelled(of("without", False))}


def as_labelled(found: Mapping[str, Labelled]) -> Mapping[str, Labelled]:
    """Return what a function `of` found, if that is a mapping."""
    if not isinstance(found, Mapping):
        raise TypeError(f"of must return a mapping of what it labels, got {shown(found)}")
    return found
