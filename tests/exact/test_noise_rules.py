"""Every class of sampling vectors that theory exports, and what is known of it: how it is drawn, compiled and enumerated.

It would catch a class that was added in theory and forgotten on another floor, a rule whose result has another shape or another
law's sum, a kernel that draws other vectors than `draw` does, a subclass that silently takes the rule of its base, and a user's
class that fails elsewhere than at the method that it lacks. The rules of torch are walked in tests/neural/test_weights.py.
"""

import importlib
import sys
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pytest

from gradnoise.simulations import complexity, least_squares, sampling, sde
from gradnoise.simulations.sampling import COMPILED, Rules
from gradnoise.simulations.sampling.compiled import fill_rows
from gradnoise.simulations.sampling.draws import DRAWN
from gradnoise.simulations.sampling.enumeration import LISTED
from gradnoise.simulations.sde.standard_problems import logistic
from gradnoise.theory import sampling as theory
from gradnoise.theory.complexity import FiniteLosses, LossClass
from gradnoise.theory.least_squares import LeastSquares
from gradnoise.theory.sampling import Enhanced, Gaussian, Minibatch, Rademacher, SamplingNoise

# Sizes between which there is no small linear relation.
N, b, B = 7, 2, 4
EXAMPLES = [
    Minibatch(N, 3),
    Minibatch(N, 3, replacement=False),
    Gaussian(N, b),
    Gaussian(N, b, centered=False, replacement=False),
    Rademacher(N, b),
    theory.StudentT(N, b, df=9),
    theory.Bernoulli(N, b),
    *(theory.SparseGaussian(N, b, B, form) for form in ("fisher", "cov", "printed")),
    theory.GaussianMinibatch(N, B, 1.7, replacement=False),
    theory.GaussianMinibatch(N, B, 1.7, centered=True, replacement=False),
    Enhanced(Minibatch(N, 3, replacement=False), 1.3),
    Enhanced(theory.Bernoulli(5, 2), 0.3),
]
EXPORTED = [
    cls
    for cls in (getattr(theory, name) for name in theory.__all__)
    if isinstance(cls, type) and issubclass(cls, SamplingNoise) and cls is not SamplingNoise
]
# Rounding of the moments of at most 10^5 outcomes, of sizes near one.
ROUNDING = 1e-11


def without(classes):
    """What is forgotten of which class; a class whose lack is stated is not forgotten."""
    books = {"enumeration": (LISTED,), "kernel": (COMPILED,), "NumPy": (COMPILED, DRAWN)}
    found = {(what, cls) for what, group in books.items() for cls in classes if not any(cls in book.known for book in group)}
    return {(what, cls) for what, cls in found if not any(cls in book.missing for book in books[what])}


@dataclass(frozen=True)
class Forgotten(SamplingNoise):
    n: int

    def joint_cumulant(self, pattern):
        return Minibatch(self.n, 1).joint_cumulant(pattern)


def test_every_exported_class_has_its_rules():
    assert without(EXPORTED) == set()
    assert {type(noise) for noise in EXAMPLES} == set(EXPORTED)  # and is among the examples below
    assert set(COMPILED.missing) == {Enhanced} and not DRAWN.missing and not LISTED.missing


def test_a_forgotten_class_is_seen():
    assert {what for what, _ in without([*EXPORTED, Forgotten])} == {"enumeration", "kernel", "NumPy"}


@pytest.mark.parametrize("noise", EXAMPLES, ids=repr)
def test_outcomes_have_the_moments_that_are_stated(noise):
    law, x = sampling.outcomes(noise), np.arange(noise.n) ** 2 / noise.n
    assert law.vectors.shape[1] == noise.n
    np.testing.assert_allclose(law.mean(), noise.mean, atol=ROUNDING)
    np.testing.assert_allclose(law.covariance(), noise.covariance_matrix(), atol=ROUNDING)
    stated = np.array([noise.cumulant(order, x) for order in (1, 2, 3, 4)])
    scale = (law.probabilities @ np.abs(law.vectors @ x) ** 4) ** 0.25
    np.testing.assert_allclose(law.cumulants(x) / scale ** np.arange(1, 5), stated / scale ** np.arange(1, 5), atol=ROUNDING)


@pytest.mark.parametrize("noise", EXAMPLES, ids=repr)
def test_draws_are_those_of_the_kernel(noise):
    drawn = sampling.draw_with(noise, 50, np.random.default_rng(3))
    assert drawn.shape == (50, noise.n) and np.isfinite(drawn).all()
    assert np.allclose(drawn.sum(axis=1), 1) == (noise.sum_variance == 0)
    if type(noise) in COMPILED.missing:
        with pytest.raises(TypeError, match=f"{type(noise).__name__} has no compiled form: it is made of two vectors"):
            sampling.lower(noise)
        return
    out, rule = np.empty((50, noise.n)), sampling.lower(noise)
    fill_rows(rule, np.random.default_rng(3), sampling.work_space(rule, noise.n), out)
    assert np.array_equal(out, drawn)


def test_enhanced_noise_is_made_of_two_draws_of_its_base():
    generator = np.random.default_rng(5)
    first, second = (sampling.draw_with(EXAMPLES[1], 9, generator) for _ in range(2))
    drawn = sampling.draw_with(Enhanced(EXAMPLES[1], 1.3), 9, np.random.default_rng(5))
    assert np.array_equal(drawn, 1.3 * first + (1 - 1.3) * second)


# --- Classes of users ----------------------------------------------------------------------------------------------------------

OWN = '''
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from gradnoise.theory.sampling import Minibatch, SamplingNoise

HEAVY = 3  # the weight of the one heavy sample, in units of 1/n


@dataclass(frozen=True)
class OneHeavy(SamplingNoise):
    """One sample drawn at random weighs a/n more than the others, which share the rest."""

    n: int
    a: float

    def joint_cumulant(self, pattern):
        # W = (1 - a/n)/n + (a/n) e_J, J uniform: a minibatch of one, scaled
        order, share = sum(pattern), Fraction(self.a) / self.n
        if order == 1:
            return Fraction(1, self.n)
        return share**order * Minibatch(self.n, 1).joint_cumulant(pattern)

    def draw(self, size, generator):
        return self.of(generator.integers(self.n, size=size))

    def outcomes(self):
        return self.of(np.arange(self.n)), np.full(self.n, 1 / self.n)

    def of(self, heavy):
        return (1 - self.a / self.n) / self.n + self.a / self.n * np.eye(self.n)[heavy]


@dataclass(frozen=True)
class Other(Minibatch):
    """Another law than its base's, and no word on how to draw it."""

    def joint_cumulant(self, pattern):
        return 2 * super().joint_cumulant(pattern) if sum(pattern) > 1 else super().joint_cumulant(pattern)


class Unchanged(Minibatch):
    """No dataclass, and nothing said."""


@dataclass(frozen=True)
class Drawn(Other):
    def draw(self, size, generator):
        return generator.multinomial(self.batch_size, np.full(self.n, 1 / self.n), size) / self.batch_size
'''
PROBLEM = LeastSquares([1.0, 0.4], [0.5, -0.3], 0.7)
LOSSES = FiniteLosses(np.random.default_rng(1).normal(size=(3, N)))


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Return a function that writes a user's module and imports it."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def written(source=OWN):
        (tmp_path / "users_noise.py").write_text(source)
        sys.modules.pop("users_noise", None)
        importlib.invalidate_caches()
        return importlib.import_module("users_noise")

    yield written
    sys.modules.pop("users_noise", None)


def risk(noise, n_replicates=700, **options):
    return least_squares.simulate(PROBLEM, noise, 0.2, 4, n_replicates, rng=3, **options)


def supremum(noise, **options):
    return complexity.simulate(LOSSES, noise, 5_000, rng=3, **options)


@pytest.mark.parametrize("enhanced", [False, True])
def test_a_class_of_ones_own_goes_everywhere(module, enhanced):
    noise = module().OneHeavy(N, 4.6)
    noise = Enhanced(noise, 1.3) if enhanced else noise
    law = sampling.outcomes(noise)
    np.testing.assert_allclose(law.covariance(), noise.covariance_matrix(), atol=ROUNDING)
    np.testing.assert_allclose(law.cumulants(np.arange(N))[3], noise.cumulant(4, np.arange(N)), rtol=1e-9)
    drawn = sampling.draw(noise, 200, rng=1)
    gaps = np.abs(drawn[:, np.newaxis] - law.vectors).max(axis=2).min(axis=1)  # of each draw from the nearest outcome
    assert gaps.max() < ROUNDING
    found = risk(noise, 6_000)
    assert abs(found.value - PROBLEM.excess_risk(0.2, noise, 4)) < 6 * found.standard_error
    assert abs(found.value - PROBLEM.excess_risk(0.2, N, 4)) > 6 * found.standard_error  # of equal weights
    found, exact = supremum(noise), law.probabilities @ LOSSES.supremum(N * law.vectors - 1) / N
    assert abs(found.value - exact) < 6 * found.standard_error + ROUNDING


def test_a_class_without_a_method_is_told_which(module):
    users = module()
    for cls in (users.Other, users.Unchanged):
        noise = cls(N, 3)
        for each in (noise, Enhanced(noise, 1.3)):
            for call in (lambda w: sampling.draw(w, 5, rng=1), risk, supremum):
                with pytest.raises(TypeError, match=rf"{cls.__name__} must have a method draw\(size, generator\)"):
                    call(each)
            with pytest.raises(TypeError, match=rf"{cls.__name__} must have a method outcomes\(\)"):
                sampling.outcomes(each)
        with pytest.raises(TypeError, match=f"{cls.__name__} has no compiled form"):
            sampling.lower(noise)
    assert sampling.draw(users.Drawn(N, 3), 5, rng=1).shape == (5, N)
    assert PROBLEM.excess_risk(0.1, users.Other(N, 3), 4) > PROBLEM.excess_risk(0.1, Minibatch(N, 3), 4)  # its own law


def test_a_study_of_coupled_paths_says_which_classes_it_takes(module):
    users, problem = module(), logistic(n=N)
    for noise in (
        users.OneHeavy(N, 4.6),
        users.Unchanged(N, 3),
        users.Drawn(N, 3),
        Rademacher(N, 3),
        Enhanced(Minibatch(N, 3), 2),
    ):
        for study in (sde.strong_error, sde.weak_error):
            with pytest.raises(TypeError, match="of exactly the class Gaussian or Minibatch or Bernoulli, got"):
                study(problem, [0.5], 1.0, 10, batch_size=noise, rng=1)


@pytest.mark.parametrize("made", [
    lambda self: self.of(np.arange(self.n)), lambda self: (np.eye(self.n - 1), np.ones(self.n - 1)),
    lambda self: (np.eye(self.n), np.ones(self.n)), lambda self: (np.full((1, self.n), np.nan), [1.0]),
], ids=["no pair", "shape", "probabilities", "nan"])  # fmt: skip
def test_what_a_method_returns_is_checked(module, monkeypatch, made):
    users = module()
    monkeypatch.setattr(users.OneHeavy, "outcomes", made)
    with pytest.raises((TypeError, ValueError), match=r"OneHeavy\.outcomes must"):
        sampling.outcomes(users.OneHeavy(N, 4.6))


def test_books_ask_for_the_class_and_not_for_its_base():
    book = Rules("must have a method f()", "f")
    book.of(Minibatch)(lambda noise, x: ("rule", x))
    subclass = type("Sub", (Minibatch,), {})
    with_method = type("WithMethod", (Minibatch,), {"f": lambda self, x: ("method", x)})
    assert book.apply(Minibatch(N, 3), 1) == ("rule", 1) and book.apply(with_method(N, 3), 2) == ("method", 2)
    assert Minibatch(N, 3) in book and with_method(N, 3) in book and subclass(N, 3) not in book
    with pytest.raises(TypeError, match=r"noise of class Sub must have a method f\(\)"):
        book.apply(subclass(N, 3), 1)


# --- With a store --------------------------------------------------------------------------------------------------------------


def computed(folder, run):
    """Run a study, and say how many of its blocks were not there before."""
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.npz")}
    result = run()
    after = {path: path.stat().st_mtime_ns for path in folder.rglob("*.npz")}
    return result, sum(after[path] != before.get(path) for path in after)


@pytest.mark.parametrize("study", [risk, supremum])
@pytest.mark.parametrize("enhanced", [False, True])
def test_a_store_takes_a_class_of_ones_own(tmp_path, module, study, enhanced):
    noise = module().OneHeavy(N, 4.6)
    noise = Enhanced(noise, 1.3) if enhanced else noise
    fresh, store = study(noise), tmp_path / "store"
    assert computed(store, lambda: study(noise, store=store)) == (fresh, 2)
    assert computed(store, lambda: study(noise, store=store)) == (fresh, 0)


@pytest.mark.parametrize(("old", "new"), [
    ("generator.integers(self.n, size=size)", "generator.integers(1, size=size)"),
    ("np.eye(self.n)[heavy]", "np.eye(self.n)[heavy] * (HEAVY / 3)"),
], ids=["draw", "what draw calls"])  # fmt: skip
def test_an_edited_class_shares_no_block(tmp_path, module, old, new):
    store = tmp_path / "store"
    risk(module().OneHeavy(N, 4.6), store=store)
    edited = module(OWN.replace(old, new)).OneHeavy(N, 4.6)
    assert old in OWN
    assert computed(store, lambda: risk(edited, store=store)) == (risk(edited), 2)


def test_a_method_or_a_global_that_is_replaced_shares_no_block(tmp_path, module, monkeypatch):
    users, store = module(OWN.replace("np.eye(self.n)[heavy]", "np.eye(self.n)[heavy] * (HEAVY / 3)")), tmp_path / "store"
    noise = users.OneHeavy(N, 4.6)
    found = [computed(store, lambda: risk(noise, store=store))]
    monkeypatch.setattr(users, "HEAVY", 2)
    found.append(computed(store, lambda: risk(noise, store=store)))
    monkeypatch.setattr(users.OneHeavy, "draw", users.Drawn.draw)
    monkeypatch.setattr(users.OneHeavy, "batch_size", 3, raising=False)
    found.append(computed(store, lambda: risk(noise, store=store)))
    monkeypatch.setattr(users.OneHeavy, "batch_size", 2)
    found.append(computed(store, lambda: risk(noise, store=store)))
    assert [count for _, count in found] == [2, 2, 2, 2] and len({result.value for result, _ in found}) == 4


def test_an_edit_of_what_a_class_does_not_read_shares_all_blocks(tmp_path, module):
    store, noise = tmp_path / "store", module().OneHeavy(N, 4.6)
    fresh = risk(noise, store=store)
    edited = OWN.replace("HEAVY = 3 ", "HEAVY = 4 ")
    assert edited != OWN
    assert computed(store, lambda: risk(module(edited).OneHeavy(N, 4.6), store=store)) == (fresh, 0)


def test_a_class_typed_into_a_session_is_known_by_its_code(tmp_path):
    def typed(code):
        names: dict[str, Any] = {"__name__": "__main__"}
        exec(compile(code, "<stdin>", "exec"), names)
        return names["OneHeavy"](N, 4.6)

    edited = OWN.replace("generator.integers(self.n, size=size)", "generator.integers(1, size=size)")
    counts = [computed(tmp_path, lambda code=code: risk(typed(code), store=tmp_path))[1] for code in (OWN, OWN, edited)]
    assert edited != OWN and counts == [2, 0, 2]


class Largest(LossClass):
    """A user's losses, whose supremum is that of the coordinates."""

    def __init__(self, n, factor):
        super().__init__(np.eye(n))
        self.factor = factor

    def supremum_of(self, statistics):
        return self.factor * np.abs(statistics).max(axis=1)


def test_a_store_takes_losses_of_ones_own(tmp_path):
    def study(factor):
        return complexity.simulate(Largest(N, factor), Minibatch(N, 3), 5_000, rng=3, store=tmp_path)

    assert [computed(tmp_path, lambda factor=factor: study(factor))[1] for factor in (1.0, 1.0, 2.0)] == [2, 0, 2]


@pytest.mark.parametrize(
    ("noise", "size"),
    [
        (Minibatch(3, 10**9), "10\\^477121255 of 3"),
        (Minibatch(10**6, 5 * 10**5, replacement=False), "10\\^3010[0-9]* of 1000000"),
        (Minibatch(10**12, 10**12, replacement=False), "1 of 1000000000000"),
        (Gaussian(50, b), "10\\^24 of 50"),
        (theory.Bernoulli(21, b), "2097152 of 21"),
        (theory.SparseGaussian(11, b, 8, "fisher"), "29229255 of 11"),
        (Enhanced(Minibatch(11, 4), 1.3), "214358881 of 11"),
    ],
)
def test_outcomes_are_counted_before_they_are_listed(noise, size):
    """It would catch a list, or the number of its entries, that takes all memory before it is refused."""
    with pytest.raises(ValueError, match=f"noise must have at most 2000000 outcomes.*, got {size}"):
        sampling.outcomes(noise)


def test_as_many_outcomes_as_are_allowed_are_listed():
    assert len(sampling.product_rule(dimension=13).vectors) == 3**13
    with pytest.raises(ValueError, match=r"rule and dimension must have at most 2000000 outcomes.*, got 4782969 of 14"):
        sampling.product_rule(dimension=14)
    one = np.array([2.0]), np.array([1.0])
    assert sampling.product_rule(one, dimension=1000).mean().tolist() == [2.0] * 1000


LAW = sampling.Outcomes(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([0.25, 0.75]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sampling.Outcomes(np.eye(2), np.array([0.5, 0.6])), "probabilities must be 2 numbers that sum to one"),
        (lambda: sampling.Outcomes(np.eye(2), np.array([-0.5, 1.5])), "probabilities must be >= 0"),
        (lambda: sampling.Outcomes(np.zeros((0, 2)), np.zeros(0)), "vectors must be one or more"),
        (lambda: sampling.Outcomes(np.ma.masked_equal(np.eye(2), 0), np.full(2, 0.5)), "vectors must not be masked"),
        (lambda: LAW.cumulants([1.0, 2.0, 3.0]), r"values must have 2 numbers in a row, .* got shape \(3,\)"),
        (lambda: LAW.cumulants([1e200, -1e200]), "values must have four cumulants below 1.8e308"),
        (lambda: LAW.transformed(np.ones((3, 1))), "matrix must have 2 numbers in a row"),
        (lambda: sampling.product_rule((np.array([1.0]), np.array([0.5]))), "probabilities of the rule must be 1 numbers"),
        (lambda: sampling.draw(Minibatch(N, 3), 10**15, rng=1), "size = 1000000000000000 of vectors of 7 weights makes results"),
        (lambda: sampling.draw(Minibatch(N, 10**15), 5, rng=1), "with a batch of 1000000000000000 makes a work space"),
        (lambda: sampling.expectations(Minibatch(N, 3), np.sin, 0, rng=1), "size must be between 1"),
        (lambda: sampling.expectations(Minibatch(N, 3), lambda W: W[:2], 5, rng=1), r"statistic\(W\) must have shape \(5, q\)"),
        (lambda: sampling.expectations(Minibatch(N, 3), lambda W: W / 0, 5, rng=1), r"statistic\(W\) must be finite"),
        (lambda: Rules("must have a rule").of(cast(Any, float)), "classes must be subclasses of SamplingNoise"),
    ],
)
def test_laws_and_draws_that_are_none_are_named(call, message):
    with np.errstate(all="ignore"), pytest.raises((TypeError, ValueError), match=message):
        call()
