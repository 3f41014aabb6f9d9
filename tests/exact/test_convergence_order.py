"""Fitted orders and joint moments, against powers that are known and sums that are written out.

It would catch a fit that uses errors below its floor, weights the wrong way round, a correlation that is ignored, a next term
that leaks into the order, a line through a change of sign, and blocks that are merged wrongly.
"""

import math

import numpy as np
import pytest
from scipy import stats

from gradnoise.simulations.statistics import Estimate, JointMoments, fit_order, merge_joint_moments

ETA = np.array([0.4, 0.2, 0.1, 0.05])


def test_exact_powers():
    for p in (0.5, 1, 3):
        order = fit_order(ETA[::-1], 7 * ETA[::-1] ** p, np.zeros(4))
        assert order.value == pytest.approx(p) and order.standard_error == 0
        assert order.local_slopes == pytest.approx((p, p, p))
        assert order.step_sizes == tuple(ETA) and all(order.used)
        np.testing.assert_allclose(order.predict(ETA), 7 * ETA**p)


def test_a_next_term_is_told_from_the_order():
    errors = 3 * ETA**2 * np.exp(1.5 * ETA)
    assert fit_order(ETA, errors, np.zeros(4)).value > 2.2
    order = fit_order(ETA, errors, np.zeros(4), next_term=True)
    assert order.value == pytest.approx(2) and order.next_term == pytest.approx(1.5)
    np.testing.assert_allclose(order.predict(ETA), errors)


def test_errors_below_noise_or_floor_are_not_used():
    errors, noise = ETA**2, np.array([1e-4, 1e-4, 1e-4, 1e-3])
    order = fit_order(ETA, errors + np.array([0, 0, 0, 0.001]), noise)
    assert order.used == (True, True, True, False) and order.value == pytest.approx(2)
    assert math.isnan(order.local_slopes[2]) and order.floor == pytest.approx((1e-3, 1e-3, 1e-3, 1e-2))
    floored = fit_order(ETA, errors, np.zeros(4), floor=[0, 0, 0, 3e-4])
    assert floored.used == (True, True, True, False)


def test_errors_that_barely_count_give_no_interval_far_out():
    """Logs of errors that are known to a tenth are not normal seven standard errors out."""
    rough, good = (fit_order(ETA, ETA**2, share * ETA**2) for share in (0.09, 0.01))
    assert rough.valid(0.95) and not rough.valid(1 - 1e-9)
    exact, unseen = fit_order(ETA, ETA**2, 0 * ETA), JointMoments.of(np.tile(ETA**2, (1_000, 1)))
    assert exact.valid(1 - 1e-9)
    assert not fit_order(ETA, ETA**2, 0 * ETA, moments=unseen).valid(0.5)  # paths that do not differ are not exact errors
    assert good.valid(1 - 1e-9) and good.largest_relative_error == pytest.approx(0.01)


def test_what_is_reported_covers_the_order():
    """Six steps of order 1, from 60 to 2 standard errors, so that chance decides on some.

    95 % intervals of 2,000 studies cover the order in at least 93 % (4 standard deviations below 95 %) of those that report one.
    """
    eta, rng = 0.5 ** np.arange(6.0), np.random.default_rng(2)
    covered = reported = 0
    for _ in range(2_000):
        try:
            order = fit_order(eta, 60 * eta + rng.standard_normal(6), np.ones(6))
        except ValueError:
            continue
        reported += 1
        low, high = order.interval(0.95)
        covered += low <= 1 <= high
    assert reported > 1_500 and covered >= 0.93 * reported


def test_a_noisy_error_weighs_less():
    errors, noise = 2 * ETA, np.array([1e-3, 1e-3, 1e-3, 0.02])
    bent = errors * [1, 1, 1, 1.5]
    assert abs(fit_order(ETA, bent, noise).value - 1) < 0.01 < abs(fit_order(ETA, bent, np.full(4, 1e-3)).value - 1)


def test_independent_errors_give_the_textbook_standard_error():
    """Relative errors r of equal size: the variance of the slope is r^2 / sum (x - mean x)^2."""
    errors, r = ETA**2, 0.01
    x = np.log(ETA)
    assert fit_order(ETA, errors, r * errors).standard_error == pytest.approx(r / np.sqrt(((x - x.mean()) ** 2).sum()))


def test_errors_on_the_same_paths_are_correlated():
    """A factor common to all errors of a path moves the line up and down, and does not turn it."""
    rng = np.random.default_rng(0)
    common = rng.exponential(size=(5_000, 1)) * ETA**2
    moments = JointMoments.of(common)
    se = np.sqrt(np.diag(moments.covariance))
    together = fit_order(ETA, moments.mean, se, moments=moments)
    assert together.standard_error < 1e-9 < fit_order(ETA, moments.mean, se).standard_error
    # And for any paths: the delta method, path by path.
    paths = rng.exponential(size=(5_000, 4)) * ETA
    moments = JointMoments.of(paths)
    order = fit_order(ETA, moments.mean, np.full(4, 1e-3) * moments.mean, moments=moments)
    x = np.log(ETA) - np.log(ETA).mean()
    influence = Estimate.of(paths / moments.mean @ (x / (x**2).sum()))
    assert order.standard_error == pytest.approx(influence.standard_error, rel=1e-9)
    assert order.skewness == pytest.approx(influence.skewness, rel=1e-9) and order.n == 5_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0.1, 0.2], [1, 2], [0, 0]), "at least 3 different numbers"),
        (([0.1, 0.2, 0.2], [1, 2, 3], [0, 0, 0]), "at least 3 different numbers"),
        (([0.1, 0.2, 0.0], [1, 2, 3], [0, 0, 0]), "at least 3 different numbers > 0"),
        (([0.1, 0.2, -0.5], [1, 2, 3], [0, 0, 0]), "at least 3 different numbers > 0"),
        (([0.1, 0.2, 0.4], [1e-3, 1e-3, 1e-3], [1, 1, 1]), "got 0 of 3; take more paths"),
        (([0.1, 0.2, 0.4], [-1, 1, 2], [0, 0, 0]), "one sign"),
        (([0.1, 0.2, 0.4], [1, 1, 2], [0, -1, 0]), "standard_errors must be >= 0"),
        (([0.1, 0.2, 0.4], [1, 1], [0, 0, 0]), "step_sizes and errors must have equal shapes"),
        (([0.1, 0.2, 0.4], [1, 1, 2], [0, 0, 0], {"floor": []}), "floor must be a number, or one for each of 3"),
        (([0.1, 0.2, 0.4], [1, 2, 4], [0, 0, 0], {"floor": 1.7e308}), "got 0 of 3; take more paths"),
        (([0.1, 0.2, 0.4], [1, 2, 4], [0, 0, 0], {"moments": {}}), "moments must be of class JointMoments"),
        (([0.1, 0.2, 0.4], [1, 2, 4], [0, 0, 0], {"moments": JointMoments.of(np.ones((3, 2)))}), "moments must be of 3 errors"),
    ],
)
def test_it_refuses(arguments, message):
    options = arguments[3] if len(arguments) > 3 else {}
    with pytest.raises((ValueError, TypeError), match=message):
        fit_order(*arguments[:3], **options)


@pytest.mark.parametrize("step", [0.0, -1.0, 1e300])
def test_no_error_is_predicted_where_there_is_none(step):
    with pytest.raises(ValueError, match=r"step_size (must be > 0|= )"):
        fit_order(ETA, ETA**2, np.zeros(4)).predict([step])


def test_tiny_numbers_do_not_overflow_on_the_way():
    """Ratios of 5e-324, and squares of standard errors of 1e-300: the fit is that of the same numbers in other units."""
    eta, e = np.array([1.0, 1e-160, 5e-324]), np.array([1.0, 1e-160, 5e-324])
    order = fit_order(eta, e, np.zeros(3))
    assert order.local_slopes == pytest.approx((1.0, 1.0), rel=1e-12) and order.value == pytest.approx(1.0, rel=1e-9)
    far = np.array([1e160, 1e-160, 1e-200])  # the ratio of the first two is no float
    assert fit_order(far, far, np.zeros(3)).local_slopes == pytest.approx((1.0, 1.0), rel=1e-12)
    errors, se = ETA**2, np.array([1.0, 2.0, 1.0, 3.0]) * 1e-3 * ETA**2
    here, tiny = (fit_order(ETA, errors * [1.0, 1.1, 1.0, 1.2], scale * se) for scale in (1.0, 1e-290))
    assert tiny.value == pytest.approx(here.value, rel=1e-12)
    assert tiny.standard_error == pytest.approx(1e-290 * here.standard_error, rel=1e-9, abs=0)


def test_it_refuses_a_next_term_for_three_errors():
    with pytest.raises(ValueError, match="at least 4 step sizes, got 3 of 3"):
        fit_order(ETA[:3], ETA[:3], np.zeros(3), next_term=True)


def test_joint_moments_of_blocks_are_those_of_the_whole():
    x = np.random.default_rng(1).exponential(size=(60, 3)) @ np.array([[1.0, 0.2, 0], [0, 1, -0.5], [0, 0, 2]]) + 100
    whole = JointMoments.of(x)
    merged = merge_joint_moments(JointMoments.of(part).as_block() for part in np.split(x, [7, 8, 41]))
    assert merged.n == 60
    for name in ("mean", "second", "third"):
        np.testing.assert_allclose(getattr(merged, name), getattr(whole, name), rtol=1e-9, atol=1e-9)
    a = np.array([0.3, -1.0, 0.7])
    direct = x @ a
    estimate = merged.along(a)
    assert estimate.value == pytest.approx(direct.mean())
    assert estimate.standard_error == pytest.approx(stats.sem(direct))
    assert estimate.skewness == pytest.approx(stats.skew(direct))
    np.testing.assert_allclose(merged.covariance, np.cov(x.T) / 60)


def test_an_error_that_is_far_better_known_does_not_decide_alone():
    """The weights against least squares by hand: no error counts as better known than a thousandth of the worst."""
    eta, e = np.array([0.4, 0.2, 0.1, 0.05]), np.array([0.165, 0.0381, 0.0103, 0.0024])
    relative = np.array([0.01, 1e-9, 0.004, 0.02])
    root = 1 / np.maximum(relative, 0.02e-3)
    design = np.column_stack([np.ones(4), np.log(eta)])
    solution, *_ = np.linalg.lstsq(design * root[:, np.newaxis], np.log(e) * root, rcond=None)
    assert fit_order(eta, e, relative * e).value == pytest.approx(solution[1], rel=1e-9)


@pytest.mark.parametrize("n", [2, 4])
def test_moments_must_be_of_as_many_errors(n):
    moments = JointMoments.of(np.random.default_rng(1).normal(size=(9, n)))
    with pytest.raises(ValueError, match=f"moments must be of 3 errors, got {n}"):
        fit_order([0.4, 0.2, 0.1], [0.16, 0.04, 0.01], [0.01, 0.002, 0.001], moments=moments)
