"""Claims of the papers about training networks, judged on digits. They need PyTorch; see `gradnoise.claims.networks`.

A sample is a repetition of the whole training, with data, initialisation and noise of its own, on scikit-learn's digits with a
perceptron of two hidden layers: the papers' statements, not their numbers, are what is judged. The number of repetitions is
fixed, and so are the bounds: half of the repetitions, zero, and half the way from gradient descent to SGD. With some dozens of
repetitions intervals of 1 − 10⁻⁹ would be empty words, so here they are at 99.9 % each, of Student's t for means: with a fresh
seed one of these claims may well be judged wrongly in fifty runs. What is only measured has no expected verdict.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from gradnoise.claims.claim import Inequality, Predictions, Quantities, Run, claim
from gradnoise.claims.judgement import AtLeast, AtMost, Margin
from gradnoise.simulations.estimates import Estimate, Proportion
from gradnoise.simulations.network_protocols import PROTOCOLS, Comparison, Protocol
from gradnoise.simulations.neural.comparison import compare

#: A network has left a minimum in which it knows all labels once it knows fewer of them than this.
LEFT = 0.9
MOSTLY, SELDOM = AtLeast(0.5), AtMost(0.5)


def quick(figure: str, **changes: object) -> Protocol:
    """Protocol of a figure on digits, with changes."""
    return replace(PROTOCOLS[figure]["quick"], **changes)  # type: ignore[arg-type]


def share(event: NDArray[np.bool_]) -> Proportion:
    """How often an event happened, of an array of bool."""
    return Proportion(int(np.sum(event)), len(event))


class Training(Inequality):
    """A claim that is judged on repetitions of a training."""

    confidence = 0.999
    margin: Margin | Mapping[str, Margin] = MappingProxyType({})  # none, hence no more repetitions than these:
    pilot_paths = 24
    protocol: Protocol

    def measure(self, run: Run) -> Quantities:
        found = compare(self.protocol, run.n_paths, rng=run.seed(0), n_jobs=run.n_jobs, device="cpu", progress=False)
        return self.quantities(found)

    def quantities(self, found: Comparison) -> Quantities:
        """Return what is judged, of the repetitions."""
        raise NotImplementedError


ALIGNED = {"sgd": "SGD", "gld_leading": "GLD leading", "gld_hessian": "GLD Hessian", "gld_eigvec": "GLD 1st eigvec(H)"}
OTHERS = {"gd": "GD", "gld_const": "GLD const", "gld_dynamic": "GLD dynamic", "gld_diag": "GLD diag"}


def shares_left(found: Comparison, within: int) -> dict[str, Proportion]:
    """By label, in what share of the repetitions a dynamics has left the minimum within that many steps."""
    early = found.steps <= within
    left = {label: found.of(name, "train_accuracy")[:, early].min(axis=1) < LEFT for name, label in (ALIGNED | OTHERS).items()}
    return {label: share(event) for label, event in left.items()}


@claim(
    "zhu2019.fig3",
    "SGD and noise along the curvature leave the minimum that GD found, SGD to generalise better; GD, GLD and GLD diag stay",
    source="Figure 3, Section 5.3",
    expected=None,
)
class Escape(Training):
    """Share of the repetitions in which a dynamics leaves the minimum, and the accuracy that SGD gains by it."""

    gain = "test accuracy of SGD less that of GD"
    protocol = quick("zhu2019-fig3", measured=())
    pilot_paths = 64

    def quantities(self, found: Comparison) -> Quantities:
        left = shares_left(found, self.protocol.n_steps)
        return {**{f"share of {label} that leaves": p for label, p in left.items()}, self.gain: found.difference("sgd", "gd")}

    def published(self) -> Predictions:
        leave = {f"share of {label} that leaves": MOSTLY for label in ALIGNED.values()}
        stay = {f"share of {label} that leaves": SELDOM for label in OTHERS.values()}
        return {**leave, **stay, self.gain: AtLeast(0.0)}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "isotropic noise of that strength leaves, too", {"share of GLD dynamic that leaves": MOSTLY}
        yield "diagonal noise leaves, too", {"share of GLD diag that leaves": MOSTLY}
        yield "SGD stays", {"share of SGD that leaves": SELDOM}
        yield "the minimum of GD generalises better", {self.gain: AtMost(0.0)}


@claim(
    "zhu2019.fig5",
    "At the minimum of GD the noise of SGD follows the curvature: Tr(HΣ) is far above Tr(HΣ̄), and â of order one or more",
    source="Figure 5, Section 5.3",
    expected=None,
)
class Alignment(Training):
    """Share of the repetitions in which Tr(HΣ) is ten times Tr(HΣ̄), â at least one, and Tr(HΣ) falls in the end."""

    far = "share with Tr(HΣ) ≥ 10 Tr(HΣ̄) at the start"
    isotropic = "share with Tr(HΣ) ≤ 2 Tr(HΣ̄) at the start"
    order_one = "share with â ≥ 1 at the start"
    falls = "share in which Tr(HΣ) falls to a tenth"
    protocol = quick("zhu2019-fig5", n_steps=4_000, every=4_000, n_eigenvalues=0, n_probes=100)

    def quantities(self, found: Comparison) -> Quantities:
        indicator, isotropic = found.of("sgd", "indicator"), found.of("sgd", "isotropic_indicator")
        return {
            self.far: share(indicator[:, 0] >= 10 * isotropic[:, 0]),
            self.isotropic: share(indicator[:, 0] <= 2 * isotropic[:, 0]),
            self.order_one: share(found.of("sgd", "alignment")[:, 0] >= 1),
            self.falls: share(indicator[:, -1] <= 0.1 * indicator[:, 0]),
        }

    def published(self) -> Predictions:
        return {self.far: MOSTLY, self.order_one: MOSTLY, self.falls: MOSTLY}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "SGD's noise is isotropic", {self.isotropic: MOSTLY}
        yield "no alignment with the first eigenvector", {self.order_one: SELDOM}


@claim(
    "zhu2019.fig7",
    "Late in training the noise dominates the gradient: TrΣ > ‖∇L‖²",
    source="Figure 7, Appendix C.1",
    expected=None,
)
class NoiseOverGradient(Training):
    """Share of the repetitions in which it does after 2,000 steps of SGD from the initialisation."""

    late = "share with TrΣ > ‖∇L‖² after 2,000 steps"
    protocol = quick("zhu2019-fig5", descent_steps=0, n_steps=2_000, every=50, n_eigenvalues=0, measured=("noise",))

    def quantities(self, found: Comparison) -> Quantities:
        dominates = found.of("sgd", "trace_covariance") > found.of("sgd", "gradient_norm_squared")
        return {self.late: share(dominates[:, -1])}

    def published(self) -> Predictions:
        return {self.late: MOSTLY}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "the gradient dominates", {self.late: SELDOM}


@claim(
    "zhu2019.fig8",
    "SGD, GLD 1st eigvec, Hessian and leading leave the minimum of GD within 50 steps; GD, GLD const, dynamic and diag do not",
    source="Figure 8, Appendix C.2",
    expected=None,
)
class FirstSteps(Training):
    """Share of the repetitions in which a dynamics has left after 50 and after 200 steps."""

    protocol = quick("zhu2019-fig3", measured=(), n_steps=200, every=10)
    pilot_paths = 48

    def quantities(self, found: Comparison) -> Quantities:
        left = {steps: shares_left(found, steps) for steps in (50, 200)}
        return {f"share of {label} that has left after {k} steps": p for k, shares in left.items() for label, p in shares.items()}

    def published(self) -> Predictions:
        leave = {f"share of {label} that has left after 50 steps": MOSTLY for label in ALIGNED.values()}
        return leave | {f"share of {label} that has left after 50 steps": SELDOM for label in OTHERS.values()}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        for label in ALIGNED.values():
            yield f"{label} stays for 200 steps", {f"share of {label} that has left after 200 steps": SELDOM}


HALF_WAY = "test accuracy of {} above the middle of GD and SGD"


class AsSgd(Training):
    """Test accuracies against the middle of those of GD and SGD from the same start: above it is nearer to SGD."""

    gap = "test accuracy of SGD less that of GD"
    tested: Mapping[str, str]

    def quantities(self, found: Comparison) -> Quantities:
        end = {name: found.of(name, "test_accuracy")[:, -1] for name in ("gd", "sgd", *self.tested)}
        middle = (end["gd"] + end["sgd"]) / 2
        above = {HALF_WAY.format(label): Estimate.of(end[name] - middle) for name, label in self.tested.items()}
        return {self.gap: found.difference("sgd", "gd"), **above}


@claim(
    "wu2020.fig1",
    "MSGD of every class generalises as SGD, better than GD, on a small network; so does Algorithm 2 with a large batch",
    source="Figure 1, Sections 4.2 to 4.5",
    expected=None,
)
class EveryClass(AsSgd):
    """Gaussian (Cov and Fisher), Bernoulli and sparse Gaussian noise, and Algorithm 2."""

    tested = {
        "msgd-cov": "MSGD-Cov",
        "msgd-fisher": "MSGD-Fisher",
        "msgd-bernoulli": "MSGD-Bernoulli",
        "msgd-fisher-b": "MSGD-[Fisher-B]",
        "msgd-fisher-batch": "[MSGD-Fisher]-B",
        "gd": "GD",
    }
    protocol = quick("wu2020-fig1", dynamics=("sgd", *tested))
    pilot_paths = 64

    def published(self) -> Predictions:
        return {self.gap: AtLeast(0.0), **{HALF_WAY.format(label): AtLeast(0.0) for k, label in self.tested.items() if k != "gd"}}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "GD generalises as SGD", {HALF_WAY.format("GD"): AtLeast(0.0)}


@claim(
    "wu2019.fig1",
    "GD on the loss with the Rademacher regulariser generalises as SGD on a small network",
    source="Figure 1 (a), Section 3",
    expected=None,
)
class RademacherRegulariser(AsSgd):
    """The regulariser (1/N) Σ σᵢℓᵢ as it is defined, whose strength the paper tunes, and at the strength of SGD's noise."""

    tested = {"gd-rademacher": "GD-Rademacher", "msgd-rademacher": "MSGD-Rademacher", "gd": "GD"}
    protocol = quick("wu2020-fig1", dynamics=("sgd", *tested))
    pilot_paths = 64

    def published(self) -> Predictions:
        return {HALF_WAY.format("GD-Rademacher"): AtLeast(0.0)}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "GD alone generalises as SGD", {HALF_WAY.format("GD"): AtLeast(0.0)}


@claim(
    "wu2020.gaussian-faster-network",
    "On networks Gaussian MSGD converges faster than SGD",
    source="Sections 4.1 and 4.6",
    expected=None,
)
class GaussianIsFaster(Training):
    """Mean over the training of the logarithm of its loss, and that of SGD with a larger batch for comparison."""

    names = {"msgd-cov": "MSGD-Cov", "msgd-fisher": "MSGD-Fisher", "large-batch-sgd": "SGD with a batch four times as large"}
    protocol = quick("wu2020-fig1", dynamics=("sgd", *names))

    def quantities(self, found: Comparison) -> Quantities:
        level = {name: np.log(found.of(name, "train_loss")).mean(axis=1) for name in self.protocol.dynamics}
        return {self._label(label): Estimate.of(level[name] - level["sgd"]) for name, label in self.names.items()}

    def published(self) -> Predictions:
        return {self._label(self.names[name]): AtMost(0.0) for name in ("msgd-cov", "msgd-fisher")}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "a larger batch is slower", {self._label(self.names["large-batch-sgd"]): AtLeast(0.0)}

    @staticmethod
    def _label(name: str) -> str:
        return f"mean log loss of {name} less that of SGD"


@claim(
    "wu2019.eq17-network",
    "Fisher and gradient covariance of a network agree to a tenth, whenever one looks in training: ‖∇L‖² ≤ TrF/10",
    source="Eq. (17); wu2020, Section 4.2",
    expected=None,
)
class FisherIsCovariance(Training):
    """Share of the repetitions in which ‖∇L‖²/TrF is below a bound at each 50th of 2,000 steps of SGD from the initialisation."""

    tenth, thousandth = "share with ‖∇L‖² ≤ TrF/10 each time", "share with ‖∇L‖² ≤ TrF/1000 each time"
    protocol = NoiseOverGradient.protocol

    def quantities(self, found: Comparison) -> Quantities:
        squared = found.of("sgd", "gradient_norm_squared")
        fisher = self.protocol.batch_size * found.of("sgd", "trace_covariance") + squared
        largest = (squared / fisher).max(axis=1)
        return {self.tenth: share(largest <= 0.1), self.thousandth: share(largest <= 0.001)}

    def published(self) -> Predictions:
        return {self.tenth: MOSTLY}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "they agree to a part in a thousand", {self.thousandth: MOSTLY}
