"""Kernels that have second derivatives and forward mode, in place of faster ones that have not, or have wrong ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode


@contextmanager
def smooth_kernels(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Run a network by kernels that can be differentiated twice, and in forward mode.

    Parameters
    ----------
    model : torch.nn.Module
        Whose embeddings have dense gradients in this context.
    device : torch.device

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.kernels import smooth_kernels
    >>> bag = torch.nn.EmbeddingBag(3, 1)
    >>> with smooth_kernels(bag, torch.device("cpu")):
    ...     (slope,) = torch.autograd.grad(bag(torch.tensor([[0, 1]])).exp().sum(), bag.weight, create_graph=True)
    >>> slope.requires_grad  # torch's own kernel says that its derivative is not implemented when it comes to that
    True
    """
    modules = list(model.modules())
    with ExitStack() as stack:
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        stack.callback(torch.backends.mha.set_fastpath_enabled, torch.backends.mha.get_fastpath_enabled())
        torch.backends.mha.set_fastpath_enabled(False)
        stack.enter_context(_Replaced())
        if device.type == "cuda" and any(isinstance(module, nn.RNNBase) for module in modules):
            stack.enter_context(torch.backends.cudnn.flags(enabled=False))  # cuDNN has no gradients of these in evaluation mode
        for module in modules:
            if getattr(module, "sparse", None) is True:
                stack.callback(setattr, module, "sparse", True)
                module.sparse = False  # type: ignore[assignment]
        yield


class _Replaced(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return (_REPLACED.get(func) or func)(*args, **(kwargs or {}))


def _weight_norm(v: Tensor, g: Tensor, dim: int = 0) -> Tensor:
    """Torch's own kernel takes the norms for constants when it is differentiated twice (2.13)."""
    axes = [axis for axis in range(v.ndim) if dim == -1 or axis != dim % v.ndim]
    return v * (g / v.square().sum(dim=axes, keepdim=True).sqrt())


def _embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """Sums and means of rows, whose own kernel has neither second derivatives nor forward mode."""
    options = max_norm, norm_type, scale_grad_by_freq, mode, sparse, per_sample_weights, include_last_offset, padding_idx
    if mode == "max" or scale_grad_by_freq or max_norm is not None:
        return functional.embedding_bag(input, weight, offsets, *options)
    indices = input.flatten()
    if offsets is None:  # bags of one size
        n_bags, bag = len(input), torch.arange(len(input), device=input.device).repeat_interleave(input.shape[1])
    else:
        n_bags = len(offsets) - int(include_last_offset)
        places = torch.arange(len(indices), device=input.device, dtype=offsets.dtype)
        bag = torch.searchsorted(offsets[:n_bags].contiguous(), places, right=True) - 1
    share = torch.ones(len(indices), device=weight.device, dtype=weight.dtype)
    if padding_idx is not None:
        share = (indices != padding_idx % len(weight)).to(weight.dtype)
    if mode == "mean":
        counts = torch.zeros(n_bags, device=weight.device, dtype=weight.dtype).index_add(0, bag, share)
        share = share / counts.clamp(min=1)[bag]
    if per_sample_weights is not None:
        share = share * per_sample_weights.flatten()
    rows = functional.embedding(indices, weight, padding_idx) * share.unsqueeze(1)
    return torch.zeros(n_bags, weight.shape[1], device=weight.device, dtype=weight.dtype).index_add(0, bag, rows)


_REPLACED: dict[Any, Callable[..., Any]] = {
    torch._weight_norm: _weight_norm,  # pyright: ignore[reportPrivateImportUsage]
    functional.embedding_bag: _embedding_bag,
}
