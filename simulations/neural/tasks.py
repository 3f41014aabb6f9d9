"""A network with the data that it is trained and tested on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gradnoise.simulations.neural.batches import Batches, as_batches
from gradnoise.simulations.neural.loss_operators import LossOperators

__all__ = ["Task"]


@dataclass(frozen=True, eq=False)
class Task:
    """A network with its data, on a device.

    Attributes
    ----------
    operators : LossOperators
        Of the training samples with their corrupted labels.
    test : (Tensor, Tensor)
        Inputs and labels, all of them right.
    facts : dict
        What the data are: ``n_train``, ``n_corrupted``, ``n_test``, and a SHA-256 of all images and labels of the data set.

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.experiments import EXPERIMENTS, make
    >>> task = make(EXPERIMENTS["digits"], rng=1, device=torch.device("cpu"))
    >>> task.operators.n, len(task.test[1])
    (300, 597)
    >>> sorted(task.metrics())
    ['test_accuracy', 'train_accuracy']
    """

    operators: LossOperators
    test: tuple[Tensor, Tensor]
    facts: dict[str, Any]

    def metrics(self) -> dict[str, float]:
        """Accuracy on the training labels, corrupted ones included, and on the test images."""
        operators = self.operators
        both = (operators.batches, as_batches(self.test))
        shares = [accuracy(operators.model, samples, operators.chunk_size) for samples in both]
        return dict(zip(("train_accuracy", "test_accuracy"), shares, strict=True))


def accuracy(model: nn.Module, samples: Batches, chunk_size: int) -> float:
    """Share of the samples whose largest output, of (n, classes), is that of the label (n,); the model is in evaluation mode."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.no_grad():
            right = [(model(x).argmax(dim=1) == y).sum() for x, y in samples.chunks(chunk_size)]
    finally:
        for module in training:  # by itself, as some of its parts may have been in evaluation mode
            module.training = True
    return int(torch.stack(right).sum()) / samples.n
