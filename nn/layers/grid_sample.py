"""The two parts of a spatial transformer: an affine sampling grid, and sampling an image at the points of a grid.

nn/cpu/grid_sample.py and nn/gpu/grid_sample.py hold the same functions for the sampling, faster.
"""

import numpy as np

from nn.dispatch import array_module, functions
from nn.layer import Layer, check_shape
from nn.layers.avg_pool import check_pixels
from nn.layers.bilinear import map_gradient, position_gradients, sample, sampled_dtype

MODES, PADDING_MODES = ("bilinear", "nearest"), ("zeros", "border", "reflection")


def grid_sample(x, grid, mode, padding_mode, align_corners):
    """y (N, C, oh, ow): the images x (N, C, H, W) at the points of the grid (N, oh, ow, 2)."""
    xp, (n, c, h, w), (_, out_h, out_w, _) = array_module(x), x.shape, grid.shape
    y = xp.empty((n, c, out_h, out_w), sampled_dtype(x, grid))
    for k in range(n):
        row, _ = pixels(grid[k, :, :, 1].ravel(), h, padding_mode, align_corners)
        column, _ = pixels(grid[k, :, :, 0].ravel(), w, padding_mode, align_corners)
        y[k] = sample(x[k], row, column, mode == "nearest").reshape(c, out_h, out_w)
    return y


def grid_sample_backward(dy, x, grid, mode, padding_mode, align_corners):
    """dx (N, C, H, W) and dgrid (N, oh, ow, 2) for dy (N, C, oh, ow)."""
    xp, (n, c, h, w), (_, _, out_h, out_w) = array_module(x), x.shape, dy.shape
    dx, dgrid = xp.empty(x.shape, dy.dtype), xp.zeros(grid.shape, grid.dtype)
    for k in range(n):
        row, row_slope = pixels(grid[k, :, :, 1].ravel(), h, padding_mode, align_corners)
        column, column_slope = pixels(grid[k, :, :, 0].ravel(), w, padding_mode, align_corners)
        dvalues = dy[k].reshape(c, out_h * out_w)  # y[k] = sample(x[k], row, column)
        dx[k] = map_gradient(dvalues, row, column, (h, w), mode == "nearest")
        if mode == "bilinear":  # rounding to the nearest pixel is flat: nothing goes to the grid
            drow, dcolumn = position_gradients(dvalues, x[k], row, column)
            dgrid[k, :, :, 1] = (drow * row_slope).reshape(out_h, out_w)
            dgrid[k, :, :, 0] = (dcolumn * column_slope).reshape(out_h, out_w)
    return dx, dgrid


def pixels(coordinate, size, padding_mode, align_corners):
    """The position in pixels of coordinates along one axis of `size` pixels, and its derivative."""
    xp = array_module(coordinate)
    if align_corners:
        position, slope = (coordinate + 1) / 2 * (size - 1), (size - 1) / 2
    else:
        position, slope = ((coordinate + 1) * size - 1) / 2, size / 2
    if padding_mode == "reflection":
        position, flip = reflect(position, size, align_corners)
        slope = slope * flip
    if padding_mode != "zeros":  # reflection goes half a pixel beyond the centres of the border
        inside = (position.real > 0) & (position.real < size - 1)
        position = xp.where(inside, position, xp.clip(position.real, 0, size - 1))
        slope = slope * inside
    return position, slope


def reflect(position, size, align_corners):
    """Positions folded back into the image, and the sign that going back and forth gives to their derivative."""
    xp = array_module(position)
    low, span = (0, size - 1) if align_corners else (-0.5, size)
    if span == 0:
        return xp.zeros_like(position), 0
    sign = xp.where(position.real < low, -1, 1)
    distance = sign * (position - low)
    rest = xp.fmod(distance.real, span)
    odd = xp.rint((distance.real - rest) / span) % 2 == 1
    rest = rest + (distance - distance.real)
    return xp.where(odd, span - rest, rest) + low, xp.where(odd, -sign, sign)


class AffineGrid(Layer):
    """grid[n, i, j] = theta[n] @ (x_j, y_i, 1).    theta (N, 2, 3), grid (N, H, W, 2) of (x, y) pairs.

    Signature: AffineGrid(size, align_corners=False); grid, cache = forward(theta); dtheta = backward(dy, cache).

    size is the output's (H, W), or as in torch.nn.functional.affine_grid (N, C, H, W), of which N must then be theta's
    and C does not matter. x_j and y_i are normalised coordinates, from -1 to 1 over the output's width and height:

    - align_corners=False: -1 and 1 are the outer edges of the border pixels, x_j = (2 j + 1) / W - 1.
    - align_corners=True: -1 and 1 are the centres of the border pixels, x_j = 2 j / (W - 1) - 1; 0 where W = 1.

    The grid is what GridSample takes; the identity, theta = (1 0 0, 0 1 0), samples an image at its own pixels.
    Raises ValueError for a theta of another shape.

    Reference: Jaderberg et al. 2015, Spatial Transformer Networks, arXiv:1506.02025, eq. 1.
    """

    def __init__(self, size: tuple[int, ...], align_corners: bool = False):
        sizes = tuple(size) if np.ndim(size) == 1 else ()
        whole = all(isinstance(v, (int, np.integer)) and not isinstance(v, bool) and v >= 1 for v in sizes)
        if len(sizes) not in (2, 4) or not whole:
            wanted = "(H, W) or (N, C, H, W), whole numbers >= 1"
            raise ValueError(f"{type(self).__name__}: size must be {wanted}, got {size!r}")
        self.size, self.align_corners = sizes, check_bool(self, "align_corners", align_corners)

    def forward(self, theta, training=True):
        check_shape(self, theta=(theta, (self.size[0] if len(self.size) == 4 else "N", 2, 3)))
        points = self._points(theta)
        grid = points @ theta.swapaxes(1, 2)  # (H*W, 3) @ (N, 3, 2)
        return grid.reshape(len(theta), *self.size[-2:], 2), (len(theta), points)

    def backward(self, dy, cache):
        n, points = cache
        check_shape(self, dy=(dy, (n, *self.size[-2:], 2)))
        # grid = points @ theta.T, so dtheta = dgrid.T @ points, summed over the points of the grid
        return dy.reshape(n, len(points), 2).swapaxes(1, 2) @ points

    def _points(self, theta):
        """(H*W, 3) the points (x_j, y_i, 1) of the output, in theta's precision."""
        xp = array_module(theta)
        y, x = (self._coordinates(xp, size) for size in self.size[-2:])
        points = xp.stack(xp.broadcast_arrays(x, y[:, None], xp.ones(())), axis=-1)
        return points.reshape(-1, 3).astype(theta.real.dtype)

    def _coordinates(self, xp, size):
        if self.align_corners:
            return 2 * xp.arange(size) / (size - 1) - 1 if size > 1 else xp.zeros(1)
        return (2 * xp.arange(size) + 1) / size - 1


class GridSample(Layer):
    """y[n, :, i, j] = x[n] at the point grid[n, i, j].    x (N, C, H, W), grid (N, oh, ow, 2), y (N, C, oh, ow).

    Signature: GridSample(mode="bilinear", padding_mode="zeros", align_corners=False);
    y, cache = forward(x, grid); dx, dgrid = backward(dy, cache). All as torch.nn.functional.grid_sample.

    A point is (x, y): the column first. Coordinates of -1 to 1 span the image, -1 and 1 being the outer edges of the
    border pixels, column = ((x + 1) W - 1) / 2, or with align_corners=True their centres, column = (x + 1) / 2 (W - 1).

    mode "bilinear" weighs the four pixels around the point; "nearest" takes the one that is closest, at exactly half
    way the even one, and has a gradient of zeros for the grid. padding_mode is what is seen outside the
    image: "zeros"; "border", the nearest pixel of the border; "reflection", the image mirrored at its edges (at the
    centres of its border pixels with align_corners=True) again and again. No gradient goes to a coordinate that is
    clipped to the border.

    Raises ValueError where N differs, x has no pixels, or the grid is not finite (PyTorch takes a NaN for -1). On a
    GPU, where the host would have to wait for the values, y is NaN at such points.

    Reference: Jaderberg et al. 2015, Spatial Transformer Networks, arXiv:1506.02025, eq. 3 to 7.
    """

    def __init__(self, mode: str = "bilinear", padding_mode: str = "zeros", align_corners: bool = False):
        for name, value, known in (("mode", mode, MODES), ("padding_mode", padding_mode, PADDING_MODES)):
            if value not in known:
                wanted = ", ".join(map(repr, known[:-1])) + f" or {known[-1]!r}"
                raise ValueError(f"GridSample: {name} must be {wanted}, got {value!r}")
        self.mode, self.padding_mode = mode, padding_mode
        self.align_corners = check_bool(self, "align_corners", align_corners)

    def forward(self, x, grid, training=True):
        check_shape(self, x=(x, ("N", "C", "H", "W")), grid=(grid, ("N", "oh", "ow", 2)))
        check_pixels(self, x)
        if array_module(grid) is np and not np.isfinite(grid).all():
            raise ValueError("GridSample: grid must be finite, got NaN or infinity")
        options = self.mode, self.padding_mode, self.align_corners
        return functions(__name__, x, grid).grid_sample(x, grid, *options), (x, grid)

    def backward(self, dy, cache):
        x, grid = cache
        check_shape(self, dy=(dy, (*x.shape[:2], *grid.shape[1:3])))
        options = self.mode, self.padding_mode, self.align_corners
        return functions(__name__, x, grid, dy).grid_sample_backward(dy, x, grid, *options)


def check_bool(owner, name, value) -> bool:
    """The constructor argument `value`; ValueError unless it is True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"{type(owner).__name__}: {name} must be True or False, got {value!r}")
    return bool(value)
