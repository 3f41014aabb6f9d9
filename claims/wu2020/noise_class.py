"""Section 2 of wu2020: the noise of SGD as gradient matrix times sampling noise, and the class that it belongs to."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gradnoise.claims.claim import Claim, Predictions, Quantities, Run, both_ways, claim, computed, entries
from gradnoise.claims.generic import at_each, generic_sizes
from gradnoise.claims.instances import PAIRS, sample_gradients
from gradnoise.claims.judgement import Computed
from gradnoise.claims.prediction import Absolute, Margin, Relative
from gradnoise.simulations import sampling
from gradnoise.simulations.sampling import outcomes
from gradnoise.simulations.statistics import Estimate
from gradnoise.theory import gradient_noise
from gradnoise.theory.sampling import Gaussian, Minibatch, SamplingNoise

#: Gradients of up to twelve samples in one coordinate, one of them far from the others.
SKEW_GRADIENTS = np.array([0.1, -0.4, 3.5, 0.3, -0.2, 0.7, 0.0, -0.1, 0.5, 0.2, -0.3, 0.4])

_AT_ONCE = 20_000  # draws whose counts are held in memory


@claim("wu2020.eq1", "C(θ) = G Var[V_sgd] Gᵀ = (F − ∇L∇Lᵀ)/b, from the sampling noise", kind="exact", source="Eq. (1)")
class CovarianceFromSamplingNoise(Claim):
    """G Var[V] Gᵀ with the covariance matrix of all batches, with and without replacement."""

    def measure(self, run: Run) -> Quantities:
        def covariance(n: int, b: int) -> Quantities:
            G = sample_gradients(n)
            return both_ways(lambda way, r: computed(way, G @ outcomes(Minibatch(n, b, r)).covariance() @ G.T))

        return at_each(covariance, PAIRS, "n, b")

    def published(self) -> Predictions:
        return self._predicted(gradient_noise.sgd_covariance)

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "F/b", self._predicted(lambda G, b, _: gradient_noise.fisher(G) / b)
        yield "(1) for both ways of sampling", self._predicted(lambda G, b, _: gradient_noise.sgd_covariance(G, b))
        unbiased = self._predicted(lambda G, b, r: gradient_noise.sgd_covariance(G, b, r) * G.shape[1] / (G.shape[1] - 1))
        yield "1/(n−1) for 1/n", unbiased

    @staticmethod
    def _predicted(covariance: Callable[[np.ndarray, int, bool], np.ndarray]) -> Predictions:
        def of(n: int, b: int) -> Predictions:
            return both_ways(lambda way, r: entries(way, covariance(sample_gradients(n), b, r)))

        return at_each(of, PAIRS, "n, b")


@claim(
    "wu2020.eq2",
    "θ_{t+1} = θ_t − η∇L + η∇𝓛V, with V the sampling noise of SGD",
    kind="exact",
    source="Eq. (2)",
    expected="refuted",
    corrected="The sign is −η∇𝓛V; with + the odd cumulants of the step flip",
)
class SignOfTheNoise(Claim):
    """Cumulants of one step of real SGD along the first coordinate, over all batches."""

    eta = 0.1

    def measure(self, run: Run) -> Quantities:
        def of(n: int, b: int) -> Quantities:
            law = outcomes(Minibatch(n, b)).transformed(-self.eta * sample_gradients(n))
            mean, second, third, _ = law.cumulants([1.0, 0.0])
            found = {"mean of the step": mean, "variance of the step": second, "third cumulant of the step": third}
            return {label: Computed(value, rounding=1e-15) for label, value in found.items()}

        return at_each(of, PAIRS, "n, b")

    def published(self) -> Predictions:
        return self._predicted(lambda n, b: self._with_sign(+1, n, b))

    def corrected(self) -> Predictions:
        return self._predicted(lambda n, b: self._with_sign(-1, n, b))

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "Gaussian noise", self._predicted(lambda n, b: {"third cumulant of the step": 0.0})
        yield "without η", self._predicted(lambda n, b: {"third cumulant of the step": -self._cumulant(3, n, b)})
        yield (
            "a third cumulant of 1/b",
            self._predicted(lambda n, b: {"third cumulant of the step": -(self.eta**3) * b * self._cumulant(3, n, b)}),
        )

    @staticmethod
    def _predicted(of: Callable[[int, int], Predictions]) -> Predictions:
        return at_each(of, PAIRS, "n, b")

    @staticmethod
    def _cumulant(order: int, n: int, b: int) -> float:
        return Minibatch(n, b).cumulant(order, sample_gradients(n)[0])

    def _with_sign(self, sign: int, n: int, b: int) -> Predictions:
        return {
            "mean of the step": float(-self.eta * sample_gradients(n)[0].mean()),
            "variance of the step": self.eta**2 * self._cumulant(2, n, b),
            "third cumulant of the step": (sign * self.eta) ** 3 * self._cumulant(3, n, b),
        }


@claim(
    "wu2020.non-gaussian",
    "The noise of a small minibatch is not Gaussian; a larger one is closer to it",
    kind="comparison",
    source="Section 2.1",
)
class NoiseIsNotGaussian(Claim):
    """Third and fourth central moments of gᵀV, one gradient far from the others: all batches, and simulated ones."""

    insensitive_because = "simulated third and fourth moments spread widely; all batches show the same cumulants without chance"
    sizes = generic_sizes((12, 2), (11, 4), (9, 3))

    def margin(self, label: str) -> Margin:
        return Relative(0.04)

    def measure(self, run: Run) -> Quantities:
        found: dict[str, Any] = {}
        for name, noise in self._cases():
            _, _, third, fourth = outcomes(noise).cumulants(SKEW_GRADIENTS[: noise.n])
            found |= computed(f"κ₃, {name}", third) | computed(f"κ₄, {name}", fourth)
            if self._simulated(noise):
                moments = sampling.expectations(noise, self._moments, run.n_paths, rng=run.at(name))
                found |= zip((f"third moment, {name}", f"fourth moment, {name}"), moments, strict=True)
        return found

    def published(self) -> Predictions:
        return self._predicted(lambda noise: noise)

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        def gaussian(noise: Minibatch) -> SamplingNoise:
            return Gaussian(noise.n, noise.batch_size, replacement=noise.replacement)

        yield "Gaussian noise of the same covariance", self._predicted(gaussian)
        yield "with for without replacement", self._predicted(lambda noise: Minibatch(noise.n, noise.batch_size))
        yield "as far from Gaussian at every b", self._predicted(lambda noise: Minibatch(noise.n, 2, noise.replacement))

    def _cases(self) -> Iterator[tuple[str, Minibatch]]:
        for n, b in self.sizes:
            yield from both_ways(lambda way, r, n=n, b=b: {f"n = {n}, b = {b}, {way}": Minibatch(n, b, r)}).items()

    def _simulated(self, noise: Minibatch) -> bool:
        return (noise.n, noise.batch_size) == self.sizes[0]

    def _predicted(self, stand_in: Callable[[Minibatch], SamplingNoise]) -> Predictions:
        predicted: dict[str, float] = {}
        for name, noise in self._cases():
            second, third, fourth = (stand_in(noise).cumulant(order, SKEW_GRADIENTS[: noise.n]) for order in (2, 3, 4))
            predicted |= {f"κ₃, {name}": third, f"κ₄, {name}": fourth}
            if self._simulated(noise):
                predicted |= {f"third moment, {name}": third, f"fourth moment, {name}": fourth + 3 * second**2}
        return predicted

    @staticmethod
    def _moments(weights: np.ndarray) -> np.ndarray:
        values = SKEW_GRADIENTS[: weights.shape[1]]
        y = (weights * values).sum(axis=1) - values.mean()
        return np.stack([y**3, y**4], axis=1)


@functools.cache
def heavy_gradients() -> np.ndarray:
    """Gradients of 40 samples of mean zero that look as heavy as Cauchy's law: quantiles of it, rounded to odd integers.

    Odd numbers of them have sums that are odd, too, hence never zero.
    """
    quantiles = np.tan(np.pi / 2 * (np.arange(20) + 0.5) / 20)
    positive = 2 * np.floor(10 * quantiles) + 1
    return np.concatenate([positive, -positive])


def inverse_tail_index(m: int) -> float:
    """1/α that sums of m draws from `heavy_gradients` are expected to show: E log|S_m| − E log|S_1| over log m."""

    def mean_logarithm(m: int) -> float:
        drawn = heavy_gradients().astype(int)
        reach = m * int(drawn.max())
        size = 1 << (2 * reach + 1).bit_length()
        single = np.bincount(drawn % size, minlength=size) / len(drawn)
        # The law of one is symmetric, so that its transform is real.
        law = np.fft.irfft(np.fft.rfft(single).real ** m, size)
        odd = np.arange(1, reach + 1, 2)
        return float(2 * law[odd] @ np.log(odd))

    return (mean_logarithm(m) - mean_logarithm(1)) / float(np.log(m))


@claim(
    "wu2020.neither",
    "The noise of SGD is neither Lévy nor Gaussian: on finite data it is bounded, and its tail index depends on the sums taken",
    kind="comparison",
    source="Section 2.1",
)
class NoiseIsNeitherLevyNorGaussian(Claim):
    """Range of the noise over all batches, its kurtosis by convolution, and the tail index that sums of draws show.

    The last is the mean that `gradnoise.simulations.statistics.tail_index` estimates: by sums of a dozen, α is 1.1, little more
    than that of Cauchy's law, and by larger sums it is larger.
    """

    sizes = generic_sizes((5, 2), (6, 4), (8, 3))
    batches, groups = (4, 16), (11, 101, 1_001)

    def margin(self, label: str) -> Margin:
        return Absolute(0.02)

    def measure(self, run: Run) -> Quantities:
        def largest(n: int, b: int) -> Quantities:
            noise = both_ways(lambda way, r: {way: outcomes(Minibatch(n, b, r)).vectors @ SKEW_GRADIENTS[:n]})
            found = {f"largest |gᵀV|, {way}": np.abs(y - SKEW_GRADIENTS[:n].mean()).max() for way, y in noise.items()}
            return {label: Computed(float(value), rounding=1e-13) for label, value in found.items()}

        found: dict[str, Any] = at_each(largest, self.sizes, "n, b")
        found |= {self._of_batch(b): Computed(self._kurtosis(b), rounding=1e-10) for b in self.batches}
        return found | {self._of_sums(m): self._shown(m, run) for m in self.groups}

    def published(self) -> Predictions:
        def largest(n: int, b: int) -> Predictions:
            # With replacement the sample that is farthest away may be drawn each time; without, it is drawn with those after it.
            deviations = np.sort(SKEW_GRADIENTS[:n] - SKEW_GRADIENTS[:n].mean())
            without = max(-deviations[:b].mean(), deviations[-b:].mean())
            return {"largest |gᵀV|, with": float(np.abs(deviations).max()), "largest |gᵀV|, without": float(without)}

        kurtosis = {self._of_batch(b): self._of_moments(b) for b in self.batches}
        return {**at_each(largest, self.sizes, "n, b"), **kurtosis, **self._indices(inverse_tail_index)}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "Gaussian: no kurtosis", {self._of_batch(b): 0.0 for b in self.batches}
        yield "Gaussian: α = 2 by every sum", self._indices(lambda m: 1 / 2)
        yield "Lévy: one α by every sum", self._indices(lambda m: inverse_tail_index(self.groups[0]))
        yield "Lévy: as far from Gaussian in every batch", {self._of_batch(b): self._of_moments(1) for b in self.batches}

    def _indices(self, inverse: Callable[[int], float]) -> Predictions:
        return {self._of_sums(m): inverse(m) for m in self.groups}

    def _shown(self, m: int, run: Run) -> Estimate:
        """1/α by sums of m draws with replacement; how often each sample is among them has a multinomial law."""
        g, generator = heavy_gradients(), run.generator(self._of_sums(m))
        singles, parts = generator.choice(g, run.n_paths), []
        for start in range(0, run.n_paths, _AT_ONCE):
            size = min(_AT_ONCE, run.n_paths - start)
            parts.append(generator.multinomial(m, np.full(len(g), 1 / len(g)), size) @ g)
        return Estimate.of(np.log(np.abs(np.concatenate(parts) / singles)) / np.log(m))

    @staticmethod
    def _of_moments(b: int) -> float:
        """κ₄/κ₂² as the theory of the sampling vector states it."""
        noise, g = Minibatch(len(heavy_gradients()), b), heavy_gradients()
        return noise.cumulant(4, g) / noise.cumulant(2, g) ** 2

    @staticmethod
    def _kurtosis(b: int) -> float:
        """κ₄/κ₂² of the sum of b draws, b a power of two, from its law; without transforms, whose rounding fourth powers show."""
        drawn = heavy_gradients().astype(int)
        law = np.bincount(drawn - drawn.min()) / len(drawn)
        for _ in range(b.bit_length() - 1):
            law = np.convolve(law, law)
        values = np.arange(len(law)) - (len(law) - 1) / 2
        second, fourth = (law @ values**power for power in (2, 4))
        return float(fourth / second**2 - 3)

    @staticmethod
    def _of_batch(b: int) -> str:
        return f"κ₄/κ₂² of a batch of {b}"

    @staticmethod
    def _of_sums(m: int) -> str:
        return f"1/α by sums of {m}"
