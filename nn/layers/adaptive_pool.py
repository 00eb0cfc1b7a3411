"""Pooling into a given grid of bins whatever the size of the image, and the pyramid made of it.

nn/cpu/adaptive_pool.py and nn/gpu/adaptive_pool.py hold the same functions, faster.
"""

import math
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from nn.dispatch import array_module, functions
from nn.layer import Layer, check_shape, pair, positive
from nn.layers.avg_pool import check_pixels


def bins(size: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """(first, last + 1) position of each of `count` bins over 0 .. size - 1: floor(i size / count), ceil((i + 1) ...).

    Neighbours share a position where count does not divide size: 5 positions in 2 bins are [0, 3) and [2, 5). Where
    count is larger than size, positions are repeated. No bin is empty.
    """
    i = np.arange(count)
    return i * size // count, -(-(i + 1) * size // count)


def grid_of_bins(in_size, out_size):
    """(i, j, rows, columns) for each bin of the grid: where it is in y, and the two slices of x that it covers."""
    for i, (top, bottom) in enumerate(zip(*bins(in_size[0], out_size[0]))):
        for j, (left, right) in enumerate(zip(*bins(in_size[1], out_size[1]))):
            yield i, j, slice(int(top), int(bottom)), slice(int(left), int(right))


def adaptive_avg_pool(x, out_size):
    """y (N, C, oh, ow) = mean of x (N, C, H, W) over each of oh x ow bins."""
    y = array_module(x).empty((*x.shape[:2], *out_size), x.dtype)
    for i, j, rows, columns in grid_of_bins(x.shape[2:], out_size):
        y[:, :, i, j] = x[:, :, rows, columns].mean(axis=(2, 3))
    return y


def adaptive_avg_pool_backward(dy, in_shape):
    """dx, of in_shape (N, C, H, W), for dy (N, C, oh, ow)."""
    dx = array_module(dy).zeros(in_shape, dy.dtype)
    for i, j, rows, columns in grid_of_bins(in_shape[2:], dy.shape[2:]):
        pixels = (rows.stop - rows.start) * (columns.stop - columns.start)
        dx[:, :, rows, columns] += dy[:, :, i, j, None, None] / pixels  # y[i, j] = mean of the bin; bins overlap: +=
    return dx


def adaptive_max_pool(x, out_size):
    """y (N, C, oh, ow) = max of x (N, C, H, W) over each of oh x ow bins, and source, its flat position in the H*W."""
    xp, (n, c, _, w) = array_module(x), x.shape
    y, source = xp.empty((n, c, *out_size), x.dtype), xp.empty((n, c, *out_size), np.int64)
    for i, j, rows, columns in grid_of_bins(x.shape[2:], out_size):
        height, width = rows.stop - rows.start, columns.stop - columns.start
        values = x[:, :, rows, columns].reshape(n, c, height * width)
        best = values.real.argmax(axis=2)  # (N, C): the first in reading order of equal ones, and of NaNs
        y[:, :, i, j] = xp.take_along_axis(values, best[:, :, None], axis=2)[:, :, 0]
        row, column = xp.divmod(best, width)
        source[:, :, i, j] = (rows.start + row) * w + columns.start + column
    return y, source


def adaptive_max_pool_backward(dy, source, in_shape):
    """dx, of in_shape (N, C, H, W), for dy (N, C, oh, ow): each dy goes to where its maximum came from."""
    xp, (n, c, h, w) = array_module(dy), in_shape
    dx, image, channel = xp.zeros((n, c, h * w), dy.dtype), xp.arange(n)[:, None], xp.arange(c)
    for i, j in np.ndindex(dy.shape[2:]):
        dx[image, channel, source[:, :, i, j]] += dy[:, :, i, j]  # y = x[source]; bins overlap: gradients add up
    return dx.reshape(in_shape)


def mean_matrix(size: int, count: int):
    """(count, size): row i takes the mean over bin i, so that adaptive_avg_pool(x) = rows @ x @ cols.T."""
    start, end = (edge[:, None] for edge in bins(size, count))
    position = np.arange(size)
    return ((start <= position) & (position < end)) / (end - start)


class _AdaptivePool2d(Layer):
    """The output size that the two layers below share: an integer, or a pair; None for the size of the input."""

    def __init__(self, output_size):
        both = tuple(output_size) if np.ndim(output_size) else (output_size, output_size)
        pair(self, "output_size", tuple(1 if size is None else size for size in both), 1)
        self.output_size = both

    def _output_size(self, in_size):
        return tuple(own if size is None else size for size, own in zip(self.output_size, in_size))


class AdaptiveAvgPool2d(_AdaptivePool2d):
    """y = mean over each of oh x ow bins.    x (N, C, H, W), y (N, C, oh, ow).

    output_size is an integer or a (vertical, horizontal) pair; None, or a None in it, keeps the size of the input.
    Bin i has rows floor(i H / oh) up to, not including, ceil((i + 1) H / oh); see `bins`. Columns likewise.

    Raises ValueError for an image without pixels.
    """

    def forward(self, x, training=True):
        check_pixels(self, x)
        return functions(__name__, x).adaptive_avg_pool(x, self._output_size(x.shape[2:])), x.shape

    def backward(self, dy, cache):
        n, c, *in_size = cache
        check_shape(self, dy=(dy, (n, c, *self._output_size(in_size))))
        return functions(__name__, dy).adaptive_avg_pool_backward(dy, cache)


class AdaptiveMaxPoolCache(NamedTuple):
    """The flat position in its plane that each output came from (N, C, oh, ow), and the shape of x."""

    source: np.ndarray
    in_shape: tuple[int, ...]


class AdaptiveMaxPool2d(_AdaptivePool2d):
    """y = max over each of oh x ow bins.    x (N, C, H, W), y (N, C, oh, ow).

    output_size and bins as in AdaptiveAvgPool2d. Of equal values the first in reading order gets the gradient. NaN wins
    over every other value. return_indices=True gives two outputs (y, indices): indices (N, C, oh, ow) int64, the flat
    position of each maximum in the H*W of its input plane; backward then takes dy alone, for indices have no gradient.

    Raises ValueError for an image without pixels.
    """

    def __init__(self, output_size, return_indices: bool = False):
        super().__init__(output_size)
        self.return_indices = return_indices

    def forward(self, x, training=True):
        check_pixels(self, x)
        y, source = functions(__name__, x).adaptive_max_pool(x, self._output_size(x.shape[2:]))
        return (y, source) if self.return_indices else y, AdaptiveMaxPoolCache(source, x.shape)

    def backward(self, dy, cache):
        check_shape(self, dy=(dy, cache.source.shape))
        return functions(__name__, dy).adaptive_max_pool_backward(dy, cache.source, cache.in_shape)


class SpatialPyramidPool(Layer):
    """y = the maxima over n x n bins for each n of levels, side by side.    x (N, C, H, W), y (N, C * bins).

    With the levels (4, 2, 1) that is 16 + 4 + 1 = 21 bins a channel, for images of any size. The order
    of a row of y: level after level as given; within a level channel after channel; within a channel the bins in
    reading order. So with C channels y[:, :16 C] is the 4 x 4 level as (C, 4, 4) flattened, y[:, 16 C : 20 C] the 2 x 2
    level, y[:, 20 C :] the maxima over whole planes. Bins as in AdaptiveMaxPool2d, which is the paper's rule.

    Raises ValueError for levels that are not integers >= 1, and an image without pixels.

    Reference: He et al. 2014, Spatial pyramid pooling in deep convolutional networks, arXiv:1406.4729, sec. 2.2 and
    appendix A (the bins).
    """

    def __init__(self, levels: tuple[int, ...] = (4, 2, 1)):
        self.levels = tuple(levels) if np.ndim(levels) else (levels,)
        if not self.levels:
            raise ValueError(f"SpatialPyramidPool: levels must hold at least one whole number, got {levels!r}")
        for level in self.levels:
            positive(self, levels=level)
        self.bins = sum(level * level for level in self.levels)
        self.pools = tuple(AdaptiveMaxPool2d(level) for level in self.levels)

    def forward(self, x, training=True):
        check_pixels(self, x)
        outputs, caches = zip(*(pool.forward(x, training) for pool in self.pools))
        flat = [y.reshape(len(x), math.prod(y.shape[1:])) for y in outputs]
        return array_module(x).concatenate(flat, axis=1), caches

    def backward(self, dy, cache):
        n, c = cache[0].in_shape[:2]
        check_shape(self, dy=(dy, (n, c * self.bins)))
        ends = np.cumsum([0] + [c * level * level for level in self.levels]).tolist()
        parts = [dy[:, start:end] for start, end in pairwise(ends)]
        levels = zip(self.pools, parts, cache)
        return sum(  # x went to every level: gradients add up
            pool.backward(part.reshape(n, c, *pool.output_size), level_cache) for pool, part, level_cache in levels
        )
