"""What is public, and good calls of it: those that the examples of docstrings make, seen by a profiler."""

from __future__ import annotations

import contextlib
import copy
import doctest
import importlib
import inspect
import io
import os
import pkgutil
import sys
import tempfile
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Call", "EntryPoint", "entry_points", "files", "modules", "record"]

FLOORS = ("theory", "simulations", "claims", "testing", "figures")
#: Packages whose files are doors, each by itself.
OPEN = {*FLOORS, "simulations.neural"}
#: Operators that a user meets as arithmetic on an object.
_OPERATORS = {"__call__", "__getitem__", "__matmul__"}
#: Calls kept of each entry point: examples show its forms one after another.
_CALLS = 2


@dataclass(frozen=True)
class Call:
    """A good call: arguments by name, in order; those of ``*args`` are one tuple."""

    arguments: Mapping[str, Any]


@dataclass
class EntryPoint:
    """A public function, class or method."""

    name: str
    function: Callable[..., Any]  # whose signature and docstring count
    kind: str  # function, class, method or classmethod
    calls: list[Call] = field(default_factory=list)
    inner: list[Call] = field(default_factory=list)  # made by the package itself, where no example makes one

    @property
    def signature(self) -> inspect.Signature:
        """Of what is called; a method's begins with ``self``."""
        return inspect.signature(self.function)

    @property
    def is_result(self) -> bool:
        """Whether it is a class that only the package makes: it describes attributes, and no parameters."""
        text = inspect.getdoc(self.function) or ""
        return self.kind == "class" and "Attributes\n---" in text and "Parameters\n---" not in text

    def invoke(self, arguments: Mapping[str, Any]) -> Any:
        """Make a call."""
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        for name, value in arguments.items():
            kind = self.signature.parameters[name].kind
            if kind is inspect.Parameter.VAR_POSITIONAL:
                args += value
            elif kind is inspect.Parameter.VAR_KEYWORD:
                kwargs |= value
            elif kind is inspect.Parameter.KEYWORD_ONLY:
                kwargs[name] = value
            else:
                args.append(value)
        return self.function(*args, **kwargs)


def modules(floors: Iterable[str] = FLOORS) -> list[types.ModuleType]:
    """Doors of the floors, and files that are doors by themselves. What needs a library that is not there is left out."""
    found = []
    for floor in floors:
        package = importlib.import_module(f"gradnoise.{floor}")
        names = [package.__name__, *(m.name for m in _walk(package))]
        for name in names:
            inner = name.removeprefix("gradnoise.")
            parent, _, last = inner.rpartition(".")
            if last.startswith("_") or (floor == "figures" and last != "registry"):
                continue
            with contextlib.suppress(ModuleNotFoundError):
                module = importlib.import_module(name)
                if hasattr(module, "__path__") or parent in OPEN:
                    found.append(module)
    return found


def files(floors: Iterable[str] = FLOORS) -> list[types.ModuleType]:
    """All modules of the floors: examples of public names stand where they are defined."""
    found = []
    for floor in floors:
        package = importlib.import_module(f"gradnoise.{floor}")
        for name in (package.__name__, *(m.name for m in _walk(package))):
            with contextlib.suppress(ModuleNotFoundError):
                found.append(importlib.import_module(name))
    return found


def _walk(package: types.ModuleType) -> Iterator[pkgutil.ModuleInfo]:
    yield from pkgutil.walk_packages(package.__path__, f"{package.__name__}.", onerror=lambda name: None)


def entry_points(doors: Iterable[types.ModuleType], package: str = "gradnoise.") -> list[EntryPoint]:
    """Public functions, classes and their public methods, each once."""
    found: dict[int, EntryPoint] = {}
    doors = list(doors)
    public_classes = {
        value for door in doors for name in getattr(door, "__all__", ()) if isinstance(value := getattr(door, name), type)
    }
    for door in doors:
        for name in getattr(door, "__all__", ()):
            value = getattr(door, name)
            if not _is_of(value, package) or id(value) in found or hasattr(value, "py_func"):  # a kernel checks nothing
                continue
            public = f"{door.__name__.removeprefix(package)}.{name}"
            if inspect.isfunction(value):
                found[id(value)] = EntryPoint(public, value, "function")
            elif inspect.isclass(value) and not getattr(value, "_is_protocol", False) and not issubclass(value, BaseException):
                if not (inspect.isabstract(value) or typing.is_typeddict(value)):
                    found[id(value)] = EntryPoint(public, value, "class")
                above = public_classes & set(value.__mro__[1:])  # whose methods are their own
                for point in _methods(value, public, package):
                    if not any(_is_same(getattr(base, point.name.rpartition(".")[2], None), point.function) for base in above):
                        found[id(point)] = point
    return list(found.values())


def _is_of(value: Any, package: str) -> bool:
    return f"{getattr(value, '__module__', '')}.".startswith(package)


def _is_same(one: Any, other: Any) -> bool:
    """Whether two methods are one; those of a class are bound anew each time."""
    return getattr(one, "__func__", one) is getattr(other, "__func__", other)


def _methods(owner: type, public: str, package: str) -> Iterator[EntryPoint]:
    for name in dir(owner):
        # What torch calls itself, as `forward` of a network, is traced and mapped, where no values can be looked at.
        if any(name in vars(base) for base in owner.__mro__ if base.__module__.partition(".")[0] == "torch"):
            continue
        value = inspect.getattr_static(owner, name)
        inner = value.__func__ if isinstance(value, classmethod | staticmethod) else value
        ours = _is_of(inner, package)
        if not inspect.isfunction(inner) or not ours or (name.startswith("_") and name not in _OPERATORS):
            continue
        if getattr(inner, "__isabstractmethod__", False):
            continue
        if isinstance(value, classmethod | staticmethod):
            kind = "classmethod" if isinstance(value, classmethod) else "function"
            yield EntryPoint(f"{public}.{name}", getattr(owner, name), kind)
        else:
            yield EntryPoint(f"{public}.{name}", inner, "method")


def record(points: Iterable[EntryPoint], documented: Iterable[types.ModuleType], progress: Callable[[str], object] = len) -> None:
    """Run the examples of modules, and keep the calls that they make of entry points."""
    recorder = _Recorder(points)
    finder = doctest.DocTestFinder(exclude_empty=True)
    here = os.getcwd()
    for module in documented:
        progress(module.__name__)
        for test in finder.find(module):
            with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
                os.chdir(folder)
                sys.setprofile(recorder)
                try:
                    doctest.DocTestRunner(verbose=False).run(test, out=lambda text: None, clear_globs=False)
                finally:
                    sys.setprofile(None)
                    os.chdir(here)
    for point in recorder.points:
        if not point.is_result:
            point.calls = point.calls or point.inner


class _Recorder:
    """A profiler that copies the arguments of calls of entry points."""

    def __init__(self, points: Iterable[EntryPoint]) -> None:
        self.points = list(points)
        self.by_code: dict[types.CodeType, list[EntryPoint]] = {}
        for point in self.points:
            made = inspect.unwrap(point.function.__init__ if point.kind == "class" else point.function)
            code = getattr(made, "__code__", None)
            if code is not None:
                self.by_code.setdefault(code, []).append(point)

    def __call__(self, frame: types.FrameType, event: str, arg: Any) -> None:
        if event != "call" or frame.f_code not in self.by_code:
            return
        for point in self.by_code[frame.f_code]:
            wrappers = _wrappers(point)
            caller = frame.f_back
            while caller is not None and (caller.f_code in wrappers or caller.f_globals.get("__name__") == "contextlib"):
                caller = caller.f_back
            shown = caller is not None and caller.f_code.co_filename.startswith("<doctest")
            kept = point.calls if shown else point.inner
            if len(kept) < _CALLS and (arguments := _arguments(point, frame)) is not None:
                kept.append(Call(arguments))


def _wrappers(point: EntryPoint) -> set[types.CodeType]:
    """Code of the decorators of an entry point, which stand between it and its caller."""
    found, function = set(), point.function.__init__ if point.kind == "class" else point.function
    while (inner := getattr(function, "__wrapped__", None)) is not None:
        found.add(getattr(function, "__code__", None))
        function = inner
    return found


def _arguments(point: EntryPoint, frame: types.FrameType) -> dict[str, Any] | None:
    """Copy of the arguments of a call that begins; None if it is of another class, or they cannot be copied."""
    code, values = frame.f_code, frame.f_locals
    names = list(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount])
    names += [n for n in point.signature.parameters if n not in names and n in values]  # *args and **kwargs
    if point.kind in ("class", "classmethod"):
        made, owner = values[names[0]], point.function if point.kind == "class" else getattr(point.function, "__self__", None)
        if (made if point.kind == "classmethod" else type(made)) is not owner:
            return None
        names = names[1:]
    elif point.kind == "method":
        owner = type(values[names[0]])
        if getattr(owner, point.name.rpartition(".")[2], None) is not point.function:
            return None
    try:
        given = copy.deepcopy({name: values[name] for name in names})
    except Exception:
        return None
    return {name: given[name] for name in point.signature.parameters if name in given}
