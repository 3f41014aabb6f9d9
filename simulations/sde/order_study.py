"""Errors against step size, and the order that they follow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradnoise.simulations.ensemble import Result
from gradnoise.simulations.statistics import Estimate, JointMoments, Order, fit_order, with_error
from gradnoise.theory._validation import as_array, as_choice, as_instance, as_real, as_text, shown

__all__ = ["OrderStudy"]


@dataclass(frozen=True, eq=False, repr=False)
class OrderStudy(Result):
    """Result of `gradnoise.simulations.sde.strong_error` and `weak_error`.

    Attributes
    ----------
    kind : {"strong", "weak"}
    step_sizes : (k,) ndarray
        As they were given.
    moments : JointMoments
        Of the samples whose means are the errors.
    reference_errors : (k,) ndarray
        What the reference solution is off by, measured: its distance, in the same sense, from one with twice its step, and
        twice the standard error of that. See `largest_biases` for what it does to the errors.
    arguments, stream, versions
        What made it; see `gradnoise.simulations.ensemble.Result`.

    Examples
    --------
    >>> from gradnoise.simulations import sde
    >>> problem = sde.standard_problems.logistic(n=7)
    >>> study = sde.strong_error(problem, [1 / 2, 1 / 4, 1 / 8], 1.0, 1_000, batch_size=2, rng=1, refinement=16)
    >>> study.kind, study.errors.shape, bool((study.errors[:-1] > study.errors[1:]).all())
    ('strong', (3,), True)
    >>> study.order.used  # which errors are well above the noise
    (True, True, True)
    """

    kind: str
    step_sizes: NDArray[np.float64]
    moments: JointMoments
    reference_errors: NDArray[np.float64]

    @property
    def errors(self) -> NDArray[np.float64]:
        """Mean-square distances, or differences of expectations with their signs, (k,)."""
        return self.moments.mean

    @property
    def standard_errors(self) -> NDArray[np.float64]:
        """Standard errors of the errors, (k,)."""
        return np.sqrt(np.diag(self.moments.covariance))

    @property
    def largest_biases(self) -> NDArray[np.float64]:
        """Bound on what the reference adds to or takes from each error, (k,).

        A difference of expectations is off by what the reference is, e. A mean square E is off by up to 2√(eE) + e, as the
        two distances need not be orthogonal; where both shrink in proportion, that leaves the order alone.
        """
        e = self.reference_errors
        return e if self.kind == "weak" else 2 * np.sqrt(e * self.errors) + e

    @property
    def estimates(self) -> tuple[Estimate, ...]:
        """Errors with what their intervals need."""
        return tuple(self.moments.along(unit) for unit in np.eye(len(self.step_sizes)))

    @property
    def order(self) -> Order:
        """Order of convergence over these step sizes.

        Raises
        ------
        ValueError
            If fewer than three errors are above the noise of sampling and the error of the reference, or they change sign.
        """
        return self.fit()

    @property
    def leading_order(self) -> Order:
        """Order of the leading term, with a term of the next order beside it; raises as `order`, below four errors."""
        return self.fit(next_term=True)

    def fit(self, *, next_term: bool = False) -> Order:
        """Fit an order; see `gradnoise.simulations.statistics.fit_order`. The floor is `reference_errors`."""
        return fit_order(
            self.step_sizes,
            self.errors,
            self.standard_errors,
            floor=self.reference_errors,
            next_term=next_term,
            moments=self.moments,
        )

    def _found(self) -> dict[str, Any]:
        """Errors by step size, and the orders; without an order, there is the reason."""
        names = ("kind", "step_sizes", "errors", "standard_errors", "reference_errors", "largest_biases")
        orders = {"order": self._fit_or_reason(False), "leading_order": self._fit_or_reason(True)}
        return {**{name: getattr(self, name) for name in names}, **orders}

    def _headline(self) -> str:
        order, count = self._fit_or_none(False), len(self.step_sizes)
        if order is None:
            return f"no {self.kind} order resolved, from {count} step sizes"
        used = f"{sum(order.used)} of {count} step sizes"
        return f"{self.kind} order {with_error(order.value, order.standard_error)}, from {used}"

    def _fit_or_reason(self, next_term: bool) -> Order | dict[str, str]:
        try:
            return self.fit(next_term=next_term)
        except ValueError as error:
            return {"refused": str(error)}

    def _fit_or_none(self, next_term: bool) -> Order | None:
        try:
            return self.fit(next_term=next_term)
        except ValueError:
            return None

    def plot(
        self,
        ax: Any = None,
        *,
        level: float = 0.95,
        name: str = "",
        next_term: bool = False,
        references: tuple[float, ...] = (),
        color: str | None = None,
        marker: str = "o",
    ) -> Any:
        """Draw errors with their intervals, the fitted line with the interval of its slope, and reference slopes.

        Where no order can be fitted, there is no line. Errors that are not above the noise and the reference are hollow.

        Parameters
        ----------
        ax : matplotlib Axes, optional
        level : float
            Of the intervals.
        name : str
            For the legend.
        next_term : bool
            Fit a term of the next order beside the leading one, if four errors are resolved.
        references : tuple of float
            Slopes to compare with, drawn as thin lines from the largest error.
        color : str, optional
        marker : str
            Of matplotlib, the marker one that is filled.

        Returns
        -------
        matplotlib Axes

        Examples
        --------
        >>> from gradnoise.simulations import sde
        >>> from matplotlib.figure import Figure
        >>> problem = sde.standard_problems.logistic(n=7)
        >>> study = sde.strong_error(problem, [1 / 2, 1 / 4, 1 / 8], 1.0, 1_000, batch_size=2, rng=1, refinement=16)
        >>> study.plot(Figure().subplots(), references=(1.0,)).get_xscale()
        'log'
        """
        from matplotlib.lines import Line2D  # here, as its import takes long

        ax, name, slopes = self._axes(ax), as_text(name, "name"), as_array(references, "references", ndim=1)
        color, filled = None if color is None else as_text(color, "color"), tuple(map(str, Line2D.filled_markers))
        marker = as_choice(marker, "marker", filled)
        errors, eta = np.abs(self.errors), self.step_sizes
        half = np.array([(high - low) / 2 for low, high in (e.interval(level) for e in self.estimates)])
        below = np.minimum(half, 0.9 * errors)  # a bar that reaches zero would leave a logarithmic plot
        bars = ax.errorbar(eta, errors, yerr=[below, half], color=color, linestyle="none", capsize=2, linewidth=1)
        color = bars[0].get_color()
        order = self._fit_or_none(next_term) or self._fit_or_none(False)
        if order is None:
            used, label = np.zeros(len(eta), dtype=bool), f"{name}: no order resolved".lstrip(": ")
        else:
            used = np.isin(eta, np.array(order.step_sizes)[list(order.used)])
            low, high = order.interval(level)
            label = f"{name}: order {order.value:.2f} ({low:.2f} to {high:.2f})".lstrip(": ")
            fine = np.geomspace(eta[used].min(), eta[used].max(), 50)
            centre = np.exp(np.log(eta[used]).mean())
            edges = [order.predict(fine) * (fine / centre) ** (slope - order.value) for slope in (low, high)]
            ax.plot(fine, order.predict(fine), color=color, linewidth=1)
            ax.fill_between(fine, *edges, color=color, alpha=0.2, linewidth=0)
        face = [color if u else "none" for u in used]
        ax.scatter(eta, errors, s=20, marker=marker, edgecolors=color, facecolors=face, zorder=3)
        ax.plot([], [], color=color, marker=marker, markersize=4.5, linewidth=1, label=label)
        _draw_slopes(ax, eta, float(errors.max()), slopes, "references")
        quantity = r"$E\,\|\Theta_T - \theta\|^2$" if self.kind == "strong" else r"$|E\,g(\theta) - E\,g(\Theta_T)|$"
        ax.set_xscale("log", base=2)
        ax.set(yscale="log", xlabel=r"step size $\eta$", ylabel=quantity)
        return ax


def draw_slopes(ax: Any, step_sizes: NDArray[Any], largest: float, slopes: tuple[float, ...]) -> None:
    """Draw thin lines of given slopes through an error at the largest step size, with the slope at their ends.

    Parameters
    ----------
    ax : matplotlib Axes
        Logarithmic, as `OrderStudy.plot` makes them.
    step_sizes : (k,) ndarray
        All > 0; the lines go from the smallest to the largest.
    largest : float
        Error >= 0 through which they go.
    slopes : tuple of float
        Of the logarithm of the error by that of the step size.

    Raises
    ------
    TypeError, ValueError
        If an argument is not allowed.

    Examples
    --------
    >>> from gradnoise.simulations.sde import draw_slopes
    >>> from matplotlib.figure import Figure
    >>> ax = Figure().subplots()
    >>> draw_slopes(ax, np.array([1.0, 0.5, 0.25]), 8.0, (1.0, 2.0))
    >>> [line.get_ydata().tolist() for line in ax.lines]  # at 0.25 and at 1
    [[2.0, 8.0], [0.5, 8.0]]
    """
    from matplotlib.axes import Axes  # here, as its import takes long

    as_instance(ax, "ax", Axes)
    eta, largest = as_array(step_sizes, "step_sizes", ndim=1), as_real(largest, "largest", at_least=0)
    if eta.size == 0 or (eta <= 0).any():
        raise ValueError(f"step_sizes must be at least one number > 0, got {shown(step_sizes)}")
    _draw_slopes(ax, eta, largest, as_array(slopes, "slopes", ndim=1), "slopes")


def _draw_slopes(ax: Any, eta: NDArray[np.float64], largest: float, slopes: NDArray[np.float64], name: str) -> None:
    ends = np.array([eta.min(), eta.max()])
    for slope in slopes:
        with np.errstate(over="ignore", invalid="ignore"):
            line = largest * (ends / ends[1]) ** slope
        if not np.isfinite(line).all():
            raise ValueError(f"{name} must lead to errors within the range of floats, got {slope:g}")
        ax.plot(ends, line, color="#999999", linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
        ax.annotate(
            f"{slope:g}", (ends[0], line[0]), xytext=(-3, 0), textcoords="offset points", ha="right", va="center",
            color="#777777", fontsize=7,
        )  # fmt: skip
