"""RoIAlign: regions of any size pooled to a fixed grid of bins, without rounding their borders.

On a GPU by the kernels of nn/gpu/roi_align.cu, which nn.gpu.roi_align launches.
"""

from typing import NamedTuple

import numpy as np

from nn.config import config
from nn.cpu.parallel import parallel_for
from nn.cpu.roi_matrices import means, pool, pool_backward
from nn.dispatch import array_module
from nn.gpu.kernels import use_kernels
from nn.gpu.roi_align import DeviceCache, pool_by_kernels, pool_by_kernels_backward
from nn.layer import Layer, check_shape, pair
from nn.layers.bilinear import axis, check_pixels, corners, places, sample, scatter, to_maps, to_rows
from nn.layers.grid_sample import check_bool
from nn.layers.roi_pool import check_regions

ROIS_TOGETHER = 16  # regions that one task pools
NUMBERS_TOGETHER = 1 << 24  # numbers of the samples whose gradients are scattered at once
OUTSIDE = -2  # a place from which the sampler reads zeros


class Bins(NamedTuple):
    """Along one axis of a map of `extent` cells: where a region's first bin begins, a bin's size, its samples (K,)."""

    start: np.ndarray
    size: np.ndarray
    samples: np.ndarray
    extent: int

    def position(self, region, number, tap):
        """The place of the sample `tap` of the bin `number` of a region, moved to the map or OUTSIDE."""
        xp, (start, size, samples) = array_module(self.start), (a[region] for a in self[:3])
        number, tap = (xp.asarray(a, size.dtype) for a in (number, tap))
        place = start + number * size + (tap + 0.5) * size / xp.maximum(samples, 1).astype(size.dtype)
        return xp.where((place < -1) | (place > self.extent), OUTSIDE, xp.clip(place, 0, self.extent - 1))


class Samples(NamedTuple):
    """One sample for every bin of R of the K regions."""

    region: np.ndarray  # (R,) which they are
    number: np.ndarray  # (R,) of this sample among those of its bin, in reading order
    count: np.ndarray  # (K,) samples in a bin
    row: np.ndarray  # (R*ph*pw,)
    column: np.ndarray

    def per_bin(self, values):
        """(R*ph*pw,) values (K,) of the regions, for every bin of these."""
        return values[self.region].repeat(len(self.row) // len(self.region))


class RoIAlignCache(NamedTuple):
    """x, the regions, and for reduction="max" which sample each maximum is (K, ph, pw, C), -1 where there is none."""

    x: np.ndarray
    boxes: np.ndarray
    image_index: np.ndarray
    winner: np.ndarray | None


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
    cell's centre. Bins without samples (aligned, adaptive, no size) are 0. reduction "average" divides by the number of
    samples, "max" takes the largest, the first in reading order of equal ones; a sample outside is a 0 in both. All
    this is as in torchvision.ops.roi_align, which has no maximum. No gradient goes to the boxes, as there: RoIWarp has
    one.

    Raises ValueError for arrays of other shapes, an image_index outside 0 .. N - 1, boxes that are not finite. On a
    GPU, where looking at values would mean to wait for them, y is NaN for the last two.

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
        if use_kernels(x, boxes):
            return pool_by_kernels(self, x, boxes, image_index)
        xp, x_rows, plane = array_module(x), to_rows(x), first_rows(image_index, x.shape)
        if self._by_matrices(x):
            y = pool(x_rows.reshape(_channels_last(x.shape)), image_index, *self._means(boxes, x))
            return np.ascontiguousarray(y.transpose(0, 3, 1, 2)), RoIAlignCache(x, boxes, image_index, None)
        y = xp.zeros((len(boxes), *self.output_size, x.shape[1]), x.dtype)
        winner = xp.full(y.shape, -1, np.int32) if self.reduction == "max" else None

        def share(i):
            part = slice(i * ROIS_TOGETHER, (i + 1) * ROIS_TOGETHER)
            for s in self._samples(boxes[part], x.shape[2:]):
                value = sample(x_rows, s.row, s.column, s.per_bin(plane[part]), x.shape[2:])
                value = value.reshape(len(s.region), *y.shape[1:])
                if winner is None:
                    value /= s.count[s.region, None, None, None]
                    y[part][s.region] += value
                else:
                    keep_larger(y[part], winner[part], s.region, value, s.number)

        parallel_for(share, -(-len(boxes) // ROIS_TOGETHER), xp)
        y = xp.ascontiguousarray(y.transpose(0, 3, 1, 2))
        return y, RoIAlignCache(x, boxes, image_index, winner)

    def backward(self, dy, cache):
        if isinstance(cache, DeviceCache):
            return pool_by_kernels_backward(self, dy, cache), None, None
        x, boxes, image_index, _ = cache
        check_shape(self, dy=(dy, (len(boxes), x.shape[1], *self.output_size)))
        if self._by_matrices(x):
            dy_maps = np.ascontiguousarray(dy.transpose(0, 2, 3, 1))
            dmaps = pool_backward(dy_maps, _channels_last(x.shape), image_index, *self._means(boxes, x))
            return np.ascontiguousarray(dmaps.transpose(0, 3, 1, 2)), None, None
        dy_rows, kept, numbers = to_rows(dy), [], 0
        dx_rows = array_module(dy).zeros((x[:, 0].size, x.shape[1]), dy.dtype)
        for s in self._samples(boxes, x.shape[2:]):
            kept.append(s)
            numbers += len(s.row) * x.shape[1]
            if numbers > NUMBERS_TOGETHER:  # samples share cells, and batches of them do: so they add up
                dx_rows += self._share(dy_rows, cache, kept)
                kept, numbers = [], 0
        if kept:
            dx_rows += self._share(dy_rows, cache, kept)
        return to_maps(dx_rows, x.shape), None, None

    def _by_matrices(self, x):
        """Whether nn.cpu.roi_matrices takes over: the average is a product of rows and columns."""
        return self.reduction == "average" and array_module(x) is np and not config.plain

    def _means(self, boxes, x):
        """The matrices of nn.cpu.roi_matrices along the rows and along the columns."""
        both = zip(self._bins(boxes, x.shape[2:]), self.output_size)
        return [means(self._taps(b, count), b.samples, count, b.extent, x.real.dtype) for b, count in both]

    def _share(self, dy_rows, cache, samples):
        """What these samples have of dx_rows."""
        x, boxes, image_index, winner = cache
        xp, (h, w) = array_module(x), x.shape[2:]
        axes = [(axis(s.row, h, dy_rows.dtype), axis(s.column, w, dy_rows.dtype)) for s in samples]
        plane = first_rows(image_index, x.shape)
        place = xp.concatenate([places(*a, s.per_bin(plane), w) for s, a in zip(samples, axes)], axis=1)
        weight = [corners(rows.weight, columns.weight) for rows, columns in axes]
        if winner is None:  # y = sum of value / count
            weight = [(a / s.per_bin(s.count)).astype(a.dtype) for s, a in zip(samples, weight)]
            bins = xp.arange(len(dy_rows)).reshape(len(boxes), -1)
            source = xp.concatenate([bins[s.region].ravel() for s in samples])
        else:  # y = value where this sample is the winner
            dy, number = dy_rows.reshape(winner.shape), [s.number[:, None, None, None] for s in samples]
            share = [xp.where(winner[s.region] == i, dy[s.region], 0) for s, i in zip(samples, number)]
            dy_rows = xp.concatenate(share).reshape(-1, x.shape[1])
            source = xp.arange(len(dy_rows))
        weight = xp.concatenate(weight, axis=1)
        return scatter(dy_rows, xp.broadcast_to(source, place.shape), place, weight, x[:, 0].size)

    def _bins(self, boxes, size):
        """Bins along the rows and along the columns."""
        xp, boxes, both = array_module(boxes), boxes.real * self.spatial_scale - 0.5 * self.aligned, []
        for low, high, bins, extent in ((1, 3, self.output_size[0], size[0]), (0, 2, self.output_size[1], size[1])):
            length = boxes[:, high] - boxes[:, low]
            if not self.aligned:
                length = xp.maximum(length, 1)
            samples = xp.maximum(xp.ceil(length / bins), 0).astype(np.int64)
            if self.sampling_ratio > 0:
                samples = xp.full_like(samples, self.sampling_ratio)
            both.append(Bins(boxes[:, low], length / bins, samples, extent))
        return both

    def _samples(self, boxes, size):
        """A Samples for each (u, v): the v-th sample of the u-th row of samples in all bins of all regions."""
        xp, (rows, columns) = array_module(boxes), self._bins(boxes, size)
        row_taps, column_taps = (self._taps(*axis) for axis in zip((rows, columns), self.output_size))
        for u, has_row, row in row_taps:
            for v, has_column, column in column_taps:
                region = xp.flatnonzero(has_row & has_column)
                if len(region):
                    shape = (len(region), *self.output_size)
                    yield Samples(
                        region,
                        u * columns.samples[region] + v,
                        rows.samples * columns.samples,
                        xp.broadcast_to(row[region][:, :, None], shape).ravel(),
                        xp.broadcast_to(column[region][:, None, :], shape).ravel(),
                    )

    def _taps(self, bins, count):
        """[(u, which regions have a u-th sample in their bins (K,), where it is (K, count))]."""
        xp, taps = array_module(bins.start), []
        for u in range(int(bins.samples.max()) if len(bins.samples) else 0):
            position = bins.position((slice(None), None), xp.arange(count), u)
            has = bins.samples > u
            if self.reduction == "average":
                has &= (position != OUTSIDE).any(axis=1)  # nothing to add: huge regions take no longer than the map
            if has.any():
                taps.append((u, has, position))
        return taps


def _channels_last(shape):
    n, c, h, w = shape
    return n, h, w, c


def keep_larger(y, winner, region, value, number):
    """Put `value` (R, ph, pw, C) where it is larger than y[region], or the first, and there `number` (R,) in winner."""
    xp, best, first = array_module(y), y[region], winner[region] < 0
    better = (~(value <= best) & (best == best)) | first  # not "value > best": so a NaN wins, and stays
    y[region] = xp.where(better, value, best)
    winner[region] = xp.where(better, number[:, None, None, None].astype(winner.dtype), winner[region])


def first_rows(image_index, shape):
    """(K,) the row of `to_rows(x)` at which the map of each region's image begins, for x of this shape."""
    return image_index.astype(np.int64) * (shape[2] * shape[3])


def check_scale(owner, spatial_scale) -> float:
    """The constructor argument; ValueError unless it is above 0 and finite."""
    if not 0 < spatial_scale < np.inf:
        raise ValueError(f"{type(owner).__name__}: spatial_scale must be > 0, got {spatial_scale}")
    return float(spatial_scale)
