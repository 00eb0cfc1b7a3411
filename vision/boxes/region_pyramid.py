"""A spatial pyramid over regions: RoI pooling on several grids, side by side.

Reference: He, Zhang, Ren and Sun 2014, Spatial pyramid pooling in deep convolutional networks, arXiv:1406.4729,
sec. 2.2 and 4.1.
"""

from collections.abc import Sequence

import numpy as np

from nn import RoIPool
from nn.dispatch import array_module
from nn.layer import Layer


class RegionPyramid(Layer):
    """x (N, C, H, W), boxes (K, 4), image_index (K,) to y (K, C * bins), bins = sum of n^2 over the levels n.

    For (6, 3, 2, 1) there are 50 bins, for (4, 2, 1) 21. All else is as in nn.RoIPool, whose rounding of corners to
    cells takes the place of the paper's (appendix A).
    """

    def __init__(self, levels: Sequence[int], spatial_scale: float):
        if not levels:
            raise ValueError("RegionPyramid: levels must be one or more whole numbers, got none")
        self.pools = [RoIPool(n, spatial_scale) for n in levels]
        self.bins = sum(n * n for n in levels)

    def forward(self, x, boxes, image_index, training=True):
        y, caches = zip(*(pool.forward(x, boxes, image_index, training) for pool in self.pools))  # (K, C, n, n)
        y = [level.reshape(len(boxes), x.shape[1] * level.shape[2] ** 2) for level in y]
        return array_module(x).concatenate(y, axis=1), (x.shape[1], caches)

    def backward(self, dy, cache):
        (channels, caches), dx, start = cache, 0, 0
        for pool, c_pool in zip(self.pools, caches):
            n = pool.output_size[0]
            dlevel = dy[:, start : start + channels * n * n].reshape(len(dy), channels, n, n)
            dx, start = dx + pool.backward(dlevel, c_pool)[0], start + channels * n * n  # levels share x: they add up
        return dx, None, None


def nearest_scale(boxes: np.ndarray, factors: np.ndarray, side: float) -> np.ndarray:
    """(K,): the index of the factor by which the area of each region (K, 4) comes nearest to side x side pixels.

    Reference: sec. 4.1, "multi-scale": 224 x 224.
    """
    xp = array_module(boxes)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return abs(area[:, None] * xp.asarray(factors, boxes.dtype) ** 2 - side**2).argmin(axis=1)
