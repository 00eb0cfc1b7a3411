"""Normalisation across channels, each pixel for itself: over neighbouring channels, or over all of them."""

import math

import numpy as np

from nn.dispatch import array_module, functions
from nn.layer import Layer, Parameter, check_shape, positive


def local_response_norm(x, size, alpha, beta, k):
    """y, base (N, C, ...) of x (N, C, ...).

    base[c] = k + alpha / size sum of x[j]^2,   j = c - size // 2 ... c + (size - 1) // 2
    y = x base^-beta
    """
    base = k + alpha / size * sum_of_channels(x * x, size // 2, (size - 1) // 2)
    return x * base**-beta, base


def local_response_norm_backward(dy, x, base, size, alpha, beta):
    """dx (N, C, ...) of local_response_norm.

    dx[j] = dy[j] base[j]^-beta + 2 alpha / size x[j] sum of dbase[c],   c = j - (size - 1) // 2 ... j + size // 2
    """
    dx = dy * base**-beta  # term 1, y = x base^-beta through x
    dbase = dy * x * -beta * base ** (-beta - 1)  # y = x base^-beta through base
    # term 2, base[c] = k + alpha / size sum of x[j]^2: x[j] is in base[c] for the c whose window j is in
    return dx + 2 * alpha / size * x * sum_of_channels(dbase, (size - 1) // 2, size // 2)


def sum_of_channels(x, below, above):
    """[n, c] = x[n, c - below] + ... + x[n, c + above], 0 outside.    x (N, C, ...)."""
    channels = x.shape[1]
    x = array_module(x).pad(x, ((0, 0), (below, above)) + ((0, 0),) * (x.ndim - 2))
    return sum(x[:, first : first + channels] for first in range(below + above + 1))


class LocalResponseNorm(Layer):
    """y[c] = x[c] / (k + alpha / size * sum of x[j]^2 over the channels near c)^beta.    x, y (N, C, ...).

    These are the `size` channels j = c - size // 2 ... c + (size - 1) // 2, as far as they exist.

    The convention is PyTorch's (and Caffe's): alpha is divided by size. AlexNet's paper does not divide: its n = 5,
    alpha = 1e-4, beta = 0.75, k = 2 are LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0) here.

    Raises ValueError for size < 1, negative alpha or beta, k <= 0, and x without channels.

    Reference: Krizhevsky et al. 2012, ImageNet classification with deep convolutional neural networks, sec. 3.3.
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0):
        positive(self, size=size)
        if not (0 <= alpha < math.inf and 0 <= beta < math.inf and 0 < k < math.inf):
            raise ValueError(
                f"LocalResponseNorm: alpha and beta must be >= 0 and k > 0, got alpha={alpha}, beta={beta}, k={k}"
            )
        self.size, self.alpha, self.beta, self.k = int(size), alpha, beta, k

    def forward(self, x, training=True):
        check_shape(self, x=(x, ("N", "C") + (None,) * (np.ndim(x) - 2)))
        ops = functions(__name__, x)
        y, base = ops.local_response_norm(x, self.size, self.alpha, self.beta, self.k)
        return y, (x, base)

    def backward(self, dy, cache):
        x, base = cache
        check_shape(self, dy=(dy, x.shape))
        ops = functions(__name__, dy, x)
        return ops.local_response_norm_backward(dy, x, base, self.size, self.alpha, self.beta)


def l2_norm(x, weight, eps):
    """y (N, C, ...), inv_norm (N, 1, ...) of x (N, C, ...), weight (C,).

    inv_norm = 1 / sqrt(sum of x[j]^2 over all channels j + eps)
    y = weight u,  u = x inv_norm
    """
    inv_norm = ((x * x).sum(axis=1, keepdims=True) + eps) ** -0.5
    weight = weight.reshape(-1, *(1,) * (x.ndim - 2))  # (C, 1, ...)
    return weight * x * inv_norm, inv_norm


def l2_norm_backward(dy, x, inv_norm, weight):
    """dx (N, C, ...), dweight (C,) of l2_norm.

    dx = inv_norm (du - u sum(du u)),  du = weight dy     the sum over all channels
    """
    u = x * inv_norm
    dweight = (dy * u).sum(axis=(0, *range(2, x.ndim)))  # y = weight u, the same weight for all images and pixels
    du = weight.reshape(-1, *(1,) * (x.ndim - 2)) * dy
    # u = x inv_norm: term 1 through x, term 2 through inv_norm, whose derivative by x is -x inv_norm^3
    return inv_norm * (du - u * (du * u).sum(axis=1, keepdims=True)), dweight


class L2Norm(Layer):
    """y[c] = weight[c] * x[c] / sqrt(sum of x[j]^2 over all channels j + eps).    x, y (N, C, ...), weight (C,).

    The feature vector of each pixel gets length 1, then each channel its learned scale; all start at `scale`. This
    brings features of different layers to one size before they are joined (SSD does it to conv4_3, from a scale of 20).

    eps stands inside the root, as in Caffe's code of SSD, so that a pixel of zeros gives zeros and the gradient is
    defined everywhere.

    Raises ValueError for x of other channels.

    Reference: Liu et al. 2015, ParseNet, arXiv:1506.04579, sec. 3.3, forward and backward; Liu et al. 2016, SSD,
    arXiv:1512.02325, sec. 3.1.
    """

    def __init__(self, num_channels: int, scale: float = 20.0, eps: float = 1e-10):
        positive(self, num_channels=num_channels)
        if not math.isfinite(scale) or not eps > 0:
            raise ValueError(f"L2Norm: scale must be a finite number and eps > 0, got {scale} and {eps}")
        self.num_channels, self.eps = num_channels, eps
        self.weight = Parameter(np.full(num_channels, scale, np.float32))

    def forward(self, x, training=True):
        check_shape(self, x=(x, ("N", self.num_channels) + (None,) * (np.ndim(x) - 2)))
        y, inv_norm = functions(__name__, x, self.weight.value).l2_norm(x, self.weight.value, self.eps)
        return y, (x, inv_norm)

    def backward(self, dy, cache):
        x, inv_norm = cache
        check_shape(self, dy=(dy, x.shape))
        ops = functions(__name__, dy, x, self.weight.value)
        dx, dweight = ops.l2_norm_backward(dy, x, inv_norm, self.weight.value)
        self.weight.grad += dweight
        return dx
