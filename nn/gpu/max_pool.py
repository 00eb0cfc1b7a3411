"""Max pooling for CuPy: the kernels of nn/gpu/max_pool.cu."""

import numpy as np

from nn.dispatch import array_module
from nn.gpu.kernels import as_int, launch
from nn.gpu.kernels import use_kernels as takes
from nn.layers.windows import Geometry

__all__ = ["max_pool", "max_pool_backward", "plane_indices", "takes"]


def max_pool(x, g: Geometry, out_size):
    """As in nn.layers.max_pool."""
    xp = array_module(x)
    y = xp.empty((*x.shape[:2], *out_size), x.dtype)
    taps = xp.empty(y.shape, np.int32)
    arrays, sizes = (y, taps, xp.ascontiguousarray(x)), (y.size, *x.shape[2:], *out_size)
    launch("max_pool", "max_pool_forward", y.size, y.dtype, *arrays, *sizes, *_windows(g))
    return y, taps


def max_pool_backward(dy, taps, g: Geometry, in_shape):
    """As in nn.layers.max_pool."""
    xp = array_module(dy)
    dx = xp.empty(in_shape, dy.dtype)
    arrays, sizes = (dx, xp.ascontiguousarray(dy), taps), (dx.size, *in_shape[2:], *dy.shape[2:])
    launch("max_pool", "max_pool_backward", dx.size, dx.dtype, *arrays, *sizes, *_windows(g))
    return dx


def plane_indices(taps, g: Geometry, in_size):
    """As in nn.layers.max_pool."""
    indices = array_module(taps).empty(taps.shape, np.int64)
    arrays, sizes = (indices, taps), (indices.size, *in_size, *taps.shape[2:])
    launch("max_pool", "max_pool_indices", indices.size, np.float32, *arrays, *sizes, *_windows(g))
    return indices


def _windows(g):
    """kh, kw, sh, sw, ph, pw, dh, dw: the last arguments of the kernels."""
    as_int("max_pool", "the number of positions of a window", g.kernel[0] * g.kernel[1])
    return [value for both in g[:4] for value in both]
