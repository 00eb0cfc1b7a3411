"""Depthwise convolution on the CPU: groups of one input and one output channel, stride 1.

A tap reads one element for each output, so there is little to multiply, and copying takes the time. Only what the
columns of the kernel read is copied, each the plane moved sideways; what a row of the kernel reads begins some rows
further on in the same copies. So each row of the kernel is a vector times a matrix, of a few channels at a time, which
stay in the cache.
"""

import math

import numpy as np

from nn.cpu.conv_tiled import copy_window
from nn.cpu.parallel import parallel_for, workspace
from nn.layers.windows import Geometry

CHUNK = 1 << 17  # elements of one image that a task works on; with half of that threads wait for each other


def takes(weight_shape, g: Geometry) -> bool:
    """Whether this is such a convolution."""
    return g.groups == weight_shape[0] > 1 and weight_shape[1] == 1 and g.stride == (1, 1)


def chunks(n, channels, plane):
    """(image, channels as a slice) of every task. plane: positions of an output plane."""
    step = max(1, CHUNK // plane)
    step = -(-channels // -(-channels // step))  # as many tasks, of about equal size
    return [(i, slice(c, min(c + step, channels))) for i in range(n) for c in range(0, channels, step)]


def columns_of(x, g: Geometry, out_size):
    """What each column of the kernel reads of x (C, H, W): (C, kw, rows * ow), zeros outside x.

    Row i of the kernel reads oh rows of these from row i * dilation on.
    """
    rows = out_size[0] + g.dilation[0] * (g.kernel[0] - 1)
    columns = workspace((1, len(x), g.kernel[1], rows, out_size[1]), x.dtype)
    for j in range(g.kernel[1]):
        copy_window(columns[:, :, j], x[None], -g.padding[0], j * g.dilation[1] - g.padding[1])
    return columns.reshape(len(x), g.kernel[1], rows * out_size[1])


def conv2d(x, weight, g: Geometry, out_size, bias=None):
    """y (N, C, oh, ow), as in nn/layers/conv.py."""
    y = np.empty((len(x), len(weight), *out_size), np.result_type(x, weight))
    kernel_rows = [np.ascontiguousarray(weight[:, :, i]) for i in range(g.kernel[0])]  # (C, 1, kw) each
    size, step = math.prod(out_size), g.dilation[0] * out_size[1]
    work = chunks(len(x), len(weight), size)

    def run(k):
        image, channels = work[k]
        columns, into = columns_of(x[image, channels], g, out_size), y[image, channels].reshape(-1, 1, size)
        for i, row in enumerate(kernel_rows):
            product = workspace(into.shape, y.dtype, 1) if i else into
            np.matmul(row[channels], columns[:, :, i * step : i * step + size], out=product)
            if i:
                into += product
        if bias is not None:
            into += bias[channels, None, None]

    parallel_for(run, len(work))
    return y


def conv2d_input_gradient(dy, weight, g: Geometry, in_size, bias=None):
    """dx (N, C, H, W) + bias: with stride 1 a convolution of dy with the kernel rotated by 180 degrees."""
    reach = tuple(d * (k - 1) - p for k, d, p in zip(g.kernel, g.dilation, g.padding))
    return conv2d(dy, weight[..., ::-1, ::-1], g._replace(padding=reach), in_size, bias)


def conv2d_weight_gradient(dy, x, weight_shape, g: Geometry):
    """dweight (C, 1, kh, kw): dy times what each tap reads, summed over positions and images."""
    n, c, *out_size = dy.shape
    sums = np.empty((n, c, *g.kernel), np.result_type(dy, x))
    size, step = math.prod(out_size), g.dilation[0] * out_size[1]
    work = chunks(n, c, size)

    def run(k):
        image, channels = work[k]
        columns = columns_of(x[image, channels], g, out_size)
        part = dy[image, channels].conj().reshape(-1, 1, size)  # np.vecdot conjugates it again
        for i in range(g.kernel[0]):
            np.vecdot(part, columns[:, :, i * step : i * step + size], out=sums[image, channels, i])

    parallel_for(run, len(work))
    return sums.sum(axis=0).reshape(weight_shape)
