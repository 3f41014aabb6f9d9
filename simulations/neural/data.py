"""Images to train on: scikit-learn's digits, which need no file, and the official files of four data sets.

The files are looked for in the folder that is given, else in the one that ``GRADNOISE_DATA`` names.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gradnoise.simulations.neural.data_files import find, read_idx, read_mat, read_records
from gradnoise.simulations.neural.images import Images, as_labels
from gradnoise.simulations.seeds import RNG, Stream
from gradnoise.theory._validation import as_choice, as_count, as_path

__all__ = ["DATASETS", "Dataset", "corrupt", "digest", "load", "subset"]

ENVIRONMENT_VARIABLE = "GRADNOISE_DATA"
_DIGITS_TRAINED = 1200
_Part = tuple[NDArray[np.uint8], NDArray[np.int64]]
_MOST_CLASSES = 10**6  # of which tables are made


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images and labels.

    Attributes
    ----------
    name : str
    train_inputs, test_inputs : (n, channels, height, width) ndarray of float32
        Between 0 and 1.
    train_labels, test_labels : (n,) ndarray of int64
        From 0 to n_classes − 1.
    n_classes : int

    Raises
    ------
    TypeError, ValueError
        If an array is of another type or shape, is empty, or holds what is not allowed, NaN included.

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

    def __post_init__(self) -> None:
        classes = range(as_count(self.n_classes, "n_classes", at_most=_MOST_CLASSES))
        for part in ("train", "test"):
            inputs, labels = (getattr(self, f"{part}_{name}") for name in ("inputs", "labels"))
            kinds = [type(array) if _is_no_array(array) else array.dtype for array in (inputs, labels)]
            if kinds != [np.float32, np.int64]:
                raise TypeError(f"{part}_inputs and {part}_labels must be ndarrays of float32 and int64, got {kinds}")
            if inputs.ndim != 4 or not inputs.size:
                raise ValueError(f"{part}_inputs must be (n, channels, height, width) and not empty, got shape {inputs.shape}")
            if not (inputs.min() >= 0 and inputs.max() <= 1):  # so that NaN is none
                raise ValueError(f"{part}_inputs must be between 0 and 1, got {inputs.min()} to {inputs.max()}")
            if len(as_labels(labels, classes, f"{part}_labels")) != len(inputs):
                raise ValueError(f"{part}_labels must be one for each of {len(inputs)} images, got {len(labels)}")
        if self.train_inputs.shape[1:] != self.test_inputs.shape[1:]:
            shapes = self.train_inputs.shape, self.test_inputs.shape
            raise ValueError(f"train_inputs and test_inputs must be images of one shape, got shapes {shapes[0]} and {shapes[1]}")


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
        If the data set is not known, a file is missing, damaged or cut off, or is not what its name says.

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
    TypeError
        If the folder is no path.

    Examples
    --------
    >>> from gradnoise.simulations.neural.data import folder_of
    >>> folder_of("svhn", "images").name
    'images'
    """
    place = folder if folder is not None else os.environ.get(ENVIRONMENT_VARIABLE)
    if place is None:
        raise ValueError(f"folder must name the place of the files of {name}, or the variable {ENVIRONMENT_VARIABLE} must")
    return as_path(place, "folder")


def settled_folder(folder: str | os.PathLike[str] | None) -> str | None:
    """Return the folder of data files as other processes find it, which have another working directory and environment.

    Parameters
    ----------
    folder : path or None
        See `load`.

    Returns
    -------
    str or None
        The absolute path of the one given, or of that of the environment; None if there is neither.

    Raises
    ------
    TypeError, ValueError
        If it is no path.

    Examples
    --------
    >>> import os
    >>> from gradnoise.simulations.neural.data import settled_folder
    >>> settled_folder("images") == os.path.join(os.getcwd(), "images")
    True
    """
    place = folder if folder is not None else os.environ.get(ENVIRONMENT_VARIABLE)
    return None if place is None else str(as_path(place, "data_folder").absolute())


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
    _check(data)
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
    _check(data)
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


def corrupt(labels: ArrayLike, n_corrupted: int, n_classes: int, *, rng: RNG, kind: str = "wrong") -> NDArray[np.int64]:
    """Corrupt some of the labels.

    Parameters
    ----------
    labels : (n,) array_like
        Whole numbers from 0 to n_classes − 1.
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

    Raises
    ------
    TypeError, ValueError
        If an argument is not allowed, as a label outside the classes is not.

    Examples
    --------
    >>> import numpy as np
    >>> from gradnoise.simulations.neural.data import corrupt
    >>> labels = corrupt(np.zeros(6), n_corrupted=2, n_classes=2, rng=1)
    >>> np.bincount(labels).tolist()  # two of six zeros became ones
    [4, 2]
    """
    classes = as_count(n_classes, "n_classes", at_least=2, at_most=_MOST_CLASSES)
    found = as_labels(labels, range(classes), "labels")
    k = as_count(n_corrupted, "n_corrupted", at_least=0, at_most=len(found))
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
    kind = Images("fashion-mnist", (1, 28, 28), range(10))
    parts = []
    for part, most in (("train", 60_000), ("t10k", 10_000)):
        place = find(folder, f"{part}-images-idx3-ubyte", ".gz")
        images = read_idx(place, kind.shape[1:], most)
        beside = find(folder, f"{part}-labels-idx1-ubyte", ".gz")
        labels = read_idx(beside, (), most)
        parts.append([kind.checked(images[:, np.newaxis], labels, most, f"{place} and {beside.name}")])
    return _dataset(kind, *parts)


def _cifar10(folder: Path) -> Dataset:
    kind = Images("cifar10", (3, 32, 32), range(10))
    files = [f"data_batch_{k}.bin" for k in range(1, 6)], ["test_batch.bin"]
    parts = []
    for part in files:
        places = [find(folder, file, inside="cifar-10-batches-bin") for file in part]
        parts.append([_of_cifar(kind, place, read_records(place, 1 + 3072, 10_000), 10_000) for place in places])
    return _dataset(kind, *parts)


def _cifar100(folder: Path) -> Dataset:
    kind = Images("cifar100", (3, 32, 32), range(100))
    parts = []
    for file, most in (("train.bin", 50_000), ("test.bin", 10_000)):
        place = find(folder, file, inside="cifar-100-binary")
        records = read_records(place, 2 + 3072, most)
        as_labels(records[:, 0], range(20), f"coarse labels of {kind.dataset} in {place}")
        parts.append([_of_cifar(kind, place, records[:, 1:], most)])
    return _dataset(kind, *parts)


def _of_cifar(kind: Images, place: Path, records: NDArray[np.uint8], most: int) -> _Part:
    """Images and labels of binary records: a label, then 3,072 pixels, channel by channel."""
    return kind.checked(records[:, 1:].reshape(-1, *kind.shape), records[:, 0], most, place)


def _svhn(folder: Path) -> Dataset:
    kind = Images("svhn", (3, 32, 32), range(1, 11))
    parts = []
    for part, most in (("train", 73_257), ("test", 26_032)):
        place = find(folder, f"{part}_32x32.mat")
        images, labels = read_mat(place, (32, 32, 3), most)
        images, labels = kind.checked(images.transpose(0, 3, 1, 2), labels, most, place)
        parts.append([(images, labels % 10)])  # a zero is written as 10
    return _dataset(kind, *parts)


def _dataset(kind: Images, train: list[_Part], test: list[_Part]) -> Dataset:
    """Join the checked parts; pixels from 0 to 1."""
    arrays = []
    for part in (train, test):
        images, labels = (np.concatenate(arrays) for arrays in zip(*part, strict=True))
        arrays += [np.ascontiguousarray(images, dtype=np.float32) / np.float32(255), labels]
    return Dataset(kind.dataset, *arrays, n_classes=len(kind.labels))


def _is_no_array(array: object) -> bool:
    """Whether it is no array, or one that hides some of its values."""
    return not isinstance(array, np.ndarray) or isinstance(array, np.ma.MaskedArray)


def _check(data: Dataset) -> None:
    if not isinstance(data, Dataset):
        raise TypeError(f"data must be a Dataset, got {type(data).__name__}")


#: How each data set is read.
DATASETS: dict[str, Callable[[Path], Dataset]] = {
    "digits": lambda _: _digits(),
    "fashion-mnist": _fashion_mnist,
    "cifar10": _cifar10,
    "cifar100": _cifar100,
    "svhn": _svhn,
}
