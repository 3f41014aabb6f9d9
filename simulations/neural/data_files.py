"""Readers of the official data files, which trust nothing that a file says of itself.

A reader knows what its file can hold at most, and reads no more: a header can promise terabytes, and a megabyte inflate to
gigabytes. Whatever is wrong with a file is a ValueError that names it; of damage a decompressor raises nearly anything.
"""

from __future__ import annotations

import gzip
import io
import math
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat, whosmat

_MAT_HEADER, _MAT_MAGIC, _MAT_COMPRESSED, _MAT_TAGS = 128, b"MATLAB 5.0", 15, 2**16
_MAT_MATRIX, _MAT_COMPLEX, _MAT_NUMERIC = 14, 0x800, range(6, 16)
#: Bytes of a number, by its type in a file.
_MAT_SIZES = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 4, 9: 8, 12: 8, 13: 8}
_MAT_NUMBERS = ("double", "single", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")


def find(folder: Path, name: str, ending: str = "", inside: str = "") -> Path:
    """Find a file in the folder, or in the one that its archive unpacks to, with an ending or without.

    Parameters
    ----------
    folder : Path
    name, ending, inside : str

    Returns
    -------
    Path

    Raises
    ------
    ValueError
        If it is not there.

    Examples
    --------
    >>> from pathlib import Path
    >>> from gradnoise.simulations.neural.data_files import find
    >>> find(Path("images"), "train-labels-idx1-ubyte", ".gz")
    Traceback (most recent call last):
    ValueError: folder must hold train-labels-idx1-ubyte or train-labels-idx1-ubyte.gz, got 'images', where it is not
    """
    candidates = [folder / part / f"{name}{e}" for part in {"": 0, inside: 0} for e in {"": 0, ending: 0}]
    for path in candidates:
        if os.path.isfile(path):  # also where the system cannot say, or takes no such name
            return path
    raise ValueError(f"folder must hold {name}{ending and f' or {name}{ending}'}, got {str(folder)!r}, where it is not")


def read_idx(path: Path, item: tuple[int, ...], most: int) -> NDArray[np.uint8]:
    """Read an IDX file of bytes, gzipped or not.

    Parameters
    ----------
    path : Path
    item : tuple of int
        Shape of each.
    most : int
        How many there can be.

    Returns
    -------
    (n, ...) ndarray of uint8

    Raises
    ------
    ValueError
        If it is no such file, or is damaged or cut off.

    Examples
    --------
    >>> import gzip, tempfile
    >>> from pathlib import Path
    >>> from gradnoise.simulations.neural.data_files import read_idx
    >>> file = Path(tempfile.mkdtemp()) / "labels.gz"
    >>> _ = file.write_bytes(gzip.compress(bytes([0, 0, 8, 1, 0, 0, 0, 2, 5, 7])))
    >>> read_idx(file, (), most=10)
    array([5, 7], dtype=uint8)
    """
    header = 8 + 4 * len(item)
    content = _content(path, header + most * math.prod(item))
    if content[:4] != bytes([0, 0, 8, 1 + len(item)]):
        raise ValueError(
            f"{path} must be an IDX file of bytes with {1 + len(item)} axes, got one that starts with {content[:4]!r}"
        )
    shape = struct.unpack(f">{1 + len(item)}I", content[4:header]) if len(content) >= header else ()
    if shape[1:] != item or not shape:
        raise ValueError(f"{path} must have shape (n, {', '.join(map(str, item))}), got {shape}; is it cut off?")
    if len(content) != header + math.prod(shape):
        raise ValueError(
            f"{path} must have {header + math.prod(shape)} bytes for shape {shape}, got {len(content)}; is it cut off?"
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def read_records(path: Path, size: int, most: int) -> NDArray[np.uint8]:
    """Read a binary file of records.

    Parameters
    ----------
    path : Path
    size : int
        Bytes of a record.
    most : int
        How many there can be.

    Returns
    -------
    (n, size) ndarray of uint8

    Raises
    ------
    ValueError
        If it is empty, or cut off within a record.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from gradnoise.simulations.neural.data_files import read_records
    >>> file = Path(tempfile.mkdtemp()) / "records.bin"
    >>> _ = file.write_bytes(bytes([1, 2, 3, 4]))
    >>> read_records(file, 2, most=10).tolist()
    [[1, 2], [3, 4]]
    """
    content = _content(path, size * most)
    if not content or len(content) % size:
        raise ValueError(f"{path} must be records of {size} bytes, got {len(content)} bytes; is it cut off?")
    return np.frombuffer(content, np.uint8).reshape(-1, size)


def read_mat(path: Path, item: tuple[int, ...], most: int) -> tuple[NDArray[np.uint8], NDArray[np.generic]]:
    """Read images X and labels y of a MATLAB 5 file.

    Parameters
    ----------
    path : Path
    item : tuple of int
        Shape of an image; X has one more axis behind it.
    most : int
        How many there can be.

    Returns
    -------
    images : (n, ...) ndarray
        With the axis of X that counts them first.
    labels : (n,) ndarray

    Raises
    ------
    ValueError
        If it is no such file, or is damaged or cut off.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from scipy.io import savemat
    >>> from gradnoise.simulations.neural.data_files import read_mat
    >>> file = Path(tempfile.mkdtemp()) / "two.mat"
    >>> savemat(file, {"X": np.zeros((4, 4, 3, 2), dtype=np.uint8), "y": np.array([[1], [10]])})
    >>> images, labels = read_mat(file, (4, 4, 3), most=10)
    >>> images.shape, labels
    ((2, 4, 4, 3), array([ 1, 10]))
    """
    limit = most * (math.prod(item) + 8) + _MAT_TAGS
    content = _content(path, limit)
    with _naming(path, "a whole MATLAB 5 file with numbers X and y"):
        plain = _inflated(content, limit)
        held = {name: (shape, kind) for name, shape, kind in whosmat(io.BytesIO(plain))}
        # Looked at before anything is read: a cell array of 2³¹ is a header of few bytes.
        if any(held[name][1] not in _MAT_NUMBERS for name in "Xy"):
            raise ValueError(f"X and y of {held['X'][1]} and {held['y'][1]}")
        if held["X"][0][:-1] != item or held["y"][0] not in ((held["X"][0][-1], 1), (1, held["X"][0][-1])):
            raise ValueError(f"X of shape {held['X'][0]} and y of shape {held['y'][0]}")
        found = loadmat(io.BytesIO(plain), variable_names=("X", "y"))
        return np.moveaxis(found["X"], -1, 0), found["y"].ravel()


def _inflated(content: bytes, limit: int) -> bytes:
    """A MATLAB 5 file with its compressed parts as plain ones, of which none is longer than what is allowed."""
    if content[: len(_MAT_MAGIC)] != _MAT_MAGIC:
        raise ValueError(f"one that starts with {content[: len(_MAT_MAGIC)]!r}")
    tag = "<II" if content[_MAT_HEADER - 2 : _MAT_HEADER] == b"IM" else ">II"
    parts, at = [content[:_MAT_HEADER]], _MAT_HEADER
    while at < len(content):
        kind, size = struct.unpack_from(tag, content, at)
        part, at = content[at : at + 8 + size], at + 8 + size
        if at > len(content):
            raise ValueError(f"one that ends after {len(content)} bytes")
        if kind == _MAT_COMPRESSED:
            stream = zlib.decompressobj()
            part = stream.decompress(part[8:], limit)
            if not stream.eof:  # cut off, or with more to come
                raise ValueError(f"a part that does not end within {limit} bytes")
        _check_matrix(part, tag)
        parts.append(part)
    return b"".join(parts)


def _check_matrix(part: bytes, tag: str) -> None:
    """See that an array of numbers has as many as its shape says, of a type that there is: loadmat believes it, and crashes."""
    if struct.unpack_from(tag, part)[0] != _MAT_MATRIX:
        return
    elements, at = [], 8
    while at < len(part) and len(elements) < 4:  # flags, shape, name, and numbers
        first, size = struct.unpack_from(tag, part, at)
        if first >> 16:  # a small one has both in one word, and its content in the other
            kind, size, start, at = first & 0xFFFF, first >> 16, at + 4, at + 8
        else:
            kind, start, at = first, at + 8, at + 8 + -(-size // 8) * 8
        elements.append((kind, size, start))
        if start + size > len(part):
            raise ValueError(f"an array that ends after {len(part)} bytes")
    word = tag[:2]
    flags = struct.unpack_from(word, part, elements[0][2])[0]
    if flags & 0xFF not in _MAT_NUMERIC:
        return
    _, size, start = elements[1]
    shape = struct.unpack_from(f"{tag[0]}{size // 4}i", part, start)
    kind, size, _ = elements[3]
    if flags & _MAT_COMPLEX or kind not in _MAT_SIZES or size != math.prod(shape) * _MAT_SIZES[kind]:
        raise ValueError(f"an array of shape {shape} with {size} bytes of type {kind}")


def _content(path: Path, limit: int) -> bytes:
    """Bytes of a file, gunzipped where it is gzipped, of which there are at most so many."""
    with _naming(path, "a whole file that can be read"):
        with open(path, "rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
        with (gzip.open if packed else open)(path, "rb") as file:
            content = file.read(limit + 1)
    if len(content) > limit:
        raise ValueError(f"{path} must have at most {limit} bytes{' unpacked' * packed}, got more; is it the other part's file?")
    return content


@contextmanager
def _naming(path: Path, wanted: str) -> Iterator[None]:
    """Context in which whatever is raised is said of a file."""
    try:
        yield
    except Exception as error:
        raise ValueError(f"{path} must be {wanted}, got {str(error) or type(error).__name__}") from None
