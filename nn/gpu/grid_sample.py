"""Sampling at the points of a grid for CuPy: the kernel of nn/gpu/grid_sample.cu and the sampler."""

from nn.dispatch import array_module
from nn.gpu.kernels import launch
from nn.gpu.kernels import use_kernels as takes
from nn.gpu.sampler import Points, map_gradient, point_gradients, sample_maps
from nn.layers.grid_sample import PADDING_MODES

__all__ = ["grid_sample", "grid_sample_backward", "takes"]


def grid_sample(x, grid, mode, padding_mode, align_corners):
    """As in nn.layers.grid_sample; y is NaN at points that are not finite."""
    x = array_module(x).ascontiguousarray(x)
    y = sample_maps(x, _points(grid, x.shape[2:], mode, padding_mode, align_corners)[0])
    return y.reshape(*x.shape[:2], *grid.shape[1:3])


def grid_sample_backward(dy, x, grid, mode, padding_mode, align_corners):
    """As in nn.layers.grid_sample."""
    xp, (points, slopes) = array_module(dy), _points(grid, x.shape[2:], mode, padding_mode, align_corners)
    x, dy = xp.ascontiguousarray(x), xp.ascontiguousarray(dy).reshape(*x.shape[:2], points.row.shape[1])
    dx = map_gradient(dy, x.shape, points)
    if mode == "nearest":
        return dx, xp.zeros_like(grid)
    drow, dcolumn, _ = point_gradients(dy, x, points)
    return dx, xp.stack([dcolumn * slopes[1], drow * slopes[0]], axis=-1).reshape(grid.shape)


def _points(grid, size, mode, padding_mode, align_corners):
    """The Points, and the slopes (2, N, P) of row and column by the grid's y and x."""
    xp, (n, out_h, out_w, _) = array_module(grid), grid.shape
    positions, slopes = xp.empty((2, 2, n, out_h * out_w), grid.dtype)
    options = PADDING_MODES.index(padding_mode), align_corners, mode == "nearest"
    arrays, sizes = (positions, slopes, xp.ascontiguousarray(grid)), (grid.size, *size)
    launch("grid_sample", "grid_sample_points", grid.size, grid.dtype, *arrays, *sizes, *options)
    return Points(*positions, nearest=mode == "nearest"), slopes
