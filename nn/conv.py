"""The convolution layer. What it computes stands in `nn.conv_plain`; `nn.conv_tiled` computes the same faster."""

import numpy as np

from nn import conv_plain, conv_tiled
from nn.backend import array_module, config
from nn.init import he_normal
from nn.layer import Layer, Parameter, check_shape
from nn.windows import conv_geometry


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
        y = self._ops(x).conv2d(x, self.weight.value, self.geometry, out_size)
        if self.bias is not None:
            y += self.bias.value[:, None, None]
        return y, x

    def backward(self, dy, cache):
        x, g = cache, self.geometry
        check_shape(self, dy=(dy, (len(x), self.out_channels, *g.output_size(self, *x.shape[2:]))))
        ops = self._ops(x)
        if self.bias is not None:
            self.bias.grad += dy.sum(axis=(0, 2, 3))  # the bias is added at every place of every image
        self.weight.grad += ops.conv2d_weight_gradient(dy, x, self.weight.value.shape, g)
        return ops.conv2d_input_gradient(dy, self.weight.value, g, x.shape[2:])

    @staticmethod
    def _ops(x):
        """The module whose conv2d, conv2d_input_gradient and conv2d_weight_gradient serve this array."""
        return conv_plain if config.plain or array_module(x) is not np else conv_tiled

    def multiply_adds(self, output_shape) -> int:
        """Multiply-adds of one forward pass whose output has this shape."""
        return int(np.prod(output_shape)) * self.weight.value[0].size
