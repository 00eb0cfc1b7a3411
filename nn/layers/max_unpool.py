"""Unpooling: values back to the places that MaxPool2d took them from; on a GPU by the kernels of nn/gpu/max_pool.cu."""

import numpy as np

from nn.cpu.chunks import in_slices
from nn.cpu.parallel import parallel_for
from nn.dispatch import array_module
from nn.gpu.kernels import launch, use_kernels
from nn.layer import Layer, check_shape, pair
from nn.layers.avg_pool import check_pixels
from nn.layers.windows import Geometry


class MaxUnpool2d(Layer):
    """y[indices] = x, zero elsewhere.    x, indices (N, C, H, W), y (N, C, oh, ow): a partial inverse of MaxPool2d.

    indices are MaxPool2d's: flat places in the oh*ow of the output plane. kernel_size, stride (default: kernel_size)
    and padding are those of that pooling; they only determine the size, oh = (H - 1) stride - 2 padding + kh, which
    several sizes are pooled to: output_size, (oh, ow) or a whole shape, picks another one, less than a stride away.

    Where an index is repeated (windows overlapped) the last in reading order is kept and alone gets the gradient.
    backward returns (dx, None).

    Raises ValueError for indices of another shape or outside the output plane, an output_size out of reach, an image
    without pixels; TypeError for indices that are not whole numbers. On a GPU, where looking at indices would mean to
    wait for them, one outside the output plane makes the plane's first number NaN.

    Reference: Zeiler and Fergus 2013, Visualizing and understanding convolutional networks, arXiv:1311.2901, sec. 2.1.
    """

    def __init__(self, kernel_size, stride=None, padding=0):
        kernel = pair(self, "kernel_size", kernel_size, 1)
        stride = kernel if stride is None else pair(self, "stride", stride, 1)
        self.geometry = Geometry(kernel, stride, pair(self, "padding", padding, 0))

    def forward(self, x, indices, output_size=None, training=True):
        check_pixels(self, x)
        out_size = self._output_size(x.shape[2:], output_size)
        self._check_indices(x, indices)
        if use_kernels(x):
            return self._forward_by_kernels(x, indices, out_size), (indices, out_size)
        self._check_places(indices, out_size)
        xp = array_module(x)
        y = xp.empty((*x.shape[:2], out_size[0] * out_size[1]), x.dtype)

        def image(i):
            y[i] = 0
            y[i].reshape(-1)[places(indices[i], y.shape[2])] = x[i].ravel()

        parallel_for(image, len(x), xp)
        return y.reshape(*x.shape[:2], *out_size), (indices, out_size)

    def backward(self, dy, cache):
        indices, out_size = cache
        check_shape(self, dy=(dy, (*indices.shape[:2], *out_size)))
        if use_kernels(dy):
            return self._backward_by_kernels(dy, indices, out_size), None
        xp = array_module(dy)
        dx = xp.empty(indices.shape, dy.dtype)

        def image(i):
            place = places(indices[i], out_size[0] * out_size[1])
            dx[i] = dy[i].reshape(-1)[place].reshape(dx[i].shape)  # y[place] = x
            filled = xp.zeros(dy[i].size, bool)
            filled[place] = True
            if xp.count_nonzero(filled) < place.size:  # of equal places the last is kept, the others get nothing
                number = xp.arange(place.size, dtype=np.int32)
                kept = xp.empty(dy[i].size, number.dtype)
                kept[place] = number
                dx[i] *= (kept[place] == number).reshape(dx[i].shape)

        parallel_for(image, len(dx), xp)
        return dx, None

    def _forward_by_kernels(self, x, indices, out_size):
        xp = array_module(x)
        y, x = xp.empty((*x.shape[:2], *out_size), x.dtype), xp.ascontiguousarray(x)
        kept, _, sizes = self._kept(indices, x.dtype, out_size)
        launch("max_unpool", "unpool_forward", y.size, y.dtype, y, kept, x, y.size, *sizes)
        return y

    def _backward_by_kernels(self, dy, indices, out_size):
        xp = array_module(dy)
        dx, dy = xp.empty(indices.shape, dy.dtype), xp.ascontiguousarray(dy)
        kept, indices, sizes = self._kept(indices, dy.dtype, out_size)
        launch("max_unpool", "unpool_backward", dx.size, dx.dtype, dx, kept, indices, dy, dx.size, *sizes)
        return dx

    def _kept(self, indices, dtype, out_size):
        """Which number of its plane of x each place of y (N C, oh ow) takes, -1 for none; indices; sizes of planes."""
        xp, (n, c, h, w) = array_module(indices), indices.shape
        indices, sizes = xp.ascontiguousarray(indices, np.int64), (h * w, out_size[0] * out_size[1])
        kept = xp.full((n * c, sizes[1]), -1, np.int32)
        launch("max_unpool", "keep_last", indices.size, dtype, kept, indices, indices.size, *sizes)
        return kept, indices, sizes

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

    def _check_places(self, indices, out_size):
        last, xp = out_size[0] * out_size[1] - 1, array_module(indices)
        ends = in_slices(lambda n: (int(indices[n].min()), int(indices[n].max())), len(indices), indices.size, xp)
        low, high = min((end[0] for end in ends), default=0), max((end[1] for end in ends), default=0)
        if low < 0 or high > last:
            raise ValueError(f"MaxUnpool2d: indices must be in 0 .. {last} for output {out_size}, got {low} .. {high}")


def places(indices, plane: int):
    """Flat places in an image (C, plane) of the indices (C, H, W) into its planes, in reading order."""
    xp = array_module(indices)
    return (xp.arange(len(indices))[:, None, None] * plane + indices).ravel()
