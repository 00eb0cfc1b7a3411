"""Bilinear interpolation from its definition, one sum over all the cells of a map: what sampling tests compare with.

y = sum over i, j of k(row - i) k(column - j) x[i, j] with k(t) = max(0, 1 - |t|), slopes to the right at the kinks.
"""

import numpy as np


def hat(distance):
    return max(0.0, 1 - abs(distance))


def slope(distance):
    """The derivative of the hat to the right: +1 for -1 <= distance < 0, -1 for 0 <= distance < 1."""
    return 1.0 if -1 <= distance < 0 else -1.0 if 0 <= distance < 1 else 0.0


def weights(shape, row, column):
    """(H, W) weight of each cell, and its derivatives by row and by column."""
    down, across = ([f(p - i) for i in range(n)] for f, p, n in ((hat, row, shape[0]), (hat, column, shape[1])))
    by_row = [slope(row - i) for i in range(shape[0])]
    by_column = [slope(column - j) for j in range(shape[1])]
    return np.outer(down, across), np.outer(by_row, across), np.outer(down, by_column)
