"""RoI max pooling; on a GPU the kernels of nn/gpu/roi_pool.cu."""

from typing import NamedTuple

import numpy as np

from nn.cpu.parallel import parallel_for
from nn.dispatch import array_module
from nn.gpu.kernels import launch, use_kernels
from nn.layer import Layer, check_shape, pair

ROIS_TOGETHER = 16  # regions that one task pools


class RoIPoolCache(NamedTuple):
    """Where each maximum came from: rows of the flattened (N*H*W, C) input (K, ph, pw, C), -1 where a bin is empty."""

    source: np.ndarray
    in_shape: tuple[int, ...]


class DeviceCache(NamedTuple):
    """Of the kernels: each maximum's place in its plane (K, C, ph, pw), -1 where a bin is empty; and the regions."""

    source: np.ndarray
    in_shape: tuple[int, ...]
    bins: np.ndarray  # (K, ph + pw, 2): first and last + 1 row of each bin, then columns
    image_index: np.ndarray


class RoIPool(Layer):
    """y = max over each of ph x pw bins of each region.

    x (N, C, H, W), boxes (K, 4), image_index (K,), y (K, C, ph, pw).

    boxes are (x1, y1, x2, y2) in image pixels; times spatial_scale (1 / stride of the features) they are in cells of x,
    where each corner is rounded, floor(v + 0.5), and the end is inclusive: a region has end - start + 1 rows, at least
    one. A region of h rows falls into ph bins in one of two ways, `rounding`:

    - "caffe" (the paper's code): bin i has rows floor(i h / ph) up to, not including, ceil((i + 1) h / ph). Bins may
      share a row: 5 rows in 2 bins are [0, 3) and [2, 5).
    - "split" (the textbook): rows floor(i h / ph) up to floor((i + 1) h / ph), so no row is in two bins: [0, 2) and
      [2, 5). Where h < ph a bin still has one row, shared.

    Bins are cut at the borders of x; one that lies wholly outside gives 0. Of equal values the first in reading order
    gets the gradient. backward returns (dx, None, None): no gradient goes to the boxes.

    Raises ValueError for arrays of other shapes, an image_index outside 0 .. N - 1, boxes that are not finite. On a
    GPU, where looking at values would mean to wait for them, y is NaN for the last two.

    Reference: Girshick 2015, Fast R-CNN, arXiv:1504.08083, sec. 2.1 and 2.3 (eq. 4 is the backward).
    """

    def __init__(self, output_size, spatial_scale: float, rounding: str = "caffe"):
        self.output_size = pair(self, "output_size", output_size, 1)
        if not spatial_scale > 0:
            raise ValueError(f"RoIPool: spatial_scale must be > 0, got {spatial_scale}")
        if rounding not in ("caffe", "split"):
            raise ValueError(f"RoIPool: rounding must be 'caffe' or 'split', got {rounding!r}")
        self.spatial_scale, self.rounding = spatial_scale, rounding

    def forward(self, x, boxes, image_index, training=True):
        check_shape(self, x=(x, ("N", "C", "H", "W")), boxes=(boxes, ("K", 4)))
        check_regions(self, x, boxes, image_index)
        if use_kernels(x) and use_kernels(boxes):
            return self._forward_by_kernels(x, boxes, image_index)
        xp = array_module(x)
        _, c, h, w = x.shape
        top, bottom = self._bins(boxes[:, 1], boxes[:, 3], self.output_size[0], h)  # (K, ph)
        left, right = self._bins(boxes[:, 0], boxes[:, 2], self.output_size[1], w)  # (K, pw)
        start = (image_index.astype(np.int64)[:, None, None] * h + top[:, :, None]) * w + left[
            :, None, :
        ]  # first row of x_rows
        height = xp.broadcast_to((bottom - top)[:, :, None], start.shape)
        width = xp.broadcast_to((right - left)[:, None, :], start.shape)

        x_rows = xp.ascontiguousarray(x.transpose(0, 2, 3, 1)).reshape(-1, c)  # a pixel's channels side by side
        y = xp.zeros((*start.shape, c), x.dtype)  # empty bins stay 0
        source = xp.full((*start.shape, c), -1, np.int32)

        def pool(i):
            k = slice(i * ROIS_TOGETHER, (i + 1) * ROIS_TOGETHER)
            max_over_bins(x_rows, start[k], height[k], width[k], w, y[k], source[k])

        parallel_for(pool, -(-len(boxes) // ROIS_TOGETHER), xp)
        return xp.ascontiguousarray(y.transpose(0, 3, 1, 2)), RoIPoolCache(source, x.shape)

    def backward(self, dy, cache):
        if isinstance(cache, DeviceCache):
            return self._backward_by_kernels(dy, cache), None, None
        source, (n, c, h, w) = cache
        check_shape(self, dy=(dy, (len(source), c, *self.output_size)))
        xp = array_module(dy)
        # y = x[source]: dy goes to where the maximum came from; regions overlap, so it adds up there
        rows = xp.zeros((n * h * w + 1, c), dy.dtype)  # the last row takes what empty bins, source -1, would add
        for i in range(0, len(source), ROIS_TOGETHER):  # in pieces whose indices stay in the cache
            place = source[i : i + ROIS_TOGETHER].astype(np.int64) * c + xp.arange(c)
            xp.add.at(rows.reshape(-1), place.ravel(), dy[i : i + ROIS_TOGETHER].transpose(0, 2, 3, 1).ravel())
        return xp.ascontiguousarray(rows[:-1].reshape(n, h, w, c).transpose(0, 3, 1, 2)), None, None

    def _bins(self, low, high, bins, size):
        """(K, bins) first and (K, bins) last + 1 cell of each bin along one axis, cut to 0 .. size."""
        xp = array_module(low)
        start = xp.floor(low * self.spatial_scale + 0.5).astype(np.int64)[:, None]
        end = xp.floor(high * self.spatial_scale + 0.5).astype(np.int64)[:, None]
        length = xp.maximum(end - start + 1, 1)
        i = xp.arange(bins)
        first = i * length // bins
        if self.rounding == "caffe":
            last = -(-(i + 1) * length // bins)  # ceil
        else:
            last = xp.maximum((i + 1) * length // bins, first + 1)
        return xp.clip(start + first, 0, size), xp.clip(start + last, 0, size)

    def _forward_by_kernels(self, x, boxes, image_index):
        xp, (n, c, h, w), (ph, pw), dtype = array_module(x), x.shape, self.output_size, boxes.dtype
        x, boxes = xp.ascontiguousarray(x), xp.ascontiguousarray(boxes)
        image_index = xp.ascontiguousarray(image_index, np.int64)
        bins, count = xp.empty((len(boxes), ph + pw, 2), np.int32), len(boxes) * (ph + pw)
        rounding = float(self.spatial_scale), self.rounding == "split"
        launch("roi_pool", "roi_pool_bins", count, dtype, bins, boxes, count, h, w, ph, pw, *rounding)
        y = xp.empty((len(boxes), c, ph, pw), x.dtype)
        source = xp.empty(y.shape, np.int32)
        arrays = y, source, x, bins, image_index
        launch("roi_pool", "roi_pool_forward", y.size, x.dtype, *arrays, y.size, n, c, h, w, ph, pw)
        return y, DeviceCache(source, x.shape, bins, image_index)

    def _backward_by_kernels(self, dy, cache):
        check_shape(self, dy=(dy, cache.source.shape))
        xp, (_, c, h, w) = array_module(dy), cache.in_shape
        dx, dy = xp.empty(cache.in_shape, dy.dtype), xp.ascontiguousarray(dy)
        arrays, sizes = (dx, dy, cache.source, cache.bins, cache.image_index), (len(dy), c, h, w, *self.output_size)
        launch("roi_pool", "roi_pool_backward", dx.size, dx.dtype, *arrays, dx.size, *sizes)
        return dx


def check_regions(owner, x, boxes, image_index):
    """ValueError unless image_index (K,) names an image of x for each of the boxes (K, 4), and those are finite.

    On a GPU of the last two nothing is said: it would mean to wait for the values. The kernels give NaN there.
    """
    name = type(owner).__name__
    if getattr(image_index, "shape", None) != (len(boxes),) or image_index.dtype.kind not in "iu":
        got = f"{getattr(image_index, 'shape', '')} {getattr(image_index, 'dtype', type(image_index).__name__)}"
        raise ValueError(f"{name}: image_index must be whole numbers of shape ({len(boxes)},), got {got.strip()}")
    if array_module(x, boxes) is not np:
        return
    outside = image_index[(image_index < 0) | (image_index >= len(x))]
    if len(outside):
        raise ValueError(f"{name}: image_index must be in 0 .. {len(x) - 1}, got {int(outside[0])}")
    if not np.isfinite(boxes).all():
        raise ValueError(f"{name}: boxes must be finite, got NaN or infinity")


def max_over_bins(x_rows, start, height, width, row_length, y, source):
    """Fill y and source (K, ph, pw, C): for each place of the largest bin, compare in all bins that have it."""
    xp = array_module(y)
    y, source = y.reshape(-1, y.shape[-1]), source.reshape(-1, y.shape[-1])
    start, height, width = start.ravel(), height.ravel(), width.ravel()
    for i in range(int(height.max()) if len(height) else 0):
        for j in range(int(width.max())):
            bins = xp.flatnonzero((height > i) & (width > j))
            row = start[bins] + i * row_length + j
            value, where = x_rows[row], row[:, None].astype(np.int32)
            if i or j:  # else it is the first to come
                best = y[bins]
                better = ~(value <= best) & (best == best)  # not "value > best": so a NaN wins, and stays
                where = xp.maximum(source[bins], better * where)  # as rows only grow: where better, `where`
                xp.maximum(value, best, out=value)
            y[bins], source[bins] = value, where
