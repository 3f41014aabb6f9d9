"""Section 4.5 of wu2020: mini-batch MSGD, Algorithm 2, what covariance its noise has and of what class it is."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gradnoise.claims.claim import Claim, Predictions, Quantities, Run, both_ways, claim
from gradnoise.claims.covariance import stated, two_numbers
from gradnoise.claims.generic import at_each
from gradnoise.claims.instances import SPARSE_SIZES
from gradnoise.claims.judgement import Computed
from gradnoise.claims.prediction import AtLeast
from gradnoise.claims.wu2020.noise_class import SKEW_GRADIENTS
from gradnoise.simulations.sampling import Outcomes, outcomes, product_rule
from gradnoise.theory.sampling import (
    Gaussian,
    GaussianMinibatch,
    Minibatch,
    SamplingNoise,
    SparseGaussian,
    compensating_noise_batch_size,
    effective_batch_size,
)


@claim(
    "wu2020.new-class",
    "The noises of [Fisher-B] and [MSGD-Fisher]-B are of classes of their own: neither Gaussian nor that of SGD",
    kind="exact",
    source="Sections 4.4 and 4.5",
)
class NoisesAreOfClassesOfTheirOwn(Claim):
    """Third and fourth cumulants of gᵀV over all supports or batches, with three-point normals, which have those of normals."""

    fisher_b, algorithm_2 = "[Fisher-B]", "[MSGD-Fisher]-B"

    def measure(self, run: Run) -> Quantities:
        def of(n: int, B: int, b: int) -> Quantities:
            found: dict[str, Any] = {}
            for name, noise in self._noises(n, B, b).items():
                _, _, third, fourth = outcomes(noise).cumulants(SKEW_GRADIENTS[:n])
                scale = noise.cumulant(2, SKEW_GRADIENTS[:n])
                found[f"κ₃, {name}"] = Computed(third, rounding=1e-12 * scale**1.5)
                found[f"κ₄, {name}"] = Computed(fourth, rounding=1e-12 * scale**2)
            return found

        return at_each(of, SPARSE_SIZES)

    def published(self) -> Predictions:
        return self._predicted(lambda name, noise, b: [noise])

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        def of_sgd(name: str, noise: SamplingNoise, b: int) -> list[SamplingNoise]:
            return [Minibatch(noise.n, b)]

        def independent(name: str, noise: SamplingNoise, b: int) -> list[SamplingNoise]:
            if not isinstance(noise, GaussianMinibatch):
                return [noise]
            return [
                Minibatch(noise.n, noise.batch_size, replacement=False),
                SparseGaussian(noise.n, noise.noise_batch_size, noise.batch_size),
            ]

        yield "both are Gaussian", self._predicted(lambda name, noise, b: [Gaussian(noise.n, b)])
        yield "[Fisher-B] is of the class of SGD", self._predicted(of_sgd, self.fisher_b)
        yield "[MSGD-Fisher]-B is of the class of SGD", self._predicted(of_sgd, self.algorithm_2)
        yield (
            "[MSGD-Fisher]-B is sparse Gaussian",
            self._predicted(lambda name, noise, b: [SparseGaussian(noise.n, b, 2)], self.algorithm_2),
        )
        yield "[MSGD-Fisher]-B adds noises that are independent", self._predicted(independent)

    def _noises(self, n: int, B: int, b: int) -> dict[str, SamplingNoise]:
        return {self.fisher_b: SparseGaussian(n, b, B), self.algorithm_2: GaussianMinibatch(n, B, b, replacement=False)}

    def _predicted(self, parts: Callable[[str, SamplingNoise, int], list[SamplingNoise]], *names: str) -> Predictions:
        """Sums of the cumulants of independent parts, of the noises of these names or of all."""

        def of(n: int, B: int, b: int) -> Predictions:
            noises = {name: noise for name, noise in self._noises(n, B, b).items() if not names or name in names}
            return {
                f"{symbol}, {name}": sum(part.cumulant(order, SKEW_GRADIENTS[:n]) for part in parts(name, noise, b))
                for name, noise in noises.items()
                for order, symbol in ((3, "κ₃"), (4, "κ₄"))
            }

        return at_each(of, SPARSE_SIZES)


@claim(
    "wu2020.algorithm2",
    "In mini-batch MSGD the covariance of the sampling noise becomes hard to calculate, so its strength is tuned",
    kind="exact",
    source="Section 4.5",
    expected="refuted",
    corrected="Var[W] = Var[W_sgd(B)] + I/(b′n); on the centred part 1/b_eff = 1/B + 1/b′ with, (n−B)/(B(n−1)) + 1/b′ without",
)
class CovarianceOfMinibatchNoiseIsHard(Claim):
    """All batches, with three-point normals on their draws; the noise has the strength of a batch of b′ = b + 0.3 n."""

    error, effective = "error of the closed form", "1/b_eff"
    #: Without replacement, of the b′ that makes a batch of B as noisy as one of B/1.7.
    tuned, ratio = "n(v − c) at the b′ that is tuned for B/1.7", 1.7

    def measure(self, run: Run) -> Quantities:
        def of(n: int, B: int, b: int) -> Quantities:
            def moments(way: str, replacement: bool) -> dict[str, Any]:
                noise = GaussianMinibatch(n, B, self._strength(n, b), replacement=replacement)
                law = outcomes(noise)
                C = law.covariance()
                # Of the stated matrix, relative to its largest entry.
                miss = float(np.abs(noise.covariance_matrix() - C).max() / noise.covariance_matrix().max())
                return {
                    f"{self.error}, {way}": Computed(miss, rounding=1e-12),
                    **two_numbers(way, law),
                    f"{self.effective}, {way}": Computed(float(n * (C[0, 0] - C[0, 1])), rounding=1e-12),
                }

            tuned = outcomes(GaussianMinibatch(n, B, self._tuned(n, B), replacement=False)).covariance()
            power = {self.tuned: Computed(float(n * (tuned[0, 0] - tuned[0, 1])), rounding=1e-12)}
            return {**both_ways(moments), **power}

        return at_each(of)

    def published(self) -> Predictions:
        # No number is published. "Hard to calculate" is read as: two numbers in closed form miss it.
        far = AtLeast(1e-3, tightness="chosen")
        return at_each(lambda n, B, b: both_ways(lambda way, _: {f"{self.error}, {way}": far}))

    def corrected(self) -> Predictions:
        def of(n: int, B: int, b: int) -> Predictions:
            def moments(way: str, replacement: bool) -> dict[str, float]:
                batch, noise_b = Minibatch(n, B, replacement), self._strength(n, b)
                return {
                    f"{self.error}, {way}": 0.0,
                    f"{way}: variance": batch.variance + 1 / (noise_b * n),
                    f"{way}: covariance": batch.covariance,
                    f"{self.effective}, {way}": 1 / effective_batch_size(batch) + 1 / noise_b,
                }

            return {**both_ways(moments), self.tuned: self._without(n, B / self.ratio)}

        return at_each(of)

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        def without(power: Callable[[int, int], float]) -> Predictions:
            label = f"{self.effective}, without"
            return at_each(lambda n, B, b: {label: power(n, B) + 1 / self._strength(n, b)})

        yield "1/b_eff = 1/B + 1/b′ without replacement too", without(lambda n, B: 1 / B)
        # Right by chance at B = n − 1.
        yield "(n−B)/B² for (n−B)/(B(n−1))", without(lambda n, B: (n - B) / B**2)
        yield "(n−B)/(n−1)²", without(lambda n, B: (n - B) / (n - 1) ** 2)
        yield "1/(B(n−1))", without(lambda n, B: 1 / (B * (n - 1)))
        in_batch = at_each(
            lambda n, B, b: {"with: variance": Minibatch(n, B).variance + 1 / (self._strength(n, b) * B)},
        )
        yield "I/(b′B) for I/(b′n)", in_batch
        untuned = at_each(lambda n, B, b: {self.tuned: self._without(n, B) + (self.ratio - 1) / B})
        yield "b′ = bB/(B−b), without (n−1)/n", untuned
        yield "that of a batch with replacement", at_each(lambda n, B, b: {self.tuned: self.ratio / B})

    def _tuned(self, n: int, B: int) -> float:
        return compensating_noise_batch_size(B, B / self.ratio, n)

    @staticmethod
    def _without(n: int, b: float) -> float:
        """n(v − c) of a minibatch without replacement."""
        return (n - b) / (b * (n - 1))

    @staticmethod
    def _strength(n: int, b: int) -> float:
        return b + 0.3 * n


@claim(
    "wu2020.algorithm2-tower",
    "Sharper: with batch-centred noise κ(I − J/B), κ = (B−b)/(bB(B−1)), Var[W] is exactly that of SGD with batch b",
    kind="exact",
    source="Algorithm 2 with the covariance of Theorem 1",
)
class CentredMinibatchNoiseIsExact(Claim):
    """All batches, with three-point normals of covariance κ(I − J/B) on their draws; and of κI, which adds κB/n I instead."""

    def measure(self, run: Run) -> Quantities:
        def of(n: int, B: int, b: int) -> Quantities:
            kappa = (B - b) / (b * B * (B - 1))
            normals = product_rule(dimension=B)
            centred = normals.vectors - normals.vectors.mean(axis=1, keepdims=True)

            def moments(way: str, replacement: bool) -> dict[str, Any]:
                law = _law_of_batches(n, 1 / B + np.sqrt(kappa) * centred, normals.probabilities, replacement)
                noise = GaussianMinibatch(n, B, compensating_noise_batch_size(B, b), True, replacement)
                return {**two_numbers(way, law), **two_numbers(f"GaussianMinibatch, {way}", outcomes(noise))}

            uncentred = _law_of_batches(n, 1 / B + np.sqrt(kappa) * normals.vectors, normals.probabilities, True)
            return both_ways(moments) | two_numbers("uncentred", uncentred)

        return at_each(of)

    def published(self) -> Predictions:
        def of(n: int, B: int, b: int) -> Predictions:
            # Each of the B draws gives a sample κ with the probability 1/n.
            added, batch = (B - b) / (b * B * (B - 1)) * B / n, Minibatch(n, B)
            uncentred = {"variance": batch.variance + added, "covariance": batch.covariance, "spread of both": 0.0}
            return {**_like(lambda r: Minibatch(n, b, r)), **{f"uncentred: {k}": v for k, v in uncentred.items()}}

        return at_each(of)

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        def in_place_of_kappa(factor: Callable[[int, int], float]) -> Predictions:
            """With another κ the noise has another share in the variance; the factor is that of the two."""

            def of(n: int, B: int, b: int) -> Predictions:
                large, small = Minibatch(n, B).variance, Minibatch(n, b).variance
                return {"with: variance": large + factor(B, b) * (small - large)}

            return at_each(of)

        yield "1/B for 1/(B−1) in κ", in_place_of_kappa(lambda B, b: (B - 1) / B)
        # Right by chance at B = b + 1.
        yield "(B−b)/(b²B) for κ", in_place_of_kappa(lambda B, b: (B - 1) / b)
        yield "1/(bB(B−1)) for κ", in_place_of_kappa(lambda B, b: 1 / (B - b))
        yield "uncentred weights do it", at_each(lambda n, B, b: stated("uncentred", Minibatch(n, b)))
        yield "the noise of the large batch", at_each(lambda n, B, b: _like(lambda r: Minibatch(n, B, r)))


def _law_of_batches(n: int, weights: np.ndarray, probabilities: np.ndarray, replacement: bool) -> Outcomes:
    """Law of W: the draws of each possible batch of n samples carry these weights, (k, B), with these probabilities."""
    B = weights.shape[1]
    batches = np.array(list(itertools.product(range(n), repeat=B) if replacement else itertools.combinations(range(n), B)))
    vectors = np.einsum("wb,kbn->kwn", weights, np.eye(n)[batches]).reshape(-1, n)
    return Outcomes(vectors, np.tile(probabilities / len(batches), len(batches)))


def _like(noise: Callable[[bool], SamplingNoise]) -> Predictions:
    return both_ways(lambda way, r: stated(way, noise(r)) | stated(f"GaussianMinibatch, {way}", noise(r)))
