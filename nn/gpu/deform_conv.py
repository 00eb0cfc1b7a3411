"""Deformable convolution on a GPU: sampled columns, then a matrix product.

For an image and offset group the samples of all taps are one group of points of the sampler in nn.gpu.bilinear,
which gives the columns (N, C, taps, oh*ow) in the order of the weight (O, C/groups, taps). No sum depends on an order
that could change. Some images at a time, so that the columns stay within COLUMNS_TOGETHER.
"""

from nn.dispatch import array_module
from nn.gpu.bilinear import Points, map_gradient, point_gradients, sample_maps
from nn.gpu.kernels import launch

COLUMNS_TOGETHER = 1 << 26  # numbers of columns that exist at once: 256 megabytes of float32


def columns_forward(layer, x, offset, mask, sizes):
    """y of DeformConv2d.forward for CuPy's arrays."""
    xp, matrices = array_module(x), _matrices(layer)
    y = xp.empty((len(x), *matrices.shape[:2], sizes.area), x.dtype)
    for images, maps, points in _parts(layer, x, offset, mask, sizes):
        xp.matmul(matrices, _columns(maps, points, len(matrices), sizes), out=y[images])
    y = y.reshape(len(x), layer.out_channels, *sizes.out)
    if layer.bias is not None:
        y += layer.bias.value[:, None, None]
    return y


def columns_backward(layer, dy, x, offset, mask, sizes):
    """dx, doffset, dmask of DeformConv2d.backward for CuPy's arrays; adds to those of weight and bias."""
    xp, matrices = array_module(x), _matrices(layer)
    dy = xp.ascontiguousarray(dy)
    if layer.bias is not None:
        layer.bias.grad += dy.sum(axis=(0, 2, 3))
    dy_maps = dy.reshape(len(x), *matrices.shape[:2], sizes.area)
    dx, dpoints = xp.empty(x.shape, x.dtype), xp.empty((3, len(x), sizes.groups, sizes.taps, sizes.area), x.dtype)
    for images, maps, points in _parts(layer, x, offset, mask, sizes):
        own, columns = dy_maps[images], _columns(maps, points, len(matrices), sizes)
        # y = matrices @ columns
        dmatrices = (own @ columns.swapaxes(2, 3)).sum(axis=0)
        layer.weight.grad += dmatrices.reshape(layer.weight.grad.shape)
        dcolumns = (matrices.swapaxes(1, 2) @ own).reshape(len(maps), maps.shape[1], points.row.shape[1])
        dx[images] = map_gradient(dcolumns, maps.shape, points).reshape(dx[images].shape)
        dpoints[:, images] = point_gradients(dcolumns, maps, points).reshape(dpoints[:, images].shape)
    drow, dcolumn, dmask = dpoints
    doffset = xp.stack([drow, dcolumn], axis=3).reshape(offset.shape)
    return dx, doffset, None if mask is None else dmask.reshape(mask.shape)


def _matrices(layer):
    """weight (O, C/groups, kh, kw) as matrices (groups, O/groups, C/groups * taps)."""
    groups = layer.geometry.groups
    return layer.weight.value.reshape(groups, layer.out_channels // groups, -1)


def _columns(maps, points, groups, sizes):
    """(N, groups, C/groups * taps, oh*ow): samples times mask."""
    return sample_maps(maps, points).reshape(len(maps) // sizes.groups, groups, -1, sizes.area)


def _parts(layer, x, offset, mask, sizes):
    """(slice of images, their maps (N*G, C/G, H, W), where the taps look) for as many images as go together."""
    xp, g, (_, c, h, w) = array_module(x), layer.geometry, x.shape
    together = max(1, COLUMNS_TOGETHER // (sizes.area * sizes.taps * c))
    for first in range(0, len(x), together):
        images = slice(first, first + together)
        maps = xp.ascontiguousarray(x[images]).reshape(-1, c // sizes.groups, h, w)
        row, column = xp.empty((2, len(maps), sizes.taps * sizes.area), x.dtype)
        arrays = row, column, xp.ascontiguousarray(offset[images])
        numbers = row.size, *sizes.out, *g.kernel, *g.stride, *g.padding, *g.dilation
        launch("deform_conv", "deform_conv_points", row.size, row.dtype, *arrays, *numbers)
        own_mask = None if mask is None else xp.ascontiguousarray(mask[images]).reshape(row.shape)
        yield images, maps, Points(row, column, mask=own_mask)
