"""Claims of ne2021 on its tables: what the printed numbers establish, and how the best batch scales."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import scipy

from gradnoise.claims.claim import Claim, Predictions, Quantities, Run, claim
from gradnoise.claims.judgement import Computed
from gradnoise.claims.ne2021.enhancement import enhancement
from gradnoise.claims.prediction import AtLeast, AtMost, Established
from gradnoise.claims.significance import Printed, holm
from gradnoise.theory.sampling import Enhanced, Minibatch, effective_batch_size

SIGNIFICANT = 0.05


class _Significance(Claim):
    """Welch's test on the printed means and deviations of ten runs, with Holm's correction over the rows that "all" joins.

    It flatters the paper: a row is the best of many, chosen by the same test accuracies.
    """

    pairs: dict[str, tuple[Printed, Printed]]  # the one that is stated to be smaller, and the other
    established: tuple[str, ...]
    #: A row that does not pass, and one that does, both clearly.
    fails: str
    passes: str

    def measure(self, run: Run) -> Quantities:
        tested = holm(self.pairs, SIGNIFICANT)
        return {**tested, **{self._number(label): p for label, p in tested.items()}}

    def published(self) -> Predictions:
        return {label: Established(SIGNIFICANT) for label in self.pairs}

    def corrected(self) -> Predictions:
        verdicts = {
            label: Established(SIGNIFICANT) if label.startswith(self.established) else AtLeast(SIGNIFICANT, tightness="chosen")
            for label in self.pairs
        }
        return {**verdicts, **self._numbers(_of_welch, _of_holm)}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "the other way round", {self.passes: Established(SIGNIFICANT, against=True)}
        yield "established nowhere", {label: AtLeast(SIGNIFICANT) for label in self.pairs}
        yield f"{self.fails} too", {self.fails: AtMost(SIGNIFICANT)}
        yield "Bonferroni's correction for Holm's", self._numbers(_of_welch, lambda p, others: len(others) * p)
        yield "Student's test for Welch's", self._numbers(_of_student, _of_holm)

    def _numbers(
        self, test: Callable[[Printed, Printed], float], corrected: Callable[[float, list[float]], float]
    ) -> Predictions:
        """Numbers of p by a test and a correction that takes one of them, and all."""
        alone = {label: test(*pair) for label, pair in self.pairs.items()}
        return {self._number(label): min(1.0, corrected(p, list(alone.values()))) for label, p in alone.items()}

    @staticmethod
    def _number(label: str) -> str:
        return f"{label}: p, corrected"


def _of_welch(one: Printed, other: Printed) -> float:
    u, v = one.variance_of_mean, other.variance_of_mean
    freedom = (u + v) ** 2 / (u**2 / (one.n_runs - 1) + v**2 / (other.n_runs - 1))
    return _two_sided((one.mean - other.mean) ** 2 / (u + v), freedom)


def _of_student(one: Printed, other: Printed) -> float:
    # With as many runs on either side, the statistic is the same.
    return _two_sided(
        (one.mean - other.mean) ** 2 / (one.variance_of_mean + other.variance_of_mean), one.n_runs + other.n_runs - 2
    )


def _two_sided(square: float, freedom: float) -> float:
    """Probability that the square of Student's t is larger, an incomplete beta function."""
    return float(scipy.special.betainc(freedom / 2, 0.5, freedom / (freedom + square)))


def _of_holm(p: float, every: list[float]) -> float:
    """Of all that are no larger, the largest product with the number of those that are no smaller."""
    return max(one * sum(other >= one for other in every) for one in every if one <= p)


@claim(
    "ne2021.table2-significance",
    "At B_opt, enhancement improves the accuracy and shortens the time in every row of Table 2",
    kind="test of significance",
    source="Section 3.1 and Table 2",
    expected="not established",
    corrected="The rows of C1 and F1 establish both at 5 % with Holm's correction (p ≤ .017); C2 neither (p = .29 and .76)",
)
class EnhancementImprovesEveryRow(_Significance):
    """Accuracy and convergence time of every enhanced row against the one without."""

    established = ("F1", "C1")
    fails, passes = "C2, accuracy", "F1, accuracy"
    pairs = {
        "C1, α = 1.5, accuracy": (Printed(88.05, 0.18), Printed(88.69, 0.11)),
        "C1, α = 1.5, time": (Printed(20825, 2113), Printed(24500, 2775)),
        "C1, α = 2, accuracy": (Printed(88.05, 0.18), Printed(88.77, 0.30)),
        "C1, α = 2, time": (Printed(15932, 1870), Printed(24500, 2775)),
        "C1, α = 2.5, accuracy": (Printed(88.05, 0.18), Printed(88.66, 0.22)),
        "C1, α = 2.5, time": (Printed(10040, 1153), Printed(24500, 2775)),
        "F1, accuracy": (Printed(90.17, 0.14), Printed(90.39, 0.17)),
        "F1, time": (Printed(7914, 528), Printed(10934, 816)),
        "C2, accuracy": (Printed(61.40, 0.54), Printed(61.75, 0.48)),
        "C2, time": (Printed(5175, 748), Printed(5292, 935)),
    }


@claim(
    "ne2021.table3-significance",
    "In all cases of Table 3, large batches with noise enhancement are more accurate than small ones without",
    kind="test of significance",
    source="Section 3.2 and Table 3",
    expected="not established",
    corrected="F1 alone establishes it at 5 % with Holm's correction (p = .008); C1 (.036 without, .072 with) and C2 (.53) not",
)
class EnhancedBeatsSmallBatches(_Significance):
    """Best test accuracies of F1, C1 and C2."""

    established = ("F1",)
    fails, passes = "C1", "F1"
    pairs = {
        "F1": (Printed(90.17, 0.14), Printed(90.35, 0.05)),
        "C1": (Printed(88.05, 0.18), Printed(88.26, 0.23)),
        "C2": (Printed(61.40, 0.54), Printed(61.53, 0.35)),
    }


#: Batch sizes that the paper tries; half a step to either side is how well an optimum among them is known.
GRID = (100, 200, 300, 400, 500, 600, 700, 800, 900, 1000, 2000, 3000, 5000)


class Optimum(NamedTuple):
    """A strength and a batch size that are best together, and what they could as well have been."""

    alpha: float
    batch_size: int
    alphas: tuple[float, float]
    batch_sizes: tuple[float, float]

    @classmethod
    def of_batch_size(cls, alpha: float, batch_size: int) -> Optimum:
        """At a given α, Table 2; below the smallest batch size that was tried, any could be better."""
        k = GRID.index(batch_size)
        low = (GRID[k - 1] + batch_size) / 2 if k else 0.0
        return cls(alpha, batch_size, (alpha, alpha), (low, (batch_size + GRID[k + 1]) / 2))

    @classmethod
    def of_strength(cls, alpha: float) -> Optimum:
        """At B = 5000, where every whole α was tried, Table 3."""
        return cls(alpha, 5_000, (alpha - 0.5, alpha + 0.5), (5_000, 5_000))


#: B_opt without enhancement, and with it, by α; as printed in Table 2.
TABLE_2 = {"C1": (100, {1.5: 200, 2.0: 300, 2.5: 500}), "F1": (900, {1.5: 2_000}), "C2": (600, {1.5: 1_000})}
#: The best α at B = 5000, as printed in Table 3.
TABLE_3 = {"C1": 10, "F1": 3, "C2": 5}


def optima(network: str) -> list[Optimum]:
    """All that are printed of a network with enhancement."""
    _, by_strength = TABLE_2[network]
    return [Optimum.of_batch_size(*best) for best in by_strength.items()] + [Optimum.of_strength(TABLE_3[network])]


def window(network: str, rule: Callable[[float], float] = enhancement) -> tuple[float, float]:
    """Ends of the batch sizes without enhancement that explain all optima of a network by B_opt(α) = rule(α) B_opt(1)."""
    known = [Optimum.of_batch_size(1.0, TABLE_2[network][0]), *optima(network)]
    lows = [o.batch_sizes[0] / rule(o.alphas[1]) for o in known]
    highs = [o.batch_sizes[1] / rule(o.alphas[0]) for o in known]
    return max(lows), min(highs)


@claim(
    "ne2021.scaling",
    "If the noise were Gaussian, enhancement were a batch of B_eff, so that every best α and B had the one B_eff = B_opt(1)",
    kind="inequality",
    source="Eq. (11), Tables 2 and 3; for SGD",
    expected="refuted",
    corrected="All eight printed optima have B_eff < B_opt(1), from .89 down to .20 of it: more noise than is best without "
    "enhancement. Gaussian noise and SGD do not explain them; the paper's optimizer is Adam, which divides by the noise it sees",
)
class OptimalBatchScales(Claim):
    """B_eff of every printed optimum over B_opt(1), and whether one B_opt(1) explains all of a network within the grids."""

    n = 50_000  # samples of Cifar; with replacement their number does not matter

    def measure(self, run: Run) -> Quantities:
        found = {}
        for network, (of_one, _) in TABLE_2.items():
            low, high = window(network)
            found[self._width(network)] = Computed((high - low) / of_one, rounding=1e-9)
            for o in optima(network):
                size = effective_batch_size(Enhanced(Minibatch(self.n, o.batch_size), o.alpha))
                found[self._label(network, o)] = Computed(size / of_one, rounding=1e-9)
        return found

    def published(self) -> Predictions:
        return {self._width(network): AtLeast(0.0) for network in TABLE_2}

    def corrected(self) -> Predictions:
        return self._ratios(lambda o: o.batch_size / (o.alpha**2 + (1 - o.alpha) ** 2))

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "B_eff = B/α²", self._ratios(lambda o: o.batch_size / o.alpha**2)
        yield "B_eff = B/(2α − 1)", self._ratios(lambda o: o.batch_size / (2 * o.alpha - 1))
        yield "every optimum has the noise of the printed B_opt(1)", dict.fromkeys(self._ratios(lambda o: 1.0), 1.0)

    @staticmethod
    def _ratios(size: Callable[[Optimum], float]) -> Predictions:
        return {
            OptimalBatchScales._label(network, o): size(o) / of_one
            for network, (of_one, _) in TABLE_2.items()
            for o in optima(network)
        }

    @staticmethod
    def _width(network: str) -> str:
        return f"{network}: width of the window for B_opt(1), over B_opt(1)"

    @staticmethod
    def _label(network: str, optimum: Optimum) -> str:
        return f"{network}, α = {optimum.alpha:g}, B = {optimum.batch_size}: B_eff/B_opt(1)"
