"""Batch normalisation whose noise does not depend on the size of the batch."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from gradnoise.simulations.neural.models.sizes import MOST_CHANNELS
from gradnoise.theory._validation import as_count, as_real


class GhostBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation of consecutive parts of a batch, its ghosts, each by its own mean and variance.

    What normalisation adds to the noise of a step then depends on the size of the ghosts, and no longer on that of the batch:
    wu2019 takes it "to eliminate the noise introduced by Batch Normalization with different batch size". As with any batch
    normalisation, in training mode a sample has no loss of its own, as the others of its ghost have a part in it; in evaluation
    mode, where running means and variances normalise, it has. See `gradnoise.simulations.neural.loss_operators.LossOperators`
    for what is measured in which.

    Parameters
    ----------
    n_channels : int
    ghost_size : int
        Samples in a ghost. One as large as the batch is ordinary batch normalisation.
    momentum : float
        What the last ghost counts for in the running means and variances, between 0 and 1.
    eps : float
        What is added to variances, > 0.

    Raises
    ------
    ValueError
        If an argument is not allowed; in training mode, if a ghost has less than two values in a channel.

    Notes
    -----
    - Where the size of the batch is no multiple of `ghost_size`, the last ghost is smaller, and normalised by itself all the
      same. It is not joined to the one before, so that ghosts are the same ones where a batch is taken in parts.
    - Running means and variances are updated ghost by ghost, as by as many batches. A smaller ghost counts for less,
      1 − (1 − momentum)^(its size / ghost_size), so that what came before fades with the samples, not with their ghosts.

    References
    ----------
    Hoffer, Hubara, Soudry (2017), Train Longer, Generalize Better, Algorithm 1; wu2019, Appendix B.3; ne2021, Section 3.

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.models import GhostBatchNorm2d
    >>> layer, batch = GhostBatchNorm2d(3, ghost_size=4), torch.randn(10, 3, 5, 5)
    >>> alone = [torch.nn.BatchNorm2d(3)(ghost) for ghost in (batch[:4], batch[4:8], batch[8:])]
    >>> torch.equal(layer(batch), torch.cat(alone))
    True
    """

    def __init__(self, n_channels: int, ghost_size: int = 100, *, momentum: float = 0.1, eps: float = 1e-5) -> None:
        super().__init__(
            as_count(n_channels, "n_channels", at_most=MOST_CHANNELS),
            eps=as_real(eps, "eps", above=0),
            momentum=as_real(momentum, "momentum", at_least=0, at_most=1),
        )
        self.ghost_size = as_count(ghost_size, "ghost_size")

    def extra_repr(self) -> str:
        """What is printed of it."""
        return f"{self.num_features}, ghost_size={self.ghost_size}, momentum={self.momentum}, eps={self.eps}"

    def forward(self, input: Tensor) -> Tensor:
        """Maps (n, channels, height, width), normalised."""
        if not self.training:
            return super().forward(input)
        self._check_input_dim(input)
        ghosts = [self._normalised(ghost) for ghost in input.split(self.ghost_size)]
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(len(ghosts))
        return ghosts[0] if len(ghosts) == 1 else torch.cat(ghosts)

    def _normalised(self, ghost: Tensor) -> Tensor:
        n, _, *map_size = ghost.shape
        if n * map_size[0] * map_size[1] < 2:  # of which a variance is zero or none
            raise ValueError(f"a ghost must have two values or more in each channel, got {n} of maps {tuple(map_size)}")
        assert self.momentum is not None
        updated = 1 - (1 - self.momentum) ** (n / self.ghost_size)
        return functional.batch_norm(
            ghost, self.running_mean, self.running_var, self.weight, self.bias, training=True, momentum=updated, eps=self.eps
        )
