"""Convolution on the GPU, by the kernels of nn/gpu/conv.cu, conv_input_gradient.cu, conv_weights.cu, conv_depthwise.cu.

This module decides how the work is cut into tiles and parts, by the shapes alone, so that every run gives the same
bits. A 1x1 convolution is a matrix product, which cuBLAS computes. The kernels compute in float32 where the arrays are
float32, whatever `nn.config.tf32` is.
"""

import math

from nn.dispatch import array_module
from nn.gpu import kernels as cuda
from nn.layers.windows import Geometry

LARGE, WIDE, SMALL, FLAT = (128, 128), (64, 256), (64, 64), (16, 256)  # ROWS and COLUMNS of a tile
CONSTANTS = {(rows, columns): (("ROWS", rows), ("COLUMNS", columns)) for rows, columns in (LARGE, WIDE, SMALL, FLAT)}
BUSY = 256  # blocks that keep a GPU busy: two for each multiprocessor, of which large GPUs have 130 and more
STEP = 8  # parts of a weight gradient are multiples of it: STEP in nn/gpu/matrix_tiles.cu
LEAST = 1 << 9  # positions that a part has at least,
SUMS = 1 << 25  # and elements that all parts together have at most, to fit in memory
DEPTHWISE_PART = 1 << 14  # positions in a part, in nn/gpu/conv_depthwise.cu

takes = cuda.use_kernels  # whether these functions are for such arrays


def conv2d(x, weight, g: Geometry, out_size, bias=None):
    """y (N, O, oh, ow), as in nn/layers/conv.py."""
    x, weight = _contiguous(x, weight)
    if _pointwise(g):
        return _product(weight[:, :, 0, 0], x, bias)
    o, groups = len(weight), g.groups
    y = array_module(x).empty((len(x), o, *out_size), x.dtype)
    arrays, shape = (y, x, weight, bias), _sizes(x.shape, o, out_size, g)
    if weight.shape[1] == 1:
        cuda.launch("conv_depthwise", "depthwise", y.size, x.dtype, *arrays, y.size, *shape)
    else:
        tile, grid = _tiles(o // groups, len(x) * math.prod(out_size), groups, x.dtype)
        _launch_tiles("conv", "conv2d", tile, grid, *arrays, *shape)
    return y


def conv2d_input_gradient(dy, weight, g: Geometry, in_size, bias=None):
    """dx (N, C, H, W) + bias, as in nn/layers/conv.py."""
    dy, weight = _contiguous(dy, weight)
    if _pointwise(g):
        return _product(weight[:, :, 0, 0].T, dy, bias)
    c = weight.shape[1]
    dx = array_module(dy).empty((len(dy), g.groups * c, *in_size), dy.dtype)
    arrays, shape = (dx, dy, weight, bias), _sizes(dx.shape, len(weight), dy.shape[2:], g)
    if c == 1:
        cuda.launch("conv_depthwise", "depthwise_input_gradient", dx.size, dy.dtype, *arrays, dx.size, *shape)
    else:  # the positions fall into stride * stride classes
        positions = len(dy) * math.prod(-(-size // s) for size, s in zip(in_size, g.stride))
        tile, grid = _tiles(c, positions, g.groups * math.prod(g.stride), dy.dtype)
        _launch_tiles("conv_input_gradient", "conv2d_input_gradient", tile, grid, *arrays, *shape)
    return dx


def conv2d_weight_gradient(dy, x, weight_shape, g: Geometry):
    """dweight (O, C/groups, kh, kw), as in nn/layers/conv.py: a sum for each part of the positions, then their sum."""
    dy, x = _contiguous(dy, x)
    xp, positions, (o, c, *kernel) = array_module(x), len(x) * math.prod(dy.shape[2:]), weight_shape
    if positions == 0:
        return xp.zeros(weight_shape, x.dtype)
    if c == 1:
        part = DEPTHWISE_PART
    else:
        tile, grid = _tiles(o // g.groups, c * math.prod(kernel), g.groups, x.dtype, in_parts=True)
        parts = min(-(-2 * BUSY // math.prod(grid)), positions // LEAST, SUMS // math.prod(weight_shape))
        part = STEP * -(-positions // (STEP * max(1, parts)))
    sums = xp.empty((-(-positions // part), *weight_shape), x.dtype)
    args = sums, dy, x, len(sums), part, *_sizes(x.shape, o, dy.shape[2:], g)
    if c == 1:
        grid = len(sums), math.prod(kernel), o  # a block for each sum
        cuda.launch("conv_depthwise", "depthwise_weight_gradient", 256 * sums.size, x.dtype, *args, grid=grid)
    else:
        _launch_tiles("conv_weights", "conv2d_weight_gradient", tile, (*grid[:2], g.groups * len(sums)), *args)
    return sums[0] if len(sums) == 1 else sums.sum(axis=0)


def conv2d_bias_gradient(dy):
    """dbias (O,), as in nn/layers/conv.py: the sum of dy (N, O, oh, ow) over positions, then over images."""
    return dy.sum(axis=(2, 3)).sum(axis=0)


def _contiguous(*arrays):
    """The arrays, copied where they are not contiguous."""
    return [array_module(a).ascontiguousarray(a) for a in arrays]


def _pointwise(g: Geometry) -> bool:
    """Whether each position of y is a matrix times the channels of x at the same position."""
    return g.kernel == g.stride == (1, 1) and g.padding == (0, 0) and g.groups == 1


def _product(matrix, x, bias):
    """y (N, O, h, w) = matrix (O, C) @ x (N, C, h, w) at each position, + bias (O,), by cuBLAS."""
    n, c, *size = x.shape
    y = (matrix @ x.reshape(n, c, math.prod(size))).reshape(n, len(matrix), *size)
    if bias is not None:
        y += bias[:, None, None]
    return y


def _sizes(in_shape, out_channels, out_size, g: Geometry):
    """The kernels' last arguments: n, groups, c, h, w, o, oh, ow (c and o of one group), and the geometry."""
    n, c, h, w = in_shape
    cuda.as_int("conv", "a side of the image with its padding", max(h + 2 * g.padding[0], w + 2 * g.padding[1]))
    shape = n, g.groups, c // g.groups, h, w, out_channels // g.groups, *out_size
    return *shape, *g.kernel, *g.stride, *g.padding, *g.dilation


def _tiles(rows, columns, products, dtype, in_parts=False):
    """(tile, grid) for so many matrix products, each with a result (rows, columns).

    The largest tiles do the most arithmetic for what they read. But there must be enough of them for all
    multiprocessors (in_parts: there always are, the sums are cut into parts), and in float64 they would need too many
    registers.
    """

    def grid(tile):
        return -(-columns // tile[1]), -(-rows // tile[0]), products

    large = LARGE if rows > WIDE[0] else WIDE
    enough = columns > SMALL[1] and (in_parts or math.prod(grid(large)) >= BUSY)
    tile = FLAT if rows <= FLAT[0] else large if enough and dtype.itemsize == 4 else SMALL
    return tile, grid(tile)


def _launch_tiles(file, name, tile, grid, *args):
    """Launch the kernel of this name, compiled for this tile."""
    how = {"grid": grid, "block": 256, "constants": CONSTANTS[tile]}
    cuda.launch(file, name, 256 * math.prod(grid), args[0].dtype, *args, **how)
