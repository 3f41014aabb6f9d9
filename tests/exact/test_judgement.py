"""The rule of verdicts, case by case: catches a rule that calls a true prediction refuted, or lets a false one pass."""

import math
from typing import Any, cast

import numpy as np
import pytest

from gradnoise.claims.judgement import Computed, Judgement, PValue, combine, judge, placed
from gradnoise.claims.prediction import Absolute, AtLeast, AtMost, Established, Relative
from gradnoise.simulations.statistics import Difference, Estimate, Proportion, Quotient, TailIndex

LEVEL = 0.99


def interval(low: float, high: float) -> Estimate:
    """Return an estimate whose interval at LEVEL is about [low, high]."""
    z = 2.5758293
    return Estimate((low + high) / 2, (high - low) / (2 * z), 10**6, skewness=0.0)


@pytest.mark.parametrize(
    ("low", "high", "prediction", "verdict"),
    [
        (0.95, 1.05, 1.0, "holds"),  # within 1 ± 0.1
        (0.85, 0.95, 1.0, "inconclusive"),  # across its edge
        (0.75, 0.85, 1.0, "refuted"),
        (1.15, 1.25, 1.0, "refuted"),
        (0.5, 1.5, 1.0, "inconclusive"),  # too wide, even around the prediction
        (0.95, 9.0, AtLeast(1.0), "holds"),
        (0.5, 0.85, AtLeast(1.0), "refuted"),
        (0.85, 0.95, AtLeast(1.0), "inconclusive"),
        (-9.0, 1.05, AtMost(1.0), "holds"),
        (1.15, 1.5, AtMost(1.0), "refuted"),
    ],
)
def test_sampled_quantities_are_judged_by_their_interval(low, high, prediction, verdict):
    assert judge(interval(low, high), prediction, 0.1, LEVEL).verdict == verdict


@pytest.mark.parametrize(
    ("ends", "verdict"),
    [((0, 1), "holds"), ((1, 2), "inconclusive"), ((-1, 0), "inconclusive"), ((1.01, 2), "refuted"), ((-1, -0.01), "refuted")],
)
def test_what_is_allowed_includes_its_ends(ends, verdict):
    assert placed(ends, (0, 1)) == verdict


def test_an_inconclusive_verdict_tells_the_sample_size_that_would_decide():
    wide = interval(0.5, 1.5)
    needed = judge(wide, 1.0, 0.1, LEVEL).n_to_decide
    assert needed is not None
    shrunk = wide.standard_error * math.sqrt(wide.n / needed)
    assert judge(Estimate(1.0, shrunk, needed, 0.0), 1.0, 0.1, LEVEL).verdict == "holds"


def test_what_no_sample_decides_is_inconclusive_and_says_so():
    """Catches a ValueError of the plan that ends a verification, and a number of samples that is none."""
    spread = "no spread was seen, so how many samples would decide is not known"
    feasible = "no feasible number of samples would decide, as far as these tell"
    cases = [
        (Estimate.of(np.full(500, 0.3)), 0.1, feasible),  # its rounding looks like a spread
        (Estimate.of(np.full(512, 0.25)), 0.1, spread),
        (Estimate.of([2.0]), 0.1, spread),
        (Estimate(1.0, math.inf, 9, 0.0), 0.1, spread),
        (Estimate(math.inf, 0.0, 9), 0.1, spread),
        (Difference(Estimate.of([2.0]), Proportion(1, 9)), 0.1, spread),
        (Estimate(1.0, 0.1, 40), 0.1, feasible),  # of unknown skewness
        (TailIndex(Estimate(0.5, math.inf, 7)), 0.1, spread),
        (Estimate(1.0, 0.1, 100, 0.0), 0.0, "without a margin no number of samples is sure to decide"),
    ]
    for quantity, margin, reason in cases:
        for level in (0.95, 1 - 1e-9):
            for prediction in (1.0, AtLeast(1.0), AtMost(1.0)):
                found = judge(quantity, prediction, margin, level)
                assert found == Judgement("inconclusive", None, reason), (quantity, level, found)
    of_zero = Quotient(Estimate(1.0, 0.1, 90, 0.0), Estimate(0.0, 0.1, 90, 0.0))
    assert judge(of_zero, 1.0, 0.1, 0.95) == Judgement("inconclusive", None, feasible)
    assert judge(Proportion(10, 10), 1.0, 1e-9, 0.95) == Judgement("inconclusive", None, feasible)
    both = combine({"a": Judgement("inconclusive", 7), "b": Judgement("inconclusive", None, spread)})
    assert both == Judgement("inconclusive", 7, spread)


def test_a_true_prediction_of_a_skew_law_is_not_refuted():
    """Five and twenty lognormal samples, and twenty of which few are not zero; their intervals alone would refute it."""
    rng = np.random.default_rng(9)
    laws = {math.exp(0.5): lambda n: rng.lognormal(size=n), 0.02: lambda n: (rng.random(n) < 0.02) * 1.0}
    refuted = without_rule = 0
    for mean, draw in laws.items():
        for n in (5, 20):
            for estimate in (Estimate.of(draw(n)) for _ in range(300)):
                low, high = estimate.interval(0.95)
                refuted += judge(estimate, mean, 0.0, 0.95).verdict == "refuted"
                without_rule += not low <= mean <= high
    assert refuted == 0 and without_rule > 300


@pytest.mark.parametrize(
    ("margin", "level", "name"),
    [(-0.1, 0.9, "margin"), (math.nan, 0.9, "margin"), (0.1, 1.5, "level"), (0.1, 0.0, "level"), (0.1, -0.5, "level")],
)
def test_bad_arguments_are_named(margin, level, name):
    for quantity in (interval(0, 1), Computed(1.0)):  # which has no level of its own
        with pytest.raises(ValueError, match=f"^{name} must "):
            judge(quantity, 1.0, margin, level)
    with pytest.raises(ValueError, match=r"^prediction must be a number"):
        judge(interval(0, 1), math.nan, 0.1, 0.9)


def test_an_interval_that_cannot_be_trusted_decides_nothing():
    few = Estimate(5.0, 1e-6, 100, skewness=0.0)
    assert judge(few, 1.0, 0.1, 1 - 1e-9).verdict == "inconclusive"
    assert judge(Proportion(0, 10**6), 0.5, 0.1, 1 - 1e-9).verdict == "refuted"


@pytest.mark.parametrize(
    ("value", "prediction", "verdict"),
    [
        (1.0 + 1e-13, 1.0, "holds"),
        (1.0 + 1e-11, 1.0, "refuted"),
        (1.0 - 1e-13, AtLeast(1.0), "holds"),
        (1.0 - 1e-11, AtLeast(1.0), "refuted"),
        (1.0 + 1e-11, AtMost(1.0), "refuted"),
        (math.nan, 1.0, "refuted"),
        (math.nan, AtLeast(0.0), "refuted"),
    ],
)
def test_computed_quantities_are_judged_by_rounding(value, prediction, verdict):
    for error in ("rounding", "approximation"):
        assert judge(Computed(value, **{error: 1e-12}), prediction, margin=99.0, level=LEVEL).verdict == verdict


def test_what_is_left_out_is_not_called_rounding_and_both_add_up():
    assert (Computed(1.0).tolerance, Computed(1.0).error_kind) == (0.0, "rounding")
    both = Computed(1.0, rounding=0.25, approximation=0.5)
    assert (both.tolerance, both.error_kind) == (0.75, "approximation")
    with pytest.raises(ValueError, match="approximation must be >= 0, got -1"):
        Computed(1.0, approximation=-1)


def test_a_vector_holds_if_all_hold_and_is_refuted_if_any_is():
    holds, refuted, open_ = Judgement("holds"), Judgement("refuted"), Judgement("inconclusive", 7)
    assert combine({"a": holds, "b": holds}).verdict == "holds"
    assert combine({"a": holds, "b": open_}) == open_
    assert combine({"a": holds, "b": open_, "c": refuted}).verdict == "refuted"
    assert combine({}).verdict == "inconclusive"  # nothing judged is nothing shown


def test_margins_come_from_the_published_prediction():
    assert Relative(0.1).of(-3.0) == pytest.approx(0.3)
    assert Relative(0.1).of(AtLeast(2.0)) == pytest.approx(0.2)
    assert Absolute(0.5).of(-3.0) == 0.5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Computed(cast(Any, "1")), "value must be a real number, got '1'"),
        (lambda: Computed(1.0, rounding=math.nan), "rounding must be finite"),
        (lambda: Computed(10**400), "value must be within the range of floats"),
        (lambda: AtLeast(math.nan), "bound must be a number, got NaN"),
        (lambda: AtMost(True), "bound must be a real number, got True"),
        (lambda: Absolute(-0.1), "size must be >= 0"),
        (lambda: Relative(math.inf), "share must be finite"),
        (lambda: Relative(0.1).of(cast(Any, None)), "prediction must be a real number, got None"),
        (
            lambda: judge(cast(Any, 3.0), 1.0, 0.1, LEVEL),
            "quantity must be Computed, an Estimate, a Proportion or a Difference, got 3.0",
        ),
        (lambda: judge(cast(Any, Estimate), 1.0, 0.1, LEVEL), "quantity must be Computed, an Estimate"),
    ],
)
def test_what_is_no_quantity_prediction_or_margin_is_named(call, message):
    """It would catch a mistake in a claim that becomes a verdict, or an AttributeError far from it."""
    with pytest.raises((TypeError, ValueError), match=message):
        call()


@pytest.mark.parametrize(
    ("p", "effect", "against", "verdict"),
    [
        (0.049, 1.0, False, "holds"),
        (0.05, 1.0, False, "holds"),
        (0.051, 1.0, False, "not established"),
        (0.051, -1.0, False, "not established"),
        (0.049, -1.0, False, "refuted"),
        (0.049, -1.0, True, "holds"),
        (0.049, 1.0, True, "refuted"),
    ],
)
def test_what_a_test_of_significance_does_not_establish_is_not_refuted(p, effect, against, verdict):
    tested = PValue(p, effect=effect, n=10, n_to_decide=40)
    found = judge(tested, Established(0.05, against=against), 0.0, LEVEL)
    assert found == Judgement(verdict, 40 if verdict == "not established" else None)


def test_of_several_effects_one_that_is_not_established_leaves_the_statement_open():
    holds, open_, refuted = Judgement("holds"), Judgement("not established", 40), Judgement("refuted")
    assert combine({"a": holds, "b": open_, "c": Judgement("not established", 90)}) == Judgement("not established", 90)
    assert combine({"a": open_, "b": refuted}).verdict == "refuted"
    assert combine({"a": open_, "b": Judgement("inconclusive", 7)}).verdict == "inconclusive"
    with pytest.raises(TypeError, match="quantity must be PValue where it is predicted to be established, got Computed"):
        judge(Computed(0.01), Established(0.05), 0.0, LEVEL)


def test_errors_of_what_was_computed_are_named_and_p_values_are_shares():
    """Catches a bound on the error, a size or an effect that is given by its place, and a p-value beyond one."""
    with pytest.raises(TypeError):
        cast(Any, Computed)(1.0, 0.1)
    for named in ({"effect": 0.5}, {"n": 10}):
        with pytest.raises(TypeError):
            cast(Any, PValue)(0.5, 10, **named)
    assert PValue(1.0, effect=0.0, n=10).value == 1.0
    for p in (-0.01, 1.01):
        with pytest.raises(ValueError, match="value must be"):
            PValue(p, effect=0.0, n=10)


def test_what_is_no_judgement_is_named():
    """Would catch a verdict that no rule gives, and a number of samples that is none."""
    cases: list[tuple[dict[str, Any], str]] = [
        *[({"verdict": value}, "verdict must be one of holds, refuted, inconclusive") for value in (None, 1, "hold", "error")],
        *[({"n_to_decide": value}, "n_to_decide must be") for value in (math.nan, math.inf, 0, 7.0, True, "7")],
        *[({"reason": value}, "reason must be a string") for value in (1, True, ["open"])],
    ]
    for fields, message in cases:
        with pytest.raises((TypeError, ValueError), match=f"^{message}"):
            Judgement(**{"verdict": "inconclusive", **fields})
    assert type(Judgement("inconclusive", cast(Any, np.int64(7))).n_to_decide) is int
