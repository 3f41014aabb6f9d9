"""What lower precision adds to the gradients of the samples, beside the noise that they have anyway."""

from __future__ import annotations

from gradnoise.simulations.neural.loss_operators import LossOperators, as_operators

__all__ = ["autocast_noise"]


def autocast_noise(operators: LossOperators) -> float:
    """Mean squared difference of the samples' gradients with and without autocast. Units: loss² / parameter².

    It is the strength of a noise of its own, to be compared with the trace of the covariance of a sample's gradient. Unlike that
    it does not fall as 1/b where rounding is alike for all samples.

    Parameters
    ----------
    operators : LossOperators
        With an autocast.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If there is no autocast.

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.loss_operators import LossOperators
    >>> from gradnoise.simulations.neural.precision import autocast_noise
    >>> model, inputs, targets = torch.nn.Linear(3, 2), torch.eye(3), torch.tensor([0, 1, 1])
    >>> loss = torch.nn.CrossEntropyLoss(reduction="none")
    >>> 0 < autocast_noise(LossOperators(model, loss, inputs, targets, autocast=torch.bfloat16)) < 1e-3
    True
    """
    if as_operators(operators).autocast is None:
        raise ValueError("operators must have an autocast, got none")
    pairs = zip(operators.sample_gradients(), operators.in_full_precision().sample_gradients(), strict=True)
    return sum(float((low - full).double().square().sum()) for low, full in pairs) / operators.n
