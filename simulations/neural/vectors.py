"""Vectors of parameters and of samples that a caller gives: each check names the argument."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def as_vector(value: object, name: str, shape: Sequence[int], *, wait: bool = True) -> Tensor:
    """Return a Tensor of real, finite numbers and of a shape, or raise naming the argument.

    Parameters
    ----------
    value : Tensor
    name : str
        Of the argument.
    shape : sequence of int
    wait : bool
        Whether a GPU is waited for to see that the numbers are finite; those on a CPU are always looked at.

    Returns
    -------
    Tensor

    Raises
    ------
    TypeError
        If it is no dense Tensor of real numbers.
    ValueError
        If its shape is another one, or a number is not finite.

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.vectors import as_vector
    >>> as_vector(torch.tensor([1.0, torch.nan]), "u", (2,))
    Traceback (most recent call last):
    ValueError: u must be finite, got NaN or infinity in it
    """
    vector = as_dense(value, name)
    if vector.shape != torch.Size(shape):
        raise ValueError(f"{name} must have shape {tuple(shape)}, got {tuple(vector.shape)}")
    if (wait or vector.device.type == "cpu") and not bool(vector.isfinite().all()):
        raise ValueError(f"{name} must be finite, got NaN or infinity in it")
    return vector


def as_like(value: object, name: str = "like") -> Tensor:
    """Return a Tensor that stands for vectors of a dtype and length, or raise; its numbers are not looked at.

    Parameters
    ----------
    value : Tensor
    name : str
        Of the argument.

    Returns
    -------
    (d,) Tensor

    Raises
    ------
    TypeError, ValueError
        If it is no vector of real floating-point numbers, or has none.

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.vectors import as_like
    >>> as_like(torch.arange(3))
    Traceback (most recent call last):
    TypeError: like must be a Tensor of real floating-point numbers, got torch.int64
    """
    if not isinstance(value, Tensor) or not value.is_floating_point():
        kind = value.dtype if isinstance(value, Tensor) else type(value).__name__
        raise TypeError(f"{name} must be a Tensor of real floating-point numbers, got {kind}")
    if as_dense(value, name).ndim != 1 or len(value) == 0:
        raise ValueError(f"{name} must have one dimension and a number, got shape {tuple(value.shape)}")
    return value


def as_dense(value: object, name: str) -> Tensor:
    """Return a dense Tensor of real numbers, or raise naming the argument.

    Parameters
    ----------
    value : Tensor
    name : str
        Of the argument.

    Returns
    -------
    Tensor

    Raises
    ------
    TypeError
        If it is none.
    ValueError
        If it has no values.

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.vectors import as_dense
    >>> as_dense([1.0, 2.0], "u")
    Traceback (most recent call last):
    TypeError: u must be a Tensor, got list
    """
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} must be a Tensor, got {type(value).__name__}")
    if value.layout != torch.strided or value.is_nested or value.is_complex():
        kind = "a nested one" if value.is_nested else value.dtype if value.is_complex() else value.layout
        raise TypeError(f"{name} must be a dense Tensor of real numbers, got {kind}")
    if value.is_meta:
        raise ValueError(f"{name} must have values, got a Tensor on the meta device")
    return value
