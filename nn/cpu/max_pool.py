"""Max pooling for NumPy: a few planes at a time, and each window compared by rows and then over its rows.

That takes kw + kh comparisons for each output instead of kw kh. With stride 1 the planes are one run, rows end to end.
"""

import math

import numpy as np

from nn.cpu import chunks
from nn.cpu.chunks import in_slices
from nn.layers import max_pool as textbook
from nn.layers.max_pool import plane_indices
from nn.layers.windows import Geometry, tap

__all__ = ["max_pool", "max_pool_backward", "plane_indices", "takes"]

CHUNK = 1 << 16  # elements of x at a time with stride 1 and in backward: what lies between is several times as much


def takes(x) -> bool:
    """Whether x is real: complex values are compared by their real parts, which the textbook does."""
    return x.dtype.kind == "f"


def max_pool(x, g: Geometry, out_size):
    """As in nn.layers.max_pool; taps are of the smallest type that holds them."""
    count = math.prod(g.kernel)
    y = np.empty((*x.shape[:2], *out_size), x.dtype)
    taps = np.empty(y.shape, np.int8 if count < 1 << 7 else np.int16 if count < 1 << 15 else np.int32)

    planes, y_planes, tap_planes = (_planes(a) for a in (x, y, taps))
    maxima, chunk = (_max_over_runs, CHUNK) if g.stride == (1, 1) else (_max_over_axes, chunks.CHUNK)

    def pool(s):
        part, best, tap = planes[s], y_planes[s], tap_planes[s]
        maxima(_padded(part, g, out_size), g, best, tap)
        if (best != best).any():  # there are NaNs, for which these comparisons are too simple
            best[...], tap[...] = textbook.max_pool(part, g, out_size)

    in_slices(pool, len(planes), x.size, chunk)
    return y, taps


def max_pool_backward(dy, taps, g: Geometry, in_shape):
    """As in nn.layers.max_pool, bit by bit: the windows of a pixel from the last to the first, as its taps go."""
    if all(s > d * (k - 1) for k, s, _, d in zip(*g[:4])):  # no pixel is in two windows
        return _spread(dy, taps, g, in_shape)
    (n, c, h, w), (ph, pw), (sh, sw), (dh, dw) = in_shape, g.padding, g.stride, g.dilation
    dpadded = np.zeros((n, c, *_padded_size(g, (h, w), dy.shape[2:])), dy.dtype)
    height, width = dpadded.shape[2:]
    of_tap = np.array([i * dh * width + j * dw for i, j in np.ndindex(g.kernel)])
    of_window = np.add.outer(np.arange(dy.shape[2]) * (sh * width), np.arange(dy.shape[3]) * sw)
    planes, dy_planes, tap_planes = (_planes(a) for a in (dpadded, dy, taps))

    def add_up(s):
        part, flow, pixels = planes[s], dy_planes[s], of_tap.take(tap_planes[s])  # in the planes, end to end
        pixels += of_window
        pixels += np.arange(0, part.size, height * width)[:, None, None, None]
        np.add.at(part.reshape(-1), pixels.reshape(-1)[::-1], flow.reshape(-1)[::-1])

    in_slices(add_up, n * c, dpadded.size, CHUNK)
    return dpadded[:, :, ph : ph + h, pw : pw + w]


def _spread(dy, taps, g: Geometry, in_shape):
    """dx of max_pool_backward where no two windows overlap."""
    (n, c, h, w), (ph, pw), out_size = in_shape, g.padding, dy.shape[2:]
    dpadded = np.empty((n, c, *_padded_size(g, (h, w), out_size)), dy.dtype)
    planes, dy_planes, tap_planes = (_planes(a) for a in (dpadded, dy, taps))

    def spread(s):
        part, flow, taken = planes[s], dy_planes[s], tap_planes[s]
        part[...] = 0
        for t, (i, j) in enumerate(np.ndindex(g.kernel)):
            np.multiply(flow, taken == t, out=part[tap(g, i, j, out_size)])

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


def _max_over_runs(padded, g, y, taps):
    """_max_over_axes for stride 1: all rows of all planes end to end, then without those windows that cross an end."""
    (kh, kw), (dh, dw), flat = g.kernel, g.dilation, padded.reshape(-1)
    right, down = range(0, kw * dw, dw), range(0, kh * dh * padded.shape[3], dh * padded.shape[3])
    number = np.arange(kh * kw, dtype=taps.dtype).reshape(kh, kw)
    bests, indices = (np.empty((2, flat.size), a.dtype) for a in (y, taps))
    (row_best, best), (row_tap, tap), count = bests, indices, flat.size - right[-1]
    _first_max([flat[q : q + count] for q in right], number[0], row_best[:count], row_tap[:count])
    count -= down[-1]
    tops, above = ([a[q : q + count] for q in down] for a in (row_best, row_tap))
    _first_max(tops, [a + first for a, first in zip(above, number[:, 0])], best[:count], tap[:count])
    for out, run in ((y, best), (taps, tap)):
        out[...] = run.reshape(padded.shape)[:, :, : out.shape[2], : out.shape[3]]


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
