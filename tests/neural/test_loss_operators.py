"""Products with gradient matrix, covariance and Hessian against autograd one sample at a time, and against curvlinops.

They would catch a sample that is left out by a chunk, a factor n, a tied parameter counted twice, a frozen one counted at all,
and a loss that is no sum over samples.
"""

import itertools
from typing import Any, cast

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'gradnoise[neural]'")

from curvlinops import EFLinearOperator, HessianLinearOperator
from torch import nn

from gradnoise.simulations.neural import loss_operators
from gradnoise.simulations.neural.gradient_spread import gradient_spread
from gradnoise.simulations.neural.loss_operators import LossOperators
from gradnoise.simulations.neural.models import lenet

from .networks import BUILDERS, LOSS, N, problem


@pytest.fixture(params=BUILDERS)
def case(request):
    model, x, y = problem(request.param)
    return model, x, y, LossOperators(model, LOSS, x, y, chunk_size=4)


def gradient_matrix(model, x, y):
    """A backward pass for each sample."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    columns = [torch.autograd.grad(loss, parameters, retain_graph=True) for loss in LOSS(model(x), y)]
    return torch.stack([torch.cat([g.reshape(-1) for g in column]) for column in columns], dim=1)


def close(a, b):
    torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_products_with_the_gradient_matrix(case):
    model, x, y, operators = case
    G = gradient_matrix(model, x, y)
    torch.manual_seed(1)
    v, u = torch.randn(N).double(), torch.randn(len(G)).double()
    assert operators.dimension == len(G)
    close(operators.losses(), LOSS(model(x), y).detach())
    close(operators.matrix_product(v), G @ v)
    close(operators.transposed_product(u), G.T @ u)
    close(operators.gradient(), G.mean(dim=1))
    close(torch.cat(list(operators.sample_gradients())), G.T)
    close(operators.fisher_product(u), G @ (G.T @ u) / N)
    centred = G - G.mean(dim=1, keepdim=True)
    close(operators.covariance_product(u), centred @ (centred.T @ u) / N)


def hessian(model, x, y):
    """Differentiated twice, the parameters one after the other."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    slopes = torch.autograd.grad(LOSS(model(x), y).mean(), parameters, create_graph=True)
    rows = [
        torch.autograd.grad(slope, parameters, retain_graph=True, materialize_grads=True) for s in slopes for slope in s.flatten()
    ]
    return torch.stack([torch.cat([g.reshape(-1) for g in row]) for row in rows])


def test_the_hessian_is_the_derivative_of_the_gradient(case):
    model, x, y, operators = case
    torch.manual_seed(2)
    u = torch.randn(operators.dimension).double()
    close(operators.hessian_product(u), hessian(model, x, y) @ u)


@pytest.mark.parametrize(
    ("name", "traced", "chunk_size"),
    [("lenet", True, None), *itertools.product(BUILDERS, [False, True], [4]), ("perceptron", False, None)],
)
def test_a_kept_hessian_is_that_of_the_point_where_it_was_made(name, traced, chunk_size, monkeypatch):
    """With modules that torch linearises, and one (with GroupNorm) that it does not."""
    if name == "lenet":
        torch.manual_seed(0)
        model, x, y = lenet().double(), torch.randn(N, 1, 28, 28).double(), torch.arange(N) % 10
    else:
        model, x, y = problem(name)
    monkeypatch.setattr(loss_operators, "_WORTH_TRACING", (0, 0) if traced else (2**60, 0))
    operators = LossOperators(model, LOSS, x, y, chunk_size=chunk_size)
    torch.manual_seed(2)
    u = torch.randn(operators.dimension).double()
    before, kept = operators.hessian_product(u), operators.hessian_here()
    assert kept != operators.hessian_product  # something is kept
    for _ in range(2):  # nothing is used up
        close(kept(u), before)
    with torch.no_grad():
        for p in model.parameters():
            if p.requires_grad:
                p += 0.1 * torch.randn_like(p)
    moved = operators.hessian_product(u)
    close(kept(u), before)
    assert (moved - before).norm() > 1e-3 * before.norm()
    close(operators.hessian_here()(u), moved)


def test_no_hessian_is_kept_where_memory_is_short():
    model, x, y = problem("perceptron")
    operators = LossOperators(model, LOSS, x, y)
    operators._held = N // 2
    assert operators.hessian_here() == operators.hessian_product


def test_curvlinops_agrees():
    model, x, y = problem("perceptron")
    operators = LossOperators(model, LOSS, x, y, chunk_size=4)
    data, parameters = [(x, y)], [p for p in model.parameters() if p.requires_grad]
    torch.manual_seed(3)
    u = torch.randn(operators.dimension).double()
    H, F = (kind(model, nn.CrossEntropyLoss(), parameters, data) for kind in (HessianLinearOperator, EFLinearOperator))
    close(operators.hessian_product(u), H @ u)
    close(operators.fisher_product(u), F @ u)


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_where_gradients_are_switched_off_numbers_are_the_same(context):
    """Catches tensors that are made where autograd does not take them: chunks, sums, and vectors of the caller."""
    model, x, y = problem("perceptron")

    def everything():
        operators = LossOperators(model, LOSS, x, y, chunk_size=4)
        u, v = torch.linspace(1, 2, operators.dimension).double(), torch.linspace(1, 2, N).double()
        operators.model.zero_grad()
        operators.backward(v)
        return [
            *(operators.losses(), operators.losses(u), operators.matrix_product(v), operators.transposed_product(u)),
            *(operators.hessian_product(u), operators.hessian_here()(u), torch.cat(list(operators.sample_gradients()))),
            *(gradient_spread(operators).squares, *(p.grad for p in model.parameters())),
        ]

    expected = everything()
    with context():
        found = everything()
    for a, b in zip(found, expected, strict=True):
        close(a, b)


def test_the_model_may_be_trained_in_between():
    model, x, y = problem("perceptron")
    operators = LossOperators(model, LOSS, x, y)
    before = operators.parameters
    with torch.no_grad():
        model[0].weight += 1
    assert not torch.equal(before, operators.parameters)
    close(operators.losses(), LOSS(model(x), y).detach())
    assert not torch.equal(operators.losses(before), operators.losses())


def batch_norm():
    return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))


@pytest.mark.parametrize(
    ("build", "loss", "message"),
    [
        (batch_norm, LOSS, "BatchNorm1d '1' is in training mode"),
        (lambda: nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.1)), LOSS, "must not be random.*Dropout '1' is in training mode"),
        (lambda: nn.Linear(4, 3), nn.CrossEntropyLoss(), "loss must return a number for each sample.*reduction"),
        (lambda: nn.Linear(4, 3).requires_grad_(False), LOSS, "model must have parameters to train"),
    ],
)
def test_networks_without_sample_losses_are_refused(build, loss, message):
    _, x, y = problem("perceptron")
    with pytest.raises(ValueError, match=message):
        LossOperators(build().double(), loss, x, y)


def test_bad_arguments_are_named():
    model, x, y = problem("perceptron")
    operators = LossOperators(model, LOSS, x, y)
    with pytest.raises(TypeError, match=r"model must be a torch\.nn\.Module"):
        LossOperators(cast(Any, lambda x: x), LOSS, x, y)
    with pytest.raises(ValueError, match="inputs and targets must have as many samples"):
        LossOperators(model, LOSS, x, y[:-1])
    with pytest.raises(ValueError, match=r"v must have shape \(9,\)"):
        operators.matrix_product(torch.ones(3))
    with pytest.raises(ValueError, match=rf"u must have shape \({operators.dimension},\)"):
        operators.hessian_product(torch.ones(3))
