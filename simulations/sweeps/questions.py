"""What is asked of a sweep, fixed in its plan before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gradnoise.simulations.sweeps.settings import as_place, as_settings, as_table
from gradnoise.theory._validation import as_choice, as_real, as_text, set_fields

__all__ = ["ALIKE", "BETTER", "Question"]

BETTER, ALIKE = "better", "alike"
_KEYS = ("name", "kind", "of", "against", "control", "metric", "margin", "level", "at")


@dataclass(frozen=True)
class Question:
    """Whether one method ends better than another by more than a margin, or as another.

    Attributes
    ----------
    name : str
        What is asked, in words.
    kind : {"better", "alike"}
    of, against : dict
        Settings that tell the runs of the method, and those of what it is compared with.
    margin : float
        In units of the metric. Of "alike" the difference is to be smaller, of "better" larger.
    control : dict or None
        Of "alike", settings of a method that must be shown to be worse than `against` by more than the margin: where nothing is
        worse, that something is alike says little.
    metric : str
        More is better.
    level : float
        Of the intervals.
    at : {"step": float} or {"train_loss": float} or None
        The record that is compared, see `gradnoise.simulations.sweeps.SweepTable.read`; None for the last.

    Raises
    ------
    TypeError, ValueError
        If an entry is not of its kind, or "alike" has no control.

    Examples
    --------
    >>> from gradnoise.simulations.sweeps import Question
    >>> question = Question.of_table({
    ...     "name": "Gaussian noise generalises as SGD", "kind": "alike", "margin": 0.01,
    ...     "of": {"dynamics": "msgd-cov"}, "against": {"dynamics": "sgd"}, "control": {"dynamics": "gd"},
    ... })
    >>> question.metric, question.level
    ('test_accuracy', 0.95)
    """

    name: str
    kind: str
    of: Mapping[str, Any]
    against: Mapping[str, Any]
    margin: float
    control: Mapping[str, Any] | None = None
    metric: str = "test_accuracy"
    level: float = 0.95
    at: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        texts = {name: as_text(getattr(self, name), name) for name in ("name", "metric")}
        kind = as_choice(self.kind, "kind", (BETTER, ALIKE))
        if (self.control is None) == (kind == ALIKE):
            raise ValueError(f"control must be given of alike, and only of it, got {self.control!r} of {kind}")
        methods = {name: as_settings(getattr(self, name), name) for name in ("of", "against")}
        control = None if self.control is None else as_settings(self.control, "control")
        margin, level = as_real(self.margin, "margin", at_least=0), as_real(self.level, "level", above=0, at_most=0.999999)
        if kind == ALIKE and margin == 0:
            raise ValueError("margin must be > 0 of alike, got 0")
        place = None if self.at is None else as_place(self.at)
        set_fields(self, **texts, **methods, control=control, margin=margin, level=level, at=place)

    @property
    def methods(self) -> list[Mapping[str, Any]]:
        """Settings of all methods that it is about."""
        return [self.of, self.against, *([] if self.control is None else [self.control])]

    @classmethod
    def of_table(cls, table: Mapping[str, Any]) -> Question:
        """Make a question of a table in a plan.

        Raises
        ------
        TypeError, ValueError
            If an entry is missing, not known or not of its kind.
        """
        given = as_table(table, "table", _KEYS)
        if missing := [name for name in ("name", "kind", "of", "against", "margin") if name not in given]:
            raise ValueError(f"table must have {' and '.join(missing)}, got {', '.join(given) or 'nothing'}")
        return cls(**given)
