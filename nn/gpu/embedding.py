"""Rows of a table and their gradients for CuPy: the functions of nn/layers/embedding.py by nn/gpu/embedding.cu."""

import numpy as np

from nn.dispatch import array_module
from nn.gpu.kernels import launch, use_kernels

__all__ = ["embedding", "embedding_backward", "takes"]


def takes(*arrays, **options) -> bool:
    """Whether each array is CuPy's, float32 or float64; dy may be of another of these dtypes than the gradient."""
    return all(map(use_kernels, arrays))


def embedding(x, weight):
    """y (*x.shape, D); NaN for an x outside 0 .. V - 1."""
    xp, (height, width) = array_module(weight), weight.shape
    y, x = xp.empty((*x.shape, width), weight.dtype), xp.ascontiguousarray(x, np.int64)
    launch("embedding", "embedding_forward", y.size, y.dtype, weight, x, y, y.size, width, height)
    return y


def embedding_backward(dy, x, grad, padding_idx):
    """Add dweight to grad (V, D), in place. Positions are sorted by index, so that no row is written by two blocks."""
    xp, x, (height, width) = array_module(dy), x.astype(np.int64, copy=False), grad.shape
    order = xp.argsort(x, kind="stable")
    arrays = xp.ascontiguousarray(dy, grad.dtype), x[order], order, grad
    sizes, block = (len(x), width, height, -1 if padding_idx is None else padding_idx), (32, 8)
    grid = len(x), -(-width // 32)
    launch("embedding", "embedding_backward", dy.size, grad.dtype, *arrays, *sizes, block=block, grid=grid)
