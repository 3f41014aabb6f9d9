"""Ghost batch normalisation: what it computes, how it is trained, and what is refused while it is.

They would catch ghosts that depend on how many samples are taken at once, running statistics that count a small ghost for a
whole one, an evaluation that normalises by ghosts or changes the network, and a quantity of single samples that is measured
although they have no losses of their own. Sizes: 17 samples in ghosts of 5, 5, 5 and 2.
"""

import copy
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'gradnoise[neural]'")

from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from gradnoise.simulations.neural.dynamics import DYNAMICS, build
from gradnoise.simulations.neural.gradient_spread import gradient_spread
from gradnoise.simulations.neural.loss_operators import LossOperators
from gradnoise.simulations.neural.models import GhostBatchNorm2d
from gradnoise.simulations.neural.tasks import accuracy
from gradnoise.simulations.neural.traces import expected_sharpness, trace_covariance, trace_hessian
from gradnoise.simulations.neural.training import train

from .networks import CLASSES, LOSS

N, GHOST, CHANNELS = 17, 5, 3


def network(seed=0, norm=None) -> Any:
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(1, CHANNELS, 3), GhostBatchNorm2d(CHANNELS, GHOST) if norm is None else norm, nn.Tanh(),
        nn.Flatten(), nn.Linear(CHANNELS * 4, CLASSES),
    )  # fmt: skip
    return model.double()


def samples(n=N):
    torch.manual_seed(1)
    return torch.randn(n, 1, 4, 4).double(), torch.arange(n) % CLASSES


def by_hand(model, x):
    """Outputs of a network whose ghosts are normalised one by one, by the formula."""
    norm, parts = model[1], []
    for start in range(0, len(x), GHOST):
        maps = model[0](x[start : start + GHOST])
        mean, variance = (maps.mean(dim=(0, 2, 3), keepdim=True), maps.var(dim=(0, 2, 3), keepdim=True, unbiased=False))
        weight, bias = norm.weight[:, None, None], norm.bias[:, None, None]
        parts.append(model[2:](weight * (maps - mean) / (variance + norm.eps).sqrt() + bias))
    return torch.cat(parts)


def gradients_by_hand(model, x, y, v):
    found = torch.autograd.grad((v * LOSS(by_hand(model, x), y)).sum(), list(model.parameters()))
    return torch.cat([g.flatten() for g in found])


def backward(operators, *arguments):
    """What `backward` adds to the gradients, flattened."""
    operators.model.zero_grad()
    operators.backward(*arguments)
    return torch.cat([p.grad.flatten() for p in operators.model.parameters()])


def close(a, b):
    torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_each_ghost_is_normalised_by_itself():
    model, (x, _) = network(), samples()
    nn.init.normal_(model[1].weight)
    nn.init.normal_(model[1].bias)
    close(model(x), by_hand(model, x))
    close(model(x.contiguous(memory_format=torch.channels_last)), by_hand(model, x))


def test_running_statistics_are_those_of_as_many_batches_in_which_all_samples_weigh_alike():
    x = torch.randn(N, 2, 3, 3).double() + 4
    layer: Any = GhostBatchNorm2d(2, GHOST, momentum=0.3).double()
    mean, variance = torch.zeros(2).double(), torch.ones(2).double()
    for start in range(0, N, GHOST):
        ghost = x[start : start + GHOST]
        kept = 0.7 ** (len(ghost) / GHOST)
        mean = kept * mean + (1 - kept) * ghost.mean(dim=(0, 2, 3))
        variance = kept * variance + (1 - kept) * ghost.var(dim=(0, 2, 3))
    layer(x)
    close(layer.running_mean, mean)
    close(layer.running_var, variance)
    assert int(layer.num_batches_tracked) == 4
    close(layer.eval()(x), (x - mean[:, None, None]) / (variance[:, None, None] + layer.eps).sqrt())


def test_a_ghost_as_large_as_the_batch_is_batch_normalisation():
    """Also in its running statistics, bit for bit: no digit is lost where a ghost is whole."""
    ours, theirs, x = GhostBatchNorm2d(2, N), nn.BatchNorm2d(2), torch.randn(N, 2, 3, 3)
    assert torch.equal(ours(x), theirs(x))
    assert torch.equal(ours.running_mean, theirs.running_mean) and torch.equal(ours.running_var, theirs.running_var)


def test_a_ghost_of_one_value_is_refused():
    """Which would be normalised to zero, whatever it is."""
    layer = GhostBatchNorm2d(2, GHOST)
    with pytest.raises(ValueError, match=r"a ghost must have two values or more in each channel, got 1 of maps \(1, 1\)"):
        layer(torch.randn(6, 2, 1, 1))
    assert layer(torch.randn(6, 2, 1, 2)).shape == (6, 2, 1, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0,), "n_channels must be between 1"),
        ((2, 0), "ghost_size must be >= 1"),
        ((2, 2.5), "ghost_size must be"),
    ],
)
def test_sizes_that_are_none_are_refused(arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        GhostBatchNorm2d(*arguments)


def test_momentum_and_eps_are_checked():
    with pytest.raises(ValueError, match="momentum must be >= 0 and <= 1"):
        GhostBatchNorm2d(2, momentum=1.5)
    with pytest.raises(ValueError, match="eps must be > 0"):
        GhostBatchNorm2d(2, eps=0)


@pytest.mark.parametrize("chunk_size", [1, 5, 7, 11, None])
def test_a_step_is_that_of_the_whole_batch_however_many_samples_are_taken_at_once(chunk_size):
    x, y = samples()
    torch.manual_seed(2)
    drawn, v = torch.randint(N, (13,)), torch.randn(13).double()
    model, whole = network(), network()
    operators = LossOperators(model, LOSS, x, y, chunk_size=chunk_size)
    close(backward(operators, v, drawn), gradients_by_hand(model, x[drawn], y[drawn], v))
    whole(x[drawn])
    close(model[1].running_mean, whole[1].running_mean)
    close(model[1].running_var, whole[1].running_var)
    every = torch.randn(N).double()
    close(backward(operators, every), gradients_by_hand(model, x, y, every))


def test_ghosts_that_are_parted_can_be_told():
    """The twin of the test above: what chunks of 7 would give were they not rounded to whole ghosts."""
    (x, y), model, v = samples(), network(), torch.randn(N).double()
    whole, parts = gradients_by_hand(model, x, y, v), [slice(0, 7), slice(7, 14), slice(14, N)]
    parted = sum(gradients_by_hand(model, x[part], y[part], v[part]) for part in parts)
    assert (parted - whole).norm() > 0.01 * whole.norm()


@pytest.mark.parametrize("norm", [None, nn.BatchNorm2d(CHANNELS)])
def test_the_gradient_of_a_large_batch_is_the_mean_of_those_of_its_ghosts(norm):
    """So normalisation makes a gradient no other with the size of the batch, which that of torch does: why wu2019 takes it."""
    (x, y), model = samples(2 * GHOST), network(norm=norm)

    def gradient(some):
        found = torch.autograd.grad(LOSS(model(x[some]), y[some]).mean(), list(model.parameters()))
        return torch.cat([g.flatten() for g in found])

    whole, parts = gradient(slice(None)), (gradient(slice(GHOST)) + gradient(slice(GHOST, None))) / 2
    assert ((whole - parts).norm() < 1e-12 * whole.norm()) == (norm is None)


REFUSED = {
    "gradient": lambda o: o.gradient(),
    "matrix_product": lambda o: o.matrix_product(torch.ones(N).double()),
    "transposed_product": lambda o: o.transposed_product(o.parameters),
    "hessian_product": lambda o: o.hessian_product(o.parameters),
    "hessian_here": lambda o: o.hessian_here()(o.parameters),
    "fisher_product": lambda o: o.fisher_product(o.parameters),
    "covariance_product": lambda o: o.covariance_product(o.parameters),
    "sample_gradients": lambda o: list(o.sample_gradients()),
    "chunks": lambda o: [evaluate(slice(0, 2)) for evaluate, _ in o.chunks()],
    "gradient_spread": gradient_spread,
    "trace_hessian": lambda o: trace_hessian(o, 2, torch.Generator().manual_seed(1)),
    "gld_diag": lambda o: build("gld_diag", o, GHOST, torch.Generator().manual_seed(1)).backward(),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_of_single_samples_is_refused_in_training_mode_and_right_in_evaluation_mode(name):
    model, measure = network(), REFUSED[name]
    operators = LossOperators(model, LOSS, *samples())
    with pytest.raises(ValueError, match=r"must not depend on other samples, but GhostBatchNorm2d '1' is in training mode"):
        measure(operators)
    model.eval()
    measure(operators)
    model.train()
    with pytest.raises(ValueError, match="GhostBatchNorm2d '1' is in training mode"):
        measure(operators)


def test_gradients_of_samples_in_evaluation_mode():
    (x, y), model = samples(), network()
    model(x)
    operators = LossOperators(model.eval(), LOSS, x, y)
    rows = [torch.autograd.grad(LOSS(model(x[[i]]), y[[i]]).sum(), list(model.parameters())) for i in range(N)]
    expected = torch.stack([torch.cat([g.flatten() for g in row]) for row in rows])
    close(torch.cat(list(operators.sample_gradients())), expected)
    spread = (expected - expected.mean(dim=0)).square().sum() / N
    assert trace_covariance(operators) == pytest.approx(float(spread), rel=1e-10)


def test_losses_are_evaluated_by_running_statistics_and_change_nothing():
    (x, y), model = samples(), network()
    operators = LossOperators(model, LOSS, x, y, chunk_size=4)
    backward(operators, torch.ones(N).double())
    before = copy.deepcopy(model.state_dict())
    found = operators.losses()
    assert model.training and model[1].training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    with torch.no_grad():
        close(found, LOSS(model.eval()(x), y))
        assert float((found - LOSS(by_hand(model, x), y)).abs().max()) > 0.01  # not what ghosts make of it
    model.train()
    assert expected_sharpness(operators, torch.Generator().manual_seed(1), n_probes=2).value != 0  # of the same losses
    assert model[1].training


def test_a_network_that_has_never_been_trained_is_not_changed_by_looking_at_it():
    model = network()
    before = copy.deepcopy(model.state_dict())
    LossOperators(model, LOSS, *samples())
    assert model[1].training and all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("beside", "message"),
    [(nn.Dropout(0.5), "model must not be random"), (nn.BatchNorm2d(CHANNELS), "model must not change when it is evaluated")],
)
def test_what_depends_on_chance_or_on_others_beside_ghosts_is_refused(beside, message):
    """It would catch that a network with ghosts is not looked at in training mode at all."""
    model = network(norm=nn.Sequential(GhostBatchNorm2d(CHANNELS, GHOST), beside))
    with pytest.raises(ValueError, match=message):
        LossOperators(model, LOSS, *samples())


def test_a_network_is_looked_at_again_when_another_part_of_it_is_put_into_training_mode():
    model = network(norm=nn.Sequential(GhostBatchNorm2d(CHANNELS, GHOST), nn.Dropout(0.5).eval()))
    operators = LossOperators(model, LOSS, *samples())
    backward(operators, torch.ones(N).double())
    model.train()
    with pytest.raises(ValueError, match="model must not be random"):
        operators.backward(torch.ones(N).double())


def test_ghosts_are_not_made_of_what_a_loader_has_apart():
    x, y = samples()
    operators = LossOperators(network(), LOSS, DataLoader(TensorDataset(x, y), batch_size=4))
    with pytest.raises(ValueError, match="data must be tensors, of which any samples make a ghost"):
        operators.backward(torch.ones(N).double())
    operators.model.eval()
    operators.backward(torch.ones(N).double())


NOISES = [name for name in DYNAMICS if not name.startswith("gld_")]


@pytest.mark.parametrize("name", NOISES)
def test_every_noise_by_weights_trains_a_network_with_ghosts(name):
    """Rates are small enough for all of them; the loss is that of evaluation, which follows the running statistics."""
    x, y = samples(200)
    model = network()
    with torch.no_grad():
        x += y[:, None, None, None]  # what is to be learnt: how bright they are
    operators = LossOperators(model, LOSS, x, y)
    dynamics = build(name, operators, 20, torch.Generator().manual_seed(1))
    records = train(operators, dynamics, torch.optim.SGD(model.parameters(), lr=0.02), 40, every=40)
    assert records[-1]["train_loss"] < records[0]["train_loss"] and int(model[1].num_batches_tracked) >= 80
    assert 0 < accuracy(model, operators.batches, 7) <= 1 and model[1].training


def test_a_training_that_was_cut_off_goes_on_with_its_running_statistics(tmp_path):
    def trained(n_steps, folder, seed):
        model = network(seed)
        operators = LossOperators(model, LOSS, *samples())
        dynamics = build("sgd", operators, 7, torch.Generator().manual_seed(seed))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        return train(operators, dynamics, optimizer, n_steps, every=2, folder=folder), model.state_dict()

    whole, state = trained(6, tmp_path / "whole", 0)
    trained(4, tmp_path / "parts", 0)
    parts, resumed = trained(6, tmp_path / "parts", 3)  # of a new process: what it begins with is replaced
    assert whole == parts and all(torch.equal(value, resumed[name]) for name, value in state.items())
