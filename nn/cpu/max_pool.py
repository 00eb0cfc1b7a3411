"""Max pooling for NumPy: a few planes at a time, and each window compared by rows and then over its rows.

That takes kw + kh comparisons for each output instead of kw kh.
"""

import math

import numpy as np

from nn.cpu.chunks import in_slices
from nn.layers import max_pool as textbook
from nn.layers.max_pool import plane_indices
from nn.layers.windows import Geometry, tap

__all__ = ["max_pool", "max_pool_backward", "plane_indices", "takes"]


def takes(x) -> bool:
    """Whether x is real: complex values are compared by their real parts, which the textbook does."""
    return x.dtype.kind == "f"


def max_pool(x, g: Geometry, out_size):
    """As in nn.layers.max_pool; taps are of the smallest type that holds them."""
    count = math.prod(g.kernel)
    y = np.empty((*x.shape[:2], *out_size), x.dtype)
    taps = np.empty(y.shape, np.int8 if count < 1 << 7 else np.int16 if count < 1 << 15 else np.int32)

    planes, y_planes, tap_planes = (_planes(a) for a in (x, y, taps))

    def pool(s):
        part, best, tap = planes[s], y_planes[s], tap_planes[s]
        _max_over_axes(_padded(part, g, out_size), g, best, tap)
        if (best != best).any():  # there are NaNs, for which these comparisons are too simple
            best[...], tap[...] = textbook.max_pool(part, g, out_size)

    in_slices(pool, len(planes), x.size)
    return y, taps


def max_pool_backward(dy, taps, g: Geometry, in_shape):
    """As in nn.layers.max_pool."""
    (n, c, h, w), (ph, pw), out_size = in_shape, g.padding, dy.shape[2:]
    dpadded = np.empty((n, c, *_padded_size(g, (h, w), out_size)), dy.dtype)
    apart = all(s > d * (k - 1) for k, s, _, d in zip(*g[:4]))  # no pixel is in two windows

    planes, dy_planes, tap_planes = (_planes(a) for a in (dpadded, dy, taps))

    def spread(s):
        part, flow, taken = planes[s], dy_planes[s], tap_planes[s]
        part[...] = 0
        for t, (i, j) in enumerate(np.ndindex(g.kernel)):
            position = tap(g, i, j, out_size)
            if apart:
                np.multiply(flow, taken == t, out=part[position])
            else:
                part[position] += flow * (taken == t)

    in_slices(spread, n * c, dpadded.size)
    return dpadded[:, :, ph : ph + h, pw : pw + w]


def _planes(a):
    """(N * C, 1, H, W) of (N, C, H, W)."""
    return a.reshape(-1, 1, *a.shape[2:])


def _max_over_axes(padded, g, y, taps):
    """Fill y and taps (n, C, oh, ow) of padded images (n, C, ., .): maxima along rows first, then maxima of these."""
    rows, cols = (_slices(g, axis, size) for axis, size in enumerate(y.shape[2:]))
    number = np.arange(len(rows) * len(cols), dtype=taps.dtype).reshape(len(rows), len(cols))
    best, tap = (np.empty((*padded.shape[:3], y.shape[3]), a.dtype) for a in (y, taps))
    _first_max([padded[..., c] for c in cols], number[0], best, tap)
    _first_max([best[:, :, r] for r in rows], [tap[:, :, r] + first for r, first in zip(rows, number[:, 0])], y, taps)


def _first_max(values, indices, best, index):
    """best = the largest of the arrays `values`, index = that of `indices` (arrays or scalars) at the first largest.

    indices[k] is larger than indices[k - 1] everywhere: so where values[k] is better it wins by a maximum, which is
    much faster than copying under a mask.
    """
    best[...], index[...] = values[0], indices[0]
    for value, k in zip(values[1:], indices[1:]):
        better = (value > best).view(np.int8)
        np.maximum(index, better * k, out=index)
        np.maximum(best, value, out=best)


def _slices(g, axis, out):
    """For each position of the window along one axis the slice of the padded plane it meets, with `out` outputs."""
    k, s, _, d = (pair[axis] for pair in g[:4])
    return [slice(i * d, i * d + s * (out - 1) + 1, s) for i in range(k)]


def _padded(x, g, out_size):
    """x (n, C, H, W) with its padding of minus infinity, as far as the windows reach; x itself where there is none."""
    n, c, h, w = x.shape
    size, (ph, pw) = _padded_size(g, (h, w), out_size), g.padding
    if size == (h, w):
        return x
    padded = np.full((n, c, *size), -np.inf, x.dtype)
    padded[:, :, ph : ph + h, pw : pw + w] = x
    return padded


def _padded_size(g, in_size, out_size):
    """(height, width) of the image with its padding, and with what the last window of ceil_mode needs beyond."""
    axes = zip(in_size, out_size, *g[:4])
    return tuple(max(n + 2 * p, s * (out - 1) + d * (k - 1) + 1) for n, out, k, s, p, d in axes)
