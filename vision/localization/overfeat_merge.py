"""OverFeat's greedy merge: many boxes of overlapping windows become few, and their scores add up.

Reference: Sermanet et al. 2014, OverFeat, arXiv:1312.6229, sec. 4.3.
"""

from typing import NamedTuple

import numpy as np

from nn.layer import check_shape


class Merged(NamedTuple):
    """boxes (M, 4); scores (M,), the sums over the windows of each; windows (M,), how many these are. Best first."""

    boxes: np.ndarray
    scores: np.ndarray
    windows: np.ndarray


def greedy_merge(boxes: np.ndarray, scores: np.ndarray, threshold: float = 0.5) -> Merged:
    """The two boxes with the best match become one, again and again, until no match is below the threshold.

    (b1, b2) = argmin match(b1, b2);    stop where match(b1, b2) > threshold;    b1, b2 -> merge(b1, b2)

    boxes (N, 4), scores (N,) > 0. merge is the average of their sides, weighted by the scores collected so far; match:
    see match_scores. Unlike non-maximum suppression it lets many windows agree on a box: a box that only few windows
    see keeps a small sum, however sure they are.
    """
    check_shape("greedy_merge", boxes=(boxes, ("N", 4)), scores=(scores, ("N",)))
    boxes, scores, windows = boxes.astype(np.float64), scores.astype(np.float64), np.ones(len(boxes), np.int64)
    match = match_scores(boxes, boxes)
    np.fill_diagonal(match, np.inf)
    alive = np.ones(len(boxes), bool)
    while alive.sum() > 1:
        i, j = np.unravel_index(match.argmin(), match.shape)
        if not match[i, j] <= threshold:
            break
        boxes[i] = (scores[i] * boxes[i] + scores[j] * boxes[j]) / (scores[i] + scores[j])
        scores[i], windows[i], alive[j] = scores[i] + scores[j], windows[i] + windows[j], False
        row = np.where(alive, match_scores(boxes[i][None], boxes)[0], np.inf)
        row[i] = np.inf
        match[i], match[:, i], match[j], match[:, j] = row, row, np.inf, np.inf
    order = np.flatnonzero(alive)[np.argsort(-scores[alive], kind="stable")]
    return Merged(boxes[order], scores[order], windows[order])


def match_scores(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(A, B): the lower, the better a box of a (A, 4) matches one of b (B, 4); 0 for equal boxes.

    distance of the centres / side + 1 - intersection / larger area,   side: the root of the larger area

    The paper names the two terms, the distance of the centres and the area of the intersection; here both are without
    unit, so that the threshold holds for small and large objects.
    """
    a, b = a[:, None], b[None]
    distance = np.sqrt((((a[..., :2] + a[..., 2:]) - (b[..., :2] + b[..., 2:])) ** 2).sum(axis=2)) / 2
    inside = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    areas = [np.maximum(each[..., 2:] - each[..., :2], 0).prod(axis=2) for each in (a, b)]
    larger = np.maximum(np.maximum(*areas), 1e-12)
    return distance / np.sqrt(larger) + 1 - np.maximum(inside, 0).prod(axis=2) / larger
