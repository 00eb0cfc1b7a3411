"""The sampler of nn.layers.bilinear for CuPy, by the kernels of nn/gpu/sampler.cu: one thread per element.

The gradient of a map is gathered, not scattered: the points are sorted by the cell they stand on, then each element of
dx adds up the points of its four cells in that order. So it is the same in every run, and needs no atomic additions.
"""

from typing import NamedTuple

import numpy as np

from nn.dispatch import array_module
from nn.gpu.kernels import as_int, launch

THREADS = 1 << 16  # about as many as a large GPU runs at once


class Points(NamedTuple):
    """P points for each of B groups, in cells: row, column (B, P).

    Group b looks at image image_index[b], at image b where that is None; what it sees counts mask[b, p] times, once
    where that is None. With nearest the positions are integers, and the cells there alone count.
    """

    row: np.ndarray
    column: np.ndarray
    image_index: np.ndarray | None = None
    mask: np.ndarray | None = None
    nearest: bool = False


def sample_maps(x, points: Points):
    """y (B, C, P): the values of the maps x (N, C, H, W) at the points, zeros outside; NaN for points that are none."""
    row, column, image_index, mask, nearest = points
    (groups, count), xp = row.shape, array_module(x)
    y = xp.empty((groups, x.shape[1], count), x.dtype)
    sizes = y.size, *x.shape, count, 2 - nearest
    launch("sampler", "sample_forward", y.size, x.dtype, y, x, row, column, mask, image_index, *sizes)
    return y


def map_gradient(dy, shape, points: Points):
    """dx (N, C, H, W) for dy (B, C, P), the gradient of `sample_maps`'s y."""
    row, column, image_index, mask, nearest = points
    (n, c, h, w), count, xp = shape, row.shape[1], array_module(dy)
    dx, cells = xp.empty(shape, dy.dtype), xp.empty(row.size, np.int32)
    as_int("sampler", f"the number of cells of maps {shape} with their borders", n * (h + 1) * (w + 1))
    launch("sampler", "sample_cells", row.size, row.dtype, cells, row, column, image_index, row.size, n, h, w, count)
    order = xp.argsort(cells, kind="stable")
    starts = xp.searchsorted(cells[order], xp.arange(n * (h + 1) * (w + 1) + 1, dtype=np.int32)).astype(np.int32)
    arrays, sizes = (dx, dy, row, column, mask, order, starts), (dx.size, c, h, w, count, 2 - nearest)
    launch("sampler", "sample_map_gradient", dx.size, dx.dtype, *arrays, *sizes)
    return dx


def point_gradients(dy, x, points: Points):
    """(3, B, P): the gradients of row, column and mask for dy (B, C, P), the gradient of `sample_maps`'s y."""
    row, column, image_index, mask, _ = points
    (groups, count), xp = row.shape, array_module(dy)
    slices = min(x.shape[1], -(-THREADS // max(row.size, 1)))  # of the sum over channels
    gradients = xp.empty((3, slices, groups, count), dy.dtype)
    threads = slices * row.size
    arrays, sizes = (gradients, dy, x, row, column, mask, image_index), (threads, groups, *x.shape, count, slices)
    launch("sampler", "sample_point_gradients", threads, dy.dtype, *arrays, *sizes)
    return gradients.sum(axis=1)
