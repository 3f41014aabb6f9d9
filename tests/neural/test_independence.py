"""Networks and losses that have no loss for each sample are refused by what is seen, and others are not.

Each kind that is refused stands beside a network that differs by it alone and is taken. The random ones drop or scale something
in every pass but for a share of at most 0.9^33, which bounds the false passes by 4 %; the seeds are fixed.
"""

import random
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'gradnoise[neural]'")

from torch import nn
from torch.nn import functional

from gradnoise.simulations.neural import loss_operators
from gradnoise.simulations.neural.batches import as_batches
from gradnoise.simulations.neural.independence import check_independence
from gradnoise.simulations.neural.loss_operators import LossOperators
from gradnoise.simulations.neural.sample_losses import SampleLosses

from .networks import CLASSES, LOSS, N, problem

MODEL, X, Y = problem("perceptron")
OTHER = problem("perceptron", seed=1)[0]


class Applied(nn.Module):
    """Something between two layers."""

    def __init__(self, what):
        super().__init__()
        self.first, self.last = nn.Linear(4, 6), nn.Linear(6, CLASSES)
        self.what = what

    def forward(self, x):
        return self.last(self.what(self.first(x)))


class Recurrent(nn.Module):
    def __init__(self, dropout):
        super().__init__()
        self.lstm, self.out = nn.LSTM(1, 5, num_layers=2, dropout=dropout, batch_first=True), nn.Linear(5, CLASSES)

    def forward(self, x):
        return self.out(self.lstm(x[:, :, None])[0][:, -1])


class Attentive(nn.Module):
    def __init__(self, dropout):
        super().__init__()
        self.inner = nn.Linear(1, 6)
        self.attention = nn.MultiheadAttention(6, 2, dropout=dropout, batch_first=True)
        self.out = nn.Linear(6, CLASSES)

    def forward(self, x):
        h = self.inner(x[:, :, None])
        return self.out(self.attention(h, h, h, need_weights=False)[0].mean(1))


class Counting(nn.Module):
    """A loss that grows with each pass."""

    def __init__(self):
        super().__init__()
        self.inner, self.calls = nn.Linear(4, CLASSES), 0

    def forward(self, x):
        self.calls += 1
        return self.inner(x) * self.calls


def check(model, loss: Any = LOSS, data: Any = (X, Y)):
    torch.manual_seed(5)
    random.seed(5)
    losses = SampleLosses(model, loss)
    check_independence(losses, as_batches(data).some())


def centred(outputs, targets):
    return (outputs[:, 0] - targets - (outputs[:, 0] - targets).mean()) ** 2


def contrastive(outputs, targets):
    z = functional.normalize(outputs, dim=1)
    return functional.cross_entropy(z @ z.T, torch.arange(len(z)), reduction="none")


def normalised_weights(outputs, targets):
    w = 1.0 + targets
    return w / w.mean() * LOSS(outputs, targets)


def divided_by_the_batch(outputs, targets):
    return LOSS(outputs, targets) / len(targets)


def seen_by_the_gradient_alone(outputs, targets):
    mean = outputs.mean(dim=0)
    return LOSS(outputs + mean - mean.detach(), targets)


DEPENDENT = {
    "batch statistics in training": (nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, CLASSES)), LOSS),
    "batch statistics in evaluation": (
        nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6, track_running_stats=False), nn.Linear(6, CLASSES)).eval(),
        LOSS,
    ),
    "centred": (Applied(lambda h: torch.tanh(h - h.mean(dim=0))), LOSS),
    "attention over the batch": (Applied(lambda h: torch.softmax(h @ h.T, dim=1) @ h), LOSS),
    "centred loss": (MODEL, centred),
    "contrastive loss": (MODEL, contrastive),
    "weights over their mean": (MODEL, normalised_weights),
    "losses over the size of the batch": (MODEL, divided_by_the_batch),
    "seen by the gradient alone": (MODEL, seen_by_the_gradient_alone),
}


@pytest.mark.parametrize("kind", DEPENDENT)
def test_samples_that_depend_on_each_other_are_refused(kind):
    model, loss = DEPENDENT[kind]
    message = "must not depend on other samples|model must not change when it is evaluated, got another '1.running_mean'"
    with pytest.raises(ValueError, match=message):
        check(model.double(), loss)


def test_a_loss_that_broadcasts_is_refused():
    """(n, 1) − (n,) is (n, n)."""
    with (
        pytest.warns(UserWarning, match="Using a target size"),  # of torch
        pytest.raises(ValueError, match=r"loss must return a number for each sample, got shape \(\d, \d\)"),
    ):
        LossOperators(nn.Linear(4, 1).double(), nn.MSELoss(reduction="none"), X, X[:, 0])


RANDOM = {
    "F.dropout": Applied(functional.dropout),
    "rare dropout": Applied(lambda h: functional.dropout(h, p=0.05)),
    "RReLU": Applied(nn.RReLU()),
    "LSTM": Recurrent(dropout=0.2),
    "attention": Attentive(dropout=0.2),
    "dropped layer": Applied(lambda h: h if random.random() < 0.1 else torch.tanh(h)),
    "NumPy's noise": Applied(lambda h: h + 0.01 * np.random.standard_normal()),  # noqa: NPY002 (as users have it)
    "noise of its own generator": Applied(lambda h, g=torch.Generator(): h + torch.randn(1, generator=g).double()),  # noqa: B008
    "Dropout2d": nn.Sequential(nn.Unflatten(1, (4, 1, 1)), nn.Dropout2d(0.5), nn.Flatten(), nn.Linear(4, CLASSES)),
}


@pytest.mark.parametrize("kind", RANDOM)
def test_random_networks_are_refused(kind):
    with pytest.raises(ValueError, match=r"model must not be random, got a loss of .* and then .* for one sample"):
        check(RANDOM[kind].double())


@pytest.mark.parametrize("kind", ["RReLU", "LSTM", "attention", "Dropout2d"])
def test_they_are_taken_in_evaluation_mode(kind):
    model = RANDOM[kind].double().eval()
    check(model)
    model.train()


def test_a_network_that_counts_its_calls_is_refused():
    with pytest.raises(ValueError, match="model must not be random"):
        check(Counting().double())


@pytest.mark.parametrize(
    ("model", "data", "name"),
    [
        (nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, CLASSES)), (X, Y), "1.running_mean"),
        (nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(4, CLASSES))), (X, Y), "0.parametrizations.weight.0._u"),
        (
            nn.Sequential(nn.Embedding(5, 4, max_norm=0.1), nn.Flatten(), nn.Linear(8, CLASSES)),
            (Y[:, None].repeat(1, 2), Y),
            "0.weight",
        ),
    ],
)
def test_what_a_pass_changes_is_put_back_and_refused(model, data, name):
    model = model.double()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(ValueError, match=f"model must not change when it is evaluated, got another '{name}'"):
        check(model, data=data)
    assert torch.equal(model.state_dict()[name], before[name])


def test_a_network_that_cannot_take_one_sample_is_refused():
    class Squeezed(nn.Linear):
        def forward(self, input):
            return super().forward(input).squeeze(0)

    with pytest.raises(ValueError, match="must not depend on other samples, but one alone has none"):
        check(Squeezed(4, CLASSES).double())


def test_rounding_is_not_dependence():
    """Of single precision, in a network that fits its data, whose losses are as small as their rounding; and of large ones."""
    torch.manual_seed(1)
    x = torch.randn(40, 64)
    for scale in (1e-3, 30.0, 1e4):
        last = nn.Linear(300, CLASSES)
        model = nn.Sequential(nn.Linear(64, 300), nn.Tanh(), last)
        with torch.no_grad():
            last.weight *= scale
        labels = model(x).argmax(dim=1)
        check(model, data=(x, labels))
    quarrel = torch.ones(40, dtype=torch.int64)
    check(model, data=(x, quarrel))


def test_random_numbers_are_drawn_behind_the_users_back_by_nobody():
    """Catches checks after which the user's random numbers are other ones."""
    torch.manual_seed(2)
    first = torch.rand(3)
    torch.manual_seed(2)
    LossOperators(MODEL, LOSS, X, Y)
    assert torch.equal(torch.rand(3), first)


def test_one_sample_and_equal_samples_are_taken():
    LossOperators(MODEL, LOSS, X[:1], Y[:1])
    LossOperators(MODEL, LOSS, X[:1].repeat(N, 1), Y[:1].repeat(N))


def test_all_that_construction_changes_is_put_back():
    """Running mean, variance and count, from before the first evaluation."""
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, CLASSES)).double()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(ValueError, match=r"model must not change when it is evaluated, got another '1.running_mean'"):
        LossOperators(model, LOSS, X, Y)
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key]), key


class Averaging(nn.Module):
    """A buffer that is another tensor after each pass, and is not seen by the loss."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(4, CLASSES)
        self.register_buffer("mean", torch.zeros(4))

    def forward(self, x):
        self.mean = 0.9 * self.mean + x.mean(dim=0)
        return self.inner(x)


def test_a_buffer_that_is_replaced_is_put_back():
    model = Averaging().double()
    buffer = model.mean
    with pytest.raises(ValueError, match="model must not change when it is evaluated, got another 'mean'"):
        LossOperators(model, LOSS, X, Y)
    assert model.mean is buffer and not buffer.any()


def test_hard_examples_of_a_large_batch_are_refused():
    """All samples count in the small batches of the first checks."""
    x, y = torch.randn(60, 4).double(), torch.arange(60) % CLASSES

    def hardest(outputs, targets, k=8):
        found = LOSS(outputs, targets)
        return found * (found >= found.topk(min(k, len(found))).values[-1])

    with pytest.raises(ValueError, match=r"must not depend on other samples, got .* for one among fewer and .* among 60"):
        LossOperators(MODEL, hardest, x, y)
    LossOperators(MODEL, lambda outputs, targets: hardest(outputs, targets, k=60), x, y)


@pytest.mark.parametrize(
    "closure",
    [
        torch.no_grad()(lambda model, batch: LOSS(model(batch[0]), batch[1])),
        torch.inference_mode()(lambda model, batch: LOSS(model(batch[0]), batch[1])),
        lambda model, batch: LOSS(OTHER(batch[0]), batch[1]),
    ],
    ids=["no_grad", "inference_mode", "another network"],
)
def test_losses_that_do_not_depend_on_the_network_are_refused(closure):
    """Their gradients would all be zero."""
    with pytest.raises(ValueError, match="losses must depend on the parameters of the model, but autograd finds"):
        LossOperators(MODEL, None, (X, Y), closure=closure)


class Clipped(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, g):
        return g.clamp(-0.05, 0.05)


def test_a_backward_pass_that_clips_is_refused():
    """The gradient of 2ℓ is not twice that of ℓ, so that there is no product with v."""
    with pytest.raises(ValueError, match=r"a gradient of 5 samples together that is off by .* of a backward pass that clips"):
        check(Applied(Clipped.apply).double())


@pytest.mark.parametrize(("value", "where"), [(torch.nan, "losses"), (0.0, "gradients")])
def test_losses_that_are_not_finite_are_refused(value, where):
    def loss(outputs, targets):
        zero = outputs[:, 0] - outputs[:, 0].detach()
        return LOSS(outputs, targets) + torch.where(targets == 1, value + zero.square().sum().sqrt(), 0)

    with pytest.raises(ValueError, match=f"loss must be finite, and so its gradient, got NaN or infinity in the {where}"):
        check(MODEL, loss)


def test_another_mode_is_checked_when_it_is_met():
    model = nn.Sequential(nn.Linear(4, 6), nn.Dropout(0.5), nn.Linear(6, CLASSES)).double().eval()
    operators = LossOperators(model, LOSS, X, Y)
    expected = operators.gradient()
    model.train()
    with pytest.raises(ValueError, match="model must not be random"):
        operators.gradient()
    model.eval()
    assert torch.equal(operators.gradient(), expected)


def _rate(model):
    model[1].p = 0.5


def _layer(model):
    model[1] = nn.Dropout(0.5)


def _function(model):
    model[2].act = functional.dropout


def _hook(model):
    model[0].register_forward_hook(lambda module, inputs, outputs: functional.dropout(outputs))


class Acting(nn.Module):
    """A layer that calls a function, and counts how often."""

    def __init__(self):
        super().__init__()
        self.act, self.calls, self.n_seen = torch.tanh, 0, 0

    def forward(self, x):
        self.calls, self.n_seen = self.calls + 1, len(x)
        return self.act(x)


def changeable():
    return nn.Sequential(nn.Linear(4, 6), nn.Dropout(0.0), Acting(), nn.Linear(6, CLASSES)).double().train()


@pytest.mark.parametrize("change", [_rate, _layer, _function, _hook])
def test_chance_that_comes_into_a_network_later_is_refused(change):
    model = changeable()
    operators = LossOperators(model, LOSS, X, Y)
    operators.gradient()
    change(model)
    u = torch.ones(operators.dimension).double()
    for product in (operators.gradient, operators.losses, lambda: operators.hessian_product(u)):
        with pytest.raises(ValueError, match="model must not be random"):
            product()


class Dropping(nn.Module):
    """A loss with a rate of its own."""

    rate: float

    def __init__(self):
        super().__init__()
        self.rate = 0.0

    def forward(self, outputs, targets):
        return LOSS(functional.dropout(outputs, self.rate), targets)


def test_chance_that_comes_into_a_loss_later_is_refused():
    loss = Dropping()
    operators = LossOperators(MODEL, loss, X, Y)
    operators.gradient()
    loss.rate = 0.5
    with pytest.raises(ValueError, match="model must not be random"):
        operators.gradient()


def test_what_evaluation_itself_changes_is_not_checked_again(monkeypatch):
    """As a counter is: each product would take several times as long."""
    checked, check_anew = [], check_independence
    monkeypatch.setattr(loss_operators, "check_independence", lambda *args: checked.append(args) or check_anew(*args))
    model = changeable()
    operators = LossOperators(model, LOSS, X, Y, chunk_size=2)
    for _ in range(4):
        operators.gradient()
    model[2].act = torch.relu
    expected = LossOperators(model, LOSS, X, Y).gradient()
    for _ in range(4):
        torch.testing.assert_close(operators.gradient(), expected)
    assert len(checked) <= 4  # at each construction, of the new function, and at most once to find what changes


@pytest.mark.parametrize("change", [lambda model: model.float(), lambda model: model[0].requires_grad_(False)])
def test_other_parameters_than_at_construction_are_refused(change):
    model = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, CLASSES)).double()
    operators = LossOperators(model, LOSS, X, Y)
    change(model)
    with pytest.raises(ValueError, match="the parameters must be of the dtypes, and require gradients, as when"):
        operators.gradient()


def test_rounding_of_single_precision_refutes_nothing():
    """Also where the losses are of another type than what they come from."""
    torch.manual_seed(5)
    x = torch.randn(500, 4)
    LossOperators(nn.Linear(4, 1), lambda outputs, targets: (outputs[:, 0] - targets) ** 2, x, torch.randn(500).double())
