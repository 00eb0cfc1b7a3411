"""Deformable convolution in a network: offsets come from a convolution of their own, on the same input.

Reference: Dai et al. 2017, Deformable convolutional networks, arXiv:1703.06211, sec. 2.1; Zhu et al. 2018, Deformable
ConvNets v2, arXiv:1811.11168, sec. 3.2 (modulation).
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from nn import Conv2d, DeformConv2d, Sigmoid
from nn.dispatch import array_module
from nn.layer import Layer, check_shape
from nn.layers.windows import Geometry
from vision.backbones.residual import Bottleneck

TAPS = 9  # of a 3x3 kernel


class DeformCache(NamedTuple):
    """offset: where the taps looked, which the pictures show; and the caches of the layers."""

    offset: np.ndarray
    c_moves: Any
    c_sigmoid: Any
    c_conv: Any


class DeformableConv(Layer):
    """y = deform_conv(x, offset(x), mask(x)), 3x3.    x (N, C, H, W), y (N, O, oh, ow), oh as of a Conv2d.

    One convolution, `offset`, gives what moves each tap and, with `modulated`, how much it counts: a sigmoid, 1/2 at
    first. Its weights start at 0, so the layer begins as a Conv2d (modulated: as half of one, which a batch
    normalisation doubles). Parameters: weight, as a Conv2d's, so that published weights fit, and those of
    `offset`.
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int = 1, dilation: int = 1, modulated: bool = True, *,
        rng: np.random.Generator,
    ):  # fmt: skip
        self.in_channels, self.out_channels, self.modulated = in_channels, out_channels, modulated
        geometry = 3, stride, dilation, dilation
        self.conv = DeformConv2d(in_channels, out_channels, *geometry, bias=False, offset_groups=1, rng=rng)
        self.weight, self.sigmoid = self.conv.weight, Sigmoid()
        self.offset = Conv2d(in_channels, (3 if modulated else 2) * TAPS, *geometry, rng=rng)
        self.offset.weight.value[...] = 0

    def children(self):
        """The convolution of the offsets; `weight` is this layer's own."""
        yield "offset", self.offset

    def forward(self, x, training=True):
        check_shape(self, x=(x, ("N", self.in_channels, "H", "W")))
        moves, c_moves = self.offset.forward(x, training)
        offset, mask, c_sigmoid = moves[:, : 2 * TAPS], None, None
        if self.modulated:
            mask, c_sigmoid = self.sigmoid.forward(moves[:, 2 * TAPS :], training)
        y, c_conv = self.conv.forward(x, offset, mask, training)
        return y, DeformCache(offset, c_moves, c_sigmoid, c_conv)

    def backward(self, dy, cache):
        dx, dmoves, dmask = self.conv.backward(dy, cache.c_conv)
        if self.modulated:
            dlogits = self.sigmoid.backward(dmask, cache.c_sigmoid)
            dmoves = array_module(dy).concatenate([dmoves, dlogits], axis=1)  # moves = [offset, logits of the mask]
        return dx + self.offset.backward(dmoves, cache.c_moves)  # x forks: gradients add up

    def multiply_adds(self, output_shape) -> int:
        """Multiply-adds of one forward pass whose output has this shape."""
        n, _, oh, ow = output_shape
        return self.conv.multiply_adds(output_shape) + self.offset.multiply_adds((n, 3 * TAPS, oh, ow))


class DeformableBottleneck(Bottleneck):
    """A Bottleneck whose 3x3 convolution is deformable and modulated; `modulated` is a class attribute."""

    modulated = True

    def convolutions(self, in_channels, width, stride, dilation, rng):
        """The three."""
        reduce, _, expand = super().convolutions(in_channels, width, stride, dilation, rng)
        return [reduce, DeformableConv(width, width, stride, dilation, self.modulated, rng=rng), expand]


class UnmodulatedBottleneck(DeformableBottleneck):
    """The first version: offsets alone."""

    modulated = False


def offsets_in(cache) -> Iterator[np.ndarray]:
    """The offsets of each deformable convolution in the cache of a network, in the order of its forward pass."""
    if isinstance(cache, DeformCache):
        yield cache.offset
    elif isinstance(cache, (tuple, list)):
        for part in cache:
            yield from offsets_in(part)


def sampling_points(geometries: list[Geometry], offsets: list[np.ndarray], row: int, column: int) -> np.ndarray:
    """(9^L, 2): where in the map below L deformable convolutions one cell of the map above them looks, (row, column).

    geometries, offsets (18, oh, ow): of each, the lowest first. Each tap of the uppermost one looks at a real position;
    the taps of the one below are those of the nearest cell, and so on down (fig. 5 of the paper). 1x1 convolutions
    between change no positions.
    """
    points = np.array([[row, column]], float)
    for g, offset in zip(reversed(geometries), reversed(offsets)):
        (sh, sw), (ph, pw), (dh, dw) = g.stride, g.padding, g.dilation
        h, w = offset.shape[1:]
        cells = np.clip(np.floor(points + 0.5).astype(int), 0, (h - 1, w - 1))
        moves = offset.reshape(TAPS, 2, h, w)[:, :, cells[:, 0], cells[:, 1]]  # (taps, 2, points)
        i, j = np.divmod(np.arange(TAPS), 3)
        taps = np.stack([i * dh - ph, j * dw - pw], axis=1)[:, :, None]  # of a Conv2d
        points = (points.T * np.array([[sh], [sw]]) + taps + moves).transpose(0, 2, 1).reshape(-1, 2)
    return points
