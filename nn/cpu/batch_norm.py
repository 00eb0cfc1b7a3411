"""Batch normalisation for NumPy: whole channels that stay in the cache from their sums to y, shared among threads.

The functions of nn/layers/batch_norm.py; sums over M are matrix products, which are faster.
"""

import numpy as np

from nn.cpu.chunks import in_slices
from nn.cpu.chunks import real as takes
from nn.cpu.parallel import workspace

__all__ = ["batch_norm", "batch_norm_backward", "batch_norm_inference", "batch_norm_inference_backward", "takes"]

CHANNELS_TOGETHER = 1 << 18  # elements of x in a task: they and what is computed of them stay in the cache
SHORT = 32  # a plane of fewer elements is not worth a matrix product of its own
ELEMENTS_OF_A_ROW = 256  # of x (N, C, 1), at least so many of each row in a task


def batch_norm(x, weight, bias, running, momentum, eps):
    """y (N, C, M), mean, inv_std (C,) by statistics of the batch; updates running."""
    y, count = np.empty(x.shape, x.dtype), x.size // x.shape[1]
    mean, var = np.empty((2, x.shape[1]), x.dtype)

    def normalise(c):
        mean[c] = _channel_sums(x[:, c]) / count
        centred = _centred(x, mean, c)
        var[c] = _channel_dots(centred, centred) / count
        _scale(centred, 1 / np.sqrt(var[c] + eps), weight, bias, c, y)

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
        centred = _centred(x, mean, c)
        dbias[c] = _channel_sums(dy[:, c])
        dweight[c] = _channel_dots(dy[:, c], centred) * inv_std[c]
        scale = inv_std[c] if weight is None else weight[c] * inv_std[c]
        share = scale / count
        centred *= (share * dweight[c] * inv_std[c])[:, None]  # term 2, through the variance
        centred += (share * dbias[c])[:, None]  # term 1, through the mean
        np.multiply(dy[:, c], scale[:, None], out=dx[:, c])
        dx[:, c] -= centred

    in_slices(differentiate, x.shape[1], x.size, _chunk(x))
    return dx, dweight, dbias


def batch_norm_inference(x, weight, bias, running, eps):
    """y (N, C, M), mean, inv_std (C,) by running statistics."""
    y, mean, inv_std = np.empty(x.shape, x.dtype), running[0].copy(), 1 / np.sqrt(running[1] + eps)

    def normalise(c):
        _scale(_centred(x, mean, c), inv_std[c], weight, bias, c, y)

    in_slices(normalise, x.shape[1], x.size, _chunk(x))
    return y, mean, inv_std


def batch_norm_inference_backward(dy, x, mean, inv_std, weight):
    """dx (N, C, M), dweight, dbias (C,), mean and inv_std being constants."""
    dx = np.empty(x.shape, dy.dtype)
    dweight, dbias = np.zeros((2, x.shape[1]), np.result_type(dy, x))

    def differentiate(c):
        dbias[c] = _channel_sums(dy[:, c])
        dweight[c] = _channel_dots(dy[:, c], _centred(x, mean, c)) * inv_std[c]
        scale = inv_std[c] if weight is None else weight[c] * inv_std[c]
        np.multiply(dy[:, c], scale[:, None], out=dx[:, c])

    in_slices(differentiate, x.shape[1], x.size, _chunk(x))
    return dx, dweight, dbias


def _centred(x, mean, c):
    """x[:, c] - mean[c], in memory that the next call overwrites."""
    return np.subtract(x[:, c], mean[c, None], out=workspace(x[:, c].shape, x.dtype))


def _channel_sums(a):
    """(C,) sums of a (N, C, M); those over M as a matrix product."""
    return a.sum(axis=(0, 2)) if a.shape[2] < SHORT else (a @ np.ones(a.shape[2], a.dtype)).sum(axis=0)


def _channel_dots(a, b):
    """(C,) sums of a * b for a, b (N, C, M)."""
    return (a * b).sum(axis=(0, 2)) if a.shape[2] < SHORT else (a[:, :, None] @ b[..., None]).sum(axis=(0, 2, 3))


def _scale(centred, inv_std, weight, bias, c, y):
    """y[:, c] = weight[c] * inv_std * centred + bias[c]."""
    scale = inv_std if weight is None else weight[c] * inv_std
    np.multiply(centred, scale[:, None], out=y[:, c])
    if bias is not None:
        y[:, c] += bias[c, None]


def _chunk(x):
    """Elements of x in a task: whole channels, but of (N, C, 1) no narrow stripe."""
    return max(CHANNELS_TOGETHER, ELEMENTS_OF_A_ROW * len(x)) if x.shape[2] == 1 else CHANNELS_TOGETHER
