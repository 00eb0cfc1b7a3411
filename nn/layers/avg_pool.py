"""Average pooling: the mean of each window, and of the whole plane.

nn/cpu/avg_pool.py and nn/gpu/avg_pool.py hold the same functions of windows, faster.
"""

import numpy as np

from nn.dispatch import array_module, functions
from nn.layer import Layer, check_shape, positive
from nn.layers.max_pool import pool_geometry, pooled_size
from nn.layers.windows import Geometry, tap


def avg_pool(x, g: Geometry, out_size, count_include_pad=True, divisor_override=None):
    """y (N, C, oh, ow) for x (N, C, H, W): the sum over each window, zeros outside of x, / its divisor.

    y[n, c, r, q] = sum over i < kh, j < kw of x[n, c, r*s + i - p, q*s + j - p] / divisor[r, q]
    """
    xp, (kh, kw), (ph, pw) = array_module(x), g.kernel, g.padding
    padded = xp.pad(x, ((0, 0), (0, 0), (ph, kh - 1), (pw, kw - 1)))  # no window reaches further
    y = 0
    for i, j in np.ndindex(g.kernel):
        y = y + padded[tap(g, i, j, out_size)]
    return y / xp.asarray(divisors(g, x.shape[2:], out_size, count_include_pad, divisor_override), x.dtype)


def avg_pool_backward(dy, g: Geometry, in_shape, count_include_pad=True, divisor_override=None):
    """dx, of in_shape (N, C, H, W), for dy (N, C, oh, ow)."""
    xp, (n, c, h, w), (kh, kw), (ph, pw) = array_module(dy), in_shape, g.kernel, g.padding
    share = dy / xp.asarray(divisors(g, (h, w), dy.shape[2:], count_include_pad, divisor_override), dy.dtype)
    dx = xp.zeros((n, c, ph + h + kh - 1, pw + w + kw - 1), dy.dtype)  # of the padded x
    for i, j in np.ndindex(g.kernel):
        dx[tap(g, i, j, dy.shape[2:])] += share  # y = y + padded[tap(...)]; windows overlap: gradients add up
    return dx[:, :, ph : ph + h, pw : pw + w]


def divisors(g: Geometry, in_size, out_size, count_include_pad, divisor_override):
    """(oh, ow): how many positions of each window count, rows times columns; divisor_override where one is given."""
    if divisor_override is not None:
        return divisor_override
    counts = []
    for n, out, k, s, p in zip(in_size, out_size, g.kernel, g.stride, g.padding):
        start = np.arange(out) * s - p
        end = np.minimum(start + k, n + p)  # what ceil_mode reaches beyond the padding never counts
        if not count_include_pad:
            start, end = np.maximum(start, 0), np.minimum(end, n)
        counts.append(end - start)
    return np.outer(*counts)


class AvgPool2d(Layer):
    """y = sum over each window / divisor.    x (N, C, H, W), y (N, C, oh, ow).

    kernel_size, stride (default: kernel_size) and padding are integers or (vertical, horizontal) pairs. Padding is
    with zeros, at most half the kernel. oh = floor((H + 2 padding - kh) / stride) + 1; with ceil_mode it is ceil, but
    the last window starts inside the image or its top padding: MaxPool2d's rule.

    The divisor counts the positions of the window within the padded image; positions that ceil_mode reaches beyond the
    padding never count. With count_include_pad=False only those within the image count. A divisor_override is used
    instead of either.

    Raises ValueError for a padding over half the kernel, an image without pixels or smaller than a window.
    """

    def __init__(
        self,
        kernel_size,
        stride=None,
        padding=0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ):
        if divisor_override is not None:
            positive(self, divisor_override=divisor_override)
        self.geometry = pool_geometry(self, kernel_size, stride, padding)
        self.ceil_mode, self.count_include_pad = ceil_mode, count_include_pad
        self.divisor_override = divisor_override

    def forward(self, x, training=True):
        check_pixels(self, x)
        g, options = self.geometry, (self.count_include_pad, self.divisor_override)
        out_size = pooled_size(self, g, x.shape[2:], self.ceil_mode)
        return functions(__name__, x).avg_pool(x, g, out_size, *options), x.shape

    def backward(self, dy, cache):
        n, c, *in_size = cache
        g, options = self.geometry, (self.count_include_pad, self.divisor_override)
        check_shape(self, dy=(dy, (n, c, *pooled_size(self, g, in_size, self.ceil_mode))))
        return functions(__name__, dy).avg_pool_backward(dy, g, cache, *options)


class GlobalAvgPool2d(Layer):
    """y = mean over each plane.    x (N, C, H, W), y (N, C): without the axes that PyTorch keeps as (N, C, 1, 1).

    Raises ValueError for an image without pixels.

    Reference: Lin et al. 2013, Network In Network, arXiv:1312.4400, sec. 3.2.
    """

    def forward(self, x, training=True):
        check_pixels(self, x)
        return x.mean(axis=(2, 3)), x.shape

    def backward(self, dy, cache):
        n, c, h, w = cache
        check_shape(self, dy=(dy, (n, c)))
        share = (dy / (h * w))[:, :, None, None]  # y = sum / (H W): every pixel has the same share
        return array_module(dy).broadcast_to(share, cache).copy()


def check_pixels(owner, x):
    """Raise unless x is (N, C, H, W) with at least one pixel in a plane."""
    check_shape(owner, x=(x, ("N", "C", "H", "W")))
    if 0 in x.shape[2:]:
        raise ValueError(f"{type(owner).__name__}: x must have at least one row and one column, got {x.shape}")
