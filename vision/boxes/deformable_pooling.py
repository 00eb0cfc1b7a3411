"""Regions pooled from bins that a fully connected layer moves, by what it sees in the region.

Reference: Dai et al. 2017, Deformable convolutional networks, arXiv:1703.06211, sec. 2.2 and fig. 3.
"""

from typing import Any, NamedTuple

import numpy as np

from nn import DeformRoIPool, Linear
from nn.dispatch import array_module
from nn.layer import Layer


class DeformableCache(NamedTuple):
    """Caches of the pooling without offsets, of the layer that makes them, and of the pooling with them."""

    c_first: Any
    c_offset: Any
    c_pool: Any


class DeformableRegionPool(Layer):
    """y = pool(x, boxes, offset),   offset = fc(pool(x, boxes, 0)).    x (N, C, H, W), boxes (K, 4), y (K, C, n, n).

    pool: nn.DeformRoIPool. The fully connected layer `offset` starts at 0, and the whole as the pool without offsets.
    """

    def __init__(self, in_channels: int, cells: int, spatial_scale: float, *, rng: np.random.Generator):
        self.cells, self.pool = cells, DeformRoIPool(cells, spatial_scale)
        self.offset = Linear(in_channels * cells**2, 2 * cells**2, rng=rng)
        self.offset.weight.value[...] = 0

    def forward(self, x, boxes, image_index, training=True):
        shape = len(boxes), 2, self.cells, self.cells
        pooled, c_first = self.pool.forward(x, boxes, image_index, array_module(x).zeros(shape, x.dtype), training)
        flat = pooled.reshape(len(boxes), self.offset.in_features)  # (K, C * n * n)
        offset, c_offset = self.offset.forward(flat, training)
        y, c_pool = self.pool.forward(x, boxes, image_index, offset.reshape(shape), training)
        return y, DeformableCache(c_first, c_offset, c_pool)

    def backward(self, dy, cache):
        dx, _, _, doffset = self.pool.backward(dy, cache.c_pool)
        dpooled = self.offset.backward(doffset.reshape(len(dy), 2 * self.cells**2), cache.c_offset)
        dfirst, _, _, _ = self.pool.backward(dpooled.reshape(dy.shape), cache.c_first)
        return dx + dfirst, None, None  # x forks, into both poolings: gradients add up

    def backward_parameters(self, dy, cache):
        if self.is_trainable():
            _, _, _, doffset = self.pool.backward(dy, cache.c_pool)
            self.offset.backward_parameters(doffset.reshape(len(dy), 2 * self.cells**2), cache.c_offset)
