"""Feature pyramid: maps of several strides, each with the depth of the whole network.

Reference: Lin et al. 2017, Feature pyramid networks for object detection, arXiv:1612.03144, sec. 3 and fig. 3.
"""

from collections.abc import Sequence

import numpy as np

from nn import Conv2d, Sequential
from nn.dispatch import array_module
from nn.layer import Layer
from vision.backbones.backbone import Backbone


class FPN(Layer):
    """maps C_1 .. C_n (N, C_i, H_i, W_i), each half as large as the one before -> P_1 .. P_n, P_n+1 (N, C, H_i, W_i).

    M_n = 1x1(C_n),   M_i = 1x1(C_i) + M_i+1 enlarged to twice its size,   P_i = 3x3(M_i),   P_n+1 = every second of P_n

    Enlarging repeats cells; an odd height or width H_i has half of it, rounded up, on the next map. Names are those of
    torchvision: inner_blocks.0.0.weight (1x1), layer_blocks.0.0.weight (3x3). P_n+1 is for the RPN alone (footnote 2).
    """

    def __init__(self, in_channels: Sequence[int], channels: int, *, rng: np.random.Generator):
        self.inner_blocks = [Sequential(Conv2d(c, channels, 1, rng=rng)) for c in in_channels]
        self.layer_blocks = [Sequential(Conv2d(channels, channels, 3, padding=1, rng=rng)) for _ in in_channels]

    def forward(self, maps, training=True):
        laterals, c_inner = zip(*(block.forward(x, training) for block, x in zip(self.inner_blocks, maps)))
        merged = [laterals[-1]]
        for lateral in reversed(laterals[:-1]):  # from coarse to fine
            merged.insert(0, lateral + enlarged(merged[0], lateral.shape[2:]))
        smooth, c_layer = zip(*(block.forward(x, training) for block, x in zip(self.layer_blocks, merged)))
        return (*smooth, smooth[-1][:, :, ::2, ::2]), (c_inner, c_layer)

    def backward(self, dy, cache):
        (*dsmooth, dlast), (c_inner, c_layer) = dy, cache
        dsmooth[-1] = dsmooth[-1].copy()
        dsmooth[-1][:, :, ::2, ::2] += dlast
        dmerged = [block.backward(d, c) for block, d, c in zip(self.layer_blocks, dsmooth, c_layer)]
        for i in range(len(dmerged) - 1):  # from fine to coarse: M_i+1 forks into P_i+1 and M_i
            dmerged[i + 1] = dmerged[i + 1] + enlarged_backward(dmerged[i], dmerged[i + 1].shape[2:])
        return tuple(block.backward(d, c) for block, d, c in zip(self.inner_blocks, dmerged, c_inner))


class PyramidBackbone(Layer):
    """images (N, 3, H, W) -> the pyramid of the named stages of a body: see FPN. strides: pixels a cell, by level."""

    def __init__(self, body: Backbone, names: Sequence[str], channels: int, *, rng: np.random.Generator):
        self.body, self.names, self.out_channels = body, tuple(names), channels
        self.fpn = FPN([body.channels[name] for name in names], channels, rng=rng)
        self.strides = (*(body.strides[name] for name in names), 2 * body.strides[names[-1]])

    def forward(self, x, training=True):
        maps, c_body = self.body.forward_stages(x, training, self.names)
        pyramid, c_fpn = self.fpn.forward(maps, training)
        return pyramid, (c_body, c_fpn)

    def backward(self, dy, cache):
        c_body, c_fpn = cache
        return self.body.backward_stages(self.fpn.backward(dy, c_fpn), c_body)

    def backward_parameters(self, dy, cache):
        c_body, c_fpn = cache
        if self.body.is_trainable():
            self.body.backward_stages(self.fpn.backward(dy, c_fpn), c_body, images=False)
        else:
            self.fpn.backward_parameters(dy, c_fpn)


def enlarged(x, size: tuple[int, int]):
    """x (N, C, h, w) with every cell repeated twice along both axes, cut to size (H, W)."""
    return x.repeat(2, axis=2).repeat(2, axis=3)[:, :, : size[0], : size[1]]


def enlarged_backward(dy, size: tuple[int, int]):
    """dx (N, C, h, w): a cell gets the sum of the four, or at the border two or one, that repeat it."""
    (n, c, height, width), (h, w) = dy.shape, size
    whole = array_module(dy).zeros((n, c, 2 * h, 2 * w), dy.dtype)
    whole[:, :, :height, :width] = dy
    return whole.reshape(n, c, h, 2, w, 2).sum(axis=(3, 5))
