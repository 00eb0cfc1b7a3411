"""The glimpse sensor, what a retina sees of an image, sharp at the centre and coarser around it; and its network.

Locations are (x, y): (-1, -1) is the top left corner of the image, (0, 0) its centre, (1, 1) the bottom right corner.

Reference: Mnih et al. 2014, Recurrent models of visual attention, arXiv:1406.6247, sec. 3.1 and fig. 1 A.
"""

import numpy as np

from nn import Linear, ReLU, Sequential
from nn.dispatch import array_module
from nn.layer import Layer


def summed_area(images: np.ndarray) -> np.ndarray:
    """(N, H + 1, W + 1) float64: at [n, y, x] the sum of the pixels above y and left of x of images (N, H, W).

    Reference: Crow 1984, Summed-area tables for texture mapping.
    """
    xp, (n, h, w) = array_module(images), images.shape
    table = xp.zeros((n, h + 1, w + 1), np.float64)
    table[:, 1:, 1:] = images.astype(np.float64).cumsum(axis=2).cumsum(axis=1)
    return table


def sense(table: np.ndarray, locations: np.ndarray, size: int, scales: int) -> np.ndarray:
    """The sensor rho: (N, scales, size, size), a square patch of each of N images at each scale.

    Patch k is 2^k * size pixels wide, its centre the location, its corners rounded to whole pixels; each of its size x
    size cells is the mean of 2^k x 2^k pixels. Pixels outside the image are 0.

    table: summed areas of the images, so that a cell is a difference of four elements; locations (N, 2).
    """
    xp, (n, h, w) = array_module(table), (len(table), table.shape[1] - 1, table.shape[2] - 1)
    x1, y1 = corners(locations, (h, w), size, scales)
    image, patches = xp.arange(n)[:, None, None], []
    for k in range(scales):
        edges = 2**k * xp.arange(size + 1)
        x, y = (xp.clip(first[:, k, None] + edges, 0, end) for first, end in ((x1, w), (y1, h)))
        sums = table[image, y[:, :, None], x[:, None, :]]  # an edge outside the image has the sum at the border
        patches.append(xp.diff(xp.diff(sums, axis=1), axis=2) / 4**k)
    return xp.stack(patches, axis=1)


def corners(locations, image_size: tuple[int, int], size: int, scales: int) -> tuple[np.ndarray, np.ndarray]:
    """x1 and y1 (..., scales) int64, the top left corners of the patches at locations (..., 2), in pixels."""
    xp, (h, w) = array_module(locations), image_size
    widths = size * 2 ** xp.arange(scales)
    x, y = ((locations[..., i, None] + 1) / 2 * side - widths / 2 for i, side in enumerate((w, h)))
    return tuple(xp.floor(first + 0.5).astype(np.int64) for first in (x, y))


def glimpse_boxes(locations: np.ndarray, image_size: tuple[int, int], size: int, scales: int) -> np.ndarray:
    """(..., scales, 4): the outlines (x1, y1, x2, y2) of the patches at locations (..., 2), in pixels."""
    xp = array_module(locations)
    x1, y1 = corners(locations, image_size, size, scales)
    widths = size * 2 ** xp.arange(scales)
    return xp.stack([x1, y1, x1 + widths, y1 + widths], axis=-1).astype(np.float32)


class GlimpseNetwork(Layer):
    """g = relu(what(patches) + where(locations)).    patches (N, P), locations (N, 2), g (N, G).

    `what` and `where` are linear, ReLU, linear, with `units` units in between.

    Reference: Mnih et al. 2014, sec. 4, "Glimpse network": 128 units, G = 256.
    """

    def __init__(self, patch_size: int, units: int, out_units: int, *, rng: np.random.Generator):
        self.what, self.where = (
            Sequential(Linear(inputs, units, rng=rng), ReLU(), Linear(units, out_units, rng=rng))
            for inputs in (patch_size, 2)
        )
        self.relu = ReLU()

    def forward(self, patches, locations, training=True):
        what, c_what = self.what.forward(patches, training)
        where, c_where = self.where.forward(locations, training)
        g, c_relu = self.relu.forward(what + where, training)
        return g, (c_what, c_where, c_relu)

    def backward(self, dy, cache):
        c_what, c_where, c_relu = cache
        dsum = self.relu.backward(dy, c_relu)
        return self.what.backward(dsum, c_what), self.where.backward(dsum, c_where)

    def backward_parameters(self, dy, cache):
        c_what, c_where, c_relu = cache
        dsum = self.relu.backward(dy, c_relu)
        self.what.backward_parameters(dsum, c_what)
        self.where.backward_parameters(dsum, c_where)
