"""What an autocast does to gradients and Hessians of a network.

They would catch an autocast that is not used, or is used for H, and an error of gradients that is that of their mean.
"""

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'gradnoise[neural]'")

from torch import nn

from gradnoise.simulations.neural.diagnosis import diagnose
from gradnoise.simulations.neural.loss_operators import LossOperators
from gradnoise.simulations.neural.precision import autocast_noise

from .networks import LOSS

N = 23


def problem():
    torch.manual_seed(6)
    return nn.Sequential(nn.Linear(4, 30), nn.Tanh(), nn.Linear(30, 3)), torch.randn(N, 4), torch.arange(N) % 3


def test_the_error_is_that_of_the_gradients_of_the_samples():
    model, x, y = problem()
    operators = LossOperators(model, LOSS, x, y, chunk_size=5, autocast=torch.bfloat16)
    expected = 0.0
    for i in range(N):
        plain = torch.autograd.grad(LOSS(model(x[i : i + 1]), y[i : i + 1])[0], list(model.parameters()))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            low = LOSS(model(x[i : i + 1]), y[i : i + 1])[0]
        cast = torch.autograd.grad(low, list(model.parameters()))
        expected += sum(float((a - b).double().square().sum()) for a, b in zip(plain, cast, strict=True)) / N
    assert autocast_noise(operators) == pytest.approx(expected, rel=0.05)  # sums of bfloat16 are rounded in another order
    # can fail: the error of the mean gradient, in which those of the samples average out
    of_mean = float((operators.gradient() - operators.in_full_precision().gradient()).square().sum())
    assert of_mean < 0.5 * expected


def test_the_hessian_is_of_the_losses_in_full_precision():
    model, x, y = problem()
    low, full = (LossOperators(model, LOSS, x, y, autocast=kind) for kind in (torch.bfloat16, None))
    u = torch.randn(low.dimension)
    assert torch.equal(low.hessian_product(u), full.hessian_product(u))
    assert not torch.equal(low.transposed_product(u), full.transposed_product(u))


def test_a_diagnosis_says_what_the_autocast_does():
    model, x, y = problem()
    found = diagnose(model, LOSS, (x, y), 4, rng=1, n_probes=20, n_draws=200, autocast=torch.bfloat16)
    assert found.autocast_noise is not None and 1e-7 < found.autocast_noise < 1e-2
    assert "error by autocast, of TrΣ" in str(found)
    assert diagnose(model, LOSS, (x, y), 4, rng=1, n_probes=20, n_draws=200).autocast_noise is None


def test_without_autocast_there_is_nothing_to_measure():
    with pytest.raises(ValueError, match="operators must have an autocast, got none"):
        autocast_noise(LossOperators(problem()[0], LOSS, *problem()[1:]))
