"""How a call ends: with a right answer, with an error that names the argument, or wrongly."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import inspect
import itertools
import math
import numbers
import os
import re
import shutil
import tempfile
import traceback
import types
import warnings
from collections.abc import Callable, Iterator, Mapping, Set
from pathlib import Path
from typing import Any

import numpy as np

from .trials import Fault

__all__ = ["Refused", "answers", "documents", "end_of", "flatten", "fresh", "nonsense", "same", "where"]

#: What must hold of a result whose name has the word, whatever the arguments are.
_RANGES: dict[str, tuple[float, float]] = {
    "probability": (0, 1),
    "probabilities": (0, 1),
    "alignment": (-1, 1),
    "accuracy": (0, 1),
    "standard_error": (0, math.inf),
    "standard_errors": (0, math.inf),
    "variance": (0, math.inf),
    "risk": (0, math.inf),
}
_ROUNDING = 1e-9
_DEPTH, _ITEMS = 4, 40
#: Methods without arguments that write, draw or go back to the start of the same object.
_NOT_ASKED = re.compile(r"plot|save|draw|write|close|reset")


def end_of(call: Callable[[], Any], names: set[str], *, paths: bool = False) -> tuple[Any, Fault | None]:
    """Make a call; return its result, or what is wrong with its end. A refusal that names an argument is neither."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            result = call()
            if isinstance(result, contextlib.AbstractContextManager) and type(result).__module__ == "contextlib":
                with result:
                    return None, None
            return list(itertools.islice(result, 100)) if inspect.isgenerator(result) else result, None
        except Warning as error:
            return (Refused, None) if _is_of_user(error) else (None, _fault("warning", error))
        except (ValueError, TypeError) as error:
            named = _named(str(error), names) or _is_of_user(error)
            return Refused, None if named else _fault("does not name the argument", error)
        except OSError as error:  # of a path that cannot be read or written, if it says which
            return Refused, None if paths and error.filename is not None else _fault("other exception", error)
        except (KeyboardInterrupt, SystemExit, Exception) as error:
            if _is_of_user(error):
                return Refused, None
            return None, _fault("memory" if isinstance(error, MemoryError) else "other exception", error)


class Refused:
    """Stands for the result of a call that was refused."""


def _is_of_user(error: BaseException) -> bool:
    """Whether it was raised by a function that an example defines: what a user's function raises is the user's."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return frame.f_code.co_filename.startswith("<doctest")


def _fault(kind: str, error: BaseException) -> Fault:
    return Fault(kind, f"{type(error).__name__} at {where(error)}", f"{type(error).__name__}: {error}"[:200])


def where(error: BaseException) -> str:
    """The innermost line of ours that an exception went through, else the innermost line."""
    frames = [(f.f_globals.get("__name__", "?"), line) for f, line in traceback.walk_tb(error.__traceback__)]
    ours = [f for f in frames if not f[0].startswith("fuzz.") and f[0].partition(".")[0] not in ("numpy", "scipy", "torch")]
    name, line = next((f for f in reversed(frames) if f[0].startswith("gradnoise.")), (ours or frames)[-1])
    return f"{name.removeprefix('gradnoise.')}:{line}"


def _named(message: str, names: set[str]) -> bool:
    """Whether a message has one of the names, or its plain words."""
    for name in names:
        for form in {name, name.replace("_", " ")}:
            if re.search(rf"(?<![A-Za-z0-9_]){re.escape(form)}(?![A-Za-z0-9_])", message):
                return True
    return False


def flatten(value: Any, path: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Numbers, arrays and strings within a result, with the names under which they stand there."""
    if depth > _DEPTH or value is None or isinstance(value, type | types.ModuleType | types.FunctionType):
        return
    if isinstance(value, bool | int | float | complex | str | bytes | np.ndarray | np.generic):
        yield path, value
    elif isinstance(value, numbers.Real):  # a fraction
        with contextlib.suppress(OverflowError):  # it is exact; what computes with it will overflow
            yield path, float(value)
    elif type(value).__module__.partition(".")[0] == "torch":
        if hasattr(value, "detach"):
            yield path, np.asarray(value.detach().cpu().double() if value.is_floating_point() else value.detach().cpu())
    else:
        for inner, part in _parts(value, path):
            yield from flatten(part, inner, depth + 1)


def documents(value: Any, package: str, path: str = "", depth: int = 0) -> Iterator[tuple[str, str]]:
    """What the docstrings of a package say of the objects within a result, and under which names these stand there."""
    if depth > _DEPTH or isinstance(value, type):
        return
    yield from ((path, inspect.getdoc(kind) or "") for kind in type(value).__mro__ if _is_of(kind, package))
    for inner, part in _parts(value, path):
        yield from documents(part, package, inner, depth + 1)


def _parts(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """What a container or a record holds, with the names under which it stands there."""
    if isinstance(value, Mapping):
        yield from ((f"{path}[{key!r}]", value[key]) for key in list(value)[:_ITEMS])
    elif isinstance(value, list | tuple):
        names = getattr(value, "_fields", None) or [f"[{i}]" for i in range(len(value))]
        for name, item in list(zip(names, value, strict=True))[:_ITEMS]:
            yield (f"{path}{name}" if name.startswith("[") else f"{path}.{name}"), item
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield from ((f"{path}.{f.name}", getattr(value, f.name, None)) for f in dataclasses.fields(value))


def _is_of(kind: type | types.FunctionType, package: str) -> bool:
    return kind.__module__.partition(".")[0] == package


def answers(result: Any, package: str) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Properties of an object of the package, and its methods that need no argument."""
    owner = type(result)
    if not any(_is_of(kind, package) for kind in owner.__mro__):
        return
    for name in dir(owner):
        if name.startswith("_") or _NOT_ASKED.search(name):
            continue
        value = inspect.getattr_static(owner, name)
        if isinstance(value, property) or type(value).__name__ == "cached_property":
            yield name, lambda name=name: getattr(result, name)
        elif inspect.isfunction(value) and _is_of(value, package) and len(inspect.signature(value).parameters) >= 1:
            others = list(inspect.signature(value).parameters.values())[1:]
            if all(p.default is not p.empty or p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in others):
                yield name, lambda name=name: getattr(result, name)()


def nonsense(result: Any, name: str, documented: str, package: str) -> Fault | None:
    """What is wrong with numbers of a result: NaN and infinity that nobody announced, and values that cannot be."""
    said = list(documents(result, package))
    for path, value in flatten(result):
        array = np.asarray(value)
        if array.dtype.kind not in "fc" and not (array.dtype.kind in "iu" and array.ndim):
            continue
        at = path or "result"
        announced = "\n".join([documented, *(text for above, text in said if path.startswith(above))])
        if np.isnan(array).any() and not re.search(r"\bnan\b", announced, re.I):
            return Fault("NaN", at, f"{at} = {_short(value)}")
        if np.isinf(array).any() and not re.search(r"\binf|∞|infinit", announced, re.I):
            return Fault("infinite", at, f"{at} = {_short(value)}")
        word = re.sub(r"\[.*?\]", "", path).rpartition(".")[2] or name.rpartition(".")[2]
        if array.dtype.kind == "c" or not array.size:
            continue
        for key, (low, high) in _RANGES.items():
            if (word == key or word.endswith(f"_{key}")) and not (
                (array >= low - _ROUNDING).all() and (array <= high + _ROUNDING).all()
            ):
                return Fault("nonsense", at, f"{at} = {_short(value)}")
    return _upside_down(result, name.rpartition(".")[2])


def _upside_down(result: Any, name: str) -> Fault | None:
    """An interval whose ends have changed places, in a field of that name or as the answer of a method."""
    ends = {f".{name}{path}": value for path, value in flatten(result)}
    for path, low in ends.items():
        high = ends.get(f"{path[:-3]}[1]")
        if path.endswith("interval[0]") and high is not None and low > high:
            return Fault("nonsense", path[:-3], f"{path[:-3]} = {low}, {high}")
    return None


def same(first: Any, second: Any, varying: Set[str] = frozenset()) -> str:
    """Where two results differ by more than rounding; empty where they do not."""
    one = {p: v for p, v in flatten(first) if p not in varying}
    other = {p: v for p, v in flatten(second) if p not in varying}
    for path in one.keys() | other.keys():
        if path not in one or path not in other:
            return path or "result"
        a, b = np.asarray(one[path]), np.asarray(other[path])
        if not {a.dtype.kind, b.dtype.kind} <= set("biufc"):
            continue
        if a.shape != b.shape or not np.allclose(a, b, rtol=1e-6, atol=1e-12, equal_nan=True):
            return path or "result"
    return ""


def _short(value: Any) -> str:
    return " ".join(repr(value).split())[:80]


def fresh(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Copy of arguments, and of temporary folders that they name, as a call may use them up."""
    folders = {name: _copied(value) for name, value in arguments.items() if _is_folder(value)}
    try:
        return copy.deepcopy(dict(arguments)) | folders
    except Exception:
        return dict(arguments) | folders


def _is_folder(value: Any) -> bool:
    if not isinstance(value, str | Path) or not os.path.isdir(value):
        return False
    return Path(tempfile.gettempdir()) in Path(value).parents


def _copied(folder: Any) -> Any:
    """Copy of a folder where the process works, which is cleared after it."""
    place = tempfile.mkdtemp(dir=os.getcwd())
    shutil.copytree(folder, place, dirs_exist_ok=True)
    return type(folder)(place)
