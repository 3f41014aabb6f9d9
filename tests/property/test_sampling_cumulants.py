"""Moments of every sampling vector against a list of all its outcomes, made of the papers' definitions alone.

It would catch a wrong factor, exponent or joint cumulant of any class, with mistaken for without replacement, a missing centring
or rescaling, n for n - 1, a wrong coefficient in the step from joint cumulants to those of a weighted sum, and a loss of digits
where the values have a large mean. One truth is exact: given the batch, values @ W is normal, so its law is a finite mixture, and
Fractions give its cumulants. The other is `outcomes`, which also lists Student components and enhanced noises.
"""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradnoise.simulations.sampling import outcomes
from gradnoise.theory.sampling import (
    Bernoulli,
    Enhanced,
    Gaussian,
    GaussianMinibatch,
    Minibatch,
    Rademacher,
    SparseGaussian,
    StudentT,
)

EPS = np.finfo(float).eps
# Rounding of a sum of at most 26 terms (the set partitions of four), each of at most E(sum_i |x_i W_i|)^r, in the formulas and in
# the lists, each term a product of ten factors: 1000 units in the last place of that moment. Every twin below is 10^6 times that.
ULPS = 1000

# A strength is a quarter of an integer, so that it is the same number in Fractions and in floats.
STRENGTH = st.integers(1, 40).map(lambda k: k / 4)
ALPHA = st.sampled_from([-0.5, 0.5, 0.75, 1.0, 2.0])


def _draw_component(cls, centered, replacement, **extra):
    def build(draw, n):
        b = draw(STRENGTH if replacement else st.integers(1, 4 * n).map(lambda k: k / 4))
        return cls(n, b, **{k: draw(v) for k, v in extra.items()}, centered=centered, replacement=replacement)

    return build


def _draw_batch(make, lowest, replacement):
    """Build a class from n, a batch that can be drawn and enumerated, and a strength."""

    def build(draw, n):
        return make(n, draw(st.integers(lowest, min(4, 7 - n) if replacement else n)), draw(STRENGTH))

    return build


def _kinds():
    for r in (True, False):
        tail = "with" if r else "without"
        yield f"minibatch-{tail}", _draw_batch(lambda n, B, b, r=r: Minibatch(n, B, r), 1, r)
        for form, lowest in (("fisher", 1), ("printed", 1), ("cov", 2)):
            yield f"sparse-{form}-{tail}", _draw_batch(lambda n, B, b, f=form, r=r: SparseGaussian(n, b, B, f, r), lowest, r)
        for c in (True, False):
            of = f"{'centred' if c else 'plain'}-{tail}"
            yield f"gaussian-minibatch-{of}", _draw_batch(lambda n, B, b, c=c, r=r: GaussianMinibatch(n, B, b, c, r), 1 + c, r)
            yield f"gaussian-{of}", _draw_component(Gaussian, c, r)
            yield f"rademacher-{of}", _draw_component(Rademacher, c, r)
            yield f"student-{of}", _draw_component(StudentT, c, r, df=st.sampled_from([4.25, 5, 7.5, 40]))
    yield "bernoulli", lambda draw, n: Bernoulli(n, draw(st.integers(1, n)))
    for base in ("minibatch-without", "gaussian-minibatch-plain-without", "rademacher-centred-with", "sparse-fisher-without"):
        yield f"enhanced-{base}", lambda draw, n, base=base: Enhanced(KINDS[base](draw, min(n, 3)), draw(ALPHA))


KINDS = dict(_kinds())
# Those whose weights always sum to one.
FIXED = [k for k in KINDS if ("minibatch-with" in k and "gaussian" not in k) or "centred" in k or "-cov-" in k]
EXACT = [k for k in KINDS if "student" not in k and "enhanced" not in k]
each_kind = pytest.mark.parametrize("kind", KINDS)
few = settings(max_examples=10)


def _instance(data, kind, lowest=-9, highest=9):
    noise = KINDS[kind](data.draw, data.draw(st.integers(2, 5 if EXACT.count(kind) else 4)))
    entries = st.lists(st.integers(lowest, highest), min_size=noise.n, max_size=noise.n)
    return noise, np.array(data.draw(entries), dtype=float)


def _mixture(noise, x):
    """Law of values @ W as (probability, mean, variance) of normals, all Fractions, read off the papers."""
    n, x = noise.n, [Fraction(v) for v in x]
    if isinstance(noise, Bernoulli):  # wu2020, Section 4.3: 1/b with probability b/n
        b, p = noise.batch_size, Fraction(noise.batch_size, n)
        for kept in itertools.product((0, 1), repeat=n):
            yield math.prod(p if k else 1 - p for k in kept), sum(v for v, k in zip(x, kept, strict=True) if k) / b, 0
    elif isinstance(noise, Gaussian):  # wu2019, Eq. (17) and Proposition 1
        mean = sum(x) / n if noise.centered else 0
        yield Fraction(1), sum(x) / n, _power(noise) * sum((v - mean) ** 2 for v in x)
    else:
        B = noise.batch_size if not isinstance(noise, SparseGaussian) else noise.support_size
        draws = itertools.product(range(n), repeat=B) if noise.replacement else itertools.permutations(range(n), B)
        batches = list(draws)
        unit = [Fraction(i == 0) for i in range(n)]
        scale = Fraction(1)
        if isinstance(noise, SparseGaussian) and noise.form == "cov":
            variance = sum(_sparse_variance(noise, unit, batch) for batch in batches) / len(batches)
            scale = Fraction(n - 1, n) / (n * Fraction(noise.batch_size)) / variance
        for batch in batches:
            drawn = [x[i] for i in batch]
            mean, variance = sum(drawn) / B, Fraction(0)
            if isinstance(noise, GaussianMinibatch):  # wu2020, Algorithm 2; centred: less its mean, times sqrt(B/(B-1))
                squares = sum((v - mean) ** 2 for v in drawn) * Fraction(B, B - 1) if noise.centered else sum(v**2 for v in drawn)
                variance = squares / (B * Fraction(noise.noise_batch_size))
            elif isinstance(noise, SparseGaussian):
                mean, variance = sum(x) / n, _sparse_variance(noise, x, batch) * scale
            yield Fraction(1, len(batches)), mean, variance


def _sparse_variance(noise, x, batch):
    """Of the noise on a given support, wu2020, Section 4.4; "cov" without its scale."""
    n, B, b = noise.n, noise.support_size, Fraction(noise.batch_size)
    counts = [Fraction(batch.count(i)) for i in range(n)]
    if noise.form == "cov":
        centre = sum(c * v for c, v in zip(counts, x, strict=True)) / B
        return sum((c * (v - centre)) ** 2 for c, v in zip(counts, x, strict=True))
    less = Fraction(1, n) if noise.form == "printed" else 0
    return B / b * sum(((c / B - less) * v) ** 2 for c, v in zip(counts, x, strict=True))


def _power(noise):
    b, n = Fraction(noise.batch_size), noise.n
    return 1 / (b * n) if noise.replacement else (n - b) / (b * n * (n - 1))  # wu2019, Eqs. (4) and (5)


def _mixture_cumulants(law):
    law = list(law)
    mu = sum(p * m for p, m, _ in law)
    second = sum(p * ((m - mu) ** 2 + s) for p, m, s in law)
    third = sum(p * ((m - mu) ** 3 + 3 * (m - mu) * s) for p, m, s in law)
    fourth = sum(p * ((m - mu) ** 4 + 6 * (m - mu) ** 2 * s + 3 * s**2) for p, m, s in law)
    return mu, second, third, fourth - 3 * second**2


def _sign_cumulants(noise, x):
    """All 2^n signs: cumulants of the unscaled noise in Fractions, then powers of its scale."""
    n, x = noise.n, [Fraction(v) for v in x]
    mean = sum(x) / n
    weights = [v - mean for v in x] if noise.centered else x  # sum x_i (eps_i - mean eps) = sum (x_i - mean x) eps_i
    signs = list(itertools.product((-1, 1), repeat=n))
    law = [(Fraction(1, len(signs)), sum(w * s for w, s in zip(weights, each, strict=True)), 0) for each in signs]
    _, second, third, fourth = _mixture_cumulants(law)
    s2 = _power(noise)
    return mean, s2 * second, math.sqrt(s2) ** 3 * third, s2**2 * fourth


def _exact(noise, x):
    return _sign_cumulants(noise, x) if isinstance(noise, Rademacher) else _mixture_cumulants(_mixture(noise, x))


def _excess(noise, x, truth):
    """Largest error of the four cumulants, in units of what rounding may do."""
    listed = outcomes(noise)
    size = np.abs(listed.vectors) @ np.abs(x)
    allowed = [ULPS * EPS * (listed.probabilities @ size**r) for r in (1, 2, 3, 4)]
    errors = [abs(noise.cumulant(r, x) - float(k)) for r, k in zip((1, 2, 3, 4), truth, strict=True)]
    return max(e / a if a else e * math.inf if e else 0.0 for e, a in zip(errors, allowed, strict=True))


@pytest.mark.parametrize("kind", EXACT)
@few
@given(data=st.data())
def test_cumulants_are_those_of_the_exact_law(kind, data):
    noise, x = _instance(data, kind)
    assert _excess(noise, x, _exact(noise, x)) <= 1


@each_kind
@few
@given(data=st.data())
def test_cumulants_and_moments_are_those_of_all_outcomes(kind, data):
    noise, x = _instance(data, kind)
    listed = outcomes(noise)
    assert _excess(noise, x, listed.cumulants(x)) <= 1
    C, size = listed.covariance(), (listed.probabilities @ listed.vectors**2).max()
    assert np.allclose(listed.mean(), noise.mean, rtol=0, atol=ULPS * EPS * np.abs(listed.vectors).max())
    assert np.allclose(noise.covariance_matrix(), C, rtol=0, atol=ULPS * EPS * size)
    assert math.isclose(noise.variance, C[0, 0], rel_tol=0, abs_tol=ULPS * EPS * size)
    assert math.isclose(noise.covariance, C[0, 1], rel_tol=0, abs_tol=ULPS * EPS * size)


@each_kind
@few
@given(data=st.data())
def test_gradient_covariance_is_that_of_all_gradients(kind, data):
    noise, x = _instance(data, kind)
    G = np.stack([x, np.roll(x, 1) ** 2, 1 - x])
    listed = outcomes(noise).transformed(G)
    size = (listed.probabilities @ (outcomes(noise).vectors ** 2)).sum() * (G**2).sum()
    assert np.allclose(noise.gradient_covariance(G), listed.covariance(), rtol=0, atol=ULPS * EPS * size)


WRONG = [
    (Minibatch(4, 2, True), Minibatch(4, 2, False)),
    (Minibatch(4, 2, False), Gaussian(4, 2, replacement=False)),  # equal variance and covariance
    (Rademacher(4, 2.0), Gaussian(4, 2.0)),  # they differ in the fourth cumulant alone
    (Rademacher(4, 2.0), Rademacher(4, 2.0, centered=False)),
    (Bernoulli(4, 2), Minibatch(4, 2)),
    (SparseGaussian(4, 2, 3, "fisher"), SparseGaussian(4, 2, 3, "printed")),
    (SparseGaussian(4, 2, 3, "fisher"), SparseGaussian(4, 2, 3, "cov")),
    (GaussianMinibatch(4, 3, 2.0, True), GaussianMinibatch(4, 3, 2.0 * 2 / 3, True)),  # sqrt(B/(B-1)) left out
    (GaussianMinibatch(4, 3, 2.0, False), GaussianMinibatch(4, 3, 2.0, True)),
]


@pytest.mark.parametrize(("noise", "other"), WRONG)
def test_cumulants_can_fail(noise, other):
    x = np.array([3.0, -1.0, 7.0, 2.0])
    assert _excess(noise, x, _exact(noise, x)) <= 1
    assert _excess(noise, x, _exact(other, x)) > 1e6
    assert _excess(noise, x, outcomes(other).cumulants(x)) > 1e6


# --- Symmetries ----------------------------------------------------------------------------------------------------------------


@each_kind
@few
@given(data=st.data())
def test_order_of_samples_does_not_matter(kind, data):
    noise, x = _instance(data, kind)
    order = data.draw(st.permutations(range(noise.n)))
    assert _excess(noise, x, [noise.cumulant(r, x[order]) for r in (1, 2, 3, 4)]) <= 1


@each_kind
@few
@given(data=st.data())
def test_cumulants_are_homogeneous(kind, data):
    noise, x = _instance(data, kind)
    factor = data.draw(st.sampled_from([-3.0, -0.1, 1e-30, 7.0]))
    assert _excess(noise, x, [noise.cumulant(r, factor * x) / factor**r for r in (1, 2, 3, 4)]) <= 1


@each_kind
@few
@given(data=st.data())
def test_a_shift_matters_exactly_where_the_weights_do_not_sum_to_one(kind, data):
    noise, x = _instance(data, kind, lowest=1)  # positive values, on which a shift cannot change the variance back
    ones = outcomes(noise).transformed(np.ones((1, noise.n)))
    fixed = ones.covariance()[0, 0] <= (ULPS * EPS) ** 2
    shifted = [noise.cumulant(r, x) + 20 * (r == 1) for r in (1, 2, 3, 4)]
    assert (_excess(noise, x + 20, shifted) <= 1) == fixed
    if kind in FIXED:
        assert fixed


# --- Large means ---------------------------------------------------------------------------------------------------------------


def _finite_population(x, b):
    """Cumulants of the mean of b of n integers drawn without replacement: Isserlis (1931), Proc. R. Soc. A 132, 586."""
    n, total = len(x), sum(x)
    m2, m3, m4 = (Fraction(sum((n * v - total) ** r for v in x), n ** (r + 1)) for r in (2, 3, 4))
    second = Fraction(n - b, b * (n - 1)) * m2
    third = Fraction((n - b) * (n - 2 * b), b**2 * (n - 1) * (n - 2)) * m3
    fourth = (n * n - 6 * n * b + n + 6 * b * b) * m4 + 3 * n * (n - b - 1) * (b - 1) * m2**2
    return Fraction(total, n), second, third, fourth * Fraction(n - b, b**3 * (n - 1) * (n - 2) * (n - 3)) - 3 * second**2


def _relative_errors(x, b, truth):
    noise = Minibatch(len(x), b, False)
    return [abs(noise.cumulant(r, np.array(x, dtype=float)) / float(k) - 1) for r, k in zip((1, 2, 3, 4), truth, strict=True)]


def _skewed(n):
    """Integers whose mean is 10^6 times their spread of about 10^3, exact in floats, with large third and fourth cumulants."""
    return [10**9 + (k * k * 7919 % 6007) * (1 + (k % 29 == 0)) for k in range(n)]


# Half a unit in the last place of a value is 10^6 EPS / 2 of the spread; a cumulant of order r feels it r times, four times
# as much where its terms cancel.
LOST = 8 * 1e6 * EPS


@pytest.mark.parametrize("b", [2, 3])
def test_large_mean_against_all_batches(b):
    x = _skewed(50)
    batches = list(itertools.combinations(x, b))
    truth = _mixture_cumulants((Fraction(1, len(batches)), Fraction(sum(batch), b), 0) for batch in batches)
    assert truth == _finite_population(x, b)
    assert max(_relative_errors(x, b, truth)) <= LOST
    values = np.array(x, dtype=float)
    assert abs((np.mean(values**2) - np.mean(values) ** 2) / np.var(values) - 1) > 100 * LOST  # power sums without centring


@pytest.mark.parametrize("b", [1000, 30_000, 99_000])
def test_large_population_and_mean(b):
    x = _skewed(10**5)
    assert max(_relative_errors(x, b, _finite_population(x, b))) <= LOST
    with_replacement = [t * f for t, f in zip(_finite_population(x, b), (1, Fraction(len(x), len(x) - b), 1, 1), strict=True)]
    assert max(_relative_errors(x, b, with_replacement)) > 1e3 * LOST  # the factor (n - b)/n is seen


@pytest.mark.parametrize("order", [2, 3, 4])
def test_no_digit_is_lost_to_a_mean_with_which_the_values_are_still_exact(order):
    """Catches a division by the largest, which rounds, before the mean is taken off."""
    spread, noise = np.array([3.0, -7.0, 1.0, 8.0, -2.0]), Minibatch(5, 1)
    assert noise.cumulant(order, spread + 1e15) == pytest.approx(noise.cumulant(order, spread), rel=1e-13)
