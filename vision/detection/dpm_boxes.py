"""The box of an object from where its root and parts are, and which of many boxes are kept.

In the paper a box is a linear function of the corners of all filters and of the root's width. Here, which says the same
wherever an object is and however large, the box relative to the root, in units of the root's width, is one of the
parts' corners in these units. Left is right in the mirror image.

Reference: Felzenszwalb et al. 2010, doi:10.1109/TPAMI.2009.167, sec. 7.1 and 7.2.
"""

import numpy as np

from vision.boxes.boxes import area

RIDGE = 0.1  # of the squared weights: a few objects tell little of many parts


def root_only(size: np.ndarray, parts: int) -> np.ndarray:
    """(1 + 2 parts, 4): the weights by which the box is the root of (h, w) cells."""
    weights = np.zeros((1 + 2 * parts, 4))
    weights[0] = 0, 0, 1, size[0] / max(1, size[1])
    return weights


def fit_boxes(inputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """(1 + 2 P, 4): by least squares from where parts are, (E, 1 + 2 P), to relative boxes (E, 4)."""
    mean, mean_target = inputs.mean(axis=0), targets.mean(axis=0)
    centred = inputs - mean  # so that the constant is not held down
    weights = np.linalg.solve(centred.T @ centred + RIDGE * np.eye(len(mean)), centred.T @ (targets - mean_target))
    weights[0] = mean_target - mean[1:] @ weights[1:]
    return weights


def part_inputs(corners: np.ndarray, parts: np.ndarray, width: int) -> np.ndarray:
    """(E, 1 + 2 P): 1, and x and y of each part from the root's corner in widths of the root; 0 for parts not used.

    corners (E, 2): row and column of the root; parts (E, P, 2): of the parts in cells half as large; width in cells.
    """
    apart = (parts / 2 - corners[:, None])[..., ::-1] / width * (parts >= 0)
    return np.concatenate([np.ones((len(parts), 1)), apart.reshape(len(parts), 2 * parts.shape[1])], axis=1)


def to_root(boxes: np.ndarray, roots: np.ndarray, is_mirrored: np.ndarray) -> np.ndarray:
    """(E, 4): boxes (E, 4) from the corners of roots (E, 4), in widths of the roots, as the mirror image has them."""
    width = (roots[:, 2] - roots[:, 0])[:, None]
    return turned((boxes - np.tile(roots[:, :2], 2)) / width, is_mirrored)


def from_root(relative: np.ndarray, roots: np.ndarray, is_mirrored: np.ndarray) -> np.ndarray:
    """The inverse of to_root."""
    width = (roots[:, 2] - roots[:, 0])[:, None]
    return turned(relative, is_mirrored) * width + np.tile(roots[:, :2], 2)


def turned(relative: np.ndarray, is_mirrored: np.ndarray) -> np.ndarray:
    """Boxes in roots of width 1, those in mirror images turned round."""
    x1, y1, x2, y2 = relative.T
    return np.where(np.asarray(is_mirrored, bool)[:, None], np.stack([1 - x2, y1, 1 - x1, y2], axis=1), relative)


def keep_uncovered(boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, most: float, count: int) -> np.ndarray:
    """Indices of the boxes to keep, `count` at most, best first: a box goes if a better one of its label that is kept
    covers more than the share `most` of it (sec. 7.2).

    |a n b| / |b| of a kept box a and a box b, not the IoU: a small box within a large one goes, too. boxes (N, 4),
    scores (N,), labels (N,).
    """
    left, kept = np.argsort(-scores, kind="stable"), []
    while len(left) and len(kept) < count:
        best, left = left[0], left[1:]
        kept.append(best)
        low, high = np.maximum(boxes[best, :2], boxes[left, :2]), np.minimum(boxes[best, 2:], boxes[left, 2:])
        covered = np.maximum(high - low, 0).prod(axis=1) / np.maximum(area(boxes[left]), 1e-9)
        left = left[(covered <= most) | (labels[left] != labels[best])]
    return np.array(kept, np.int64)
