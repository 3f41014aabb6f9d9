"""A growing subspace on which a symmetric operator is known, and how far it leads out of it."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from gradnoise.theory._validation import FloatArray

NOT_FINITE = "product must be finite, got NaN or infinity"

_AT_ONCE = 2**22  # numbers that are rotated at once, so that a restart needs no second basis
_PENDING = 4  # vectors in P for which there is room at first; it grows
_LEAST_EXPONENT = -126  # of numbers of single precision with all their digits
_NOTHING = 30  # roundings, up to which what is left of a vector is nothing but rounding


def not_symmetric(gap: float, scale: float) -> str:
    """Return what to say of an operator with uᵀAv ≠ vᵀAu.

    Parameters
    ----------
    gap, scale : float
        By how much they differ, and how large ‖Av‖ is.

    Returns
    -------
    str

    Examples
    --------
    >>> from gradnoise.simulations.neural.krylov import not_symmetric
    >>> not_symmetric(1.0, 2.0)
    'product must be of a symmetric operator, got one for which uᵀAv and vᵀAu differ by 1 where ‖Av‖ is 2'
    """
    return (
        f"product must be of a symmetric operator, got one for which uᵀAv and vᵀAu differ by {gap:.3g} where ‖Av‖ is {scale:.3g}"
    )


def image_of(product: Callable[[Tensor], Tensor], vector: Tensor, name: str = "product") -> Tensor:
    """Return what an operator makes of a vector, which must be another one.

    Parameters
    ----------
    product : callable
    vector : (d,) Tensor
    name : str
        Of the argument that has the operator, for the message.

    Returns
    -------
    (d,) Tensor

    Raises
    ------
    TypeError, ValueError
        If it is no vector.

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.krylov import image_of
    >>> image_of(lambda u: 2 * u, torch.ones(2))
    tensor([2., 2.])
    """
    found = product(vector)
    if not isinstance(found, Tensor) or found.is_complex() or found.layout != torch.strided:
        kind = f"one of {found.dtype}, {found.layout}" if isinstance(found, Tensor) else type(found).__name__
        raise TypeError(f"{name} must return a Tensor of real numbers, a dense one, got {kind}")
    if found.shape != vector.shape:
        raise ValueError(f"{name} must return a Tensor of shape {tuple(vector.shape)}, got {tuple(found.shape)}")
    return found.detach()


class KrylovSpace:
    """Orthonormal V and P with A V = V T + P B: P holds the directions in which A leads out of V.

    A Ritz pair (θ, V y) of T has the residual ‖A V y − θ V y‖ = ‖B y‖, so that A V need not be held. P is one vector for
    Lanczos' method, and as many as there were starting vectors for a block method. All rows are kept orthogonal to working
    precision, so that no eigenvalue is found twice.

    Parameters
    ----------
    product : callable
        A on (d,) Tensors.
    like : Tensor
        A (d,) Tensor of the dtype and on the device that it takes.
    most : int
        Vectors in V.

    Attributes
    ----------
    dimension, most : int
        d, and how many vectors V takes.
    size, pending : int
        Vectors in V, and in P.
    products : int
        How often A was applied.
    scale : float
        Largest ‖Av‖ of a unit vector v until now.

    Raises
    ------
    ValueError
        On `expand`, if the operator is not finite or not symmetric.

    Examples
    --------
    >>> import torch
    >>> from gradnoise.simulations.neural.krylov import KrylovSpace
    >>> matrix = torch.diag(torch.tensor([1.0, 3.0, 2.0]))
    >>> space = KrylovSpace(lambda u: matrix @ u, matrix[0], 3)
    >>> direction = space.append(torch.ones(3))
    >>> for _ in range(3):
    ...     diagonal, direction = space.expand(direction)
    >>> values, _, _ = space.ritz()
    >>> values.round(3), space.pending  # three vectors are all that there are
    (array([3., 2., 1.]), 0)
    """

    def __init__(self, product: Callable[[Tensor], Tensor], like: Tensor, most: int) -> None:
        self._product, self._like = product, like
        self.dimension, self.most = len(like), most
        wide = torch.promote_types(like.dtype, torch.float32)  # half precision cannot keep vectors orthogonal
        self._rows = torch.empty((most + _PENDING, len(like)), dtype=wide, device=like.device)
        self._rounding = torch.finfo(wide).eps
        self._projected, self._leading = np.zeros((most, most)), np.zeros((_PENDING, most))  # T, and B
        self.size = self.pending = self.products = 0
        self.scale = 0.0

    @property
    def full(self) -> bool:
        """Whether V takes no more."""
        return self.size == self.most

    def append(self, vector: Tensor) -> FloatArray:
        """Add to P what a vector has that is new; return the vector's coefficients in P then, (p,)."""
        vector = vector.to(self._rows)
        along, new = self._split(vector)
        norm = float(new.norm())
        if norm > _NOTHING * self._rounding * float(vector.norm()):
            self._take(new / norm)
            along = np.append(along, norm)
        return along[self.size :]

    def expand(self, direction: FloatArray) -> tuple[float, FloatArray]:
        """Move the unit vector v along a direction (p,) of P into V, at the cost of a product.

        Parameters
        ----------
        direction : (p,) ndarray
            Not zero.

        Returns
        -------
        diagonal : float
            vᵀAv.
        beside : (p,) ndarray
            Coefficients of Av in P.
        """
        self._turn(direction)
        m, rows = self.size, self._rows
        image = image_of(self._product, rows[m].to(self._like.dtype)).to(rows)
        self.products += 1
        largest = float(image.abs().max())
        if not np.isfinite(largest):
            raise ValueError(NOT_FINITE)
        # In units of a power of two, as in single precision the squares of 1e-20 are zero, and those of 1e20 infinite.
        unit = 2.0 ** max(math.frexp(largest)[1], _LEAST_EXPONENT)
        image = image / unit
        self.scale = max(self.scale, unit * float(image.norm()))
        along, new = self._split(image)
        along *= unit
        known = self._leading[0, :m].copy()
        gap = float(np.abs(along[:m] - known).max(initial=0.0))
        if gap > torch.finfo(self._like.dtype).eps ** 0.5 * self.scale:
            raise ValueError(not_symmetric(gap, self.scale))
        self._projected[m, :m] = self._projected[:m, m] = (known + along[:m]) / 2
        self._projected[m, m] = along[m]
        self.size, self.pending = m + 1, self.pending - 1
        self._leading[: self.pending, : m + 1] = np.c_[self._leading[1 : self.pending + 1, :m], along[m + 1 :]]
        norm = float(new.norm())
        if unit * norm > _NOTHING * self._rounding * self.scale:
            self._take(new / norm)
            self._leading[self.pending - 1, m] = unit * norm
        return float(along[m]), self._leading[: self.pending, m].copy()

    def ritz(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return eigenvalues of T, falling, its eigenvectors (m, m), and B times these (p, m)."""
        m = self.size
        values, axes = np.linalg.eigh(self._projected[:m, :m])
        return values[::-1].copy(), axes[:, ::-1].copy(), self._leading[: self.pending, :m] @ axes[:, ::-1]

    def vectors(self, axes: FloatArray) -> Tensor:
        """V y for the columns y of an array, (d, k)."""
        return self._rows[: self.size].T @ torch.as_tensor(axes.copy()).to(self._rows)

    def compress(self, values: FloatArray, axes: FloatArray) -> None:
        """Keep of V only some Ritz vectors."""
        m, kept = self.size, len(values)
        turn = torch.as_tensor(axes.T.copy()).to(self._rows)
        for part in torch.split(self._rows, max(1, _AT_ONCE // m), dim=1):
            part[:kept] = turn @ part[:m]
            part[kept : kept + self.pending] = part[m : m + self.pending].clone()
        self._leading[: self.pending, :kept] = self._leading[: self.pending, :m] @ axes
        self._projected[:kept, :kept] = np.diag(values)
        self.size = kept

    def _turn(self, direction: FloatArray) -> None:
        """Reflect P, so that its first vector is along a direction."""
        normal = -direction / np.linalg.norm(direction)
        normal[0] += 1
        length = np.linalg.norm(normal)
        if length < self._rounding:  # it is already
            return
        normal /= length
        rows, leading = self._rows[self.size : self.size + self.pending], self._leading[: self.pending, : self.size]
        across = torch.as_tensor(normal).to(rows)
        rows -= torch.outer(2 * across, across @ rows)
        leading -= np.outer(2 * normal, normal @ leading)

    def _split(self, vector: Tensor) -> tuple[FloatArray, Tensor]:
        """Coefficients of a vector along the rows of V and P, and the rest."""
        rows = self._rows[: self.size + self.pending]
        along = rows @ vector
        rest = vector - along @ rows
        again = rows @ rest  # once more: the first pass leaves rounding of the size of the vector
        return (along + again).double().cpu().numpy(), rest - again @ rows

    def _take(self, unit: Tensor) -> None:
        """Add a direction to P, into which nothing leads yet."""
        if self.size + self.pending == len(self._rows):
            self._rows = torch.cat([self._rows, self._rows.new_empty(_PENDING, len(unit))])
        if self.pending == len(self._leading):
            self._leading = np.r_[self._leading, np.zeros((_PENDING, self._leading.shape[1]))]
        self._rows[self.size + self.pending] = unit
        self._leading[self.pending] = 0
        self.pending += 1
