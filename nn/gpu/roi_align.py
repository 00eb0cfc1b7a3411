"""RoIAlign for CuPy: the launches of nn/gpu/roi_align.cu.

The average goes by matrices as nn.cpu.roi_matrices has them; the backward has a thread for each element of dx that goes
through the regions that reach it, so nothing is added up in an order that could change.
"""

import numpy as np

from nn.dispatch import array_module
from nn.gpu.kernels import launch
from nn.gpu.kernels import use_kernels as takes
from nn.gpu.regions import regions_by_image
from nn.layers.roi_align import Regions

__all__ = ["roi_align", "roi_align_backward", "takes"]


def roi_align(x, regions: Regions):
    """As in nn.layers.roi_align; y is NaN for boxes that are not finite and for images that x has not."""
    xp, x = array_module(x), array_module(x).ascontiguousarray(x)
    boxes, image_index, means, ranges = _prepared(regions, x.shape[2:])
    y = xp.empty((len(boxes), x.shape[1], *regions.output_size), x.dtype)
    sizes, winner = (y.size, *x.shape, *regions.output_size), None
    if regions.reduction == "average":
        _launch("average_forward", y.size, y.dtype, y, x, means, ranges, image_index, *sizes)
    else:
        winner = xp.empty(y.shape, np.int64)
        _launch("max_forward", y.size, y.dtype, y, winner, x, boxes, image_index, *sizes, *_options(regions))
    return y, winner


def roi_align_backward(dy, winner, regions: Regions, in_shape):
    """As in nn.layers.roi_align."""
    xp = array_module(dy)
    dx, dy = xp.empty(in_shape, dy.dtype), xp.ascontiguousarray(dy)
    boxes, image_index, means, ranges = _prepared(regions, in_shape[2:])
    sizes, by_image = (dx.size, *in_shape[1:], *regions.output_size), regions_by_image(image_index, in_shape[0])
    if regions.reduction == "average":
        _launch("average_backward", dx.size, dx.dtype, dx, dy, means, ranges, *by_image, *sizes)
    else:
        arrays = dx, dy, winner, boxes, ranges, *by_image
        _launch("max_backward", dx.size, dx.dtype, *arrays, *sizes, *_options(regions))
    return dx


def _prepared(regions, size):
    """boxes and image_index as kernels read them; means and ranges, which the kernel roi_align_means finds.

    means (K, ph * H + pw * W): the weight of each row in each row of bins, then of columns. ranges (K, ph + pw, 2):
    the first and last + 1 row that each row of bins may weigh, then columns.
    """
    xp, (h, w), (ph, pw) = array_module(regions.boxes), size, regions.output_size
    boxes, image_index = xp.ascontiguousarray(regions.boxes), xp.ascontiguousarray(regions.image_index, np.int64)
    means = xp.empty((len(boxes), ph * h + pw * w), boxes.dtype)
    ranges, bins = xp.empty((len(boxes), ph + pw, 2), np.int32), len(boxes) * (ph + pw)
    _launch("means", bins, boxes.dtype, means, ranges, boxes, bins, h, w, ph, pw, *_options(regions))
    return boxes, image_index, means, ranges


def _options(regions):
    return regions.spatial_scale, regions.sampling_ratio, regions.aligned


def _launch(name, *args):
    launch("roi_align", f"roi_align_{name}", *args)
