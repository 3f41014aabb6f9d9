"""Leading eigenpairs against dense eigendecompositions.

Random starting vectors are seeded, so that nothing here fails by chance. By the law of a random vector a lone repeated eigenvalue
is missed in one search of 125; with several of them, as here, all would have to be missed.
"""

import numpy as np
import pytest
from scipy.sparse.linalg import LinearOperator, eigsh

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'gradnoise[neural]'")

from gradnoise.simulations.neural import spectrum
from gradnoise.simulations.neural.krylov import KrylovSpace
from gradnoise.simulations.neural.loss_operators import LossOperators
from gradnoise.simulations.neural.spectrum import leading_eigenpairs, leading_on_device, n_alike

from .networks import LOSS, problem


class Diagonal:
    """Operator with given eigenvalues, turned by a reflection, that counts its products."""

    def __init__(self, eigenvalues, dtype=torch.float64):
        d = len(eigenvalues)
        self.eigenvalues = torch.as_tensor(np.asarray(eigenvalues), dtype=torch.float64).to(dtype)
        self.normal = torch.as_tensor(np.random.default_rng(5).standard_normal(d)).to(dtype)
        self.normal /= self.normal.norm()
        self.like, self.products = torch.zeros(d, dtype=dtype), 0

    def reflect(self, u):
        return u - 2 * self.normal * (self.normal @ u)

    def __call__(self, u):
        self.products += 1
        return self.reflect(self.eigenvalues * self.reflect(u))

    def largest(self, k):
        return np.sort(self.eigenvalues.double().numpy())[::-1][:k]


BULK = np.random.default_rng(2).uniform(-0.1, 0.3, 300)
SPECTRA = {
    "geometric": 0.9 ** np.arange(500),
    "slow decay": 1 / np.arange(1, 601),
    "cluster": np.r_[1 + 1e-4 * np.arange(6), BULK],
    "pairs": np.r_[np.repeat([2.0, 1.5, 1.0], 2), BULK],
    "five copies of all": np.repeat(0.8 ** np.arange(60), 5),
    "repeated at the end": np.r_[2.0, np.ones(20), BULK],
    "negative": -np.r_[0.1, 0.2, 0.3, 0.4, 0.5, 1 + np.abs(BULK)],
    "rank three": np.r_[3.0, 2.0, 1.0, np.zeros(397)],
    "both signs": np.r_[np.linspace(-3, -1, 10), 1.0, 0.8, BULK],
}


@pytest.mark.parametrize("k", [1, 5, 12])
@pytest.mark.parametrize("name", SPECTRA)
def test_known_spectra(name, k):
    """Catches copies that are missed, negative spectra taken by their size, and a basis that is no longer orthogonal."""
    operator = Diagonal(SPECTRA[name])
    values, vectors = leading_eigenpairs(operator, operator.like, k, tolerance=1e-7)
    scale = np.abs(SPECTRA[name]).max()
    np.testing.assert_allclose(values, operator.largest(k), rtol=0, atol=1e-9 * scale)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(k), atol=1e-12)
    images = np.stack([operator(torch.as_tensor(v.copy())).numpy() for v in vectors.T], axis=1)
    assert np.linalg.norm(images - vectors * values, axis=0).max() < 1.01e-7 * scale


@pytest.mark.parametrize("k", [1, 2, 8])
@pytest.mark.parametrize(
    ("spectrum_of", "copies"),
    [
        (SPECTRA["five copies of all"], 5),
        (SPECTRA["geometric"], 1),
        (np.r_[2.0, 2 - 1e-6, 2 - 1.9e-4, 2 - 2.1e-4, BULK], 3),
        (np.r_[np.full(11, 2.0), BULK[:7]], 11),
        (np.full(30, 2.0), 30),
    ],
)
def test_all_of_the_largest_are_found(spectrum_of, copies, k):
    """Catches a search that ends with as many as were asked for, though λ₁ has more, up to 1e-4 of it."""
    operator = Diagonal(spectrum_of)
    values, vectors = leading_on_device(operator, operator.like, k, complete=True)
    assert n_alike(values) == copies and len(values) == max(k, copies)
    np.testing.assert_allclose(values, operator.largest(len(values)), rtol=0, atol=1e-8)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(len(values)), atol=1e-12)


def test_a_search_for_all_of_the_largest_ends():
    """Catches one that goes on for as long as there is another, in a basis without room for them."""
    operator = Diagonal(np.full(300, 2.0))
    values, _ = leading_on_device(operator, operator.like, 1, complete=True)
    assert 40 < len(values) < 60 and operator.products < 100


@pytest.mark.parametrize(("name", "k"), [("pairs", 3), ("five copies of all", 5)])
def test_copies_are_missed_without_the_second_search(name, k, monkeypatch):
    """Can fail: one Krylov space alone has one vector of each eigenspace, until rounding brings others."""
    monkeypatch.setattr(spectrum._Search, "finds_another", lambda self: False)
    operator = Diagonal(SPECTRA[name])
    values, _ = leading_eigenpairs(operator, operator.like, k, tolerance=1e-4)
    assert np.abs(values - operator.largest(k)).max() > 0.1


@pytest.mark.parametrize("name", SPECTRA)
def test_in_a_small_basis(name, monkeypatch):
    """Catches restarts that lose a vector, or its coupling to the rest."""
    monkeypatch.setattr(spectrum, "_HELD", 1)
    operator = Diagonal(SPECTRA[name])
    values, _ = leading_eigenpairs(operator, operator.like, 4, tolerance=1e-7)
    np.testing.assert_allclose(values, operator.largest(4), rtol=0, atol=1e-9 * np.abs(SPECTRA[name]).max())


@pytest.mark.parametrize("d", [1, 2, 20, 21, 43])
def test_all_eigenvalues(d):
    operator = Diagonal(np.linspace(-1, 2, d) if d > 1 else [-0.5])
    values, vectors = leading_eigenpairs(operator, operator.like, d)
    np.testing.assert_allclose(values, operator.largest(d), atol=1e-13)
    assert vectors.shape == (d, d) and operator.products == d


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_of_a_network(dtype):
    model, x, y = problem("perceptron")
    operators = LossOperators(model.to(dtype), LOSS, x.to(dtype), y)
    d, few = operators.dimension, torch.finfo(dtype).eps * 100
    H = torch.stack([operators.hessian_product(e) for e in torch.eye(d, dtype=dtype)], dim=1).double().numpy()
    expected, axes = np.linalg.eigh((H + H.T) / 2)
    values, vectors = leading_eigenpairs(operators.hessian_product, operators.parameters, 5)
    np.testing.assert_allclose(values, expected[::-1][:5], rtol=max(1e-8, few))
    np.testing.assert_allclose(np.abs(vectors.T @ axes[:, ::-1][:, :5]), np.eye(5), atol=1e-5)
    assert values.dtype == vectors.dtype == np.float64


def test_single_precision():
    """Catches coefficients that are accumulated in single precision, and copies that are its rounding."""
    operator = Diagonal(SPECTRA["geometric"], torch.float32)
    values, vectors = leading_on_device(operator, operator.like, 8)
    np.testing.assert_allclose(values, operator.largest(8), atol=2e-6)
    assert vectors.dtype == torch.float32 and values.dtype == np.float64


@pytest.mark.parametrize("unit", [1e-20, 1.0, 1e20])
def test_single_precision_in_any_unit(unit):
    """Would catch squares that are zero or infinite: eigenvectors were not orthogonal, or the operator called not symmetric."""
    operator = Diagonal(np.r_[np.arange(1.0, 11.0) * unit, np.zeros(390)], torch.float32)
    values, vectors = leading_eigenpairs(operator, operator.like, 20)
    np.testing.assert_allclose(values, operator.largest(20), atol=1e-5 * unit)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(20), atol=1e-5)


@pytest.mark.parametrize("d", [10, 60])
@pytest.mark.parametrize(
    ("product", "got"), [(lambda u: u.numpy(), "ndarray"), (lambda u: u[:3], r"\(3,\)"), (print, "NoneType")]
)
def test_products_that_are_no_vectors_are_named(product, got, d):
    with pytest.raises((TypeError, ValueError), match=f"product must return a Tensor.*, got {got}"):
        leading_eigenpairs(product, torch.zeros(d), 2)


def test_one_seed_gives_one_basis():
    """Catches random vectors from elsewhere, which fill what an operator of low rank leaves open."""
    operator = Diagonal(SPECTRA["rank three"])
    one, two, other = (leading_eigenpairs(operator, operator.like, 8, rng=seed) for seed in (3, 3, 4))
    assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
    assert np.abs(one[1][:, 5] - other[1][:, 5]).max() > 0.01
    np.testing.assert_allclose(one[0], other[0], atol=1e-12)


def test_a_start_saves_products():
    """Catches a start that is left out, one that hides what is new, and one that leads nowhere."""
    before, after = Diagonal(SPECTRA["geometric"]), Diagonal(SPECTRA["geometric"] * (1 + 1e-3 * np.sin(np.arange(500))))
    _, vectors = leading_eigenpairs(before, before.like, 3, tolerance=1e-4)
    values, _ = leading_eigenpairs(after, after.like, 3, tolerance=1e-4, start=vectors)
    np.testing.assert_allclose(values, after.largest(3), atol=1e-7)
    warm = after.products
    leading_eigenpairs(after, after.like, 3, tolerance=1e-4)
    assert warm < 0.7 * (after.products - warm)
    grown = Diagonal(np.r_[SPECTRA["geometric"][:-1], 5.0])  # along what the start knows nothing of
    values, _ = leading_eigenpairs(grown, grown.like, 3, start=torch.as_tensor(vectors))
    np.testing.assert_allclose(values, grown.largest(3), atol=1e-9)
    nowhere = Diagonal(SPECTRA["rank three"])
    start = nowhere.reflect(torch.eye(400, dtype=torch.float64)[7])
    np.testing.assert_allclose(leading_eigenpairs(nowhere, nowhere.like, 2, start=start)[0], [3, 2], atol=1e-12)


@pytest.mark.parametrize("k", [1, 5, 10])
@pytest.mark.parametrize("name", ["geometric", "slow decay", "cluster"])
def test_products_beside_arpack(name, k, monkeypatch):
    """The search itself takes no more of them, and that for repeated eigenvalues, which ARPACK does not do, few."""
    operator = Diagonal(SPECTRA[name])
    d = len(operator.like)
    matrix = LinearOperator((d, d), matvec=lambda u: operator(torch.as_tensor(u)).numpy(), dtype=float)  # type: ignore[call-overload]
    eigsh(matrix, k=k, which="LA", v0=np.random.default_rng(1).standard_normal(d), tol=1e-6)  # type: ignore[arg-type]
    of_arpack, operator.products = operator.products, 0
    leading_eigenpairs(operator, operator.like, k)
    ours, operator.products = operator.products, 0
    monkeypatch.setattr(spectrum._Search, "finds_another", lambda self: False)
    leading_eigenpairs(operator, operator.like, k)
    assert operator.products <= of_arpack and ours <= operator.products + max(12, operator.products // 3)


def test_a_krylov_space_knows_its_residuals():
    """A V = V T + P B, through reflections of P and restarts."""
    operator = Diagonal(SPECTRA["slow decay"])
    space = KrylovSpace(operator, operator.like, 30)
    generator = torch.Generator().manual_seed(1)
    for _ in range(3):
        direction = space.append(torch.randn(600, generator=generator))
        for _ in range(6):
            _, direction = space.expand(direction)
    values, axes, _ = space.ritz()
    space.compress(values[:7], axes[:, :7])
    for _ in range(5):
        _, direction = space.expand(np.ones(space.pending))
    values, axes, leading = space.ritz()
    vectors = space.vectors(axes)
    images = torch.stack([operator(v) for v in vectors.T], dim=1)
    residuals = (images - vectors * torch.as_tensor(values)).norm(dim=0).numpy()
    np.testing.assert_allclose(residuals, np.linalg.norm(leading, axis=0), atol=1e-13)
    assert residuals.max() > 1e-3 and space.pending == 3


def test_what_cannot_be_is_named(monkeypatch):
    operator = Diagonal(SPECTRA["geometric"])
    like, d = operator.like, len(operator.like)
    for size in (5, 50):
        some = torch.zeros(size)
        with pytest.raises(ValueError, match="product must be of an operator that is not zero"):
            leading_eigenpairs(torch.zeros_like, some, 1)
        with pytest.raises(ValueError, match="product must be finite, got NaN or infinity"):
            leading_eigenpairs(lambda u: u * torch.nan, some, 1)
        with pytest.raises(ValueError, match="product must be of a symmetric operator, got one for which uᵀAv and vᵀAu differ"):
            leading_eigenpairs(lambda u: torch.roll(u, 1) + u, some, 1)
    with pytest.raises(ValueError, match=f"k must be between 1 and {d}, got {d + 1}"):
        leading_eigenpairs(operator, like, d + 1)
    with pytest.raises(ValueError, match=r"tolerance must be >= 9.54e-07, 8 roundings of torch.float32, got 1e-08"):
        leading_eigenpairs(operator, like.float(), 1, tolerance=1e-8)
    with pytest.raises(ValueError, match="tolerance must be > 0"):
        leading_eigenpairs(operator, like, 1, tolerance=0)
    with pytest.raises(ValueError, match=r"start must have shape \(500,\) or \(500, m\), got \(3, 500\)"):
        leading_eigenpairs(operator, like, 1, start=torch.ones(3, 500))
    with pytest.raises(ValueError, match="start must be finite"):
        leading_eigenpairs(operator, like, 1, start=torch.full((500,), torch.inf))
    with pytest.raises(TypeError, match=r"like must be a Tensor of real floating-point numbers, got torch\.int64"):
        leading_eigenpairs(operator, torch.arange(3), 1)
    with pytest.raises(ValueError, match=r"like must have one dimension and a number, got shape \(0,\)"):
        leading_eigenpairs(operator, torch.zeros(0), 1)
    monkeypatch.setattr(spectrum, "_LEAST", 10)
    monkeypatch.setattr(spectrum, "_MOST", 10)
    with pytest.raises(ValueError, match=r"converge within 10 products, got 1e-06 and 3, of which 0 did"):
        leading_eigenpairs(operator, like, 3)
