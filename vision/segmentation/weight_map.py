"""Weights of the pixels, so that a network learns the thin borders between cells that touch.

Reference: Ronneberger et al. 2015, arXiv:1505.04597, eq. 2.
"""

import math
from collections.abc import Iterator

import numpy as np

REACH = 7  # sigmas from a cell at which exp(-d^2 / (2 sigma^2)) is 2e-11: negligible beside w_c


def weight_map(cells: np.ndarray, w0: float = 10.0, sigma: float = 5.0) -> np.ndarray:
    """w(x) = 1 + w0 exp(-(d1(x) + d2(x))^2 / (2 sigma^2)) where x is background, 1 elsewhere.

    cells (H, W) int: 0 is background, every cell has an index of its own -> (H, W) float32. d1 and d2 are the
    distances in pixels to the nearest and the second nearest cell (with fewer than two cells the second term is 0).
    The paper has w_c(x) for the 1, which balances the classes over the training set; here PixelClassifier's
    class_weights do so, such as "median": these weights are multiplied by them. Raises ValueError for an array of
    another kind, negative values in it, and other w0 or sigma.

    Reference: Ronneberger et al. 2015, arXiv:1505.04597, eq. 2; w0 = 10 and sigma = 5 are theirs.
    """
    if cells.ndim != 2 or cells.dtype.kind not in "iu":
        raise ValueError(f"weight_map: cells must be whole numbers of shape (H, W), got {cells.dtype} {cells.shape}")
    if (cells < 0).any():
        raise ValueError(f"weight_map: cells must have indices from 0, the background, got {cells.min()}")
    if not w0 >= 0 or not sigma > 0:
        raise ValueError(f"weight_map: need w0 >= 0 and sigma > 0, got {w0} and {sigma}")
    nearest = np.full((2, *cells.shape), np.inf)  # d1 and d2
    for index, window in windows(cells, margin=math.ceil(REACH * sigma)):
        d, (d1, d2) = distance(cells[window] == index), nearest[(slice(None), *window)]
        d2[...] = np.minimum(d2, np.maximum(d1, d))
        d1[...] = np.minimum(d1, d)
    border = w0 * np.exp(-(nearest.sum(axis=0) ** 2) / (2 * sigma**2))
    return (1 + border * (cells == 0)).astype(np.float32)


def windows(cells: np.ndarray, margin: int) -> Iterator[tuple[int, tuple[slice, slice]]]:
    """(index, rows and columns) of each cell with a margin of so many pixels."""
    inside, size = np.flatnonzero(cells), cells.shape
    indices, of_pixel = np.unique(cells.ravel()[inside], return_inverse=True)
    first, last = np.full((2, len(indices)), max(size)), np.zeros((2, len(indices)), int)
    for axis, position in enumerate(np.unravel_index(inside, size)):
        np.minimum.at(first[axis], of_pixel, position)
        np.maximum.at(last[axis], of_pixel, position)
    for index, low, high in zip(indices.tolist(), first.T.tolist(), last.T.tolist()):
        yield index, tuple(slice(max(a - margin, 0), b + margin + 1) for a, b in zip(low, high))


def distance(mask: np.ndarray) -> np.ndarray:
    """(H, W): the Euclidean distance of each pixel to the nearest one of the mask (H, W) bool; infinity for none.

    First the distance to the nearest in each row; then the best of all rows, as the square of the distance is a sum.
    """
    columns = np.arange(mask.shape[1])
    before = np.maximum.accumulate(np.where(mask, columns, -np.inf), axis=1)
    behind = np.minimum.accumulate(np.where(mask, columns, np.inf)[:, ::-1], axis=1)[:, ::-1]
    in_row = np.minimum(columns - before, behind - columns) ** 2
    rows = np.arange(len(mask), dtype=float)
    return np.sqrt(np.stack([((rows - row)[:, None] ** 2 + in_row).min(axis=0) for row in rows]))
