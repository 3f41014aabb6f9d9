"""The workloads that draw sampling vectors: one for each class, and the local complexities of two sets of losses."""

from __future__ import annotations

import numpy as np
import numpy_versions
from c_yardstick import Yardstick
from case import Case, Outcome, Run, Statistics, Targets, contenders
from path_cases import jax_versions

from gradnoise.simulations import complexity, sampling
from gradnoise.simulations.sampling import draw_with
from gradnoise.simulations.statistics import Estimate
from gradnoise.theory.complexity import AffineLosses, LeastSquaresLosses
from gradnoise.theory.sampling import (
    Bernoulli,
    Gaussian,
    GaussianMinibatch,
    Minibatch,
    Rademacher,
    SamplingNoise,
    SparseGaussian,
    StudentT,
)

_N, _B = 1000, 32


def weights_cases(c: Yardstick | None) -> list[Case]:
    """Sampling vectors of every class, all 1,000 weights of each."""
    heavy, compensated = StudentT(_N, _B, df=5.0), GaussianMinibatch(_N, 4 * _B, _B)
    signs, normal = Rademacher(_N, _B), Gaussian(_N, _B)
    sparse = {form: SparseGaussian(_N, _B, 4 * _B, form=form, replacement=True) for form in ("fisher", "cov", "printed")}
    of_batch = {
        "minibatch": Minibatch(_N, _B),
        "minibatch without": Minibatch(_N, _B, replacement=False),
        "bernoulli": Bernoulli(_N, _B),
    }
    student_scale = float(np.sqrt(heavy.centred_power * (heavy.df - 2) / heavy.df))  # t has the variance df/(df - 2)
    return [
        *(_weights_case(noise, kind, c, _B, 0.0, normals=0) for kind, noise in of_batch.items()),
        _weights_case(normal, "gaussian", c, _B, float(np.sqrt(normal.centred_power)), normals=_N),
        _weights_case(signs, "rademacher", c, _B, float(np.sqrt(signs.centred_power)), normals=0),
        _weights_case(heavy, "student", c, _B, student_scale, heavy.df, normals=2 * _N),
        *(
            _weights_case(noise, form, c, 4 * _B, noise.noise_scale, normals=_N if form == "printed" else 4 * _B)
            for form, noise in sparse.items()
        ),
        _weights_case(compensated, "gaussian minibatch", c, 4 * _B, compensated.noise_scale, normals=4 * _B),
    ]


def _weights_case(
    noise: SamplingNoise, kind: str, c: Yardstick | None, batch_size: int, scale: float, df: float = 0.0, *, normals: float
) -> Case:
    args = (kind, noise.n, batch_size, scale, df)

    def ours(n_jobs: int) -> Run:
        def run(n: int, seed: int) -> Outcome:
            estimates = sampling.expectations(noise, _statistic, n, rng=seed, n_jobs=n_jobs)
            return Outcome(estimates, np.array([(e.value, e.standard_error) for e in estimates]))

        return run

    others: dict[str, Statistics | None] = {"NumPy": lambda n, seed: _statistic(numpy_versions.weights(n, seed, *args))}
    if jax_versions and kind == "gaussian":
        others["JAX"] = lambda n, seed: _statistic(jax_versions.gaussian_weights(n, seed, noise.n, scale))
    runs = contenders(
        ours,
        lambda values: Outcome([Estimate.of(column) for column in values.T], values),
        c and (lambda n, seed: _statistic(c.weights(n, seed, *args))),
        others,
    )
    compared = ("mean of W_1 + ... + W_8", "mean of its square")
    return Case(f"W, {kind}", "vector", 1, compared, runs, Targets(), normals, slow_share=4)


def _statistic(w: np.ndarray) -> np.ndarray:
    """Sum of eight weights and its square, whose means a wrong mean, variance or covariance would shift."""
    total = w[:, :8].sum(axis=1)
    return np.column_stack([total, total**2])


def complexity_cases(c: Yardstick | None) -> list[Case]:
    """Rademacher complexities of 100 affine losses and of 100 of least squares, in five dimensions."""
    rng = np.random.default_rng(3)
    X, y = rng.normal(size=(100, 5)), rng.normal(size=100)
    affine, quadratic = AffineLosses(y, X.T, 0.5), LeastSquaresLosses(X, y, np.zeros(5), 0.5)
    return [_complexity_case("affine", affine, c), _complexity_case("quadratic", quadratic, c)]


def _complexity_case(kind: str, losses: AffineLosses | LeastSquaresLosses, c: Yardstick | None) -> Case:
    noise, columns = complexity.signs(losses.n), np.ascontiguousarray(losses.statistics.T)

    def ours(n_jobs: int) -> Run:
        def run(n: int, seed: int) -> Outcome:
            found = complexity.simulate(losses, noise, n, rng=seed, n_jobs=n_jobs, progress=False)
            return Outcome([found], np.array([found.value, found.standard_error]))

        return run

    def in_numpy(n: int, seed: int) -> np.ndarray:
        if isinstance(losses, AffineLosses):
            return numpy_versions.affine_complexity(n, seed, losses.radius, columns)
        return losses.supremum(losses.n * draw_with(noise, n, np.random.default_rng(seed)) - 1) / losses.n

    in_c = c and (lambda n, seed: c.complexity(n, seed, kind, 5, losses.radius, columns))
    runs = contenders(ours, Outcome.of, in_c, {"NumPy": in_numpy})
    return Case(f"complexity, {kind}", "vector", 1, ("mean",), runs, Targets(), 0)
