"""Max unpooling for CuPy: the kernels of nn/gpu/max_unpool.cu."""

import numpy as np

from nn.dispatch import array_module
from nn.gpu.kernels import launch
from nn.gpu.kernels import use_kernels as takes

__all__ = ["max_unpool", "max_unpool_backward", "takes"]


def max_unpool(x, indices, out_size):
    """As in nn.layers.max_unpool; an index outside the output plane makes the first element of the plane NaN."""
    xp = array_module(x)
    y, x = xp.empty((*x.shape[:2], *out_size), x.dtype), xp.ascontiguousarray(x)
    kept, _, sizes = _kept(indices, x.dtype, out_size)
    launch("max_unpool", "unpool_forward", y.size, y.dtype, y, kept, x, y.size, *sizes)
    return y


def max_unpool_backward(dy, indices):
    """As in nn.layers.max_unpool."""
    xp = array_module(dy)
    dx, dy = xp.empty(indices.shape, dy.dtype), xp.ascontiguousarray(dy)
    kept, indices, sizes = _kept(indices, dy.dtype, dy.shape[2:])
    launch("max_unpool", "unpool_backward", dx.size, dx.dtype, dx, kept, indices, dy, dx.size, *sizes)
    return dx


def _kept(indices, dtype, out_size):
    """Which element of its plane of x each position of y (N C, oh ow) has, -1 for none; indices; sizes of planes."""
    xp, (n, c, h, w) = array_module(indices), indices.shape
    indices, sizes = xp.ascontiguousarray(indices, np.int64), (h * w, out_size[0] * out_size[1])
    kept = xp.full((n * c, sizes[1]), -1, np.int32)
    launch("max_unpool", "keep_last", indices.size, dtype, kept, indices, indices.size, *sizes)
    return kept, indices, sizes
