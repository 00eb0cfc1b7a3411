"""Batch normalisation for NumPy: whole channels that stay in the cache from their sums to y, shared among threads.

The functions of nn/layers/batch_norm.py, as few passes over the arrays as can be. Sums over M are matrix products; x is
centred only where its mean would cost digits, else the mean is taken off the sums, and y and dx are

    y = a x + (bias - a mean)                                                                     a = weight inv_std
    dx = a (dy - inv_std dweight / m x) + a (inv_std dweight mean - dbias) / m

Where |mean| is at most the standard deviation that costs no digits; sums over N are in float64.
"""

import numpy as np

from nn.cpu.chunks import in_slices
from nn.cpu.chunks import real as takes

__all__ = ["batch_norm", "batch_norm_backward", "batch_norm_inference", "batch_norm_inference_backward", "takes"]

CHANNELS_TOGETHER = 1 << 19  # elements of x in a task
SHORT = 32  # a plane of fewer elements is not worth a matrix product of its own
ELEMENTS_OF_A_ROW = 256  # of x (N, C, 1), at least so many of each row in a task


def batch_norm(x, weight, bias, running, momentum, eps):
    """y (N, C, M), mean, inv_std (C,) by statistics of the batch; updates running."""
    y, count = np.empty(x.shape, x.dtype), x.size // x.shape[1]
    mean, var = np.empty((2, x.shape[1]), x.dtype)

    def normalise(c):
        found = _channel_sums(x[:, c]) / count
        mean[c], var[c] = found, _channel_dots(x[:, c], x[:, c]) / count - found * found
        seen, own = _near(x[:, c], found, var[c])
        if own is not found:  # centred
            var[c] = _channel_dots(seen, seen) / count
        _scale(seen, own, 1 / np.sqrt(var[c] + eps), weight, bias, c, y)

    in_slices(normalise, x.shape[1], x.size, _chunk(x))
    if running is not None:
        for statistic, batch in zip(running, (mean, var * (count / (count - 1)))):
            statistic *= 1 - momentum
            statistic += momentum * batch
    return y, mean, 1 / np.sqrt(var + eps)


def batch_norm_backward(dy, x, mean, inv_std, weight):
    """dx (N, C, M), dweight, dbias (C,), through mean and variance too."""
    dx, count = np.empty(x.shape, dy.dtype), x.size // x.shape[1]
    dweight, dbias = np.zeros((2, x.shape[1]), np.result_type(dy, x))

    def differentiate(c):
        seen, own = _near(x[:, c], mean[c], inv_std[c] ** -2)
        sums = _channel_sums(dy[:, c])
        dweight[c], dbias[c] = (_channel_dots(dy[:, c], seen) - own * sums) * inv_std[c], sums
        scale, slope = _slope(inv_std, weight, c), -dweight[c] * inv_std[c] / count  # term 2, through the variance
        part = np.multiply(seen, _column(slope, dx), out=dx[:, c])
        part += dy[:, c]
        part *= _column(scale, dx)
        part -= _column(scale * (sums / count + slope * own), dx)  # term 1, through the mean

    in_slices(differentiate, x.shape[1], x.size, _chunk(x))
    return dx, dweight, dbias


def batch_norm_inference(x, weight, bias, running, eps):
    """y (N, C, M), mean, inv_std (C,) by running statistics."""
    y, mean, inv_std = np.empty(x.shape, x.dtype), running[0].copy(), 1 / np.sqrt(running[1] + eps)

    def normalise(c):
        _scale(*_near(x[:, c], mean[c], inv_std[c] ** -2), inv_std[c], weight, bias, c, y)

    in_slices(normalise, x.shape[1], x.size, _chunk(x))
    return y, mean, inv_std


def batch_norm_inference_backward(dy, x, mean, inv_std, weight):
    """dx (N, C, M), dweight, dbias (C,), mean and inv_std being constants."""
    dx = np.empty(x.shape, dy.dtype)
    dweight, dbias = np.zeros((2, x.shape[1]), np.result_type(dy, x))

    def differentiate(c):
        seen, own = _near(x[:, c], mean[c], inv_std[c] ** -2)
        sums = _channel_sums(dy[:, c])
        dweight[c], dbias[c] = (_channel_dots(dy[:, c], seen) - own * sums) * inv_std[c], sums
        np.multiply(dy[:, c], _column(_slope(inv_std, weight, c), dx), out=dx[:, c])

    in_slices(differentiate, x.shape[1], x.size, _chunk(x))
    return dx, dweight, dbias


def _channel_sums(a):
    """(C,) sums of a (N, C, M); those over M as a matrix product."""
    return a.sum(axis=(0, 2)) if a.shape[2] < SHORT else (a @ np.ones(a.shape[2], a.dtype)).sum(axis=0, dtype=float)


def _channel_dots(a, b):
    """(C,) sums of a * b for a, b (N, C, M)."""
    return (a * b).sum(axis=(0, 2)) if a.shape[2] < SHORT else np.vecdot(a, b).sum(axis=0, dtype=float)


def _near(x, mean, var):
    """x (N, C, M) and its mean (C,); where that is large beside the variance, or M small, x - mean, a copy, and 0."""
    if x.shape[2] >= SHORT and (mean * mean <= var).all():
        return x, mean
    return x - _column(mean, x), np.zeros_like(mean)


def _slope(inv_std, weight, c):
    return inv_std[c] if weight is None else weight[c] * inv_std[c]


def _scale(x, mean, inv_std, weight, bias, c, y):
    """y[:, c] = weight[c] * inv_std * (x - mean) + bias[c]."""
    scale = inv_std if weight is None else weight[c] * inv_std
    into = np.multiply(x, _column(scale, y), out=y[:, c])
    into += _column((0 if bias is None else bias[c]) - mean * scale, y)


def _column(values, like):
    """values (C,) as (C, 1) in the dtype of `like`."""
    return values[:, None].astype(like.dtype)


def _chunk(x):
    """Elements of x in a task: whole channels, but of (N, C, 1) no narrow stripe."""
    return max(CHANNELS_TOGETHER, ELEMENTS_OF_A_ROW * len(x)) if x.shape[2] == 1 else CHANNELS_TOGETHER
