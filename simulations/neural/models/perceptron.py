"""Fully connected networks."""

from __future__ import annotations

from torch import nn

from gradnoise.simulations.neural.models.sizes import MOST_INPUTS, MOST_UNITS, as_classes
from gradnoise.theory._validation import as_choice, as_count

_ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh}


def perceptron(n_inputs: int, n_classes: int, hidden: tuple[int, ...] = (64,), activation: str = "relu") -> nn.Sequential:
    """Multi-layer perceptron on flattened inputs.

    Parameters
    ----------
    n_inputs, n_classes : int
    hidden : tuple of int
        Units of each hidden layer.
    activation : {"relu", "tanh"}

    Returns
    -------
    torch.nn.Sequential
        From (n, ...), flattened to (n, n_inputs), to (n, n_classes).

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.models import perceptron
    >>> network = perceptron(n_inputs=64, n_classes=10, hidden=(5,))
    >>> network(torch.zeros(3, 1, 8, 8)).shape
    torch.Size([3, 10])
    >>> sum(p.numel() for p in network.parameters())  # (64 + 1) · 5 + (5 + 1) · 10
    385
    """
    kind = _ACTIVATIONS[as_choice(activation, "activation", tuple(_ACTIVATIONS))]
    layers: list[nn.Module] = [nn.Flatten()]
    width = as_count(n_inputs, "n_inputs", at_most=MOST_INPUTS)
    if not isinstance(hidden, tuple | list):
        raise TypeError(f"hidden must be a tuple of integers, got {hidden!r}")
    for units in hidden:
        layers += [nn.Linear(width, as_count(units, "hidden", at_most=MOST_UNITS)), kind()]
        width = units
    return nn.Sequential(*layers, nn.Linear(width, as_classes(n_classes)))
