"""What a claim may predict of a quantity, and the margin that is allowed around it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

from gradnoise.theory._validation import as_choice, as_flag, as_real, is_number, set_fields, shown

__all__ = ["TIGHTNESS", "Absolute", "AtLeast", "AtMost", "Established", "Margin", "Prediction", "Relative"]

#: What is known of a bound: an instance attains it, so that one a little tighter is refuted; none is known that does; or it is
#: no constant of a paper, but where we draw the line in "far", "small" or "grows".
ATTAINED, NOT_KNOWN, CHOSEN = TIGHTNESS = ("attained", "not known to be attained", "chosen")


@dataclass(frozen=True)
class _Bound:
    """A bound on a quantity.

    Parameters
    ----------
    bound : float
        In the units of the quantity; an infinite one allows everything, or nothing.
    tightness : str
        One of `TIGHTNESS`. One that is attained needs a sabotaged twin that is tighter by at most `claims.power.NEAR`.
    """

    sign: ClassVar[str]

    bound: float
    tightness: str = field(default=ATTAINED, kw_only=True)

    def __post_init__(self) -> None:
        set_fields(self, bound=as_bound(self.bound, "bound"), tightness=as_choice(self.tightness, "tightness", TIGHTNESS))


@dataclass(frozen=True)
class AtLeast(_Bound):
    """Prediction of an inequality: the quantity is >= bound.

    Parameters
    ----------
    bound : float
        In the units of the quantity; an infinite one allows everything, or nothing.
    tightness : str
        One of `TIGHTNESS`, by default that an instance attains the bound.

    Examples
    --------
    >>> from gradnoise.claims.judgement import Computed, judge
    >>> judge(Computed(0.5), AtLeast(0.5), margin=0.0, level=0.99).verdict
    'holds'
    >>> judge(Computed(0.5), AtLeast(0.6), margin=0.0, level=0.99).verdict
    'refuted'
    """

    sign = ">="


@dataclass(frozen=True)
class AtMost(_Bound):
    """Prediction of an inequality: the quantity is <= bound.

    Parameters
    ----------
    bound : float
        In the units of the quantity; an infinite one allows everything, or nothing.
    tightness : str
        One of `TIGHTNESS`, by default that an instance attains the bound.

    Examples
    --------
    >>> from gradnoise.claims.judgement import Computed, judge
    >>> judge(Computed(0.5), AtMost(0.5), margin=0.0, level=0.99).verdict
    'holds'
    >>> judge(Computed(0.5), AtMost(0.4), margin=0.0, level=0.99).verdict
    'refuted'
    """

    sign = "<="


@dataclass(frozen=True)
class Established(AtMost):
    """Prediction of a test of significance: the effect is in its favour, with a p-value <= bound.

    Parameters
    ----------
    bound : float
        The level: probability that an effect like this shows where there is none.
    against : bool
        Whether the effect is predicted to go the other way.

    Examples
    --------
    >>> from gradnoise.claims.judgement import PValue, judge
    >>> small, large = (PValue(p, effect=0.5, n=10) for p in (0.004, 0.6))
    >>> [judge(p, Established(0.05), margin=0.0, level=0.99).verdict for p in (small, large)]
    ['holds', 'not established']
    >>> judge(small, Established(0.05, against=True), margin=0.0, level=0.99).verdict
    'refuted'
    """

    tightness: str = field(default=CHOSEN, init=False, repr=False)
    against: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        level, against = as_real(self.bound, "bound", above=0, at_most=1), as_flag(self.against, "against")
        set_fields(self, bound=level, against=against)


Prediction = float | AtLeast | AtMost


def number(prediction: Prediction) -> float:
    """Return the number in a prediction."""
    return prediction.bound if isinstance(prediction, _Bound) else as_bound(prediction, "prediction")


def relation(prediction: Prediction) -> str:
    """Return how the quantity relates to that number: "=", ">=" or "<="."""
    return prediction.sign if isinstance(prediction, _Bound) else "="


def same(one: Prediction, other: Prediction) -> bool:
    """Return whether two predictions say the same, whatever is known of how tight they are."""
    alike = relation(one) == relation(other) and number(one) == number(other)
    # "Established" is another statement than that a p-value is small, and which way the effect goes is a part of it.
    return alike and getattr(one, "against", None) == getattr(other, "against", None)


def as_extended(value: object, name: str) -> float:
    """Return `value` as a float, which may be infinite or NaN: what was computed may have come to that."""
    if not is_number(value):
        raise TypeError(f"{name} must be a real number, got {shown(value)}")
    return float(value) if isinstance(value, float) else as_real(value, name)


def as_bound(value: object, name: str) -> float:
    """Return `value` as a float, which may be infinite: what is predicted is a number."""
    if math.isnan(number := as_extended(value, name)):
        raise ValueError(f"{name} must be a number, got NaN")
    return number


@dataclass(frozen=True)
class Absolute:
    """A margin in the units of the quantity.

    Parameters
    ----------
    size : float
        The margin.

    Examples
    --------
    >>> Absolute(0.02).of(0.5), Absolute(0.02).of(AtMost(0.0))
    (0.02, 0.02)
    """

    size: float

    def __post_init__(self) -> None:
        set_fields(self, size=as_real(self.size, "size", at_least=0))

    def of(self, prediction: Prediction) -> float:
        """Return the margin around a prediction."""
        number(prediction)
        return self.size


@dataclass(frozen=True)
class Relative:
    """A margin as a share of the published prediction.

    Parameters
    ----------
    share : float
        Of the absolute value of what is predicted, or of its bound.

    Examples
    --------
    >>> Relative(0.25).of(-2.0), Relative(0.25).of(AtLeast(4.0))
    (0.5, 1.0)
    """

    share: float

    def __post_init__(self) -> None:
        set_fields(self, share=as_real(self.share, "share", at_least=0))

    def of(self, prediction: Prediction) -> float:
        """Return the margin around a prediction, infinite around an infinite one."""
        return self.share * abs(number(prediction))


Margin = Absolute | Relative
