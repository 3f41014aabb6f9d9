"""Sampling vectors made of a batch: the minibatch itself, and Gaussian noise on the samples or draws of one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from gradnoise.theory._float_range import root, within_floats
from gradnoise.theory._validation import as_choice, as_flag, as_number, is_number, set_fields
from gradnoise.theory.sampling.batch_size import check_batch, minibatch_power
from gradnoise.theory.sampling.count_mixture import CountMixture, Polynomial, count, expectation
from gradnoise.theory.sampling.exchangeable import Pattern, as_pattern

__all__ = ["GaussianMinibatch", "Minibatch", "SparseGaussian"]


@dataclass(frozen=True)
class Minibatch(CountMixture):
    """W of SGD: a sample drawn k times into the batch weighs k/b.

    Parameters
    ----------
    n : int
        Number of samples.
    batch_size : int
        b >= 1; b <= n without replacement.
    replacement : bool
        Whether a sample can be drawn twice.

    References
    ----------
    wu2019, Proposition 1.

    Examples
    --------
    >>> from gradnoise.theory.sampling import Minibatch
    >>> noise = Minibatch(8, 4)
    >>> noise.variance, noise.covariance
    (0.02734375, -0.00390625)
    """

    n: int
    batch_size: int
    replacement: bool = True

    def __post_init__(self) -> None:
        n, b = check_batch(self.n, self.batch_size, "batch_size", self.replacement)
        set_fields(self, n=n, batch_size=b)

    def joint_cumulant(self, pattern: Pattern) -> Fraction:
        """Joint cumulant of distinct components, an exact fraction; see `SamplingNoise.joint_cumulant`."""
        if sum(as_pattern(pattern)) != 2 or len(pattern) > self.n:
            return super().joint_cumulant(pattern)
        power = minibatch_power(self.n, self.batch_size, self.replacement)  # Var W = power (I - J/n)
        return power * (Fraction(len(pattern) == 1) - Fraction(1, self.n))

    @property
    def _n_draws(self) -> int:
        return self.batch_size

    def _conditional_mean(self, i: int, size: int) -> Polynomial:
        return {count(i, size): Fraction(1, self.batch_size)}


@dataclass(frozen=True)
class SparseGaussian(CountMixture):
    """Gaussian noise on B random samples: MSGD-[Fisher-B] and MSGD-[Cov-B].

    Parameters
    ----------
    n : int
        Number of samples.
    batch_size : float
        b > 0 of the minibatch that is matched.
    support_size : int
        B, how many samples carry noise; B <= n without replacement, B >= 2 for "cov".
    form : {"fisher", "cov", "printed"}
        "fisher": W = 1/n + sqrt(B/b) W_sgd(B) * eps, as the authors' program has it. "cov": the normals are centred over
        the support (weighted by how often a sample was drawn, so that the noise sums to zero) and rescaled so that Var W is
        exactly (I - J/n)/(b n), that of a minibatch of b with replacement. "printed":
        W = 1/n + sqrt(B/b) (W_sgd(B) - 1/n) * eps, wu2020 Section 4.4 word for word, which is not sparse.
    replacement : bool
        Of the support.

    References
    ----------
    wu2019, Section 5.3 and Appendix B; wu2020, Section 4.4.

    Examples
    --------
    >>> from gradnoise.theory.sampling import Gaussian, SparseGaussian
    >>> SparseGaussian(8, 2, 4, form="cov").variance == Gaussian(8, 2).variance
    True
    """

    n: int
    batch_size: float
    support_size: int
    form: str = "fisher"
    replacement: bool = False

    def __post_init__(self) -> None:
        n, B = check_batch(self.n, self.support_size, "support_size", self.replacement)
        set_fields(self, n=n, support_size=B, batch_size=as_number(self.batch_size, "batch_size", above=0))
        as_choice(self.form, "form", ("fisher", "cov", "printed"))
        if self.form == "cov" and min(self.support_size, self.n) < 2:
            raise ValueError(
                f'form "cov" centres over the support and needs support_size >= 2 and n >= 2, '
                f"got support_size = {self.support_size}, n = {self.n}"
            )

    @property
    def _n_draws(self) -> int:
        return self.support_size

    @property
    @within_floats
    def noise_scale(self) -> float:
        """Factor of W_sgd(B) * eps ("fisher"), (W_sgd(B) - 1/n) * eps ("printed") or counts * centred eps ("cov")."""
        if self.form == "cov":
            return root(_squared_centred_scale(self))
        return root(Fraction(self.support_size) / Fraction(self.batch_size))

    def _conditional_mean(self, i: int, size: int) -> Polynomial:
        return {((0,) * size, 0): Fraction(1, self.n)}

    def _conditional_covariance(self, i: int, j: int, size: int) -> Polynomial:
        B, b = Fraction(self.support_size), Fraction(self.batch_size)
        one = ((0,) * size, 0)
        if self.form == "cov":
            scale = _squared_centred_scale(self)
            return {monomial: scale * c for monomial, c in self._centred_covariance(i, j, size).items()}
        if i != j:
            return {}
        if self.form == "fisher":
            return {count(i, size, 2): 1 / (b * B)}
        return {count(i, size, 2): 1 / (b * B), count(i, size): -2 / (b * self.n), one: B / b / self.n**2}

    def _centred_covariance(self, i: int, j: int, size: int) -> Polynomial:
        """Cov of m_i (eps_i - m . eps / B): m_i m_j (delta_ij - m_i/B - m_j/B + S/B^2)."""
        B = self.support_size
        pair = _product_of_counts(i, j, size)
        result: Polynomial = {(pair, 1): Fraction(1, B**2)}
        if i == j:
            result[(pair, 0)] = Fraction(1)
        for k in (i, j):
            key = (tuple(e + (m == k) for m, e in enumerate(pair)), 0)
            result[key] = result.get(key, Fraction(0)) - Fraction(1, B)
        return result


@dataclass(frozen=True)
class GaussianMinibatch(CountMixture):
    """Algorithm 2 of wu2020, [MSGD-Fisher]-B: a batch whose draws carry Gaussian weights.

    Each of the B draws weighs 1/B + N(0, 1/(b' B)); a sample drawn twice gets two independent weights.

    Parameters
    ----------
    n : int
        Number of samples.
    batch_size : int
        B >= 1; B <= n without replacement, B >= 2 if centred.
    noise_batch_size : float
        b' > 0, the strength of the noise: a batch of b' would have it. Infinite for none.
    centered : bool
        Remove the mean of the B normals and rescale them by sqrt(B/(B-1)). With
        b' = ``compensating_noise_batch_size(B, b)`` the covariance of W is then exactly that of a minibatch of b.
    replacement : bool
        Of the batch.

    References
    ----------
    wu2020, Algorithm 2.

    Examples
    --------
    >>> from gradnoise.theory.sampling import GaussianMinibatch, Minibatch, compensating_noise_batch_size
    >>> noise = GaussianMinibatch(64, 12, compensating_noise_batch_size(12, 4), centered=True)
    >>> noise.variance == Minibatch(64, 4).variance
    True
    """

    n: int
    batch_size: int
    noise_batch_size: float
    centered: bool = False
    replacement: bool = True

    def __post_init__(self) -> None:
        as_flag(self.centered, "centered")
        n, B = check_batch(self.n, self.batch_size, "batch_size", self.replacement)
        noise = self.noise_batch_size  # infinite where there is nothing to compensate
        noise = math.inf if is_number(noise) and noise == math.inf else as_number(noise, "noise_batch_size", above=0)
        set_fields(self, n=n, batch_size=B, noise_batch_size=noise)
        if self.centered and self.batch_size < 2:
            raise ValueError(f"centered noise needs batch_size >= 2, got {self.batch_size}")

    @property
    @within_floats
    def noise_scale(self) -> float:
        """Standard deviation that multiplies the (centred) standard normal of a draw."""
        if self.noise_batch_size == math.inf:
            return 0.0
        return 1 / root(Fraction(self.noise_batch_size) * (self.batch_size - 1 if self.centered else self.batch_size))

    @property
    def _n_draws(self) -> int:
        return self.batch_size

    def _conditional_mean(self, i: int, size: int) -> Polynomial:
        return {count(i, size): Fraction(1, self.batch_size)}

    def _conditional_covariance(self, i: int, j: int, size: int) -> Polynomial:
        B = self.batch_size
        if math.isinf(self.noise_batch_size):
            return {}
        scale = 1 / (Fraction(self.noise_batch_size) * (B - 1 if self.centered else B))
        result: Polynomial = {count(i, size): scale} if i == j else {}
        if self.centered:
            result[(_product_of_counts(i, j, size), 0)] = -scale / B
        return result


def _product_of_counts(i: int, j: int, size: int) -> tuple[int, ...]:
    return tuple((k == i) + (k == j) for k in range(size))


@lru_cache
def _squared_centred_scale(noise: SparseGaussian) -> Fraction:
    """Square of the factor that gives the support-centred normals the variance of the minibatch."""
    target = Fraction(noise.n - 1, noise.n) * minibatch_power(noise.n, noise.batch_size, True)
    return target / expectation(noise, noise._centred_covariance(0, 0, 1))
