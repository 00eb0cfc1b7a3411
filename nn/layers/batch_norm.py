"""Batch normalisation: its formulas for x (N, C, M), the pixels of an image in one axis, and the layers."""

import math

import numpy as np

from nn.dispatch import functions
from nn.layer import Layer, Parameter, check_shape, positive


def batch_norm(x, weight, bias, running, momentum, eps):
    """y (N, C, M) of x (N, C, M), normalised by statistics of the batch; and these, mean and inv_std (C,).

    mean = sum(x) / m,  var = sum((x - mean)^2) / m,  inv_std = 1 / sqrt(var + eps)     sums over N and M, m = N M
    y = weight x_hat + bias,  x_hat = (x - mean) inv_std

    weight, bias (C,), or None for 1 and 0. running, a pair of arrays (C,) or None, is updated in place:
    running = (1 - momentum) running + momentum (mean, m / (m - 1) var)     the unbiased variance
    """
    m = x.size // x.shape[1]
    mean = x.sum((0, 2)) / m
    var = ((x - mean[:, None]) ** 2).sum((0, 2)) / m
    if running is not None:
        running_mean, running_var = running
        running_mean += momentum * (mean.real - running_mean)
        running_var += momentum * (m / (m - 1) * var.real - running_var)
    inv_std = (var + eps) ** -0.5
    x_hat = (x - mean[:, None]) * inv_std[:, None]
    y = x_hat if weight is None else weight[:, None] * x_hat + bias[:, None]
    return y, mean, inv_std


def batch_norm_backward(dy, x, mean, inv_std, weight):
    """dx (N, C, M), dweight, dbias (C,) of batch_norm, where mean and inv_std are functions of x, too.

    dx = weight inv_std (dy - mean(dy) - x_hat mean(dy x_hat))     means over N and M
    """
    m = x.size // x.shape[1]
    x_hat = (x - mean[:, None]) * inv_std[:, None]
    dweight, dbias = (dy * x_hat).sum((0, 2)), dy.sum((0, 2))  # y = weight x_hat + bias
    dx = dy - dbias[:, None] / m  # term 1, through mean = sum(x) / m
    dx = dx - x_hat * dweight[:, None] / m  # term 2, through var = sum((x - mean)^2) / m
    scale = inv_std if weight is None else weight * inv_std  # y = weight inv_std (x - mean) + bias
    return dx * scale[:, None], dweight, dbias


def batch_norm_inference(x, weight, bias, running, eps):
    """y (N, C, M) of x (N, C, M), normalised by running statistics, a pair (C,); and mean, inv_std (C,).

    y = weight x_hat + bias,  x_hat = (x - running_mean) / sqrt(running_var + eps)
    """
    mean, inv_std = running[0].copy(), (running[1] + eps) ** -0.5  # copied, since running statistics change in place
    x_hat = (x - mean[:, None]) * inv_std[:, None]
    y = x_hat if weight is None else weight[:, None] * x_hat + bias[:, None]
    return y, mean, inv_std


def batch_norm_inference_backward(dy, x, mean, inv_std, weight):
    """dx (N, C, M), dweight, dbias (C,) of batch_norm_inference, where mean and inv_std are constants."""
    x_hat = (x - mean[:, None]) * inv_std[:, None]
    dweight, dbias = (dy * x_hat).sum((0, 2)), dy.sum((0, 2))  # y = weight x_hat + bias
    scale = inv_std if weight is None else weight * inv_std  # y = weight inv_std (x - mean) + bias
    return dy * scale[:, None], dweight, dbias


class _BatchNorm(Layer):
    """BatchNorm1d and BatchNorm2d but for the shape of x; the channels are axis 1."""

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
        if not x.size:
            return x, (x, None, None, False)  # nothing to normalise, and no statistics of nothing
        from_batch = not self.track_running_stats or (training and not self.frozen)
        if from_batch and x.size <= self.num_features:
            raise ValueError(
                f"{type(self).__name__}: more than one value a channel is needed in training, got x {x.shape}"
            )
        rows = x.reshape(*x.shape[:2], math.prod(x.shape[2:]))  # (N, C, M)
        weight, bias = (None, None) if self.weight is None else (self.weight.value, self.bias.value)
        running = (self.running_mean, self.running_var) if self.track_running_stats else None
        ops = functions(__name__, x, weight, self.running_mean)
        if not from_batch:
            y, mean, inv_std = ops.batch_norm_inference(rows, weight, bias, running, self.eps)
        else:
            momentum = self._count_batch() if self.track_running_stats else 0.0
            y, mean, inv_std = ops.batch_norm(rows, weight, bias, running, momentum, self.eps)
        return y.reshape(x.shape), (x, mean, inv_std, from_batch)

    def backward(self, dy, cache):
        x, mean, inv_std, from_batch = cache
        check_shape(self, dy=(dy, x.shape))
        if not x.size:
            return dy
        rows_shape = *x.shape[:2], math.prod(x.shape[2:])  # (N, C, M)
        weight = None if self.weight is None else self.weight.value
        ops = functions(__name__, dy, x, weight, mean)
        derivative = ops.batch_norm_backward if from_batch else ops.batch_norm_inference_backward
        dx, dweight, dbias = derivative(dy.reshape(rows_shape), x.reshape(rows_shape), mean, inv_std, weight)
        if self.weight is not None:
            self.weight.grad += dweight
            self.bias.grad += dbias
        return dx.reshape(x.shape)

    def _count_batch(self) -> float:
        """Count a batch of the running statistics; returns the momentum of its update."""
        self.num_batches_tracked += 1
        return 1 / int(self.num_batches_tracked) if self.momentum is None else self.momentum


class BatchNorm1d(_BatchNorm):
    """y = weight * (x - mean) / sqrt(var + eps) + bias, for each channel.    x, y (N, C) or (N, C, L).

    As BatchNorm2d, with mean and var over N, or over N and L: the same options, running statistics and errors.

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

    A batch of no images, as of a region head where no region is left, is one of no images after it; running statistics
    stay as they are. Raises ValueError for other channels, and in training for a single value a channel.

    Reference: Ioffe and Szegedy 2015, arXiv:1502.03167, algorithm 1 and its gradients in sec. 3.
    """

    def _wanted_shape(self, x):
        return ("N", self.num_features, "H", "W")
