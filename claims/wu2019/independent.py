"""Claims of wu2019, Section 5.2: Bernoulli weights, the approximation of SGD's by independent ones."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np
import scipy

from gradnoise.claims.claim import Claim, Predictions, Quantities, Run, claim
from gradnoise.claims.covariance import stated, two_numbers
from gradnoise.claims.generic import at_each, generic_sizes
from gradnoise.claims.instances import PAIRS, search_minimum
from gradnoise.claims.judgement import Computed
from gradnoise.claims.prediction import AtLeast
from gradnoise.simulations.sampling import outcomes
from gradnoise.theory.sampling import Bernoulli, Minibatch


@claim(
    "wu2019.bernoulli",
    "w = 1/N + 1/b with probability b/N, else 1/N, has mean 1/N and SGD's diagonal as covariance",
    kind="exact",
    source="Section 5.2",
    expected="refuted",
    corrected="The values are 1/b and 0; their variance is SGD's diagonal without replacement, and nearest to it in KL(P‖Q)",
)
class BernoulliWeightsHaveTheDiagonal(Claim):
    """Moments of both laws by enumeration, and the product law nearest to that of a minibatch."""

    printed, nearest = "mean as printed", "nearest probability in KL"
    of_minibatch, fourth = "variance of a minibatch without replacement", "n⁴ times the fourth cumulant"

    def measure(self, run: Run) -> Quantities:
        def of(n: int, b: int) -> Quantities:
            values, probabilities = np.array([1 / n, 1 / n + 1 / b]), np.array([1 - b / n, b / n])
            listed = outcomes(Bernoulli(n, b))
            batches = outcomes(Minibatch(n, b, replacement=False))
            drawn = (batches.vectors > 0).sum(axis=1).mean()

            def divergence(logit: np.ndarray) -> float:
                """KL(P‖Q) of all batches from independent draws with one probability of that logit, up to a constant."""
                return float(drawn * np.log1p(np.exp(-logit[0])) + (n - drawn) * np.log1p(np.exp(logit[0])))

            _, logit = search_minimum(divergence, [np.zeros(1)])
            return {
                self.printed: Computed(float(values @ probabilities), rounding=1e-14),
                "mean": Computed(float(listed.mean()[0]), rounding=1e-14),
                **two_numbers("w", listed),
                self.fourth: Computed(n**4 * listed.cumulants(np.eye(n)[0])[3], rounding=1e-10),
                self.nearest: Computed(float(1 / (1 + np.exp(-logit[0]))), approximation=1e-6),
                self.of_minibatch: Computed(float(batches.covariance()[0, 0]), rounding=1e-14),
            }

        return at_each(of, PAIRS, "n, b")

    def published(self) -> Predictions:
        return at_each(lambda n, b: {self.printed: 1 / n}, PAIRS, "n, b")

    def corrected(self) -> Predictions:
        def of(n: int, b: int) -> Predictions:
            noise = Bernoulli(n, b)
            moments = {self.printed: 2 / n, "mean": 1 / n, **stated("w", noise)}
            moments[self.fourth] = n**4 * float(noise.joint_cumulant((4,)))
            return {**moments, self.nearest: b / n, self.of_minibatch: noise.variance}

        return at_each(of, PAIRS, "n, b")

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        with_replacement = at_each(lambda n, b: {"w: variance": Minibatch(n, b).variance}, PAIRS, "n, b")
        yield "SGD's diagonal with replacement", with_replacement
        yield "(n−b+1)/(bn²)", at_each(lambda n, b: {"w: variance": (n - b + 1) / (b * n**2)}, PAIRS, "n, b")
        yield "mean (1 + b)/n", at_each(lambda n, b: {self.printed: (1 + b) / n}, PAIRS, "n, b")
        yield "1 − 3q for 1 − 6q", at_each(lambda n, b: {self.fourth: self._fourth(n, b, 3)}, PAIRS, "n, b")
        yield "not centred: 1 for 1 − 6q", at_each(lambda n, b: {self.fourth: self._fourth(n, b, 0)}, PAIRS, "n, b")
        yield "1/n for b/n", at_each(lambda n, b: {self.nearest: 1 / n}, PAIRS, "n, b")

    @staticmethod
    def _fourth(n: int, b: int, factor: int) -> float:
        """q(1 − 6q)/(b/n)⁴ with q = (b/n)(1 − b/n), or with another factor."""
        q = b / n * (1 - b / n)
        return q * (1 - factor * q) * (n / b) ** 4


@claim(
    "wu2019.best-independent",
    "Among all vectors of independent components the Bernoulli noise is the best approximation of SGD's",
    kind="exact",
    source="Section 5.2, which names no distance: read as in each of three",
    expected="refuted",
    corrected="Of SGD's without replacement, in KL(P‖Q); in total variation N−1 samples alone are nearer, and in Wasserstein "
    "distance another probability; with replacement KL(P‖Q) is infinite, as a sample may be drawn twice",
)
class BernoulliIsTheBestOfIndependent(Claim):
    """Distances between all batches and all subsets, the last by optimal transport with as many weights as differ as costs."""

    sizes = generic_sizes((5, 2), (7, 3), (8, 2))
    divergence = "least KL(P‖Q) of others less that of Bernoulli"
    variation, transport = "total variation without one sample / of Bernoulli", "Wasserstein at the best p / at p = b/N"
    twice = "with: probability that a sample is drawn twice"

    def measure(self, run: Run) -> Quantities:
        generator = run.generator()

        def of(n: int, b: int) -> Quantities:
            sets = np.array(list(itertools.product((0, 1), repeat=n)))
            batches = (sets.sum(axis=1) == b) / math.comb(n, b)
            bernoulli, one_less = (
                _product_law(sets, np.full(n, b / n)),
                _product_law(sets, np.append(np.full(n - 1, b / (n - 1)), 0)),
            )
            at_best = _product_law(sets, np.full(n, _nearest_probability(sets, b)))
            others = [_divergence(batches, _any_product_law(sets, b / n, generator)) for _ in range(run.n_instances)]
            repeated = outcomes(Minibatch(n, b)).vectors.max(axis=1) > 1.5 / b
            variation = np.abs(batches - one_less).sum() / np.abs(batches - bernoulli).sum()
            transport = _transport(sets, batches, at_best) / _transport(sets, batches, bernoulli)
            return {
                self.divergence: Computed(min(others) - _divergence(batches, bernoulli), rounding=1e-12),
                self.variation: Computed(float(variation), rounding=1e-12),
                self.transport: Computed(transport, rounding=1e-9),
                self.twice: Computed(float(repeated.mean()), rounding=1e-12),
            }

        return at_each(of, self.sizes, "N, b")

    def published(self) -> Predictions:
        best = {self.divergence: AtLeast(0.0), self.variation: AtLeast(1.0), self.transport: AtLeast(1.0), self.twice: 0.0}
        return at_each(lambda n, b: best, self.sizes, "N, b")

    def corrected(self) -> Predictions:
        def of(n: int, b: int) -> Predictions:
            # Of both laws a set of b has less than in P, so that they have in common what they give to such sets.
            variation = (1 - _binomial(n - 1, b / (n - 1))[b]) / (1 - _binomial(n, b / n)[b])
            # What is too much or too little of a subset is all that must change.
            transport = _mean_distance(n, b, _best_probability(n, b)) / _mean_distance(n, b, b / n)
            different = 1 - math.perm(n, b) / n**b
            return {self.divergence: AtLeast(0.0), self.variation: variation, self.transport: transport, self.twice: different}

        return at_each(of, self.sizes, "N, b")

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        for label in at_each(lambda n, b: {self.divergence: 0.0}, self.sizes, "N, b"):
            yield f"a hundredth to spare: {label}", {label: AtLeast(0.01)}
        yield "as near without one sample", at_each(lambda n, b: {self.variation: 1.0}, self.sizes, "N, b")
        yield "as near at each p", at_each(lambda n, b: {self.transport: 1.0}, self.sizes, "N, b")
        yield "drawn twice in one of N pairs", at_each(lambda n, b: {self.twice: b * (b - 1) / 2 / n}, self.sizes, "N, b")


def _product_law(sets: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Probabilities of subsets, rows of zeros and ones, of which sample i is in with the probability p_i."""
    return np.where(sets == 1, p, 1 - p).prod(axis=1)


def _any_product_law(sets: np.ndarray, p: float, generator: np.random.Generator) -> np.ndarray:
    """Of independent components with probabilities near p or far from it, some of which also take values that no batch has."""
    n = sets.shape[1]
    logits = math.log(p / (1 - p)) + 10.0 ** generator.uniform(-4, 0.5) * generator.standard_normal(n)
    elsewhere = 10.0 ** generator.uniform(-6, -1, n) * generator.integers(0, 2, n)
    return _product_law(sets, 1 / (1 + np.exp(-logits))) * (1 - elsewhere).prod()


def _divergence(P: np.ndarray, Q: np.ndarray) -> float:
    """KL(P‖Q)."""
    return float(P[P > 0] @ np.log(P[P > 0] / Q[P > 0]))


def _transport(sets: np.ndarray, P: np.ndarray, Q: np.ndarray) -> float:
    """Expected number of samples in which a batch and a subset differ, coupled as well as can be: a linear program."""
    batches = P > 0
    costs = np.abs(sets[batches][:, np.newaxis] - sets).sum(axis=2)
    rows = scipy.sparse.kron(scipy.sparse.eye(costs.shape[0]), np.ones((1, costs.shape[1])))
    columns = scipy.sparse.kron(np.ones((1, costs.shape[0])), scipy.sparse.eye(costs.shape[1]))
    found = scipy.optimize.linprog(costs.ravel(), A_eq=scipy.sparse.vstack([rows, columns]), b_eq=np.concatenate([P[batches], Q]))
    return float(found.fun)


def _nearest_probability(sets: np.ndarray, b: int) -> float:
    """The p whose subsets differ from batches in the fewest samples, by enumeration: in as many as their sizes differ by."""
    missing, n = np.abs(sets.sum(axis=1) - b), sets.shape[1]
    found = scipy.optimize.minimize_scalar(
        lambda p: _product_law(sets, np.full(n, p)) @ missing, bounds=(0, 1), method="bounded", options={"xatol": 1e-9}
    )
    return float(found.x)


def _binomial(n: int, p: float) -> np.ndarray:
    return np.array([math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)])


def _mean_distance(n: int, b: int, p: float) -> float:
    """E|k − b| of a binomial k."""
    return float(_binomial(n, p) @ np.abs(np.arange(n + 1) - b))


def _best_probability(n: int, b: int) -> float:
    """The p that makes E|k − b| least: then b of n − 1 is a median."""
    return float(scipy.special.betaincinv(b, n - b, 0.5))
