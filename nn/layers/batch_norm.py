"""Batch normalisation."""

import math
from typing import NamedTuple

import numpy as np

from nn.cpu.chunks import empty_output, in_slices
from nn.dispatch import array_module
from nn.gpu import batch_norm as batchnorm_cuda
from nn.layer import Layer, Parameter, check_shape, positive

CHANNELS_TOGETHER = 1 << 19  # numbers of x that one task normalises
SHORT = 32  # a plane of fewer numbers is not worth a matrix product of its own
NUMBERS_SIDE_BY_SIDE = 256  # of x (N, C) that one task reads at least from each row


class BatchNormCache(NamedTuple):
    """The input, the statistics it was normalised with, and whether they came from the batch."""

    x: np.ndarray
    mean: np.ndarray
    inv_std: np.ndarray
    from_batch: bool


class _BatchNorm(Layer):
    """What BatchNorm1d and BatchNorm2d share: all but the shape of x, in which the channels are axis 1."""

    buffers = ("running_mean", "running_var", "num_batches_tracked")

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        frozen: bool = False,
    ):
        name = type(self).__name__
        positive(self, num_features=num_features)
        if not eps > 0 or not (momentum is None or 0 <= momentum <= 1):
            raise ValueError(f"{name}: eps must be > 0 and momentum in [0, 1], got {eps} and {momentum}")
        if frozen and not track_running_stats:
            raise ValueError(f"{name}: frozen=True needs running statistics, got track_running_stats=False")
        self.num_features, self.eps, self.momentum, self.frozen = num_features, eps, momentum, frozen
        self.weight = Parameter(np.ones(num_features, np.float32), trainable=not frozen) if affine else None
        self.bias = Parameter(np.zeros(num_features, np.float32), trainable=not frozen) if affine else None
        self.track_running_stats = track_running_stats
        if track_running_stats:
            self.running_mean = np.zeros(num_features, np.float32)
            self.running_var = np.ones(num_features, np.float32)
            self.num_batches_tracked = np.zeros((), np.int64)
        else:
            self.running_mean = self.running_var = self.num_batches_tracked = None
            self.buffers = ()

    def forward(self, x, training=True):
        check_shape(self, x=(x, self._wanted_shape(x)))
        xp, from_batch = array_module(x), not self.track_running_stats or (training and not self.frozen)
        if from_batch and x.size <= self.num_features:
            raise ValueError(
                f"{type(self).__name__}: more than one value a channel is needed in training, got x {x.shape}"
            )
        if batchnorm_cuda.serves(self, x):
            y, mean, inv_std = batchnorm_cuda.forward(self, x, from_batch)
            return y, BatchNormCache(x, mean, inv_std, from_batch)
        rows, count = _rows(x), x.size // x.shape[1]
        y = empty_output(rows.shape, x, self.weight, self.running_mean)
        mean = xp.empty(x.shape[1], x.dtype) if from_batch else self.running_mean.copy()  # the cache keeps it
        var = xp.empty(x.shape[1], x.dtype) if from_batch else self.running_var

        def normalise(c):
            if from_batch:
                mean[c] = channel_sums(rows[:, c]) / count
            centred = rows[:, c] - mean[c, None]
            if from_batch:
                var[c] = channel_dots(centred, centred) / count
            scale = 1 / xp.sqrt(var[c] + self.eps)
            if self.weight is not None:
                scale = self.weight.value[c] * scale
            if self.bias is None:
                xp.multiply(centred, scale[:, None], out=y[:, c])
            else:
                xp.add(centred * scale[:, None], self.bias.value[c, None], out=y[:, c])

        in_slices(normalise, x.shape[1], x.size, xp, _piece(x))
        if from_batch and self.track_running_stats:
            self._update_running(mean, var, count)
        return y.reshape(x.shape), BatchNormCache(x, mean, 1 / xp.sqrt(var + self.eps), from_batch)

    def backward(self, dy, cache):
        x, mean, inv_std, from_batch = cache
        check_shape(self, dy=(dy, x.shape))
        if batchnorm_cuda.serves(self, x):
            return batchnorm_cuda.backward(self, dy, cache)
        xp, rows, dy_rows = array_module(dy), _rows(x), _rows(dy)
        dx = xp.empty(rows.shape, dy.dtype)

        def differentiate(c):
            # y = weight * x_hat + bias, x_hat = (x - mean) * inv_std
            scale, centred = inv_std[c], rows[:, c] - mean[c, None]
            dbias = channel_sums(dy_rows[:, c])
            dweight = channel_dots(dy_rows[:, c], centred) * inv_std[c]
            if self.weight is not None:
                self.bias.grad[c] += dbias
                self.weight.grad[c] += dweight
                scale = self.weight.value[c] * scale
            if not from_batch:
                xp.multiply(dy_rows[:, c], scale[:, None], out=dx[:, c])
                return
            # mean and var are functions of x as well: what dy has of a constant and of x_hat does not get through
            share = scale / (x.size // x.shape[1])
            centred *= (share * dweight * inv_std[c])[:, None]
            centred += (share * dbias)[:, None]
            xp.subtract(dy_rows[:, c] * scale[:, None], centred, out=dx[:, c])

        in_slices(differentiate, x.shape[1], x.size, xp, _piece(x))
        return dx.reshape(x.shape)

    def count_batch(self) -> float:
        """Count a batch into the running statistics; gives the momentum it comes in with."""
        self.num_batches_tracked += 1
        return 1 / int(self.num_batches_tracked) if self.momentum is None else self.momentum

    def _update_running(self, mean, var, count):
        """running = (1 - momentum) * running + momentum * batch, in place."""
        momentum = self.count_batch()
        for running, batch in ((self.running_mean, mean), (self.running_var, var * (count / (count - 1)))):
            running *= 1 - momentum
            running += momentum * batch.real


class BatchNorm1d(_BatchNorm):
    """y = weight * (x - mean) / sqrt(var + eps) + bias, for each channel.    x, y (N, C) or (N, C, L).

    As BatchNorm2d in all else: mean and var are over N, or over N and L; options, running statistics, what it raises.

    Reference: Ioffe and Szegedy 2015, arXiv:1502.03167, algorithm 1 and its gradients in sec. 3.
    """

    def _wanted_shape(self, x):
        return ("N", self.num_features) if np.ndim(x) == 2 else ("N", self.num_features, "L")


class BatchNorm2d(_BatchNorm):
    """y = weight * (x - mean) / sqrt(var + eps) + bias, for each channel.    x, y (N, C, H, W), weight, bias (C,).

    Training: mean and var (biased) over N, H, W of the batch, and running = (1 - momentum) * running + momentum *
    batch, with the unbiased variance, as PyTorch does. Inference: the running statistics. momentum=None: running
    statistics are the plain average over all batches so far. affine=False: no weight and bias.
    track_running_stats=False: the batch's own statistics in inference too, none kept. frozen=True (not PyTorch's): the
    running statistics in training too, left as they are, weight and bias not trainable: for fine-tuning with small
    batches.

    Raises ValueError for other channels, and in training when there is but one value a channel.

    Reference: Ioffe and Szegedy 2015, arXiv:1502.03167, algorithm 1 and its gradients in sec. 3.
    """

    def _wanted_shape(self, x):
        return ("N", self.num_features, "H", "W")


def _rows(x):
    """x (N, C, ...) as (N, C, L)."""
    return x.reshape(*x.shape[:2], math.prod(x.shape[2:]))


def channel_sums(a):
    """(C,) sums of a (N, C, L); those over L as a matrix product, which is faster than a sum."""
    return a.sum(axis=(0, 2)) if a.shape[2] < SHORT else (a @ array_module(a).ones(a.shape[2], a.dtype)).sum(axis=0)


def channel_dots(a, b):
    """(C,) sums of a * b for a, b (N, C, L)."""
    return (a * b).sum(axis=(0, 2)) if a.shape[2] < SHORT else (a[:, :, None] @ b[..., None]).sum(axis=(0, 2, 3))


def _piece(x):
    """Numbers of x for a task: whole channels, but of a matrix no narrow stripe."""
    return max(CHANNELS_TOGETHER, NUMBERS_SIDE_BY_SIDE * len(x)) if x.ndim == 2 else CHANNELS_TOGETHER
