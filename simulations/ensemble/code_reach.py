"""What code reads from outside itself, told from its bytecode: globals, attributes of modules, and imports inside it.

The bytecode is what runs, also where its file was edited since or there is none. Of ``helpers.constants.C`` the whole chain
counts, so that another function of ``helpers`` may change. Where a module is used in any other way, as an argument or by another
name, its chain is empty, and it counts as a whole.
"""

from __future__ import annotations

import dis
import importlib
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from types import CodeType
from typing import Any

__all__ = ["ABSENT", "Import", "Reach", "attribute_of", "found_by", "reach", "without_line"]

#: Stands for what is not there.
ABSENT: Any = object()

_GLOBAL_LOADS = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")
_CELL_LOADS = ("LOAD_DEREF", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_DEREF")
_ATTRIBUTE_LOADS = ("LOAD_ATTR", "LOAD_METHOD")
#: Attributes by whose names more is reached than can be seen; a user's own of such a name is refused, too, on the safe side.
_HIDDEN = (
    "__annotations__", "__builtins__", "__globals__", "__subclasses__", "f_back", "f_builtins", "f_globals", "f_locals",
    "now", "open", "read_bytes", "read_text", "today", "utcnow",
)  # fmt: skip
_OPEN_STORES = ("STORE_GLOBAL", "STORE_NAME")  # of a variable of the module, or of a class
_NOT_READ = ("LOAD_FAST_AND_CLEAR",)  # puts a variable aside for a comprehension
_SILENT = ("CACHE", "EXTENDED_ARG", "NOP", "NOT_TAKEN", "PUSH_NULL", "RESUME")
_FAST = re.compile("(LOAD|STORE)_FAST")  # two in one instruction since Python 3.13


@dataclass(frozen=True)
class Import:
    """An import inside a function.

    Attributes
    ----------
    module : str
        As it is written.
    level : int
        Dots before it.
    name : str or None
        What is taken from it by ``from ... import``.
    top : bool
        Whether ``import a.b`` gives ``a``.
    chains : tuple of tuple of str
        Attributes of what was imported that are read; an empty chain is the whole.
    """

    module: str
    level: int
    name: str | None
    top: bool
    chains: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Reach:
    """What code reads, each with chains of attributes: by global name, by name of a cell, and by imports.

    Of attributes that lead from a thing to others which it does not hold, the names are in `hidden`.
    """

    globals: tuple[tuple[str, tuple[str, ...]], ...]
    cells: tuple[tuple[str, tuple[str, ...]], ...]
    imports: tuple[Import, ...]
    hidden: tuple[str, ...]


@lru_cache(maxsize=4096)
def reach(code: CodeType) -> Reach:
    """Return what code, and functions and classes inside it, read from outside."""
    globals_read: set[tuple[str, tuple[str, ...]]] = set()
    cells_read: set[tuple[str, tuple[str, ...]]] = set()
    imported: list[tuple[str, int, str | None, bool, str | None]] = []
    local_reads: set[tuple[str, tuple[str, ...]]] = set()
    for part in _parts(code):
        instructions = [i for i in dis.get_instructions(part) if i.opname not in _SILENT]
        for at, instruction in enumerate(instructions):
            chain = _attributes(instructions, at + 1)
            *others, last = _read(instruction, part) or [None]
            if instruction.opname in _GLOBAL_LOADS:
                globals_read.add((str(last), chain))
            elif instruction.opname in _CELL_LOADS:
                cells_read.add((str(last), chain))
            else:
                local_reads.update((name, ()) for name in others if name)
                if last:
                    local_reads.add((last, chain))
        imported += _imports(instructions)
    # A variable is known by its name: in a function inside, one of the same name adds to what is read, which is on the safe side.
    reads = local_reads | cells_read | globals_read
    found = []
    for module, level, name, top, variable in imported:
        chains = {chain for read, chain in reads if read == variable} if variable else {()}
        found.append(Import(module, level, name, top, tuple(sorted(chains))))
    hidden = {name for part in _parts(code) for name in part.co_names if name in _HIDDEN}
    return Reach(tuple(sorted(globals_read)), tuple(sorted(cells_read)), tuple(found), tuple(sorted(hidden)))


def attribute_of(value: Any, name: str, default: Any = ABSENT) -> Any:
    """Return an attribute, or a default where there is none."""
    try:
        return getattr(value, name)
    except Exception:  # what makes its attributes late, as some modules and proxies do, may raise anything
        return default


def found_by(imported: Import, scope: dict[str, Any]) -> tuple[Any, str]:
    """Return what an import inside a function gives, and its path; it is made now, as the function would make it."""
    path = "." * imported.level + imported.module
    try:
        module = importlib.import_module(path, scope.get("__package__"))
        if imported.top:
            return sys.modules[imported.module.partition(".")[0]], imported.module.partition(".")[0]
        if imported.name is None:
            return module, path
        path = f"{path}.{imported.name}"
        if not hasattr(module, imported.name) and hasattr(module, "__path__"):
            importlib.import_module(f"{module.__name__}.{imported.name}")
        return attribute_of(module, imported.name), path
    except Exception:  # a module may raise anything; the function meets it too if it comes there
        return ABSENT, path


def without_line(code: CodeType) -> tuple[bytes, tuple[Any, ...]]:
    """Return bytecode and constants without the line at which a class begins, which is among them since Python 3.13."""
    instructions, constants = bytearray(code.co_code), list(code.co_consts)
    if "__firstlineno__" in code.co_names:
        listed = list(dis.get_instructions(code))
        for load, store in pairwise(listed):
            if (store.opname, store.argval) != ("STORE_NAME", "__firstlineno__"):
                continue
            if load.opcode not in dis.hasconst:  # a small number stands in the instruction itself
                instructions[load.offset + 1] = 0
            elif sum(i.opcode in dis.hasconst and i.arg == load.arg for i in listed) == 1:  # and is no other constant, too
                constants[load.arg or 0] = None
    return bytes(instructions), tuple(constants)


def _parts(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _parts(constant)


def _read(instruction: dis.Instruction, code: CodeType) -> list[str]:
    """Names of variables that an instruction puts on the stack, in their order."""
    op, value = instruction.opname, instruction.argval
    if op in _GLOBAL_LOADS or op in _CELL_LOADS:
        return [str(value)]
    if op in _NOT_READ:
        return []
    kinds, names = _FAST.findall(op), value if isinstance(value, tuple) else (value,)
    cells = code.co_cellvars + code.co_freevars  # loaded like this, they are handed on to a function inside
    return [n for kind, n in zip(kinds, names, strict=False) if kind == "LOAD" and n not in cells]


def _attributes(instructions: list[dis.Instruction], start: int) -> tuple[str, ...]:
    chain = []
    for at in range(start, len(instructions)):  # and no slice of it, which long code would feel
        if instructions[at].opname not in _ATTRIBUTE_LOADS:
            break
        chain.append(str(instructions[at].argval))
    return tuple(chain)


def _imports(instructions: list[dis.Instruction]) -> Iterator[tuple[str, int, str | None, bool, str | None]]:
    """Module, level, name, whether it is the top package, and the variable that holds it, of all imports."""
    for at, instruction in enumerate(instructions):
        if instruction.opname != "IMPORT_NAME":
            continue
        module, level = str(instruction.argval), int(instructions[at - 2].argval)
        rest = instructions[at + 1 :]  # imports inside functions are few
        taken = instructions[at - 1].argval  # names after "from ... import"
        if not taken:
            inner = [i.opname == "IMPORT_FROM" for i in rest[:1]] == [True]  # "import a.b as c" takes b from a
            stores = (i for i in rest if i.opname.startswith("STORE_"))
            yield module, level, None, not inner, _stored(next(stores, None))
            continue
        for name in taken:
            where = next((k for k, i in enumerate(rest) if i.opname == "IMPORT_FROM" and i.argval == name), None)
            yield module, level, name, False, None if where is None else _stored(rest[where + 1])


def _stored(instruction: dis.Instruction | None) -> str | None:
    """Variable that an instruction stores into; None where it is none that others do not read, and all of the value counts."""
    if instruction is None or not instruction.opname.startswith("STORE_") or instruction.opname in _OPEN_STORES:
        return None
    value = instruction.argval
    return str(value[0] if isinstance(value, tuple) else value)
