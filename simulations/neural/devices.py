"""Devices by name, generators on them, and how many threads there are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits

__all__ = ["pick_device"]


def pick_device(name: str | torch.device) -> torch.device:
    """Return a device by name; "auto" takes CUDA where there is some.

    Parameters
    ----------
    name : str or torch.device
        "auto", or what torch calls a device: "cpu", "cuda", "cuda:1", "mps".

    Returns
    -------
    torch.device

    Raises
    ------
    ValueError
        If there is no such device.
    TypeError
        If it is no name.

    Examples
    --------
    >>> from gradnoise.simulations.neural.devices import pick_device
    >>> pick_device("cpu")
    device(type='cpu')
    """
    if not isinstance(name, str | torch.device):
        raise TypeError(f"device must be a name or a torch.device, got {name!r}")
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"device must be auto, or one that torch knows, such as cpu, cuda or cuda:1, got {name!r}") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device must be there, got {device}, and torch sees no CUDA device")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"device must be there, got {device}, and torch sees cuda:0 to cuda:{torch.cuda.device_count() - 1}")
    try:
        torch.ones(1, device=device).item()
    except (RuntimeError, NotImplementedError, AssertionError) as error:  # as torch has it for a backend that is not built in
        raise ValueError(f"device must be there and hold numbers, got {device}: {str(error).splitlines()[0]}") from None
    return device


def as_generator(value: object, device: torch.device | None = None) -> torch.Generator:
    """Return a generator, or raise.

    Parameters
    ----------
    value : torch.Generator
    device : torch.device, optional
        Where it must be.

    Returns
    -------
    torch.Generator

    Raises
    ------
    TypeError
        If it is another one, as NumPy's is.
    ValueError
        If it is on another device.

    Examples
    --------
    >>> from gradnoise.simulations.neural.devices import as_generator
    >>> as_generator(None)
    Traceback (most recent call last):
    TypeError: generator must be a torch.Generator, got None
    """
    if not isinstance(value, torch.Generator):
        raise TypeError(f"generator must be a torch.Generator, got {value!r}")
    if device is not None and value.device.type != device.type:
        raise ValueError(f"generator must be on {device}, where the network is, got one on {value.device}")
    return value


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Context in which torch and BLAS have so many threads, on which the rounding of sums depends.

    Parameters
    ----------
    count : int

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.devices import threads
    >>> with threads(1):
    ...     torch.get_num_threads()
    1
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        with threadpool_limits(count):  # of BLAS
            yield
    finally:
        torch.set_num_threads(before)
