"""Leading eigenpairs of Hessian and gradient covariance, without forming them.

Lanczos' method with full orthogonalisation and thick restarts (Wu and Simon 2000), on the device of the operator. One starting
vector takes the fewest products, but meets a single eigenvector of a repeated eigenvalue; H of a least-squares network with
several outputs repeats them all. So a second Krylov space is begun, from a random vector orthogonal to what was found, until it
would have shown another eigenvector there.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from gradnoise.simulations.neural.krylov import NOT_FINITE, KrylovSpace, image_of, not_symmetric
from gradnoise.simulations.neural.vectors import as_like
from gradnoise.simulations.seeds import RNG, Stream
from gradnoise.theory._validation import FloatArray, as_array, as_count, as_flag, as_function, as_real

__all__ = ["leading_eigenpairs", "leading_on_device"]

_DENSE = 20  # parameters up to which the matrix itself is formed
_HELD = 2**27  # numbers in the basis, if that is room enough for a restart
_LEAST, _MOST = 1_000, 20_000  # products before the search is given up; ten for each parameter in between
_ROUNDINGS = 8  # least tolerance
_ZERO = "product must be of an operator that is not zero, got zero for every vector"
_CHECK = 10  # products of the search for repeated eigenvalues, or a quarter of those until then
# Shares, of what is expected, of an eigenvector's part in a random vector: a smaller one has a probability of 0.8 %; and of
# 8e-5, where some eigenvalue is known to be repeated.
_SHARE, _REPEATED = 1e-4, 1e-8
_ALIKE = 1e-4  # of λ₁: eigenvalues that near to it have vectors which a residual of 1e-6 λ₁ leaves open, by 1 % or more


def leading_eigenpairs(
    product: Callable[[Tensor], Tensor],
    like: Tensor,
    k: int,
    *,
    rng: RNG = 0,
    tolerance: float = 1e-6,
    start: Tensor | ArrayLike | None = None,
) -> tuple[FloatArray, FloatArray]:
    """Largest eigenvalues of a symmetric operator, and their eigenvectors.

    Parameters
    ----------
    product : callable
        Operator on (d,) Tensors, such as `LossOperators.hessian_product`.
    like : Tensor
        A (d,) Tensor of the dtype and on the device that it takes, such as `LossOperators.parameters`.
    k : int
        How many, at most d. For d up to 20, or 2k, the matrix is formed by d products.
    rng : None, int, SeedSequence or Generator
        Of all random vectors: the same seed gives the same numbers.
    tolerance : float
        Of the residuals: ‖Av − λv‖ is at most so many times the largest |λ| that is met, up to the rounding of A itself. The
        error of λ is smaller: of the order of the squared residual over the distance to the next eigenvalue. At least eight
        roundings of the dtype, 9.5e-7 in single precision.
    start : (d,) or (d, m) Tensor or array_like, optional
        Eigenvectors of an operator that differs little, whose sum is a better start than a random vector.

    Returns
    -------
    eigenvalues : (k,) ndarray
        Falling; a repeated one as often as it is there.
    eigenvectors : (d, k) ndarray

    Raises
    ------
    ValueError
        If they do not converge, or the operator is zero, not symmetric or not finite.

    Notes
    -----
    A lone eigenvector of a repeated eigenvalue is missed with a probability of at most 0.8 %, and with 8e-5 where another was
    found: the search for them ends when one would have less than 1e-4 (1e-8) of its expected part in a random vector, by the
    Christoffel function of the moments that are known. It takes 3 to 10 products for most networks. Where the k-th eigenvalue is
    hardly above the next one it would take many: it ends after a quarter of the products, but ten, and when the basis, of some
    8k + 100 vectors, is full. What may be missed then is hardly above the k-th eigenvalue.

    References
    ----------
    Wu and Simon (2000), Thick-restart Lanczos method for large symmetric eigenvalue problems, SIAM J. Matrix Anal. Appl. 22.

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.spectrum import leading_eigenpairs
    >>> diagonal = torch.tensor([1.0, 3.0, 2.0])
    >>> values, vectors = leading_eigenpairs(lambda u: diagonal * u, diagonal, 1)
    >>> values.round(3), abs(vectors[:, 0]).round(3)
    (array([3.]), array([0., 1., 0.]))
    """
    values, vectors = leading_on_device(product, like, k, rng=rng, tolerance=tolerance, start=start)
    return values, vectors.cpu().numpy().astype(np.float64)


def leading_on_device(
    product: Callable[[Tensor], Tensor],
    like: Tensor,
    k: int,
    *,
    rng: RNG = 0,
    tolerance: float = 1e-6,
    start: Tensor | ArrayLike | None = None,
    complete: bool = False,
) -> tuple[FloatArray, Tensor]:
    """Do as `leading_eigenpairs`, and leave the eigenvectors where they are.

    Parameters
    ----------
    product : callable
    like : Tensor
    k : int
    rng : None, int, SeedSequence or Generator
    tolerance : float
    start : (d,) or (d, m) Tensor or array_like, optional
        All as in `leading_eigenpairs`.
    complete : bool
        Find more than k pairs, if that many belong to λ₁ as `n_alike` counts them, but no more than the basis has room for, some
        50 of many parameters.

    Returns
    -------
    eigenvalues : (k,) ndarray
    eigenvectors : (d, k) Tensor
        On the device of `like`, in its dtype, but at least in single precision.

    Raises
    ------
    ValueError, TypeError
        See `leading_eigenpairs`.

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.spectrum import leading_on_device
    >>> values, vectors = leading_on_device(lambda u: 2 * u, torch.ones(1), 1)
    >>> values, vectors
    (array([2.]), tensor([[1.]]))
    """
    as_function(product, "product")
    d = len(as_like(like))
    k, tolerance = as_count(k, "k", at_most=d), as_real(tolerance, "tolerance", above=0)
    least = _ROUNDINGS * torch.finfo(like.dtype).eps
    if tolerance < least:
        raise ValueError(f"tolerance must be >= {least:.3g}, {_ROUNDINGS} roundings of {like.dtype}, got {tolerance:g}")
    first, generator, complete = _start(start, d), Stream.of(rng).generator(0), as_flag(complete, "complete")
    if d <= max(2 * k, _DENSE):
        return _dense(product, like, k, complete)
    most = min(d, max(2 * k + 4, _DENSE + 4, min(_HELD // d, 8 * k + 100)))
    search = _Search(KrylovSpace(product, like, most), generator, k, tolerance, complete)
    if first is not None and (direction := search.space.append(first)).any():
        search.space.expand(direction)
    search.converge()
    while search.finds_another():
        search.converge()
    values, axes = search.converge()
    if search.space.scale == 0:
        raise ValueError(_ZERO)
    return values, search.space.vectors(axes)


def n_alike(values: FloatArray) -> int:
    """How many of some eigenvalues, falling, are as good as the first, which is positive: their vectors span one space.

    Parameters
    ----------
    values : (k,) ndarray

    Returns
    -------
    int

    Examples
    --------
    >>> import numpy as np
    >>> from gradnoise.simulations.neural.spectrum import n_alike
    >>> n_alike(np.array([2.0, 2.0 - 1e-6, 1.9]))
    2
    """
    return int((values >= (1 - _ALIKE) * values[0]).sum())


class _Search:
    """A search for the k leading eigenpairs in a growing Krylov space."""

    def __init__(
        self, space: KrylovSpace, generator: np.random.Generator, k: int, tolerance: float, complete: bool = False
    ) -> None:
        self.space, self._generator, self._k, self._tolerance = space, generator, k, tolerance
        self._most = 0  # pairs up to which k may grow
        if complete:
            self._most = space.dimension if space.most == space.dimension else space.most // 2 - 2
        self._limit = min(max(10 * space.dimension, _LEAST), _MOST)
        self._largest = self._level = 0.0  # |λ|, and what a missed eigenvalue would be above
        self._share = _SHARE

    def converge(self) -> tuple[FloatArray, FloatArray]:
        """Expand until the leading pairs converge; return eigenvalues, and eigenvectors in the basis."""
        space, k = self.space, self._k
        while True:
            values, axes, leading = space.ritz()
            self._largest = max(self._largest, np.abs(values).max(initial=0.0))
            allowed = self._tolerance * self._largest
            converged = np.linalg.norm(leading, axis=0)[:k] <= allowed
            if len(converged) == k and converged.all():
                self._level = values[k - 1] + allowed
                if k < self._most and values[0] > 0:
                    if n_alike(values) > k:
                        self._k = k = min(n_alike(values), self._most)
                        continue
                    if n_alike(values) == k:  # all are of λ₁, and there may be more
                        self._level = (1 - _ALIKE) * values[0]
                return values[:k], axes[:, :k]
            if space.products >= self._limit:
                raise ValueError(
                    f"tolerance and k must let all eigenvalues converge within {self._limit:,} products, "
                    f"got {self._tolerance:g} and {k}, of which {int(converged.sum())} did"
                )
            if space.full:
                kept = (k + space.size) // 2
                space.compress(values[:kept], axes[:, :kept])
                continue
            if not converged.all() and leading.size and (towards := leading[:, np.argmin(converged)]).any():
                direction = towards  # along the residual of the first pair that has not converged
            else:  # at the start, or where the operator leads nowhere from here
                direction = self._draw()
            for _ in range(self._stride()):  # the Ritz pairs cost time, too
                if space.full or not direction.any():
                    break
                _, direction = space.expand(direction)

    def finds_another(self) -> bool:
        """Whether a Krylov space from a random vector, orthogonal to what is known, shows another leading eigenvalue.

        An eigenvector missed until now has some part in the random vector. What the part of an eigenvalue x can be at most is
        told by the moments of the vector: one over the sum of the squares of their orthonormal polynomials at x.
        """
        space, k = self.space, self._k
        # Room for it; and vectors with a part of what is sought would hide the rest, if some are of another such search.
        if space.size > (k + space.most) // 2 or self._share == _REPEATED:
            space.compress(*(part[..., :k] for part in space.ritz()[:2]))
        direction = self._draw()
        if not direction.any():
            return False
        known, last = self._above(), space.products + max(_CHECK, space.products // 4 if self._share == _SHARE else self._limit)
        before, here, below, total = 0.0, 1.0, 0.0, 0.0  # the polynomials, by their recurrence
        while True:
            diagonal, direction = space.expand(direction)
            beside, total = float(np.linalg.norm(direction)), total + here**2
            ended = beside == 0 or total * self._share >= space.dimension or space.full or space.products >= last
            if ended or space.products % self._stride() == 0:
                if self._above() > known:
                    self._share = _REPEATED
                    return True
                if ended:
                    return False
            before, here = here, ((self._level - diagonal) * here - below * before) / beside
            below = beside

    def _above(self) -> int:
        """Ritz values above the least of the leading ones."""
        return int((self.space.ritz()[0] > self._level).sum())

    def _draw(self) -> FloatArray:
        return self.space.append(torch.as_tensor(self._generator.standard_normal(self.space.dimension)))

    def _stride(self) -> int:
        """Products between two looks at the Ritz pairs, which cost the third power of the size."""
        return 1 + self.space.size // 100


def _dense(product: Callable[[Tensor], Tensor], like: Tensor, k: int, complete: bool) -> tuple[FloatArray, Tensor]:
    """Leading eigenpairs of the matrix, formed row by row."""
    wide = torch.promote_types(like.dtype, torch.float32)
    rows = torch.empty(len(like), len(like), dtype=torch.float64)
    for i, row in enumerate(rows):
        axis = torch.zeros_like(like, requires_grad=False)
        axis[i] = 1
        row.copy_(image_of(product, axis))
    scale = float(rows.abs().max())
    if not np.isfinite(scale):
        raise ValueError(NOT_FINITE)
    if scale == 0:
        raise ValueError(_ZERO)
    gap = float((rows - rows.T).abs().max())
    if gap > torch.finfo(like.dtype).eps ** 0.5 * scale:
        raise ValueError(not_symmetric(gap, scale))
    values, axes = np.linalg.eigh(((rows + rows.T) / 2).numpy())
    if complete and values[-1] > 0:
        k = max(k, n_alike(values[::-1]))
    return values[::-1][:k].copy(), torch.as_tensor(axes[:, ::-1][:, :k].copy()).to(like.device, wide)


def _start(start: Tensor | ArrayLike | None, d: int) -> Tensor | None:
    """Sum of the columns: Lanczos' method finds all that have a part in its first vector."""
    if start is None:
        return None
    columns = start.detach() if isinstance(start, Tensor) else torch.as_tensor(as_array(start, "start"))
    if columns.ndim not in (1, 2) or len(columns) != d:
        raise ValueError(f"start must have shape ({d},) or ({d}, m), got {tuple(columns.shape)}")
    total = columns if columns.ndim == 1 else columns.sum(dim=1)
    if not bool(torch.isfinite(total).all()):
        raise ValueError("start must be finite, got NaN or infinity")
    return total
