"""Curvature of the clipped network and of softmax regression against differences, literal sums and other solvers.

They would catch a factor of the loss, a sample counted though it is clipped, a wrong side of the kink, an eigenvalue lost to
rounding, and a descent that does not follow the gradient.
"""

import math
from typing import Any, cast

import mpmath
import numpy as np
import pytest
from scipy.linalg import eigh
from scipy.optimize import minimize

from gradnoise.simulations.clipped_network import descend, random_network
from gradnoise.simulations.seeds import Stream
from gradnoise.simulations.softmax_regression import curvature_gap
from gradnoise.theory.curvature import (
    ClippedNetwork,
    Curvature,
    SoftmaxRegression,
    alignment_bound,
    printed_alignment_bound,
    printed_radius,
    ratio_bounds,
)

RNG = np.random.default_rng(4)
DELTA = 0.1


NETWORKS = [
    random_network(6, rng=1, n_samples=12, delta=DELTA, slopes=slopes, halved=halved)
    for slopes in ((0.0, 1.0), (0.2, 1.0), (-1.0, 1.0))
    for halved in (True, False)
]


def literal_loss(network, w):
    """Eqs. (19), (20) and (49), sample by sample."""
    total = []
    for x, y in zip(network.inputs, network.labels, strict=True):
        f = 0.0
        for a, row in zip(network.output_weights, w, strict=True):
            z = float(np.dot(row, x))
            f += a * (network.slopes[1] * z if z > 0 else network.slopes[0] * z)
        clipped = min(max(f, network.delta), 1 - network.delta)
        total.append((clipped - y) ** 2 / (2 if network.halved else 1))
    return np.array(total)


def differences(function, w, h=1e-6):
    """Central differences of a function of the weights, along its last axis."""
    steps = h * np.eye(w.size).reshape(-1, *w.shape)
    return np.stack([(function(w + s) - function(w - s)) / (2 * h) for s in steps], axis=-1)


@pytest.mark.parametrize("network, weights", NETWORKS)
def test_losses_gradients_fisher_and_hessian(network, weights):
    curvature = network.curvature(weights)
    assert network.unclipped(weights).sum() > 0
    np.testing.assert_allclose(network.losses(weights), literal_loss(network, weights), rtol=1e-13)
    gradients = differences(lambda w: literal_loss(network, w), weights)
    np.testing.assert_allclose(curvature.gradients, gradients.T, atol=1e-8)
    np.testing.assert_allclose(curvature.fisher, sum(np.outer(g, g) for g in gradients) / len(gradients), atol=1e-8)
    hessian = differences(lambda w: network.curvature(w).gradient, weights)
    np.testing.assert_allclose(curvature.hessian, hessian, atol=1e-8)
    centred = gradients - gradients.mean(axis=0)
    np.testing.assert_allclose(curvature.covariance, centred.T @ centred / len(centred), atol=1e-8)


@pytest.mark.parametrize("halved", [True, False])
def test_ratios_are_generalised_eigenvalues(halved):
    curvature = Curvature(RNG.normal(size=(3, 8)), RNG.normal(size=8), halved)
    expected = eigh(curvature.fisher, curvature.hessian, eigvals_only=True)
    np.testing.assert_allclose(curvature.eigenvalue_ratios, expected, rtol=1e-10)
    assert curvature.largest_eigenvalue == pytest.approx(np.linalg.eigvalsh(curvature.hessian)[-1], rel=1e-13)


def test_ratios_keep_their_digits_where_the_hessian_is_nearly_singular():
    # Two nearly parallel columns: on H's weak direction both have the weight ½, so that the ratios stay between r².
    J = np.array([[1.0, 1.0], [0.0, 1e-9]])
    ratios = Curvature(J, np.array([0.1, 0.2])).eigenvalue_ratios
    np.testing.assert_allclose(ratios, [0.01, 0.04], rtol=1e-12)


def test_alignment_is_the_quotient_of_the_paper():
    curvature = Curvature(RNG.normal(size=(4, 9)), RNG.normal(size=9))
    H, S, F = curvature.hessian, curvature.covariance, curvature.fisher
    values, vectors = np.linalg.eigh(H)
    u = vectors[:, -1]
    expected = u @ S @ u * np.trace(H) / (values[-1] * np.trace(S))
    assert curvature.alignment == pytest.approx(expected, rel=1e-12)
    assert curvature.indicator == pytest.approx(np.trace(H @ S), rel=1e-12)
    assert curvature.isotropic_indicator == pytest.approx(np.trace(H) * np.trace(S) / 4, rel=1e-12)
    assert curvature.mean_share == pytest.approx((u @ curvature.gradient) ** 2 / (u @ F @ u), rel=1e-10)
    assert alignment_bound(curvature, 0.1) == pytest.approx(
        (1 - curvature.mean_share) * 0.01 / np.abs(curvature.residuals).max() ** 2, rel=1e-12
    )


@pytest.mark.parametrize("size", [0.0, 1e-13])
def test_a_repeated_leading_eigenvalue_has_a_range_of_alignments(size):
    """Catches an alignment that is the eigensolver's choice: along (1, 0) it is 1.92, along (0, 1) .077, and H has no other axis.

    The curvatures differ by rounding or not at all; the directions are turned, so that no solver gives the axes.
    """
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(4, 4)))[0]
    J = turn @ (np.eye(4)[:, :3] * np.array([1.0, 1 + size, 0.5]))
    curvature = Curvature(J, np.array([5.0, 1.0, 0.25]))
    low, high = curvature.alignment_range
    S, H = curvature.covariance, curvature.hessian
    along = [
        u @ S @ u * np.trace(H) / (np.linalg.eigvalsh(H)[-1] * np.trace(S))
        for u in (turn[:, 0] * np.cos(angle) + turn[:, 1] * np.sin(angle) for angle in np.linspace(0, np.pi, 4_001))
    ]
    assert (low, high) == pytest.approx((min(along), max(along)), abs=1e-5) and low <= min(along) and high >= max(along)
    assert curvature.alignment == low and high - low > 1
    assert alignment_bound(curvature, 0.25) <= low + 1e-12  # for that direction, as for every other
    simple = Curvature(turn @ (np.eye(4)[:, :3] * np.array([1.0, 1.001, 0.5])), np.array([5.0, 1.0, 0.25]))
    assert simple.alignment_range[0] == simple.alignment_range[1] != pytest.approx(low, rel=0.1)


def test_the_alignment_of_two_equal_curvatures():
    """The case in which one solver finds 1.92 and another .077."""
    e1, e2 = (2 * r**2 / 26 for r in (5.0, 1.0))
    assert (round(e1, 2), round(e2, 3)) == (1.92, 0.077)
    low, high = Curvature(np.eye(2), np.array([5.0, 1.0])).alignment_range
    assert (low, high) == pytest.approx((0, 2), abs=1e-14) and low < e2 < e1 < high
    for unit in (2.0**-600, 2.0**600):  # whose squares are no floats
        large = Curvature(np.eye(2), unit * np.array([5.0, 1.0]))
        assert large.alignment_range == (low, high) and np.isfinite(large.leading_gradients).all()
        assert np.isfinite(Curvature([[1.0, 0.5]], [unit, 2 * unit]).leading_gradients).all()


def test_alignment_has_no_unit_and_is_bounded_by_one():
    """Catches a delta that no residual allows, and a number where nothing is aligned with anything."""
    J, r = np.array([[1.0, 0.5, 2.0], [0.25, 1.0, -1.0]]), np.array([0.5, -0.25, 0.75])
    curvature = Curvature(J, r)
    for unit in (2.0**-400, 2.0**400):
        for other in (Curvature(unit * J, r), Curvature(J, unit * r)):
            assert (other.alignment, other.mean_share) == pytest.approx((curvature.alignment, curvature.mean_share), rel=1e-12)
        assert alignment_bound(Curvature(J, unit * r), 0.25 * unit) == pytest.approx(alignment_bound(curvature, 0.25), rel=1e-12)
    assert 0 < alignment_bound(curvature, 0.25) <= min(curvature.alignment, 1.0)
    for delta in (0.26, 5.0):
        with pytest.raises(
            ValueError, match=f"delta must be at most the least residual that has a gradient, 0.25, got {delta:g}"
        ):
            alignment_bound(curvature, delta)
    equal = Curvature([[0.1, 0.1, 0.1]], [0.3, 0.3, 0.3])  # their mean has been rounded
    with pytest.raises(ValueError, match="alignment needs gradients that differ"):
        _ = equal.alignment
    assert alignment_bound(equal, 0.3) == pytest.approx(0.0, abs=1e-15)
    with pytest.raises(ValueError, match="mean_share needs gradients along the leading direction"):
        _ = Curvature([[1.0, 2.0]], [0.0, 0.0]).mean_share
    with pytest.raises(TypeError, match="curvature must be a Curvature, got 3"):
        alignment_bound(cast(Any, 3), 0.1)


def test_parameters_of_very_different_units_all_count():
    graded = Curvature(np.diag([1e20, 1.0, 1e-20]), [0.5, 0.25, 0.125])
    np.testing.assert_allclose(graded.eigenvalue_ratios, [1 / 64, 1 / 16, 1 / 4], rtol=1e-14)


def test_constants_of_proposition_3_as_printed():
    assert printed_alignment_bound(0.1, 0.1, 0.25) == pytest.approx(0.5 * 0.25)
    assert printed_radius(0.1, 0.25, 4.0, 5.0) == pytest.approx(0.1 * math.sqrt(0.25 * 4) / 5)
    assert ratio_bounds(0.1, 0.2) == pytest.approx((0.01, 0.09))
    assert ratio_bounds(0.1, 0.2, halved=False) == pytest.approx((0.02, 0.18))


@pytest.mark.parametrize("network, weights", NETWORKS)
def test_descent_follows_the_gradient(network, weights):
    kept = descend(network, weights, 0.1, [0, 1, 7])
    w = weights
    for step in range(8):
        if step in (0, 1, 7):
            np.testing.assert_allclose(kept[[0, 1, 7].index(step)], w, rtol=1e-12, atol=1e-14)
        w = w - 0.1 * network.curvature(w).gradient.reshape(w.shape)


@pytest.mark.parametrize("network, weights", NETWORKS)
def test_adam_follows_its_algorithm(network, weights):
    """It would catch a moment that is not corrected for its start, a wrong constant, and the scale of the loss."""
    kept = descend(network, weights, 0.01, [0, 1, 7], optimizer="adam")
    w, mean, square = weights, np.zeros_like(weights), np.zeros_like(weights)
    for step in range(8):
        if step in (0, 1, 7):
            np.testing.assert_allclose(kept[[0, 1, 7].index(step)], w, rtol=1e-10, atol=1e-12)
        g = network.curvature(w).gradient.reshape(w.shape)
        mean, square = 0.9 * mean + 0.1 * g, 0.999 * square + 0.001 * g**2
        w = w - 0.01 * mean / (1 - 0.9 ** (step + 1)) / (np.sqrt(square / (1 - 0.999 ** (step + 1))) + 1e-8)


@pytest.mark.compiled
@pytest.mark.parametrize("width", [2, 4, 32, 512])
@pytest.mark.parametrize("seed", range(5))
def test_a_random_network_starts_unclipped_and_learns(width, seed):
    network, weights = random_network(width, rng=seed, delta=DELTA)
    assert network.unclipped(weights).all()
    assert network.output(weights).max() == pytest.approx(0.5)
    (end,) = descend(network, weights, 0.2, [3000])
    assert network.losses(end).max() == pytest.approx(DELTA**2 / 2)


MODEL = SoftmaxRegression(RNG.normal(size=(4, 2)), 3)
TRUTH = RNG.normal(size=MODEL.dimension)
LAW = RNG.dirichlet(np.ones(12)).reshape(4, 3)


def softmax_loss(theta, law):
    """Literal mean of −log p(c | x)."""
    scores = np.column_stack([MODEL.design @ theta.reshape(2, 2).T, np.zeros(4)])
    return float((law * (np.log(np.exp(scores).sum(axis=1, keepdims=True)) - scores)).sum())


def test_softmax_derivatives():
    gradient = differences(lambda t: np.array(softmax_loss(t, LAW)), TRUTH)
    np.testing.assert_allclose(MODEL.gradient(TRUTH, LAW), gradient, atol=1e-8)
    hessian = differences(lambda t: MODEL.gradient(t, LAW), TRUTH)
    np.testing.assert_allclose(MODEL.hessian(TRUTH, LAW), hessian, atol=1e-8)
    fisher = np.zeros((4, 4))
    for k in range(4):
        for c in range(3):
            one = np.zeros((4, 3))
            one[k, c] = 1.0
            g = differences(lambda t: np.array(softmax_loss(t, one)), TRUTH)  # noqa: B023
            fisher += LAW[k, c] * np.outer(g, g)
    np.testing.assert_allclose(MODEL.fisher(TRUTH, LAW), fisher, atol=1e-8)
    mean = MODEL.gradient(TRUTH, LAW)
    np.testing.assert_allclose(MODEL.covariance(TRUTH, LAW), fisher - np.outer(mean, mean), atol=1e-8)


def test_a_class_that_is_all_but_certain_keeps_its_curvature():
    """Catches 1 - p of a p that is one to rounding: gradient and curvature came out as zero from a score of 37 on."""
    model = SoftmaxRegression([[1.0], [2.0]], 3)
    theta = np.array([50.0, -20.0])
    with mpmath.workdps(80):
        odds = [[mpmath.exp(50 * x), mpmath.exp(-20 * x), mpmath.mpf(1)] for x in (1, 2)]
        p = [[o / mpmath.fsum(row) for o in row] for row in odds]
        slopes = [[(p[k][e] - (c == e)) * (k + 1) for e in (0, 1)] for k in (0, 1) for c in (0, 1, 2)]
        curvature = [
            [mpmath.fsum((k + 1) ** 2 * p[k][e] * ((e == f) - p[k][f]) / 2 for k in (0, 1)) for f in (0, 1)] for e in (0, 1)
        ]
    expected = np.array(slopes, dtype=float).reshape(2, 3, 2).transpose(2, 0, 1)
    np.testing.assert_allclose(model.gradients(theta), expected, rtol=1e-13)
    np.testing.assert_allclose(model.hessian(theta, model.law(theta)), np.array(curvature, dtype=float), rtol=1e-13)


def test_softmax_fits_and_broadcasts():
    laws = np.stack([LAW, MODEL.law(TRUTH)])
    fitted = MODEL.fit(laws, np.zeros(4))
    np.testing.assert_allclose(fitted[1], TRUTH, atol=1e-9)
    other = minimize(softmax_loss, np.zeros(4), args=(LAW,), tol=1e-12).x
    np.testing.assert_allclose(fitted[0], other, atol=1e-5)
    for method in (MODEL.gradient, MODEL.fisher, MODEL.hessian):
        np.testing.assert_allclose(method(fitted, laws)[0], method(fitted[0], LAW), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("start", [-6.0, 5.0, 12.0])
def test_a_fit_that_starts_far_away_gets_there(start):
    """Newton's step from a score of five is 36 long and leads uphill; catches steps that are not halved then."""
    coin = SoftmaxRegression([[1.0]], 2)
    np.testing.assert_allclose(coin.fit([[0.75, 0.25]], [start]), math.log(3), rtol=1e-12)


def test_a_data_set_has_the_gap_of_its_frequencies():
    found = curvature_gap(MODEL, TRUTH, np.full(4, 0.25), 300, 1, rng=9, fitted=False)
    law = MODEL.law(TRUTH)
    generator = Stream.of(9).generator(0)
    frequencies = generator.multinomial(300, law.ravel() / law.sum()).reshape(4, 3) / 300
    gap = MODEL.covariance(TRUTH, frequencies) - MODEL.hessian(TRUTH, frequencies)
    assert found.value == pytest.approx((gap**2).sum(), rel=1e-13)


def test_a_fit_has_start_and_law_that_fit_together():
    with pytest.raises(ValueError, match="start must have 4 entries, got 3"):
        MODEL.fit(LAW, np.zeros(3))
    with pytest.raises(
        ValueError, match=r"theta \(..., d\) and law \(..., k, C\) must broadcast, got shapes \(2, 4\) and \(3, 4, 3\)"
    ):
        MODEL.gradient(np.zeros((2, 4)), np.stack([LAW] * 3))
    with pytest.raises(ValueError, match="one maximum likelihood estimate"):  # its gradient vanishes, the estimate runs away
        SoftmaxRegression([[1.0]], 2).fit([[1.0, 0.0]], [0.0])
    for unit in (1e-120, 1e120):
        fitted = SoftmaxRegression([[unit]], 2).fit([[0.75, 0.25]], [0.0])
        np.testing.assert_allclose(fitted * unit, math.log(3), rtol=1e-12)


SEPARABLE = np.diag([0.5, 0.5, 0.0, 0.0])[:, :3]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ClippedNetwork([[1.0]], [2.0], [1.0], 0.1), "labels must be 0 or 1, got 2"),
        (lambda: ClippedNetwork([[1.0]], [1.0, 0.0], [1.0], 0.1), "inputs must have a row for each of the 2 labels"),
        (lambda: ClippedNetwork([[1.0]], [1.0], [1.0], 0.5), "delta must be < 0.5, got 0.5"),
        (lambda: ClippedNetwork([[1.0]], [1.0], [1.0], 0.1, slopes=cast(Any, (1.0,))), "slopes must be two numbers"),
        (lambda: ClippedNetwork([[1.0]], [1.0], [1.0], 0.1).losses([1.0, 2.0]), r"weights must have shape \(1, 1\)"),
        (lambda: Curvature(np.ones((2, 3)), np.ones(2)), "jacobian must have a column for each of the 2 residuals"),
        (lambda: Curvature(np.zeros((2, 3)), np.ones(3)).mean_share, "the Hessian must not be zero"),
        (lambda: Curvature(np.ones((1, 2)), np.ones(2)).alignment, "alignment needs gradients that differ"),
        (lambda: descend(*random_network(4, rng=0), 0.1, [3, 1]), "record must be ascending"),
        (lambda: descend(*random_network(4, rng=0), 0.1, [1], "sgd"), "optimizer must be one of gd, adam, got 'sgd'"),
        (lambda: descend(random_network(4, rng=0)[0], np.ones((2, 2)), 0.1, [1]), r"weights must have shape \(4, 3\)"),
        (lambda: random_network(1, rng=0), "width must be >= 2"),
        (lambda: random_network(3, rng=0), "width must be even, got 3"),
        (lambda: MODEL.gradient(TRUTH[:-1], LAW), "theta must have 4 entries"),
        (lambda: MODEL.gradient(TRUTH, 2 * LAW), "law must be of shape .* and sum to one"),
        (lambda: SoftmaxRegression(np.eye(4), 3).fit(SEPARABLE, np.zeros(8)), "law must have one maximum likelihood estimate"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
