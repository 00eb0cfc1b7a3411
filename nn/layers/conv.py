"""The convolution: what it computes, its gradients, and the layer.

The taps of the kernel are taken one by one. Tap (i, j) reads one pixel of each window and multiplies its channels by a
matrix, weight[:, :, i, j] (O, C). So a convolution is a sum of kh*kw matrix products, and its backward is the backward
of each of them. nn/cpu/conv.py and nn/gpu/conv.py hold the same functions, faster.
"""

import numpy as np

from nn.dispatch import array_module, functions
from nn.init import he_normal
from nn.layer import Layer, Parameter, check_shape
from nn.layers.windows import Geometry, conv_geometry, pad, tap
from nn.random import generator


def conv2d(x, weight, g: Geometry, out_size, bias=None):
    """y (N, O, oh, ow) = weight (O, C/groups, kh, kw) applied to every window of x (N, C, H, W), + bias (O,).

    y[n, o, r, c] = sum over (k, i, j) of weight[o, k, i, j] * x[n, k, r*s + i*d - p, c*s + j*d - p] + bias[o]

    with stride s, dilation d, padding p. Strictly this is a cross-correlation, as everywhere in the field. Each group
    of output channels o sees its own group of input channels k.
    """
    n, (o, c, kh, kw) = len(x), weight.shape
    kernel = weight.reshape(g.groups, o // g.groups, c, kh, kw)  # O is (groups, O/groups)
    x = pad(x, g.padding)
    y = 0
    for i, j in np.ndindex(kh, kw):
        seen = x[tap(g, i, j, out_size)]  # (N, C, oh, ow)
        seen = seen.reshape(n, g.groups, c, out_size[0] * out_size[1])  # (N, groups, C/groups, oh*ow)
        y = y + kernel[..., i, j] @ seen  # (groups, O/groups, C/groups) @ (N, groups, C/groups, oh*ow)
    y = y.reshape(n, o, *out_size)  # (N, groups, O/groups, oh*ow) to (N, O, oh, ow)
    return y if bias is None else y + bias[:, None, None]


def conv2d_input_gradient(dy, weight, g: Geometry, in_size, bias=None):
    """dx (N, C, H, W) of conv2d for dy (N, O, oh, ow). With a bias (C,) added, it is the forward of ConvTranspose2d.

    dx[n, k, r*s + i*d - p, c*s + j*d - p] = sum of weight[o, k, i, j] * dy[n, o, r, c] over all o, r, c, i, j
    """
    (n, o, *out_size), (_, c, kh, kw) = dy.shape, weight.shape
    (h, w), (ph, pw) = in_size, g.padding
    kernel = weight.reshape(g.groups, o // g.groups, c, kh, kw)  # O is (groups, O/groups)
    dy = dy.reshape(n, g.groups, o // g.groups, out_size[0] * out_size[1])  # (N, groups, O/groups, oh*ow)
    xp = array_module(dy)
    dx = xp.zeros((n, g.groups * c, h + 2 * ph, w + 2 * pw), xp.result_type(dy, weight))  # of the padded x
    for i, j in np.ndindex(kh, kw):
        # y = y + kernel[..., i, j] @ seen
        dseen = kernel[..., i, j].swapaxes(1, 2) @ dy
        dseen = dseen.reshape(n, g.groups * c, *out_size)  # (N, groups, C/groups, oh*ow) to (N, C, oh, ow)
        # seen = x[tap(g, i, j, out_size)]: windows overlap, so gradients add up
        dx[tap(g, i, j, out_size)] += dseen
    # x = pad(x, g.padding)
    dx = dx[:, :, ph : ph + h, pw : pw + w]
    return dx if bias is None else dx + bias[:, None, None]


def conv2d_weight_gradient(dy, x, weight_shape, g: Geometry):
    """dweight (O, C/groups, kh, kw) of conv2d for dy (N, O, oh, ow) and the input x (N, C, H, W).

    dweight[o, k, i, j] = sum over (n, r, c) of dy[n, o, r, c] * x[n, k, r*s + i*d - p, c*s + j*d - p]
    """
    (n, o, *out_size), (_, c, kh, kw) = dy.shape, weight_shape
    dy = dy.reshape(n, g.groups, o // g.groups, out_size[0] * out_size[1])  # (N, groups, O/groups, oh*ow)
    x = pad(x, g.padding)
    xp = array_module(x)
    dkernel = xp.zeros((g.groups, o // g.groups, c, kh, kw), xp.result_type(dy, x))
    for i, j in np.ndindex(kh, kw):
        seen = x[tap(g, i, j, out_size)]  # (N, C, oh, ow)
        seen = seen.reshape(n, g.groups, c, out_size[0] * out_size[1])  # (N, groups, C/groups, oh*ow)
        # y = y + kernel[..., i, j] @ seen, the same kernel for all images
        dkernel[..., i, j] = (dy @ seen.swapaxes(2, 3)).sum(axis=0)
    return dkernel.reshape(weight_shape)  # (groups, O/groups, C/groups, kh, kw) to (O, C/groups, kh, kw)


def conv2d_bias_gradient(dy):
    """dbias (O,) of conv2d for dy (N, O, oh, ow): the bias is added at every position of every image."""
    return dy.sum(axis=(0, 2, 3))


class Conv2d(Layer):
    """y = conv2d(x, weight) + bias.    x (N, C, H, W), weight (O, C/groups, kh, kw), bias (O,), y (N, O, oh, ow).

    oh = floor((H + 2 padding - dilation (kh - 1) - 1) / stride) + 1, ow likewise. kernel_size, stride, padding and
    dilation are integers or (vertical, horizontal) pairs; padding is with zeros; with groups = G, output group g
    sees input group g only (depthwise: groups = C). Weights start as in He et al. 2015, drawn from `rng` (default: the
    library's generator, see nn.seed), biases at zero.

    Raises ValueError for x of other channels, an input smaller than the kernel, or channels that groups do not divide.

    Reference: Dumoulin and Visin 2016, A guide to convolution arithmetic for deep learning, arXiv:1603.07285.
    """

    def __init__(
        self, in_channels, out_channels, kernel_size, stride=1, padding=0, dilation=1, groups=1, bias=True, *, rng=None
    ):
        self.geometry = conv_geometry(self, in_channels, out_channels, kernel_size, stride, padding, dilation, groups)
        self.in_channels, self.out_channels = in_channels, out_channels
        shape = (out_channels, in_channels // groups, *self.geometry.kernel)
        self.weight = Parameter(he_normal(shape, rng or generator()))
        self.bias = Parameter(np.zeros(out_channels, np.float32)) if bias else None

    def forward(self, x, training=True):
        check_shape(self, x=(x, ("N", self.in_channels, "H", "W")))
        weight, bias, g = self.weight.value, None if self.bias is None else self.bias.value, self.geometry
        ops = functions(__name__, x, weight)
        return ops.conv2d(x, weight, g, g.output_size(self, *x.shape[2:]), bias), x

    def backward(self, dy, cache):
        Conv2d.backward_parameters(self, dy, cache)  # not a subclass's, whose cache may be another
        x, weight = cache, self.weight.value
        return functions(__name__, dy, x, weight).conv2d_input_gradient(dy, weight, self.geometry, x.shape[2:])

    def backward_parameters(self, dy, cache):
        x, weight, g = cache, self.weight, self.geometry
        check_shape(self, dy=(dy, (len(x), self.out_channels, *g.output_size(self, *x.shape[2:]))))
        ops = functions(__name__, dy, x, weight.value)
        if self.bias is not None and self.bias.trainable:
            self.bias.grad += ops.conv2d_bias_gradient(dy)
        if weight.trainable:
            weight.grad += ops.conv2d_weight_gradient(dy, x, weight.value.shape, g)

    def multiply_adds(self, output_shape) -> int:
        """Multiply-adds of one forward pass whose output has this shape."""
        return int(np.prod(output_shape)) * self.weight.value[0].size
