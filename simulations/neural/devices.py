"""Devices by name, generators on them, and how many threads there are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from threadpoolctl import threadpool_limits

from gradnoise.theory._validation import shown

__all__ = ["pick_device"]


def pick_device(device: str | torch.device) -> torch.device:
    """Return a device by name; "auto" takes CUDA where there is some.

    Parameters
    ----------
    device : str or torch.device
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
    if not isinstance(device, str | torch.device):
        raise TypeError(f"device must be a name or a torch.device, got {shown(device)}")
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
    except (RuntimeError, ValueError):  # the latter of a text that is no Unicode
        raise ValueError(
            f"device must be auto, or one that torch knows, such as cpu, cuda or cuda:1, got {shown(device)}"
        ) from None
    if found.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device must be there, got {found}, and torch sees no CUDA device")
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"device must be there, got {found}, and torch sees cuda:0 to cuda:{torch.cuda.device_count() - 1}")
    try:
        torch.ones(1, device=found).item()
    except (RuntimeError, NotImplementedError, AssertionError) as error:  # as torch has it for a backend that is not built in
        raise ValueError(f"device must be there and hold numbers, got {found}: {str(error).splitlines()[0]}") from None
    return found


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
        raise TypeError(f"generator must be a torch.Generator, got {shown(value)}")
    if device is not None and value.device.type != device.type:
        raise ValueError(f"generator must be on {device}, where the network is, got one on {value.device}")
    return value


def set_state(generator: torch.Generator, state: Mapping[str, Any]) -> None:
    """Set a generator's state, which is that under "generator", or raise.

    Parameters
    ----------
    generator : torch.Generator
    state : mapping

    Raises
    ------
    TypeError
        If it is no mapping.
    ValueError
        If there is no state of such a generator in it.

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.devices import set_state
    >>> set_state(torch.Generator(), {"generator": torch.zeros(3)})
    Traceback (most recent call last):
    ValueError: state must have the state of a generator on cpu under 'generator', got Tensor
    """
    if not isinstance(state, Mapping):
        raise TypeError(f"state must be a mapping, got {shown(state)}")
    given: Any = state.get("generator")
    try:
        generator.set_state(given.cpu())
    except (AttributeError, RuntimeError, TypeError):
        raise ValueError(
            f"state must have the state of a generator on {generator.device} under 'generator', got {type(given).__name__}"
        ) from None


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
