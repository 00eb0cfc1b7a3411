"""Max unpooling: values back to the positions that MaxPool2d took them from.

nn/cpu/max_unpool.py and nn/gpu/max_unpool.py hold the same functions, faster.
"""

import numpy as np

from nn.dispatch import array_module, functions
from nn.layer import Layer, check_shape, pair
from nn.layers.avg_pool import check_pixels
from nn.layers.windows import Geometry


def max_unpool(x, indices, out_size):
    """y (N, C, oh, ow) = x (N, C, H, W) at its indices (N, C, H, W) in the oh*ow of each plane, zeros elsewhere."""
    xp, (n, c, h, w) = array_module(x), x.shape
    y = xp.zeros((n, c, out_size[0] * out_size[1]), x.dtype)
    xp.put_along_axis(y, indices.reshape(n, c, h * w), x.reshape(n, c, h * w), axis=2)  # of equal ones the last stays
    return y.reshape(n, c, *out_size)


def max_unpool_backward(dy, indices):
    """dx (N, C, H, W) for dy (N, C, oh, ow): what flowed to the position of each element that was kept there."""
    xp, (n, c, h, w), (out_h, out_w) = array_module(dy), indices.shape, dy.shape[2:]
    indices, dy = indices.reshape(n, c, h * w), dy.reshape(n, c, out_h * out_w)
    element = xp.broadcast_to(xp.arange(h * w), indices.shape)
    kept = xp.zeros(dy.shape, element.dtype)
    xp.put_along_axis(kept, indices, element, axis=2)  # as in the forward: which element each position of y has
    is_kept = xp.take_along_axis(kept, indices, axis=2) == element
    dx = xp.where(is_kept, xp.take_along_axis(dy, indices, axis=2), 0)  # y[indices] = x
    return dx.reshape(n, c, h, w)


def index_range(indices) -> tuple[int, int]:
    """The smallest and the largest of the indices; (0, 0) where there are none."""
    return (int(indices.min()), int(indices.max())) if indices.size else (0, 0)


class MaxUnpool2d(Layer):
    """y[indices] = x, zero elsewhere.    x, indices (N, C, H, W), y (N, C, oh, ow): a partial inverse of MaxPool2d.

    indices are MaxPool2d's: flat positions in the oh*ow of the output plane. kernel_size, stride (default: kernel_size)
    and padding are those of that pooling; they only determine the size, oh = (H - 1) stride - 2 padding + kh, which
    several sizes are pooled to: output_size, (oh, ow) or a whole shape, picks another one, less than a stride away.

    Where an index is repeated (windows overlapped) the last in reading order is kept and alone gets the gradient.
    backward returns (dx, None).

    Raises ValueError for indices of another shape or outside the output plane, an output_size out of reach, an image
    without pixels; TypeError for indices that are not integers. On a GPU, where the host would have to wait for
    the indices, one outside the output plane makes the first element of the plane NaN.

    Reference: Zeiler and Fergus 2013, Visualizing and understanding convolutional networks, arXiv:1311.2901, sec. 2.1.
    """

    def __init__(self, kernel_size, stride=None, padding=0):
        kernel = pair(self, "kernel_size", kernel_size, 1)
        stride = kernel if stride is None else pair(self, "stride", stride, 1)
        self.geometry = Geometry(kernel, stride, pair(self, "padding", padding, 0))

    def forward(self, x, indices, output_size=None, training=True):
        check_pixels(self, x)
        out_size, ops = self._output_size(x.shape[2:], output_size), functions(__name__, x)
        self._check_indices(x, indices)
        if array_module(indices) is np:
            last, (low, high) = out_size[0] * out_size[1] - 1, ops.index_range(indices)
            if low < 0 or high > last:
                wanted = f"in 0 .. {last} for output {out_size}"
                raise ValueError(f"MaxUnpool2d: indices must be {wanted}, got {low} .. {high}")
        return ops.max_unpool(x, indices, out_size), (indices, out_size)

    def backward(self, dy, cache):
        indices, out_size = cache
        check_shape(self, dy=(dy, (*indices.shape[:2], *out_size)))
        return functions(__name__, dy).max_unpool_backward(dy, indices), None

    def _output_size(self, in_size, wanted):
        g = self.geometry
        default = [(n - 1) * s - 2 * p + k for n, k, s, p in zip(in_size, g.kernel, g.stride, g.padding)]
        if wanted is None:
            size, low, high = default, (1, 1), default
        else:
            size = pair(self, "output_size", tuple(wanted)[2:] if len(wanted) == 4 else tuple(wanted), 1)
            low, high = ([d + sign * (s - 1) for d, s in zip(default, g.stride)] for sign in (-1, 1))
        if any(not a <= n <= b for a, n, b in zip(low, size, high)):
            reach = f", which must be in {tuple(low)} .. {tuple(high)}" if wanted is not None else ""
            raise ValueError(
                f"MaxUnpool2d: output size {tuple(size)}{reach} for input {tuple(in_size)}, kernel {g.kernel}, "
                f"stride {g.stride}, padding {g.padding}"
            )
        return tuple(size)

    def _check_indices(self, x, indices):
        if not hasattr(indices, "dtype") or indices.dtype.kind not in "iu":
            got = getattr(indices, "dtype", type(indices).__name__)
            raise TypeError(f"MaxUnpool2d: indices must be an array of whole numbers, got {got}")
        if indices.shape != x.shape:
            raise ValueError(f"MaxUnpool2d: indices must have shape {x.shape}, got {indices.shape}")
