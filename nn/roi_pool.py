"""RoI max pooling."""

from typing import NamedTuple

import numpy as np

from nn.backend import array_module, parallel_for
from nn.layer import Layer, check_shape, pair

ROIS_TOGETHER = 16  # regions that one task pools


class RoIPoolCache(NamedTuple):
    """Where each maximum came from: rows of the flattened (N*H*W, C) input (K, ph, pw, C), -1 where a bin is empty."""

    source: np.ndarray
    in_shape: tuple[int, ...]


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

    Raises ValueError for arrays of other shapes, an image_index outside 0 .. N - 1, boxes that are not finite.

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
        self._check_regions(x, boxes, image_index)
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

    def _check_regions(self, x, boxes, image_index):
        if image_index.shape != (len(boxes),) or image_index.dtype.kind not in "iu":
            got = f"{image_index.shape} {image_index.dtype}"
            raise ValueError(f"RoIPool: image_index must be whole numbers of shape ({len(boxes)},), got {got}")
        outside = image_index[(image_index < 0) | (image_index >= len(x))]
        if len(outside):
            raise ValueError(f"RoIPool: image_index must be in 0 .. {len(x) - 1}, got {int(outside[0])}")
        if not array_module(boxes).isfinite(boxes).all():
            raise ValueError("RoIPool: boxes must be finite, got NaN or infinity")


def max_over_bins(x_rows, start, height, width, row_length, y, source):
    """Fill y and source (K, ph, pw, C): for each place of the largest bin, compare in all bins that have it."""
    xp = array_module(y)
    y, source = y.reshape(-1, y.shape[-1]), source.reshape(-1, y.shape[-1])
    start, height, width = start.ravel(), height.ravel(), width.ravel()
    for i in range(int(height.max(initial=0))):
        for j in range(int(width.max(initial=0))):
            bins = xp.flatnonzero((height > i) & (width > j))
            row = start[bins] + i * row_length + j
            value, where = x_rows[row], row[:, None].astype(np.int32)
            if i or j:  # else it is the first to come
                best = y[bins]
                better = ~(value <= best) & (best == best)  # not "value > best": so a NaN wins, and stays
                where = xp.maximum(source[bins], better * where)  # as rows only grow: where better, `where`
                xp.maximum(value, best, out=value)
            y[bins], source[bins] = value, where
