"""Networks of the papers: how large they are, what they compute, where they begin, and that they can be trained.

They would catch a layer that is left out or has no biases, a width that leaves a layer as it is, a stride or a shortcut in the
wrong place, a start of another variance, and a normalisation under which samples have no losses of their own.
"""

import itertools
import math
from functools import partial
from typing import Any

import pytest
import scipy.stats

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'gradnoise[neural]'")

from torch import nn
from torch.nn import functional

from gradnoise.simulations.neural.batches import as_batches
from gradnoise.simulations.neural.experiments import EXPERIMENTS
from gradnoise.simulations.neural.independence import check_independence
from gradnoise.simulations.neural.loss_operators import LossOperators
from gradnoise.simulations.neural.models import (
    GhostBatchNorm2d,
    c1,
    c2,
    f1,
    initialise,
    lenet,
    resnet18,
    stacked_convolutions,
    vgg11,
)
from gradnoise.simulations.neural.sample_losses import SampleLosses

from .networks import LOSS


def count(build, **settings):
    """Parameters, without memory for them."""
    with torch.device("meta"):
        return sum(p.numel() for p in build(**settings).parameters())


def convolutions(*channels, biases):
    return sum(9 * a * b + b * biases for a, b in itertools.pairwise(channels))


def linear(*units):
    return sum((a + 1) * b for a, b in itertools.pairwise(units))


#: Widths of 1, and of .3, at which all sizes are rounded: 19.2, 38.4, 76.8 and 153.6 channels, 150 and 307.2 units.
WIDTHS = {1.0: (64, 128, 256, 512), 0.3: (19, 38, 77, 154)}


@pytest.mark.parametrize("width", WIDTHS)
def test_sizes_of_networks_without_normalisation(width):
    a, b, c, d = WIDTHS[width]
    features = convolutions(3, a, b, c, c, d, d, d, d, biases=True)
    assert count(vgg11, width=width) == features + linear(d, d, d, 10)
    assert count(vgg11, width=width, n_classes=7) == features + linear(d, d, d, 7)
    assert count(f1, width=width) == linear(784, *7 * [round(500 * width)], 10)


@pytest.mark.parametrize("normalisation", ["ghost-batch", "group"])
@pytest.mark.parametrize("width", WIDTHS)
def test_sizes_of_networks_with_normalisation(width, normalisation):
    """Two numbers for each channel that is normalised, and no biases."""
    a, b, c, d = WIDTHS[width]
    settings = {"width": width, "normalisation": normalisation}
    three = convolutions(3, a, a, a, b, b, b, c, c, c, biases=False) + 2 * 3 * (a + b + c)
    assert count(c1, **settings) == three + linear(c * 4 * 4, 10)
    dense = 1024 if width == 1 else 307
    fourth = convolutions(c, d, d, biases=False) + 2 * 2 * d
    assert count(c2, **settings) == three + fourth + linear(d * 2 * 2, dense, 100)

    first = convolutions(3, a, biases=False) + 2 * a
    blocks = convolutions(a, a, a, a, a, b, b, b, b, c, c, c, c, d, d, d, d, biases=False) + 2 * 4 * (a + b + c + d)
    shortcuts = a * b + b * c + c * d + 2 * (b + c + d)
    assert count(resnet18, **settings) == first + blocks + shortcuts + linear(d, 10)


def test_sizes_that_are_known():
    """By zhu2019, Appendix D.4, for VGG-11, and by many programs for ResNet-18 and ten classes."""
    assert count(vgg11) == 9_750_922 and count(resnet18) == 11_173_962
    assert (count(vgg11, width=1 / 4), count(vgg11, width=1 / 8)) == (611_434, 153_530)
    assert (count(f1), count(c1), count(c2)) == (1_900_510, 1_962_314, 7_663_012)


def test_without_normalisation_convolutions_have_biases():
    assert count(c1, normalisation="none") == convolutions(3, *3 * [64], *3 * [128], *3 * [256], biases=True) + linear(4096, 10)


def maps(model, images):
    """Shape of what each layer hands on, but for those of one kind that follow each other."""
    shapes = []
    with torch.no_grad():
        for layer in model:
            images = layer(images)
            shapes.append(tuple(images.shape[1:]))
    return [shape for shape, _ in itertools.groupby(shapes)]


def test_maps_of_the_networks_become_smaller_where_they_should():
    images = torch.rand(2, 3, 32, 32)
    vgg = [(8, 32, 32), (8, 16, 16), (16, 16, 16), (16, 8, 8), (32, 8, 8), (32, 4, 4), (64, 4, 4), (64, 2, 2), (64, 1, 1)]
    assert maps(vgg11(width=1 / 8), images) == [*vgg, (64,), (10,)]
    c = [(8, 32, 32), (8, 16, 16), (16, 16, 16), (16, 8, 8), (32, 8, 8), (32, 4, 4)]
    assert maps(c1(width=1 / 8), images) == [*c, (512,), (10,)]
    assert maps(c2(width=1 / 8), images) == [*c, (64, 4, 4), (64, 2, 2), (256,), (128,), (100,)]
    resnet = [(8, 32, 32), (16, 16, 16), (32, 8, 8), (64, 4, 4), (64, 1, 1)]
    assert maps(resnet18(width=1 / 8), images) == [*resnet, (64,), (10,)]
    assert maps(f1(width=1 / 8), torch.rand(2, 1, 28, 28)) == [(784,), (62,), (10,)]


def normalised(x, parameters, groups):
    """GroupNorm by its formula."""
    weight, bias = next(parameters), next(parameters)
    parts = x.unflatten(1, (groups, -1))
    mean, variance = parts.mean(dim=(2, 3, 4), keepdim=True), parts.var(dim=(2, 3, 4), keepdim=True, unbiased=False)
    return ((parts - mean) / (variance + 1e-5).sqrt()).flatten(1, 2) * weight[:, None, None] + bias[:, None, None]


def residual_network(images, parameters):
    """ResNet-18 at 1/4 as He et al. draw it, one block after the other, with groups of 16 channels."""
    x = normalised(functional.conv2d(images, next(parameters), padding=1), parameters, 1).relu()
    for channels, strides in ((16, (1, 1)), (32, (2, 1)), (64, (2, 1)), (128, (2, 1))):
        for stride in strides:
            groups = channels // 16
            inner = normalised(functional.conv2d(x, next(parameters), stride=stride, padding=1), parameters, groups).relu()
            inner = normalised(functional.conv2d(inner, next(parameters), padding=1), parameters, groups)
            if stride == 2:
                x = normalised(functional.conv2d(x, next(parameters), stride=2), parameters, groups)
            x = (inner + x).relu()
    return functional.linear(x.mean(dim=(2, 3)), next(parameters), next(parameters))


def stacked_network(images, parameters):
    """C2 at 1/4 as ne2021 describes it."""
    x = images
    for n, groups in ((3, 1), (3, 2), (3, 4), (2, 8)):
        for _ in range(n):
            x = normalised(functional.conv2d(x, next(parameters), padding=1), parameters, groups).relu()
        x = functional.max_pool2d(x, 2)
    dense = functional.linear(x.flatten(1), next(parameters), next(parameters)).relu()
    return functional.linear(dense, next(parameters), next(parameters))


@pytest.mark.parametrize(("build", "written_out"), [(resnet18, residual_network), (c2, stacked_network)])
def test_what_they_compute_written_out(build, written_out):
    torch.manual_seed(0)
    model = build(width=1 / 4, normalisation="group").double()
    with torch.no_grad():
        for p in model.parameters():  # also of what normalises, so that no layer is like another
            p.add_(0.1 * torch.randn_like(p))
        images = torch.rand(3, 3, 32, 32).double()
        parameters = iter(model.parameters())
        torch.testing.assert_close(model(images), written_out(images, parameters), rtol=1e-9, atol=1e-11)
        assert next(parameters, None) is None


@pytest.mark.parametrize("build", [c1, c2, resnet18])
def test_all_convolutions_are_normalised_in_ghosts_of_the_size_that_is_asked_for(build):
    model = build(width=1 / 8, ghost_size=30)
    kinds = [type(layer) for layer in model.modules()]
    ghosts = [layer for layer in model.modules() if isinstance(layer, GhostBatchNorm2d)]
    assert len(ghosts) == kinds.count(nn.Conv2d) > 8 and {layer.ghost_size for layer in ghosts} == {30}
    default = [layer for layer in build(width=1 / 8).modules() if isinstance(layer, GhostBatchNorm2d)]
    assert {layer.ghost_size for layer in default} == {100}


NORMALISED = {"c1": c1, "c2": partial(c2, n_classes=10), "resnet18": resnet18}


@pytest.mark.parametrize("name", NORMALISED)
def test_samples_have_losses_of_their_own_with_groups_and_not_with_ghosts(name):
    torch.manual_seed(0)
    samples = as_batches((torch.rand(6, 3, 32, 32), torch.arange(6))).some()
    check_independence(SampleLosses(NORMALISED[name](width=1 / 8, normalisation="group"), LOSS), samples)
    with pytest.raises(ValueError, match="model must not change when it is evaluated"):
        check_independence(SampleLosses(NORMALISED[name](width=1 / 8), LOSS), samples)


SMALL = {
    "vgg11": vgg11,
    "f1": f1,
    **{f"{name} with ghosts": build for name, build in NORMALISED.items()},
    **{f"{name} with groups": partial(build, normalisation="group") for name, build in NORMALISED.items()},
}


@pytest.mark.parametrize("name", SMALL)
def test_a_step_lowers_the_loss_and_moves_all_parameters(name):
    """As a training makes it, in single precision; ghosts of 100 are one here."""
    torch.manual_seed(0)
    model = SMALL[name](width=1 / 8)
    images, labels = torch.rand(20, *((1, 28, 28) if name == "f1" else (3, 32, 32))), torch.arange(20) % 10
    operators = LossOperators(model, LOSS, images, labels)
    before = [p.detach().clone() for p in model.parameters()]
    weights = operators.losses_like(1 / 20)

    def loss():
        with torch.no_grad():
            return float(LOSS(model(images), labels).mean())  # in training mode, as the step is made

    first = loss()
    operators.backward(weights)
    with torch.no_grad():
        slope = math.sqrt(sum(float(p.grad.square().sum()) for p in model.parameters()))
        for p in model.parameters():
            assert p.grad.isfinite().all()
            p -= 0.01 / slope * p.grad  # by a hundredth
    assert first - loss() > 0.2 * 0.01 * slope > 0  # what a straight line says is .01 times the slope
    assert all(not torch.equal(p, old) for p, old in zip(model.parameters(), before, strict=True))


def spread(model):
    """Standard deviation of the outputs between images, in the mean over the outputs."""
    with torch.no_grad():
        return float(model(torch.rand(16, 3, 32, 32)).std(dim=0).mean())


def test_outputs_of_vgg_depend_on_the_image_from_the_start():
    """Would catch weights so small that a deep network gives all images the same outputs (torch's own: by 4e-6)."""
    for seed in range(2):
        torch.manual_seed(seed)
        assert 0.03 < spread(vgg11()) < 0.3


@pytest.mark.parametrize(("how", "least", "most"), [("he", 2e-2, 0.3), ("glorot", 2e-4, 5e-3), ("torch", 5e-7, 2e-5)])
def test_how_far_outputs_of_vgg_depend_on_the_image_at_each_start(how, least, most):
    """Of the order that its docstring says, and so would catch a start that is taken for another: none of the ranges meet."""
    for seed in range(3):
        torch.manual_seed(seed)
        assert least < spread(vgg11(width=1 / 8, initialisation=how)) < most


def lowest_loss(model, rate, steps=12):
    """In some steps on eight images of different colours."""
    torch.manual_seed(0)
    images, labels, losses = torch.rand(8, 3, 1, 1) * torch.rand(8, 3, 32, 32), torch.arange(8), []
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return min(losses)


def test_vgg_can_be_trained():
    """Well below ln 10 in some steps; from torch's own start it stays where it is."""
    torch.manual_seed(0)
    assert lowest_loss(vgg11(), 0.02) < 1.7
    torch.manual_seed(0)
    assert lowest_loss(vgg11(width=1 / 8, initialisation="torch"), 0.02) > 2.2


def test_starts_are_of_the_variance_that_they_say():
    """By their definitions, of a convolution with 9 · 20 inputs and 9 · 70 outputs; 12,600 weights have it to 5 %."""
    torch.manual_seed(0)
    layer = nn.Conv2d(20, 70, 3)
    variance_of_small, excess = (float(moment) for moment in scipy.stats.truncnorm(-2, 2).stats("vk"))
    wanted = {
        "he": (2 / 180, 3.0), "glorot": (2 / (180 + 630), 1.8), "torch": (1 / (3 * 180), 1.8),
        "small": (0.02**2 * variance_of_small, 3 + excess),
    }  # fmt: skip
    for how, (variance, kurtosis) in wanted.items():
        weights = initialise(layer, how).weight.detach()
        assert float(weights.var()) == pytest.approx(variance, rel=0.05)
        assert bool((layer.bias == 0).all()) == (how in ("he", "glorot"))
        assert float((weights / weights.std()).pow(4).mean()) == pytest.approx(kurtosis, rel=0.05)
        if how == "small":
            assert float(layer.get_parameter("bias").detach().std()) == pytest.approx(variance**0.5, rel=0.3)


def test_the_released_program_of_zhu2019_sees_other_pixels_and_starts_small():
    released, ours = EXPERIMENTS["fashion-released"], EXPERIMENTS["fashion"]
    assert (released.n_train, round(released.corrupted * released.n_train)) == (6_000, 200)
    assert (released.learning_rate, released.batch_size) == (ours.learning_rate, ours.batch_size)
    model: Any = released.build()
    pixels = torch.rand(3, 1, 28, 28)
    assert sum(p.numel() for p in model.parameters()) == 11_330
    assert all(bool((p.abs() <= 0.04).all()) for p in model.parameters())
    assert torch.equal(model(pixels), nn.Sequential(*list(model)[1:])(2 * pixels - 1))


def test_what_normalises_begins_anew_with_the_rest():
    model: Any = c1(width=1 / 8)
    model(torch.rand(4, 3, 32, 32))
    with torch.no_grad():
        for p in model.parameters():
            p.fill_(3.0)
    initialise(model, "he")
    assert bool((model[1].running_mean == 0).all()) and bool((model[1].weight == 1).all())
    assert not bool((model[0].weight == 3).any())


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.ones(1))


@pytest.mark.parametrize(
    ("make", "settings", "message"),
    [
        (initialise, {"network": Scaled(), "how": "he"}, "network must be of layers with reset_parameters, got Scaled ''"),
        (initialise, {"network": lenet(), "how": "xavier"}, "how must be one of torch, he, glorot, small, got 'xavier'"),
        (initialise, {"network": "vgg11", "how": "he"}, "network must be"),
        *[(make, {"initialisation": "zero"}, "initialisation must be one of .*'zero'") for make in (vgg11, resnet18, f1, c1, c2)],
        (vgg11, {"width": 0}, "width must be > 0"),
        (c1, {"width": float("nan")}, "width must be"),
        (resnet18, {"width": 17}, "width must be .*<= 16, got 17"),
        (resnet18, {"normalisation": "batch"}, "normalisation must be one of ghost-batch, group, none, got 'batch'"),
        (c2, {"ghost_size": 0}, "ghost_size must be"),
        (f1, {"n_classes": 0}, "n_classes must be"),
        (stacked_convolutions, {"stacks": 3}, "stacks must be pairs of integers in a tuple or list, got 3"),
        (stacked_convolutions, {"stacks": [3, 64]}, "stacks must be pairs of integers"),
        (stacked_convolutions, {"stacks": 6 * [(1, 4)]}, "stacks must be from one to 5, got 6"),
        (stacked_convolutions, {"stacks": [(1, 0)]}, "stacks must be"),
        (stacked_convolutions, {"stacks": [(1, 4)], "hidden": 5}, "hidden must be integers in a tuple or list, got 5"),
    ],
)
def test_what_is_no_network_is_refused(make, settings, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make(**settings)


def test_experiments_with_the_large_networks_are_those_of_the_papers():
    """ne2021, Tables 1 and 2; zhu2019, Appendix D.4; wu2019, Appendix B.3."""
    wanted = {
        "fashion-f1": ("fashion-mnist", 60_000, 0.001, 900, 1_900_510),
        "cifar10-c1": ("cifar10", 50_000, 0.001, 100, 1_962_314),
        "cifar100-c2": ("cifar100", 50_000, 0.001, 600, 7_663_012),
        "cifar10-vgg11": ("cifar10", 50_000, 0.05, 100, 9_750_922),
        "cifar10-resnet18": ("cifar10", 50_000, 0.1, 100, 11_173_962),
        "svhn-vgg11": ("svhn", 25_000, 0.05, 100, 9_750_922),
    }
    for name, (dataset, n_train, rate, batch_size, size) in wanted.items():
        found = EXPERIMENTS[name]
        assert (found.dataset, found.n_train, found.learning_rate, found.batch_size) == (dataset, n_train, rate, batch_size)
        assert found.corrupted == 0 and count(found.build) == size
        if narrow := EXPERIMENTS.get(f"{name}-narrow"):
            assert (narrow.dataset, narrow.n_train, narrow.learning_rate) == (dataset, n_train, rate)
            assert narrow.batch_size == batch_size and count(narrow.build) < size / (9 if name == "fashion-f1" else 50)
    few = EXPERIMENTS["cifar10-vgg11-narrow-few"]
    assert (few.n_train, few.batch_size, count(few.build)) == (2_000, 50, 153_530)
    assert sum(name.endswith("-narrow") for name in EXPERIMENTS) == 4
