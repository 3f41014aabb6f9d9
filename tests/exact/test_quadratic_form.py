"""The law of a quadratic form, from one term to ten thousand and over eight decades of weights, to 1e-11.

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

from gradnoise.theory._quadratic_form import quadratic_form_cdf

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
