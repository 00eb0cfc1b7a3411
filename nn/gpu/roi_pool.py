"""RoI max pooling for CuPy: the kernels of nn/gpu/roi_pool.cu."""

import numpy as np

from nn.dispatch import array_module
from nn.gpu.kernels import launch, use_kernels
from nn.gpu.regions import regions_by_image
from nn.layers.roi_pool import Regions


def takes(x, boxes) -> bool:
    """Whether kernels take both; they need not be of one type."""
    return use_kernels(x) and use_kernels(boxes)


def roi_pool(x, regions: Regions):
    """As in nn.layers.roi_pool; y is NaN for boxes that are not finite and for images that x has not."""
    xp, (n, c, h, w), (ph, pw) = array_module(x), x.shape, regions.output_size
    y = xp.empty((len(regions.boxes), c, ph, pw), x.dtype)
    source = xp.empty(y.shape, np.int32)
    arrays = y, source, xp.ascontiguousarray(x), *_bins_and_images(regions, h, w)
    launch("roi_pool", "roi_pool_forward", y.size, x.dtype, *arrays, y.size, n, c, h, w, ph, pw)
    return y, source


def roi_pool_backward(dy, source, regions: Regions, in_shape):
    """As in nn.layers.roi_pool."""
    xp, (_, c, h, w) = array_module(dy), in_shape
    dx = xp.empty(in_shape, dy.dtype)
    bins, image_index = _bins_and_images(regions, h, w)
    arrays = dx, xp.ascontiguousarray(dy), source, bins, *regions_by_image(image_index, len(dx))
    sizes = dx.size, c, h, w, *regions.output_size
    launch("roi_pool", "roi_pool_backward", dx.size, dx.dtype, *arrays, *sizes)
    return dx


def _bins_and_images(regions, h, w):
    """bins (K, ph + pw, 2): first and last + 1 row of each bin, then columns; image_index (K,) as int64."""
    boxes, image_index, (ph, pw), scale, rounding = regions
    xp, count = array_module(boxes), len(boxes) * (ph + pw)
    bins, boxes = xp.empty((len(boxes), ph + pw, 2), np.int32), xp.ascontiguousarray(boxes)
    sizes = count, h, w, ph, pw
    launch("roi_pool", "roi_pool_bins", count, boxes.dtype, bins, boxes, *sizes, float(scale), rounding == "split")
    return bins, xp.ascontiguousarray(image_index, np.int64)
