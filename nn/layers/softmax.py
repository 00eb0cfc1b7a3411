"""Softmax and its logarithm along one axis: the formulas, and the layers."""

import numpy as np

from nn.dispatch import array_module, functions
from nn.layer import Layer, check_shape


def softmax(x: np.ndarray, axis: int) -> np.ndarray:
    """y[k] = exp(x[k]) / sum_j exp(x[j]), k and j along `axis`.    x, y of one shape.

    The largest x is subtracted first, so that no exponential overflows: this changes nothing in y.
    """
    if x.size == 0:
        return x.copy()
    e = array_module(x).exp(x - x.real.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def softmax_backward(dy, y, axis):
    """dx[j] = y[j] (dy[j] - sum_k dy[k] y[k]), as dy[k] / dx[j] = y[k] ([k = j] - y[j])."""
    return y * (dy - (dy * y).sum(axis=axis, keepdims=True))


def masked_softmax(x, mask, axis):
    """softmax of those x for which mask is True; y is 0 elsewhere.    mask: bools of the shape of x, or None.

    Where mask is False all along the axis, all of y is 0. softmax_backward is the gradient of this, too.
    """
    if mask is None or x.size == 0:
        return softmax(x, axis)
    xp = array_module(x)
    largest = xp.where(mask, x.real, np.finfo(x.real.dtype).min).max(axis=axis, keepdims=True)
    e = mask * xp.exp(xp.where(mask, x - largest, 0))
    total = e.sum(axis=axis, keepdims=True)
    return e / xp.where(total == 0, 1, total)


def log_softmax(x: np.ndarray, axis: int) -> np.ndarray:
    """y[k] = x[k] - log sum_j exp(x[j]), k and j along `axis`.    x, y of one shape."""
    if x.size == 0:
        return x.copy()
    xp, z = array_module(x), x - x.real.max(axis=axis, keepdims=True)
    return z - xp.log(xp.exp(z).sum(axis=axis, keepdims=True))


def log_softmax_backward(dy, y, axis):
    """dx[j] = dy[j] - exp(y[j]) sum_k dy[k], as dy[k] / dx[j] = [k = j] - softmax(x)[j], and softmax(x) = exp(y)."""
    return dy - array_module(y).exp(y) * dy.sum(axis=axis, keepdims=True)


class _AlongAxis(Layer):
    """Softmax and LogSoftmax: the axis, and the check of x (any shape)."""

    def __init__(self, axis: int):
        if not isinstance(axis, (int, np.integer)) or isinstance(axis, bool):
            raise ValueError(f"{type(self).__name__}: axis must be a whole number, got {axis!r}")
        self.axis = int(axis)

    def _check(self, x):
        check_shape(self, x=(x, (None,) * np.ndim(x)))
        if not -x.ndim <= self.axis < x.ndim:
            raise ValueError(f"{type(self).__name__}: axis={self.axis} must be an axis of x, got x {x.shape}")


class Softmax(_AlongAxis):
    """y[k] = exp(x[k]) / sum_j exp(x[j]), k and j along `axis`.    Any shape; axis=1 for logits (N, C, H, W).

    The axis is PyTorch's `dim`. Where x is -inf (masked out) y is 0.

    Raises ValueError where x has no such axis.

    Reference: Goodfellow et al. 2016, Deep learning, eq. 6.29 and sec. 4.1.
    """

    def forward(self, x, training=True):
        self._check(x)
        y = functions(__name__, x).softmax(x, self.axis)
        return y, y

    def backward(self, dy, cache):
        y = cache
        check_shape(self, dy=(dy, y.shape))
        return functions(__name__, dy, y).softmax_backward(dy, y, self.axis)


class LogSoftmax(_AlongAxis):
    """y[k] = log(exp(x[k]) / sum_j exp(x[j])) = x[k] - log sum_j exp(x[j]), k and j along `axis`.    Any shape.

    The axis is PyTorch's `dim`; axis=1 for logits (N, C, H, W). Finite where Softmax is 0 to rounding.

    Raises ValueError where x has no such axis.

    Reference: Goodfellow et al. 2016, Deep learning, eq. 6.30.
    """

    def forward(self, x, training=True):
        self._check(x)
        y = functions(__name__, x).log_softmax(x, self.axis)
        return y, y

    def backward(self, dy, cache):
        y = cache
        check_shape(self, dy=(dy, y.shape))
        return functions(__name__, dy, y).log_softmax_backward(dy, y, self.axis)
