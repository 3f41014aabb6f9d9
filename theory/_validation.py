"""Checks of arguments: each names the argument, what was given and what is allowed."""

from __future__ import annotations

import math
import numbers
import os
import reprlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gradnoise.theory._blocks import uncoupled_blocks

FloatArray = NDArray[np.float64]
Kind = TypeVar("Kind")

# A matrix counts as symmetric, or as positive semi-definite, up to the rounding of forming it as a product.
_ROUNDING = 1e-10
# What an array or a kernel can count.
_LARGEST_COUNT = 2**63 - 1


class _Short(reprlib.Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = 120
        self.maxlevel = 3

    def repr_int(self, x: int, level: int) -> str:
        """Without its digits where there are more than Python writes out."""
        size = math.log10(2) * x.bit_length()
        return super().repr_int(x, level) if size < 40 else f"{'-' * (x < 0)}10**{size:.0f} or so"


def shown(value: object) -> str:
    """Return `value` as a message shows it: on one line, and short, however large it is."""
    text = " ".join(_Short().repr(value).split())
    return text if len(text) <= 200 else f"{text[:197]}..."


def is_number(value: object, kind: type = numbers.Real) -> bool:
    """Whether `value` is a number of a kind; a flag and a duration are none, though they are registered as such."""
    return isinstance(value, kind) and not isinstance(value, (bool, np.timedelta64))


def as_array(value: ArrayLike, name: str, *, ndim: int | tuple[int, ...] | None = None) -> FloatArray:
    """Return `value` as a finite float64 array with `ndim` dimensions, a copy, or raise naming `name`.

    An array of flags is one of zeros and ones; a single flag is no number.
    """
    given = _as_given(value, name)
    allowed = (ndim,) if isinstance(ndim, int) else ndim
    if allowed is not None and given.ndim not in allowed:
        raise ValueError(f"{name} must have {' or '.join(map(str, allowed))} dimension(s), got shape {given.shape}")
    try:
        with np.errstate(all="ignore"):  # what is beyond a float64 becomes infinite
            array = given.astype(np.float64)
    except MemoryError:
        raise ValueError(f"{name} must fit into memory, got shape {given.shape}") from None
    finite = np.isfinite(array)
    if not finite.all():
        at = tuple(int(i) for i in np.unravel_index(np.argmin(finite), finite.shape))
        found = "NaN" if np.isnan(array[at]) else str(given[at])
        raise ValueError(f"{name} must be finite, got {found}" + (f" at index {', '.join(map(str, at))}" if at else ""))
    return array


def as_psd(value: ArrayLike, name: str) -> FloatArray:
    """Return `value` as a symmetric positive semi-definite (d, d) matrix.

    Rounding is measured by the largest entry of a block that zeros keep apart from the others, as nothing rounds between
    them: the entries of a diagonal matrix are its eigenvalues, exactly.
    """
    matrix = as_array(value, name, ndim=2)
    if matrix.shape[0] != matrix.shape[1] or matrix.shape[0] == 0:
        raise ValueError(f"{name} must be square and not empty, got shape {matrix.shape}")
    for indices in uncoupled_blocks(matrix):
        block = matrix[np.ix_(indices, indices)]
        scale = np.abs(block).max()
        unit = 2.0 ** math.floor(math.log2(scale)) if scale > 0 else 1.0  # in which nothing over- or underflows
        block, rounding = block / unit, _ROUNDING * (scale / unit)
        asymmetry = float(np.abs(block - block.T).max())
        if asymmetry > rounding:
            raise ValueError(f"{name} must be symmetric, got an asymmetry of {asymmetry * unit:.3g}")
        smallest = float(np.linalg.eigvalsh((block + block.T) / 2)[0] if len(block) > 1 else block[0, 0])
        if smallest < (-rounding * len(block) if len(block) > 1 else 0):
            raise ValueError(f"{name} must be positive semi-definite, got an eigenvalue of {smallest * unit:.3g}")
    return np.where(matrix == matrix.T, matrix, matrix / 2 + matrix.T / 2)


def as_matching(first: FloatArray, second: FloatArray, names: tuple[str, str]) -> None:
    """Raise unless two matrices have the same shape."""
    if first.shape != second.shape:
        raise ValueError(f"{names[0]} and {names[1]} must have equal shapes, got {first.shape} and {second.shape}")


def as_nonnegative(value: ArrayLike, name: str) -> FloatArray:
    """Return `value` as a finite array of numbers >= 0."""
    array = as_array(value, name)
    if (array < 0).any():
        raise ValueError(f"{name} must be >= 0, got {array.min():.6g}")
    return array


def as_probabilities(value: ArrayLike | None, name: str, size: int) -> FloatArray:
    """Return `value` as `size` probabilities, equal ones for None."""
    if value is None:
        return np.full(size, 1 / size)
    p = as_nonnegative(value, name)
    total = p.sum() if p.max(initial=0.0) <= 1 else math.inf  # a sum of large ones overflows
    if p.shape != (size,) or abs(total - 1) > 1e-12:
        found = f"sum {total:.15g}" if total < math.inf else f"largest {p.max():.6g}"
        raise ValueError(f"{name} must be {size} numbers that sum to one, got shape {p.shape} and {found}")
    return p


def as_real(
    value: object, name: str, *, above: float = -math.inf, at_least: float = -math.inf, at_most: float = math.inf
) -> float:
    """Return `value` as a finite float with `above` < value and `at_least` <= value <= `at_most`."""
    if not is_number(value):
        raise TypeError(f"{name} must be a real number, got {shown(value)}")
    number = _as_float(value, name)
    if not math.isfinite(number):
        raise ValueError(f"{name} must be finite, got {shown(value)}")
    if not (number > above and at_least <= number <= at_most):
        limits = [f"> {above:g}"] * (above > -math.inf) + [f">= {at_least:g}"] * (at_least > -math.inf)
        limits += [f"<= {at_most:g}"] * (at_most < math.inf)
        raise ValueError(f"{name} must be {' and '.join(limits)}, got {shown(value)}")
    return number


def as_count(value: object, name: str, *, at_least: int = 1, at_most: int | None = None) -> int:
    """Return `value` as an integer with `at_least` <= value <= `at_most`, which is below 2^63 if nothing else."""
    if not is_number(value, numbers.Integral):
        raise TypeError(f"{name} must be an integer, got {shown(value)}")
    count = int(value)  # type: ignore[call-overload]
    if count < at_least or count > (_LARGEST_COUNT if at_most is None else at_most):
        allowed = f"between {at_least} and {at_most}"
        if at_most is None:
            allowed = f">= {at_least}" if count < at_least else "< 2**63"
        raise ValueError(f"{name} must be {allowed}, got {shown(count)}")
    return count


def as_counts(value: ArrayLike, name: str, *, at_least: int = 0) -> NDArray[np.int64]:
    """Return `value` as an array of integers >= `at_least`, not empty."""
    given = _as_given(value, name, what := "an integer or an array of them")
    if given.dtype.kind not in "iu":
        raise TypeError(f"{name} must be {what}, got {shown(value)}")
    if given.size == 0 or given.min() < at_least or given.max() > _LARGEST_COUNT:
        raise ValueError(f"{name} must be >= {at_least}, < 2**63 and not empty, got {shown(value)}")
    return given.astype(np.int64)


def as_number(value: object, name: str, **limits: float) -> int | float:
    """Return `value` as a Python number, whole ones as int; limits are those of `as_real`."""
    number = as_real(value, name, **limits)
    return int(value) if isinstance(value, numbers.Integral) else number


def set_fields(instance: object, **values: object) -> None:
    """Set fields of a frozen dataclass to their normalised values: NumPy's numbers overflow, and make no fractions."""
    for name, value in values.items():
        object.__setattr__(instance, name, value)


def as_flag(value: object, name: str) -> bool:
    """Return `value` as a bool; anything else is a mistake worth hearing about."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {shown(value)}")
    return bool(value)


def as_choice(value: object, name: str, choices: tuple[str, ...]) -> str:
    """Return `value` if it is one of `choices`."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {shown(value)}")
    return str(value)


def as_text(value: object, name: str) -> str:
    """Return `value` as a plain string."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string, got {shown(value)}")
    return str(value)


def as_instance(value: Any, name: str, kind: type[Kind]) -> Kind:
    """Return `value` if it is of a class."""
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be of class {kind.__name__}, got {shown(value)}")
    return value


def as_function(value: Any, name: str) -> Callable[..., Any]:
    """Return `value` if it can be called, and is no class, whose call would make an object."""
    if not callable(value) or isinstance(value, type):
        raise TypeError(f"{name} must be callable, and no class, got {shown(value)}")
    return value


def as_iterable(value: Any, name: str, what: str) -> Iterable[Any]:
    """Return `value` if it can be iterated over, and is no text, bytes or dictionary; `what` is what it must be."""
    if not np.iterable(value) or isinstance(value, (str, bytes, bytearray, memoryview, Mapping)):
        raise TypeError(f"{name} must be {what}, got {shown(value)}")
    return value


def as_path(value: object, name: str) -> Path:
    """Return `value` as a path that a file can have."""
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(f"{name} must be a path, got {shown(value)}")
    try:
        is_possible = b"\0" not in os.fsencode(value)
    except UnicodeEncodeError:
        is_possible = False
    if not is_possible:
        raise ValueError(f"{name} must be a path that a file can have, got {shown(value)}")
    return Path(os.fsdecode(value))


def as_interval(low: object, high: object, names: tuple[str, str] = ("low", "high")) -> tuple[float, float]:
    """Return the ends of an interval, which may be infinite, with low <= high."""
    low, high = (
        float(end) if isinstance(end, float) and math.isinf(end) else as_real(end, name)
        for end, name in zip((low, high), names, strict=True)
    )
    if low > high:
        raise ValueError(f"{names[0]} must be <= {names[1]}, got {low:g} and {high:g}")
    return low, high


def as_values(function: Callable[[FloatArray], ArrayLike], points: FloatArray, name: str) -> FloatArray:
    """Return the values of a user's function at `points` (m,), of which it gets a copy, as it may write into it."""
    values = as_array(as_function(function, name)(points.copy()), f"{name}(x)")
    if values.shape not in ((), points.shape):
        raise ValueError(f"{name} must return a value for each of {len(points)} points, got shape {values.shape}")
    return np.broadcast_to(values, points.shape)


def as_whole_steps(time: float, step_size: float) -> int:
    """Return how many steps the time takes, or raise unless that is a whole number up to rounding."""
    if not time / step_size < 2**53:  # a float cannot tell whole numbers from others there
        raise ValueError(f"time must be less than 2**53 steps, got time = {time:g} and step_size = {step_size:g}")
    n_steps = round(time / step_size)
    if abs(n_steps * step_size - time) > 1e-9 * time:
        raise ValueError(f"time must be a whole number of steps, got time = {time:g} and step_size = {step_size:g}")
    return n_steps


def _as_given(value: object, name: str, what: str = "an array of real numbers") -> NDArray[Any]:
    """Return an array of real numbers, as NumPy makes it of `value`."""
    if _has_mask(value):
        raise TypeError(f"{name} must not be masked, as masked values would count: fill them or leave them out")
    try:
        # Bytes in a bytearray would pass for small integers.
        array = np.array(None) if isinstance(value, (str, bytes, bytearray)) else np.asarray(value)
    except MemoryError:
        raise ValueError(f"{name} must fit into memory, got {shown(value)}") from None
    except Exception as error:  # ragged lists, tensors that require a gradient, whatever an __array__ raises
        kind = TypeError if isinstance(error, TypeError) else ValueError
        reason = " ".join(str(error).split())[:200]
        raise kind(f"{name} must be a rectangular array of numbers: {reason or type(error).__name__}") from None
    if array.ndim == 0 and not is_number(array.item() if array.dtype.kind in "biufO" else None):
        raise TypeError(f"{name} must be {what}, got {shown(value)}")
    if array.dtype.kind == "O":
        array = _from_objects(array, name, what)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} must be {what}, got dtype {array.dtype}")
    return array


def _from_objects(array: NDArray[Any], name: str, what: str) -> FloatArray:
    """Return numbers that NumPy has no type for, such as fractions and integers above 2^64, as floats."""
    for element in array.flat:
        if not is_number(element):
            raise TypeError(f"{name} must be {what}, got {shown(element)} in it")
    return np.array([_as_float(element, name) for element in array.flat], dtype=np.float64).reshape(array.shape)


def _as_float(value: Any, name: str) -> float:
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"{name} must be within the range of floats, up to 1.8e308, got {shown(value)}") from None


def _has_mask(value: object) -> bool:
    """Whether `value` is a masked array, or has one within it, which NumPy would unmask."""
    pending: list[Any] = [value]
    seen = set()
    while pending:
        item = pending.pop()
        if isinstance(item, np.ma.MaskedArray):
            return True
        if not _is_nested(type(item)) or id(item) in seen or (isinstance(item, np.ndarray) and item.dtype.kind != "O"):
            continue
        seen.add(id(item))
        elements = item.ravel() if isinstance(item, np.ndarray) else item
        kinds = {kind for kind in set(map(type, elements)) if _is_nested(kind)}  # few, in a list of a million
        pending += [element for element in elements if type(element) in kinds] if kinds else []
    return False


def _is_nested(kind: type) -> bool:
    return issubclass(kind, (np.ndarray, Sequence)) and not issubclass(kind, (str, bytes, bytearray, memoryview, range))
