"""ReLU6, a ReLU that ends at 6: what it computes, its gradient, and the layer.

nn/cpu/relu6.py holds the same functions, faster.
"""

import numpy as np

from nn.dispatch import array_module, functions
from nn.layer import Layer, check_shape

HIGHEST = 6


def relu6(x):
    """min(max(x, 0), 6). NaN stays NaN."""
    xp = array_module(x)
    return xp.where(x.real <= 0, 0, xp.where(x.real >= HIGHEST, HIGHEST, x)).astype(x.dtype)


def relu6_backward(dy, y):
    """dx = dy where 0 < x < 6, which is where 0 < y < 6; else 0."""
    return array_module(dy).where((y.real > 0) & (y.real < HIGHEST), dy, 0).astype(dy.dtype)


class ReLU6(Layer):
    """y = min(max(x, 0), 6).    Any shape. The gradient at exactly 0 and 6 is taken as 0; NaN stays NaN.

    A network in 8 bits has only 256 values for an activation: with an end they are fine enough.

    Reference: Krizhevsky 2010, Convolutional deep belief networks on CIFAR-10; Howard et al. 2017, arXiv:1704.04861.
    """

    def forward(self, x, training=True):
        check_shape(self, x=(x, (None,) * np.ndim(x)))
        y = functions(__name__, x).relu6(x)
        return y, y

    def backward(self, dy, cache):
        y = cache
        check_shape(self, dy=(dy, y.shape))
        return functions(__name__, dy, y).relu6_backward(dy, y)
