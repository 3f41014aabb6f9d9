"""Flips and crops on the device.

They would catch a crop that leaves out a place at the edge or takes height for width, a label that moves, draws that depend on
chunks or are lost in a resume, and images that are changed where they are evaluated.
"""

from collections import Counter
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'gradnoise[neural]'")

from gradnoise.simulations.neural import experiments
from gradnoise.simulations.neural.augmentation import FlipsAndCrops
from gradnoise.simulations.neural.batch_weights import weighted_batch
from gradnoise.simulations.neural.dynamics import BATCHED, DYNAMICS, WeightedLosses, build
from gradnoise.simulations.neural.loss_operators import LossOperators
from gradnoise.theory.sampling import Minibatch

from .networks import CLASSES, LOSS, N, problem

HEIGHT, WIDTH = 5, 7


def generator(seed=3):
    return torch.Generator().manual_seed(seed)


def images(chunk_size=4):
    torch.manual_seed(0)
    layers = torch.nn.Conv2d(3, 2, 3), torch.nn.Tanh(), torch.nn.Flatten(), torch.nn.Linear(2 * 3 * 5, CLASSES)
    inputs = torch.randn(N, 3, HEIGHT, WIDTH, dtype=torch.float64)
    return LossOperators(torch.nn.Sequential(*layers).double(), LOSS, inputs, torch.arange(N) % CLASSES, chunk_size=chunk_size)


def literal(inputs, drawn, p):
    """The same draws, pixel by pixel."""
    tops, lefts = torch.randint(2 * p + 1, (2, len(inputs)), generator=drawn).tolist()
    flips = torch.randint(2, (len(inputs),), generator=drawn, dtype=torch.bool).tolist()
    found = torch.zeros_like(inputs)
    for k, image in enumerate(inputs):
        for i in range(HEIGHT):
            for j in range(WIDTH):
                row, column = i + tops[k] - p, j + lefts[k] - p
                if 0 <= row < HEIGHT and 0 <= column < WIDTH:
                    found[k, :, i, WIDTH - 1 - j if flips[k] else j] = image[:, row, column]
    return found


@pytest.mark.parametrize("padding", [0, 1, 4, 6])
def test_images_are_cropped_and_flipped(padding):
    inputs, targets = torch.randn(30, 3, HEIGHT, WIDTH), torch.arange(30)
    change = FlipsAndCrops(padding).draw(30, generator())
    found, labels = change((inputs, targets), torch.arange(30))
    assert torch.equal(found, literal(inputs, generator(), padding)) and torch.equal(labels, targets)
    some = torch.tensor([7, 2, 29])
    assert torch.equal(change((inputs[some], targets[some]), some)[0], found[some])


def test_all_places_are_equally_likely():
    """Where a single bright pixel goes, over 81 crops and two sides; |count − mean| is below 6 standard deviations."""
    n, p = 50_000, 4
    image = torch.zeros(1, 1, 9, 9)
    image[0, 0, 4, 4] = 1  # it stays within, and a flip takes it from place j to 8 - j, both as likely
    found, _ = FlipsAndCrops(p).draw(n, generator())((image.expand(n, -1, -1, -1), None), torch.arange(n))
    places = Counter(found.flatten(1).argmax(dim=1).tolist())
    mean = n / 81
    assert len(places) == 81 and all(abs(count - mean) < 6 * mean**0.5 for count in places.values())
    edge = torch.zeros(1, 1, 1, 2)
    edge[..., 0] = 1
    sides, _ = FlipsAndCrops(0).draw(n, generator())((edge.expand(n, -1, -1, -1), None), torch.arange(n))
    assert abs(float(sides[..., 0].sum()) - n / 2) < 6 * (n / 4) ** 0.5


@pytest.mark.parametrize("name", BATCHED)
def test_gradients_are_those_of_the_changed_images_of_a_batch(name):
    operators, drawn = images(), generator()
    source = build(name, operators, 2, drawn, large_batch_size=4, augment=True)
    loss, again = source.backward(), generator()
    assert isinstance(source, WeightedLosses) and source.noise is not None
    batch = weighted_batch(source.noise, again, dtype=torch.float64)
    inputs, targets = operators.batches.batch  # type: ignore[attr-defined]
    samples = torch.arange(N) if batch.samples is None else batch.samples
    losses = LOSS(operators.model(literal(inputs[samples], again, 4)), targets[samples])
    wanted = torch.autograd.grad((batch.weights * losses).sum(), list(operators.model.parameters()))
    for p, g in zip(operators.model.parameters(), wanted, strict=True):
        torch.testing.assert_close(p.grad, g, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(loss, losses.detach().mean())
    assert torch.equal(drawn.get_state(), again.get_state())
    plain = LOSS(operators.model(inputs[samples]), targets[samples]).mean()
    assert not torch.isclose(loss, plain)


def test_draws_do_not_depend_on_the_chunks():
    found = []
    for chunk_size in (2, 3, 100):
        operators = images(chunk_size)
        build("large-batch-sgd", operators, 2, generator(), large_batch_size=7, augment=True).backward()
        gradients: dict[str, Any] = {name: p.grad for name, p in operators.own_parameters.items()}
        found.append(operators.flatten(gradients))
    torch.testing.assert_close(found[0], found[1])
    torch.testing.assert_close(found[0], found[2])


@pytest.mark.parametrize("name", ["sgd", "enhanced"])
def test_a_resumed_run_has_the_images_of_the_run(tmp_path, name):
    options: dict[str, Any] = {"every": 3, "rng": 1, "device": "cpu", "augment": True, "stop_at": 0.01, "learning_rate": 0.05}
    whole = experiments.run("digits", name, n_steps=9, **options)
    for n_steps in (4, 9):
        resumed = experiments.run("digits", name, n_steps=n_steps, folder=tmp_path, **options)
    assert resumed == whole
    plain = experiments.run("digits", name, n_steps=9, **{**options, "augment": False})
    assert whole[0] == plain[0] and whole[1] != plain[1]  # the images that are evaluated are the same ones
    with pytest.raises(ValueError, match=r"hold the same run.*augment = True there and None here"):
        experiments.run("digits", name, n_steps=9, folder=tmp_path, **{**options, "augment": False})


@pytest.mark.parametrize("name", sorted(set(DYNAMICS) - set(BATCHED)))
def test_what_is_of_fixed_data_is_refused_by_name(name):
    with pytest.raises(ValueError, match=f"augment must be False for {name}, which is of the gradients of all data as they are"):
        experiments.run("digits", name, n_steps=1, rng=1, device="cpu", augment=True)


def test_what_is_no_image_is_refused():
    model, x, y = problem("perceptron")
    operators = LossOperators(model, LOSS, x, y)
    with pytest.raises(ValueError, match=r"augment must be False unless inputs are images, .*, got shape \(\d, 4\)"):
        build("sgd", operators, 2, generator(), augment=True)
    closure = LossOperators(model, None, {"x": x, "y": y}, closure=lambda model, batch: LOSS(model(batch["x"]), batch["y"]))
    with pytest.raises(ValueError, match=r"augment must be False unless inputs are images, .*, got dict"):
        build("sgd", closure, 2, generator(), augment=True)
    for value in (1, "yes", None):
        with pytest.raises(TypeError, match="augment must be True or False"):
            build("sgd", operators, 2, generator(), augment=value)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="augmentation must be of class FlipsAndCrops"):
        WeightedLosses(images(), Minibatch(N, 2), generator(), True)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="padding must be between 0 and 1000"):
        FlipsAndCrops(-1)
