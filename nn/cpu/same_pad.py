"""Zeros around images for NumPy: images shared among threads."""

import numpy as np

from nn.cpu.chunks import in_slices


def takes(x) -> bool:
    """Whether these functions are for x: always."""
    return True


def pad(x, rows, columns):
    """y (N, C, H + top + bottom, W + left + right), as in nn/layers/same_pad.py."""
    (n, c, h, w), ((top, bottom), (left, right)) = x.shape, (rows, columns)
    y = np.empty((n, c, top + h + bottom, left + w + right), x.dtype)

    def fill(s):
        y[s, :, :top] = y[s, :, top + h :] = y[s, :, :, :left] = y[s, :, :, left + w :] = 0
        y[s, :, top : top + h, left : left + w] = x[s]

    in_slices(fill, n, y.size)
    return y
