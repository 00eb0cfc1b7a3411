"""Batch normalisation for NumPy: whole channels that stay in the cache from their sums to y, shared among threads.

The functions of nn/layers/batch_norm.py, alone or with the ReLU that follows: y is then max(y, 0), and dy is that of
this maximum. Sums over M are products by BLAS, and those over N of these in float64; of a short M, the channels of an
image are one row.
"""

import numpy as np

from nn.cpu.chunks import in_slices
from nn.cpu.parallel import workspace

CHANNELS_TOGETHER = 1 << 19  # elements of x in a task at most,
LEAST = 1 << 17  # and at least, where there are as many
SHORT = 1 << 11  # planes of fewer elements are taken together where nothing is summed,
SMALL = 1 << 6  # and those of fewer than this in sums
ELEMENTS_OF_A_ROW = 256  # of x (N, C, 1), at least so many of each row in a task


def by_batch(x, weight, bias, running, momentum, eps, relu=False):
    """y (N, C, M), mean, inv_std (C,) by statistics of the batch; updates running."""
    y, count = np.empty(x.shape, x.dtype), x.size // x.shape[1]
    mean, var = np.empty((2, x.shape[1]), x.dtype)

    def normalise(c):
        mean[c] = _channel_sums(x[:, c]) / count
        centred = _centred(x, mean, c)
        var[c] = _channel_dots(centred, centred) / count
        _scale(centred, 1 / np.sqrt(var[c] + eps), weight, bias, c, y, relu)

    in_slices(normalise, x.shape[1], x.size, _chunk(x))
    if running is not None:
        for statistic, batch in zip(running, (mean, var * (count / (count - 1)))):
            statistic *= 1 - momentum
            statistic += momentum * batch
    return y, mean, 1 / np.sqrt(var + eps)


def by_batch_backward(dy, x, mean, inv_std, weight, rectified=None):
    """dx (N, C, M), dweight, dbias (C,), through mean and variance too. rectified: y, where ReLU followed."""
    dx, count, m = np.empty(x.shape, dy.dtype), x.size // x.shape[1], x.shape[2]
    dweight, dbias = np.zeros((2, x.shape[1]), np.result_type(dy, x))

    def differentiate(c):
        centred, dh = _centred(x, mean, c), _before_relu(dy, rectified, c)
        dbias[c] = _channel_sums(dh)
        dweight[c] = _channel_dots(dh, centred) * inv_std[c]
        scale = inv_std[c] if weight is None else weight[c] * inv_std[c]
        share = scale / count
        centred *= _over_pixels(share * dweight[c] * inv_std[c], m)  # term 2, through the variance
        centred += _over_pixels(share * dbias[c], m)  # term 1, through the mean
        scaled = dx[:, c] if rectified is None else dh  # which is memory of the thread
        np.multiply(dh, _over_pixels(scale, m), out=scaled)
        np.subtract(scaled, centred, out=dx[:, c])

    in_slices(differentiate, x.shape[1], x.size, _chunk(x))
    return dx, dweight, dbias


def by_running(x, weight, bias, running, eps, relu=False):
    """y (N, C, M), mean, inv_std (C,) by running statistics."""
    y, mean, inv_std = np.empty(x.shape, x.dtype), running[0].copy(), 1 / np.sqrt(running[1] + eps)

    def normalise(c):
        _scale(_centred(x, mean, c), inv_std[c], weight, bias, c, y, relu)

    in_slices(normalise, x.shape[1], x.size, _chunk(x))
    return y, mean, inv_std


def by_running_backward(dy, x, mean, inv_std, weight, rectified=None):
    """dx (N, C, M), dweight, dbias (C,), mean and inv_std being constants. rectified: y, where ReLU followed."""
    dx = np.empty(x.shape, dy.dtype)
    dweight, dbias = np.zeros((2, x.shape[1]), np.result_type(dy, x))

    def differentiate(c):
        dh = _before_relu(dy, rectified, c)
        dbias[c] = _channel_sums(dh)
        dweight[c] = _channel_dots(dh, _centred(x, mean, c)) * inv_std[c]
        scale = inv_std[c] if weight is None else weight[c] * inv_std[c]
        np.multiply(dh, _over_pixels(scale, x.shape[2]), out=dx[:, c])

    in_slices(differentiate, x.shape[1], x.size, _chunk(x))
    return dx, dweight, dbias


def _over_pixels(values, m):
    """values (C,) for arrays (N, C, M): (C, 1), or (C, M) of short planes, whose channels NumPy takes in one go."""
    return values[:, None] if m >= SHORT else np.repeat(values[:, None], m, axis=1)


def _centred(x, mean, c):
    """x[:, c] - mean[c], in memory that the next call overwrites."""
    return np.subtract(x[:, c], _over_pixels(mean[c], x.shape[2]), out=workspace(x[:, c].shape, x.dtype))


def _channel_sums(a):
    """(C,) sums of a (N, C, M): over M by a product with ones, or, of small planes, over N first."""
    if a.shape[2] < SMALL:
        return a.sum(axis=0).sum(axis=1)
    return (a @ np.ones(a.shape[2], a.dtype)).sum(axis=0, dtype=np.float64)


def _channel_dots(a, b):
    """(C,) sums of a * b for a, b (N, C, M)."""
    if a.shape[2] < SMALL:
        return _channel_sums(np.multiply(a, b, out=workspace(a.shape, np.result_type(a, b), 1)))
    return np.vecdot(a, b).sum(axis=0, dtype=np.float64)


def _scale(centred, inv_std, weight, bias, c, y, relu):
    """y[:, c] = weight[c] * inv_std * centred + bias[c], or its maximum with 0; `centred` is overwritten."""
    scale, m, last = inv_std if weight is None else weight[c] * inv_std, y.shape[2], centred if relu else y[:, c]
    np.multiply(centred, _over_pixels(scale, m), out=last if bias is None else centred)
    if bias is not None:
        np.add(centred, _over_pixels(bias[c], m), out=last)
    if relu:
        np.clip(centred, 0, np.inf, out=y[:, c])


def _before_relu(dy, rectified, c):
    """dy[:, c], in memory that the next call overwrites 0 where ReLU gave 0."""
    if rectified is None:
        return dy[:, c]
    return np.multiply(dy[:, c], rectified[:, c] > 0, out=workspace(dy[:, c].shape, dy.dtype, 2))


def _chunk(x):
    """Elements of x in a task: whole channels, in two tasks at least of a large x; of (N, C, 1) no narrow stripe."""
    together = min(CHANNELS_TOGETHER, max(x.size // 2, LEAST))
    return max(together, ELEMENTS_OF_A_ROW * len(x)) if x.shape[2] == 1 else together
