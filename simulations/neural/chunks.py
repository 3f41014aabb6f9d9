"""How many samples to take at once: as many as fit into a budget of memory, by what one of them is seen to hold."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._pytree import tree_leaves

from gradnoise.simulations.neural.batches import Batch, size_of
from gradnoise.simulations.neural.sample_losses import SampleLosses

_BUDGET = 2**29  # bytes of activations; larger chunks are hardly faster
_SHARE = 8  # of the memory that is free, where that is short: second derivatives hold three times as much


def measured_chunk(losses: SampleLosses, batch: Batch) -> int:
    """Return how many samples have activations of half a gigabyte, or of an eighth of the free memory if that is less.

    Parameters
    ----------
    losses : SampleLosses
    batch : Batch
        Some samples, on the network's device; what their evaluation keeps for a backward pass is counted.

    Returns
    -------
    int

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.chunks import measured_chunk
    >>> from gradnoise.simulations.neural.sample_losses import SampleLosses
    >>> losses = SampleLosses(torch.nn.Linear(3, 2), torch.nn.CrossEntropyLoss(reduction="none"))
    >>> measured_chunk(losses, (torch.ones(4, 3), torch.zeros(4, dtype=torch.int64))) > 1_000_000
    True
    """
    tensors = [*losses.tensors.values(), *tree_leaves(batch)]
    there = {t.untyped_storage().data_ptr() for t in tensors if isinstance(t, Tensor)}
    kept: dict[int, int] = {}

    def count(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in there:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(count, lambda tensor: tensor):
        found = losses(batch)  # holds what is counted, so that no storage is counted under an address that is used again
    each = max(sum(kept.values()), found.element_size()) / size_of(batch)
    return max(1, int(min(_BUDGET, _free(found.device) // _SHARE) / each))


def _free(device: torch.device) -> int:
    """Bytes of free memory; more than is needed where that is not told."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError):
        return _BUDGET * _SHARE
