"""The transposed convolution. Its forward is the backward of a convolution and the reverse; both: nn/layers/conv.py."""

import math

import numpy as np

from nn.dispatch import array_module, functions
from nn.init import he_normal
from nn.layer import Layer, Parameter, check_shape, pair
from nn.layers import conv
from nn.layers.windows import conv_geometry
from nn.random import generator


class ConvTranspose2d(Layer):
    """y = transpose of conv2d(., weight) applied to x, + bias: every pixel of x adds the kernel, times itself, to y.

    x (N, C, H, W), weight (C, O/groups, kh, kw), bias (O,), y (N, O, oh, ow).

    oh = (H - 1) stride - 2 padding + dilation (kh - 1) + output_padding + 1, ow likewise. The arguments are those of
    the Conv2d from O to C channels that this layer transposes: padding cuts rows off y. That Conv2d takes `stride`
    different heights to H; output_padding says which of them y has: it adds rows at the bottom and columns on the
    right, and must be less than stride or dilation. The order of the arguments is PyTorch's, dilation last.

    Weights are normal with variance 2 / (inputs that an output sees: on average C/groups kh kw / stride^2), drawn from
    `rng` (default: the library's generator, see nn.seed): He's rule for this layer. Biases start at zero.

    Raises ValueError for x of other channels, an output without pixels, or channels that groups do not divide.

    Reference: Dumoulin and Visin 2016, A guide to convolution arithmetic for deep learning, arXiv:1603.07285, ch. 4.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size,
        stride=1,
        padding=0,
        output_padding=0,
        groups: int = 1,
        bias: bool = True,
        dilation=1,
        *,
        rng=None,
    ):
        self.geometry = conv_geometry(self, in_channels, out_channels, kernel_size, stride, padding, dilation, groups)
        self.in_channels, self.out_channels = in_channels, out_channels
        self.output_padding = pair(self, "output_padding", output_padding, 0)
        if any(o >= max(s, d) for o, s, d in zip(self.output_padding, self.geometry.stride, self.geometry.dilation)):
            raise ValueError(
                f"ConvTranspose2d: output_padding {self.output_padding} must be less than the stride "
                f"{self.geometry.stride} or the dilation {self.geometry.dilation}"
            )
        shape = (in_channels // groups, out_channels, *self.geometry.kernel)
        weight = he_normal(shape, rng or generator(), mode="fan_out")  # this shape's fan_out is our fan in
        weight *= math.sqrt(math.prod(self.geometry.stride))
        self.weight = Parameter(weight.reshape(in_channels, out_channels // groups, *self.geometry.kernel))
        self.bias = Parameter(np.zeros(out_channels, np.float32)) if bias else None

    def forward(self, x, training=True):
        check_shape(self, x=(x, ("N", self.in_channels, "H", "W")))
        weight, bias = self.weight.value, None if self.bias is None else self.bias.value
        ops = functions(conv.__name__, x, weight)
        out_size = self._output_size(*x.shape[2:])
        return ops.conv2d_input_gradient(self._extended(x), weight, self.geometry, out_size, bias), x

    def backward(self, dy, cache):
        x, weight, g = cache, self.weight, self.geometry
        check_shape(self, dy=(dy, (len(x), self.out_channels, *self._output_size(*x.shape[2:]))))
        ops, extended = functions(conv.__name__, dy, x, weight.value), self._extended(x)
        if self.bias is not None and self.bias.trainable:
            self.bias.grad += ops.conv2d_bias_gradient(dy)
        # y = transpose of conv2d applied to x: sum(y * dy) = sum(x * conv2d(dy)), so here x is what dy is in Conv2d
        if weight.trainable:
            weight.grad += ops.conv2d_weight_gradient(extended, dy, weight.value.shape, g)
        dx = ops.conv2d(dy, weight.value, g, extended.shape[2:])
        return dx[:, :, : x.shape[2], : x.shape[3]]

    def _extended(self, x):
        """x (N, C, H, W) with output_padding // stride rows and columns of zeros at the end: mostly none."""
        more = [o // s for o, s in zip(self.output_padding, self.geometry.stride)]
        return array_module(x).pad(x, ((0, 0), (0, 0), (0, more[0]), (0, more[1]))) if any(more) else x

    def _output_size(self, h, w):
        g = self.geometry
        size = tuple(
            (n - 1) * s - 2 * p + d * (k - 1) + extra + 1
            for n, k, s, p, d, extra in zip((h, w), g.kernel, g.stride, g.padding, g.dilation, self.output_padding)
        )
        if min(h, w) < 1 or min(size) < 1:
            raise ValueError(
                f"ConvTranspose2d: output size {size} for input ({h}, {w}), kernel {g.kernel}, stride {g.stride}, "
                f"padding {g.padding}, output_padding {self.output_padding}, dilation {g.dilation}: the input is too "
                "small"
            )
        return size

    def multiply_adds(self, output_shape) -> int:
        """Multiply-adds of one forward pass whose output has this shape: the kernel once for each pixel of x."""
        n, _, *out_size = output_shape
        size = (o - extra for o, extra in zip(out_size, self.output_padding))
        return n * math.prod(self.geometry.output_size(self, *size)) * self.weight.value.size
