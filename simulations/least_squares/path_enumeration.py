"""All paths of a few steps of MSGD on a finite sample space: its risk without chance, and without any formula for it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np

from gradnoise.simulations.sampling import Outcomes
from gradnoise.theory._validation import as_count, as_real
from gradnoise.theory.least_squares import FiniteLeastSquares

__all__ = ["excess_risks"]

_LIMIT = 4_000_000


@np.errstate(over="ignore", invalid="ignore")  # paths that diverge are refused
def excess_risks(
    problem: FiniteLeastSquares,
    weights: Callable[[np.ndarray], Outcomes],
    step_size: float,
    n_steps: int,
    *,
    n_samples: int | None = None,
) -> np.ndarray:
    """Excess risk of the averaged iterate, from all samples and all weights that its steps can meet.

    Parameters
    ----------
    problem : FiniteLeastSquares
        Of m points.
    weights : callable
        Takes the (B, d) features of a step's samples and returns the law of their weights.
    step_size : float
        eta.
    n_steps : int
        n. There are (m^B k)^n paths, k being the number of outcomes of the weights.
    n_samples : int, optional
        B fresh samples a step; all m points at every step if not given.

    Returns
    -------
    (n_steps + 1,) ndarray
        Of the means of theta_0 ... theta_n, for n = 0, ..., n_steps.

    Raises
    ------
    ValueError
        If there are over four million paths, or an argument is not allowed.

    Examples
    --------
    >>> from gradnoise.simulations.least_squares import excess_risks
    >>> from gradnoise.simulations.sampling import outcomes
    >>> from gradnoise.theory.least_squares import FiniteLeastSquares
    >>> from gradnoise.theory.sampling import Minibatch
    >>> problem = FiniteLeastSquares(features=[[1.0], [1.0]], targets=[0.0, 2.0], initial=[0.0])
    >>> excess_risks(problem, lambda X: outcomes(Minibatch(2, 1)), 1.0, 1)  # theta_1 = y is 0 or 2, its mean with theta_0 0 or 1
    array([0.5 , 0.25])
    """
    if not isinstance(problem, FiniteLeastSquares):
        raise TypeError(f"problem must be a FiniteLeastSquares, got {problem!r}")
    if not callable(weights):
        raise TypeError(f"weights must be a function of the features of a step's samples, got {weights!r}")
    step_size, n_steps = as_real(step_size, "step_size", above=0), as_count(n_steps, "n_steps", at_least=0, at_most=_LIMIT)
    X, y, p = problem.features, problem.targets, problem.probabilities
    m, d = X.shape
    if n_samples is not None and as_count(n_samples, "n_samples") * math.log(m) >= math.log(_LIMIT + 1):
        raise ValueError(f"n_samples must leave at most {_LIMIT} batches, got {m} to the power of {n_samples}")
    batches = [range(m)] if n_samples is None else itertools.product(range(m), repeat=n_samples)
    maps, shifts, chances = [], [], []
    for batch in map(list, batches):
        law = weights(X[batch])
        if not isinstance(law, Outcomes) or law.vectors.shape[1] != len(batch):
            raise TypeError(f"weights must return the Outcomes of a vector of {len(batch)} weights, got {law!r}")
        weighted = law.vectors[:, :, np.newaxis] * X[batch]
        maps.append(np.eye(d) - step_size * np.swapaxes(weighted, 1, 2) @ X[batch])
        shifts.append(step_size * np.einsum("kbd,b->kd", weighted, y[batch]))
        chances.append(law.probabilities * (1.0 if n_samples is None else p[batch].prod()))
    A, c, chance = np.concatenate(maps), np.concatenate(shifts), np.concatenate(chances)
    if n_steps * math.log(len(A)) >= math.log(_LIMIT + 1):
        raise ValueError(f"n_steps must leave at most {_LIMIT} paths, got {len(A)} to the power of {n_steps}")

    lowest = p @ (X @ problem.optimum - y) ** 2 / 2
    theta, probability = problem.initial[np.newaxis], np.ones(1)
    total, risks = theta, []
    for t in range(n_steps + 1):
        if t > 0:
            theta = (np.einsum("kij,pj->pki", A, theta) + c).reshape(-1, d)
            total = np.repeat(total, len(A), axis=0) + theta
            probability = np.outer(probability, chance).ravel()
        risks.append(probability @ ((total / (t + 1) @ X.T - y) ** 2 @ p) / 2 - lowest)
    if not np.isfinite(risks).all():
        raise ValueError(f"step_size must keep all paths finite, got {step_size:g}, with which some diverge")
    return np.array(risks)
