"""How far apart Fisher and Hessian are on data of finite size."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from gradnoise.simulations import ensemble
from gradnoise.simulations.ensemble import Progress
from gradnoise.simulations.seeds import RNG
from gradnoise.simulations.statistics import Estimate, Moments, merge_moments
from gradnoise.theory._validation import FloatArray, as_array, as_count, as_flag, shown
from gradnoise.theory.curvature import SoftmaxRegression

__all__ = ["curvature_gap"]


def curvature_gap(
    model: SoftmaxRegression,
    theta: ArrayLike,
    marginal: ArrayLike | None,
    n_samples: int,
    n_paths: int,
    *,
    rng: RNG,
    fitted: bool = True,
    n_jobs: int | None = None,
    progress: Progress = None,
) -> Estimate:
    """Estimate E‖Σ̂ − Ĥ‖² over data sets, the two ends of the chain (18).

    Parameters
    ----------
    model : SoftmaxRegression
        Whose data are drawn.
    theta : (d,) array_like
        True parameters.
    marginal : (k,) array_like or None
        Probabilities of the points of the design; equal for None.
    n_samples : int
        N, of a data set.
    n_paths : int
        Data sets.
    rng : None, int, SeedSequence or Generator
        See `gradnoise.simulations.seeds.Stream.of`.
    fitted : bool
        Whether Σ̂ and Ĥ are taken at the maximum likelihood estimate, or at the true parameters.
    n_jobs, progress : optional
        See `gradnoise.simulations.ensemble.run`.

    Returns
    -------
    Estimate
        Of the squared Frobenius norm, in units of H².

    Raises
    ------
    ValueError, TypeError
        If an argument is not allowed, or a data set has no maximum likelihood estimate where one is asked for.

    Examples
    --------
    >>> from gradnoise.simulations.softmax_regression import curvature_gap
    >>> from gradnoise.theory.curvature import SoftmaxRegression
    >>> coin = SoftmaxRegression(design=[[1.0]], n_classes=2)  # Fisher and Hessian agree where it is fitted: p (1 - p)
    >>> curvature_gap(coin, [0.0], [1.0], n_samples=100, n_paths=50, rng=1).value < 1e-20
    True
    >>> curvature_gap(coin, [0.0], [1.0], n_samples=100, n_paths=50, rng=1, fitted=False).value > 1e-6
    True
    """
    if not isinstance(model, SoftmaxRegression):
        raise TypeError(f"model must be a SoftmaxRegression, got {model!r}")
    truth, law = as_array(theta, "theta", ndim=1), model.law(theta, marginal)
    params = (model.design, model.n_classes, truth, law, as_count(n_samples, "n_samples"), as_flag(fitted, "fitted"))
    moments = ensemble.run(_gaps, params, n_paths, rng=rng, reduce=merge_moments, n_jobs=n_jobs, progress=progress)
    return moments.estimates()[0]


def _gaps(
    n_paths: int,
    generator: np.random.Generator,
    design: FloatArray,
    n_classes: int,
    theta: FloatArray,
    law: FloatArray,
    n_samples: int,
    fitted: bool,
) -> tuple[np.ndarray]:
    model = SoftmaxRegression(design, n_classes)
    frequencies = generator.multinomial(n_samples, law.ravel() / law.sum(), size=n_paths).reshape(-1, *law.shape) / n_samples
    try:
        at = model.fit(frequencies, theta) if fitted else theta
    except ValueError as error:
        raise ValueError(
            f"theta and n_samples must be such that each data set has a maximum likelihood estimate, got {shown(theta)} and "
            f"{n_samples}: {error}"
        ) from None
    gaps = ((model.covariance(at, frequencies) - model.hessian(at, frequencies)) ** 2).sum(axis=(1, 2))
    return Moments.of(gaps[:, np.newaxis]).as_block()
