"""RoI warping: a bilinear crop of each region, with gradients to the map and to the coordinates of the boxes.

nn/cpu/roi_warp.py and nn/gpu/roi_warp.py hold the same functions, faster.
"""

from typing import NamedTuple

import numpy as np

from nn.dispatch import array_module, functions
from nn.layer import Layer, check_shape, pair
from nn.layers.avg_pool import check_pixels
from nn.layers.bilinear import map_gradient, position_gradients, sample, sampled_dtype
from nn.layers.grid_sample import check_bool
from nn.layers.roi_align import check_scale
from nn.layers.roi_pool import check_regions


def roi_warp(x, boxes, image_index, output_size, scale, aligned):
    """y (K, C, ph, pw): the maps x (N, C, H, W) at the ph x pw points of each region, as RoIWarp defines them."""
    y = array_module(x).empty((len(boxes), x.shape[1], *output_size), sampled_dtype(x, boxes))
    for k, image in enumerate(image_index.tolist()):
        row, column = points(boxes[k], output_size, scale, aligned)
        y[k] = sample(x[image], row.ravel(), column.ravel()).reshape(y[k].shape)
    return y


def roi_warp_backward(dy, x, boxes, image_index, scale, aligned):
    """dx (N, C, H, W) and dboxes (K, 4) for dy (K, C, ph, pw)."""
    xp, (c, ph, pw) = array_module(dy), dy.shape[1:]
    dx, dboxes = xp.zeros(x.shape, dy.dtype), xp.empty(boxes.shape, boxes.dtype)
    down, across = fractions(boxes, (ph, pw))
    for k, image in enumerate(image_index.tolist()):
        row, column = (p.ravel() for p in points(boxes[k], (ph, pw), scale, aligned))
        dvalues = dy[k].reshape(c, ph * pw)  # y[k] = sample(x[image], row, column)
        dx[image] += map_gradient(dvalues, row, column, x.shape[2:])  # regions overlap: gradients add up
        drow, dcolumn = (d.reshape(ph, pw) for d in position_gradients(dvalues, x[image], row, column))
        # row = scale (y1 (1 - down) + y2 down) - a, the same for all columns; and column likewise
        dboxes[k, 1], dboxes[k, 3] = scale * (drow.sum(axis=1) @ (1 - down)), scale * (drow.sum(axis=1) @ down)
        dboxes[k, 0] = scale * (dcolumn.sum(axis=0) @ (1 - across))
        dboxes[k, 2] = scale * (dcolumn.sum(axis=0) @ across)
    return dx, dboxes


def points(box, output_size, scale, aligned):
    """row and column (ph, pw) of the points of one box (4,), in cells of x."""
    (x1, y1, x2, y2), (down, across) = box, fractions(box, output_size)
    row = (y1 * (1 - down) + y2 * down) * scale - 0.5 * aligned
    column = (x1 * (1 - across) + x2 * across) * scale - 0.5 * aligned
    return array_module(box).broadcast_arrays(row[:, None], column)


def fractions(boxes, output_size):
    """(ph,) and (pw,): how far down and across a box each point lies, 0 .. 1."""
    xp = array_module(boxes)
    return [((xp.arange(n) + 0.5) / n).astype(boxes.real.dtype) for n in output_size]


class RoIWarpCache(NamedTuple):
    """The inputs: computing the positions again is faster than keeping them."""

    x: np.ndarray
    boxes: np.ndarray
    image_index: np.ndarray


class RoIWarp(Layer):
    """y[k, :, i, j] = x[image_index[k]] at one point of region k, by bilinear interpolation.

    x (N, C, H, W), boxes (K, 4), image_index (K,), y (K, C, ph, pw).
    Signature: RoIWarp(output_size, spatial_scale=1.0, aligned=False);
    y, cache = forward(x, boxes, image_index); dx, dboxes, None = backward(dy, cache).

    boxes are (x1, y1, x2, y2) in image pixels. The points are the centres of ph x pw equal parts of the box,

        row    = spatial_scale * (y1 + (i + 1/2) / ph * (y2 - y1)) - a,    i = 0 .. ph - 1
        column = spatial_scale * (x1 + (j + 1/2) / pw * (x2 - x1)) - a,    j = 0 .. pw - 1

    in cells of x, with a = 0, or with aligned=True a = 1/2, since cell i has its centre at i + 0.5. That is the paper's
    x + u / W' * w, with x the middle of the box, w its width and u from -W'/2 to W'/2 in steps of 1. Outside, x is
    zeros, so y is continuous in the box everywhere; where a point stands right on a row or column of cells, the
    gradient is the one to the right. Boxes of no or negative size are as good as others. Max pooling, which the paper
    puts behind it, is a layer of its own.

    Raises ValueError for arrays of other shapes, an image_index outside 0 .. N - 1, boxes that are not finite. On a
    GPU, where the host would have to wait for these values, y is NaN for the last two.

    Reference: Dai et al. 2016, Instance-aware Semantic Segmentation via Multi-task Network Cascades, arXiv:1512.04412,
    sec. 4 ("Differentiable RoI Warping Layers").
    """

    def __init__(self, output_size, spatial_scale: float = 1.0, aligned: bool = False):
        self.output_size = pair(self, "output_size", output_size, 1)
        self.spatial_scale, self.aligned = check_scale(self, spatial_scale), check_bool(self, "aligned", aligned)

    def forward(self, x, boxes, image_index, training=True):
        check_shape(self, x=(x, ("N", "C", "H", "W")), boxes=(boxes, ("K", 4)))
        check_regions(self, x, boxes, image_index)
        check_pixels(self, x)
        ops = functions(__name__, x, boxes)
        y = ops.roi_warp(x, boxes, image_index, self.output_size, self.spatial_scale, self.aligned)
        return y, RoIWarpCache(x, boxes, image_index)

    def backward(self, dy, cache):
        x, boxes, _ = cache
        check_shape(self, dy=(dy, (len(boxes), x.shape[1], *self.output_size)))
        ops = functions(__name__, x, boxes, dy)
        dx, dboxes = ops.roi_warp_backward(dy, *cache, self.spatial_scale, self.aligned)
        return dx, dboxes, None
