"""Squared norms of the samples' gradients against a backward pass for each sample, in double precision.

They would catch a wrong rule, a rule that is applied where it does not hold (samples that share a row, an axis that only by its
length looks like that of the samples, uses of one parameter whose cross terms are left out), and a rule that is never applied,
as each case says which parameters are looped over.
"""

import warnings

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'gradnoise[neural]'")

from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

from gradnoise.simulations.neural.gradient_norms import squared_gradient_norms
from gradnoise.simulations.neural.gradient_spread import gradient_spread
from gradnoise.simulations.neural.loss_operators import LossOperators
from gradnoise.simulations.neural.models import lenet
from gradnoise.simulations.neural.noise_covariance import NoiseCovariance
from gradnoise.simulations.neural.traces import trace_covariance
from gradnoise.theory.sampling import Minibatch

N, T, D = 7, 5, 6


class Function(nn.Module):
    """A network of some layers and numbers, put together by a function."""

    def __init__(self, forward, **parts):
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, nn.Parameter(part) if isinstance(part, torch.Tensor) else part)
        self.function = forward

    def forward(self, x):
        return self.function(self, x)


class Matrix(torch.autograd.Function):
    """A product with a matrix that no rule knows."""

    @staticmethod
    def forward(ctx, x, weight):
        ctx.save_for_backward(x, weight)
        return x @ weight.T

    @staticmethod
    def backward(ctx, *gradients):
        x, weight = ctx.saved_tensors
        return gradients[0] @ weight, gradients[0].T @ x


def losses_of(outputs):
    """A loss for each sample, whose gradient differs in all outputs."""
    flat = outputs.flatten(1)
    return (flat * torch.cos(torch.arange(flat.shape[1])) + flat.square() / 2).sum(1)


def brute_force(parameters, losses):
    """Squared norms (parameters, n), and the sums of the gradients."""
    leaves = list(parameters.values())
    options = {"retain_graph": True, "allow_unused": True, "materialize_grads": True}
    each = [[g.to_dense() for g in torch.autograd.grad(loss, leaves, **options)] for loss in losses]
    squares = torch.stack([torch.stack([g.double().square().sum() for g in gradients]) for gradients in each], dim=1)
    return squares, {name: sum(gs) for name, gs in zip(parameters, zip(*each, strict=True), strict=True)}


def check(model, x, looped=(), rtol=1e-10):
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    n = len(x)
    found = squared_gradient_norms(parameters, lambda rows: losses_of(model(x[rows])), n, with_total=True)
    squares, totals = brute_force(parameters, losses_of(model(x)))
    scale = rtol * float(squares.sum(0).max())  # a bias before a normalisation has a gradient of zero
    for expected, (name, p) in zip(squares, parameters.items(), strict=True):
        assert found.squares[name].dtype == torch.float64
        torch.testing.assert_close(found.squares[name], expected, rtol=rtol, atol=scale, msg=lambda m, name=name: f"{name}: {m}")
        torch.testing.assert_close(found.total[name], totals[name], rtol=rtol, atol=scale**0.5 * rtol**0.5 + scale)
        assert found.total[name].shape == p.shape
    assert set(found.looped) == set(looped)
    alone = squared_gradient_norms(parameters, lambda rows: losses_of(model(x[rows])), n)
    assert alone.total == {} and alone.looped == found.looped
    assert all(torch.allclose(alone.squares[name], found.squares[name], rtol=1e-9, atol=scale) for name in parameters)


def randn(*shape):
    torch.manual_seed(1)
    return torch.randn(*shape, dtype=torch.float64)


def tokens():
    torch.manual_seed(1)
    found = torch.randint(9, (N, T))
    found[:, 2], found[:, 4] = found[:, 1], 1  # repeated, and padding
    return found


def build(make):
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Using padding='same' with even kernel lengths", UserWarning)
        return make().double().eval()


def embedded(tied=False, **options):
    embedding, out = nn.Embedding(9, 4, **options), nn.Linear(4, 9, bias=False)
    if tied:
        out.weight = embedding.weight
    return Function(lambda s, i: s.out(torch.tanh(s.embedding(i))), embedding=embedding, out=out)


def at_positions(size, unsqueeze):
    def forward(self, x):
        positions = self.positions(torch.arange(size))
        return self.out(torch.tanh(x + (positions[None] if unsqueeze else positions)))

    return Function(forward, positions=nn.Embedding(size, D), out=nn.Linear(D, 3))


def routed(self, x):
    """Samples that go through different layers, in another order."""
    left = x[:, 0] > 0
    found = x.new_zeros(len(x), 3)
    found[left], found[~left] = self.a(x[left]), self.b(x[~left])
    return found.tanh()


def sorted_and_back(self, x):
    order = torch.argsort(x[:, 0])
    found = torch.empty_like(x)
    found[order] = self.layer(x[order]).tanh()
    return found


def with_tokens(self, x):
    """A class token, positions that are cut, scales, and a matrix that is no layer's."""
    x = torch.cat([self.first.expand(len(x), -1, -1), x], 1) + self.positions[:, : T + 1]
    return (torch.tanh(x * self.gain * self.scale) + self.table) @ self.matrix


def time_first():
    def forward(self, x):
        return self.b(self.norm(torch.tanh(self.a(x.transpose(0, 1))))).transpose(0, 1)

    return Function(forward, a=nn.Linear(D, D), b=nn.Linear(D, 3), norm=nn.LayerNorm(D))


def frames(self, x):
    return self.out(self.norm(self.conv(x.flatten(0, 1))).tanh().mean((2, 3))).unflatten(0, (len(x), -1))


def recomputed(self, x):
    return self.b(checkpoint(lambda z: self.a(self.a(z).tanh()).tanh(), x.tanh(), use_reentrant=False))


def penalised(self, x):
    return torch.cat([self.a(x), self.a.weight.square().sum().expand(len(x), 1)], 1)


def in_two_groupings(self, x):
    return functional.conv1d(functional.conv1d(x, self.w, groups=4)[:, :2], self.w)


RULED = {
    "perceptron, in place": (lambda: nn.Sequential(nn.Linear(D, 4), nn.ReLU(inplace=True), nn.Linear(4, 3)), randn(N, D)),
    "sequences, in place": (lambda: nn.Sequential(nn.Linear(D, 4), nn.ReLU(inplace=True), nn.Linear(4, 3)), randn(N, T, D)),
    "long sequences": (lambda: nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 2)), randn(N, 50, 2)),
    "called twice": (lambda: Function(lambda s, x: s.a(s.norm(s.a(s.norm(x)).tanh())), a=nn.Linear(D, D), norm=nn.LayerNorm(D)),
                     randn(N, T, D)),
    "time first": (time_first, randn(N, T, D)),
    "time first, T = n": (time_first, randn(N, N, D)),
    "auto-encoder with one matrix": (lambda: Function(lambda s, x: (s.a(x) + s.b).tanh() * s.b @ s.a.weight,
                                                      a=nn.Linear(D, 4, bias=False), b=randn(4)), randn(N, T, D)),
    "unused and frozen": (lambda: Function(lambda s, x: s.b(s.a(x).tanh()), a=nn.Linear(D, 4).requires_grad_(False),
                                           b=nn.Linear(4, 3), c=nn.Linear(3, 3)), randn(N, D)),
    "one sample": (lambda: nn.Sequential(nn.Linear(D, 4), nn.LayerNorm(4), nn.Linear(4, 3)), randn(1, T, D)),
    "class token and positions": (lambda: Function(with_tokens, first=randn(1, 1, D), positions=randn(1, 9, D), gain=randn(D),
                                                   scale=randn(1)[0], table=randn(D, D), matrix=randn(D, 4)), randn(N, T, D)),
    "checkpointed": (lambda: Function(recomputed, a=nn.Linear(D, D), b=nn.Linear(D, D)), randn(N, T, D)),
    "normalised": (lambda: nn.Sequential(nn.Conv1d(T, 4, 3), nn.BatchNorm1d(4), nn.Tanh(), nn.GroupNorm(2, 4), nn.PReLU(4),
                                         nn.Conv1d(4, 3, 1), nn.InstanceNorm1d(3, affine=True), nn.PReLU(), nn.RMSNorm(4)),
                   randn(N, T, D)),
    "frames of a film": (lambda: Function(frames, conv=nn.Conv2d(2, 6, 3), norm=nn.GroupNorm(2, 6), out=nn.Linear(6, 3)),
                         randn(N, 3, 2, 5, 5)),
    "tokens": (embedded, tokens()),
    "one token": (embedded, tokens()[:, 0]),
    "padding": (lambda: embedded(padding_idx=1), tokens()),
    "tied": (lambda: embedded(tied=True), tokens()),
    "tied, padding": (lambda: embedded(tied=True, padding_idx=1), tokens()),
    "sparse gradients": (lambda: embedded(sparse=True), tokens()),
    "encoder": (lambda: nn.TransformerEncoderLayer(D, 2, 8, batch_first=True), randn(N, T, D)),
    "encoder, time first": (lambda: Function(lambda s, x: s.layer(x.transpose(0, 1)).transpose(0, 1),
                                             layer=nn.TransformerEncoderLayer(D, 2, 8)), randn(N, N, D)),
    "GRU": (lambda: Function(lambda s, x: s.layer(x)[0], layer=nn.GRU(D, 4, batch_first=True)), randn(N, T, D)),
    "LSTM": (lambda: Function(lambda s, x: s.layer(x)[0], layer=nn.LSTM(D, 4, batch_first=True)), randn(N, T, D)),
    "RNN": (lambda: Function(lambda s, x: s.layer(x)[0], layer=nn.RNN(D, 4, batch_first=True)), randn(N, T, D)),
}  # fmt: skip
LOOPED = {
    "weight norm": (lambda: nn.Sequential(parametrizations.weight_norm(nn.Linear(D, 4)), nn.Tanh(), nn.Linear(4, 2)),
                    randn(N, T, D), {"0.parametrizations.weight.original0", "0.parametrizations.weight.original1"}),
    "attention between two": (lambda: Function(lambda s, x: s.layer(x, x[:, :3].tanh(), x[:, :3])[0],
                                               layer=nn.MultiheadAttention(D, 2, batch_first=True)), randn(N, T, D),
                              {"layer.in_proj_weight", "layer.in_proj_bias"}),
    "positions": (lambda: at_positions(T, False), randn(N, T, D), {"positions.weight"}),
    "positions, T = n": (lambda: at_positions(N, False), randn(N, N, D), {"positions.weight"}),
    "positions with an axis, T = n": (lambda: at_positions(N, True), randn(N, N, D), {"positions.weight"}),
    "parts of the samples": (lambda: Function(routed, a=nn.Linear(D, 3), b=nn.Linear(D, 3)), randn(N, D),
                             {"a.weight", "a.bias", "b.weight", "b.bias"}),
    "sorted": (lambda: Function(sorted_and_back, layer=nn.Linear(D, D)), randn(N, D), {"layer.weight", "layer.bias"}),
    "one by one": (lambda: Function(lambda s, x: torch.stack([s.a(v[0]) + s.conv(v).sum() for v in x]), a=nn.Linear(D, 4),
                                    conv=nn.Conv1d(T, 2, 3)), randn(N, T, D), {"a.weight", "a.bias", "conv.weight", "conv.bias"}),
    "a layer and a function": (lambda: Function(lambda s, x: s.a(Matrix.apply(x, s.a.weight).tanh()), a=nn.Linear(D, D)),
                               randn(N, D), {"a.weight"}),
    "one kernel in two groupings": (lambda: Function(in_two_groupings, w=randn(8, 2, 3)), randn(N, 8, 9), {"w"}),
    "two slices of one matrix": (lambda: Function(lambda s, x: x @ s.w[:, :3] + x @ s.w[:, 1:4], w=randn(D, 4)), randn(N, D),
                                 {"w"}),
    "a product of two": (lambda: Function(lambda s, x: s.a(x) * (s.b * s.c), a=nn.Linear(D, 3), b=randn(1)[0], c=randn(3)),
                         randn(N, D), {"b", "c"}),
    "bag": (lambda: nn.EmbeddingBag(9, 4), tokens(), {"weight"}),
    "bilinear": (lambda: Function(lambda s, x: s.layer(x, x.tanh()), layer=nn.Bilinear(D, D, 2)), randn(N, D), {"layer.weight"}),
    "penalty": (lambda: Function(penalised, a=nn.Linear(D, 3)), randn(N, D), {"a.weight"}),
}  # fmt: skip


@pytest.mark.parametrize("name", RULED)
def test_layers_with_a_rule(name):
    make, x = RULED[name]
    check(build(make), x)


@pytest.mark.parametrize("name", LOOPED)
def test_what_has_no_rule_is_seen(name):
    make, x, looped = LOOPED[name]
    check(build(make), x, looped)


@pytest.mark.parametrize(
    "options",
    [{}, {"stride": 2, "padding": 1}, {"dilation": 2, "padding": 2}, {"groups": 2}, {"groups": 4, "padding": "same"},
     {"padding": 1, "padding_mode": "reflect"}, {"padding": 1, "padding_mode": "circular", "bias": False}],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("kind", [nn.Conv1d, nn.Conv2d, nn.Conv3d])
def test_convolutions(kind, options):
    x = randn(N, 4, *(7, 6, 5)[: int(kind.__name__[4])])
    check(build(lambda: nn.Sequential(kind(4, 8, 3, **options), nn.ReLU(inplace=True), kind(8, 2, 1))), x)


@pytest.mark.parametrize(
    "options", [{}, {"stride": 2, "padding": 1, "output_padding": 1}, {"dilation": 2}, {"groups": 2}], ids=str
)
@pytest.mark.parametrize("kind", [nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d])
def test_transposed_convolutions(kind, options):
    check(build(lambda: kind(4, 8, 3, **options)), randn(N, 4, *(5, 4, 3)[: int(kind.__name__[13])]))


def test_both_ways_to_a_norm():
    """A kernel larger than what it is moved over, where Gram matrices take less, and one by one channel, where they do not."""
    check(build(lambda: nn.Sequential(nn.Conv2d(40, 50, 3), nn.ReLU())), randn(N, 40, 5, 4))
    check(build(lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())), randn(N, 1, 15, 14))


def test_an_axis_that_is_trusted_for_its_length_gives_other_norms():
    """What `test_what_has_no_rule_is_seen` would miss if it could not fail: rows of positions taken for samples."""
    model, x = build(lambda: at_positions(N, False)), randn(N, N, D)
    positions = model.get_parameter("positions.weight")
    (gradient,) = torch.autograd.grad(losses_of(model(x)).sum(), [positions])
    trusted = gradient.square().sum(1)  # row i of the sum over all samples
    truth, _ = brute_force({"w": positions}, losses_of(model(x)))
    assert (trusted - truth[0]).abs().max() > 0.1 * truth.max()


def test_numbers_below_the_smallest_normal_are_no_loop():
    """Well fitted samples have gradients with few digits left, which the comparison of the two passes must survive."""
    model = nn.Linear(D, 3)
    inputs = torch.randn(N, D)
    scale = torch.tensor([1.0, 1e-40, 1e-42, 1.0, 1e-39, 0.0, 1.0])
    found = squared_gradient_norms(dict(model.named_parameters()), lambda rows: model(inputs[rows]).sum(1) * scale[rows], N)
    assert found.looped == ()
    torch.testing.assert_close(found.squares["bias"], 3 * scale.double() ** 2, rtol=1e-6, atol=1e-60)


@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float32, 1e-5), (torch.bfloat16, 0.05), (torch.float16, 0.01)])
def test_lower_precision_is_added_up_in_a_higher_one(dtype, rtol):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(D, 4), nn.Tanh(), nn.LayerNorm(4), nn.Linear(4, 3)).to(dtype)
    check(model, randn(40, T, D).to(dtype), rtol=rtol)


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_nodes_of_another_make():
    """A scripted network has other nodes from its second call on, and an LSTM has one of its own in single precision."""
    x = torch.randn(N, T, D)
    scripted = torch.jit.script(nn.Sequential(nn.Linear(D, 4), nn.Tanh(), nn.Linear(4, 3)))
    for model in (scripted, Function(lambda s, x: s.layer(x)[0], layer=nn.LSTM(D, 4, batch_first=True))):
        parameters = dict(model.named_parameters())
        expected, _ = brute_force(parameters, losses_of(model(x)))
        for _ in range(3):
            found = squared_gradient_norms(parameters, lambda rows, model=model: losses_of(model(x[rows])), N)
            torch.testing.assert_close(torch.stack(list(found.squares.values())), expected, rtol=1e-4, atol=1e-5)


def test_autocast():
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(D, 4), nn.Tanh(), nn.Linear(4, 3)), torch.randn(N, T, D)
    parameters = dict(model.named_parameters())

    def evaluate(rows):
        with torch.autocast("cpu", torch.bfloat16):
            return losses_of(model(x[rows]))

    found = squared_gradient_norms(parameters, evaluate, N)
    squares, _ = brute_force(parameters, evaluate(slice(0, N)))
    assert found.looped == () and found.unit == torch.finfo(torch.bfloat16).eps
    for expected, square in zip(squares, found.squares.values(), strict=True):
        torch.testing.assert_close(square, expected, rtol=0.05, atol=0)


def test_gradients_that_depend_on_the_batch_are_looped():
    model = build(lambda: embedded(scale_grad_by_freq=True))
    x = tokens()
    found = squared_gradient_norms(dict(model.named_parameters()), lambda rows: losses_of(model(x[rows])), N)
    assert found.looped == ("embedding.weight",)


@pytest.mark.parametrize("grad_mode", [torch.no_grad, torch.inference_mode])
def test_gradients_are_taken_where_they_are_switched_off(grad_mode):
    model, x = build(lambda: nn.Linear(D, 3)), randn(N, D)
    parameters = dict(model.named_parameters())
    expected = squared_gradient_norms(parameters, lambda rows: losses_of(model(x[rows])), N).squares["weight"]
    with grad_mode():
        found = squared_gradient_norms(parameters, lambda rows: losses_of(model(x[rows])), N).squares["weight"]
    assert torch.equal(found, expected)


def test_a_loss_that_depends_on_nothing():
    model, x = build(lambda: nn.Linear(D, 3)), randn(N, D)
    found = squared_gradient_norms(dict(model.named_parameters()), lambda rows: x[rows].sum(1), N, with_total=True)
    assert all(not t.any() for t in (*found.squares.values(), *found.total.values())) and found.looped == ()


def test_losses_must_be_one_for_each_sample():
    model, x = build(lambda: nn.Linear(D, 3)), randn(N, D)
    with pytest.raises(ValueError, match=r"evaluate must return a loss for each of 7 samples, got shape \(7, 3\)"):
        squared_gradient_norms(dict(model.named_parameters()), lambda rows: model(x[rows]), N)
    with pytest.raises(ValueError, match="n must be"):
        squared_gradient_norms(dict(model.named_parameters()), lambda rows: model(x[rows]), 0)


LOSS = nn.CrossEntropyLoss(reduction="none")


def lenet_operators(chunk_size=None, equal=False, dtype=torch.float64):
    torch.manual_seed(0)
    model, x = lenet().to(dtype), torch.randn(30, 1, 28, 28, dtype=dtype)
    y = torch.arange(30) % 10
    if equal:
        x, y = x[:1].repeat(30, 1, 1, 1), y[:1].repeat(30)
    return LossOperators(model, LOSS, x, y, chunk_size=chunk_size)


@pytest.mark.parametrize("chunk_size", [None, 8])
def test_the_spread_is_that_of_the_gradients(chunk_size):
    operators = lenet_operators(chunk_size)
    rows = torch.cat(list(operators.sample_gradients()))
    spread = gradient_spread(operators)
    expected = float((rows - rows.mean(0)).square().sum() / 30)
    torch.testing.assert_close(spread.squares, rows.square().sum(1), rtol=1e-12, atol=0)
    assert spread.trace == pytest.approx(expected, rel=1e-12)
    assert sum(spread.traces.values()) == pytest.approx(expected, rel=1e-12)
    assert trace_covariance(operators) == pytest.approx(expected, rel=1e-12)
    assert gradient_spread(operators, gradient=operators.gradient()).trace == pytest.approx(expected, rel=1e-12)
    weight = rows[:, :250]  # of the first convolution
    assert spread.traces["0.weight"] == pytest.approx(float((weight - weight.mean(0)).square().sum() / 30), rel=1e-12)
    assert NoiseCovariance(operators, Minibatch(30, 5)).trace() == pytest.approx(expected / 5, rel=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_samples_have_no_spread(dtype):
    """An exact comparison with zero would miss it: the trace is a difference of two numbers that are rounded."""
    found = [gradient_spread(lenet_operators(equal=equal, dtype=dtype)) for equal in (True, False)]
    assert [spread.vanishes for spread in found] == [True, False]
    assert found[0].trace < 1e-3 * torch.finfo(dtype).eps ** 0.5 * found[1].trace
    assert found[1].trace > 1e3 * found[1].rounding


def test_a_loop_over_the_samples_is_announced():
    model = build(lambda: nn.Sequential(parametrizations.weight_norm(nn.Linear(D, 4)), nn.Tanh(), nn.Linear(4, 3)))
    x, y = randn(N, D), torch.arange(N) % 3
    operators = LossOperators(model, LOSS, x, y, chunk_size=3)
    with pytest.warns(UserWarning, match=r"each of 7 samples, as there is no rule.*: 0\.param.*original0, 0\.param.*original1$"):
        spread = gradient_spread(operators)
    squares, totals = brute_force(dict(model.named_parameters()), LOSS(model(x), y))
    torch.testing.assert_close(spread.squares, squares.sum(0), rtol=1e-12, atol=0)
    mean = sum(float(torch.as_tensor(total / N).square().sum()) for total in totals.values())
    assert spread.trace == pytest.approx(float(squares.sum() / N) - mean, rel=1e-10)


def test_samples_that_are_fitted_well_need_no_loop():
    """Of their gradients rounding is all that is left, which differs with the batch: no reason to distrust the rules."""
    for scale in (2, 4, 6, 8, 10, 12):
        torch.manual_seed(2)
        x = torch.randn(40, 64)
        last = nn.Linear(300, 3)
        model = nn.Sequential(nn.Linear(64, 300), nn.Tanh(), last)
        with torch.no_grad():
            last.weight *= scale
        x = x[LOSS(model(x), model(x).argmax(dim=1)).argsort()]
        operators = LossOperators(model, LOSS, x, model(x).argmax(dim=1))
        assert gradient_spread(operators).looped == ()
