"""Deformable convolution for CuPy: sampled columns, then a matrix product.

For an image and offset group the samples of all taps are one group of points of nn.gpu.sampler, which gives the columns
(N, C, taps, oh*ow) in the order of the weight (O, C/groups, taps). No sum depends on an order that could change. Some
images at a time, so that the columns stay within COLUMNS_TOGETHER.
"""

from nn.dispatch import array_module
from nn.gpu.kernels import launch
from nn.gpu.kernels import use_kernels as takes
from nn.gpu.sampler import Points, map_gradient, point_gradients, sample_maps
from nn.layers.windows import Geometry

__all__ = ["deform_conv2d", "deform_conv2d_backward", "takes"]

COLUMNS_TOGETHER = 1 << 26  # elements of columns that exist at once: 256 megabytes of float32


def deform_conv2d(x, offset, mask, weight, g: Geometry, out_size, bias=None):
    """As in nn.layers.deform_conv; y is NaN where an offset is not finite."""
    xp, matrices, area = array_module(x), _matrices(weight, g), out_size[0] * out_size[1]
    y = xp.empty((len(x), *matrices.shape[:2], area), x.dtype)
    for images, maps, points in _parts(x, offset, mask, g, out_size):
        xp.matmul(matrices, _columns(maps, points, (-1, len(matrices), matrices.shape[2], area)), out=y[images])
    y = y.reshape(len(x), len(weight), *out_size)
    if bias is not None:
        y += bias[:, None, None]
    return y


def deform_conv2d_backward(dy, x, offset, mask, weight, g: Geometry):
    """As in nn.layers.deform_conv."""
    xp, matrices, (n, _, *out_size) = array_module(x), _matrices(weight, g), dy.shape
    taps, area = g.kernel[0] * g.kernel[1], out_size[0] * out_size[1]
    dy = xp.ascontiguousarray(dy)
    dy_maps = dy.reshape(n, *matrices.shape[:2], area)
    dx, dweight = xp.empty(x.shape, x.dtype), xp.zeros(weight.shape, weight.dtype)
    dpoints = xp.empty((3, n, offset.shape[1] // (2 * taps), taps, area), x.dtype)
    for images, maps, points in _parts(x, offset, mask, g, out_size):
        own, columns = dy_maps[images], _columns(maps, points, (-1, len(matrices), matrices.shape[2], area))
        # y = matrices @ columns
        dmatrices = (own @ columns.swapaxes(2, 3)).sum(axis=0)
        dweight += dmatrices.reshape(weight.shape)
        dcolumns = (matrices.swapaxes(1, 2) @ own).reshape(len(maps), maps.shape[1], points.row.shape[1])
        dx[images] = map_gradient(dcolumns, maps.shape, points).reshape(dx[images].shape)
        dpoints[:, images] = point_gradients(dcolumns, maps, points).reshape(dpoints[:, images].shape)
    drow, dcolumn, dmask = dpoints
    doffset = xp.stack([drow, dcolumn], axis=3).reshape(offset.shape)
    return dx, doffset, None if mask is None else dmask.reshape(mask.shape), dweight, dy.sum(axis=(0, 2, 3))


def _matrices(weight, g):
    """weight (O, C/groups, kh, kw) as matrices (groups, O/groups, C/groups * taps)."""
    return weight.reshape(g.groups, len(weight) // g.groups, -1)


def _columns(maps, points, shape):
    """Samples times mask (N*G, C/G, taps * oh*ow) in this shape: (N, groups, C/groups * taps, oh*ow)."""
    return sample_maps(maps, points).reshape(shape)


def _parts(x, offset, mask, g, out_size):
    """(slice of images, their maps (N*G, C/G, H, W), where the taps look) for as many images as go together."""
    xp, (_, c, h, w), taps, area = array_module(x), x.shape, g.kernel[0] * g.kernel[1], out_size[0] * out_size[1]
    groups, together = offset.shape[1] // (2 * taps), max(1, COLUMNS_TOGETHER // (area * taps * c))
    for first in range(0, len(x), together):
        images = slice(first, first + together)
        maps = xp.ascontiguousarray(x[images]).reshape(-1, c // groups, h, w)
        row, column = xp.empty((2, len(maps), taps * area), x.dtype)
        arrays = row, column, xp.ascontiguousarray(offset[images])
        sizes = row.size, *out_size, *g.kernel, *g.stride, *g.padding, *g.dilation
        launch("deform_conv", "deform_conv_points", row.size, row.dtype, *arrays, *sizes)
        own_mask = None if mask is None else xp.ascontiguousarray(mask[images]).reshape(row.shape)
        yield images, maps, Points(row, column, mask=own_mask)
