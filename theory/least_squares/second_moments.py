r"""Exact excess risks of SGD for least squares, from the second moments of its iterates.

With :math:`\delta = \theta - \theta_*`, residual :math:`r = x^T \delta - \epsilon` and weights known by
`gradnoise.theory.least_squares.WeightMoments`, a step of SGD or MSGD changes :math:`S = E\, \delta \delta^T` by

.. math:: S \leftarrow S - \eta (\Sigma S + S \Sigma) + \eta^2 (s\, E[r^2 x x^T] + q\, \Sigma S \Sigma),

which is closed. All is written in the eigenbasis of Sigma, where the first, second and last terms act entry by entry. What
differs between problems is :math:`E[(x^T \delta)^2 x x^T]`; for Gaussian features diagonals stay diagonal, and only they
are kept.
"""

from __future__ import annotations

import inspect
import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy
from numpy.typing import ArrayLike

from gradnoise.theory._float_range import exponent_of, within_floats
from gradnoise.theory._powers import after_steps
from gradnoise.theory._validation import FloatArray, as_choice, as_count, as_counts, as_real
from gradnoise.theory.least_squares.risk_bound import FORMS, Assumptions, RiskBound, StartingPoint, check_range, constants
from gradnoise.theory.least_squares.weight_moments import WeightMoments

__all__ = ["OnlineLeastSquares", "RiskParts"]

_DENSE = 64  # up to this many unknowns an operator is written out
_STEPPED = 20_000  # steps that are taken one by one: seconds
_POWERED = 1000  # unknowns of a recursion whose powers are taken: seconds
_PLAIN = 100  # powers of two up to which squares of squares need no unit


@dataclass(frozen=True)
class RiskParts:
    """An excess risk, split; arrays where n_steps was one.

    Attributes
    ----------
    bias : float or ndarray
        Risk without label noise.
    variance : float or ndarray
        Risk of a start at the optimum.
    cross : float or ndarray
        What the two add together; zero in a well-specified model.

    Examples
    --------
    >>> from gradnoise.theory.least_squares import LeastSquares
    >>> parts = LeastSquares([1.0], [1.0], noise_std=2.0).risk_parts(0.5, 1, n_steps=1, first=None)
    >>> parts.bias, parts.variance, parts.cross  # (1 - 2 eta + 3 eta**2) / 2, and (2 eta)**2 / 2
    (0.375, 0.5, 0.0)
    >>> parts.total
    0.875
    """

    bias: float | FloatArray
    variance: float | FloatArray
    cross: float | FloatArray

    @property
    @within_floats
    def total(self) -> float | FloatArray:
        """Excess risk."""
        return self.bias + self.variance + self.cross


class OnlineLeastSquares(ABC):
    r"""SGD and MSGD on :math:`f(\theta) = \frac12 E (x^T \theta - y)^2`, from fresh samples at every step.

    Throughout, ``batch_size`` is b of SGD, Eq. (3) of wu2020 with the missing 1/b, or a `SamplingNoise` over B fresh samples,
    Eq. (4), or `WeightMoments`; ``n_steps`` may be an array, and the result is one then. Steps cost O(d) for Gaussian
    features and O(m d^2) on m points.

    Examples
    --------
    >>> from gradnoise.theory.least_squares import FiniteLeastSquares, LeastSquares, OnlineLeastSquares
    >>> gaussian, constant = LeastSquares([1.0], [1.0], 0.0), FiniteLeastSquares([[1.0]], [0.0], [1.0])
    >>> isinstance(gaussian, OnlineLeastSquares) and isinstance(constant, OnlineLeastSquares)
    True
    >>> [round(problem.stability_limit(1), 6) for problem in (gaussian, constant)]  # 2 / E x**4
    [0.666667, 2.0]
    >>> round(constant.excess_risk(0.5, 1, 1), 6), round(constant.tail_average_risk(0.5, 1, 1, first=1), 6)  # of 3/4 and 1/2
    (0.28125, 0.125)
    >>> noisy = FiniteLeastSquares([[1.0], [1.0]], [-1.0, 1.0], [0.0])
    >>> round(noisy.asymptotic_constant(1.0, 1), 6)  # theta_t = y_t: half its variance
    0.5
    """

    #: Whether it is known that eps has mean zero given x, so that bias and variance are uncorrelated.
    well_specified: bool

    def _set_units(self, of_features: int, start: FloatArray, residuals: ArrayLike) -> tuple[int, int]:
        """Choose powers of two as units of features and of parameters, in which no square leaves the range of floats.

        All that is private is in these units.
        """
        of_parameters = max(exponent_of(start), exponent_of(residuals) - of_features)
        plain = max(abs(of_features), abs(of_parameters)) <= _PLAIN
        self._of_features, self._of_parameters = (0, 0) if plain else (of_features, of_parameters)
        return self._of_features, self._of_parameters

    @property
    def _of_risks(self) -> int:
        return 2 * (self._of_features + self._of_parameters)

    def _step_in_units(self, step_size: float) -> float:
        return float(np.ldexp(step_size, 2 * self._of_features))

    def _set(self, eigenvalues: FloatArray, start: FloatArray, label_noise: FloatArray) -> None:
        """Set what the recursion needs, in the eigenbasis of Sigma and in the units that were set.

        Parameters
        ----------
        eigenvalues, start : (d,) ndarray
            Positive eigenvalues of Sigma, and the initial error; the directions of the other ones play no part.
        label_noise : (d,) or (d, d) ndarray
            E[eps^2 x x'], or its diagonal where S is represented by that.
        """
        self._eigenvalues, self._start, self._label_noise = eigenvalues, start, label_noise
        self._diagonal = label_noise.ndim == 1

    @abstractmethod
    def _fourth_moment(self, S: FloatArray) -> FloatArray:
        """E[(x' S x) x x'], in the representation of S, for a stack of S."""

    @abstractmethod
    def assumptions(self) -> Assumptions:
        """Sharp constants of A1, A2 and A3.

        Returns
        -------
        Assumptions
        """

    def _cross_source(self, mean: FloatArray) -> FloatArray:
        """E[(x' mean) eps x x'], which is zero in a well-specified model."""
        return np.zeros_like(self._label_noise)

    def excess_risk(self, step_size: float, batch_size: Any, n_steps: ArrayLike) -> Any:
        r"""Exact :math:`E f(\bar\theta_n) - f(\theta_*)` of :math:`\bar\theta_n = \frac{1}{n+1} \sum_{t=0}^n \theta_t`.

        Parameters
        ----------
        step_size : float
            eta > 0, below `stability_limit`.
        batch_size : float, SamplingNoise or WeightMoments
            b >= 1, or the weights of a step.
        n_steps : int or (k,) array_like of int
            n >= 0.

        Returns
        -------
        float or (k,) ndarray
            Units: loss, which is half a squared error.

        Raises
        ------
        ValueError, TypeError
            If an argument is not allowed, or the step size is not below the stability limit.

        References
        ----------
        wu2020, Eqs. (3) and (4), and Theorem 1.
        """
        return self.risk_parts(step_size, batch_size, n_steps).total

    def last_iterate_risk(self, step_size: float, batch_size: Any, n_steps: ArrayLike) -> Any:
        """Exact E f(theta_n) - f(theta_*); parameters as in `excess_risk`."""
        return self.risk_parts(step_size, batch_size, n_steps, first=None).total

    def tail_average_risk(self, step_size: float, batch_size: Any, n_steps: ArrayLike, first: int) -> Any:
        """Exact excess risk of the mean of theta_first ... theta_n; parameters as in `excess_risk`, 0 <= first <= n."""
        last = int(as_counts(n_steps, "n_steps").min())
        return self.risk_parts(step_size, batch_size, n_steps, first=as_count(first, "first", at_least=0, at_most=last)).total

    @within_floats
    def risk_parts(self, step_size: float, batch_size: Any, n_steps: ArrayLike, *, first: int | None = 0) -> RiskParts:
        """Bias, variance and cross term of an exact excess risk.

        Parameters
        ----------
        step_size, batch_size, n_steps
            As in `excess_risk`.
        first : int or None
            The mean runs over theta_first ... theta_n; None takes theta_n alone.

        Returns
        -------
        RiskParts
        """
        eta, weights = self.stable_step_size(step_size, batch_size), WeightMoments.of(batch_size)
        wanted = as_counts(n_steps, "n_steps")
        if first is not None:
            first = as_count(first, "first", at_least=0, at_most=int(wanted.min()))
        found, sought = {}, set(wanted.ravel().tolist())
        eta = self._step_in_units(eta)
        if any(t > _STEPPED for t in sought):
            found = self._risks_of_powers(eta, weights, first, sought)
        else:
            for t, risks in enumerate(self._risks(eta, weights, first)):
                if t in sought:
                    found[t] = risks
                if len(found) == len(sought):
                    break
        parts = np.array([found[t] for t in wanted.ravel().tolist()]).T.reshape(3, *wanted.shape)
        bias, variance, cross = (p if wanted.ndim else float(p) for p in np.ldexp(parts, self._of_risks))
        return RiskParts(bias, variance, cross)

    def _risks(self, eta: float, weights: WeightMoments, first: int | None) -> Iterator[FloatArray]:
        """Yield bias, variance and cross term at t = 0, 1, 2, ..."""
        lam, shape = self._eigenvalues, self._label_noise.shape
        decay = 1 - eta * self._pair_sum + eta**2 * weights.between * self._pair_product
        own, mean_decay = eta**2 * weights.own, 1 - eta * lam
        # Three copies of the recursion, which is affine: they differ in their start and in their sources.
        S = np.zeros((3, *shape))
        S[0] = self._start**2 if self._diagonal else np.outer(self._start, self._start)
        source = np.zeros_like(S)
        source[1] = own * self._label_noise
        mean = self._start
        rows = mean_decay if self._diagonal else mean_decay[:, np.newaxis]
        U, total = np.zeros_like(S), np.zeros(3)  # E[delta_t s_t'] with s_t the sum so far, and E[s_t' Sigma s_t]
        for t in itertools.count():
            if first is None:
                yield 0.5 * self._trace(S)
            elif t < first:
                yield np.full(3, np.nan)
            else:
                # |s + delta|^2 = |s|^2 + 2 s.delta + |delta|^2, and given the past E[delta_t] = (I - eta Sigma) delta_{t-1}.
                U = rows * U
                total = total + 2 * self._trace(U) + self._trace(S)
                U = U + S
                yield 0.5 * total / (t - first + 1) ** 2
            if not self.well_specified:
                source[2] = -2 * own * self._cross_source(mean)
                mean = mean_decay * mean
            S = decay * S + own * self._fourth_moment(S) + source

    def _risks_of_powers(self, eta: float, weights: WeightMoments, first: int | None, sought: set[int]) -> dict[int, FloatArray]:
        """What `_risks` yields at each t that is sought, from powers of the recursion's matrix: O(log t) for fixed unknowns."""
        lam, shape = self._eigenvalues, self._label_noise.shape
        size, d = self._label_noise.size, len(lam)
        unknowns = 2 * size + d + 2
        if unknowns > _POWERED:
            raise ValueError(
                f"n_steps must be at most {_STEPPED} for {unknowns} unknowns, more than {_POWERED}, got {max(sought)}"
            )
        decay = -eta * self._pair_sum + eta**2 * weights.between * self._pair_product  # less one, as all that follows
        own, mean_decay = eta**2 * weights.own, -eta * lam
        rows = mean_decay if self._diagonal else mean_decay[:, np.newaxis]

        def change(state: FloatArray) -> FloatArray:
            """By how much a step changes S, U, total, mean and the strength of the label noise (see `_risks`), of many states."""
            S, U = state[:, :size].reshape(-1, *shape), state[:, size : 2 * size].reshape(-1, *shape)
            mean, strength = state[:, 2 * size + 1 : -1], state[:, -1]
            total = 2 * self._trace(U + rows * U) + self._trace(S)
            grown = decay * S + own * self._fourth_moment(S) + own * np.multiply.outer(strength, self._label_noise)
            if not self.well_specified:
                grown = grown - 2 * own * np.array([self._cross_source(of_state) for of_state in mean])
            parts = grown.reshape(-1, size), (rows * U + S).reshape(-1, size), total[:, np.newaxis]
            return np.hstack([*parts, mean_decay * mean, np.zeros((len(state), 1))])

        # Rows are states, so that a step multiplies from the right.
        matrix = change(np.eye(unknowns))
        start = np.zeros((3, unknowns))
        start[0, :size] = (self._start**2 if self._diagonal else np.outer(self._start, self._start)).ravel()
        start[1, -1] = 1.0
        start[2, 2 * size + 1 : -1] = self._start
        if first is not None:
            start = after_steps(matrix, [(first, start)])[0]
            start[:, size : 2 * size + 1] = 0.0  # no sum so far
        steps = sorted(sought)
        states = after_steps(matrix, [(t if first is None else t - first + 1, start) for t in steps])
        if first is None:
            return {t: 0.5 * self._trace(x[:, :size].reshape(-1, *shape)) for t, x in zip(steps, states, strict=True)}
        return {t: 0.5 * x[:, 2 * size] / (t - first + 1) ** 2 for t, x in zip(steps, states, strict=True)}

    @within_floats
    def stability_limit(self, batch_size: Any) -> float:
        r"""Step size from which on the second moments do not converge.

        The map of the second moments is positive, so its spectral radius is an eigenvalue, and it is below one exactly for

        .. math:: \eta < 1 / \rho(\mathcal L^{-1} \mathcal T), \quad \mathcal L S = \Sigma S + S \Sigma, \quad
                  \mathcal T S = s\, E[(x^T S x) x x^T] + q\, \Sigma S \Sigma.

        Parameters
        ----------
        batch_size
            As in `excess_risk`.

        Returns
        -------
        float
            Units: those of a step size. With SciPy before 1.17 the last digit may be another one in each call.
        """
        scaled = self._scaled_operator(WeightMoments.of(batch_size))
        size = self._label_noise.size
        if size <= _DENSE:
            matrix = np.array([scaled(e.reshape(self._label_noise.shape)).ravel() for e in np.eye(size)])
            return self._limit(np.linalg.eigvalsh((matrix + matrix.T) / 2)[-1])
        # The eigenvector is positive semi-definite, so this start is not orthogonal to it.
        start = np.sqrt(self._pair_sum) * (1.0 if self._diagonal else np.eye(len(self._eigenvalues)))
        # A symmetric start soon meets an invariant subspace, and ARPACK goes on from random numbers: since SciPy 1.17 from those
        # of `rng`, and from the operating system's entropy without one.
        seed: dict[str, Any] = {"rng": 0} if "rng" in inspect.signature(scipy.sparse.linalg.eigsh).parameters else {}
        largest = scipy.sparse.linalg.eigsh(
            self._linear(scaled), k=1, which="LA", v0=start.ravel(), return_eigenvectors=False, **seed
        )
        return self._limit(largest[0])

    def _limit(self, largest: float) -> float:
        return math.ldexp(1 / float(largest), -2 * self._of_features)

    def stable_step_size(self, step_size: float, batch_size: Any) -> float:
        """Return a step size that is below `stability_limit`.

        Raises
        ------
        ValueError, TypeError
            If it is not; the message says what the limit is.
        """
        eta, limit = as_real(step_size, "step_size", above=0), self.stability_limit(batch_size)
        if eta >= limit:
            raise ValueError(
                f"step_size must be below {limit:.6g}, the limit of mean-square stability of this problem and these weights "
                f"(see stability_limit), got {eta:g}"
            )
        return eta

    @within_floats
    def asymptotic_constant(self, step_size: float, batch_size: Any) -> float:
        r"""Limit of (n + 1) times the excess risk of the averaged iterate.

        .. math:: \tfrac12 \mathrm{Tr}(\Sigma^{-1} E\, \xi \xi^T), \qquad
                  E\, \xi \xi^T = s\, (E[\epsilon^2 x x^T] + E[(x^T C x) x x^T]) + (q - 1)\, \Sigma C \Sigma,

        with the stationary covariance C. As the step size goes to zero it tends to :math:`\frac{s}{2} \mathrm{Tr}(\Sigma^{-1}
        E[\epsilon^2 x x^T])`, which is sigma^2 d / (2 b) in a well-specified model; the rest is multiplicative noise.

        Parameters
        ----------
        step_size, batch_size
            As in `excess_risk`.

        Returns
        -------
        float
            Units: loss.
        """
        eta, weights = self.stable_step_size(step_size, batch_size), WeightMoments.of(batch_size)
        eta = self._step_in_units(eta)
        root = np.sqrt(self._pair_sum)
        scaled = self._scaled_operator(weights)
        right = eta * weights.own * self._label_noise / root
        unit = exponent_of(right)  # the squares of a few samples' weights may be tiny
        right = np.ldexp(right, -unit)
        identity_minus = self._linear(lambda S: S - eta * scaled(S))
        solution, _ = scipy.sparse.linalg.cg(identity_minus, right.ravel(), rtol=1e-15, atol=0.0, maxiter=100 * right.size)
        residual = np.abs(identity_minus @ solution - right.ravel()).max(initial=0.0)
        if not residual <= 1e-12 * np.abs(right).max(initial=0.0):  # cg may report failure at a tolerance below rounding
            raise ValueError(
                f"step_size must be further below the stability limit {self.stability_limit(weights):.6g} for the stationary "
                f"covariance to be found, got {step_size:g}"
            )
        C = np.ldexp(solution.reshape(right.shape), unit) / root
        noise = weights.own * (self._label_noise + self._fourth_moment(C[np.newaxis])[0])
        noise = noise + (weights.between - 1) * self._pair_product * C
        constant = 0.5 * float(((noise if self._diagonal else np.diag(noise)) / self._eigenvalues).sum())
        return math.ldexp(constant, self._of_risks)

    @within_floats
    def risk_bound(self, step_size: float, batch_size: Any, n_steps: ArrayLike, *, form: str = "elementary") -> RiskBound:
        """Theorem 1 of wu2020 with explicit constants; derived in `gradnoise.theory.least_squares.risk_bound`.

        Parameters
        ----------
        step_size, batch_size, n_steps
            As in `excess_risk`.
        form : {"elementary", "bach-moulines", "two-term"}
            "elementary" holds for step_size * R_b^2 <= 1, with C_2 = 0. "bach-moulines" (2013, Theorem 1) is never below it
            and needs step_size * R_b^2 < 1. "two-term" has a C_2 that takes the initial error's part, and the C_1 of a start
            at the optimum; its range is that of the first. Here R_b^2 = (R^2 + (b - 1) lambda)/b.

        Returns
        -------
        RiskBound

        Raises
        ------
        ValueError
            If an argument is not allowed, or the step size is outside the range of the bound.

        References
        ----------
        wu2020, Theorem 1; Bach and Moulines (2013), Theorem 1.
        """
        as_choice(form, "form", FORMS)
        eta, weights = as_real(step_size, "step_size", above=0), WeightMoments.of(batch_size)
        steps, assumptions = as_counts(n_steps, "n_steps"), self.assumptions()
        check_range(assumptions, eta, weights, form)
        squares = self._start**2
        start = StartingPoint(
            float(squares.sum()), float((squares / self._eigenvalues).sum()), len(self._eigenvalues), self.well_specified
        )
        in_units = Assumptions(
            math.ldexp(assumptions.radius_squared, -2 * self._of_features),
            math.ldexp(assumptions.noise_variance, -self._of_risks),
            math.ldexp(assumptions.largest_eigenvalue, -2 * self._of_features),
            assumptions.leverage,
        )
        c1, c2 = (math.ldexp(c, self._of_risks) for c in constants(in_units, start, self._step_in_units(eta), weights, form))
        bound = c1 / (steps + 1.0) + c2 / (steps + 1.0) ** 2
        return RiskBound(bound if steps.ndim else float(bound), c1, c2)

    @cached_property
    def _pair_sum(self) -> FloatArray:
        lam = self._eigenvalues
        return 2 * lam if self._diagonal else lam[:, np.newaxis] + lam

    @cached_property
    def _pair_product(self) -> FloatArray:
        lam = self._eigenvalues
        return lam**2 if self._diagonal else lam[:, np.newaxis] * lam

    def _trace(self, S: FloatArray) -> FloatArray:
        """Tr(Sigma S), for a stack of S."""
        return (S if self._diagonal else np.diagonal(S, axis1=1, axis2=2)) @ self._eigenvalues

    def _scaled_operator(self, weights: WeightMoments) -> Any:
        """L^(-1/2) T L^(-1/2), symmetric."""
        root = np.sqrt(self._pair_sum)

        def apply(S: FloatArray) -> FloatArray:
            S = S / root
            return (weights.own * self._fourth_moment(S[np.newaxis])[0] + weights.between * self._pair_product * S) / root

        return apply

    def _linear(self, function: Any) -> scipy.sparse.linalg.LinearOperator:
        shape = self._label_noise.shape
        size = self._label_noise.size
        matvec = lambda v: function(np.asarray(v).reshape(shape)).ravel()  # noqa: E731
        return scipy.sparse.linalg.LinearOperator((size, size), matvec=matvec, dtype=np.float64)  # type: ignore[call-arg]
