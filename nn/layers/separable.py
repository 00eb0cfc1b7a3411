"""What treats rows and columns one after the other: sums over windows, and products with a matrix from each side.

A kh x kw window then costs kh + kw additions a place, not kh * kw. Both come with their adjoint, which is the backward:
<window_sums(x), y> = <x, spread_windows(y)>, <rows @ x @ cols.T, y> = <x, rows.T @ y @ cols>.
"""

from functools import lru_cache

import numpy as np

from nn.cpu.parallel import parallel_for
from nn.dispatch import array_module
from nn.gpu.device import to_device
from nn.layers.windows import Geometry


def window_sums(x, g: Geometry, out_size):
    """y (N, C, oh, ow): the sum of x (N, C, H, W) over each window, as if zeros lay around x. No dilation."""
    xp, (out_h, out_w) = array_module(x), out_size
    n, c, h, w = x.shape
    y = xp.zeros((n, c, out_h, out_w), x.dtype)

    def image(i):
        bands = xp.zeros((c, out_h, w), x.dtype)  # sums over the rows of each window
        for out, place in taps(g, 0, h, out_h):
            bands[:, out] += x[i, :, place]
        for out, place in taps(g, 1, w, out_w):
            y[i, :, :, out] += bands[:, :, place]

    parallel_for(image, n, xp)
    return y


def spread_windows(dy, g: Geometry, in_size):
    """dx (N, C, H, W), the adjoint of window_sums: each dy (N, C, oh, ow) is added to every place of its window."""
    xp, (h, w) = array_module(dy), in_size
    n, c, out_h, out_w = dy.shape
    dx = xp.zeros((n, c, h, w), dy.dtype)

    def image(i):  # the lines of window_sums in reverse order, left and right side swapped
        bands = xp.zeros((c, out_h, w), dy.dtype)
        for out, place in taps(g, 1, w, out_w):
            bands[:, :, place] += dy[i, :, :, out]
        for out, place in taps(g, 0, h, out_h):
            dx[i, :, place] += bands[:, out]

    parallel_for(image, n, xp)
    return dx


def taps(g: Geometry, axis: int, size: int, out_size: int):
    """For each place k of the window along one axis: the outputs r it serves and their inputs r*stride - padding + k.

    Two slices of equal length. Outputs whose input would lie outside 0 .. size - 1 are left out.
    """
    stride, padding = g.stride[axis], g.padding[axis]
    for k in range(g.kernel[axis]):
        first = max(0, -((k - padding) // stride))  # ceil((padding - k) / stride)
        last = min(out_size - 1, (size - 1 + padding - k) // stride)
        if first <= last:
            start = first * stride - padding + k
            yield slice(first, last + 1), slice(start, start + (last - first) * stride + 1, stride)


def resample(x, rows, cols):
    """y (N, C, oh, ow) = rows @ x @ cols.T for each plane of x (N, C, H, W); rows (oh, H), cols (ow, W).

    Its adjoint is resample(dy, rows.T, cols.T). The matrices are NumPy's, in any precision; y has the dtype of x.
    As in any matrix product an infinity or NaN spreads along its row and column of the plane.
    """
    rows, cols = (np.ascontiguousarray(m, x.dtype) for m in (rows, cols))
    n, c, h, w = x.shape
    if (xp := array_module(x)) is not np:
        rows, cols = (_on_gpu(m.tobytes(), m.shape, m.dtype) for m in (rows, cols))
        return xp.matmul(rows, (x.reshape(n * c * h, w) @ cols.T).reshape(n, c, h, len(cols)))
    y = np.empty((n, c, len(rows), len(cols)), x.dtype)

    def image(i):
        narrow = x[i].reshape(c * h, w) @ cols.T  # one product for all planes of the image
        np.matmul(rows, narrow.reshape(c, h, len(cols)), out=y[i])

    parallel_for(image, n)
    return y


@lru_cache(maxsize=64)  # a network has few of them, of a few sizes: they go to the GPU once
def _on_gpu(data, shape, dtype):
    return to_device(np.frombuffer(data, dtype).reshape(shape), "gpu")
