"""The same numbers on a GPU as on the CPU, in double precision; skipped where there is none.

They would catch a tensor that is left on the host, a generator of another device, data that are not streamed, and a kernel
without second derivatives that is taken on this device alone.
"""

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'gradnoise[neural]'")
if not torch.cuda.is_available():
    pytest.skip("there is no CUDA device", allow_module_level=True)

import copy

from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from gradnoise.simulations.neural import experiments
from gradnoise.simulations.neural.diagnosis import diagnose
from gradnoise.simulations.neural.dynamics import DYNAMICS, build
from gradnoise.simulations.neural.gradient_spread import gradient_spread
from gradnoise.simulations.neural.loss_operators import LossOperators
from gradnoise.simulations.neural.methods import Method
from gradnoise.simulations.neural.spectrum import leading_on_device
from gradnoise.simulations.neural.traces import trace_hessian_covariance

from . import test_fallbacks as fallbacks
from .networks import BUILDERS, LOSS, problem

CUDA = torch.device("cuda:0")
NETWORKS = [*BUILDERS, *(name for name in fallbacks.NETWORKS if name != "scripted")]


def on_both(name, **options):
    """Operators on the CPU, and on the GPU with the data on the host."""
    model, x, y = problem(name) if name in BUILDERS else fallbacks.problem(name)
    there = copy.deepcopy(model).to(CUDA)
    if hasattr(there, "kept"):
        there.kept = [there.get_parameter("first.weight")]
    return LossOperators(model, LOSS, x, y, **options), LossOperators(there, LOSS, x, y, **options)


def close(found, expected):
    assert found.device == CUDA
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-9, atol=1e-11)


@pytest.mark.filterwarnings("ignore:the gradients of the samples:UserWarning", "ignore:the samples' gradients:UserWarning")
@pytest.mark.parametrize("name", NETWORKS)
def test_products_are_those_of_the_cpu(name):
    here, there = on_both(name, chunk_size=4)
    torch.manual_seed(1)
    v, u = torch.randn(here.n).double(), torch.randn(here.dimension).double()
    close(there.losses(), here.losses())
    close(there.matrix_product(v.to(CUDA)), here.matrix_product(v))
    close(there.transposed_product(u.to(CUDA)), here.transposed_product(u))
    close(there.hessian_product(u.to(CUDA)), here.hessian_product(u))
    close(there.hessian_here()(u.to(CUDA)), here.hessian_here()(u))
    close(torch.cat(list(there.sample_gradients())), torch.cat(list(here.sample_gradients())))
    close(gradient_spread(there).squares, gradient_spread(here).squares)


def test_spectra_and_traces_are_those_of_the_cpu():
    here, there = on_both("perceptron")
    (values, _), (expected, _) = (leading_on_device(o.hessian_product, o.parameters, 3) for o in (there, here))
    torch.testing.assert_close(torch.as_tensor(values), torch.as_tensor(expected), rtol=1e-8, atol=0)
    found, exact = (trace_hessian_covariance(o, None, torch.Generator(o.device)).value for o in (there, here))
    assert found == pytest.approx(exact, rel=1e-9)


def test_a_loader_is_streamed_to_the_device():
    model, x, y = problem("perceptron")
    loader = DataLoader(TensorDataset(x, y), batch_size=4, pin_memory=True)
    found = diagnose(model.to(CUDA), LOSS, loader, 3, rng=1, n_probes=20, n_draws=200)
    assert found.arguments["device"].startswith("cuda") and found.trace_covariance > 0


@pytest.mark.parametrize("name", DYNAMICS)
def test_a_step_of_every_dynamics(name):
    _, there = on_both("perceptron")
    build(name, there, 2, torch.Generator(CUDA).manual_seed(1), large_batch_size=4, k=3).backward()
    assert all(p.grad is not None and p.grad.device == CUDA and p.grad.isfinite().all() for p in there.model.parameters())


def test_no_step_of_sgd_waits_for_the_device():
    _, there = on_both("perceptron")
    source = build("sgd", there, 4, torch.Generator(CUDA).manual_seed(1))
    source.backward()
    torch.cuda.set_sync_debug_mode("error")
    try:
        source.backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_no_step_of_a_method_waits_for_the_device():
    """With augmentation, a schedule, and a rule between two of its looks."""
    model = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Tanh(), nn.Flatten(), nn.Linear(2 * 6 * 6, 3)).to(CUDA)
    operators = LossOperators(model, LOSS, torch.randn(20, 3, 8, 8, device=CUDA), torch.arange(20, device=CUDA) % 3)
    method = Method(
        dynamics="enhanced", learning_rate=0.01, batch_size=None, alpha=2.0, large_batch_size=5, momentum=0.9,
        weight_decay=1e-4, milestones=(2,), stop_at=0.0, augment=True,
    )  # fmt: skip
    parts = method.parts(operators, torch.Generator(CUDA).manual_seed(1))
    schedule, rule = parts.schedule, parts.rule
    assert schedule is not None and rule is not None and rule.epoch == 4

    def step(t):
        parts.optimizer.zero_grad()
        loss = parts.dynamics.backward()
        parts.optimizer.step()
        schedule.step()
        rule.see(t, loss, parts.optimizer)

    step(1)
    torch.cuda.set_sync_debug_mode("error")
    try:
        step(2)
        step(3)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    step(4)


def test_a_run_is_continued_on_the_device(tmp_path):
    options = {"rng": 1, "device": "cuda:0", "every": 5}
    whole = experiments.run("digits", "sgd", n_steps=10, folder=tmp_path / "whole", **options)
    experiments.run("digits", "sgd", n_steps=5, folder=tmp_path / "cut", **options)
    continued = experiments.run("digits", "sgd", n_steps=10, folder=tmp_path / "cut", **options)
    assert len(continued) == len(whole) == 3
    for found, expected in zip(continued, whole, strict=True):
        assert found == pytest.approx(expected)


def test_autocast_on_the_device():
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)).to(CUDA)
    found = diagnose(
        model, LOSS, (torch.randn(20, 4), torch.arange(20) % 3), 4, rng=1, n_probes=10, n_draws=200, autocast=torch.bfloat16
    )
    assert found.autocast_noise is not None and 0 < found.autocast_noise < 0.1
