"""Deformable convolution: each tap of the kernel looks where an offset of its own, learned from the data, sends it.

On a GPU nn.gpu.deform_conv takes over.
"""

from typing import NamedTuple

import numpy as np

from nn.cpu.conv_tiled import LANES
from nn.cpu.parallel import parallel_for
from nn.dispatch import array_module
from nn.gpu.deform_conv import columns_backward, columns_forward
from nn.gpu.kernels import use_kernels
from nn.init import he_normal
from nn.layer import Layer, Parameter, check_shape, positive
from nn.layers.bilinear import (
    Axis,
    axis,
    check_pixels,
    corners,
    gather,
    places,
    scatter,
    to_maps,
    to_rows,
    weight_gradients,
)
from nn.layers.windows import conv_geometry

COLUMNS_PER_TILE = 1 << 19  # numbers of x that one task samples
COLUMNS_TOGETHER = 1 << 24  # numbers of their gradient that are kept at once: 64 megabytes of float32


class DeformConvCache(NamedTuple):
    """The inputs; mask is None where none was given."""

    x: np.ndarray
    offset: np.ndarray
    mask: np.ndarray | None


class Sizes(NamedTuple):
    """Output size, places in it, taps of the kernel, offset groups."""

    out: tuple[int, int]
    area: int
    taps: int
    groups: int


class Samples(NamedTuple):
    """The samples of P output places, ordered (place, tap, offset group): M = P * taps * groups."""

    rows: Axis  # (2, M)
    columns: Axis
    place: np.ndarray  # (4, M) rows of x_rows
    mask: np.ndarray | float  # (M,)
    shape: tuple[int, int, int]

    def weight(self):
        """(4, M) of the four cells, without the mask."""
        return corners(self.rows.weight, self.columns.weight)

    def columns_of(self, x_rows, groups):
        """(groups, P, taps * C/groups) samples times mask, as the weight's matrices want them."""
        xp = array_module(x_rows)
        sampled = xp.empty((self.place.shape[1], x_rows.shape[1]), x_rows.dtype)
        gather(x_rows, self.place, self.weight() * self.mask, sampled)
        by_group = sampled.reshape(self.shape[0], self.shape[1], groups, -1).transpose(2, 0, 1, 3)
        return by_group.reshape(groups, self.shape[0], -1)

    def gradients(self, dcolumns, x_rows):
        """For dcolumns: that of samples times mask (M, C/offset groups), and drow, dcolumn, dmask (groups, taps, P)."""
        groups, p, taps = *dcolumns.shape[:2], self.shape[1]
        dmasked = dcolumns.reshape(groups, p, taps, -1).transpose(1, 2, 0, 3).reshape(-1, x_rows.shape[1])
        # masked = mask * (sum of four weights times x), so dx . weight is mask's and mask * dx . slope is the place's
        dweight = weight_gradients(dmasked, x_rows, self.place)
        dmask = (dweight * self.weight()).sum(axis=0)
        dweight *= self.mask
        drow = (dweight * corners(self.rows.slope, self.columns.weight)).sum(axis=0)
        dcolumn = (dweight * corners(self.rows.weight, self.columns.slope)).sum(axis=0)
        return dmasked, *(d.reshape(self.shape).transpose(2, 1, 0) for d in (drow, dcolumn, dmask))


class DeformConv2d(Layer):
    """y[r, c] = sum over taps t of weight[t] mask[t, r, c] x at (r s - p, c s - p) + d (i_t, j_t) + offset[t, r, c].

    x (N, C, H, W), weight (O, C/groups, kh, kw), bias (O,), y (N, O, oh, ow), offset (N, 2 G kh kw, oh, ow),
    mask (N, G kh kw, oh, ow) or None.
    Signature: DeformConv2d(in_channels, out_channels, kernel_size, stride=1, padding=0, dilation=1, groups=1,
    bias=True, offset_groups=None, *, rng=None); y, cache = forward(x, offset, mask=None);
    dx, doffset, dmask = backward(dy, cache), where dmask is None without a mask.

    The output size, and what stride s, padding p, dilation d and groups mean, is as in Conv2d. Tap t = i_t kw + j_t
    looks at the place that Conv2d's tap looks at, moved by its offset, by bilinear interpolation with zeros outside.
    Channels of offset are ordered (offset group, tap, (y, x)), those of mask (offset group, tap), as in
    torchvision.ops.DeformConv2d: channel 2 t of a group is what tap t moves down, 2 t + 1 what it moves right. Offset
    group g serves the g-th C / G of the channels. G = offset_groups; None, the default, takes G from the channels of
    offset. Mask values are taken as they are: a network puts a sigmoid before. Offsets of 0 and no mask are Conv2d.

    Weights start as in He et al. 2015, drawn from `rng` (default: a fixed seed, 0), biases at zero.
    Raises ValueError for x, offset or mask of other shapes, an input smaller than the kernel, offsets that are not
    finite (on a GPU, where looking at values would mean to wait for them, y is NaN there), or channels that groups or
    offset groups do not divide.

    Reference: Dai et al. 2017, arXiv:1703.06211, eq. 2 to 4; Zhu et al. 2018, arXiv:1811.11168, eq. 1 (the mask).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size,
        stride=1,
        padding=0,
        dilation=1,
        groups: int = 1,
        bias: bool = True,
        offset_groups: int | None = None,
        *,
        rng=None,
    ):
        self.geometry = conv_geometry(self, in_channels, out_channels, kernel_size, stride, padding, dilation, groups)
        if offset_groups is not None:
            positive(self, offset_groups=offset_groups)
            if in_channels % offset_groups:
                raise ValueError(f"DeformConv2d: offset_groups={offset_groups} must divide in_channels={in_channels}")
        self.in_channels, self.out_channels, self.offset_groups = in_channels, out_channels, offset_groups
        shape = (out_channels, in_channels // groups, *self.geometry.kernel)
        self.weight = Parameter(he_normal(shape, rng or np.random.default_rng(0)))
        self.bias = Parameter(np.zeros(out_channels, np.float32)) if bias else None

    def forward(self, x, offset, mask=None, training=True):
        sizes, xp, matrices = self._sizes(x, offset, mask), array_module(x), self._matrices()
        if use_kernels(*(a for a in (x, offset, mask, self.weight.value) if a is not None)):
            y = columns_forward(self, x, offset, mask, sizes)
            return y, DeformConvCache(x, offset, mask)
        varied = [a.dtype for a in (offset, mask) if a is not None and a.dtype.kind == "c"]
        x_rows = to_rows(x, sizes.groups).astype(np.result_type(x.dtype, *varied), copy=False)
        y = xp.empty((len(x), *matrices.shape[:2], sizes.area), np.result_type(x_rows.dtype, matrices.dtype))
        tiles = self._tiles(len(x), sizes)

        def run(i):
            image, part = tiles[i]
            columns = self._samples(x, offset, mask, sizes, image, part).columns_of(x_rows, len(matrices))
            xp.matmul(matrices, columns.swapaxes(1, 2), out=y[image, :, :, part])

        parallel_for(run, len(tiles), xp)
        y = y.reshape(len(x), self.out_channels, *sizes.out)
        if self.bias is not None:
            y += self.bias.value[:, None, None]
        return y, DeformConvCache(x, offset, mask)

    def backward(self, dy, cache):
        sizes, xp = self._sizes(*cache), array_module(dy)
        check_shape(self, dy=(dy, (len(cache.x), self.out_channels, *sizes.out)))
        if use_kernels(*(a for a in (dy, *cache, self.weight.value) if a is not None)):
            return columns_backward(self, dy, *cache, sizes)
        if self.bias is not None:
            self.bias.grad += dy.sum(axis=(0, 2, 3))  # the bias is added at every place of every image
        gradients = [None if a is None else xp.empty(a.shape, a.dtype) for a in cache]
        together = max(1, COLUMNS_TOGETHER // (sizes.area * sizes.taps * self.in_channels))
        for first in range(0, len(dy), together):
            images = slice(first, first + together)
            inputs = (None if a is None else a[images] for a in cache)
            for whole, part in zip(gradients, self._gradients(dy[images], *inputs, sizes)):
                if whole is not None:
                    whole[images] = part.reshape(whole[images].shape)
        return tuple(gradients)

    def _gradients(self, dy, x, offset, mask, sizes):
        """dx, doffset, dmask of some images, and their share added to the gradient of the weight."""
        xp, matrices, tiles = array_module(x), self._matrices(), self._tiles(len(x), sizes)
        x_rows, dy_maps = to_rows(x, sizes.groups), dy.reshape(len(x), *matrices.shape[:2], sizes.area)
        doffset = xp.empty((len(x), sizes.groups, sizes.taps, 2, sizes.area), dy.dtype)
        dmask = xp.empty((len(x), sizes.groups, sizes.taps, sizes.area), dy.dtype)
        dmatrices = xp.zeros((min(LANES, len(tiles)), *matrices.shape), dy.dtype)
        # one entry of `scatter` for each corner of each sample
        dsampled = xp.empty((len(x), sizes.area, sizes.taps * sizes.groups, x_rows.shape[1]), dy.dtype)
        place, weight = (xp.empty((4, *dsampled.shape[:3]), dtype) for dtype in (np.int64, dy.dtype))

        def run(lane):
            for image, part in tiles[lane::LANES]:
                samples, dy_part = self._samples(x, offset, mask, sizes, image, part), dy_maps[image, :, :, part]
                # y = matrices @ columns
                dmatrices[lane] += dy_part @ samples.columns_of(x_rows, len(matrices))
                dcolumns = dy_part.swapaxes(1, 2) @ matrices
                own, drow, dcolumn, dmask[image, ..., part] = samples.gradients(dcolumns, x_rows)
                doffset[image, :, :, 0, part], doffset[image, :, :, 1, part] = drow, dcolumn
                dsampled[image, part] = own.reshape(-1, *dsampled.shape[2:])
                place[:, image, part] = samples.place.reshape(4, -1, place.shape[3])
                weight[:, image, part] = (samples.weight() * samples.mask).reshape(4, -1, place.shape[3])

        parallel_for(run, len(dmatrices), xp)
        self.weight.grad += self._from_matrices(dmatrices.sum(axis=0))
        dsampled = dsampled.reshape(-1, x_rows.shape[1])
        source = xp.broadcast_to(xp.arange(len(dsampled)), (4, len(dsampled)))
        dx_rows = scatter(dsampled, source, place, weight, len(x_rows))
        return to_maps(dx_rows, x.shape, sizes.groups), doffset, dmask

    def _samples(self, x, offset, mask, sizes, image, part):
        """Where the taps look for the output places `part` (a slice of oh*ow) of an image."""
        xp, g, (h, w), dtype = array_module(x), self.geometry, x.shape[2:], x.real.dtype
        moved = offset[image].reshape(sizes.groups, sizes.taps, 2, sizes.area)[..., part].transpose(2, 3, 1, 0)
        shape = moved.shape[1:]  # (P, taps, groups)
        outputs = xp.divmod(xp.arange(part.start, part.stop)[:, None], sizes.out[1])  # rows and columns
        taps, axes = xp.divmod(xp.arange(sizes.taps), g.kernel[1]), []
        for i in (0, 1):
            start = outputs[i] * g.stride[i] - g.padding[i] + taps[i] * g.dilation[i]
            position = start[..., None].astype(offset.real.dtype) + moved[i]
            axes.append(axis(position.ravel(), (h, w)[i], dtype))
        plane = (image * sizes.groups + xp.arange(sizes.groups)) * (h * w)
        scale = 1.0
        if mask is not None:
            scale = mask[image].reshape(sizes.groups, sizes.taps, sizes.area)[..., part].transpose(2, 1, 0).ravel()
        return Samples(*axes, places(*axes, xp.broadcast_to(plane, shape).ravel(), w), scale, shape)

    def _tiles(self, n, sizes):
        """(image, slice of output places) of every tile."""
        together = max(1, COLUMNS_PER_TILE // (self.in_channels * sizes.taps))
        return [(i, slice(p, min(p + together, sizes.area))) for i in range(n) for p in range(0, sizes.area, together)]

    def _matrices(self):
        """weight (O, C/groups, kh, kw) as matrices (groups, O/groups, taps * C/groups), the order of `columns_of`."""
        o, c, kh, kw = self.weight.value.shape
        grouped = self.weight.value.reshape(self.geometry.groups, -1, c, kh * kw)
        return grouped.swapaxes(2, 3).reshape(self.geometry.groups, o // self.geometry.groups, kh * kw * c)

    def _from_matrices(self, matrices):
        """Back from `_matrices` to the shape of the weight."""
        o, c, kh, kw = self.weight.value.shape
        return matrices.reshape(o, kh * kw, c).swapaxes(1, 2).reshape(o, c, kh, kw)

    def _sizes(self, x, offset, mask):
        """The Sizes of a call; ValueError where the three arrays do not fit together."""
        check_shape(self, x=(x, ("N", self.in_channels, "H", "W")))
        check_pixels(self, x)
        out, taps = self.geometry.output_size(self, *x.shape[2:]), self.geometry.kernel[0] * self.geometry.kernel[1]
        groups = self.offset_groups
        if groups is None:
            channels = offset.shape[1] if getattr(offset, "ndim", 0) == 4 else 2 * taps
            groups = channels // (2 * taps)
            if groups < 1 or channels % (2 * taps) or self.in_channels % groups:
                raise ValueError(
                    f"DeformConv2d: offset must have G * {2 * taps} channels (offset groups, taps, 2), where G divides "
                    f"in_channels={self.in_channels}, got {offset.shape}"
                )
        check_shape(self, offset=(offset, (len(x), 2 * groups * taps, *out)))
        if mask is not None:
            check_shape(self, mask=(mask, (len(x), groups * taps, *out)))
        if array_module(offset) is np and not np.isfinite(offset).all():
            raise ValueError("DeformConv2d: offset must be finite, got NaN or infinity")
        return Sizes(out, out[0] * out[1], taps, groups)

    def multiply_adds(self, output_shape) -> int:
        """Multiply-adds of one forward pass whose output has this shape, without those of the interpolation."""
        return int(np.prod(output_shape)) * self.weight.value[0].size
