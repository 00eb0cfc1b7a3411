"""RoIAlign for NumPy: averages by nn.cpu.roi_matrices, maxima sample by sample in all bins at once.

Of the samples of huge regions only those near the map are taken, so that they take no longer than the map.
"""

from typing import NamedTuple

import numpy as np

from nn.cpu import roi_matrices
from nn.cpu.parallel import parallel_for
from nn.cpu.sampler import axis, cells, corners, sample, scatter, to_maps, to_rows
from nn.layers import roi_align as textbook
from nn.layers.roi_align import OUTSIDE, Regions, bins

__all__ = ["bins", "roi_align", "roi_align_backward", "takes"]

ROIS_TOGETHER = 16  # regions that one task pools
ELEMENTS_TOGETHER = 1 << 24  # elements of the samples whose gradients are scattered at once


class Samples(NamedTuple):
    """One sample for every bin of R of the K regions."""

    region: np.ndarray  # (R,) which they are
    number: np.ndarray  # (R,) of this sample among those of its bin, in reading order
    row: np.ndarray  # (R*ph*pw,)
    column: np.ndarray

    def per_bin(self, values):
        """(R*ph*pw,) values (K,) of the regions, for every bin of these."""
        return values[self.region].repeat(len(self.row) // len(self.region))


def takes(x, boxes) -> bool:
    """Whether x is real: complex values are for the textbook."""
    return x.dtype.kind == "f"


def roi_align(x, regions: Regions):
    """As in nn.layers.roi_align."""
    x_rows, plane = to_rows(x), _first_rows(regions.image_index, x.shape)
    if regions.reduction == "average":
        maps = x_rows.reshape(_channels_last(x.shape))
        y = roi_matrices.pool(maps, regions.image_index, *_means(regions, x.shape[2:], x.dtype))
        return np.ascontiguousarray(y.transpose(0, 3, 1, 2)), None
    y = np.zeros((len(regions.boxes), *regions.output_size, x.shape[1]), x.dtype)
    winner = np.full(y.shape, -1, np.int64)  # huge regions have more samples than 32 bits count

    def share(i):
        part = slice(i * ROIS_TOGETHER, (i + 1) * ROIS_TOGETHER)
        for s in _samples(regions._replace(boxes=regions.boxes[part]), x.shape[2:]):
            value = sample(x_rows, s.row, s.column, s.per_bin(plane[part]), x.shape[2:])
            _keep_larger(y[part], winner[part], s.region, value.reshape(len(s.region), *y.shape[1:]), s.number)

    parallel_for(share, -(-len(y) // ROIS_TOGETHER))
    return np.ascontiguousarray(y.transpose(0, 3, 1, 2)), winner.transpose(0, 3, 1, 2)  # (K, C, ph, pw)


def roi_align_backward(dy, winner, regions: Regions, in_shape):
    """As in nn.layers.roi_align."""
    if regions.reduction == "average":
        dy_maps = np.ascontiguousarray(dy.transpose(0, 2, 3, 1))
        means = _means(regions, in_shape[2:], dy.dtype)
        dmaps = roi_matrices.pool_backward(dy_maps, _channels_last(in_shape), regions.image_index, *means)
        return np.ascontiguousarray(dmaps.transpose(0, 3, 1, 2))
    n, c, h, w = in_shape
    dy, winner = (a.transpose(0, 2, 3, 1) for a in (dy, winner))  # (K, ph, pw, C)
    dx_rows, kept, elements = np.zeros((n * h * w, c), dy.dtype), [], 0
    for s in _samples(regions, (h, w)):
        kept.append(s)
        elements += len(s.row) * c
        if elements > ELEMENTS_TOGETHER:  # samples share cells, and batches of them do: so they add up
            dx_rows += _scattered(dy, winner, regions, in_shape, kept)
            kept, elements = [], 0
    if kept:
        dx_rows += _scattered(dy, winner, regions, in_shape, kept)
    return to_maps(dx_rows, in_shape)


def _scattered(dy, winner, regions, in_shape, samples):
    """dx_rows of these samples: y = value where a sample is the winner."""
    h, w = in_shape[2:]
    axes = [(axis(s.row, h, dy.dtype), axis(s.column, w, dy.dtype)) for s in samples]
    plane = _first_rows(regions.image_index, in_shape)
    cell = np.concatenate([cells(*a, s.per_bin(plane), w) for s, a in zip(samples, axes)], axis=1)
    weight = np.concatenate([corners(rows.weight, columns.weight) for rows, columns in axes], axis=1)
    number = [s.number[:, None, None, None] for s in samples]
    share = [np.where(winner[s.region] == i, dy[s.region], 0) for s, i in zip(samples, number)]
    dy_rows = np.concatenate(share).reshape(-1, in_shape[1])
    source = np.broadcast_to(np.arange(len(dy_rows)), cell.shape)
    return scatter(dy_rows, source, cell, weight, in_shape[0] * h * w)


def _means(regions, size, dtype):
    """The matrices of nn.cpu.roi_matrices along the rows and along the columns."""
    axes = zip(bins(regions), regions.output_size, size)
    return [roi_matrices.means(_taps(b, *ends, only_inside=True), b.samples, *ends, dtype) for b, *ends in axes]


def _samples(regions, size):
    """A Samples for each (u, v): the v-th sample of the u-th row of samples in all bins of all regions."""
    down, across = bins(regions)
    row_taps, column_taps = (_taps(*axis) for axis in zip((down, across), regions.output_size, size))
    for u, has_row, row in row_taps:
        for v, has_column, column in column_taps:
            region = np.flatnonzero(has_row & has_column)
            if len(region):
                shape = (len(region), *regions.output_size)
                yield Samples(
                    region,
                    u * across.samples[region] + v,
                    np.broadcast_to(row[region][:, :, None], shape).ravel(),
                    np.broadcast_to(column[region][:, None, :], shape).ravel(),
                )


def _taps(b: textbook.Bins, count, extent, only_inside=False):
    """[(u, which regions have a u-th sample in their bins (K,), where it is (K, count))] on an axis of `extent` cells.

    only_inside: without those that are outside in all bins, which add nothing to an average. A maximum takes a sample
    outside for 0: the first one in reading order is enough. It has u = 0 along one of the axes, or is next to a sample
    that is inside.
    """
    taps, i = [], np.arange(count).astype(b.size.dtype)
    samples = np.maximum(b.samples, 1).astype(b.size.dtype)[:, None]
    most = int(b.samples.max()) if len(b.samples) else 0
    huge = most > (4 * extent + 16 if only_inside else extent)  # a maximum takes as many samples down as across
    near = _near_the_map(b, count, extent) if huge else range(most)
    for u in near if only_inside else sorted({*range(min(most, 1)), *near}):
        size = b.size[:, None]
        position = b.start[:, None] + i * size + (b.size.dtype.type(u) + 0.5) * size / samples
        outside = (position < -1) | (position > extent)
        position = np.where(outside, OUTSIDE, np.clip(position, 0, extent - 1))
        has = b.samples > u
        if only_inside:
            has &= ~outside.all(axis=1)
        if has.any():
            taps.append((u, has, position))
    return taps


def _near_the_map(b: textbook.Bins, count, extent):
    """The u in rising order whose u-th sample may be inside in a bin of a region, with some to spare for rounding."""
    start, size, samples = (a.astype(np.float64)[:, None] for a in b)
    here = samples > 0
    density = np.where(here, samples, 1) / np.where(here & (size > 0), size, 1)  # samples a cell
    first = (-1 - start - np.arange(count) * size) * density  # (K, count), as a real u
    spare = 2 + 8 * np.finfo(b.size.dtype).eps * (abs(start) + count * abs(size)) * density
    low = np.clip(np.floor(first - spare), 0, samples)
    high = np.clip(np.ceil(first + (extent + 1) * density + spare), 0, samples)
    ranges = [np.arange(a, z) for a, z in zip(low.astype(int).ravel(), high.astype(int).ravel())]
    return np.unique(np.concatenate(ranges)).tolist()


def _keep_larger(y, winner, region, value, number):
    """Put `value` (R, ph, pw, C) where it is larger than y[region], or the first, and there `number` (R,) in winner."""
    best, first = y[region], winner[region] < 0
    better = (~(value <= best) & (best == best)) | first  # not "value > best": so a NaN wins, and stays
    y[region] = np.where(better, value, best)
    winner[region] = np.where(better, number[:, None, None, None].astype(winner.dtype), winner[region])


def _first_rows(image_index, shape):
    """(K,) the row of `to_rows(x)` at which the map of each region's image begins, for x of this shape."""
    return image_index.astype(np.int64) * (shape[2] * shape[3])


def _channels_last(shape):
    n, c, h, w = shape
    return n, h, w, c
