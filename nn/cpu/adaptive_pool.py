"""Pooling into a grid of bins for NumPy: means by matrices, maxima of all bins at once, images shared among threads."""

import numpy as np

from nn.cpu.parallel import parallel_for
from nn.cpu.separable import both_sides
from nn.layers.adaptive_pool import bins, mean_matrix

__all__ = [
    "adaptive_avg_pool",
    "adaptive_avg_pool_backward",
    "adaptive_max_pool",
    "adaptive_max_pool_backward",
    "bins",
    "mean_matrix",
    "takes",
]


def takes(x) -> bool:
    """Whether x is real: complex values are compared by their real parts, which the textbook does."""
    return x.dtype.kind == "f"


def adaptive_avg_pool(x, out_size):
    """As in nn.layers.adaptive_pool: rows @ x @ cols.T, where row i of `rows` has 1 / length in the rows of bin i."""
    return both_sides(x, *map(mean_matrix, x.shape[2:], out_size))


def adaptive_avg_pool_backward(dy, in_shape):
    """As in nn.layers.adaptive_pool."""
    rows, cols = map(mean_matrix, in_shape[2:], dy.shape[2:])
    return both_sides(dy, rows.T, cols.T)


def adaptive_max_pool(x, out_size):
    """As in nn.layers.adaptive_pool."""
    n, c, h, w = x.shape
    positions = _positions((h, w), out_size)
    bin_number = np.arange(len(positions))
    y, source = np.empty((n, c, len(positions)), x.dtype), np.empty((n, c, len(positions)), np.int64)

    def image(i):
        plane = x[i].reshape(c, h * w)
        best = plane[:, positions].argmax(axis=2)  # the first in reading order of equals, and of NaNs
        source[i] = positions[bin_number, best]
        y[i] = np.take_along_axis(plane, source[i], axis=1)

    parallel_for(image, n)
    return y.reshape(n, c, *out_size), source.reshape(n, c, *out_size)


def adaptive_max_pool_backward(dy, source, in_shape):
    """As in nn.layers.adaptive_pool."""
    n, c, h, w = in_shape
    # y = x[source]: dy goes to where the maximum came from; bins may share it, so it adds up there
    position = np.arange(n * c).reshape(n, c, 1, 1) * (h * w) + source
    dx = np.bincount(position.ravel(), dy.ravel(), minlength=n * c * h * w)
    return dx.astype(dy.dtype).reshape(n, c, h, w)


def _positions(in_size, out_size):
    """(oh*ow, L): the flat positions of each bin in reading order, shorter bins filled up with repetitions."""
    rows, cols = map(_positions_along, in_size, out_size)
    return (rows[:, None, :, None] * in_size[1] + cols[:, None, :]).reshape(len(rows) * len(cols), -1)


def _positions_along(size, count):
    """(count, length of the longest): positions of each bin along one axis, the last one repeated in shorter bins."""
    start, end = (edge[:, None] for edge in bins(size, count))
    return np.minimum(start + np.arange((end - start).max()), end - 1)
