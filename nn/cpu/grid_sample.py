"""Sampling at the points of a grid for NumPy: the points of all images at once, shared among threads."""

import numpy as np

from nn.cpu.sampler import gather, sample, sample_gradients, scatter, to_maps, to_rows
from nn.layers.grid_sample import pixels

__all__ = ["grid_sample", "grid_sample_backward", "pixels", "takes"]


def takes(*arrays) -> bool:
    """Whether all are real: complex values are for the textbook."""
    return all(a.dtype.kind == "f" for a in arrays)


def grid_sample(x, grid, mode, padding_mode, align_corners):
    """As in nn.layers.grid_sample."""
    (row, column), _, plane = _positions(grid, x.shape[2:], padding_mode, align_corners)
    if mode == "nearest":
        y_rows = np.empty((row.size, x.shape[1]), x.dtype)
        gather(to_rows(x), *_nearest(x, row, column, plane), y_rows)
    else:
        y_rows = sample(to_rows(x), row, column, plane, x.shape[2:])
    return to_maps(y_rows, (*x.shape[:2], *grid.shape[1:3]))


def grid_sample_backward(dy, x, grid, mode, padding_mode, align_corners):
    """As in nn.layers.grid_sample."""
    dy_rows = to_rows(dy)
    (row, column), slopes, plane = _positions(grid, x.shape[2:], padding_mode, align_corners)
    if mode == "nearest":  # rounding is flat: nothing goes to the grid
        cell, weight = _nearest(x, row, column, plane)
        source = np.arange(row.size)[None]
        dx_rows = scatter(dy_rows, source, cell, weight, len(x) * x.shape[2] * x.shape[3])
        return to_maps(dx_rows, x.shape), np.zeros_like(grid)
    dx_rows, drow, dcolumn = sample_gradients(dy_rows, to_rows(x), row, column, plane, x.shape[2:])
    # row and column are functions of grid[..., 1] and grid[..., 0]
    dgrid = np.stack([dcolumn * slopes[1], drow * slopes[0]], axis=-1)
    return to_maps(dx_rows, x.shape), dgrid.reshape(grid.shape).astype(grid.dtype)


def _positions(grid, size, padding_mode, align_corners):
    """(row, column) in pixels, their slopes by the grid's y and x, and the first row of x_rows of each one's image."""
    points = grid.reshape(-1, 2)
    axes = (pixels(points[:, 1 - i], size[i], padding_mode, align_corners) for i in (0, 1))
    (row, row_slope), (column, column_slope) = axes
    plane = np.arange(len(grid)) * (size[0] * size[1])
    return (row, column), (row_slope, column_slope), plane.repeat(grid.shape[1] * grid.shape[2])


def _nearest(x, row, column, plane):
    """(1, P) rows of x_rows and weights 1, 0 outside. Halves are rounded to even, as PyTorch's nearbyint does."""
    h, w = x.shape[2:]
    row, column = np.rint(row), np.rint(column)
    inside = (row >= 0) & (row < h) & (column >= 0) & (column < w)
    cell = plane + np.clip(row, 0, h - 1).astype(np.int64) * w + np.clip(column, 0, w - 1).astype(np.int64)
    return cell[None], inside[None].astype(x.dtype)
