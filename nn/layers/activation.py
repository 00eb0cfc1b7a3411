"""Elementwise non-linearities: the formula of each, that of its gradient, and the layer.

No exponential overflows, since each is of a value at most 0: exp(-|x|) and exp(min(x, 0)). Comparisons are of the real
part, so that all but the kinks are analytic for complex x.
"""

import math

import numpy as np

from nn.dispatch import array_module, functions
from nn.layer import Layer, check_shape


def rectify(a, x):
    """a where x > 0, else 0.    a, x of one shape. NaN in x leaves a."""
    y = a.copy()
    y[x.real <= 0] = 0
    return y


class ReLU(Layer):
    """y = max(x, 0).    Any shape. The gradient at exactly 0 is taken as 0; NaN stays NaN.

    Reference: Nair and Hinton 2010, Rectified linear units improve restricted Boltzmann machines.
    """

    def forward(self, x, training=True):
        check_shape(self, x=(x, (None,) * np.ndim(x)))
        y = functions(__name__, x).rectify(x, x)  # max(x, 0)
        return y, y

    def backward(self, dy, cache):
        y = cache
        check_shape(self, dy=(dy, y.shape))
        return functions(__name__, dy, y).rectify(dy, y)  # y = x where x > 0, which is where y > 0; else 0


def leaky_rectify(a, x, slope):
    """a where x > 0, else slope * a.    a, x of one shape, slope a number or an array that broadcasts to it."""
    return array_module(x).where(x.real > 0, a, slope * a)


class LeakyReLU(Layer):
    """y = x where x > 0, else negative_slope * x.    x, y (...), any shape.

    Reference: Maas et al. 2013, Rectifier nonlinearities improve neural network acoustic models.
    """

    def __init__(self, negative_slope: float = 0.01):
        if not 0 <= negative_slope < 1:
            raise ValueError(f"LeakyReLU: negative_slope must be in [0, 1), got {negative_slope}")
        self.negative_slope = negative_slope

    def forward(self, x, training=True):
        check_shape(self, x=(x, (None,) * np.ndim(x)))
        return functions(__name__, x).leaky_rectify(x, x, self.negative_slope), x

    def backward(self, dy, cache):
        x = cache
        check_shape(self, dy=(dy, x.shape))
        # y = x where x > 0, else negative_slope * x: dx has the same slopes, of the same elements
        return functions(__name__, dy, x).leaky_rectify(dy, x, self.negative_slope)


def elu(x, alpha):
    """x where x > 0, else alpha * (exp(x) - 1)."""
    xp, above = array_module(x), x.real > 0
    return xp.where(above, x, alpha * xp.expm1(xp.where(above, 0, x)))


def elu_backward(dy, x, alpha):
    """dx = dy where x > 0, else dy * alpha * exp(x)."""
    xp, above = array_module(x), x.real > 0
    return dy * xp.where(above, 1, alpha * xp.exp(xp.where(above, 0, x)))


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
        return functions(__name__, x).elu(x, self.alpha), x

    def backward(self, dy, cache):
        x = cache
        check_shape(self, dy=(dy, x.shape))
        return functions(__name__, dy, x).elu_backward(dy, x, self.alpha)


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)): with e = exp(-|x|) this is 1 / (1 + e) where x > 0, and e / (1 + e) elsewhere."""
    xp, above = array_module(x), x.real > 0
    e = xp.exp(xp.where(above, -x, x))
    return xp.where(above, 1, e) / (1 + e)


def sigmoid_backward(dy, y):
    """dx = dy * y * (1 - y), as the derivative of y = 1 / (1 + exp(-x)) is exp(-x) / (1 + exp(-x))^2."""
    return dy * y * (1 - y)


class Sigmoid(Layer):
    """y = 1 / (1 + exp(-x)).    Any shape. Exact down to exp(x) = 0."""

    def forward(self, x, training=True):
        check_shape(self, x=(x, (None,) * np.ndim(x)))
        y = functions(__name__, x).sigmoid(x)
        return y, y

    def backward(self, dy, cache):
        y = cache
        check_shape(self, dy=(dy, y.shape))
        return functions(__name__, dy, y).sigmoid_backward(dy, y)


def tanh(x):
    """(exp(x) - exp(-x)) / (exp(x) + exp(-x))."""
    return array_module(x).tanh(x)


def tanh_backward(dy, y):
    """dx = dy * (1 - y^2)."""
    return dy * (1 - y * y)


class Tanh(Layer):
    """y = tanh(x) = (exp(x) - exp(-x)) / (exp(x) + exp(-x)).    Any shape."""

    def forward(self, x, training=True):
        check_shape(self, x=(x, (None,) * np.ndim(x)))
        y = functions(__name__, x).tanh(x)
        return y, y

    def backward(self, dy, cache):
        y = cache
        check_shape(self, dy=(dy, y.shape))
        return functions(__name__, dy, y).tanh_backward(dy, y)


def silu(x):
    """x * sigmoid(x)."""
    return x * sigmoid(x)


def silu_backward(dy, x):
    """dx = dy * (s + x * s * (1 - s)), s = sigmoid(x), whose derivative is s * (1 - s)."""
    s = sigmoid(x)
    return dy * (s + x * s * (1 - s))


class SiLU(Layer):
    """y = x * sigmoid(x), also known as swish.    Any shape.

    Reference: Elfwing et al. 2017, arXiv:1702.03118, sec. 2, which gives the derivative too.
    """

    def forward(self, x, training=True):
        check_shape(self, x=(x, (None,) * np.ndim(x)))
        return functions(__name__, x).silu(x), x

    def backward(self, dy, cache):
        x = cache
        check_shape(self, dy=(dy, x.shape))
        return functions(__name__, dy, x).silu_backward(dy, x)


def softplus(x, beta, threshold):
    """log(1 + exp(z)) / beta = (log(1 + exp(-|z|)) + max(z, 0)) / beta, z = beta * x; x where z > threshold."""
    xp, z = array_module(x), beta * x
    above = z.real > 0
    y = (xp.log1p(xp.exp(xp.where(above, -z, z))) + xp.where(above, z, 0)) / beta
    return xp.where(z.real > threshold, x, y)


def softplus_backward(dy, x, beta, threshold):
    """dx = dy * sigmoid(beta * x); dy where beta * x > threshold."""
    z = beta * x
    return array_module(x).where(z.real > threshold, dy, dy * sigmoid(z))


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
        return functions(__name__, x).softplus(x, self.beta, self.threshold), x

    def backward(self, dy, cache):
        x = cache
        check_shape(self, dy=(dy, x.shape))
        return functions(__name__, dy, x).softplus_backward(dy, x, self.beta, self.threshold)
