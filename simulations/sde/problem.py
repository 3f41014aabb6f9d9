"""A loss given by the losses and gradients of its samples, as functions that Numba can compile."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from gradnoise.simulations.ensemble import callback, fingerprint, kernel
from gradnoise.simulations.sde.derivatives import check_derivatives, lengths
from gradnoise.simulations.sde.trial import try_out, within_bounds
from gradnoise.theory._validation import FloatArray, as_array, as_flag, as_text

__all__ = ["Problem", "compiled", "first_call", "gradient_matrices", "lanes", "writer", "written"]

#: Numba's signatures, of (theta, data, out).
_LOSSES = "void(float64[::1], float64[:, ::1], float64[::1])"
_GRADIENTS = "void(float64[::1], float64[:, ::1], float64[:, ::1])"
_VECTORIZED_GRADIENTS = "void(float64[:, ::1], float64[:, ::1], float64[:, :, ::1])"

_ROUNDING = 1e-9  # relative, of gradients at several points together and at each
_APART = 1e-5  # of a length, that several points are apart
_FEWEST_LANES, _MOST_LANES = 8, 64
_HELD = 2**22  # gradients of a sample by a parameter, on all paths of a group


@dataclass(frozen=True, eq=False)
class Problem:
    """Empirical risk L = mean of the losses of n samples, and where SGD starts.

    Parameters
    ----------
    losses : callable
        ``losses(theta, data, out)`` writes the n losses at theta (d,) into out (n,).
    gradients : callable
        ``gradients(theta, data, out)`` writes their gradients into out (d, n), a column per sample. Both are plain or
        Numba-compiled functions, free of Python objects; they are compiled when the problem is made, and called for millions
        of thetas.
    data : (n, p) array_like
        A row per sample: features, labels, whatever the functions read. (Globals that they read, also those of other modules,
        are constants; after a change the functions are compiled anew when they are next used.)
    start : (d,) array_like
        theta_0.
    name : str
        For plots and messages.
    vectorized : bool
        Whether ``gradients`` takes m thetas at once, (d, m), and writes into out (d, n, m), m being any number. With loops over
        m innermost that is several times as fast: the compiler then makes vector instructions of them.

    Raises
    ------
    ValueError
        If shapes are wrong, a function leaves its arrays, changes theta or data, or does not fill ``out`` with finite numbers,
        the same in every call; if the gradients at the start are not the derivatives of the losses, or those at several thetas
        at once are not those at each.
    TypeError
        If a function cannot be compiled, or returns something.

    Examples
    --------
    >>> from gradnoise.simulations.sde import Problem
    >>> def losses(theta, data, out):
    ...     for i in range(data.shape[0]):
    ...         out[i] = 0.5 * (theta[0] - data[i, 0]) ** 2
    >>> def gradients(theta, data, out):
    ...     for i in range(data.shape[0]):
    ...         out[0, i] = theta[0] - data[i, 0]
    >>> problem = Problem(losses, gradients, data=[[1.0], [3.0]], start=[0.0])
    >>> problem.loss([2.0]), problem.sample_gradients([2.0])
    (0.5, array([[ 1., -1.]]))
    """

    losses: Callable[..., None]
    gradients: Callable[..., None]
    data: FloatArray = field(repr=False)
    start: FloatArray
    name: str = "user"
    vectorized: bool = False

    def __post_init__(self) -> None:
        data, start = as_array(self.data, "data", ndim=2), as_array(self.start, "start", ndim=1)
        if data.size == 0 or start.size == 0:
            raise ValueError(f"data and start must not be empty, got shapes {data.shape} and {start.shape}")
        object.__setattr__(self, "data", np.ascontiguousarray(data))
        object.__setattr__(self, "start", np.ascontiguousarray(start))
        as_flag(self.vectorized, "vectorized")
        as_text(self.name, "name")
        compiled(self.losses, "losses")
        compiled(self.gradients, "gradients", self.vectorized)
        first_call(self.losses, "losses", self.start, self.data, (self.n,))
        if self.vectorized:
            self._check_many_points()
        else:
            first_call(self.gradients, "gradients", self.start, self.data, (self.dimension, self.n))
        check_derivatives(self.sample_losses, self.sample_gradients(self.start), self.start, self._losses_far_out())

    @property
    def n(self) -> int:
        """Number of samples."""
        return len(self.data)

    @property
    def dimension(self) -> int:
        """Number of parameters, d."""
        return len(self.start)

    def sample_losses(self, theta: ArrayLike) -> FloatArray:
        """Losses of the samples, (n,); infinite where they are beyond floats."""
        return written(self.losses, "losses", self._point(theta), self.data, (self.n,))

    def sample_gradients(self, theta: ArrayLike) -> FloatArray:
        """Gradient matrix G, (d, n)."""
        return gradient_matrices(self)(self._point(theta))

    def loss(self, theta: ArrayLike) -> float:
        """Empirical risk; infinite where it is beyond floats."""
        return float(self.sample_losses(theta).mean())

    def lengths(self) -> FloatArray:
        """Distance over which the losses change much from the start, for each parameter; see `check_derivatives`."""
        return lengths(self.sample_losses, self.sample_gradients(self.start), self.start, self._losses_far_out())

    def _losses_far_out(self) -> Callable[[FloatArray], FloatArray]:
        """Losses of the samples where they may leave their arrays, which makes them NaN."""
        return within_bounds(self.losses, self.data, (self.n,))

    def _gradients_at_many(self, thetas: FloatArray) -> FloatArray:
        shape = (self.dimension, self.n, thetas.shape[1])
        return written(self.gradients, "gradients", thetas, self.data, shape, vectorized=True)

    def _point(self, theta: ArrayLike) -> FloatArray:
        at = np.ascontiguousarray(as_array(theta, "theta", ndim=1))
        if at.shape != self.start.shape:
            raise ValueError(f"theta must have shape {self.start.shape}, got {at.shape}")
        return at

    def _check_many_points(self) -> None:
        """Compare gradients at as many points as run side by side with those at each."""
        d, n, m = self.dimension, self.n, lanes(self)
        first_call(self.gradients, "gradients", self.start[:, np.newaxis], self.data, (d, n, 1), vectorized=True)
        away = np.arange(m) // d + 1.0
        thetas = np.repeat(self.start[:, np.newaxis], m, axis=1)
        thetas[np.arange(m) % d, np.arange(m)] += _APART * self.lengths()[np.arange(m) % d] * away
        first_call(self.gradients, "gradients", thetas, self.data, (d, n, m), vectorized=True)
        together = self._gradients_at_many(thetas)
        apart = np.stack([self.sample_gradients(theta) for theta in thetas.T], axis=2)
        sizes = np.abs(apart).max(axis=(1, 2), keepdims=True)  # each parameter has units of its own
        if not (np.abs(together - apart) <= _ROUNDING * sizes).all():
            raise ValueError("gradients must write those of each theta into out[:, :, k], got others for several thetas at once")


def gradient_matrices(problem: Problem) -> Callable[[FloatArray], FloatArray]:
    """Return G (d, n) of a problem as a function of theta, for many points: its machine code is looked up once."""
    shape = (problem.dimension, problem.n)
    if not problem.vectorized:
        return writer(problem.gradients, "gradients", problem.data, shape)
    at_many = writer(problem.gradients, "gradients", problem.data, (*shape, 1), vectorized=True)
    return lambda theta: at_many(theta[:, np.newaxis])[:, :, 0]


def lanes(problem: Problem) -> int:
    """Return how many paths run side by side; it decides the order in which normals are drawn.

    Fewer for a problem whose gradients, of all samples on all of these paths, would take much memory.
    """
    room = max(_HELD // (problem.dimension * problem.n), _FEWEST_LANES)
    return min(2 ** (room.bit_length() - 1), _MOST_LANES)


def first_call(
    function: Callable[..., None],
    name: str,
    theta: FloatArray,
    data: FloatArray,
    shape: tuple[int, ...],
    *,
    vectorized: bool = False,
) -> None:
    """Compile a function of a problem, and raise unless it may be called; see `try_out`."""
    compiled(function, name, vectorized)
    try_out(function, name, theta, data, shape)
    first, second = (written(function, name, theta, data, shape, vectorized=vectorized) for _ in range(2))
    if not np.isfinite(first).all():
        raise ValueError(f"{name} must write finite numbers into all of out at the start, got NaN or infinity")
    if not np.array_equal(first, second):
        raise ValueError(f"{name} must write the same numbers in every call, got others in the second of two")


def compiled(function: Callable[..., None], name: str, vectorized: bool = False) -> Any:
    """Compile a function of a problem to one that kernels take as an argument, all of them with the same machine code.

    A function named "gradients" writes a matrix, or one for each theta if it is vectorized; all others write a vector.

    Raises
    ------
    TypeError
        If it is not a function, or Numba cannot compile it.
    """
    source = getattr(function, "py_func", function)
    if not inspect.isfunction(source):
        raise TypeError(f"{name} must be a function, got {function!r}")
    signature = _LOSSES if name != "gradients" else _VECTORIZED_GRADIENTS if vectorized else _GRADIENTS
    try:
        return _compile(source, signature, fingerprint(source))
    except Exception as error:  # Numba has errors of its own, and passes on those of its parts
        raise TypeError(f"{name} must be a function that Numba can compile: {error}") from None


@lru_cache(maxsize=128)
def _compile(function: Callable[..., None], signature: Any, frozen: tuple[Any, ...]) -> Any:
    """Compile; `frozen` is what the machine code is good for."""
    from numba.core import config  # here, as its import takes long

    if vars(config)["DISABLE_JIT"]:
        return function  # kernels are plain Python, too, and call it as it is

    return callback(function, signature, error_model="numpy")


def written(
    function: Callable[..., None],
    name: str,
    theta: FloatArray,
    data: FloatArray,
    shape: tuple[int, ...],
    *,
    vectorized: bool = False,
) -> FloatArray:
    """Return what a function of a problem writes at a point; NaN is what it does not write."""
    return writer(function, name, data, shape, vectorized=vectorized)(theta)


def writer(
    function: Callable[..., None], name: str, data: FloatArray, shape: tuple[int, ...], *, vectorized: bool = False
) -> Callable[[FloatArray], FloatArray]:
    """Return `written` as a function of theta; to see whether a function has changed takes longer than to call it."""
    machine_code = compiled(function, name, vectorized)

    def at(theta: FloatArray) -> FloatArray:
        out = np.full(shape, np.nan)
        _call(machine_code, np.ascontiguousarray(theta), data, out)
        return out

    return at


@kernel
def _call(function, theta, data, out):
    function(theta, data, out)
