"""Convolution as one matrix product over all windows of the batch: the version to read first.

Three functions say what a convolution is, `conv2d` and its two gradients, wherever the arrays live. `nn.cpu.conv_tiled`
has the same three for the CPU, a tile at a time: the same sums in less memory, on all cores.
"""

import math

from nn.dispatch import array_module
from nn.layers.windows import Geometry, add_windows, pad, windows


def columns(x, g: Geometry):
    """(N, groups, C/groups * kh*kw, oh*ow): each window of x, within its group, as one column ("im2col")."""
    view = windows(pad(x, g.padding), g)
    return view.reshape(len(x), g.groups, math.prod(view.shape[1:4]) // g.groups, view.shape[-2] * view.shape[-1])


def by_group(weight, g: Geometry):
    """weight (O, C/groups, kh, kw) as matrices (groups, O/groups, C/groups * kh*kw)."""
    return weight.reshape(g.groups, len(weight) // g.groups, -1)


def conv2d(x, weight, g: Geometry, out_size, bias=None):
    """y (N, O, oh, ow) = weight applied to every window of x (N, C, H, W), + bias (O,).

    Strictly a cross-correlation, as everywhere in the field: y[o, r, c] = sum over (i, j, k) of
    weight[o, i, j, k] * x[i, r*s + j*d - p, c*s + k*d - p].
    """
    y = (by_group(weight, g) @ columns(x, g)).reshape(len(x), len(weight), *out_size)
    return y if bias is None else y + bias[:, None, None]


def conv2d_input_gradient(dy, weight, g: Geometry, in_size, bias=None):
    """dx (N, C, H, W) for dy (N, O, oh, ow): every window gets weight.T @ dy, overlapping windows add up ("col2im")."""
    n, o, out_h, out_w = dy.shape
    h, w = in_size
    # y = W @ columns, so dcolumns = W.T @ dy
    dcolumns = by_group(weight, g).swapaxes(1, 2) @ dy.reshape(n, g.groups, o // g.groups, out_h * out_w)
    dwindows = dcolumns.reshape(n, g.groups * weight.shape[1], *g.kernel, out_h, out_w)
    dx = array_module(dy).zeros((n, dwindows.shape[1], h + 2 * g.padding[0], w + 2 * g.padding[1]), dcolumns.dtype)
    add_windows(dx, dwindows, g)
    dx = dx[:, :, g.padding[0] : g.padding[0] + h, g.padding[1] : g.padding[1] + w]
    return dx if bias is None else dx + bias[:, None, None]  # a bias where this is ConvTranspose2d's forward


def conv2d_weight_gradient(dy, x, weight_shape, g: Geometry):
    """dweight (O, C/groups, kh, kw) for dy (N, O, oh, ow): dy @ columns.T, summed over the images."""
    n, o, out_h, out_w = dy.shape
    dweight = dy.reshape(n, g.groups, o // g.groups, out_h * out_w) @ columns(x, g).swapaxes(2, 3)
    return dweight.sum(axis=0).reshape(weight_shape)
