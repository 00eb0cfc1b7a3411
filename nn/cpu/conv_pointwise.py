"""1x1 convolution on the CPU where a plane has few positions: one matrix product for all images together.

With x (C, N*P), all positions of all images side by side,

    y = weight @ x        dx = weight.T @ dy        dweight = dy @ x.T

Image by image the first two are too thin to be fast where P is small, and dweight is a sum of N matrices. Bringing
the images together is a copy of x and dy.
"""

import numpy as np

from nn.cpu.chunks import in_slices
from nn.cpu.parallel import matmul
from nn.layers.windows import Geometry

POSITIONS = 16  # of a plane at most


def takes(g: Geometry, images, out_size, positions=POSITIONS) -> bool:
    """Whether this is such a convolution."""
    one = g.kernel == g.stride == (1, 1) and g.padding == (0, 0) and g.groups == 1
    return one and images > 1 and out_size[0] * out_size[1] <= positions


def takes_weight_gradient(weight_shape, g: Geometry, images, out_size) -> bool:
    """Whether dweight is worth it: a sum of matrices (O, C) would read more than the copies of x and dy."""
    o, c = weight_shape[:2]
    return takes(g, images, out_size, positions=o * c // (o + c))


def together(x):
    """(C, N*P) of x (N, C, h, w), a copy."""
    n, c = x.shape[:2]
    flat, made = x.reshape(n, c, -1), np.empty((c, n, x[0, 0].size), x.dtype)

    def copy(channels):
        made[channels] = flat[:, channels].swapaxes(0, 1)

    in_slices(copy, c, x.size)
    return made.reshape(c, -1)


def apart(x, n, size):
    """(N, C, h, w) of x (C, N*P), a copy."""
    c = len(x)
    split, made = x.reshape(c, n, -1), np.empty((n, c, size[0] * size[1]), x.dtype)

    def copy(images):
        made[images] = split[:, images].swapaxes(0, 1)

    in_slices(copy, n, x.size)
    return made.reshape(n, c, *size)


def conv2d(x, weight, g: Geometry, out_size, bias=None):
    """y (N, O, oh, ow), as in nn/layers/conv.py."""
    y = matmul(weight.reshape(len(weight), -1), together(x))
    return apart(y if bias is None else y + bias[:, None], len(x), out_size)


def conv2d_input_gradient(dy, weight, g: Geometry, in_size, bias=None):
    """dx (N, C, H, W) + bias, as in nn/layers/conv.py."""
    dx = matmul(weight.reshape(len(weight), -1).T, together(dy))
    return apart(dx if bias is None else dx + bias[:, None], len(dy), in_size)


def conv2d_weight_gradient(dy, x, weight_shape, g: Geometry):
    """dweight (O, C, 1, 1), as in nn/layers/conv.py."""
    return matmul(together(dy), together(x).T).reshape(weight_shape)
