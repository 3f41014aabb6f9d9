"""Download the official data files, each checked against its SHA-256."""

from __future__ import annotations

import os
import tarfile
from dataclasses import dataclass
from pathlib import Path

from gradnoise.simulations.ensemble import replacing
from gradnoise.simulations.neural.data import DATASETS, folder_of, load
from gradnoise.theory._validation import as_choice

__all__ = ["SOURCES", "Availability", "Source", "available", "fetch"]


@dataclass(frozen=True)
class Source:
    """Where the files of a data set are published.

    Attributes
    ----------
    url : str
        Of the folder.
    sha256 : dict
        Of each file.

    Examples
    --------
    >>> from gradnoise.simulations.neural.fetch import SOURCES
    >>> sorted(SOURCES["svhn"].sha256)
    ['test_32x32.mat', 'train_32x32.mat']
    """

    url: str
    sha256: dict[str, str]


SOURCES = {
    "fashion-mnist": Source(
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
        {
            "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        },
    ),
    "cifar10": Source(
        "https://www.cs.toronto.edu/~kriz/",
        {"cifar-10-binary.tar.gz": "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"},
    ),
    "cifar100": Source(
        "https://www.cs.toronto.edu/~kriz/",
        {"cifar-100-binary.tar.gz": "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec"},
    ),
    "svhn": Source(
        "http://ufldl.stanford.edu/housenumbers/",
        {
            "train_32x32.mat": "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8",
            "test_32x32.mat": "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b",
        },
    ),
}


@dataclass(frozen=True)
class Availability:
    """What there is of a data set.

    Attributes
    ----------
    name : str
    n_train, n_test : int
        Images; zero where it cannot be read.
    problem : str
        Why it cannot be read; empty where it can.

    Examples
    --------
    >>> from gradnoise.simulations.neural.fetch import available
    >>> [(found.n_train, found.problem[:10]) for found in available("no such folder") if found.name == "svhn"]
    [(0, 'folder mus')]
    """

    name: str
    n_train: int = 0
    n_test: int = 0
    problem: str = ""


def available(folder: str | os.PathLike[str] | None = None) -> list[Availability]:
    """Try to load every data set.

    Parameters
    ----------
    folder : path, optional
        See `gradnoise.simulations.neural.data.load`.

    Returns
    -------
    list of Availability
        In the order of `gradnoise.simulations.neural.data.DATASETS`.

    Examples
    --------
    >>> from gradnoise.simulations.neural.fetch import available
    >>> [(found.name, found.n_train) for found in available("no such folder") if not found.problem]
    [('digits', 1200)]
    """
    found = []
    for name in DATASETS:
        try:
            data = load(name, folder)
        except ValueError as error:
            found.append(Availability(name, problem=str(error)))
        else:
            found.append(Availability(name, len(data.train_labels), len(data.test_labels)))
    return found


def fetch(name: str, folder: str | os.PathLike[str] | None = None) -> Path:
    """Download a data set into a folder, unless its files are there; those that are cut off or damaged are mended.

    Parameters
    ----------
    name : {"fashion-mnist", "cifar10", "cifar100", "svhn"}
    folder : path, optional
        By default that of the environment variable ``GRADNOISE_DATA``.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    ValueError
        If no folder is named, there is no network, or a file is not the published one.

    Examples
    --------
    >>> from gradnoise.simulations.neural.fetch import fetch
    >>> fetch("digits")  # comes with scikit-learn
    Traceback (most recent call last):
    ValueError: name must be one of fashion-mnist, cifar10, cifar100, svhn, got 'digits'
    """
    source = SOURCES[as_choice(name, "name", tuple(SOURCES))]
    place = folder_of(name, folder)
    for file, sha256 in source.sha256.items():
        try:
            place.mkdir(parents=True, exist_ok=True)
            _download(source.url + file, place / file, sha256)
            if file.endswith(".tar.gz"):
                _unpack(place / file)
        except Exception as error:  # of the network, the disk or the check
            raise ValueError(f"{file} could not be fetched from {source.url} into {place}: {error}") from None
    return place


def _download(url: str, path: Path, sha256: str) -> None:
    """Write a file, unless it is there and is the published one; what is cut off or another file leaves nothing behind."""
    import pooch  # here, as its import takes long

    if path.is_file() and pooch.file_hash(path) == sha256:
        return
    with replacing(path) as file:
        pooch.HTTPDownloader()(url, file, None)
        file.flush()
        found = pooch.file_hash(file.name)
        if found != sha256:
            raise ValueError(f"the SHA-256 must be {sha256}, got {found}")


def _unpack(path: Path) -> None:
    """Write the files of an archive, each into the folder that it has there, but for those that are there already."""
    with tarfile.open(path) as archive:
        for member in archive:
            packed = archive.extractfile(member)
            if packed is None:  # a folder
                continue
            content, target = packed.read(), path.parent.joinpath(*Path(member.name).parts[-2:])
            if not target.is_file() or target.read_bytes() != content:  # one that was cut off is written anew
                target.parent.mkdir(exist_ok=True)
                with replacing(target) as file:
                    file.write(content)
