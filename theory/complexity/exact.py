r"""Local Rademacher, Gaussian and SGD complexity, exactly, and what Theorem 1 of wu2019 says of them.

.. math:: R(V, \theta, \delta, N) = \mathbb{E}_{x_1 \dots x_N} \mathbb{E}_V \frac1N
          \sup_{\|\theta'-\theta\|\le\delta} \Big|\sum_i v_i \ell(x_i; \theta')\Big|

The ball, and with it θ and δ, is in the class of losses; see `gradnoise.theory.complexity`. Each function takes the samples
as given unless it is told to draw them: then the losses are known on a finite sample space, and the expectation is over
``n_samples`` independent points of it, too. Where there is no exact way, `gradnoise.simulations.complexity` samples.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import ArrayLike

from gradnoise.theory._float_range import exponent_of, product, within_floats
from gradnoise.theory._quadratic_form import quadratic_form_root
from gradnoise.theory._validation import FloatArray, as_count, as_flag, as_probabilities, as_real, set_fields, shown
from gradnoise.theory.complexity.counts import batch_types, binomial, check_size, listed, listed_batches
from gradnoise.theory.complexity.loss_classes import AffineLosses, LossClass
from gradnoise.theory.sampling import Minibatch

__all__ = [
    "MEAN_ABSOLUTE_NORMAL", "Bounds", "gaussian", "gaussian_bounds", "largest_normal", "rademacher", "sgd", "sgd_bounds",
]  # fmt: skip

#: E|g| of a standard normal g, the best constant c of Theorem 1 (1); a single loss on one sample attains it.
MEAN_ABSOLUTE_NORMAL = math.sqrt(2 / math.pi)
#: The least C with E max|g_i| <= C ln n for all n >= 2, attained at n = 2.
_LOGARITHMIC = 2 / (math.sqrt(math.pi) * math.log(2))

_SIGNED_SAMPLES = 20
_BLOCK = 10  # signs whose sums are kept as a table, while Gray code walks through the others


@dataclass(frozen=True)
class Bounds:
    """What a complexity must lie between.

    Attributes
    ----------
    lower, upper : float

    Examples
    --------
    >>> from gradnoise.theory.complexity import Bounds
    >>> bounds = Bounds(lower=0.25, upper=1.0)
    >>> bounds.lower <= 0.5 <= bounds.upper
    True
    """

    lower: float
    upper: float

    def __post_init__(self) -> None:
        set_fields(self, lower=as_real(self.lower, "lower"), upper=as_real(self.upper, "upper"))


@within_floats
def rademacher(losses: LossClass, n_samples: int | None = None, probabilities: ArrayLike | None = None) -> float:
    """Rademacher complexity R(A, N): independent signs, with equal probability.

    Parameters
    ----------
    losses : LossClass
        On N <= 20 samples, or on the points of a sample space.
    n_samples : int, optional
        N, of samples drawn from the points. Without it the points are the samples.
    probabilities : array_like, optional
        Of the points; equal by default.

    Returns
    -------
    float
        In units of the losses.

    Raises
    ------
    ValueError
        If there are more than 20 samples, or more than two million outcomes.

    References
    ----------
    wu2019, Eqs. (9) and (36).

    Examples
    --------
    >>> from gradnoise.theory.complexity import FiniteLosses, rademacher
    >>> rademacher(FiniteLosses([[1.0, 1.0]]))  # E |a_1 + a_2| / 2
    0.5
    >>> rademacher(FiniteLosses([[1.0, 3.0]]), n_samples=1)  # of a sample drawn from both points
    2.0
    """
    _as_losses(losses)
    if n_samples is None:
        _no_probabilities(probabilities)
        if losses.n > _SIGNED_SAMPLES:
            raise ValueError(f"losses must have at most {_SIGNED_SAMPLES} samples, got {losses.n}; simulate instead")
        means = [losses.supremum_of(t).mean() for t in _signed_sums(losses.statistics)]
        return math.fsum(means) / len(means) / losses.n
    N, p = as_count(n_samples, "n_samples"), as_probabilities(probabilities, "probabilities", losses.n)
    # A sample is at a point with a sign: as many cells as there are pairs.
    counts, weights = listed(N, np.concatenate([p, p]) / 2, f"n_samples = {N}")
    return float(weights @ losses.supremum(counts[:, : losses.n] - counts[:, losses.n :])) / N


@within_floats
def sgd(
    losses: LossClass,
    batch_size: int,
    replacement: bool = True,
    n_samples: int | None = None,
    probabilities: ArrayLike | None = None,
) -> float:
    """SGD complexity R(V_sgd, N): v_i is N/b times how often sample i is in the batch, less one.

    Parameters
    ----------
    losses : LossClass
        On N samples, or on the points of a sample space.
    batch_size : int
        b >= 1; b <= N without replacement.
    replacement : bool
        Whether a sample can be drawn twice. The paper's default is with, its proof of Theorem 1 without replacement.
    n_samples, probabilities : optional
        See `rademacher`.

    Returns
    -------
    float
        In units of the losses.

    Raises
    ------
    ValueError
        If an argument is not allowed, or there are more than two million outcomes.

    References
    ----------
    wu2019, Eqs. (9) and (57).

    Examples
    --------
    >>> from gradnoise.theory.complexity import FiniteLosses, sgd
    >>> sgd(FiniteLosses([[1.0, 3.0]]), batch_size=1)  # v is (1, -1) or (-1, 1): |1 - 3| / 2
    1.0
    """
    _as_losses(losses)
    if n_samples is None:
        _no_probabilities(probabilities)
    batch = Minibatch(losses.n if n_samples is None else as_count(n_samples, "n_samples"), batch_size, replacement)
    N, b = batch.n, batch.batch_size
    if n_samples is None:
        counts, weights = listed_batches(N, b, replacement)
        return float(weights @ losses.supremum(N / b * counts - 1)) / N
    p = as_probabilities(probabilities, "probabilities", losses.n)
    # The samples are exchangeable, so that the batch matters only through how many of them have each count, Eq. (58).
    of_types = (q * _expected_supremum(losses, p, N, b, sizes) for q, sizes in batch_types(N, b, replacement))
    return math.fsum(of_types) / N


@within_floats
def gaussian(losses: AffineLosses, n_samples: int | None = None, probabilities: ArrayLike | None = None) -> float:
    r"""Gaussian complexity R(G, N) of affine losses: independent standard normal v_i.

    .. math:: N R(G) = \delta\, \mathbb{E}\Big\|\sum_i v_i g_i\Big\| + \sqrt{2/\pi}\, \|\ell\|,

    where the first expectation, of the root of a quadratic form, is an integral.

    Parameters
    ----------
    losses : AffineLosses
        On N samples, or on the points of a sample space.
    n_samples, probabilities : optional
        See `rademacher`.

    Returns
    -------
    float
        In units of the losses.

    Raises
    ------
    TypeError
        If the losses are of another class: their Gaussian complexity has no closed form.

    References
    ----------
    wu2019, Eqs. (9) and (37).

    Examples
    --------
    >>> from gradnoise.theory.complexity import AffineLosses, gaussian
    >>> fixed = AffineLosses(values=[3.0, 4.0], gradients=[[0.0, 0.0]], radius=1.0)
    >>> round(gaussian(fixed), 6)  # sqrt(2 / pi) * 5 / 2
    1.994711
    """
    if not isinstance(losses, AffineLosses):
        raise TypeError(f"losses must be AffineLosses, got {shown(losses)}; simulate the Gaussian complexity of other classes")
    if n_samples is None:
        _no_probabilities(probabilities)
        N, counts, weights = losses.n, np.ones((1, losses.n)), np.ones(1)
    else:
        N, p = as_count(n_samples, "n_samples"), as_probabilities(probabilities, "probabilities", losses.n)
        counts, weights = listed(N, p, f"n_samples = {N}")
    check_size(len(counts), losses.gradients.size, f"n_samples = {N}")
    # A point that is drawn c times has a normal of variance c.
    unit, height = exponent_of(losses.gradients), exponent_of(losses.values)  # in which squares are floats
    columns = np.ldexp(losses.gradients, -unit) * np.sqrt(counts)[:, np.newaxis, :]
    lengths = quadratic_form_root(np.linalg.svd(columns, compute_uv=False) ** 2)
    heights = MEAN_ABSOLUTE_NORMAL * np.sqrt(counts @ np.ldexp(losses.values, -height) ** 2)
    return float(weights @ (product(losses.radius, lengths, power=unit) + np.ldexp(heights, height))) / N


@within_floats
def largest_normal(n: int) -> float:
    r"""Expectation of the largest modulus of n independent standard normals.

    .. math:: \mathbb{E}\max_i |g_i| = \int_0^\infty 1 - \mathrm{erf}(x/\sqrt2)^n\, dx

    The best constant in R(G) <= const R(A) for classes on n samples: the n coordinate functions attain it.

    Parameters
    ----------
    n : int
        >= 1.

    Returns
    -------
    float
        Accurate to 1e-12.

    Examples
    --------
    >>> from gradnoise.theory.complexity import largest_normal
    >>> round(largest_normal(1), 6), round(largest_normal(2), 6)  # sqrt(2 / pi) and 2 / sqrt(pi)
    (0.797885, 1.128379)
    """
    n = as_count(n, "n")

    def tail(x: float) -> float:
        return float(-np.expm1(n * np.log1p(-scipy.special.erfc(x / math.sqrt(2)))))

    middle = math.sqrt(2 * math.log(2 * n))
    value, _ = scipy.integrate.quad(tail, 0, middle, epsabs=1e-13, epsrel=1e-13, limit=200)
    rest, _ = scipy.integrate.quad(tail, middle, middle + 40, epsabs=1e-13, epsrel=1e-13, limit=200)
    return value + rest


@within_floats
def gaussian_bounds(rademacher_complexity: float, n_samples: int, published: bool = False) -> Bounds:
    r"""Bounds on the Gaussian complexity from the Rademacher complexity of the same class and samples.

    .. math:: \sqrt{2/\pi}\, R(A) \le R(G) \le \mathbb{E}\max_i |g_i|\, R(A) \le C \ln N\, R(A)

    Parameters
    ----------
    rademacher_complexity : float
        R(A, N) >= 0.
    n_samples : int
        N.
    published : bool
        The last bound in place of the one before, with its least constant C = 2/(√π ln 2). It needs N >= 2, as ln 1 = 0.

    Returns
    -------
    Bounds

    References
    ----------
    wu2019, Theorem 1 (1) and Eqs. (47) and (52).

    Examples
    --------
    >>> from gradnoise.theory.complexity import gaussian_bounds
    >>> bounds = gaussian_bounds(1.0, n_samples=2)
    >>> round(bounds.lower, 6), round(bounds.upper, 6)
    (0.797885, 1.128379)
    """
    R, N = as_real(rademacher_complexity, "rademacher_complexity", at_least=0), as_count(n_samples, "n_samples")
    if as_flag(published, "published") and N < 2:
        raise ValueError(f"n_samples must be >= 2 for the published bound, whose ln N is zero at 1, got {N}")
    largest = _LOGARITHMIC * math.log(N) if published else largest_normal(N)
    return Bounds(MEAN_ABSOLUTE_NORMAL * R, float(product(largest, R)))


@within_floats
def sgd_bounds(rademacher_complexity: float, n_samples: int, batch_size: int) -> Bounds:
    r"""Bounds on the SGD complexity without replacement, from the Rademacher complexity of b samples.

    .. math:: \frac{k-1}{2k} R(A, b) \le R(V, N) \le \frac{2(k-1)}{k} R(A, b), \qquad N = kb

    The upper bound is the paper's and holds for every class; with replacement no multiple of R(A, b) does. The lower one is
    ours and needs a centred class, E ℓ(x) = 0 for each of its losses (`LossClass.centred`), with R(A, b) taken on that class;
    R(V) is the same on both, as the v_i sum to zero. Proof: replace all samples outside the batch by their expectation, zero
    (Jensen), then desymmetrise, 2 E sup|Σ f(x_r)| >= E sup|Σ a_r f(x_r)|. Both constants are sharp: an event of vanishing
    probability attains the upper one, differences of two distinct points' indicators the lower one as b and k grow.

    Parameters
    ----------
    rademacher_complexity : float
        R(A, b) >= 0.
    n_samples, batch_size : int
        N = kb with a whole k >= 2.

    Returns
    -------
    Bounds

    References
    ----------
    wu2019, Theorem 1 (2) and Eqs. (55)-(66).

    Examples
    --------
    >>> from gradnoise.theory.complexity import sgd_bounds
    >>> sgd_bounds(1.0, n_samples=8, batch_size=4)  # k = 2
    Bounds(lower=0.25, upper=1.0)
    """
    R = as_real(rademacher_complexity, "rademacher_complexity", at_least=0)
    N, b = as_count(n_samples, "n_samples"), as_count(batch_size, "batch_size")
    k, rest = divmod(N, b)
    if rest or k < 2:
        raise ValueError(f"n_samples must be a multiple of batch_size = {b}, twice or more, got {N}")
    return Bounds((k - 1) / (2 * k) * R, float(product(2 * (k - 1) / k, R)))


def _signed_sums(statistics: FloatArray) -> Iterator[FloatArray]:
    """Tables of Σ a_i s_i, which hold all signs but for a common one.

    Inside a table all signs of the first samples occur; from one table to the next one other sign turns, in the order of the
    Gray code. The last sample keeps its sign, as -a has the supremum of a.
    """
    columns = statistics.T
    table = np.zeros((1, statistics.shape[0]))
    inner, outer = columns[: min(_BLOCK, len(columns) - 1)], columns[min(_BLOCK, len(columns) - 1) : -1]
    for column in inner:
        table = np.concatenate([table + column, table - column])
    signs = np.ones(len(outer))
    yield table + (columns[-1] + signs @ outer)
    for step in range(1, 2 ** len(outer)):
        turned = (step & -step).bit_length() - 1  # position of the lowest bit that is set
        signs[turned] *= -1
        yield table + (columns[-1] + signs @ outer)


def _expected_supremum(losses: LossClass, p: FloatArray, n: int, b: int, sizes: dict[int, int]) -> float:
    """E sup for one type of batch: `sizes` of the samples have each count, and all are drawn from the points."""
    check_size(math.prod(binomial(size + len(p) - 1, len(p) - 1) for size in sizes.values()), len(p), f"n_samples = {n}")
    sums, weights = np.zeros((1, len(p))), np.ones(1)
    for count, size in sizes.items():
        at_points, q = listed(size, p, f"n_samples = {n}")
        sums = (sums[:, np.newaxis] + (n * count / b - 1) * at_points).reshape(-1, len(p))
        weights = np.multiply.outer(weights, q).ravel()
    return float(weights @ losses.supremum(sums))


def _as_losses(losses: object) -> None:
    if not isinstance(losses, LossClass):
        raise TypeError(f"losses must be a LossClass, got {shown(losses)}")


def _no_probabilities(probabilities: ArrayLike | None) -> None:
    if probabilities is not None:
        raise ValueError("probabilities must come with n_samples: without it the points are the samples, each once")
