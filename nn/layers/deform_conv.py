"""Deformable convolution: each tap of the kernel looks where an offset of its own, learned from the data, sends it.

nn/cpu/deform_conv.py and nn/gpu/deform_conv.py hold the same functions, faster.
"""

from typing import NamedTuple

import numpy as np

from nn.dispatch import array_module, functions
from nn.init import he_normal
from nn.layer import Layer, Parameter, check_shape, positive
from nn.layers.avg_pool import check_pixels
from nn.layers.bilinear import map_gradient, position_gradients, sample, sampled_dtype
from nn.layers.windows import Geometry, conv_geometry
from nn.random import generator


def deform_conv2d(x, offset, mask, weight, g: Geometry, out_size, bias=None):
    """y (N, O, oh, ow) = weight (O, C/groups, kh, kw) applied to what the taps see in x (N, C, H, W), + bias (O,).

    offset (N, 2 G kh kw, oh, ow); mask (N, G kh kw, oh, ow) or None. For each image the samples of all taps are the
    columns of a matrix, (C, kh*kw, oh*ow), which each group of the kernel multiplies its own channels of.
    """
    xp, n, (o, c, kh, kw), area = array_module(x), len(x), weight.shape, out_size[0] * out_size[1]
    kernel = weight.reshape(g.groups, o // g.groups, c * kh * kw)
    y = xp.empty((n, g.groups, o // g.groups, area), np.result_type(sampled_dtype(x, offset, mask), weight.dtype))
    for k in range(n):
        columns = []
        for channels, row, column, own_mask in taps(x, offset, mask, g, out_size, k):
            columns.append(sample(x[k, channels], row, column) * own_mask)
        # (groups, O/groups, C/groups * kh*kw) @ (groups, C/groups * kh*kw, oh*ow)
        y[k] = kernel @ xp.concatenate(columns).reshape(g.groups, c * kh * kw, area)
    y = y.reshape(n, o, *out_size)  # groups and O/groups are the O channels
    return y if bias is None else y + bias[:, None, None]


def deform_conv2d_backward(dy, x, offset, mask, weight, g: Geometry):
    """The gradients of deform_conv2d for dy (N, O, oh, ow): dx, doffset, dmask (None without one), dweight, dbias."""
    xp, (n, o, *out_size), (_, c, kh, kw), (h, w) = array_module(dy), dy.shape, weight.shape, x.shape[2:]
    area, groups = out_size[0] * out_size[1], offset.shape[1] // (2 * kh * kw)
    kernel = weight.reshape(g.groups, o // g.groups, c * kh * kw)
    dx, dkernel = xp.empty(x.shape, x.dtype), xp.zeros(kernel.shape, dy.dtype)
    doffset = xp.empty((n, groups, kh * kw, 2, area), offset.dtype)
    dmask = None if mask is None else xp.empty((n, groups, kh * kw * area), mask.dtype)
    for k in range(n):
        own_dy, columns = dy[k].reshape(g.groups, o // g.groups, area), []
        # y[k] = kernel @ columns
        dcolumns = (kernel.swapaxes(1, 2) @ own_dy).reshape(x.shape[1], kh * kw * area)
        for q, (channels, row, column, own_mask) in enumerate(taps(x, offset, mask, g, out_size, k)):
            values, dmasked = sample(x[k, channels], row, column), dcolumns[channels]
            columns.append(values * own_mask)
            if mask is not None:
                dmask[k, q] = (dmasked * values).sum(axis=0)  # masked = values * mask
            dvalues = dmasked * own_mask
            dx[k, channels] = map_gradient(dvalues, row, column, (h, w))  # values = sample(x, row, column)
            drow, dcolumn = position_gradients(dvalues, x[k, channels], row, column)
            # row = Conv2d's row + offset[0], column = Conv2d's column + offset[1]
            doffset[k, q, :, 0], doffset[k, q, :, 1] = (d.reshape(kh * kw, area) for d in (drow, dcolumn))
        columns = xp.concatenate(columns).reshape(g.groups, c * kh * kw, area)
        dkernel += own_dy @ columns.swapaxes(1, 2)  # y[k] = kernel @ columns: all images have the same kernel
    dmask = None if mask is None else dmask.reshape(mask.shape)
    dbias = dy.sum(axis=(0, 2, 3))  # the bias is added at every position of every image
    return dx, doffset.reshape(offset.shape), dmask, dkernel.reshape(weight.shape), dbias


def taps(x, offset, mask, g: Geometry, out_size, k):
    """channels, row, column, mask for each offset group of image k: which channels it moves, and where its taps look.

    row, column and mask (kh*kw * oh*ow,) in cells of x, tap by tap; mask is 1 where none is given.
    """
    (kh, kw), (sh, sw), (ph, pw), (dh, dw), _ = g
    xp, (out_h, out_w) = array_module(x), out_size
    t, dtype = xp.arange(kh * kw)[:, None, None], offset.real.dtype
    row = (xp.arange(out_h)[:, None] * sh - ph + t // kw * dh).astype(dtype)  # (taps, oh, 1), of Conv2d's taps
    column = (xp.arange(out_w) * sw - pw + t % kw * dw).astype(dtype)  # (taps, 1, ow)
    moves = offset[k].reshape(-1, kh * kw, 2, out_h, out_w)  # (G, taps, (down, right), oh, ow)
    masks = [1] * len(moves) if mask is None else mask[k].reshape(len(moves), kh * kw * out_h * out_w)
    together = x.shape[1] // len(moves)
    for q, (move, own_mask) in enumerate(zip(moves, masks)):
        channels = slice(q * together, (q + 1) * together)
        yield channels, (row + move[:, 0]).ravel(), (column + move[:, 1]).ravel(), own_mask


class DeformConvCache(NamedTuple):
    """The inputs; mask is None where none was given."""

    x: np.ndarray
    offset: np.ndarray
    mask: np.ndarray | None


class DeformConv2d(Layer):
    """y[r, c] = sum over taps t of weight[t] mask[t, r, c] x at (r s - p, c s - p) + d (i_t, j_t) + offset[t, r, c].

    x (N, C, H, W), weight (O, C/groups, kh, kw), bias (O,), y (N, O, oh, ow), offset (N, 2 G kh kw, oh, ow),
    mask (N, G kh kw, oh, ow) or None.
    Signature: DeformConv2d(in_channels, out_channels, kernel_size, stride=1, padding=0, dilation=1, groups=1,
    bias=True, offset_groups=None, *, rng=None); y, cache = forward(x, offset, mask=None);
    dx, doffset, dmask = backward(dy, cache), where dmask is None without a mask.

    The output size, and what stride s, padding p, dilation d and groups mean, is as in Conv2d. Tap t = i_t kw + j_t
    looks where Conv2d's tap looks, moved by its offset, by bilinear interpolation with zeros outside.
    Channels of offset are ordered (offset group, tap, (y, x)), those of mask (offset group, tap), as in
    torchvision.ops.DeformConv2d: channel 2 t of a group is what tap t moves down, 2 t + 1 what it moves right. Offset
    group q is for the q-th C / G of the channels. G = offset_groups; None, the default, takes G from the channels of
    offset. Mask values are taken as they are: a network puts a sigmoid before. Offsets of 0 and no mask are Conv2d.

    Weights start as in He et al. 2015, drawn from `rng` (default: the generator of nn.seed), biases at zero.
    Raises ValueError for x, offset or mask of other shapes, an input smaller than the kernel, offsets that are not
    finite (on a GPU, where the host would have to wait for the values, y is NaN there), or channels that groups or
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
        self.weight = Parameter(he_normal(shape, rng or generator()))
        self.bias = Parameter(np.zeros(out_channels, np.float32)) if bias else None

    def forward(self, x, offset, mask=None, training=True):
        out_size = self._output_size(x, offset, mask)
        ops, bias = self._functions(x, offset, mask), None if self.bias is None else self.bias.value
        y = ops.deform_conv2d(x, offset, mask, self.weight.value, self.geometry, out_size, bias)
        return y, DeformConvCache(x, offset, mask)

    def backward(self, dy, cache):
        check_shape(self, dy=(dy, (len(cache.x), self.out_channels, *self._output_size(*cache))))
        ops = self._functions(dy, *cache)
        *gradients, dweight, dbias = ops.deform_conv2d_backward(dy, *cache, self.weight.value, self.geometry)
        self.weight.grad += dweight
        if self.bias is not None:
            self.bias.grad += dbias
        return tuple(gradients)

    def _functions(self, *arrays):
        """The module whose functions compute on these arrays, without those that are None, and on the weight."""
        return functions(__name__, *(a for a in (*arrays, self.weight.value) if a is not None))

    def _output_size(self, x, offset, mask):
        """(oh, ow); ValueError where the three arrays do not fit together."""
        check_shape(self, x=(x, ("N", self.in_channels, "H", "W")))
        check_pixels(self, x)
        out, count = self.geometry.output_size(self, *x.shape[2:]), self.geometry.kernel[0] * self.geometry.kernel[1]
        groups = self.offset_groups
        if groups is None:
            channels = offset.shape[1] if getattr(offset, "ndim", 0) == 4 else 2 * count
            groups = channels // (2 * count)
            if groups < 1 or channels % (2 * count) or self.in_channels % groups:
                wanted = f"G * {2 * count} channels (offset groups, taps, 2), where G divides in_channels"
                raise ValueError(f"DeformConv2d: offset must have {wanted}={self.in_channels}, got {offset.shape}")
        check_shape(self, offset=(offset, (len(x), 2 * groups * count, *out)))
        if mask is not None:
            check_shape(self, mask=(mask, (len(x), groups * count, *out)))
        if array_module(offset) is np and not np.isfinite(offset).all():
            raise ValueError("DeformConv2d: offset must be finite, got NaN or infinity")
        return out

    def multiply_adds(self, output_shape) -> int:
        """Multiply-adds of one forward pass whose output has this shape, without those of the interpolation."""
        return int(np.prod(output_shape)) * self.weight.value[0].size
