"""Files that are damaged: data sets, checkpoints of a training, blocks of a stored study, a saved diagnosis."""

from __future__ import annotations

import functools
import gzip
import random
import re
import shutil
import struct
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .outcomes import Refused, end_of, flatten, same
from .trials import Fault, Trial

__all__ = ["groups"]

_FLIPS, _CUTS = 60, 15  # of each file
_BOMB = 4 << 30  # bytes that a small file unpacks to


def groups(only: str, seed: int, folder: Path) -> Iterator[list[Trial]]:
    """Trials of all loaders, a group for each file; the good files are written into a folder."""
    for name, write, read in _LOADERS:
        if not re.search(only, name):
            continue
        place = folder / name.replace(" ", "-")
        place.mkdir()
        write(place)
        for file in sorted(p for p in place.rglob("*") if p.is_file()):
            inside = str(file.relative_to(place))
            chance = random.Random(f"{name} {inside} {seed}")
            yield [_trial(name, read, place, inside, label, damage) for label, damage in _damages(file, place, chance)]


Damage = Callable[[bytes], bytes | None]


def _damages(file: Path, place: Path, chance: random.Random) -> Iterator[tuple[str, Damage]]:
    content = file.read_bytes()
    size = len(content)
    for _ in range(_FLIPS if size else 0):
        at, bit = chance.randrange(size), 1 << chance.randrange(8)
        yield f"byte {at} with bit {bit} flipped", lambda b, at=at, bit=bit: b[:at] + bytes([b[at] ^ bit]) + b[at + 1 :]
    for _ in range(_CUTS if size else 0):
        cut = chance.randrange(size)
        yield f"cut to {cut} bytes", lambda b, cut=cut: b[:cut]
    yield "empty", lambda b: b""
    yield "missing", lambda b: None
    yield "a page", lambda b: b"<html>not here</html>"
    yield "zeros", lambda b: bytes(len(b))
    yield "longer", lambda b: b + b"\0more"
    yield "a bomb", lambda b: _bomb()
    for other in sorted(p for p in place.rglob("*") if p.is_file() and p != file)[:6]:
        yield f"that of {other.name}", lambda b, other=other: other.read_bytes()


def _bomb() -> bytes:
    """Four MB that unpack to four GiB."""
    return gzip.compress(_idx(np.zeros(1, np.uint8), (_BOMB,))) + 64 * gzip.compress(bytes(_BOMB // 64), 9)


def _trial(name: str, read: Callable[[Path], Any], place: Path, inside: str, label: str, damage: Damage) -> Trial:
    def run() -> Fault | None:
        known, fault = _known(read, place)
        if fault is not None or known is Refused:
            return Fault("other exception", "undamaged", f"the undamaged files cannot be read: {fault}")
        copy = _copy(place)
        damaged = damage((copy / inside).read_bytes())
        (copy / inside).unlink()
        if damaged is not None:
            (copy / inside).write_bytes(damaged)
        found, fault = end_of(lambda: read(copy), {str(copy), copy.name, inside, Path(inside).name}, paths=True)
        shutil.rmtree(copy)
        if fault is not None or found is Refused:
            return fault
        return _wrong(name, found, known)

    return Trial(f"load {name}", inside, label, run)


@functools.cache
def _known(read: Callable[[Path], Any], place: Path) -> tuple[Any, Fault | None]:
    """What the good files hold; they are copied, as a training writes where it reads."""
    copy = _copy(place)
    return end_of(lambda: read(copy), set())


def _copy(place: Path) -> Path:
    return Path(shutil.copytree(place, Path(tempfile.mkdtemp(dir=".")) / "copy"))


def _wrong(name: str, found: Any, known: Any) -> Fault | None:
    """What is wrong with what was read of a damaged file: the formats of data sets have no checksum, our own have."""
    if name in _WITHOUT_CHECKSUM:
        for path, value in flatten(found):
            array = np.asarray(value)
            labels = path.endswith("labels")
            if array.dtype.kind == "f" and not ((array >= 0) & (array <= 1)).all():
                return Fault("nonsense", path, f"values from {array.min()} to {array.max()}")
            if labels and not ((array >= 0) & (array < found.n_classes)).all():
                return Fault("nonsense", path, f"labels from {array.min()} to {array.max()}")
        return None
    path = same(found, known)
    return Fault("another answer", path, "damage was not noticed") if path else None


def _idx(array: np.ndarray, shape: tuple[int, ...] | None = None) -> bytes:
    shape = array.shape if shape is None else shape
    return struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *(n & 0xFFFFFFFF for n in shape)) + array.tobytes()


def _write_fashion(place: Path) -> None:
    chance = np.random.default_rng(0)
    for part, n in (("train", 50), ("t10k", 30)):
        for kind, array in (("images-idx3", chance.integers(0, 256, (n, 28, 28))), ("labels-idx1", np.arange(n) % 10)):
            content = _idx(array.astype(np.uint8))
            packed = gzip.compress(content, mtime=0) if part == "train" else content
            (place / f"{part}-{kind}-ubyte{'.gz' if part == 'train' else ''}").write_bytes(packed)


def _write_cifar(place: Path, names: tuple[str, ...], labels: int) -> None:
    chance = np.random.default_rng(0)
    for name in names:
        records = chance.integers(0, 10, (4, labels + 3072)).astype(np.uint8)
        (place / name).write_bytes(records.tobytes())


def _write_svhn(place: Path) -> None:
    from scipy.io import savemat

    chance = np.random.default_rng(0)
    for part in ("train", "test"):
        images = chance.integers(0, 256, (32, 32, 3, 4), dtype=np.uint8)
        file, labels = place / f"{part}_32x32.mat", np.array([[1], [10], [3], [9]], np.uint8)
        savemat(file, {"X": images, "y": labels}, do_compression=part == "train")


def _read(name: str) -> Callable[[Path], Any]:
    def read(place: Path) -> Any:
        from gradnoise.simulations.neural import data

        return data.load(name, place)

    return read


def _write_run(place: Path) -> None:
    from gradnoise.simulations.neural import experiments

    experiments.run("digits", "sgd", n_steps=2, every=1, rng=1, batch_size=10, device="cpu", folder=place)


def _read_run(place: Path) -> Any:
    from gradnoise.simulations.neural import experiments

    records = experiments.run("digits", "sgd", n_steps=3, every=1, rng=1, batch_size=10, device="cpu", folder=place)
    return [{k: v for k, v in r.items() if k != "seconds"} for r in records]


def _read_study(place: Path) -> Any:
    """A stored study, resumed: what is damaged is computed again."""
    from gradnoise.simulations import toy

    return toy.simulate("gld_const", 200, rng=1, n_steps=5, store=place)


_CIFAR10 = (*(f"data_batch_{k}.bin" for k in range(1, 6)), "test_batch.bin")
_WITHOUT_CHECKSUM = {"fashion-mnist", "cifar10", "cifar100", "svhn"}
_LOADERS: tuple[tuple[str, Callable[[Path], object], Callable[[Path], Any]], ...] = (
    ("fashion-mnist", _write_fashion, _read("fashion-mnist")),
    ("cifar10", lambda place: _write_cifar(place, _CIFAR10[:1] + _CIFAR10, 1), _read("cifar10")),
    ("cifar100", lambda place: _write_cifar(place, ("train.bin", "test.bin"), 2), _read("cifar100")),
    ("svhn", _write_svhn, _read("svhn")),
    ("a training", _write_run, _read_run),
    ("a study", lambda place: _read_study(place), _read_study),
)
