"""What is measured along a training beside loss and accuracies: the sharpness, the noise, and the indicators of escape."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from gradnoise.simulations.network_protocols import INDICATORS, NOISE, as_measured
from gradnoise.simulations.neural.escape import escape
from gradnoise.simulations.neural.loss_operators import LossOperators, as_operators
from gradnoise.simulations.neural.noise_covariance import NoiseCovariance
from gradnoise.simulations.neural.traces import expected_sharpness
from gradnoise.simulations.seeds import RNG, Stream
from gradnoise.theory.sampling import Minibatch

__all__ = ["PROBES", "measure"]

PROBES = 11  # the child of a seed from which probes are drawn, the same for all dynamics of it


def measure(operators: LossOperators, measured: Sequence[str], *, batch_size: int, n_probes: int, rng: RNG) -> dict[str, float]:
    """Measure a network where it stands.

    Parameters
    ----------
    operators : LossOperators
    measured : sequence of str
        "sharpness", "noise" for ‖∇L‖² and TrΣ, or "escape" for these and the other quantities of Figure 5 of zhu2019.
    batch_size : int
        Of the noise.
    n_probes : int
        Random probes for each.
    rng : None, int, SeedSequence or Generator
        Of the probes.

    Returns
    -------
    dict of str to float
        Names as `gradnoise.simulations.network_protocols.MEASURABLE` has them; NaN where there is no value.

    Raises
    ------
    TypeError, ValueError
        If a name is not known, a metric would come twice, or a number is not allowed.

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.experiments import EXPERIMENTS, make
    >>> from gradnoise.simulations.neural.measures import measure
    >>> task = make(EXPERIMENTS["digits"], rng=1, device=torch.device("cpu"))
    >>> found = measure(task.operators, ("sharpness", "noise"), batch_size=10, n_probes=2, rng=1)
    >>> sorted(found)
    ['gradient_norm_squared', 'sharpness', 'trace_covariance']
    """
    measured, operators, found = as_measured(measured), as_operators(operators), {}
    probes = torch.Generator(operators.device).manual_seed(Stream.of(rng).seed())
    if "sharpness" in measured:
        found["sharpness"] = expected_sharpness(operators, probes, n_probes=n_probes).value
    noise = Minibatch(operators.n, batch_size)
    if "noise" in measured:
        covariance = NoiseCovariance(operators, noise)
        found |= {"gradient_norm_squared": covariance.gradient_norm_squared, "trace_covariance": covariance.trace()}
    if "escape" in measured:
        here = escape(operators, noise, probes, n_probes=n_probes)
        found |= {name: float(getattr(here, name)) for name in NOISE}
        indicators = {name: getattr(here, name) for name in INDICATORS}
        found |= {name: math.nan if estimate is None else estimate.value for name, estimate in indicators.items()}
    return found
