"""What a diagnosis says, a sentence each."""

from __future__ import annotations

import math
from typing import Any

from gradnoise.simulations.neural.escape import is_positive
from gradnoise.simulations.statistics import Difference, Measured, with_error

_KNOWN = 0.1  # relative error up to which a number is called known
_LEVEL = 0.95  # of all intervals; as in `is_positive`


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
    noise, gradient = found.trace_covariance, found.gradient_norm_squared
    if gradient == 0:
        first = "Noise dominates: the gradient of these data is zero."
    else:
        name = "Noise" if noise > gradient else "The gradient"
        first = f"{name} dominates: TrΣ of the stochastic gradient is {_about(noise / gradient)} times ‖∇L‖²."
    scale = found.noise_scale
    low, high = scale.interval(_LEVEL)
    if math.isinf(low):
        return (
            f"{first} ‖∇L‖² is less than the spread of independent samples would leave, as where a network is fitted to its "
            f"data: it tells no noise scale of their population."
        )
    sizes = f"above {_about(low)}, if at any: that gradient may be zero"
    if math.isfinite(high):
        sizes = f"about {_about(scale.value)} ({_about(low)} to {_about(high)})"
    return (
        f"{first} If the network has not been fitted to these data, noise and gradient of their population are equally strong in "
        f"batches of {sizes}."
    )


def _alignment(found: Any) -> str:
    if not found.hessian_eigenvalues[0] > 0:
        return "No direction curves upwards here, so that there is none for the noise to align with."
    if found.n_sharpest > 1:
        return _alignment_with_many(found)
    share, times = found.share_along_first, found.share_along_first * found.dimension
    return (
        f"The noise {'aligns' if times > 1 else 'does not align'} with the curvature: {_about(100 * share)} % of it is "
        f"along the sharpest direction, {_about(times)} times what isotropic noise has there."
    )


def _alignment_with_many(found: Any) -> str:
    """Of a largest eigenvalue that is repeated: which vectors of its space a solver returns is chance."""
    low, high = found.share_range
    aligns = "aligns" if low * found.dimension > 1 else "may align or not" if high * found.dimension > 1 else "does not align"
    shares, times = (" to ".join(_about(unit * share) for share in (low, high)) for unit in (100, found.dimension))
    return (
        f"The noise {aligns} with the curvature, which is equally sharp along {found.n_sharpest} directions: {shares} % of it is "
        f"along one of them or between, {times} times what isotropic noise has there."
    )


def _escape(found: Any) -> str:
    if found.ratio is None:
        indicators = (("Tr(HΣ)", found.indicator), ("Tr(HΣ̄)", found.isotropic_indicator))
        unknown = [(name, value) for name, value in indicators if not is_positive(value)]
        negative = [(name, value) for name, value in unknown if value.interval(_LEVEL)[1] < 0]
        name, value = (negative or unknown)[0]
        shown = f"{name} = {with_error(value.value, value.standard_error)}"
        if negative:
            return f"This is no minimum to escape from: {shown} is negative, so that a ratio to isotropic noise means nothing."
        return (
            f"Whether this is a minimum to escape from is not seen: {shown} cannot be told from zero, so that a ratio to "
            f"isotropic noise means nothing."
        )
    low, high = found.ratio.interval(_LEVEL)
    verdict = "As far as curvature decides, the noise escapes {} than isotropic noise of equal strength"
    if low > 1:
        verdict = verdict.format("faster")
    elif high < 1:
        verdict = verdict.format("more slowly")
    else:
        verdict = "It is not seen whether the noise escapes faster or more slowly than isotropic noise of equal strength"
    value, low, high = (_about(number, 3) for number in (found.ratio.value, low, high))
    return f"{verdict}: Tr(HΣ) is {value} times Tr(HΣ̄) ({low} to {high})."


def _tails(found: Any) -> str:
    tail, control, kurtosis = found.tail_index, found.gaussian_tail_index, found.kurtosis
    fourth = with_error(kurtosis.value, kurtosis.standard_error) if math.isfinite(kurtosis.value) else "infinite"
    shown = f"α = {tail.value:.3g} beside {control.value:.3g} of Gaussian noise, excess kurtosis {fourth}"
    lighter, heavier = _sides(Difference(tail.inverse, control.inverse))
    if heavier:
        # A stable law with α < 2 has no variance, and this is what a reader would take α for.
        return f"The tails of the noise look heavier than Gaussian ones: {shown}; yet its variance is finite."
    if lighter:
        return f"The tails of the noise look lighter than Gaussian ones: {shown}."
    lighter, heavier = _sides(kurtosis)
    if lighter or heavier:
        name = "heavier" if heavier else "lighter"
        return f"The tails of the noise are {name} than Gaussian ones by kurtosis; their index shows no difference: {shown}."
    return f"The tails of the noise are not told from Gaussian ones by these draws: {shown}."


def _more(found: Any) -> str:
    wanted = []
    if any(e.standard_error > _KNOWN * abs(e.value) for e in (found.indicator, found.isotropic_indicator)):
        wanted.append(f"n_probes={4 * found.arguments['n_probes']} should halve the errors of the traces, or do better")
    n, gradient = found.arguments["n"], found.population_gradient_norm_squared
    low, high = found.noise_scale.interval(_LEVEL)
    if math.isinf(low):
        wanted.append("samples that the network has not been fitted to would tell of the population's gradient")
    elif math.isinf(high) and gradient.value > 0:
        needed = n * (2 * gradient.standard_error / gradient.value) ** 2
        wanted.append(f"some {_about(needed)} samples, in place of {n:,}, would tell the population's gradient from zero")
    elif math.isinf(high):
        wanted.append(f"many times the {n:,} samples would be needed to tell the population's gradient from zero")
    if wanted:
        return f"To know more: {', and '.join(wanted)}."
    return (
        f"The traces are known to {100 * _KNOWN:.0f} % or better; for batches of b drawn with replacement, Σ is that of one "
        f"sample over b."
    )


def _sides(value: Measured) -> tuple[bool, bool]:
    """Whether something is seen to be below zero, and above."""
    low, high = value.interval(_LEVEL)
    return high < 0, low > 0


def _about(number: float, digits: int = 2) -> str:
    """A number to a few digits."""
    rounded = float(f"{number:.{digits}g}")
    return f"{rounded:,.0f}" if 10 ** (digits - 1) <= abs(rounded) < 1e15 else f"{rounded:.{digits}g}"
