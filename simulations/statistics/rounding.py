"""A number and its error as text, with as many digits as the error leaves."""

from __future__ import annotations

import math
from decimal import Decimal, localcontext

from gradnoise.theory._validation import as_real

__all__ = ["with_error"]

_DIGITS = 17  # of a double
_EXACT = 1100  # digits that hold any double to any place
_PLAIN = range(-4, 7)  # powers of ten that are written out


def with_error(value: float, error: float) -> str:
    """Write a value with its standard error: the error to two digits, the value to the same place.

    A zero that would end both is left out. A value without an error, and one whose error is below its last bit, has all of
    its digits.

    Parameters
    ----------
    value, error : float
        NaN and infinity are written as they are.

    Returns
    -------
    str

    Raises
    ------
    TypeError, ValueError
        If one of them is no number, or the error is negative.

    Examples
    --------
    >>> from gradnoise.simulations.statistics import with_error
    >>> with_error(0.242718, 0.00213)
    '0.2427 ± 0.0021'
    >>> with_error(71_234, 3_210)
    '(7.12 ± 0.32)e+04'
    >>> with_error(6.02214e23, 1.5e20)
    '(6.0221 ± 0.0015)e+23'
    >>> with_error(0.5, 0.0)
    '0.5 ± 0.0'
    >>> with_error(0.5, float("inf"))
    '0.5 ± inf'
    """
    value, error = _number(value, "value"), _number(error, "error")
    if error < 0:
        raise ValueError(f"error must be >= 0, got {error:g}")
    if not (math.isfinite(value) and math.isfinite(error)) or error == 0:
        return f"{value} ± {error}"
    with localcontext(prec=_EXACT):
        place = Decimal(error).adjusted() - 1
        if Decimal(f"{error:.1e}").adjusted() > place + 1:  # 9.96 becomes 10
            place += 1
        rounded = [Decimal(x).quantize(Decimal(1).scaleb(place)) for x in (value, error)]
        if all(int(x.scaleb(-place)) % 10 == 0 for x in rounded):
            place += 1
            rounded = [x.quantize(Decimal(1).scaleb(place)) for x in rounded]
        exponent = max(x.adjusted() for x in rounded if x)
        if exponent - place >= _DIGITS:
            return f"{value} ± {error:.1e}"
        if exponent in _PLAIN and place <= 0:  # else zeros would look like digits
            return " ± ".join(f"{x:zf}" for x in rounded)
        return f"({' ± '.join(f'{x.scaleb(-exponent):zf}' for x in rounded)})e{exponent:+03d}"


def _number(value: float, name: str) -> float:
    """Return a real number, which need not be finite."""
    return float(value) if isinstance(value, float) else as_real(value, name)
