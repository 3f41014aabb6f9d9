"""The network of which zhu2019 bounds the noise along the curvature."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gradnoise.simulations.neural.models.sizes import MOST_INPUTS
from gradnoise.theory._validation import as_count, as_real


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
        m, self.delta = as_count(width, "width", at_most=MOST_INPUTS), as_real(delta, "delta", above=0)
        if self.delta >= 0.5:
            raise ValueError(f"delta must be < 0.5, got {delta:g}")
        self.hidden = nn.Linear(as_count(n_inputs, "n_inputs", at_most=MOST_INPUTS), m)
        signs = 1.0 - 2.0 * (torch.arange(m) % 2)
        self.register_buffer("output_weights", signs / m**0.5)

    def forward(self, inputs: Tensor) -> Tensor:
        """Clipped outputs (n,) for inputs (n, p)."""
        return torch.clamp(torch.relu(self.hidden(inputs)) @ self.output_weights, self.delta, 1 - self.delta)
