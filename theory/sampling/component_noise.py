"""Sampling vectors made of independent components: normal, Rademacher, Student-t and Bernoulli weights."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from gradnoise.theory._validation import as_count, as_flag, as_number, set_fields
from gradnoise.theory.sampling.batch_size import check_batch, minibatch_power
from gradnoise.theory.sampling.exchangeable import Pattern, SamplingNoise, as_pattern

__all__ = ["Bernoulli", "Gaussian", "Rademacher", "StudentT"]


class _IndependentComponents(SamplingNoise):
    """W = 1/n + s (eps - mean(eps)) or 1/n + s eps, with i.i.d. symmetric eps of unit variance."""

    batch_size: float
    centered: bool
    replacement: bool

    def __post_init__(self) -> None:
        n = as_count(self.n, "n")
        as_flag(self.centered, "centered")
        limit = math.inf if as_flag(self.replacement, "replacement") else n
        set_fields(self, n=n, batch_size=as_number(self.batch_size, "batch_size", above=0, at_most=limit))

    def _component_cumulant(self, order: int) -> Fraction:
        """Return the cumulant of one eps, of even order."""
        raise NotImplementedError

    def joint_cumulant(self, pattern: Pattern) -> Fraction:
        """Joint cumulant of distinct components, an exact fraction; see `SamplingNoise.joint_cumulant`."""
        order = sum(as_pattern(pattern))
        if len(pattern) > self.n:
            return Fraction(0)  # there are not that many distinct components
        if order == 1:
            return Fraction(1, self.n)
        component = self._component_cumulant(order)
        if order % 2:
            return Fraction(0)
        scale = minibatch_power(self.n, self.batch_size, self.replacement) ** (order // 2)
        if not self.centered:
            return scale * component if len(pattern) == 1 else Fraction(0)
        # eps_i - mean(eps) has the loading (1 - 1/n) on eps_i and -1/n on the others.
        own, other = 1 - Fraction(1, self.n), -Fraction(1, self.n)
        loadings = sum((own**k * other ** (order - k) for k in pattern), Fraction(0))
        loadings += (self.n - len(pattern)) * other**order
        return scale * component * loadings


@dataclass(frozen=True)
class Gaussian(_IndependentComponents):
    """Gaussian weights: MSGD-Cov if centred, MSGD-Fisher if not.

    Parameters
    ----------
    n : int
        Number of samples.
    batch_size : float
        b > 0 of the minibatch that is matched; it need not be whole.
    centered : bool
        True: the variance and covariance of that minibatch. False: the same v - c, and c = 0.
    replacement : bool
        Of the minibatch that is matched.

    References
    ----------
    wu2019, Eq. (17); wu2020, Section 4.2.

    Examples
    --------
    >>> from gradnoise.theory.sampling import Gaussian, Minibatch
    >>> Gaussian(8, 2).covariance == Minibatch(8, 2).covariance, Gaussian(8, 2, centered=False).covariance
    (True, 0.0)
    """

    n: int
    batch_size: float
    centered: bool = True
    replacement: bool = True

    def _component_cumulant(self, order: int) -> Fraction:
        return Fraction(int(order == 2))


@dataclass(frozen=True)
class Rademacher(_IndependentComponents):
    """Random signs as weights; not centred and with replacement it is GD-Rademacher at weight sqrt(n/b).

    Parameters
    ----------
    n : int
        Number of samples.
    batch_size : float
        b > 0 of the minibatch that is matched; it need not be whole.
    centered, replacement : bool
        As for `Gaussian`.

    References
    ----------
    wu2019, Section 3 and Figure 1.

    Examples
    --------
    >>> from gradnoise.theory.sampling import Rademacher
    >>> Rademacher(4, 4, centered=False).cumulant(2, [1, 0, 0, 0])
    0.0625
    """

    n: int
    batch_size: float
    centered: bool = True
    replacement: bool = True

    def _component_cumulant(self, order: int) -> Fraction:
        return Fraction({2: 1, 4: -2}.get(order, 0))


@dataclass(frozen=True)
class StudentT(_IndependentComponents):
    """Weights from independent Student-t components of unit variance, then centred.

    Parameters
    ----------
    n : int
        Number of samples.
    batch_size : float
        b > 0 of the minibatch that is matched; it need not be whole.
    df : float
        Degrees of freedom, > 2; the cumulant of order r exists for df > r, and raises otherwise.
    centered, replacement : bool
        As for `Gaussian`.

    Examples
    --------
    >>> from gradnoise.theory.sampling import StudentT
    >>> StudentT(8, 2, df=3).cumulant(4, range(8))
    Traceback (most recent call last):
    ...
    ValueError: the cumulant of order 4 does not exist for df = 3, it needs df > 4
    """

    n: int
    batch_size: float
    df: float
    centered: bool = True
    replacement: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        set_fields(self, df=as_number(self.df, "df", above=2))

    def _component_cumulant(self, order: int) -> Fraction:
        if order > 2 and self.df <= order:
            raise ValueError(f"the cumulant of order {order} does not exist for df = {self.df:g}, it needs df > {order}")
        return 6 / (Fraction(self.df) - 4) if order == 4 else Fraction(int(order == 2))


@dataclass(frozen=True)
class Bernoulli(SamplingNoise):
    """Independent weights 1/b with probability b/n, else 0.

    Parameters
    ----------
    n : int
        Number of samples.
    batch_size : int
        b, the expected number of samples that count; 1 <= b <= n.

    Notes
    -----
    wu2019, Section 5.2 prints the values 1/n + 1/b and 1/n, whose mean is 2/n: a misprint. These are wu2020's.

    References
    ----------
    wu2020, Section 4.3.

    Examples
    --------
    >>> from gradnoise.theory.sampling import Bernoulli
    >>> Bernoulli(8, 2).variance, Bernoulli(8, 2).sum_variance
    (0.046875, 0.375)
    """

    n: int
    batch_size: int

    def __post_init__(self) -> None:
        n, b = check_batch(self.n, self.batch_size, "batch_size", replacement=False)
        set_fields(self, n=n, batch_size=b)

    def joint_cumulant(self, pattern: Pattern) -> Fraction:
        """Joint cumulant of distinct components, an exact fraction; see `SamplingNoise.joint_cumulant`."""
        if len(as_pattern(pattern)) > 1:
            return Fraction(0)
        p, order = Fraction(self.batch_size, self.n), sum(pattern)
        q = p * (1 - p)
        unscaled = {1: p, 2: q, 3: q * (1 - 2 * p), 4: q * (1 - 6 * q)}[order]
        return unscaled / self.batch_size**order
