"""How well proposals cover objects: recall, average best overlap, average recall.

Reference: Hosang, Benenson, Dollar and Schiele 2016, What makes for effective detection proposals?, arXiv:1502.05082,
sec. 4; Uijlings et al. 2013, IJCV 104, sec. 5.1 (MABO).
"""

from collections.abc import Sequence

import numpy as np

from nn.layer import check_shape
from vision.boxes.boxes import iou


def best_overlaps(boxes: np.ndarray, objects: np.ndarray, counts: Sequence[int]) -> np.ndarray:
    """(K, G): the highest IoU of each of the objects (G, 4) with the first k of the boxes (N, 4), for each k of counts.

    Boxes are best first. 0 where there are no boxes. Raises ValueError for another shape and a count below 1.
    """
    check_shape("best_overlaps", boxes=(boxes, ("N", 4)), objects=(objects, ("G", 4)))
    if min(counts, default=0) < 1:
        raise ValueError(f"best_overlaps: counts must be at least 1, got {list(counts)}")
    overlaps = np.zeros((len(boxes) + 1, len(objects)))  # row k: of the first k
    np.maximum.accumulate(iou(boxes.astype(float), objects.astype(float)), axis=0, out=overlaps[1:])
    return overlaps[np.minimum(counts, len(boxes))]


def recall(overlaps: np.ndarray, threshold: float) -> np.ndarray:
    """The share of the objects (..., G) whose best overlap is at least the threshold; NaN where there are none."""
    return mean(overlaps >= threshold)


def average_recall(overlaps: np.ndarray) -> np.ndarray:
    """The mean recall over IoU from 0.5 to 1: 2 mean(max(overlap - 0.5, 0)) (Hosang et al., sec. 5.3, eq. 1)."""
    return 2 * mean(np.maximum(overlaps - 0.5, 0))


def mean_average_best_overlap(overlaps: np.ndarray, labels: np.ndarray) -> float:
    """MABO: the mean of the best overlaps (G,) over the objects of each class, and the mean of those.

    labels (G,). NaN without objects. Reference: Uijlings et al. 2013, eq. 7.
    """
    if not len(labels):
        return float("nan")
    _, which = np.unique(labels, return_inverse=True)
    return float((np.bincount(which, overlaps) / np.bincount(which)).mean())


def mean(values: np.ndarray) -> np.ndarray:
    """The mean over the last axis, NaN where it is empty."""
    return values.mean(axis=-1) if values.shape[-1] else np.full(values.shape[:-1], np.nan)
