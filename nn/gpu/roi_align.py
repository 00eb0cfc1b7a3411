"""RoIAlign on a GPU: the launches of nn/gpu/roi_align.cu.

The average goes by matrices as nn.cpu.roi_matrices has them; the backward has a thread for each element of dx that goes
through the regions that reach it, so nothing is added up in an order that could change.
"""

from typing import NamedTuple

import numpy as np

from nn.dispatch import array_module
from nn.gpu.kernels import launch
from nn.layer import check_shape


class DeviceCache(NamedTuple):
    """What backward needs of a call: the map's shape, the regions, and what the kernels found out about them."""

    in_shape: tuple[int, ...]
    boxes: np.ndarray
    image_index: np.ndarray
    means: np.ndarray  # (K, ph * H + pw * W): the weight of each row in each row of bins, then of columns
    ranges: np.ndarray  # (K, ph + pw, 2): first and last + 1 row that each row of bins may weigh, then columns
    winner: np.ndarray | None  # (K, C, ph, pw), reduction="max": which sample each maximum is, -1 where there is none


def pool_by_kernels(layer, x, boxes, image_index):
    """RoIAlign.forward for CuPy's arrays."""
    xp, (_, c, h, w), (ph, pw) = array_module(x), x.shape, layer.output_size
    x, boxes = xp.ascontiguousarray(x), xp.ascontiguousarray(boxes)
    image_index = xp.ascontiguousarray(image_index, np.int64)
    means = xp.empty((len(boxes), ph * h + pw * w), x.dtype)
    ranges, bins = xp.empty((len(boxes), ph + pw, 2), np.int32), len(boxes) * (ph + pw)
    _launch("means", bins, x.dtype, means, ranges, boxes, bins, h, w, ph, pw, *_options(layer))
    y = xp.empty((len(boxes), c, ph, pw), x.dtype)
    sizes, winner = (y.size, *x.shape, ph, pw), None
    if layer.reduction == "average":
        _launch("average_forward", y.size, y.dtype, y, x, means, ranges, image_index, *sizes)
    else:
        winner = xp.empty(y.shape, np.int32)
        _launch("max_forward", y.size, y.dtype, y, winner, x, boxes, image_index, *sizes, *_options(layer))
    return y, DeviceCache(x.shape, boxes, image_index, means, ranges, winner)


def pool_by_kernels_backward(layer, dy, cache: DeviceCache):
    """The gradient of the map in RoIAlign.backward."""
    shape, boxes, image_index, means, ranges, winner = cache
    check_shape(layer, dy=(dy, (len(boxes), shape[1], *layer.output_size)))
    xp = array_module(dy)
    dx, dy = xp.empty(shape, dy.dtype), xp.ascontiguousarray(dy)
    sizes = dx.size, len(boxes), *shape[1:], *layer.output_size
    if layer.reduction == "average":
        _launch("average_backward", dx.size, dx.dtype, dx, dy, means, ranges, image_index, *sizes)
    else:
        arrays = dx, dy, winner, boxes, ranges, image_index
        _launch("max_backward", dx.size, dx.dtype, *arrays, *sizes, *_options(layer))
    return dx


def _options(layer):
    return layer.spatial_scale, layer.sampling_ratio, layer.aligned


def _launch(name, *args):
    launch("roi_align", f"roi_align_{name}", *args)
