"""Spatial transformer: a layer that looks at its input, chooses a transformation, and samples the input by it.

    theta = localise(x)      how to transform this image: a small network
    grid = T_theta(output)   where each pixel of the output looks: AffineGrid, ProjectiveGrid, ThinPlateGrid
    y = sample(x, grid)      bilinear: GridSample, whose gradient goes to the image and to the grid

Reference: Jaderberg et al. 2015, Spatial transformer networks, arXiv:1506.02025, sec. 3.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np

from nn import (
    AffineGrid,
    Conv2d,
    Flatten,
    GridSample,
    Linear,
    MaxPool2d,
    ProjectiveGrid,
    ReLU,
    Sequential,
    ThinPlateGrid,
)  # fmt: skip
from nn.containers import backward_wanted
from nn.dispatch import array_module
from nn.layer import Layer, check_shape, positive

Transform = Literal["affine", "attention", "projective", "tps"]
FILTERS, HIDDEN = 20, 32  # of the localisation networks


class AttentionGrid(AffineGrid):
    """grid of [[s, 0, tx], [0, s, ty]]: a crop, scaled and moved but not turned.    theta (N, 3) = (s, tx, ty).

    Reference: Jaderberg et al. 2015, eq. 2.
    """

    def forward(self, theta, training=True):
        check_shape(self, theta=(theta, ("N", 3)))
        matrix = array_module(theta).zeros((len(theta), 2, 3), theta.dtype)
        matrix[:, 0, 0] = matrix[:, 1, 1] = theta[:, 0]
        matrix[:, :, 2] = theta[:, 1:]
        return super().forward(matrix, training)

    def backward(self, dy, cache):
        dmatrix = super().backward(dy, cache)
        ds = dmatrix[:, 0, 0] + dmatrix[:, 1, 1]  # matrix[:, 0, 0] = matrix[:, 1, 1] = s: gradients add up
        return array_module(dy).concatenate([ds[:, None], dmatrix[:, :, 2]], axis=1)


class Transformation(NamedTuple):
    """A grid layer for outputs of a size, the shape of its theta for one image, and the theta of the identity."""

    grid: Callable[[tuple[int, int]], Layer]
    shape: tuple[int, ...]
    identity: np.ndarray


TRANSFORMS = {
    "affine": Transformation(AffineGrid, (2, 3), np.eye(2, 3)),
    "attention": Transformation(AttentionGrid, (3,), np.array([1.0, 0, 0])),
    "projective": Transformation(ProjectiveGrid, (8,), np.eye(3).ravel()[:8]),
    "tps": Transformation(ThinPlateGrid, (16, 2), ThinPlateGrid((1, 1)).centres),
}


class SpatialTransformer(Layer):
    """y[n] = x[n] seen through the frame that localise(x[n]) chooses.    x (N, C, H, W), y (N, C, h, w).

    size: (H, W). frame: (h, w). transform: "affine" (6 parameters), "attention" (3), "projective" (8) or "tps",
    thin-plate splines of 16 control points (32). localisation: "fcn", two fully connected layers of 32 units, or "cnn":
    2x2 max pooling, two 5x5 convolutions of 20 filters with 2x2 max pooling between, a fully connected layer of 32
    units; the paper has networks of about this size. The last layer begins with weights of 0 (or of the standard
    deviation `spread`) and the identity as its bias, so the frame is at first the whole image (appendix A)."""

    def __init__(
        self, in_channels: int, size: tuple[int, int], frame: tuple[int, int], transform: Transform = "affine",
        localisation: Literal["fcn", "cnn"] = "cnn", spread: float = 0.0, *, rng: np.random.Generator,
    ):  # fmt: skip
        positive(self, in_channels=in_channels, height=min(size), frame=min(frame))
        self.in_channels, self.size, made = in_channels, tuple(size), TRANSFORMS[transform]
        last = Linear(HIDDEN, made.identity.size, rng=rng)
        last.weight.value[...] = spread * rng.standard_normal(last.weight.value.shape) if spread else 0
        last.bias.value[...] = made.identity.ravel()
        self.localise = Sequential(*_localisation(localisation, in_channels, size, rng), last)
        self.theta_shape, self.grid, self.sample = made.shape, made.grid(tuple(frame)), GridSample()

    def forward(self, x, training=True):
        check_shape(self, x=(x, ("N", self.in_channels, *self.size)))
        grid, c_frame = self.frames(x, training)
        y, c_sample = self.sample.forward(x, grid, training=training)
        return y, (c_frame, c_sample)

    def backward(self, dy, cache):
        c_frame, c_sample = cache
        dx, dgrid = self.sample.backward(dy, c_sample)
        return dx + self.frames_backward(dgrid, c_frame)  # x forks, into the sampler and into localise: gradients add

    def backward_parameters(self, dy, cache):
        c_frame, c_sample = cache
        _, dgrid = self.sample.backward(dy, c_sample)
        self.frames_backward(dgrid, c_frame, dx_wanted=False)

    def frames(self, x, training=True):
        """The grid (N, h, w, 2) of x: where each pixel of y looks, as (x, y) in -1 .. 1; and a cache."""
        theta, c_localise = self.localise.forward(x, training)
        grid, c_grid = self.grid.forward(theta.reshape(len(x), *self.theta_shape), training)
        return grid, (c_localise, c_grid)

    def frames_backward(self, dgrid, cache, dx_wanted=True):
        """The gradient of x for that of the grid, or None."""
        c_localise, c_grid = cache
        dtheta = self.grid.backward(dgrid, c_grid)
        return backward_wanted(self.localise, dtheta.reshape(len(dtheta), -1), c_localise, dx_wanted)


def _localisation(kind, channels, size, rng):
    """The layers of a localisation network up to its last hidden layer of HIDDEN units."""
    if kind == "fcn":
        first = Linear(channels * size[0] * size[1], HIDDEN, rng=rng)
        return Flatten(), first, ReLU(), Linear(HIDDEN, HIDDEN, rng=rng), ReLU()
    h, w = (((side // 2 - 4) // 2) - 4 for side in size)  # after pooling, 5x5, pooling, 5x5
    if min(h, w) < 1:
        raise ValueError(f"SpatialTransformer: localisation 'cnn' needs at least 28x28, 'fcn' any size; got {size}")
    convolutions = Conv2d(channels, FILTERS, 5, rng=rng), ReLU(), MaxPool2d(2), Conv2d(FILTERS, FILTERS, 5, rng=rng)
    return MaxPool2d(2), *convolutions, ReLU(), Flatten(), Linear(FILTERS * h * w, HIDDEN, rng=rng), ReLU()


def outline(grid: np.ndarray, width: float, height: float) -> np.ndarray:
    """(K, 2): the border of a grid (h, w, 2) as a closed line of points (x, y) in the pixels of an image of this size.

    A grid samples at the centres of its pixels; the line goes through those at the border.
    """
    border = [grid[0], grid[1:, -1], grid[-1, -2::-1], grid[-2:0:-1, 0]]
    return (np.concatenate(border) + 1) / 2 * (width, height)
