"""Sizes at which no wrong formula can be right by chance.

At n = b + B the wrong factor (n − B) is the right one, b; at α = 1.5 the wrong c(α) = 1 + α is. So a claim about a formula tries
several sizes, and no small linear relation may hold at all of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from gradnoise.claims.claim import Labelled, as_labelled
from gradnoise.theory._validation import as_count, as_function, as_iterable, as_real, as_text, shown

__all__ = ["SIZES", "STRENGTHS", "at_each", "generic_sizes", "generic_strengths"]

#: Coefficients of a relation that count as small; the constant beside them is any.
_SMALL = 2
_SMALL_OF_STRENGTHS = 6
_LARGEST = 1e6  # |α|: beyond, c(α) has too few digits after the point


def generic_sizes(*sizes: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """Return sizes for a claim, if no small linear relation holds at all of them.

    Parameters
    ----------
    *sizes : sequence of int
        At least two, of equal length, each for instance the n, B and b of one instance.

    Returns
    -------
    tuple of tuple of int

    Raises
    ------
    TypeError, ValueError
        If one is no sequence of counts; or if x₁k₁ + x₂k₂ + … has one value at all of them, for integers |kᵢ| <= 2: the message
        says which.

    Examples
    --------
    >>> generic_sizes((5, 4, 2), (6, 4, 3), (8, 3, 2))
    ((5, 4, 2), (6, 4, 3), (8, 3, 2))
    >>> generic_sizes((5, 3, 2), (7, 4, 3), (9, 5, 4))
    Traceback (most recent call last):
    ValueError: sizes must satisfy no small linear relation, got x₂ − x₃ = 1 at all of (5, 3, 2), (7, 4, 3), (9, 5, 4)
    """
    found = tuple(
        tuple(as_count(x, "each of sizes") for x in as_iterable(one, "each of sizes", "whole numbers")) for one in sizes
    )
    lengths = {len(one) for one in found}
    if len(found) < 2 or len(lengths) != 1 or lengths == {0}:
        raise ValueError(f"sizes must be two or more of one length, got {shown(sizes)}")
    differences = np.diff(np.array(found), axis=0)
    for coefficients in _coefficients(lengths.pop(), _SMALL):
        if not (differences @ coefficients).any():
            value = int(np.dot(found[0], coefficients))
            at = ", ".join(map(str, found))
            raise ValueError(
                f"sizes must satisfy no small linear relation, got {_written(coefficients)} = {value} at all of {at}"
            )
    return found


def generic_strengths(*alphas: float) -> tuple[float, ...]:
    """Return strengths α of an enhancement for a claim, if none satisfies a small linear relation with its c(α).

    Parameters
    ----------
    *alphas : float
        At least three: c(α) = α² + (1 − α)² is fixed by three values among all quadratic functions of α.

    Returns
    -------
    tuple of float

    Raises
    ------
    TypeError, ValueError
        If there are fewer, or two have the same c(α), or k₁α + k₂c(α) is an integer for integers |kᵢ| <= 6.

    Examples
    --------
    >>> generic_strengths(1.37, 0.73, 2.21)
    (1.37, 0.73, 2.21)
    >>> generic_strengths(1.37, 1.5, 2.21)
    Traceback (most recent call last):
    ValueError: alphas must satisfy no small linear relation with c(α), got 2c(α) = 5 at α = 1.5
    """
    found = tuple(as_real(alpha, "each of alphas", at_least=-_LARGEST, at_most=_LARGEST) for alpha in alphas)
    powers = [alpha**2 + (1 - alpha) ** 2 for alpha in found]
    if len({round(c, 9) for c in powers}) < max(3, len(found)):
        raise ValueError(f"alphas must be three or more of different c(α), got {shown(alphas)}")
    for alpha, c in zip(found, powers, strict=True):
        for one, two in _coefficients(2, _SMALL_OF_STRENGTHS):
            value = one * alpha + two * c
            if abs(value - round(value)) < 1e-9:
                relation = _written((one, two), ("α", "c(α)"))
                raise ValueError(
                    f"alphas must satisfy no small linear relation with c(α), got {relation} = {round(value)} at α = {alpha:g}"
                )
    return found


def at_each(
    of: Callable[..., Mapping[str, Labelled]], sizes: Sequence[Sequence[int]] | None = None, names: str = "n, B, b"
) -> dict[str, Labelled]:
    """Quantities or predictions at several sizes.

    Parameters
    ----------
    of : callable
        ``of(n, B, b)`` returns those of one size, by label.
    sizes : sequence of sequence of int, optional
        From `generic_sizes`; `SIZES` by default.
    names : str
        Of the sizes, for the labels.

    Returns
    -------
    dict
        All of them.

    Examples
    --------
    >>> at_each(lambda n, b: {"variance": (n - 1) / (b * n**2)}, ((5, 2), (8, 3)), "n, b")
    {'variance at n, b = 5, 2': 0.08, 'variance at n, b = 8, 3': 0.036458333333333336}
    """
    as_function(of, "of")
    chosen = SIZES if sizes is None else generic_sizes(*as_iterable(sizes, "sizes", "several sizes"))
    names, found = as_text(names, "names"), {}
    for one in chosen:
        at = f"at {names} = {', '.join(map(str, one))}"
        found |= {f"{label} {at}": value for label, value in as_labelled(of(*one)).items()}
    return found


def _coefficients(length: int, largest: int) -> list[tuple[int, ...]]:
    """Integer vectors but zero, one of each pair ±k, those of few and small entries first."""
    every = itertools.product(range(-largest, largest + 1), repeat=length)
    positive = [k for k in every if next((x for x in k if x), 0) > 0]
    return sorted(positive, key=lambda k: (sum(map(abs, k)), k))


def _written(coefficients: Sequence[int], names: Sequence[str] = ()) -> str:
    """A linear form, as people write it."""
    subscripts = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
    names = names or [f"x{k}".translate(subscripts) for k in range(1, len(coefficients) + 1)]
    terms = [(k, name) for k, name in zip(coefficients, names, strict=True) if k]
    text = " ".join(f"{'−' if k < 0 else '+'} {'' if abs(k) == 1 else abs(k)}{name}" for k, name in terms)
    return text.removeprefix("+ ")


#: n, B and b of three instances, for claims about them all; each is small enough for all of its outcomes to be listed.
SIZES = generic_sizes((5, 4, 2), (6, 4, 3), (8, 3, 2))
#: Strengths α of an enhancement.
STRENGTHS = generic_strengths(1.37, 0.73, 2.21)
