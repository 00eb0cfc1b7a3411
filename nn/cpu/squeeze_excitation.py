"""The products of squeeze and excitation for NumPy: chunks of images, shared among threads."""

import numpy as np

from nn.cpu.chunks import in_slices
from nn.cpu.chunks import real as takes

__all__ = ["excite", "excite_backward", "squeeze_backward", "takes"]


def excite(x, gate):
    """y (N, C, H, W), as in nn/layers/squeeze_excitation.py."""
    y = np.empty(x.shape, x.dtype)
    in_slices(lambda n: np.multiply(x[n], gate[n], out=y[n]), len(x), x.size)
    return y


def excite_backward(dy, x):
    """dgate (N, C, 1, 1), as in nn/layers/squeeze_excitation.py."""
    return np.einsum("nchw,nchw->nc", dy, x)[:, :, None, None]


def squeeze_backward(dy, gate, dsqueezed):
    """dx (N, C, H, W), as in nn/layers/squeeze_excitation.py."""
    dx, dmean = np.empty(dy.shape, dy.dtype), dsqueezed / (dy.shape[2] * dy.shape[3])

    def branches(n):
        np.multiply(dy[n], gate[n], out=dx[n])
        dx[n] += dmean[n]

    in_slices(branches, len(dy), dy.size)
    return dx
