"""RoI max pooling: regions of any size, each divided into the same grid of bins, and the largest value of every bin.

nn/cpu/roi_pool.py and nn/gpu/roi_pool.py hold the same functions, faster.
"""

from typing import NamedTuple

import numpy as np

from nn.dispatch import array_module, functions
from nn.layer import Layer, check_shape, pair


class Regions(NamedTuple):
    """K regions and how they are divided into bins."""

    boxes: np.ndarray  # (K, 4): x1, y1, x2, y2 in pixels of the image
    image_index: np.ndarray  # (K,): the image that each region is in
    output_size: tuple[int, int]  # bins of each: ph, pw
    spatial_scale: float  # cells of x per pixel
    rounding: str  # "caffe" or "split"


def roi_pool(x, regions: Regions):
    """y (K, C, ph, pw) = the largest value of x (N, C, H, W) in each bin of each region; source, where it came from.

    source (K, C, ph, pw) is the flat position in the H*W of its plane. A bin outside of x has y = 0, source = -1.
    """
    boxes, image_index, (ph, pw), scale, rounding = regions
    xp, (_, c, h, w) = array_module(x), x.shape
    y = xp.zeros((len(boxes), c, ph, pw), x.dtype)
    source = xp.full(y.shape, -1, np.int32)
    corners = xp.floor(boxes * scale + 0.5).astype(np.int64).tolist()  # in cells; x2 and y2 are the last ones inside
    for k, ((x1, y1, x2, y2), image) in enumerate(zip(corners, image_index.tolist())):
        height, width = max(y2 - y1 + 1, 1), max(x2 - x1 + 1, 1)
        for i, j in np.ndindex(ph, pw):
            top, left = y1 + i * height // ph, x1 + j * width // pw
            if rounding == "caffe":  # up to ceil((i + 1) height / ph), so neighbours may share a row
                bottom, right = y1 - (-(i + 1) * height // ph), x1 - (-(j + 1) * width // pw)
            else:
                bottom = max(y1 + (i + 1) * height // ph, top + 1)
                right = max(x1 + (j + 1) * width // pw, left + 1)
            top, bottom, left, right = max(top, 0), min(bottom, h), max(left, 0), min(right, w)
            if top < bottom and left < right:
                values = x[image, :, top:bottom, left:right].reshape(c, (bottom - top) * (right - left))
                best = values.real.argmax(axis=1)  # (C,): the first in reading order of equal ones, and of NaNs
                y[k, :, i, j] = values[xp.arange(c), best]
                row, column = xp.divmod(best, right - left)
                source[k, :, i, j] = (top + row) * w + left + column
    return y, source


def roi_pool_backward(dy, source, regions: Regions, in_shape):
    """dx, of in_shape (N, C, H, W), for dy (K, C, ph, pw): each dy goes to where its maximum came from."""
    xp, (n, c, h, w) = array_module(dy), in_shape
    dx, channel = xp.zeros((n, c, h * w), dy.dtype), xp.arange(c)
    for k, image in enumerate(regions.image_index.tolist()):
        for i, j in np.ndindex(dy.shape[2:]):
            position = source[k, :, i, j]
            some = position >= 0  # all channels, or none where the bin is empty
            dx[image, channel[some], position[some]] += dy[k, some, i, j]  # y = x[source]; regions overlap: += adds up
    return dx.reshape(in_shape)


class RoIPool(Layer):
    """y = max over each of ph x pw bins of each region.

    x (N, C, H, W), boxes (K, 4), image_index (K,), y (K, C, ph, pw).

    boxes are (x1, y1, x2, y2) in image pixels; times spatial_scale (1 / stride of the features) they are in cells of x,
    where each corner is rounded, floor(v + 0.5), and the end is inclusive: a region has end - start + 1 rows, at least
    one. A region of h rows is divided into ph bins in one of two ways, `rounding`:

    - "caffe" (the paper's code): bin i has rows floor(i h / ph) up to, not including, ceil((i + 1) h / ph). Bins may
      share a row: 5 rows in 2 bins are [0, 3) and [2, 5).
    - "split" (a partition): rows floor(i h / ph) up to floor((i + 1) h / ph), so no row is in two bins: [0, 2) and
      [2, 5). Where h < ph a bin still has one row, shared.

    Bins are cut at the borders of x; one that lies wholly outside gives 0. Of equal values the first in reading order
    gets the gradient. backward returns (dx, None, None): no gradient goes to the boxes.

    Raises ValueError for arrays of other shapes, an image_index outside 0 .. N - 1, boxes that are not finite. On a
    GPU, where the host would have to wait for these values, y is NaN for the last two.

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
        regions = Regions(boxes, image_index, self.output_size, self.spatial_scale, self.rounding)
        y, source = functions(__name__, x, boxes).roi_pool(x, regions)
        return y, (source, regions, x.shape)

    def backward(self, dy, cache):
        source, regions, in_shape = cache
        check_shape(self, dy=(dy, source.shape))
        dx = functions(__name__, dy, regions.boxes).roi_pool_backward(dy, source, regions, in_shape)
        return dx, None, None


def check_regions(owner, x, boxes, image_index):
    """ValueError unless image_index (K,) names an image of x for each of the boxes (K, 4), and those are finite.

    On a GPU the last two are not checked: the host would have to wait for the values. The kernels give NaN there.
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
