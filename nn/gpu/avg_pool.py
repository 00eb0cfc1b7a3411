"""Average pooling for CuPy: the kernels of nn/gpu/avg_pool.cu."""

from nn.dispatch import array_module
from nn.gpu.kernels import launch
from nn.gpu.kernels import use_kernels as takes
from nn.layers.windows import Geometry

__all__ = ["avg_pool", "avg_pool_backward", "takes"]


def avg_pool(x, g: Geometry, out_size, count_include_pad=True, divisor_override=None):
    """As in nn.layers.avg_pool."""
    y = array_module(x).empty((*x.shape[:2], *out_size), x.dtype)
    _launch("avg_pool_forward", y, x, (*x.shape[2:], *out_size), g, count_include_pad, divisor_override)
    return y


def avg_pool_backward(dy, g: Geometry, in_shape, count_include_pad=True, divisor_override=None):
    """As in nn.layers.avg_pool."""
    dx = array_module(dy).empty(in_shape, dy.dtype)
    _launch("avg_pool_backward", dx, dy, (*in_shape[2:], *dy.shape[2:]), g, count_include_pad, divisor_override)
    return dx


def _launch(name, out, given, sizes, g, count_include_pad, divisor_override):
    """Fill `out` from `given`; sizes: h, w, oh, ow."""
    given = array_module(given).ascontiguousarray(given)
    windows = [value for both in (g.kernel, g.stride, g.padding) for value in both]
    options = count_include_pad, divisor_override or 0
    launch("avg_pool", name, out.size, out.dtype, out, given, out.size, *sizes, *windows, *options)
