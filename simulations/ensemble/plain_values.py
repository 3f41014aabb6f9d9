"""Forms of numbers, strings and arrays for comparing: what computes differently has another form."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["NOT_PLAIN", "array_form", "bytes_of", "plain_form"]

#: Form of what is not plain.
NOT_PLAIN: Any = object()

_PADDED = np.finfo(np.longdouble).nmant == 63 and np.dtype(np.longdouble).itemsize == 16  # ten bytes of it are the number


def plain_form(value: Any) -> Any:
    """Return the form of a number, a string, bytes or a data type, None or an ellipsis, and `NOT_PLAIN` for all else.

    Kinds are told apart: ``0.5``, ``numpy.float32(0.5)`` and ``"0.5"`` compute differently, and so do ``0.0`` and ``-0.0``.
    """
    kind = type(value)
    if value is None or kind in (bool, str):
        return value
    if kind is int:
        return value if abs(value) < 2**63 else ["int", hex(value)]  # Python writes no decimals of thousands of digits
    if kind is float:
        return ["float", value.hex()]
    if kind is complex:
        return ["complex", value.real.hex(), value.imag.hex()]
    if kind in (bytes, bytearray):
        return [kind.__name__, value.hex()]
    if value is Ellipsis or value is NotImplemented:
        return ["constant", repr(value)]
    if isinstance(value, np.dtype):
        return ["dtype", _dtype_form(value)]
    if isinstance(value, np.generic) and kind is value.dtype.type and not value.dtype.hasobject:
        return ["scalar", _dtype_form(value.dtype), _digest(np.asarray(value))]
    return NOT_PLAIN


def array_form(array: np.ndarray, form: Callable[[Any], Any]) -> list[Any]:
    """Return the form of an array: shape, data type, byte order, order in memory, numbers, and the mask of a masked one.

    Parameters
    ----------
    array : ndarray
        Or one of NumPy's own subclasses.
    form : callable
        Of the elements of an array of objects.
    """
    if isinstance(array, np.ma.MaskedArray):
        data, mask = np.asarray(array.data), array.mask
        masks = None if mask is np.ma.nomask else array_form(np.asarray(mask), form)
        return ["masked", array_form(data, form), masks, form(array.fill_value), bool(array.hardmask)]
    # Sums round by the order in memory; along axes of one element, or of none, there is no order.
    steps = [0 if length <= 1 or array.size == 0 else step for length, step in zip(array.shape, array.strides, strict=True)]
    of_objects = array.dtype.hasobject or array.dtype.kind == "T"
    content = [form(element) for element in array.ravel().tolist()] if of_objects else _digest(array)
    return ["array", _dtype_form(array.dtype), list(array.shape), steps, content]


def bytes_of(array: np.ndarray) -> bytes:
    """Return what an array holds, in the order of its index, without the padding that some data types have."""
    plain = np.ascontiguousarray(array).view(np.ndarray)
    if plain.dtype.names is not None:
        return b"".join(bytes_of(plain[name]) for name in plain.dtype.names)
    if _PADDED and plain.dtype.char in "gG":
        return np.frombuffer(plain.tobytes(), np.uint8).reshape(-1, 16)[:, :10].tobytes()
    return plain.tobytes()


def _digest(array: np.ndarray) -> str:
    return hashlib.sha256(bytes_of(array)).hexdigest()


def _dtype_form(dtype: np.dtype) -> Any:
    if dtype.names is not None:
        fields = [[name, _dtype_form(field), int(offset)] for name, (field, offset, *_) in dict(dtype.fields or {}).items()]
        return ["record", dtype.itemsize, dtype.isalignedstruct, *fields]
    if dtype.subdtype is not None:
        return ["items", _dtype_form(dtype.subdtype[0]), list(dtype.subdtype[1])]
    return dtype.str
