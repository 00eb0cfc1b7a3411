"""Elementwise non-linearities."""

import numpy as np

from nn.backend import array_module, parallel_for
from nn.layer import Layer, check_shape


class LeakyReLU(Layer):
    """y = x where x > 0, else negative_slope * x.    Any shape.

    Reference: Maas et al. 2013, Rectifier nonlinearities improve neural network acoustic models.
    """

    def __init__(self, negative_slope: float = 0.01):
        if not 0 <= negative_slope < 1:
            raise ValueError(f"LeakyReLU: negative_slope must be in [0, 1), got {negative_slope}")
        self.negative_slope = negative_slope

    def forward(self, x, training=True):
        check_shape(self, x=(x, (None,) * np.ndim(x)))
        xp = array_module(x)
        return xp.where(x > 0, x, x * self.negative_slope).astype(x.dtype, copy=False), x

    def backward(self, dy, cache):
        x = cache
        check_shape(self, dy=(dy, x.shape))
        xp = array_module(dy)
        return xp.where(x > 0, dy, dy * self.negative_slope).astype(dy.dtype, copy=False)


class ReLU(Layer):
    """y = max(x, 0).    Any shape. The gradient at exactly 0 is taken as 0; NaN stays NaN.

    Reference: Nair and Hinton 2010, Rectified linear units improve restricted Boltzmann machines.
    """

    def forward(self, x, training=True):
        check_shape(self, x=(x, (None,) * np.ndim(x)))
        y = in_pieces(lambda x, out: array_module(x).maximum(x, 0, out=out), x)
        return y, y

    def backward(self, dy, cache):
        y = cache
        check_shape(self, dy=(dy, y.shape))
        return in_pieces(lambda dy, y, out: array_module(dy).multiply(dy, y > 0, out=out), dy, y)


def in_pieces(function, *arrays):
    """function(*arrays, out=...) for an elementwise function, the first axis shared among threads where it pays."""
    first = arrays[0]
    out = array_module(first).empty(first.shape, first.dtype)
    if array_module(first) is not np or first.size < 1 << 17:
        return function(*arrays, out=out)
    parallel_for(lambda n: function(*(a[n] for a in arrays), out=out[n]), len(first))
    return out
