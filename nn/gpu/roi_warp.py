"""RoI warping for CuPy: the kernels of nn/gpu/roi_warp.cu and the sampler."""

import numpy as np

from nn.dispatch import array_module
from nn.gpu.kernels import launch
from nn.gpu.kernels import use_kernels as takes
from nn.gpu.sampler import Points, map_gradient, point_gradients, sample_maps

__all__ = ["roi_warp", "roi_warp_backward", "takes"]


def roi_warp(x, boxes, image_index, output_size, scale, aligned):
    """As in nn.layers.roi_warp; y is NaN for boxes that are not finite and for images that x has not."""
    x = array_module(x).ascontiguousarray(x)
    y = sample_maps(x, _points(boxes, image_index, output_size, scale, aligned))
    return y.reshape(*y.shape[:2], *output_size)


def roi_warp_backward(dy, x, boxes, image_index, scale, aligned):
    """As in nn.layers.roi_warp."""
    xp, output_size = array_module(dy), dy.shape[2:]
    points = _points(boxes, image_index, output_size, scale, aligned)
    x, dy = xp.ascontiguousarray(x), xp.ascontiguousarray(dy).reshape(*dy.shape[:2], points.row.shape[1])
    drow, dcolumn, _ = point_gradients(dy, x, points)
    dboxes = xp.empty(boxes.shape, boxes.dtype)
    arrays, sizes = (dboxes, drow, dcolumn), (dboxes.size, *output_size)
    launch("roi_warp", "roi_warp_box_gradients", dboxes.size, dboxes.dtype, *arrays, *sizes, scale)
    return map_gradient(dy, x.shape, points), dboxes


def _points(boxes, image_index, output_size, scale, aligned):
    """The Points of all regions."""
    xp, (ph, pw) = array_module(boxes), output_size
    row, column = xp.empty((2, len(boxes), ph * pw), boxes.dtype)
    arrays, position = (row, column, xp.ascontiguousarray(boxes)), (scale, 0.5 * aligned)
    launch("roi_warp", "roi_warp_points", row.size, row.dtype, *arrays, row.size, ph, pw, *position)
    return Points(row, column, xp.ascontiguousarray(image_index, np.int64))
