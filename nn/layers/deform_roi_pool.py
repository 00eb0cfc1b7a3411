"""Deformable RoI pooling: each bin of a region looks where an offset of its own, learned from the data, sends it."""

from typing import NamedTuple

import numpy as np

from nn.dispatch import array_module
from nn.layer import Layer, check_shape, pair, positive
from nn.layers.avg_pool import check_pixels
from nn.layers.bilinear import corners
from nn.layers.roi_align import check_scale
from nn.layers.roi_pool import check_regions


def bin_points(boxes, offset, samples, scale, gamma):
    """row, column (K, ph, pw, g, g), in cells: g x g points in each bin of the regions, moved by the bin's offset.

    boxes (K, 4), offset (K, 2, ph, pw). Without offset the points are the centres of g x g parts of each of ph x pw
    parts of the box; gamma offset is in heights and widths of the box.
    """
    xp, (ph, pw) = array_module(boxes, offset), offset.shape[2:]
    x1, y1, x2, y2 = (scale * boxes.T)[:, :, None, None, None, None]  # each (K, 1, 1, 1, 1)
    down = (xp.arange(ph)[:, None, None, None] + (xp.arange(samples)[:, None] + 0.5) / samples) / ph
    across = (xp.arange(pw)[:, None, None] + (xp.arange(samples) + 0.5) / samples) / pw
    moves = gamma * offset[..., None, None]  # (K, 2, ph, pw, 1, 1)
    row = y1 + (y2 - y1) * (down.astype(boxes.real.dtype) + moves[:, 0]) - 0.5  # cell i has its centre at i + 0.5
    column = x1 + (x2 - x1) * (across.astype(boxes.real.dtype) + moves[:, 1]) - 0.5
    return xp.broadcast_arrays(row, column)


class DeformRoIPoolCache(NamedTuple):
    """The inputs: computing the positions again is faster than keeping them."""

    x: np.ndarray
    boxes: np.ndarray
    image_index: np.ndarray
    offset: np.ndarray


class DeformRoIPool(Layer):
    """y[k, :, i, j] = mean of x[image_index[k]] over the points of bin (i, j), moved by offset[k, :, i, j].

    x (N, C, H, W), boxes (K, 4), image_index (K,), offset (K, 2, ph, pw), y (K, C, ph, pw).
    Signature: DeformRoIPool(output_size, spatial_scale=1.0, sampling_ratio=2, gamma=0.1);
    y, cache = forward(x, boxes, image_index, offset); dx, None, None, doffset = backward(dy, cache).

    boxes are (x1, y1, x2, y2) in image pixels. A bin is one of ph x pw equal parts of the region; sampling_ratio^2
    evenly spaced points in it are interpolated bilinearly, zeros outside of x. offset[k, 0] moves a bin down and
    offset[k, 1] to the right, by gamma times the region's height and width. Offsets of 0 make it RoIAlign with
    aligned=True, but for points up to a cell outside of x, where RoIAlign takes the border's value. No gradient
    goes to the boxes. Where offsets come from is the network's business: in the paper a fully connected layer on what
    was pooled without them.

    Raises ValueError for arrays of other shapes, an image_index outside 0 .. N - 1, boxes that are not finite.

    Reference: Dai et al. 2017, Deformable convolutional networks, arXiv:1703.06211, sec. 2.2, eq. 5 and 6.
    """

    def __init__(self, output_size, spatial_scale: float = 1.0, sampling_ratio: int = 2, gamma: float = 0.1):
        positive(self, sampling_ratio=sampling_ratio)
        self.output_size = pair(self, "output_size", output_size, 1)
        self.spatial_scale, self.sampling_ratio, self.gamma = check_scale(self, spatial_scale), sampling_ratio, gamma

    def forward(self, x, boxes, image_index, offset, training=True):
        check_shape(self, x=(x, ("N", "C", "H", "W")), boxes=(boxes, ("K", 4)))
        check_shape(self, offset=(offset, (len(boxes), 2, *self.output_size)))
        check_regions(self, x, boxes, image_index)
        check_pixels(self, x)
        y = 0
        for image, i, j, weight, _, _ in self._corners(x, boxes, image_index, offset):
            y = y + weight[:, None] * x[image, :, i, j]  # (points, C)
        y = y.reshape(len(boxes), *self.output_size, self.sampling_ratio**2, x.shape[1]).mean(axis=3)
        return y.transpose(0, 3, 1, 2).astype(x.dtype), DeformRoIPoolCache(x, boxes, image_index, offset)

    def backward(self, dy, cache):
        x, boxes, image_index, offset = cache
        xp, count, (ph, pw) = array_module(dy), self.sampling_ratio**2, self.output_size
        check_shape(self, dy=(dy, (len(boxes), x.shape[1], ph, pw)))
        dvalues = (dy / count).transpose(0, 2, 3, 1)  # y = mean over the points of a bin
        dvalues = xp.repeat(dvalues.reshape(-1, x.shape[1]), count, axis=0)  # (points, C), a bin's points together
        dx, drow, dcolumn = xp.zeros((len(x), *x.shape[2:], x.shape[1]), dy.dtype), 0, 0
        for image, i, j, weight, by_row, by_column in self._corners(x, boxes, image_index, offset):
            xp.add.at(dx, (image, i, j), weight[:, None] * dvalues)  # y = y + weight x: points share cells
            dweight = (dvalues * x[image, :, i, j]).sum(axis=1)
            drow, dcolumn = drow + dweight * by_row, dcolumn + dweight * by_column
        # row = y1 + (y2 - y1) (down + gamma offset[0]) - 0.5, for all points of a bin
        down, across = (d.reshape(len(boxes), ph, pw, count).sum(axis=3) for d in (drow, dcolumn))
        width, height = (self.gamma * self.spatial_scale * (boxes[:, 2:] - boxes[:, :2])).T[:, :, None, None]
        doffset = xp.stack([down * height, across * width], axis=1).astype(offset.dtype)
        return dx.transpose(0, 3, 1, 2), None, None, doffset

    def _corners(self, x, boxes, image_index, offset):
        """(image, i, j, weight, by_row, by_column), (points,) each, for the four cells around all points."""
        row, column = bin_points(boxes, offset, self.sampling_ratio, self.spatial_scale, self.gamma)
        each = row.size // max(len(boxes), 1)
        image = array_module(x).repeat(image_index, each)
        return ((image, *corner) for corner in corners(row.ravel(), column.ravel(), x.shape[2:]))
