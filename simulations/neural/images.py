"""What a data set's images and labels must be, whatever files they come from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Images:
    """What the files of a data set hold.

    Attributes
    ----------
    dataset : str
    shape : tuple of int
        Of an image: channels, height, width.
    labels : range
        As the files have them.

    Examples
    --------
    >>> import numpy as np
    >>> from gradnoise.simulations.neural.images import Images
    >>> digits = Images("digits", (1, 8, 8), range(10))
    >>> digits.checked(np.zeros((2, 1, 8, 8), dtype=np.uint8), np.array([3, 10]), 5, "my file")
    Traceback (most recent call last):
    ValueError: labels of digits in my file must be among 0 to 9, got 10
    """

    dataset: str
    shape: tuple[int, int, int]
    labels: range

    def checked(
        self, images: NDArray[np.uint8], labels: ArrayLike, most: int, place: object
    ) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Return images (n, channels, height, width) and labels (n,) of int64, or raise naming data set and file.

        Parameters
        ----------
        images, labels : ndarray
            As they were read.
        most : int
            As many as the official files have.
        place : path or str
            Where they are from.
        """
        what = f"{self.dataset} in {place}"
        if images.dtype != np.uint8 or images.shape[1:] != self.shape:
            raise ValueError(f"images of {what} must be bytes of shape {self.shape}, got {images.dtype} of {images.shape[1:]}")
        if not 1 <= len(images) <= most:
            raise ValueError(f"images of {what} must be 1 to {most:,}, got {len(images):,}; is it the other part's file?")
        found = as_labels(labels, self.labels, f"labels of {what}")
        if len(found) != len(images):
            raise ValueError(f"{what} must hold an image for each label, got {len(images)} images and {len(found)} labels")
        return images, found


def as_labels(labels: ArrayLike, allowed: range, name: str) -> NDArray[np.int64]:
    """Return labels as whole numbers, each of which must be allowed.

    Parameters
    ----------
    labels : (n,) array_like
    allowed : range
    name : str
        For the message.

    Returns
    -------
    (n,) ndarray of int64

    Raises
    ------
    TypeError
        If they are no numbers.
    ValueError
        If they are not in one row, or one is not allowed, as a fraction and NaN are not.

    Examples
    --------
    >>> from gradnoise.simulations.neural.images import as_labels
    >>> as_labels([1.0, 0.5], range(10), "labels")
    Traceback (most recent call last):
    ValueError: labels must be among 0 to 9, got 0.5
    """
    if not isinstance(allowed, range) or not allowed:
        raise TypeError(f"allowed must be a range that is not empty, got {allowed!r}")
    try:
        found = np.asarray(labels)
    except (ValueError, RuntimeError) as error:  # ragged lists, and tensors that require a gradient
        raise ValueError(f"{name} must be a row of whole numbers: {error}") from None
    if found.dtype.kind not in "iuf" or isinstance(labels, np.ma.MaskedArray):
        raise TypeError(f"{name} must be whole numbers without a mask, got {type(labels).__name__} of {found.dtype}")
    if found.ndim != 1:
        raise ValueError(f"{name} must have one dimension, got shape {found.shape}")
    wrong = found[~np.isin(found, np.array(allowed))]
    if wrong.size:
        raise ValueError(f"{name} must be among {allowed[0]} to {allowed[-1]}, got {wrong[0]}")
    return found.astype(np.int64)
