"""Bilinear sampling of feature maps at real-valued positions, and its gradients.

A position (row, column) lies between four cells of the map x. With the hat function k(t) = max(0, 1 - |t|) the value is

    y = sum over cells i, j of k(row - i) k(column - j) x[i, j],    x = 0 outside of the map

where only the four cells around the position have k > 0. GridSample, RoIAlign, RoIWarp and DeformConv2d differ in the
positions alone. nn/cpu/sampler.py and nn/gpu/sampler.py compute the same for many maps at once.

Reference: Jaderberg et al. 2015, Spatial Transformer Networks, arXiv:1506.02025, eq. 5 to 7.
"""

import numpy as np

from nn.dispatch import array_module


def corners(row, column, size, nearest=False):
    """i, j, weight, by_row, by_column, (P,) each, for one after the other of the four cells around P positions.

    weight = k(row - i) k(column - j), and by_row and by_column are its derivatives; all three are 0 for cells outside
    of the map of size (H, W). At a whole-numbered position, where k has a kink, the derivative is the one to the right,
    as in PyTorch. With nearest=True the positions are rounded, halves to even, and the cell there has weight 1.
    """
    xp, (h, w) = array_module(row), size
    if nearest:
        row, column = xp.rint(row.real), xp.rint(column.real)
    top, left = xp.floor(row.real), xp.floor(column.real)
    for a, b in [(0, 0)] if nearest else np.ndindex(2, 2):
        i, j = top + a, left + b
        slope_i, slope_j = 2 * a - 1, 2 * b - 1  # of k: -1 for the cells above (to the left), +1 below (to the right)
        k_row, k_column = 1 + slope_i * (row - i), 1 + slope_j * (column - j)  # 1 - |row - i|, 1 - |column - j|
        inside = (i >= 0) & (i < h) & (j >= 0) & (j < w)
        i, j = xp.clip(i, 0, h - 1).astype(np.int64), xp.clip(j, 0, w - 1).astype(np.int64)
        yield i, j, k_row * k_column * inside, slope_i * k_column * inside, slope_j * k_row * inside


def sample(x, row, column, nearest=False):
    """y (C, P): the values of the map x (C, H, W) at the positions row, column (P,)."""
    y = 0
    for i, j, weight, _, _ in corners(row, column, x.shape[1:], nearest):
        y = y + weight * x[:, i, j]
    return y


def map_gradient(dy, row, column, size, nearest=False):
    """dx (C, H, W), a map of this size (H, W), for dy (C, P)."""
    xp, c, (h, w) = array_module(dy), len(dy), size
    dx = xp.zeros((h * w, c), dy.dtype)
    for i, j, weight, _, _ in corners(row, column, size, nearest):
        xp.add.at(dx, i * w + j, (weight * dy).T)  # y = y + weight * x[:, i, j]; positions share cells: dx adds up
    return dx.T.reshape(c, h, w)


def position_gradients(dy, x, row, column):
    """drow and dcolumn (P,) for dy (C, P)."""
    drow = dcolumn = 0
    for i, j, _, by_row, by_column in corners(row, column, x.shape[1:]):
        dweight = (dy * x[:, i, j]).sum(axis=0)  # y = y + weight * x[:, i, j]
        drow, dcolumn = drow + dweight * by_row, dcolumn + dweight * by_column
    return drow, dcolumn


def sampled_dtype(x, *others) -> np.dtype:
    """The dtype of values sampled from x: its own, or complex where one of the others, such as positions, is."""
    return np.result_type(x.dtype, *(a.dtype for a in others if a is not None and a.dtype.kind == "c"))
