"""Section 4.1 of wu2020: what it costs to make noise with the covariance of SGD, in counted operations.

Times depend on the machine, and a verdict must not; the benchmarks time the same two ways.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gradnoise.claims.claim import Claim, Predictions, Quantities, Run, claim
from gradnoise.claims.judgement import Computed
from gradnoise.theory.gradient_noise import sgd_covariance
from gradnoise.theory.sampling import Gaussian

_WORK = ("covariance matrix", "its SVD", "sampling noise beyond a gradient")


class _Count:
    """Arithmetic that counts its multiplications and additions, by the sizes of the arrays that it meets."""

    def __init__(self) -> None:
        self.operations = 0

    def matmul(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        self.operations += 2 * a.shape[0] * a.shape[1] * (b.shape[1] if b.ndim == 2 else 1)
        return a @ b

    def multiply(self, a: Any, b: Any) -> Any:
        result = a * b
        self.operations += np.size(result)
        return result

    def subtract(self, a: Any, b: Any) -> Any:
        result = a - b
        self.operations += np.size(result)
        return result

    def mean(self, a: np.ndarray) -> Any:
        self.operations += a.size
        return a.mean(axis=-1, keepdims=True)


def _covariance(G: np.ndarray, b: int, count: _Count) -> np.ndarray:
    centred = count.subtract(G, count.mean(G))
    return count.multiply(count.matmul(centred, centred.T), 1 / (b * G.shape[1]))


def _svd_root(C: np.ndarray, count: _Count) -> np.ndarray:
    """U Λ^½ of a symmetric matrix by cyclic Jacobi rotations, Golub and Van Loan, Section 8.5."""
    A, U, d = C.copy(), np.eye(len(C)), len(C)
    while np.abs(A - np.diag(np.diag(A))).max() > 1e-13 * np.abs(C).max():
        for p in range(d - 1):
            for q in range(p + 1, d):
                angle = 0.5 * np.arctan2(2 * A[p, q], A[q, q] - A[p, p])
                rotation = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
                A[:, [p, q]] = count.matmul(A[:, [p, q]], rotation)
                A[[p, q]] = count.matmul(rotation.T, A[[p, q]])
                U[:, [p, q]] = count.matmul(U[:, [p, q]], rotation)
    return count.multiply(U, np.sqrt(np.maximum(np.diag(A), 0)))


def _sampling_weights(eps: np.ndarray, b: int, count: _Count) -> np.ndarray:
    n = len(eps)
    return count.subtract(count.multiply(count.subtract(eps, count.mean(eps)), 1 / np.sqrt(b * n)), -1 / n)


def _cholesky(V: np.ndarray, count: _Count) -> np.ndarray:
    A, n = V.copy(), len(V)
    for k in range(n):
        pivot = A[k, k]
        A[k:, k] = count.multiply(A[k:, k], 1 / np.sqrt(pivot) if pivot > 1e-12 * V[0, 0] else 0.0)
        A[k + 1 :, k + 1 :] = count.subtract(A[k + 1 :, k + 1 :], count.multiply(A[k + 1 :, k, np.newaxis], A[k + 1 :, k]))
    return np.tril(A)


@claim(
    "wu2020.sec4.1-cost",
    "Noise by SVD costs O(d²n + d³) a step, by sampling noise O(n) beyond a gradient",
    kind="exact",
    source="Section 4.1",
)
class SamplingNoiseCostsLess(Claim):
    """Exponents of counted operations where a size is doubled; both noises do have the covariance of SGD."""

    b, sizes, fixed, instances = 2, (16, 32), 12, 4
    insensitive_because = "exponents are whole numbers; at sizes that can be counted, lower terms move them by up to a fifth"
    errors = ("SVD noise: covariance − C", "sampling noise: covariance − C", "root of Var[V]: LLᵀ − Var[V]")

    def measure(self, run: Run) -> Quantities:
        generator = run.generator()
        found: dict[str, Any] = {}
        for size, shapes in (("d", [(s, self.fixed) for s in self.sizes]), ("n", [(self.fixed, s) for s in self.sizes])):
            # Jacobi's sweeps vary by one between instances, hence a few of them.
            counts = [sum(self._operations(generator.standard_normal(shape)) for _ in range(self.instances)) for shape in shapes]
            exponents = np.log2(counts[1] / counts[0])
            found |= {
                f"{name}: exponent of {size}": Computed(float(e), approximation=0.2)
                for name, e in zip(_WORK, exponents, strict=True)
            }
        del found["its SVD: exponent of n"]  # only the number of sweeps depends on n
        counts = [self._decomposition(n)[0] for n in self.sizes]
        found["decomposing Var[V]: exponent of n"] = Computed(float(np.log2(counts[1] / counts[0])), approximation=0.2)
        return found | self._accuracy(generator.standard_normal((4, self.fixed)))

    def published(self) -> Predictions:
        predicted = {
            "covariance matrix: exponent of d": 2.0,
            "covariance matrix: exponent of n": 1.0,
            "its SVD: exponent of d": 3.0,
            "sampling noise beyond a gradient: exponent of d": 0.0,
            "sampling noise beyond a gradient: exponent of n": 1.0,
            "decomposing Var[V]: exponent of n": 3.0,  # misprint: the paper says O(d²n + d³) of this n × n matrix
        }
        return predicted | dict.fromkeys(self.errors, 0.0)

    def sabotaged(self) -> Iterator[tuple[str, Predictions]]:
        yield "an SVD for O(d²)", {"its SVD: exponent of d": 2.0}
        yield "a covariance matrix for O(dn)", {"covariance matrix: exponent of d": 1.0}
        yield "sampling noise for O(n²)", {"sampling noise beyond a gradient: exponent of n": 2.0}
        yield "sampling noise for O(dn) beyond a gradient", {"sampling noise beyond a gradient: exponent of d": 1.0}
        yield "O(d²n + d³) for decomposing Var[V], as printed", {"decomposing Var[V]: exponent of n": 1.0}

    def _operations(self, G: np.ndarray) -> np.ndarray:
        """Counted operations of each of the works."""
        covariance, svd, sampling, gradient = _Count(), _Count(), _Count(), _Count()
        _svd_root(_covariance(G, self.b, covariance), svd)
        weights = _sampling_weights(np.ones(G.shape[1]), self.b, sampling)
        sampling.matmul(G, weights)
        gradient.matmul(G, np.full(G.shape[1], 1 / G.shape[1]))
        return np.array([covariance.operations, svd.operations, sampling.operations - gradient.operations])

    def _decomposition(self, n: int) -> tuple[int, float]:
        count, V = _Count(), Gaussian(n, self.b).covariance_matrix()
        L = _cholesky(V, count)
        return count.operations, float(np.abs(L @ L.T - V).max())

    def _accuracy(self, G: np.ndarray) -> dict[str, Computed]:
        """Largest entries by which the covariances miss, each noise being linear in its normals."""
        n, C = G.shape[1], sgd_covariance(G, self.b)
        root = _svd_root(_covariance(G, self.b, _Count()), _Count())
        weights = np.stack([_sampling_weights(e, self.b, _Count()) for e in np.eye(n)], axis=1) - 1 / n
        misses = [root @ root.T - C, G @ weights @ (G @ weights).T - C]
        largest = [float(np.abs(miss).max()) for miss in misses] + [self._decomposition(n)[1]]
        return {label: Computed(value, rounding=1e-12) for label, value in zip(self.errors, largest, strict=True)}
