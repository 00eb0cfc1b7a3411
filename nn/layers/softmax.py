"""Softmax and its logarithm, along one axis."""

import math

import numpy as np

from nn.cpu.chunks import in_blocks
from nn.dispatch import array_module
from nn.gpu.kernels import TYPES, launch, use_kernels
from nn.layer import Layer, check_shape


class _AlongAxis(Layer):
    """What Softmax and LogSoftmax share: the axis, and pieces of x in which it is whole."""

    def __init__(self, axis: int):
        if not isinstance(axis, (int, np.integer)) or isinstance(axis, bool):
            raise ValueError(f"{type(self).__name__}: axis must be a whole number, got {axis!r}")
        self.axis = int(axis)

    def _check(self, x):
        check_shape(self, x=(x, (None,) * np.ndim(x)))
        if not -x.ndim <= self.axis < x.ndim:
            raise ValueError(f"{type(self).__name__}: axis={self.axis} must be an axis of x, got x {x.shape}")

    def _in_pieces(self, function, *arrays):
        """function(*pieces, out=) for pieces (n, K, m) of all arrays, axis 1 the one that counts; results as one."""
        first, axis = arrays[0], self.axis % arrays[0].ndim
        shape = math.prod(first.shape[:axis]), first.shape[axis], math.prod(first.shape[axis + 1 :])
        out = array_module(first).empty(shape, first.dtype)
        blocks = [a.reshape(shape) for a in arrays]
        if use_kernels(first) and first.dtype.name in TYPES:
            by_kernel(blocks, out, logarithm=isinstance(self, LogSoftmax))
            return out.reshape(first.shape)

        in_blocks(lambda b: function(*(block[b] for block in blocks), out=out[b]), shape, array_module(first))
        return out.reshape(first.shape)


class Softmax(_AlongAxis):
    """y[k] = exp(x[k]) / sum_j exp(x[j]), k and j going along `axis`.    Any shape; axis=1 for logits (N, C, H, W).

    The axis is PyTorch's `dim`. Before the exponentials the largest x is subtracted: this changes nothing in y, and
    keeps them at most 1. Where x is -inf (masked out) y is 0.

    Raises ValueError where x has no such axis.

    Reference: Goodfellow et al. 2016, Deep learning, eq. 6.29 and sec. 4.1.
    """

    def forward(self, x, training=True):
        self._check(x)
        y = self._in_pieces(_softmax, x)
        return y, y

    def backward(self, dy, cache):
        y = cache
        check_shape(self, dy=(dy, y.shape))

        def differentiate(dy, y, out):  # dy[k] / dx[j] = y[k] ([k = j] - y[j])
            xp = array_module(y)
            xp.multiply(dy, y, out=out)
            xp.subtract(dy, out.sum(axis=1, keepdims=True), out=out)
            out *= y

        return self._in_pieces(differentiate, dy, y)


class LogSoftmax(_AlongAxis):
    """y[k] = log(exp(x[k]) / sum_j exp(x[j])) = x[k] - log sum_j exp(x[j]), k and j going along `axis`.    Any shape.

    The axis is PyTorch's `dim`; axis=1 for logits (N, C, H, W). Finite where Softmax is 0 to rounding.

    Raises ValueError where x has no such axis.

    Reference: Goodfellow et al. 2016, Deep learning, eq. 6.30.
    """

    def forward(self, x, training=True):
        self._check(x)
        y = self._in_pieces(_log_softmax, x)
        return y, y

    def backward(self, dy, cache):
        y = cache
        check_shape(self, dy=(dy, y.shape))

        def differentiate(dy, y, out):  # dy[k] / dx[j] = [k = j] - softmax(x)[j], and softmax(x) = exp(y)
            xp = array_module(y)
            xp.exp(y, out=out)
            out *= dy.sum(axis=1, keepdims=True)
            xp.subtract(dy, out, out=out)

        return self._in_pieces(differentiate, dy, y)


def by_kernel(arrays, out, mask=None, logarithm=False):
    """On a GPU in one launch: fills out (N, K, M), for [x] with y of a forward, for [dy, y] with dx of a backward."""
    (n, size, plane), xp = out.shape, array_module(out)
    arrays = [xp.ascontiguousarray(a, out.dtype) for a in arrays]
    name = "softmax_backward" if len(arrays) == 2 else "softmax_forward"
    masks = () if len(arrays) == 2 else (None if mask is None else xp.ascontiguousarray(mask),)
    together = plane == 1 and size >= 32  # a block for each position: else a thread
    block = min(256, 1 << (size - 1).bit_length()) if together else 256
    threads = n * plane * (block if together else 1)
    sizes = n * plane, size, plane, together, logarithm
    launch("softmax", name, threads, out.dtype, *arrays, *masks, out, *sizes, block=block)


def _softmax(x, out):
    xp = array_module(x)
    xp.subtract(x, x.max(axis=1, keepdims=True), out=out)
    xp.exp(out, out=out)
    out /= out.sum(axis=1, keepdims=True)


def _log_softmax(x, out):
    xp = array_module(x)
    xp.subtract(x, x.max(axis=1, keepdims=True), out=out)
    out -= xp.log(xp.exp(out).sum(axis=1, keepdims=True))
