"""What simulators refuse, with the name of the argument, before it is out of memory or becomes a number.

It would catch counts whose arrays no memory holds, paths that diverge and are counted all the same, seeds that no result can
tell, lengths that overflow, and arguments of another kind that end in an error of NumPy's or Numba's.
"""

from typing import Any

import numpy as np
import pytest

from gradnoise.simulations import clipped_network, complexity, langevin, least_squares, ornstein_uhlenbeck, sde, toy
from gradnoise.simulations import softmax_regression as softmax
from gradnoise.simulations.sampling import outcomes
from gradnoise.simulations.seeds import Stream
from gradnoise.theory.complexity import LossClass
from gradnoise.theory.curvature import ClippedNetwork, SoftmaxRegression
from gradnoise.theory.escape import PlanarLandscape
from gradnoise.theory.least_squares import FiniteLeastSquares, LeastSquares
from gradnoise.theory.sampling import Enhanced, Minibatch

BOWL, WELL = PlanarLandscape(quadratic=1.0), PlanarLandscape(quadratic=1.0, quartic=1.0)
LINE, POINTS = LeastSquares([1.0, 0.3], [1.0, 1.0], 0.5), FiniteLeastSquares([[1.0], [1.0]], [0.0, 2.0], [0.0])
NETWORK, WEIGHTS = clipped_network.random_network(4, rng=1)
STEEP = ClippedNetwork([[100.0], [100.0]], [1.0, 1.0], [1.0], 0.1)
COIN = SoftmaxRegression(design=[[1.0]], n_classes=2)
HUGE = 10**15
NONE: Any = None  # arguments of another kind
NUMBER: Any = 5
NAME: Any = "loss"
ONLINE: Any = LINE
SAME: Any = np.asarray


class _Losses(LossClass):
    """A class of one's own, whose suprema are given."""

    def __init__(self, suprema):
        super().__init__(np.ones((1, 3)))
        self.supremum_of = suprema

    def supremum_of(self, statistics):
        raise NotImplementedError


def _complexity(suprema):
    return complexity.simulate(_Losses(suprema), Minibatch(3, 2), 5, rng=1)


def _weights(X):
    return outcomes(Minibatch(len(X), 1))


@pytest.mark.compiled
@pytest.mark.parametrize(("call", "message"), [
    (lambda: toy.simulate("gd", 3, rng=1, n_data=HUGE), "n_data = 1000000000000000 makes data of"),
    (lambda: toy.simulate("gd", 3, rng=1, n_steps=HUGE, record=NAME), "n_paths = 3 with record = .* makes results of"),
    (lambda: toy.simulate("gd", HUGE, rng=1), "n_paths = 1000000000000000 .* makes results of"),
    (lambda: toy.simulate("gd", 2**53 + 1, rng=1), "n_paths must be"),
    (lambda: toy.simulate("gd", 3, rng=1, n_steps=50, step_size=1e30), "step_size and noise_power must keep all paths"),
    (lambda: toy.simulate("gld_const", 3, rng=1, step_size=1e200, convention="literal"), "step_size and noise_power must"),
    (lambda: toy.simulate("gd", 3, rng=1, record=NUMBER), "record must be a tuple"),
    (lambda: langevin.simulate(BOWL, np.eye(2), (0, 0), 0.1, 1, HUGE, rng=1), "n_paths = 1000000000000000 makes results"),
    (lambda: langevin.simulate(WELL, np.eye(2), (1e90, 0), 1e-300, 1, 3, rng=1), "step_size must keep all paths finite"),
    (lambda: ornstein_uhlenbeck.simulate([[4.0]], [[1.0]], 1e4, 3, rng=1, method="euler", step_size=1.0), "time and step_size"),
    (lambda: least_squares.simulate(LINE, Minibatch(10**14, 3), 0.1, 1, 3, rng=1), "noise of 100000000000000 samples"),
    (lambda: least_squares.simulate(LINE, Enhanced(Minibatch(10**13, 3), 0.5), 0.1, 1, 3, rng=1), "noise of 1000000000000"),
    (lambda: least_squares.simulate_curve(LINE, Minibatch(7, 3), 0.1, NUMBER, 3, rng=1), "n_steps must be a sequence"),
    (lambda: least_squares.excess_risks(POINTS, _weights, 0.1, 10**6), "n_steps must leave at most"),
    (lambda: least_squares.excess_risks(POINTS, _weights, 0.1, 1, n_samples=10**9), "n_samples must leave at most"),
    (lambda: least_squares.excess_risks(POINTS, _weights, 1e300, 2), "step_size must keep all paths finite"),
    (lambda: least_squares.excess_risks(POINTS, SAME, 0.1, 2), "weights must return the Outcomes"),
    (lambda: least_squares.excess_risks(ONLINE, _weights, 0.1, 2), "problem must be a FiniteLeastSquares"),
    (lambda: sde.standard_problems.least_squares(HUGE), "n = 1000000000000000 and dimension = 2 make a problem"),
    (lambda: sde.standard_problems.tanh_network(4, HUGE), "n = 4 and n_hidden = 1000000000000000 make"),
    (lambda: sde.standard_problems.two_basin(HUGE), "n = 1000000000000000 makes a problem"),
    (lambda: sde.standard_problems.logistic(4, seed=-1), "seed must be"),
    (lambda: complexity.simulate(_Losses(abs), Minibatch(HUGE, 2), 5, rng=1, probabilities=[1, 0, 0]), "noise of 1000"),
    (lambda: _complexity(lambda s: s[:, 0] * np.nan), r"supremum_of\(statistics\) must be finite"),
    (lambda: _complexity(lambda s: np.ones(4)), "supremum_of must return a number for each of 5 rows"),
    (lambda: _complexity(lambda s: np.ones(6)), "supremum_of must return a number for each of 5 rows"),
    (lambda: _complexity(lambda s: s), r"supremum_of\(statistics\) must have 1 dimension"),
    (lambda: clipped_network.random_network(2 * HUGE, rng=1), "width = 2000000000000000 and n_samples = 40 make"),
    (lambda: clipped_network.descend(STEEP, [[0.005]], 1e308, [0, 9]), "step_size must keep the weights finite"),
    (lambda: clipped_network.descend(NETWORK, WEIGHTS, 0.1, NUMBER), "record must be ascending"),
    (lambda: clipped_network.descend(NONE, WEIGHTS, 0.1, [9]), "network must be a ClippedNetwork"),
    (lambda: softmax.curvature_gap(NONE, [0.0], [1.0], 5, 5, rng=1), "model must be a SoftmaxRegression"),
    (lambda: softmax.curvature_gap(COIN, [0.0], [1.0], 5, 5, rng=1, fitted=NUMBER), "fitted must be True or False"),
    (lambda: softmax.curvature_gap(COIN, [0.0], [1.0], 1, 5, rng=1), "theta and n_samples must be such that each data set has"),
    (lambda: clipped_network.descend(NETWORK, WEIGHTS, 0.1, b"ab"), "record must be ascending"),
    (lambda: least_squares.simulate_curve(LINE, Minibatch(7, 3), 0.1, b"ab", 3, rng=1), "n_steps must be a sequence"),
    (lambda: least_squares.simulate(LINE, Minibatch(7, 3), 0.1, 2**63 - 1, 3, rng=1), "n_steps must be between 0 and"),
    (lambda: langevin.simulate(BOWL, np.eye(2) * 1e300, (0, 0), 0.1, 9, 3, rng=1), "step_size must keep all paths finite"),
    (lambda: Stream.of(2**5000), r"rng must be a seed below 2\*\*4096"),
    (lambda: Stream.of(np.random.SeedSequence([1, 2**5000])), r"rng must be a seed below"),
    (lambda: Stream.of(-(10**5000)), "rng must be >= 0"),
])  # fmt: skip
def test_it_is_named(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call()


@pytest.mark.compiled
@pytest.mark.parametrize("size", [1e-200, 1e300])
def test_only_the_direction_of_a_tie_counts(size):
    one, other = (
        toy.simulate("gld_eigvec", 20, rng=1, n_steps=30, noise_power=0.5, tie_direction=(c, 3 * c)).final for c in (1.0, size)
    )
    np.testing.assert_allclose(other, one, rtol=1e-9)
