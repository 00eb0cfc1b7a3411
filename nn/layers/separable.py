"""What treats rows and columns of images one after the other: the product with a matrix from each side.

Bilinear interpolation, means over bins and blurring are of this kind. A kh x kw window then costs kh + kw
multiply-adds for each element instead of kh * kw.
"""

from nn.dispatch import array_module, functions


def resample(x, rows, cols):
    """y (N, C, oh, ow) = rows @ x @ cols.T for each plane of x (N, C, H, W); rows (oh, H), cols (ow, W).

    Its backward is resample(dy, rows.T, cols.T). The matrices are NumPy's, in any precision; y has the dtype of x.
    As in any matrix product an infinity or NaN spreads along its row and column of the plane.
    """
    return functions(__name__, x).both_sides(x, rows, cols)


def both_sides(x, rows, cols):
    """rows @ x @ cols.T, as in resample."""
    xp = array_module(x)
    return xp.asarray(rows, x.dtype) @ x @ xp.asarray(cols, x.dtype).T
