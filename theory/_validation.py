"""Checks of arguments: each names the argument, what was given and what is allowed."""

from __future__ import annotations

import math
import numbers

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]

# A matrix counts as symmetric, or as positive semi-definite, up to the rounding of forming it as a product.
_ROUNDING = 1e-10


def as_array(value: ArrayLike, name: str, *, ndim: int | tuple[int, ...] | None = None) -> FloatArray:
    """Return `value` as a finite float64 array with `ndim` dimensions, or raise naming `name`."""
    try:
        array = np.asarray(value)
    except (ValueError, RuntimeError) as error:  # ragged nested sequences, and tensors that require a gradient
        raise ValueError(f"{name} must be a rectangular array of numbers: {error}") from None
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} must be an array of real numbers, got dtype {array.dtype}")
    array = array.astype(np.float64)
    allowed = (ndim,) if isinstance(ndim, int) else ndim
    if allowed is not None and array.ndim not in allowed:
        raise ValueError(f"{name} must have {' or '.join(map(str, allowed))} dimension(s), got shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, got NaN or infinity")
    return array


def as_psd(value: ArrayLike, name: str) -> FloatArray:
    """Return `value` as a symmetric positive semi-definite (d, d) matrix."""
    matrix = as_array(value, name, ndim=2)
    if matrix.shape[0] != matrix.shape[1] or matrix.shape[0] == 0:
        raise ValueError(f"{name} must be square and not empty, got shape {matrix.shape}")
    scale = np.abs(matrix).max()
    if np.abs(matrix - matrix.T).max() > _ROUNDING * scale:
        raise ValueError(f"{name} must be symmetric, got an asymmetry of {np.abs(matrix - matrix.T).max():.3g}")
    matrix = (matrix + matrix.T) / 2
    smallest = np.linalg.eigvalsh(matrix)[0]
    if smallest < -_ROUNDING * len(matrix) * scale:
        raise ValueError(f"{name} must be positive semi-definite, got an eigenvalue of {smallest:.3g}")
    return matrix


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
    if p.shape != (size,) or abs(p.sum() - 1) > 1e-12:
        raise ValueError(f"{name} must be {size} numbers that sum to one, got shape {p.shape} and sum {p.sum():.15g}")
    return p


def as_real(
    value: object, name: str, *, above: float = -math.inf, at_least: float = -math.inf, at_most: float = math.inf
) -> float:
    """Return `value` as a finite float with `above` < value and `at_least` <= value <= `at_most`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a real number, got {value!r}")
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{name} must be finite, got {value!r}")
    if not (number > above and at_least <= number <= at_most):
        limits = [f"> {above:g}"] * (above > -math.inf) + [f">= {at_least:g}"] * (at_least > -math.inf)
        limits += [f"<= {at_most:g}"] * (at_most < math.inf)
        raise ValueError(f"{name} must be {' and '.join(limits)}, got {value!r}")
    return number


def as_count(value: object, name: str, *, at_least: int = 1, at_most: int | None = None) -> int:
    """Return `value` as an integer with `at_least` <= value <= `at_most`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    count = int(value)
    if count < at_least or (at_most is not None and count > at_most):
        allowed = f">= {at_least}" if at_most is None else f"between {at_least} and {at_most}"
        raise ValueError(f"{name} must be {allowed}, got {count}")
    return count


def as_number(value: object, name: str, **limits: float) -> int | float:
    """Return `value` as a Python number, whole ones as int; limits are those of `as_real`."""
    number = as_real(value, name, **limits)
    return int(number) if isinstance(value, numbers.Integral) else number


def set_fields(instance: object, **values: object) -> None:
    """Set fields of a frozen dataclass to their normalised values: NumPy's numbers overflow, and make no fractions."""
    for name, value in values.items():
        object.__setattr__(instance, name, value)


def as_flag(value: object, name: str) -> bool:
    """Return `value` as a bool; anything else is a mistake worth hearing about."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def as_choice(value: object, name: str, choices: tuple[str, ...]) -> str:
    """Return `value` if it is one of `choices`."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")
    return str(value)


def as_whole_steps(time: float, step_size: float) -> int:
    """Return how many steps the time takes, or raise unless that is a whole number up to rounding."""
    n_steps = round(time / step_size)
    if abs(n_steps * step_size - time) > 1e-9 * time:
        raise ValueError(f"time must be a whole number of steps, got time = {time:g} and step_size = {step_size:g}")
    return n_steps
