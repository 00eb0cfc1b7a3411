"""Boxes as arrays: overlap, regression targets, clipping.

A box is (x1, y1, x2, y2) in pixels, half-open: x2 - x1 is its width (no +1), and a box that covers a whole
image of size (h, w) is (0, 0, w, h).
"""

import math

import numpy as np

from nn.dispatch import array_module
from nn.layer import check_shape

MAX_LOG_SIZE = math.log(1000 / 16)  # decode() limits a box to 62.5 times its anchor: exp() cannot overflow


def iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of every box in `a` with every box in `b`.

    iou(a, b) = |a n b| / (|a| + |b| - |a n b|);    a (A, 4), b (B, 4) -> (A, B) in [0, 1]

    A box without area (empty or inverted) overlaps nothing: 0, never NaN.
    """
    check_shape("iou", a=(a, ("A", 4)), b=(b, ("B", 4)))
    xp = array_module(a, b)
    ax1, ay1, ax2, ay2 = a.T[:, :, None]  # (A, 1) each, against (B,) below
    bx1, by1, bx2, by2 = xp.ascontiguousarray(b.T)
    width = xp.minimum(ax2, bx2) - xp.maximum(ax1, bx1)
    height = xp.minimum(ay2, by2) - xp.maximum(ay1, by1)
    intersection = xp.maximum(width, 0) * xp.maximum(height, 0)
    union = area(a)[:, None] + area(b) - intersection
    return intersection / xp.where(union > 0, union, 1)


def area(boxes: np.ndarray) -> np.ndarray:
    """Width times height of boxes (..., 4), in square pixels; 0 for inverted boxes."""
    xp = array_module(boxes)
    return xp.maximum(boxes[..., 2] - boxes[..., 0], 0) * xp.maximum(boxes[..., 3] - boxes[..., 1], 0)


def encode(boxes: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """The deltas from `anchors` (..., 4) to `boxes` (..., 4), targets of box regression; the inverse of `decode`.

    tx = (x - xa) / wa     ty = (y - ya) / ha     tw = log(w / wa)     th = log(h / ha)

    x, y, w, h: centre and size of the box; xa, ya, wa, ha: those of its anchor. -> (..., 4), without unit.
    Raises ValueError for a box or an anchor of zero or negative size, which has no logarithm.

    Reference: Ren et al. 2015, arXiv:1506.01497, sec. 3.1.2, eq. 2
    """
    check_positive_size("encode", boxes=boxes, anchors=anchors)
    xp = array_module(boxes, anchors)
    x, y, w, h = _centre_and_size(boxes)
    xa, ya, wa, ha = _centre_and_size(anchors)
    return xp.stack([(x - xa) / wa, (y - ya) / ha, xp.log(w / wa), xp.log(h / ha)], axis=-1)


def decode(deltas: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """The boxes that `deltas` = (tx, ty, tw, th) describe relative to `anchors`; the inverse of `encode`.

    x = tx * wa + xa     y = ty * ha + ya     w = exp(tw) * wa     h = exp(th) * ha

    deltas (..., 4), anchors (..., 4) -> boxes (..., 4) in pixels. Leading axes broadcast: per-class deltas (R, C, 4)
    go with rois[:, None]. tw and th are limited to log(1000 / 16), so that a wild prediction stays finite.

    Reference: Ren et al. 2015, arXiv:1506.01497, sec. 3.1.2, eq. 2
    """
    _check_last_axis("decode", deltas=deltas, anchors=anchors)
    xp = array_module(deltas, anchors)
    xa, ya, wa, ha = _centre_and_size(anchors)
    x = deltas[..., 0] * wa + xa
    y = deltas[..., 1] * ha + ya
    half_w = xp.exp(xp.minimum(deltas[..., 2], MAX_LOG_SIZE)) * wa / 2
    half_h = xp.exp(xp.minimum(deltas[..., 3], MAX_LOG_SIZE)) * ha / 2
    return xp.stack([x - half_w, y - half_h, x + half_w, y + half_h], axis=-1)


def decode_backward(dboxes, deltas, anchors):
    """(ddeltas, danchors), (..., 4) each, for the gradient of decode(deltas, anchors)."""
    xp = array_module(deltas, anchors)
    _, _, wa, ha = _centre_and_size(anchors)
    dx1, dy1, dx2, dy2 = xp.moveaxis(dboxes, -1, 0)
    ddeltas, danchors = xp.empty_like(dboxes), xp.empty_like(dboxes)
    for axis, size, low, high in ((0, wa, dx1, dx2), (1, ha, dy1, dy2)):
        t, log_size = deltas[..., axis], deltas[..., axis + 2]
        dcentre, dhalf = low + high, high - low  # x1, x2 = x - half_w, x + half_w
        half = xp.exp(xp.minimum(log_size, MAX_LOG_SIZE)) / 2  # of a size of 1
        ddeltas[..., axis] = dcentre * size  # x = tx * wa + xa
        ddeltas[..., axis + 2] = dhalf * half * size * (log_size.real < MAX_LOG_SIZE)  # half_w = exp(tw) * wa / 2
        dsize = dcentre * t + dhalf * half  # wa is in both
        danchors[..., axis] = dcentre / 2 - dsize  # xa = (x1 + x2) / 2, wa = x2 - x1
        danchors[..., axis + 2] = dcentre / 2 + dsize
    return ddeltas, danchors


def clip(boxes: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    """Boxes (..., 4) clipped to an image of size (h, w). A box wholly outside gets zero area."""
    _check_last_axis("clip", boxes=boxes)
    xp, (h, w), clipped = array_module(boxes), image_size, array_module(boxes).empty_like(boxes)
    clipped[..., 0::2] = xp.clip(boxes[..., 0::2], 0, w)
    clipped[..., 1::2] = xp.clip(boxes[..., 1::2], 0, h)
    return clipped


def _centre_and_size(boxes):
    x1, y1, x2, y2 = array_module(boxes).moveaxis(boxes, -1, 0)
    return (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1


def _check_last_axis(owner, **arrays):
    check_shape(owner, **{name: (array, (*getattr(array, "shape", ())[:-1], 4)) for name, array in arrays.items()})


def check_positive_size(owner: str, **arrays: np.ndarray) -> None:
    """Raise ValueError unless every box of every named array (..., 4) has a width and a height above zero.

    Boxes on a GPU are not checked: that would synchronise.
    """
    _check_last_axis(owner, **arrays)
    for name, boxes in arrays.items():
        if array_module(boxes) is not np:
            continue
        good = (boxes[..., 2:] > boxes[..., :2]).all(axis=-1)
        if not good.all():
            bad = boxes[~good][0].tolist()
            raise ValueError(f"{owner}: {name} must have x2 > x1 and y2 > y1, got {bad}: drop such boxes first")


def check_labels(owner: str, boxes: np.ndarray, num_classes: int | None = None, **arrays: np.ndarray) -> None:
    """Raise ValueError unless every named array holds one integer for each box (N, 4), in 1..num_classes if given.

    Values of labels on a GPU are not checked: that would synchronise.
    """
    for name, labels in arrays.items():
        labels = labels if hasattr(labels, "dtype") else np.asarray(labels)
        if labels.shape != boxes.shape[:1] or labels.dtype.kind not in "iu":
            got = f"{labels.dtype} {labels.shape}"
            raise ValueError(f"{owner}: {name} must be integers of shape ({len(boxes)},), one per box, got {got}")
        if num_classes is None or array_module(labels) is not np:
            continue
        if len(labels) and not 1 <= labels.min() <= labels.max() <= num_classes:
            raise ValueError(f"{owner}: {name} must lie in 1..{num_classes}, got {np.unique(labels).tolist()}")
