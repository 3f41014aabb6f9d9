"""Results that leave the range of floats: an error that names the arguments, in place of infinity, NaN and warnings."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import ParamSpec, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gradnoise.theory._validation import FloatArray, shown

__all__ = ["exponent", "exponent_of", "product", "root", "rows_in_units", "within_floats", "within_floats_or_infinite"]

P = ParamSpec("P")
R = TypeVar("R")


class BeyondFloatsError(ValueError):
    """What a function raises whose arguments leave the range of floats; one that has called it names its own."""


def within_floats(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function that has checked its arguments: if they take it out of the range of floats, they are to blame.

    A division by zero, an overflow on the way and a result that is not finite raise a `ValueError`. An overflow that does no
    harm, as in exp(-x), the function allows where it happens.

    Examples
    --------
    >>> from gradnoise.theory._float_range import within_floats
    >>> @within_floats
    ... def square(length):
    ...     return length * length
    >>> square(3.0)
    9.0
    >>> square(1e200)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    gradnoise.theory._float_range.BeyondFloatsError: arguments of square must ... got length = 1e+200
    """
    return _checked(function, lambda result: bool(np.isfinite(result).all()))


def within_floats_or_infinite(function: Callable[P, R]) -> Callable[P, R]:
    """`within_floats` for a function that may return infinity, as the right answer."""
    return _checked(function, lambda result: not np.isnan(result).any())


def product(*factors: ArrayLike, power: ArrayLike = 0) -> FloatArray:
    """Product from left to right, and of 2^power, in which nothing but the result can over- or underflow.

    Else it has the bits of a plain one.

    Examples
    --------
    >>> from gradnoise.theory._float_range import product
    >>> float(product(1e200, 1e200, 1e-300))
    1e+100
    """
    mantissa, exponent = np.float64(1), np.asarray(power)
    for factor in factors:
        of_factor, its_power = np.frexp(factor)
        mantissa, exponent = mantissa * of_factor, exponent + its_power
    return np.ldexp(mantissa, exponent)


def rows_in_units(matrix: FloatArray) -> tuple[FloatArray, NDArray[np.int64]]:
    """Rows of a matrix, each in the power of two that is the unit of its largest entry, and the exponents of the units.

    Examples
    --------
    >>> import numpy as np
    >>> from gradnoise.theory._float_range import rows_in_units
    >>> rows_in_units(np.array([[1.0, 3.0], [0.0, 0.0]]))
    (array([[0.25, 0.75],
           [0.  , 0.  ]]), array([2, 0]))
    """
    exponents = np.frexp(np.abs(matrix).max(axis=1, initial=0.0))[1].astype(np.int64)
    return np.ldexp(matrix, -exponents[:, np.newaxis]), exponents


def root(square: Fraction) -> float:
    """Square root, where the square itself may be beyond a float.

    Examples
    --------
    >>> from fractions import Fraction
    >>> from gradnoise.theory._float_range import root
    >>> root(Fraction(10**400)), root(Fraction(9, 4))
    (1e+200, 1.5)
    """
    power = exponent(square) // 2
    return math.ldexp(math.sqrt(square / Fraction(4) ** power), power)


def exponent_of(values: ArrayLike) -> int:
    """Power of two that the largest of some numbers is near to; zero for zeros."""
    return int(np.frexp(np.abs(values).max(initial=0.0))[1])


def exponent(number: Fraction) -> int:
    """Power of two that a number is near to."""
    return number.numerator.bit_length() - number.denominator.bit_length()


def _checked(function: Callable[P, R], is_right: Callable[[FloatArray], bool]) -> Callable[P, R]:
    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            with np.errstate(over="raise", divide="raise", invalid="raise"):
                result = function(*args, **kwargs)
        except (ArithmeticError, np.linalg.LinAlgError, BeyondFloatsError):
            pass
        else:
            if all(map(is_right, _floats_of(result))):
                return result
        name = function.__qualname__.removesuffix(".__init__").rpartition("<locals>.")[2]
        given = inspect.signature(function).bind(*args, **kwargs).arguments
        if list(given) == ["self"]:
            owner = type(given["self"])  # which is all that there is to blame
            got = "" if owner.__repr__ is object.__repr__ else f", got {shown(given['self'])}"
            asked = f"{owner.__name__} must keep {function.__name__}"
            raise BeyondFloatsError(f"{asked} within the range of floats, up to 1.8e308{got}")
        # An object that does not say what it holds helps nobody, and one that is just being made cannot.
        if function.__name__ == "__init__" or type(given.get("self")).__repr__ is object.__repr__:
            given.pop("self", None)
        got = ", ".join(f"{argument} = {shown(value)}" for argument, value in given.items())
        raise BeyondFloatsError(f"arguments of {name} must keep it within the range of floats, up to 1.8e308, got {got}")

    return checked


def _floats_of(result: object) -> Iterator[FloatArray]:
    """All floating-point numbers of a result, and of the fields of records in it."""
    if isinstance(result, (np.ndarray, np.generic, float)):
        if np.asarray(result).dtype.kind == "f":
            yield np.asarray(result)
    elif isinstance(result, (tuple, list)):
        for part in result:
            yield from _floats_of(part)
    elif dataclasses.is_dataclass(result):
        for field in dataclasses.fields(result):
            yield from _floats_of(getattr(result, field.name))
