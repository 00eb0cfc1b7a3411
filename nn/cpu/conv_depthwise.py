"""Depthwise convolution on the CPU: groups of one input and one output channel, stride 1.

A tap reads one element for each output, so there is little to multiply, and copying the columns takes the time. The
copies are therefore as long and contiguous as can be. The rows of a plane lie one after the other, and all that a tap
reads of the plane is one contiguous run. Between the rows of the output this run has positions where the window would
reach over the edge: they are computed, too, and left out of the result.
"""

import numpy as np

from nn.cpu.conv_tiled import padded
from nn.cpu.parallel import parallel_for, workspace
from nn.layers.windows import Geometry

CHUNK = 1 << 18  # elements of one image that a task works on


def takes(weight_shape, g: Geometry) -> bool:
    """Whether this is such a convolution."""
    return g.groups == weight_shape[0] > 1 and weight_shape[1] == 1 and g.stride == (1, 1)


def chunks(n, channels, plane):
    """(image, channels as a slice) of every task. plane: positions of an output plane."""
    step = max(1, CHUNK // plane)
    step = -(-channels // -(-channels // step))  # as many tasks, of about equal size
    return [(i, slice(c, min(c + step, channels))) for i in range(n) for c in range(0, channels, step)]


def taps_of(x, g: Geometry, out_size):
    """What each tap reads of x (C, H, W), a view (C, kh, kw, positions); and the distance between rows of y in it."""
    (kh, kw), (dh, dw), (out_h, out_w) = g.kernel, g.dilation, out_size
    width = out_w + dw * (kw - 1)
    plane = padded(x[None], -g.padding[0], -g.padding[1], out_h + dh * (kh - 1), width)[0]
    sc, sh, sw = plane.strides
    if sh != width * sw:
        plane = np.ascontiguousarray(plane)
        sc, sh, sw = plane.strides
    shape = len(x), kh, kw, (out_h - 1) * width + out_w
    return np.lib.stride_tricks.as_strided(plane, shape, (sc, dh * sh, dw * sw, sw)), width


def conv2d(x, weight, g: Geometry, out_size, bias=None):
    """y (N, C, oh, ow), as in nn/layers/conv.py."""
    taps = np.ascontiguousarray(weight).reshape(len(weight), 1, -1)
    y = np.empty((len(x), len(weight), *out_size), np.result_type(x, weight))
    work = chunks(len(x), len(weight), out_size[0] * out_size[1])

    def run(k):
        image, channels = work[k]
        read, width = taps_of(x[image, channels], g, out_size)
        columns = workspace(read.shape, x.dtype, 1)
        np.copyto(columns, read)
        columns = columns.reshape(len(read), -1, read.shape[3])
        rows = workspace((len(read), 1, out_size[0] * width), y.dtype, 2)
        np.matmul(taps[channels], columns, out=rows[..., : columns.shape[2]])
        found, into = rows.reshape(len(read), out_size[0], width)[:, :, : out_size[1]], y[image, channels]
        if bias is None:
            into[...] = found
        else:
            np.add(found, bias[channels, None, None], out=into)

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
    work = chunks(n, c, out_size[0] * out_size[1])

    def run(k):
        image, channels = work[k]
        read, width = taps_of(x[image, channels], g, out_size)
        rows = workspace((len(read), out_size[0], width), dy.dtype, 2)
        np.conj(dy[image, channels], out=rows[:, :, : out_size[1]])  # np.vecdot conjugates it again
        rows[:, :, out_size[1] :] = 0  # between the rows
        part = rows.reshape(len(read), 1, 1, -1)[..., : read.shape[3]]
        np.vecdot(part, read, out=sums[image, channels])

    parallel_for(run, len(work))
    return sums.sum(axis=0).reshape(weight_shape)
