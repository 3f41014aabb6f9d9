"""Sections 4.3 and 4.4 of wu2020: Bernoulli and sparse Gaussian sampling noise, and their covariances."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gradnoise.claims.claim import Claim, Predictions, Quantities, Run, both_ways, claim
from gradnoise.claims.covariance import stated, two_numbers
from gradnoise.claims.generic import at_each
from gradnoise.claims.instances import PAIRS, SPARSE_SIZES
from gradnoise.claims.judgement import Computed
from gradnoise.simulations.sampling import outcomes
from gradnoise.theory.sampling import Bernoulli, Minibatch, SamplingNoise, SparseGaussian


@claim(
    "wu2020.sec4.3",
    "Var[V_B] = (n−b)/(bn²) I = Diag(Var[V_sgd]), for both ways of sampling",
    kind="exact",
    source="Section 4.3",
    expected="refuted",
    corrected="Without replacement; with, which is the paper's default, the diagonal is (n−1)/(bn²)",
)
class BernoulliNoiseHasTheDiagonal(Claim):
    """Diagonals of all batches, and of all Bernoulli weights."""

    def measure(self, run: Run) -> Quantities:
        def of(n: int, b: int) -> Quantities:
            def diagonal(way: str, replacement: bool) -> Quantities:
                C = outcomes(Minibatch(n, b, replacement)).covariance()
                return {f"diagonal of Var[V_sgd], {way}": Computed(float(C[0, 0]), rounding=1e-15)}

            return {**two_numbers("V_B", outcomes(Bernoulli(n, b))), **both_ways(diagonal)}

        return at_each(of, PAIRS, "n, b")

    def published(self) -> Predictions:
        return self._predicted(with_=lambda n, b: (n - b) / (b * n**2))

    def corrected(self) -> Predictions:
        return self._predicted(with_=lambda n, b: (n - 1) / (b * n**2))

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        def exchanged(n: int, b: int) -> Predictions:
            of = {"with": Bernoulli(n, b).variance, "without": Minibatch(n, b).variance}
            return {f"diagonal of Var[V_sgd], {way}": variance for way, variance in of.items()}

        def of_minibatch(n: int, b: int) -> Predictions:
            return {"V_B: covariance": Minibatch(n, b, False).covariance}

        yield "1/(bn)", at_each(lambda n, b: {"V_B: variance": 1 / (b * n)}, PAIRS, "n, b")
        yield "(n−b+1)/(bn²)", at_each(lambda n, b: {"V_B: variance": (n - b + 1) / (b * n**2)}, PAIRS, "n, b")
        yield "SGD's diagonals exchanged", at_each(exchanged, PAIRS, "n, b")
        yield "the covariance of SGD kept", at_each(of_minibatch, PAIRS, "n, b")

    @staticmethod
    def _predicted(with_: Callable[[int, int], float]) -> Predictions:
        def of(n: int, b: int) -> Predictions:
            noise = Bernoulli(n, b)
            return {
                **stated("V_B", noise),
                "diagonal of Var[V_sgd], with": with_(n, b),
                "diagonal of Var[V_sgd], without": noise.variance,
            }

        return at_each(of, PAIRS, "n, b")


@claim(
    "wu2020.sec4.4",
    "V′_F = √(B/b) V_sgd(B) ⊙ ε is sparse and has Var = Var[V_sgd(b)]",
    kind="exact",
    source="Section 4.4",
    expected="refuted",
    corrected="It is dense, with (n−1)/(bn²) I or (n−B)/(bn²) I; W_sgd(B) for V_sgd(B), centred over its support, does it",
)
class SparseGaussianNoiseHasTheCovariance(Claim):
    """The three forms, over all supports and three-point normals."""

    support = "largest number of samples that carry noise, as printed"

    def measure(self, run: Run) -> Quantities:
        def of(n: int, B: int, b: int) -> Quantities:
            found: dict[str, Any] = {}
            for name, noise in self._forms(n, B, b).items():
                law = outcomes(noise)
                found |= two_numbers(name, law)
                if name == "printed, without":
                    used = np.abs(law.vectors - 1 / n) > 1e-12
                    found[self.support] = Computed(int(used.sum(axis=1).max()))
            return found

        return at_each(of, SPARSE_SIZES)

    def published(self) -> Predictions:
        def of(n: int, B: int, b: int) -> Predictions:
            target = Minibatch(n, b)
            return {**stated("printed, with", target), **stated("printed, without", target), self.support: B}

        return at_each(of, SPARSE_SIZES)

    def corrected(self) -> Predictions:
        def of(n: int, B: int, b: int) -> Predictions:
            return {
                **{k: v for name, noise in self._forms(n, B, b).items() for k, v in stated(name, noise).items()},
                **stated("support-centred", Minibatch(n, b)),
                "released, with: variance": (n + B - 1) / (b * n**2),
                self.support: n,
            }

        return at_each(of, SPARSE_SIZES)

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        def wrong(label: str, variance: Callable[[int, int, int], float]) -> Predictions:
            return at_each(lambda n, B, b: {f"{label}: variance": variance(n, B, b)}, SPARSE_SIZES)

        rescaled = wrong("support-centred", lambda n, B, b: Minibatch(n, b).variance * (B - 1) / B)
        yield "support-centred noise without its rescaling", rescaled
        exact = at_each(lambda n, B, b: stated("released, without", Minibatch(n, b)), SPARSE_SIZES)
        yield "the released form is exact too", exact
        yield "(n−b) for (n−B)", wrong("printed, without", lambda n, B, b: (n - b) / (b * n**2))
        yield "(n−B+1) for (n−B)", wrong("printed, without", lambda n, B, b: (n - B + 1) / (b * n**2))
        # Right by chance at (n, B, b) = (5, 3, 2).
        yield "(n+b) for (n+B−1)", wrong("released, with", lambda n, B, b: (n + b) / (b * n**2))
        yield "1/n² for (n+B−1)/(bn²)", wrong("released, with", lambda n, B, b: 1 / n**2)
        yield "(B+1) for (n−1)", wrong("printed, with", lambda n, B, b: (B + 1) / (b * n**2))

    @staticmethod
    def _forms(n: int, B: int, b: int) -> dict[str, SamplingNoise]:
        def form(name: str, replacement: bool = False) -> SparseGaussian:
            return SparseGaussian(n, b, B, name, replacement)

        return {
            "printed, with": form("printed", True),
            "printed, without": form("printed"),
            "released, without": form("fisher"),
            "released, with": form("fisher", True),
            "support-centred": form("cov"),
            "support-centred, support with replacement": form("cov", True),
        }
