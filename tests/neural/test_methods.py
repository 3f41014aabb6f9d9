"""What steers a training: strength of the noise, weight decay, schedules, and the rule of ne2021.

Each option is held against loops of a few lines in plain torch with the same draws. They would catch a rule that looks at other
steps, or too often, a rate that a resume resets, a decay that the momentum does not see, steps of SVAG that are l times too long,
a second batch that has no weight, and settings that contradict each other in silence.
"""

import json
import math
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'gradnoise[neural]'")

from torch.optim.lr_scheduler import LambdaLR, MultiStepLR, ReduceLROnPlateau

from gradnoise.simulations.neural import experiments
from gradnoise.simulations.neural.checkpoints import load_checkpoint
from gradnoise.simulations.neural.dynamics import build
from gradnoise.simulations.neural.loss_operators import LossOperators
from gradnoise.simulations.neural.loss_rule import LossRule
from gradnoise.simulations.neural.methods import Method
from gradnoise.simulations.neural.training import train

from .networks import LOSS, N, problem

RATE, B = 0.4, 2
EPOCH = 5  # of nine samples in batches of two


def generator(seed=3):
    return torch.Generator().manual_seed(seed)


def found(n_steps, every=1000, folder=None, seen=None, **options):
    """Records, and parameters at the end, of a method."""
    model, x, y = problem("perceptron")
    operators = LossOperators(model, LOSS, x, y, chunk_size=4)
    method = Method(**{"dynamics": "sgd", "learning_rate": RATE, "batch_size": B} | options)
    parts = method.parts(operators, generator())
    records = train(
        operators, parts.dynamics, parts.optimizer, n_steps, every=every, schedule=parts.schedule, rule=parts.rule,
        folder=folder, metrics=seen,
    )  # fmt: skip
    return records, operators.parameters


def sgd(drawn):
    return torch.randint(N, (1, B), generator=drawn)[0], torch.full((B,), 1 / B, dtype=torch.float64)


def pair(size, alpha):
    """Draws of noise enhancement, Eq. (6) of ne2021."""

    def draw(drawn):
        both = [torch.randint(N, (1, size), generator=drawn)[0] for _ in range(2)]
        return torch.cat(both), torch.tensor([alpha] * size + [1 - alpha] * size, dtype=torch.float64) / size

    return draw


def literal(n_steps, draw=sgd, rate=RATE, momentum=0.0, weight_decay=0.0, milestones=(), decay=0.1, steer=None):
    """Parameters at the end, at which step that is, and the loss of each batch; `steer` says what to do after each step."""
    model, x, y = problem("perceptron")
    parameters, drawn, losses = list(model.parameters()), generator(), []
    velocity, t = [torch.zeros_like(p) for p in parameters], 0
    for t in range(1, n_steps + 1):
        samples, w = draw(drawn)
        loss = LOSS(model(x[samples]), y[samples])
        gradients = torch.autograd.grad((w * loss).sum(), parameters)
        losses.append(float(loss.detach().mean()))
        with torch.no_grad():
            for p, v, g in zip(parameters, velocity, gradients, strict=True):
                v.mul_(momentum).add_(g + weight_decay * p)
                p -= rate * v
        rate *= decay if t in milestones else 1
        factor, over = (1.0, False) if steer is None else steer(t, losses)
        rate *= factor
        if over:
            break
    return torch.cat([p.detach().flatten() for p in parameters]), t, losses


def rule(halve_at=-math.inf, stop_at=-math.inf, shift=0, window=EPOCH):
    """ne2021's rule; with a shift it looks at other steps, with a window at more of them."""
    halved = []

    def steer(t, losses):
        if t <= shift or (t - shift) % EPOCH:
            return 1.0, False
        mean = sum(losses[-window:]) / len(losses[-window:])
        halves = mean <= halve_at and not halved
        if halves:
            halved.append(t)
        return 0.5 if halves else 1.0, mean < stop_at

    return steer


def same(one, other):
    return torch.allclose(one, other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "options",
    [
        {"weight_decay": 0.03},
        {"weight_decay": 0.03, "momentum": 0.7},
        {"milestones": (4, 11), "decay": 0.3},
        {"milestones": [4, 11], "momentum": 0.7, "weight_decay": 0.03},
    ],
)
def test_options_of_sgd_are_those_of_plain_torch(options):
    wanted, _, _ = literal(20, **options)
    assert same(found(20, **options)[1], wanted)
    for name in options.keys() - {"decay"}:  # each of them is seen
        assert not same(literal(20, **{key: value for key, value in options.items() if key != name})[0], wanted)


def test_weight_decay_of_adam_is_added_to_the_gradient():
    rate, decay, betas, epsilon = 0.02, 0.05, (0.9, 0.999), 1e-8
    model, x, y = problem("perceptron")
    parameters, drawn = list(model.parameters()), generator()
    moments = [[torch.zeros_like(p) for p in parameters] for _ in range(2)]
    for t in range(1, 13):
        samples, w = sgd(drawn)
        gradients = torch.autograd.grad((w * LOSS(model(x[samples]), y[samples])).sum(), parameters)
        with torch.no_grad():
            for p, m, v, raw in zip(parameters, *moments, gradients, strict=True):
                g = raw + decay * p
                m.mul_(betas[0]).add_((1 - betas[0]) * g)
                v.mul_(betas[1]).add_((1 - betas[1]) * g**2)
                p -= rate * (m / (1 - betas[0] ** t)) / ((v / (1 - betas[1] ** t)).sqrt() + epsilon)
    wanted = torch.cat([p.detach().flatten() for p in parameters])
    options: dict[str, Any] = {"optimizer": "adam", "learning_rate": rate}
    assert same(found(12, weight_decay=decay, **options)[1], wanted) and not same(found(12, **options)[1], wanted)


@pytest.mark.parametrize(("size", "alpha"), [(3, 2.0), (4, 1.2), (3, 5.5)])
def test_alpha_of_noise_enhancement(size, alpha):
    wanted, _, _ = literal(12, pair(size, alpha))
    assert same(found(12, dynamics="enhanced", batch_size=None, large_batch_size=size, alpha=alpha)[1], wanted)


def test_alpha_of_one_is_plain_sgd_of_that_batch():
    """To the last bit, and with as many samples looked at."""
    options: dict[str, Any] = {"dynamics": "enhanced", "batch_size": None, "large_batch_size": 4, "alpha": 1}
    assert torch.equal(found(12, **options)[1], found(12, batch_size=4)[1])
    model, x, y = problem("perceptron")
    sizes: set[int] = set()
    model.register_forward_pre_hook(lambda _, inputs: sizes.add(len(inputs[0])))
    operators = LossOperators(model, LOSS, x, y)
    source = build("enhanced", operators, None, generator(), large_batch_size=4, alpha=1.0)
    source.backward()
    sizes.clear()  # of the check that the network's losses do not depend on each other
    source.backward()
    assert sizes == {4} and source.batch_size == 4


@pytest.mark.parametrize("l", [2, 3, 7])
def test_svag_makes_steps_of_a_share_of_the_rate(l):
    alpha = (1 + math.sqrt(2 * l - 1)) / 2
    wanted, _, _ = literal(12, pair(B, alpha), rate=RATE / l)
    assert same(found(12, dynamics="svag", svag_l=l)[1], wanted)
    if l == 2:
        assert same(found(12, dynamics="svag")[1], wanted)
    assert not same(literal(12, pair(B, alpha))[0], wanted)


def test_svag_of_one_is_sgd():
    assert torch.equal(found(12, dynamics="svag", svag_l=1)[1], found(12)[1])


STEPS = 60
#: Levels that the run falls to at different steps by the rule and by each of its twins.
LEVELS: dict[str, Any] = {"halve_at": 0.95, "stop_at": 0.6}


def test_the_rule_is_the_papers():
    """Halving and end are those of the literal rule, and of none that looks at other steps, at two epochs, or not at all."""
    wanted, end, _ = literal(STEPS, steer=rule(**LEVELS))
    records, parameters = found(STEPS, **LEVELS)
    assert end < STEPS and records[-1] == {**records[-1], "step": end, "halved": 1.0, "stopped": 1.0}
    assert [r["step"] for r in records] == [0, end] and records[0]["stopped"] == records[0]["halved"] == 0
    assert same(parameters, wanted)
    twins = {
        "looks a step later": rule(**LEVELS, shift=1),
        "looks at the last step alone": rule(**LEVELS, window=1),
        "looks at two epochs": rule(**LEVELS, window=2 * EPOCH),
        "does not halve": rule(stop_at=LEVELS["stop_at"]),
        "does not stop": rule(halve_at=LEVELS["halve_at"]),
    }
    for name, twin in twins.items():
        assert not same(literal(STEPS, steer=twin)[0], wanted), name


@pytest.mark.parametrize("level", ["halve_at", "stop_at"])
def test_levels_are_reached_as_the_paper_has_it(level):
    """The rate is halved *at* L*, and the training ends *below* L**: of the two, one alone takes effect at the mean itself."""
    _, _, losses = literal(EPOCH)
    buffer = torch.tensor(losses, dtype=torch.float64)
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    for change, there in ((-1e-9, False), (0.0, level == "halve_at"), (1e-9, True)):
        of = LossRule(EPOCH, **{level: float(buffer.mean()) + change})
        for step, loss in enumerate(buffer, start=1):
            of.see(step, loss, optimizer)
        assert (of.halved, of.stopped) == ((there, False) if level == "halve_at" else (False, there))


def test_the_rate_is_halved_once():
    _, parameters = found(STEPS, halve_at=10.0)
    assert same(parameters, literal(STEPS, steer=rule(halve_at=10.0))[0])
    assert same(parameters, literal(STEPS, milestones=(EPOCH,), decay=0.5)[0])


def test_epochs_are_of_the_batches_that_are_drawn():
    model, x, y = problem("perceptron")
    operators = LossOperators(model, LOSS, x, y)
    for name, size in (("sgd", 2), ("svag", 2), ("msgd-bernoulli", 2), ("enhanced", 4), ("large-batch-sgd", 4),
                       ("msgd-fisher-batch", 4), ("gd", 9), ("msgd-cov", 9), ("msgd-fisher-b", 9), ("gld_diag", 9)):  # fmt: skip
        method = Method(dynamics=name, learning_rate=0.1, batch_size=2, large_batch_size=4, stop_at=0.1)
        parts = method.parts(operators, generator())
        assert parts.rule is not None and parts.rule.epoch == math.ceil(9 / size), name


def test_an_empty_batch_has_no_loss_to_count():
    of, optimizer = LossRule(3, stop_at=0.5), torch.optim.SGD([torch.zeros(1)], lr=1.0)
    for step, loss in enumerate([0.4, math.nan, 0.5], start=1):
        of.see(step, torch.tensor(loss), optimizer)
    assert of.stopped
    of.load_state_dict({"losses": None, "halved": False, "stopped": False})
    for step in (1, 2, 3):
        of.see(step, torch.tensor(math.nan), optimizer)
    assert not of.stopped
    found(40, dynamics="msgd-bernoulli", batch_size=1, stop_at=0.01)


RESUMED = [
    {"milestones": (7, 9, 30), "decay": 0.5},
    {"momentum": 0.6, "milestones": (13,), **LEVELS},
    {"dynamics": "svag", "svag_l": 3, "learning_rate": 0.9, "halve_at": 0.9, "weight_decay": 0.001},
    {"dynamics": "enhanced", "batch_size": None, "large_batch_size": 4, "alpha": 1.7, "optimizer": "adam",
     "learning_rate": 0.05, "halve_at": 0.9, "stop_at": 0.6, "milestones": (4, 20)},
]  # fmt: skip


@pytest.mark.parametrize("options", RESUMED)
def test_a_resumed_run_is_the_run_with_its_schedule_and_rule(tmp_path, options):
    """Cut at some records, within epochs: would catch a rate, a schedule or losses of the rule that begin anew."""
    whole, end = found(40, every=4, folder=tmp_path / "whole", **options)
    for at in range(1, len(whole), 3):
        calls = []

        def cut(at=at, calls=calls):
            calls.append(None)
            if len(calls) == at + 1:
                raise KeyboardInterrupt
            return {}

        with pytest.raises(KeyboardInterrupt):
            found(40, every=4, folder=tmp_path / f"{at}", seen=cut, **options)
        assert load_checkpoint(tmp_path / f"{at}")[0]["step"] == whole[at - 1]["step"]
        records, again = found(40, every=4, folder=tmp_path / f"{at}", **options)
        assert records == whole and torch.equal(end, again)


def test_a_run_that_has_stopped_is_over(tmp_path):
    """Longer or shorter: would catch steps behind the end, an end that is lost among the records, and one in silence."""
    records, end = found(STEPS, every=7, folder=tmp_path, **LEVELS)
    assert records[-1]["stopped"] == 1 and records[-1]["step"] % 7
    for n_steps in (STEPS, 10 * STEPS, int(records[-1]["step"])):
        again, there = found(n_steps, every=7, folder=tmp_path, **LEVELS)
        assert again == records and torch.equal(there, end)
    with pytest.raises(ValueError, match="n_steps must be >= "):
        found(int(records[-1]["step"]) - 1, every=7, folder=tmp_path, **LEVELS)
    for other in ({"halve_at": 0.9}, {"stop_at": 0.61}, {"milestones": (3,)}, {"weight_decay": 0.1}):
        with pytest.raises(ValueError, match="hold the same run"):
            found(STEPS, every=7, folder=tmp_path, **LEVELS | other)


def test_a_run_that_is_made_longer_goes_on_within_its_epoch(tmp_path):
    whole, end = found(STEPS, every=8, **LEVELS)
    for n_steps in (3, 9, STEPS):
        records, again = found(n_steps, every=8, folder=tmp_path, **LEVELS)
    assert records == whole and torch.equal(end, again)


def test_no_record_is_needed_for_the_rule(monkeypatch):
    """All samples are evaluated at the start and at the end, however many epochs lie between."""
    passes, losses = [], LossOperators.losses
    monkeypatch.setattr(LossOperators, "losses", lambda self: passes.append(None) or losses(self))
    records, _ = found(STEPS, every=10**6, **LEVELS)
    assert len(passes) == 2 and records[-1]["step"] > 3 * EPOCH


def run(tmp_path=None, **options):
    given: dict[str, Any] = {"dynamics": "sgd", "n_steps": 4, "every": 4, "rng": 1, "device": "cpu", "folder": tmp_path}
    return experiments.run("digits", **given | options)


def test_a_run_without_the_options_is_written_down_as_before_there_were_any(tmp_path):
    """Would catch a checkpoint of an earlier version that is refused."""
    run(tmp_path)
    settings = {"experiment", "stream", "data", "dynamics", "learning_rate", "batch_size", "large_batch_size", "optimizer",
                "momentum", "period", "every", "device", "versions"}  # fmt: skip
    content, found_settings = load_checkpoint(tmp_path)
    assert set(found_settings) == settings and {"schedule", "rule"}.isdisjoint(content)
    made_of = json.loads(content["made_of"])
    assert {"schedule", "rule"}.isdisjoint(made_of) and made_of["weight_decay of the optimizer's group 0"] == "0"


def test_settings_of_a_run_have_the_options_that_were_given(tmp_path):
    options: dict[str, Any] = {"weight_decay": 1e-4, "milestones": (2,), "decay": 0.5, "halve_at": 2.0, "stop_at": 0.1}
    enhanced: dict[str, Any] = {"dynamics": "enhanced", "alpha": 2, "large_batch_size": 50}
    run(tmp_path, **options, **enhanced)
    _, settings = load_checkpoint(tmp_path)
    wanted = options | enhanced | {"milestones": [2], "batch_size": 50}
    assert {name: settings[name] for name in wanted} == wanted
    task, _ = experiments.restore(tmp_path, device="cpu")
    assert task.operators.n == 300
    with pytest.raises(ValueError, match=r"alpha = 2\.0 there and 3\.0 here"):
        run(tmp_path, **options, **enhanced | {"alpha": 3})
    with pytest.raises(ValueError, match=r"milestones = \[2\] there and None here"):
        run(tmp_path, **{k: v for k, v in options.items() if k not in ("milestones", "decay")}, **enhanced)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": 2.0}, "alpha must be left out for sgd, as it is of enhanced, got 2.0"),
        ({"dynamics": "svag", "alpha": 2.0}, "alpha must be left out for svag"),
        ({"dynamics": "enhanced", "alpha": 2.0}, "large_batch_size must be given with alpha"),
        (
            {"dynamics": "enhanced", "alpha": 2.0, "batch_size": 5, "large_batch_size": 9},
            "batch_size must be left out with alpha",
        ),
        ({"dynamics": "enhanced", "alpha": 0.9, "large_batch_size": 9}, "alpha must be >= 1, got 0.9"),
        ({"dynamics": "enhanced", "alpha": math.nan, "large_batch_size": 9}, "alpha must be finite"),
        ({"dynamics": "enhanced", "alpha": "2", "large_batch_size": 9}, "alpha must be a real number"),
        ({"svag_l": 2}, "svag_l must be left out for sgd, as it is of svag, got 2"),
        ({"dynamics": "svag", "svag_l": 0}, "svag_l must be >= 1"),
        ({"dynamics": "svag", "svag_l": 2.0}, "svag_l must be an integer"),
        ({"dynamics": "svag", "momentum": 0.9}, "optimizer must be sgd without momentum for svag, .*got momentum = 0.9"),
        ({"dynamics": "svag", "optimizer": "adam"}, "optimizer must be sgd without momentum for svag, .*got adam"),
        ({"optimizer": "rmsprop"}, "optimizer must be one of sgd, adam"),
        ({"weight_decay": -0.1}, "weight_decay must be >= 0"),
        ({"weight_decay": 1e39}, "weight_decay must be >= 0 and <= 3"),
        ({"milestones": 5}, "milestones must be integers >= 1, each more than the one before, got 5"),
        ({"milestones": (0,)}, "milestones must be >= 1, got 0"),
        ({"milestones": (5, 5)}, r"milestones must be integers >= 1, each more than the one before, got \(5, 5\)"),
        ({"milestones": "57"}, "milestones must be integers"),
        ({"milestones": (2.5,)}, "milestones must be an integer"),
        ({"decay": 0.0}, "decay must be > 0 and <= 1"),
        ({"decay": 2.0}, "decay must be > 0 and <= 1"),
        ({"halve_at": math.inf}, "halve_at must be finite"),
        ({"stop_at": "low"}, "stop_at must be a real number"),
        ({"halve_at": 0.1, "stop_at": 0.1}, "stop_at must be < halve_at, which is 0.1, got 0.1"),
    ],
)
def test_options_that_are_not_allowed_or_contradict_each_other_are_named(options, message):
    with pytest.raises((ValueError, TypeError), match=f"^{message}"):
        run(**options)


def test_batches_must_be_given_to_advance():
    task = experiments.make(experiments.EXPERIMENTS["digits"], rng=1, device=torch.device("cpu"))
    with pytest.raises(TypeError, match="batch_size must be an integer unless alpha is given, got None"):
        experiments.advance(task, "sgd", rng=1, n_steps=1, learning_rate=0.1, batch_size=None, every=1)


class Silent:
    """A dynamics of a user's own that tells no loss."""

    def __init__(self, inner, told=None):
        self.inner, self.told = inner, told

    def __repr__(self):
        return "Silent"

    def backward(self):
        self.inner.backward()
        return self.told

    def state_dict(self):
        return self.inner.state_dict()

    def load_state_dict(self, state):
        self.inner.load_state_dict(state)


def test_a_dynamics_without_a_loss_is_refused_where_the_rule_needs_it():
    model, x, y = problem("perceptron")
    operators = LossOperators(model, LOSS, x, y)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    assert len(train(operators, Silent(build("sgd", operators, 2, generator())), optimizer, 2, every=1)) == 3
    for told in (None, 0.5, torch.ones(2), torch.tensor(1)):
        source = Silent(build("sgd", operators, 2, generator()), told)
        with pytest.raises(TypeError, match="dynamics must return the mean loss of its batch from backward, to go by it, got"):
            train(operators, source, optimizer, 2, rule=LossRule(5, stop_at=0.1))


def test_schedules_and_rules_that_do_not_fit_are_named():
    model, x, y = problem("perceptron")
    operators = LossOperators(model, LOSS, x, y)
    source = build("sgd", operators, 2, generator())
    optimizer, other = (torch.optim.SGD(model.parameters(), lr=0.1) for _ in range(2))
    halving = LossRule(5, halve_at=0.1)
    cases: list[tuple[dict[str, Any], str]] = [
        ({"schedule": 3}, "schedule must be an LRScheduler of torch that goes by steps alone, got int"),
        ({"schedule": ReduceLROnPlateau(optimizer)}, "schedule must be an LRScheduler .*, got ReduceLROnPlateau"),
        ({"schedule": MultiStepLR(other, [3])}, "schedule must be of the optimizer that makes the steps"),
        ({"schedule": LambdaLR(optimizer, lambda t: 1.0), "rule": halving}, "schedule must be one of .*MultiStepLR.* LambdaLR"),
        ({"rule": 0.1}, "rule must be of class LossRule"),
        ({"rule": halving, "metrics": lambda: {"halved": 1.0}}, "metrics must return numbers by name, but for .*halved"),
    ]
    for options, message in cases:
        with pytest.raises((ValueError, TypeError), match=message):
            train(operators, source, optimizer, 1, **options)
    train(operators, source, optimizer, 3, schedule=LambdaLR(optimizer, lambda t: 0.5**t), rule=LossRule(5, stop_at=0.0))
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1 / 8)


def test_settings_of_a_method_are_named_where_it_is_made():
    """Without a network, and as Python's numbers: would catch a NaN, a text or a number of NumPy's in a checkpoint's settings."""
    given: dict[str, Any] = {"dynamics": "enhanced", "learning_rate": 0.1, "batch_size": None, "large_batch_size": 4, "alpha": 2}
    made = Method(**{**given, "large_batch_size": np.int64(4), "alpha": np.float32(2), "milestones": [np.int64(3), 5]})
    plain = Method(**given, milestones=(3, 5))
    assert made == plain and json.dumps(made.settings()) == json.dumps(plain.settings())
    numbers = ("learning_rate", "batch_size", "large_batch_size", "alpha", "svag_l", "momentum", "weight_decay", "decay",
               "halve_at", "stop_at", "period")  # fmt: skip
    for name in numbers:
        for value in (math.nan, math.inf, "3", {}, True, np.ma.masked):
            with pytest.raises((TypeError, ValueError), match=f"^{name} must be"):
                Method(**{**given, name: value})
    for name, value in (("dynamics", None), ("optimizer", "lion"), ("augment", 1), ("milestones", {1: 2}), ("milestones", (2, 2)),
                        ("alpha", None), ("learning_rate", None), ("decay", 0), ("momentum", -1)):  # fmt: skip
        with pytest.raises((TypeError, ValueError), match=f"^{'batch_size' if name == 'alpha' else name} must be"):
            Method(**{**given, name: value})
    with pytest.raises(ValueError, match=r"^momentum must be 0 for adam, which has its own, got 0\.9"):
        Method(**given, optimizer="adam", momentum=0.9)


def test_what_a_rule_sees_is_named():
    """Would catch a step that is no place among an epoch's losses, and a loss without a value that waits for the epoch's end."""
    of, loss, optimizer = LossRule(3, stop_at=0.5), torch.tensor(1.0), torch.optim.SGD([torch.zeros(1)], lr=1.0)
    for step in (None, 0, -1, 1.5, math.nan, True, np.ma.masked, "1"):
        with pytest.raises((TypeError, ValueError), match=r"^step must be"):
            of.see(step, loss, optimizer)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^loss must have a value, got a Tensor on the meta device"):
        of.see(1, loss.to("meta"), optimizer)
    for other in (None, [optimizer], torch.optim.SGD):
        with pytest.raises(TypeError, match=r"^optimizer must be of class Optimizer"):
            of.see(1, loss, other)  # type: ignore[arg-type]
    assert of.state_dict()["losses"] is None  # nothing was taken note of


def test_arguments_of_the_rule_are_named():
    cases: list[tuple[dict[str, Any], str]] = [
        ({"epoch": 3}, "halve_at or stop_at must be given"),
        ({"epoch": 0, "stop_at": 1.0}, "epoch must be between 1 and"),
        ({"epoch": 3, "stop_at": math.nan}, "stop_at must be finite"),
    ]
    for arguments, message in cases:
        with pytest.raises(ValueError, match=message):
            LossRule(**arguments)
    whole = {"losses": None, "halved": False, "stopped": False}
    states: list[Any] = [None, {}, {**whole, "losses": torch.ones(2)}, {**whole, "halved": 1}]
    for state in states:
        with pytest.raises((ValueError, TypeError), match=r"^state (of \w+ )?must"):
            LossRule(3, stop_at=1.0).load_state_dict(state)
