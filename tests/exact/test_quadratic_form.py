"""The law of a quadratic form, from one term to ten thousand and over eight decades of weights, to 1e-11; its tails to 1e-10.

It would catch a contour that crosses a singularity, a sum that is cut off too early or steps too coarse for some spectrum,
products of many factors that overflow, digits lost in a far tail, and zeros that are counted. The other sides: chi-square laws;
sums of exponentials, where weights come in pairs, in 60 digits; Ruben's series; and mpmath's integral over one more normal.
"""

import math
from typing import Any, cast

import mpmath
import numpy as np
import pytest
from scipy.stats import chi2, norm

from gradnoise.theory._quadratic_form import quadratic_form_cdf, quadratic_form_sf

DEMANDED = 1e-11  # absolute; 1e-12 is promised, and SciPy's chi-square is good to 1e-13
QUANTILES = np.array([1e-9, 1e-4, 0.02, 0.3, 0.5, 0.8, 0.99, 1 - 1e-6, 1 - 1e-10])


@pytest.mark.parametrize("d", [1, 2, 3, 7, 50, 400])
def test_equal_weights_are_chi_square(d):
    x = np.concatenate([chi2.ppf(QUANTILES, d), [1e-8 * d, 1e-3 * d, 10.0 * d, 1e5 * d]])
    assert np.abs(quadratic_form_cdf(np.full(d, 0.3), 0.3 * x) - chi2.cdf(x, d)).max() <= DEMANDED


@pytest.mark.parametrize("d", [2_000, 10_000])
def test_thousands_of_weights_are_chi_square(d):
    x = chi2.ppf([0.1, 1 - 1e-5], d)[: 1 + (d == 2_000)]  # each point takes a second at the largest d
    got = quadratic_form_cdf(np.ones(d), x)
    assert np.abs(got - chi2.cdf(x, d)).max() <= DEMANDED
    assert np.abs(got - norm.cdf(x, d, math.sqrt(2 * d))).max() > 1e6 * DEMANDED  # nearly normal is not normal


def test_equal_weights_can_fail():
    x = chi2.ppf(QUANTILES[2:6], 7)
    for wrong in (chi2.cdf(x, 6), chi2.cdf(x / 2, 7), chi2.sf(x, 7)):
        assert np.abs(quadratic_form_cdf(np.ones(7), x) - wrong).max() > 1e-3


def _pairs(weights, x):
    """Each weight twice: 2 w E, E exponential. P(sum <= x) by partial fractions, whose cancellations 60 digits survive."""
    with mpmath.workdps(60):
        w, total = [mpmath.mpf(float(v)) for v in weights], mpmath.mpf(0)
        for i, wi in enumerate(w):
            factor = mpmath.fprod(wi / (wi - wj) for j, wj in enumerate(w) if j != i)
            total += factor * mpmath.exp(-mpmath.mpf(float(x)) / (2 * wi))
        return float(1 - total)


def _spread(weights):
    """Points from far below the smallest weight to far above the largest, the bulk among them."""
    return np.concatenate([np.geomspace(min(weights) / 10, 50 * sum(weights), 25), sum(weights) * np.array([0.9, 1.0, 1.1, 3.0])])


WIDE = [
    np.geomspace(1e-8, 1, 9),
    np.geomspace(1e-4, 1e4, 3),
    np.array([1e-8, 1.0]),
    1 / np.arange(1, 25) ** 2.0,
    np.array([1, 1.001]),
]


@pytest.mark.parametrize("weights", WIDE, ids=["nine-decades", "three", "two-far", "power-law", "two-close"])
def test_wide_spectra_of_pairs_are_sums_of_exponentials(weights):
    x = _spread(weights)
    truth = np.array([_pairs(weights, v) for v in x])
    assert np.abs(quadratic_form_cdf(np.repeat(weights, 2), x) - truth).max() <= DEMANDED
    assert np.abs(quadratic_form_cdf(np.append(np.repeat(weights, 2), weights[0] / 10), x) - truth).max() > 10 * DEMANDED


@pytest.mark.parametrize(
    ("single", "weights"), [(1.0, [1e-8, 1e-4, 1e-2]), (1e-8, [1e-3, 1.0]), (1e-4, [1e-8, 1.0]), (1.0, [0.5])]
)
def test_an_odd_weight_is_one_more_integral(single, weights):
    """P(w Z^2 + pairs <= x) is the mean over Z of the law of the pairs."""
    for x in np.array([0.3, 1.0, 4.0]) * (single + 2 * sum(weights)):
        end = math.sqrt(x / single)
        edges = sorted(
            {min(end, v) for v in (0, 0.5, 1, 2, 4, 8, 16)} | {end * f for f in (0.9, 0.99, 0.9999, 0.999999) if end < 16}
        )
        integral = cast(Any, mpmath.quad)(lambda z, x=x: _pairs(weights, x - single * float(z) ** 2) * mpmath.npdf(z), edges)
        assert abs(quadratic_form_cdf([single, *np.repeat(weights, 2)], x) - 2 * float(integral)) <= DEMANDED


def _ruben(weights, x, n_terms):
    """Ruben (1962), Ann. Math. Stat. 33, 542: a mixture of chi-square laws of rising degree, with positive weights c_k."""
    w = np.asarray(weights)
    beta, shares = w.min(), 1 - w.min() / w
    g = np.array([(shares**k).sum() / 2 for k in range(n_terms)])
    c = [math.sqrt(np.prod(beta / w))]
    for k in range(1, n_terms):
        c.append(float(g[k:0:-1] @ c) / k)
    assert 1 - sum(c) < 1e-13  # the rest of the series
    return np.array([c @ chi2.cdf(v / beta, len(w) + 2 * np.arange(n_terms)) for v in x])


@pytest.mark.parametrize("weights", [[1.0, 1.7, 2.2], [1.0, 1.0, 3.0, 4.5, 5.0], np.linspace(1, 4, 31)])
def test_narrow_spectra_are_rubens_series(weights):
    x = sum(weights) * np.array([1e-3, 0.1, 0.5, 1.0, 1.5, 3.0, 8.0])
    truth = _ruben(weights, x, 500)
    assert np.abs(quadratic_form_cdf(weights, x) - truth).max() <= DEMANDED
    assert np.abs(quadratic_form_cdf(weights, 1.001 * x) - truth).max() > 1e-5


def test_what_does_not_matter():
    x = np.array([[0.1, 1.0], [3.0, 40.0]])
    law = quadratic_form_cdf([1.0, 0.2, 3.0], x)
    assert law.shape == (2, 2)
    for same in (
        quadratic_form_cdf([0.0, 3.0, 1.0, 0.0, 0.2], x),
        quadratic_form_cdf([2e-40, 4e-41, 6e-40], 2e-40 * x),
        np.array([[float(quadratic_form_cdf([1.0, 0.2, 3.0], v)) for v in row] for row in x]),
    ):
        assert np.allclose(law, same, rtol=0, atol=1e-13)


def test_ends_of_the_line():
    assert np.array_equal(quadratic_form_cdf([1.0, 2.0], [-math.pi, -1e-300, 0.0]), [0, 0, 0])
    assert np.array_equal(quadratic_form_cdf([0.0, 0.0], [-1.0, 0.0, 1.0]), [0, 1, 1])  # no term: a zero
    assert np.array_equal(quadratic_form_cdf([], [-1.0, 0.0]), [0, 1])
    for tiny in (1e-90, 1e-110, 1e-160, 1e-300):
        assert abs(quadratic_form_cdf([1.0], tiny) - math.erf(math.sqrt(tiny / 2))) <= DEMANDED
    for huge in (1e90, 1e110, 1e160, 1e300):
        assert abs(quadratic_form_cdf([1.0, 2.0], huge) - 1) <= DEMANDED


# --- Both tails, relative to themselves ----------------------------------------------------------------------------------------

RELATIVE = 1e-10
SMALLEST = 1e-300


def _assert_tails(weights, x, survival, digits):
    """The upper tail against `survival`, and the lower one against its complement where that many digits leave some of it."""
    checked = 0
    for found, truth, least in (
        (float(quadratic_form_sf(weights, x)), survival, SMALLEST),
        (float(quadratic_form_cdf(weights, x)), 1 - survival, max(SMALLEST, 10.0 ** (20 - digits))),
    ):
        if truth > least:
            assert abs(found / truth - 1) <= RELATIVE, (x, found, float(truth))
            checked += 1
    return checked


def _chi_square_sf(x, d):
    return mpmath.gammainc(mpmath.mpf(d) / 2, mpmath.mpf(float(x)) / 2, mpmath.inf, regularized=True)


@pytest.mark.parametrize("d", [1, 2, 7, 50, 200, 2_000])
def test_tails_of_equal_weights_are_chi_square(d):
    """Catches a tail that is one minus the rest, which is nothing below 1e-16, and a contour on the wrong side of the pole."""
    around = d * np.array([1e-200, 1e-9, 0.01, 0.5, 0.99, 1.0, 1.01, 1.5])
    with mpmath.workdps(330):
        points = [*around, *(d + np.array([10.0, 90.0, 600.0, 1300.0]))]
        found = [_assert_tails(np.full(d, 0.25), x / 4, _chi_square_sf(x, d), 330) for x in points]
    assert sum(found) >= 18
    assert quadratic_form_sf(np.ones(d), 10.0 * d + 4_000) == 0  # no float


def _sum_of_exponentials_sf(weights, x):
    """Partial fractions of a sum of 2 w E, E exponential, in as many digits as their cancellations take."""
    w, x = [mpmath.mpf(float(v)) for v in weights], mpmath.mpf(float(x))
    return mpmath.fsum(
        mpmath.fprod(v / (v - u) for j, u in enumerate(w) if j != i) * mpmath.exp(-x / (2 * v)) for i, v in enumerate(w)
    )


@pytest.mark.parametrize("weights", [*WIDE, np.geomspace(1e-150, 1, 4), np.array([0.7, 1.0, 0.3, 1e-7])])
def test_tails_of_pairs_are_sums_of_exponentials(weights):
    """Tiny and graded weights, from far below the smallest to where 1e-300 is left; a wrong weight is seen everywhere."""
    weights = np.asarray(weights)
    points = [*np.geomspace(weights.min() / 10, weights.max(), 10), *(weights.max() * np.array([3.0, 30.0, 300.0, 1350.0]))]
    with mpmath.workdps(700):
        truths = [_sum_of_exponentials_sf(weights, x) for x in points]
        assert sum(_assert_tails(np.repeat(weights, 2), x, truth, 700) for x, truth in zip(points, truths, strict=True)) >= 14
        with pytest.raises(AssertionError):
            _assert_tails(np.repeat(weights * 1.000_001, 2), points[-1], truths[-1], 700)


def test_tails_of_two_weights_are_integrated_over_the_angle():
    """P(w1 Z1^2 + w2 Z2^2 > x) is the mean of exp(-x / (2 (w1 cos^2 + w2 sin^2))): simple branch points, which pairs have not."""
    for w1, w2, x in ((1.0, 0.4, 3.0), (1.0, 0.4, 900.0), (1.0, 0.97, 1300.0), (1.0, 1e-3, 500.0), (1.0, 1e-3, 1e-2)):
        with mpmath.workdps(30):

            def height(a, w1=w1, w2=w2, x=x):  # relative to the largest, as mpmath's errors are absolute
                return mpmath.exp(x / (2 * w1) - x / (2 * (w1 * mpmath.cos(a) ** 2 + w2 * mpmath.sin(a) ** 2)))

            mean = mpmath.quad(height, [0, *(mpmath.pi / 2 / 4**k for k in range(6, -1, -1))]) / (mpmath.pi / 2)
            assert _assert_tails([w2, w1], x, mean * mpmath.exp(-x / (2 * w1)), 30) >= 1


def test_tails_of_generic_weights_are_rubens_series():
    """Seven weights, one of them three times; the series has positive terms, and so all digits in the upper tail."""
    weights, n_terms = np.array([1.0, 1.3, 1.3, 1.3, 1.45, 1.7, 1.9]), 900
    beta, shares = weights.min(), 1 - weights.min() / weights
    g = [float((shares**k).sum() / 2) for k in range(n_terms)]
    c = [math.sqrt(np.prod(beta / weights))]
    for k in range(1, n_terms):
        c.append(float(np.dot(g[k:0:-1], c)) / k)
    for x in (5.0, 50.0, 400.0, 1000.0):
        degrees, half = len(weights) + 2 * np.arange(n_terms), mpmath.mpf(x / beta) / 2
        # Q(a + 1, h) = Q(a, h) + h^a exp(-h) / Gamma(a + 1), from the first on.
        survival, truth = mpmath.gammainc(mpmath.mpf(int(degrees[0])) / 2, half, mpmath.inf, regularized=True), mpmath.mpf(0)
        term = mpmath.exp(-half) * half ** (mpmath.mpf(int(degrees[0])) / 2) / mpmath.gamma(mpmath.mpf(int(degrees[0])) / 2 + 1)
        for k in range(n_terms):
            truth += c[k] * survival
            survival, term = survival + term, term * half / (mpmath.mpf(int(degrees[k])) / 2 + 1)
        assert abs(float(quadratic_form_sf(weights, x)) / truth - 1) <= RELATIVE
        assert abs(float(quadratic_form_sf(weights[1:], x)) / truth - 1) > 1e-3


def test_both_integrals_agree_where_they_meet():
    """At the mean the upper integral takes over from the lower one: together they are one, by two contours."""
    rng = np.random.default_rng(5)
    for d in (1, 2, 3, 30):
        for decades in (0.0, 1.0, 30.0):
            w = 10.0 ** (-decades * rng.random(d))
            below, above = (quadratic_form_cdf(w, w.sum() * (1 + e)) for e in (-1e-12, 1e-12))
            assert 0 <= above - below <= 1e-11


def test_an_integral_that_does_not_converge_is_refused(monkeypatch):
    monkeypatch.setattr("gradnoise.theory._quadratic_form._HALVINGS", 1)
    monkeypatch.setattr("gradnoise.theory._quadratic_form._TOLERANCE", 0.0)
    with pytest.raises(ValueError, match="weights and x must let the contour integral converge"):
        quadratic_form_sf([1.0, 2.0], 3.5)


@pytest.mark.parametrize(
    ("weights", "x", "says"),
    [
        ([1.0, -1e-9], 1.0, "weights must be >= 0"),
        ([1.0, math.nan], 1.0, "weights must be finite"),
        (["a"], 1.0, "weights must be an array of real numbers"),
        ([1.0], math.nan, "x must be finite"),
        ([1.0], [1.0, math.inf], "x must be finite"),
        ([1.0], None, "x must be an array of real numbers"),
    ],
)
def test_bad_input_is_named(weights, x, says):
    with pytest.raises((TypeError, ValueError), match=says):
        quadratic_form_cdf(weights, x)
