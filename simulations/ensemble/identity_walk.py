"""A walk over all that a value reaches, which turns it into nested lists of numbers and strings."""

from __future__ import annotations

import builtins
import enum
import functools
import json
import reprlib
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from gradnoise.simulations.ensemble.code_origin import is_of_a_user, is_ours, named_in, origin
from gradnoise.simulations.ensemble.code_reach import ABSENT, attribute_of, found_by, reach, without_line
from gradnoise.simulations.ensemble.object_parts import (
    class_members,
    compiled_from,
    is_blind,
    overloads_of_users,
    parts_of,
    state_behind,
)
from gradnoise.simulations.ensemble.plain_values import NOT_PLAIN, array_form, plain_form

__all__ = ["Walk"]

_OF_EVERY_MODULE = {f"__{name}__" for name in ("builtins", "cached", "doc", "file", "loader", "name", "package", "path", "spec")}
_CONTAINERS = (list, tuple, dict, set, frozenset, functools.partial, np.ndarray)
_DESCRIPTORS = (
    types.ClassMethodDescriptorType, types.GetSetDescriptorType, types.MemberDescriptorType, types.MethodDescriptorType,
    types.WrapperDescriptorType,
)  # fmt: skip


class Walk:
    """Forms of values, where a function, a class or a module is a number of its definition.

    Numbers end circles. They are given in the order in which things are met, which is the same in all processes.

    Parameters
    ----------
    strict : bool
        Whether what cannot be known is refused; else it is the number of its place in `unknown`.
    ours_by_content : bool
        Whether theory and simulations are followed as a user's code is.

    Attributes
    ----------
    unknown : list
        What could not be known.
    compiled : list
        Compiled functions that were met.
    methods : list
        Those among them that are methods of compiled classes.
    """

    def __init__(self, *, strict: bool, ours_by_content: bool = False) -> None:
        self._strict, self._ours_by_content = strict, ours_by_content
        self._numbers: dict[int, int] = {}
        self._met: list[tuple[Callable[[Any, str], Any], Any, str]] = []  # holds them, so that no id is given twice
        self._open: list[int] = []
        self.unknown: list[Any] = []
        self.compiled: list[Any] = []
        self.methods: list[Any] = []

    def definitions(self) -> list[Any]:
        """Forms of all that was met, of what that meets in turn, and so on."""
        found = [define(value, name) for define, value, name in self._met]  # which grows on the way
        if not self.compiled:
            return found
        put = [[self.form(part, "an overload for Numba") for part in overload] for overload in overloads_of_users()]
        return [*found, put, *(define(value, name) for define, value, name in self._met[len(found) :])]

    def form(self, value: Any, name: str) -> Any:
        """Form of a value, which messages call `name`."""
        plain = plain_form(value)
        if plain is not NOT_PLAIN:
            return plain
        kind = type(value)  # not its __class__, which a proxy has from what it wraps
        if kind is types.FunctionType:
            if value.__globals__ is vars(functools) and "registry" in vars(value):  # of functools.singledispatch
                return ["dispatched", self.form(dict(vars(value)["registry"]), name)]
            return self._by_name(value, name) or self._number(self._function, value, value.__qualname__)
        if issubclass(kind, type):
            return self._by_name(value, name) or self._number(self._class, value, value.__qualname__)
        if issubclass(kind, types.ModuleType):
            stands_for = self._origin(value.__name__)
            if stands_for is None:
                return self._number(self._module, value, value.__name__)
            return self._named(stands_for, value.__name__, "", value, name)
        if id(value) in self._open:
            return ["within", self._open.index(id(value))]
        self._open.append(id(value))
        try:
            return self._content(value, name)
        except RecursionError:
            raise TypeError(f"{name} must not be nested deeper than Python's limit of recursion") from None
        finally:
            self._open.pop()

    def _content(self, value: Any, name: str) -> Any:
        kind: Any = type(value)
        if self._strict and is_blind(kind.__module__, "", value):
            raise TypeError(
                f"{name} must not be used where a store is given, as it is state of the process: {reprlib.repr(value)}"
            )
        if self._strict and isinstance(value, Path):
            raise TypeError(
                f"{name} must not be a path where a store is given, as the content of a file cannot be followed: read it before, "
                f"and hand on what it holds, got {value!r}"
            )
        if kind in (list, tuple):
            return [kind.__name__, *(self.form(v, _part(name, f"[{i}]")) for i, v in enumerate(value))]
        if kind is dict:
            pairs = [[self.form(k, f"a key of {name}"), self.form(v, _part(name, f"[{k!r}]"))] for k, v in value.items()]
            return ["dict", *pairs]  # in its order, which a function may follow
        if kind in (set, frozenset):
            return [kind.__name__, *sorted(self._apart(v, f"an element of {name}") for v in value)]
        if isinstance(value, np.ndarray) and (kind is np.memmap or kind.__module__.partition(".")[0] == "numpy"):
            return [kind.__name__ if kind is not np.memmap else "ndarray", *array_form(value, lambda v: self.form(v, name))]
        if isinstance(value, types.CodeType):
            return self._code(value, name)
        if isinstance(value, types.MethodType):
            return ["method", self.form(value.__self__, name), self.form(value.__func__, name)]
        if value is np.random.mtrand._rand:  # whose state is another one in each process
            return ["named", "numpy.random", "the generator of all"]
        if isinstance(value, enum.Enum):
            return ["enum", self.form(kind, name), value.name, self.form(value.value, name)]
        if isinstance(value, _DESCRIPTORS) and self._origin(value.__objclass__.__module__) is not None:
            return ["descriptor", self.form(value.__objclass__, name), value.__name__]
        if isinstance(value, types.BuiltinFunctionType):
            return self._built_in(value, name)
        if (compiled := compiled_from(value)) is not None:
            function, options = compiled
            self.compiled.append(value)
            return ["compiled", kind.__name__, self.form(function, name), self.form(options, f"an option of {name}")]
        if (named := self._by_name(value, name)) is not None:
            return named
        parts = parts_of(value)
        if parts is None:
            return self._refused(value, name)
        return ["object", *([key, self.form(part, _part(name, f".{key}") if key else name)] for key, part in parts)]

    def _number(self, define: Callable[[Any, str], Any], value: Any, name: str) -> Any:
        if id(value) not in self._numbers:
            self._numbers[id(value)] = len(self._met)
            self._met.append((define, value, name))
        return ["defined", self._numbers[id(value)]]

    def _apart(self, value: Any, name: str) -> str:
        """Form of an element of a set, whose order is another one in each process, with definitions of its own."""
        return json.dumps(self._by_itself(value, name, self._strict))

    def _by_itself(self, value: Any, name: str, strict: bool) -> list[Any]:
        """Form of a value with definitions of its own, whose numbers do not depend on what was met before."""
        walk = Walk(strict=strict, ours_by_content=self._ours_by_content)
        walk._open, walk.unknown, walk.compiled, walk.methods = [*self._open], self.unknown, self.compiled, self.methods
        return [walk.form(value, name), walk.definitions()]

    def _function(self, function: types.FunctionType, name: str) -> Any:
        """Definition of a function: its code, what it holds, and, where it is a user's, what it reads."""
        names = function.__code__.co_freevars
        cells = dict(zip(names, (_cell_content(cell) for cell in function.__closure__ or ()), strict=True))
        modules = {variable: value for variable, value in cells.items() if isinstance(value, types.ModuleType)}
        return [
            function.__module__, function.__qualname__, self.form(function.__code__, name),
            self.form(function.__defaults__, f"the defaults of {name}"),
            self.form(function.__kwdefaults__, f"the defaults of {name}"),
            [self._value(v, f"{k} (closed over by {name})") for k, v in cells.items() if k not in modules],
            [[k, self.form(v, f"{name}.{k}")] for k, v in vars(function).items()],
            [] if self._is_of_a_package(function) else list(self._read(function, modules, name)),
        ]  # fmt: skip

    def _read(self, function: types.FunctionType, cells: dict[str, Any], name: str) -> Iterator[Any]:
        """What the code of a function reads from outside, by name."""
        scope, found = function.__globals__, reach(function.__code__)
        if self._strict and found.hidden:
            raise TypeError(f"{name} must not read {found.hidden[0]} where a store is given, as what it gives cannot be followed")
        whole = set()
        for variable, chain in found.globals:
            value = scope.get(variable, vars(builtins).get(variable, ABSENT))
            if variable not in whole:
                yield variable, self._along(value, chain, variable, name)
            if not isinstance(value, types.ModuleType):
                whole.add(variable)
        for variable, chain in found.cells:
            if variable in cells:
                yield variable, self._along(cells[variable], chain, variable, name)
        for imported in found.imports:
            value, path = found_by(imported, scope)
            for chain in imported.chains:
                yield path, self._along(value, chain, path, name)

    def _along(self, value: Any, chain: tuple[str, ...], path: str, function: str) -> Any:
        """Follow attributes as long as they are those of modules; what the last one gives counts as a whole."""
        named = f"{path} (read by {function})"
        for attribute in chain:
            if not isinstance(value, types.ModuleType) or attribute == "__dict__":
                break
            module, value = value, attribute_of(value, attribute)
            path = f"{path}.{attribute}"
            named = f"{path} (read by {function})"
            stands_for = self._origin(module.__name__)
            if stands_for is not None and value is not ABSENT:
                by_name = self._named(stands_for, module.__name__, attribute, value, named)
                if not self._has_content(value):
                    # What a package has under this name may be another thing of a package that was put there.
                    return self._by_name(value, named) or [by_name, self._inside(value, named)]
        return self._value(value, named)

    def _inside(self, value: Any, name: str) -> Any:
        """Form of an object of a package that no name stands for, as a user may have put something into it; if it can be told."""
        try:
            return self._by_itself(value, name, strict=True)
        except Exception:  # of what cannot be told its name remains; an object of a library may raise anything
            return None

    def _value(self, value: Any, name: str) -> Any:
        return ["absent"] if value is ABSENT else self.form(value, name)

    def _has_content(self, value: Any) -> bool:
        """Whether an attribute of a package is to be followed: a constant, a container, or a user's that was put there."""
        kind = type(value)
        if kind is types.MethodType:
            return self._has_content(value.__func__)
        if isinstance(value, types.ModuleType) or kind in _CONTAINERS or plain_form(value) is not NOT_PLAIN:
            return True
        if kind is types.FunctionType:
            return not self._is_of_a_package(value)
        if issubclass(kind, type):
            return self._by_name(value, "") is None
        compiled = compiled_from(value)
        return self._has_content(compiled[0]) if compiled is not None else self._origin(kind.__module__) is None

    def _code(self, code: types.CodeType, name: str) -> Any:
        """Form of bytecode, without its file and lines."""
        counts = [code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags]
        names = [code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars]
        instructions, constants = without_line(code)
        tables = [instructions.hex(), code.co_exceptiontable.hex()]
        return ["code", code.co_name, counts, names, tables, [self.form(c, name) for c in constants]]

    def _class(self, cls: type, name: str) -> Any:
        """Definition of a class: its bases and members."""
        bases = [self.form(base, f"a base of {name}") for base in (*cls.__bases__, type(cls))]
        before = len(self.compiled)
        members = [[key, self.form(member, f"{name}.{key}")] for key, member in class_members(cls)]
        if type(cls).__module__.startswith("numba."):
            self.methods += self.compiled[before:]
        return [cls.__module__, cls.__qualname__, bases, members]

    def _module(self, module: types.ModuleType, name: str) -> Any:
        """Definition of a module of which all may be used."""
        content = sorted((key, value) for key, value in vars(module).items() if key not in _OF_EVERY_MODULE)
        return [name, [[key, self.form(value, f"{name}.{key} (of a module that is used as a whole)")] for key, value in content]]

    def _built_in(self, function: types.BuiltinFunctionType, name: str) -> Any:
        owner = function.__self__
        if owner is None or isinstance(owner, types.ModuleType):
            return self._by_name(function, name) or self._refused(function, name)
        return ["method", self.form(owner, name), function.__name__]

    def _by_name(self, value: Any, name: str) -> Any:
        """Form of what a package has under a name; None where it is not, or not known as one."""
        qualname = attribute_of(value, "__qualname__", None) or attribute_of(value, "__name__", None)
        if not isinstance(qualname, str):
            return None
        if isinstance(value, types.FunctionType) and not self._is_of_a_package(value):
            return None
        for module in _homes(value):
            stands_for = self._origin(module)
            if stands_for is not None and named_in(module, qualname) is value:
                return self._named(stands_for, module, qualname, value, name)
        return None

    def _named(self, stands_for: str, module: str, qualname: str, value: Any, name: str) -> Any:
        if self._strict and is_blind(module, qualname, value):
            raise TypeError(
                f"{name} must not be used where a store is given, as what it reaches cannot be followed: "
                f"{module}{'.' if qualname else ''}{qualname}"
            )
        patches = self._patches(value) if isinstance(value, type) else []
        state = state_behind(module)
        return ["named", stands_for, module, qualname, *state, *([key, self.form(put, f"{name}.{key}")] for key, put in patches)]

    def _patches(self, cls: type) -> list[tuple[str, Any]]:
        """Functions of a user's that were put into a class of a package, also as a property or a method of the class."""
        members = [(key, member) for base in cls.__mro__ for key, member in vars(base).items()]
        return [(key, member) for key, member in members if any(map(self._is_of_a_user, _functions_in(member)))]

    def _origin(self, module: str) -> str | None:
        if is_ours(module):
            return None if self._ours_by_content else "ours"
        return origin(module)

    def _is_of_a_package(self, function: types.FunctionType) -> bool:
        module = _module_of(function)
        return module is not None and self._origin(module) is not None

    def _is_of_a_user(self, function: types.FunctionType) -> bool:
        module = _module_of(function)  # None where a package has made it on the way, as the methods of a named tuple
        return is_of_a_user(module)

    def _refused(self, value: Any, name: str) -> Any:
        if not self._strict:
            self.unknown.append(value)
            return ["unknown", len(self.unknown)]
        raise TypeError(
            f"{name} must be something whose content can be followed where a store is given, as numbers, strings, arrays, "
            f"functions, classes, and objects of these are, got {type(value).__name__}: {reprlib.repr(value)}"
        )


def _functions_in(member: Any) -> Iterator[types.FunctionType]:
    """Functions of which a member of a class is made."""
    for function in (member, *(getattr(member, name, None) for name in ("__func__", "fget", "fset", "func"))):
        if isinstance(function, types.FunctionType):
            yield function


def _cell_content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # of a variable that has no value yet
        return ABSENT


def _module_of(function: types.FunctionType) -> str | None:
    """Module whose variables a function reads; None where they are those of none."""
    module = function.__globals__.get("__name__")
    if not isinstance(module, str) or vars(sys.modules.get(module, object)) is not function.__globals__:
        return None
    return module


def _part(name: str, which: str) -> str:
    """Name of a part: what stands in brackets behind a name stays behind."""
    name, bracket, reader = name.partition(" (")
    return f"{name}{which}{bracket}{reader}"


def _homes(value: Any) -> Iterator[str]:
    """Names of modules in which a value may be at home."""
    module = attribute_of(value, "__module__", None)
    if isinstance(module, str):
        yield module
    elif isinstance(value, np.ufunc):
        yield from ("numpy", "scipy.special")
    elif isinstance(value, types.BuiltinFunctionType) and isinstance(value.__self__, types.ModuleType):
        yield value.__self__.__name__
