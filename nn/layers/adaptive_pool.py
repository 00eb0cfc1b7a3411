"""Pooling into a given number of bins whatever the size of the image, and the pyramid made of it.

On a GPU by the kernels of nn/gpu/adaptive_pool.cu.
"""

import math
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from nn.cpu.parallel import parallel_for
from nn.dispatch import array_module
from nn.gpu.kernels import launch, use_kernels
from nn.layer import Layer, check_shape, pair, positive
from nn.layers.avg_pool import check_pixels
from nn.layers.separable import resample


def bins(size: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """(first, last + 1) place of each of `count` bins over 0 .. size - 1: floor(i size / count), ceil((i + 1) ...).

    Neighbours share a place where count does not divide size: 5 places in 2 bins are [0, 3) and [2, 5). Where count
    is larger than size, places are repeated. No bin is empty.
    """
    i = np.arange(count)
    return i * size // count, -(-(i + 1) * size // count)


class _AdaptivePool2d(Layer):
    """The output size that the two layers below share: a whole number, or a pair; None for the size of the input."""

    def __init__(self, output_size):
        both = tuple(output_size) if np.ndim(output_size) else (output_size, output_size)
        pair(self, "output_size", tuple(1 if size is None else size for size in both), 1)
        self.output_size = both

    def _output_size(self, in_size):
        return tuple(own if size is None else size for size, own in zip(self.output_size, in_size))

    def _launch(self, name, out, in_shape, *arrays):
        """Fill `out` by the kernel of this name, which takes these arrays after it."""
        arrays, size = [array_module(out).ascontiguousarray(a) for a in arrays], in_shape[2:]
        launch("adaptive_pool", name, out.size, out.dtype, out, *arrays, out.size, *size, *self._output_size(size))
        return out


class AdaptiveAvgPool2d(_AdaptivePool2d):
    """y = mean over each of oh x ow bins.    x (N, C, H, W), y (N, C, oh, ow).

    output_size is a whole number or a (vertical, horizontal) pair; None, or a None in it, keeps the size of the input.
    Bin i has rows floor(i H / oh) up to, not including, ceil((i + 1) H / oh); see `bins`. Columns likewise.
    Computed as rows @ x @ cols.T, where row i of `rows` has 1 / length in the places of bin i, 0 elsewhere.

    Raises ValueError for an image without pixels.
    """

    def forward(self, x, training=True):
        check_pixels(self, x)
        if use_kernels(x):
            y = array_module(x).empty((*x.shape[:2], *self._output_size(x.shape[2:])), x.dtype)
            return self._launch("adaptive_avg_forward", y, x.shape, x), x.shape
        return resample(x, *self._matrices(x.shape[2:])), x.shape

    def backward(self, dy, cache):
        n, c, h, w = cache
        check_shape(self, dy=(dy, (n, c, *self._output_size((h, w)))))
        if use_kernels(dy):
            return self._launch("adaptive_avg_backward", array_module(dy).empty(cache, dy.dtype), cache, dy)
        rows, cols = self._matrices((h, w))
        return resample(dy, rows.T, cols.T)  # y = rows @ x @ cols.T

    def _matrices(self, in_size):
        return [mean_matrix(size, count) for size, count in zip(in_size, self._output_size(in_size))]


def mean_matrix(size: int, count: int):
    """(count, size): row i takes the mean over bin i."""
    start, end = (edge[:, None] for edge in bins(size, count))
    place = np.arange(size)
    return ((start <= place) & (place < end)) / (end - start)


class AdaptiveMaxPoolCache(NamedTuple):
    """The flat place in its plane that each output came from, and the input's shape."""

    source: np.ndarray
    in_shape: tuple[int, ...]


class AdaptiveMaxPool2d(_AdaptivePool2d):
    """y = max over each of oh x ow bins.    x (N, C, H, W), y (N, C, oh, ow).

    output_size and bins as in AdaptiveAvgPool2d. Of equal values the first in reading order gets the gradient. NaN wins
    over numbers. return_indices=True gives two outputs (y, indices): indices (N, C, oh, ow) int64, each maximum's flat
    place in the H*W of its input plane; backward then takes dy alone, for indices have no gradient.

    Raises ValueError for an image without pixels.
    """

    def __init__(self, output_size, return_indices: bool = False):
        super().__init__(output_size)
        self.return_indices = return_indices

    def forward(self, x, training=True):
        check_pixels(self, x)
        xp, (n, c, h, w), out_size = array_module(x), x.shape, self._output_size(x.shape[2:])
        if use_kernels(x):
            source = xp.empty((n, c, *out_size), np.int64)
            y = self._launch("adaptive_max_forward", xp.empty(source.shape, x.dtype), x.shape, source, x)
            return (y, source) if self.return_indices else y, AdaptiveMaxPoolCache(source, x.shape)
        places = xp.asarray(bin_places((h, w), out_size))
        bin_number = xp.arange(len(places))
        y, source = xp.empty((n, c, len(places)), x.dtype), xp.empty((n, c, len(places)), np.int64)

        def image(i):
            plane = x[i].reshape(c, h * w)
            best = plane[:, places].argmax(axis=2)  # the first in reading order of equals, and of NaNs
            source[i] = places[bin_number, best]
            y[i] = xp.take_along_axis(plane, source[i], axis=1)

        parallel_for(image, n, xp)
        y, source = y.reshape(n, c, *out_size), source.reshape(n, c, *out_size)
        return (y, source) if self.return_indices else y, AdaptiveMaxPoolCache(source, x.shape)

    def backward(self, dy, cache):
        source, (n, c, h, w) = cache
        check_shape(self, dy=(dy, source.shape))
        xp = array_module(dy)
        if use_kernels(dy):
            return self._launch("adaptive_max_backward", xp.empty(cache.in_shape, dy.dtype), cache.in_shape, dy, source)
        # y = x[source]: dy goes to where the maximum came from; bins may share it, so it adds up there
        place = xp.arange(n * c).reshape(n, c, 1, 1) * (h * w) + source
        dx = xp.bincount(place.ravel(), dy.ravel(), minlength=n * c * h * w)
        return dx.astype(dy.dtype).reshape(n, c, h, w)


def bin_places(in_size, out_size):
    """(oh*ow, L): the flat places of each bin in reading order, shorter bins filled up with repetitions."""
    rows, cols = (places_along(size, count) for size, count in zip(in_size, out_size))
    return (rows[:, None, :, None] * in_size[1] + cols[:, None, :]).reshape(len(rows) * len(cols), -1)


def places_along(size: int, count: int):
    """(count, length of the longest): the places of each bin along one axis, the last one repeated in shorter bins."""
    start, end = (edge[:, None] for edge in bins(size, count))
    return np.minimum(start + np.arange((end - start).max()), end - 1)


class SpatialPyramidPool(Layer):
    """y = the maxima over n x n bins for each n of levels, side by side.    x (N, C, H, W), y (N, C * bins).

    With the levels (4, 2, 1) of the lecture that is 16 + 4 + 1 = 21 bins a channel, for images of any size. The order
    of a row of y: level after level as given; within a level channel after channel; within a channel the bins in
    reading order. So with C channels y[:, :16 C] is the 4 x 4 level as (C, 4, 4) flattened, y[:, 16 C : 20 C] the 2 x 2
    level, y[:, 20 C :] the maxima over whole planes. Bins as in AdaptiveMaxPool2d, which is the paper's rule.

    Raises ValueError for levels that are not whole numbers >= 1, and an image without pixels.

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
