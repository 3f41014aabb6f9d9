"""Additive noises against the dense covariances of Table 1.

Null: the second moments are those of `theory.gradient_noise.dynamics_covariance`; n = 20,000 draws, z = 6 over the trace and four
projections for each kind, so a false alarm has a probability below 1e-6.
"""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'gradnoise[neural]'")

from gradnoise.simulations.neural.additive_noise import ADDITIVE, AdditiveNoise
from gradnoise.simulations.neural.loss_operators import LossOperators
from gradnoise.theory import gradient_noise
from gradnoise.theory.sampling import Gaussian, Minibatch

from .networks import LOSS, N, problem

DRAWS, Z, K = 20_000, 6.0, 3
MODEL, X, Y = problem("perceptron")
OPERATORS = LossOperators(MODEL, LOSS, X, Y)
AXES = torch.eye(OPERATORS.dimension).double()
G = torch.stack([OPERATORS.matrix_product(e) for e in torch.eye(N).double()], dim=1).numpy()
H = torch.stack([OPERATORS.hessian_product(e) for e in AXES], dim=1).numpy()


def covariance(kind, law):
    """What Table 1 asks for. Its Hessian is to be positive semi-definite: only leading parts of it are used."""
    sigma = law.gradient_covariance(G)
    values, vectors = np.linalg.eigh(H)
    curvature = vectors * np.maximum(values, 0) @ vectors.T
    row = "gld_const" if kind == "gld_dynamic" else kind
    return gradient_noise.dynamics_covariance(row, sigma, curvature, np.trace(sigma), K)


def sampled(kind, noise, seed=1, **options):
    source = AdditiveNoise(kind, OPERATORS, noise, torch.Generator().manual_seed(seed), k=K, period=DRAWS, **options)
    return torch.stack([source.draw() for _ in range(DRAWS)]).numpy()


def deviation(found, C):
    """Largest deviation of the trace and of variances along fixed directions. Units: standard errors."""
    directions = np.random.default_rng(0).normal(size=(4, len(C)))
    directions[0] = np.linalg.eigh(C)[1][:, -1]
    statistics = [(found**2).sum(axis=1) - np.trace(C), *((found @ u) ** 2 - u @ C @ u for u in directions)]
    return max(abs(s.mean()) / (s.std() / np.sqrt(DRAWS)) for s in statistics)


@pytest.mark.parametrize("kind", ADDITIVE)
def test_covariances_are_those_of_the_table(kind):
    assert deviation(sampled(kind, 3), covariance(kind, Minibatch(N, 3))) < Z


def test_covariances_can_fail():
    for kind, other, noise in (
        ("gld_leading", "gld_hessian", 3),
        ("gld_hessian", "gld_eigvec", 3),
        ("gld_diag", "gld_dynamic", 3),
        ("gld_diag", "gld_diag", 4),
    ):
        assert deviation(sampled(kind, noise), covariance(other, Minibatch(N, 3))) > Z


def test_any_noise_can_be_matched():
    law = Gaussian(N, 2, centered=False)  # its covariance has a part along the mean gradient
    assert deviation(sampled("gld_leading", law), covariance("gld_leading", law)) < Z


def test_const_keeps_its_strength_and_the_others_follow_the_network():
    model, x, y = problem("perceptron")
    operators = LossOperators(model, LOSS, x, y)
    sources = [AdditiveNoise(kind, operators, 3, torch.Generator(), period=2) for kind in ("gld_const", "gld_dynamic")]

    def strength(source):
        assert source._scale is not None
        return float(source._scale)

    for source in sources:
        source.draw()
    before = [strength(source) for source in sources]
    with torch.no_grad():
        model[2].weight *= 10
    sources[1].draw()  # the second of a period: not yet
    assert strength(sources[1]) == before[1]
    for source in sources:
        source.draw()
    assert strength(sources[0]) == before[0] and strength(sources[1]) != before[1]


def test_a_strength_of_ones_own():
    found = sampled("gld_const", 3, strength=0.5)
    assert found.std() == pytest.approx(0.5, rel=0.01)


@pytest.mark.parametrize(
    ("kind", "noise", "options", "message"),
    [
        ("langevin", 3, {}, "kind must be one of gld_const, gld_dynamic"),
        ("gld_const", 3, {"strength": 0.0}, "strength must be > 0"),
        ("gld_diag", 3, {"strength": 0.1}, "strength must be left out for gld_diag"),
        ("gld_leading", 3, {"k": 10}, "k must be between 1 and 9"),
        ("gld_hessian", 3, {"k": 44}, "k must be between 1 and 43"),
        ("gld_diag", Minibatch(N, N, replacement=False), {}, "noise must leave some noise, v > c"),
        ("gld_diag", 3, {"period": 0}, "period must be >= 1"),
    ],
)
def test_bad_arguments_are_named(kind, noise, options, message):
    with pytest.raises(ValueError, match=message):
        AdditiveNoise(kind, OPERATORS, noise, torch.Generator(), **options)


@pytest.mark.parametrize(("n", "dtype"), [(7, torch.float32), (7, torch.float64), (100, torch.float32)])
@pytest.mark.parametrize("kind", ADDITIVE)
def test_nothing_to_match_is_named(kind, n, dtype):
    """Also where the gradients are equal but for rounding. Would catch a comparison with zero itself, or with one rounding."""
    model, x, y = problem("perceptron")
    model.to(dtype)
    one = LossOperators(model, LOSS, x[:1].expand(n, -1).to(dtype), y[:1].expand(n), chunk_size=97)
    with pytest.raises(ValueError, match="the noise to be matched must not be zero"):
        AdditiveNoise(kind, one, 2, torch.Generator(), k=3).draw()
    AdditiveNoise(kind, one, Gaussian(n, 2, centered=False), torch.Generator(), k=3).draw()  # this one has noise along ∇L


@pytest.mark.parametrize("kind", ADDITIVE)
def test_nothing_to_match_is_named_where_rounding_adds_up(kind):
    """Of many samples the trace, a difference, is off by more than one rounding. Would catch a noise as strong as that."""
    torch.manual_seed(3)
    model, x = torch.nn.Linear(4, 3), torch.randn(1, 4).expand(2_000, -1)
    many = LossOperators(model, LOSS, x, torch.ones(2_000, dtype=torch.int64))
    with pytest.raises(ValueError, match="the noise to be matched must not be zero"):
        AdditiveNoise(kind, many, 2, torch.Generator(), k=3).draw()


@pytest.mark.parametrize("kind", ["gld_hessian", "gld_eigvec"])
def test_no_curvature_to_follow_is_named(kind):
    """A concave loss, and a linear one. Would catch axes that are made of rounding."""
    torch.manual_seed(0)
    model, x = torch.nn.Linear(5, 1).double(), torch.randn(9, 5).double()
    for loss in (lambda o, t: -((o[:, 0] - t) ** 2), lambda o, t: o[:, 0] * t):
        operators = LossOperators(model, loss, x, torch.randn(9).double())
        with pytest.raises(ValueError, match=r"must have a positive eigenvalue|operator that is not zero"):
            AdditiveNoise(kind, operators, 3, torch.Generator(), k=2).draw()


@pytest.mark.parametrize("kind", [kind for kind in ADDITIVE if kind not in ("gld_hessian", "gld_eigvec")])
def test_the_smallest_networks(kind):
    """One parameter, and two samples: the noise is all along what there is, as strong as it must be."""
    x, y = torch.tensor([[1.0], [2.0], [3.0]]).double(), torch.tensor([1.0, -1.0, 0.5]).double()
    line = torch.nn.Linear(1, 1, bias=False).double()
    operators = LossOperators(line, lambda o, t: (o[:, 0] - t) ** 2 / 2, x, y)
    noise = AdditiveNoise(kind, operators, 1, torch.Generator().manual_seed(1), period=4_000)
    drawn = torch.stack([noise.draw() for _ in range(4_000)])
    assert drawn.shape == (4_000, 1)
    squares = (drawn**2).sum(dim=1)
    slopes = torch.stack([operators.matrix_product(e) for e in torch.eye(3).double()])
    trace = float(((slopes - slopes.mean(dim=0)) ** 2).sum() / 3)
    assert abs(float(squares.mean()) - trace) < Z * float(squares.std()) / 4_000**0.5
    model, inputs, targets = problem("perceptron")
    two = LossOperators(model, LOSS, inputs[:2], targets[:2])
    assert AdditiveNoise(kind, two, 1, torch.Generator().manual_seed(1)).draw().shape == (two.dimension,)
