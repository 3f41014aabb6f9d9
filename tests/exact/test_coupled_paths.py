"""The coupled paths against a plain transcription: same generator, same numbers.

It would catch an increment that is counted twice or in the wrong step size, a coupling that takes the smallest samples or those
of another step, a centring that is left out, a correction of the drift with a wrong factor, and a control with another step's
sensitivity. The transcription keeps the whole Brownian path and cuts it up for each step size. It follows one path at a time;
only the normals are drawn for a group of paths together.
"""

import math
from typing import Any

import numpy as np
import pytest
from scipy.special import ndtri

from gradnoise.simulations.sde import Coupling, Problem, final_points
from gradnoise.simulations.sde.coupled_paths import sensitivities
from gradnoise.simulations.sde.problem import lanes
from gradnoise.simulations.sde.standard_problems import logistic, tanh_network
from gradnoise.theory.sampling import Bernoulli, Enhanced, Gaussian, Minibatch

PROBLEM, SEED, N = logistic(n=4), 11, 4
N_PATHS = lanes(PROBLEM) + 3  # a full group of paths and a part of one
CHECKED = 0, 1, lanes(PROBLEM) - 1, lanes(PROBLEM), N_PATHS - 1
FINEST, MULTIPLES, N_FINEST = 0.25, (2, 4, 1), 4
NOISES = [
    Gaussian(N, 2),
    Gaussian(N, 2, centered=False),
    Gaussian(N, 2, replacement=False),
    Minibatch(N, 2),
    Minibatch(N, 3, replacement=False),
    Bernoulli(N, 2),
]


def gaussian_root(noise):
    values, axes = np.linalg.eigh(noise.covariance_matrix())
    values[values < 1e-12 * values.max()] = 0.0  # the root of a rounding error would be seen
    return axes * np.sqrt(values) @ axes.T


def corrected_gradient(theta, correction):
    G = PROBLEM.sample_gradients(theta)
    mean, h = G.mean(axis=1), 1e-6
    slope = (PROBLEM.sample_gradients(theta + h * mean).mean(axis=1) - mean) / h
    return G, mean + correction / 2 * slope


def drawn(generator, coupling, noise, size):
    """Increments of each of some paths, and the normals and batches of M-SGD's own, where it has its own."""
    r, h = coupling.refinement, FINEST / coupling.refinement
    increments = np.empty((N_FINEST * r, N, size))
    own = {}
    # Normals are drawn step by step, sample by sample, and path by path, and those of M-SGD's own in between.
    for k in range(N_FINEST * r):
        increments[k] = math.sqrt(h) * generator.standard_normal((N, size))
        for level, m in enumerate(MULTIPLES):
            if not coupling.shared and (k + 1) % (m * r) == 0:
                normals = generator.standard_normal((N, size))
                picks = noise.batch_size if isinstance(noise, Minibatch) and noise.replacement else 0
                chosen = (generator.random((picks, size)) * N).astype(int)
                own[level, (k + 1) // (m * r) - 1] = math.sqrt(m * FINEST) * normals, chosen
    return [
        (increments[:, :, path], {key: (normals[:, path], chosen[:, path]) for key, (normals, chosen) in own.items()})
        for path in range(size)
    ]


def transcription(increments, own, coupling, noise, v=None):
    r, shared = coupling.refinement, coupling.shared
    ends = []
    root = gaussian_root(noise)
    for level, m in enumerate(MULTIPLES):
        eta, theta, Theta, control = m * FINEST, PROBLEM.start.copy(), PROBLEM.start.copy(), 0.0
        for k in range(N_FINEST // m):
            step = increments[k * m * r : (k + 1) * m * r]
            for s in range(r):
                dW, small = step[s * m : (s + 1) * m].sum(axis=0), eta / r
                G, drift = corrected_gradient(Theta, (eta if coupling.modified else 0.0) - small)
                noise_term = math.sqrt(eta) * G @ root @ dW
                control += v[level, k] @ noise_term if v is not None else 0.0
                Theta = Theta - small * drift - noise_term
            dW = step.sum(axis=0) if shared else own[level, k][0]
            G = PROBLEM.sample_gradients(theta)
            if isinstance(noise, Gaussian):
                W = 1 / N + root @ dW / math.sqrt(eta)
            elif isinstance(noise, Bernoulli):
                W = (dW / math.sqrt(eta) > -ndtri(noise.batch_size / N)) / noise.batch_size
            elif noise.replacement:
                parts = step.reshape(noise.batch_size, -1, N).sum(axis=1)
                batch = parts.argmax(axis=1) if shared else own[level, k][1]
                W = np.bincount(batch, minlength=N) / noise.batch_size
            else:
                W = np.isin(np.arange(N), np.argsort(dW)[-noise.batch_size :]) / noise.batch_size
            control -= v[level, k] @ G @ (W - 1 / N) * eta if v is not None else 0.0
            theta = theta - eta * G @ W
        ends.append((theta, Theta, control))
    return ends


@pytest.mark.parametrize("noise", NOISES, ids=repr)
@pytest.mark.parametrize("modified", [False, True])
@pytest.mark.parametrize("shared", [True, False])
def test_paths(noise, modified, shared):
    coupling = Coupling(noise, FINEST, MULTIPLES, N_FINEST, 4, modified, shared)
    v = sensitivities(PROBLEM, PROBLEM.losses, coupling)
    iterates, references, controls = final_points(N_PATHS, np.random.default_rng(SEED), PROBLEM, coupling, v)
    generator, group = np.random.default_rng(SEED), lanes(PROBLEM)
    paths = [path for size in (group, N_PATHS - group) for path in drawn(generator, coupling, noise, size)]
    for path in CHECKED:
        for level, (theta, Theta, control) in enumerate(transcription(*paths[path], coupling, noise, v)):
            # The quotient of gradients loses ten digits of rounding over its step of 1e-6.
            np.testing.assert_allclose(iterates[path, level], theta, rtol=1e-9, atol=1e-12)
            np.testing.assert_allclose(references[path, level], Theta, rtol=1e-7, atol=1e-9)
            assert controls[path, level] == pytest.approx(control, rel=1e-7, abs=1e-9)


def test_the_reference_is_checked_against_one_of_twice_its_step():
    """With r = 8 its substeps are those of a reference with r = 4."""
    noise = Gaussian(N, 2)
    fine, coarse = (Coupling(noise, FINEST, (1,), N_FINEST, r, modified=True) for r in (8, 4))
    halves, whole, _ = final_points(1, np.random.default_rng(SEED), PROBLEM, fine.of_reference())
    np.testing.assert_array_equal(whole, final_points(1, np.random.default_rng(SEED), PROBLEM, fine)[1])
    generator = np.random.default_rng(SEED)
    root = gaussian_root(noise)
    Theta, h = PROBLEM.start.copy(), FINEST / 4
    for _ in range(N_FINEST * 4):
        dW = math.sqrt(FINEST / 8) * sum(np.array([generator.standard_normal() for _ in range(N)]) for _ in range(2))
        G, drift = corrected_gradient(Theta, FINEST - h)
        Theta = Theta - h * drift - math.sqrt(FINEST) * G @ root @ dW
    np.testing.assert_allclose(halves[0, 0], Theta, rtol=1e-7, atol=1e-9)
    assert not np.allclose(halves, final_points(1, np.random.default_rng(SEED), PROBLEM, coarse)[1])  # another path


def test_gradients_at_one_point_and_at_many_give_the_same_paths():
    def gradients(theta, data, out):
        for i in range(data.shape[0]):
            margin = data[i, 0] * theta[0] + data[i, 1] * theta[1]
            for j in range(2):
                out[j, i] = -data[i, j] / (1 + math.exp(margin))

    one_by_one = Problem(PROBLEM.losses, gradients, PROBLEM.data, PROBLEM.start)
    coupling = Coupling(Gaussian(N, 2), FINEST, MULTIPLES, N_FINEST, 4, modified=True)
    found = [final_points(N_PATHS, np.random.default_rng(SEED), problem, coupling)[:2] for problem in (one_by_one, PROBLEM)]
    np.testing.assert_allclose(found[0], found[1], rtol=1e-7, atol=1e-9)


def test_sensitivities_are_derivatives_of_the_last_loss():
    """Push each point of noise-free descent a little, and see what the last loss does."""
    problem = tanh_network(n=3, n_hidden=1)
    coupling = Coupling(Gaussian(3, 1), 0.125, (1, 2), 4, 4)
    v, h = sensitivities(problem, problem.losses, coupling), 1e-5

    def last_loss(eta, n_steps, pushed, push):
        theta = problem.start.copy()
        for k in range(n_steps):
            theta = theta - eta * problem.sample_gradients(theta).mean(axis=1)
            if k == pushed:
                theta = theta + push
        return problem.loss(theta)

    for level, (eta, n_steps) in enumerate(((0.125, 4), (0.25, 2))):
        for k in range(n_steps):
            for j, e in enumerate(np.eye(3)):
                derivative = (last_loss(eta, n_steps, k, h * e) - last_loss(eta, n_steps, k, -h * e)) / (2 * h)
                assert v[level, k, j] == pytest.approx(derivative, abs=1e-7)


def test_strong_studies_need_no_sensitivities():
    coupling = Coupling(NOISES[0], FINEST, MULTIPLES, N_FINEST, 4)
    points = [
        final_points(N_PATHS, np.random.default_rng(SEED), PROBLEM, coupling, v)
        for v in (None, sensitivities(PROBLEM, PROBLEM.losses, coupling))
    ]
    for k in (0, 1):
        np.testing.assert_array_equal(points[0][k], points[1][k])
    assert not points[0][2].any()


@pytest.mark.parametrize(("changes", "message"), [
    ({"noise": 3}, "noise must be of class SamplingNoise"), ({"finest": "0.25"}, "finest must be a real number"),
    ({"finest": 0.0}, "finest must be > 0"), ({"multiples": "12"}, "multiples must be an integer"),
    ({"multiples": (1, 3)}, "multiples must be different divisors of n_finest = 8"),
    ({"multiples": (2, 2)}, "multiples must be different divisors"), ({"multiples": 2}, "multiples must be different divisors"),
    ({"n_finest": 8.0}, "n_finest must be an integer"), ({"refinement": 5}, "refinement must be even, and at least 4"),
    ({"refinement": 2}, "refinement must be even, and at least 4"), ({"modified": 1}, "modified must be True or False"),
    ({"shared": None}, "shared must be True or False"), ({"substeps": 4}, "substeps must divide refinement = 6"),
])  # fmt: skip
def test_what_is_no_coupling_is_named(changes, message):
    good: dict[str, Any] = {"noise": Gaussian(N, 2), "finest": 0.25, "multiples": (1, 2), "n_finest": 8, "refinement": 6}
    same, bad = {**good, "multiples": np.array([1, 2])}, {**good, **changes}
    assert Coupling(**same) == Coupling(**good)
    with pytest.raises((ValueError, TypeError), match=f"^{message}"):
        Coupling(**bad)


@pytest.mark.parametrize(("changes", "message"), [
    ({"n_paths": 2.0}, "n_paths must be an integer"), ({"n_paths": 0}, "n_paths must be >= 1"),
    ({"n_paths": 2**45}, "n_paths = 35184372088832 makes points of"), ({"generator": 1}, "generator must be of class Generator"),
    ({"problem": None}, "problem must be of class Problem"), ({"coupling": None}, "coupling must be of class Coupling"),
    ({"sensitivities": [1.0]}, "sensitivities must be an array of floats"),
    ({"sensitivities": np.ones((2, N_FINEST, 5))}, r"sensitivities must have shape \(\d, steps, \d\)"),
    ({"sensitivities": np.ma.ones((1, 1, 1))}, "sensitivities must be an array of floats without a mask"),
])  # fmt: skip
def test_what_cannot_be_followed_is_named(changes, message):
    coupling = Coupling(NOISES[0], FINEST, MULTIPLES, N_FINEST, 4)
    good: dict[str, Any] = {"n_paths": 2, "generator": np.random.default_rng(1), "problem": PROBLEM, "coupling": coupling}
    with pytest.raises((ValueError, TypeError), match=f"^{message}"):
        final_points(**good | changes)


def test_a_noise_that_cannot_be_coupled_is_refused():
    with pytest.raises(TypeError, match="Gaussian, Minibatch or Bernoulli noise, got Enhanced"):
        Coupling(Enhanced(Minibatch(N, 1), 0.5), FINEST, MULTIPLES, N_FINEST, 4).noise_rule()
