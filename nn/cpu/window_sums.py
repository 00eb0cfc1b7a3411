"""Sums over windows, along the rows and then along the columns: kh + kw additions for each output instead of kh * kw.

`spread_windows` is the adjoint of `window_sums`, that is its backward: <window_sums(x), y> = <x, spread_windows(y)>.
"""

import numpy as np

from nn.cpu.parallel import parallel_for
from nn.layers.windows import Geometry


def window_sums(x, g: Geometry, out_size):
    """y (N, C, oh, ow): the sum of x (N, C, H, W) over each window, as if zeros lay around x. No dilation."""
    out_h, out_w = out_size
    n, c, h, w = x.shape
    y = np.zeros((n, c, out_h, out_w), x.dtype)

    def image(i):
        bands = np.zeros((c, out_h, w), x.dtype)  # sums over the rows of each window
        for out, position in taps(g, 0, h, out_h):
            bands[:, out] += x[i, :, position]
        for out, position in taps(g, 1, w, out_w):
            y[i, :, :, out] += bands[:, :, position]

    parallel_for(image, n)
    return y


def spread_windows(dy, g: Geometry, in_size):
    """dx (N, C, H, W), the adjoint of window_sums: each dy (N, C, oh, ow) is added to every position of its window."""
    h, w = in_size
    n, c, out_h, out_w = dy.shape
    dx = np.zeros((n, c, h, w), dy.dtype)

    def image(i):  # the lines of window_sums in reverse order, left and right side swapped
        bands = np.zeros((c, out_h, w), dy.dtype)
        for out, position in taps(g, 1, w, out_w):
            bands[:, :, position] += dy[i, :, :, out]
        for out, position in taps(g, 0, h, out_h):
            dx[i, :, position] += bands[:, out]

    parallel_for(image, n)
    return dx


def taps(g: Geometry, axis: int, size: int, out_size: int):
    """For each position k of the window along one axis: the outputs r and their inputs r*stride - padding + k.

    Two slices of equal length. Outputs whose input would lie outside 0 .. size - 1 are left out.
    """
    stride, padding = g.stride[axis], g.padding[axis]
    for k in range(g.kernel[axis]):
        first = max(0, -((k - padding) // stride))  # ceil((padding - k) / stride)
        last = min(out_size - 1, (size - 1 + padding - k) // stride)
        if first <= last:
            start = first * stride - padding + k
            yield slice(first, last + 1), slice(start, start + (last - first) * stride + 1, stride)
