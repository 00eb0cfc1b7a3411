"""Layer normalisation for NumPy: chunks of rows, shared among threads; sums over a row are matrix products."""

import numpy as np

from nn.cpu.chunks import add_up, in_slices
from nn.cpu.chunks import real as takes

__all__ = ["layer_norm", "layer_norm_backward", "takes"]


def layer_norm(x, weight, bias, eps):
    """y (R, D), mean, inv_std (R, 1), as in nn/layers/layer_norm.py."""
    y, one = np.empty(x.shape, x.dtype), np.ones(x.shape[1], x.dtype)
    mean, inv_std = np.empty((2, len(x), 1), x.dtype)

    def normalise(r):
        mean[r] = _row_dots(x[r], one) / len(one)
        centred = np.subtract(x[r], mean[r], out=y[r])
        inv_std[r] = 1 / np.sqrt(_row_dots(centred, centred) / len(one) + eps)
        y[r] *= inv_std[r]
        if weight is not None:
            y[r] *= weight
        if bias is not None:
            y[r] += bias

    in_slices(normalise, len(x), x.size)
    return y, mean, inv_std


def layer_norm_backward(dy, x, mean, inv_std, weight):
    """dx (R, D), dweight, dbias (D,), as in nn/layers/layer_norm.py."""
    dx, one = np.empty(x.shape, dy.dtype), np.ones(x.shape[1], dy.dtype)

    def differentiate(r):
        x_hat = x[r] - mean[r]
        x_hat *= inv_std[r]
        dx_hat, sums = dy[r], None
        if weight is not None:
            sums = (dx_hat * x_hat).sum(axis=0), dx_hat.sum(axis=0)
            dx_hat = dx_hat * weight
        x_hat *= _row_dots(dx_hat, x_hat) / len(one)  # term 2, through the variance
        x_hat += _row_dots(dx_hat, one) / len(one)  # term 1, through the mean
        np.subtract(dx_hat, x_hat, out=dx[r])
        dx[r] *= inv_std[r]
        return sums

    sums = in_slices(differentiate, len(x), x.size)
    if weight is None:
        return dx, None, None
    return dx, *(add_up([pair[i] for pair in sums], weight) for i in range(2))


def _row_dots(a, b):
    """(R, 1): the dot product of each row of a (R, D) with that of b (R, D), or with b (D,)."""
    return (a[:, None] @ b[..., None])[:, 0]
