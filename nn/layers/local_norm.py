"""Normalisation across channels, at each pixel by itself: over neighbouring channels, or over all."""

import math

import numpy as np

from nn.cpu.chunks import empty_output, in_slices
from nn.dispatch import array_module
from nn.layer import Layer, Parameter, check_shape, positive


class LocalResponseNorm(Layer):
    """y[c] = x[c] / (k + alpha / size * sum of x[j]^2 over the channels near c)^beta.    x, y (N, C, ...).

    The `size` channels j = c - size // 2 ... c + (size - 1) // 2, where they exist; outside is as 0.

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
        self.reach = size // 2, (size - 1) // 2  # how many channels below c and above c count

    def forward(self, x, training=True):
        check_shape(self, x=(x, ("N", "C") + (None,) * (np.ndim(x) - 2)))
        xp = array_module(x)
        y, base = xp.empty(x.shape, x.dtype), xp.empty(x.shape, x.dtype)

        def normalise(n):
            base[n] = self.k + self.alpha / self.size * sum_of_channels(x[n] * x[n], *self.reach)
            y[n] = x[n] * base[n] ** -self.beta

        in_slices(normalise, len(x), x.size, xp)
        return y, (x, base)

    def backward(self, dy, cache):
        x, base = cache
        check_shape(self, dy=(dy, x.shape))
        dx = array_module(dy).empty(x.shape, dy.dtype)

        def differentiate(n):
            # y[c] = x[c] * base[c]^-beta, base[c] = k + alpha / size * sum of x[j]^2 over the j near c: so x[j] is in
            # base[c] for the c that have j near them, those of the window turned round
            scaled = dy[n] * base[n] ** -self.beta
            dbase = scaled * x[n] / base[n] * -self.beta
            nearby = sum_of_channels(dbase, *reversed(self.reach))
            dx[n] = scaled + 2 * self.alpha / self.size * x[n] * nearby

        in_slices(differentiate, len(x), x.size, array_module(dy))
        return dx


class L2Norm(Layer):
    """y[c] = weight[c] * x[c] / sqrt(sum of x[j]^2 over all channels j + eps).    x, y (N, C, ...), weight (C,).

    Each pixel's feature vector gets length 1, then each channel its learned scale; all start at `scale`. This brings
    features of different layers to one size before they are joined (SSD does it to conv4_3, from a scale of 20).

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
        xp, weight = array_module(x), self._weight_over(x)
        y, inv_norm = empty_output(x.shape, x, self.weight), xp.empty((len(x), 1, *x.shape[2:]), x.dtype)

        def normalise(n):
            inv_norm[n] = 1 / xp.sqrt((x[n] * x[n]).sum(axis=1, keepdims=True) + self.eps)
            y[n] = x[n] * inv_norm[n] * weight

        in_slices(normalise, len(x), x.size, xp)
        return y, (x, inv_norm)

    def backward(self, dy, cache):
        x, inv_norm = cache
        check_shape(self, dy=(dy, x.shape))
        weight = self._weight_over(x)
        dx = array_module(dy).empty(x.shape, dy.dtype)

        def differentiate(n):
            # y = weight * u, u = x * inv_norm
            u, du = x[n] * inv_norm[n], dy[n] * weight
            # the norm is a function of x as well: what du has along u only changes the length, and does not get through
            along = (du * u).sum(axis=1, keepdims=True)
            dx[n] = inv_norm[n] * (du - along * u)
            return (dy[n] * u).sum(axis=(0, *range(2, x.ndim)))  # weight[c] serves all images and pixels

        for dweight in in_slices(differentiate, len(x), x.size, array_module(dy)):
            self.weight.grad += dweight
        return dx

    def _weight_over(self, x):
        return self.weight.value.reshape(-1, *(1,) * (x.ndim - 2))


def sum_of_channels(x, below: int, above: int):
    """[n, c] = sum of x[n, c - below] ... x[n, c + above], those that exist.    x (N, C, ...)."""
    channels = x.shape[1]
    total = x.copy()
    for shift in range(1, min(above, channels - 1) + 1):
        total[:, :-shift] += x[:, shift:]
    for shift in range(1, min(below, channels - 1) + 1):
        total[:, shift:] += x[:, :-shift]
    return total
