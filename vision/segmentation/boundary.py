"""Boundary F1: how exact the borders of a labelling are, which the confusion matrix hardly shows.

Reference: Csurka et al. 2013, What is a good evaluation measure for semantic segmentation?, BMVC, sec. 2.3.
"""

import math

import numpy as np

TOLERANCE = 0.0075  # of the image's diagonal: less than a pixel, that is none, for diagonals below 133 pixels


def boundary_f1(labels: np.ndarray, truth: np.ndarray, classes: int, tolerance: float = TOLERANCE) -> np.ndarray:
    """(C,): for each class 2 P R / (P + R), NaN where neither labels nor truth have the class.

    P is the share of the class's boundary pixels in `labels` that have one of `truth` no further away than tolerance
    times the diagonal of the image, R the same with labels and truth exchanged; a class that only one of them has
    scores 0. A boundary pixel of a class lies beside (left, right, above, below) a pixel of another class. Pixels of
    truth -1 do not count, nor does the image's border. labels, truth (H, W) int. A class without any boundary, such as
    one that fills the image, scores 1 if that is so in both.

    In small images, with a diagonal below 1 / tolerance pixels (133), boundaries must be right to the pixel: an object
    found one pixel too large all around scores 0, and scores of images of different sizes cannot be compared. Raises
    ValueError for other shapes and a negative tolerance.
    """
    if labels.shape != truth.shape or labels.ndim != 2:
        raise ValueError(f"boundary_f1: labels and truth must be (H, W), got {labels.shape} and {truth.shape}")
    if not tolerance >= 0:
        raise ValueError(f"boundary_f1: tolerance must be at least 0, got {tolerance}")
    labels, reach = np.where(truth < 0, -1, labels), tolerance * math.hypot(*truth.shape)
    scores = np.full(classes, np.nan)
    edges_found, edges_true = boundaries(labels), boundaries(truth)
    for c in range(classes):
        in_labels, in_truth = labels == c, truth == c
        if in_labels.any() and in_truth.any():
            scores[c] = _f1(edges_found & in_labels, edges_true & in_truth, reach)
        elif in_labels.any() or in_truth.any():
            scores[c] = 0
    return scores


def _f1(found, true, reach):
    """2 P R / (P + R) of two sets of boundary pixels (H, W) bool."""
    if not found.any() or not true.any():
        return float(found.any() == true.any())
    precision, recall = widened(true, reach)[found].mean(), widened(found, reach)[true].mean()
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def boundaries(labels: np.ndarray) -> np.ndarray:
    """(H, W) bool: pixels beside one of another label. Neither of the two may be -1."""
    edge = np.zeros(labels.shape, bool)
    for one, other in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        differ = (labels[one] != labels[other]) & (labels[one] >= 0) & (labels[other] >= 0)
        edge[one] |= differ
        edge[other] |= differ
    return edge


def widened(mask: np.ndarray, reach: float) -> np.ndarray:
    """(H, W) bool: pixels no further than `reach` from one of the mask (H, W) bool."""
    r = math.floor(reach)
    padded, wide = np.pad(mask, r), np.zeros_like(mask)
    h, w = mask.shape
    for down in range(-r, r + 1):
        for right in range(-r, r + 1):
            if down * down + right * right <= reach * reach:
                wide |= padded[r + down : r + down + h, r + right : r + right + w]
    return wide
