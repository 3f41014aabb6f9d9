"""Arguments of a wrong kind or size, of all that takes a network's operators.

They would catch an AttributeError of whatever is met first, torch's own words, values that a mask hides, and counts without end.
"""

import inspect
import math
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'gradnoise[neural]'")

from gradnoise.simulations.neural.additive_noise import AdditiveNoise
from gradnoise.simulations.neural.augmentation import FlipsAndCrops
from gradnoise.simulations.neural.diagnosis import diagnose_operators
from gradnoise.simulations.neural.dynamics import WeightedLosses, build
from gradnoise.simulations.neural.escape import escape
from gradnoise.simulations.neural.exchangeable_trace import exchangeable_trace
from gradnoise.simulations.neural.gradient_norms import squared_gradient_norms
from gradnoise.simulations.neural.gradient_spread import gradient_spread
from gradnoise.simulations.neural.loss_operators import LossOperators
from gradnoise.simulations.neural.methods import Method
from gradnoise.simulations.neural.noise_covariance import NoiseCovariance
from gradnoise.simulations.neural.noise_scale import population_gradient
from gradnoise.simulations.neural.tails import excess_kurtosis, random_projections
from gradnoise.simulations.neural.traces import expected_sharpness, trace_hessian, trace_hessian_covariance
from gradnoise.simulations.neural.weights import weights
from gradnoise.theory.sampling import Minibatch

from .networks import LOSS, N, problem


def generator():
    return torch.Generator().manual_seed(1)


def network():
    """Arguments of `LossOperators`."""
    model, x, y = problem("perceptron")
    return model, LOSS, x, y


def kinds():
    """Functions of operators, each with what it takes beside them."""
    return [
        (lambda o: AdditiveNoise("gld_diag", o, 2, generator())),
        (lambda o: WeightedLosses(o, None, generator())),
        (lambda o: build("sgd", o, 2, generator())),
        (lambda o: NoiseCovariance(o, Minibatch(N, 2))),
        (lambda o: escape(o, Minibatch(N, 2), generator())),
        (lambda o: diagnose_operators(o, 2, rng=1)),
        (lambda o: trace_hessian(o, 2, generator())),
        (lambda o: trace_hessian_covariance(o, 2, generator())),
        (lambda o: expected_sharpness(o, generator(), n_probes=2)),
        (lambda o: random_projections(o, 2, generator())),
        Method(dynamics="sgd", learning_rate=0.1, batch_size=2).checked,
        (lambda o: Method(dynamics="sgd", learning_rate=0.1, batch_size=2).parts(o, generator())),
        population_gradient,
        gradient_spread,
    ]


@pytest.mark.parametrize("value", [None, math.nan, "model", torch.nn.Linear(2, 1), np.ones(3)])
def test_what_is_no_operators_is_named(value):
    for call in kinds():
        with pytest.raises(TypeError, match="operators must be LossOperators of a network and its data, got"):
            call(value)


@pytest.mark.parametrize("value", [None, 3, np.random.default_rng(1)])
def test_what_is_no_generator_of_torch_is_named(value):
    operators = LossOperators(*network())
    for call in (
        lambda g: AdditiveNoise("gld_diag", operators, 2, g),
        lambda g: build("sgd", operators, 2, g),
        lambda g: escape(operators, Minibatch(N, 2), g),
        lambda g: trace_hessian(operators, 2, g),
        lambda g: expected_sharpness(operators, g, n_probes=2),
        lambda g: random_projections(operators, 2, g),
        lambda g: weights(Minibatch(N, 2), g),
    ):
        with pytest.raises(TypeError, match=r"generator must be a torch\.Generator, got"):
            call(value)


def test_counts_that_would_not_end_are_named():
    operators = LossOperators(*network())
    for call, message in (
        (lambda: expected_sharpness(operators, generator(), n_probes=10**20), "n_probes must be between 2 and 10000000"),
        (lambda: trace_hessian(operators, 10**20, generator()), "n_probes must be between 2 and 10000000"),
        (lambda: diagnose_operators(operators, 2, rng=1, n_draws=10**20), "n_draws must be between 4 and 100000000"),
        (lambda: diagnose_operators(operators, 2, rng=1, n_directions=10**20), "n_directions must be between 1 and 1000000"),
        (lambda: LossOperators(*network(), chunk_size=10**20), "chunk_size must be between 1 and"),
        (lambda: FlipsAndCrops().draw(2**31, generator()), "n must be between 0 and 100000000"),
        (lambda: build("enhanced", operators, 2, generator(), large_batch_size=10**20), "large_batch_size must be between 3 and"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.parametrize("name", ["theta", "u", "v", "vector"])
def test_vectors_that_have_no_number_for_each_are_named(name):
    """Would catch products that are NaN, or of numbers that nobody gave, and torch's own errors and warnings."""
    operators = LossOperators(*network())
    hessian = operators.hessian_here()
    calls = {
        "theta": [operators.losses],
        "u": [operators.transposed_product, operators.hessian_product, hessian, operators.fisher_product],
        "v": [operators.matrix_product, operators.backward],
        "vector": [operators.unflatten],
    }
    calls["u"] += [operators.covariance_product, NoiseCovariance(operators, Minibatch(N, 2)).product]
    good = operators.losses_like(1.0) if name == "v" else operators.parameters
    hole = good.clone()
    hole[1] = torch.nan
    for bad, kind, message in (
        (np.asarray(good), TypeError, "a Tensor, got ndarray"),
        (good + 1j, TypeError, "a dense Tensor of real numbers, got torch.complex"),
        (good.to_sparse(), TypeError, "a dense Tensor of real numbers, got torch.sparse_coo"),
        (good.to("meta"), ValueError, "values, got a Tensor on the meta device"),
        (good[1:], ValueError, "shape"),
        (good.unsqueeze(1), ValueError, "shape"),
        (hole, ValueError, "finite, got NaN"),
        (hole.nan_to_num(torch.inf), ValueError, "finite, got NaN or infinity"),
    ):
        for call in calls[name]:
            with pytest.raises(kind, match=f"{name} must (be|have) {message}"):
                call(bad)
    for call in calls[name]:
        call(good.double())


def test_what_becomes_a_vector_is_named():
    model, loss, x, y = network()
    operators: Any = LossOperators(model.float(), loss, x.float(), y)
    first = next(iter(operators.own_parameters))
    for parameters in ({}, {first: 3}, {**operators.own_parameters, first: torch.ones(2)}):
        with pytest.raises(ValueError, match=f"parameters must have a Tensor '{first}' of shape"):
            operators.flatten(parameters)
    with pytest.raises(TypeError, match="parameters must be a mapping"):
        operators.flatten([*operators.own_parameters.values()])
    for array, message in ((1e39, "within the range of torch.float32"), ([1.0, math.nan], "finite"), ("x", "an array of real")):
        with pytest.raises((TypeError, ValueError), match=f"array must be {message}"):
            operators.tensor(array)
    for value in (1e39, math.nan, "x", None):
        with pytest.raises((TypeError, ValueError), match="value must be"):
            operators.losses_like(value)
    for samples in ([0, 1], torch.tensor(1), torch.tensor([0, 1]).to("meta")):
        with pytest.raises((TypeError, ValueError), match="samples must"):
            operators.backward(torch.ones(2), samples)
    v, samples = torch.ones(2), torch.tensor([0, 1])
    for change in (3, {}, "x", dict):
        with pytest.raises(TypeError, match="change must be callable, and no class"):
            operators.backward(v, samples, change)
    for returned, message in (
        (1.0, "must be of tensors"),
        ((x[:1].float(), y[:1]), "must return a batch of 2 samples, got one of 1"),
    ):
        with pytest.raises((TypeError, ValueError), match=f"change (returns )?{message}"):
            operators.backward(v, samples, lambda batch, where, returned=returned: returned)
    with pytest.raises(TypeError, match="n_products must be an integer"):
        operators.hessian_here(1.5)


def test_what_a_caller_has_already_is_named_where_it_is_something_else():
    """Spreads, covariances, Hessians and gradients; would catch an AttributeError, and a product that is none."""
    operators, noise, ones = LossOperators(*network()), Minibatch(N, 2), torch.ones(5)
    values = random_projections(operators, 3, generator())
    cases: list[tuple[Any, ...]] = [
        (escape, [operators, noise], {"covariance": operators}, "covariance must be of class NoiseCovariance"),
        (escape, [operators, noise], {"report": 3}, "report must be callable"),
        (population_gradient, [operators], {"spread": {"squares": 1}}, "spread must be of class GradientSpread"),
        (gradient_spread, [operators], {"gradient": np.ones(57)}, "gradient must be a Tensor"),
        (trace_hessian, [operators, 4], {"hessian": operators}, "hessian must be callable"),
        (trace_hessian, [operators, 4], {"hessian": lambda u: 1.0}, "hessian must return a Tensor of real numbers"),
        (trace_hessian, [operators, None], {"hessian": lambda u: u[1:]}, "hessian must return a Tensor of shape"),
        (excess_kurtosis, [noise, values], {"rounding": -1}, "rounding must be > 0"),
        (exchangeable_trace, [3, ones, 4], {}, "product must be callable"),
        (exchangeable_trace, [lambda u: 1j * u, ones, 4], {}, "product must return a Tensor of real numbers"),
        (exchangeable_trace, [torch.sin, ones.half(), 4], {}, "like must be of float32 or float64"),
        (exchangeable_trace, [torch.sin, ones[:1], 4], {}, "like must have two numbers or more"),
        (exchangeable_trace, [torch.sin, ones, 3], {}, "n_products must be between 4 and"),
        (squared_gradient_norms, [[1], lambda rows: rows, 3], {}, "parameters must be Tensors by name"),
        (squared_gradient_norms, [{}, 3, 3], {}, "evaluate must be callable"),
        (squared_gradient_norms, [{}, lambda rows: None, 3], {}, "evaluate must return a Tensor"),
        (build, ["sgd", operators, 2], {"period": None}, "period must be an integer"),
        (build, ["nothing", operators, 2], {}, "name must be one of gd"),
    ]
    for function, positional, named, message in cases:
        drawn = {"generator": generator()} if "generator" in inspect.signature(function).parameters else {}
        with pytest.raises((TypeError, ValueError), match=message):
            function(*positional, **named, **drawn)


@pytest.mark.parametrize("name", ["sgd", "gld_diag"])
def test_states_of_dynamics_are_named_where_they_are_none(name):
    """Would catch KeyErrors and torch's own words, and half of a state that was set before the other half is refused."""
    dynamics = build(name, LossOperators(*network()), 2, generator())
    dynamics.backward()
    state = dynamics.state_dict()
    broken = [None, [], {}, {**state, "generator": torch.zeros(3)}, {**state, "generator": None}]
    if name == "gld_diag":
        broken += [{**state, "drawn": "x"}, {**state, "scale": 3}, {key: state[key] for key in ("generator", "drawn")}]
    for other in broken:
        with pytest.raises((TypeError, ValueError), match=r"^state (of \w+ )?must"):
            dynamics.load_state_dict(other)
    now = dynamics.state_dict()
    assert now.keys() == state.keys() and all(now[key] is state[key] or torch.equal(now[key], state[key]) for key in state)


def test_arrays_that_hide_values_are_refused():
    model, loss, x, y = network()
    for other, message in (
        (np.ma.masked_less(x.numpy(), 0), "of arrays without a mask"),
        (x.numpy().astype(object), "of numbers"),
    ):
        with pytest.raises(TypeError, match=f"data must be {message}"):
            LossOperators(model, loss, other, y)
