"""Claims of ne2021: noise enhancement by two minibatches, and what its tables establish."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradnoise.claims.claim import Claim, Predictions, Quantities, Run, claim, computed, entries
from gradnoise.claims.instances import GRADIENTS, VALUES
from gradnoise.claims.judgement import Computed
from gradnoise.claims.prediction import AtLeast, AtMost, Margin, Relative
from gradnoise.simulations import sampling
from gradnoise.simulations.sampling import Outcomes, outcomes
from gradnoise.theory import gradient_noise
from gradnoise.theory.sampling import Enhanced, Minibatch, compensating_alpha, effective_batch_size


def enhancement(alpha: float) -> float:
    """c(α) = α² + (1 − α)²."""
    return alpha**2 + (1 - alpha) ** 2


@claim("ne2021.eq4", "Cov ξ = (η²/B)(N−B)/(N−1)(F − ∇L∇Lᵀ) without replacement", kind="exact", source="Eq. (4)")
class CovarianceWithoutReplacement(Claim):
    """All batches of two out of six."""

    eta, B = 0.1, 2

    def measure(self, run: Run) -> Quantities:
        law = outcomes(Minibatch(6, self.B, replacement=False)).transformed(self.eta * GRADIENTS)
        return computed("Cov ξ", law.covariance())

    def published(self) -> Predictions:
        return entries("Cov ξ", self.eta**2 * gradient_noise.sgd_covariance(GRADIENTS, self.B, replacement=False))

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "N ≫ B assumed", entries("Cov ξ", self.eta**2 * gradient_noise.sgd_covariance(GRADIENTS, self.B))
        yield "η for η²", entries("Cov ξ", self.eta * gradient_noise.sgd_covariance(GRADIENTS, self.B, replacement=False))


@claim("ne2021.eq10", "The enhanced noise has c(α) = α² + (1−α)² times the covariance", kind="comparison", source="Eq. (10)")
class EnhancedCovariance(Claim):
    """All pairs of batches of two out of five; and draws of 10 out of 50."""

    alpha = 1.5
    large = Minibatch(50, 10, replacement=False)

    def margin(self, label: str) -> Margin:
        return Relative(0.02)

    @functools.cached_property
    def values(self) -> np.ndarray:
        return np.random.default_rng(10).exponential(size=50)

    def measure(self, run: Run) -> Quantities:
        base = Minibatch(5, 2, replacement=False)
        law = outcomes(Enhanced(base, self.alpha)).transformed(GRADIENTS[:, :5])
        found: dict[str, Any] = computed("all pairs", law.covariance())
        noise = Enhanced(self.large, self.alpha)
        (square,) = sampling.expectations(noise, self._square, run.n_paths, rng=run.at("N = 50"))
        return {**found, "N = 50": square}

    def published(self) -> Predictions:
        return self._scaled(enhancement(self.alpha))

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "α² alone, as of the useless Eq. (5)", self._scaled(self.alpha**2)
        yield "(1 − α²), as Eq. (10) misprints its first line", self._scaled(self.alpha**2 + 1 - self.alpha**2)
        yield "α² for (1 − α)² too", self._scaled(2 * self.alpha**2)

    def _scaled(self, factor: float) -> Predictions:
        small = factor * gradient_noise.sgd_covariance(GRADIENTS[:, :5], 2, replacement=False)
        return {**entries("all pairs", small), "N = 50": factor * self.large.cumulant(2, self.values)}

    def _square(self, weights: np.ndarray) -> np.ndarray:
        return ((weights * self.values).sum(axis=1, keepdims=True) - self.values.mean()) ** 2


@claim(
    "ne2021.eq11",
    "B_eff = B/c(α) for N ≫ B; exactly: with replacement, and without for two disjoint batches, at every N",
    kind="exact",
    source="Eq. (11)",
)
class EffectiveBatchSize(Claim):
    """Batch size of equal covariance, over all pairs of batches: with, without, and disjoint."""

    n, B, alpha = 5, 2, 1.5

    def measure(self, run: Run) -> Quantities:
        laws = {
            "with": outcomes(Enhanced(Minibatch(self.n, self.B), self.alpha)),
            "without, two independent batches": outcomes(Enhanced(Minibatch(self.n, self.B, False), self.alpha)),
            "without, two disjoint batches": self._disjoint(),
        }
        found = {}
        for name, law in laws.items():
            C = law.covariance()
            power = C[0, 0] - C[0, 1]
            size = 1 / (self.n * power) if name == "with" else self.n / (1 + self.n * (self.n - 1) * power)
            found[name] = Computed(float(size), rounding=1e-12)
        return {**found, "α that undoes it": Computed(compensating_alpha(self.B, found["with"].value), rounding=1e-12)}

    def published(self) -> Predictions:
        c = enhancement(self.alpha)
        return {
            "with": self.B / c,
            "without, two independent batches": effective_batch_size(
                Enhanced(Minibatch(self.n, self.B, False), self.alpha), False
            ),
            "without, two disjoint batches": self.B / c,
            "α that undoes it": self.alpha,
        }

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        c = enhancement(self.alpha)
        yield "B/c(α) for two independent batches too", {"without, two independent batches": self.B / c}
        yield (
            "N/(1 + c(α)(N−B)/B) for disjoint ones",
            {"without, two disjoint batches": self.n / (1 + c * (self.n - self.B) / self.B)},
        )
        yield "B/α²", {"with": self.B / self.alpha**2}

    def _disjoint(self) -> Outcomes:
        vectors = []
        for order in itertools.permutations(range(self.n), 2 * self.B):
            w = np.zeros(self.n)
            w[list(order[: self.B])] = self.alpha / self.B
            w[list(order[self.B :])] = (1 - self.alpha) / self.B
            vectors.append(w)
        return Outcomes(np.array(vectors), np.full(len(vectors), 1 / len(vectors)))


@claim(
    "ne2021.non-equivalence",
    "Enhancement is not a smaller batch: at equal covariance its kurtosis is (c²+2c−1)/(2c³), its skewness (3c−1)/(2c²) of it",
    kind="exact",
    source="Section 2, after Eq. (11)",
)
class EnhancedIsNotASmallerBatch(Claim):
    """Cumulants of gᵀW over all pairs of batches, and all batches of equal covariance, of four samples: c = 2 and c = 3."""

    n, pairs = 4, ((4, 2), (3, 1))

    def measure(self, run: Run) -> Quantities:
        found = {}
        for B, b in self.pairs:
            enhanced = outcomes(Enhanced(Minibatch(self.n, B), compensating_alpha(B, b))).cumulants(VALUES[: self.n])
            smaller = outcomes(Minibatch(self.n, b)).cumulants(VALUES[: self.n])
            for name, e, s in zip(("variance", "skewness", "kurtosis"), enhanced[1:], smaller[1:], strict=True):
                found[f"ratio of {name}, c = {B // b}"] = Computed(e / s, rounding=1e-10)
        return found

    def published(self) -> Predictions:
        return self._ratios(lambda c: (3 * c - 1) / (2 * c**2), lambda c: (c**2 + 2 * c - 1) / (2 * c**3))

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "equivalent to the smaller batch", self._ratios(lambda c: 1.0, lambda c: 1.0)
        yield "Gaussian", self._ratios(lambda c: 0.0, lambda c: 0.0)
        yield "cumulants in place of standardised ones", self._ratios(lambda c: (3 * c - 1) / 2, lambda c: (c**2 + 2 * c - 1) / 2)

    def _ratios(self, skewness: Any, kurtosis: Any) -> Predictions:
        predicted = {}
        for c in (B // b for B, b in self.pairs):
            predicted |= {
                f"ratio of variance, c = {c}": 1.0,
                f"ratio of skewness, c = {c}": skewness(c),
                f"ratio of kurtosis, c = {c}": kurtosis(c),
            }
        return predicted


@dataclass(frozen=True)
class Printed:
    """Mean and standard deviation over ten runs, as a table prints them."""

    mean: float
    deviation: float
    n_runs: int = 10

    def p_value(self, other: Printed) -> float:
        """Two-sided p-value of Welch's test."""
        from scipy import stats  # here, as its import takes long

        a, b = self, other
        return float(
            stats.ttest_ind_from_stats(a.mean, a.deviation, a.n_runs, b.mean, b.deviation, b.n_runs, equal_var=False).pvalue
        )


SIGNIFICANT = 0.05


class _Significance(Claim):
    """Welch's test on the printed means, deviations and ten runs; nominal, as the rows are the best of many."""

    pairs: dict[str, tuple[Printed, Printed]]  # label -> without and with noise enhancement
    established: tuple[str, ...]

    def measure(self, run: Run) -> Quantities:
        return {f"p of {label}": Computed(self._p_value(label, a, b), rounding=1e-9) for label, (a, b) in self.pairs.items()}

    @staticmethod
    def _p_value(label: str, without: Printed, enhanced: Printed) -> float:
        """Two-sided p-value of an improvement; one where it is none."""
        improved = enhanced.mean < without.mean if label.endswith("time") else enhanced.mean > without.mean
        return enhanced.p_value(without) if improved else 1.0

    def published(self) -> Predictions:
        return {f"p of {label}": AtMost(SIGNIFICANT) for label in self.pairs}

    def corrected(self) -> Predictions:
        return {
            f"p of {label}": AtMost(SIGNIFICANT) if label.startswith(self.established) else AtLeast(SIGNIFICANT)
            for label in self.pairs
        }

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "established nowhere", {f"p of {label}": AtLeast(SIGNIFICANT) for label in self.pairs}
        yield "at the level 10⁻⁶", {f"p of {label}": AtMost(1e-6) for label in self.pairs}


@claim(
    "ne2021.table3-significance",
    "In all cases of Table 3, large batches with noise enhancement are more accurate than small ones without",
    kind="inequality",
    source="Section 3.2 and Table 3",
    expected="refuted",
    corrected="F1 and C1 establish it at a nominal level of 5 %, C2 does not",
)
class EnhancedBeatsSmallBatches(_Significance):
    """Best test accuracies of F1, C1 and C2."""

    established = ("F1", "C1")
    pairs = {
        "F1": (Printed(90.17, 0.14), Printed(90.35, 0.05)),
        "C1": (Printed(88.05, 0.18), Printed(88.26, 0.23)),
        "C2": (Printed(61.40, 0.54), Printed(61.53, 0.35)),
    }


@claim(
    "ne2021.table2-significance",
    "At B_opt, enhancement improves the accuracy and shortens the time in every row of Table 2",
    kind="inequality",
    source="Section 3.1 and Table 2",
    expected="refuted",
    corrected="C1 and F1 establish both at a nominal level of 5 %, C2 neither",
)
class EnhancementImprovesEveryRow(_Significance):
    """Accuracy and convergence time of every enhanced row against the one without."""

    established = ("F1", "C1")
    pairs = {
        "C1, α = 1.5, accuracy": (Printed(88.05, 0.18), Printed(88.69, 0.11)),
        "C1, α = 1.5, time": (Printed(24500, 2775), Printed(20825, 2113)),
        "C1, α = 2, accuracy": (Printed(88.05, 0.18), Printed(88.77, 0.30)),
        "C1, α = 2, time": (Printed(24500, 2775), Printed(15932, 1870)),
        "C1, α = 2.5, accuracy": (Printed(88.05, 0.18), Printed(88.66, 0.22)),
        "C1, α = 2.5, time": (Printed(24500, 2775), Printed(10040, 1153)),
        "F1, accuracy": (Printed(90.17, 0.14), Printed(90.39, 0.17)),
        "F1, time": (Printed(10934, 816), Printed(7914, 528)),
        "C2, accuracy": (Printed(61.40, 0.54), Printed(61.75, 0.48)),
        "C2, time": (Printed(5292, 935), Printed(5175, 748)),
    }


@claim(
    "ne2021.table2-scaling",
    "If the noise were Gaussian, B_opt(α) = c(α) B_opt(1); the printed optima of C1 allow it, within the grid they were found on",
    kind="inequality",
    source="Eq. (11) and Table 2",
)
class OptimalBatchScales(Claim):
    """Which B_opt(1) would explain all printed optima of C1, each known to half a step of 100 of its grid.

    From the printed B_opt(1) = 100 alone one would predict 250, 500 and 850 where 200, 300 and 500 are printed. But it too is
    known to half a step only, and it is the lowest batch size that was tried.
    """

    printed = {1.0: 100, 1.5: 200, 2.0: 300, 2.5: 500}
    half_step = 50
    window = "width of the window for B_opt(1)"
    wrong = {"B_opt does not depend on α": lambda alpha: 1.0, "B_opt(α) = c(α)² B_opt(1)": lambda a: enhancement(a) ** 2}

    def measure(self, run: Run) -> Quantities:
        low, high = self._window(enhancement)
        found = {self.window: high - low, "lowest B_opt(1) that fits": low, "highest B_opt(1) that fits": high}
        for name, rule in self.wrong.items():
            wrong_low, wrong_high = self._window(rule)
            found[name] = wrong_high - wrong_low
        base = Minibatch(1_000, self.printed[1.0])
        for alpha in (1.5, 2.0, 2.5):  # the batch that enhancement makes as noisy as one of the printed B_opt(1)
            power = Enhanced(base, alpha).centred_power / base.centred_power
            found[f"from B_opt(1) = 100 at α = {alpha:g}"] = power * self.printed[1.0]
        return {label: Computed(value, rounding=1e-9) for label, value in found.items()}

    def published(self) -> Predictions:
        from_one = {1.5: 250, 2.0: 500, 2.5: 850}
        return {self.window: AtLeast(0.0)} | {f"from B_opt(1) = 100 at α = {a:g}": b for a, b in from_one.items()}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        # The same test of a wrong rule must find no B_opt(1).
        for name in self.wrong:
            yield name, {name: AtLeast(0.0)}

    def _window(self, rule: Any) -> tuple[float, float]:
        lows = [(size - self.half_step) / rule(alpha) for alpha, size in self.printed.items()]
        highs = [(size + self.half_step) / rule(alpha) for alpha, size in self.printed.items()]
        return max(lows), min(highs)
