"""The convolution layer. What it computes stands in `nn.layers.conv_plain`; three more modules compute the
same faster on the CPU, each where it suits, and `nn.gpu.conv` on the GPU."""

import numpy as np

from nn.config import config
from nn.cpu import conv_depthwise, conv_tiled, winograd
from nn.cpu.chunks import channel_sums
from nn.dispatch import array_module
from nn.gpu import conv as conv_cuda
from nn.gpu import kernels as cuda
from nn.init import he_normal
from nn.layer import Layer, Parameter, check_shape
from nn.layers import conv_plain
from nn.layers.windows import Geometry, conv_geometry


def operations(x, weight, g: Geometry, out_size):
    """The module whose conv2d, conv2d_input_gradient and conv2d_weight_gradient serve such a convolution."""
    if cuda.use_kernels(x, weight):
        return conv_cuda
    if config.plain or array_module(x) is not np:
        return conv_plain
    if conv_depthwise.suits(weight, g):
        return conv_depthwise
    return winograd if config.winograd and winograd.suits(x, weight, g, out_size) else conv_tiled


class Conv2d(Layer):
    """y = conv2d(x, weight) + bias.    x (N, C, H, W), weight (O, C/groups, kh, kw), bias (O,), y (N, O, oh, ow).

    oh = floor((H + 2 padding - dilation (kh - 1) - 1) / stride) + 1, ow likewise. kernel_size, stride, padding and
    dilation are whole numbers or (vertical, horizontal) pairs; padding is with zeros; with groups = G, output group g
    sees input group g only (depthwise: groups = C). Weights start as in He et al. 2015, drawn from `rng` (default: a
    fixed seed, 0), biases at zero.

    Raises ValueError for x of other channels, an input smaller than the kernel, or channels that groups do not divide.

    Reference: Dumoulin and Visin 2016, A guide to convolution arithmetic for deep learning, arXiv:1603.07285.
    """

    def __init__(
        self, in_channels, out_channels, kernel_size, stride=1, padding=0, dilation=1, groups=1, bias=True, *, rng=None
    ):
        self.geometry = conv_geometry(self, in_channels, out_channels, kernel_size, stride, padding, dilation, groups)
        self.in_channels, self.out_channels = in_channels, out_channels
        shape = (out_channels, in_channels // groups, *self.geometry.kernel)
        self.weight = Parameter(he_normal(shape, rng or np.random.default_rng(0)))
        self.bias = Parameter(np.zeros(out_channels, np.float32)) if bias else None

    def forward(self, x, training=True):
        check_shape(self, x=(x, ("N", self.in_channels, "H", "W")))
        out_size = self.geometry.output_size(self, *x.shape[2:])
        weight, bias = self.weight.value, None if self.bias is None else self.bias.value
        y = operations(x, weight, self.geometry, out_size).conv2d(x, weight, self.geometry, out_size, bias)
        return y, x

    def backward(self, dy, cache):
        x, weight, g = cache, self.weight, self.geometry
        out_size = g.output_size(self, *x.shape[2:])
        check_shape(self, dy=(dy, (len(x), self.out_channels, *out_size)))
        ops = operations(x, weight.value, g, out_size)
        if self.bias is not None:
            self.bias.grad += channel_sums(dy)  # the bias is added at every place of every image
        weight.grad += ops.conv2d_weight_gradient(dy, x, weight.value.shape, g)
        return ops.conv2d_input_gradient(dy, weight.value, g, x.shape[2:])

    def multiply_adds(self, output_shape) -> int:
        """Multiply-adds of one forward pass whose output has this shape."""
        return int(np.prod(output_shape)) * self.weight.value[0].size
