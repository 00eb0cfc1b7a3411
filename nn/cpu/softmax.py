"""Softmax and its logarithm for NumPy: in chunks in which the axis is whole, shared among threads."""

import math

import numpy as np

from nn.cpu.chunks import in_blocks
from nn.cpu.chunks import real as takes
from nn.layers.softmax import masked_softmax

__all__ = ["log_softmax", "log_softmax_backward", "masked_softmax", "softmax", "softmax_backward", "takes"]


def softmax(x, axis):
    """y, as in nn/layers/softmax.py."""

    def chunk(x, out):
        np.subtract(x, x.max(axis=1, keepdims=True), out=out)
        np.exp(out, out=out)
        out /= out.sum(axis=1, keepdims=True)

    return _along(axis, chunk, x)


def softmax_backward(dy, y, axis):
    """dx, as in nn/layers/softmax.py."""

    def chunk(dy, y, out):
        np.multiply(dy, y, out=out)
        np.subtract(dy, out.sum(axis=1, keepdims=True), out=out)
        out *= y

    return _along(axis, chunk, dy, y)


def log_softmax(x, axis):
    """y, as in nn/layers/softmax.py."""

    def chunk(x, out):
        np.subtract(x, x.max(axis=1, keepdims=True), out=out)
        out -= np.log(np.exp(out).sum(axis=1, keepdims=True))

    return _along(axis, chunk, x)


def log_softmax_backward(dy, y, axis):
    """dx, as in nn/layers/softmax.py."""

    def chunk(dy, y, out):
        np.exp(y, out=out)
        out *= dy.sum(axis=1, keepdims=True)
        np.subtract(dy, out, out=out)

    return _along(axis, chunk, dy, y)


def _along(axis, function, *arrays):
    """function(*chunks, out=chunk) for chunks (n, K, m) of all arrays, K being the axis."""
    whole, axis = arrays[0].shape, axis % arrays[0].ndim
    shape = math.prod(whole[:axis]), whole[axis], math.prod(whole[axis + 1 :])
    out, arrays = np.empty(shape, arrays[0].dtype), [a.reshape(shape) for a in arrays]
    in_blocks(lambda b: function(*(a[b] for a in arrays), out=out[b]), shape)
    return out.reshape(whole)
