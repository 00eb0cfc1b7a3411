"""PReLU for NumPy: the functions of nn/layers/prelu.py, an image at a time, shared among threads."""

import numpy as np

from nn.cpu.chunks import add_up, in_slices
from nn.cpu.chunks import real as takes
from nn.cpu.leaky import leaky_chunk, leaky_chunk_backward

__all__ = ["prelu", "prelu_backward", "takes"]


def prelu(x, weight):
    """y in the shape of x, as in nn/layers/prelu.py."""
    y, slope = np.empty(x.shape, x.dtype), _over_channels(weight, x)
    _over_images(lambda n: leaky_chunk(x[n], slope, y[n]), x)
    return y


def prelu_backward(dy, x, weight):
    """dx, dweight in the shapes of x and weight, as in nn/layers/prelu.py."""
    dx, slope = np.empty(dy.shape, dy.dtype), _over_channels(weight, x)
    shared = (0, *range(2, x.ndim)) if len(weight) > 1 else None

    def differentiate(n):
        leaky_chunk_backward(dy[n], x[n], slope, dx[n])
        return (dy[n] * np.minimum(x[n], 0)).sum(axis=shared).reshape(-1)

    return dx, add_up(_over_images(differentiate, x), weight)


def _over_channels(weight, x):
    """weight (C,) in a shape that broadcasts to x (N, C, ...); a number for weight (1,)."""
    return weight.reshape(-1, *(1,) * (x.ndim - 2)) if len(weight) > 1 else weight[0]


def _over_images(task, x):
    """in_slices over axis 0; an array without axes is one task."""
    return in_slices(task, len(x), x.size) if x.ndim else [task(...)]
