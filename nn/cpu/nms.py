"""Non-maximum suppression in blocks of boxes: the greedy rule by matrix operations instead of a loop over boxes.

What boxes kept earlier suppress is dropped from a block, then the rule is solved inside it, see _greedy.
"""

import numpy as np

NMS_BLOCK = 256  # boxes that are settled at once; any number gives the same result


def takes(boxes) -> bool:
    """Real boxes."""
    return boxes.dtype.kind == "f"


def keep_best(boxes, scores, iou_threshold, classes=None, valid=None, pre_nms=None, max_keep=None):
    """vision.boxes.nms.keep_best, for boxes (N, 4) in NumPy."""
    if valid is not None:
        chosen = np.flatnonzero(valid)
        if pre_nms is not None:
            chosen = chosen[np.argsort(-scores[chosen], kind="stable")[:pre_nms]]
        classes = None if classes is None else classes[chosen]
        return chosen[keep_best(boxes[chosen], scores[chosen], iou_threshold, classes, max_keep=max_keep)]
    classes = np.zeros(len(boxes), np.int64) if classes is None else classes
    limit = len(boxes) if max_keep is None else max_keep
    kept = np.empty(0, np.int64)
    order = np.argsort(-scores, kind="stable")[:pre_nms]
    for start in range(0, len(order), NMS_BLOCK):
        if len(kept) >= limit:
            break
        rest = order[start : start + NMS_BLOCK]
        for k in range(0, len(kept), NMS_BLOCK):  # in blocks, so that the overlaps stay in the processor's cache
            rest = rest[~_suppresses(kept[k : k + NMS_BLOCK], rest, boxes, classes, iou_threshold).any(axis=0)]
        rest = rest[_greedy(_suppresses(rest, rest, boxes, classes, iou_threshold))]
        kept = np.concatenate([kept, rest])
    return kept[:limit]


def _suppresses(i, j, boxes, classes, iou_threshold):
    """(I, J) bool: does box i, once kept, suppress a lower box j?"""
    return (_iou(boxes[i], boxes[j]) > iou_threshold) & (classes[i][:, None] == classes[j])


def _iou(a, b):
    """Intersection over union (A, B) of boxes (A, 4) and (B, 4); 0 for boxes without area."""
    ax1, ay1, ax2, ay2 = a.T[:, :, None]  # (A, 1) each, against (B,) below
    bx1, by1, bx2, by2 = np.ascontiguousarray(b.T)
    width = np.minimum(ax2, bx2) - np.maximum(ax1, bx1)
    height = np.minimum(ay2, by2) - np.maximum(ay1, by1)
    intersection = np.maximum(width, 0) * np.maximum(height, 0)
    union = _area(a)[:, None] + _area(b) - intersection
    return intersection / np.where(union > 0, union, 1)


def _area(boxes):
    return np.maximum(boxes[:, 2] - boxes[:, 0], 0) * np.maximum(boxes[:, 3] - boxes[:, 1], 0)


def _greedy(suppresses):
    """Solve keep[j] = not any(keep[i] and suppresses[i, j] for i < j), the greedy rule, for all j at once.

    Start from "all kept" and apply the equation until nothing changes. After t rounds the first t entries are right
    for good, since each depends on earlier ones alone, so it ends, and at the only solution there is. The number of
    rounds is the length of the longest chain of suppressions: a handful.

    Reference: Zheng et al. 2020, arXiv:2005.03572, sec. 3.3 (Cluster-NMS).
    """
    by_earlier = np.triu(suppresses, k=1)
    keep = np.ones(len(suppresses), bool)
    while True:
        updated = ~by_earlier[keep].any(axis=0)
        if np.array_equal(updated, keep):
            return keep
        keep = updated
