"""What a good argument is replaced by, and what may come of it."""

from __future__ import annotations

import decimal
import fractions
import math
import numbers
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["ANY", "MASKED", "OWN", "REFUSE", "SAME", "Value", "is_tensor", "replacements"]

#: What may come of a value beside a refusal that names the argument: any right answer, none at all, the answer to the good value
#: (which it equals), an answer that does not depend on what is behind the mask, or the error of a function that a user has given.
ANY, REFUSE, SAME, MASKED, OWN = "any answer", "no answer", "the same answer", "no masked value", "its own error"

_HUGE, _TINY = 1e300, 1e-300
#: Types of what is there to be called, and no more than that.
_FUNCTIONS = {
    "function", "method", "builtin_function_or_method", "ufunc", "_ArrayFunctionDispatcher", "CPUDispatcher", "Kernel",
}  # fmt: skip


@dataclass(frozen=True)
class Value:
    """A value by which an argument is replaced."""

    label: str
    value: Any
    allowed: str = ANY
    behind: Any = None  # the same with other numbers behind the mask


def replacements(good: Any, name: str, described: str, optional: bool) -> Iterator[Value]:
    """What a good value is replaced by. Its kind decides, and what the docstring says of it."""
    if not optional:  # as its own default it is no bad value
        yield Value("None", None, ANY if "None" in described or "optional" in described else REFUSE)
    if good is None:
        yield from _foreign(ANY)
        yield from (replace(v, allowed=ANY) if v.allowed == SAME else v for v in _numbers(1.0, "", ANY))  # the same as what?
        yield from (Value(label, v) for label, v in (("2", 2), ("[1.0, 2.0]", [1.0, 2.0]), ("'x'", "x"), ("b'x'", b"x")))
    elif name == "rng":
        yield from _seeds()
    elif isinstance(good, bool | np.bool_):
        yield from _foreign(REFUSE)
        yield from (Value(repr(v), v, REFUSE) for v in ("yes", "", 2, float("nan"), [], [True]))
        yield from (Value("np.bool_", np.bool_(good), SAME), Value("0-d bool", np.array(good)), Value("1.0", 1.0))
    elif isinstance(good, os.PathLike):
        yield from _paths()
    elif isinstance(good, numbers.Real):
        yield from _foreign(REFUSE, callables="callable" not in described)
        yield from _numbers(good, described, REFUSE)
    elif _is_numbers(good) and described != "tuple":  # of anything
        yield from _foreign(REFUSE)
        yield from _arrays(np.asarray(good), ANY if "nan" in described.lower() else REFUSE)
    elif isinstance(good, str):
        yield from _strings(good)
    elif callable(good) and type(good).__name__ in _FUNCTIONS:
        yield from _foreign(REFUSE, callables=False)
        yield from _functions()
    elif is_tensor(good):
        yield from _foreign(REFUSE)
        yield from _tensors(good, name, ANY if "nan" in described.lower() else REFUSE)
    else:
        yield from _foreign(REFUSE if not isinstance(good, list | tuple | dict) else ANY)
        yield from (Value(repr(v), v) for v in (1, 1.5, float("nan"), "x", [None], [1], {"x": float("nan")}))
        yield Value("its class", type(good))


def is_tensor(value: Any) -> bool:
    """Whether it is a tensor of torch, which need not be there."""
    return type(value).__module__.partition(".")[0] == "torch" and hasattr(value, "detach")


def _foreign(allowed: str, *, callables: bool = True) -> Iterator[Value]:
    """What no argument is, or hardly any."""
    yield from (Value(repr(v), v, allowed) for v in ({}, {"a": 1}, {1.0}, b"3", "3", "nonsense", "", Ellipsis, NotImplemented))
    yield Value("object()", object(), allowed)
    yield Value("a module", np, allowed)
    yield Value("datetime64", np.datetime64("NaT"), allowed)
    yield Value("a generator", iter([1.0, 2.0]), allowed)
    if callables:
        yield Value("a function", lambda *args: 1.0, allowed)
        yield Value("a class", float, OWN if allowed == ANY else allowed)


def _numbers(good: Any, described: str, allowed: str) -> Iterator[Value]:
    whole = isinstance(good, numbers.Integral)
    array_like = "array" in described
    nan = ANY if "nan" in described.lower() else allowed
    yield Value("nan", float("nan"), nan)
    yield Value("np.float32 nan", np.float32("nan"), nan)
    yield Value("Decimal('NaN')", decimal.Decimal("NaN"), allowed)
    yield Value("Decimal('sNaN')", decimal.Decimal("sNaN"), allowed)
    yield from (Value(repr(v), v) for v in (0, -1, 1, 2, 0.0, -0.0, 0.5, 1.5, -0.5, float("inf"), -float("inf")))
    yield from (Value(repr(v), v) for v in (_HUGE, -_HUGE, 1.7e308, _TINY, -_TINY, 5e-324, 1e-160, 1e16, 1e9))
    yield from (Value(f"{'-' * (v < 0)}{label}", v) for label, v in (
        ("2**31", 2**31), ("2**63", 2**63), ("2**64", 2**64), ("10**20", 10**20), ("10**400", 10**400), ("10**400", -(10**400)),
    ))  # fmt: skip
    yield from (Value(f"Fraction({label})", v) for label, v in (
        ("1, 3", fractions.Fraction(1, 3)), ("10**400", fractions.Fraction(10**400)),
        ("1, 10**400", fractions.Fraction(1, 10**400)),
    ))  # fmt: skip
    yield from (Value(f"Decimal({v!r})", decimal.Decimal(v)) for v in ("1e400", "1e-400", "Infinity"))
    yield from (Value(f"np.{type(v).__name__}({v})", v) for v in (
        np.int8(-128), np.uint8(255), np.uint64(2**64 - 1), np.int64(2**63 - 1), np.float16("inf"), np.longdouble("1e4000"),
    ))  # fmt: skip
    yield Value("True", True, ANY if array_like else allowed)
    yield Value("complex with an imaginary part", complex(good, 1.0), allowed)
    yield Value("complex NaN", complex(float("nan"), 0.0), allowed)
    yield Value("its text", str(good), allowed)
    yield Value("array of strings", np.array([str(good)]), allowed)
    yield Value("[]", [])
    yield Value("[good]", [good])
    yield Value("ragged", [[1.0], [1.0, 2.0]], allowed)
    yield Value("masked", np.ma.masked, allowed)
    yield Value("0-d masked", np.ma.masked_array(float(good), mask=True), allowed)
    if whole and "int" in described and "float" not in described:
        yield Value("good + 0.5", good + 0.5, allowed)
        yield Value("good + Fraction(1, 2)", good + fractions.Fraction(1, 2), allowed)
    real = float(good)
    yield Value("np.float64", np.float64(real), SAME)
    yield Value("np.longdouble", np.longdouble(real), SAME)
    yield Value("0-d array", np.array(good), SAME)
    yield Value("0-d big-endian", np.array(real, dtype=">f8"), SAME)
    if math.isfinite(real):
        yield Value("Fraction", fractions.Fraction(real), SAME)
    yield Value("Decimal", decimal.Decimal(real), SAME)
    yield Value("complex without an imaginary part", complex(real), SAME)
    with np.errstate(over="ignore"):
        half = np.float16(real)
    if float(half) == real:
        yield Value("np.float16", half, SAME)
    if real.is_integer() and abs(real) < 100:
        yield from (Value(f"np.{t.__name__}", t(real), SAME) for t in (np.int8, np.int64))
        yield Value("whole float", real, SAME)
    if torch := _torch():
        yield Value("0-d tensor", torch.tensor(real, dtype=torch.float64), SAME)
        yield Value("0-d tensor with gradient", torch.tensor(real, dtype=torch.float64, requires_grad=True), SAME)
        yield Value("0-d tensor NaN", torch.tensor(float("nan")), allowed)


def _is_numbers(value: Any) -> bool:
    if not isinstance(value, list | tuple | range | np.ndarray):
        return False
    try:
        array = np.asarray(value)
    except ValueError:  # ragged
        return False
    return array.size > 0 and array.dtype.kind in "iuf"


def _arrays(good: np.ndarray, nan: str) -> Iterator[Value]:
    real = good.astype(float)
    yield from _layouts(good, real)
    yield from _elements(good, real, nan)
    yield from (Value(f"shape {a.shape}", a) for a in (
        np.zeros(0), np.zeros((0, 0)), np.zeros((0, 3)), real[..., None], real[None], real.T.copy(), real[:-1], real[..., :-1],
        np.concatenate([real, real]), np.zeros((2, 2, 2, 2)),
    ))  # fmt: skip
    yield Value("a scalar", float(real.flat[0]) if real.size else 1.0)
    yield Value("0-d array", np.array(1.0))
    yield from (Value(f"all {v}", np.full(real.shape, v)) for v in (0.0, 1.0, -1.0, _HUGE, _TINY, 5e-324, 1e-165, 1e16))
    yield from (Value(f"{v} times good", real * v) for v in (-1, 1e150, 1e-150, 1e8, 1e-8))
    yield Value("NaN all over", np.full(real.shape, np.nan), nan)
    yield Value("10**400 all over", _objects(real, 10**400))
    yield Value("complex", real + 1j, REFUSE)
    yield Value("complex NaN", np.full(real.shape, complex(0, np.nan)), REFUSE)
    yield Value("its text", real.astype(str), REFUSE)
    yield Value("bytes", real.astype("S"), REFUSE)
    yield Value("None all over", _objects(real, None), REFUSE)
    yield Value("objects all over", _objects(real, object()), REFUSE)
    yield Value("dates", np.zeros(real.shape, "datetime64[s]"), REFUSE)
    yield Value("time spans", np.zeros(real.shape, "timedelta64[s]"), REFUSE)
    yield Value("records", np.zeros(real.shape, [("x", float)]), REFUSE)
    yield Value("ragged", [[1.0], [1.0, 2.0]], REFUSE)
    yield Value("a set", set(real.ravel().tolist()), REFUSE)


def _elements(good: np.ndarray, real: np.ndarray, nan: str) -> Iterator[Value]:
    """One element in the middle replaced."""
    if not real.size:
        return
    middle = np.unravel_index(real.size // 2, real.shape) if real.ndim else ()
    for element in (np.nan, np.inf, -np.inf, -1.0, 0.0, -0.0, _HUGE, -_HUGE, _TINY, 5e-324, 0.5, 2.0, 1e9):
        changed = real.copy()
        changed[middle] = element
        yield Value(f"one element {element}", changed, nan if np.isnan(element) else ANY)
    for label, element in (("10**400", 10**400), ("None", None), ("'x'", "x"), ("nan Decimal", decimal.Decimal("NaN"))):
        changed = real.astype(object)
        changed[middle] = element
        yield Value(f"one element {label}", changed, ANY if label == "10**400" else REFUSE)
    mask = np.zeros(real.shape, bool)
    mask[middle] = True
    behind = good.copy()
    behind[middle] = behind[middle] * 2 + 1
    yield Value("one element masked", np.ma.masked_array(good, mask), MASKED, np.ma.masked_array(behind, mask))
    yield Value("all masked", np.ma.masked_array(good, np.ones(good.shape, bool)), REFUSE)


def _layouts(good: np.ndarray, real: np.ndarray) -> Iterator[Value]:
    """The same numbers in another form."""
    read_only = good.copy()
    read_only.flags.writeable = False
    strided = np.repeat(real, 2, axis=-1)[..., ::2] if real.ndim else real
    forms = {
        "list": real.tolist(),
        "tuple": tuple(real.tolist()) if real.ndim else real.tolist(),
        "read-only": read_only,
        "Fortran order": np.asfortranarray(real),
        "non-contiguous": strided,
        "reversed twice": real[::-1].copy()[::-1] if real.ndim else real,
        "big-endian": real.astype(">f8"),
        "longdouble": real.astype(np.longdouble),
        "object": real.astype(object),
        "nothing masked": np.ma.masked_array(real),
    }
    if np.isfinite(real).all():
        forms |= {"Fractions": _mapped(real, fractions.Fraction), "Decimals": _mapped(real, decimal.Decimal)}
    for kind in (np.float32, np.float16, np.int64, np.int8, np.uint8):
        with np.errstate(all="ignore"):
            if np.array_equal(real.astype(kind).astype(float), real):
                forms[kind.__name__] = real.astype(kind)
    if torch := _torch():
        forms["tensor"] = torch.tensor(real)
        forms["tensor with gradient"] = torch.tensor(real, requires_grad=True)
    yield from (Value(label, form, SAME) for label, form in forms.items())


def _objects(like: np.ndarray, element: Any) -> np.ndarray:
    array = np.empty(like.shape, object)
    array.fill(element)
    return array


def _mapped(array: np.ndarray, function: Callable[[float], Any]) -> np.ndarray:
    mapped = np.empty(array.shape, object)
    mapped.ravel()[:] = [function(float(x)) for x in array.ravel()]
    return mapped


def _seeds() -> Iterator[Value]:
    yield from (
        Value(repr(v), v, REFUSE) for v in (-1, 1.5, float("nan"), float("inf"), "x", "1", b"1", {}, object, True, 1j, [], [-1])
    )
    yield from (
        Value(repr(v), v) for v in (0, 2**200, (), (1, 2), [1, 2], np.int64(3), np.array([1, 2]), np.array(3), np.float64(2.0))
    )
    yield Value("RandomState", np.random.RandomState(1))
    yield Value("Generator", np.random.default_rng(1))
    yield Value("MT19937", np.random.Generator(np.random.MT19937(1)))
    yield Value("SeedSequence", np.random.SeedSequence(1))
    yield Value("np.random", np.random, REFUSE)


def _paths() -> Iterator[Value]:
    # A device is not among them: who writes whole files by renaming would replace it.
    of = (1, 1.5, b"x", "", ".", "no/such/file", "\0", "x" * 300, "/proc", "/proc/version", Path("/proc/x"), [], object())
    yield from (Value(repr(v)[:40], v) for v in of)


def _strings(good: str) -> Iterator[Value]:
    yield from (Value(repr(v), v) for v in (
        "nonsense", "", " ", "\0", "\n", good.upper() + "x", good + " ", "é" * 3, "\ud800", "[red]", "%s", "x" * 100_000,
    ))  # fmt: skip
    yield from (Value(repr(v), v, REFUSE) for v in (1, 1.5, float("nan"), 1j, {}, True, Ellipsis))
    yield from (Value(repr(v), v) for v in (b"x", [], [good], (good, good), np.array([good, good]), np.array(good), {good}))
    yield Value("np.str_", np.str_(good), SAME)
    yield Value("object()", object(), REFUSE)
    yield Value("a function", lambda *args: good, REFUSE)
    yield Value("a class", str, REFUSE)


def _functions() -> Iterator[Value]:
    yield from (Value(repr(v), v, REFUSE) for v in (1, 1.5, "x", [], {}))
    yield Value("no arguments", lambda: 1.0, OWN)
    yield Value("returns None", lambda *args, **more: None)
    yield Value("returns NaN", lambda *args, **more: float("nan"))
    yield Value("returns inf", lambda *args, **more: float("inf"))
    yield Value("returns a string", lambda *args, **more: "x")
    yield Value("returns an empty array", lambda *args, **more: np.zeros(0))
    yield Value("returns complex", lambda *args, **more: 1j)
    yield Value("returns a scalar", lambda *args, **more: 1.0)
    yield Value("returns shape (2, 3, 5)", lambda *args, **more: np.zeros((2, 3, 5)))
    yield Value("returns masked", lambda *args, **more: np.ma.masked)
    yield Value("np.sin", np.sin, OWN)
    yield Value("len", len, OWN)
    yield Value("a class", dict, OWN)


def _tensors(good: Any, name: str, nan: str) -> Iterator[Value]:
    torch = _torch()
    assert torch is not None
    detached = good.detach().clone()
    shapes = [detached[None], detached[..., None], detached.reshape(-1)[:1].reshape(())]
    shapes += [detached[:0], torch.cat([detached, detached])] if good.ndim else []
    yield from (Value(f"shape {tuple(t.shape)}", t) for t in shapes)
    yield Value("meta", detached.to("meta"), REFUSE)
    yield Value("complex", detached.to(torch.complex128) + 1j, REFUSE)
    yield Value("bool", detached.to(torch.bool))
    yield Value("list", detached.tolist())
    yield Value("array", np.asarray(detached.cpu()))
    yield Value("sparse", detached.to_sparse() if good.ndim else detached)
    if good.is_floating_point():
        for element in (float("nan"), float("inf"), -1.0, 1e30, 1e-40):
            changed = detached.clone()
            changed.reshape(-1)[good.numel() // 2 :][:1] = element
            # Of what others are to be like, type, length and device count, and not the numbers.
            missing = SAME if name == "like" else nan
            yield Value(f"one element {element}", changed, missing if element != element else ANY)
        yield Value("whole numbers", detached.to(torch.int64))
        yield Value("half", detached.half())
        yield Value("double", detached.double())
        yield Value("non-contiguous", torch.stack([detached, detached], -1)[..., 0], SAME)
        yield Value("with gradient", detached.clone().requires_grad_(), SAME)
    else:
        yield from (Value(f"all {v}", torch.full_like(detached, v)) for v in (-1, 100))
        yield Value("floating", detached.double())


def _torch() -> Any:
    try:
        import torch
    except ModuleNotFoundError:
        return None
    return torch
