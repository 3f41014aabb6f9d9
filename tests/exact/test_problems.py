"""Problems of users and our own.

It would catch a gradient that is not the derivative, in any units, a right one that is refused for its units, a branch that is
moved where it should be softened, a function that does not compile, leaves its arrays, changes its inputs or draws random
numbers, and an error that does not say which function is wrong.
"""

import math
import sys
import types
from typing import Any, cast

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradnoise.simulations.ensemble import kernel
from gradnoise.simulations.sde import Problem, weak_error
from gradnoise.simulations.sde.derivatives import check_derivatives
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


def root(theta, data, out):
    for i in range(data.shape[0]):
        out[i] = math.sqrt(theta[0])


def one(theta, data, out):
    out[:] = 1.0


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


far: Any = types.ModuleType("far")
far.C, far.deeper = 2.0, cast(Any, types.ModuleType("deeper"))
far.deeper.factor = numba.njit(lambda: 1.0)


def read_from_far(theta, data, out):
    out[:] = far.C * far.deeper.factor() * theta[0]


def read_from_far_gradients(theta, data, out):
    out[:] = far.C * far.deeper.factor()


@pytest.mark.parametrize(("module", "name", "value"), [(far, "C", 3.0), (far.deeper, "factor", numba.njit(lambda: 1.5))])
def test_a_change_in_another_module_is_seen(monkeypatch, module, name, value):
    before = Problem(read_from_far, read_from_far_gradients, DATA, np.array([1.0]))
    assert before.loss([1.0]) == 2
    monkeypatch.setattr(module, name, value)
    after = Problem(read_from_far, read_from_far_gradients, DATA, np.array([1.0]))
    assert after.loss([1.0]) == before.loss([1.0]) == 3 and after.sample_gradients([1.0])[0, 0] == 3


@numba.njit
def inner_factor():
    return SCALE


@numba.njit
def outer_factor():
    return 0.5 * inner_factor()


def read_through_two(theta, data, out):
    out[:] = outer_factor() * theta[0]


def read_through_two_gradients(theta, data, out):
    out[:] = outer_factor()


@pytest.mark.compiled
def test_compiled_functions_between_are_compiled_anew(monkeypatch):
    """Numba keeps what each of them has read; one kernel and one problem call them, and each is asked first once."""
    factor = kernel(lambda: outer_factor())
    problem = Problem(read_through_two, read_through_two_gradients, DATA, np.array([1.0]))
    assert (problem.loss([1.0]), factor()) == (1.0, 1.0)
    monkeypatch.setattr(sys.modules[__name__], "SCALE", 3.0)
    assert (problem.loss([1.0]), factor()) == (1.5, 1.5)
    monkeypatch.setattr(sys.modules[__name__], "SCALE", 5.0)
    assert (factor(), problem.loss([1.0])) == (2.5, 2.5)
    monkeypatch.setattr(sys.modules[__name__], "SCALE", 3.0)
    assert (problem.loss([1.0]), factor()) == (1.5, 1.5)


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
        ((root, one, DATA, [0.0]), ValueError, r"losses must be finite around the start, .* around start\[0\] = 0"),
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


@numba.njit
def entry(data, i, j):
    return data[i, j]


def reads_the_next_column(theta, data, out):
    for i in range(data.shape[0]):
        out[i] = theta[0] * data[i, 1]


def reads_by_a_compiled_helper(theta, data, out):
    for i in range(data.shape[0]):
        out[i] = theta[0] * entry(data, i, 1)


def by_closure(column):
    def reads(theta, data, out):
        for i in range(data.shape[0]):
            out[i] = theta[0] * entry(data, i, column)

    return reads


def reads_far_away_for_one_sample(theta, data, out):
    for i in range(data.shape[0]):
        out[i] = theta[0] * data[i - 10**6 if data[i, 0] > 2.5 else i, 0]


def transposed(theta, data, out):
    for i in range(data.shape[0]):
        out[i, 0] = 1.0


def fixed_room(theta, data, out):
    room = np.zeros(4)
    for k in range(theta.shape[1]):
        room[k] = theta[0, k]
        for i in range(data.shape[0]):
            out[0, i, k] = 4 * (room[k] - data[i, 0]) ** 3


def moves_data(theta, data, out):
    data[0, 0] += 1e-3
    for i in range(data.shape[0]):
        out[i] = (theta[0] - data[i, 0]) ** 4


def noisy(theta, data, out):
    for i in range(data.shape[0]):
        out[i] = theta[0] + np.random.random()  # noqa: NPY002


def half_filled(theta, data, out):
    for i in range(1, data.shape[0]):
        out[i] = (theta[0] - data[i, 0]) ** 4


def of_two(theta, out):
    out[:] = theta[0]


@pytest.mark.compiled
@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ((reads_the_next_column, gradients), ValueError, r"^losses must stay inside its arrays, .* index 1 .* size 1"),
        ((numba.njit(reads_the_next_column), gradients), ValueError, r"^losses must stay inside its arrays"),
        ((reads_by_a_compiled_helper, gradients), ValueError, r"^losses must stay inside its arrays"),
        ((by_closure(5), gradients), ValueError, r"^losses must stay inside its arrays"),
        ((reads_far_away_for_one_sample, gradients), ValueError, r"^losses must stay inside its arrays"),
        (
            (losses, transposed),
            ValueError,
            r"^gradients must stay inside its arrays, theta \(1,\), data \(3, 1\) and out \(1, 3\)",
        ),
        ((losses, fixed_room, True), ValueError, r"^gradients must stay inside its arrays, theta \(1, 64\)"),
        ((moves_data, gradients), ValueError, r"^losses must leave theta and data as they are, got another data"),
        ((noisy, gradients), ValueError, r"^losses must write the same numbers in every call"),
        ((half_filled, gradients), ValueError, r"^losses must write finite numbers into all of out"),
        ((of_two, gradients), TypeError, r"^losses must be a function that Numba can compile"),
    ],
)
@pytest.mark.parametrize("repeats", [1, 10**5], ids=["in Python", "compiled with checks"])
def test_functions_that_misbehave_are_named(arguments, kind, message, repeats):
    """For many samples the same, but that nothing runs in Python: shapes in messages are then others, and numbers unknown."""
    if repeats > 1:
        message = message.split(",")[0]
    with pytest.raises(kind, match=message):
        Problem(arguments[0], arguments[1], np.tile(DATA, (repeats, 1)), np.array([2.0]), "mine", *arguments[2:])


def test_a_test_function_is_tried_out_too():
    problem = Problem(losses, gradients, DATA, np.array([2.0]))
    with pytest.raises(ValueError, match=r"^test_function must stay inside its arrays"):
        weak_error(problem, [0.25, 0.125], 0.5, 10, batch_size=2, rng=1, test_function=reads_the_next_column)


UNITS = [(c, a) for c in (1e-150, 1e-80, 1e-9, 1.0, 1e9, 1e80, 1e150) for a in (1e-120, 1.0, 1e120)]
X, Y = np.random.default_rng(5).normal(size=(6, 3)), np.random.default_rng(6).normal(size=6)
#: Losses of samples and their derivatives by the parameters, for parameters of order one.
SMOOTH = {
    "squares": (lambda t: (X @ t - Y) ** 2 / 2, lambda t: (X @ t - Y) * X.T),
    "logistic": (lambda t: np.logaddexp(0, -X @ t), lambda t: -X.T / (1 + np.exp(X @ t))),
    "exponential": (lambda t: np.exp(3 * X @ t), lambda t: 3 * np.exp(3 * X @ t) * X.T),
    "waves far above zero": (lambda t: 1e6 + np.sin(X @ t), lambda t: np.cos(X @ t) * X.T),
    "stiff": (lambda t: np.log(np.cosh(99 * X @ t - 40)) + t @ t, lambda t: 99 * np.tanh(99 * X @ t - 40) * X.T + 2 * t[:, None]),
    "one parameter of three": (lambda t: (t[1] - Y) ** 2, lambda t: np.outer([0, 1, 0], 2 * (t[1] - Y))),
}  # fmt: skip


@pytest.mark.parametrize("start", [[0.0, 0.0, 0.0], [0.3, -0.2, 0.9], [1e-6, 0.0, 2.0]], ids=str)
@pytest.mark.parametrize("name", SMOOTH)
def test_right_gradients_are_right_and_wrong_ones_wrong_in_all_units(name, start):
    """Parameters in units of 1/c and losses in units of 1/a; twins: a sign, one per cent, a term, a sample, units of one row."""
    losses, gradients = SMOOTH[name]
    start = np.array(start)
    for c, a in UNITS:
        G = a / c * gradients(start)
        here = c * start, lambda t, c=c, a=a: a * losses(t / c)
        check_derivatives(here[1], G, here[0])
        j = int(np.abs(G).max(axis=1).argmax())
        i = int(np.abs(G[j]).argmax())
        row, sample = np.ones_like(G), np.ones_like(G)
        row[j], sample[j, i] = 1e7, 1.01
        dropped = np.where(np.arange(3)[:, None] == j, 0.0, G)
        for wrong in (-G, 1.01 * G, G / 2, dropped, row * G, sample * G, G + 0.01 * G[j, i]):
            with pytest.raises(ValueError, match=r"^gradients must be the derivatives of losses"):
                check_derivatives(here[1], wrong, here[0])


def test_a_jump_is_no_derivative():
    with pytest.raises(ValueError, match=r"^gradients must be the derivatives of losses"):
        check_derivatives(lambda t: np.array([1.0 if t[0] > 0.25 else 2.0]), np.array([[0.0]]), np.array([0.25]))


def looked_up_losses(theta, data, out):
    row = int(theta[1])
    for i in range(data.shape[0]):
        out[i] = 0.5 * (theta[0] - data[i, 0]) ** 2 + data[row, 1]


def looked_up_gradients(theta, data, out):
    for i in range(data.shape[0]):
        out[0, i] = theta[0] - data[i, 0]
        out[1, i] = 0.0


def test_losses_that_leave_their_arrays_far_from_the_start_are_not_followed_there():
    """Catches steps of 10^300 along a parameter without a gradient, at which a place in a table crashed the interpreter."""
    here = Problem(looked_up_losses, looked_up_gradients, data=np.ones((4, 2)), start=np.array([0.3, 0.25]))
    assert here.loss([0.0, 3.0]) == 1.5

    def wrong(theta, data, out):
        looked_up(theta, data, out)
        out[1, 2] = 0.5

    looked_up = numba.njit(looked_up_gradients)
    with pytest.raises(ValueError, match=r"^gradients must be the derivatives of losses, got 0.5 for sample 2 and parameter 1"):
        Problem(looked_up_losses, wrong, data=np.ones((4, 2)), start=np.array([0.3, 0.25]))


def tiny_losses(theta, data, out):
    for i in range(data.shape[0]):
        out[i] = 0.5 * (theta[0] - data[i, 0]) ** 2


def tiny_gradients(theta, data, out):
    for i in range(data.shape[0]):
        out[0, i] = theta[0] - data[i, 0]


@pytest.mark.parametrize("unit", [1e-30, 1e-9, 1e9])
def test_controls_remove_noise_in_all_units(unit):
    """The same problem in other units: errors scale, and with them their standard errors, but for rounding."""
    data, steps = np.array([[0.2], [0.9], [-0.4]]), [0.25, 0.125]
    one, other = (
        weak_error(Problem(tiny_losses, tiny_gradients, c * data, np.array([2.0 * c])), steps, 1.0, 50, batch_size=1, rng=1)
        for c in (1.0, unit)
    )
    np.testing.assert_allclose(other.standard_errors / unit**2, one.standard_errors, rtol=1e-3)
