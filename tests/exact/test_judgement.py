"""The rule of verdicts, case by case: catches a rule that calls a true prediction refuted, or lets a false one pass."""

import math

import pytest

from gradnoise.claims.judgement import Absolute, AtLeast, AtMost, Computed, Judgement, Relative, combine, judge
from gradnoise.simulations.statistics import Estimate, Proportion

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


def test_an_inconclusive_verdict_tells_the_sample_size_that_would_decide():
    wide = interval(0.5, 1.5)
    needed = judge(wide, 1.0, 0.1, LEVEL).n_to_decide
    assert needed is not None
    shrunk = wide.standard_error * math.sqrt(wide.n / needed)
    assert judge(Estimate(1.0, shrunk, needed, 0.0), 1.0, 0.1, LEVEL).verdict == "holds"


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
