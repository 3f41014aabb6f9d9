"""Whether a claim could have failed.

They catch twins that prove nothing and pass for proof, bounds said to be attained that nothing attains, a detectable error that
is not detected, and sizes at which a wrong formula is right.
"""

import dataclasses
import itertools
import math

import numpy as np
import pytest

from gradnoise.claims import registry
from gradnoise.claims.claim import Claim
from gradnoise.claims.entry import Component
from gradnoise.claims.generic import SIZES, STRENGTHS, generic_sizes, generic_strengths
from gradnoise.claims.judgement import Computed, judge
from gradnoise.claims.power import checked_twins, detectable_error, weaknesses
from gradnoise.claims.prediction import AtLeast, AtMost, Established
from gradnoise.simulations.statistics import Proportion

ALL = registry.all_claims()


def made(published, twins, corrected=None):
    class Made(Claim):
        id = "made"

        def measure(self, run):
            return {}

        def published(self):
            return published

        def corrected(self):
            return corrected or {}

        def sabotaged(self):
            yield from twins.items()

    return Made()


@pytest.mark.parametrize(
    ("published", "corrected", "twins", "found"),
    [
        ({"a": 1.0}, {}, {"t": {"a": 2.0}}, None),
        ({"a": 1.0}, {"b": 2.0}, {"t": {"b": 3.0}}, None),
        ({"a": 1.0}, {}, {"t": {"a": 2.0, "b": 3.0}}, "twin 't' judges 'b'"),
        ({"a": 1.0, "b": 5.0}, {"a": 2.0}, {"t": {"a": 1.0}}, "twin 't' says what is published"),
        ({"a": 1.0}, {"a": 2.0}, {"t": {"a": 2.0}}, "twin 't' says what is corrected"),
        ({"a": AtMost(1.0)}, {}, {"t": {"a": AtLeast(1.0)}}, "no twin is a little tighter than a <= 1"),
        ({"a": AtMost(1.0)}, {}, {"t": {"a": AtMost(0.94)}}, "no twin is a little tighter"),
        ({"a": AtMost(1.0)}, {}, {"t": {"a": AtMost(0.96)}}, None),
        ({"a": AtMost(-4.0)}, {}, {"t": {"a": AtMost(-4.1)}}, None),
        ({"a": AtMost(-4.0)}, {}, {"t": {"a": AtMost(-3.9)}}, "no twin is a little tighter than a <= -4"),
        ({"a": AtLeast(0.0)}, {}, {"t": {"a": AtLeast(0.01)}}, None),
        ({"a": AtLeast(0.0)}, {}, {"t": {"a": AtLeast(-0.01)}}, "no twin is a little tighter than a >= 0"),
        ({"a": AtLeast(2.0, tightness="not known to be attained")}, {}, {"t": {"a": AtLeast(4.0)}}, None),
        ({"a": AtLeast(2.0, tightness="chosen")}, {}, {"t": {"a": AtLeast(4.0)}}, None),
        # Of a refuted statement the bound need not be sharp, but that of the corrected one.
        ({"a": AtMost(1.0)}, {"a": AtMost(2.0)}, {"t": {"a": AtMost(1.95)}}, None),
        ({"p": Established(0.05)}, {}, {"t": {"p": Established(0.01)}}, None),
        ({"p": Established(0.05)}, {}, {"t": {"p": Established(0.05)}}, "twin 't' says what is published"),
        ({"p": Established(0.05)}, {}, {"t": {"p": Established(0.05, against=True)}}, None),
        ({"p": Established(0.05)}, {}, {"t": {"p": AtMost(0.05)}}, None),
    ],
)
def test_twins_that_prove_nothing_and_bounds_that_nothing_attains_are_refused(published, corrected, twins, found):
    subject = made(published, twins, corrected)
    if found is None:
        assert checked_twins(subject) == list(twins.items())
    else:
        with pytest.raises(ValueError, match="made must have twins that tell right from wrong") as error:
            checked_twins(subject)
        assert found in str(error.value)


@pytest.mark.parametrize(
    ("value", "tightness", "verdict", "told"),
    [
        (1.5, "not known to be attained", "holds", True),
        (1.5, "attained", "holds", False),
        (2.5, "not known to be attained", "refuted", False),  # a bound that is wrong is no question of sharpness
    ],
)
def test_the_report_tells_which_bounds_hold_that_nothing_attains(value, tightness, verdict, told):
    (entry,) = registry.verify("zhu2019.trace-norm").entries
    component = Component.of("size", Computed(value), AtMost(2.0, tightness=tightness), None, 0.999)
    entry = dataclasses.replace(entry, verdict=verdict, components=(component,))
    text = registry.report_of([entry], seed=1, budget="quick", sabotage=False).to_markdown()
    assert ("- `zhu2019.trace-norm`, size: the bound is not known to be sharp; worst ratio 0.75" in text) == told
    assert ("What could be wrong unnoticed" in text) == told


@pytest.mark.parametrize("id", ALL)
def test_every_claim_has_twins_that_tell_right_from_wrong(id):
    assert list(weaknesses(ALL[id])) == []


@pytest.mark.parametrize(
    ("prediction", "wrong"),
    [(0.3, 1.0), (0.3, -1.0), (AtLeast(0.3), 1.0), (AtMost(0.3), -1.0)],
)
def test_the_detectable_error_is_detected_in_99_of_100_measurements_and_a_smaller_one_is_not(prediction, wrong):
    """Counted in 4,000 measurements; the bounds are 4.5 standard errors away, so that one in 10^5 seeds fails by chance."""
    n, margin, level, repeats = 60_000, 0.01, 0.999, 4_000
    error = detectable_error(Proportion(18_000, n), prediction, margin, level) or 0.0
    rng = np.random.default_rng(11)

    def refuted(shift: float) -> float:
        moved = 0.3 + wrong * shift
        said = moved if isinstance(prediction, float) else type(prediction)(moved)
        seen = rng.binomial(n, 0.3, repeats)
        return float(np.mean([judge(Proportion(int(k), n), said, margin, level).verdict == "refuted" for k in seen]))

    assert refuted(error * 1.02) >= 0.99 - 4.5 * math.sqrt(0.99 * 0.01 / repeats)
    assert refuted(0.8 * error) < 0.9


@pytest.mark.parametrize(
    ("quantity", "prediction", "error"),
    [
        (Computed(2.0, rounding=1e-9), 2.0, 1e-9),
        (Computed(2.0, approximation=0.25), 2.2, 0.45),  # an error that moves it through the truth passes longest
        (Computed(2.0, rounding=1e-9), AtLeast(1.5), 0.5),
        (Computed(2.0, rounding=1e-9), AtMost(2.0), 1e-9),
        (Computed(0.0, rounding=1e-12), 0.0, 1e-12),
        (Computed(2.0), 3.0, None),
        (Computed(2.0), AtMost(math.inf), None),
    ],
)
def test_the_detectable_error_of_what_is_computed(quantity, prediction, error):
    found = detectable_error(quantity, prediction, 0.0, 0.999)
    assert found == (None if error is None else pytest.approx(error, rel=0.01))


# Each is right where n = b + B, B = b + 1, B = n − 1 or α = 1.5, as it was in the claims' only instance once.
WRONG = {
    "κ": (
        lambda n, B, b: (B - b) / (b * B * (B - 1)),
        [lambda n, B, b: (B - b) / (b**2 * B), lambda n, B, b: 1 / (b * B * (B - 1))],
    ),
    "(n−B)/(B(n−1))": (
        lambda n, B, b: (n - B) / (B * (n - 1)),
        [lambda n, B, b: (n - B) / B**2, lambda n, B, b: (n - B) / (n - 1) ** 2, lambda n, B, b: 1 / (B * (n - 1))],
    ),
    "(n+B−1)/(bn²)": (
        lambda n, B, b: (n + B - 1) / (b * n**2),
        [
            lambda n, B, b: (n + b) / (b * n**2),
            lambda n, B, b: 1 / n**2,
            lambda n, B, b: (n - b + 1) / (b * n**2),
            lambda n, B, b: (B + 1) / (b * n**2),
        ],
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_formulas_that_were_right_by_chance_are_wrong_at_one_of_the_sizes(name):
    right, wrong = WRONG[name]
    for formula in wrong:
        assert any(abs(formula(*one) - right(*one)) > 0.01 * abs(right(*one)) for one in SIZES)


def test_factors_that_were_right_at_one_strength_are_wrong_at_each_of_these():
    for alpha in STRENGTHS:
        c = alpha**2 + (1 - alpha) ** 2
        assert all(abs(w - c) > 0.01 * c for w in (1 + alpha, 5 * alpha / 3, 2 * alpha - 0.5, alpha**2, 2 * alpha**2))


def test_relations_are_found_as_a_direct_search_finds_them():
    """Triples over small numbers: the refusal agrees with trying every pair of a relation and a constant."""
    rng = np.random.default_rng(3)
    ends = set()
    for _ in range(300):
        sizes = rng.integers(2, 12, (3, 3)).tolist()
        every = itertools.product(range(-2, 3), range(-2, 3), range(-2, 3), range(-80, 81))
        related = any(all(i * n + j * B + k * b == c for n, B, b in sizes) for i, j, k, c in every if (i, j, k) != (0, 0, 0))
        try:
            generic_sizes(*sizes)
            refused = False
        except ValueError as error:
            assert "small linear relation" in str(error)
            refused = True
        assert refused == related
        ends.add(refused)
    assert ends == {True, False}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: generic_sizes((5, 4, 2)), "sizes must be two or more of one length"),
        (lambda: generic_sizes((5, 4, 2), (8, 3)), "sizes must be two or more of one length"),
        (lambda: generic_sizes((5, 0), (8, 3)), "each of sizes must be >= 1, got 0"),
        (lambda: generic_strengths(1.37, 2.21), "alphas must be three or more of different c"),
        (lambda: generic_strengths(1.37, -0.37, 2.21), "alphas must be three or more of different c"),  # c(α) = c(1 − α)
        (lambda: generic_strengths(1.37, 2.0, 2.21), "small linear relation with c"),
    ],
)
def test_what_is_not_generic_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
