"""Pooling into a grid of bins for CuPy: the kernels of nn/gpu/adaptive_pool.cu."""

import numpy as np

from nn.dispatch import array_module
from nn.gpu.kernels import launch
from nn.gpu.kernels import use_kernels as takes

__all__ = [
    "adaptive_avg_pool",
    "adaptive_avg_pool_backward",
    "adaptive_max_pool",
    "adaptive_max_pool_backward",
    "takes",
]


def adaptive_avg_pool(x, out_size):
    """As in nn.layers.adaptive_pool."""
    y = array_module(x).empty((*x.shape[:2], *out_size), x.dtype)
    return _launch("adaptive_avg_forward", y, (*x.shape[2:], *out_size), x)


def adaptive_avg_pool_backward(dy, in_shape):
    """As in nn.layers.adaptive_pool."""
    dx = array_module(dy).empty(in_shape, dy.dtype)
    return _launch("adaptive_avg_backward", dx, (*in_shape[2:], *dy.shape[2:]), dy)


def adaptive_max_pool(x, out_size):
    """As in nn.layers.adaptive_pool."""
    xp = array_module(x)
    y, source = (xp.empty((*x.shape[:2], *out_size), dtype) for dtype in (x.dtype, np.int64))
    return _launch("adaptive_max_forward", y, (*x.shape[2:], *out_size), source, x), source


def adaptive_max_pool_backward(dy, source, in_shape):
    """As in nn.layers.adaptive_pool."""
    dx = array_module(dy).empty(in_shape, dy.dtype)
    return _launch("adaptive_max_backward", dx, (*in_shape[2:], *dy.shape[2:]), dy, source)


def _launch(name, out, sizes, *arrays):
    """Fill `out` by the kernel of this name, which takes these arrays after it; sizes: h, w, oh, ow."""
    arrays = [array_module(out).ascontiguousarray(a) for a in arrays]
    launch("adaptive_pool", name, out.size, out.dtype, out, *arrays, out.size, *sizes)
    return out
