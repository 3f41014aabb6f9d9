"""Five architectures from a loader against brute force in double precision: each sample alone, and H by two backward passes.

Null of the estimates: their mean is the exact value. z = 6 with 30 probes of bounded quadratic forms, where 15 comparisons give a
false alarm with a probability below 1e-4, as the errors have 29 degrees of freedom; the seed is fixed.
"""

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'gradnoise[neural]'")


from torch.nn.attention import SDPBackend, sdpa_kernel

from gradnoise.simulations.neural.diagnosis import diagnose
from gradnoise.simulations.neural.escape import escape
from gradnoise.simulations.neural.loss_operators import LossOperators
from gradnoise.simulations.neural.noise_covariance import NoiseCovariance
from gradnoise.simulations.neural.traces import trace_hessian_covariance
from gradnoise.theory.sampling import Minibatch

from .architectures import BATCH, BUILDERS, N, architecture

pytestmark = pytest.mark.filterwarnings("ignore:.*a backward pass for each sample is taken")  # of the LSTM
Z, RTOL, B, CHUNK, K = 6.0, 1e-8, 4, 3, 5  # a chunk is not a batch, and not b
NOISE = Minibatch(N, B)
SOME = ("linear1.bias", "linear2.*")  # of the segmenter, whose whole H is too large


@dataclass(frozen=True)
class Exact:
    """Losses (n,), gradients of the samples in columns (d, n), and the Hessian of their mean."""

    losses: np.ndarray
    G: np.ndarray
    H: np.ndarray

    @property
    def sigma(self):
        return np.cov(self.G, bias=True) / B


def with_dense_hessian(name):
    found = architecture(name)
    return replace(found, options={**found.options, "parameters": SOME}) if name == "segmenter" else found


def flat(parts):
    return torch.cat([p.reshape(-1) for p in parts])


def gradients(outputs, parameters, weights=None, **options):
    return flat(torch.autograd.grad(outputs, parameters, weights, allow_unused=True, materialize_grads=True, **options))


def losses_alone(found):
    return torch.stack([found.alone(found.model, *sample) for sample in found.samples])


def brute_force(found, with_hessian=True):
    parameters = found.parameters()
    with sdpa_kernel(SDPBackend.MATH):
        losses = losses_alone(found)
        G = torch.stack([gradients(loss, parameters, retain_graph=True) for loss in losses], dim=1)
        H = torch.zeros(0, 0)
        if with_hessian:
            slope = gradients(losses.mean(), parameters, create_graph=True)
            columns = {"grad_outputs": torch.eye(len(slope)).double(), "is_grads_batched": True}
            found = torch.autograd.grad(slope, parameters, **columns, allow_unused=True, materialize_grads=True)
            H = torch.cat([part.flatten(1) for part in found], dim=1)
    return Exact(losses.detach().numpy(), G.numpy(), H.numpy())


@cache
def exact(name):
    return brute_force(with_dense_hessian(name))


def operators_of(found):
    return LossOperators(found.model, found.loss, found.loader, chunk_size=CHUNK, **found.options)


@cache
def measured(name):
    """Without a random number but for where the search for eigenvalues starts."""
    operators = operators_of(with_dense_hessian(name))
    values, _ = NoiseCovariance(operators, NOISE).leading(K)
    return escape(operators, NOISE, torch.Generator(), n_probes=None, k=K), values.numpy()


@cache
def diagnosed(name):
    found = with_dense_hessian(name)
    return diagnose(
        found.model, found.loss, found.loader, B, rng=5, n_probes=30, n_eigenvalues=K, n_directions=3, n_draws=1_000,
        chunk_size=CHUNK, **found.options,
    )  # fmt: skip


def assert_is_curvature(found, true):
    np.testing.assert_allclose(found.hessian_eigenvalues, np.linalg.eigvalsh(true.H)[::-1][:K], rtol=RTOL)


def assert_is_noise(found, covariance_eigenvalues, true):
    assert found.trace_covariance == pytest.approx(np.trace(true.sigma), rel=RTOL)
    np.testing.assert_allclose(covariance_eigenvalues, np.linalg.eigvalsh(true.sigma)[::-1][:K], rtol=RTOL)


def traces(true):
    """Tr(HΣ), Tr(HΣ̄), and â."""
    H, S = true.H, true.sigma
    values, axes = np.linalg.eigh(H)
    along = axes[:, -1] @ S @ axes[:, -1]
    return np.trace(H @ S), np.trace(H) * np.trace(S) / len(H), along * np.trace(H) / (values[-1] * np.trace(S))


@pytest.mark.parametrize("name", BUILDERS)
def test_losses_gradients_and_products(name):
    """Would catch samples out of order, padding that counts, and a mask that is not the sample's own."""
    operators, true = operators_of(with_dense_hessian(name)), exact(name)
    rng = np.random.default_rng(1)
    u, v = rng.standard_normal(len(true.H)), rng.standard_normal(N)
    for found, expected in (
        (operators.losses(), true.losses),
        (operators.gradient(), true.G.mean(axis=1)),
        (torch.cat(list(operators.sample_gradients())), true.G.T),
        (operators.matrix_product(operators.tensor(v)), true.G @ v),
        (operators.transposed_product(operators.tensor(u)), true.G.T @ u),
        (operators.covariance_product(operators.tensor(u)), B * true.sigma @ u),
        (operators.hessian_product(operators.tensor(u)), true.H @ u),
        (operators.hessian_here()(operators.tensor(u)), true.H @ u),
    ):
        np.testing.assert_allclose(found.numpy(), expected, rtol=RTOL, atol=RTOL * np.abs(expected).max())


@pytest.mark.parametrize("name", BUILDERS)
def test_exact_quantities(name):
    found, covariance_eigenvalues = measured(name)
    true = exact(name)
    assert_is_curvature(found, true)
    assert_is_noise(found, covariance_eigenvalues, true)
    assert found.gradient_norm_squared == pytest.approx(np.sum(true.G.mean(axis=1) ** 2), rel=RTOL)
    estimates = found.indicator, found.isotropic_indicator, found.alignment
    for estimate, expected in zip(estimates, traces(true), strict=True):
        assert estimate is not None
        assert estimate.value == pytest.approx(expected, rel=RTOL) and estimate.standard_error == 0


@pytest.mark.parametrize("name", BUILDERS)
def test_diagnosis_from_a_loader(name):
    found, true = diagnosed(name), exact(name)
    assert_is_curvature(found, true)
    assert_is_noise(found, found.covariance_eigenvalues, true)
    assert found.gradient_norm_squared == pytest.approx(np.sum(true.G.mean(axis=1) ** 2), rel=RTOL)
    estimates = found.indicator, found.isotropic_indicator, found.alignment
    for estimate, expected in zip(estimates, traces(true), strict=True):
        assert estimate is not None
        assert abs(estimate.value - expected) < Z * estimate.standard_error + RTOL * abs(expected)
    assert found.arguments["n"] == N and found.arguments["dimension"] == len(true.H)


def as_in_batches(found):
    """Samples as they are padded in their batches."""
    samples = [(x, y) for inputs, targets in found.loader for x, y in zip(inputs, targets, strict=True)]
    return replace(found, samples=samples)


def test_padding_that_is_not_stopped_is_refuted():
    """Forward mode does not see padding_idx: its H is that of a network whose padding is trained."""
    found = architecture("padded tokens")
    embedding = found.model.get_submodule("embedding")
    assert isinstance(embedding, torch.nn.Embedding)
    assert_is_curvature(measured("padded tokens")[0], brute_force(as_in_batches(found)))
    try:
        embedding.padding_idx = None  # type: ignore[assignment]
        wrong = brute_force(as_in_batches(found))
    finally:
        embedding.padding_idx = 0  # type: ignore[assignment]
    with pytest.raises(AssertionError):
        assert_is_curvature(measured("padded tokens")[0], wrong)


@pytest.mark.parametrize("name", ["transformer", "segmenter"])
def test_a_mean_over_all_tokens_of_the_batch_is_refuted(name):
    true, found = exact(name), architecture(name)
    lengths = np.array([len(inputs) for inputs, _ in found.samples])
    batches = [lengths[i : i + BATCH] for i in range(0, N, BATCH)]
    means = np.concatenate([np.full(len(batch), batch.mean()) for batch in batches])
    wrong = replace(true, G=true.G * lengths / means)
    with pytest.raises(AssertionError):
        assert_is_noise(*measured(name), wrong)


@pytest.mark.parametrize("name", BUILDERS)
def test_n_less_one_is_refuted(name):
    true = exact(name)
    centred = true.G - true.G.mean(axis=1, keepdims=True)
    with pytest.raises(AssertionError):
        assert_is_noise(*measured(name), replace(true, G=centred * (N / (N - 1)) ** 0.5))


def test_the_segmenter_is_the_trained_one():
    """It knows where words begin: random weights are right for half of the characters."""
    found = architecture("segmenter")
    right = [(found.model(x[None])[0] > 0) == (y > 0) for x, y in found.samples]
    assert torch.cat(right).double().mean() > 0.95
    assert sum(p.numel() for p in found.model.parameters()) == 173_533


def test_all_parameters_of_the_segmenter():
    """Embedding with padding included; Σ by its Gram matrix, and Tr(HΣ) by a double backward pass for each sample."""
    found = architecture("segmenter")
    operators, true = operators_of(found), brute_force(found, with_hessian=False)
    parameters, d = found.parameters(), len(true.G)
    slope = gradients(losses_alone(found).mean(), parameters, create_graph=True)

    def hessian(u):
        return gradients(slope, parameters, torch.as_tensor(u), retain_graph=True).numpy()

    u = np.random.default_rng(1).standard_normal(d)
    centred = true.G - true.G.mean(axis=1, keepdims=True)
    for product, expected in (
        (operators.transposed_product, true.G.T @ u),
        (operators.covariance_product, centred @ (centred.T @ u) / N),
        (operators.hessian_product, hessian(u)),
        (operators.hessian_here(), hessian(u)),
    ):
        np.testing.assert_allclose(product(operators.tensor(u)).numpy(), expected, rtol=RTOL, atol=RTOL * np.abs(expected).max())
    covariance = NoiseCovariance(operators, NOISE)
    gram = np.linalg.eigvalsh(centred.T @ centred / (N * B))[::-1]
    assert covariance.trace() == pytest.approx(gram.sum(), rel=RTOL)
    np.testing.assert_allclose(covariance.leading(K)[0].numpy(), gram[:K], rtol=RTOL)
    indicator = trace_hessian_covariance(operators, None, torch.Generator())
    expected = sum(g @ hessian(g) for g in centred.T) / N
    assert indicator.value == pytest.approx(expected, rel=RTOL)
