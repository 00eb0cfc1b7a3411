"""Anchors: the reference boxes of a region proposal network.

Reference: Ren et al. 2015, arXiv:1506.01497, sec. 3.1
"""

from collections.abc import Sequence

import numpy as np

from nn.dispatch import array_module
from nn.layer import check_shape


def base_anchors(
    scales: Sequence[float] = (128, 256, 512), ratios: Sequence[float] = (0.5, 1, 2), dtype=np.float32
) -> np.ndarray:
    """The k = len(scales) * len(ratios) anchors of one cell, centred on the origin.

    w = scale / sqrt(ratio),  h = scale * sqrt(ratio):  area scale^2, h / w = ratio

    scales in pixels -> (k, 4), all scales of the first ratio, then of the next. The defaults are the paper's.
    Raises ValueError for a scale or ratio that is not positive, or none at all.

    Reference: Ren et al. 2015, arXiv:1506.01497, sec. 3.1.1 and 3.3
    """
    for name, values in (("scales", scales), ("ratios", ratios)):
        if len(values) == 0 or min(values) <= 0:
            raise ValueError(f"base_anchors: {name} must be one or more positive numbers, got {tuple(values)}")
    ratio, scale = np.meshgrid(np.sqrt(ratios), scales, indexing="ij")
    half = np.stack([scale / ratio, scale * ratio], axis=-1).reshape(-1, 2) / 2
    return np.concatenate([-half, half], axis=1).astype(dtype)


def grid_anchors(base: np.ndarray, feature_size: tuple[int, int], stride: float) -> np.ndarray:
    """The base anchors (k, 4) at every cell of a feature map of size (h, w).

    Cell (i, j) covers the pixels [i * stride, (i + 1) * stride) x [j * stride, (j + 1) * stride). Its anchors have its
    centre, x = (j + 0.5) * stride, y = (i + 0.5) * stride. -> (h * w * k, 4) in the order row, column, anchor.
    """
    check_shape("grid_anchors", base=(base, ("k", 4)))
    xp, (h, w) = array_module(base), feature_size
    y, x = xp.meshgrid((xp.arange(h) + 0.5) * stride, (xp.arange(w) + 0.5) * stride, indexing="ij")
    centres = xp.stack([x, y, x, y], axis=-1).astype(base.dtype)
    return (centres[:, :, None] + base).reshape(-1, 4)


def inside(anchors: np.ndarray, image_size: tuple[int, int], border: float = 0) -> np.ndarray:
    """(A,) bool: True where an anchor crosses the boundary of an image (h, w) by at most `border` pixels."""
    h, w = image_size
    return (anchors[:, :2] >= -border).all(axis=1) & (anchors[:, 2] <= w + border) & (anchors[:, 3] <= h + border)
