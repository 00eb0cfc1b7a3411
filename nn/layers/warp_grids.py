"""Sampling grids of a spatial transformer beyond the affine one: projective, and by thin-plate splines."""

import numpy as np

from nn.dispatch import array_module
from nn.layer import check_shape, positive
from nn.layers.grid_sample import AffineGrid


class ProjectiveGrid(AffineGrid):
    """grid[n, i, j] = (u, v) / w, (u, v, w) = theta[n] @ (x_j, y_i, 1).    theta (N, 8), grid (N, H, W, 2).

    Signature: ProjectiveGrid(size, align_corners=False); grid, cache = forward(theta); dtheta = backward(dy, cache).

    theta holds the first 8 elements of a matrix (3, 3) row by row, the ninth is 1. (1 0 0 0 1 0 0 0) is the identity;
    the last two, both 0 for an affine grid, are the perspective. Points with w = 0 are at infinity. size,
    align_corners and the coordinates (x_j, y_i) are AffineGrid's.
    Raises ValueError for a theta of another shape.

    Reference: Jaderberg et al. 2015, arXiv:1506.02025, sec. 3.2 (a plane projective transformation with 8 parameters).
    """

    def forward(self, theta, training=True):
        check_shape(self, theta=(theta, (self.size[0] if len(self.size) == 4 else "N", 8)))
        xp, points = array_module(theta), self._points(theta)
        matrix = xp.concatenate([theta, xp.ones((len(theta), 1), theta.dtype)], axis=1).reshape(-1, 3, 3)
        projected = points @ matrix.swapaxes(1, 2)  # (H*W, 3) @ (N, 3, 3)
        w = projected[..., 2:]
        grid = projected[..., :2] / w
        return grid.reshape(len(theta), *self.size[-2:], 2), (grid, w, points)

    def backward(self, dy, cache):
        grid, w, points = cache
        check_shape(self, dy=(dy, (len(grid), *self.size[-2:], 2)))
        duv = dy.reshape(grid.shape) / w  # grid = (u, v) / w
        dw = -(duv * grid).sum(axis=2, keepdims=True)  # d(u / w) / dw = -(u / w) / w, and of v
        dprojected = array_module(dy).concatenate([duv, dw], axis=2)  # (N, H*W, 3)
        dmatrix = dprojected.swapaxes(1, 2) @ points  # projected = points @ matrix.T
        return dmatrix.reshape(len(grid), 9)[:, :8]  # the ninth is a constant


def bending(points, centres):
    """(P, K): phi(r) = r^2 log r for the distances r between points (P, 2) and centres (K, 2); phi(0) = 0."""
    square = ((points[:, None] - centres) ** 2).sum(axis=2)
    return 0.5 * square * np.log(np.where(square > 0, square, 1))


def thin_plate_matrix(points, centres):
    """M (P, K): M @ values is, at `points` (P, 2), the thin-plate spline through `values` (K,) at `centres` (K, 2).

    f(p) = a + b . p + sum over k of w_k phi(|p - c_k|),  f(c_k) = values[k],  sum w_k = 0, sum w_k c_k = 0

    Of all functions through the values it bends the least: it has the smallest integral of squared second derivatives.
    The conditions are K + 3 linear equations for (w, a, b), so f is linear in the values.

    Reference: Bookstein 1989, Principal warps: thin-plate splines and the decomposition of deformations, sec. II.
    """
    count, flat = len(centres), np.concatenate([np.ones((len(centres), 1)), centres], axis=1)
    equations = np.zeros((count + 3, count + 3))
    equations[:count, :count] = bending(centres, centres)
    equations[:count, count:], equations[count:, :count] = flat, flat.T
    at_points = np.concatenate([bending(points, centres), np.ones((len(points), 1)), points], axis=1)
    return at_points @ np.linalg.inv(equations)[:, :count]  # the values on the right-hand side, then three zeros


class ThinPlateGrid(AffineGrid):
    """grid[n, i, j] = f_n(x_j, y_i), the thin-plate spline with f_n(c_k) = theta[n, k].    theta (N, K, 2).

    Signature: ThinPlateGrid(size, per_side=4, align_corners=False); grid, cache = forward(theta);
    dtheta = backward(dy, cache); centres (K, 2).

    The K = per_side^2 control points c_k are a regular grid over the output, from corner to corner, row by row, as
    (x, y) in -1 .. 1; they are `centres`. theta says where in the input each of them looks: theta[n] = centres is the
    identity. grid (N, H, W, 2). size, align_corners and the coordinates (x_j, y_i) are AffineGrid's.
    Raises ValueError for a theta of another shape and per_side below 2.

    Reference: Jaderberg et al. 2015, arXiv:1506.02025, sec. 3.2 and appendix A.4 (16 points); Bookstein 1989.
    """

    constants = ("matrix",)

    def __init__(self, size: tuple[int, ...], per_side: int = 4, align_corners: bool = False):
        super().__init__(size, align_corners)
        positive(self, per_side=per_side)
        if per_side < 2:
            raise ValueError(f"ThinPlateGrid: per_side must be at least 2, got {per_side}")
        self.per_side, line = per_side, np.linspace(-1, 1, per_side)
        self.centres = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)  # x the fastest
        self.matrix = thin_plate_matrix(self._points(np.zeros(1))[:, :2], self.centres)

    def forward(self, theta, training=True):
        check_shape(self, theta=(theta, (self.size[0] if len(self.size) == 4 else "N", len(self.centres), 2)))
        matrix = self.matrix.astype(theta.real.dtype)
        return (matrix @ theta).reshape(len(theta), *self.size[-2:], 2), len(theta)

    def backward(self, dy, cache):
        check_shape(self, dy=(dy, (cache, *self.size[-2:], 2)))
        # grid = matrix @ theta
        return self.matrix.T.astype(dy.real.dtype) @ dy.reshape(cache, len(self.matrix), 2)
