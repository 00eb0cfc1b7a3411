"""RoIAlign: regions of any size pooled to a fixed grid of bins, without rounding their borders.

nn/cpu/roi_align.py and nn/gpu/roi_align.py hold the same functions, faster.
"""

from typing import NamedTuple

import numpy as np

from nn.dispatch import array_module, functions
from nn.layer import Layer, check_shape, pair
from nn.layers.avg_pool import check_pixels
from nn.layers.bilinear import map_gradient, sample
from nn.layers.grid_sample import check_bool
from nn.layers.roi_pool import check_regions

OUTSIDE = -2  # a position where the map is zeros


class Regions(NamedTuple):
    """K regions and how they are sampled."""

    boxes: np.ndarray  # (K, 4): x1, y1, x2, y2 in pixels of the image
    image_index: np.ndarray  # (K,): the image that each region is in
    output_size: tuple[int, int]  # bins of each: ph, pw
    spatial_scale: float  # cells of x per pixel
    sampling_ratio: int  # samples of a bin along each axis; one a cell or more where it is not above 0
    aligned: bool  # whether half a cell is taken off the corners
    reduction: str  # of the samples of a bin: "average" or "max"


class Bins(NamedTuple):
    """The bins of K regions along one axis: where the first one begins, their size, their samples, (K,) each."""

    start: np.ndarray
    size: np.ndarray
    samples: np.ndarray


def roi_align(x, regions: Regions):
    """y (K, C, ph, pw) = the average, or maximum, of samples of x (N, C, H, W) in each bin of each region.

    With reduction "max", winner (K, C, ph, pw) is which sample that is, in reading order; -1 in a bin without samples,
    where y is 0. Else winner is None.
    """
    xp, (_, c, h, w), (ph, pw) = array_module(x), x.shape, regions.output_size
    y, winner = xp.zeros((len(regions.boxes), c, ph, pw), x.dtype), None
    if regions.reduction == "max":
        winner = xp.full(y.shape, -1, np.int64)
    for k, image, row, column in sample_positions(regions, (h, w)):
        values = sample(x[image], row.ravel(), column.ravel()).reshape(c, *row.shape)  # (C, ph, pw, samples)
        if winner is None:
            y[k] = values.mean(axis=3)
        else:
            winner[k] = values.real.argmax(axis=3)  # the first of equal ones, and of NaNs
            y[k] = xp.take_along_axis(values, winner[k][..., None], axis=3)[..., 0]
    return y, winner


def roi_align_backward(dy, winner, regions: Regions, in_shape):
    """dx, of in_shape (N, C, H, W), for dy (K, C, ph, pw)."""
    xp, (_, c, h, w) = array_module(dy), in_shape
    dx = xp.zeros(in_shape, dy.dtype)
    for k, image, row, column in sample_positions(regions, (h, w)):
        samples = row.shape[2]
        if winner is None:  # y[k] = values.mean(axis=3)
            dvalues = xp.broadcast_to(dy[k][..., None] / samples, (c, *row.shape))
        else:  # y[k] = values[winner[k]]
            dvalues = xp.where(winner[k][..., None] == xp.arange(samples), dy[k][..., None], 0)
        # values = sample(x[image], row, column); regions overlap: gradients add up
        dx[image] += map_gradient(dvalues.reshape(c, row.size), row.ravel(), column.ravel(), (h, w))
    return dx


def sample_positions(regions: Regions, size):
    """k, image, row, column for each region with samples: its image, and where the samples of its bins are in x.

    row and column (ph, pw, samples), in cells of maps of size (H, W); the samples of a bin are in reading order.
    """
    xp, (ph, pw) = array_module(regions.boxes), regions.output_size
    down, across = bins(regions)
    counts = zip(regions.image_index.tolist(), down.samples.tolist(), across.samples.tolist())
    for k, (image, g_down, g_across) in enumerate(counts):
        if g_down and g_across:
            row = positions(down.start[k], down.size[k], ph, g_down, size[0])
            column = positions(across.start[k], across.size[k], pw, g_across, size[1])
            grid, samples = (ph, pw, g_down, g_across), (ph, pw, g_down * g_across)
            row = xp.broadcast_to(row[:, None, :, None], grid).reshape(samples)
            column = xp.broadcast_to(column[None, :, None, :], grid).reshape(samples)
            yield k, image, row, column


def positions(start, size, count, samples, extent):
    """(count, samples) where along an axis of `extent` cells the samples of each of `count` bins of a region are.

    A sample above -1 or below `extent` does not count: it is OUTSIDE. Others are moved to the nearest cell's centre.
    """
    xp = array_module(start)
    i, u = xp.arange(count, dtype=size.dtype)[:, None], xp.arange(samples, dtype=size.dtype)
    position = start + i * size + (u + 0.5) * size / samples
    return xp.where((position < -1) | (position > extent), OUTSIDE, xp.clip(position, 0, extent - 1))


def bins(regions: Regions) -> tuple[Bins, Bins]:
    """The Bins of the regions down (along the rows) and across (along the columns), in cells of x."""
    boxes, both = regions.boxes.real * regions.spatial_scale - 0.5 * regions.aligned, []
    xp = array_module(boxes)
    for low, high, count in ((1, 3, regions.output_size[0]), (0, 2, regions.output_size[1])):
        length = boxes[:, high] - boxes[:, low]
        if not regions.aligned:
            length = xp.maximum(length, 1)
        samples = xp.maximum(xp.ceil(length / count), 0).astype(np.int64)
        if regions.sampling_ratio > 0:
            samples = xp.full_like(samples, regions.sampling_ratio)
        both.append(Bins(boxes[:, low], length / count, samples))
    return tuple(both)


class RoIAlign(Layer):
    """y[k, :, i, j] = the average, or maximum, of bilinear samples of x in bin (i, j) of region k.

    x (N, C, H, W), boxes (K, 4), image_index (K,), y (K, C, ph, pw).
    Signature: RoIAlign(output_size, spatial_scale=1.0, sampling_ratio=-1, aligned=False, reduction="average");
    y, cache = forward(x, boxes, image_index); dx, None, None = backward(dy, cache).

    boxes are (x1, y1, x2, y2) in image pixels, times spatial_scale (1 / stride of the features) in cells of x; with
    aligned=True half a cell is taken off, since cell i has its centre at i + 0.5. Without it (torchvision's default)
    regions are at least one cell wide and high; with it, a region of no or negative size keeps it. A region of height
    h has ph bins of h / ph, and a bin g x g' samples at (u + 0.5) / g of its height and (v + 0.5) / g' of its width:
    g = g' = sampling_ratio where that is > 0, else g = ceil(h / ph) and g' = ceil(w / pw), which is one a cell or more.

    A sample above -1 or below H counts as 0, and likewise -1 and W; others outside are moved to the nearest border
    cell's centre. Bins without samples (aligned, adaptive, no size) are 0. reduction "average" divides by the count of
    samples, "max" takes the largest, the first in reading order of equal ones; a sample outside is a 0 in both. All
    this is as in torchvision.ops.roi_align, which has no maximum. No gradient goes to the boxes, as there: RoIWarp has
    one.

    Raises ValueError for arrays of other shapes, an image_index outside 0 .. N - 1, boxes that are not finite. On a
    GPU, where the host would have to wait for these values, y is NaN for the last two.

    Reference: He et al. 2017, Mask R-CNN, arXiv:1703.06870, sec. 3 ("RoIAlign").
    """

    def __init__(
        self,
        output_size,
        spatial_scale: float = 1.0,
        sampling_ratio: int = -1,
        aligned: bool = False,
        reduction: str = "average",
    ):
        self.output_size = pair(self, "output_size", output_size, 1)
        self.spatial_scale = check_scale(self, spatial_scale)
        if not isinstance(sampling_ratio, (int, np.integer)) or isinstance(sampling_ratio, bool) or sampling_ratio < -1:
            raise ValueError(f"RoIAlign: sampling_ratio must be a whole number >= -1, got {sampling_ratio!r}")
        if reduction not in ("average", "max"):
            raise ValueError(f"RoIAlign: reduction must be 'average' or 'max', got {reduction!r}")
        self.sampling_ratio, self.reduction = int(sampling_ratio), reduction
        self.aligned = check_bool(self, "aligned", aligned)

    def forward(self, x, boxes, image_index, training=True):
        check_shape(self, x=(x, ("N", "C", "H", "W")), boxes=(boxes, ("K", 4)))
        check_regions(self, x, boxes, image_index)
        check_pixels(self, x)
        options = self.output_size, self.spatial_scale, self.sampling_ratio, self.aligned, self.reduction
        regions = Regions(boxes, image_index, *options)
        y, winner = functions(__name__, x, boxes).roi_align(x, regions)
        return y, (winner, regions, x.shape)

    def backward(self, dy, cache):
        winner, regions, in_shape = cache
        check_shape(self, dy=(dy, (len(regions.boxes), in_shape[1], *self.output_size)))
        dx = functions(__name__, dy, regions.boxes).roi_align_backward(dy, winner, regions, in_shape)
        return dx, None, None


def check_scale(owner, spatial_scale) -> float:
    """The constructor argument; ValueError unless it is above 0 and finite."""
    if not 0 < spatial_scale < np.inf:
        raise ValueError(f"{type(owner).__name__}: spatial_scale must be > 0, got {spatial_scale}")
    return float(spatial_scale)
