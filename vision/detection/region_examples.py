"""What stored regions are examples of: objects and negatives of a class, and pairs for box regression.

Reference: Girshick et al. 2014, R-CNN, arXiv:1311.2524, sec. 2.3, appendices B and C.
"""

from collections.abc import Callable

import numpy as np

from vision.boxes.boxes import encode, iou
from vision.boxes.sampling import largest
from vision.detection.feature_store import BOX, IOU, LABEL, OBJECT, OVERLAPS, TRUTH, FeatureStore


def described(
    regions: np.ndarray, boxes: np.ndarray, labels: np.ndarray, classes: int, overlap: np.ndarray | None = None
) -> np.ndarray:
    """(K, 11 + classes): the columns of a feature store for regions (K, 4) of an image with objects boxes (G, 4).

    The last G regions are the objects themselves. overlap (K, G): the IoU of both, if not that of the boxes.
    """
    table = np.zeros((len(regions), OVERLAPS + classes), np.float32)
    overlap = iou(regions.astype(np.float64), boxes.astype(np.float64)) if overlap is None else overlap
    table[:, BOX], table[:, IOU] = regions, largest(overlap, axis=1)
    if len(boxes):
        best = overlap.argmax(axis=1)
        table[:, OBJECT], table[:, LABEL] = boxes[best], np.where(table[:, IOU] > 0, labels[best], 0)
        table[len(regions) - len(boxes) :, TRUTH] = labels
    for k in range(classes):
        table[:, OVERLAPS + k] = largest(overlap[:, labels == k + 1], axis=1)
    return table


def random_negatives(store: FeatureStore, below: float, count: int, rng) -> list[np.ndarray]:
    """Rows for each class: of each image `count` of the regions whose IoU with all objects of the class is below."""
    found = [[] for _ in range(store.regions.shape[1] - OVERLAPS)]
    for i in range(len(store.counts)):
        rows = store.of_image(i)
        for own, free in zip(found, (store.regions[rows, OVERLAPS:] < below).T):
            own.append(rows.start + rng.permutation(np.flatnonzero(free))[:count])
    return [rng.permutation(np.concatenate(own)) for own in found]


def hard_negatives(store: FeatureStore, score: Callable, below: float, count: int, margin: float) -> list[np.ndarray]:
    """Rows for each class, the hardest first: of each image the `count` negatives at most that score above the margin.

    score: rows -> (n, classes).
    """
    found = [[] for _ in range(store.regions.shape[1] - OVERLAPS)]
    for i in range(len(store.counts)):
        rows = store.of_image(i)
        scores = np.where(store.regions[rows, OVERLAPS:] < below, score(rows), -np.inf)
        for own, column in zip(found, scores.T):
            best = np.argsort(-column, kind="stable")[:count]
            best = best[column[best] > margin]
            own.append(np.stack([rows.start + best, column[best]]))
    found = [np.concatenate(own, axis=1) for own in found]
    return [own[0, np.argsort(-own[1], kind="stable")].astype(np.int64) for own in found]


def box_pairs(store: FeatureStore, label: int, least: float) -> tuple[np.ndarray, np.ndarray]:
    """(rows (n,), targets (n, 4)): the regions whose object, that of the largest IoU, has the label and an IoU of at
    least `least`; targets are those of `encode`, in float64."""
    regions = store.regions
    rows = np.flatnonzero((regions[:, LABEL] == label) & (regions[:, IOU] >= least))
    return rows, encode(regions[rows, OBJECT].astype(np.float64), regions[rows, BOX].astype(np.float64))
