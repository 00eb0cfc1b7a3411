"""Anchors: the reference boxes of a region proposal network, and which of them a training image makes positive.

Reference: Ren et al. 2015, arXiv:1506.01497, sec. 3.1
"""

from collections.abc import Sequence

import numpy as np

from nn.dispatch import array_module
from nn.layer import check_shape
from vision.detection.boxes import check_positive_size, encode, iou
from vision.detection.sampling import largest, shuffled


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
    """The base anchors (k, 4) placed at every cell of a feature map of size (h, w).

    Cell (i, j) covers the pixels [i * stride, (i + 1) * stride) x [j * stride, (j + 1) * stride), and its anchors stand
    on its centre, x = (j + 0.5) * stride, y = (i + 0.5) * stride. -> (h * w * k, 4) in the order row, column, anchor.
    """
    check_shape("grid_anchors", base=(base, ("k", 4)))
    xp, (h, w) = array_module(base), feature_size
    y, x = xp.meshgrid((xp.arange(h) + 0.5) * stride, (xp.arange(w) + 0.5) * stride, indexing="ij")
    centres = xp.stack([x, y, x, y], axis=-1).astype(base.dtype)
    return (centres[:, :, None] + base).reshape(-1, 4)


def inside(anchors: np.ndarray, image_size: tuple[int, int], border: float = 0) -> np.ndarray:
    """(A,) bool: the anchors that do not cross the boundary of an image (h, w) by more than `border` pixels."""
    h, w = image_size
    return (anchors[:, :2] >= -border).all(axis=1) & (anchors[:, 2] <= w + border) & (anchors[:, 3] <= h + border)


def anchor_targets(
    anchors: np.ndarray,
    gt_boxes: np.ndarray,
    image_size: tuple[int, int],
    rng: np.random.Generator,
    *,
    positive_iou: float = 0.7,
    negative_iou: float = 0.3,
    samples: int = 256,
    positive_fraction: float = 0.5,
    border: float = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """What the region proposal network is to answer at each anchor, for one image.

    Positive (1): the anchor or anchors with the highest IoU with some ground-truth box, and every anchor with an
    IoU of positive_iou or more. Negative (0): below negative_iou with all boxes, and not positive. Everything else,
    and all anchors that cross the image boundary by more than `border` pixels, do not count (-1). Of these, at most
    samples * positive_fraction positives and then negatives up to `samples` are drawn at random; the rest becomes -1.

    anchors (A, 4), gt_boxes (G, 4), G = 0 allowed, image_size (h, w) without padding
    -> labels (A,) int64, deltas (A, 4): `encode` of the box that the anchor overlaps most, 0 where not positive.
    Raises ValueError for ground truth of zero size.

    Reference: Ren et al. 2015, arXiv:1506.01497, sec. 3.1.2 (labels), 3.1.3 (sampling), 3.3 (boundary)
    """
    check_shape("anchor_targets", anchors=(anchors, ("A", 4)), gt_boxes=(gt_boxes, ("G", 4)))
    check_positive_size("anchor_targets", gt_boxes=gt_boxes)
    xp, is_inside = array_module(anchors), inside(anchors, image_size, border)
    labels = xp.full(len(anchors), -1, np.int64)
    deltas = xp.zeros_like(anchors)
    # On a GPU all anchors, those outside without overlap: to list the ones inside would mean to wait for their number.
    candidates = np.flatnonzero(is_inside) if xp is np else xp.arange(len(anchors))
    is_inside = is_inside[candidates]
    overlap = iou(anchors[candidates], gt_boxes) * is_inside[:, None]
    highest = largest(overlap, axis=1)
    best_for_a_box = ((overlap == largest(overlap, axis=0)) & (overlap > 0)).any(axis=1)
    is_positive = is_inside & (best_for_a_box | (highest >= positive_iou))
    is_negative = is_inside & ~is_positive & (highest < negative_iou)

    positive, negative = shuffled([is_positive, is_negative], samples, rng)
    positive = positive[: int(samples * positive_fraction)]
    negative = negative[: samples - len(positive)]
    labels[candidates[positive]] = 1
    labels[candidates[negative]] = 0
    if len(positive):
        gt = overlap[positive].argmax(axis=1)
        deltas[candidates[positive]] = encode(gt_boxes[gt], anchors[candidates[positive]])
    return labels, deltas
