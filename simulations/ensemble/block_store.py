"""Finished blocks on disk, so that a study that was cut off computes only what is missing.

A block is a file of its own: an ``.npz`` without pickle with a SHA-256 of its contents, written under a temporary name,
synced and renamed. Its folder is named by a hash of all that determines its numbers: the kernel and its parameters, the
random stream, the block size, the versions of NumPy, Numba and Python, and our own sources. A block that fails its checksum
counts as missing.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import inspect
import io
import json
import numbers
import os
import platform
import reprlib
from abc import ABC
from collections.abc import Callable
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Generic, Protocol

import numpy as np

from gradnoise.simulations.ensemble.function_identity import referenced_globals
from gradnoise.simulations.ensemble.whole_files import replacing
from gradnoise.simulations.seeds import Stream

__all__ = ["BlockStore", "source_hash"]

Block = tuple[np.ndarray, ...]
_FORMAT = 2
_HASHED_PACKAGES = ("gradnoise.theory", "gradnoise.simulations")
_GENERATED = ("<string>", dataclasses.__file__, reprlib.__file__)  # where the dataclass decorator's methods come from


@dataclasses.dataclass(frozen=True)
class BlockStore:
    """Folder of one study's blocks.

    Attributes
    ----------
    folder : Path
        Named by a hash of all that decides the numbers, where `open` made it.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from gradnoise.simulations.ensemble import BlockStore
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = BlockStore(Path(folder))
    ...     store.save(0, 2, (np.array([1.0, 2.0]),))
    ...     print(store.load(0, 2), store.load(1, 2))
    (array([1., 2.]),) None
    """

    folder: Path

    @classmethod
    def open(
        cls, root: str | os.PathLike[str], kernel: Callable[..., Any], params: tuple[Any, ...], stream: Stream, block_size: int
    ) -> BlockStore:
        """Open the folder of the study below `root`, creating it where it is new.

        Raises
        ------
        ValueError
            If the folder cannot be written.
        TypeError
            If a parameter has no canonical form.
        """
        function = getattr(kernel, "py_func", kernel)  # of a compiled kernel
        if not inspect.isfunction(function):
            raise TypeError(f"kernel must be a function where a store is given, got {kernel!r}")
        if not isinstance(root, (str, os.PathLike)):
            raise TypeError(f"store must be the path of a folder, got {root!r}")
        identity = {
            "format": _FORMAT,
            "kernel": [function.__module__, function.__qualname__, _function_hash(function, "kernel")],
            "params": [_canonical(p, f"params[{i}]") for i, p in enumerate(params)],
            "stream": dataclasses.asdict(stream),
            "block_size": block_size,
            "versions": [np.__version__, importlib.import_module("numba").__version__, platform.python_version()],
            "machine": platform.machine(),
            "sources": source_hash(),
        }
        key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:32]
        folder = Path(root).resolve() / key  # workers have working directories of their own
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "study.json").write_text(json.dumps(identity, indent=1, sort_keys=True) + "\n")
        except OSError as error:
            raise ValueError(f"store must be a folder that can be written, got {os.fspath(root)!r}: {error}") from None
        return cls(folder)

    def load(self, index: int, size: int) -> Block | None:
        """Return a finished block, or None where it is missing or damaged."""
        try:
            content = self._path(index, size).read_bytes()
        except OSError:
            return None
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as archive:
                arrays = tuple(archive[f"array_{i}"] for i in range(len(archive.files) - 1))
                return arrays if str(archive["sha256"]) == _checksum(arrays) else None
        except Exception:  # damage makes zip and npy readers raise nearly anything; the block is then computed again
            return None

    def save(self, index: int, size: int, arrays: Block) -> None:
        """Write a block so that it is there whole or not at all, also after a power cut."""
        named: dict[str, Any] = {f"array_{i}": a for i, a in enumerate(arrays)}
        with replacing(self._path(index, size)) as file:
            np.savez(file, sha256=np.array(_checksum(arrays)), **named)

    def _path(self, index: int, size: int) -> Path:
        return self.folder / f"block-{index:08d}-{size}.npz"


@cache
def source_hash() -> str:
    """SHA-256 of the sources of theory and simulations, whose results the blocks are."""
    digest = hashlib.sha256()
    for package in _HASHED_PACKAGES:
        folder = Path(str(importlib.import_module(package).__file__)).parent
        for path in sorted(folder.rglob("*.py")):
            digest.update(f"{package}/{path.relative_to(folder).as_posix()}\n".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _function_hash(function: Callable[..., Any], name: str, seen: tuple[Any, ...] = ()) -> str:
    """Hash of the file of a function, which may be a user's, and of what the function closes over and reads as globals.

    Code that was typed into a session is refused: nothing would tell two versions of it apart.
    """
    try:
        source = Path(inspect.getfile(function)).read_bytes()
    except (OSError, TypeError):
        raise TypeError(
            f"{name} must be defined in a file where a store is given, so that its code is known, got {function!r}"
        ) from None
    closure = [cell.cell_contents for cell in function.__closure__ or ()]
    captured = _canonical([*closure, *(function.__defaults__ or ())], f"a value that {name} closes over,", (*seen, function))
    if not function.__module__.startswith(_HASHED_PACKAGES):
        read = referenced_globals(function).items()
        captured += [[key, _canonical(value, f"{key}, a global of {name},", (*seen, function))] for key, value in read]
    return hashlib.sha256(source + json.dumps(captured).encode()).hexdigest()


def _checksum(arrays: Block) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _canonical(value: Any, name: str, seen: tuple[Any, ...] = ()) -> Any:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value).hex()
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufU":
        return ["array", value.dtype.str, list(value.shape), _checksum((value,))]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _canonical_object(value, {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}, name, seen)
    function = getattr(value, "py_func", value)  # of a compiled one
    if inspect.isfunction(function):
        known = function in seen
        return ["function", function.__module__, function.__qualname__, "" if known else _function_hash(function, name, seen)]
    if inspect.ismodule(value) or inspect.isclass(value) or inspect.isbuiltin(value) or isinstance(value, np.ufunc):
        return ["named", getattr(value, "__module__", None) or "", value.__name__]
    if isinstance(value, (tuple, list)):
        return [_canonical(v, f"{name}[{i}]", seen) for i, v in enumerate(value)]
    if _is_its_attributes(value):
        return _canonical_object(value, vars(value), name, seen)
    raise TypeError(
        f"{name} must be a number, string, array or function, or a dataclass, plain object or tuple of these, to be stored, "
        f"got {type(value).__name__}"
    )


def _canonical_object(value: Any, fields: dict[str, Any], name: str, seen: tuple[Any, ...]) -> Any:
    cls = type(value)
    known = cls in seen or cls.__module__.startswith(_HASHED_PACKAGES)  # our sources are in the key as a whole
    code = [] if known else _class_code(cls, f"{cls.__name__}, the class of {name},", (*seen, cls))
    return [cls.__module__, cls.__qualname__, code, {k: _canonical(v, f"{name}.{k}", seen) for k, v in fields.items()}]


def _is_its_attributes(value: Any) -> bool:
    """Whether Python itself would copy an object by its attributes, which are then all that it is."""
    cls = type(value)
    in_python = all("__module__" in vars(base) and not vars(base).get("__slots__") for base in cls.__mro__[:-1])
    copied = all(getattr(cls, name) is getattr(object, name) for name in ("__reduce__", "__reduce_ex__", "__getstate__"))
    return hasattr(value, "__dict__") and in_python and copied


def _class_code(cls: type, name: str, seen: tuple[Any, ...]) -> list[Any]:
    """Files, methods and constants of a user's class and of its bases, but for ours."""
    code: list[Any] = []
    for base in cls.__mro__:
        if base in (object, ABC, Generic, Protocol) or base.__module__.startswith(_HASHED_PACKAGES):
            continue
        try:
            code.append(hashlib.sha256(Path(inspect.getfile(base)).read_bytes()).hexdigest())
        except (OSError, TypeError):
            raise TypeError(f"{name} must be defined in a file where a store is given, so that its code is known") from None
        for key, member in vars(base).items():
            inner = _function_of(member)
            if inspect.isfunction(inner):
                # The dataclass decorator writes methods from the fields.
                if not (key.startswith("__") and inner.__code__.co_filename in _GENERATED):
                    code.append([key, _canonical(inner, f"{key} of {name}", seen)])
            elif not (key.startswith("__") or key == "_abc_impl" or inspect.ismemberdescriptor(inner)):
                code.append([key, _canonical(inner, f"{key} of {name}", seen)])
    return code


def _function_of(member: Any) -> Any:
    match member:
        case property(fget=inner) | cached_property(func=inner) | staticmethod(__func__=inner) | classmethod(__func__=inner):
            return inner
    return member
