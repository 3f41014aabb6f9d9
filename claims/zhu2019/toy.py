"""Claims of zhu2019 about its two-dimensional toy, exactly: Section 5.1 and Appendix D.1."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gradnoise.claims.claim import Claim, Predictions, Quantities, Run, claim, computed, entries
from gradnoise.claims.judgement import Computed
from gradnoise.claims.prediction import AtLeast
from gradnoise.simulations import ornstein_uhlenbeck
from gradnoise.theory import escape
from gradnoise.theory._linalg import psd_axes
from gradnoise.theory.escape import two_basin


def _data_mean(function: Any) -> np.ndarray:
    """E f(x) over the toy's data, by a 40-point Gauss–Hermite rule along each axis of their covariance."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    weights = weights / weights.sum()
    z = np.stack(np.meshgrid(nodes, nodes, indexing="ij"), axis=-1).reshape(-1, 2)
    data = z @ psd_axes(two_basin.DATA_COVARIANCE).T
    return np.tensordot(np.outer(weights, weights).ravel(), function(data), axes=1)


def _population_covariance(theta: np.ndarray) -> np.ndarray:
    g = _data_mean(lambda x: two_basin.gradients(theta, x).T)
    return _data_mean(lambda x: np.einsum("in,jn->nij", *[two_basin.gradients(theta, x)] * 2)) - np.outer(g, g)


@claim(
    "zhu2019.d1",
    "The toy's data have the printed matrix as covariance, the inverse Hessian of the sharp quadratic",
    kind="exact",
    source="Appendix D.1",
    expected="refuted",
    corrected="The printed matrix is a rotation; the released program draws 10⁻³ and 10⁻⁴ along the diagonals: 0.02 H⁻¹",
)
class DataHaveThePrintedCovariance(Claim):
    """Symmetry of the printed matrix; and the inverse of the printed quadratic's second differences."""

    asymmetry, inverse, distance = "asymmetry of the printed matrix", "0.02 H⁻¹", "largest entry of printed − H⁻¹"

    def measure(self, run: Run) -> Quantities:
        printed = two_basin.PRINTED_DATA_COVARIANCE
        difference = float(np.abs(printed - printed.T).max())
        inverse = np.linalg.inv(self._second_differences())
        return {
            self.asymmetry: Computed(difference, rounding=1e-12),
            self.distance: Computed(float(np.abs(printed - inverse).max()), rounding=1e-12),
            **computed(self.inverse, 0.02 * inverse),
        }

    def published(self) -> Predictions:
        return {self.asymmetry: 0.0, self.distance: 0.0}

    def corrected(self) -> Predictions:
        return {self.asymmetry: float(np.sqrt(2)), **entries(self.inverse, two_basin.DATA_COVARIANCE)}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "a rotation by 30°", {self.asymmetry: 1.0}
        yield "H⁻¹ without the 0.02", entries(self.inverse, two_basin.DATA_COVARIANCE / 0.02)
        yield "the axes exchanged", entries(self.inverse, two_basin.DATA_COVARIANCE * np.array([[1, -1], [-1, 1]]))

    @staticmethod
    def _second_differences() -> np.ndarray:
        """Hessian of the quadratic as it is printed, exact for a quadratic up to rounding."""

        def printed(s: np.ndarray) -> float:
            c = np.cos(np.pi / 4)
            return 10 * (s[0] * c - s[1] * c) ** 2 + 100 * (s[0] * c + s[1] * c) ** 2

        e = np.eye(2)
        return np.array([[printed(a + b) - printed(a) - printed(b) for b in e] for a in e])


@claim(
    "zhu2019.toy-minima",
    "(1, 1) and (−1, −1) are both global minima of the toy",
    kind="exact",
    source="Section 5.1",
    expected="refuted",
    corrected="Both are local minima, with population losses of 0.0200 and 0.0011",
)
class BothMinimaAreGlobal(Claim):
    """Population loss and gradient at both, by quadrature of the printed minimum of two branches."""

    sharp, flat, gap = "L(1, 1)", "L(−1, −1)", "L(1, 1) − L(−1, −1)"

    def measure(self, run: Run) -> Quantities:
        points = two_basin.SHARP_MINIMUM, two_basin.FLAT_MINIMUM
        sharp, flat = (float(_data_mean(lambda x, w=w: two_basin.losses(w, x))) for w in points)
        slopes = [float(np.abs(_data_mean(lambda x, w=w: two_basin.gradients(w, x).T)).max()) for w in points]
        found = {self.sharp: sharp, self.flat: flat, self.gap: sharp - flat, "largest |∇L| at both": max(slopes)}
        return {label: Computed(value, rounding=1e-12) for label, value in found.items()}

    def published(self) -> Predictions:
        return {self.gap: 0.0}

    def corrected(self) -> Predictions:
        sharp, flat = two_basin.population_loss_at_minima()
        return {self.sharp: sharp, self.flat: flat, self.gap: sharp - flat, "largest |∇L| at both": 0.0}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        sharp, flat = two_basin.population_loss_at_minima()
        yield "the flat one is higher", {self.gap: flat - sharp}
        yield "the sharp one is no stationary point", {"largest |∇L| at both": AtLeast(0.01)}
        yield "Tr(H Cov x) without its ½", {self.sharp: 2 * sharp, self.flat: 2 * flat}


@claim(
    "zhu2019.fig2-equalities",
    "At the sharp minimum leading ≡ Hessian (the population covariance is 0.02 H), and diag ≡ const at 45°",
    kind="exact",
    source="Figure 2, read exactly",
)
class LeadingNoiseIsHessianNoise(Claim):
    """Covariance of the population's gradients, by quadrature, at both minima."""

    sharp, diagonal, flat = "Σ/TrΣ at (1, 1)", "diag(Σ)/TrΣ at (1, 1)", "Σ/TrΣ at (−1, −1)"

    def measure(self, run: Run) -> Quantities:
        sharp, flat = (_population_covariance(w) for w in (two_basin.SHARP_MINIMUM, two_basin.FLAT_MINIMUM))
        return {
            **computed("Σ at (1, 1)", sharp),
            **computed(self.sharp, sharp / np.trace(sharp)),
            **computed(self.diagonal, np.diag(sharp) / np.trace(sharp)),
            **computed(self.flat, flat / np.trace(flat)),
        }

    def published(self) -> Predictions:
        H = two_basin.SHARP_HESSIAN
        # In the flat basin Σ = 4 Cov x while H = 2I: there leading and Hessian differ.
        data = two_basin.DATA_COVARIANCE / np.trace(two_basin.DATA_COVARIANCE)
        return {
            **entries("Σ at (1, 1)", 0.02 * H),
            **entries(self.sharp, H / np.trace(H)),
            **entries(self.diagonal, [0.5, 0.5]),
            **entries(self.flat, data),
        }

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        H = two_basin.SHARP_HESSIAN
        yield "Σ ∝ H²", entries(self.sharp, H @ H / np.trace(H @ H))
        yield "Σ ∝ Cov x", entries(self.sharp, two_basin.DATA_COVARIANCE / np.trace(two_basin.DATA_COVARIANCE))
        yield "the equality holds along the whole path", entries(self.flat, np.eye(2) / 2)


@claim(
    "zhu2019.toy-discrete",
    "Sharper: on the toy ηλ₁ = 1, so Eq. (13) does not describe it; after k steps the loss is "
    "(η/2)Σs_i(1−(1−ηλ_i)^{2k})/(2−ηλ_i)",
    kind="comparison",
    source="Eq. (7) on the sharp quadratic",
)
class LossOfDiscreteSteps(Claim):
    """Gradient descent with noise on the sharp quadratic, simulated step by step."""

    step_size, covariance = 0.005, np.array([[3.0, 0.5], [0.5, 1.0]])

    def measure(self, run: Run) -> Quantities:
        found: dict[str, Any] = {}
        for k in (5, 40):
            label = f"L after {k} steps"
            found[label] = ornstein_uhlenbeck.simulate(
                two_basin.SHARP_HESSIAN,
                self.step_size * self.covariance,  # eta eps is sqrt(eta) times a noise of eta Sigma per time
                k * self.step_size,
                run.n_paths,
                rng=run.at(label),
                method="euler",
                step_size=self.step_size,
            ).loss
        top = float(np.linalg.eigvalsh(two_basin.SHARP_HESSIAN)[-1])
        return {**found, "ηλ₁": Computed(self.step_size * top, rounding=1e-12)}

    def published(self) -> Predictions:
        return {**self._losses(escape.discrete_loss_increase), "ηλ₁": 1.0}

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        continuous = {
            f"L after {k} steps": float(
                escape.loss_increase(two_basin.SHARP_HESSIAN, self.step_size * self.covariance, k * self.step_size)
            )
            for k in (5, 40)
        }
        yield "Eq. (13), the continuous limit", continuous
        yield "2k steps for k", self._losses(lambda H, S, eta, k: escape.discrete_loss_increase(H, S, eta, 2 * k))
        yield "2 for 2 − ηλ", self._losses(self._without_discreteness)

    def _losses(self, formula: Any) -> dict[str, Any]:
        H = two_basin.SHARP_HESSIAN
        return {f"L after {k} steps": float(formula(H, self.covariance, self.step_size, k)) for k in (5, 40)}

    @staticmethod
    def _without_discreteness(H: np.ndarray, S: np.ndarray, eta: float, k: int) -> float:
        lam, U = np.linalg.eigh(H)
        s = np.diag(U.T @ S @ U)
        return eta / 4 * float(s @ (1 - (1 - eta * lam) ** (2 * k)))
