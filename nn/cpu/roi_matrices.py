"""RoIAlign's average as two small matrix products for each region: far fewer elements to read than sample by sample.

The samples of a bin form a grid, and a bilinear weight is one of its row times one of its column; so does their mean:

    y[k, :, i, j] = sum over r, c of rows[k, i, r] columns[k, j, c] x[:, r, c]

where rows[k, i] is the mean of the weights of all rows of samples in bin row i of region k, and columns likewise. As in
any matrix product an infinity or NaN in x spreads to all bins of the regions it is in.
"""

from typing import NamedTuple

import numpy as np

from nn.cpu.chunks import in_slices
from nn.cpu.parallel import parallel_for
from nn.cpu.sampler import axis

CHANNELS_TOGETHER = 256  # channels of one task in the backward


class Means(NamedTuple):
    """Along one axis: the matrix of each region (K, bins, extent), 0 but for the cells first .. last - 1 (K,)."""

    whole: np.ndarray
    first: np.ndarray
    last: np.ndarray

    def of(self, k):
        """The cells of region k as a slice, and its matrix (bins, cells)."""
        cells = slice(self.first[k], self.last[k])
        return cells, self.whole[k, :, cells]


def means(taps, samples, count: int, extent: int, dtype) -> Means:
    """The Means of K regions with `count` bins on a map of `extent` cells.

    taps: (u, which regions have a u-th sample in their bins (K,), where it is (K, count)) for each u.
    """
    whole = np.zeros((len(samples), count, extent), dtype)
    region, number = np.arange(len(samples))[:, None], np.arange(count)
    for _, has, position in taps:
        two = axis(position, extent, dtype)
        for cell, weight in zip(two.cell, two.weight):
            whole[region, number, cell] += weight * has[:, None]
    whole /= np.maximum(samples, 1)[:, None, None].astype(dtype)
    used = whole.any(axis=1)
    first, last = used.argmax(axis=1), extent - used[:, ::-1].argmax(axis=1)
    return Means(whole, first, np.where(used.any(axis=1), last, first))


def pool(maps, image_index, rows: Means, columns: Means):
    """y (K, ph, pw, C) for maps (N, H, W, C)."""
    y = np.empty((len(image_index), rows.whole.shape[1], columns.whole.shape[1], maps.shape[3]), maps.dtype)

    def regions(part):
        for k in range(part.start, min(part.stop, len(y))):
            (r, row_means), (c, column_means) = rows.of(k), columns.of(k)
            crop = maps[image_index[k], r, c]
            bands = row_means @ crop.reshape(len(crop), crop.shape[1] * crop.shape[2])
            np.matmul(column_means, bands.reshape(len(bands), *crop.shape[1:]), out=y[k])

    in_slices(regions, len(y), y.size)
    return y


def pool_backward(dy, shape, image_index, rows: Means, columns: Means):
    """dmaps (N, H, W, C) of this shape, for dy (K, ph, pw, C). Regions overlap, so it adds up, in their order."""
    dmaps = np.zeros(shape, dy.dtype)

    def channels(i):
        own = slice(i * CHANNELS_TOGETHER, (i + 1) * CHANNELS_TOGETHER)
        for k in range(len(dy)):  # y = rows @ crop @ columns.T
            (r, row_means), (c, column_means) = rows.of(k), columns.of(k)
            bands = column_means.T @ dy[k, :, :, own]
            dcrop = row_means.T @ bands.reshape(len(bands), bands[0].size)
            dmaps[image_index[k], r, c, own] += dcrop.reshape(len(dcrop), *bands.shape[1:])

    parallel_for(channels, -(-shape[3] // CHANNELS_TOGETHER))
    return dmaps
