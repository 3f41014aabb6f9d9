"""What a diagnosis says, a sentence each."""

from __future__ import annotations

import math
from typing import Any

from gradnoise.simulations.neural.escape import is_positive
from gradnoise.simulations.statistics import Difference, with_error

__all__ = ["in_words"]

_KNOWN = 0.1  # relative error up to which a number is called known


def in_words(found: Any) -> list[str]:
    """Say where a network stands.

    Parameters
    ----------
    found : Diagnosis

    Returns
    -------
    list of str
        Sentences on strength, alignment, escape and tails of the noise, and on what it would take to know more.

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.diagnosis import diagnose
    >>> from gradnoise.simulations.neural.words import in_words
    >>> inputs, targets = torch.eye(3), torch.tensor([0, 1, 1])
    >>> model, loss = torch.nn.Linear(3, 2, bias=False), torch.nn.CrossEntropyLoss(reduction="none")
    >>> found = diagnose(model, loss, (inputs, targets), 1, rng=1, n_probes=20, n_draws=1_000)
    >>> in_words(found)[0].startswith("Noise dominates: ")
    True
    """
    return [_strength(found), _alignment(found), _escape(found), _tails(found), _more(found)]


def _strength(found: Any) -> str:
    times = found.trace_covariance / found.gradient_norm_squared if found.gradient_norm_squared else math.inf
    first = (
        f"{'Noise' if times > 1 else 'The gradient'} dominates: TrΣ of the stochastic gradient is {_about(times)} times ‖∇L‖²."
    )
    scale = found.noise_scale
    low, high = scale.interval(0.95)
    if math.isinf(high):
        batch = f"above {_about(low)}; its gradient may be zero"
    else:
        batch = f"of {_about(scale.value)} ({_about(low)} to {_about(high)})"
    return f"{first} In the population, the two are of one strength for batches {batch}."


def _alignment(found: Any) -> str:
    if not found.hessian_eigenvalues[0] > 0:
        return "No direction curves upwards here, so that there is none for the noise to align with."
    times = found.share_along_first * found.dimension
    verb = "aligns" if times > 1 else "does not align"
    return (
        f"The noise {verb} with the curvature: the sharpest direction has {100 * found.share_along_first:.2g} % of it, "
        f"{_about(times)} times its part of isotropic noise."
    )


def _escape(found: Any) -> str:
    here, isotropic, ratio = found.indicator, found.isotropic_indicator, found.ratio
    if ratio is None:
        name, value = ("Tr(HΣ)", here) if is_positive(isotropic) else ("Tr(HΣ̄)", isotropic)
        means = "is negative" if value.interval(0.95)[1] < 0 else "is not told from zero"
        return (
            f"This is no minimum to escape from, or not seen to be one: {name} = {with_error(value.value, value.standard_error)} "
            f"{means}, so that there is no ratio to isotropic noise."
        )
    low, high = ratio.interval(0.95)
    shown = f"{ratio.value:.3g} times Tr(HΣ̄), {low:.3g} to {high:.3g}"
    if low > 1:
        return f"It can escape faster than isotropic noise of equal strength: Tr(HΣ) is {shown}."
    if high < 1:
        return f"It escapes more slowly than isotropic noise of equal strength: Tr(HΣ) is {shown}."
    return f"Whether it escapes faster than isotropic noise of equal strength is not decided: Tr(HΣ) is {shown}."


def _tails(found: Any) -> str:
    tail, control = found.tail_index, found.gaussian_tail_index
    shown = f"α = {tail.value:.3g} beside {control.value:.3g} of Gaussian noise"
    low, high = Difference(tail.inverse, control.inverse).interval(0.95)
    if low > 0:
        return f"Its tails look heavier than Gaussian ones: {shown}; yet all moments are finite, as they are of all finite data."
    verdict = "lighter than Gaussian ones" if high < 0 else "no heavier than Gaussian ones, as far as these draws tell"
    return f"Its tails are {verdict}: {shown}."


def _more(found: Any) -> str:
    wanted = []
    rough = [e for e in (found.indicator, found.isotropic_indicator) if e.standard_error > _KNOWN * abs(e.value)]
    n, probes = found.arguments["n"], found.arguments["n_probes"]
    if rough and probes is not None:
        wanted.append(f"n_probes={4 * probes} would at least halve the errors of the traces")
    if math.isinf(found.noise_scale.interval(0.95)[1]):
        gradient = found.population_gradient_norm_squared
        if gradient.value > 0:
            needed = n * (2 * gradient.standard_error / gradient.value) ** 2
            wanted.append(f"some {_about(needed)} samples, in place of {n:,}, would tell the population's gradient from zero")
        else:
            wanted.append(f"many times the {n:,} samples would be needed to tell the population's gradient from zero")
    known = (
        f"these numbers are known to {100 * _KNOWN:.0f} % or better; Σ of other batch sizes follows, as it is proportional to 1/b"
    )
    return f"To know more: {', and '.join(wanted) or known}."


def _about(number: float) -> str:
    """A number to two digits."""
    return f"{float(f'{number:.2g}'):,g}" if number < 1e15 else f"{number:.2g}"
