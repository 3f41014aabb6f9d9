"""Images to train on: scikit-learn's digits, which need no file, and the official files of four data sets.

The files are looked for in the folder that is given, else in the one that ``GRADNOISE_DATA`` names.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat

from gradnoise.simulations.seeds import RNG, Stream
from gradnoise.theory._validation import as_choice, as_count

__all__ = ["DATASETS", "Dataset", "corrupt", "digest", "folder_of", "load", "subset"]

ENVIRONMENT_VARIABLE = "GRADNOISE_DATA"
_IDX_TYPES = {8: np.uint8}
_DIGITS_TRAINED = 1200


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images and labels.

    Attributes
    ----------
    name : str
    train_inputs, test_inputs : (n, channels, height, width) ndarray of float32
        Between 0 and 1.
    train_labels, test_labels : (n,) ndarray of int64
    n_classes : int

    Examples
    --------
    >>> from gradnoise.simulations.neural.data import load
    >>> digits = load("digits")
    >>> digits.name, digits.n_classes, digits.test_inputs.shape
    ('digits', 10, (597, 1, 8, 8))
    """

    name: str
    train_inputs: NDArray[np.float32]
    train_labels: NDArray[np.int64]
    test_inputs: NDArray[np.float32]
    test_labels: NDArray[np.int64]
    n_classes: int


def load(name: str = "digits", folder: str | os.PathLike[str] | None = None) -> Dataset:
    """Load a data set.

    Parameters
    ----------
    name : {"digits", "fashion-mnist", "cifar10", "cifar100", "svhn"}
        "digits" comes with scikit-learn: 8 × 8 images, 1,200 to train on and 597 to test. The others are read from their
        official files: IDX, gzipped or not; binary; .mat.
    folder : path, optional
        Where the files are, directly or in the folder that their archive unpacks to. By default that of the environment
        variable ``GRADNOISE_DATA``.

    Returns
    -------
    Dataset

    Raises
    ------
    ValueError
        If the data set is not known, a file is missing, or is not what its name says.

    Examples
    --------
    >>> from gradnoise.simulations.neural.data import load
    >>> digits = load("digits")
    >>> digits.train_inputs.shape, digits.train_labels.shape
    ((1200, 1, 8, 8), (1200,))
    >>> float(digits.train_inputs.min()), float(digits.train_inputs.max())
    (0.0, 1.0)
    """
    as_choice(name, "name", tuple(DATASETS))
    if name == "digits":
        return _digits()
    return DATASETS[name](folder_of(name, folder))


def folder_of(name: str, folder: str | os.PathLike[str] | None) -> Path:
    """Return the folder of a data set's files: the one given, or that of the environment.

    Parameters
    ----------
    name : str
        Of the data set, for the message.
    folder : path or None

    Returns
    -------
    Path

    Raises
    ------
    ValueError
        If there is neither.

    Examples
    --------
    >>> from gradnoise.simulations.neural.data import folder_of
    >>> folder_of("svhn", "images").name
    'images'
    """
    place = folder if folder is not None else os.environ.get(ENVIRONMENT_VARIABLE)
    if place is None:
        raise ValueError(f"folder must name the place of the files of {name}, or the variable {ENVIRONMENT_VARIABLE} must")
    return Path(place)


def digest(data: Dataset) -> str:
    """SHA-256 of all images and labels of a data set.

    Parameters
    ----------
    data : Dataset

    Returns
    -------
    str
        64 hexadecimal digits.

    Examples
    --------
    >>> from gradnoise.simulations.neural.data import digest, load, subset
    >>> digits = load("digits")
    >>> len(digest(digits)), digest(digits) == digest(subset(digits, 1_199, rng=1))
    (64, False)
    """
    found = hashlib.sha256()
    for array in (data.train_inputs, data.train_labels, data.test_inputs, data.test_labels):
        found.update(repr((array.shape, array.dtype)).encode())
        found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()


def subset(data: Dataset, n_train: int, n_test: int | None = None, *, rng: RNG) -> Dataset:
    """Draw a part of a data set, with as equal numbers of each class as there are.

    Parameters
    ----------
    data : Dataset
    n_train, n_test : int
        Images to keep; all to test on by default.
    rng : None, int, SeedSequence or Generator
        See `gradnoise.simulations.seeds.Stream.of`.

    Returns
    -------
    Dataset

    Examples
    --------
    >>> import numpy as np
    >>> from gradnoise.simulations.neural.data import load, subset
    >>> part = subset(load("digits"), n_train=20, rng=1)
    >>> np.bincount(part.train_labels).tolist(), len(part.test_labels)  # two of each class; all to test on
    ([2, 2, 2, 2, 2, 2, 2, 2, 2, 2], 597)
    """
    stream = Stream.of(rng)
    train = _balanced(data.train_labels, as_count(n_train, "n_train", at_most=len(data.train_labels)), stream.generator(0))
    everything = np.arange(len(data.test_labels))
    test = everything if n_test is None else _balanced(
        data.test_labels, as_count(n_test, "n_test", at_most=len(everything)), stream.generator(1)
    )  # fmt: skip
    return replace(
        data, train_inputs=data.train_inputs[train], train_labels=data.train_labels[train],
        test_inputs=data.test_inputs[test], test_labels=data.test_labels[test],
    )  # fmt: skip


def corrupt(labels: NDArray[Any], n_corrupted: int, n_classes: int, *, rng: RNG, kind: str = "wrong") -> NDArray[np.int64]:
    """Corrupt some of the labels.

    Parameters
    ----------
    labels : (n,) ndarray of int
    n_corrupted : int
        k, how many of the n, drawn without replacement.
    n_classes : int
        >= 2.
    rng : None, int, SeedSequence or Generator
        See `gradnoise.simulations.seeds.Stream.of`.
    kind : {"wrong", "uniform"}
        Another label than the right one, as in zhu2019, Appendix D.3, or any label, so that some stay right.

    Returns
    -------
    (n,) ndarray of int64

    Examples
    --------
    >>> import numpy as np
    >>> from gradnoise.simulations.neural.data import corrupt
    >>> labels = corrupt(np.zeros(6), n_corrupted=2, n_classes=2, rng=1)
    >>> np.bincount(labels).tolist()  # two of six zeros became ones
    [4, 2]
    """
    found = np.array(labels, dtype=np.int64)
    k = as_count(n_corrupted, "n_corrupted", at_least=0, at_most=len(found))
    classes = as_count(n_classes, "n_classes", at_least=2)
    generator = Stream.of(rng).generator(0)
    chosen = generator.choice(len(found), size=k, replace=False)
    if as_choice(kind, "kind", ("wrong", "uniform")) == "wrong":
        found[chosen] = (found[chosen] + generator.integers(1, classes, size=k)) % classes
    else:
        found[chosen] = generator.integers(classes, size=k)
    return found


def _balanced(labels: NDArray[np.int64], size: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Indices of a random part: the first of each class, then the second of each, and so on, in random order."""
    order = generator.permutation(len(labels))
    rank = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        of_class = np.flatnonzero(labels[order] == label)
        rank[of_class] = np.arange(len(of_class))
    return order[np.lexsort((generator.random(len(labels)), rank))[:size]]


def _digits() -> Dataset:
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError:
        raise ValueError("the digits need scikit-learn: pip install 'gradnoise[neural]'") from None
    images, labels = load_digits(return_X_y=True)
    inputs = (images.reshape(-1, 1, 8, 8) / 16).astype(np.float32)
    # They come writer by writer; a fixed order mixes the writers.
    order = np.random.default_rng(0).permutation(len(labels))
    train, test = order[:_DIGITS_TRAINED], order[_DIGITS_TRAINED:]
    targets = labels.astype(np.int64)
    return Dataset("digits", inputs[train], targets[train], inputs[test], targets[test], 10)


def _fashion_mnist(folder: Path) -> Dataset:
    parts = []
    for part in ("train", "t10k"):
        images = read_idx(_find(folder, f"{part}-images-idx3-ubyte", ".gz"))
        labels = read_idx(_find(folder, f"{part}-labels-idx1-ubyte", ".gz"))
        if images.ndim != 3 or labels.shape != images.shape[:1]:
            raise ValueError(f"{folder} must hold an image for each label, got shapes {images.shape} and {labels.shape} ({part})")
        parts += [_scaled(images[:, np.newaxis]), labels.astype(np.int64)]
    return Dataset("fashion-mnist", *parts, n_classes=10)


def _cifar10(folder: Path) -> Dataset:
    names = [f"data_batch_{k}.bin" for k in range(1, 6)], ["test_batch.bin"]
    return _cifar(folder, "cifar10", "cifar-10-batches-bin", names, 1, 10)


def _cifar100(folder: Path) -> Dataset:
    return _cifar(folder, "cifar100", "cifar-100-binary", (["train.bin"], ["test.bin"]), 2, 100)


def _cifar(folder: Path, name: str, unpacked: str, names: tuple[list[str], list[str]], n_labels: int, n_classes: int) -> Dataset:
    """Binary records: label bytes (of CIFAR-100 the coarse and the fine one), then 3,072 pixels, channel by channel."""
    parts = []
    for part in names:
        records = []
        for file in part:
            path = _find(folder, file, inside=unpacked)
            content = np.frombuffer(path.read_bytes(), dtype=np.uint8)
            if content.size == 0 or content.size % (n_labels + 3072):
                raise ValueError(f"{path} must be records of {n_labels + 3072} bytes, got {content.size} bytes; is it cut off?")
            records.append(content.reshape(-1, n_labels + 3072))
        whole = np.concatenate(records)
        labels = whole[:, n_labels - 1].astype(np.int64)
        _check_labels(labels, n_classes, folder)
        parts += [_scaled(whole[:, n_labels:].reshape(-1, 3, 32, 32)), labels]
    return Dataset(name, *parts, n_classes=n_classes)


def _svhn(folder: Path) -> Dataset:
    parts = []
    for part in ("train", "test"):
        path = _find(folder, f"{part}_32x32.mat")
        try:
            content = loadmat(path)
            images, labels = content["X"], content["y"].ravel()
        except Exception as error:  # damage makes the reader raise nearly anything
            raise ValueError(f"{path} must be a .mat file with X and y, got {error}") from None
        if images.shape[:3] != (32, 32, 3) or images.shape[3:] != labels.shape:
            raise ValueError(f"{path} must hold (32, 32, 3, n) images, got shape {images.shape} for {labels.size} labels")
        targets = labels.astype(np.int64) % 10  # a zero is written as 10
        parts += [_scaled(images.transpose(3, 2, 0, 1)), targets]
    return Dataset("svhn", *parts, n_classes=10)


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Read an IDX file of bytes, gzipped or not.

    Raises
    ------
    ValueError
        If it is no such file, or is cut off.
    """
    content = path.read_bytes()
    if content[:2] == b"\x1f\x8b":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError) as error:
            raise ValueError(f"{path} must be a whole gzip file, got {error}") from None
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _IDX_TYPES:
        raise ValueError(f"{path} must be an IDX file of bytes, got one that starts with {content[:4]!r}")
    n_axes, dtype = content[3], _IDX_TYPES[content[2]]
    header = 4 + 4 * n_axes
    shape = struct.unpack(f">{n_axes}I", content[4:header]) if len(content) >= header else ()
    expected = header + int(np.prod(shape, dtype=np.int64))
    if not shape or len(content) != expected:
        raise ValueError(f"{path} must have {expected} bytes for shape {shape}, got {len(content)}; is it cut off?")
    return np.frombuffer(content, dtype, offset=header).reshape(shape)


def _find(folder: Path, name: str, ending: str = "", inside: str = "") -> Path:
    """Find a file in the folder, or in the one that its archive unpacks to, with an ending or without."""
    candidates = [folder / part / f"{name}{e}" for part in {"": 0, inside: 0} for e in {"": 0, ending: 0}]
    for path in candidates:
        if path.is_file():
            return path
    raise ValueError(f"folder must hold {name}{ending and f' or {name}{ending}'}, got {str(folder)!r}, where it is not")


def _check_labels(labels: NDArray[np.int64], n_classes: int, place: Path) -> None:
    if labels.max() >= n_classes:
        raise ValueError(f"labels in {place} must be below {n_classes}, got {labels.max()}; are these other files?")


def _scaled(images: NDArray[Any]) -> NDArray[np.float32]:
    return np.ascontiguousarray(images, dtype=np.float32) / np.float32(255)


#: How each data set is read.
DATASETS: dict[str, Callable[[Path], Dataset]] = {
    "digits": lambda _: _digits(),
    "fashion-mnist": _fashion_mnist,
    "cifar10": _cifar10,
    "cifar100": _cifar100,
    "svhn": _svhn,
}
