"""Batch normalisation."""

from typing import NamedTuple

import numpy as np

from nn.backend import array_module, parallel_for
from nn.layer import Layer, Parameter, check_shape, positive

CHANNELS_TOGETHER = 1 << 17  # numbers of x that one task normalises while they are in the cache


class BatchNormCache(NamedTuple):
    """The input, the statistics it was normalised with, and whether they came from the batch."""

    x: np.ndarray
    mean: np.ndarray
    inv_std: np.ndarray
    from_batch: bool


class BatchNorm2d(Layer):
    """y = weight * (x - mean) / sqrt(var + eps) + bias, for each channel.    x, y (N, C, H, W), weight, bias (C,).

    Training: mean and var (biased) over N, H, W of the batch, and running = (1 - momentum) * running + momentum *
    batch, with the unbiased variance, as PyTorch does. Inference: the running statistics. frozen=True: the running
    statistics in training too, left as they are, weight and bias not trainable: for fine-tuning with small batches.

    Raises ValueError for other channels, and in training when there is but one value a channel.

    Reference: Ioffe and Szegedy 2015, arXiv:1502.03167, algorithm 1 and its gradients in sec. 3.
    """

    buffers = ("running_mean", "running_var", "num_batches_tracked")

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1, frozen: bool = False):
        positive(self, num_features=num_features)
        if eps <= 0 or not 0 <= momentum <= 1:
            raise ValueError(f"BatchNorm2d: eps must be > 0 and momentum in [0, 1], got {eps} and {momentum}")
        self.num_features, self.eps, self.momentum, self.frozen = num_features, eps, momentum, frozen
        self.weight = Parameter(np.ones(num_features, np.float32), trainable=not frozen)
        self.bias = Parameter(np.zeros(num_features, np.float32), trainable=not frozen)
        self.running_mean = np.zeros(num_features, np.float32)
        self.running_var = np.ones(num_features, np.float32)
        self.num_batches_tracked = np.zeros((), np.int64)

    def forward(self, x, training=True):
        check_shape(self, x=(x, ("N", self.num_features, "H", "W")))
        xp, from_batch = array_module(x), training and not self.frozen
        if from_batch and x.size <= self.num_features:
            raise ValueError(f"BatchNorm2d: more than one value a channel is needed in training, got x {x.shape}")
        y = xp.empty(x.shape, x.dtype)
        mean = xp.empty(x.shape[1], x.dtype) if from_batch else self.running_mean.copy()  # the cache keeps it
        var = xp.empty(x.shape[1], x.dtype) if from_batch else self.running_var

        def normalise(c):
            if from_batch:
                mean[c] = x[:, c].mean(axis=(0, 2, 3))
                centred = x[:, c] - mean[c, None, None]
                var[c] = (centred * centred).mean(axis=(0, 2, 3))
            else:
                centred = x[:, c] - mean[c, None, None]
            scale = self.weight.value[c] / xp.sqrt(var[c] + self.eps)
            y[:, c] = centred * scale[:, None, None] + self.bias.value[c, None, None]

        _over_channels(normalise, x)
        if from_batch:
            self._update_running(mean, var, x.size // x.shape[1])
        return y, BatchNormCache(x, mean, 1 / xp.sqrt(var + self.eps), from_batch)

    def backward(self, dy, cache):
        x, mean, inv_std, from_batch = cache
        check_shape(self, dy=(dy, x.shape))
        dx = array_module(dy).empty(x.shape, dy.dtype)

        def differentiate(c):
            # y = weight * x_hat + bias, x_hat = (x - mean) * inv_std
            x_hat = (x[:, c] - mean[c, None, None]) * inv_std[c, None, None]
            dbias = dy[:, c].sum(axis=(0, 2, 3))
            dweight = (dy[:, c] * x_hat).sum(axis=(0, 2, 3))
            self.bias.grad[c] += dbias
            self.weight.grad[c] += dweight
            scale = (self.weight.value[c] * inv_std[c])[:, None, None]
            if from_batch:
                # mean and var are functions of x as well: what dy has of a constant and of x_hat does not get through
                count = x.size // x.shape[1]
                x_hat *= (dweight / count)[:, None, None]
                x_hat += (dbias / count)[:, None, None]
                dx[:, c] = scale * (dy[:, c] - x_hat)
            else:
                dx[:, c] = scale * dy[:, c]

        _over_channels(differentiate, x)
        return dx

    def _update_running(self, mean, var, count):
        """running = (1 - momentum) * running + momentum * batch, in place."""
        for running, batch in ((self.running_mean, mean), (self.running_var, var * (count / (count - 1)))):
            running *= 1 - self.momentum
            running += self.momentum * batch.real
        self.num_batches_tracked += 1


def _over_channels(task, x):
    """task(slice of channels) for all channels: each is on its own, so on the CPU the threads share them."""
    channels = x.shape[1]
    if array_module(x) is not np:
        return task(slice(0, channels))
    step = max(1, CHANNELS_TOGETHER * channels // max(x.size, 1))
    parallel_for(lambda i: task(slice(i * step, (i + 1) * step)), -(-channels // step))
