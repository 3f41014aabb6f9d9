"""Traces against dense matrices, and how often their intervals hold them.

Null of the coverage: an interval of 95 % holds the exact trace in at least 95 % of the seeds, independently. Then fewer than the
bound of `least` do with a probability below 1e-6 for each of the thirteen comparisons. Seeds are fixed.
"""

import numpy as np
import pytest
from scipy.stats import binom, t

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'gradnoise[neural]'")

from gradnoise.simulations.neural import exchangeable_trace as module
from gradnoise.simulations.neural import traces
from gradnoise.simulations.neural.exchangeable_trace import exchangeable_trace, random_probes
from gradnoise.simulations.neural.loss_operators import LossOperators
from gradnoise.simulations.statistics import Estimate

from .networks import LOSS, N, problem

MODEL, X, Y = problem("perceptron")
OPERATORS = LossOperators(MODEL, LOSS, X, Y, chunk_size=4)


def columns(product, size):
    return torch.stack([product(e) for e in torch.eye(size).double()], dim=1).numpy()


D = OPERATORS.dimension
H, G = columns(OPERATORS.hessian_product, D), columns(OPERATORS.matrix_product, N)
SIGMA = np.cov(G, bias=True)


def generator(seed=7):
    return torch.Generator().manual_seed(seed)


def least(n, level=0.95):
    return int(binom.ppf(1e-6, n, level))


@pytest.mark.parametrize("d", [2, 7])
@pytest.mark.parametrize("n_products", [4, 15, 255])
def test_more_products_than_dimensions_are_shared_among_subspaces(d, n_products):
    """Would catch vectors that span no more: their triangle is not square."""
    matrix = torch.randn(d, d, generator=torch.Generator().manual_seed(d), dtype=torch.float64)
    matrix = matrix + matrix.T
    found = exchangeable_trace(lambda u: matrix @ u, matrix[0], n_products, torch.Generator().manual_seed(2))
    assert abs(found.value - float(matrix.trace())) < 5 * found.standard_error


@pytest.mark.parametrize("n_probes", [None, 2, 6])
def test_products_that_leave_single_precision_are_refused(n_probes):
    """Would catch a trace that is NaN with an error, and NumPy's own words."""
    model = problem("perceptron")[0].float()
    operators = LossOperators(model, lambda o, t: 1e15 * LOSS(o, t), X.float(), Y)
    with pytest.raises(ValueError, match="products must be finite, got NaN or infinity; take double precision"):
        traces.trace_hessian_covariance(operators, n_probes, generator())


@pytest.mark.parametrize("n_probes", [None, 50], ids=["asked for", "as many probes as axes"])
def test_exact_traces(n_probes):
    assert traces.trace_covariance(OPERATORS) == pytest.approx(np.trace(SIGMA), rel=1e-12)
    for found, expected, wrong in (
        (traces.trace_hessian(OPERATORS, n_probes, generator()), np.trace(H), np.trace(H) * (D - 1) / D),
        (traces.trace_hessian_covariance(OPERATORS, n_probes, generator()), np.trace(H @ SIGMA), np.trace(H @ np.cov(G))),
    ):
        assert found.value == pytest.approx(expected, rel=1e-10) and found.standard_error == 0
        assert found.value != pytest.approx(wrong, rel=1e-3)  # can fail: an axis left out, and n - 1 for n


def test_exact_trace_with_fewer_parameters_than_samples():
    """Catches the sum over the samples where that over the parameters is shorter, and a product in the wrong order."""
    model, loss = torch.nn.Linear(3, 1, bias=False).double(), lambda out, y: (out[:, 0] - y) ** 4
    operators = LossOperators(model, loss, torch.randn(40, 3, generator=generator()).double(), torch.ones(40))
    hessian, products = operators.hessian_here(), []
    found = traces.trace_hessian_covariance(operators, None, generator(), hessian=lambda u: products.append(u) or hessian(u))
    sigma = np.cov(columns(operators.matrix_product, 40), bias=True)
    assert found.value == pytest.approx(np.trace(columns(hessian, 3) @ sigma), rel=1e-12) and len(products) == 3


@pytest.mark.parametrize("n_probes", [2, 3, 4, 7, 8])
def test_a_number_of_probes_is_that_of_products(n_probes):
    products = []
    hessian = OPERATORS.hessian_here()
    for trace in (traces.trace_hessian, traces.trace_hessian_covariance):
        found = [
            trace(OPERATORS, n_probes, generator(), hessian=lambda u: products.append(u) or hessian(u)),
            trace(OPERATORS, n_probes, generator()),
        ]
        assert found[0] == found[1] and found[0].standard_error > 0
        assert len(products) == (n_probes if n_probes < 4 else n_probes - n_probes % 2)
        products.clear()


def dense(name):
    """Symmetric matrices with spectra like those of networks."""
    random = np.random.default_rng(3)
    axes = np.linalg.qr(random.standard_normal((120, 120)))[0]
    values = {
        "near a minimum": np.r_[5.0, 2.0, 1.0, 0.02 * 0.9 ** np.arange(117)],
        "at the start": np.r_[2.0, 1.5, random.uniform(-0.7, 0.8, 118)],
        "slow decay": 1 / np.arange(1, 121),
    }[name]
    return torch.as_tensor((axes * values) @ axes.T)


@pytest.mark.parametrize("n_probes", [4, 6, 10, 30])
@pytest.mark.parametrize("name", ["near a minimum", "at the start", "slow decay"])
def test_intervals_hold_the_trace(name, n_probes):
    """Catches standard errors that take the leave-one-out estimates for independent, and a bias."""
    A, seeds = dense(name), 200
    exact, held, total = float(A.trace()), 0, 0.0
    for seed in range(seeds):
        found = exchangeable_trace(lambda u: A @ u, A[0], n_probes, generator(seed))
        low, high = found.interval(0.95)
        held, total = held + (low <= exact <= high), total + (high - low) / 2
    assert held >= least(seeds)
    if n_probes == 30:  # and says something: Hutchinson's half width is 2.05 sqrt(2 ‖A‖² / 30), ‖A‖ without the diagonal
        plain = 2.05 * np.sqrt(2 * float(((A - torch.diag(A.diagonal())) ** 2).sum()) / 30)
        assert total / seeds < {"near a minimum": 0.1, "at the start": 2.0, "slow decay": 1.0}[name] * plain


def test_leave_one_out_estimates_are_not_independent():
    """Can fail: their standard deviation over sqrt(k) is no standard error."""
    A, seeds, k = dense("slow decay"), 200, 30
    exact, held = float(A.trace()), 0
    for seed in range(seeds):
        probes = random_probes(A[0], k, generator(seed)).T.numpy()
        images = A.numpy() @ probes
        Q, R = np.linalg.qr(images)
        samples = module._samples(R, Q.T @ probes, Q.T @ A.numpy() @ Q, (images * probes).sum(axis=0))
        held += abs(samples.mean() - exact) <= t.ppf(0.975, k - 1) * samples.std(ddof=1) / np.sqrt(k)
    assert held < least(seeds)


def test_estimates_are_unbiased_and_small():
    """Catches a wrong term of XTrace, which its intervals may still hold. z = 6, twice."""
    A = dense("near a minimum")
    values = np.array([exchangeable_trace(lambda u: A @ u, A[0], 12, generator(seed)).value for seed in range(400)])
    mean = Estimate.of(values)
    assert abs(mean.value - float(A.trace())) < 6 * mean.standard_error
    assert values.std() < 0.02 * float(A.trace())  # that of Hutchinson's is 0.27


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("d", [12, 200])
def test_low_rank_is_exact_up_to_rounding_and_says_so(d, dtype):
    """Catches a singular triangle, and a false error of zero."""
    root = torch.randn(d, 2, generator=generator(), dtype=torch.float64)
    A = (root @ root.T).to(dtype)
    for seed in range(20):
        found = exchangeable_trace(lambda u: A @ u, A[0], 10, generator(seed))
        assert abs(found.value - float(A.double().trace())) < 6 * found.standard_error
        assert 0 < found.standard_error < 100 * torch.finfo(dtype).eps * float(A.trace())
    assert exchangeable_trace(torch.zeros_like, A[0], 10, generator()) == Estimate(0.0, 0.0, 5)


@pytest.mark.parametrize("n_probes", [2, 4])
def test_few_dimensions_bring_no_false_certainty(n_probes):
    """Catches probes that are parallel by chance, as one pair of signs in four is in three dimensions."""
    A = torch.diag(torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0], dtype=torch.float64))
    A[0, 1] = A[1, 0] = 1.0
    for seed in range(100):
        assert traces._estimated(lambda u: A @ u, A[0], n_probes, generator(seed)).standard_error > 1e-3


def test_many_products_are_shared_out(monkeypatch):
    """Catches groups that are weighted wrongly, or an error that is not that of their mean."""
    monkeypatch.setattr(module, "_VECTORS", 4)
    A, held = dense("slow decay"), 0
    for seed in range(100):
        found = exchangeable_trace(lambda u: A @ u, A[0], 30, generator(seed))
        low, high = found.interval(0.95)
        held += low <= float(A.trace()) <= high
        assert found.n == 15 - 4 + 1
    assert held >= least(100)


def test_sharpness_is_half_the_trace_for_small_radii():
    """With z = 6, for 2,000 probes of a bounded quadratic form."""
    estimate = traces.expected_sharpness(OPERATORS, generator(), radius=1e-3, n_probes=2_000)
    expected = 0.5e-6 * np.trace(H)
    assert abs(estimate.value - expected) < 6 * estimate.standard_error + 1e-3 * expected
    assert abs(estimate.value - 2 * expected) > 6 * estimate.standard_error


@pytest.mark.parametrize("trace", [traces.trace_hessian, traces.trace_hessian_covariance])
def test_too_few_probes_are_named(trace):
    with pytest.raises(ValueError, match="n_probes must be between 2 and 10000000, got 1"):
        trace(OPERATORS, 1, generator())
