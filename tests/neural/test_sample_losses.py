"""Losses of batches of every form against a loop over samples, and what is refused.

They would catch targets that are passed to the model, a mask that counts what it hides, the mean over all tokens of a batch for
that of each sample, and a wrapper whose parameters have other names.
"""

from types import SimpleNamespace
from typing import Any, cast

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'gradnoise[neural]'")

from torch import nn
from torch.nn import functional

from gradnoise.simulations.neural.loss_operators import LossOperators
from gradnoise.simulations.neural.sample_losses import SampleLosses, differentiable

from .networks import LOSS, N, problem

CPU = torch.device("cpu")
T, VOCABULARY = 5, 7  # N = 9 samples of 5 tokens


class Tagger(nn.Module):
    """A class for each token."""

    def __init__(self):
        super().__init__()
        self.embedding, self.out = nn.Embedding(VOCABULARY, 4, padding_idx=0), nn.Linear(4, 3)

    def forward(self, tokens, scale=1.0):
        return SimpleNamespace(logits=scale * self.out(self.embedding(tokens)), other=None)


class Phases(nn.Module):
    def __init__(self):
        super().__init__()
        self.phases = nn.Parameter(torch.zeros(2, dtype=torch.complex64))


def tagger():
    torch.manual_seed(3)
    return Tagger().double(), torch.randint(VOCABULARY, (N, T)), torch.randint(3, (N, T))


def of_tokens(outputs, targets):
    return functional.cross_entropy(outputs.transpose(1, 2), targets, reduction="none")


def test_batches_of_every_form_have_the_same_losses():
    model, x, y = tagger()
    expected = of_tokens(model(x, 2.0).logits, y).sum(dim=1)
    scale = torch.full((N, 1, 1), 2.0).double()
    named = {"tokens": x, "labels": y, "scale": scale}
    options = {"sample_dim": 0, "token_reduction": "sum"}
    for batch in ((x, scale, y), ((x, scale), y), ({"tokens": x, "scale": scale}, y), named):
        torch.testing.assert_close(SampleLosses(model, of_tokens, **options)(batch), expected)
    by_hand = SampleLosses(
        model, None, closure=lambda model, batch: of_tokens(model(batch["tokens"], 2.0).logits, batch["labels"]).sum(1)
    )
    torch.testing.assert_close(by_hand(named), expected)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_a_sample_is_a_sequence_of_the_tokens_that_count(reduction):
    model, x, y = tagger()
    kept = torch.arange(T) < torch.arange(N).unsqueeze(1) % (T + 1)  # the first sample has none
    each = of_tokens(model(x).logits, y)
    expected = []
    for losses, mask in zip(each, kept, strict=True):
        chosen = losses[mask]
        expected.append(chosen.sum() / (max(1, len(chosen)) if reduction == "mean" else 1))
    batch = {"tokens": x, "labels": y, "kept": kept}
    for mask in ("kept", lambda batch: batch["kept"]):

        def closure(model, batch):
            return of_tokens(model(batch["tokens"]).logits, batch["labels"])

        losses = SampleLosses(model, None, closure=closure, sample_dim=0, token_reduction=reduction, mask=mask)
        torch.testing.assert_close(losses(batch), torch.stack(expected))
        turned = SampleLosses(model, lambda o, t: of_tokens(o, t).T, sample_dim=1, token_reduction=reduction)
        unmasked = SampleLosses(model, of_tokens, sample_dim=0, token_reduction=reduction)
        torch.testing.assert_close(turned((x, y)), unmasked((x, y)))


def test_wrappers_are_taken_off():
    model, x, y = problem("perceptron")
    for wrapped in (
        nn.DataParallel(model),
        torch.compile(model, backend="eager"),
        torch.compile(nn.DataParallel(model), backend="eager"),
    ):
        losses = SampleLosses(wrapped, LOSS)
        assert losses.model is model and losses.names == [name for name, _ in model.named_parameters()]
        torch.testing.assert_close(losses((x, y)), LOSS(model(x), y))


def test_parameters_are_chosen_by_name_and_pattern():
    model, *_ = problem("perceptron")
    assert SampleLosses(model, LOSS, parameters="0.*").names == ["0.weight", "0.bias"]
    assert SampleLosses(model, LOSS, parameters=["2.bias", "*.weight"]).names == ["0.weight", "2.weight", "2.bias"]
    with pytest.raises(
        ValueError, match=r"parameters must be names or patterns of trainable ones, got '1\.\*'; there are 0\.weight"
    ):
        SampleLosses(model, LOSS, parameters=["0.*", "1.*"])


def test_the_context_leaves_nothing_behind():
    """Of what it sets: attention's fast path, sparse gradients, gradients that are switched off, autocast."""
    model = nn.Sequential(nn.Embedding(4, 3, sparse=True), nn.Flatten(), nn.Linear(6, 2))
    losses = SampleLosses(model, LOSS, autocast=torch.bfloat16)
    batch = torch.tensor([[1, 2], [3, 0], [1, 1]]), torch.tensor([0, 1, 0])
    with torch.inference_mode():
        with pytest.raises(KeyError), differentiable(losses, CPU):
            assert torch.is_grad_enabled() and not model[0].sparse and torch.is_autocast_enabled("cpu")
            assert losses(batch).grad_fn is not None
            raise KeyError
        assert torch.is_inference_mode_enabled() and model[0].sparse and not torch.is_autocast_enabled("cpu")
        assert torch.backends.mha.get_fastpath_enabled()
    with torch.autocast("cpu", dtype=torch.bfloat16), differentiable(SampleLosses(model, LOSS), CPU):
        assert losses.model(batch[0]).dtype == torch.float32  # that of the caller is not used


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda m: m.to(torch.bfloat16),
            "parameters of float32 or float64, got torch.bfloat16 in '0.weight'; take copy.deepcopy",
        ),
        (lambda m: m.half(), "got torch.float16"),
        (lambda m: nn.Sequential(m, Phases()), r"got torch.complex64 in '1.phases'"),
        (lambda m: m.requires_grad_(False), "model must have parameters to train"),
        (lambda m: nn.Sequential(m, nn.LazyLinear(2)), "its layers are lazy, got '1.weight'"),
    ],
)
def test_networks_of_other_precision_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        SampleLosses(change(problem("perceptron")[0]), LOSS)


def test_parameters_made_in_inference_mode_are_refused():
    with torch.inference_mode():
        model = nn.Linear(3, 2)
    with pytest.raises(ValueError, match="must not be made in inference_mode, got 'weight'"):
        SampleLosses(model, LOSS)


def test_mixed_parameters_are_taken():
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2).double())
    assert SampleLosses(model, LOSS).names == [name for name, _ in model.named_parameters()]


def test_bad_arguments_are_named():
    model, x, y = problem("perceptron")
    with pytest.raises(TypeError, match=r"options must be some of closure, sample_dim, .*, autocast, got sampledim"):
        LossOperators(model, LOSS, x, y, **cast(Any, {"sampledim": 0}))
    with pytest.raises(TypeError, match="loss or closure must be given, and not both, got neither"):
        SampleLosses(model, None)
    with pytest.raises(TypeError, match="loss or closure must be given, and not both, got both"):
        SampleLosses(model, LOSS, closure=lambda model, batch: batch)
    with pytest.raises(TypeError, match="loss must be callable, got 3"):
        SampleLosses(model, cast(Any, 3))
    with pytest.raises(ValueError, match=r"sample_dim and token_reduction.*must be given together"):
        SampleLosses(model, LOSS, sample_dim=0)
    with pytest.raises(ValueError, match="token_reduction must be one of mean, sum, got 'max'"):
        SampleLosses(model, LOSS, sample_dim=0, token_reduction="max")
    with pytest.raises(ValueError, match="mask must come with sample_dim"):
        SampleLosses(model, LOSS, mask="mask")
    with pytest.raises(ValueError, match=r"autocast must be torch.bfloat16 or torch.float16, got torch.float32"):
        SampleLosses(model, LOSS, autocast=torch.float32)
    with pytest.raises(ValueError, match=r"sample_dim must be an axis of the losses, of shape \(9,\), got 1"):
        SampleLosses(model, LOSS, sample_dim=1, token_reduction="sum")((x, y))
    for axis in (True, 0.0, "0"):
        with pytest.raises(TypeError, match="sample_dim must be an integer, got"):
            SampleLosses(model, LOSS, sample_dim=axis, token_reduction="sum")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="mask must be a key of the batch or a function of it, got 5"):
        SampleLosses(model, LOSS, sample_dim=0, token_reduction="sum", mask=5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="mask must be a Tensor, got NoneType"):
        SampleLosses(model, LOSS, sample_dim=0, token_reduction="sum", mask=lambda batch: None)((x, y))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"mask must have the shape of the losses, \(9,\), got \(3, 3\)"):
        SampleLosses(model, LOSS, sample_dim=0, token_reduction="sum", mask=lambda batch: torch.ones(3, 3))((x, y))
    with pytest.raises(ValueError, match="targets under one of labels, label, targets, target, y, got the keys a, b"):
        SampleLosses(model, LOSS)({"a": x, "b": y})
    with pytest.raises(ValueError, match="a batch must have inputs and targets, got one tensor"):
        SampleLosses(model, LOSS)(x)
    with pytest.raises(TypeError, match=r"loss must return a tensor of real numbers, got torch.int64"):
        SampleLosses(model, lambda outputs, targets: targets)((x, y))
    for parameters in ([], [None], 3):
        with pytest.raises(TypeError, match=r"parameters must be names or patterns, one or more, got"):
            SampleLosses(model, LOSS, parameters=cast(Any, parameters))
    with pytest.raises(ValueError, match=r"mask must be a key of the batch, got 'mask'; there are x, labels"):
        SampleLosses(nn.Bilinear(4, 4, 1), None, closure=lambda m, b: b["x"], sample_dim=0, token_reduction="sum", mask="mask")(
            {"x": x, "labels": y}
        )
    with pytest.raises(ValueError, match="parameters must be some numbers, got none in weight"):
        SampleLosses(nn.ParameterDict({"weight": torch.zeros(0, 2), "bias": torch.zeros(2)}), LOSS, parameters="weight")
    with pytest.raises(ValueError, match="model must have parameters with values, got 'weight' on the meta device"):
        SampleLosses(nn.Linear(2, 2, device="meta"), LOSS)


def test_masks_that_weigh_and_tokens_that_do_not_count():
    """Would catch a sum of weights that is taken for one where it is less, and zero times infinity."""
    model = nn.Linear(1, 3)
    tokens = torch.tensor([[1.0, 2.0, torch.inf], [4.0, torch.nan, 5.0], [torch.inf, torch.inf, torch.nan]])
    mask = torch.tensor([[0.1, 0.3, 0.0], [0.5, 0.0, 0.25], [0.0, 0.0, 0.0]])
    options = {"closure": lambda model, batch: batch[0], "sample_dim": 0, "mask": lambda batch: batch[1]}
    mean = SampleLosses(model, None, token_reduction="mean", **options)((tokens, mask))
    total = SampleLosses(model, None, token_reduction="sum", **options)((tokens, mask))
    torch.testing.assert_close(mean, torch.tensor([0.7 / 0.4, 3.25 / 0.75, 0.0]))
    torch.testing.assert_close(total, torch.tensor([0.7, 3.25, 0.0]))


def test_derivatives_with_respect_to_inputs():
    """As of networks that solve differential equations; no_grad around an evaluation would leave them without."""
    torch.manual_seed(4)
    model, x = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1)).double(), torch.randn(7, 2).double()

    def closure(model, batch):
        points = batch[0].detach().requires_grad_()
        (slope,) = torch.autograd.grad(model(points).sum(), points, create_graph=True)
        return (slope**2).sum(dim=1)

    operators = LossOperators(model, None, (x, x), closure=closure)
    parameters = list(model.parameters())
    G = torch.stack([
        torch.cat([g.reshape(-1) for g in torch.autograd.grad(
            closure(model, (point[None],))[0], parameters, allow_unused=True, materialize_grads=True
        )]) for point in x
    ])  # fmt: skip
    u = torch.randn(operators.dimension).double()
    torch.testing.assert_close(operators.losses(), closure(model, (x,)).detach())
    torch.testing.assert_close(operators.transposed_product(u), G @ u)
    torch.testing.assert_close(operators.gradient(), G.mean(dim=0))
