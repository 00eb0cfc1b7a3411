"""Batch normalisation on a GPU, three launches forward and three backward, by the kernels of nn/gpu/batch_norm.cu."""

import numpy as np

from nn.dispatch import array_module
from nn.gpu.kernels import TYPES, launch, use_kernels

SLICE = 4096  # numbers at least that a block adds up, and reads from the cache the second time
BLOCKS = 2048  # and so many blocks at most, over all channels


def serves(layer, x) -> bool:
    """Whether the kernels serve x: on a GPU, in float32 or float64, as the layer is."""
    if not use_kernels(x) or x.dtype.name not in TYPES:
        return False
    own = layer.weight and layer.weight.value, layer.running_mean
    return all(a is None or a.dtype == x.dtype for a in own)


def forward(layer, x, from_batch: bool):
    """(y, mean, inv_std); running statistics are brought along where they are tracked."""
    xp, dtype, channels = array_module(x), x.dtype, x.shape[1]
    x, (count, length, slice_size, slices) = xp.ascontiguousarray(x), _sizes(x)
    y, (mean, inv_std), partial = xp.empty(x.shape, dtype), xp.empty((2, channels), dtype), None
    if from_batch:
        partial, block = xp.empty((channels, slices, 2), dtype), 256
        sizes = channels, length, count, slice_size, slices
        launch("batch_norm", "slice_statistics", channels * slices * block, dtype, x, partial, *sizes, block=block)
    momentum = layer.count_batch() if from_batch and layer.track_running_stats else 0.0
    arrays = partial, layer.running_mean, layer.running_var, mean, inv_std
    numbers = float(layer.eps), 1 - momentum, float(momentum), count, slice_size, slices
    launch("batch_norm", "batch_statistics", channels * 64, dtype, *arrays, *numbers, block=64)
    arrays = x, mean, inv_std, *_values(layer), y
    launch("batch_norm", "normalise", x.size, dtype, *arrays, x.size, channels, length)
    return y, mean, inv_std


def backward(layer, dy, cache):
    """dx; adds to the gradients of weight and bias."""
    x, mean, inv_std, from_batch = cache
    xp, dtype, channels = array_module(x), x.dtype, x.shape[1]
    x, dy, (count, length, slice_size, slices) = xp.ascontiguousarray(x), xp.ascontiguousarray(dy, dtype), _sizes(x)
    dx, partial, sums = (xp.empty(shape, dtype) for shape in (x.shape, (channels, slices, 2), (channels, 2)))
    arrays, sizes = (dy, x, mean, partial), (channels, length, count, slice_size, slices)
    launch("batch_norm", "slice_gradients", channels * slices * 256, dtype, *arrays, *sizes)
    grads = (None, None) if layer.weight is None else (layer.weight.grad, layer.bias.grad)
    launch("batch_norm", "batch_gradients", channels * 64, dtype, partial, inv_std, sums, *grads, slices, block=64)
    arrays = dy, x, mean, inv_std, _values(layer)[0], sums, dx
    launch("batch_norm", "normalise_backward", x.size, dtype, *arrays, x.size, channels, length, count, from_batch)
    return dx


def _values(layer):
    return (None, None) if layer.weight is None else (layer.weight.value, layer.bias.value)


def _sizes(x):
    """Of x (N, C, ...): numbers a channel, numbers a plane, numbers a slice, slices a channel."""
    count, length = x.size // x.shape[1], int(np.prod(x.shape[2:]))
    slices = max(1, min(-(-count // SLICE), BLOCKS // x.shape[1]))
    slice_size = max(1, -(-count // slices))
    return count, length, slice_size, max(1, -(-count // slice_size))
