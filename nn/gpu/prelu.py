"""PReLU for CuPy: the functions of nn/layers/prelu.py. The kernels are in nn/gpu/activation.cu."""

import math

from nn.dispatch import array_module
from nn.gpu.activation import takes
from nn.gpu.kernels import launch

__all__ = ["prelu", "prelu_backward", "takes"]


def prelu(x, weight):
    """y in the shape of x."""
    y = array_module(x).empty(x.shape, x.dtype)
    _launch("prelu_forward", [x], weight, y)
    return y


def prelu_backward(dy, x, weight):
    """dx, dweight in the shapes of x and weight."""
    xp, axes = array_module(x), (0, *range(2, x.ndim)) if len(weight) > 1 else None
    dx, flow = xp.empty(x.shape, dy.dtype), xp.empty(x.shape, dy.dtype)
    _launch("prelu_backward", [dy, x], weight, dx, flow)
    return dx, flow.sum(axis=axes)


def _launch(kernel, arrays, weight, *outputs):
    """A kernel on arrays (N, C, L), C being the length of weight."""
    first = arrays[0]
    length = math.prod(first.shape[2:]) if len(weight) > 1 else max(first.size, 1)
    arrays = [array_module(first).ascontiguousarray(array, first.dtype) for array in (*arrays, weight)]
    launch("activation", kernel, first.size, first.dtype, *arrays, *outputs, first.size, len(weight), length)
