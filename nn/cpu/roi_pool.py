"""RoI max pooling for NumPy: a few regions a task, all their bins at once, all channels of a cell side by side."""

import numpy as np

from nn.cpu.parallel import parallel_for
from nn.layers.roi_pool import Regions

ROIS_TOGETHER = 16  # regions that one task pools


def takes(x, boxes) -> bool:
    """Whether x is real: complex values are compared by their real parts, which the textbook does."""
    return x.dtype.kind == "f"


def roi_pool(x, regions: Regions):
    """As in nn.layers.roi_pool."""
    boxes, image_index, (ph, pw), scale, rounding = regions
    _, c, h, w = x.shape
    top, bottom = _bins(boxes[:, 1], boxes[:, 3], ph, h, scale, rounding)  # (K, ph)
    left, right = _bins(boxes[:, 0], boxes[:, 2], pw, w, scale, rounding)  # (K, pw)
    start = top[:, :, None] * w + left[:, None, :]  # (K, ph, pw): the first cell of each bin
    height = np.broadcast_to((bottom - top)[:, :, None], start.shape)
    width = np.broadcast_to((right - left)[:, None, :], start.shape)
    plane = np.broadcast_to(_planes(image_index, h, w)[:, None, None], start.shape)

    x_rows = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).reshape(-1, c)  # (N*H*W, C)
    y = np.zeros((*start.shape, c), x.dtype)  # empty bins stay 0
    source = np.full((*start.shape, c), -1, np.int32)

    def pool(i):
        k = slice(i * ROIS_TOGETHER, (i + 1) * ROIS_TOGETHER)
        _max_over_bins(x_rows, plane[k], start[k], height[k], width[k], w, y[k], source[k])

    parallel_for(pool, -(-len(boxes) // ROIS_TOGETHER))
    return np.ascontiguousarray(y.transpose(0, 3, 1, 2)), source.transpose(0, 3, 1, 2)  # (K, C, ph, pw)


def roi_pool_backward(dy, source, regions: Regions, in_shape):
    """As in nn.layers.roi_pool."""
    n, c, h, w = in_shape
    rows = np.zeros((n * h * w + 1, c), dy.dtype)  # the last row takes what comes from empty bins
    source, dy = source.transpose(0, 2, 3, 1), dy.transpose(0, 2, 3, 1)  # (K, ph, pw, C)
    plane = _planes(regions.image_index, h, w)[:, None, None, None]
    for i in range(0, len(source), ROIS_TOGETHER):  # as many as the cache holds the indices of
        k = slice(i, i + ROIS_TOGETHER)
        position = source[k] + np.where(source[k, ..., :1] < 0, n * h * w + 1, plane[k])
        position *= c
        position += np.arange(c)
        np.add.at(rows.reshape(-1), position.ravel(), dy[k].ravel())
    return np.ascontiguousarray(rows[:-1].reshape(n, h, w, c).transpose(0, 3, 1, 2))


def _bins(low, high, count, size, scale, rounding):
    """(K, count) first and (K, count) last + 1 cell of each bin along one axis, cut to 0 .. size."""
    start = np.floor(low * scale + 0.5).astype(np.int64)[:, None]
    end = np.floor(high * scale + 0.5).astype(np.int64)[:, None]
    length = np.maximum(end - start + 1, 1)
    i = np.arange(count)
    first = i * length // count
    if rounding == "caffe":
        last = -(-(i + 1) * length // count)  # ceil
    else:
        last = np.maximum((i + 1) * length // count, first + 1)
    return np.clip(start + first, 0, size), np.clip(start + last, 0, size)


def _planes(image_index, h, w):
    """(K,): the row of x_rows (N*H*W, C) where the image of each region begins."""
    return image_index.astype(np.int64) * (h * w)


def _max_over_bins(x_rows, plane, start, height, width, row_length, y, source):
    """Fill y and source (K, ph, pw, C): for each cell of the largest bin, compare in all bins that have it."""
    y, source = y.reshape(-1, y.shape[-1]), source.reshape(-1, y.shape[-1])
    plane, start, height, width = plane.ravel(), start.ravel(), height.ravel(), width.ravel()
    for i in range(int(height.max()) if len(height) else 0):
        for j in range(int(width.max())):
            k = np.flatnonzero((height > i) & (width > j))
            cell = start[k] + i * row_length + j
            value, where = x_rows[plane[k] + cell], cell[:, None].astype(np.int32)
            if i or j:  # else it is the first to come
                best = y[k]
                better = ~(value <= best) & (best == best)  # not "value > best": so a NaN wins, and stays
                where = np.maximum(source[k], better * where)  # cells only grow: where better, it is `where`
                np.maximum(value, best, out=value)
            y[k], source[k] = value, where
