"""Batch normalisation for CuPy: the functions of nn/layers/batch_norm.py by the kernels of nn/gpu/batch_norm.cu.

Three launches forward and three backward.
"""

from nn.dispatch import array_module
from nn.gpu.kernels import launch
from nn.gpu.kernels import use_kernels as takes

__all__ = ["batch_norm", "batch_norm_backward", "batch_norm_inference", "batch_norm_inference_backward", "takes"]

SLICE = 4096  # elements at least that a block adds up, and reads from the cache the second time
BLOCKS = 2048  # and so many blocks at most, over all channels


def batch_norm(x, weight, bias, running, momentum, eps):
    """y (N, C, M), mean, inv_std (C,) by statistics of the batch; updates running."""
    xp, dtype, channels = array_module(x), x.dtype, x.shape[1]
    x, (count, slice_size, slices) = xp.ascontiguousarray(x), _sizes(x)
    partial = xp.empty((channels, slices, 2), dtype)
    sizes = channels, x.shape[2], count, slice_size, slices
    launch("batch_norm", "slice_statistics", channels * slices * 256, dtype, x, partial, *sizes)
    mean, inv_std = _statistics(x, partial, running, momentum, eps)
    return _normalise(x, mean, inv_std, weight, bias), mean, inv_std


def batch_norm_backward(dy, x, mean, inv_std, weight):
    """dx (N, C, M), dweight, dbias (C,), through mean and variance too."""
    return _backward(dy, x, mean, inv_std, weight, from_batch=True)


def batch_norm_inference(x, weight, bias, running, eps):
    """y (N, C, M), mean, inv_std (C,) by running statistics."""
    x = array_module(x).ascontiguousarray(x)
    mean, inv_std = _statistics(x, None, running, 0.0, eps)
    return _normalise(x, mean, inv_std, weight, bias), mean, inv_std


def batch_norm_inference_backward(dy, x, mean, inv_std, weight):
    """dx (N, C, M), dweight, dbias (C,), mean and inv_std being constants."""
    return _backward(dy, x, mean, inv_std, weight, from_batch=False)


def _statistics(x, partial, running, momentum, eps):
    """mean, inv_std (C,) of what the slices gave, or of the running statistics where partial is None."""
    count, slice_size, slices = _sizes(x)
    mean, inv_std = array_module(x).empty((2, x.shape[1]), x.dtype)
    arrays, options = (partial, *(running or (None, None)), mean, inv_std), (float(eps), 1 - momentum, float(momentum))
    sizes = count, slice_size, slices
    launch("batch_norm", "batch_statistics", x.shape[1] * 64, x.dtype, *arrays, *options, *sizes, block=64)
    return mean, inv_std


def _normalise(x, mean, inv_std, weight, bias):
    """y (N, C, M)."""
    y = array_module(x).empty(x.shape, x.dtype)
    launch("batch_norm", "normalise", x.size, x.dtype, x, mean, inv_std, weight, bias, y, x.size, *x.shape[1:])
    return y


def _backward(dy, x, mean, inv_std, weight, from_batch):
    xp, dtype, (_, channels, length) = array_module(x), x.dtype, x.shape
    x, dy, (count, slice_size, slices) = xp.ascontiguousarray(x), xp.ascontiguousarray(dy), _sizes(x)
    dx, partial, sums = (xp.empty(shape, dtype) for shape in (x.shape, (channels, slices, 2), (2, channels)))
    arrays, sizes = (dy, x, mean, partial), (channels, length, count, slice_size, slices)
    launch("batch_norm", "slice_gradients", channels * slices * 256, dtype, *arrays, *sizes)
    launch("batch_norm", "batch_gradients", channels * 64, dtype, partial, inv_std, sums, channels, slices, block=64)
    arrays = dy, x, mean, inv_std, weight, sums, dx
    launch("batch_norm", "normalise_backward", x.size, dtype, *arrays, x.size, channels, length, count, from_batch)
    dbias, dweight = sums
    return dx, dweight, dbias


def _sizes(x):
    """For x (N, C, M): elements of a channel, elements of a slice, slices of a channel."""
    count = x.size // x.shape[1]
    slices = max(1, min(-(-count // SLICE), BLOCKS // x.shape[1]))
    slice_size = max(1, -(-count // slices))
    return count, slice_size, max(1, -(-count // slice_size))
