"""Layer normalisation for CuPy: the functions of nn/layers/layer_norm.py by the kernels of nn/gpu/layer_norm.cu."""

from nn.dispatch import array_module
from nn.gpu.kernels import launch
from nn.gpu.kernels import use_kernels as takes

__all__ = ["layer_norm", "layer_norm_backward", "takes"]

ROWS_TOGETHER = 64  # a thread adds up so many rows of a column


def layer_norm(x, weight, bias, eps):
    """y (R, D), mean, inv_std (R, 1), in one launch."""
    (rows, width), xp, block = x.shape, array_module(x), _threads(x.shape[1])
    x, y, (mean, inv_std) = xp.ascontiguousarray(x), xp.empty(x.shape, x.dtype), xp.empty((2, rows, 1), x.dtype)
    arrays = x, weight, bias, y, mean, inv_std
    launch("layer_norm", "layer_norm_forward", rows * block, x.dtype, *arrays, float(eps), width, block=block)
    return y, mean, inv_std


def layer_norm_backward(dy, x, mean, inv_std, weight):
    """dx (R, D), dweight, dbias (D,), in two launches and the sums of what the slices of rows give."""
    (rows, width), xp, dtype, block = x.shape, array_module(x), x.dtype, _threads(x.shape[1])
    arrays, dx = (xp.ascontiguousarray(dy), xp.ascontiguousarray(x), mean, inv_std), xp.empty(x.shape, dtype)
    launch("layer_norm", "layer_norm_backward", rows * block, dtype, *arrays, weight, dx, width, block=block)
    if weight is None:
        return dx, None, None
    slices = -(-rows // ROWS_TOGETHER)
    partial, sizes = xp.empty((2, slices, width), dtype), (rows, width, ROWS_TOGETHER, slices)
    launch("layer_norm", "layer_norm_weights", slices * width, dtype, *arrays, partial, *sizes)
    return dx, *partial.sum(axis=1)


def _threads(width):
    """Threads of a block that shares a row: a power of two."""
    return min(256, max(32, 1 << (width - 1).bit_length()))
