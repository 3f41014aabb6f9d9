"""Networks that torch cannot differentiate in every way: products are right beside backward passes of one sample, or refused.

They would catch a gradient that is stopped in one mode and not in another, a layer whose second derivative torch gets wrong, and
a raw error of torch.
"""

import warnings

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'gradnoise[neural]'")

from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from gradnoise.simulations.neural.batches import as_batches
from gradnoise.simulations.neural.kernels import smooth_kernels
from gradnoise.simulations.neural.loss_operators import LossOperators

from .networks import CLASSES, LOSS

N, WIDTH = 11, 6


class Recurrent(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.inner, self.out = kind(1, 5, batch_first=True), nn.Linear(5, CLASSES)

    def forward(self, x):
        return self.out(self.inner(x[:, :, None])[0][:, -1])


class Transformer(nn.Module):
    """Torch's own encoder, or its attention by itself."""

    def __init__(self, encoder):
        super().__init__()
        self.inner, self.out = nn.Linear(1, 8), nn.Linear(8, CLASSES)
        self.layer = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True) if encoder else None

    def forward(self, x):
        h = self.inner(x[:, :, None])
        if self.layer is not None:
            return self.out(self.layer(h).mean(dim=1))
        return self.out(functional.scaled_dot_product_attention(h, h, h, is_causal=True).mean(dim=1))


class Function(torch.autograd.Function):
    """Without ``setup_context``, which torch.func needs; and with a backward pass that cannot be differentiated."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return torch.tanh(x)

    @staticmethod
    def backward(ctx, g):
        return g * (1 - torch.tanh(ctx.saved_tensors[0]) ** 2)


class Once(Function):
    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, g):
        return g * (1 - torch.tanh(ctx.saved_tensors[0]) ** 2)


class Between(nn.Module):
    def __init__(self, what):
        super().__init__()
        self.first, self.second, self.last = nn.Linear(WIDTH, 5), nn.Linear(WIDTH, 5), nn.Linear(5, CLASSES)
        self.what = what

    def forward(self, x):
        return self.last(torch.tanh(self.what(self, x)))


def in_place(self, x):
    h = torch.zeros(len(x), 5, dtype=x.dtype)
    h += self.first(x)
    return h


def not_trained(self, x):
    with torch.no_grad():
        h = torch.tanh(self.first(x))
    return h * self.second(x)


def through_data(self, x):
    return torch.tanh(self.first(x)).data * self.second(x)


def by_a_list(self, x):
    """The parameter, and not the attribute that functional_call replaces."""
    return functional.linear(x, self.kept[0], self.first.bias) + self.second(x)


def with_a_loop(self, x):
    return torch.stack([self.first(row) if float(row[0]) > 0 else self.second(row) for row in x])


class Listed(Between):
    def __init__(self):
        super().__init__(by_a_list)
        self.kept = [self.first.weight]


class Tokens(nn.Module):
    def __init__(self, kind, **options):
        super().__init__()
        self.embedding = kind(9, 4, **options)
        self.out = nn.Linear(4, CLASSES)

    def forward(self, tokens):
        found = self.embedding(tokens)
        return self.out(found if found.ndim == 2 else torch.tanh(found).sum(dim=1))


NETWORKS = {
    "LSTM": lambda: Recurrent(nn.LSTM),
    "GRU": lambda: Recurrent(nn.GRU),
    "RNN": lambda: Recurrent(nn.RNN),
    "TransformerEncoderLayer": lambda: Transformer(True).eval(),
    "attention": lambda: Transformer(False),
    "weight_norm": lambda: nn.Sequential(
        nn.utils.parametrizations.weight_norm(nn.Linear(WIDTH, 5)), nn.Tanh(), nn.Linear(5, CLASSES)
    ),
    "Function": lambda: Between(lambda self, x: Function.apply(self.first(x))),
    "in place": lambda: Between(in_place),
    "not trained": lambda: Between(not_trained),
    "detached": lambda: Between(lambda self, x: torch.tanh(self.first(x)).detach() * self.second(x)),
    "data": lambda: Between(through_data),
    "listed": Listed,
    "with a loop": lambda: Between(with_a_loop),
    "checkpoints": lambda: Between(lambda self, x: checkpoint(lambda h: torch.tanh(self.first(h)), x, use_reentrant=False)),
    "scripted": lambda: torch.jit.script(nn.Sequential(nn.Linear(WIDTH, 5), nn.Tanh(), nn.Linear(5, CLASSES))),
    "padded tokens": lambda: Tokens(nn.Embedding, padding_idx=0),
    "sparse gradients": lambda: Tokens(nn.Embedding, sparse=True),
    "EmbeddingBag": lambda: Tokens(nn.EmbeddingBag, mode="mean"),
    "sparse EmbeddingBag": lambda: Tokens(nn.EmbeddingBag, mode="sum", sparse=True, padding_idx=0),
}


def problem(name):
    torch.manual_seed(4)
    model = NETWORKS[name]().double()
    tokens = "Embedding" in name or "tokens" in name or "sparse" in name
    x = torch.randint(9, (N, WIDTH)) if tokens else torch.randn(N, WIDTH).double()
    if tokens:
        x[:, 3:] = 0
    return model, x, torch.arange(N) % CLASSES


def flat(parts):
    return torch.cat([(p.to_dense() if p.is_sparse else p).reshape(-1) for p in parts])


def backward(model, x, y, **options):
    parameters = [p for p in model.parameters() if p.requires_grad]
    return torch.autograd.grad(LOSS(model(x), y).mean(), parameters, allow_unused=True, materialize_grads=True, **options)


@pytest.mark.parametrize("chunk_size", [None, 4])
@pytest.mark.parametrize("name", NETWORKS)
def test_products_are_those_of_backward_passes(name, chunk_size):
    model, x, y = problem(name)
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        G = torch.stack([flat(backward(model, x[i : i + 1], y[i : i + 1])) for i in range(N)], dim=1)
    torch.manual_seed(5)
    v, u = torch.randn(N).double(), torch.randn(len(G)).double()
    centred = G - G.mean(dim=1, keepdim=True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "the gradients of the samples: a backward pass for each", UserWarning)
        operators = LossOperators(model, LOSS, x, y, chunk_size=chunk_size)
        for found, expected in (
            (operators.matrix_product(v), G @ v),
            (operators.transposed_product(u), G.T @ u),
            (operators.covariance_product(u), centred @ (centred.T @ u) / N),
            (torch.cat(list(operators.sample_gradients())), G.T),
        ):
            torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_hessians_are_derivatives_of_the_training_gradient(name, kept):
    """By difference quotients, along a direction in the parameters whose gradient is not zero."""
    model, x, y = problem(name)
    parameters = [p for p in model.parameters() if p.requires_grad]
    here = backward(model, x, y)
    torch.manual_seed(6)
    directions = [
        torch.randn_like(p) * ((g.to_dense() if g.is_sparse else g) != 0) for p, g in zip(parameters, here, strict=True)
    ]
    step = 1e-5

    def moved(by):
        with torch.no_grad():
            for p, direction in zip(parameters, directions, strict=True):
                p += by * direction
        return flat(backward(model, x, y))

    expected = (moved(step) - moved(-2 * step)) / (2 * step)
    moved(step)
    operators = LossOperators(model, LOSS, x, y)
    product = operators.hessian_here() if kept else operators.hessian_product
    torch.testing.assert_close(product(flat(directions)), expected, rtol=1e-6, atol=1e-8)


def test_no_second_derivative_is_a_named_refusal():
    """And a loop over samples is announced."""
    torch.manual_seed(4)
    model, x, y = (
        Between(lambda self, x: Once.apply(self.first(x))).double(),
        torch.randn(N, WIDTH).double(),
        torch.arange(N) % CLASSES,
    )
    operators = LossOperators(model, LOSS, x, y)
    G = torch.stack([flat(backward(model, x[i : i + 1], y[i : i + 1])) for i in range(N)], dim=1)
    u = torch.randn(len(G)).double()
    with pytest.warns(UserWarning, match="Gᵀu: a backward pass for each sample is taken"):
        torch.testing.assert_close(operators.transposed_product(u), G.T @ u)
    for attempt in (operators.hessian_product, lambda u: operators.hessian_here()):  # torch leaves terms out, and says nothing
        with pytest.raises(ValueError, match=r"the Hessian must be the derivative .* a layer's second derivative is not right"):
            attempt(u)


def test_a_layer_without_second_derivatives_is_named():
    torch.manual_seed(4)
    model = Tokens(nn.EmbeddingBag, mode="max").double()
    operators = LossOperators(model, LOSS, torch.randint(9, (N, WIDTH)), torch.arange(N) % CLASSES)
    with pytest.raises(ValueError, match=r"the Hessian must have a product by .* has neither: .*_embedding_bag_backward"):
        operators.hessian_product(operators.parameters)


@pytest.mark.parametrize(
    "options", [{"mode": "mean"}, {"mode": "sum"}, {"mode": "mean", "padding_idx": 2}, {"mode": "sum", "padding_idx": -1}]
)
def test_bags_of_embeddings_are_those_of_torch(options):
    torch.manual_seed(4)
    bag = nn.EmbeddingBag(5, 3, **options).double()
    flat, offsets = torch.tensor([1, 2, 4, 4, 0, 2, 2, 3]), torch.tensor([0, 3, 3, 5])
    weights = torch.rand(8).double() if options == {"mode": "sum"} else None
    calls = [
        lambda: bag(flat, offsets, weights),
        lambda: bag(flat.view(2, 4)),
        lambda: functional.embedding_bag(
            flat, bag.weight, torch.cat([offsets, torch.tensor([8])]), include_last_offset=True, **options
        ),
    ]
    for call in calls:
        expected = call()
        with smooth_kernels(bag, torch.device("cpu")):
            torch.testing.assert_close(call(), expected)


@pytest.mark.parametrize("dim", [0, 1, -1, None])
def test_normalised_weights_are_those_of_torch(dim):
    v, g = torch.randn(3, 4).double(), torch.randn((1, 1) if dim in (-1, None) else (3, 1) if dim == 0 else (1, 4)).double()
    expected = torch._weight_norm(v, g, -1 if dim is None else dim)
    with smooth_kernels(nn.Linear(1, 1), torch.device("cpu")):
        torch.testing.assert_close(torch._weight_norm(v, g, -1 if dim is None else dim), expected)


class Scaled(nn.Module):
    """Weights over their largest modulus, as in quantisation."""

    def __init__(self, stopped):
        super().__init__()
        self.weight, self.stopped = nn.Parameter(torch.randn(CLASSES, WIDTH)), stopped

    def forward(self, x):
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.stopped):
            scale = self.weight.abs().amax()
        return x @ (self.weight / scale).T


class Rounded(nn.Module):
    """Straight-through: rounded weights whose gradients are those of the weights."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(CLASSES, WIDTH))

    def forward(self, x):
        w = self.weight
        return torch.tanh(x @ (w + ((4 * w).round() / 4 - w).detach()).T)


@pytest.mark.parametrize(("build", "refused"), [(lambda: Scaled(True), True), (lambda: Scaled(False), False), (Rounded, True)])
def test_a_hessian_that_is_not_that_of_the_gradient_is_refused(build, refused):
    torch.manual_seed(4)
    model, x, y = build().double(), torch.randn(N, WIDTH).double(), torch.arange(N) % CLASSES
    operators = LossOperators(model, LOSS, x, y)
    u = torch.randn(operators.dimension).double()
    G = torch.stack([flat(backward(model, x[i : i + 1], y[i : i + 1])) for i in range(N)], dim=1)
    torch.testing.assert_close(operators.transposed_product(u), G.T @ u)
    if refused:
        with pytest.raises(ValueError, match=r"the Hessian must be the derivative of the gradient that trains the network"):
            operators.hessian_product(u)
    else:
        operators.hessian_product(u)


def test_a_kink_where_the_network_stands_refutes_nothing():
    """Units without biases see black images: all of them sit on the kink of their ReLU, where torch takes its slope for 0."""
    torch.manual_seed(4)
    model = nn.Sequential(nn.Linear(WIDTH, 5), nn.ReLU(), nn.Linear(5, CLASSES)).double()
    with torch.no_grad():
        next(layer.bias for layer in model if isinstance(layer, nn.Linear)).zero_()
    x = torch.randn(N, WIDTH).double()
    x[::2] = 0
    operators = LossOperators(model, LOSS, x, torch.arange(N) % CLASSES)
    u = torch.randn(operators.dimension).double()
    slopes = backward(model, x, torch.arange(N) % CLASSES, create_graph=True)
    expected = flat(torch.autograd.grad(slopes, list(model.parameters()), list(operators.unflatten(u).values())))
    torch.testing.assert_close(operators.hessian_product(u), expected)


def test_padding_that_few_samples_have_is_stopped():
    """None of those on which a way is tried first: what one sees of a few samples is not all that the others have."""
    torch.manual_seed(4)
    n = 301
    model = Tokens(nn.Embedding, padding_idx=0).double()
    nn.init.normal_(model.embedding.weight)
    x, y = torch.randint(1, 9, (n, WIDTH)), torch.arange(n) % CLASSES
    tried = [batch[1] for batch in as_batches((torch.arange(n), torch.arange(n))).some()]
    others = [i for i in range(n) if i not in torch.cat(tried)]
    x[others[::23], 3:] = 0
    G = torch.stack([flat(backward(model, x[i : i + 1], y[i : i + 1])) for i in range(n)], dim=1)
    operators, u = LossOperators(model, LOSS, x, y, chunk_size=40), torch.randn(len(G)).double()
    torch.testing.assert_close(operators.transposed_product(u), G.T @ u)
    torch.testing.assert_close(torch.cat(list(operators.sample_gradients())), G.T)


class OneAtATime:
    """A loader whose passes share one place, as one with persistent workers has."""

    def __init__(self, batches):
        self.batches, self.place = batches, 0

    def __iter__(self):
        self.place = 0
        return iter(self.following, None)

    def following(self):
        self.place += 1
        return self.batches[self.place - 1] if self.place <= len(self.batches) else None


def test_no_pass_begins_within_another():
    """Ways are chosen on all data, before the first of them is used."""
    torch.manual_seed(4)
    model, x, y = problem("padded tokens")
    batches = [(x[i : i + 3], y[i : i + 3]) for i in range(0, N, 3)]
    plain, shared = (LossOperators(model, LOSS, data) for data in (batches, OneAtATime(batches)))
    u = torch.randn(plain.dimension).double()
    for product in ("transposed_product", "hessian_product", "covariance_product"):
        torch.testing.assert_close(getattr(shared, product)(u), getattr(plain, product)(u))
    torch.testing.assert_close(LossOperators(model, LOSS, OneAtATime(batches)).hessian_here()(u), plain.hessian_product(u))
    rows = LossOperators(model, LOSS, OneAtATime(batches)).sample_gradients()
    torch.testing.assert_close(torch.cat(list(rows)), torch.cat(list(plain.sample_gradients())))


class Gated(nn.Module):
    """What is stopped, or not, counts once a training has opened the gate."""

    def __init__(self, stopped):
        super().__init__()
        self.first, self.second, self.last = nn.Linear(WIDTH, 5), nn.Linear(WIDTH, 5), nn.Linear(5, CLASSES)
        self.gate, self.stopped = nn.Parameter(torch.zeros(1)), stopped

    def forward(self, x):
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.stopped):
            behind = torch.tanh(self.first(x))
        return self.last(torch.tanh(self.second(x)) + self.gate * behind)


@pytest.mark.parametrize("stopped", [False, True])
def test_what_is_stopped_behind_a_gate_of_zero(stopped):
    """A way that was right where the network stood would stay in use."""
    torch.manual_seed(4)
    model, x, y = Gated(stopped).double(), torch.randn(N, WIDTH).double(), torch.arange(N) % CLASSES
    operators = LossOperators(model, LOSS, x, y)
    u = torch.randn(operators.dimension).double()
    operators.transposed_product(u)
    with torch.no_grad():
        model.gate.fill_(1.0)
    G = torch.stack([flat(backward(model, x[i : i + 1], y[i : i + 1])) for i in range(N)], dim=1)
    torch.testing.assert_close(operators.transposed_product(u), G.T @ u)
    torch.testing.assert_close(torch.cat(list(operators.sample_gradients())), G.T)
