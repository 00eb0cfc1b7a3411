"""Average pooling: over windows, and over the whole plane.

On a GPU windows are summed by the kernels of nn/gpu/avg_pool.cu; the mean of a plane is one reduction.
"""

import numpy as np

from nn.dispatch import array_module
from nn.gpu.kernels import launch, use_kernels
from nn.layer import Layer, check_shape, pair, positive
from nn.layers.max_pool import pooled_size
from nn.layers.separable import spread_windows, window_sums
from nn.layers.windows import Geometry


class AvgPool2d(Layer):
    """y = sum over each window / divisor.    x (N, C, H, W), y (N, C, oh, ow).

    kernel_size, stride (default: kernel_size) and padding are whole numbers or (vertical, horizontal) pairs. Padding is
    with zeros, at most half the kernel. oh = floor((H + 2 padding - kh) / stride) + 1; with ceil_mode it is ceil, but
    the last window starts inside the image or its top padding: MaxPool2d's rule.

    The divisor is the number of places of the window within the padded image; places that ceil_mode reaches beyond the
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
        kernel = pair(self, "kernel_size", kernel_size, 1)
        padding = pair(self, "padding", padding, 0)
        if any(2 * p > k for p, k in zip(padding, kernel)):
            raise ValueError(f"AvgPool2d: padding {padding} must be at most half the kernel_size {kernel}")
        if divisor_override is not None:
            positive(self, divisor_override=divisor_override)
        self.geometry = Geometry(kernel, kernel if stride is None else pair(self, "stride", stride, 1), padding)
        self.ceil_mode, self.count_include_pad = ceil_mode, count_include_pad
        self.divisor_override = divisor_override

    def forward(self, x, training=True):
        check_pixels(self, x)
        out_size = self._output_size(*x.shape[2:])
        if use_kernels(x):
            y = array_module(x).empty((*x.shape[:2], *out_size), x.dtype)
            self._launch("avg_pool_forward", y, x, x.shape, out_size)
            return y, x.shape
        y = window_sums(x, self.geometry, out_size)
        y /= self._divisor(x, x.shape[2:], out_size)
        return y, x.shape

    def backward(self, dy, cache):
        n, c, h, w = cache
        out_size = self._output_size(h, w)
        check_shape(self, dy=(dy, (n, c, *out_size)))
        if use_kernels(dy):
            dx = array_module(dy).empty(cache, dy.dtype)
            self._launch("avg_pool_backward", dx, dy, cache, out_size)
            return dx
        # y = sum / divisor: each pixel of a window gets dy / divisor, the more often the more windows it is in
        return spread_windows(dy / self._divisor(dy, (h, w), out_size), self.geometry, (h, w))

    def _output_size(self, *in_size):
        return pooled_size(self, self.geometry, in_size, self.ceil_mode)

    def _launch(self, name, out, given, in_shape, out_size):
        arrays, sizes = (out, array_module(given).ascontiguousarray(given)), (out.size, *in_shape[2:], *out_size)
        windows = [number for both in self.geometry[:3] for number in both]
        options = self.count_include_pad, self.divisor_override or 0
        launch("avg_pool", name, out.size, out.dtype, *arrays, *sizes, *windows, *options)

    def _divisor(self, like, in_size, out_size):
        """(oh, ow) divisors, as an array of the kind of `like`."""
        if self.divisor_override is not None:
            return self.divisor_override
        height, width = (self._places(i, size, out_size[i]) for i, size in enumerate(in_size))
        return array_module(like).asarray(np.outer(height, width).astype(like.dtype))

    def _places(self, axis, size, out_size):
        """How many places of each window count along one axis."""
        k, s, p = (pair[axis] for pair in self.geometry[:3])
        start = np.arange(out_size) * s - p
        end = np.minimum(start + k, size + p)
        return end - start if self.count_include_pad else np.minimum(end, size) - np.maximum(start, 0)


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
        dx = array_module(dy).empty(cache, dy.dtype)
        dx[...] = (dy / (h * w))[:, :, None, None]  # y = sum / (H W): every pixel has the same share
        return dx


def check_pixels(owner, x):
    """Raise unless x is (N, C, H, W) with at least one pixel in a plane."""
    check_shape(owner, x=(x, ("N", "C", "H", "W")))
    if 0 in x.shape[2:]:
        raise ValueError(f"{type(owner).__name__}: x must have at least one row and one column, got shape {x.shape}")
