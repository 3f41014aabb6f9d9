"""Finished blocks on disk, so that a study that was cut off computes only what is missing.

A block is a file of its own: an ``.npz`` without pickle with a SHA-256 of its contents and of its place in the study, written
under a temporary name, synced and renamed. Its folder is named by a hash of all that determines its numbers: the kernel, its
parameters and all that they reach, the random stream, the block size, the versions of NumPy, SciPy, Numba and Python, and our own
sources. A block that fails its checksum, and so one that lies in another's place, counts as missing.
"""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import importlib
import json
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from gradnoise.simulations.ensemble.block import Block, as_block, packed, unpacked
from gradnoise.simulations.ensemble.code_origin import OURS
from gradnoise.simulations.ensemble.function_identity import identity
from gradnoise.simulations.ensemble.provenance import versions
from gradnoise.simulations.ensemble.whole_files import remove_leftovers, replacing
from gradnoise.simulations.seeds import Stream
from gradnoise.theory._validation import as_count, as_function, as_instance, as_path, set_fields, shown

__all__ = ["BlockStore", "source_hash"]

_FORMAT = 3
_DECIDE = ("numpy", "scipy", "numba", "python", "machine")  # versions without a part in the numbers do not part studies


@dataclasses.dataclass(frozen=True)
class BlockStore:
    """Folder of one study's blocks.

    Attributes
    ----------
    folder : Path
        Named by a hash of all that decides the numbers, where `open` made it. Blocks know this name: those of another study are
        not taken for its own.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from gradnoise.simulations.ensemble import BlockStore
    >>> store = BlockStore(Path(tempfile.mkdtemp()))
    >>> store.save(0, 2, (np.array([1.0, 2.0]),))
    >>> store.load(0, 2), store.load(1, 2)
    ((array([1., 2.]),), None)
    >>> store.kept(1, 2, lambda: (np.array([3.0, 4.0]),)), store.load(1, 2)
    ((array([3., 4.]),), (array([3., 4.]),))
    """

    folder: Path

    def __post_init__(self) -> None:
        set_fields(self, folder=as_path(self.folder, "folder"))

    @classmethod
    def open(
        cls, store: str | os.PathLike[str], kernel: Callable[..., Any], params: tuple[Any, ...], stream: Stream, block_size: int
    ) -> BlockStore:
        """Open the folder of the study below `store`, creating it where it is new; where it is not, nothing need be written.

        Parameters
        ----------
        store : path
            A folder.
        kernel : callable
        params : tuple
        stream : Stream
        block_size : int
            See `gradnoise.simulations.ensemble.run`.

        Returns
        -------
        BlockStore

        Raises
        ------
        ValueError
            If the folder cannot be made.
        TypeError
            If something that the kernel or a parameter reaches cannot be known.

        Examples
        --------
        >>> import tempfile
        >>> from gradnoise.simulations.ensemble import BlockStore
        >>> from gradnoise.simulations.seeds import Stream
        >>> def kernel(n_paths, generator, scale):
        ...     return (scale * generator.standard_normal(n_paths),)
        >>> below = tempfile.mkdtemp()
        >>> first = BlockStore.open(below, kernel, (2.0,), Stream.of(1), 4096)
        >>> first == BlockStore.open(below, kernel, (2.0,), Stream.of(1), 4096)
        True
        >>> first == BlockStore.open(below, kernel, (3.0,), Stream.of(1), 4096)  # another study
        False
        """
        if not callable(kernel):
            raise TypeError(f"kernel must be a function, got {shown(kernel)}")
        if not isinstance(store, (str, os.PathLike)):
            raise TypeError(f"store must be the path of a folder, got {shown(store)}")
        if not isinstance(params, (tuple, list)):
            raise TypeError(f"params must be a tuple, got {shown(params)}")
        stream, block_size = as_instance(stream, "stream", Stream), as_count(block_size, "block_size")
        found = versions()
        study = {
            "format": _FORMAT,
            "kernel": [getattr(kernel, "__module__", ""), getattr(kernel, "__qualname__", ""), identity(kernel, "kernel")],
            "params": [identity(p, f"params[{i}]") for i, p in enumerate(params)],
            "stream": dataclasses.asdict(stream),
            "block_size": block_size,
            "versions": {name: found[name] for name in _DECIDE},
            "sources": source_hash(),
        }
        key = hashlib.sha256(json.dumps(study, sort_keys=True).encode()).hexdigest()[:32]
        try:
            folder = Path(store).resolve() / key  # workers have working directories of their own
            is_new = not folder.is_dir()
            folder.mkdir(parents=True, exist_ok=True)
            remove_leftovers(folder)
            _describe(folder / "study.json", json.dumps(study, indent=1, sort_keys=True) + "\n", is_new)
        except (OSError, ValueError, RuntimeError) as error:  # a null byte; a circle of links
            raise ValueError(f"store must be a folder that can be written, got {os.fspath(store)!r}: {error}") from None
        return cls(folder)

    def load(self, index: int, size: int) -> Block | None:
        """Return a finished block, or None where it is missing, damaged, or another one."""
        path = self._path(index, size)
        try:
            if not path.is_file():  # a pipe would wait for its writer
                return None
            with open(path, "rb") as file:
                return unpacked(file, self.folder.name, index, size)
        except OSError:
            return None

    def save(self, index: int, size: int, block: Block) -> None:
        """Write a block so that it is there whole or not at all, also after a power cut.

        Raises
        ------
        ValueError
            If it cannot be written, as on a full disk.
        TypeError
            If it is no block, a tuple of arrays of numbers.
        """
        self._write(index, size, as_block(block, "block must be"))

    def _write(self, index: int, size: int, block: Block) -> None:
        path = self._path(index, size)
        try:
            if path.exists() and not path.is_file():
                raise FileExistsError(errno.EEXIST, "what is there is no file", os.fspath(path))
            with replacing(path, sweep=False) as file:
                np.savez(file, **packed(block, self.folder.name, index, size))
        except OSError as error:
            raise self._unwritable(index, str(error)) from None

    def kept(self, index: int, size: int, compute: Callable[[], Block]) -> Block:
        """Return a block, which is computed and saved where it is missing."""
        as_function(compute, "compute")
        block = self.load(index, size)
        if block is None:
            if not os.access(self.folder, os.W_OK):  # as on a read-only disk, of which all that is there can be read
                raise self._unwritable(index, "the folder cannot be written")
            block = as_block(compute(), "compute must return")
            self._write(index, size, block)
        return block

    def _path(self, index: int, size: int) -> Path:
        index, size = as_count(index, "index", at_least=0), as_count(size, "size")
        return self.folder / f"block-{index:08d}-{size}.npz"

    def _unwritable(self, index: int, reason: str) -> ValueError:
        """An error that survives the way from a worker process: it is made of its text alone."""
        return ValueError(
            f"store must have room, and be writable, for the missing block {index} in {os.fspath(self.folder)!r}: {reason}. "
            "Finished blocks are kept: free space, or make it writable, and run again to continue"
        )


@cache
def source_hash() -> str:
    """SHA-256 of the sources of theory and simulations, whose results the blocks are."""
    digest = hashlib.sha256()
    for package in OURS:
        folder = Path(str(importlib.import_module(package).__file__)).parent
        for path in sorted(folder.rglob("*.py")):
            digest.update(f"{package}/{path.relative_to(folder).as_posix()}\n".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _describe(path: Path, text: str, is_new: bool) -> None:
    """Write for readers what the key of a study was made of; nothing depends on it."""
    try:
        if path.exists() and not path.is_file():
            return
        if is_new or path.stat().st_size != len(text) or path.read_text() != text:
            with replacing(path, sweep=False) as file:
                file.write(text.encode())
    except (OSError, UnicodeDecodeError):
        if is_new:
            raise
