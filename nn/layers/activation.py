"""Elementwise non-linearities with exponentials in them; those of straight lines come from nn/layers/rectifier.py.

The formulas are rearranged so that no exponential overflows, and so that they serve complex arrays as well (for
complex-step gradient checks): comparisons go by the real part, and np.abs, which is not analytic, is for floats alone.
"""

import math

import numpy as np

from nn.cpu.chunks import in_pieces
from nn.dispatch import array_module
from nn.layer import Layer, check_shape
from nn.layers.rectifier import LeakyReLU, PReLU, ReLU, rectify_backward

__all__ = ["ELU", "LeakyReLU", "PReLU", "ReLU", "SiLU", "Sigmoid", "Softplus", "Tanh", "sigmoid"]


class ELU(Layer):
    """y = x where x > 0, else alpha * (exp(x) - 1).    Any shape. alpha is at least 0.

    Reference: Clevert et al. 2016, arXiv:1511.07289, eq. 15.
    """

    def __init__(self, alpha: float = 1.0):
        if not 0 <= alpha < math.inf:
            raise ValueError(f"ELU: alpha must be a finite number >= 0, got {alpha}")
        self.alpha = alpha

    def forward(self, x, training=True):
        check_shape(self, x=(x, (None,) * np.ndim(x)))

        def elu(x, out):
            xp = array_module(x)  # max(x, 0) + alpha * (exp(min(x, 0)) - 1): one of the two terms is 0
            negative = xp.expm1(xp.minimum(x, 0))
            negative *= self.alpha
            xp.maximum(x, 0, out=out)
            out += negative

        return in_pieces(elu, x, kernel=("ELU", self.alpha)), x

    def backward(self, dy, cache):
        x = cache
        check_shape(self, dy=(dy, x.shape))

        def differentiate(dy, x, out):  # y = x has slope 1, y = alpha * (exp(x) - 1) the slope alpha * exp(x)
            xp = array_module(x)
            slope = xp.exp(xp.minimum(x, 0))
            slope *= self.alpha
            rectify_backward(dy, x, slope, out)

        return in_pieces(differentiate, dy, x, kernel=("ELU", self.alpha))


class Sigmoid(Layer):
    """y = 1 / (1 + exp(-x)).    Any shape. Computed as exp(x) / (1 + exp(x)) where x <= 0: exact down to exp(x) = 0."""

    def forward(self, x, training=True):
        check_shape(self, x=(x, (None,) * np.ndim(x)))
        y = sigmoid(x)
        return y, y

    def backward(self, dy, cache):
        y = cache
        check_shape(self, dy=(dy, y.shape))

        def differentiate(dy, y, out):  # y' = y (1 - y)
            array_module(y).multiply(dy, y * (1 - y), out=out)

        return in_pieces(differentiate, dy, y, kernel=("Sigmoid",))


class Tanh(Layer):
    """y = tanh(x) = (exp(x) - exp(-x)) / (exp(x) + exp(-x)).    Any shape."""

    def forward(self, x, training=True):
        check_shape(self, x=(x, (None,) * np.ndim(x)))
        y = in_pieces(lambda x, out: array_module(x).tanh(x, out=out), x, kernel=("Tanh",))
        return y, y

    def backward(self, dy, cache):
        y = cache
        check_shape(self, dy=(dy, y.shape))

        def differentiate(dy, y, out):  # y' = 1 - y^2
            array_module(y).multiply(dy, 1 - y * y, out=out)

        return in_pieces(differentiate, dy, y, kernel=("Tanh",))


class SiLU(Layer):
    """y = x * sigmoid(x), also known as swish.    Any shape.

    Reference: Elfwing et al. 2017, arXiv:1702.03118, sec. 2, which gives the derivative too.
    """

    def forward(self, x, training=True):
        check_shape(self, x=(x, (None,) * np.ndim(x)))
        y = in_pieces(lambda x, out: array_module(x).multiply(x, sigmoid(x), out=out), x, kernel=("SiLU",))
        return y, x

    def backward(self, dy, cache):
        x = cache
        check_shape(self, dy=(dy, x.shape))

        def differentiate(dy, x, out):  # y = x s with s = sigmoid(x), s' = s (1 - s)
            s = sigmoid(x)
            array_module(x).multiply(dy, s * (1 + x * (1 - s)), out=out)

        return in_pieces(differentiate, dy, x, kernel=("SiLU",))


class Softplus(Layer):
    """y = log(1 + exp(beta * x)) / beta, a smooth ReLU.    Any shape.

    Where beta * x > threshold y = x, as in PyTorch: there the two differ by less than exp(-threshold) / beta.

    Reference: Dugas et al. 2001, Incorporating second-order functional knowledge for better option pricing.
    """

    def __init__(self, beta: float = 1.0, threshold: float = 20.0):
        if not 0 < beta < math.inf or math.isnan(threshold):
            raise ValueError(
                f"Softplus: beta must be a finite number > 0 and threshold a number, got {beta} and {threshold}"
            )
        self.beta, self.threshold = beta, threshold

    def forward(self, x, training=True):
        check_shape(self, x=(x, (None,) * np.ndim(x)))

        def softplus(x, out):
            xp, z = array_module(x), x * self.beta
            smooth = xp.log1p(_exp_of_minus_abs(z)) + xp.maximum(z, 0)  # log(1 + e^z) = log(1 + e^-z) + z
            _copy_where(z.real > self.threshold, x, smooth / self.beta, out)

        return in_pieces(softplus, x, kernel=("Softplus", self.beta, self.threshold)), x

    def backward(self, dy, cache):
        x = cache
        check_shape(self, dy=(dy, x.shape))

        def differentiate(dy, x, out):  # y = log(1 + exp(beta x)) / beta: y' = sigmoid(beta x)
            z = x * self.beta
            _copy_where(z.real > self.threshold, dy, dy * sigmoid(z), out)

        return in_pieces(differentiate, dy, x, kernel=("Softplus", self.beta, self.threshold))


def sigmoid(x):
    """1 / (1 + exp(-x)), a new array; right for x of any size, without overflow."""
    return in_pieces(_sigmoid, x, kernel=("Sigmoid",))


def _sigmoid(x, out):
    """With e = exp(-|x|) <= 1: 1 / (1 + e) where x > 0, e / (1 + e) elsewhere."""
    xp, e = array_module(x), _exp_of_minus_abs(x)
    xp.maximum(e, x > 0, out=out)  # 1 or e
    e += 1
    out /= e


def _exp_of_minus_abs(x):
    """exp(-|x|), where |x| of a complex number is x or -x: analytic."""
    xp = array_module(x)
    e = -xp.abs(x) if x.dtype.kind == "f" else xp.where(x > 0, -x, x)
    return xp.exp(e, out=e)


def _copy_where(condition, a, b, out):
    """out = a where the condition holds, else b. Fast where it hardly ever holds."""
    out[...] = b
    array_module(out).copyto(out, a, where=condition)
