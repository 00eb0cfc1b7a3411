"""Non-maximum suppression: only the best of boxes that overlap much is kept."""

import numpy as np

from nn.dispatch import array_module, functions
from nn.layer import check_shape
from vision.boxes.boxes import check_labels, iou


def nms(
    boxes: np.ndarray,
    scores: np.ndarray,
    iou_threshold: float,
    classes: np.ndarray | None = None,
    max_keep: int | None = None,
) -> np.ndarray:
    """Greedy non-maximum suppression: indices of the boxes to keep, highest score first.

    In order of falling score (equal scores: lower index first) a box is kept unless its IoU with a box already kept,
    of the same class where `classes` is given, is greater than `iou_threshold`.

    boxes (N, 4), scores (N,), classes (N,) -> (K,) int64. At most max_keep indices are returned (None: all).
    Raises ValueError for arrays of other shapes. Reference: Girshick et al. 2014, arXiv:1311.2524, sec. 2.2.
    """
    check_shape("nms", boxes=(boxes, ("N", 4)), scores=(scores, ("N",)))
    if classes is not None:
        check_labels("nms", boxes, classes=classes)
    return functions(__name__, boxes).keep_best(boxes, scores, iou_threshold, classes, max_keep=max_keep)


def nms_among(
    valid: np.ndarray,
    boxes: np.ndarray,
    scores: np.ndarray,
    iou_threshold: float,
    classes: np.ndarray | None = None,
    pre_nms: int | None = None,
    max_keep: int | None = None,
) -> np.ndarray:
    """`nms` among the pre_nms best by score (None: all) of the boxes (N, 4) where valid (N,) is True.

    On a GPU the valid boxes are never listed: that would synchronise.
    """
    return functions(__name__, boxes).keep_best(boxes, scores, iou_threshold, classes, valid, pre_nms, max_keep)


def keep_best(boxes, scores, iou_threshold, classes=None, valid=None, pre_nms=None, max_keep=None):
    """The greedy rule as a loop: keep the best box left, drop the boxes that it overlaps too much, repeat."""
    xp = array_module(boxes)
    left = xp.argsort(-scores, kind="stable")
    if valid is not None:
        left = left[valid[left]]
    left, kept = left[:pre_nms], []
    while len(left) and (max_keep is None or len(kept) < max_keep):
        best, rest = left[0], left[1:]
        kept.append(int(best))
        suppressed = iou(boxes[best][None], boxes[rest])[0] > iou_threshold
        if classes is not None:
            suppressed &= classes[rest] == classes[best]
        left = rest[~suppressed]
    return xp.array(kept, np.int64)
