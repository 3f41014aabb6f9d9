"""Problems of users and our own.

It would catch a gradient that is not the derivative, a branch that is moved where it should be softened, a function that does
not compile, and an error that does not say which function is wrong.
"""

import math
import sys
from typing import Any, cast

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradnoise.simulations.sde import Problem
from gradnoise.simulations.sde.standard_problems import STANDARD, logistic, tanh_network, two_basin
from gradnoise.theory.escape import two_basin as toy

PROBLEMS = [*(study.build() for study in STANDARD.values()), tanh_network(n=3, n_hidden=4, seed=5)]


@pytest.mark.compiled  # whose exponentials overflow to infinity
@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda p: f"{p.name}-{p.dimension}")
@given(seed=st.integers(0, 10_000))
def test_gradients_are_derivatives_everywhere(problem, seed):
    """Central differences: h^2 f'''/6 and rounding EPS f/h; the toy's third derivatives reach 200^1.5/0.05^2, hence its scale."""
    theta = problem.start + np.random.default_rng(seed).normal(size=problem.dimension)
    h = 1e-6 if problem.name == "two-basin" else 1e-5
    difference = np.array(
        [
            (problem.sample_losses(theta + h * e) - problem.sample_losses(theta - h * e)) / (2 * h)
            for e in np.eye(problem.dimension)
        ]
    )
    scale = 1 + np.abs(problem.sample_losses(theta)).max() + np.abs(difference).max()
    np.testing.assert_allclose(problem.sample_gradients(theta), difference, atol=1e-5 * scale)


def test_losses_are_the_printed_ones():
    theta = np.array([0.4, -0.9])
    problem = logistic()
    expected = [math.log(1 + math.exp(-(row @ theta))) for row in problem.data]
    np.testing.assert_allclose(problem.sample_losses(theta), expected, rtol=1e-12)
    assert logistic().sample_losses([1e4, -1e4]).max() < 1e6  # no overflow
    network = tanh_network(n=3, n_hidden=2)
    w, bias, a = network.start.reshape(2, 3).T
    outputs = [sum(a * np.tanh(w * x + bias)) for x in network.data[:, 0]]
    np.testing.assert_allclose(network.sample_losses(network.start), (network.data[:, 1] - outputs) ** 2 / 2, rtol=1e-12)


def test_the_softened_toy_is_below_the_toy_by_at_most_its_softness():
    problem = two_basin()
    for theta in np.random.default_rng(0).normal(size=(50, 2)):
        gap = toy.losses(theta, problem.data) - problem.sample_losses(theta)
        assert (gap >= -1e-9).all() and (gap <= 0.05 * math.log(2) + 1e-9).all()


def losses(theta, data, out):
    for i in range(data.shape[0]):
        out[i] = (theta[0] - data[i, 0]) ** 4


def gradients(theta, data, out):
    for i in range(data.shape[0]):
        out[0, i] = 4 * (theta[0] - data[i, 0]) ** 3


def wrong(theta, data, out):
    for i in range(data.shape[0]):
        out[0, i] = 3 * (theta[0] - data[i, 0]) ** 3


def forgetful(theta, data, out):
    out[0] = 1.0


def uncompilable(theta, data, out):
    out[0, 0] = str(theta)


DATA = np.array([[0.0], [1.0], [3.0]])


def test_plain_and_compiled_functions_are_alike():
    plain = Problem(losses, gradients, DATA, np.array([2.0]))
    compiled = Problem(numba.njit(losses), numba.njit(gradients), cast(Any, DATA.tolist()), cast(Any, [2.0]))
    np.testing.assert_array_equal(plain.sample_losses([0.5]), compiled.sample_losses([0.5]))
    assert plain.loss([2.0]) == (16 + 1 + 1) / 3 and plain.n == 3 and plain.dimension == 1


def large_losses(theta, data, out):
    for i in range(data.shape[0]):
        out[i] = 0.5 * (theta[0] - data[i, 0]) ** 2


def opposite(theta, data, out):
    for i in range(data.shape[0]):
        out[0, i] = data[i, 0] - theta[0]


def logarithm(theta, data, out):
    for i in range(data.shape[0]):
        out[i] = -math.log(theta[0])


def steep(theta, data, out):
    out[0] = 1e9


def importing(theta, data, out):
    import numpy

    out[0] = numpy.pi


SCALE = 2.0


def scaled(theta, data, out):
    out[:] = SCALE * theta[0]


def scaled_gradients(theta, data, out):
    out[:] = SCALE


def test_a_changed_global_is_seen(monkeypatch):
    assert Problem(scaled, scaled_gradients, DATA, np.array([1.0])).loss([1.0]) == 2
    monkeypatch.setattr(sys.modules[__name__], "SCALE", 3.0)
    problem = Problem(scaled, scaled_gradients, DATA, np.array([1.0]))
    assert problem.loss([1.0]) == 3 and problem.sample_gradients([1.0])[0, 0] == 3


def at_many_points(theta, data, out):
    for i in range(data.shape[0]):
        for k in range(theta.shape[1]):
            out[0, i, k] = 4 * (theta[0, k] - data[i, 0]) ** 3


def for_one_point(theta, data, out):
    for i in range(data.shape[0]):
        out[0, i, :] = 4 * (theta[0, 0] - data[i, 0]) ** 3


@pytest.mark.compiled
@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        (
            (large_losses, opposite, [[1e5], [2e5]], [1.0]),
            ValueError,
            "gradients must be the derivatives",
        ),
        ((logarithm, steep, DATA, [1e-6]), ValueError, r"losses must be finite around the start, .* at start\[0\]"),
        ((importing, gradients, DATA, [2.0]), TypeError, "losses must be a function that Numba can"),
        (
            (losses, wrong, DATA, [2.0]),
            ValueError,
            "gradients must be the derivatives of losses, got 24 for sample 0 and parameter 0",
        ),
        ((forgetful, gradients, DATA, [2.0]), ValueError, "losses must write finite numbers into all of out"),
        (
            (losses, uncompilable, DATA, [2.0]),
            TypeError,
            "gradients must be a function that Numba can",
        ),
        ((3, gradients, DATA, [2.0]), TypeError, "losses must be a function, got 3"),
        ((losses, gradients, [[]], [2.0]), ValueError, "data and start must not be empty"),
        ((losses, gradients, [0.0, 1.0], [2.0]), ValueError, "data must have 2 dimension"),
        ((losses, gradients, DATA, [2.0], "mine", 1), TypeError, "vectorized must be True or False, got 1"),
        ((losses, for_one_point, DATA, [2.0], "mine", True), ValueError, "gradients must write those of each theta"),
    ],
)
def test_bad_problems_are_named(arguments, kind, message):
    with pytest.raises(kind, match=message):
        Problem(*arguments)


def test_gradients_at_many_points_are_those_at_each():
    problem = Problem(losses, at_many_points, DATA, np.array([2.0]), vectorized=True)
    np.testing.assert_array_equal(
        problem.sample_gradients([1.5]), Problem(losses, gradients, DATA, np.array([1.5])).sample_gradients([1.5])
    )


def test_a_point_of_another_dimension_is_refused():
    with pytest.raises(ValueError, match="theta must have shape"):
        Problem(losses, gradients, DATA, np.array([2.0])).loss([1.0, 2.0])
