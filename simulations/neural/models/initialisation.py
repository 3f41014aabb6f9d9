"""Where networks begin."""

from __future__ import annotations

from typing import TypeVar

from torch import nn

from gradnoise.theory._validation import as_choice, as_instance

_Network = TypeVar("_Network", bound=nn.Module)
STARTS = ("torch", "he", "glorot", "small")
_SMALL = 0.02


def initialise(network: _Network, how: str) -> _Network:
    """Draw the parameters of a network anew, from torch's global generator.

    Weights of convolutions and linear layers are drawn as said; their biases are zero for "he" and "glorot", and drawn alike
    otherwise. What normalises, and all other layers, are reset as torch does.

    Parameters
    ----------
    network : torch.nn.Module
        Is changed.
    how : {"torch", "he", "glorot", "small"}
        Normal with a variance of 2 over the inputs of a unit for "he", which keeps the size of what ReLUs hand on; uniform with
        a variance of 2 over the sum of inputs and outputs for "glorot", as Keras does; "torch" is uniform, with a variance of 1
        over three times the inputs, for weights and biases; "small" is normal with a standard deviation of .02, cut off at twice
        that, for both, as in the released program of zhu2019.

    Returns
    -------
    torch.nn.Module
        The network.

    Raises
    ------
    ValueError, TypeError
        If an argument is not allowed, or the network has parameters that are of no layer that can be reset.

    References
    ----------
    He, Zhang, Ren, Sun (2015), Delving Deep into Rectifiers, Eq. (10). Glorot, Bengio (2010), Understanding the Difficulty of
    Training Deep Feedforward Neural Networks, Eq. (16).

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.models import initialise
    >>> layer = initialise(torch.nn.Linear(200, 300), "he")
    >>> round(layer.weight.var().item(), 3), bool((layer.bias == 0).all())
    (0.01, True)
    """
    as_instance(network, "network", nn.Module)
    as_choice(how, "how", STARTS)
    for name, layer in network.named_modules():
        if how != "torch" and isinstance(layer, nn.modules.conv._ConvNd | nn.Linear):
            if how == "small":
                for parameter in layer.parameters():
                    nn.init.trunc_normal_(parameter, std=_SMALL, a=-2 * _SMALL, b=2 * _SMALL)
                continue
            if how == "he":
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            else:
                nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif callable(reset := getattr(layer, "reset_parameters", None)):
            reset()
        elif next(layer.parameters(recurse=False), None) is not None:
            raise ValueError(f"network must be of layers with reset_parameters, got {type(layer).__name__} {name!r}")
    return network
