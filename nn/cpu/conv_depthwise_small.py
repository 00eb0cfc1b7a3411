"""Depthwise convolution of small planes on the CPU: the kernel of each channel is written out as one matrix.

On a plane of a few pixels most windows reach over the border, and copying what each tap reads takes the time. The
matrix M (H*W, oh*ow) of a channel holds the weight with which each pixel counts in each output, so for a whole batch

    y[:, c] = x[:, c] @ M[c]        dx[:, c] = dy[:, c] @ M[c].T        dM[c] = x[:, c].T @ dy[:, c]

with x[:, c] (N, H*W). M itself is linear in the weights: M = weight (C, kh*kw) @ S, where S (kh*kw, H*W * oh*ow) is 1
where a tap reads a pixel for an output, else 0; and dweight = dM @ S.T.
"""

from functools import lru_cache

import numpy as np

from nn.cpu.parallel import matmul, parallel_for
from nn.layers.windows import Geometry

ZEROS = 16  # products with M's zeros may be so many times those of the taps, which cost more each
TOGETHER = 1 << 17  # elements of a few channels that a task works on


def takes(weight_shape, g: Geometry, in_size, images) -> bool:
    """Whether this is a depthwise convolution of such planes; M is made once for all images.

    An output costs H*W products, and H*W * kh*kw / images for its part of M, against kh*kw by the taps. With a stride,
    for which nn/cpu/conv_depthwise.py is not made, twice as many are worth it.
    """
    depthwise = g.groups == weight_shape[0] > 1 and weight_shape[1] == 1
    pixels, taps = in_size[0] * in_size[1], g.kernel[0] * g.kernel[1]
    return depthwise and pixels * (images + taps) <= ZEROS * max(g.stride) * images * taps


@lru_cache(maxsize=64)
def selection(g: Geometry, in_size, out_size, dtype):
    """S (kh*kw, H*W * oh*ow): 1 where tap (i, j) reads pixel (r*s + i*d - p, c*s + j*d - p) for the output (r, c)."""
    (kh, kw), (h, w), (out_h, out_w) = g.kernel, in_size, out_size
    i, j, r, c = np.indices((kh, kw, out_h, out_w))
    row, column = r * g.stride[0] + i * g.dilation[0] - g.padding[0], c * g.stride[1] + j * g.dilation[1] - g.padding[1]
    inside = (row >= 0) & (row < h) & (column >= 0) & (column < w)
    read = np.zeros((kh, kw, h, w, out_h, out_w), dtype)
    read[tuple(index[inside] for index in (i, j, row, column, r, c))] = 1
    return read.reshape(kh * kw, -1)


def matrices(weight, g: Geometry, in_size, out_size):
    """M (C, H*W, oh*ow) of weight (C, 1, kh, kw)."""
    made = matmul(weight.reshape(len(weight), -1), selection(g, in_size, out_size, weight.dtype))
    return made.reshape(len(weight), in_size[0] * in_size[1], -1)


def by_channel(x):
    """x (N, C, h, w) as (C, N, h*w), without a copy where x is contiguous."""
    return x.reshape(*x.shape[:2], -1).swapaxes(0, 1)


def products(a, b, out):
    """out[c] = a[c] @ b[c] for each channel, a few channels a task."""
    step = max(1, TOGETHER // max(a[0].size, b[0].size, out[0].size, 1))

    def run(k):
        part = slice(k * step, (k + 1) * step)
        np.matmul(a[part], b[part], out=out[part])

    parallel_for(run, -(-len(a) // step))


def conv2d(x, weight, g: Geometry, out_size, bias=None):
    """y (N, C, oh, ow), as in nn/layers/conv.py."""
    y = np.empty((len(x), len(weight), *out_size), np.result_type(x, weight))
    products(by_channel(x), matrices(weight, g, x.shape[2:], out_size), by_channel(y))
    return y if bias is None else y + bias[:, None, None]


def conv2d_input_gradient(dy, weight, g: Geometry, in_size, bias=None):
    """dx (N, C, H, W) + bias, as in nn/layers/conv.py."""
    dx = np.empty((len(dy), len(weight), *in_size), np.result_type(dy, weight))
    products(by_channel(dy), matrices(weight, g, in_size, dy.shape[2:]).swapaxes(1, 2), by_channel(dx))
    return dx if bias is None else dx + bias[:, None, None]


def conv2d_weight_gradient(dy, x, weight_shape, g: Geometry):
    """dweight (C, 1, kh, kw), as in nn/layers/conv.py."""
    (_, c, *in_size), out_size, dtype = x.shape, dy.shape[2:], np.result_type(dy, x)
    dmatrices = np.empty((c, in_size[0] * in_size[1], out_size[0] * out_size[1]), dtype)
    products(by_channel(x).swapaxes(1, 2), by_channel(dy), dmatrices)
    read = selection(g, tuple(in_size), out_size, dtype)
    return matmul(dmatrices.reshape(c, -1), read.T).reshape(weight_shape)
