"""Convolution on the CPU, a tile at a time: the fast path of `nn.conv_plain`, with the same three functions.

A tile is a band of output rows of one image, so small that its columns stay in the cache; the tiles are shared among
threads. Tiles depend on the shapes alone and sums are taken in a fixed order: the number of threads changes no bit.
"""

import numpy as np

from nn.backend import parallel_for, workspace
from nn.conv_plain import by_group
from nn.windows import Geometry, add_windows, pad, windows

COLUMNS_PER_TILE = 1 << 17  # numbers: half a megabyte of float32, half of a usual second-level cache
LANES = 8  # partial sums of the weight gradient: enough for 8 threads, few enough to fit in memory


def tiles(n, column_height, out_h, out_w):
    """(image, first row, last row + 1) of every tile."""
    rows = max(1, min(out_h, COLUMNS_PER_TILE // (column_height * out_w)))
    return [(i, top, min(top + rows, out_h)) for i in range(n) for top in range(0, out_h, rows)]


def tile_columns(view, tile, g: Geometry):
    """The columns (groups, C/groups * kh*kw, places) of one tile of the windows, in this thread's workspace."""
    image, top, bottom = tile
    part = view[image, ..., top:bottom, :]
    if g.kernel == (1, 1) and part[0, 0, 0].flags.c_contiguous:  # each pixel is its own column: nothing to copy
        return part.reshape(g.groups, len(part) // g.groups, -1)
    copy = workspace(part.shape, part.dtype)
    np.copyto(copy, part)
    return copy.reshape(g.groups, -1, part.shape[-2] * part.shape[-1])


def conv2d(x, weight, g: Geometry, out_size):
    """y (N, O, oh, ow): `conv_plain.conv2d`."""
    matrices = by_group(weight, g)
    y = np.empty((len(x), len(weight), *out_size), np.result_type(x, weight))
    y_rows = y.reshape(len(x), *matrices.shape[:2], out_size[0] * out_size[1])
    view = windows(pad(x, g.padding), g)
    work = tiles(len(x), weight[0].size * g.groups, *out_size)

    def run(i):
        image, top, bottom = work[i]
        places = slice(top * out_size[1], bottom * out_size[1])
        np.matmul(matrices, tile_columns(view, work[i], g), out=y_rows[image, ..., places])

    parallel_for(run, len(work))
    return y


def conv2d_input_gradient(dy, weight, g: Geometry, in_size):
    """dx (N, C, H, W): `conv_plain.conv2d_input_gradient`."""
    reach = [d * (k - 1) - p for k, d, p in zip(g.kernel, g.dilation, g.padding)]
    if g.stride == (1, 1) and min(reach) >= 0:
        return _input_gradient_as_convolution(dy, weight, g, reach, in_size)
    matrices = by_group(weight, g).swapaxes(1, 2)
    (h, w), (ph, pw) = in_size, g.padding
    channels = matrices.shape[0] * matrices.shape[1] // (g.kernel[0] * g.kernel[1])
    dx = np.zeros((len(dy), channels, h + 2 * ph, w + 2 * pw), np.result_type(dy, weight))

    def run(image):
        dy_columns = dy[image].reshape(g.groups, matrices.shape[2], -1)
        dcolumns = workspace((*matrices.shape[:2], dy_columns.shape[2]), dx.dtype)
        np.matmul(matrices, dy_columns, out=dcolumns)
        add_windows(dx[image : image + 1], dcolumns.reshape(1, channels, *g.kernel, *dy.shape[2:]), g)

    parallel_for(run, len(dy))
    return dx[:, :, ph : ph + h, pw : pw + w]


def _input_gradient_as_convolution(dy, weight, g: Geometry, reach, in_size):
    """With stride 1, dx is itself a convolution of dy: the kernel turned by half a turn, its in and out swapped."""
    o, c, kh, kw = weight.shape
    grouped = weight.reshape(g.groups, o // g.groups, c, kh, kw)[..., ::-1, ::-1]
    turned = np.ascontiguousarray(grouped.swapaxes(1, 2)).reshape(g.groups * c, o // g.groups, kh, kw)
    return conv2d(dy, turned, g._replace(padding=tuple(reach)), in_size)


def conv2d_weight_gradient(dy, x, weight_shape, g: Geometry):
    """dweight (O, C/groups, kh, kw): `conv_plain.conv2d_weight_gradient`, summed tile by tile in LANES partial sums."""
    n, o, out_h, out_w = dy.shape
    view = windows(pad(x, g.padding), g)
    dy_rows = dy.reshape(n, g.groups, o // g.groups, out_h * out_w)
    work = tiles(n, int(np.prod(weight_shape[1:])) * g.groups, out_h, out_w)
    sums = np.zeros((min(LANES, len(work)), *by_group(np.empty(weight_shape), g).shape), np.result_type(dy, x))

    def run(lane):
        for image, top, bottom in work[lane::LANES]:
            columns = tile_columns(view, (image, top, bottom), g)
            sums[lane] += dy_rows[image, ..., top * out_w : bottom * out_w] @ columns.swapaxes(1, 2)

    parallel_for(run, len(sums))
    return sums.sum(axis=0).reshape(weight_shape)
