"""The two parts of a spatial transformer: an affine sampling grid, and sampling an image at the points of a grid.

GridSample on a GPU: by the kernel of nn/gpu/grid_sample.cu and the sampler of nn.gpu.bilinear.
"""

import numpy as np

from nn.dispatch import array_module
from nn.gpu.bilinear import Points, map_gradient, point_gradients, sample_maps
from nn.gpu.kernels import launch, use_kernels
from nn.layer import Layer, check_shape
from nn.layers.bilinear import check_pixels, gather, sample, sample_gradients, scatter, to_maps, to_rows

MODES, PADDING_MODES = ("bilinear", "nearest"), ("zeros", "border", "reflection")


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
            raise ValueError(f"AffineGrid: size must be (H, W) or (N, C, H, W), whole numbers >= 1, got {size!r}")
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
    way the one with the even number, and has a gradient of zeros for the grid. padding_mode is what is seen outside the
    image: "zeros"; "border", the nearest pixel of the border; "reflection", the image mirrored at its edges (at the
    centres of its border pixels with align_corners=True) again and again. No gradient goes to a coordinate that is
    clipped to the border.

    Raises ValueError where N differs, x has no pixels, or the grid is not finite (PyTorch takes a NaN for -1). On a
    GPU, where looking at values would mean to wait for them, y is NaN at such points.

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
        if use_kernels(x, grid):
            x = array_module(x).ascontiguousarray(x)
            y = sample_maps(x, self._points(grid, x.shape[2:])[0])
            return y.reshape(*x.shape[:2], *grid.shape[1:3]), (x, grid)
        if array_module(grid) is np and not np.isfinite(grid).all():
            raise ValueError("GridSample: grid must be finite, got NaN or infinity")
        (row, column), _, plane = self._positions(grid, x.shape[2:])
        if self.mode == "nearest":
            y_rows = array_module(x).empty((row.size, x.shape[1]), x.dtype)
            gather(to_rows(x), *self._nearest(x, row, column, plane), y_rows)
        else:
            y_rows = sample(to_rows(x), row, column, plane, x.shape[2:])
        return to_maps(y_rows, (*x.shape[:2], *grid.shape[1:3])), (x, grid)

    def backward(self, dy, cache):
        x, grid = cache
        check_shape(self, dy=(dy, (*x.shape[:2], *grid.shape[1:3])))
        if use_kernels(x, grid, dy):
            return self._backward_by_kernels(dy, x, grid)
        xp, dy_rows = array_module(dy), to_rows(dy)
        (row, column), slopes, plane = self._positions(grid, x.shape[2:])
        if self.mode == "nearest":  # rounding is flat: nothing goes to the grid
            place, weight = self._nearest(x, row, column, plane)
            source = xp.arange(row.size)[None]
            dx_rows = scatter(dy_rows, source, place, weight, x[:, 0].size)
            return to_maps(dx_rows, x.shape), xp.zeros_like(grid)
        dx_rows, drow, dcolumn = sample_gradients(dy_rows, to_rows(x), row, column, plane, x.shape[2:])
        # row and column are functions of grid[..., 1] and grid[..., 0]
        dgrid = xp.stack([dcolumn * slopes[1], drow * slopes[0]], axis=-1)
        return to_maps(dx_rows, x.shape), dgrid.reshape(grid.shape).astype(grid.dtype)

    def _backward_by_kernels(self, dy, x, grid):
        xp, (points, slopes) = array_module(dy), self._points(grid, x.shape[2:])
        dy = xp.ascontiguousarray(dy).reshape(*x.shape[:2], points.row.shape[1])
        dx = map_gradient(dy, x.shape, points)
        if self.mode == "nearest":
            return dx, xp.zeros_like(grid)
        drow, dcolumn, _ = point_gradients(dy, x, points)
        return dx, xp.stack([dcolumn * slopes[1], drow * slopes[0]], axis=-1).reshape(grid.shape)

    def _points(self, grid, size):
        """On a GPU: the Points, and the slopes (2, N, P) of row and column by the grid's y and x."""
        xp, (n, oh, ow, _) = array_module(grid), grid.shape
        positions, slopes = xp.empty((2, 2, n, oh * ow), grid.dtype)
        options = PADDING_MODES.index(self.padding_mode), self.align_corners, self.mode == "nearest"
        arrays, sizes = (positions, slopes, xp.ascontiguousarray(grid)), (grid.size, *size)
        launch("grid_sample", "grid_sample_points", grid.size, grid.dtype, *arrays, *sizes, *options)
        return Points(*positions, nearest=self.mode == "nearest"), slopes

    def _positions(self, grid, size):
        """(row, column) in pixels, their slopes by the grid's y and x, and the first row of x_rows of each's image."""
        points = grid.reshape(-1, 2)
        (row, row_slope), (column, column_slope) = (self._pixels(points[:, 1 - i], size[i]) for i in (0, 1))
        plane = array_module(grid).arange(len(grid)) * (size[0] * size[1])
        return (row, column), (row_slope, column_slope), plane.repeat(grid.shape[1] * grid.shape[2])

    def _pixels(self, coordinate, size):
        """The position in pixels of coordinates along one axis, and its derivative."""
        xp = array_module(coordinate)
        if self.align_corners:
            position, slope = (coordinate + 1) / 2 * (size - 1), (size - 1) / 2
        else:
            position, slope = ((coordinate + 1) * size - 1) / 2, size / 2
        if self.padding_mode == "reflection":
            position, flip = self._reflect(position, size)
            slope = slope * flip
        if self.padding_mode != "zeros":  # reflection goes half a pixel beyond the centres of the border
            inside = (position.real > 0) & (position.real < size - 1)
            position = xp.where(inside, position, xp.clip(position.real, 0, size - 1))
            slope = slope * inside
        return position, slope

    def _reflect(self, position, size):
        """Positions folded back into the image, and the sign that going back and forth gives to their derivative."""
        xp = array_module(position)
        low, span = (0, size - 1) if self.align_corners else (-0.5, size)
        if span == 0:
            return xp.zeros_like(position), 0
        sign = xp.where(position.real < low, -1, 1)
        distance = sign * (position - low)
        rest = xp.fmod(distance.real, span)
        odd = xp.rint((distance.real - rest) / span) % 2 == 1
        rest = rest + (distance - distance.real)
        return xp.where(odd, span - rest, rest) + low, xp.where(odd, -sign, sign)

    def _nearest(self, x, row, column, plane):
        """(1, P) rows of x_rows and weights 1, 0 outside. Halves are rounded to even, as PyTorch's nearbyint does."""
        xp, (h, w) = array_module(x), x.shape[2:]
        row, column = xp.rint(row.real), xp.rint(column.real)
        inside = (row >= 0) & (row < h) & (column >= 0) & (column < w)
        place = plane + xp.clip(row, 0, h - 1).astype(np.int64) * w + xp.clip(column, 0, w - 1).astype(np.int64)
        return place[None], inside[None].astype(x.real.dtype)


def check_bool(owner, name, value) -> bool:
    """The constructor argument `value`; ValueError unless it is True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"{type(owner).__name__}: {name} must be True or False, got {value!r}")
    return bool(value)
