"""Leading eigenpairs of Hessian and gradient covariance, without forming them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from scipy.sparse.linalg import ArpackError, ArpackNoConvergence, LinearOperator, eigsh
from torch import Tensor

from gradnoise.simulations.seeds import RNG, Stream
from gradnoise.theory._validation import FloatArray, as_count

__all__ = ["leading_eigenpairs"]


def leading_eigenpairs(
    product: Callable[[Tensor], Tensor], like: Tensor, k: int, *, rng: RNG = 0, tolerance: float = 1e-6
) -> tuple[FloatArray, FloatArray]:
    """Largest eigenvalues of a symmetric operator, and their eigenvectors, by ARPACK.

    Parameters
    ----------
    product : callable
        Operator on (d,) Tensors, such as `LossOperators.hessian_product`.
    like : Tensor
        A (d,) Tensor of the dtype and on the device that it takes, such as `LossOperators.parameters`.
    k : int
        How many, < d.
    rng : None, int, SeedSequence or Generator
        Of the starting vector.
    tolerance : float
        Relative, of the eigenvalues; single precision reaches some 1e-6.

    Returns
    -------
    eigenvalues : (k,) ndarray
        Falling.
    eigenvectors : (d, k) ndarray

    Raises
    ------
    ValueError
        If they do not converge, or the operator is zero.

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.spectrum import leading_eigenpairs
    >>> diagonal = torch.tensor([1.0, 3.0, 2.0])
    >>> values, vectors = leading_eigenpairs(lambda u: diagonal * u, diagonal, 1)
    >>> values.round(3), abs(vectors[:, 0]).round(3)
    (array([3.]), array([0., 1., 0.]))
    """
    d = len(like)
    k = as_count(k, "k", at_most=d - 1)

    def apply(vector: np.ndarray) -> np.ndarray:
        found = product(torch.as_tensor(vector.ravel(), dtype=like.dtype, device=like.device))
        return found.detach().cpu().numpy().astype(np.float64)

    start = Stream.of(rng).generator(0).standard_normal(d)
    operator = LinearOperator((d, d), matvec=apply, dtype=np.float64)  # type: ignore[call-overload]
    try:
        values, vectors = eigsh(operator, k=k, which="LA", v0=start, tol=tolerance)  # type: ignore[arg-type]
    except ArpackNoConvergence as error:
        raise ValueError(
            f"tolerance and k must let all eigenvalues converge, got {tolerance:g} and {k}, of which {len(error.eigenvalues)} did"
        ) from None
    except ArpackError as error:
        raise ValueError(f"product must be of an operator that is not zero, got one for which ARPACK says: {error}") from None
    order = np.argsort(-values)
    return values[order], vectors[:, order]
