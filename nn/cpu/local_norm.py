"""Normalisation across channels for NumPy: chunks of images, shared among threads."""

import numpy as np

from nn.cpu.chunks import add_up, in_slices
from nn.cpu.chunks import real as takes

__all__ = ["l2_norm", "l2_norm_backward", "local_response_norm", "local_response_norm_backward", "takes"]


def local_response_norm(x, size, alpha, beta, k):
    """y, base (N, C, ...), as in nn/layers/local_norm.py."""
    y, base = np.empty(x.shape, x.dtype), np.empty(x.shape, x.dtype)

    def normalise(n):
        base[n] = k + alpha / size * sum_of_channels(x[n] * x[n], size // 2, (size - 1) // 2)
        y[n] = x[n] * base[n] ** -beta

    in_slices(normalise, len(x), x.size)
    return y, base


def local_response_norm_backward(dy, x, base, size, alpha, beta):
    """dx (N, C, ...), as in nn/layers/local_norm.py."""
    dx = np.empty(x.shape, dy.dtype)

    def differentiate(n):
        dx_direct = dy[n] * base[n] ** -beta
        dbase = dx_direct * x[n] / base[n] * -beta
        dx[n] = dx_direct + 2 * alpha / size * x[n] * sum_of_channels(dbase, (size - 1) // 2, size // 2)

    in_slices(differentiate, len(x), x.size)
    return dx


def sum_of_channels(x, below, above):
    """[n, c] = x[n, c - below] + ... + x[n, c + above], as in nn/layers/local_norm.py, without padding."""
    channels = x.shape[1]
    sums = x.copy()
    for shift in range(1, min(above, channels - 1) + 1):
        sums[:, :-shift] += x[:, shift:]
    for shift in range(1, min(below, channels - 1) + 1):
        sums[:, shift:] += x[:, :-shift]
    return sums


def l2_norm(x, weight, eps):
    """y (N, C, ...), inv_norm (N, 1, ...), as in nn/layers/local_norm.py."""
    y, inv_norm = np.empty(x.shape, x.dtype), np.empty((len(x), 1, *x.shape[2:]), x.dtype)
    weight = weight.reshape(-1, *(1,) * (x.ndim - 2))

    def normalise(n):
        inv_norm[n] = 1 / np.sqrt((x[n] * x[n]).sum(axis=1, keepdims=True) + eps)
        y[n] = x[n] * inv_norm[n] * weight

    in_slices(normalise, len(x), x.size)
    return y, inv_norm


def l2_norm_backward(dy, x, inv_norm, weight):
    """dx (N, C, ...), dweight (C,), as in nn/layers/local_norm.py."""
    dx, weights = np.empty(x.shape, dy.dtype), weight.reshape(-1, *(1,) * (x.ndim - 2))

    def differentiate(n):
        u, du = x[n] * inv_norm[n], dy[n] * weights
        dx[n] = inv_norm[n] * (du - (du * u).sum(axis=1, keepdims=True) * u)
        return (dy[n] * u).sum(axis=(0, *range(2, x.ndim)))

    return dx, add_up(in_slices(differentiate, len(x), x.size), weight)
