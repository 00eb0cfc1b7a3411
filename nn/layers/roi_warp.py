"""RoI warping: a bilinear crop of each region, with gradients to the map and to the coordinates of the boxes.

On a GPU by the kernels of nn/gpu/roi_warp.cu and the sampler of nn.gpu.bilinear.
"""

from typing import NamedTuple

import numpy as np

from nn.dispatch import array_module
from nn.gpu.bilinear import Points, map_gradient, point_gradients, sample_maps
from nn.gpu.kernels import launch, use_kernels
from nn.layer import Layer, check_shape, pair
from nn.layers.bilinear import check_pixels, sample, sample_gradients, to_maps, to_rows
from nn.layers.grid_sample import check_bool
from nn.layers.roi_align import check_scale, first_rows
from nn.layers.roi_pool import check_regions


class RoIWarpCache(NamedTuple):
    """The inputs: positions are quicker computed again than kept."""

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
    GPU, where looking at values would mean to wait for them, y is NaN for the last two.

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
        if use_kernels(x, boxes):
            x = array_module(x).ascontiguousarray(x)
            y = sample_maps(x, self._points_by_kernel(boxes, image_index))
            return y.reshape(*y.shape[:2], *self.output_size), RoIWarpCache(x, boxes, image_index)
        y_rows = sample(to_rows(x), *self._points(x, boxes, image_index), x.shape[2:])
        return to_maps(y_rows, (len(boxes), x.shape[1], *self.output_size)), RoIWarpCache(x, boxes, image_index)

    def backward(self, dy, cache):
        x, boxes, image_index = cache
        check_shape(self, dy=(dy, (len(boxes), x.shape[1], *self.output_size)))
        if use_kernels(x, boxes, dy):
            return self._backward_by_kernels(dy, cache)
        xp, points = array_module(dy), self._points(x, boxes, image_index)
        dx_rows, drow, dcolumn = sample_gradients(to_rows(dy), to_rows(x), *points, x.shape[2:])
        drow, dcolumn = (d.reshape(len(boxes), *self.output_size) for d in (drow, dcolumn))
        # row = scale (y1 (1 - f_i) + y2 f_i) - a, the same for all columns; and columns likewise
        (y1, y2), (x1, x2) = (
            (d @ (1 - f) * self.spatial_scale, d @ f * self.spatial_scale)
            for d, f in zip((drow.sum(axis=2), dcolumn.sum(axis=1)), self._fractions(boxes))
        )
        return to_maps(dx_rows, x.shape), xp.stack([x1, y1, x2, y2], axis=1), None

    def _points(self, x, boxes, image_index):
        """row, column (K*ph*pw,) and the row of x_rows at which the map of each begins."""
        xp, shape = array_module(x), (len(boxes), *self.output_size)
        down, across = self._fractions(boxes)
        row = boxes[:, 1:2] * (1 - down) + boxes[:, 3:4] * down
        column = boxes[:, 0:1] * (1 - across) + boxes[:, 2:3] * across
        row, column = (p * self.spatial_scale - 0.5 * self.aligned for p in (row, column))
        plane = first_rows(image_index, x.shape)[:, None, None]
        return (xp.broadcast_to(p, shape).ravel() for p in (row[:, :, None], column[:, None, :], plane))

    def _fractions(self, boxes):
        """(ph,) and (pw,): how far down and across the box each point lies, 0 .. 1."""
        xp = array_module(boxes)
        return (((xp.arange(n) + 0.5) / n).astype(boxes.real.dtype) for n in self.output_size)

    def _points_by_kernel(self, boxes, image_index):
        """The Points of all regions, as `_points` has them."""
        xp, (ph, pw) = array_module(boxes), self.output_size
        row, column = xp.empty((2, len(boxes), ph * pw), boxes.dtype)
        arrays, place = (row, column, xp.ascontiguousarray(boxes)), (self.spatial_scale, 0.5 * self.aligned)
        launch("roi_warp", "roi_warp_points", row.size, row.dtype, *arrays, row.size, ph, pw, *place)
        return Points(row, column, xp.ascontiguousarray(image_index, np.int64))

    def _backward_by_kernels(self, dy, cache):
        x, boxes, image_index = cache
        xp, points = array_module(dy), self._points_by_kernel(boxes, image_index)
        dy = xp.ascontiguousarray(dy).reshape(len(boxes), x.shape[1], points.row.shape[1])
        drow, dcolumn, _ = point_gradients(dy, x, points)
        dboxes = xp.empty(boxes.shape, boxes.dtype)
        arrays, sizes = (dboxes, drow, dcolumn), (dboxes.size, *self.output_size)
        launch("roi_warp", "roi_warp_box_gradients", dboxes.size, dboxes.dtype, *arrays, *sizes, self.spatial_scale)
        return map_gradient(dy, x.shape, points), dboxes, None
