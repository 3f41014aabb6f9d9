"""The samples that losses are of: tensors, or a loader that is read anew for each pass."""

from __future__ import annotations

import math
import warnings
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.data import DataLoader, Dataset

__all__ = ["Batch", "Batches", "as_batches"]

_LOADED = 256  # samples of a data set at once
_FEW = 8  # batches, and samples in each, to try things out

#: Tensors with the samples along the first axis, in tuples, lists and dictionaries; others in it are shared by all samples.
Batch = Any


class Batches(Protocol):
    """Samples in a fixed order, which may be read as often as one likes.

    Attributes
    ----------
    n : int
        Samples.
    in_one : bool
        Whether any samples can come together; from a loader only those of one of its batches do.

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.batches import as_batches
    >>> batches = as_batches((torch.arange(5.0), torch.arange(5)))
    >>> batches.n, [len(targets) for _, targets in batches.chunks(2)]
    (5, [2, 2, 1])
    """

    n: int
    in_one: bool

    def chunks(self, size: int) -> Iterator[Batch]:
        """Yield all samples, at most `size` at once."""
        ...

    def some(self) -> list[Batch]:
        """Return a few small batches from all over the data, to try things out."""
        ...

    def chosen(self, samples: Tensor, size: int) -> Iterator[tuple[Batch, Tensor]]:
        """Yield the named samples, at most `size` at once, with the positions that they have among those named."""
        ...


def as_batches(data: Any, targets: Any = None) -> Batches:
    """Return data as batches.

    Parameters
    ----------
    data : Tensor, tuple, Mapping, Dataset, DataLoader or iterable of batches
        With `targets`, the inputs: a tensor, or a tuple or dictionary of them. Else all samples in one batch (a tensor, a tuple
        or list of them, a dictionary), or batches: a DataLoader, a list of batches, anything that can be iterated more than
        once, each time with the same batches. A Dataset is loaded in its order. Numbers may be complex, NaN or infinite:
        what that means, as of a sample without a label, is known to the loss alone.
    targets : Tensor, optional
        As many as there are inputs.

    Returns
    -------
    Batches

    Raises
    ------
    ValueError
        If there are no samples, axes disagree, or the data can be read once only.
    TypeError
        If the data are of another kind.

    Examples
    --------
    >>> import torch
    >>> from torch.utils.data import DataLoader, TensorDataset
    >>> from gradnoise.simulations.neural.batches import as_batches
    >>> loader = DataLoader(TensorDataset(torch.arange(5.0), torch.arange(5)), batch_size=3)
    >>> as_batches(loader).n
    5
    """
    if isinstance(data, _Whole | _Loaded):
        return data
    if targets is not None:
        both = _tensors(data), _tensors(targets, "targets")
        size_of(both[1], "targets")  # without one they would pass for what all samples share
        return _Whole(both)
    if isinstance(data, Tensor | np.ndarray | Mapping) or _is_batch(data):
        return _Whole(_tensors(data))
    if isinstance(data, Dataset):
        data = DataLoader(data, batch_size=_LOADED)
    if not isinstance(data, Iterable):
        raise TypeError(f"data must be tensors in a tuple or dictionary, or an iterable of batches, got {type(data).__name__}")
    return _Loaded(data)


def size_of(batch: Batch, name: str = "data") -> int:
    """Return the number of samples in a batch: the length that most of its tensors have; of several, that of the first.

    Parameters
    ----------
    batch : Batch
    name : str
        Of the argument that has it, for the message.

    Returns
    -------
    int

    Raises
    ------
    TypeError
        If there is no tensor in it.

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.batches import size_of
    >>> size_of({"inputs": torch.ones(5, 3), "shared": torch.ones(2, 2), "labels": torch.ones(5)})
    5
    """
    lengths = [len(leaf) for leaf in tree_leaves(batch) if isinstance(leaf, Tensor) and leaf.ndim]
    if not lengths:
        raise TypeError(f"{name} must be of tensors, in a tuple, list or dictionary, got {type(batch).__name__}")
    return Counter(lengths).most_common(1)[0][0]


def part(batch: Batch, where: slice | Tensor) -> Batch:
    """Return some samples of a batch, with what all samples share.

    Parameters
    ----------
    batch : Batch
    where : slice or Tensor of int64
        Which samples; one that is named twice comes twice.

    Returns
    -------
    Batch

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.batches import part
    >>> part((torch.arange(3.0), torch.arange(3)), torch.tensor([2, 2]))
    (tensor([2., 2.]), tensor([2, 2]))
    """
    n = size_of(batch)

    def cut(leaf: Any) -> Any:
        if not (isinstance(leaf, Tensor) and leaf.ndim and len(leaf) == n):
            return leaf
        return leaf[where] if isinstance(where, slice) else leaf[where.to(leaf.device)]

    return tree_map(cut, batch)


def on_device(batch: Batch, device: torch.device) -> Batch:
    """Return a batch where the network is; on its way to a GPU it is pinned, so that the copy does not wait.

    Parameters
    ----------
    batch : Batch
    device : torch.device

    Returns
    -------
    Batch

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.batches import on_device
    >>> on_device({"inputs": torch.ones(2)}, torch.device("meta"))["inputs"].device
    device(type='meta')
    """

    def moved(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        if leaf.is_inference():  # which autograd does not take
            leaf = leaf.clone()
        if device.type == "cuda" and leaf.device.type == "cpu":
            leaf = leaf.pin_memory()
        # A copy, as a network may work in place, and the data are the user's.
        return leaf.to(device, non_blocking=True, copy=True)

    with torch.inference_mode(False):
        return tree_map(moved, batch)


class _Whole:
    """All samples in one batch in memory."""

    in_one = True

    def __init__(self, batch: Batch) -> None:
        self.batch, self.n = batch, size_of(batch)
        parts = [leaf for leaf in batch if isinstance(leaf, Tensor)] if isinstance(batch, tuple | list) else []
        lengths = [len(leaf) for leaf in parts if leaf.ndim]
        if len(set(lengths)) > 1 or self.n == 0:
            found = " and ".join(map(str, lengths or [self.n]))
            raise ValueError(f"inputs and targets must have as many samples, one or more, along their first axes, got {found}")

    def chunks(self, size: int) -> Iterator[Batch]:
        for start in range(0, self.n, size):
            yield self.batch if size >= self.n else part(self.batch, slice(start, start + size))

    def some(self) -> list[Batch]:
        samples = _spread(self.n, _FEW**2)
        return [part(self.batch, few) for few in samples.tensor_split(math.ceil(len(samples) / _FEW))]

    def chosen(self, samples: Tensor, size: int) -> Iterator[tuple[Batch, Tensor]]:
        if samples.device.type == "cpu":  # elsewhere one would have to wait
            _check_named(samples, self.n)
        positions = torch.arange(len(samples), device=samples.device)
        for some, where in zip(samples.split(size), positions.split(size), strict=True):
            if len(some):
                yield part(self.batch, some), where


class _Loaded:
    """Batches that are read anew for each pass, and compared with those of the first."""

    in_one = False

    def __init__(self, source: Iterable[Batch]) -> None:
        if isinstance(source, Iterator):
            raise ValueError(
                f"data must be iterable more than once, got a {type(source).__name__}, which is used up by one pass; "
                f"pass a list of its batches"
            )
        self.source = source
        self._seen: list[tuple[int, int]] = []
        for batch in self._pass():
            self._seen.append((size_of(batch), _fingerprint(batch)))
        self.n = sum(size for size, _ in self._seen)
        if self.n == 0:
            raise ValueError("data must have samples, one or more, got none")

    def _pass(self) -> Iterator[Batch]:
        with torch.random.fork_rng(devices=[]):  # a DataLoader draws a seed for its workers
            return map(_tensors, iter(self.source))

    def _batches(self) -> Iterator[Batch]:
        count = 0
        for batch in self._pass():
            if count == len(self._seen) or (size_of(batch), _fingerprint(batch)) != self._seen[count]:
                self._other(count)
            yield batch
            count += 1
        if count < len(self._seen):
            self._other(count)

    def _other(self, count: int) -> None:
        raise ValueError(
            f"data must give the same batches in each pass, got another batch {count}; "
            f"take shuffle=False and no random augmentation, or pass a list of the batches"
        )

    def chunks(self, size: int) -> Iterator[Batch]:
        for batch in self._batches():
            for start in range(0, n := size_of(batch), size):
                yield batch if size >= n else part(batch, slice(start, start + size))

    def some(self) -> list[Batch]:
        full = [i for i, (size, _) in enumerate(self._seen) if size > 0]
        wanted = {full[i] for i in _spread(len(full), _FEW).tolist()}
        return [part(b, _spread(size_of(b), _FEW)) for i, b in enumerate(self._batches()) if i in wanted]

    def chosen(self, samples: Tensor, size: int) -> Iterator[tuple[Batch, Tensor]]:
        start, named = 0, samples.cpu()
        _check_named(named, self.n)
        for batch in self._batches():
            end = start + size_of(batch)
            where = ((start <= named) & (named < end)).nonzero().squeeze(1)
            for some in where.split(size):
                if len(some):
                    yield part(batch, named[some] - start), some.to(samples.device)
            start = end


def _check_named(samples: Tensor, n: int) -> None:
    if samples.dtype != torch.int64 or samples.ndim != 1:
        raise TypeError(f"samples must be of int64 with one axis, got {samples.dtype} with {samples.ndim}")
    if len(samples) and not 0 <= int(samples.min()) <= int(samples.max()) < n:
        raise ValueError(f"samples must be between 0 and {n - 1}, got {int(samples.min())} to {int(samples.max())}")


def _spread(n: int, few: int) -> Tensor:
    """A few of n places, evenly."""
    return torch.linspace(0, n - 1, min(n, few), dtype=torch.float64).round().to(torch.int64)


def _is_batch(data: Any) -> bool:
    """Whether these are the tensors of one batch rather than batches; those before the last may be nested inputs."""
    return isinstance(data, tuple | list) and len(data) > 1 and isinstance(data[-1], Tensor | np.ndarray)


def _tensors(batch: Any, name: str = "data") -> Batch:
    """Arrays as tensors, and mappings of any class as dictionaries; `name` is that of the argument that has them."""
    if isinstance(batch, Mapping):
        return {key: _tensors(value, name) for key, value in batch.items()}
    if isinstance(batch, np.ndarray):
        return _from_array(batch, name)
    if isinstance(batch, Tensor):
        if batch.layout != torch.strided or batch.is_nested:
            kind = "a nested one" if batch.is_nested else batch.layout
            raise TypeError(f"{name} must be of dense tensors, got {kind}; a closure may make them sparse")
        if batch.is_meta:
            raise ValueError(f"{name} must have values, got a tensor on the meta device")
    if isinstance(batch, tuple | list) and not hasattr(batch, "_fields"):
        return type(batch)(_tensors(inner, name) for inner in batch)
    return batch


def _from_array(array: np.ndarray, name: str) -> Tensor:
    """An array as a tensor, without a copy where torch has its type and layout."""
    if isinstance(array, np.ma.MaskedArray):
        raise TypeError(f"{name} must be of arrays without a mask, got a masked array")
    if array.dtype.kind not in "biufc" or array.dtype.itemsize > 8 * (1 + (array.dtype.kind == "c")):
        raise TypeError(f"{name} must be of numbers that torch has, got an array of {array.dtype}")
    if not array.dtype.isnative or any(stride < 0 for stride in array.strides):
        array = array.astype(array.dtype.newbyteorder("="), order="C")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)  # nothing is written
        return torch.as_tensor(array)


def _fingerprint(batch: Batch) -> int:
    found = 0
    for leaf in tree_leaves(batch):
        if isinstance(leaf, Tensor):
            raw = leaf.detach().cpu().resolve_conj().resolve_neg().contiguous().reshape(-1).view(torch.uint8).numpy().data
            found = zlib.crc32(raw, zlib.crc32(repr((tuple(leaf.shape), leaf.dtype)).encode(), found))
        else:
            found = zlib.crc32(repr(leaf).encode(), found)
    return found
