"""Nearest and bilinear interpolation for NumPy: images shared among threads."""

from nn.cpu.separable import both_sides
from nn.cpu.window_sums import window_sums
from nn.layers import upsample as textbook
from nn.layers.upsample import matrices
from nn.layers.windows import Geometry

__all__ = ["matrices", "takes", "upsample", "upsample_backward"]


def takes(x, mode) -> bool:
    """Whether these functions are for this mode: bed of nails is one assignment, which threads make no faster."""
    return mode != "bed_of_nails"


def upsample(x, out_size, scales, mode, align_corners=False):
    """As in nn.layers.upsample."""
    if mode == "nearest":
        return textbook.upsample(x, out_size, scales, mode)
    return both_sides(x, *matrices(x.shape[2:], out_size, scales, mode, align_corners))


def upsample_backward(dy, in_size, scales, mode, align_corners=False):
    """As in nn.layers.upsample."""
    if mode == "nearest" and all(scale == int(scale) for scale in scales):  # each pixel of x is a block of y
        blocks = tuple(map(int, scales))
        return window_sums(dy, Geometry(blocks, blocks), in_size)
    rows, cols = matrices(in_size, dy.shape[2:], scales, mode, align_corners)
    return both_sides(dy, rows.T, cols.T)
