"""Convolution on the CPU: the functions of nn/layers/conv.py, by whichever of six algorithms is the fastest.

nn/cpu/conv_depthwise.py is for groups of one channel, nn/cpu/conv_depthwise_small.py for those of small planes,
nn/cpu/conv_pointwise.py for 1x1 kernels on small planes, nn/cpu/winograd.py for 3x3 kernels over many channels,
nn/cpu/conv_dft.py for 5x5 to 9x9 over many positions, and nn/cpu/conv_tiled.py for everything else.
"""

import numpy as np

from nn.config import config
from nn.cpu import conv_depthwise, conv_depthwise_small, conv_dft, conv_pointwise, conv_tiled, winograd
from nn.cpu.chunks import in_slices
from nn.layers.windows import Geometry


def takes(*arrays, **options) -> bool:
    """Whether these functions are for such arrays: for all of NumPy's, complex ones included."""
    return True


def _fastest(dtype, weight_shape, g: Geometry, images, in_size, out_size):
    """The module that computes such a convolution fastest. dtype: of the result."""
    if conv_depthwise_small.takes(weight_shape, g, in_size, images):
        return conv_depthwise_small
    if conv_depthwise.takes(weight_shape, g):
        return conv_depthwise
    if conv_pointwise.takes(g, images, out_size):
        return conv_pointwise
    if conv_dft.takes(dtype, weight_shape, g, images, out_size):
        return conv_dft
    return winograd if config.winograd and winograd.takes(dtype, weight_shape, g, out_size) else conv_tiled


def conv2d(x, weight, g: Geometry, out_size, bias=None):
    """y (N, O, oh, ow), as in nn/layers/conv.py."""
    ops = _fastest(np.result_type(x, weight), weight.shape, g, len(x), x.shape[2:], out_size)
    return ops.conv2d(x, weight, g, out_size, bias)


def conv2d_input_gradient(dy, weight, g: Geometry, in_size, bias=None):
    """dx (N, C, H, W) + bias, as in nn/layers/conv.py."""
    ops = _fastest(np.result_type(dy, weight), weight.shape, g, len(dy), in_size, dy.shape[2:])
    return ops.conv2d_input_gradient(dy, weight, g, in_size, bias)


def conv2d_weight_gradient(dy, x, weight_shape, g: Geometry):
    """dweight (O, C/groups, kh, kw), as in nn/layers/conv.py."""
    if conv_pointwise.takes_weight_gradient(weight_shape, g, len(x), dy.shape[2:]):
        return conv_pointwise.conv2d_weight_gradient(dy, x, weight_shape, g)
    ops = _fastest(np.result_type(dy, x), weight_shape, g, len(x), x.shape[2:], dy.shape[2:])
    return ops.conv2d_weight_gradient(dy, x, weight_shape, g)


def conv2d_bias_gradient(dy):
    """dbias (O,): the sum of dy (N, O, oh, ow) over positions and images, image by image, on all threads."""
    rows = dy.reshape(*dy.shape[:2], dy.shape[2] * dy.shape[3])
    sums = in_slices(lambda images: rows[images] @ np.ones(rows.shape[2], dy.dtype), len(dy), dy.size)
    return sum((part.sum(axis=0) for part in sums), np.zeros(dy.shape[1], dy.dtype))
