"""The products of squeeze and excitation for NumPy: chunks of images, shared among threads."""

import numpy as np

from nn.cpu.chunks import in_slices
from nn.cpu.chunks import real as takes

__all__ = ["excite", "excite_backward", "squeeze", "squeeze_backward", "takes"]


def squeeze(x):
    """s (N, C, 1, 1), as in nn/layers/squeeze_excitation.py: a product with ones."""
    pixels = x.shape[2] * x.shape[3]
    ones, planes, sums = np.ones(pixels, x.dtype), x.reshape(*x.shape[:2], pixels), np.empty(x.shape[:2], x.dtype)
    in_slices(lambda n: np.matmul(planes[n], ones, out=sums[n]), len(x), x.size)
    return (sums / pixels)[:, :, None, None]


def excite(x, gate):
    """y (N, C, H, W), as in nn/layers/squeeze_excitation.py."""
    y = np.empty(x.shape, x.dtype)
    in_slices(lambda n: np.multiply(x[n], gate[n], out=y[n]), len(x), x.size)
    return y


def excite_backward(dy, x):
    """dgate (N, C, 1, 1), as in nn/layers/squeeze_excitation.py."""
    sums = np.empty(x.shape[:2], np.result_type(dy, x))
    in_slices(lambda n: np.einsum("nchw,nchw->nc", dy[n], x[n], out=sums[n]), len(x), x.size)
    return sums[:, :, None, None]


def squeeze_backward(dy, gate, dsqueezed):
    """dx (N, C, H, W), as in nn/layers/squeeze_excitation.py."""
    dx, dmean = np.empty(dy.shape, dy.dtype), dsqueezed / (dy.shape[2] * dy.shape[3])

    def branches(n):
        np.multiply(dy[n], gate[n], out=dx[n])
        dx[n] += dmean[n]

    in_slices(branches, len(dy), dy.size)
    return dx
