"""The diagnosis against dense matrices.

Null of the estimates: their mean is the exact trace. z = 6 with 2,000 probes of bounded quadratic forms; there are fewer than 20
comparisons, so that a false alarm has a probability below 1e-6 by the normal law.
"""

import json

import numpy as np
import pytest
from matplotlib import pyplot

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'gradnoise[neural]'")


from gradnoise.simulations.neural.diagnosis import diagnose
from gradnoise.simulations.neural.escape import escape
from gradnoise.simulations.neural.loss_operators import LossOperators
from gradnoise.theory.sampling import Enhanced, Gaussian, Minibatch

from .networks import LOSS, N, problem

Z = 6.0
MODEL, X, Y = problem("perceptron")
OPERATORS = LossOperators(MODEL, LOSS, X, Y, chunk_size=4)


def columns(product, size):
    return torch.stack([product(e) for e in torch.eye(size).double()], dim=1).numpy()


D = OPERATORS.dimension
H, G = columns(OPERATORS.hessian_product, D), columns(OPERATORS.matrix_product, N)
SIGMA = np.cov(G, bias=True)


def generator():
    return torch.Generator().manual_seed(7)


@pytest.mark.parametrize(
    "noise",
    [3, Minibatch(N, 3, replacement=False), Gaussian(N, 3, centered=False), Enhanced(Minibatch(N, 3), 2.0)],
    ids=repr,
)
def test_diagnosis(noise, tmp_path):
    found = diagnose(MODEL, LOSS, (X, Y), noise, rng=1, n_probes=1_000, n_eigenvalues=4, n_directions=3, n_draws=2_000)
    law = Minibatch(N, noise) if isinstance(noise, int) else noise
    sigma = law.gradient_covariance(G)
    mean = G.mean(axis=1)
    assert found.ratio is not None and found.alignment is not None
    for estimate, exact in (
        (found.indicator, np.trace(H @ sigma)),
        (found.isotropic_indicator, np.trace(H) * np.trace(sigma) / D),
        (found.ratio, D * np.trace(H @ sigma) / (np.trace(H) * np.trace(sigma))),
    ):
        assert estimate.value == pytest.approx(exact, rel=1e-10)  # as many probes as samples and parameters are exact
    assert found.trace_covariance == pytest.approx(np.trace(sigma), rel=1e-10)
    assert found.gradient_norm_squared == pytest.approx(mean @ mean, rel=1e-10)
    np.testing.assert_allclose(found.covariance_eigenvalues, np.linalg.eigvalsh(sigma)[::-1][:4], rtol=1e-6)
    values, vectors = np.linalg.eigh(H)
    u, of_hessian = vectors[:, -1], found.isotropic_indicator.value * D / np.trace(sigma)
    assert found.alignment.value == pytest.approx(u @ sigma @ u * of_hessian / (values[-1] * np.trace(sigma)), rel=1e-6)
    assert found.n_sharpest == 1 and found.alignment_range == (found.alignment, found.alignment)
    assert json.loads(found.to_json())["hessian_eigenvalues"][0] == pytest.approx(values[-1], rel=1e-6)
    assert "Tr(HΣ)" in str(found)


@pytest.mark.parametrize("features", [3, 12], ids=["dense", "lanczos"])
def test_an_alignment_with_a_repeated_eigenvalue_is_a_range(features):
    """H of a linear network with three outputs repeats each eigenvalue: along which vector a solver looks must not matter."""
    rng = torch.Generator().manual_seed(5)
    X, Y = (torch.randn(40, size, generator=rng).double() for size in (features, 3))
    Y *= torch.tensor([1.0, 3.0, 9.0])
    model = torch.nn.Linear(features, 3, bias=False).double()
    torch.nn.init.zeros_(model.weight)
    operators = LossOperators(model, lambda outputs, targets: ((outputs - targets) ** 2).sum(dim=1) / 2, X, Y)
    H, G = columns(operators.hessian_product, operators.dimension), columns(operators.matrix_product, 40)
    sigma, (values, vectors) = Minibatch(40, 4).gradient_covariance(G), np.linalg.eigh(H)
    space = vectors[:, -3:]
    shares = np.linalg.eigvalsh(space.T @ sigma @ space)[[0, -1]] / np.trace(sigma)
    for k in (1, 2, 5):
        for seed in (1, 2):
            found = escape(operators, Minibatch(40, 4), generator(), n_probes=None, k=k, rng=seed)
            assert found.n_sharpest == 3 and len(found.hessian_eigenvalues) == k
            assert found.share_range == pytest.approx(shares, rel=1e-5) and shares[1] > 5 * shares[0]
            assert found.share_along_first == found.share_range[0]
            assert found.alignment_range is not None and found.alignment == found.alignment_range[0]
            expected = shares * np.trace(H) / values[-1]
            assert [end.value for end in found.alignment_range] == pytest.approx(expected, rel=1e-5)
    diagnosis = diagnose(model, None, (X, Y), 4, rng=1, n_probes=20, n_draws=200, n_eigenvalues=1, closure=_squared)
    low, high = json.loads(diagnosis.to_json())["alignment_range"]
    assert 0 < low["value"] < high["value"] and "equally sharp along 3 directions" in diagnosis.words[1]
    row = next(line for line in str(diagnosis).splitlines() if line.startswith("â"))
    assert " to " in row


def _squared(model, batch):
    inputs, targets = batch
    return ((model(inputs) - targets) ** 2).sum(dim=1) / 2


def test_gaussian_noise_has_no_kurtosis_and_a_tail_index_of_two():
    found = diagnose(MODEL, LOSS, (X, Y), Gaussian(N, 3), rng=2, n_probes=2, n_directions=3, n_draws=40_000)
    assert found.excess_kurtosis == found.kurtosis.value == pytest.approx(0, abs=1e-12)
    for estimate in (found.tail_index, found.gaussian_tail_index):
        assert abs(estimate.value - 2) < Z * estimate.standard_error < 0.3


def test_a_diagnosis_is_shown_written_and_drawn(tmp_path):
    """Catches arrays in its ``repr``, and spectra that change places or lose their scale."""
    found = diagnose(MODEL, LOSS, (X, Y), 3, rng=4, n_probes=5, n_draws=200, n_eigenvalues=4)
    assert repr(found).startswith("Diagnosis(Tr(HΣ) ") and repr(found).endswith("device='cpu', seed 4)")
    assert "array" not in repr(found) and "\n" not in repr(found)
    found.save(tmp_path / "found.json")
    read = json.loads((tmp_path / "found.json").read_text())
    assert read["result"] == "Diagnosis" and read["stream"]["entropy"] == 4 and read["versions"]["torch"] == torch.__version__
    assert read["arguments"]["noise"] == repr(Minibatch(N, 3)) and read["indicator"]["value"] == found.indicator.value
    ax = found.plot()
    curves = {line.get_label()[0]: line.get_ydata() for line in ax.get_lines() if ":" in line.get_label()}
    np.testing.assert_allclose(curves["H"] * found.hessian_eigenvalues[0], found.hessian_eigenvalues)
    np.testing.assert_allclose(curves["n"] * found.covariance_eigenvalues[0], found.covariance_eigenvalues)
    assert f"{found.hessian_eigenvalues[0]:.3g} loss/parameter²" in ax.get_legend().get_texts()[0].get_text()
    assert ax.get_xlabel() and ax.get_ylabel()
    pyplot.close(ax.figure)


def test_what_made_an_escape_is_recorded():
    """Catches a stream that is not the one of the search for eigenvalues, and probes whose seed is not told."""
    found = escape(OPERATORS, Minibatch(N, 3), torch.Generator().manual_seed(8), n_probes=5, k=2, rng=6)
    asked = {"n": N, "dimension": D, "n_probes": 5, "seed_of_probes": 8, "k": 2, "dtype": "torch.float64"}
    assert asked.items() <= found.arguments.items() and found.stream.entropy == 6
    again = escape(OPERATORS, Minibatch(N, 3), torch.Generator().manual_seed(8), n_probes=5, k=2, rng=found.stream)
    assert again.to_dict() == found.to_dict() and repr(found).startswith("Escape(Tr(HΣ) ")


def test_one_seed_gives_one_diagnosis():
    one, two = (diagnose(MODEL, LOSS, (X, Y), 3, rng=4, n_probes=5, n_draws=200).to_dict() for _ in range(2))
    assert one == two


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="batch_size must be a noise over the 9 samples"):
        diagnose(MODEL, LOSS, (X, Y), Minibatch(8, 2), rng=0)
    with pytest.raises(ValueError, match="batch_size must leave some noise, v > c"):
        diagnose(MODEL, LOSS, (X, Y), Minibatch(N, N, replacement=False), rng=0)
    with pytest.raises(ValueError, match="n_probes must be between 2 and"):
        diagnose(MODEL, LOSS, (X, Y), 3, rng=0, n_probes=1)
