"""The networks of the papers' small experiments."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gradnoise.theory._validation import as_choice, as_count, as_real

__all__ = ["ClippedPerceptron", "lenet", "perceptron", "vgg11"]

_MOST_UNITS, _MOST_CHANNELS, _MOST_INPUTS = 10**6, 10**4, 10**9
_ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh}


def lenet(n_classes: int = 10, channels: int = 10, hidden: int = 50) -> nn.Sequential:
    """LeNet-like network for 28 × 28 images with one channel: 11,330 parameters for ten classes.

    Two convolutions of 5 × 5 without padding, each followed by a max-pooling of 2 and a ReLU; then two linear layers.

    Parameters
    ----------
    n_classes, channels, hidden : int
        Outputs, channels of both convolutions, and units between the linear layers.

    Returns
    -------
    torch.nn.Sequential
        From (n, 1, 28, 28) to (n, n_classes).

    References
    ----------
    zhu2019, Appendix D.3.

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.models import lenet
    >>> lenet()(torch.zeros(3, 1, 28, 28)).shape
    torch.Size([3, 10])
    >>> sum(p.numel() for p in lenet().parameters())
    11330
    """
    c, h = as_count(channels, "channels", at_most=_MOST_CHANNELS), as_count(hidden, "hidden", at_most=_MOST_UNITS)
    return nn.Sequential(
        nn.Conv2d(1, c, 5), nn.MaxPool2d(2), nn.ReLU(),
        nn.Conv2d(c, c, 5), nn.MaxPool2d(2), nn.ReLU(),
        nn.Flatten(), nn.Linear(16 * c, h), nn.ReLU(), nn.Linear(h, as_count(n_classes, "n_classes", at_most=_MOST_UNITS)),
    )  # fmt: skip


def vgg11(n_classes: int = 10) -> nn.Sequential:
    """VGG-11 for 32 × 32 images in three channels, without batch normalisation: 9,750,922 parameters for ten classes.

    Eight convolutions of 3 × 3 with five max-poolings in between, and two hidden layers of 512. Weights are He's, normal with a
    variance of two over the inputs of a unit, and biases zero, for pixels in [0, 1]: with torch's own start the outputs of so
    deep a network hardly depend on the image (by 5e-6), and nothing is learnt.

    Parameters
    ----------
    n_classes : int

    Returns
    -------
    torch.nn.Sequential
        From (n, 3, 32, 32) to (n, n_classes).

    References
    ----------
    zhu2019, Section 5.4 and Appendix D.4. He, Zhang, Ren, Sun (2015), Delving Deep into Rectifiers, Eq. (10): the start.

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.models import vgg11
    >>> with torch.device("meta"):  # without memory for the parameters
    ...     sum(p.numel() for p in vgg11().parameters())
    9750922
    """
    layers: list[nn.Module] = []
    channels = 3
    for width in (64, "pool", 128, "pool", 256, 256, "pool", 512, 512, "pool", 512, 512, "pool"):
        if isinstance(width, str):
            layers.append(nn.MaxPool2d(2))
        else:
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
            channels = width
    hidden = [nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU()]
    network = nn.Sequential(*layers, nn.Flatten(), *hidden, nn.Linear(512, as_count(n_classes, "n_classes", at_most=_MOST_UNITS)))
    for layer in network:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
    return network


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
    width = as_count(n_inputs, "n_inputs", at_most=_MOST_INPUTS)
    if not isinstance(hidden, tuple | list):
        raise TypeError(f"hidden must be a tuple of integers, got {hidden!r}")
    for units in hidden:
        layers += [nn.Linear(width, as_count(units, "hidden", at_most=_MOST_UNITS)), kind()]
        width = units
    return nn.Sequential(*layers, nn.Linear(width, as_count(n_classes, "n_classes", at_most=_MOST_UNITS)))


class ClippedPerceptron(nn.Module):
    """One hidden layer of ReLUs, fixed output weights ±1/√m, and an output that is clipped to [δ, 1 − δ].

    `gradnoise.theory.curvature.ClippedNetwork` has the same network with its Fisher and Hessian in closed form.

    Parameters
    ----------
    n_inputs, width : int
        Inputs, and m hidden units with biases.
    delta : float
        0 < δ < ½.

    References
    ----------
    zhu2019, Proposition 2, Section 5.2 and Appendix D.2.

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.models import ClippedPerceptron
    >>> outputs = ClippedPerceptron(n_inputs=2, width=7, delta=0.1)(torch.randn(5, 2))
    >>> outputs.shape, bool((0.1 <= outputs).all() and (outputs <= 0.9).all())
    (torch.Size([5]), True)
    """

    output_weights: Tensor

    def __init__(self, n_inputs: int, width: int, delta: float = 0.001) -> None:
        super().__init__()
        m, self.delta = as_count(width, "width", at_most=_MOST_INPUTS), as_real(delta, "delta", above=0)
        if self.delta >= 0.5:
            raise ValueError(f"delta must be < 0.5, got {delta:g}")
        self.hidden = nn.Linear(as_count(n_inputs, "n_inputs", at_most=_MOST_INPUTS), m)
        signs = 1.0 - 2.0 * (torch.arange(m) % 2)
        self.register_buffer("output_weights", signs / m**0.5)

    def forward(self, inputs: Tensor) -> Tensor:
        """Clipped outputs (n,) for inputs (n, p)."""
        return torch.clamp(torch.relu(self.hidden(inputs)) @ self.output_weights, self.delta, 1 - self.delta)
