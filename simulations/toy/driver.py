"""The two-basin toy of zhu2019, Figure 2: which dynamics escape from the sharp minimum.

Each path has data of its own. The kernel is in `gradnoise.simulations.toy.kernel`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradnoise.simulations import ensemble
from gradnoise.simulations.ensemble import PathsResult, Progress, check_fits
from gradnoise.simulations.seeds import RNG, Stream
from gradnoise.simulations.statistics import Proportion, with_error
from gradnoise.simulations.toy.kernel import BYTES_OF_A_SAMPLE, ESCAPED_BELOW, Records, Study, run_paths
from gradnoise.theory._linalg import psd_root
from gradnoise.theory._validation import as_array, as_choice, as_count, as_real
from gradnoise.theory.escape import two_basin
from gradnoise.theory.gradient_noise import DYNAMICS as _TABLE_1

__all__ = ["CONVENTIONS", "DYNAMICS", "ToyResult", "simulate"]

DYNAMICS = (*_TABLE_1, "sgd")
CONVENTIONS = ("released", "literal")
RECORDS = ("trajectory", "indicator", "loss")

_BLOCK_SIZE = 1024


@dataclass(frozen=True, eq=False, repr=False)
class ToyResult(PathsResult):
    """Paths of the toy.

    Attributes
    ----------
    success : (n_paths,) ndarray of bool
        Whether both final coordinates are below -0.5, the paper's rule.
    escape_step : (n_paths,) ndarray of int
        First step t >= 1 with both coordinates below -0.5, else -1.
    final : (n_paths, 2) ndarray
        Last parameter.
    trajectory : (n_paths, n_steps + 1, 2) ndarray or None
        Parameters theta_0 to theta_n, where recorded.
    indicator : (n_paths, n_steps + 1) ndarray or None
        Tr(H C) at theta_t, where recorded; C is the covariance of the noise that the step from theta_t adds to the parameter.
    loss : (n_paths, n_steps + 1) ndarray or None
        Mean loss of the path's data at theta_t, where recorded.
    arguments, stream, versions
        What made it; see `gradnoise.simulations.ensemble.Result`.

    Examples
    --------
    >>> from gradnoise.simulations import toy
    >>> found = toy.simulate("gd", 1_000, rng=1, n_steps=100)
    >>> found.success_rate.successes, found.final.shape  # without noise no path leaves the sharp minimum
    (0, (1000, 2))
    >>> again = toy.simulate(**found.arguments, rng=found.stream)
    >>> np.array_equal(found.final, again.final)
    True
    >>> toy.simulate("gd", 3, rng=1, n_steps=2, record=("loss",)).recorded("loss").shape, float(found.escape_law().max())
    ((3, 3), 0.0)
    """

    success: np.ndarray
    escape_step: np.ndarray
    final: np.ndarray
    trajectory: np.ndarray | None
    indicator: np.ndarray | None
    loss: np.ndarray | None

    @property
    def success_rate(self) -> Proportion:
        """Success rate with its exact interval."""
        return Proportion(int(self.success.sum()), len(self.success))

    @property
    def ever_escaped(self) -> Proportion:
        """Share of the paths that were in the flat basin at some time; the final-iterate rule misses those that left again."""
        return Proportion(int((self.escape_step >= 0).sum()), len(self.escape_step))

    def recorded(self, name: str) -> np.ndarray:
        """Return a recorded array.

        Raises
        ------
        ValueError
            If it was not recorded.
        """
        array = getattr(self, as_choice(name, "name", RECORDS))
        if array is None:
            raise ValueError(f"{name} was not recorded; run simulate with record=({name!r},)")
        return array

    def escape_law(self) -> np.ndarray:
        """P(escaped by step t) for t = 0 ... n_steps, the empirical law of the escape time."""
        n_steps = self.arguments["n_steps"]
        counts = np.bincount(self.escape_step[self.escape_step >= 0], minlength=n_steps + 1)
        return np.cumsum(counts) / len(self.escape_step)

    def _found(self) -> dict[str, Any]:
        return {"success_rate": self.success_rate, "ever_escaped": self.ever_escaped}

    def _headline(self) -> str:
        rate = self.success_rate
        return f"success rate {with_error(rate.value, rate.standard_error)} of {rate.n:,} paths"

    def plot(self, ax: Any = None) -> Any:
        """Plot the law of the escape time.

        Parameters
        ----------
        ax : matplotlib Axes, optional

        Returns
        -------
        matplotlib Axes

        Examples
        --------
        >>> from gradnoise.simulations import toy
        >>> from matplotlib.figure import Figure
        >>> toy.simulate("gd", 100, rng=1, n_steps=10).plot(Figure().subplots()).get_xlabel()
        'step $t$'
        """
        ax, n_steps = self._axes(ax), self.arguments["n_steps"]
        ax.step(np.arange(n_steps + 1), self.escape_law(), where="post", label=self.arguments["dynamics"])
        ax.set(xlabel="step $t$", ylabel="share of the paths that escaped by $t$", xlim=(0, n_steps), ylim=(0, None))
        return ax


def simulate(
    dynamics: str,
    n_paths: int,
    *,
    rng: RNG,
    n_steps: int = 500,
    step_size: float = 0.005,
    noise_power: float = 0.01,
    convention: str = "released",
    n_data: int = 100,
    batch_size: int | None = None,
    record: tuple[str, ...] = (),
    tie_direction: tuple[float, float] = (0.0, 1.0),
    n_jobs: int | None = None,
    store: str | os.PathLike[str] | None = None,
    progress: Progress = None,
) -> ToyResult:
    """Run a dynamics of Table 1 from the sharp minimum (1, 1).

    Gradient, covariance and Hessian are taken at theta_t before the step, from data that are redrawn in each path.

    Parameters
    ----------
    dynamics : str
        "gd", "gld_const", "gld_diag", "gld_leading" (the SGD covariance, as k = 2 = D), "gld_hessian", "gld_eigvec" or
        "sgd", which is real minibatch SGD with replacement.
    n_paths : int
        Repeats.
    rng : None, int, SeedSequence or Generator
        See `gradnoise.simulations.seeds.Stream.of`.
    n_steps : int
        Iterations.
    step_size : float
        eta.
    noise_power : float
        E ||noise||^2 that all noisy dynamics share. It does not apply to "gd" and "sgd".
    convention : {"released", "literal"}
        "released": the noise is added to the parameter after the step, with E ||noise||^2 = noise_power, as the authors'
        program has it. "literal": it is eta eps with E ||eps||^2 = noise_power, Eq. (7) word for word.
    n_data : int
        N >= 2 samples of a path.
    batch_size : int, optional
        Of "sgd", which needs it.
    record : tuple of {"trajectory", "indicator", "loss"}
        What to keep along the way, for each path and step.
    tie_direction : (float, float)
        u_1 of "gld_eigvec" where all samples are on the flat branch and the Hessian is a multiple of I. e_2 is LAPACK's
        choice, hence the released program's.
    n_jobs : int, optional
    store : path, optional
    progress : bool or callable, optional
        See `gradnoise.simulations.ensemble.run`.

    Returns
    -------
    ToyResult

    Raises
    ------
    ValueError, TypeError
        If an argument is not allowed.

    References
    ----------
    zhu2019, Section 5.1, Table 1, Figure 2 and Appendix D.1.

    Examples
    --------
    >>> from gradnoise.simulations import toy
    >>> found = toy.simulate("sgd", 10, rng=1, n_steps=3, batch_size=5, record=("trajectory",))
    >>> found.trajectory.shape
    (10, 4, 2)
    >>> found.trajectory[0, 0]  # the sharp minimum
    array([1., 1.])
    """
    as_choice(dynamics, "dynamics", DYNAMICS)
    as_choice(convention, "convention", CONVENTIONS)
    n_paths = as_count(n_paths, "n_paths", at_most=ensemble.MOST_PATHS)
    n_steps = as_count(n_steps, "n_steps")
    n_data = as_count(n_data, "n_data", at_least=2)
    eta = as_real(step_size, "step_size", above=0)
    power = as_real(noise_power, "noise_power", at_least=0)
    if not isinstance(record, (str, tuple, list, set, frozenset)):
        raise TypeError(f"record must be a tuple of {', '.join(RECORDS)}, got {record!r}")
    record = (record,) if isinstance(record, str) else tuple(record)
    for name in record:
        as_choice(name, "record", RECORDS)
    if dynamics == "sgd":
        if batch_size is None:
            raise ValueError("batch_size must be given for the dynamics 'sgd'")
        batch_size = as_count(batch_size, "batch_size")
    elif batch_size is not None:
        raise ValueError(f"batch_size applies to the dynamics 'sgd' only, got {batch_size} for {dynamics!r}")
    tie = as_array(tie_direction, "tie_direction", ndim=1)
    if tie.shape != (2,) or not tie.any():
        raise ValueError(f"tie_direction must be a vector of two numbers, not zero, got {tie_direction!r}")
    tie = np.ldexp(tie, -np.frexp(np.abs(tie).max())[1])  # of a length that neither over- nor underflows
    tie = tie / np.linalg.norm(tie)
    flags = tuple(name in record for name in RECORDS)
    each = 25 + 8 * (n_steps + 1) * (2 * flags[0] + flags[1] + flags[2])  # bytes
    check_fits(n_paths * each, f"n_paths = {n_paths} with record = {record!r} and n_steps = {n_steps} makes results")
    check_fits(n_data * BYTES_OF_A_SAMPLE, f"n_data = {n_data} makes data")
    stream = Stream.of(rng)

    step_power = power if convention == "released" else eta * eta * power  # Eq. (7) has eta eps
    factor = psd_root(two_basin.DATA_COVARIANCE)
    study = Study(DYNAMICS.index(dynamics), n_steps, eta, step_power, n_data, batch_size or 0, tie, factor)
    success, escape_step, final, trajectory, indicator, loss = ensemble.run(
        _block,
        (study, *flags),
        n_paths,
        rng=stream,
        reduce=ensemble.concatenate,
        n_jobs=n_jobs,
        block_size=_BLOCK_SIZE,
        store=store,
        progress=progress,
    )
    for array in (final, trajectory, indicator, loss):
        if not np.isfinite(array).all():
            raise ValueError(
                f"step_size and noise_power must keep all paths finite, got {eta:g} and {power:g}, with which some diverge"
            )
    arguments = {
        "dynamics": dynamics,
        "n_paths": n_paths,
        "n_steps": n_steps,
        "step_size": eta,
        "noise_power": power,
        "convention": convention,
        "n_data": n_data,
        "batch_size": batch_size,
        "record": list(record),
        "tie_direction": tie.tolist(),
    }
    kept = [array if flag else None for array, flag in zip((trajectory, indicator, loss), flags, strict=True)]
    return ToyResult(success, escape_step, final, *kept, arguments=arguments, stream=stream)


def _block(
    n_paths: int, generator: np.random.Generator, study: Study, keep_trajectory: bool, keep_indicator: bool, keep_loss: bool
) -> tuple[np.ndarray, ...]:
    n = study.n_steps + 1
    records = Records(
        final=np.empty((n_paths, 2)),
        escape_step=np.empty(n_paths, dtype=np.int64),
        trajectory=np.empty((n_paths, n if keep_trajectory else 0, 2)),
        indicator=np.empty((n_paths, n if keep_indicator else 0)),
        loss=np.empty((n_paths, n if keep_loss else 0)),
    )
    run_paths(generator, study, records)
    success = np.asarray((records.final < ESCAPED_BELOW).all(axis=1))
    return success, records.escape_step, records.final, records.trajectory, records.indicator, records.loss
