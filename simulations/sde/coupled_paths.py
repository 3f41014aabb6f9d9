r"""M-SGD and its SDE on one Brownian path, for several step sizes at once.

For each step size eta the SDE :math:`d\Theta = b(\Theta) dt + \sqrt\eta\, C(\Theta) dW` is followed by Euler-Maruyama steps of
eta/r, and M-SGD takes its steps of eta with the increments that these have passed. All step sizes share the path W in R^n,
which is drawn at the finest of all steps.

The reference's drift is corrected to first order in its step, :math:`b + \frac{h}{2} b' b`. What is left of its error has a
factor eta/r against that of M-SGD; 1/r where the modified drift takes the first order away from that.

A sampling vector that is not Gaussian is coupled to the increments by drawing the samples with the largest ones. A batch with
replacement is drawn one sample at a time, from the increments of a b-th of the step, which are independent; so are the
components of Bernoulli weights.

**Controls.** For a function g of the last point each path also gives the sum of its noises, each times the sensitivity of g
to it along noise-free gradient descent. Every term has the mean zero, given the path before it, so that g minus this sum has
the expectation of g, and most of the noise of g is gone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any

import numpy as np

from gradnoise.simulations.ensemble import check_fits
from gradnoise.simulations.sde.coupled_kernel import (
    ABOVE,
    DRAWN_APART,
    GAUSSIAN,
    LARGEST,
    Ends,
    Model,
    NoiseRule,
    Scheme,
    Study,
    follow_paths,
)
from gradnoise.simulations.sde.problem import Problem, compiled, gradient_matrices, lanes, writer
from gradnoise.theory._validation import FloatArray, as_count, as_counts, as_flag, as_instance, as_real, set_fields, shown
from gradnoise.theory.sampling import Bernoulli, Gaussian, Minibatch, SamplingNoise

__all__ = ["Coupling", "final_points", "sensitivities"]

_SENSITIVITY_STEP = 1e-5  # of a length near one
_FEWEST_SUBSTEPS = 4  # of the reference: one with twice its step is still finer than M-SGD


@dataclass(frozen=True)
class Coupling:
    """How one study couples its paths.

    Attributes
    ----------
    noise : SamplingNoise
        Gaussian, Minibatch or Bernoulli.
    finest : float
        Smallest step size.
    multiples : tuple of int
        Step sizes in units of the smallest.
    n_finest : int
        Steps of the smallest size.
    refinement : int
        r, reference steps in a step; even, at least 4.
    modified : bool
        Whether the SDE has the modified drift.
    shared : bool
        Whether the iterates share the increments of the SDE; if not, they draw their own.
    substeps : int
        1 for M-SGD. More replaces it by the reference's own scheme with that many steps in each step, to see how far the
        reference is off.

    Examples
    --------
    >>> from gradnoise.simulations.sde import Coupling
    >>> from gradnoise.theory.sampling import Gaussian
    >>> coupling = Coupling(Gaussian(20, 4), finest=0.25, multiples=(1, 2), n_finest=8, refinement=6)
    >>> coupling.of_reference().substeps  # steps that are twice as long as the reference's
    3
    """

    noise: SamplingNoise
    finest: float
    multiples: tuple[int, ...]
    n_finest: int
    refinement: int
    modified: bool = False
    shared: bool = True
    substeps: int = 1

    def __post_init__(self) -> None:
        multiples = as_counts(self.multiples, "multiples", at_least=1)
        counts = {name: as_count(getattr(self, name), name) for name in ("n_finest", "refinement", "substeps")}
        if multiples.ndim != 1 or len(np.unique(multiples)) < len(multiples) or (counts["n_finest"] % multiples).any():
            raise ValueError(
                f"multiples must be different divisors of n_finest = {counts['n_finest']}, got {shown(self.multiples)}"
            )
        if counts["refinement"] < _FEWEST_SUBSTEPS or counts["refinement"] % 2:
            raise ValueError(f"refinement must be even, and at least {_FEWEST_SUBSTEPS}, got {counts['refinement']}")
        if counts["refinement"] % counts["substeps"]:
            raise ValueError(f"substeps must divide refinement = {counts['refinement']}, got {counts['substeps']}")
        flags = {name: as_flag(getattr(self, name), name) for name in ("modified", "shared")}
        finest = as_real(self.finest, "finest", above=0)
        as_instance(self.noise, "noise", SamplingNoise)
        set_fields(self, finest=finest, multiples=tuple(multiples.tolist()), **counts, **flags)

    def of_reference(self) -> Coupling:
        """Return the coupling of the reference with one of twice its step."""
        return replace(self, substeps=self.refinement // 2, shared=True)

    def noise_rule(self) -> NoiseRule:
        """Return how increments become weights.

        Raises
        ------
        TypeError
            If the noise cannot be coupled.
        """
        noise = self.noise
        kind, batch_size, threshold = _drawn(noise) if self.substeps == 1 else (GAUSSIAN, 1, 0.0)
        scale = math.sqrt(noise.centred_power)
        # A root of Var W = (v - c) I + c J is scale (I - kappa J/n); along (1, ..., 1) it shows in the variance of the sum.
        kappa = 1.0 - math.sqrt(noise.sum_variance / (noise.n * noise.centred_power)) if scale > 0 else 0.0
        return NoiseRule(kind, batch_size, threshold, scale, kappa, self.shared)

    def study(self, dimension: int, sensitivities: FloatArray | None = None) -> Study:
        """Return what the kernel takes; without sensitivities there are no controls."""
        dimension, levels = as_count(dimension, "dimension"), len(self.multiples)
        check_fits(8 * levels * dimension, f"dimension = {dimension} makes a point")
        if sensitivities is None:
            sensitivities = np.empty((levels, 0, dimension))
        elif not isinstance(sensitivities, np.ndarray) or sensitivities.dtype != np.float64 or np.ma.isMA(sensitivities):
            raise TypeError(f"sensitivities must be an array of floats without a mask, got {shown(sensitivities)}")
        if sensitivities.ndim != 3 or (sensitivities.shape[0], sensitivities.shape[2]) != (levels, dimension):
            shape = f"({levels}, steps, {dimension})"
            raise ValueError(f"sensitivities must have shape {shape}, got {sensitivities.shape}")
        r, multiples = self.refinement, np.array(self.multiples, dtype=np.int64)
        eta = self.finest * np.array(self.multiples, dtype=np.float64)
        added = eta if self.modified else np.zeros_like(eta)
        reference_step, iterate_step = eta / r, eta / self.substeps
        corrected = added - iterate_step if self.substeps > 1 else np.zeros_like(eta)
        return Study(
            path_step=self.finest / r,
            n_path_steps=self.n_finest * r,
            step_sizes=eta,
            every=multiples * r,
            reference=Scheme(multiples, reference_step, added - reference_step),
            iterate=Scheme(multiples * (r // self.substeps), iterate_step, corrected),
            noise=self.noise_rule(),
            sensitivities=sensitivities,
        )


def _drawn(noise: SamplingNoise) -> tuple[int, int, float]:
    """Return the kind, batch size and threshold of a noise's rule."""
    match noise:
        case Gaussian():
            return GAUSSIAN, 1, 0.0
        case Minibatch(replacement=True):
            return DRAWN_APART, noise.batch_size, 0.0
        case Minibatch():
            return LARGEST, noise.batch_size, 0.0
        case Bernoulli():
            return ABOVE, noise.batch_size, -NormalDist().inv_cdf(noise.batch_size / noise.n)
    raise TypeError(f"batch_size must be a number or a Gaussian, Minibatch or Bernoulli noise, got {noise!r}")


def final_points(
    n_paths: int, generator: np.random.Generator, problem: Problem, coupling: Coupling, sensitivities: FloatArray | None = None
) -> Ends:
    """Follow paths to their ends.

    Parameters
    ----------
    n_paths : int
        Paths of a block.
    generator : Generator
        Its random numbers.
    problem : Problem
        Gradients, data and start.
    coupling : Coupling
        What runs beside what.
    sensitivities : (step sizes, steps, d) array, optional
        See `sensitivities`; without them there are no controls.

    Returns
    -------
    Ends
        The last points of M-SGD, those of the SDE, and the controls of the difference of g between the two.

    Raises
    ------
    TypeError, ValueError
        If an argument is not allowed, or memory cannot hold the points.

    Examples
    --------
    >>> from gradnoise.simulations.sde import Coupling, final_points, standard_problems
    >>> from gradnoise.theory.sampling import Minibatch
    >>> problem, all_of_them = standard_problems.least_squares(n=5), Minibatch(5, 5, replacement=False)
    >>> coupling = Coupling(all_of_them, finest=0.125, multiples=(1,), n_finest=1, refinement=4)
    >>> iterates, references, _ = final_points(3, np.random.default_rng(1), problem, coupling)
    >>> descent = -0.125 * problem.sample_gradients(problem.start).mean(axis=1)  # one step from the origin, without noise
    >>> iterates.shape, np.allclose(iterates, descent)
    ((3, 1, 2), True)
    """
    n_paths = as_count(n_paths, "n_paths")
    as_instance(generator, "generator", np.random.Generator)
    levels, d = len(as_instance(coupling, "coupling", Coupling).multiples), as_instance(problem, "problem", Problem).dimension
    study = coupling.study(d, sensitivities)
    check_fits(8 * n_paths * levels * (2 * d + 1), f"n_paths = {n_paths} makes points")
    iterates, references = np.empty((2, n_paths, levels, d))
    ends = Ends(iterates, references, np.empty((n_paths, levels)))
    follow_paths(generator, _model(problem), study, lanes(problem), ends)
    return ends


def _model(problem: Problem) -> Model:
    gradients = compiled(problem.gradients, "gradients", problem.vectorized)
    each, all_at_once = (None, gradients) if problem.vectorized else (gradients, None)
    return Model(each, all_at_once, problem.data, problem.start)


def sensitivities(problem: Problem, function: Callable[..., None], coupling: Coupling) -> FloatArray:
    """Return the gradient of g(theta_K) by the point after each step of gradient descent, (step sizes, steps, d).

    All derivatives are central differences: they decide how much noise the controls remove, not what is estimated.
    """
    d, n_finest = problem.dimension, coupling.n_finest
    # Steps fit lengths to a factor of a thousand, which does for derivatives, and are the same for all lengths near one.
    steps = _SENSITIVITY_STEP * 1e6 ** np.rint(np.log10(problem.lengths()) / 6)
    n_numbers = len(coupling.multiples) * n_finest * d
    check_fits(8 * n_numbers, f"step_sizes, time and {d} parameters make sensitivities")
    result = np.zeros((len(coupling.multiples), n_finest, d))

    values, gradients = writer(function, "test_function", problem.data, (problem.n,)), gradient_matrices(problem)

    def value(theta: FloatArray) -> float:
        return float(values(theta).mean())

    def gradient(theta: FloatArray) -> FloatArray:
        return gradients(theta).mean(axis=1)

    def differences(f: Callable[[FloatArray], Any], theta: FloatArray) -> FloatArray:
        moves = np.diag(steps)
        return np.array([(f(theta + move) - f(theta - move)) / (2 * step) for move, step in zip(moves, steps, strict=True)])

    for level, multiple in enumerate(coupling.multiples):
        eta, n_steps = multiple * coupling.finest, n_finest // multiple
        points = [problem.start]
        for _ in range(n_steps):
            points.append(points[-1] - eta * gradient(points[-1]))
            if not np.isfinite(points[-1]).all():
                raise ValueError(f"step_sizes must let gradient descent stay finite, got {eta:g}, where it does not")
        backwards = differences(value, points[-1])
        for k in range(n_steps - 1, -1, -1):
            result[level, k] = backwards
            backwards = backwards - eta * differences(gradient, points[k]) @ backwards
    return result
