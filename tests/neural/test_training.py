"""Dynamics and the training loop.

They would catch a gradient that is not the one of its weights, a sample with weight that is skipped, a resume that is not the
same run, a checkpoint that is damaged or of another run and is taken for this one's, and records that are lost when training
fails.
"""

import errno
import functools
import io
import json
import os
import shutil
import zipfile
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'gradnoise[neural]'")

from gradnoise.cli.main import main
from gradnoise.simulations.neural import experiments
from gradnoise.simulations.neural.additive_noise import AdditiveNoise
from gradnoise.simulations.neural.batches import as_batches
from gradnoise.simulations.neural.checkpoints import CHECKPOINT, METRICS, PREVIOUS, load_checkpoint
from gradnoise.simulations.neural.devices import pick_device, threads
from gradnoise.simulations.neural.dynamics import DYNAMICS, WeightedLosses, WithAdditiveNoise, build
from gradnoise.simulations.neural.loss_operators import LossOperators
from gradnoise.simulations.neural.tasks import accuracy
from gradnoise.simulations.neural.training import train
from gradnoise.simulations.neural.weights import weights
from gradnoise.theory.sampling import Minibatch

from .networks import LOSS, N, problem


def setup(name="perceptron", chunk_size=4):
    model, x, y = problem(name)
    return LossOperators(model, LOSS, x, y, chunk_size=chunk_size)


def generator(seed=3):
    return torch.Generator().manual_seed(seed)


def gradient_of(operators, dynamics):
    operators.model.zero_grad()
    dynamics.backward()
    return operators.flatten({name: p.grad for name, p in operators.own_parameters.items()})


class Unused(torch.nn.Module):
    """A layer that no loss depends on, a frozen one, and inputs that must have at least one sample to be viewed."""

    def __init__(self):
        super().__init__()
        self.used, self.unused, self.out = torch.nn.Linear(4, 4), torch.nn.Linear(2, 2), torch.nn.Linear(4, 3)
        self.out.requires_grad_(False)
        self.sizes: set[int] = set()

    def forward(self, x):
        self.sizes.add(len(x))
        return self.out(torch.tanh(self.used(x.view(len(x), -1))))


def unused(n=40):
    torch.manual_seed(0)
    return LossOperators(Unused().double(), LOSS, torch.randn(n, 2, 2).double(), torch.arange(n) % 3)


def sizes_of(operators):
    assert isinstance(operators.model, Unused)
    return operators.model.sizes


@pytest.mark.parametrize("name", DYNAMICS)
def test_unused_and_frozen_parameters(name):
    """What no loss depends on has a gradient of zero, but for noise that is isotropic; what is frozen has none."""
    operators = unused()
    source = build(name, operators, 4, generator(), k=3)
    for _ in range(3):
        source.backward()
    found = operators.model.get_parameter("unused.weight").grad, operators.model.get_parameter("used.weight").grad
    assert found[0] is not None and found[1] is not None
    # The eigenvectors of H have an error of 1e-4, also along what it is zero in.
    share = float(found[0].norm() / found[1].norm())
    assert (
        share > 0.01
        if name in ("gld_const", "gld_dynamic")
        else share < 1e-4
        if name in ("gld_hessian", "gld_eigvec")
        else share == 0
    )
    assert operators.model.get_parameter("out.weight").grad is None


@pytest.mark.parametrize(
    ("name", "sizes"),
    [("sgd", {6}), ("enhanced", {24}), ("msgd-fisher-batch", {12}), ("large-batch-sgd", {12}), ("msgd-cov", {40})],
)
def test_batches_have_one_shape(name, sizes):
    """Samples that are drawn twice are not merged: that would be another shape in each step, and a wait for the device."""
    operators = unused()
    source = build(name, operators, 6, generator(), large_batch_size=12)
    sizes_of(operators).clear()
    for _ in range(30):
        source.backward()
    assert sizes_of(operators) == sizes


def test_an_empty_batch_is_a_gradient_of_zero():
    """Bernoulli's batches of b = 1 are empty in more than a third of the steps."""
    operators, empty = unused(), 0
    source = build("msgd-bernoulli", operators, 1, generator())
    for _ in range(50):
        operators.model.zero_grad()
        sizes_of(operators).clear()
        source.backward()
        if not sizes_of(operators):
            empty += 1
            assert not any(p.grad is not None and p.grad.any() for p in operators.model.parameters() if p.requires_grad)
    assert 5 < empty < 35
    train(operators, source, torch.optim.SGD(operators.model.parameters(), lr=0.01), 20)


def test_additive_noise_on_a_sparse_gradient():
    """Of an embedding with ``sparse=True``, whose noise is not sparse."""

    def gradient(sparse):
        torch.manual_seed(0)
        embedding = torch.nn.Embedding(5, 3, sparse=sparse)
        model = torch.nn.Sequential(embedding, torch.nn.Flatten(), torch.nn.Linear(6, 3)).double()
        operators = LossOperators(model, LOSS, torch.randint(5, (9, 2)), torch.arange(9) % 3)
        return gradient_of(operators, WithAdditiveNoise(AdditiveNoise("gld_const", operators, 2, generator(), strength=0.1)))

    torch.testing.assert_close(gradient(sparse=True), gradient(sparse=False), rtol=1e-12, atol=0)


def noise_of(dynamics):
    assert isinstance(dynamics, WeightedLosses) and dynamics.noise is not None
    return dynamics.noise


@pytest.mark.parametrize("name", [d for d in DYNAMICS if not d.startswith("gld") and d != "gd"])
def test_weighted_losses_have_the_gradient_of_their_weights(name):
    operators = setup()
    dynamics = build(name, operators, 2, generator(), large_batch_size=4)
    drawn = weights(noise_of(dynamics), generator(), dtype=torch.float64)
    torch.testing.assert_close(gradient_of(operators, dynamics), operators.matrix_product(drawn), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["tied", "convolutional"])
def test_additive_noise_is_added_to_the_full_gradient(name):
    operators = setup(name)
    torch.testing.assert_close(gradient_of(operators, build("gd", operators, 2, generator())), operators.gradient())
    noise = AdditiveNoise("gld_diag", operators, 2, generator(), period=10).draw()
    found = gradient_of(operators, build("gld_diag", operators, 2, generator()))
    torch.testing.assert_close(found, operators.gradient() + noise, rtol=1e-10, atol=1e-12)


def test_matched_dynamics_are_as_strong_as_the_minibatch():
    """By the moments that their noises state; what they draw is tested elsewhere."""
    power = float(Minibatch(N, 2).centred_power)
    for name in ("msgd-cov", "msgd-fisher", "msgd-rademacher", "msgd-fisher-b", "msgd-cov-b", "enhanced"):
        noise = noise_of(build(name, setup(), 2, generator(), large_batch_size=4))
        assert float(noise.centred_power) == pytest.approx(power, rel=1e-12), name
    assert float(noise_of(build("large-batch-sgd", setup(), 2, generator())).centred_power) == pytest.approx(power / 4)


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.Adam])
@pytest.mark.parametrize("name", ["sgd", "enhanced", "gld_hessian"])
def test_a_resumed_run_is_the_run(tmp_path, name, optimizer):
    def run(folder, n_steps, metrics=None):
        operators = setup()
        options = {"momentum": 0.9} if optimizer is torch.optim.SGD else {}
        steps = optimizer(operators.model.parameters(), lr=0.05, **options)
        source = build(name, operators, 2, generator(), large_batch_size=4, k=3, period=4)
        return train(operators, source, steps, n_steps, every=5, folder=folder, metrics=metrics), operators.parameters

    whole, end = run(tmp_path / "whole", 20)

    def stop_at_the_third():
        if len((tmp_path / "cut" / METRICS).read_text().splitlines()) == 3 if (tmp_path / "cut" / METRICS).exists() else False:
            raise KeyboardInterrupt
        return {}

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", 20, stop_at_the_third)
    assert len((tmp_path / "cut" / METRICS).read_text().splitlines()) == 3
    resumed, again = run(tmp_path / "cut", 20)
    assert resumed == whole and torch.equal(end, again)
    assert [json.loads(line) for line in (tmp_path / "cut" / METRICS).read_text().splitlines()] == whole
    assert [r["step"] for r in whole] == [0, 5, 10, 15, 20]
    assert not list((tmp_path / "cut").glob(".*"))  # nothing temporary is left


@pytest.mark.parametrize("name", ["sgd", "gld_leading", "gld_hessian"])
def test_a_run_in_inference_mode_is_the_run(tmp_path, name):
    """Would catch a network, and momentum, made of tensors that no gradient can be taken of or added to."""
    arguments: dict[str, Any] = {"every": 1, "rng": 1, "device": "cpu", "momentum": 0.9, "folder": tmp_path / "run"}
    with torch.inference_mode():
        experiments.run("digits", name, n_steps=1, **arguments)
        experiments.run("digits", name, n_steps=2, **arguments)
        task, _ = experiments.restore(tmp_path / "run", device="cpu")
    continued = experiments.run("digits", name, n_steps=3, **arguments)
    assert continued == experiments.run("digits", name, n_steps=3, **{**arguments, "folder": None})
    assert task.operators.gradient().norm() > 0


def in_folder(
    folder, n_steps=6, lr=0.05, every=2, name="sgd", network="perceptron", optimizer=torch.optim.SGD, operators=None,
    steering=None, **settings,
):  # fmt: skip
    operators = operators or setup(network)
    steps = optimizer(operators.model.parameters(), lr=lr, **(steering or {}))
    source = build(name, operators, 2, generator(), k=None)
    return train(operators, source, steps, n_steps, every=every, folder=folder, settings=settings), operators.parameters


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"seed": 2}, "seed = 1 there and 2 here"),
        ({"lr": 0.1}, r"lr of the optimizer's group 0 = '0\.05' there and '0\.1' here$"),
        ({"every": 3}, "every = 2 there and 3 here"),
        ({"name": "gld_diag"}, r"dynamics = 'WeightedLosses\(Minibatch.* there and 'WithAdditiveNoise\(AdditiveNoise\(gld_diag"),
        ({"network": "tied"}, "model = "),
        ({"optimizer": torch.optim.Adam}, "optimizer = 'SGD' there and 'Adam' here"),
    ],
)
def test_other_runs_are_refused(tmp_path, other, message):
    """Would catch a learning rate that a checkpoint overrides in silence, and torch's own words for what does not fit."""
    in_folder(tmp_path, seed=1)
    with pytest.raises(ValueError, match=f"hold the same run.*{message}"):
        in_folder(tmp_path, **{"seed": 1} | other)


def changed(dtype=torch.float64, samples=1.0, labels=0, function=None, smoothing=0.0, chunk_size=4):
    model, x, y = problem("perceptron")
    if function is not None:
        model[1] = function
    loss = functools.partial(LOSS, label_smoothing=smoothing)
    y = torch.cat([(y[:labels] + 1) % 3, y[labels:]])
    return LossOperators(model.to(dtype), loss, (samples * x).to(dtype), y, chunk_size=chunk_size)


@pytest.mark.parametrize("n_steps", [6, 8])  # also where nothing is left to do
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("other", [{"samples": 1.5}, {"labels": 1}, {"function": torch.nn.ReLU()}, {"smoothing": 0.1}])
def test_a_run_with_another_loss_at_its_checkpoint_is_refused(tmp_path, other, dtype, n_steps):
    """It is of other data, labels, functions of the network, or another loss, of which no part has a state."""
    in_folder(tmp_path, operators=changed(dtype))
    before = (tmp_path / CHECKPOINT).read_bytes()
    with pytest.raises(ValueError, match=r"hold the same run, got .*, whose training loss at step 6 was .*, and is"):
        in_folder(tmp_path, n_steps, operators=changed(dtype, **other))
    assert (tmp_path / CHECKPOINT).read_bytes() == before


@pytest.mark.parametrize("lr", [0.05, 2.0])  # the latter ends with losses near zero, which have few digits
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rounding_does_not_make_another_run(tmp_path, dtype, lr):
    in_folder(tmp_path, 200, lr=lr, every=50, name="gd", operators=changed(dtype))
    for chunk_size in (1, 2, 9):
        records, _ = in_folder(tmp_path, 200, lr=lr, every=50, name="gd", operators=changed(dtype, chunk_size=chunk_size))
        assert len(records) == 5
    assert lr < 1 or records[-1]["train_loss"] < 1e-2


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ({"steering": {"momentum": 0}}, {"steering": {"momentum": 0.0}}, True),
        ({"steering": {"weight_decay": 1}}, {"steering": {"weight_decay": 1.0}}, True),
        ({"steering": {"momentum": 0}}, {"steering": {"momentum": 0.1}}, False),
        ({"rates": [1, {"a": 2}]}, {"rates": [1.0, {"a": 2.0}]}, True),
        ({"rates": [1, {"a": 2}]}, {"rates": [1.0, {"a": 2.5}]}, False),
        ({"rates": [1]}, {"rates": [1, 1]}, False),
        ({"entropy": 2**100}, {"entropy": 2**100 + 1}, False),
        ({"version": "2.1"}, {"version": "2.10"}, False),
        ({"flag": True}, {"flag": 1}, False),
        ({"rate": float("nan")}, {"rate": float("nan")}, True),
    ],
)
def test_a_whole_number_is_the_float_that_it_equals(tmp_path, first, second, same):
    in_folder(tmp_path, **first)
    if same:
        in_folder(tmp_path, 8, **second)
    else:
        with pytest.raises(ValueError, match="hold the same run"):
            in_folder(tmp_path, 8, **second)


def test_a_state_that_does_not_fit_is_named(tmp_path):
    class Another(WeightedLosses):
        def __repr__(self):
            return f"WeightedLosses({self.noise!r})"

        def load_state_dict(self, state):
            raise KeyError("axes")

    in_folder(tmp_path)
    operators = setup()
    source = Another(operators, Minibatch(N, 2), generator())
    with pytest.raises(ValueError, match=r"hold the same run, got .* with one whose dynamics does not fit: 'axes'"):
        train(operators, source, torch.optim.SGD(operators.model.parameters(), lr=0.05), 6, every=2, folder=tmp_path)


def test_no_damage_of_a_checkpoint_is_loaded(tmp_path):
    """A bit that is flipped anywhere, any length, and files of other programs."""
    in_folder(tmp_path)
    path, rng = tmp_path / CHECKPOINT, np.random.default_rng(1)
    content = path.read_bytes()
    damaged = [content[:size] for size in (0, 1, 100, len(content) // 2, len(content) - 1)]
    for at, bit in zip(rng.integers(0, len(content), 100).tolist(), rng.integers(0, 8, 100).tolist(), strict=True):
        damaged.append(content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :])
    packed, zipped = io.BytesIO(), io.BytesIO()
    torch.save({"model": setup().model.state_dict()}, packed)
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("model", b"weights")
    for other in [*damaged, packed.getvalue(), zipped.getvalue(), b"step,loss\n", content + b"\n"]:
        path.write_bytes(other)
        with pytest.raises(ValueError, match=r"checkpoint\.pt must be a whole checkpoint of a run, got .*; remove it"):
            load_checkpoint(tmp_path)
    path.write_bytes(content)
    assert load_checkpoint(tmp_path)[0]["step"] == 6 and torch.load(path, weights_only=True)["step"] == 6


def test_a_damaged_checkpoint_costs_the_steps_since_the_one_before(tmp_path):
    whole, end = in_folder(tmp_path / "whole", 8)
    for spoil in (lambda last: last.write_bytes(last.read_bytes()[:-1]), lambda last: last.unlink()):
        cut = tmp_path / "cut"
        in_folder(cut, 6)
        spoil(cut / CHECKPOINT)  # of step 6; a write that is killed between its two renames leaves none
        resumed, again = in_folder(cut, 8)
        assert resumed == whole and torch.equal(end, again)
        assert {file.name for file in cut.iterdir()} == {CHECKPOINT, PREVIOUS, METRICS}
        assert load_checkpoint(cut)[0]["step"] == 8
        shutil.rmtree(cut)
    in_folder(tmp_path / "both")
    for name in (CHECKPOINT, PREVIOUS):
        (tmp_path / "both" / name).write_bytes(b"")
    with pytest.raises(ValueError, match=r"checkpoint\.pt must be a whole checkpoint"):
        in_folder(tmp_path / "both")


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path, monkeypatch):
    whole, end = in_folder(tmp_path / "whole")
    saved, save = [], torch.save

    def full(content, file):
        save(content, file)
        saved.append(content)
        if len(saved) == 3:
            monkeypatch.setattr(os, "fsync", no_room)

    def no_room(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(torch, "save", full)
        patched.setattr(os, "fsync", os.fsync)
        with pytest.raises(OSError, match=r"no checkpoint of step 4 could be written to .*cut.*No space left"):
            in_folder(tmp_path / "cut")
    monkeypatch.undo()
    assert not list((tmp_path / "cut").glob(".*")) and load_checkpoint(tmp_path / "cut")[0]["step"] == 2
    resumed, again = in_folder(tmp_path / "cut")
    assert resumed == whole and torch.equal(end, again)


def test_a_resumed_run_has_the_threads_that_it_began_with(tmp_path):
    """Would catch sums that are rounded otherwise where a run goes on with other cores."""
    seen: list[int] = []

    class Watched(WeightedLosses):
        def __repr__(self):
            return "Watched"

        def backward(self):
            seen.append(torch.get_num_threads())
            return super().backward()

    def run(n_steps):
        operators = setup()
        steps = torch.optim.SGD(operators.model.parameters(), lr=0.05)
        train(operators, Watched(operators, None, generator()), steps, n_steps, folder=tmp_path)

    with threads(2):
        run(2)
    with threads(1):
        run(4)
        assert torch.get_num_threads() == 1
    assert seen == [2] * 4


def test_a_run_that_is_made_longer_is_the_longer_run(tmp_path):
    """Would catch a record where a shorter run ended, and a longer run that is passed off as a shorter one."""
    whole, end = in_folder(tmp_path / "whole", 10, every=4)
    for n_steps in (0, 3, 6, 6, 10):
        found, again = in_folder(tmp_path / "longer", n_steps, every=4)
        assert found[-1]["step"] == n_steps
    assert found == whole and torch.equal(end, again)
    with pytest.raises(ValueError, match=r"n_steps must be >= 10, the steps that the run in .* has made, got 9"):
        in_folder(tmp_path / "longer", 9, every=4)
    assert in_folder(tmp_path / "longer", 10, every=4)[0] == whole


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_steps": 10**20}, "n_steps must be between 0 and 1000000000000"),
        ({"every": 0}, "every must be >= 1"),
        ({"metrics": lambda: {"step": 3}}, "metrics must return numbers by name, but for step and train_loss"),
        ({"metrics": lambda: 3}, "metrics must return numbers by name"),
        ({"metrics": lambda: {"norm": torch.ones(2)}}, "metrics must return numbers, got tensor"),
        ({"settings": 3}, "settings must be a mapping, got 3"),
        ({"settings": {(1, 2): 3}}, "settings must be of what JSON can hold, got keys must be str"),
        ({"folder": 3}, "folder must be a path, got 3"),
        ({"folder": __file__}, "folder must be one that can be written, got .*test_training.py"),
        ({"operators": None}, "operators must be LossOperators of a network and its data, got NoneType"),
        ({"dynamics": torch.nn.Linear(1, 1)}, "dynamics must have backward"),
        ({"optimizer": "sgd"}, "optimizer must be a torch.optim.Optimizer, got str"),
    ],
)
def test_bad_arguments_of_the_loop_are_named(change, message):
    operators = setup()
    steps = torch.optim.SGD(operators.model.parameters(), lr=0.05)
    arguments = {"operators": operators, "dynamics": build("gd", operators, 2, generator()), "optimizer": steps, "n_steps": 2}
    with pytest.raises((ValueError, TypeError), match=message):
        train(**arguments | change)


def test_a_loss_that_is_no_number_at_the_start_is_named():
    operators = setup()
    with torch.no_grad():
        next(operators.model.parameters()).fill_(float("nan"))
    steps = torch.optim.SGD(operators.model.parameters(), lr=0.05)
    with pytest.raises(ValueError, match=r"the loss must stay finite, got nan at step 0$"):
        train(operators, build("gd", operators, 2, generator()), steps, 2)


def test_rates_that_the_network_cannot_take_are_named():
    """Would catch torch's RuntimeError of a value that cannot be converted, also of the rate that Adam begins with."""
    for optimizer in ("sgd", "adam"):
        for rate in (1e300, 1e38):
            with pytest.raises(ValueError, match=r"learning_rate must be > 0 and <= 3\.40282e\+35, got 1e\+"):
                experiments.run("digits", n_steps=1, rng=0, device="cpu", learning_rate=rate, optimizer=optimizer)
        with pytest.raises(ValueError, match="the loss must stay finite"):
            experiments.run("digits", n_steps=4, rng=0, device="cpu", learning_rate=3e35, optimizer=optimizer)
    with pytest.raises(ValueError, match="momentum must be >= 0 and <= 3"):
        experiments.run("digits", n_steps=1, rng=0, device="cpu", momentum=1e39)
    operators = experiments.make(experiments.EXPERIMENTS["digits"], rng=1, device=torch.device("cpu")).operators
    steps = torch.optim.Adam(operators.model.parameters(), lr=1e38)
    with pytest.raises(ValueError, match=r"lr of the optimizer must be at most 3\.4e\+35 for torch\.float32, got 1e\+38"):
        train(operators, build("gd", operators, 2, generator()), steps, 1)


def test_a_loss_that_grows_without_bound_ends_the_run_and_keeps_the_records(tmp_path):
    operators = setup("convolutional")
    steps = torch.optim.SGD(operators.model.parameters(), lr=1e200)
    source = WeightedLosses(operators, None, generator())
    with pytest.raises(ValueError, match="the loss must stay finite, got nan at step 4"):
        train(operators, source, steps, 20, every=4, folder=tmp_path)
    assert len((tmp_path / METRICS).read_text().splitlines()) == 1


def test_seeds_are_apart():
    """The data and the first weights are those of the seed, whatever the dynamics; the noise differs from step to step."""
    starts = [experiments.run("digits", d, n_steps=0, rng=5, device="cpu")[0] for d in ("sgd", "gd", "msgd-cov")]
    assert starts[0] == starts[1] == starts[2] != experiments.run("digits", "gd", n_steps=0, rng=6, device="cpu")[0]
    state = torch.random.get_rng_state()
    one, two = (experiments.run("digits", "sgd", n_steps=30, rng=5, device="cpu") for _ in range(2))
    assert one == two and torch.equal(state, torch.random.get_rng_state())


def test_digits_are_learnt():
    found = experiments.run("digits", "sgd", n_steps=600, every=600, rng=1, device="cpu")[-1]
    assert found["test_accuracy"] > 0.8 and 0.7 < found["train_accuracy"] < 0.95  # a sixth of the labels is wrong


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"experiment": "mnist"}, "experiment must be one of digits, fashion"),
        ({"dynamics": "adam"}, "dynamics must be one of gd, gd-rademacher, sgd"),
        ({"batch_size": 0}, "batch_size must be >= 1, got 0"),
        ({"batch_size": 301}, "batch_size must be between 1 and 300, got 301"),
        ({"learning_rate": 0.0}, "learning_rate must be > 0"),
        ({"dynamics": "enhanced", "large_batch_size": 10}, "large_batch_size must be between 11 and"),
        ({"device": "tpu"}, "device must be auto, or one that torch knows, such as cpu, cuda or cuda:1, got 'tpu'"),
        ({"device": "meta"}, "device must be there and hold numbers, got meta"),
        ({"chunk_size": 0}, "chunk_size must be between 1 and"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        experiments.run(**({"experiment": "digits", "n_steps": 1, "rng": 0} | arguments))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"task": {}}, "task must be of class Task"),
        ({"settings": [1]}, "settings must be a mapping"),
        ({"settings": {"f": len}}, "settings must be of what JSON can hold"),
        ({"metrics": {"a": 1}}, "metrics must be callable"),
        ({"metrics": lambda: 3}, "metrics must return numbers by name"),
        ({"dynamics": None}, "dynamics must be one of"),
        ({"period": 0}, "period must be >= 1"),
    ],
)
def test_bad_arguments_of_an_advance_are_named(arguments, message):
    """Would catch an AttributeError, and a training that begins before its settings are seen to be none."""
    task = experiments.make(experiments.EXPERIMENTS["digits"], rng=1, device=torch.device("cpu"))
    given = {"task": task, "dynamics": "sgd", "rng": 1, "n_steps": 1, "learning_rate": 0.1, "batch_size": 2, "every": 1}
    with pytest.raises((TypeError, ValueError), match=message):
        experiments.advance(**(given | arguments))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_missing_device_is_named():
    for device in ("cuda", "cuda:1", torch.device("cuda")):
        with pytest.raises(ValueError, match=f"device must be there, got {device}, and torch sees no CUDA device"):
            experiments.run("digits", n_steps=1, rng=0, device=device)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_cuda_devices_by_number():
    assert pick_device("cuda:0") == torch.device("cuda:0") and pick_device("auto").type == "cuda"
    with pytest.raises(ValueError, match="and torch sees cuda:0 to cuda:"):
        pick_device("cuda:99")


def test_devices_by_name():
    assert pick_device(torch.device("cpu")) == pick_device("cpu") == torch.device("cpu")
    with pytest.raises(TypeError, match="device must be a name or a torch"):
        pick_device(0)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["batch_size", "large_batch_size", "every", "n_steps", "chunk_size", "rng"])
def test_numbers_of_numpy_are_numbers(name, tmp_path):
    options: dict[str, Any] = {"n_steps": 2, "rng": 1, "batch_size": 4, "large_batch_size": 8, "every": 1, "chunk_size": 100}
    plain = experiments.run("digits", "enhanced", device="cpu", folder=tmp_path / "plain", **options)
    options[name] = np.int64(options[name])
    assert experiments.run("digits", "enhanced", device="cpu", folder=tmp_path / "numpy", **options) == plain


def test_settings_are_what_json_can_hold(tmp_path):
    operators = setup()

    def run(settings):
        steps = torch.optim.SGD(operators.model.parameters(), lr=0.05)
        return train(operators, build("sgd", operators, 2, generator()), steps, 2, folder=tmp_path, settings=settings)

    with pytest.raises(TypeError, match="settings must be of what JSON can hold, got <object"):
        run({"seed": object()})
    first = run({"seed": np.int64(1), "rate": np.float32(0.5)})
    assert run({"seed": 1, "rate": 0.5}) == first  # the same run


def test_chunks_reach_training_and_evaluation():
    """Would catch an evaluation of all images at once, which takes forty times the memory of what the chunks allow."""
    whole = experiments.make(experiments.EXPERIMENTS["digits"], rng=1, device=torch.device("cpu"))
    task = experiments.make(experiments.EXPERIMENTS["digits"], rng=1, device=torch.device("cpu"), chunk_size=70)
    sizes = set()
    task.operators.model.register_forward_pre_hook(lambda _, inputs: sizes.add(len(inputs[0])))
    assert task.metrics() == whole.metrics() and max(sizes) == 70 and 597 % 70 in sizes
    options: dict[str, Any] = {"n_steps": 2, "rng": 1, "every": 2, "learning_rate": 0.1, "batch_size": 10}
    chunked, plain = (experiments.advance(t, "gd", **options) for t in (task, whole))
    assert max(sizes) == 70 and chunked[-1]["train_loss"] == pytest.approx(plain[-1]["train_loss"], rel=1e-5)
    records = experiments.run("digits", "gd", n_steps=2, every=2, rng=1, learning_rate=0.1, device="cpu", chunk_size=70)
    assert records == chunked


def test_accuracy_is_taken_in_evaluation_mode_and_leaves_every_layer_as_it_was():
    model = torch.nn.Sequential(torch.nn.Dropout(0.9), torch.nn.Linear(4, 3), torch.nn.Dropout(0.5).eval())
    x, y = torch.randn(50, 4), torch.arange(50) % 3
    wanted = float((model[1](x).argmax(dim=1) == y).double().mean())
    assert accuracy(model, as_batches((x, y)), 7) == pytest.approx(wanted)
    assert [m.training for m in model.modules()] == [True, True, True, False]


def command(monkeypatch, capsys, *arguments):
    monkeypatch.setattr("sys.argv", ["gradnoise", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        main()
    return end.value.code or 0, capsys.readouterr()


def test_train_and_diagnose_from_the_command_line(monkeypatch, capsys, tmp_path):
    run = tmp_path / "run"
    code, shown = command(
        monkeypatch, capsys, "train", "--steps", 20, "--every", 10, "--seed", 3, "--device", "cpu", "--out", run
    )
    assert code == 0 and "test accuracy" in shown.out and len((run / METRICS).read_text().splitlines()) == 3
    code, again = command(monkeypatch, capsys, "train", "--steps", 20, "--every", 10, "--seed", 3, "--chunk-size", 70)
    assert code == 0 and again.out.splitlines()[:-2] == shown.out.splitlines()[:-3]
    code, shown = command(
        monkeypatch, capsys, "diagnose", run, "--probes", 4, "--device", "cpu", "--chunk-size", 70, "--json", "-"
    )
    found = json.loads(shown.out)
    assert code == 0 and found["arguments"]["dimension"] == 64 * 50 + 50 + 2_500 + 50 + 500 + 10
    # Of so few probes at the start.
    assert found["ratio"] is None and "a ratio to isotropic noise means nothing" in " ".join(found["words"])
    assert np.all(np.diff(found["hessian_eigenvalues"]) <= 0)
    before = (run / CHECKPOINT).read_bytes()
    code, shown = command(monkeypatch, capsys, "diagnose", run, "--device", "cpu", "--json", run / CHECKPOINT)
    assert code == 2 and "--json must be another file than those of DIR" in " ".join(shown.err.split())
    assert (run / CHECKPOINT).read_bytes() == before
    code, shown = command(monkeypatch, capsys, "diagnose", run, "--probes", 1, "--device", "cpu")
    assert code == 2 and "--probes must be between 2 and" in " ".join(shown.err.split())
    code, shown = command(monkeypatch, capsys, "diagnose", tmp_path)
    assert code == 2 and "folder must hold checkpoint.pt" in " ".join(shown.err.split())
    code, shown = command(monkeypatch, capsys, "train", "--dynamics", "sdg")
    assert code == 2 and "Traceback" not in shown.err and "dynamics must be one of" in " ".join(shown.err.split())


def test_train_with_all_options_from_the_command_line(monkeypatch, capsys, tmp_path):
    """The run is that of the library with the same options, and errors are of the options as they are spelt."""
    run = tmp_path / "run"
    common = "train", "--steps", 400, "--every", 1000, "--seed", 3, "--device", "cpu"
    code, shown = command(
        monkeypatch, capsys, *common, "--out", run, "--weight-decay", 0.001, "--milestones", "40, 300", "--decay", 0.5,
        "--halve-at", 2.2, "--stop-at", 1.9, "--momentum", 0.5,
    )  # fmt: skip
    wanted = experiments.run(
        "digits", n_steps=400, every=1000, rng=3, device="cpu", weight_decay=0.001, milestones=(40, 300), decay=0.5,
        halve_at=2.2, stop_at=1.9, momentum=0.5,
    )  # fmt: skip
    assert [json.loads(line) for line in (run / METRICS).read_text().splitlines()] == wanted
    assert code == 0 and wanted[-1]["stopped"] == wanted[-1]["halved"] == 1
    assert f"stopped at step {wanted[-1]['step']}, where the training loss of an epoch was below 1.9" in shown.out + shown.err
    for name, options, given in (
        ("sgd", ("--augment",), {"augment": True}),
        ("enhanced", ("--alpha", 2, "--large-batch-size", 30), {"alpha": 2.0, "large_batch_size": 30}),
        ("svag", ("--svag-l", 3), {"svag_l": 3}),
    ):
        code, _ = command(
            monkeypatch, capsys, *common, "--steps", 2, "--dynamics", name, *options, "--out", tmp_path / name
        )  # fmt: skip
        assert code == 0 and given.items() <= load_checkpoint(tmp_path / name)[1].items()
    for options, message in (
        (("--milestones", "40,x"), "--milestones must be integers that are separated by commas, got '40,x'"),
        (("--milestones", "40,30"), "--milestones must be integers >= 1, each more than the one before, got (40, 30)"),
        (("--alpha", 2), "--alpha must be left out for sgd"),
        (("--dynamics", "enhanced", "--alpha", 2), "--large-batch-size must be given with alpha"),
        (("--svag-l", 2), "--svag-l must be left out for sgd"),
        (("--weight-decay", -1), "--weight-decay must be >= 0"),
        (("--decay", 2), "--decay must be > 0 and <= 1"),
        (("--halve-at", 1, "--stop-at", 2), "--stop-at must be < halve_at"),
        (("--dynamics", "gd", "--augment"), "--augment must be False for gd"),
        (("--learning-rate", 0), "--learning-rate must be > 0"),
    ):
        code, shown = command(monkeypatch, capsys, *common, *options)
        assert code == 2 and message in " ".join(shown.err.split()), message
