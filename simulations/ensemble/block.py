"""What a kernel returns for a block of paths: arrays of numbers that come back from a store, or a process, as they were made."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np

__all__ = ["Block", "as_block", "packed", "unpacked"]

Block = tuple[np.ndarray, ...]

_KINDS = (np.ndarray, np.memmap, np.ma.MaskedArray)  # all that is in them is known; a subclass may have more


def as_block(result: Any, what: str = "kernel must return", *, copy: bool = True) -> Block:
    """Check what a kernel returned, and lay it out in memory as files and processes do.

    Sums round by the order in memory, and a file has C or Fortran order. So an array of any other order is copied to C order,
    whether it will be stored or not. All others are copied, too, unless told otherwise: a kernel may write its next block into
    the same memory. Messages begin with `what`.

    Raises
    ------
    TypeError
        If it is no tuple of arrays of numbers.
    """
    if not isinstance(result, tuple):
        raise TypeError(f"{what} a tuple of numeric arrays, got {type(result).__name__}")
    for i, array in enumerate(result):
        below = type(array.data) if type(array) is np.ma.MaskedArray else type(array)
        if type(array) not in _KINDS or below not in _KINDS or array.dtype.kind not in "biufc":
            kind = f"{below.__name__} of {array.dtype}" if isinstance(array, np.ndarray) else type(array).__name__
            raise TypeError(f"{what} a tuple of numeric arrays, got {kind} at place {i}")
    return tuple(_laid_out(array, copy) for array in result)


def packed(block: Block, study: str, index: int, size: int) -> dict[str, Any]:
    """Arrays of a block's file, and a checksum of them and of which block of which study it is."""
    parts: dict[str, np.ndarray] = {}
    for i, array in enumerate(block):
        name = f"array_{i}"
        parts[name] = array.view(np.ndarray)
        if isinstance(array, np.ma.MaskedArray):
            parts[f"{name}_mask"], parts[f"{name}_fill"] = np.ma.getmaskarray(array), np.asarray(array.fill_value)
            parts[f"{name}_hard"] = np.array(array.hardmask)
    return {**parts, "sha256": np.array(_checksum(parts, study, index, size))}


def unpacked(file: BinaryIO, study: str, index: int, size: int) -> Block | None:
    """Return the block of a file; None where it is damaged, or is another one."""
    try:
        with np.load(file, allow_pickle=False) as archive:
            if any(part.compress_type != zipfile.ZIP_STORED for part in archive.zip.infolist()):  # not ours, and of any size
                return None
            parts = {name: archive[name] for name in archive.files if name != "sha256"}
            whole = str(archive["sha256"]) == _checksum(parts, study, index, size)
        return tuple(_restored(parts, f"array_{i}") for i in range(sum(n.count("_") == 1 for n in parts))) if whole else None
    except Exception:  # damage makes zip and npy readers raise nearly anything; the block is then computed again
        return None


def _laid_out(array: np.ndarray, copy: bool) -> np.ndarray:
    if isinstance(array, np.ma.MaskedArray):
        data, mask = _laid_out(array.data, copy), _laid_out(np.ma.getmaskarray(array), copy)
        return np.ma.MaskedArray(data, mask, fill_value=array.fill_value, hard_mask=array.hardmask)
    if isinstance(array, np.memmap):
        array = array.view(np.ndarray)
    if array.dtype.metadata is not None:  # which no file keeps
        array = array.view(np.dtype(array.dtype.str))
    if not array.flags.forc:
        return array.copy(order="C")
    return array.copy(order="K") if copy else array


def _restored(parts: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    if f"{name}_mask" in parts:
        mask, fill, hard = (parts[f"{name}_{part}"] for part in ("mask", "fill", "hard"))
        return np.ma.MaskedArray(parts[name], mask, fill_value=fill.item(), hard_mask=bool(hard))
    return parts[name]


def _checksum(parts: Mapping[str, np.ndarray], study: str, index: int, size: int) -> str:
    digest = hashlib.sha256(f"{study} {index} {size}\n".encode())
    for name, array in parts.items():
        order = "C" if array.flags.c_contiguous else "F"
        digest.update(f"{name} {array.dtype.str} {array.shape} {order}\n".encode())
        digest.update(array.tobytes(order="A"))
    return digest.hexdigest()
