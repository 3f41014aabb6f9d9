"""Networks and losses that have no loss for each sample are refused by what is seen, and others are not.

Each kind that is refused stands beside a network that differs by it alone and is taken. The random ones drop or scale something
in every pass but for a share of at most 0.9^33, which bounds the false passes by 4 %; the seeds are fixed.
"""

import random

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'gradnoise[neural]'")

from torch import nn
from torch.nn import functional

from gradnoise.simulations.neural.batches import as_batches
from gradnoise.simulations.neural.independence import check_independence
from gradnoise.simulations.neural.loss_operators import LossOperators
from gradnoise.simulations.neural.sample_losses import SampleLosses

from .networks import CLASSES, LOSS, N, problem

MODEL, X, Y = problem("perceptron")


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


def check(model, loss=LOSS, data=(X, Y)):
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
