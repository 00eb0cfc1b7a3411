"""Max pooling; on a GPU the kernels of nn/gpu/max_pool.cu."""

import math
from typing import NamedTuple

import numpy as np

from nn.config import config
from nn.cpu.chunks import in_slices
from nn.dispatch import array_module
from nn.gpu import kernels as cuda
from nn.layer import Layer, check_shape, pair
from nn.layers.windows import Geometry


class MaxPoolCache(NamedTuple):
    """Which tap of its window each output came from, and the input's shape."""

    taps: np.ndarray
    in_shape: tuple[int, ...]


class MaxPool2d(Layer):
    """y = max over each window.    x (N, C, H, W), y (N, C, oh, ow).

    kernel_size, stride (default: kernel_size), padding and dilation are whole numbers or (vertical, horizontal) pairs.
    Padding is with minus infinity, at most half the kernel. oh = floor((H + 2 padding - dilation (kh - 1) - 1) /
    stride) + 1; with ceil_mode it is ceil, but the last window starts inside the image or its top padding. Of equal
    values the first in reading order wins and gets the whole gradient. NaN wins over numbers.

    return_indices=True gives two outputs (y, indices): indices (N, C, oh, ow) int64, each maximum's flat place in the
    H*W of its input plane, as MaxUnpool2d wants them; backward then takes dy alone, for indices have no gradient.

    Raises ValueError for a padding over half the kernel, and an input smaller than a window.
    """

    def __init__(
        self, kernel_size, stride=None, padding=0, dilation=1, ceil_mode: bool = False, return_indices: bool = False
    ):
        kernel = pair(self, "kernel_size", kernel_size, 1)
        padding = pair(self, "padding", padding, 0)
        if any(2 * p > k for p, k in zip(padding, kernel)):
            raise ValueError(f"MaxPool2d: padding {padding} must be at most half the kernel_size {kernel}")
        stride = kernel if stride is None else pair(self, "stride", stride, 1)
        self.geometry = Geometry(kernel, stride, padding, pair(self, "dilation", dilation, 1))
        self.ceil_mode, self.return_indices = ceil_mode, return_indices

    def forward(self, x, training=True):
        check_shape(self, x=(x, ("N", "C", "H", "W")))
        xp, count = array_module(x), math.prod(self.geometry.kernel)
        y = xp.empty((*x.shape[:2], *self._output_size(*x.shape[2:])), x.dtype)
        if cuda.use_kernels(x):
            return self._forward_by_kernels(x, y)
        taps = xp.empty(y.shape, np.int8 if count < 1 << 7 else np.int16 if count < 1 << 15 else np.int32)
        max_over_window = self._max_over_taps if config.plain or xp is not np else self._max_over_axes
        in_slices(lambda n: max_over_window(self._padded(x[n], y.shape[2:]), y[n], taps[n]), len(x), x.size, xp)
        outputs = (y, self.indices(taps, x.shape)) if self.return_indices else y
        return outputs, MaxPoolCache(taps, x.shape)

    def backward(self, dy, cache):
        check_shape(self, dy=(dy, cache.taps.shape))
        if cuda.use_kernels(dy) and cache.taps.dtype == np.int32:
            return self._backward_by_kernels(dy, cache)
        n, c, h, w = cache.in_shape
        (ph, pw), out_size = self.geometry.padding, dy.shape[2:]
        xp, g = array_module(dy), self.geometry
        padded = xp.empty((n, c, *self._padded_size(h, w, out_size)), dy.dtype)
        apart = all(s > d * (k - 1) for k, s, d in zip(g.kernel, g.stride, g.dilation))  # no pixel is in two windows

        def share(n):  # y = x[winning tap]: each tap of the window takes dy where it won; where windows overlap, add
            padded[n] = 0
            for t, rows, cols in self._tap_slices(out_size):
                if apart:
                    xp.multiply(dy[n], cache.taps[n] == t, out=padded[n, :, rows, cols])
                else:
                    padded[n, :, rows, cols] += dy[n] * (cache.taps[n] == t)

        in_slices(share, n, padded.size, xp)
        return padded[:, :, ph : ph + h, pw : pw + w]

    def _forward_by_kernels(self, x, y):
        xp, (h, w) = array_module(x), x.shape[2:]
        taps = xp.empty(y.shape, np.int32)
        indices = xp.empty(y.shape, np.int64) if self.return_indices else None
        arrays, sizes = (y, taps, indices, xp.ascontiguousarray(x)), (y.size, h, w, *y.shape[2:])
        cuda.launch("max_pool", "max_pool_forward", y.size, y.dtype, *arrays, *sizes, *self._numbers())
        return (y, indices) if self.return_indices else y, MaxPoolCache(taps, x.shape)

    def _backward_by_kernels(self, dy, cache):
        xp, (h, w) = array_module(dy), cache.in_shape[2:]
        dx = xp.empty(cache.in_shape, dy.dtype)
        arrays, sizes = (dx, xp.ascontiguousarray(dy), cache.taps), (dx.size, h, w, *dy.shape[2:])
        cuda.launch("max_pool", "max_pool_backward", dx.size, dx.dtype, *arrays, *sizes, *self._numbers())
        return dx

    def _numbers(self):
        """kh, kw, sh, sw, ph, pw, dh, dw: the kernels' last arguments."""
        return [number for both in self.geometry[:4] for number in both]

    def indices(self, taps, in_shape):
        """Flat places in the H*W of the input plane, int64, of the winning taps (N, C, oh, ow)."""
        xp = array_module(taps)
        (sh, sw), (ph, pw), (dh, dw) = self.geometry[1:4]
        row, col = xp.divmod(taps.astype(np.int64), self.geometry.kernel[1])
        row = xp.arange(taps.shape[2])[:, None] * sh - ph + row * dh
        col = xp.arange(taps.shape[3]) * sw - pw + col * dw
        h, w = in_shape[2:]  # a window all of minus infinity ends on its padding: on its first cell instead
        return xp.clip(row, 0, h - 1) * w + xp.clip(col, 0, w - 1)

    def _max_over_taps(self, padded, y, taps):
        """Fill y and taps (n, C, oh, ow) of padded images (n, C, ., .), going through the places of the window."""
        xp = array_module(y)
        for t, rows, cols in self._tap_slices(y.shape[2:]):
            value = padded[:, :, rows, cols]
            if t == 0:
                y[...], taps[...] = value, 0
                continue
            better = ~(value <= y) & (y == y)  # not "value > y": so a NaN wins, and once there it stays
            xp.copyto(taps, taps.dtype.type(t), where=better)
            xp.maximum(y, value, out=y)

    def _max_over_axes(self, padded, y, taps):
        """The same by rows of the window, then over these: kw + kh comparisons, not kw kh."""
        rows, cols = (self._slices(axis, size) for axis, size in enumerate(y.shape[2:]))
        number = np.arange(len(rows) * len(cols), dtype=taps.dtype).reshape(len(rows), len(cols))
        best, tap = (np.empty((*padded.shape[:3], y.shape[3]), a.dtype) for a in (y, taps))
        running_max([padded[..., c] for c in cols], number[0], best, tap)
        running_max(
            [best[:, :, r] for r in rows], [tap[:, :, r] + first for r, first in zip(rows, number[:, 0])], y, taps
        )
        if (y != y).any():  # there are NaNs, for which comparisons are too simple here
            self._max_over_taps(padded, y, taps)

    def _tap_slices(self, out_size):
        """(number, rows, columns) of each place of the window: the slices of the padded plane it meets, all outputs."""
        rows, cols = (self._slices(axis, size) for axis, size in enumerate(out_size))
        for t in range(len(rows) * len(cols)):
            yield t, rows[t // len(cols)], cols[t % len(cols)]

    def _slices(self, axis, out):
        """For each place of the window along one axis the slice of the padded plane it meets, with `out` outputs."""
        k, s, _, d = (pair[axis] for pair in self.geometry[:4])
        return [slice(i * d, i * d + s * (out - 1) + 1, s) for i in range(k)]

    def _padded(self, x, out_size):
        """x (n, C, H, W) with its padding of minus infinity, as far as the windows reach."""
        n, c, h, w = x.shape
        size, (ph, pw) = self._padded_size(h, w, out_size), self.geometry.padding
        if size == (h, w):
            return x
        padded = array_module(x).full((n, c, *size), -np.inf, x.dtype)
        padded[:, :, ph : ph + h, pw : pw + w] = x
        return padded

    def _output_size(self, h, w):
        if not self.ceil_mode:
            return self.geometry.output_size(self, h, w)
        reach = tuple(s - 1 for s in self.geometry.stride)  # ceil(a / s) = floor((a + s - 1) / s)
        size = self.geometry.output_size(self, h + reach[0], w + reach[1])
        starts_inside = (
            (o - 1) * s < n + p for o, s, n, p in zip(size, self.geometry.stride, (h, w), self.geometry.padding)
        )
        return tuple(o if inside else o - 1 for o, inside in zip(size, starts_inside))

    def _padded_size(self, h, w, out_size):
        """The image, its padding, and what the last window of ceil_mode needs beyond."""
        (kh, kw), (sh, sw), (ph, pw), (dh, dw), _ = self.geometry
        return max(h + 2 * ph, sh * (out_size[0] - 1) + dh * (kh - 1) + 1), max(
            w + 2 * pw, sw * (out_size[1] - 1) + dw * (kw - 1) + 1
        )


def running_max(values, numbers, best, number):
    """best = the largest of the arrays `values`, number = that of the first largest, of `numbers` (arrays or scalars).

    numbers[k] is larger than numbers[k - 1] everywhere: so where values[k] is better it wins by a maximum, which is
    much faster than copying under a mask.
    """
    best[...], number[...] = values[0], numbers[0]
    for value, k in zip(values[1:], numbers[1:]):
        better = (value > best).view(np.int8)
        np.maximum(number, better * k, out=number)
        np.maximum(best, value, out=best)
