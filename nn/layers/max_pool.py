"""Max pooling: the largest value of each window, and the gradient back to where it came from.

The positions (i, j) of a window, its taps, are taken one by one: what all windows read at one tap is one slice of x.
nn/cpu/max_pool.py and nn/gpu/max_pool.py hold the same functions, faster.
"""

from typing import NamedTuple

import numpy as np

from nn.dispatch import array_module, functions
from nn.layer import Layer, check_shape, pair
from nn.layers.windows import Geometry, tap


def max_pool(x, g: Geometry, out_size):
    """y and taps (N, C, oh, ow) for x (N, C, H, W): the maximum of each window, and where in the window it stands.

    y[n, c, r, q] = max over i < kh, j < kw of x[n, c, r*s + i*d - p, q*s + j*d - p],   minus infinity outside of x

    with stride s, dilation d, padding p. taps is i*kw + j of the first maximum in reading order.
    """
    xp, (kh, kw), (ph, pw), (dh, dw) = array_module(x), g.kernel, g.padding, g.dilation
    below, right = dh * (kh - 1), dw * (kw - 1)  # no window reaches further
    padded = xp.pad(x, ((0, 0), (0, 0), (ph, below), (pw, right)), constant_values=-np.inf)
    y = xp.full((*x.shape[:2], *out_size), -np.inf, x.dtype)
    taps = xp.zeros(y.shape, np.int32)
    for t, (i, j) in enumerate(np.ndindex(g.kernel)):
        value = padded[tap(g, i, j, out_size)]
        better = ~(value.real <= y.real) & (y == y)  # not "value > y": so a NaN wins, and stays
        y, taps = xp.where(better, value, y), xp.where(better, t, taps)
    return y, taps


def max_pool_backward(dy, taps, g: Geometry, in_shape):
    """dx, of in_shape (N, C, H, W), for dy (N, C, oh, ow): each dy goes to where its maximum came from."""
    (n, c, h, w), (kh, kw), (ph, pw), (dh, dw) = in_shape, g.kernel, g.padding, g.dilation
    dx = array_module(dy).zeros((n, c, ph + h + dh * (kh - 1), pw + w + dw * (kw - 1)), dy.dtype)  # of the padded x
    for t, (i, j) in enumerate(np.ndindex(g.kernel)):
        # y = padded[tap(...)] where taps == t; windows overlap: gradients add up
        dx[tap(g, i, j, dy.shape[2:])] += dy * (taps == t)
    return dx[:, :, ph : ph + h, pw : pw + w]


def plane_indices(taps, g: Geometry, in_size):
    """(N, C, oh, ow) int64: the flat position in the H*W of its input plane of each maximum that taps names."""
    xp, (h, w), (out_h, out_w) = array_module(taps), in_size, taps.shape[2:]
    _, kw = g.kernel
    (sh, sw), (ph, pw), (dh, dw) = g.stride, g.padding, g.dilation
    i, j = xp.divmod(taps.astype(np.int64), kw)
    row = xp.arange(out_h)[:, None] * sh - ph + i * dh
    column = xp.arange(out_w) * sw - pw + j * dw
    # a window all of minus infinity may have its maximum in the padding: take the nearest pixel instead
    return xp.clip(row, 0, h - 1) * w + xp.clip(column, 0, w - 1)


def pooled_size(owner, g: Geometry, in_size, ceil_mode: bool) -> tuple[int, int]:
    """(oh, ow) of MaxPool2d and AvgPool2d, by MaxPool2d's rule; ValueError where x is smaller than a window."""
    size = []
    for n, k, s, p, d in zip(in_size, g.kernel, g.stride, g.padding, g.dilation):
        room = n + 2 * p - d * (k - 1) - 1  # how far the first window can move
        out = (-(-room // s) if ceil_mode else room // s) + 1
        last_starts_inside = (out - 1) * s < n + p
        size.append(out - 1 if ceil_mode and not last_starts_inside else out)
    if min(size) <= 0:
        raise ValueError(
            f"{type(owner).__name__}: output size {tuple(size)} for input {tuple(in_size)}, kernel {g.kernel}, "
            f"stride {g.stride}, padding {g.padding}, dilation {g.dilation}: the input is too small"
        )
    return tuple(size)


def pool_geometry(owner, kernel_size, stride, padding, dilation=1) -> Geometry:
    """The Geometry of a pooling layer's constructor arguments; ValueError where one is out of range."""
    kernel = pair(owner, "kernel_size", kernel_size, 1)
    padding = pair(owner, "padding", padding, 0)
    if any(2 * p > k for p, k in zip(padding, kernel)):
        name = type(owner).__name__
        raise ValueError(f"{name}: padding {padding} must be at most half the kernel_size {kernel}")
    stride = kernel if stride is None else pair(owner, "stride", stride, 1)
    return Geometry(kernel, stride, padding, pair(owner, "dilation", dilation, 1))


class MaxPoolCache(NamedTuple):
    """Which position of its window each maximum came from (N, C, oh, ow), and the shape of x."""

    taps: np.ndarray
    in_shape: tuple[int, ...]


class MaxPool2d(Layer):
    """y = max over each window.    x (N, C, H, W), y (N, C, oh, ow).

    kernel_size, stride (default: kernel_size), padding and dilation are integers or (vertical, horizontal) pairs.
    Padding is with minus infinity, at most half the kernel. oh = floor((H + 2 padding - dilation (kh - 1) - 1) /
    stride) + 1; with ceil_mode it is ceil, but the last window starts inside the image or its top padding. Of equal
    values the first in reading order wins and gets the whole gradient. NaN wins over every other value.

    return_indices=True gives two outputs (y, indices): indices (N, C, oh, ow) int64, the flat position of each maximum
    in the H*W of its input plane, which MaxUnpool2d takes; backward still takes dy alone, for indices have no gradient.

    Raises ValueError for a padding over half the kernel, and an input smaller than a window.
    """

    def __init__(
        self, kernel_size, stride=None, padding=0, dilation=1, ceil_mode: bool = False, return_indices: bool = False
    ):
        self.geometry = pool_geometry(self, kernel_size, stride, padding, dilation)
        self.ceil_mode, self.return_indices = ceil_mode, return_indices

    def forward(self, x, training=True):
        check_shape(self, x=(x, ("N", "C", "H", "W")))
        g, ops = self.geometry, functions(__name__, x)
        y, taps = ops.max_pool(x, g, pooled_size(self, g, x.shape[2:], self.ceil_mode))
        outputs = (y, ops.plane_indices(taps, g, x.shape[2:])) if self.return_indices else y
        return outputs, MaxPoolCache(taps, x.shape)

    def backward(self, dy, cache):
        check_shape(self, dy=(dy, cache.taps.shape))
        return functions(__name__, dy).max_pool_backward(dy, cache.taps, self.geometry, cache.in_shape)
