"""Deformable convolution for NumPy: samples and matrix products tile by tile, tiles shared among threads."""

from typing import NamedTuple

import numpy as np

from nn.cpu.parallel import parallel_for
from nn.cpu.sampler import Axis, axis, cells, corners, gather, scatter, to_maps, to_rows, weight_gradients
from nn.layers.windows import Geometry

COLUMNS_PER_TILE = 1 << 19  # elements of x that one task samples
COLUMNS_TOGETHER = 1 << 24  # elements of their gradient that are kept at once: 64 megabytes of float32
LANES = 8  # partial sums of the weight gradient: enough for 8 threads


class Sizes(NamedTuple):
    """Output size, positions in it, taps of the kernel, offset groups."""

    out: tuple[int, int]
    area: int
    taps: int
    groups: int


class Samples(NamedTuple):
    """The samples of P output positions, ordered (position, tap, offset group): M = P * taps * groups."""

    rows: Axis  # (2, M)
    columns: Axis
    cell: np.ndarray  # (4, M) rows of x_rows
    mask: np.ndarray | float  # (M,)
    shape: tuple[int, int, int]

    def weight(self):
        """(4, M) of the four cells, without the mask."""
        return corners(self.rows.weight, self.columns.weight)

    def columns_of(self, x_rows, groups):
        """(groups, P, taps * C/groups) samples times mask, in the order of the weight's matrices."""
        sampled = np.empty((self.cell.shape[1], x_rows.shape[1]), x_rows.dtype)
        gather(x_rows, self.cell, self.weight() * self.mask, sampled)
        by_group = sampled.reshape(self.shape[0], self.shape[1], groups, -1).transpose(2, 0, 1, 3)
        return by_group.reshape(groups, self.shape[0], -1)

    def gradients(self, dcolumns, x_rows):
        """For dcolumns: that of samples times mask (M, C/offset groups), and drow, dcolumn, dmask (groups, taps, P)."""
        groups, p, taps = *dcolumns.shape[:2], self.shape[1]
        dmasked = dcolumns.reshape(groups, p, taps, -1).transpose(1, 2, 0, 3).reshape(-1, x_rows.shape[1])
        # masked = mask * (sum of four weights times x): dx . weight is the mask's, mask * dx . slope the position's
        dweight = weight_gradients(dmasked, x_rows, self.cell)
        dmask = (dweight * self.weight()).sum(axis=0)
        dweight *= self.mask
        drow = (dweight * corners(self.rows.slope, self.columns.weight)).sum(axis=0)
        dcolumn = (dweight * corners(self.rows.weight, self.columns.slope)).sum(axis=0)
        return dmasked, *(d.reshape(self.shape).transpose(2, 1, 0) for d in (drow, dcolumn, dmask))


def takes(*arrays) -> bool:
    """Whether all are real: complex values are for the textbook."""
    return all(a.dtype.kind == "f" for a in arrays)


def deform_conv2d(x, offset, mask, weight, g: Geometry, out_size, bias=None):
    """As in nn.layers.deform_conv."""
    sizes, matrices = _sizes(offset, g, out_size), _matrices(weight, g)
    x_rows = to_rows(x, sizes.groups)
    y = np.empty((len(x), *matrices.shape[:2], sizes.area), np.result_type(x.dtype, matrices.dtype))
    tiles = _tiles(x.shape, sizes)

    def run(i):
        image, part = tiles[i]
        columns = _samples(x, offset, mask, g, sizes, image, part).columns_of(x_rows, len(matrices))
        np.matmul(matrices, columns.swapaxes(1, 2), out=y[image, :, :, part])

    parallel_for(run, len(tiles))
    y = y.reshape(len(x), len(weight), *sizes.out)
    if bias is not None:
        y += bias[:, None, None]
    return y


def deform_conv2d_backward(dy, x, offset, mask, weight, g: Geometry):
    """As in nn.layers.deform_conv."""
    sizes, inputs = _sizes(offset, g, dy.shape[2:]), (x, offset, mask)
    gradients, dweight = [None if a is None else np.empty(a.shape, a.dtype) for a in inputs], np.zeros_like(weight)
    together = max(1, COLUMNS_TOGETHER // (sizes.area * sizes.taps * x.shape[1]))
    for first in range(0, len(dy), together):
        images = slice(first, first + together)
        own = (None if a is None else a[images] for a in inputs)
        *parts, dmatrices = _gradients(dy[images], *own, _matrices(weight, g), g, sizes)
        dweight += _from_matrices(dmatrices, weight.shape)
        for whole, part in zip(gradients, parts):
            if whole is not None:
                whole[images] = part.reshape(whole[images].shape)
    return *gradients, dweight, dy.sum(axis=(0, 2, 3))


def _gradients(dy, x, offset, mask, matrices, g, sizes):
    """dx, doffset, dmask and dmatrices of some images."""
    tiles = _tiles(x.shape, sizes)
    x_rows, dy_maps = to_rows(x, sizes.groups), dy.reshape(len(x), *matrices.shape[:2], sizes.area)
    doffset = np.empty((len(x), sizes.groups, sizes.taps, 2, sizes.area), dy.dtype)
    dmask = np.empty((len(x), sizes.groups, sizes.taps, sizes.area), dy.dtype)
    dmatrices = np.zeros((min(LANES, len(tiles)), *matrices.shape), dy.dtype)
    # one entry of `scatter` for each corner of each sample
    dsampled = np.empty((len(x), sizes.area, sizes.taps * sizes.groups, x_rows.shape[1]), dy.dtype)
    cell, weight = (np.empty((4, *dsampled.shape[:3]), dtype) for dtype in (np.int64, dy.dtype))

    def run(lane):
        for image, part in tiles[lane::LANES]:
            samples, dy_part = _samples(x, offset, mask, g, sizes, image, part), dy_maps[image, :, :, part]
            # y = matrices @ columns
            dmatrices[lane] += dy_part @ samples.columns_of(x_rows, len(matrices))
            dcolumns = dy_part.swapaxes(1, 2) @ matrices
            own, drow, dcolumn, dmask[image, ..., part] = samples.gradients(dcolumns, x_rows)
            doffset[image, :, :, 0, part], doffset[image, :, :, 1, part] = drow, dcolumn
            dsampled[image, part] = own.reshape(-1, *dsampled.shape[2:])
            cell[:, image, part] = samples.cell.reshape(4, -1, cell.shape[3])
            weight[:, image, part] = (samples.weight() * samples.mask).reshape(4, -1, cell.shape[3])

    parallel_for(run, len(dmatrices))
    dx_rows, rows = np.empty_like(x_rows), len(x_rows) // len(x)

    def spread(image):
        own, first = dsampled[image].reshape(-1, x_rows.shape[1]), image * rows
        source = np.broadcast_to(np.arange(len(own)).reshape(weight.shape[2:]), weight[:, image].shape)
        dx_rows[first : first + rows] = scatter(own, source, cell[:, image] - first, weight[:, image], rows)

    parallel_for(spread, len(x))
    return to_maps(dx_rows, x.shape, sizes.groups), doffset, dmask, dmatrices.sum(axis=0)


def _samples(x, offset, mask, g, sizes, image, part):
    """Where the taps look for the output positions `part` (a slice of oh*ow) of an image."""
    h, w = x.shape[2:]
    moved = offset[image].reshape(sizes.groups, sizes.taps, 2, sizes.area)[..., part].transpose(2, 3, 1, 0)
    shape = moved.shape[1:]  # (P, taps, groups)
    outputs = np.divmod(np.arange(part.start, part.stop)[:, None], sizes.out[1])  # rows and columns
    taps, axes = np.divmod(np.arange(sizes.taps), g.kernel[1]), []
    for i in (0, 1):
        start = outputs[i] * g.stride[i] - g.padding[i] + taps[i] * g.dilation[i]
        position = start[..., None].astype(offset.dtype) + moved[i]
        axes.append(axis(position.ravel(), (h, w)[i], x.dtype))
    plane = (image * sizes.groups + np.arange(sizes.groups)) * (h * w)
    scale = 1.0
    if mask is not None:
        scale = mask[image].reshape(sizes.groups, sizes.taps, sizes.area)[..., part].transpose(2, 1, 0).ravel()
    return Samples(*axes, cells(*axes, np.broadcast_to(plane, shape).ravel(), w), scale, shape)


def _sizes(offset, g, out_size):
    taps = g.kernel[0] * g.kernel[1]
    return Sizes(tuple(out_size), out_size[0] * out_size[1], taps, offset.shape[1] // (2 * taps))


def _tiles(shape, sizes):
    """(image, slice of output positions) of every tile, for x of this shape."""
    n, c = shape[:2]
    together = max(1, COLUMNS_PER_TILE // (c * sizes.taps))
    return [(i, slice(p, min(p + together, sizes.area))) for i in range(n) for p in range(0, sizes.area, together)]


def _matrices(weight, g):
    """weight (O, C/groups, kh, kw) as matrices (groups, O/groups, taps * C/groups), the order of `columns_of`."""
    o, c, kh, kw = weight.shape
    grouped = weight.reshape(g.groups, -1, c, kh * kw)
    return grouped.swapaxes(2, 3).reshape(g.groups, o // g.groups, kh * kw * c)


def _from_matrices(matrices, shape):
    """Back from `_matrices` to the shape of the weight."""
    o, c, kh, kw = shape
    return matrices.reshape(o, kh * kw, c).swapaxes(1, 2).reshape(o, c, kh, kw)
